"""Models in which one thing is other than it should be, and nothing else."""

import pytest
import torch
from helpers import lively_model, random_ids

from gptcourse.experiments import with_attention
from gptlib import generate, patch, record
from gptlib.attention import attention, causal_mask


def test_a_model_with_the_right_attention_is_the_same_model():
    model, ids = lively_model(), random_ids(2, 9)
    torch.testing.assert_close(with_attention(model, attention)(ids), model(ids))


def test_a_model_with_the_right_attention_goes_on_with_its_cache():
    model, prompt = lively_model(), random_ids(1, 5).tolist()
    told = [[step[0] for step in generate(one, prompt, 8, temperature=0)]
            for one in (model, with_attention(model, attention))]
    assert told[0] == told[1]


def test_an_attention_gets_the_causal_mask_and_the_model_stays_as_it_was():
    model, ids = lively_model(), random_ids(1, 7)
    before, masks = model(ids), []

    def no_look_at_all(queries, keys, values, mask):
        masks.append(mask)
        return values

    changed = with_attention(model, no_look_at_all)
    assert not torch.allclose(changed(ids), before)
    assert all(torch.equal(mask, causal_mask(7)) for mask in masks) and len(masks) == 2
    torch.testing.assert_close(model(ids), before)


@pytest.mark.parametrize("name", ["queries", "keys", "values", "head_outputs"])
def test_the_taps_of_a_changed_model_are_fed(name):
    model, ids, tap = lively_model(), random_ids(1, 6), f"blocks.0.attention.{name}"
    changed = with_attention(model, attention)
    with record(model, tap) as right, record(changed, tap) as seen:
        model(ids), changed(ids)
    torch.testing.assert_close(seen[tap], right[tap])
    with patch(changed, {tap: torch.zeros_like}):
        silent = changed(ids)
    assert not torch.allclose(silent, model(ids))
