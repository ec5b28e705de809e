"""How tokens spell a word; what counting comes to; what each token of a story costs; models in
which one thing is other than it should be, nothing else."""

import copy
import math

import pytest
import torch
from helpers import lively_model, random_ids

from gptcourse import gpt
from gptcourse.experiments import (
    along_gradient,
    counted_table,
    counting,
    kinds_of_tokens,
    perfect_surprises,
    rearranged,
    spellings,
    story_surprises,
    train_on,
    with_attention,
    with_batch,
)
from gptlib import evaluate, generate, next_token_loss, patch, record
from gptlib.attention import attention, causal_mask
from gptlib.corpus import storybook
from gptlib.storyteller import storyteller

TINY_CONFIG = {"vocab_size": 9, "context_length": 4, "emb_dim": 8, "n_heads": 2, "n_layers": 1,
               "drop_rate": 0.0, "qkv_bias": False}


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


def test_what_stories_cost_a_model_is_its_loss_story_by_story():
    model, tokenizer = storyteller()
    texts = [story.text for story in storybook.stories(18, seed=4)]
    costs = story_surprises(model, texts, tokenizer)
    lengths = [len(tokenizer.encode(text)) + 1 for text in texts]
    assert len(costs) == sum(lengths)
    for text, own in zip(texts, costs.split(lengths), strict=True):
        ids = [tokenizer.end_token, *tokenizer.encode(text), tokenizer.end_token]
        assert math.isclose(own.mean(), evaluate(model, ids), rel_tol=1e-4)


def test_tokens_are_sorted_by_who_can_know_them():
    _, tokenizer = storyteller()
    texts = [story.text for story in storybook.stories(40, seed=5)]
    ids = [token for text in texts for token in [*tokenizer.encode(text), tokenizer.end_token]]
    counted = counted_table(torch.tensor([tokenizer.end_token, *ids]), tokenizer.vocab_size)
    perfect, kinds = kinds_of_tokens(texts, tokenizer, counted)
    assert len(perfect) == len(ids) and torch.equal(sum(kinds.values()), torch.ones(len(ids)))
    table = story_surprises(counted, texts, tokenizer)
    assert perfect[kinds["dice"]].min() > 0.01
    assert perfect[kinds["memory"]].max() <= 0.01 and table[kinds["memory"]].min() >= 0.5
    assert table[kinds["neighbor"]].max() < 0.5 and perfect[kinds["neighbor"]].max() <= 0.01


def test_a_short_walk_against_the_gradient_keeps_its_promise_and_leaves_the_model_alone():
    model, ids = lively_model(), random_ids(2, 9)
    before = copy.deepcopy(model.state_dict())
    (start, near), slope = along_gradient(model, ids[:, :-1], ids[:, 1:], [0.0, 1e-3])
    assert math.isclose(start, next_token_loss(model(ids[:, :-1]), ids[:, 1:]).item(), rel_tol=1e-6)
    assert math.isclose(near, start - 1e-3 * slope, rel_tol=1e-4) and near < start
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_a_loop_with_another_batch_trains_on_its_windows_only_and_stays_as_it_was():
    asked = []

    def batch(ids, batch_size, context_length, generator=None):
        asked.append((batch_size, context_length))
        return ids[None, :4], ids[None, 1:5]

    model, ids = gpt.GPTModel(TINY_CONFIG), torch.arange(9)
    assert len(list(with_batch(gpt.train, batch)(model, ids, 3, 2, peak=0.01))) == 3
    assert asked == [(2, 4)] * 3
    assert len(list(gpt.train(model, ids, 1, 2))) == 1 and len(asked) == 3
