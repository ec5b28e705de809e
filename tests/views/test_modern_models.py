"""The views on a model with all that chapter 9 changes."""

import dataclasses

import pytest
from helpers import lively_model
from samples import SMALL, tokenizer

from gptcourse.views import (
    AblationBench,
    AttentionExplorer,
    AttentionMicroscope,
    GenerationStepper,
    ModelWalk,
    PatchingMap,
    SamplingBench,
)

TEXT = "The cat sat on."


def modern():
    return lively_model(config=dataclasses.replace(
        SMALL, norm="rms", positions="rotary", feed_forward="swiglu", n_kv_heads=1,
        output_bias=False, n_layers=6,
    ))


def test_the_explorer_shows_every_query_head():
    view = AttentionExplorer(modern(), tokenizer(), TEXT)
    view.state = {"layer": 5, "head": SMALL.n_heads - 1}
    assert "weights sum to 1.000" in repr(view)


def test_the_microscope_takes_the_keys_that_a_query_head_shares():
    view = AttentionMicroscope(modern(), tokenizer(), TEXT)
    for head in range(SMALL.n_heads):
        view.state = {"layer": 1, "head": head}
        assert view.shown["off"] < 1e-5


@pytest.mark.parametrize("kind", [GenerationStepper, SamplingBench])
def test_other_views_take_it_as_any_other(kind):
    assert "error" not in repr(kind(modern(), tokenizer(), TEXT))


def test_its_heads_and_neurons_are_switched_off_as_any_others():
    view = AblationBench(modern(), tokenizer(), "The cat")
    view.state = {"off": [(5, 3)], "neurons": "layer 5: 0", "instead": "mean"}
    assert view.last_error is None and "Off: layer 5, head 3; layer 5, neuron 0" in repr(view)


def test_what_it_computes_is_carried_over_from_one_text_into_another():
    view = PatchingMap(modern(), tokenizer(), TEXT, TEXT.replace("cat", "dog"), ("a", "T"))
    assert view.last_error is None and view.shown["effect"].shape[0] == 7


def test_the_walk_says_that_its_boxes_are_gpt2s():
    with pytest.raises(ValueError, match="this model has other parts .*AttentionExplorer"):
        ModelWalk(modern(), tokenizer(), TEXT)
