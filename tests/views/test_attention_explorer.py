import re

import numpy as np
import pytest
import torch
from helpers import lively_model
from in_node import in_node
from samples import SMALL, model, tokenizer

from gptcourse import figures
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


@pytest.mark.parametrize(("first", "end"), [(0, 99), (2, 6)])
def test_every_weight_from_three_hundredths_on_is_an_arc(tmp_path, first, end):
    explorer = view()
    weights, end = explorer.shown["weights"], min(end, len(explorer.shown["labels"]))
    place = {"layer": 0, "head": 0, "mean": False, "token": 0, "direction": "row",
             "first": first, "end": end}
    found = {(look["query"], look["key"]): look["weight"]
             for look in page(explorer, [place], tmp_path)[0]["arcs"]}
    line = range(first, end)
    expected = {(query, key): weights[query, key] for query, key in np.argwhere(weights >= 0.03)
                if query in line or key in line}
    assert found == pytest.approx(expected, abs=1e-6) and len(found) > 5


def test_words_stand_side_by_side_where_they_can_be_read_and_slanted_where_not(tmp_path):
    widths = [0.6 * len(word) for word in ("<|endoftext|>", "The", "cat", "sat", "on", "mat.")]
    rooms = [900, 420, 210, 80]
    answers = in_node("lines.mjs", AttentionExplorer._esm, tmp_path, widths=widths, rooms=rooms,
                      chosen=[[5, 2], [30, 29], [34, 33], [64, 63], [64, 40], [64, 33], [64, 3]],
                      labels=[[6, 20, [3]], [12, 5, [11]], [12, 5, [6, 5]]])
    assert answers["first"] == [0, 0, 4, 34, 34, 4, 0]
    slants = [line["slant"] for line in answers["lines"]]
    assert slants == [0, 0, 55, 90]
    for line, room in zip(answers["lines"], rooms, strict=True):
        assert line["places"] == sorted(line["places"]) and line["places"][-1] <= room
        assert 10.5 <= line["size"] <= 14 or line["slant"]
        if not line["slant"]:
            ends = np.multiply.outer([-0.5, 0.5], widths) * line["size"] + line["places"]
            assert (ends[0, 1:] > ends[1, :-1] + 6.9).all() and ends[1, -1] <= room


def test_every_nth_label_stands_and_the_chosen_ones_do_in_any_case(tmp_path):
    few, many, near = in_node(
        "lines.mjs", AttentionExplorer._esm, tmp_path, widths=[1], rooms=[9], chosen=[],
        labels=[[6, 20, [3]], [12, 5, [11]], [12, 5, [6, 5]]])["labels"]
    assert sorted(few) == [0, 1, 2, 3, 4, 5]
    assert sorted(many) == [0, 3, 6, 11]                        # 9 would touch the chosen 11
    assert sorted(near) == [0, 3, 6, 9]                         # the chosen 5 would touch the 6


def test_several_heads_are_told_head_by_head():
    explorer = view()
    explorer.set_state({"look": "arcs", "heads": [0, 2], "token": 4})
    rows = [explorer.compute(trace(model(), ids_of(SENTENCE)), 0, head, 4)["row"]
            for head in (0, 2)]
    told = [f"head {head} ‘{explorer.shown['labels'][row.argmax()].replace(' ', '·')}’ "
            f"{row.max():.3f}" for head, row in zip((0, 2), rows, strict=True)]
    assert explorer.shown["heads"] == [0, 2]
    assert repr(explorer).startswith("<AttentionExplorer: Layer 0, 2 heads: token 4 ‘")
    assert repr(explorer).endswith(f" looks most at: {', '.join(told)}.>")
    explorer.mean = True
    assert repr(explorer).startswith("<AttentionExplorer: Mean of layer 0: token 4 ")


def test_a_head_that_the_model_does_not_have_is_explained():
    explorer = view()
    explorer.heads = [1, 9]
    assert explorer.error == "head is 9, but this model has 4 heads: choose 0 to 3."
    explorer.heads = [1]
    assert explorer.error == ""


def test_arcs_are_kept_as_a_picture_of_arcs():
    explorer = view()
    explorer.set_state({"look": "arcs", "heads": [2], "token": 4})
    picture = explorer.picture
    assert picture.mime_type == "image/svg+xml" and picture.alt == explorer.shown["summary"]
    weights = trace(model(), ids_of(SENTENCE))["blocks.0.attention.weights"]
    assert picture.data.count("<path") + picture.data.count("<circle") == (
        weights[[0, 2]] >= 0.03).sum()
    strong = re.findall(r'stroke="(#\w+)"[^>]* opacity="0\.(?:[4-9]|3[5-9])', picture.data)
    assert len(strong) == (weights[[0, 2], 4] >= 0.03).sum()
    assert set(strong) == {figures.PALETTE[name] for name in ("blue", "green")}


def test_the_still_map_keeps_the_labels_of_what_is_chosen(large, monkeypatch):
    kept = {}
    monkeypatch.setattr(figures, "attention_overview", lambda *_, **options: kept.update(options))
    large.token = 41
    large.still()
    strongest = np.argsort(-large.shown["row"], kind="stable")[:4]
    assert kept["rows"] == (41,) and kept["columns"] == (41, *strongest)
    large.direction = "column"
    large.still()
    assert kept["columns"] == (41,) and kept["rows"][0] == 41
    large.token, large.direction = None, "row"


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
