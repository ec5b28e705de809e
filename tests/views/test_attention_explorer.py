import math

import numpy as np
import pytest
import torch
from samples import SMALL, model, tokenizer

from gptlib.attention import attention_weights, causal_mask
from gptlib.tap import record
from gptlib.trace import trace
from gptlib.views import AttentionExplorer

SENTENCE = "The cat sat on."


def view() -> AttentionExplorer:
    return AttentionExplorer(model(), tokenizer(), SENTENCE)


def test_every_head_shows_the_weights_that_follow_from_its_queries_and_keys():
    ids = tokenizer().encode(SENTENCE)
    explorer = view()
    with torch.inference_mode(), record(model()) as activations:
        model()(torch.tensor([ids]))
    for layer in range(SMALL.n_layers):
        queries = activations[f"blocks.{layer}.attention.queries"]
        keys = activations[f"blocks.{layer}.attention.keys"]
        expected = attention_weights(queries, keys, causal_mask(len(ids)))[0].numpy()
        for head in range(SMALL.n_heads):
            explorer.layer.value, explorer.head.value = layer, head
            np.testing.assert_allclose(explorer.shown["weights"], expected[head], atol=1e-6)


def test_the_row_of_the_chosen_token_is_listed_and_sums_to_one():
    explorer = view()
    explorer.token.value = 2
    assert explorer.shown["token"] == 2
    np.testing.assert_array_equal(explorer.shown["row"], explorer.shown["weights"][2])
    assert math.isclose(explorer.shown["sum"], 1, abs_tol=1e-6)
    for weight in explorer.shown["row"][:3]:
        assert f"{weight:.4f}" in explorer.children[3].value


def test_compute_is_pure():
    ids = tokenizer().encode(SENTENCE)
    traced = trace(model(), ids)
    before = traced["blocks.1.attention.weights"].copy()
    result = AttentionExplorer.compute(traced, 1, 3, 0)
    assert result["row"][0] == pytest.approx(1) and not result["row"][1:].any()
    np.testing.assert_array_equal(traced["blocks.1.attention.weights"], before)


def test_another_head_gives_another_picture_and_the_same_head_the_same():
    explorer = view()
    first = explorer.picture.data
    explorer.head.value = 1
    second = explorer.picture.data
    explorer.head.value = 0
    assert second != first and explorer.picture.data == first


def test_a_new_text_brings_new_labels_and_a_new_choice_of_tokens():
    explorer = view()
    explorer.text.value = "A dog"
    labels = tuple(tokenizer().tokens(tokenizer().encode("A dog")))
    assert explorer.shown["labels"] == labels
    assert len(explorer.token.options) == len(labels)
    assert explorer.shown["token"] == len(labels) - 1


def test_a_text_beyond_the_context_is_cut_with_a_sentence():
    explorer = view()
    explorer.text.value = SENTENCE * 9
    assert len(explorer.shown["labels"]) == SMALL.context_length
    assert f"only the first {SMALL.context_length} are read" in explorer.shown["summary"]
    assert len(explorer.picture.data) < 1_000_000


def test_an_empty_text_is_explained_and_the_view_goes_on():
    explorer = view()
    explorer.text.value = ""
    assert "type some text" in repr(explorer)
    explorer.text.value = SENTENCE
    assert explorer.last_error is None and explorer.shown["weights"].shape[0] > 3


def test_looking_leaves_the_model_as_it_was():
    training = model().training
    explorer = view()
    explorer.layer.value = 1
    assert model().training is training
    assert not any(tap._forward_hooks for tap in model().modules())
