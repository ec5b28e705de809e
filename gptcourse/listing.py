"""Source code on a page: in the colors of the page's theme, and as it stands in a terminal."""

from __future__ import annotations

import inspect
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pygments.style import Style
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from gptcourse.figures import in_markup, showable


class _PageStyle(Style):
    """JupyterLab's own colors, light or dark as its theme; elsewhere those of its light theme."""

    background_color = "var(--jp-cell-editor-background,#f5f5f5)"
    styles: ClassVar[dict] = {
        Comment: "italic var(--jp-mirror-editor-comment-color,#3a6f6f)",
        Keyword: "bold var(--jp-mirror-editor-keyword-color,#007000)",
        Keyword.Constant: "bold var(--jp-mirror-editor-atom-color,#7a3e9d)",
        Name.Builtin: "var(--jp-mirror-editor-builtin-color,#007000)",
        Name.Builtin.Pseudo: "var(--jp-mirror-editor-variable-2-color,#0055aa)",
        Name.Class: "var(--jp-mirror-editor-def-color,#0000cc)",
        Name.Decorator: "var(--jp-mirror-editor-meta-color,#7a3e9d)",
        Name.Function: "var(--jp-mirror-editor-def-color,#0000cc)",
        Number: "var(--jp-mirror-editor-number-color,#006040)",
        Operator: "var(--jp-mirror-editor-operator-color,#7a1fb8)",
        Operator.Word: "bold var(--jp-mirror-editor-keyword-color,#007000)",
        String: "var(--jp-mirror-editor-string-color,#a01818)",
    }


@dataclass(frozen=True)
class Source:
    """Source code that a page shows in color and a terminal as it stands."""

    title: str
    code: str

    def __repr__(self) -> str:
        return f"# {self.title}\n{self.code}"

    def _repr_html_(self) -> str:
        formatter = HtmlFormatter(
            style=_PageStyle,
            noclasses=True,
            cssstyles="padding: 0.5em 0.8em; overflow-x: auto",
            prestyles="margin: 0; padding: 0; background: none; white-space: pre; "
            "font-size: var(--jp-code-font-size,13px)",
        )
        return (
            f'<figure style="margin: 0"><figcaption><code>{in_markup(self.title)}</code>'
            f"</figcaption>{highlight(showable(self.code), PythonLexer(), formatter)}</figure>"
        )


def source(thing: object) -> Source:
    """The source of a function, class or module, to be shown as the last line of a cell.

    Raises a TypeError for anything that has no source in Python.
    """
    try:
        thing = inspect.unwrap(thing) if callable(thing) else thing
        code = inspect.cleandoc("\n" + inspect.getsource(thing))
        path = Path(inspect.getsourcefile(thing) or "")
    except (TypeError, OSError) as error:
        raise TypeError(
            f"{thing!r} has no source in Python: pass a function, a class or a module that is "
            "written in Python, such as gptlib.attention."
        ) from error
    home = Path(__file__).parent.parent
    ours = any(path.is_relative_to(home / package) for package in ("gptlib", "gptcourse"))
    return Source(path.relative_to(home).as_posix() if ours else path.name, code + "\n")
