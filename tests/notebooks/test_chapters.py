"""The chapters as they lie in notebooks/ keep all rules."""

import pytest
from course import NOTEBOOKS
from gate import problems

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_there_are_chapters_and_they_are_numbered_without_a_gap():
    numbers = [int(path.name[:2]) for path in CHAPTERS]
    assert numbers
    assert numbers == list(range(len(numbers)))


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_a_chapter_keeps_the_rules(path):
    assert problems(path) == []
