import re

import pytest
import torch
from helpers import lively_model, random_ids
from induction import (
    IDLE_HEADS,
    INDUCTION_HEAD,
    PREVIOUS_TOKEN_HEAD,
    V,
    hand_built_model,
    repeated,
)

from gptlib.inside import (
    by_head,
    induction_score,
    linear_probe,
    logit_lens,
    other_rows,
    patch_effect,
    patched_logits,
    patching_map,
    repeated_nonsense,
    replace_head,
    replace_heads,
    residual_stream,
    silence,
    silence_neurons,
    stream_names,
)
from gptlib.tap import patch, record
from gptlib.training import next_token_loss

# ----------------------------------------------------------------------------------- to look


def test_the_stream_is_all_its_taps_in_their_order():
    model, ids = lively_model(), random_ids(2, 7)
    assert stream_names(model) == [
        "residual_start", "blocks.0.residual_mid", "blocks.0.residual_end",
        "blocks.1.residual_mid", "blocks.1.residual_end",
    ]
    stream = residual_stream(model, ids)
    with record(model) as activations:
        model(ids)
    assert stream.shape == (5, 2, 7, 32)
    for recorded, name in zip(stream, stream_names(model), strict=True):
        torch.testing.assert_close(recorded, activations[name], atol=1e-5, rtol=1e-5)


def test_the_logit_lens_at_the_last_layer_is_the_logits():
    model, ids = lively_model(), random_ids(2, 7)
    assert torch.equal(logit_lens(model, residual_stream(model, ids)[-1]), model(ids))


def test_the_logit_lens_sees_the_next_token_arrive_in_the_block_that_brings_it():
    model, ids = hand_built_model(), repeated(6, 4)
    best = logit_lens(model, residual_stream(model, ids)).argmax(dim=-1)         # (2L + 1, B, T)
    for before in best[:3]:
        assert torch.equal(before, ids)                                          # still itself
    for after in best[3:]:
        assert torch.equal(after[:, 6:-1], ids[:, 7:])


def test_by_head_is_what_every_head_has_at_its_tap():
    model, ids = lively_model(), random_ids(3, 7)
    with record(model) as activations:
        model(ids)
    for what, last in (("weights", 7), ("head_outputs", 8), ("queries", 8)):
        found = by_head(model, ids, what)
        assert found.shape == (2, 4, 3, 7, last)
        for layer in range(2):
            expected = activations[f"blocks.{layer}.attention.{what}"]
            torch.testing.assert_close(found[layer].transpose(0, 1), expected, atol=1e-5, rtol=1e-5)


def test_a_probe_reads_a_planted_fact_and_nothing_in_noise():
    generator = torch.Generator().manual_seed(0)
    labels = torch.randint(4, (800,), generator=generator)
    noise = torch.randn(800, 16, generator=generator)
    planted = noise + 3 * torch.eye(4, 16)[labels] + 5                           # and not around 0

    def accuracy(features):
        scores = linear_probe(features[:400], labels[:400], features[400:])
        assert scores.shape == (400, 4)
        return (scores.argmax(dim=-1) == labels[400:]).double().mean().item()

    assert accuracy(planted) > 0.9
    assert abs(accuracy(noise) - 0.25) < 4 * (0.25 * 0.75 / 400) ** 0.5


def test_a_probe_fits_a_line_as_done_by_hand():
    features, labels = torch.tensor([[0.0], [1.0], [2.0], [3.0]]), torch.tensor([0, 0, 1, 1])
    scores = linear_probe(features, labels, torch.tensor([[1.5], [4.0]]))
    torch.testing.assert_close(                         # the share of label 1: 0.4 x - 0.1
        scores, torch.tensor([[0.5, 0.5], [-0.5, 1.5]], dtype=torch.float64), atol=0.02, rtol=0)


def test_a_probe_takes_vectors_that_are_all_alike():
    scores = linear_probe(torch.ones(6, 3), torch.tensor([0, 0, 0, 0, 1, 1]), torch.ones(1, 3))
    torch.testing.assert_close(scores[0].float(), torch.tensor([2 / 3, 1 / 3]), atol=1e-3, rtol=0)


# ------------------------------------------------------------------------------- induction


def test_repeated_nonsense_says_everything_twice():
    ids = repeated_nonsense(50, 8, 30, torch.Generator().manual_seed(1))
    assert ids.shape == (30, 16) and torch.equal(ids[:, :8], ids[:, 8:])
    assert ids.min() == 0 and ids.max() == 49
    assert torch.equal(ids, repeated_nonsense(50, 8, 30, torch.Generator().manual_seed(1)))


def test_the_induction_score_by_hand():
    weights = torch.arange(16.0).view(4, 4)
    assert induction_score(weights, 2) == (weights[2, 1] + weights[3, 2]) / 2
    assert induction_score(weights, 3) == weights[3, 1]
    both = induction_score(torch.stack([weights, 2 * weights]), 2)
    assert both.tolist() == [11.5, 23.0]


