import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from helpers import lively_model
from in_node import in_node
from samples import SMALL, checkpoints, tokenizer

from gptcourse.figures import showable
from gptcourse.views import TimeMachine
from gptcourse.views.browser import MOST_BYTES
from gptlib.config import GPTConfig
from gptlib.generation import generate
from gptlib.tap import record
from gptlib.tokenizer import BPETokenizer

TEXT = "The cat sat on the mat."
END = tokenizer().special_tokens["<|endoftext|>"]


def machine(**options) -> TimeMachine:
    return TimeMachine(checkpoints(), tokenizer(), TEXT, **options)


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor([[END, *tokenizer().encode(text)]])


def in_page(folder, **given) -> dict:
    return in_node("time_machine.mjs", machine()._esm, folder, **given)


@pytest.mark.parametrize("place", [0, 1, 2])
def test_each_checkpoint_shows_its_own_loss_and_surprise(place):
    view = machine()
    view.checkpoint = place
    step, model = checkpoints()[place]
    ids = ids_of(TEXT)
    with torch.inference_mode():
        expected = F.cross_entropy(model(ids)[0, :-1], ids[0, 1:], reduction="none")
    np.testing.assert_allclose(view.shown["surprise"], expected, atol=1e-5)
    assert view.shown["loss"] == pytest.approx(float(expected.mean()), abs=1e-5)
    assert view.shown["step"] == step and f"After step {step}" in view.shown["summary"]


def test_the_chosen_heads_weights_are_those_of_the_chosen_checkpoint():
    view = machine()
    view.checkpoint, view.layer, view.head = 1, 1, 3
    with torch.inference_mode(), record(checkpoints()[1][1]) as activations:
        checkpoints()[1][1](ids_of(TEXT))
    expected = activations["blocks.1.attention.weights"][0, 3].numpy()
    np.testing.assert_allclose(view.shown["weights"], expected, atol=1e-6)


def test_every_sample_is_what_generate_tells_from_the_same_seed():
    view = machine()
    for place, (_, model) in enumerate(checkpoints()):
        view.checkpoint = place
        steps = generate(model, [[END]], SMALL.context_length - 1, stop_token=END,
                         generator=torch.Generator().manual_seed(0))
        told = tokenizer().decode([step[0] for step in steps])
        assert view.shown["sample"] == showable(told)


def test_checkpoints_come_in_the_order_of_their_steps():
    view = TimeMachine(iter(checkpoints()[::-1]), tokenizer(), TEXT)
    assert view.shown["step"] == 200
    view.checkpoint = 0
    assert view.shown["step"] == 0


def test_a_given_validation_loss_is_what_is_drawn(tmp_path):
    view = machine(validation_loss=[3.0, 2.0, 1.5], floor=0.5)
    assert view.shown["loss"] == 1.5
    assert "validation loss 1.500 nats per token, 1.000 above the floor" in view.shown["summary"]
    data = in_page(tmp_path, packed=view.data)["data"]
    assert data["losses"] == [3.0, 2.0, 1.5] and data["floor"] == 0.5
    assert data["lossName"] == "validation loss"


def test_a_loss_below_the_floor_is_called_so():
    view = machine(validation_loss=[3.0, 2.0, 0.25], floor=0.5)
    assert "0.250 below the floor" in view.shown["summary"]


def test_losses_stay_with_their_checkpoints_whatever_the_order():
    view = TimeMachine(checkpoints()[::-1], tokenizer(), TEXT, validation_loss=[1.5, 2.0, 3.0])
    assert view.shown["step"] == 200 and view.shown["loss"] == 1.5


def test_the_page_reads_weights_and_probabilities_from_the_bytes(tmp_path):
    view = machine()
    heads = [(0, 1, 2), (2, 0, 3)]
    page = in_page(tmp_path, packed=view.data, heads=heads, tokens=[0, 3], checkpoints=[0, 2])
    assert page["data"]["steps"] == [0, 50, 200]
    for (place, layer, head), weights in zip(heads, page["heads"], strict=True):
        view.checkpoint, view.layer, view.head = place, layer, head
        full = view.shown["weights"]
        np.testing.assert_allclose(weights, full[np.tril_indices(len(full))], atol=0.004)
    view.checkpoint, view.layer, view.head = 0, 0, 0
    for token, row in zip([0, 3], page["rows"], strict=True):
        np.testing.assert_allclose(row, view.shown["weights"][token, : token + 1], atol=0.004)
    for place, probabilities in zip([0, 2], page["probabilities"], strict=True):
        view.checkpoint = place
        assert probabilities[0] == "NaN"
        np.testing.assert_allclose(probabilities[1:], np.exp(-view.shown["surprise"]), atol=1e-6)


