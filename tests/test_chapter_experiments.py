"""How tokens spell a word; what counting comes to; models in which one thing is other than it
should be, nothing else."""

import math
from itertools import pairwise

import pytest
import torch
from helpers import lively_model, random_ids

from gptcourse.experiments import (
    counted_table,
    counting,
    gradients_at_the_bottom,
    perfect_surprises,
    rearranged,
    silenced,
    spellings,
    train_on,
    with_attention,
)
from gptlib import generate, patch, record
from gptlib.attention import attention, causal_mask
from gptlib.corpus import storybook
from gptlib.storyteller import storyteller


def test_a_word_is_spelled_by_the_tokens_that_share_a_character_with_it_and_no_others():
    tokens = ["the ", "Pop", "py ", "and", " Poppy", "Pop", "py ", "pop", "."]
    assert spellings("Poppy", tokens) == {"Pop|py ": 2, " Poppy": 1}
    assert spellings(".", tokens) == {".": 1}                # as it stands, not as a pattern
    assert spellings("mouse", tokens) == {}


def test_a_counted_table_gives_each_token_the_share_of_times_that_it_followed():
    table = counted_table(torch.tensor([0, 1, 3, 0, 1, 3, 0, 2, 3]), 5)
    chances = table.weight.softmax(dim=-1)                                   # (V, V)
    torch.testing.assert_close(chances[0], torch.tensor([0, 2 / 3, 1 / 3, 0, 0]))
    torch.testing.assert_close(chances[3], torch.tensor([1.0, 0, 0, 0, 0]))
    torch.testing.assert_close(chances[4], torch.full((5,), 0.2))            # it was never read


def test_counting_with_one_token_agrees_with_the_table():
    ids, new = [0, 1, 3, 0, 1, 3, 0, 2, 3], [0, 2, 3, 0, 1]
    counted = counting(ids, new, 1, 5, spare=1e-9)
    logs = counted_table(torch.tensor(ids), 5).weight.log_softmax(dim=-1)
    for row, loss in ((ids, counted.loss), (new, counted.new_loss)):
        assert math.isclose(loss, -logs[row[:-1], row[1:]].mean().item(), rel_tol=1e-5)
    assert counted.rows == 4 and counted.strange == 0


def test_longer_contexts_have_more_rows_and_more_of_a_new_text_is_strange():
    ids, new = [0, 1, 0, 2, 0, 1, 1], [0, 2, 1, 1]
    counted = counting(ids, new, 2, 3)
    assert counted.rows == 4                             # 01, 10, 02, 20; 11 has nothing after it
    assert counted.strange == 2 / 3                      # 02 is known, 21 and 11 are not
    never = 0.001 / 0.003                                # each of the three gets the same
    after_02 = 0.001 / 1.003
    assert math.isclose(counted.new_loss, -(math.log(after_02) + math.log(never)) / 2)


def test_free_marks_do_not_swamp_what_was_counted():
    """The chapter says: the more tokens it looks at, the better it knows what it counted."""
    _, tokenizer = storyteller()
    ids = tokenizer.encode(" ".join(story.text for story in storybook.stories(100, seed=1)))
    losses = [counting(ids, ids, context, tokenizer.vocab_size).loss for context in (1, 2, 4, 8)]
    assert losses == sorted(losses, reverse=True)


def test_what_the_tokens_of_a_story_cost_the_perfect_reader_adds_up_to_the_story():
    _, tokenizer = storyteller()
    for story in storybook.stories(3, seed=4):
        costs = perfect_surprises(story.text, tokenizer)
        assert len(costs) == len(tokenizer.encode(story.text))
        assert costs.min() > -1e-6 and math.isclose(costs.sum(), story.nats, rel_tol=1e-5)


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


def pre_norm(x, norm, part):
    return x + part(norm(x))


def test_a_model_with_the_right_arrangement_is_the_same_model_and_goes_on_with_its_cache():
    model, ids = lively_model(), random_ids(2, 9)
    changed = rearranged(model, pre_norm)
    torch.testing.assert_close(changed(ids), model(ids))
    cache = changed.new_cache()
    changed(ids[:, :5], cache)
    torch.testing.assert_close(changed(ids[:, 5:], cache), model(ids)[:, 5:])


