import numpy as np
import pytest
import torch
from helpers import lively_model
from in_node import in_node
from samples import SMALL, model, tokenizer

from gptcourse.views import AttentionExplorer
from gptlib.attention import attention_weights, causal_mask
from gptlib.config import GPTConfig
from gptlib.tap import patch, record
from gptlib.tokenizer import BPETokenizer
from gptlib.trace import trace

SENTENCE = "The cat sat on."
LARGE = GPTConfig(vocab_size=280, context_length=64, emb_dim=90, n_heads=9, n_layers=30,
                  drop_rate=0.0, qkv_bias=False)


def view(**options) -> AttentionExplorer:
    return AttentionExplorer(model(), tokenizer(), SENTENCE, **options)


def ids_of(text: str) -> list[int]:
    """A text as the model sees it: behind the token that a story begins after."""
    return [tokenizer().special_tokens["<|endoftext|>"], *tokenizer().encode(text)]


@pytest.fixture(scope="module")
def large():
    """As many heads and tokens as a pretrained model would show."""
    return AttentionExplorer(lively_model(config=LARGE), tokenizer(), SENTENCE * 20)


def page(explorer: AttentionExplorer, places: list[dict], folder, packed=None) -> list[dict]:
    """What the page computes from the explorer's bytes for each of the places."""
    answer = in_node("attention.mjs", explorer._esm, folder, packed=packed or explorer.data,
                     places=places)
    for result in answer:
        result["weights"] = np.array(
            [np.nan if weight == "NaN" else weight for weight in result["weights"]], dtype=float)
    return answer


def test_every_head_shows_the_weights_that_follow_from_its_queries_and_keys():
    ids = ids_of(SENTENCE)
    explorer = view()
    with torch.inference_mode(), record(model()) as activations:
        model()(torch.tensor([ids]))
    for layer in range(SMALL.n_layers):
        queries = activations[f"blocks.{layer}.attention.queries"]
        keys = activations[f"blocks.{layer}.attention.keys"]
        expected = attention_weights(queries, keys, causal_mask(len(ids)))[0].numpy()
        for head in range(SMALL.n_heads):
            explorer.layer, explorer.head = layer, head
            np.testing.assert_allclose(explorer.shown["weights"], expected[head], atol=1e-6)


def test_compute_gives_rows_columns_and_means_and_leaves_the_trace_alone():
    traced = trace(model(), ids_of(SENTENCE))
    heads = traced["blocks.1.attention.weights"]
    before = heads.copy()
    row = AttentionExplorer.compute(traced, 1, 3, 2)
    np.testing.assert_array_equal(row["row"], heads[3, 2])
    assert row["sum"] == pytest.approx(1, abs=1e-6)
    column = AttentionExplorer.compute(traced, 1, 3, 2, direction="column")
    np.testing.assert_array_equal(column["row"], heads[3, :, 2])
    mean = AttentionExplorer.compute(traced, 1, 3, 2, mean=True)
    np.testing.assert_allclose(mean["weights"], sum(heads) / len(heads), atol=1e-6)
    np.testing.assert_array_equal(traced["blocks.1.attention.weights"], before)


def test_the_page_finds_the_models_weights_in_the_bytes(tmp_path):
    explorer = view()
    places = [{"layer": layer, "head": head, "mean": mean, "token": token, "direction": direction}
              for layer in range(2) for head in range(4) for mean in (False, True)
              for token in (0, 2, 5) for direction in ("row", "column")]
    traced = trace(model(), ids_of(SENTENCE))
    for place, result in zip(places, page(explorer, places, tmp_path), strict=True):
        expected = AttentionExplorer.compute(traced, **place)
        np.testing.assert_allclose(np.nan_to_num(result["weights"]), expected["row"], atol=1e-6)
        others = np.arange(len(result["weights"]))
        ahead = others > place["token"] if place["direction"] == "row" else others < place["token"]
        np.testing.assert_array_equal(np.isnan(result["weights"]), ahead)


def test_the_page_says_the_sum_and_the_largest_weights(tmp_path):
    explorer = view()
    explorer.token = 2
    place = {"layer": 0, "head": 0, "mean": False, "token": 2, "direction": "row"}
    said = page(explorer, [place], tmp_path)[0]["sentence"]
    row = explorer.shown["row"]
    assert said.startswith("Token 2 ‘") and "looks at" in said
    assert f"{row.max():.4f}" in said and said.endswith("its 3 weights sum to 1.0000.")


