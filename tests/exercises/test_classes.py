"""A class is judged by its parts and by what it computes; whatever it does, the reason is told."""

import itertools
import linecache

import pytest
import torch

from gptcourse import gpt
from gptcourse.exercises import TODO, check
from gptcourse.exercises.attention import WIDE
from gptcourse.exercises.checking import judge
from gptcourse.exercises.page import edited

EXERCISE = check.MultiHeadAttention.exercise
SOURCE, HEAD = EXERCISE.solution_source, "class MultiHeadAttention(nn.Module):"
CALL, OUTPUT = "super().__init__()", "self.output = nn.Linear(C, C)"
RESULT = "return self.output(mixed)"
numbers = itertools.count()


def layer(*edits):
    """The solution with these places changed, written into a cell."""
    source = SOURCE
    for edit in edits:
        source = edited(source, *edit)
    name, notebook = f"<class {next(numbers)}>", {**vars(gpt), "TODO": TODO}
    linecache.cache[name] = (len(source), None, source.splitlines(keepends=True), name)
    exec(compile(source, name, "exec"), notebook)
    return notebook["MultiHeadAttention"]


def line_of(text, *edits):
    source = SOURCE
    for edit in edits:
        source = edited(source, *edit)
    return next(n for n, line in enumerate(source.splitlines(), 1) if text in line)


@pytest.mark.parametrize(("edit", "status", "told"), [
    ((HEAD, "class MultiHeadAttention:"), "wrong", "is no layer yet: write class"),
    ((CALL, "pass"), "raised", "A layer begins with super().__init__()"),
    ((OUTPUT, ""), "wrong", "it has no output.weight of shape"),
    ((OUTPUT, f"{OUTPUT}; self.more = nn.Linear(2, 3)"), "wrong",
     "it has more.weight, for which there are no trained weights"),
    ((OUTPUT, "self.output = nn.Linear(C, 2 * C)"), "wrong", "output.weight has shape"),
    (("self.key = ", "self.keys = "), "wrong", "it has no key.weight, but keys.weight"),
    ((RESULT, "return self.output(mixed) + torch.randn_like(x)"), "wrong", "on chance"),
    ((RESULT, "self.calls = getattr(self, 'calls', 0) + 1; return self.calls * x"), "wrong",
     "should be"),
    ((RESULT, "x += 1; return self.output(mixed)"), "wrong", "it changes its input x"),
    ((RESULT, "return"), "wrong", "it returns None"),
    ((RESULT, "return TODO"), "todo", "not done yet"),
    ((OUTPUT, f"{OUTPUT}; torch.set_default_dtype(torch.float64)"), "right", "gradients"),
    ((RESULT, f"torch.set_default_dtype(torch.float64); {RESULT}"), "right", "gradients"),
    ((CALL, f"{CALL}; torch.set_grad_enabled(False)"), "right", "gradients"),
])
def test_what_is_wrong_with_a_class_is_told(edit, status, told):
    before = torch.get_default_dtype(), torch.is_grad_enabled()
    verdict, text = judge(EXERCISE, layer(edit))
    assert verdict == status and told in text, text
    assert "\n" not in text
    assert (torch.get_default_dtype(), torch.is_grad_enabled()) == before


@pytest.mark.parametrize(("edit", "line"), [
    ((CALL, "super().__init__(); config['heads']"), "config['heads']"),
    ((RESULT, "return self.output(mixed[3])"), "mixed[3]"),
    ((RESULT, "return self.outptu(mixed)"), "outptu"),
])
def test_the_line_that_raises_is_named_where_it_is_built_and_where_it_is_called(edit, line):
    status, text = judge(EXERCISE, layer(edit))
    assert status == "raised" and text.startswith(f"in line {line_of(line, edit)}, `"), text


def test_what_is_missing_is_asked_for_part_by_part():
    stub = EXERCISE.stub
    halves = SOURCE.index("    def forward"), stub.index("    def forward")
    parts_only = SOURCE[: halves[0]] + stub[halves[1] :]
    forward_only = stub[: halves[1]] + SOURCE[halves[0] :]
    assert judge(EXERCISE, layer((SOURCE, parts_only))) == (
        "todo", "not done yet. Its parts are right; now write forward.")
    assert judge(EXERCISE, layer((SOURCE, forward_only)))[0] == "todo"


def test_where_a_bug_is_still_to_be_found_nothing_is_called_right():
    exercise = check.Tokenizer.exercise
    notebook = {**vars(gpt), "TODO": TODO}
    exec(exercise.stub, notebook)
    assert judge(exercise, notebook["Tokenizer"]) == (
        "todo", "not done yet. First write encode_word; once that is there, the check tells "
                "whether the bug is gone, too.")


@pytest.mark.parametrize("given", [
    lambda: layer()(WIDE), lambda: layer().forward])
def test_a_thing_that_is_no_class_is_refused(given):
    assert "but needs the class itself: write check.MultiHeadAttention(MultiHeadAttention)" in (
        judge(EXERCISE, given())[1])
