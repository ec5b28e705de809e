"""A model that computes with somebody else's functions."""

import copy

import pytest
import torch
from helpers import lively_model, random_ids

from gptcourse.exercises import all_exercises, check, transplant
from gptcourse.exercises.transplanting import _PARTS
from gptlib import generate
from gptlib.attention import attention, attention_weights, causal_mask
from gptlib.blocks import gelu
from gptlib.storyteller import storyteller
from gptlib.trace import trace

SOLUTIONS = {e.name: e.solution for e in all_exercises() if e.name in _PARTS}


def logits(model, ids):
    with torch.inference_mode():
        return model(ids)


def counted(function):
    def counting(*arguments):
        counting.calls += 1
        return function(*arguments)
    counting.calls = 0
    return counting


@pytest.mark.parametrize("name", _PARTS)
def test_the_copy_runs_the_given_function_and_computes_the_same(name):
    model, ids = lively_model(), random_ids(2, 9)
    mine = counted(SOLUTIONS[name])
    copy = transplant(model, **{name: mine})
    torch.testing.assert_close(logits(copy, ids), logits(model, ids), rtol=1e-4, atol=1e-5)
    assert mine.calls >= model.config.n_layers


def test_all_parts_at_once_compute_the_same():
    model, ids = lively_model(), random_ids(2, 9)
    copy = transplant(model, **SOLUTIONS)
    torch.testing.assert_close(logits(copy, ids), logits(model, ids), rtol=1e-4, atol=1e-5)


def test_one_part_after_the_other_is_the_same_as_all_at_once():
    model, ids = lively_model(), random_ids(2, 9)
    parts = {**SOLUTIONS, "attention": lambda queries, keys, values, mask: values}
    one_by_one = model
    for name in reversed(_PARTS):
        one_by_one = transplant(one_by_one, **{name: parts[name]})
    at_once = transplant(model, **parts)
    assert torch.equal(logits(one_by_one, ids), logits(at_once, ids))
    for name, array in trace(at_once, ids[0]).arrays.items():
        assert (trace(one_by_one, ids[0])[name] == array).all(), name


@pytest.mark.parametrize("name", _PARTS)
def test_a_copy_of_the_copy_computes_with_its_own_weights(name):
    original, ids = transplant(lively_model(), **{name: SOLUTIONS[name]}), random_ids(2, 9)
    other = copy.deepcopy(original)
    other.load_state_dict(lively_model(seed=1).state_dict())
    expected = logits(lively_model(seed=1), ids)
    torch.testing.assert_close(logits(other, ids), expected, rtol=1e-4, atol=1e-5)
    assert not torch.allclose(logits(original, ids), expected)


def test_the_model_itself_stays_as_it_was():
    model, ids = lively_model(), random_ids(2, 9)
    before = logits(model, ids)
    copy = transplant(model, attention=lambda queries, keys, values, mask: values)
    assert not torch.allclose(logits(copy, ids), before)
    assert torch.equal(logits(model, ids), before)
    assert {id(p) for p in copy.parameters()} == {id(p) for p in model.parameters()}


@pytest.mark.parametrize("name", _PARTS)
def test_generation_with_a_cache_runs_through_it(name):
    model = lively_model()
    prompts = [random_ids(5).tolist()]
    said = [list(generate(one, prompts, 6, temperature=0))
            for one in (model, transplant(model, **{name: SOLUTIONS[name]}))]
    assert said[0] == said[1]


@pytest.mark.parametrize("name", _PARTS)
def test_the_taps_still_see_everything(name):
    model, ids = lively_model(), random_ids(7).tolist()
    theirs, ours = trace(model, ids), trace(transplant(model, **{name: SOLUTIONS[name]}), ids)
    assert theirs.arrays.keys() == ours.arrays.keys()
    for tap, array in theirs.arrays.items():
        torch.testing.assert_close(torch.tensor(ours[tap]), torch.tensor(array),
                                   rtol=1e-4, atol=1e-5)


def test_parts_of_one_attention_layer_work_together():
    model, ids = lively_model(), random_ids(2, 9)
    sharp = transplant(model,
                       attention_weights=lambda q, k, mask: attention_weights(3 * q, k, mask),
                       causal_mask=lambda n: causal_mask(n) & ~causal_mask(n).tril(-4))
    expected = transplant(model, attention=lambda q, k, v, mask: attention(
        3 * q, k, v, mask & ~mask.tril(-4)))
    torch.testing.assert_close(logits(sharp, ids), logits(expected, ids))


def test_the_storyteller_tells_a_story_through_a_checked_function(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    model, tokenizer = storyteller()
    mine = counted(SOLUTIONS["attention"])
    result = check.attention(lambda queries, keys, values, mask: mine(queries, keys, values, mask))
    calls = mine.calls
    story = [list(generate(one, [[tokenizer.special_tokens["<|endoftext|>"]]], 12, temperature=0))
             for one in (model, transplant(model, attention=result))]
    assert story[0] == story[1] and mine.calls > calls


def test_what_cannot_be_transplanted_is_told():
    model = lively_model()
    with pytest.raises(TypeError, match="No part of a model is called 'atention'"):
        transplant(model, atention=attention)
    with pytest.raises(TypeError, match="gelu is 3, but must be a function"):
        transplant(model, gelu=3)
    assert transplant(model, gelu=gelu) is not model
