"""The course solved in JupyterLab, chapter after chapter, and the file that comes of it.

Every view is moved, too. All checks must be content and nothing else may look different than in
the blank chapter, so a right answer is as good as the course's, and a view disturbs nothing. Each
chapter goes on with what the ones before it have put into my_gpt.py, which is a GPT in the end.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from answered import CHAPTERS, WITH_EXERCISES, answered, exercises_of, results
from course import ROOT, code_cells, tags, write
from execution import WIDGET_VIEW, normalized
from nbformat.v4 import new_code_cell

from gptcourse import gpt
from gptcourse.exercises.keeping import FILE
from gptcourse.exercises.page import GIVEN, pieces
from gptcourse.exercises.whole_file import file_report


class SolvedCourse:
    """The folder of a learner who solves everything, and the chapters that are behind them."""

    def __init__(self, lab):
        self.lab, self.folder, self.done = lab, lab.folder / "solved", []
        self.folder.mkdir()
        self.file = self.folder / FILE

    def solve(self, name):
        """The chapter `name` with its exercises solved and its views moved, after it was run."""
        self.require(before(name))
        notebook = answered(CHAPTERS[name], lambda exercise: exercise.solution_source)
        notebook.cells = [
            each for cell in notebook.cells
            for each in ([cell, moving_cell()] if shows_a_widget(cell) else [cell])
        ]
        write(notebook, self.folder / f"{name}.ipynb")
        with self.lab.open(f"solved/{name}.ipynb") as chapter:
            chapter.run_to_the_end()
            run = normalized(chapter.notebook)
        self.done.append(name)
        return run

    def require(self, names):
        missing = [name for name in names if name not in self.done]
        if missing:
            pytest.fail(f"{FILE} lacks what {' and '.join(missing)} should put into it: see why "
                        "that failed, or run it before.", pytrace=False)


@pytest.fixture(scope="module")
def course(lab):
    return SolvedCourse(lab)


def before(name):
    return [other for other in WITH_EXERCISES if other < name]


def shows_a_widget(cell):
    return any(WIDGET_VIEW in output.get("metadata", {}) for output in cell.get("outputs", []))


def moving_cell():
    here = str(Path(__file__).parent)
    return new_code_cell(
        f"import sys; sys.path.append({here!r}); from driving import drive; drive(_)",
        metadata={"moves": True},
    )


def told(cell):
    """What a cell shows, as nbval compares it: all but pictures and widgets."""
    kept = []
    for output in cell.outputs:
        data = {
            kind: value for kind, value in output.get("data", {}).items()
            if kind not in ("image/png", WIDGET_VIEW)
        }
        kept.append((output.output_type, output.get("text"), sorted(data.items())))
    return kept


def definitions(path):
    """The names that a file defines, from the top; none where nothing was kept yet."""
    source = path.read_text(encoding="utf-8") if path.exists() else ""
    return [piece.names[0] for piece in pieces(source) if piece.kind == "definition"]


@pytest.mark.parametrize("name", CHAPTERS)
def test_a_solved_chapter_shows_the_same_as_a_blank_one_and_the_file_grows(name, course):
    solved = course.solve(name)
    blank = answered(CHAPTERS[name], lambda exercise: exercise.stub)

    assert sum("moves" in cell.metadata for cell in solved.cells) >= 2
    solved.cells = [cell for cell in solved.cells if "moves" not in cell.metadata]
    said = results(solved)
    assert all(line.startswith("✅") for line in said.values()), said
    for mine, stored in zip(code_cells(solved), code_cells(blank), strict=True):
        if not {"check", "exercise", "nbval-ignore-output"} & set(tags(stored)):
            assert told(mine) == told(stored), stored.source

    kept = {one.defines for done in course.done for one in exercises_of(done) if one.kept}
    kept |= {given for given, beside in GIVEN.items() if beside in kept}
    whole = definitions(Path(gpt.__file__))
    assert definitions(course.file) == [own for own in whole if own in kept]


def test_the_file_of_the_solved_course_can_do_everything(course):
    course.require(WITH_EXERCISES)
    assert definitions(course.file) == definitions(Path(gpt.__file__))
    report = file_report(course.file)
    assert {state for state, _, _ in report.points} == {"done"}, report


def test_what_is_proved_of_the_courses_answer_is_proved_of_the_file(course):
    course.require(WITH_EXERCISES)
    finished = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--color=no", "-p", "no:cacheprovider",
         "tests/test_gpt_file.py"],
        cwd=ROOT, env={**os.environ, "GPT_FILE": str(course.file)}, capture_output=True,
        encoding="utf-8", check=False,
    )
    assert finished.returncode == 0, finished.stdout
