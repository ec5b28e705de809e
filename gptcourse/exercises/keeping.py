"""The learner's own file, my_gpt.py: what is solved is kept there, and `mine` gives it back.

>>> mine.merge([1, 1, 1], (1, 1), 9)         # the learner's, once it is right; until then gpt.py's
[9, 1]

Nothing is lost: what somebody wrote into the file by hand is judged and left as it is, and a file
that Python cannot read is not touched.
"""

from __future__ import annotations

import ast
import builtins
import hashlib
import inspect
import linecache
import os
import re
import symtable
import sys
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gptcourse import gpt
from gptcourse.exercises import progress
from gptcourse.exercises.contents import Contents
from gptcourse.exercises.early import CALLERS, EARLY, FIRST, GROWN
from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.page import (
    GIVEN,
    HEADING,
    Piece,
    course_piece,
    course_pieces,
    course_source,
    lines_of,
    pieces,
    run,
)
from gptlib.files import replacing

FILE = "my_gpt.py"
TITLE = '"""My GPT: every line of it was written, and checked, in the chapters of the course."""\n'
START = 'if __name__ == "__main__":\n    main()\n'
MIXED = f"<{FILE} and the course's gpt.py>"          # the source of what `mine` gives back


class _NotKept(Exception):
    """Why a definition is not in the file, in a sentence."""


def keep(exercise: Exercise, definition: Any, judge: Callable) -> str:
    """Put a right answer into the file. -> what became of it, in a sentence.

    `judge(exercise, definition)` says whether another version that stands there is right.
    """
    name = exercise.defines
    if _file_of(definition) == MIXED:
        return f"It is in {FILE} already."
    try:
        written = _with_what_it_needs(definition, name)
        with progress.one_at_a_time():
            text = _read()
            if exercise.name in GROWN and not _is_first(exercise.name, _source_in(text, name)):
                return f"The {name} in {FILE} is the later one, which can do more, and stays."
            edited = _was_edited(text, written[-1])
            if not edited:
                *helpers, own = written
                written = [*(one for one in helpers if not _is_typed_anew(text, one)), own]
                _check_helpers(text, written)
                text = _with_all(text, written, name)
                for own in {one for piece in written if piece.kind != "import"
                            for one in piece.names}:
                    progress.note_kept(own, _digest(_source_in(text, own)))
                _write(text)
    except _NotKept as reason:
        return str(reason)
    except OSError as error:
        return f"It is not in {FILE} yet: {error}"
    return _left_alone(exercise, judge) if edited else f"Kept in {FILE}."


# --------------------------------------------------------------------------- what a learner wrote


def _with_what_it_needs(definition: Any, name: str) -> list[Piece]:
    """The definition as it was written, the last one, after imports and helpers of its own cell.

    Raises _NotKept where it needs something that stands elsewhere.
    """
    if (own := getattr(definition, "__name__", name)) not in (name, "<lambda>"):
        raise _NotKept(f"It isn't in {FILE}, where it must be called {name}, and not {own}: give "
                        "it that name, and check again.")
    cell = written_in(definition)
    cell = re.sub(r"^[%!].*$", "", cell, flags=re.MULTILINE)          # magics are no Python
    try:
        there = {name: piece for piece in pieces(cell) for name in piece.names}
    except SyntaxError:
        there = {}
    if name not in there:
        raise _NotKept(f"Its lines can't be read here, so {FILE} doesn't have it: write it in a "
                       "cell of a notebook.")
    needed, waiting, foreign = {}, [name], []
    while waiting:
        piece = there[waiting.pop()]
        needed[piece.start] = piece
        for used in sorted(from_around(piece.source)):
            if used in there and there[used].start not in needed:
                waiting.append(used)
            elif used not in there and not _is_known(used):
                foreign.append(used)
    imports = [_import_of(used, definition) for used in foreign]
    own = needed.pop(there[name].start)
    return [*imports, *(needed[start] for start in sorted(needed)), own]


def is_of_the_course(definition: Any, name: str) -> bool:
    """Whether it is gpt.py's, perhaps by way of `mine`, and nothing that the learner wrote."""
    file = _file_of(definition)
    return file == gpt.__file__ or (file == MIXED and name not in mine.own())


def written_in(definition: Any) -> str:
    """The text of the cell that a definition stands in."""
    return "".join(linecache.getlines(_file_of(definition)))


def _file_of(definition: Any) -> str:
    """The name of the file, or cell, that a definition stands in, or ""."""
    code = getattr(_function_of(definition), "__code__", None)
    return code.co_filename if code else ""


