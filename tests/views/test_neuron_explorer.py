from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
import torch
from helpers import lively_model
from samples import SMALL, model, tokenizer

from gptcourse.views import NeuronExplorer
from gptlib.model import GPTModel
from gptlib.tap import record
from gptlib.trace import trace

END = tokenizer().special_tokens["<|endoftext|>"]


def explorer(text: str = "The cat sat.") -> NeuronExplorer:
    return NeuronExplorer(model(), tokenizer(), text)


def activations_of(text: str, layer: int) -> np.ndarray:
    """(T, 4C), by hand."""
    ids = torch.tensor([[END, *tokenizer().encode(text)]])
    with torch.inference_mode(), record(model()) as found:
        model()(ids)
    return found[f"blocks.{layer}.feed_forward.activations"][0].numpy()


@pytest.mark.parametrize("layer", [0, 1])
def test_the_numbers_are_the_models_own(layer):
    view = explorer()
    view.layer.value = layer
    view.token.value = 2
    view.neuron.value = 5
    expected = activations_of("The cat sat.", layer)
    np.testing.assert_allclose(view.shown["activations"], expected[2], atol=1e-6)
    np.testing.assert_allclose(view.shown["profile"], expected[:, 5], atol=1e-6)


def test_the_most_active_neurons_are_listed_strongest_first():
    view = explorer()
    here = view.shown["activations"]
    strongest = view.shown["strongest"]
    assert list(strongest) == sorted(range(len(here)), key=lambda n: -here[n])[:8]


def test_the_view_begins_with_the_strongest_neuron_of_the_last_token():
    view = explorer()
    assert view.shown["token"] == len(view.shown["labels"]) - 1
    assert view.shown["neuron"] == view.shown["activations"].argmax()


def test_the_button_chooses_the_strongest_neuron_of_the_chosen_token():
    view = explorer()
    view.layer.value, view.token.value, view.neuron.value = 0, 1, 0
    view.strongest_button.click()
    assert view.neuron.value == view.shown["activations"].argmax()
    assert view.shown["neuron"] == view.neuron.value


def test_the_text_is_colored_by_the_neurons_activations():
    view = explorer()
    view.neuron.set_state({"value": 7})
    page = view.children[3].value
    assert "neuron 7" in page
    for place, value in enumerate(view.shown["profile"]):
        assert f"token {place}: {value:.4f}" in page
    strongest = np.abs(view.shown["profile"]).argmax()
    chips = page.split("<li")[1:]
    assert "9e; color" in chips[strongest]
    assert view.shown["profile"].min() >= 0 or any("#d1660a" in chip for chip in chips)


def test_a_text_passes_through_the_model_once(monkeypatch):
    passes = []
    monkeypatch.setattr("gptcourse.views.base.trace",
                        lambda *given: passes.append(1) or trace(*given))
    view = explorer()
    view.layer.value, view.token.value, view.neuron.value = 0, 1, 3
    assert len(passes) == 1
    stage = view._stage
    view.text.value = "A hat for the cat"
    assert len(passes) == 2 and view._stage is stage              # and the picture is built once


def test_another_text_has_other_tokens_to_choose_from():
    view = explorer()
    view.text.value = "A hat for the cat"
    assert len(view.token.options) == len(view.shown["labels"]) == view.token.value + 1


def test_the_words_of_the_picture_have_room_in_a_large_model():
    """Labels beside rows of 64 neurons do not touch, and the title ends before the picture does."""
    large = lively_model(config=replace(SMALL, n_layers=30, emb_dim=92))          # 6 rows
    view = NeuronExplorer(large, tokenizer(), "The cat")
    labels, figure = view._cells.axes.get_yticklabels(), view._stage.figure
    heights = [label.get_window_extent() for label in labels]
    assert all(upper.y0 >= lower.y1 for upper, lower in pairwise(heights))
    view._grid_title.set_text("Neurons of layer 29 at token 63: orange below 0, blue up to 1024.00")
    assert view._grid_title.get_window_extent().x1 < figure.bbox.x1


def test_every_letter_reaches_the_page_as_it_is():
    view = explorer("שלום 🙂 <b>")
    assert view.last_error is None
    assert "<b>" not in view.children[3].value
    assert 'dir="auto"' in view.children[3].value


def test_a_text_beyond_the_context_is_cut_with_a_sentence():
    view = explorer("The cat sat on the mat. " * 9)
    assert len(view.shown["labels"]) == SMALL.context_length
    assert "only the first 15 are read" in view.shown["summary"]


def test_an_empty_text_is_explained_and_the_view_goes_on():
    view = explorer("")
    assert "The text is empty" in repr(view)
    view.strongest_here()
    view.text.value = "cat"
    assert view.last_error is None


def test_numbers_that_are_none_are_explained():
    broken = GPTModel(SMALL).eval()
    with torch.no_grad():
        broken.final_norm.scale.fill_(torch.nan)
    view = NeuronExplorer(broken, tokenizer(), "The cat")
    assert "not finite" in repr(view)
    assert 'role="alert"' in view.children[1].value