def test_early_checkpoints_are_as_far_apart_as_late_ones_and_the_fresh_model_stands_apart(tmp_path):
    places = TimeMachine.places([0, 10, 20, 50, 100, 1000])
    assert places[0] == 0 and places[-1] == 1 and places == sorted(places)
    steps = np.diff(places)
    assert steps.min() > 0.1                              # 30 pixels on the narrowest page
    assert steps[1] == pytest.approx(steps[3]) and steps[2] + steps[3] == pytest.approx(
        math.log(5) / math.log(10) * steps[4])
    assert TimeMachine.places([7]) == TimeMachine.places([0]) == [0.5]
    assert TimeMachine.places([0, 7]) == [0, 1] == TimeMachine.places([10, 100])
    data = in_page(tmp_path, packed=machine().data)["data"]
    assert data["places"] == TimeMachine.places([0, 50, 200])


def test_the_page_finds_a_few_round_numbers_for_the_axis(tmp_path):
    ranges = [(0.1, 6.9), (1.2, 1.31), (0, 1000)]
    for (low, high), ticks in zip(ranges, in_page(tmp_path, ranges=ranges)["ticks"], strict=True):
        assert 2 <= len(ticks) <= 7 and all(low <= tick <= high for tick in ticks)


def test_the_page_is_sent_its_numbers_once():
    view = machine()
    sent = view.data
    view.set_state({"checkpoint": 0, "layer": 1})
    assert view.data is sent and view.shown["layer"] == 1


def test_many_heads_get_a_shorter_text_so_that_the_view_stays_small():
    config = GPTConfig(vocab_size=280, context_length=64, emb_dim=96, n_heads=12, n_layers=24,
                       drop_rate=0.0, qkv_bias=False)
    model = lively_model(config=config)
    view = TimeMachine([(0, model), (1, model), (2, model)], tokenizer(), TEXT * 20)
    assert view.last_error is None and len(view.data) <= MOST_BYTES
    assert len(view.shown["labels"]) < 64 and "are read" in view.notice


def test_a_text_beyond_the_context_is_cut_with_a_sentence():
    view = TimeMachine(checkpoints(), tokenizer(), TEXT * 9)
    assert len(view.shown["labels"]) == SMALL.context_length
    assert "only the first 15 are read" in view.notice


@pytest.mark.parametrize(("arguments", "words"), [
    ({"checkpoints": []}, "no checkpoints to travel to"),
    ({"checkpoints": [checkpoints()[0][1]]}, "pass pairs of step and model"),
    ({"floor": math.inf}, "floor is inf"),
    ({"text": ""}, "The text is empty"),
    ({"validation_loss": [1.0]}, "1 validation losses for 3 checkpoints"),
    ({"validation_loss": [1.0, 2.0, float("nan")]}, "no finite numbers"),
])
def test_what_cannot_be_shown_is_explained_inside_the_view(arguments, words):
    view = TimeMachine(**{"checkpoints": checkpoints(), "tokenizer": tokenizer(), "text": TEXT,
                          **arguments})
    assert words in view.error and words in repr(view)


def test_checkpoints_of_different_models_are_refused_in_words():
    other = lively_model(config=GPTConfig.of({**SMALL.to_dict(), "n_layers": 1}))
    view = TimeMachine([*checkpoints(), (300, other)], tokenizer(), TEXT)
    assert "different shapes" in view.error


def test_a_checkpoint_that_has_diverged_is_named():
    broken = lively_model(config=SMALL)
    with torch.no_grad():
        broken.output_head.weight.fill_(torch.nan)
    view = TimeMachine([*checkpoints(), (300, broken)], tokenizer(), TEXT)
    assert "At step 300" in view.error and "not finite" in view.error


def test_a_setting_outside_the_run_is_explained_and_the_view_goes_on():
    view = machine()
    view.checkpoint = 3
    assert "checkpoint is 3, but there are 3" in view.error
    view.checkpoint = 2
    assert view.error == ""
    view.head = 4
    assert "head is 4" in view.error


def test_without_an_end_token_the_sample_goes_on_from_the_texts_first():
    plain = BPETokenizer(tokenizer().merges, ("<other>",), tokenizer().byte_order)
    view = TimeMachine(checkpoints(), plain, TEXT)
    assert view.last_error is None and view.shown["sample"].startswith("The")


def test_every_script_is_shown():
    view = TimeMachine(checkpoints(), tokenizer(), "🙂 ש")
    assert view.last_error is None and view.picture is not None
