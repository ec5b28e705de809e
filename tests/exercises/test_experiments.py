"""A wrong answer is called once more, in another way, and what comes to light is told."""

import math
import time

import pytest
import torch
from torch import nn

from gptcourse.exercises import all_exercises
from gptcourse.exercises.checking import judge

EXERCISES = {exercise.name: exercise for exercise in all_exercises()}


def told(name, function):
    status, text = judge(EXERCISES[name], function)
    assert status in ("wrong", "raised")
    return text


def picked_by_row(logits, temperature):
    if temperature:
        return logits / temperature
    kept = torch.full_like(logits, -math.inf)
    kept[torch.arange(len(logits)), logits.argmax(dim=-1)] = 0.0
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


def new_layers(ids, token_table, position_table):
    tokens, places = nn.Embedding(*token_table.shape), nn.Embedding(*position_table.shape)
    return tokens(ids) + places(torch.arange(ids.shape[1]))


def seeded_layers(ids, token_table, position_table):
    torch.manual_seed(0)
    return new_layers(ids, token_table, position_table)


def every_other_place(ids, token_table, position_table):
    places = torch.arange(0, 2 * ids.shape[1], 2) % len(position_table)
    return token_table[ids] + position_table[places]


def embeddings_added_again(ids, token_embedding, position_embedding, blocks, *rest):
    before = token_embedding(ids) + position_embedding(torch.arange(ids.shape[1]))
    return nn.Sequential(*rest)(before + nn.Sequential(*blocks)(before))


def root_of_squares(surprises):
    return surprises.square().mean().sqrt().exp()


@pytest.mark.parametrize(("name", "function", "words"), [
    ("apply_temperature", picked_by_row, "For logits of shape (1, 6) it would be right"),
    ("apply_temperature", smaller_than_the_best,
     "For logits of shape (4,) it would be right, for (3, 4) it is not"),
    ("top_k", first_rows_places, "for the last of the batch changes when only the others do"),
    ("top_k", k_of_its_own, "stays the same when k changes"),
    ("embed", new_layers, "such as dropout or the numbers of a new layer"),
    ("embed", seeded_layers, "stays the same when token_table changes"),
    ("embed", every_other_place, "If all numbers in position_table were 0, it would be right"),
    ("gpt_forward", embeddings_added_again, "final_norm reads something other than"),
])
def test_what_another_call_shows_is_told(name, function, words):
    assert words in told(name, function)


def test_an_argument_that_is_used_in_some_trials_is_not_called_unused():
    def at_once(step, steps, warmup_steps, peak):     # 0, whatever the peak is, but only at first
        if step < warmup_steps:
            return 0.0 * peak
        return EXERCISES["learning_rate"].solution(step, steps, warmup_steps, peak)

    assert "stays the same" not in told("learning_rate", at_once)
    assert "stays the same" not in told("perplexity", root_of_squares)


def test_an_empty_result_does_not_say_what_is_unused():
    def heads_from_one_on(x, n_heads):
        D = x.shape[-1] // n_heads
        return torch.stack([x[..., h * D : h * D + D] for h in range(1, n_heads + 1)], dim=1)

    assert "stays the same" not in told("split_heads", heads_from_one_on)


def test_a_slow_function_is_not_called_often(monkeypatch):
    calls = []

    def slow(surprises):
        calls.append(time.sleep(0.02))
        return 3.0

    assert "stays the same when surprises changes" in told("perplexity", slow)
    many = len(calls)
    monkeypatch.setattr("gptcourse.exercises.experiments.PATIENCE", 0.01)
    assert "stays the same" not in told("perplexity", slow)
    assert len(calls) < 1.9 * many


def test_where_the_time_is_up_before_the_cause_is_found_the_wrong_number_is_told(monkeypatch):
    monkeypatch.setattr("gptcourse.exercises.checking.TIME_LIMIT", 0.7)

    def slow(surprises):
        time.sleep(0.05)
        return 3.0

    assert told("perplexity", slow).startswith("the perplexity is 3, but should be")


def test_a_known_mistake_must_explain_most_of_what_went_wrong():
    assert "median" not in told("perplexity", lambda surprises: surprises.flatten()[0].exp())


@pytest.mark.parametrize("switch", [nn.Module.eval, nn.Module.double,
                                    lambda model: model.requires_grad_(False)])
def test_what_switches_a_model_is_refused(switch):
    def counts(model):
        return sum(p.numel() for p in switch(model).parameters())

    assert "it changes model" in told("count_parameters", counts)


def test_who_returns_nothing_in_one_case_is_told_which():
    def above_zero(logits, temperature):
        return logits / temperature if temperature else None

    text = told("apply_temperature", above_zero)
    assert "temperature = 0, it returns None" in text and "ends without `return`" in text


@pytest.mark.parametrize("made", [lambda *pair: dict(zip("kv", pair, strict=True)),
                                  lambda *pair: iter(pair)])
def test_a_pair_of_another_kind_is_told_by_its_kind(made):
    assert "but must return 2 things" in told("extend_cache", lambda cache, *pair: made(*pair))


def test_a_single_layer_is_shown_as_it_is():
    assert "with model = Linear(in_features=3, out_features=4, bias=True), the count is 7" in told(
        "count_parameters", lambda model: 7)
