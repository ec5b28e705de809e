"""A wrong answer is called once more, in another way, and what comes to light is told."""

import math
import time

import pytest
import torch
from torch import nn

from gptcourse import gpt
from gptcourse.exercises import all_exercises
from gptcourse.exercises.answers import NumberAnswer, TensorAnswer
from gptcourse.exercises.checking import judge
from gptcourse.exercises.exercise import Exercise


def plain(name, returns, cases, **settings):
    """An exercise that knows no mistakes."""
    return Exercise(f"00.{name}", "", returns, cases, edits=[], hints=("", "", ""), **settings)


def rows(generator, *shapes):
    return [torch.randn(shape, generator=generator) for shape in shapes]


SCORES = {"returns": TensorAnswer("scores", ("V",), leading=True), "batched": {"logits": 1}}
TINY = {"vocab_size": 9, "context_length": 3, "emb_dim": 4, "n_heads": 2, "n_layers": 1,
        "drop_rate": 0.0, "qkv_bias": False}
EXERCISES = {exercise.name: exercise for exercise in all_exercises()} | {
    "apply_temperature": plain("apply_temperature", cases=lambda generator: [
        (x, heat) for x in rows(generator, (4,), (3, 4), (1, 6)) for heat in (0, 0.5, 2.0)],
        **SCORES),
    "keep_top_k": plain("keep_top_k", cases=lambda generator: [
        *zip(rows(generator, (5,), (3, 8), (2, 3, 6)), (2, 4, 1), strict=True)], **SCORES),
    "evaluate": plain("evaluate", NumberAnswer("loss"), lambda generator: [
        (gpt.GPTModel(TINY).eval(), *gpt.batch(torch.arange(20) % 9, n, 3, generator), 2)
        for n in (2, 3, 7)]),
}


def told(name, function):
    status, text = judge(EXERCISES[name], function)
    assert status in ("wrong", "raised")
    return text


def picked_by_row(logits, temperature):
    if temperature:
        return logits / temperature
    kept = torch.full_like(logits, -math.inf)
    kept[torch.arange(len(logits)), logits.argmax(dim=-1)] = logits.max()
    return kept


def smaller_than_the_best(logits, temperature):
    if temperature:
        return logits / temperature
    return logits.masked_fill(logits < logits.amax(dim=-1), -math.inf)


def first_rows_places(logits, k):
    rows = logits.view(-1, logits.shape[-1])
    best = rows[0].topk(k).indices
    kept = torch.full_like(rows, -math.inf)
    kept[:, best] = rows[:, best]
    return kept.view_as(logits)


def k_of_its_own(logits, k):
    best = logits.topk(min(3, logits.shape[-1]))
    return torch.full_like(logits, -math.inf).scatter(-1, best.indices, best.values)


def new_numbers(queries, keys, mask):
    return gpt.attention_weights(nn.Parameter(torch.randn_like(queries)), keys, mask)


def seeded_numbers(logits, targets):
    torch.manual_seed(0)
    return gpt.next_token_loss(nn.Parameter(torch.randn_like(logits)), targets)


@pytest.mark.parametrize(("name", "function", "words"), [
    ("apply_temperature", picked_by_row, "For logits of shape (1, 4) it would be right"),
    ("apply_temperature", smaller_than_the_best,
     "For logits of shape (4,) it would be right, for (3, 4) it is not"),
    ("keep_top_k", first_rows_places, "for the last of the batch changes when only the others do"),
    ("keep_top_k", k_of_its_own, "stays the same when k changes"),
    ("attention_weights", new_numbers, "such as dropout or the numbers of a new layer"),
    ("next_token_loss", seeded_numbers, "stays the same when logits changes"),
])
def test_what_another_call_shows_is_told(name, function, words):
    assert words in told(name, function)


def test_an_argument_that_is_used_in_some_trials_is_not_called_unused():
    assert "stays the same" not in told("apply_temperature", lambda logits, temperature: (
        0 * logits if temperature < 1 else gpt.apply_temperature(logits, temperature)))


def test_an_empty_result_does_not_say_what_is_unused():
    def heads_from_one_on(x, n_heads):
        D = x.shape[-1] // n_heads
        return torch.stack([x[..., h * D : h * D + D] for h in range(1, n_heads + 1)], dim=1)

    assert "stays the same" not in told("split_heads", heads_from_one_on)


def test_a_slow_function_is_not_called_often(monkeypatch):
    calls = []

    def slow(logits, targets):
        calls.append(time.sleep(0.02))
        return torch.tensor(3.0)

    assert "stays the same when logits changes" in told("next_token_loss", slow)
    many = len(calls)
    monkeypatch.setattr("gptcourse.exercises.experiments.PATIENCE", 0.01)
    assert "stays the same" not in told("next_token_loss", slow)
    assert len(calls) < 1.9 * many


def test_where_the_time_is_up_before_the_cause_is_found_the_wrong_number_is_told(monkeypatch):
    monkeypatch.setattr("gptcourse.exercises.checking.TIME_LIMIT", 0.7)

    def slow(logits, targets):
        time.sleep(0.05)
        return torch.tensor(3.0)

    assert told("next_token_loss", slow).startswith("the loss is 3, but should be")


@pytest.mark.parametrize("switch", [nn.Module.train, nn.Module.double,
                                    lambda model: model.requires_grad_(False)])
def test_what_switches_a_model_is_refused(switch):
    def evaluate(model, inputs, targets, batch_size):
        loss = gpt.evaluate(model, inputs, targets, batch_size)
        switch(model)
        return loss

    assert "it changes model" in told("evaluate", evaluate)


def test_who_returns_nothing_in_one_case_is_told_which():
    text = told("apply_temperature", lambda logits, temperature: (
        None if temperature == 2 else gpt.apply_temperature(logits, temperature)))
    assert "temperature = 2.0, it returns None" in text and "ends without `return`" in text


@pytest.mark.parametrize("made", [lambda *pair: dict(zip("kv", pair, strict=True)),
                                  lambda *pair: iter(pair)])
def test_a_pair_of_another_kind_is_told_by_its_kind(made):
    assert "but must return 2 things" in told("batch", lambda *given: made(*gpt.batch(*given)))
