"""Every object that a page shows as HTML, with text that is no HTML."""

import importlib
import inspect
import pkgutil
from dataclasses import replace

import pytest
from any_text import ODD_TEXTS, check_page

import gptlib
from gptcourse.chapter import Chapter, Machine, _table
from gptcourse.exercises.book import Report, Row, check
from gptcourse.exercises.result import Hint, Result
from gptcourse.exercises.whole_file import FileReport
from gptcourse.listing import Source
from gptcourse.quizzes.quiz import Option, Question
from gptcourse.quizzes.view import Quiz

EXERCISE = check.causal_mask.exercise


def quiz_of(text: str) -> list[str]:
    quiz = Quiz(text, [Question(text, Option(text, text), (Option(text + "b", text),))])
    quiz.choices[0].value = 0
    return [quiz._as_page(), *(part.value for part in quiz.children[1:] if hasattr(part, "value")
                               and part not in quiz.choices)]


PAGES = {
    Chapter: lambda text: [Chapter(1, text)._repr_html_()],
    Source: lambda text: [Source(text, text)._repr_html_()],
    Result: lambda text: [Result(EXERCISE, "wrong", text)._repr_html_()],
    FileReport: lambda text: [FileReport(text, ((text, text, text),))._repr_html_()],
    Hint: lambda text: [Hint(text, text)._repr_html_()],
    Report: lambda text: [Report((Row(replace(EXERCISE, goal=text)),), (text,))._repr_html_()],
    Machine: lambda text: [_table({text: text})],
    Quiz: quiz_of,
}


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
@pytest.mark.parametrize("kind", PAGES, ids=lambda kind: kind.__name__)
def test_no_text_becomes_an_element(kind, text):
    for page in PAGES[kind](text):
        check_page(page)


def test_everything_that_shows_itself_as_html_is_tried():
    modules = [importlib.import_module(module.name)
               for module in pkgutil.walk_packages(gptlib.__path__, "gptlib.")]
    showing = {thing for module in modules
               for _, thing in inspect.getmembers(module, inspect.isclass)
               if thing.__module__ == module.__name__
               and {"_repr_html_", "_as_page"} & set(vars(thing))}
    assert showing <= set(PAGES), showing - set(PAGES)
