"""What a chapter's page needs besides the model: a fixed start, the library's source, a report.

>>> chapter.setup(3)
Chapter 3 · Attention: ready.
"""

from __future__ import annotations

import os
import platform
import random
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version

import ipywidgets
import numpy as np
import torch

from gptcourse.figures import in_markup
from gptcourse.figures.style import picture_style
from gptcourse.listing import source as source
from gptcourse.titles import TITLES
from gptlib.devices import best_device

SEED = 0
# Sums are split among the threads, so their number decides the last digits of a result: with a
# fixed one, every machine shows the numbers of the page. On models as small as the course's,
# several threads wait for each other longer than they compute.
THREADS = 1


@dataclass(frozen=True)
class Chapter:
    """A chapter that is ready to run."""

    number: int
    title: str

    def __repr__(self) -> str:
        return f"Chapter {self.number} · {self.title}: ready."

    def _repr_html_(self) -> str:
        """The same, with the style that the pictures of the page need."""
        return f"<style>{picture_style()}</style><div>{in_markup(repr(self))}</div>"


def setup(chapter: int) -> Chapter:
    """Make a chapter's numbers come out the same every time it is run from the top.

    Seeds the random numbers of Python, NumPy and torch, and fixes the number of torch's threads.
    Raises a ValueError for a chapter that the course does not have.
    """
    if type(chapter) is not int or chapter not in TITLES:
        raise ValueError(
            f"chapter is {chapter!r}, but must be one of {', '.join(map(str, TITLES))}: take the "
            "one in the name of the notebook."
        )
    random.seed(SEED)
    np.random.seed(SEED)
    torch.manual_seed(SEED)
    torch.set_num_threads(THREADS)
    return Chapter(chapter, TITLES[chapter])


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
        "torch": torch.__version__,
        "NumPy": np.__version__,
        "JupyterLab": _installed("jupyterlab"),
        "gptlib": _installed("gptlib"),
    }


def _installed(package: str) -> str:
    """The version of a package. A library that lies beside a notebook has none, and a hosted
    notebook may have another page than JupyterLab's."""
    try:
        return version(package)
    except PackageNotFoundError:
        return "not installed as a package"


def _table(facts: dict[str, str]) -> str:
    rows = "".join(
        f'<tr><th scope="row" style="text-align: left; padding-right: 1.5em">{in_markup(name)}'
        f'</th><td style="text-align: left">{in_markup(value)}</td></tr>'
        for name, value in facts.items()
    )
    return f'<table><caption style="text-align: left">This machine</caption>{rows}</table>'