def test_a_single_weight_is_told_as_one(tmp_path):
    explorer = view()
    last = len(explorer.shown["labels"]) - 1
    explorer.direction = "column"
    assert "; this 1 weight sums to" in repr(explorer)
    place = {"layer": 0, "head": 0, "mean": False, "token": last, "direction": "column"}
    assert "; this 1 weight sums to" in page(explorer, [place], tmp_path)[0]["sentence"]


def test_thirty_layers_of_nine_heads_over_64_tokens_fit_into_a_megabyte(large):
    assert large.last_error is None
    assert len(large.shown["labels"]) == 64
    assert len(large.data) + len(large.exact) <= 1_000_000
    assert "only the first 63 are read" in large.notice


def test_a_rounded_mosaic_is_as_fine_as_its_colors_and_the_enlarged_head_is_exact(large, tmp_path):
    place = {"layer": 17, "head": 4, "mean": False, "token": 63, "direction": "row"}
    large.set_state({"layer": 17, "head": 4, "token": 63})
    rounded = page(large, [place], tmp_path)[0]["weights"]
    shown = large.shown["row"]
    assert np.abs(np.sqrt(rounded) - np.sqrt(shown)).max() <= 0.5 / 255 + 1e-6
    assert np.abs(rounded - shown).max() > 1e-6
    header = int.from_bytes(large.exact[:4], "little")
    triangle = np.frombuffer(large.exact[4 + header:], dtype="<f4")
    np.testing.assert_array_equal(triangle[-64:], shown)
    assert b'"layer": 17, "head": 4, "mean": false' in large.exact[:4 + header]


def test_settings_from_the_browser_reach_shown():
    explorer = view()
    explorer.set_state({"layer": 1, "head": 3, "token": 2, "direction": "column"})
    assert {name: explorer.shown[name] for name in ("layer", "head", "token", "direction")} == {
        "layer": 1, "head": 3, "token": 2, "direction": "column"}
    assert "is looked at by" in repr(explorer)
    explorer.set_state({"mean": True})
    assert repr(explorer).startswith("<AttentionExplorer: Mean of layer 1: token 2 ")


def test_another_head_gives_another_picture_and_the_same_head_the_same():
    explorer = view()
    first = explorer.picture.data
    explorer.head = 1
    second = explorer.picture.data
    explorer.head = 0
    assert second != first and explorer.picture.data == first


def test_a_text_stands_behind_the_token_that_a_story_begins_after():
    assert view().shown["labels"][0] == "<|endoftext|>"
    plain = BPETokenizer.train(SENTENCE, 260, special_tokens=())
    without = AttentionExplorer(model(), plain, SENTENCE)
    assert "".join(without.shown["labels"]) == SENTENCE


def test_a_text_beyond_the_context_is_cut_with_a_sentence_that_can_be_seen():
    explorer = view()
    explorer.prompt = SENTENCE * 9
    assert len(explorer.shown["labels"]) == SMALL.context_length
    assert f"only the first {SMALL.context_length - 1} are read" in explorer.notice
    assert explorer.notice in repr(explorer)
    explorer.prompt = SENTENCE
    assert explorer.notice == ""


@pytest.mark.parametrize("text", ["👍👩‍🚀", "שלום עולם", "a\tb\nc  d", "<b>&amp;</b>", "$x_1$"])
def test_any_text_can_be_looked_at(text):
    explorer = AttentionExplorer(model(), tokenizer(), text)
    assert explorer.last_error is None and explorer.picture.data.startswith(b"\x89PNG")


def test_an_empty_text_is_explained_and_the_view_goes_on():
    explorer = view()
    explorer.prompt = ""
    assert "type some text" in explorer.error and "type some text" in repr(explorer)
    explorer.prompt = SENTENCE
    assert explorer.last_error is None and explorer.shown["weights"].shape[0] > 3


def test_weights_that_are_not_numbers_are_explained():
    broken = lively_model(config=SMALL)
    with torch.no_grad():
        broken.blocks[0].attention.query.weight.fill_(float("nan"))
    explorer = AttentionExplorer(broken, tokenizer(), SENTENCE)
    assert "not finite" in explorer.error and explorer.data == b""


def test_weights_that_look_ahead_are_explained():
    everywhere = {"blocks.0.attention.weights": torch.ones_like}
    with patch(model(), everywhere):
        assert "Some tokens look ahead" in view().error


def test_looking_leaves_the_model_as_it_was():
    training = model().training
    explorer = view()
    explorer.layer = 1
    assert model().training is training
    assert not any(tap._forward_hooks for tap in model().modules())
