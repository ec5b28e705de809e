"""What learners write is judged as it should be: right in any style, wrong with its mistake named.

The known mistakes are edits of the solution; the files in `variants/` hold further answers, which
no table of the course knows.
"""

import ast
import importlib
import pkgutil
from collections import Counter

import pytest
import torch
import variants
from collecting import ENDLESS, RIGHT, WRONG

from gptcourse import gpt
from gptcourse.exercises import TODO, all_exercises, checking
from gptcourse.exercises.checking import judge
from gptcourse.exercises.page import GIVEN, course_pieces, defined, edited, run

for module in pkgutil.iter_modules(variants.__path__):
    importlib.import_module(f"variants.{module.name}")

EXERCISES = {exercise.name: exercise for exercise in all_exercises()}
MISTAKES = [pytest.param(exercise, mistake, id=f"{exercise.id}-{n}")
            for exercise in EXERCISES.values() for n, mistake in enumerate(exercise.mistakes)]
RIGHT_ONES = [pytest.param(EXERCISES[name], answer, id=f"{name}-{answer.__name__}")
              for name, answers in RIGHT.items() for answer in answers]
WRONG_ONES = [pytest.param(EXERCISES[name], *edit, id=f"{name}-{n}")
              for name, edits in WRONG.items() for n, edit in enumerate(edits)]
each_exercise = pytest.mark.parametrize("exercise", EXERCISES.values(), ids=lambda e: e.id)


@each_exercise
def test_the_solution_is_right(exercise):
    status, text = judge(exercise, exercise.solution)
    assert status == "right", text


def test_a_bug_is_mended_in_the_way_in_which_it_was_written():
    """What is shown is right, even where gpt.py has it otherwise, and keeps the stub's lines."""
    shown = [exercise for exercise in EXERCISES.values() if exercise.mended]
    assert "copycat" in {exercise.name for exercise in shown}
    for exercise in shown:
        status, text = judge(exercise, defined(exercise.shown_source, exercise.defines))
        assert status == "right", text
        stub, mended = exercise.stub.splitlines(), exercise.shown_source.splitlines()
        assert len(stub) == len(mended)
        assert 0 < sum(one != other for one, other in zip(stub, mended, strict=True)) <= 2


@each_exercise
def test_a_blank_is_not_done_yet_and_a_bug_is_wrong(exercise):
    stub = run(exercise.stub, "<stub>", {**vars(gpt), "TODO": TODO})[exercise.defines]
    assert judge(exercise, stub)[0] == ("wrong" if exercise.bug else "todo")


@pytest.mark.parametrize(("exercise", "mistake"), MISTAKES)
def test_every_known_mistake_is_told_in_its_own_words(exercise, mistake):
    status, text = judge(exercise, mistake.definition)
    assert status in ("wrong", "raised") and mistake.told in text, text


@pytest.mark.parametrize(("exercise", "answer"), RIGHT_ONES)
def test_a_right_answer_of_another_style_is_accepted(exercise, answer):
    status, text = judge(exercise, answer)
    assert status == "right", text


@pytest.mark.parametrize(("exercise", "old", "new", "told"), WRONG_ONES)
def test_a_wrong_answer_is_refused_with_its_reason(exercise, old, new, told, monkeypatch):
    if told == ENDLESS:
        monkeypatch.setattr(checking, "TIME_LIMIT", 0.3)
    source = edited(exercise.solution_source, old, new)
    status, text = judge(exercise, defined(source, exercise.defines))
    assert status in ("wrong", "raised") and told in text, text
    assert "\n" not in text


@pytest.mark.parametrize("name", ["first_train", "first_generate", "train", "generate"])
def test_what_comes_all_together_is_refused(name):
    exercise = EXERCISES[name]
    _, text = judge(exercise, lambda *given: list(exercise.solution(*given)))
    assert "comes together, after the last one" in text
    _, text = judge(exercise, lambda *given: iter(list(exercise.solution(*given))))
    assert "when the first one comes, the model has been called" in text


@pytest.mark.parametrize("name", ["first_train", "train"])
def test_a_loss_that_comes_before_its_step_is_refused(name):
    exercise, line = EXERCISES[name], "        yield loss.item()\n"
    source = edited(exercise.solution_source, line, "")
    step = "        loss.backward()\n"
    too_early = defined(edited(source, step, line + step), "train")
    assert "no step has been taken" in judge(exercise, too_early)[1]


def test_the_number_of_answers_is_shown(record_testsuite_property, capsys):
    numbers = {"exercises": len(EXERCISES), "right accepted": len(RIGHT_ONES) + len(EXERCISES),
               "wrong refused": len(WRONG_ONES) + len(MISTAKES)}
    for kind, number in numbers.items():
        record_testsuite_property(kind, number)
    with capsys.disabled():
        print(f"\n{numbers}")
    assert set(RIGHT) >= {name for name, one in EXERCISES.items() if not one.bug}


# ------------------------------------------------------------------------ the exercises themselves


@each_exercise
def test_a_stub_is_the_head_of_its_solution(exercise):
    stub, solution = exercise.stub.splitlines(), exercise.solution_source.splitlines()
    ast.parse(exercise.stub)
    assert stub[0] == solution[0] and '"""' in "".join(stub[1:4])
    todos = sum(line.split()[-1:] == ["TODO"] for line in stub)
    assert todos == (0 if exercise.bug else max(1, todos))


@each_exercise
def test_an_exercise_says_what_it_wants_and_how_to_get_there(exercise):
    assert exercise.goal.endswith((".", "?")) and "\n" not in exercise.goal
    assert len(exercise.hints) == 3 and all(exercise.hints)


@each_exercise
def test_every_mistake_has_words_of_its_own_in_whole_sentences(exercise):
    told = Counter(mistake.told for mistake in exercise.mistakes)
    assert {*told.values()} <= {1}
    assert all(text.endswith((".", "?")) for text in told)


@each_exercise
def test_trials_differ_in_size(exercise):
    cases = [*exercise.cases(torch.Generator().manual_seed(0))]
    sizes = {str([tuple(x.shape) if isinstance(x, torch.Tensor) else x for x in case])
             for case in cases}
    assert len(sizes) == len(cases) >= 3


def test_the_names_are_unique_and_the_ids_name_the_chapter():
    ids = [exercise.id for exercise in all_exercises()]
    assert len(EXERCISES) == len(ids) == len(set(ids))
    assert ids == sorted(ids, key=lambda identity: identity[:2])


def test_all_of_gpt_py_is_an_exercise():
    every = {piece.names[0] for piece in course_pieces() if piece.kind == "definition"}
    kept = Counter(one.defines for one in all_exercises() if one.kept)
    assert not set(kept) & set(GIVEN) and {*kept, *GIVEN} == every
