from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import lively_model
from in_node import in_node
from samples import SMALL, model, tokenizer

from gptcourse.views import AttentionMicroscope
from gptlib.attention import attention, attention_weights, causal_mask
from gptlib.tap import record

SENTENCE = "The cat sat on."
STAGES = ("products", "scores", "scaled", "masked", "weights", "weighted", "output")


def view(text: str = SENTENCE) -> AttentionMicroscope:
    return AttentionMicroscope(model(), tokenizer(), text)


def heads() -> list[dict[str, np.ndarray]]:
    """Queries, keys, values and outputs of every head, with the layer and head they belong to."""
    ids = [tokenizer().special_tokens["<|endoftext|>"], *tokenizer().encode(SENTENCE)]
    with torch.inference_mode(), record(model()) as activations:
        model()(torch.tensor([ids]))
    names = ("queries", "keys", "values", "head_outputs")
    return [{"layer": layer, "head": head, **{
        name: activations[f"blocks.{layer}.attention.{name}"][0, head] for name in names}}
        for layer in range(SMALL.n_layers) for head in range(SMALL.n_heads)]


def compute(one: dict, token: int, **switches) -> dict:
    return AttentionMicroscope.compute(
        *(one[name].numpy() for name in ("queries", "keys", "values")), token, **switches)


def test_the_last_stage_is_the_models_own_output_for_every_head_and_token():
    for one in heads():
        for token, expected in enumerate(one["head_outputs"]):
            result = compute(one, token)
            np.testing.assert_allclose(result["output"], expected, atol=1e-5)


def test_every_stage_follows_from_the_one_before():
    one = heads()[5]
    result = compute(one, 2)
    np.testing.assert_allclose(result["scores"], one["keys"].numpy() @ one["queries"][2].numpy(),
                               atol=1e-5)
    np.testing.assert_allclose(result["products"].sum(-1), result["scores"])
    np.testing.assert_allclose(result["scaled"] * SMALL.head_dim**0.5, result["scores"])
    assert np.isneginf(result["masked"][3:]).all() and np.isfinite(result["masked"][:3]).all()
    assert not result["weights"][3:].any()
    assert result["weights"].sum() == pytest.approx(1)
    np.testing.assert_allclose(result["weighted"].sum(0), result["output"])


def test_the_switches_compute_attention_without_scale_and_without_mask():
    one = heads()[2]
    queries, keys, values = (one[name].double() for name in ("queries", "keys", "values"))
    unmasked = attention(queries, keys, values)
    np.testing.assert_allclose(compute(one, 1, mask=False)["output"], unmasked[1], atol=1e-9)
    root = SMALL.head_dim**0.5                                         # undoes the division
    unscaled = attention_weights(queries * root, keys, causal_mask(len(keys)))
    np.testing.assert_allclose(compute(one, 4, scale=False)["weights"], unscaled[4], atol=1e-9)


def test_the_page_computes_every_stage_as_python_does(tmp_path):
    microscope = view()
    microscope.layer, microscope.head = 1, 2
    one = heads()[SMALL.n_heads + 2]
    cases = [{"token": token, "scale": scale, "mask": mask} for token in (0, 3, 5)
             for scale in (True, False) for mask in (True, False)]
    answers = in_node("microscope.mjs", microscope._esm, tmp_path, packed=microscope.data,
                      cases=cases)
    for case, answer in zip(cases, answers, strict=True):
        expected = compute(one, **case)
        for stage in STAGES:
            found = [-np.inf if x == "-Infinity" else x for x in answer[stage]]
            np.testing.assert_allclose(found, expected[stage].ravel(), atol=1e-6, err_msg=stage)
        off = np.abs(expected["output"] - one["head_outputs"][case["token"]].numpy()).max()
        assert answer["off"] == pytest.approx(off, abs=1e-6)


def test_without_scale_or_mask_the_view_says_how_far_it_is_from_the_model():
    microscope = view()
    assert "The output is as in the model." in repr(microscope)
    microscope.token = 1
    microscope.mask = False
    assert microscope.shown["off"] > 1e-3
    assert "no mask" in repr(microscope) and "away from the model's" in repr(microscope)
    microscope.set_state({"mask": True, "scale": True})
    assert microscope.shown["off"] < 1e-5


def test_an_output_that_dropout_changed_is_not_called_the_models():
    dropping = lively_model(config=replace(SMALL, drop_rate=0.5)).train()
    microscope = AttentionMicroscope(dropping, tokenizer(), SENTENCE)
    assert microscope.shown["off"] > 1e-3 and "away from the model's" in repr(microscope)


def test_the_key_with_the_largest_weight_is_told_unless_another_is_chosen():
    microscope = view()
    assert microscope.shown["key"] == microscope.shown["weights"].argmax()
    microscope.key = 1
    shown = microscope.shown
    assert shown["key"] == 1 and f"sum to {shown['scores'][1]:.3f}" in shown["summary"]
    microscope.key = -1
    assert microscope.error.startswith("key is -1")


def test_only_the_chosen_head_is_sent_and_only_when_it_changes():
    microscope = view()
    first = microscope.data
    microscope.token = 2
    microscope.scale = False
    assert microscope.data is first
    microscope.head = 1
    assert microscope.data != first and len(microscope.data) < 10_000


def test_a_text_that_is_too_long_or_empty_is_said():
    microscope = view(SENTENCE * 9)
    assert "are read." in microscope.notice and len(microscope.shown["labels"]) == 16
    microscope.prompt = ""
    assert "type some text" in microscope.error
    microscope.prompt = "👍 שלום"
    assert microscope.last_error is None and microscope.notice == ""


def test_numbers_that_are_not_finite_are_said():
    broken = lively_model(config=SMALL)
    with torch.no_grad():
        broken.blocks[1].attention.value.weight.fill_(float("inf"))
    assert "not finite" in AttentionMicroscope(broken, tokenizer(), SENTENCE).error
