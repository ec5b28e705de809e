"""The rules that every chapter keeps, so that what it shows is proved and everybody can read it.

nbval runs the chapters again and compares their outputs. This gate refuses whatever would slip
past that comparison, and what a reader without a kernel, without sight or without a network
would miss.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from urllib.parse import unquote

from course import chapter_number, code_cells, is_paper, read, tags
from execution import WIDGET_VIEW, normalized
from nbformat import NotebookNode
from pace import pace_of, pace_problems
from prose import anchors, headings, text_cells, tokens

MAX_LINES = 12
MIN_COMPARED = 0.9
MAX_LONG = 0.2

TAGS = {
    "exercise": "the learner writes this cell; its metadata has the id of the exercise",
    "check": "checks an exercise; shows something else once the exercise is solved",
    "quiz": "a question with options",
    "long": "takes seconds, or needs one that does; nbval runs it, other tests leave it out",
    "nbval-ignore-output": "the output depends on the machine; the metadata has the `reason`",
}
# Names that make outputs which differ from run to run, or that break views: see CONTRIBUTING.md.
FORBIDDEN_NAMES = {
    "Output", "clear_output", "get_ipython", "interact", "interactive", "interactive_output",
    "pyplot",
}
PICTURES = ("image/png", "image/jpeg", "image/svg+xml")
# nbval leaves these out of its comparison.
NOT_COMPARED = ("image/png", "image/jpeg", WIDGET_VIEW)
# What Python says of an object that has nothing to say; compared, but it proves nothing.
PLACEHOLDER = re.compile(r"<[\w.]+( object| size \S+ with \d+ Axes)?>")

ABSOLUTE_PATH = re.compile(
    r"(?<![\w:/.<])/(home|Users|root|tmp|usr|opt|var|mnt|work|private)/\w|\b[A-Z]:\\\w"
)
MEMORY_ADDRESS = re.compile(r"\bat 0x[0-9a-fA-F]{6,}")
REMOTE = re.compile(
    r"<(?:img|script|iframe|source|video|audio|embed|object)\b[^>]*?"
    r"(?:src|data)\s*=\s*[\"']?\s*(?:https?:)?//"
    r"|<link\b[^>]*href|<image\b[^>]*href\s*=\s*[\"'](?:https?:)?//"
    r"|url\(\s*[\"']?(?:https?:)?//|@import",
    re.IGNORECASE,
)


def problems(path: Path) -> list[str]:
    """Everything that is wrong with the chapter at `path`, or with a paper, a sentence each."""
    notebook = read(path)
    if is_paper(path):
        return list(_text_problems(notebook, path))
    found = [
        f"cell {number} ({_first_line(cell)!r}) {problem}"
        for number, cell in enumerate(notebook.cells, start=1)
        for problem in _cell_problems(cell, path)
    ]
    found += _order_problems(notebook)
    found += _text_problems(notebook, path)
    found += _whole_problems(notebook)
    found += pace_problems(notebook)
    return found


def _cell_problems(cell: NotebookNode, path: Path) -> Iterator[str]:
    if not cell.source.strip():
        yield "is empty: remove it."
        return
    yield from _tag_problems(cell, path)
    if ABSOLUTE_PATH.search(cell.source):
        yield "has an absolute path, which no other machine has: use a relative one."
    if cell.cell_type == "code":
        yield from _source_problems(cell)
        for output in cell.outputs:
            yield from _output_problems(output)


def _tag_problems(cell: NotebookNode, path: Path) -> Iterator[str]:
    for tag in tags(cell):
        if tag not in TAGS:
            yield f"has the unknown tag {tag!r}; allowed are {', '.join(TAGS)}."
    if "nbval-ignore-output" in tags(cell) and not str(cell.metadata.get("reason", "")).strip():
        yield "is tagged nbval-ignore-output without a `reason` in its metadata: write one."
    name = cell.metadata.get("id", "")
    if "exercise" in tags(cell) and not re.fullmatch(rf"{chapter_number(path)}\.[A-Za-z]\w*", name):
        yield (
            f"is an exercise with the id {name!r} in its metadata, but needs one such as "
            f"'{chapter_number(path)}.causal_mask'."
        )


def _source_problems(cell: NotebookNode) -> Iterator[str]:
    lines = cell.source.splitlines()
    if len(lines) > MAX_LINES and "exercise" not in tags(cell):      # as long as gpt.py has it
        yield f"has {len(lines)} lines, but {MAX_LINES} at most fit a page: split it."
    if re.search(r"#\s*(NBVAL_|PYTEST_VALIDATE)", cell.source, re.IGNORECASE):
        yield "steers nbval by a comment: use a tag."
    if lines[-1].split("#")[0].rstrip().endswith(";"):
        yield "ends in `;`, which nbval cannot compare: leave it out."
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:
        yield "is not plain Python: magics, `!commands` and `?` can fail unseen; take them out."
        return
    if "long" in tags(cell) and "mine" in _names(tree):
        yield "is tagged long but uses `mine`, so the solved chapter has to run it: take one off."
    for name in sorted(_names(tree) & FORBIDDEN_NAMES):
        yield f"uses {name}, which shows something else every time or breaks a view: avoid it."


def _names(tree: ast.AST) -> set[str]:
    """Every name that the code reads, imports or takes from an object."""
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Name):
            names.add(node.id)
        elif isinstance(node, ast.Attribute):
            names.add(node.attr)
        elif isinstance(node, ast.alias):
            names.update(node.name.split("."))
    return names


def _output_problems(output: NotebookNode) -> Iterator[str]:
    if output.output_type == "error":
        yield f"stores an error ({output.ename}): a chapter shows errors in its own words."
        return
    if output.output_type == "stream":
        if output.name == "stderr":
            yield "writes to stderr (a warning?): mend what it complains of."
        text = output.text
    else:
        text = "\n".join(_texts(output.data))
        yield from _picture_problems(output)
    if MEMORY_ADDRESS.search(text):
        yield "shows a memory address, another one every time: show the object's contents."
    if ABSOLUTE_PATH.search(text):
        yield "shows an absolute path of the machine that it ran on: show less of it."
    if REMOTE.search(text):
        yield "loads something from the network: everything must come from this machine."
    if WIDGET_VIEW in output.get("data", {}):
        yield "refers to a widget that is gone: run `tools/notebooks.py execute`."


def _texts(data: NotebookNode) -> Iterator[str]:
    for value in data.values():
        if isinstance(value, str) and not re.fullmatch(r"[A-Za-z0-9+/=\s]{200,}", value):
            yield value


def _picture_problems(output: NotebookNode) -> Iterator[str]:
    """Pictures that say nothing to those who cannot see them."""
    for kind in ("image/png", "image/jpeg"):
        if kind in output.data and not output.metadata.get(kind, {}).get("alt", "").strip():
            yield f"shows a picture ({kind}) without alt text: describe it in a sentence."
    markup = output.data.get("image/svg+xml", "") + output.data.get("text/html", "")
    for svg in re.findall(r"<svg\b.*?</svg>", markup, re.DOTALL | re.IGNORECASE):
        if not re.search(r"<title[ >]|aria-label(ledby)?=|aria-hidden=.true", svg):
            yield "shows an SVG without <title> or aria-label: describe it in a sentence."
    for image in re.findall(r"<img\b[^>]*>", markup, re.IGNORECASE):
        if not re.search(r"\balt\s*=\s*[\"'][^\"']*\S", image):
            yield "shows an <img> without alt text: describe it in a sentence."


def _order_problems(notebook: NotebookNode) -> Iterator[str]:
    counts = [cell.execution_count for cell in code_cells(notebook)]
    if None in counts:
        yield (
            f"{counts.count(None)} of {len(counts)} code cells have not been run, so nothing "
            "compares them: run `tools/notebooks.py execute`."
        )
    elif counts != list(range(1, len(counts) + 1)):
        yield "the cells were not run once each from the top: run `tools/notebooks.py execute`."


def _whole_problems(notebook: NotebookNode) -> Iterator[str]:
    if "widgets" in notebook.metadata:
        yield "stores the state of widgets: run `tools/notebooks.py execute`."
    elif notebook != normalized(notebook):
        yield "is not as `tools/notebooks.py execute` leaves it: run that."
    ignored = sum("nbval-ignore-output" in tags(cell) for cell in notebook.cells)
    if ignored > 1:
        yield f"{ignored} cells are tagged nbval-ignore-output, but one at most may be."
    cells = code_cells(notebook)
    n_long = sum("long" in tags(cell) for cell in cells)
    if n_long > MAX_LONG * len(cells):
        yield f"{n_long} of {len(cells)} code cells are tagged long, {MAX_LONG:.0%} at most may be."
    n_compared = sum(map(is_compared, cells))
    if not cells:
        yield "has no code cell."
    elif n_compared < MIN_COMPARED * len(cells):
        yield (
            f"only {n_compared} of {len(cells)} code cells are compared, but {MIN_COMPARED:.0%} "
            "must be: print a number or a shape beside the pictures."
        )


def is_compared(cell: NotebookNode) -> bool:
    """Whether nbval would notice that this code cell shows something else.

    A cell that shows nothing counts: it must go on showing nothing. One that shows pictures or
    widgets only does not.
    """
    if cell.execution_count is None or "nbval-ignore-output" in tags(cell):
        return False
    return not cell.outputs or any(map(_has_compared_text, cell.outputs))


def _has_compared_text(output: NotebookNode) -> bool:
    if output.output_type == "stream":
        return bool(output.text)
    return any(
        kind not in NOT_COMPARED and not PLACEHOLDER.fullmatch(str(value).strip())
        for kind, value in output.get("data", {}).items()
    )


# -- the prose -----------------------------------------------------------------------------


def _text_problems(notebook: NotebookNode, path: Path) -> Iterator[str]:
    yield from _heading_problems(headings(notebook))
    for cell in text_cells(notebook):
        for token in tokens(cell):
            if token.type == "image":
                yield from _image_problems(token, cell)
            elif token.type == "link_open":
                yield from _link_problems(token.attrs["href"], notebook, path)
            elif token.type in ("html_block", "html_inline"):
                if REMOTE.search(token.content):
                    yield "loads something from the network: everything must come from here."
                for target in re.findall(r"<a\b[^>]*href\s*=\s*[\"']([^\"']+)", token.content):
                    yield from _link_problems(target, notebook, path)


def _heading_problems(found: Iterable[tuple[int, str]]) -> Iterator[str]:
    last = 0
    for level, text in found:
        if last == 0 and level != 1:
            yield f"the first heading ({text!r}) must be the title, with one #."
        elif last and level == 1:
            yield f"there is a second title ({text!r}): one # only, at the top."
        elif level > last + 1 and last:
            yield f"the heading {text!r} skips a level: {'#' * last} is followed by {'#' * level}."
        last = level
    if last == 0:
        yield "has no title."


def _image_problems(token, cell: NotebookNode) -> Iterator[str]:
    source = str(token.attrs["src"])
    if not token.content.strip():
        yield f"the picture {source[:40]!r} has no alt text: describe it in a sentence."
    if not source.startswith("attachment:"):
        yield f"the picture {source[:40]!r} lies elsewhere: draw it in a cell, or attach it."
    elif source.removeprefix("attachment:") not in cell.get("attachments", {}):
        yield f"the picture {source[:40]!r} is not attached to its cell."


def _link_problems(target: str, notebook: NotebookNode, path: Path) -> Iterator[str]:
    if re.match(r"(https?|mailto):", target):
        return
    file, _, fragment = unquote(target).partition("#")
    linked = (path.parent / file).resolve() if file else path
    if path.parent.resolve() not in (linked, *linked.resolve().parents):
        yield f"the link {target!r} leads out of the folder that JupyterLab shows."
    elif not linked.exists():
        yield f"the link {target!r} leads nowhere."
    elif fragment:
        there = notebook if linked == path else read(linked)
        if fragment not in anchors(there):
            yield f"the link {target!r} leads to no heading there."


def _first_line(cell: NotebookNode) -> str:
    return cell.source.strip().partition("\n")[0][:50]


# -- the tables ----------------------------------------------------------------------------


def report(paths: Iterable[Path], seconds: Mapping[Path, float] | None = None) -> str:
    """Two tables with a line per chapter: how much of what it shows is compared, and its pace.

    How long it ran is there where somebody took the time: no chapter stores it.
    """
    notebooks = {path: read(path) for path in paths}
    shown = {path.stem: amounts(notebook) for path, notebook in notebooks.items()}
    paces = {path.stem: pace_of(notebook).amounts() for path, notebook in notebooks.items()}
    for path, taken in (seconds or {}).items():
        paces[path.stem]["seconds"] = round(taken)
    untaken = "" if seconds else "\n(no seconds of the machine: --seconds takes them)"
    return f"{_table(shown)}\n\n{_table(paces)}{untaken}"


def _table(rows: Mapping[str, Mapping[str, int]]) -> str:
    """A line per chapter under a line of headings."""
    lines = []
    for chapter, row in rows.items():
        if not lines:
            lines.append(f"{'chapter':<20}" + "".join(f"  {name}" for name in row))
        lines.append(f"{chapter:<20}" + "".join(
            f"{amount:>{len(name) + 2},}" for name, amount in row.items()))
    return "\n".join(lines)


def amounts(notebook: NotebookNode) -> dict[str, int]:
    """How much a chapter shows, by name."""
    cells = code_cells(notebook)
    outputs = [output for cell in cells for output in cell.outputs]
    return {
        "code cells": len(cells),
        "compared": sum(map(is_compared, cells)),
        "silent": sum(not cell.outputs for cell in cells),
        "pictures": sum(map(_is_picture, outputs)),
        "views": sum(map(_is_view, outputs)),
    }


def _is_picture(output: NotebookNode) -> bool:
    data = output.get("data", {})
    return any(kind in data for kind in PICTURES) or "<svg" in data.get("text/html", "")


def _is_view(output: NotebookNode) -> bool:
    return WIDGET_VIEW in output.get("data", {}) or WIDGET_VIEW in output.get("metadata", {})
