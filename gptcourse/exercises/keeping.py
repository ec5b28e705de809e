"""The learner's own file, my_gpt.py: what is solved is kept there, and `mine` gives it back.

>>> mine.merge([1, 1, 1], (1, 1), 9)         # the learner's, once it is right; until then gpt.py's
[9, 1]

Nothing is lost: what somebody wrote into the file by hand is judged and left as it is, and a file
that Python cannot read is not touched.
"""

from __future__ import annotations

import builtins
import hashlib
import inspect
import linecache
import re
import sys
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

from gptcourse import gpt
from gptcourse.exercises import progress
from gptcourse.exercises.early import CALLERS, EARLY
from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.page import (
    HEADING,
    Piece,
    course_piece,
    course_pieces,
    course_source,
    pieces,
    run,
)
from gptlib.files import replacing

FILE = "my_gpt.py"
TITLE = '"""My GPT: every line of it was written, and checked, in the chapters of the course."""\n'
START = 'if __name__ == "__main__":\n    main()\n'


class _NotKept(Exception):
    """Why a definition is not in the file, in a sentence."""


def keep(exercise: Exercise, definition: Any, judge: Callable) -> str:
    """Put a right answer into the file. -> what became of it, in a sentence.

    `judge(exercise, definition)` says whether another version that stands there is right.
    """
    name = exercise.defines
    try:
        written = _with_what_it_needs(definition, name)
        with progress.one_at_a_time():
            text = _read()
            edited = _was_edited(text, name, written)
            if not edited:
                text = _with_all(text, written, name)
                _write(text)
                progress.note_kept(name, _digest(_source_in(text, name)))
    except _NotKept as reason:
        return str(reason)
    except OSError as error:
        return f"It is not in {FILE} yet: {error}"
    return _left_alone(exercise, judge) if edited else f"Kept in {FILE}."


# --------------------------------------------------------------------------- what a learner wrote


def _with_what_it_needs(definition: Any, name: str) -> list[Piece]:
    """The definition as it was written, after the imports and helpers of its own cell.

    Raises _NotKept where it needs something that stands elsewhere.
    """
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
        for used in sorted(piece.uses - {*piece.names}):
            if used in there and there[used].start not in needed:
                waiting.append(used)
            elif used not in there and not _is_known(used, piece):
                foreign.append(used)
    imports = [_import_of(used, definition) for used in foreign]
    return [*imports, *(needed[start] for start in sorted(needed))]


def written_in(definition: Any) -> str:
    """The text of the cell that a definition stands in."""
    code = _code_of(definition)
    return "".join(linecache.getlines(code.co_filename)) if code else ""


def _code_of(definition: Any) -> Any:
    """The code object of a function, or of the first method of a class."""
    if isinstance(definition, type):
        own = (inspect.unwrap(part) for part in vars(definition).values() if callable(part))
        definition = next((part for part in own if hasattr(part, "__code__")), None)
    return getattr(inspect.unwrap(definition) if definition else None, "__code__", None)


def _is_known(name: str, piece: Piece) -> bool:
    """Whether a name is Python's, one of gpt.py's, or made within the piece itself."""
    course = {own for one in course_pieces() for own in one.names}
    return name in course or hasattr(builtins, name) or name in _made_within(piece.source)


def _made_within(source: str) -> set[str]:
    """Names that a definition gives itself: its parameters, what it assigns, what it loops over."""
    names: set[str] = set()
    for code in _codes(compile(source, "<piece>", "exec", dont_inherit=True)):
        names.update(code.co_varnames, code.co_cellvars)
        if code.co_name != "<module>":
            names.update(code.co_freevars)
    return names


def _codes(code: Any) -> Iterable[Any]:
    yield code
    for constant in code.co_consts:
        if hasattr(constant, "co_code"):
            yield from _codes(constant)


def _import_of(name: str, definition: Any) -> Piece:
    """An import for a module, or a thing of one, that another cell imported."""
    value = getattr(_function_of(definition), "__globals__", {}).get(name)
    if isinstance(value, ModuleType):
        line = f"import {value.__name__}" + (f" as {name}" if value.__name__ != name else "")
    elif getattr(value, "__module__", "__main__").split(".")[0] not in (
            "__main__", "gptlib", "gptcourse", "builtins", None):
        line = f"from {value.__module__} import {value.__name__}"
        line += f" as {name}" if value.__name__ != name else ""
    else:
        raise _NotKept(
            f"It uses {name}, which doesn't stand in its cell, so {FILE} doesn't have it yet: the "
            f"file must run alone, so write {name} into the same cell, and check again.")
    return pieces(line + "\n")[0]


def _function_of(definition: Any) -> Any:
    if isinstance(definition, type):
        own = (inspect.unwrap(part) for part in vars(definition).values() if callable(part))
        return next((part for part in own if hasattr(part, "__globals__")), None)
    return inspect.unwrap(definition)


# ------------------------------------------------------------------------------ the file on disk


