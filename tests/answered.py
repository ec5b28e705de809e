"""The chapters with their exercises answered, and what their checks say of it."""

from collections.abc import Callable
from pathlib import Path

from course import chapters, code_cells, read, tags
from nbformat import NotebookNode

from gptcourse.exercises import all_exercises
from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.page import edited

CHAPTERS = {path.stem: path for path in chapters()}
EXERCISES = {exercise.id: exercise for exercise in all_exercises()}
WITH_EXERCISES = [name for name, path in CHAPTERS.items()
                  if any("exercise" in tags(cell) for cell in code_cells(read(path)))]


def exercises_of(name: str) -> list[Exercise]:
    return [one for one in EXERCISES.values() if one.chapter == int(name[:2])]


def answered(path: Path, answer: Callable[[Exercise], str]) -> NotebookNode:
    """The chapter at `path`, with the source `answer(exercise)` in the cell of each exercise.

    Cells tagged `long` are left out: no answer makes a difference to them, and nbval runs them.
    """
    notebook = read(path)
    notebook.cells = [cell for cell in notebook.cells if "long" not in tags(cell)]
    for cell in code_cells(notebook):
        if "exercise" in tags(cell):
            cell.source = answer(EXERCISES[cell.metadata["id"]])
    return notebook


def a_wrong_answer_to(exercise: Exercise) -> str:
    """A known mistake, but none that the chapter itself asks to be found; or else an empty body."""
    known = (one.source for one in exercise.mistakes if one.source != exercise.stub)
    return next(known, edited(exercise.solution_source, "", "    pass"))


def results(notebook: NotebookNode) -> dict[str, str]:
    """What the checks of the exercises say, by the id of the exercise."""
    said, current = {}, None
    for cell in code_cells(notebook):
        if "exercise" in tags(cell):
            current = cell.metadata["id"]
        elif "check" in tags(cell) and current and current not in said:
            said[current] = "".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs)
    return said
