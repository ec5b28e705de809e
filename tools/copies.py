"""Give the learner copies of the chapters, and never take work away.

A copy is the chapter without outputs; a paper is copied as it is. Beside the copies lies a list of
what was handed out, one digest for each: a copy that still has it was not changed and may be
replaced by a newer edition.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from itertools import count
from pathlib import Path

from course import CourseError, chapter_number, is_paper, read, write
from execution import clear_outputs, normalized
from nbformat import NotebookNode

from gptlib.files import replacing

MANIFEST = ".handed_out.json"


def hand_out(chapters: Sequence[Path], folder: Path) -> list[str]:
    """Bring the copies in `folder` up to date; return what the learner should know, in lines.

    A missing copy is written, an unchanged one replaced by a newer edition. A changed one stays,
    and where the chapter has a newer edition, or the copy is no notebook any more, a line says how
    to get a fresh one.
    """
    folder.mkdir(parents=True, exist_ok=True)
    handed_out, lines = _read_manifest(folder)
    for chapter in chapters:
        copy = folder / chapter.name
        edition = digest(read(chapter))           # what the chapter is now
        known = handed_out.get(chapter.name)      # what it was when the copy was made
        current = _digest_or_none(copy)           # what the copy is now
        if not copy.exists() or (known not in (None, edition) and current == known):
            _write_copy(chapter, copy)
            handed_out[chapter.name] = edition
        elif current == edition:
            handed_out[chapter.name] = edition
        elif current is None:
            lines.append(
                f"{copy.name} cannot be read as a notebook any more and stays as it is. "
                f"{_how_to_renew(copy)}"
            )
        elif known != edition:
            lines.append(_newer_edition(copy))
    with replacing(folder / MANIFEST) as temporary:
        temporary.write_text(json.dumps(handed_out, indent=1) + "\n", encoding="utf-8")
    return [*lines, f"Your copies of the chapters are in {_shown(folder)}."]


def fresh(chapter: Path, folder: Path) -> list[str]:
    """Put a fresh copy of a chapter in the place of the learner's, which stays beside it."""
    copy, lines = folder / chapter.name, []
    if copy.exists():
        aside = _free_name(copy)
        os.replace(copy, aside)
        lines = [f"Yours is now {aside.name}, and {copy.name} is as new."]
    return [*lines, *hand_out([chapter], folder)]


def _free_name(copy: Path) -> Path:
    """A name for the learner's own version that nobody has yet: 03_attention_mine.ipynb."""
    names = (f"{copy.stem}_mine{'' if n == 1 else n}.ipynb" for n in count(1))
    return next(copy.with_name(name) for name in names if not copy.with_name(name).exists())


def digest(notebook: NotebookNode) -> str:
    """A fingerprint of what a person wrote into `notebook`: the text of its cells.

    Outputs, numbers and metadata do not count, nor do empty cells: JupyterLab adds one when the
    last cell is run.
    """
    written = [
        [cell.cell_type, cell.source.strip()] for cell in notebook.cells if cell.source.strip()
    ]
    return hashlib.sha256(json.dumps(written).encode()).hexdigest()


def _digest_or_none(copy: Path) -> str | None:
    if not copy.exists():
        return None
    try:
        return digest(read(copy))
    except CourseError:
        return None  # not a notebook any more: the learner's, whatever it is


def _write_copy(chapter: Path, copy: Path) -> None:
    if is_paper(chapter):
        with replacing(copy) as temporary:
            temporary.write_bytes(chapter.read_bytes())
        return
    notebook = normalized(read(chapter))
    clear_outputs(notebook)
    write(notebook, copy)


def _read_manifest(folder: Path) -> tuple[dict[str, str], list[str]]:
    """What was handed out, by file name; a damaged list is set aside and a line tells so."""
    path = folder / MANIFEST
    if not path.exists():
        return {}, []
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
        if not isinstance(manifest, dict) or not all(map(_is_text, manifest.values())):
            raise ValueError("not a list of digests")
        return manifest, []
    except ValueError:
        aside = path.with_suffix(".damaged.json")
        os.replace(path, aside)
        return {}, [
            f"The list of what was handed out was damaged and is now {_shown(aside)}; "
            "no copy of yours was touched."
        ]


def _is_text(value: object) -> bool:
    return isinstance(value, str)


def _newer_edition(copy: Path) -> str:
    return (
        f"{copy.name}: there is a newer edition; yours has changes and stays as it is. "
        f"{_how_to_renew(copy)}"
    )


def _how_to_renew(copy: Path) -> str:
    if is_paper(copy):
        return "For the new one, give yours another name, and run make lab again."
    return f"For a fresh copy beside it: make fresh CHAPTER={chapter_number(copy)}."


def _shown(path: Path) -> str:
    """`path` as seen from where the learner stands."""
    try:
        return str(path.resolve().relative_to(Path.cwd()))
    except ValueError:
        return str(path)
