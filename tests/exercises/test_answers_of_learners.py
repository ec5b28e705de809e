"""What learners write is judged as it should be: right in any style, wrong with its mistake named.

The known mistakes are edits of the solution; the files in `variants/` hold further answers, which
no judge has seen before.
"""

import importlib
import pkgutil

import pytest
import variants
from collecting import OTHER, RIGHT, WRONG

from gptcourse import gpt
from gptcourse.exercises import TODO, all_exercises
from gptcourse.exercises.checking import judge
from gptcourse.exercises.page import defined, edited, run

for module in pkgutil.iter_modules(variants.__path__):
    importlib.import_module(f"variants.{module.name}")

EXERCISES = {exercise.name: exercise for exercise in all_exercises()}
each_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.id)


def made(exercise, old, new):
    return defined(edited(exercise.solution_source, old, new), exercise.defines)


def numbered(table):
    return [pytest.param(EXERCISES[name], *one, id=f"{name}-{n}")
            for name, answers in table.items() for n, one in enumerate(answers)]


def test_exercises_stand_in_the_order_of_the_chapters_that_ask_for_them():
    chapters = [exercise.chapter for exercise in EXERCISES.values()]
    assert chapters == sorted(chapters)


@each_exercise
def test_the_solution_is_right(exercise):
    assert judge(exercise, exercise.solution)[0] == "right"


@each_exercise
def test_a_blank_is_not_done_yet_and_a_bug_is_wrong(exercise):
    stub = run(exercise.stub, "<stub>", {**vars(gpt), "TODO": TODO})[exercise.defines]
    status, _ = judge(exercise, stub)
    assert status == ("wrong" if exercise.bug else "todo")


@pytest.mark.parametrize(("exercise", "mistake"), [
    pytest.param(exercise, mistake, id=f"{exercise.id}-{n}")
    for exercise in EXERCISES.values() for n, mistake in enumerate(exercise.mistakes)])
def test_every_known_mistake_is_told_in_its_own_words(exercise, mistake):
    status, text = judge(exercise, mistake.definition)
    assert status in ("wrong", "raised") and mistake.told in text


@pytest.mark.parametrize(("exercise", "answer"), [
    pytest.param(EXERCISES[name], answer, id=f"{name}-{answer.__name__}-{n}")
    for name, answers in RIGHT.items() for n, answer in enumerate(answers)])
def test_other_right_answers_are_accepted(exercise, answer):
    status, text = judge(exercise, answer)
    assert status == "right", text


@pytest.mark.parametrize(("exercise", "old", "new", "told"), numbered(WRONG))
def test_wrong_edits_are_told(exercise, old, new, told):
    status, text = judge(exercise, made(exercise, old, new))
    assert status in ("wrong", "raised") and told in text, text


@pytest.mark.parametrize(("exercise", "answer", "told"), numbered(OTHER))
def test_other_wrong_answers_are_told(exercise, answer, told):
    status, text = judge(exercise, answer)
    assert status in ("wrong", "raised") and told in text, text