def test_the_induction_score_finds_the_head_that_was_built_for_it():
    model, ids = hand_built_model(), repeated(6, 20)
    scores = induction_score(by_head(model, ids, "weights"), 6).mean(dim=-1)     # (L, H)
    assert scores[INDUCTION_HEAD] > 0.99
    assert scores[PREVIOUS_TOKEN_HEAD] < 0.01
    chance = (1 / torch.arange(7.0, 13.0)).mean()                                # 1 of t + 1 places
    for head in IDLE_HEADS:
        torch.testing.assert_close(scores[head], chance)


def test_without_the_induction_head_or_what_it_needs_repetition_does_not_help():
    model, ids = hand_built_model(), repeated(6, 20)

    def loss(changes):
        with patch(model, changes), torch.no_grad():
            return next_token_loss(model(ids[:, :-1])[:, 6:], ids[:, 7:]).item()

    assert loss({}) < 0.01
    assert loss(silence(IDLE_HEADS)) == pytest.approx(loss({}), rel=1e-5)
    assert loss(silence([INDUCTION_HEAD])) > 2
    assert loss(silence([PREVIOUS_TOKEN_HEAD])) > 2


# ----------------------------------------------------------------------------- to replace


def test_a_head_is_replaced_by_hand():
    outputs = torch.tensor([[[[1.0], [2.0]], [[3.0], [4.0]]], [[[5.0], [6.0]], [[7.0], [8.0]]]])
    before = outputs.clone()                                                 # (B, H, T, D): 2 2 2 1
    assert replace_head(outputs, 1, 0.0).flatten().tolist() == [1, 2, 0, 0, 5, 6, 0, 0]
    mean = outputs[:, 1].mean((0, 1))                                        # (3 + 4 + 7 + 8) / 4
    assert replace_head(outputs, 1, mean).flatten().tolist() == [1, 2, 5.5, 5.5, 5, 6, 5.5, 5.5]
    other = outputs[:, 0][[1, 0]]
    assert replace_head(outputs, 0, other).flatten().tolist() == [5, 6, 3, 4, 1, 2, 7, 8]
    assert torch.equal(outputs, before)


@pytest.mark.parametrize("kind", ["zero", "mean", "resampled"])
def test_replaced_heads_are_what_the_output_layer_gets(kind):
    """The same by arithmetic: the columns of the output layer that belong to a head, set to 0, and
    what the replacement would bring through them added to the block's own input."""
    model, ids, heads = lively_model(), random_ids(3, 7), [(0, 1), (0, 3), (1, 0)]
    outputs = by_head(model, ids, "head_outputs")
    value = {
        "zero": lambda x: torch.zeros(8),
        "mean": lambda x: x.mean((0, 1)),
        "resampled": lambda x: x[[2, 0, 1]],
    }[kind]
    replacements = {head: value(outputs[head]) for head in heads}
    changes = silence(heads) if kind == "zero" else replace_heads(replacements)
    with patch(model, changes), torch.no_grad():
        logits = model(ids)

    brought = {0: 0.0, 1: 0.0}
    with torch.no_grad():
        for (layer, head), x in replacements.items():
            columns = model.blocks[layer].attention.output.weight[:, 8 * head : 8 * head + 8]
            brought[layer] = brought[layer] + x @ columns.T.clone()
            columns.zero_()
    halves = {f"blocks.{layer}.residual_mid": lambda x, layer=layer: x + brought[layer]
              for layer in brought}
    with patch(model, halves), torch.no_grad():
        torch.testing.assert_close(logits, model(ids), atol=1e-4, rtol=1e-4)


def test_silent_neurons_bring_nothing():
    model, ids = lively_model(), random_ids(2, 7)
    with patch(model, silence_neurons(1, [3, 100])), torch.no_grad():
        logits = model(ids)
        assert not torch.allclose(logits, lively_model()(ids), atol=1e-3)
    with torch.no_grad():
        model.blocks[1].feed_forward.contract.weight[:, [3, 100]] = 0
        torch.testing.assert_close(logits, model(ids), atol=1e-5, rtol=1e-5)


def test_other_rows_are_others_and_each_comes_once():
    for seed in range(20):
        for count in (2, 3, 8):
            rows = other_rows(count, torch.Generator().manual_seed(seed))
            assert sorted(rows.tolist()) == list(range(count))
            assert not (rows == torch.arange(count)).any()
    assert len({tuple(other_rows(8, torch.Generator().manual_seed(n)).tolist()) for n in range(9)}
               ) > 5


# ------------------------------------------------------------- from one text into another


def test_patching_everything_gives_the_other_texts_logits():
    model, clean, corrupted = lively_model(), random_ids(1, 7), random_ids(1, 7, seed=5)
    expected = model(clean)
    for name in stream_names(model):
        assert torch.equal(patched_logits(model, clean, corrupted, name, slice(None)), expected)


