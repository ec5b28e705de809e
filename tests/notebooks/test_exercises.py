"""The chapters with their exercises solved, and with wrong answers in them.

A blank chapter runs to its end, which is what nbval proves. Here each chapter is run twice more:
with every exercise solved and every view moved, where every check must be content and nothing else
may look different, so a right answer is as good as the course's, and a view disturbs nothing; and
with a wrong answer in every exercise, which must be told so without stopping the chapter. All of it
runs in folders of its own, for a check leaves files beside the notebook.
"""

from pathlib import Path

import nbformat
import pytest
from course import NOTEBOOKS, code_cells, read, tags
from execution import WIDGET_VIEW, execute
from nbformat.v4 import new_code_cell

from gptcourse import gpt
from gptcourse.exercises import NotSolved, all_exercises, check
from gptcourse.exercises.page import pieces

EXERCISES = {exercise.id: exercise for exercise in all_exercises()}
CHAPTERS = {
    path.stem: path
    for path in sorted(NOTEBOOKS.glob("*.ipynb"))
    if any("exercise" in tags(cell) for cell in code_cells(read(path)))
}
every_chapter = pytest.mark.parametrize("name", CHAPTERS)


@pytest.fixture(autouse=True)
def in_an_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def answered(name, folder, answer, moved=False):
    """A copy of a chapter in which each exercise holds `answer(exercise)`.

    Where its views are to be `moved`, a cell that does so follows each of them.
    """
    notebook = read(CHAPTERS[name])
    for cell in code_cells(notebook):
        if "exercise" in tags(cell):
            cell.source = answer(EXERCISES[cell.metadata["id"]])
    if moved:
        notebook.cells = [
            each for cell in notebook.cells
            for each in ([cell, moving_cell()] if shows_a_widget(cell) else [cell])
        ]
    path = folder / f"{name}.ipynb"
    nbformat.write(notebook, path)
    return path


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
            if kind not in ("image/png", "application/vnd.jupyter.widget-view+json")
        }
        kept.append((output.output_type, output.get("text"), sorted(data.items())))
    return kept


def results(notebook):
    """What the checks of the exercises say, by the id of the exercise."""
    said, current = {}, None
    for cell in code_cells(notebook):
        if "exercise" in tags(cell):
            current = cell.metadata["id"]
        elif "check" in tags(cell) and current and current not in said:
            said[current] = "".join(o.get("data", {}).get("text/plain", "") for o in cell.outputs)
    return said


def exercises_of(name):
    return [one for one in EXERCISES.values() if one.chapter == int(name[:2])]


def a_wrong_answer_to(exercise):
    """A known mistake, but none that the chapter itself asks to be found."""
    return next(one for one in exercise.mistakes if one.source != exercise.stub)


def test_every_exercise_belongs_to_a_chapter():
    assert {exercise.chapter for exercise in EXERCISES.values()} == {int(n[:2]) for n in CHAPTERS}


@every_chapter
def test_a_chapter_has_its_exercises_in_their_order_and_as_they_are_given(name):
    found = {cell.metadata["id"]: cell.source for cell in code_cells(read(CHAPTERS[name]))
             if "exercise" in tags(cell)}
    assert list(found) == [exercise.id for exercise in exercises_of(name)]
    for identity, source in found.items():
        assert source == EXERCISES[identity].stub.rstrip("\n"), identity


@every_chapter
def test_a_line_after_each_exercise_checks_it(name):
    cells = code_cells(read(CHAPTERS[name]))
    checked = [after.source for cell, after in zip(cells, cells[1:], strict=False)
               if "exercise" in tags(cell) and "check" in tags(after)]
    assert checked == [f"check.{one.name}({one.defines})" for one in exercises_of(name)]


@every_chapter
def test_a_blank_chapter_says_of_every_exercise_that_it_is_not_done_yet(name):
    said = results(read(CHAPTERS[name]))
    assert len(said) >= 3
    assert all(line.startswith("⬜") for line in said.values()), said


@every_chapter
def test_a_solved_chapter_whose_views_are_moved_shows_the_same_as_a_blank_one(
    name, tmp_path, monkeypatch
):
    monkeypatch.setenv("GPTLIB_CHECK", "require")
    path = answered(name, tmp_path, lambda exercise: exercise.solution_source, moved=True)
    execute(path)
    solved, blank = read(path), read(CHAPTERS[name])
    assert sum("moves" in cell.metadata for cell in solved.cells) >= 2
    solved.cells = [cell for cell in solved.cells if "moves" not in cell.metadata]
    assert all(line.startswith("✅") for line in results(solved).values())
    for mine, stored in zip(code_cells(solved), code_cells(blank), strict=True):
        if not {"check", "exercise", "nbval-ignore-output"} & set(tags(stored)):
            assert told(mine) == told(stored), stored.source
    kept = {one.defines for one in exercises_of(name) if one.kept}
    whole = definitions(Path(gpt.__file__))
    assert definitions(tmp_path / "my_gpt.py") == [own for own in whole if own in kept]


def definitions(path):
    """The names that a file defines, from the top."""
    return [piece.names[0] for piece in pieces(path.read_text(encoding="utf-8"))
            if piece.kind == "definition"]


@every_chapter
def test_a_chapter_with_wrong_answers_says_so_and_goes_on_to_its_end(name, tmp_path, monkeypatch):
    monkeypatch.delenv("GPTLIB_CHECK", raising=False)
    path = answered(name, tmp_path, lambda exercise: a_wrong_answer_to(exercise).source)
    execute(path)
    wrong = read(path)
    assert all(line.startswith(("❌", "💥")) for line in results(wrong).values()), results(wrong)
    assert all(cell.execution_count for cell in code_cells(wrong))
    assert not (tmp_path / "my_gpt.py").exists()


@pytest.mark.parametrize("identity", EXERCISES)
def test_a_wrong_answer_fails_where_right_ones_are_required(identity, monkeypatch):
    monkeypatch.setenv("GPTLIB_CHECK", "require")
    exercise = EXERCISES[identity]
    with pytest.raises(NotSolved):
        getattr(check, exercise.name)(a_wrong_answer_to(exercise).definition)
