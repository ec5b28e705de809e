"""A file of Python as a page of pieces: imports, constants, definitions, each under its heading.

gpt.py is such a page, and so is the learner's my_gpt.py. From the one, an exercise takes its stub
and its solution; into the other goes what is solved, in the same order.
"""

from __future__ import annotations

import ast
import io
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache, lru_cache
from pathlib import Path

from gptcourse import gpt

# What no exercise asks for, and with which definition it comes into the learner's file.
GIVEN = {"story_batch": "learning_rate", "save": "learning_rate", "load": "learning_rate",
         "apply_temperature": "keep_top_p", "keep_top_k": "keep_top_p"}

HEADING = re.compile(r"# -+ (\d\d [^\n]*?) -+\n")


@dataclass(frozen=True)
class Piece:
    """A statement at the left margin, with the decorators and comments right above it."""

    kind: str                  # "import", "constant", "definition", or "other"
    names: tuple[str, ...]     # what it defines
    uses: frozenset[str]       # the names that stand in it
    source: str
    start: int                 # its lines in the file, from `start` up to `end`
    end: int
    heading: str               # the line of its section, or ""


@lru_cache(maxsize=16)
def pieces(text: str) -> tuple[Piece, ...]:
    """All statements of a file, from the top. Raises a SyntaxError for what is no Python."""
    lines = lines_of(text)
    found, heading, end = [], "", 0
    for node in ast.parse(text).body:
        first = min([node, *getattr(node, "decorator_list", [])], key=lambda part: part.lineno)
        start = first.lineno - 1
        for line in lines[end:start]:
            heading = line if HEADING.fullmatch(line) else heading
        while start > end and lines[start - 1].startswith("#") and not HEADING.fullmatch(
                lines[start - 1]):
            start -= 1
        end = node.end_lineno
        kind, names = _kind_and_names(node)
        uses = frozenset(part.id for part in ast.walk(node) if isinstance(part, ast.Name))
        if kind == "constant" and found and found[-1].kind == kind and found[-1].end == start:
            above = found.pop()                    # constants without a line between are one piece
            start, names, uses = above.start, above.names + names, above.uses | uses
        found.append(Piece(kind, names, uses, "".join(lines[start:end]).rstrip("\n") + "\n",
                           start, end, heading))
    return tuple(found)


def lines_of(text: str) -> list[str]:
    """Its lines as Python counts them: a form feed, say, ends none."""
    return io.StringIO(text, newline="").readlines()


def _kind_and_names(node: ast.stmt) -> tuple[str, tuple[str, ...]]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        return "import", tuple((name.asname or name.name).split(".")[0] for name in node.names)
    if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
        return "definition", (node.name,)
    if isinstance(node, (ast.Assign, ast.AnnAssign)):
        return "constant", tuple(_targets(getattr(node, "targets", None) or [node.target]))
    return "other", ()


def _targets(nodes: Sequence[ast.expr]) -> Iterator[str]:
    for node in nodes:
        yield from (part.id for part in ast.walk(node) if isinstance(part, ast.Name))


@cache
def course_pieces() -> tuple[Piece, ...]:
    """Those of gpt.py, the whole answer."""
    return pieces(Path(gpt.__file__).read_text(encoding="utf-8"))


def course_piece(name: str) -> Piece:
    """The piece of gpt.py that defines `name`."""
    return next(piece for piece in course_pieces() if name in piece.names)


def course_source(name: str, edits: Sequence[tuple[str, str]] = ()) -> str:
    """Its source there, with the edits made one after the other."""
    source = course_piece(name).source
    for old, new in edits:
        source = edited(source, old, new)
    return source


# ------------------------------------------------------------------- stubs, mistakes, what they do


def edited(source: str, old: str, new: str) -> str:
    """The source with one place changed; without `old`, all below the head is replaced.

    Raises a ValueError where `old` does not stand there exactly once.
    """
    if not old:
        body = ast.parse(source).body[0].body
        after = body[0].end_lineno if _is_docstring(body[0]) else body[0].lineno - 1
        return "".join(source.splitlines(keepends=True)[:after]) + new.rstrip("\n") + "\n"
    if source.count(old) != 1:
        raise ValueError(f"{old!r} stands {source.count(old)} times in:\n{source}")
    return source.replace(old, new)


def blanked(source: str, holes: Sequence[str] = ()) -> str:
    """A function, or those methods of a class, down to the docstring; then TODO."""
    lines = source.splitlines(keepends=True)
    node = ast.parse(source).body[0]
    methods = [node] if isinstance(node, ast.FunctionDef) else [
        part for part in node.body if isinstance(part, ast.FunctionDef) and part.name in holes]
    for method in reversed(methods):
        given = [part for part in method.body if _is_docstring(part) or _calls_super(part)]
        start = given[-1].end_lineno if given else method.body[0].lineno - 1
        todo = "TODO" if method.name == "__init__" else "return TODO"
        lines[start : method.end_lineno] = [" " * method.body[0].col_offset + todo + "\n"]
    return "".join(lines)


def _is_docstring(node: ast.stmt) -> bool:
    return (isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant)
            and isinstance(node.value.value, str))


def _calls_super(node: ast.stmt) -> bool:
    return isinstance(node, ast.Expr) and ast.unparse(node) == "super().__init__()"


def run(source: str, filename: str, namespace: dict) -> dict:
    """What the source defines, with the names of `namespace` around it.

    The only place of the course that runs a text: gpt.py with an edit, or the learner's own file.
    """
    namespace = dict(namespace)
    exec(compile(source, filename, "exec", dont_inherit=True), namespace)
    return namespace


def defined(source: str, name: str) -> object:
    """The definition `name`, made of its source, among those of gpt.py."""
    return run(source, f"<{name}>", vars(gpt))[name]
