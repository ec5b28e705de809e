"""What every tool knows of the course: where the chapters lie, how one is read and written."""

from __future__ import annotations

import os
import re
from collections.abc import Sequence
from pathlib import Path

import nbformat
import zmq
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell, new_notebook

ROOT = Path(__file__).resolve().parent.parent
NOTEBOOKS = ROOT / "notebooks"
WORKBOOK = ROOT / "workbook"
SITE = ROOT / "site"
CELL_TIMEOUT = 600  # seconds, whoever runs the cell

# Every kernel of the course runs under these, whoever starts it.
ENVIRONMENT = {
    # The kernel of this virtual environment comes before one that lies in the home folder.
    "JUPYTER_PREFER_ENV_PATH": "1",
    # torch's threads sleep while they wait. By default they spin, and where two kernels, or a
    # cell and a view, share few cores, that makes both of them ten times slower.
    "OMP_WAIT_POLICY": "PASSIVE",
}


def without_models(folder: Path) -> dict[str, str]:
    """Settings under which no chapter finds a model that it would have to download: so it shows the
    same on every machine. The folder stays empty."""
    return {
        "HF_HUB_OFFLINE": "1",  # it would try the network for minutes
        "HF_HOME": str(folder / "huggingface"),
        "GPTLIB_CACHE": str(folder / "gptlib"),
        "PIP_NO_INDEX": "1",
        "PIP_CONFIG_FILE": os.devnull,  # which might name a folder of packages
    }


class CourseError(Exception):
    """Something a person has to mend, told in one sentence."""


def prepare_environment() -> None:
    """Hand ENVIRONMENT to every process that is started from here on."""
    os.environ.update(ENVIRONMENT)


def transport_encryption() -> str:
    """Whether what a kernel and its page tell each other is encrypted: wherever that is possible.

    On a computer with several users, others could read it. The kernel complains if it is not.
    """
    return "auto" if zmq.has("curve") else "disabled"


def chapters(names: Sequence[str] = (), folder: Path = NOTEBOOKS) -> list[Path]:
    """The notebooks of the course in reading order, or those of them that `names` picks.

    A name is a path, a file name, or the start of one: "03" picks 03_attention.ipynb.
    Raises a CourseError where there is no chapter, or none of that name.
    """
    every = sorted(folder.glob("[0-9][0-9]_*.ipynb"))
    if not every:
        raise CourseError(f"There is no chapter in {folder}: is this the whole repository?")
    if not names:
        return every
    picked = []
    for name in names:
        found = [path for path in every if path.name.startswith(Path(name).name)]
        if not found:
            raise CourseError(
                f"No chapter is called {name!r}; there are {', '.join(p.stem for p in every)}: "
                "name one of them, or its number."
            )
        picked += found
    return picked


def papers(folder: Path = NOTEBOOKS) -> list[Path]:
    """What lies beside the chapters to be looked up, as Markdown: the glossary, and help."""
    return sorted(folder.glob("*.md"))


def is_paper(path: Path) -> bool:
    return path.suffix == ".md"


def chapter_number(path: Path) -> str:
    """The two digits that a chapter's file name starts with."""
    return re.match(r"\d\d", path.name)[0]


def read(path: Path) -> NotebookNode:
    """The notebook at `path`; a paper is one of a single text cell.

    Raises a CourseError where it is none.
    """
    faults = {}
    try:
        if is_paper(path):
            text = path.read_text(encoding="utf-8").rstrip("\n")
            return new_notebook(cells=[new_markdown_cell(text)])
        notebook = nbformat.read(path, as_version=4, capture_validation_error=faults)
        if faults:
            raise faults["ValidationError"]
        return notebook
    except (ValueError, KeyError, TypeError, AttributeError, nbformat.ValidationError) as error:
        reason = str(error).splitlines()[0][:120] if str(error) else type(error).__name__
        raise CourseError(f"{path} cannot be read as a notebook ({reason}): restore it.") from error


def write(notebook: NotebookNode, path: Path) -> None:
    """Write `notebook` to `path`, whole or not at all."""
    from gptlib.files import replacing  # with all of torch, which most tools do without

    with replacing(path) as temporary:
        temporary.write_text(nbformat.writes(notebook) + "\n", encoding="utf-8", newline="\n")


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])
