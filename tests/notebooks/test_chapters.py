"""The chapters as they lie in notebooks/ keep all rules."""

import pytest
from course import NOTEBOOKS, code_cells, read, tags
from gate import amounts, problems

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_there_are_chapters_and_they_are_numbered_without_a_gap():
    numbers = [int(path.name[:2]) for path in CHAPTERS]
    assert numbers
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_a_chapter_keeps_the_rules(path):
    assert problems(path) == []


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=[path.stem for path in CHAPTERS[1:]])
def test_a_chapter_takes_a_learner_about_an_hour(path):
    has = amounts(read(path))
    assert 2000 <= has["words"] <= 3500
    assert 25 <= has["code"] <= 55
    assert 3 <= has["exercises"] <= 5
    assert has["pictures"] >= 6 and has["views"] >= 2
    assert sum("quiz" in tags(cell) for cell in code_cells(read(path))) == 1