def test_patching_a_place_changes_it_and_what_comes_after():
    model, clean, corrupted = lively_model(), random_ids(1, 7), random_ids(1, 7, seed=5)
    taps = ["blocks.0.attention.head_outputs", "blocks.0.residual_mid"]
    before = model(corrupted)
    for name in taps:
        patched = patched_logits(model, clean, corrupted, name, 3)
        changed = (patched - before).abs().amax(dim=-1)[0] > 1e-4                # (T)
        assert changed.tolist() == [False] * 3 + [True] * 4


def test_the_effect_of_a_patch_by_hand():
    effect = patch_effect(torch.tensor(3.0), torch.tensor(-1.0), torch.tensor([-1.0, 0.0, 3.0, 5]))
    assert effect.tolist() == [0, 0.25, 1, 1.5]


def difference(right, wrong):
    return lambda logits: logits[:, -1, right] - logits[:, -1, wrong]


def test_the_map_is_every_patch_by_itself():
    model, clean, corrupted = lively_model(), random_ids(7), random_ids(7, seed=5)
    names = ["blocks.0.residual_mid", "blocks.1.attention.head_outputs", "blocks.1.attention.keys"]
    measure = difference(3, 4)
    found = patching_map(model, clean, corrupted, measure, names)
    assert found.shape == (3, 7)
    with torch.no_grad():
        best, worst = measure(model(clean[None])), measure(model(corrupted[None]))
        for row, name in enumerate(names):
            for place in range(7):
                one = measure(patched_logits(model, clean[None], corrupted[None], name, place))
                torch.testing.assert_close(
                    found[row, place], patch_effect(best, worst, one)[0], atol=1e-4, rtol=1e-4)


def test_the_map_shows_where_a_model_built_by_hand_keeps_the_answer():
    model = hand_built_model()
    names = ["residual_start", "blocks.0.residual_end", "blocks.1.residual_end"]
    clean = torch.tensor([1, 2, 3, 4, 1])                    # what came after 1? 2

    answer_differs = patching_map(model, clean, torch.tensor([1, 5, 3, 4, 1]), difference(2, 5),
                                  names)
    torch.testing.assert_close(answer_differs, torch.tensor([
        [0, 1.0, 0, 0, 0],                                   # place 1 holds it until block 1
        [0, 1.0, 0, 0, 0],
        [0, 0, 0, 0, 1.0]]), atol=0.01, rtol=0)

    signpost_differs = patching_map(model, clean, torch.tensor([6, 2, 3, 4, 1]), difference(2, 3),
                                    names)
    torch.testing.assert_close(signpost_differs, torch.tensor([
        [1.0, 0, 0, 0, 0],                                   # place 0 says 1, until block 0 tells
        [0, 1.0, 0, 0, 0],                                   # place 1 what stood before it
        [0, 0, 0, 0, 1.0]]), atol=0.01, rtol=0)


# --------------------------------------------------------------------------- wrong inputs


@pytest.mark.parametrize(("call", "told"), [
    (lambda: induction_score(torch.eye(6), 6), "period is 6, but must be a whole number from 1 to"),
    (lambda: induction_score(torch.eye(6), 0), "period is 0"),
    (lambda: repeated_nonsense(50, 0, 3), "period is 0"),
    (lambda: repeated_nonsense(0, 4, 3), "vocab_size is 0"),
    (lambda: other_rows(1), "count is 1"),
    (lambda: linear_probe(torch.ones(4, 3), torch.ones(3).long(), torch.ones(1, 3)),
     "features is (4, 3), labels (3,) of torch.int64, but must be"),
    (lambda: linear_probe(torch.ones(4, 3), torch.ones(4), torch.ones(1, 3)), "of torch.float32"),
    (lambda: patching_map(lively_model(), random_ids(6), random_ids(7), difference(1, 2), []),
     "must be rows of equal length"),
    (lambda: run_with(silence([(0, 4)])), "head is 4, but must be a whole number from 0 to 3"),
    (lambda: run_with(silence([(0, -1)])), "head is -1"),
    (lambda: run_with(silence([(2, 0)])), "No tap is called 'blocks.2.attention.head_outputs'"),
    (lambda: run_with(replace_heads({(0, 1): torch.zeros(5)})), "head 1 is (5,), but must"),
    (lambda: run_with(silence_neurons(0, [128])), "neuron is 128, but must be"),
])
def test_a_wrong_input_is_answered_in_a_sentence(call, told):
    with pytest.raises(ValueError, match=re.escape(told)) as raised:
        call()
    assert "\n" not in str(raised.value)


def run_with(changes):
    model = lively_model()
    with patch(model, changes):
        model(random_ids(1, 5))


def test_a_model_of_another_class_is_refused():
    with pytest.raises(TypeError, match="must be a GPTModel"):
        by_head(torch.nn.Linear(2, 2), random_ids(1, 3), "weights")


def test_the_hand_built_model_continues_what_it_has_seen():
    ids = torch.tensor([[7, 3, V - 1, 0, 7, 3, V - 1]])
    assert hand_built_model()(ids)[0, -3:].argmax(dim=-1).tolist() == [3, V - 1, 0]
