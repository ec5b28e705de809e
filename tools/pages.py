"""The chapters as pages for a browser: no kernel, no network, and the views still work.

A page is one file. Formulas are MathML, pictures lie inside it with their alternative text, and a
view that lives in the browser is there with its numbers and its own code. Of a view that needs the
kernel, the page has the picture.
"""

from __future__ import annotations

import base64
import html
import json
import re
from collections.abc import Iterator
from pathlib import Path

from course import is_paper, read
from execution import WIDGET_VIEW, executed
from latex2mathml.converter import convert
from nbconvert import HTMLExporter
from nbformat import NotebookNode
from pygments.formatters import HtmlFormatter

from gptcourse.figures.style import DARK_PICTURE, css_variables
from gptlib.files import replacing

WIDGET_STATE = "application/vnd.jupyter.widget-state+json"
HERE = Path(__file__).parent
# The end of a link, maybe to a heading.
CHAPTER_LINK = re.compile(r"\.(?:ipynb|md)((?:#[^)\s]*)?\))")
# Code stays as it is; $$...$$ and $...$ outside of it are formulas.
FORMULA = re.compile(
    r"(?P<code>```.*?```|`[^`\n]*`)|\$\$(?P<block>.+?)\$\$|(?<!\\)\$(?P<inline>[^$\n]+?)\$",
    re.DOTALL,
)
DARK_PICTURES = (
    f"@media (prefers-color-scheme: dark) {{ .output_subarea > img {DARK_PICTURE} }}\n")
NAME = re.compile(r"(<mi>(?:ln|log)</mi>)(?=<m[in]>)")  # TeX puts a thin space behind it


def write_pages(paths: list[Path], folder: Path) -> list[Path]:
    """Run each chapter and write it to `folder` as a page, and index.html with the contents.

    Papers among `paths` become pages, too, to which every other one leads.
    """
    folder.mkdir(parents=True, exist_ok=True)
    texts = {"index.html": contents(paths)}
    for path in paths:
        texts[f"{path.stem}.html"] = page(path, _way(path, paths))
    for name, text in texts.items():
        with replacing(folder / name) as temporary:
            temporary.write_text(text, encoding="utf-8")
    return [folder / name for name in texts]


def contents(paths: list[Path]) -> str:
    """The chapters with their promises, and a search through all of them."""
    chapters, sections = [], []
    for path in paths:
        notebook = read(path)
        found = list(_sections(notebook, path))
        title, promise = found[0]["chapter"], _PROMISE.search(notebook.cells[0].source)
        words = f"<p>{html.escape(promise[1])}</p>" if promise else ""
        chapters.append(f'<li><a href="{path.stem}.html">{html.escape(title)}</a>{words}</li>')
        sections += found
    body = _template("contents.html", {
        "CHAPTERS": "\n".join(chapters),
        "SECTIONS": json.dumps(sections, ensure_ascii=False).replace("<", "\\u003c"),
    })
    return _whole_page("GPT from scratch", body, way="", script="search.js")


_PROMISE = re.compile(r"^\*\*(.+?)\*\*", re.MULTILINE | re.DOTALL)
_MARKUP = re.compile(r"[*`|>#]|\[([^\]]*)\]\([^)]*\)")


def _sections(notebook: NotebookNode, path: Path) -> Iterator[dict[str, str]]:
    """The headings of a chapter, each with its text up to the next."""
    prose = "\n".join(c.source for c in notebook.cells if c.cell_type == "markdown")
    parts = re.split(r"^#+ (.+)$", prose, flags=re.MULTILINE)
    for heading, text in zip(parts[1::2], parts[2::2], strict=True):
        yield {
            "page": f"{path.stem}.html", "chapter": parts[1], "heading": heading.replace("`", ""),
            "place": heading.replace("`", "").replace(" ", "-"),
            "text": " ".join(_MARKUP.sub(lambda found: found[1] or "", text).split()),
        }


