"""The quizzes: five questions each, one right option, an explanation for each option."""

import html
import subprocess
import sys

import pytest

from gptcourse.quizzes import quiz

each_quiz = pytest.mark.parametrize("chapter", quiz.chapters())


@each_quiz
def test_every_option_is_explained_and_differs_from_the_others(chapter):
    questions = quiz.questions(chapter)
    assert len(questions) == 5
    for question in questions:
        options = [question.right, *question.wrong]
        assert len(options) >= 3
        assert len({option.text for option in options}) == len(options)
        assert len({option.explanation for option in options}) == len(options)
        assert all(option.text and option.explanation.endswith((".", ")")) for option in options)


@each_quiz
def test_the_right_option_has_no_fixed_place(chapter):
    places = [question.shuffled(n).index(question.right)
              for n, question in enumerate(quiz.questions(chapter))]
    again = [question.shuffled(n).index(question.right)
             for n, question in enumerate(quiz.questions(chapter))]
    assert places == again and len(set(places)) > 1


@each_quiz
def test_a_choice_is_explained_and_counted(chapter):
    view = getattr(quiz, chapter)
    assert repr(view) == f"<Quiz {chapter}: 0 of 5 right>"
    for n, question in enumerate(view.questions):
        for place, option in enumerate(view.options[n]):
            view.choices[n].value = place
            right = option is question.right
            assert view.explanation(n) == f"{'Right.' if right else 'No.'} {option.explanation}"
            assert html.escape(view.explanation(n)) in view._answers[n].value
            assert (f"gpt-right-{place}" in view.choices[n]._dom_classes) is right
        view.choices[n].value = view.options[n].index(question.right)
    assert repr(view) == f"<Quiz {chapter}: 5 of 5 right>" and "5 of 5" in view._score.value


@each_quiz
def test_the_page_without_a_kernel_shows_all_of_it(chapter):
    bundle = getattr(quiz, chapter)._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in bundle
    assert bundle["text/html"].count("<details>") == sum(
        1 + len(question.wrong) for question in quiz.questions(chapter))


def test_the_numbers_of_the_distractors_are_what_their_explanations_say():
    from gptcourse.quizzes import attention, tokenization
    assert len(tokenization._MERGED) == 3 and tokenization._MERGES == 50_000
    assert attention._ALLOWED == 136 and attention._D == 64


def test_an_unknown_quiz_names_those_that_there_are():
    with pytest.raises(AttributeError, match="choose from attention, blocks"):
        quiz.atention  # noqa: B018


def test_exercises_import_no_widgets():
    program = ("import sys, gptcourse.exercises; "
               "print([m for m in ('ipywidgets', 'matplotlib', 'IPython') if m in sys.modules])")
    finished = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True,
                              check=True)
    assert finished.stdout.strip() == "[]"
