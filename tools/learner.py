"""How far the learner has come, as the progress in the workbook says."""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

from course import chapter_number

from gptcourse.exercises import check


def progress(chapters: Sequence[Path], folder: Path) -> tuple[str, Path]:
    """A line about the exercises, and the chapter to go on with: the first with one left to solve.

    Whoever has solved nothing yet begins at the beginning.
    """
    here = Path.cwd()
    os.chdir(folder)                          # progress is kept beside the notebooks
    try:
        rows = check.report().rows
    finally:
        os.chdir(here)
    solved = sum(row.solved for row in rows)
    left = [row.exercise.chapter for row in rows if not row.solved]
    if not solved:
        return f"{len(rows)} exercises are waiting for you.", chapters[0]
    if not left:
        return f"All {len(rows)} exercises are solved.", chapters[-1]
    current = next((path for path in chapters if int(chapter_number(path)) == min(left)),
                   chapters[0])
    return f"{solved} of {len(rows)} exercises are solved; {current.name} has the next.", current
