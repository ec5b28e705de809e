"""The pace of a chapter: the minutes on its card follow from what is in it, and it asks for nothing
too often or too seldom."""

from dataclasses import asdict

import pytest
from execution import WIDGET_VIEW
from nbformat.v4 import new_notebook, new_output
from pace import pace_of, pace_problems
from small_chapter import code, text

PREDICT = "> **Predict.** What comes next?"
CARD = "# Sums\n\n**You add.**\n\n*{} minutes. You need fingers.*"


def chapter(*cells, minutes):
    return new_notebook(cells=[text(CARD.format(minutes)), *cells])


def exercise(source):
    return code(source, tags=["exercise"], id="02.twice")


def plain(n):
    return [code("1 + 1") for _ in range(n)]


def test_words_are_those_of_the_prose():
    cell = text("# One two\n\nthree $not_me + 4$ **four** `not_me`\n\n```\nnot me\n```")
    assert pace_of(new_notebook(cells=[cell])).words == 4


def test_everything_is_counted():
    notebook = new_notebook(cells=[
        text(f"One\n\n{PREDICT}\n\n{PREDICT}"), text("> **Find out.** How long?"),
        exercise("def f():\n    TODO"), exercise("@no_grad()\nclass F:\n    TODO"),
        exercise("class F:\n    x = 1"), exercise("def f():\n    return 2"),
        code("assert x\nfor y in x:\n    assert y  # assert"),
    ])
    assert asdict(pace_of(notebook)) == {
        "words": 13, "code": 5, "blanks": 1, "classes": 1, "bugs": 2, "predictions": 2,
        "asserts": 2, "stretch": 1,
    }


@pytest.mark.parametrize(("words", "cells", "exercises", "minutes"), [
    (0, 0, 0, 0),
    (1600, 0, 0, 10),
    (0, 10, 0, 10),
    (0, 10, 5, 50),
    (480, 0, 0, 5),                # three
    (4088, 44, 4, 100),
])
def test_the_rule_of_the_minutes(words, cells, exercises, minutes):
    notebook = new_notebook(cells=[
        text("word " * words or "-"), *plain(cells - exercises),
        *(exercise("TODO") for _ in range(exercises)),
    ])
    assert pace_of(notebook).minutes == minutes


@pytest.mark.parametrize("asks", [
    text(PREDICT),
    text("Look.\n\n> **Find out.** How long?"),
    exercise("def twice(x):\n    TODO"),
    code("quiz.sums", tags=["quiz"]),
    code("view()", new_output("display_data", data={WIDGET_VIEW: {}})),
    code("view()", new_output("display_data", metadata={WIDGET_VIEW: {"live_only": True}})),
])
def test_a_stretch_ends_where_the_reader_has_something_to_do(asks):
    assert pace_of(new_notebook(cells=[*plain(4), asks, *plain(5)])).stretch == 5


@pytest.mark.parametrize("asks_nothing", [
    text("A prediction: **Predict.**"),
    text("## Exercise"),
    code("check.twice(twice)", tags=["check"]),
])
def test_a_stretch_goes_on_over_what_asks_nothing(asks_nothing):
    assert pace_of(new_notebook(cells=[*plain(4), asks_nothing, *plain(5)])).stretch == 9


def test_a_chapter_at_its_limits_has_no_problem():
    cells = [*(text(PREDICT) for _ in range(8)), code("assert 1, 2\nassert 3"),
             *(code("assert 1") for _ in range(4)), *plain(3)]
    assert [*pace_problems(chapter(*cells, minutes=10))] == []


@pytest.mark.parametrize(("notebook", "said"), [
    (chapter(*plain(1), minutes=10), "says 10 minutes, but by the rule it is 0 "),
    (new_notebook(cells=[text("# Sums"), *plain(5)]), "does not say how long"),
    (new_notebook(), "does not say how long"),
    (chapter(*plain(9), minutes=10), "9 code cells in a row ask nothing"),
    (chapter(*(text(PREDICT) for _ in range(9)), minutes=0), "asks for 9 predictions, but 8 at most"),
    (chapter(*(code("assert 1") for _ in range(7)), minutes=5), "has 7 asserts, but 6 at most"),
])
def test_the_pace_that_is_wrong_is_named(notebook, said):
    (problem,) = pace_problems(notebook)
    assert said in problem