def _function_of(definition: Any) -> Any:
    """A function, or the first method of a class."""
    if isinstance(definition, type):
        own = (inspect.unwrap(part) for part in vars(definition).values() if callable(part))
        definition = next((part for part in own if hasattr(part, "__code__")), None)
    return None if definition is None else inspect.unwrap(definition)


def from_around(source: str) -> set[str]:
    """The names that a definition takes from what stands around it."""
    tables, names = [symtable.symtable(source, "<piece>", "exec")], set()
    for table in tables:
        tables += table.get_children()
        names |= {symbol.get_name() for symbol in table.get_symbols() if symbol.is_global()}
    return names


def _is_known(name: str) -> bool:
    """Whether a name is Python's, or one of gpt.py's."""
    return hasattr(builtins, name) or any(name in one.names for one in course_pieces())


def _import_of(name: str, definition: Any) -> Piece:
    """An import for a module, or a thing of one, that another cell imported."""
    value = getattr(_function_of(definition), "__globals__", {}).get(name)
    own, source = getattr(value, "__name__", ""), getattr(value, "__module__", None) or ""
    renamed = f" as {name}" if own != name else ""
    if isinstance(value, ModuleType):
        return pieces(f"import {own}{renamed}\n")[0]
    if (own.isidentifier() and getattr(sys.modules.get(source), own, None) is value
            and source.split(".")[0] not in ("__main__", "gptlib", "gptcourse")):
        return pieces(f"from {source} import {own}{renamed}\n")[0]
    raise _NotKept(
        f"It uses {name}, which doesn't stand in its cell, so {FILE} doesn't have it yet: the "
        f"file must run alone, so write {name} into the same cell, and check again.")


# ------------------------------------------------------------------------------ the file on disk


def _read() -> str:
    """The text of the file, with plain line ends. Raises _NotKept where it is no Python."""
    try:
        text = _content().decode("utf-8-sig").replace("\r\n", "\n")
        pieces(text)
        compile(text, FILE, "exec", dont_inherit=True)       # finds some more that is no Python
    except UnicodeDecodeError as error:
        raise _NotKept(f"{FILE} isn't text in UTF-8 ({error.reason} at byte {error.start}), so it "
                       "was left as it is: save it in that encoding, then check again.") from None
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise _NotKept(
            f"{FILE} can't be read by Python (line {getattr(error, 'lineno', None) or 1}: "
            f"{getattr(error, 'msg', error)}), so it was left as it is: mend that line, then check "
            "again.") from None
    return text


def _content() -> bytes:
    path = Path(FILE)
    return path.read_bytes() if path.exists() else b""


def _write(text: str) -> None:
    former = _content()
    mark = "utf-8-sig" if former.startswith(b"\xef\xbb\xbf") else "utf-8"
    if b"\r\n" in former:
        text = text.replace("\n", "\r\n")
    with replacing(os.path.realpath(FILE)) as temporary:      # a link stays one
        temporary.write_bytes(text.encode(mark))


def _source_in(text: str, name: str) -> str | None:
    return next((piece.source for piece in pieces(text) if name in piece.names), None)


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _was_edited(text: str, piece: Piece) -> bool:
    """Whether under its name stands what no check put there."""
    name = piece.names[0]
    there = _source_in(text, name)
    return there not in (None, piece.source) and not progress.was_kept(name, _digest(there))


def _check_helpers(text: str, written: Sequence[Piece]) -> None:
    """Raise _NotKept where another thing has the name of a helper, unless only the former version
    of the definition used it."""
    for helper in written[:-1]:
        name = helper.names[0]
        if helper.kind == "import" or _source_in(text, name) in (None, helper.source):
            continue
        users = [piece for piece in pieces(text) if name in piece.uses and not (
            {name, *written[-1].names} & {*piece.names})]
        if users or _was_edited(text, helper):
            raise _NotKept(
                f"It isn't in {FILE}, where another {name} stands: give the one of your cell "
                "another name, or delete that one, and check again.")


def _is_typed_anew(text: str, helper: Piece) -> bool:
    """Whether the file has these constants already, perhaps in another layout, among others."""
    there = _source_in(text, helper.names[0])
    if helper.kind != "constant" or there is None or there == helper.source:
        return False
    return {*map(ast.dump, ast.parse(helper.source).body)} <= {
        *map(ast.dump, ast.parse(there).body)}


def _is_first(name: str, source: str | None) -> bool:
    """Whether the definition of which `name` is the first form has not grown yet in the file."""
    return source is None or not _uses(source, GROWN[name])


