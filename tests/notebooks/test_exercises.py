"""The exercises of the chapters: each is there as the course has it, blank, with its check.

That a solved chapter is content, and that one with wrong answers goes on to its end, is proved in a
browser.
"""

import pytest
from answered import CHAPTERS, EXERCISES, WITH_EXERCISES, a_wrong_answer_to, exercises_of, results
from course import code_cells, read, tags

from gptcourse.exercises import NotSolved, check
from gptcourse.exercises.page import defined

every_chapter = pytest.mark.parametrize("name", WITH_EXERCISES)


def test_every_exercise_belongs_to_a_chapter():
    numbers = {int(name[:2]) for name in WITH_EXERCISES}
    assert {exercise.chapter for exercise in EXERCISES.values()} == numbers


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
    assert len(said) == len(exercises_of(name))
    assert all(line.startswith("⬜") for line in said.values()), said


@pytest.mark.parametrize("identity", EXERCISES)
def test_a_wrong_answer_fails_where_right_ones_are_required(identity, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)                     # a check leaves files beside the notebook
    monkeypatch.setenv("GPTLIB_CHECK", "require")
    exercise = EXERCISES[identity]
    wrong = defined(a_wrong_answer_to(exercise), exercise.defines)
    with pytest.raises(NotSolved):
        getattr(check, exercise.name)(wrong)
