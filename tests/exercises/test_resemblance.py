"""A wrong answer that nobody planned is compared with the right one, and the trace is named."""

import math

import pytest
import torch

from gptcourse.exercises.resemblance import Trial, relation, resemblance

GENERATOR = torch.Generator().manual_seed(0)
INPUTS = [torch.randn(shape, generator=GENERATOR) for shape in ((2, 5, 4), (3, 7, 6), (1, 4, 8))]
RIGHT = [x.abs() + 0.5 for x in INPUTS]


def said(made):
    """What is said about answers that `made` makes of the right ones."""
    return trace([Trial({"x": x}, made(y), y) for x, y in zip(INPUTS, RIGHT, strict=True)])


def trace(trials):
    return relation(trials) or resemblance(trials)


def without_last_column(y):
    return torch.cat([y[..., :-1], torch.zeros_like(y[..., -1:])], dim=-1)


@pytest.mark.parametrize(("made", "told"), [
    (lambda y: -y, "opposite sign"),
    (lambda y: y.log(), "logarithms of the right numbers"),
    (lambda y: y.exp(), "e to the power of"),
    (lambda y: y.softmax(-1), "A softmax was applied"),
    (lambda y: y.trunc(), "rounded to whole numbers"),
    (lambda y: y.round(), "rounded to whole numbers"),
    (lambda y: y.ceil(), "rounded to whole numbers"),
    (lambda y: y.flip(-1), "reverse order along the last axis."),
    (lambda y: y.flip(-2), "reverse order along the last axis but one"),
    (lambda y: 3 * y, "3 times what it should be: a constant factor"),
    (lambda y: y / math.log(2), "the logarithm is to the base 2"),
    (lambda y: y * y.shape[-1], "too large by the factor x.shape[2]"),
    (lambda y: y / y.shape[-2], "too small by the factor x.shape[1]"),
    (lambda y: y * y.shape[-1] ** 0.5, "too large by the square root of x.shape[2]"),
    (lambda y: torch.zeros_like(y), "All of it is zero"),
    (without_last_column, "All is right but the last place along the last axis"),
    (lambda y: y * 1.004, "times what it should be"),
    (lambda y: y + 0.003 * y.sin(), "Nearly right"),
    (lambda y: y.roll(2, -1), "Each row has the right numbers"),
    (lambda y: y.reshape(len(y), y.shape[2], -1).mT, "or a view or reshape cuts rows anew"),
    (lambda y: y.transpose(-1, -2), "Two axes have changed places"),
    (lambda y: y[..., None], "An axis of size 1"),
    (lambda y: y.sum(-1), "An axis is gone"),
    (lambda y: y[..., None].expand(*y.shape, 2), "an axis too many"),
    (lambda y: y.flatten(), "cut in another way"),
    (lambda y: y[..., -1:, :], "Only the last place along the last axis but one is left"),
    (lambda y: y[..., 0], "Only the first place along the last axis is left"),
    (lambda y: y[..., :-1], "One place too few along axis 2"),
    (lambda y: (y + y.sin())[..., :1].expand_as(y), "along the last axis hold the same numbers"),
    (lambda y: (y + y.sin())[..., :1, :].expand_as(y), "along the last axis but one hold the same"),
])
def test_a_plain_trace_is_named(made, told):
    assert told in said(made)


def test_the_size_of_another_axis_is_not_one_place_too_many():
    right = torch.rand(5, 3, generator=GENERATOR)
    for given, told in ((torch.rand(4, 2), None), (torch.rand(6, 2), "One place too many")):
        said_of_it = trace([Trial({"x": given}, torch.rand(5, 4, generator=GENERATOR), right)])
        assert said_of_it is None if told is None else told in said_of_it


def test_an_answer_of_very_many_numbers_is_not_looked_at():
    for size, told in ((30_000, "None"), (3, "There is an axis too many")):
        trials = [Trial({"x": x}, x[..., None].expand(*x.shape, size), x) for x in INPUTS]
        assert str(trace(trials)).startswith(told)


def test_the_input_as_it_came_in_is_recognized():
    trials = [Trial({"x": x}, x, y) for x, y in zip(INPUTS, RIGHT, strict=True)]
    assert trace(trials).startswith("That is x as it came in")