def _uses(source: str, name: str) -> bool:
    """Whether code uses a name, and not only a comment."""
    return any(name in piece.uses for piece in pieces(source))


def _left_alone(exercise: Exercise, judge: Callable) -> str:
    """The version in the file is judged, and stays, whatever comes of it."""
    own = exercise.name if exercise.name in FIRST else exercise.defines
    if own in mine.own():
        status, text = judge(exercise, getattr(mine, own))
        verdict = "is right, too" if status == "right" else f"isn't right yet ({text.rstrip('.')})"
    else:
        verdict = "can't be tried, because of something else in the file"
    return (f"In {FILE} stands another {exercise.defines}, which you edited there; it {verdict}, "
            "and was left as it is. To keep this one instead, delete that one and check again.")


# ---------------------------------------------------------------- where a piece goes in the file


def _with_all(text: str, written: Sequence[Piece], name: str) -> str:
    """The file with a definition, and all that it needs to run, in the order of the course."""
    heading = course_piece(name).heading
    around = {used for one in written for used in one.uses}
    given = [one for one in course_pieces()
             if (one.kind == "constant" and one.heading == heading)
             or any(GIVEN.get(own) == name or own in {*GIVEN} & around for own in one.names)]
    uses = {used for one in [*written, *given] for used in one.uses}
    imports = [one for one in course_pieces() if one.kind == "import" and uses & {*one.names}]
    imports += [one for one in written if one.kind == "import"]
    text = _with_imports(text or TITLE, [one.source for one in imports])
    for piece in given:
        if not _source_in(text, piece.names[0]):
            text = _with_piece(text, piece.source, piece.names[0])
    own = [one for one in written if one.kind != "import"]
    for helper in own[:-1]:                           # it came along before: it stays where it is
        if _source_in(text, helper.names[0]):
            text = _with_piece(text, helper.source, helper.names[0])
            own.remove(helper)
    text = _with_piece(text, "\n".join(one.source for one in own), name)
    if name == "main" and START not in text:
        text = f"{text.rstrip()}\n\n{START}"
    return text


def _with_imports(text: str, wanted: Sequence[str]) -> str:
    """The imports on top, each once: first Python's own, in gpt.py's order, then all others."""
    there, lines = pieces(text), lines_of(text)
    former = [piece for piece in there if piece.kind == "import"]
    new = [line for line in wanted if line not in {piece.source for piece in former}]
    if not new:
        return text
    course = [piece.source for piece in course_pieces() if piece.kind == "import"]
    every = sorted([*(piece.source for piece in former), *new], key=lambda line: (
        "__future__" not in line, course.index(line) if line in course else len(course)))
    pythons = [line for line in every if line.split()[1].split(".")[0] in sys.stdlib_module_names]
    others = [line for line in every if line not in pythons]
    block = [*pythons, *["\n"] * bool(pythons and others), *others]
    if former:
        start, end = former[0].start, former[-1].end
        if sum(piece.end - piece.start for piece in former) < sum(map(bool, map(
                str.strip, lines[start:end]))):          # something else stands between them
            start, block = end, new
    else:
        docstring = there[:1] if there and there[0].kind == "other" else []
        start = end = docstring[0].end if docstring else 0
        block = ["\n", *block]
    return "".join([*lines[:start], *block, *lines[end:]])


def _with_piece(text: str, source: str, name: str) -> str:
    """The source in place of what is called `name`; else after all that comes before it."""
    there, lines = pieces(text), lines_of(text)
    for piece in there:
        if name in piece.names:
            lines[piece.start : piece.end] = [source]
            return "".join(lines)
    order = {own: place for place, one in enumerate(course_pieces()) for own in one.names}
    before = [piece for n, piece in enumerate(there)
              if piece.kind == "import" or (n == 0 and piece.kind == "other")
              or any(order.get(own, len(order)) < order[name] for own in piece.names)]
    after = before[-1].end if before else 0
    heading = course_piece(name).heading
    if heading in lines:
        after = max(after, lines.index(heading) + 1)
    else:
        above = "" if before and before[-1].kind == "import" else "\n"
        below = "\n" if lines[after + 1 :] and HEADING.fullmatch(lines[after + 1]) else ""
        source = f"{above}{heading}\n{source}{below}"
    lines[after:after] = ["\n", source]
    return "".join(lines)


# --------------------------------------------------------------------------- what `mine` gives back