def page(path: Path, way: str) -> str:
    """A chapter, run now, or a paper, as the text of its page."""
    notebook = read(path) if is_paper(path) else executed(path, with_widgets=True)
    states = notebook.metadata.get("widgets", {}).get(WIDGET_STATE, {}).get("state", {})
    for cell in notebook.cells:
        if cell.cell_type == "markdown":
            cell.source = FORMULA.sub(_formula, CHAPTER_LINK.sub(r".html\1", cell.source))
        for output in cell.get("outputs", []):
            _make_readable(output, states)
    notebook.metadata.pop("widgets", None)
    exporter = HTMLExporter(template_name="basic")
    body, _ = exporter.from_notebook_node(notebook)
    title = re.search(r"^# (.+)$", notebook.cells[0].source, re.MULTILINE)
    return _whole_page(title[1] if title else path.stem, body, way,
                       "page.js" if "data-view" in body else "")


def _way(path: Path, paths: list[Path]) -> str:
    """From a page to the chapters before and after it, to the contents, and to the papers."""
    chapters = [one for one in paths if not is_paper(one)]
    n = chapters.index(path) if path in chapters else None
    before = chapters[n - 1] if n else None
    after = chapters[n + 1] if n is not None and chapters[n + 1 :] else None
    found = [_link(one, one.stem) for one in paths if is_paper(one) and one != path]
    return "".join([
        _link(before, f"← {_name(before)}") if before else "<span></span>",
        f'<span>{" · ".join([_link(Path("index"), "contents"), *found])}</span>',
        _link(after, f"{_name(after)} →") if after else "<span></span>"])


def _whole_page(title: str, body: str, way: str, script: str) -> str:
    return _template("page.html", {
        "TITLE": html.escape(title),
        "STYLE": css_variables() + DARK_PICTURES + (HERE / "page.css").read_text(encoding="utf-8")
        + _code_colors(),
        "SCRIPT": (HERE / script).read_text(encoding="utf-8") if script else "",
        "WAY": way, "BODY": body,
    })


def _make_readable(output: NotebookNode, states: dict) -> None:
    """Put HTML in the place of a live view, and of a picture, whose words would be lost."""
    data = output.get("data", {})
    model = states.get(data.get(WIDGET_VIEW, {}).get("model_id"), {})
    data.pop(WIDGET_VIEW, None)
    if "_esm" in model.get("state", {}):
        output.data = NotebookNode({"text/html": _live(model)})
        return
    for kind in ("image/png", "image/svg+xml"):
        if kind in data:
            output.data = NotebookNode({"text/html": _still(
                kind, data[kind], output.get("metadata", {}).get(kind, {}))})
            return


def _still(kind: str, data: str, known: dict) -> str:
    """A picture with its words."""
    if kind == "image/svg+xml":
        data = base64.b64encode(data.encode()).decode()
    width = f' width="{known["width"]}"' if "width" in known else ""
    return (f'<img alt="{html.escape(known.get("alt", ""))}"{width} '
            f'src="data:{kind};base64,{data.strip()}">')


def _live(model: dict) -> str:
    """A view with its numbers, its code and its style, for `page.js` to start."""
    state = {
        name: ["json", value] for name, value in model["state"].items()
        if not name.startswith("_") and name not in ("layout", "tabbable", "tooltip")
    }
    for buffer in model.get("buffers", []):
        state[buffer["path"][0]] = ["bytes", buffer["data"]]
    parts = {
        "state": state, "module": model["state"]["_esm"], "style": model["state"].get("_css", ""),
    }
    packed = base64.b64encode(json.dumps(parts).encode()).decode()
    return f'<div class="live" data-view="{packed}"></div>'


def _formula(found: re.Match) -> str:
    if found["code"]:
        return found["code"]
    block = found["block"]
    drawn = convert(block.strip(), display="block") if block else convert(found["inline"])
    drawn = NAME.sub(r'\1<mspace width="0.167em" />', drawn)
    return f"\n{drawn}\n" if block else drawn


def _code_colors() -> str:
    """Python in color, by day and by night."""
    day = HtmlFormatter(style="default").get_style_defs(".highlight")
    night = HtmlFormatter(style="github-dark").get_style_defs(".highlight")
    return f"{day}\n@media (prefers-color-scheme: dark) {{\n{night}\n}}"


def _name(chapter: Path) -> str:
    return chapter.stem[3:].replace("_", " ")


def _link(to: Path, words: str) -> str:
    return f'<a href="{to.stem}.html">{words}</a>'


def _template(name: str, parts: dict[str, str]) -> str:
    """A page in which each NAME between two percent signs is replaced, all at once."""
    text = (HERE / name).read_text(encoding="utf-8")
    return re.sub("%(" + "|".join(parts) + ")%", lambda found: parts[found[1]], text)