def test_an_input_in_the_place_of_another_is_recognized():
    trials = [Trial({"x": x, "y": y}, x, y) for x, y in zip(INPUTS, RIGHT, strict=True)]
    assert trace(trials) == "That is x, where y should stand."


def test_numbers_below_zero_that_were_rounded_down_are_recognized():
    assert "mind //" in trace([Trial({}, x // 1, x) for x in INPUTS])


def test_a_factor_of_nearly_1_must_fit_exactly():
    answers = [(torch.tensor(1 + by), torch.tensor(1.0)) for by in (0.0041, 0.00405, 0.00412)]
    assert "Nearly right" in trace([Trial({}, *pair) for pair in answers])


def test_single_numbers_are_neither_softmaxed_nor_scaled_by_chance():
    right = [torch.tensor(number) for number in (2.0, 3.0, 5.5)]
    assert trace([Trial({}, torch.tensor(1.0), y) for y in right]) is None
    assert trace([Trial({}, y / 2, y) for y in right[:2]]) is None
    assert "0.5 times" in trace([Trial({}, y / 2, y) for y in right])


def test_an_axis_of_size_1_that_was_lost_is_told_from_a_place_that_was_picked():
    right = torch.randn(4, 1, 6, generator=GENERATOR)
    assert "An axis of size 1" in trace([Trial({}, right.squeeze(), right)])


def test_scores_of_which_one_is_infinite_are_no_exponents():
    right = torch.full((3, 4), -math.inf).scatter(-1, torch.tensor([[2], [0], [1]]), 0.0)
    assert "to the power of" not in trace([Trial({}, right.exp(), right)])
    assert trace([Trial({}, right == 0, right)]) is None
    assert trace([Trial({}, torch.full_like(right, -math.inf), right)]) is None


def test_the_first_place_alone_may_be_wrong_in_long_and_short_rows():
    right = [torch.rand(2, size, 3, generator=GENERATOR) for size in (1, 2, 5)]
    trials = [Trial({}, torch.cat([2 - y[:, :1], y[:, 1:]], dim=1), y) for y in right]
    assert "All is right but the first place" in trace(trials)


def test_a_batch_of_which_one_text_is_left_is_recognized():
    trials = [Trial({"x": x}, y[:1], y) for x, y in zip(INPUTS, RIGHT, strict=True) if len(y) > 1]
    assert "Only one text of the batch is left" in trace(trials)


@pytest.mark.parametrize(("made", "told"), [
    (lambda y: y.masked_fill(y == -math.inf, 0), "Where -inf belongs stands 0"),
    (lambda y: y.nan_to_num(neginf=-1e6), "No token is ruled out"),
    (lambda y: y + y.sin().nan_to_num(), "with other scores"),
    (lambda y: y.masked_fill(y > -math.inf, math.nan), "0 times infinity"),
    (lambda y: torch.full_like(y, -math.inf).scatter(-1, y.topk(1).indices, y.amax(-1, True)),
     "None"),
])
def test_scores_that_should_be_ruled_out_are_looked_at(made, told):
    right = [y.masked_fill(y < y.mean(), -math.inf) for y in RIGHT]
    trials = [Trial({"x": x}, made(y), y) for x, y in zip(INPUTS, right, strict=True)]
    assert told in str(trace(trials))


@pytest.mark.parametrize(("answer", "told"), [
    ([1, 2, 3], "The last one is missing"), ([2, 3, 4], "The first one is missing"),
    ([4, 3, 2, 1], "in reverse order"), ([], "nothing is ever appended"),
    ([1, 2], "the rest is missing"), ([9, 9], "ids as it came in"),
])
def test_traces_in_rows_of_ids_are_named(answer, told):
    assert told in trace([Trial({"ids": [9, 9]}, answer, [1, 2, 3, 4])])


@pytest.mark.parametrize("made", [lambda y: y, lambda y: y + torch.rand(y.shape)])
def test_where_there_is_no_trace_nothing_is_said(made):
    assert said(made) is None


def test_a_trace_must_show_in_every_trial_that_went_wrong():
    trials = [Trial({"x": x}, answer, y) for x, answer, y in
              zip(INPUTS, (-RIGHT[0], RIGHT[1].log(), -RIGHT[2]), RIGHT, strict=True)]
    assert trace(trials) is None