class Mine:
    """The definitions of the course: the learner's own where my_gpt.py has them, else gpt.py's."""

    def __init__(self):
        self._known: tuple[bytes, ModuleType, list[str]] | None = None

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        module, _ = self._loaded()
        if not hasattr(module, name):
            raise AttributeError(f"Nothing in gpt.py is called {name!r}: it defines "
                                 f"{', '.join(self.__dir__())}.")
        return getattr(module, name)

    def __dir__(self) -> list[str]:
        return [name for one in course_pieces() if one.kind == "definition" for name in one.names]

    def own(self) -> list[str]:
        """The names of those that are the learner's."""
        return self._loaded()[1]

    @property
    def contents(self) -> Contents:
        """What stands in the file, chapter by chapter."""
        text, rows = _content().decode(errors="replace"), {}
        own = {*self.own(), *(name for name in GIVEN if f"def {name}(" in text)}
        for one in course_pieces():
            if one.kind == "definition":
                row = rows.setdefault(HEADING.fullmatch(one.heading)[1].split(":")[0], ([], []))
                name, first = one.names[0], f"first_{one.names[0]}"
                if name not in own and first in own:          # it has yet to grow
                    row[0].append(f"{name} (its first form)")
                else:
                    row[name not in own].append(name)
        return Contents(FILE, len(lines_of(text)),
                        tuple((title, *map(tuple, row)) for title, row in rows.items()))

    def __repr__(self) -> str:
        return repr(self.contents)

    def _repr_html_(self) -> str:
        return self.contents._repr_html_()

    def _loaded(self) -> tuple[ModuleType, list[str]]:
        """gpt.py with the learner's pieces in place of its own, and their names."""
        content = None
        try:
            content = _content()
            if not self._known or self._known[0] != content:
                self._known = content, *_mixed(_read())
        except Exception as error:      # whatever a file that was edited by hand may do
            reason = error if isinstance(error, _NotKept) else (
                f"{FILE} can't be run ({type(error).__name__}: {error}): mend it.")
            warnings.warn(f"{reason} Until then, the course's definitions are used.", stacklevel=3)
            self._known = content, *_mixed("")
        return self._known[1:]


def _mixed(text: str) -> tuple[ModuleType, list[str]]:
    """A module of all definitions; where the file has one, its own, with its helpers before it."""
    theirs, blocks, helpers = pieces(text), {}, []
    for piece in theirs:
        if piece.kind == "import" or piece.source == START or not piece.names:
            continue
        helpers.append(piece.source)
        if any(name in dir(gpt) for name in piece.names):
            blocks[piece.names[0]] = "\n".join(helpers)
            helpers = []
    first = {FIRST[name].of: (name, _first_source(name, blocks)) for name in FIRST}
    forms = _forms_that_fit(blocks)
    page = [piece.source for piece in theirs if piece.kind == "import"]
    for piece in course_pieces():
        if piece.names:
            name = piece.names[0]
            if name in first:
                page.append("{1}\n{0} = {2}".format(*first[name], name))
            page.append(forms.get(name) or blocks.get(name) or piece.source)
    source = "\n".join([*page, *helpers])
    module = ModuleType("my_gpt")
    linecache.cache[MIXED] = (len(source), None, source.splitlines(keepends=True), MIXED)
    vars(module).update(run(source, MIXED, {"__name__": "my_gpt"}))
    yours = [piece.names[0] for piece in course_pieces()
             if piece.kind == "definition"
             and piece.names[0] in {*blocks} - {*forms} - {*GIVEN}]
    return module, [*yours, *(name for name in FIRST if name in blocks)]


def _first_source(name: str, blocks: dict[str, str]) -> str:
    """The first form of a definition: the learner's, which then stands for nothing else, or else
    the course's."""
    of, _, edits = FIRST[name]
    if of in blocks and _is_first(name, blocks[of]):
        blocks[name] = blocks.pop(of)
    return blocks.get(name) or course_source(of, edits)


def _forms_that_fit(blocks: Mapping[str, str]) -> dict[str, str]:
    """The course's sources that differ from gpt.py while some learner's are without the cache.

    The course's own hands a cache on only to who takes it; where a learner's does so, and their
    other one does not take it yet, the course's newer one stands in.
    """
    forms = {}
    takes = {name: name not in blocks or _uses(blocks[name], "cache") for name in EARLY}
    for caller, callee in CALLERS:
        if caller not in blocks and not takes[callee]:
            forms[caller], takes[caller] = course_source(caller, EARLY[caller]), False
    for caller, callee in reversed(CALLERS):
        if takes[caller] and not takes[callee]:
            forms[callee], takes[callee] = course_source(callee), True
    return forms


mine = Mine()