def test_an_arrangement_gets_each_norm_with_its_part_and_the_model_stays_as_it_was():
    model, ids, norms = lively_model(), random_ids(1, 7), []
    before = model(ids)

    def without_parts(x, norm, part):
        norms.append(norm)
        return x

    changed = rearranged(model, without_parts)
    with record(changed) as inside:
        changed(ids)
    torch.testing.assert_close(inside["blocks.1.residual_end"], inside["residual_start"])
    assert [id(norm) for norm in norms] == [
        id(norm) for block in changed.blocks
        for norm in (block.attention_norm, block.feed_forward_norm)]
    torch.testing.assert_close(model(ids), before)


def test_the_taps_of_a_rearranged_model_are_fed():
    model, ids = lively_model(), random_ids(1, 6)
    changed = rearranged(model, pre_norm)
    with record(model) as right, record(changed) as inside:
        model(ids)
        changed(ids)
    assert inside.keys() == right.keys()
    for name, activations in right.items():
        torch.testing.assert_close(inside[name], activations)


@pytest.mark.parametrize(("name", "before", "after"), [
    ("blocks.0.attention", "residual_start", "blocks.0.residual_mid"),
    ("blocks.1.feed_forward", "blocks.1.residual_mid", "blocks.1.residual_end"),
])
def test_a_silenced_part_adds_nothing_the_others_do_and_the_model_stays_as_it_was(
        name, before, after):
    model, ids = lively_model(), random_ids(1, 7)
    right = model(ids)
    changed = silenced(model, name)
    with record(changed) as inside:
        changed(ids)
    places = ["residual_start", "blocks.0.residual_mid", "blocks.0.residual_end",
              "blocks.1.residual_mid", "blocks.1.residual_end"]
    same = [ways for ways in pairwise(places) if torch.equal(*(inside[way] for way in ways))]
    assert same == [(before, after)]
    torch.testing.assert_close(model(ids), right)


def test_a_model_whose_parts_are_silenced_still_goes_on_with_its_cache():
    model, ids = lively_model(), random_ids(2, 9)
    changed = silenced(model, "blocks.0.attention", "blocks.0.feed_forward")
    cache = changed.new_cache()
    changed(ids[:, :5], cache)
    torch.testing.assert_close(changed(ids[:, 5:], cache), changed(ids)[:, 5:])


def test_a_gradient_keeps_its_size_with_shortcuts_and_norms_and_not_without():
    arrives = {kind: gradients_at_the_bottom([24, 48], *kind)
               for kind in ((True, True), (False, True), (True, False), (False, False))}
    assert all(1 < size < 10 for size in arrives[True, True])
    assert all(0.01 < size < 10 for size in arrives[False, True])
    assert 50 < arrives[True, False][0] < 0.01 * arrives[True, False][1]
    assert 1e-20 > arrives[False, False][0] > arrives[False, False][1]


def test_training_takes_a_step_for_each_batch_and_learns():
    model, ids = lively_model(), random_ids(2, 9)
    losses = train_on(model, [(ids[:, :-1], ids[:, 1:])] * 30, rate=0.01)
    assert len(losses) == 30 and losses[-1] < 0.5 * losses[0]


def test_the_rate_of_training_rises_step_by_step_to_its_peak(monkeypatch):
    rates, step = [], torch.optim.AdamW.step

    def watched(optimizer, *arguments):
        rates.append(optimizer.param_groups[0]["lr"])
        return step(optimizer, *arguments)

    monkeypatch.setattr(torch.optim.AdamW, "step", watched)
    ids = random_ids(2, 9)
    train_on(lively_model(), [(ids[:, :-1], ids[:, 1:])] * 6, rate=0.4, warmup_steps=4)
    assert [round(rate, 3) for rate in rates] == [0.1, 0.2, 0.3, 0.4, 0.4, 0.4]