def _read() -> str:
    """The text of the file, with plain line ends. Raises _NotKept where it is no Python."""
    path = Path(FILE)
    text = path.read_bytes().decode("utf-8-sig") if path.is_file() else ""
    text = text.replace("\r\n", "\n")
    try:
        pieces(text)
    except (SyntaxError, ValueError) as error:
        raise _NotKept(
            f"{FILE} can't be read by Python (line {getattr(error, 'lineno', None) or 1}: "
            f"{getattr(error, 'msg', error)}), so it was left as it is: mend that line, then check "
            "again.") from None
    return text


def _write(text: str) -> None:
    path = Path(FILE)
    former = path.read_bytes() if path.is_file() else b""
    mark = "utf-8-sig" if former.startswith(b"\xef\xbb\xbf") else "utf-8"
    if b"\r\n" in former:
        text = text.replace("\n", "\r\n")
    with replacing(path) as temporary:
        temporary.write_bytes(text.encode(mark))


def _source_in(text: str, name: str) -> str | None:
    return next((piece.source for piece in pieces(text) if name in piece.names), None)


def _digest(source: str) -> str:
    return hashlib.sha256(source.encode()).hexdigest()[:16]


def _was_edited(text: str, name: str, written: Sequence[Piece]) -> bool:
    """Whether under this name stands what no check put there."""
    there = _source_in(text, name)
    return there not in (None, written[-1].source) and not progress.was_kept(name, _digest(there))


def _left_alone(exercise: Exercise, judge: Callable) -> str:
    """The version in the file is judged, and stays, whatever comes of it."""
    status, text = judge(exercise, getattr(mine, exercise.defines))
    verdict = "is right, too" if status == "right" else f"isn't right yet ({text.rstrip('.')})"
    return (f"In {FILE} stands another {exercise.defines}, which you edited there; it {verdict}, "
            "and was left as it is. To keep this one instead, delete that one and check again.")


# ---------------------------------------------------------------- where a piece goes in the file


def _with_all(text: str, written: Sequence[Piece], name: str) -> str:
    """The file with a definition, and all that it needs to run, in the order of the course."""
    heading = course_piece(name).heading
    given = [one for one in course_pieces() if one.kind == "constant" and one.heading == heading]
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
    there, lines = pieces(text), text.splitlines(keepends=True)
    former = [piece for piece in there if piece.kind == "import"]
    new = [line for line in wanted if line not in {piece.source for piece in former}]
    if not new:
        return text
    course = [piece.source for piece in course_pieces() if piece.kind == "import"]
    every = sorted([*(piece.source for piece in former), *new],
                   key=lambda line: course.index(line) if line in course else len(course))
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
    there, lines = pieces(text), text.splitlines(keepends=True)
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

    def __repr__(self) -> str:
        _, yours = self._loaded()
        every = dir(self)
        return (f"mine: {len(yours)} of {len(every)} definitions are your own"
                + (f" ({', '.join(yours)})" if yours else "") + "; the others are the course's.")

    def _loaded(self) -> tuple[ModuleType, list[str]]:
        """gpt.py with the learner's pieces in place of its own, and their names."""
        path = Path(FILE)
        content = path.read_bytes() if path.is_file() else b""
        if self._known is None or self._known[0] != content:
            try:
                module, yours = _mixed(_read())
            except Exception as error:  # whatever a file that was edited by hand may do
                reason = error if isinstance(error, _NotKept) else (
                    f"{FILE} can't be run ({type(error).__name__}: {error}): mend it.")
                warnings.warn(f"{reason} Until then, the course's definitions are used.",
                              stacklevel=4)
                module, yours = gpt, []
            self._known = content, module, yours
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
    forms = _forms_that_fit(blocks)
    page = [piece.source for piece in theirs if piece.kind == "import"]
    for piece in course_pieces():
        if piece.names:
            name = piece.names[0]
            page.append(forms.get(name) or blocks.get(name) or piece.source)
    source = "\n".join([*page, *helpers])
    name = f"<{FILE} and the course's gpt.py>"
    module = ModuleType("my_gpt")
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    vars(module).update(run(source, name, {"__name__": "my_gpt"}))
    yours = [piece.names[0] for piece in course_pieces()
             if piece.kind == "definition" and piece.names[0] in {*blocks} - {*forms}]
    return module, yours


def _forms_that_fit(blocks: Mapping[str, str]) -> dict[str, str]:
    """The course's sources that differ from gpt.py while some learner's are without the cache.

    The course's own hands a cache on only to who takes it; where a learner's does so, and their
    other one does not take it yet, the course's newer one stands in.
    """
    forms = {}
    takes = {name: "cache" in blocks.get(name, "cache") for name in EARLY}
    for caller, callee in CALLERS:
        if caller not in blocks and not takes[callee]:
            forms[caller], takes[caller] = course_source(caller, EARLY[caller]), False
    for caller, callee in reversed(CALLERS):
        if takes[caller] and not takes[callee]:
            forms[callee], takes[callee] = course_source(callee), True
    return forms


mine = Mine()
