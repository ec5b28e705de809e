"""The chapters as they lie in notebooks/ keep all rules."""

import re

import pytest
from course import NOTEBOOKS, code_cells, read, tags
from gate import amounts, problems
from pace import pace_of

from gptcourse.titles import TITLES

CHAPTERS = sorted(NOTEBOOKS.glob("*.ipynb"))


def test_the_chapters_are_those_that_the_course_has():
    assert [int(path.name[:2]) for path in CHAPTERS] == list(TITLES)


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_a_chapters_title_and_its_first_cell_name_its_number(path):
    number, cells = int(path.name[:2]), read(path).cells
    assert cells[0].source.splitlines()[0] == f"# {number} · {TITLES[number]}"
    assert cells[1].source.splitlines()[-1] == f"chapter.setup({number})"


@pytest.mark.parametrize("path", CHAPTERS, ids=[path.stem for path in CHAPTERS])
def test_a_chapter_keeps_the_rules(path):
    assert problems(path) == []


@pytest.mark.parametrize("path", CHAPTERS[1:], ids=[path.stem for path in CHAPTERS[1:]])
def test_a_chapter_fits_into_an_evening(path):
    has = {**amounts(read(path)), **pace_of(read(path)).amounts()}
    assert 2000 <= has["words"] <= 4300
    assert 25 <= has["code"] <= 70
    assert 3 <= has["blanks"] + has["classes"] + has["bugs"] <= 9
    assert has["pictures"] >= 6 and has["views"] >= 2
    assert sum("quiz" in tags(cell) for cell in code_cells(read(path))) == 1


def test_a_word_of_the_glossary_is_told_in_the_chapter_that_it_names():
    """It links to where a word is explained, so the word has to be there."""
    glossary = (NOTEBOOKS / "glossary.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| ([^|]+?) \| .+ \| \[\w+\]\((\S+?)\) \|$", glossary, re.MULTILINE)
    assert len(rows) == glossary.count("\n| ") - 1 > 50               # all but the heading
    told = {path.name: " ".join(cell.source for cell in read(path).cells).lower()
            for path in [*CHAPTERS, NOTEBOOKS / "help.md"]}
    for word, chapter in rows:
        first = re.split(r"[,(/]", word)[0].strip(" `").lower()
        assert first in told[chapter] or first.replace(" ", "_") in told[chapter], word
