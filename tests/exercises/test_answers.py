"""Every check accepts right answers of any style and refuses wrong ones, with the reason."""

import copy
import inspect
import math
import runpy
from collections import Counter
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from collecting import RIGHT, WRONG

import gptlib
from gptcourse.exercises import TODO, all_exercises
from gptcourse.exercises.checking import _equal, judge
from gptcourse.exercises.trial import attempt
from gptlib import attention as _attention  # noqa: F401
from gptlib.attention import attention_weights
from gptlib.blocks import gelu
from gptlib.tokenizer import merge
from gptlib.training import next_token_loss

VARIANTS = Path(__file__).parent / "variants"
for _file in sorted(VARIANTS.glob("*.py")):
    runpy.run_path(str(_file))

EXERCISES = {exercise.name: exercise for exercise in all_exercises()}
MISTAKES = [(name, mistake) for name, exercise in EXERCISES.items()
            for mistake in exercise.mistakes]
RIGHT_ONES = [(name, function) for name, functions in RIGHT.items() for function in functions]
WRONG_ONES = [(name, *pair) for name, pairs in WRONG.items() for pair in pairs]
each_exercise = pytest.mark.parametrize("name", EXERCISES)


def title(value):
    return value.__name__ if callable(value) else None


# What a notebook has imported when a solution, or a wrong answer, is put into its cell.
NOTEBOOK = {"math": math, "torch": torch, "F": F, "Counter": Counter, "gptlib": gptlib,
            "attention_weights": attention_weights, "gelu": gelu, "merge": merge,
            "next_token_loss": next_token_loss, "TODO": TODO}


def written_in_a_cell(source, name):
    cell = dict(NOTEBOOK)
    exec(compile(source, "<a cell>", "exec"), cell)
    return cell[name]


@each_exercise
def test_the_solution_as_text_is_right(name):
    exercise = EXERCISES[name]
    status, text = judge(exercise, written_in_a_cell(exercise.solution_source, name))
    assert (status, text.split(";")[0].split(" on ")[0]) == ("right", "right")


@each_exercise
def test_the_stub_is_not_done_yet(name):
    stub = EXERCISES[name].stub
    assert stub.rstrip().endswith("return TODO")
    status, text = judge(EXERCISES[name], written_in_a_cell(stub, name))
    assert (status, text.split(".")[0]) == ("todo", "not done yet")


@each_exercise
def test_the_wrong_answer_as_text_is_recognized(name):
    exercise = EXERCISES[name]
    status, text = judge(exercise, written_in_a_cell(exercise.wrong_source, name))
    assert status == "wrong"
    assert exercise.diagnosis(exercise.mistakes[0]) in text
    assert exercise.wrong_source.splitlines()[0] == exercise.stub.splitlines()[0]


@pytest.mark.parametrize(("name", "function"), RIGHT_ONES, ids=title)
def test_a_right_answer_of_another_style_is_accepted(name, function):
    status, text = judge(EXERCISES[name], function)
    assert status == "right", text


@pytest.mark.parametrize(("name", "mistake"), MISTAKES, ids=title)
def test_each_known_mistake_is_told_apart_from_all_others(name, mistake):
    status, text = judge(EXERCISES[name], mistake)
    assert status in ("wrong", "raised")
    assert EXERCISES[name].diagnosis(mistake) in text


@pytest.mark.parametrize("name", [name for name, exercise in EXERCISES.items()
                                  if not exercise.changes_inputs])
def test_known_mistakes_leave_their_inputs_as_they_are(name):
    for given in EXERCISES[name].cases(torch.Generator().manual_seed(0)):
        before = copy.deepcopy(given)
        for mistake in EXERCISES[name].mistakes:
            attempt(mistake, given)
            assert all(map(_equal, given, before)), mistake.__name__


@pytest.mark.parametrize(("name", "function", "told"), WRONG_ONES, ids=title)
def test_a_wrong_answer_is_refused_with_its_reason(name, function, told):
    status, text = judge(EXERCISES[name], function)
    assert status in ("wrong", "raised"), text
    assert told in text or told.capitalize() in text, text
    assert "\n" not in text


@each_exercise
def test_enough_answers_are_tried(name):
    assert len(RIGHT[name]) >= 2
    diagnoses = {EXERCISES[name].diagnosis(mistake) for mistake in EXERCISES[name].mistakes}
    assert len(diagnoses) == len(EXERCISES[name].mistakes) >= 6
    assert len(WRONG[name]) >= 6


def test_the_number_of_trials_is_shown(record_testsuite_property, capsys):
    numbers = {"exercises": len(EXERCISES), "right accepted": len(RIGHT_ONES) + len(EXERCISES),
               "wrong refused": len(WRONG_ONES) + len(MISTAKES)}
    for kind, number in numbers.items():
        record_testsuite_property(kind, number)
    with capsys.disabled():
        print(f"\n{numbers}")
    assert set(RIGHT) == set(WRONG) == set(EXERCISES)


# ------------------------------------------------------------------------ the exercises themselves


@each_exercise
def test_an_exercise_is_short_and_complete(name):
    exercise = EXERCISES[name]
    body = exercise.solution_source[len(exercise.stub) - len("    return TODO\n") :]
    most = 8 if name == "merge" else 6
    assert 1 <= len(body.strip().splitlines()) <= most
    assert len(exercise.stub.splitlines()) <= 12
    assert len(exercise.hints) == 3 and all(exercise.hints)
    assert exercise.goal.endswith(".")
    assert max(map(len, exercise.solution_source.splitlines())) <= 100


@each_exercise
def test_a_diagnosis_is_whole_sentences(name):
    for mistake in EXERCISES[name].mistakes:
        diagnosis = EXERCISES[name].diagnosis(mistake)
        assert diagnosis[0].isupper() or diagnosis.startswith(("eps", "torch", "x ", "gelu", "2/",
                                                               "attention_norm"))
        assert diagnosis.endswith((".", "~mask.", "-1."))


@each_exercise
def test_trials_differ_in_size_and_one_is_a_single_token(name):
    cases = EXERCISES[name].cases(torch.Generator().manual_seed(0))
    assert len(cases) >= 3
    sizes = {str([tuple(x.shape) if isinstance(x, torch.Tensor) else x for x in case])
             for case in cases}
    assert len(sizes) == len(cases)


@each_exercise
def test_the_solution_takes_the_arguments_in_the_order_of_the_reference(name):
    exercise = EXERCISES[name]
    theirs = list(inspect.signature(exercise.reference).parameters)
    assert len(theirs) >= len(exercise.parameters)


def test_the_names_are_unique_and_the_ids_name_the_chapter():
    ids = [exercise.id for exercise in all_exercises()]
    assert len(EXERCISES) == len(ids) == len(set(ids))
    assert ids == sorted(ids, key=lambda id_: id_[:2])
