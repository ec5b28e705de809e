"""What a chapter's page needs besides the model: a fixed start, the library's source, a report.

>>> notebook.setup(chapter=2)
Chapter 2 · Attention: ready.
"""

from __future__ import annotations

import html
import inspect
import os
import platform
import random
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import ClassVar

import ipywidgets
import numpy as np
import torch
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import PythonLexer
from pygments.style import Style
from pygments.token import Comment, Keyword, Name, Number, Operator, String

from gptlib.training import best_device

TITLES = (
    "Start here", "Tokenization", "Attention", "Blocks", "The full model", "Training",
    "Generation",
)
SEED = 0
# Sums are split among the threads, so their number decides the last digits of a result: with a
# fixed one, every machine shows the numbers of the page. Small models gain nothing from more.
THREADS = 2


@dataclass(frozen=True)
class Chapter:
    """A chapter that is ready to run."""

    number: int
    title: str

    def __repr__(self) -> str:
        return f"Chapter {self.number} · {self.title}: ready."


def setup(chapter: int) -> Chapter:
    """Make a chapter's numbers come out the same every time it is run from the top.

    Seeds the random numbers of Python, NumPy and torch, and fixes the number of torch's threads.
    Raises a ValueError for a chapter that the course does not have.
    """
    if isinstance(chapter, bool) or not isinstance(chapter, int) or not 0 <= chapter < len(TITLES):
        raise ValueError(
            f"chapter is {chapter!r}, but must be a whole number from 0 to {len(TITLES) - 1}: "
            "take the one in the name of the notebook."
        )
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    return Chapter(chapter, TITLES[chapter])


# -- the library's source on the page -------------------------------------------------------


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
            f'<figure style="margin: 0"><figcaption><code>{html.escape(self.title)}</code>'
            f"</figcaption>{highlight(self.code, PythonLexer(), formatter)}</figure>"
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
    library = Path(__file__).parent.parent
    inside = path.is_relative_to(library / "gptlib")
    return Source(path.relative_to(library).as_posix() if inside else path.name, code + "\n")


# -- this machine -----------------------------------------------------------------------------


class Machine(ipywidgets.HTML):
    """What the course runs on here, as a table.

    The stored page shows the sentence of `__repr__` in its place: the numbers of another
    machine would mislead.
    """

    def __init__(self):
        self.shown = machine_facts()
        super().__init__(value=_table(self.shown))

    def __repr__(self) -> str:
        return "Machine report: run this cell to see your own device, threads and versions."


def machine() -> Machine:
    """A report of this machine, to be shown as the last line of a cell."""
    return Machine()


def machine_facts() -> dict[str, str]:
    """Device, threads and versions by name, as text."""
    device = best_device()
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.machine()
    return {
        "System": f"{platform.system()} {platform.release()}",
        "Fastest device": f"{device.type} ({name})",
        "Processor cores": str(os.cpu_count()),
        "Threads in use": str(torch.get_num_threads()),
        "Python": platform.python_version(),
        "torch": version("torch"),
        "NumPy": version("numpy"),
        "JupyterLab": version("jupyterlab"),
        "gptlib": version("gptlib"),
    }


def _table(facts: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left; padding-right: 1.5em">{html.escape(name)}'
        f'</th><td style="text-align: left">{html.escape(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f'<table><caption style="text-align: left">This machine</caption>{rows}</table>'
