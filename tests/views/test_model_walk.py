import json
import math
import re
from dataclasses import replace
from itertools import product

import nbformat
import numpy as np
import pytest
import torch
from any_text import MARKUP, OddTokenizer
from course import chapters
from helpers import lively_model
from in_node import in_node
from samples import SMALL, model, tokenizer

from gptcourse import figures, gpt
from gptcourse.titles import TITLES
from gptcourse.views import AttentionExplorer, ModelWalk
from gptcourse.views.base import trace_text
from gptcourse.views.browser import MOST_BYTES
from gptcourse.views.session import Session
from gptcourse.views.walk_numbers import (
    BOXES,
    BOXES_OF,
    CHAPTERS_OF,
    DRAWS,
    FILLED_IN,
    IN_A_LAYER,
    stream,
)
from gptlib.corpus import storybook
from gptlib.storyteller import storyteller
from gptlib.tokenizer import BPETokenizer
from gptlib.training import next_token_loss

SENTENCE = "The cat sat on."
MODELS = {
    "untied": SMALL,
    "tied": replace(SMALL, tie_weights=True),
    "one layer": replace(SMALL, n_layers=1),
    "with biases": replace(SMALL, qkv_bias=True),
    "one head": replace(SMALL, n_heads=1),
}
WIDE = replace(SMALL, context_length=64, emb_dim=288, n_heads=9, n_layers=9)


def view(**options) -> ModelWalk:
    return ModelWalk(model(), tokenizer(), SENTENCE, **options)


def words_of(walk: ModelWalk) -> dict:
    """What the page is told in words."""
    return json.loads(walk.data[4 : 4 + int.from_bytes(walk.data[:4], "little")])


def outputs_of(model, ids) -> dict[str, np.ndarray]:
    """What every module of the model gave, by its name, as the model itself ran."""
    found = {}

    def keep(name):
        return lambda module, given, output: found.update({name: output})

    hooks = [part.register_forward_hook(keep(name)) for name, part in model.named_modules()]
    with torch.inference_mode():
        model(torch.tensor([ids]))
    for hook in hooks:
        hook.remove()
    return {name: output.squeeze(0).numpy() for name, output in found.items()}


# ------------------------------------------------------------------------------------- numbers


@pytest.mark.parametrize("config", MODELS.values(), ids=MODELS)
def test_every_box_holds_what_the_models_own_parts_gave(config):
    gpt2 = lively_model(config=config)
    traced, _ = trace_text(gpt2, tokenizer(), SENTENCE)
    places = list(range(len(traced.ids)))
    arrays = ModelWalk.compute(gpt2, traced, places)
    outputs = outputs_of(gpt2, traced.ids.tolist())
    names = {"token": "token_embedding", "position": "position_embedding",
             "final_norm": "final_norm", "start": "residual_start"}
    in_a_layer = ("attention_norm", "attention", "feed_forward_norm", "feed_forward")
    pairs = [(arrays[name], outputs[part]) for name, part in names.items()]
    for layer in range(config.n_layers):
        pairs += [(arrays[name][layer], outputs[f"blocks.{layer}.{name}"]) for name in in_a_layer]
        pairs.append((arrays["activations"][layer], outputs[f"blocks.{layer}.feed_forward.gelu"]))
    largest = max(1, np.abs(traced[f"blocks.{config.n_layers - 1}.residual_end"]).max())
    for ours, theirs in pairs:
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-6 * largest)


def test_the_parts_that_were_added_sum_to_the_streams_of_the_model():
    traced, _ = trace_text(model(), tokenizer(), SENTENCE)
    arrays = ModelWalk.compute(model(), traced, [0, 3])
    for layer, (half, name) in product(range(2), enumerate(("residual_mid", "residual_end"), 1)):
        for row, place in enumerate([0, 3]):
            expected = traced[f"blocks.{layer}.{name}"][place]
            np.testing.assert_allclose(stream(arrays, row, 2 * layer + half), expected, rtol=1e-6,
                                       atol=1e-6 * np.abs(expected).max())


def test_the_products_of_a_head_become_its_weights():
    traced, _ = trace_text(model(), tokenizer(), SENTENCE)
    arrays = ModelWalk.compute(model(), traced, [3])
    assert arrays["products"].shape == arrays["weights"].shape == (2, 4, 4)      # (L, H, T so far)
    scores = torch.from_numpy(arrays["products"]) / math.sqrt(SMALL.head_dim)
    np.testing.assert_allclose(arrays["weights"], scores.softmax(-1), atol=1e-6)
    np.testing.assert_allclose(arrays["weights"], traced.attention[:, :, 3, :4], atol=1e-6)


def test_the_last_boxes_hold_the_models_scores_and_their_probabilities():
    traced, _ = trace_text(model(), tokenizer(), SENTENCE)
    places = list(range(len(traced.ids)))
    arrays = ModelWalk.compute(model(), traced, places)
    chances = torch.from_numpy(traced.logits).double().softmax(-1)
    for row in places:
        best = chances[row].argsort(descending=True)[:10]
        assert arrays["best"][row].tolist() == best.tolist()
        np.testing.assert_allclose(arrays["logits"][row], traced.logits[row, best], atol=1e-6)
        np.testing.assert_allclose(arrays["chances"][row], chances[row, best], atol=1e-6)
    np.testing.assert_allclose(arrays["surprises"],
                               -chances[places[:-1], traced.ids[1:]].log(), rtol=1e-6)


def test_the_mean_of_the_surprises_is_the_loss_also_where_one_token_is_sent():
    traced, _ = trace_text(model(), tokenizer(), SENTENCE)
    loss = next_token_loss(model()(torch.from_numpy(traced.ids[None, :-1])),
                           torch.from_numpy(traced.ids[None, 1:])).item()
    for places in ([0, 1, 2], [3]):
        surprises = ModelWalk.compute(model(), traced, places)["surprises"]
        assert surprises.mean() == pytest.approx(loss, rel=1e-5)


def test_tokens_are_drawn_by_their_probabilities():
    teller, its_tokenizer = storyteller()
    traced, _ = trace_text(teller, its_tokenizer, next(storybook.stories(1, seed=3)).text)
    places = list(range(len(traced.ids)))
    drawn = ModelWalk.compute(teller, traced, places)["drawn"]
    assert drawn.shape == (len(places), DRAWS)
    chances = torch.from_numpy(traced.logits).double().softmax(-1)
    hits = (drawn == chances.argmax(-1).numpy()[:, None]).sum()
    expected = float(DRAWS * chances.max(-1).values.sum())
    spread = math.sqrt(float((DRAWS * chances.max(-1).values * (1 - chances.max(-1).values)).sum()))
    assert abs(hits - expected) < 4 * spread


def test_a_story_of_64_tokens_of_the_storyteller_is_sent_whole():
    teller, its_tokenizer = storyteller()
    walk = ModelWalk(teller, its_tokenizer, next(storybook.stories(1, seed=3)).text)
    assert walk.last_error is None
    assert words_of(walk)["places"] == list(range(64)) and len(walk.data) <= MOST_BYTES


def test_of_a_large_model_the_token_that_is_followed_is_sent_and_another_when_it_is_chosen():
    walk = ModelWalk(lively_model(config=WIDE), tokenizer(), SENTENCE * 20)
    assert words_of(walk)["places"] == [63] and len(walk.data) <= MOST_BYTES
    walk.token = 5
    assert words_of(walk)["places"] == [5] and walk.last_error is None
    before = walk.data
    walk.box = "attention"
    assert walk.data is before


# --------------------------------------------------------------------------------- in the page


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    """Every box, layer, head and token of a walk: what the page makes of them."""
    walk = view()
    tokens = range(len(walk.shown["labels"]))
    settings = [dict(zip(("box", "layer", "head", "token", "draw"), chosen, strict=True))
                for chosen in product(BOXES, range(2), range(4), tokens, (0, DRAWS - 1))]
    folder = tmp_path_factory.mktemp("node")
    return walk, settings, in_node("model_walk.mjs", walk._esm, folder, packed=walk.data,
                                   settings=settings, layers=2)


def test_page_and_kernel_say_the_same_sentences(page):
    walk, settings, answer = page
    for chosen, told in zip(settings, answer["sentences"], strict=True):
        walk.state = chosen
        assert walk.shown["summary"].endswith(told), chosen
        assert "undefined" not in told and "{" not in told


def test_the_vectors_of_a_sum_are_one_and_the_last_is_what_leaves_the_box(page):
    walk, settings, answer = page
    for chosen, rows in zip(settings, answer["vectors"], strict=True):
        if chosen["box"] in ("position embedding", "after attention", "after feed-forward"):
            first, second, total = map(np.array, rows)
            np.testing.assert_allclose(first + second, total, rtol=1e-5, atol=1e-5)
    ends = [rows[-1] for chosen, rows in zip(settings, answer["vectors"], strict=True)
            if chosen["box"] == "after feed-forward" and chosen["layer"] == 1]
    traced = walk.traced(SENTENCE)["blocks.1.residual_end"]
    np.testing.assert_allclose(ends[0], traced[0], rtol=1e-5, atol=1e-5)


def test_the_page_finds_every_row_of_weights(page):
    walk, settings, answer = page
    attention = walk.traced(SENTENCE).attention
    for chosen, row in zip(settings, answer["weights"], strict=True):
        token = chosen["token"]
        expected = attention[chosen["layer"], chosen["head"], token, : token + 1]
        np.testing.assert_allclose(row, expected, atol=1e-6)


def test_a_walk_goes_through_every_layer_once(page):
    _, _, answer = page
    boxes = [station["box"] for station in answer["stations"]]
    assert boxes == [*BOXES[:3], *IN_A_LAYER, *IN_A_LAYER, *BOXES[-4:]]
    assert answer["places"] == list(range(len(boxes)))


def test_of_a_text_with_one_token_page_and_kernel_say_that_nothing_came_next(tmp_path):
    alone = BPETokenizer(tokenizer().merges)                    # without a token before every text
    walk = ModelWalk(model(), alone, "T")
    walk.box = "loss"
    settings = [{"box": "loss", "layer": 0, "head": 0, "token": 0, "draw": 0}]
    answer = in_node("model_walk.mjs", walk._esm, tmp_path, packed=walk.data, settings=settings,
                     layers=2)
    assert "This text has one token only" in repr(walk)
    assert walk.shown["summary"].endswith(answer["sentences"][0])


# -------------------------------------------------------------------------------- the parts


def test_every_box_belongs_to_one_part_the_same_on_the_page(page):
    _, _, answer = page
    parts = {box: part for part, boxes in BOXES_OF.items() for box in boxes}
    assert sorted(parts) == sorted(BOXES) and dict(answer["parts"]) == parts
    assert BOXES_OF.keys() == CHAPTERS_OF.keys() == figures.PARTS.keys()


def test_the_chapters_that_build_a_part_are_there_under_these_titles():
    named = dict([one for chapters in CHAPTERS_OF.values() for one in chapters]
                 + [*FILLED_IN.values()])
    numbers = {path.stem: int(path.stem[:2]) for path in chapters()}
    titles = {name: f"Chapter {n}: {TITLES[n]}" for name, n in numbers.items()}
    assert {name: titles.get(name) for name in named} == named
    assert words_of(view())["chapters"]["attention"] == [["03_attention", "Chapter 3: Attention"]]


def test_what_a_file_of_weights_fills_is_what_its_chapter_has_in_color():
    [chapter] = {name for name, _ in FILLED_IN.values()}
    [path] = (path for path in chapters() if path.stem == chapter)
    [lit] = re.findall(r"lit=(\{.*\})", "".join(
        cell.source for cell in nbformat.read(path, 4).cells))
    assert set(re.findall(r"\w+", lit)) == set(FILLED_IN)
    assert words_of(view())["filled"]["block"][0] == chapter


@pytest.mark.parametrize(("lit", "first"), [
    ({"attention"}, "attention"), ({"block"}, "attention norm"), ({"tokenizer"}, "tokens"),
    ({"model", "embedding"}, "token embedding"), ({"training", "generation"}, "next token"),
    ({"training"}, "loss"), (set(), "tokens"),
])
def test_a_map_begins_at_its_first_lit_box(lit, first):
    walk = view(lit=lit)
    assert walk.box == first and set(walk.lit) == lit and walk.state["lit"] == walk.lit


def test_a_part_that_there_is_not_is_told_which_there_are():
    with pytest.raises(ValueError, match="'atention' is no part of a GPT: choose from tokenizer, "):
        view(lit={"atention"})


def test_the_still_of_a_map_is_the_diagram_with_its_parts_lit_and_the_end_of_the_text():
    walk = view(lit={"attention", "generation"})
    lit = {part for part, (_, outline) in figures.PARTS.items() if outline in walk.picture.data}
    assert lit == {"attention", "generation"}
    for label, token_id in zip(walk.shown["labels"][-3:], words_of(walk)["ids"][-3:], strict=True):
        assert f">{figures.with_signs(label)}<" in walk.picture.data
        assert f">{token_id}<" in walk.picture.data
    bars = re.findall(r'width="([\d.]+)" height="10"', walk.picture.data)
    chances = walk.shown["walk"]["chances"][-1, :5]
    assert list(map(float, bars)) == pytest.approx(np.maximum(34 * chances, 1), abs=0.06)
    assert walk.picture.alt.startswith("The whole GPT, with attention and generation in color. ")
    walk.lit = []
    assert isinstance(walk.picture.data, bytes)


# -------------------------------------------------------------------------------- the settings


def test_a_state_makes_the_same_walk_again():
    walk = view()
    walk.set_state({"box": "attention", "layer": 1, "head": 2, "token": 3})   # as a browser does
    walk.breakpoints, walk.draw = ["feed-forward"], 4
    assert walk.state == {"prompt": SENTENCE, "box": "attention", "layer": 1, "head": 2, "token": 3,
                          "breakpoints": ["feed-forward"], "all_heads": False, "draw": 4, "lit": []}
    other = ModelWalk(model(), tokenizer(), "A dog")
    other.state = walk.state
    assert other.state == walk.state and repr(other) == repr(walk)
    assert json.loads(json.dumps(walk.state)) == walk.state


def test_the_repr_says_where_the_walk_is():
    walk = view()
    walk.state = {"box": "attention", "layer": 1, "head": 2}
    assert repr(walk).startswith("<ModelWalk: Layer 1, attention: Each of the 4 heads compares ")
    assert "Head 2 takes most from ‘" in repr(walk)
    walk.box = "next token"
    assert repr(walk).startswith("<ModelWalk: Next token: Softmax turns the scores into ")
    walk.box = "loss"
    assert repr(walk).startswith("<ModelWalk: Loss: Here the text ends, ")
    walk.token = 1
    assert "Loss: After ‘The’ the text goes on with ‘·cat’." in repr(walk)


def test_the_still_picture_is_another_one_in_another_box():
    walk = view()
    before = walk.picture
    walk.box = "attention"
    assert walk.picture.data != before.data and walk.picture.alt == walk.shown["summary"]


@pytest.mark.parametrize(("state", "sentence"), [
    ({"layer": 2}, "layer is 2, but this model has 2 layers: choose 0 to 1."),
    ({"head": -1}, "head is -1, but this model has 4 heads: choose 0 to 3."),
    ({"token": -1}, "token is -1, but tokens are counted from 0: choose 0 to "),
    ({"prompt": ""}, "The text is empty, but the model needs a token to read: type some text."),
])
def test_what_is_not_there_is_said_in_a_sentence_and_the_walk_goes_on(state, sentence):
    walk = view()
    walk.state = state
    assert walk.error.startswith(sentence)
    walk.state = {"layer": 1, "head": 0, "token": None, "prompt": SENTENCE}
    assert walk.last_error is None and walk.error == ""


def test_an_unknown_setting_is_told_which_there_are():
    with pytest.raises(ValueError, match="ModelWalk has no 'boks': its state has prompt, box, "):
        view().state = {"boks": "attention"}


def test_a_walk_shares_its_layer_head_and_token_with_other_views():
    explorer = AttentionExplorer(model(), tokenizer(), SENTENCE)
    walk = ModelWalk(model(), tokenizer(), session=explorer.session)
    explorer.layer, explorer.head, walk.token = 1, 3, 2
    assert [walk.shown[name] for name in ("layer", "head", "token")] == [1, 3, 2]
    assert explorer.shown["token"] == 2
    session = Session("A dog", layer=1)
    assert ModelWalk(model(), tokenizer(), session=session).layer == 1


def test_a_model_of_the_learners_own_is_walked_through_as_its_twin():
    mine = gpt.GPTModel(SMALL.to_dict())
    mine.load_state_dict(model().state_dict())
    walk = ModelWalk(mine, tokenizer(), SENTENCE)
    assert walk.last_error is None and walk.data == view().data


# ----------------------------------------------------------------------------------- the tokens


def test_only_what_the_tokenizer_reads_as_the_same_token_can_be_appended():
    words = words_of(view())
    for number, text in words["texts"].items():
        assert tokenizer().encode(text) == [int(number)]
    assert words["texts"].keys() < words["names"].keys()       # some of the drawn are no text alone


def test_the_page_knows_how_much_room_the_text_has_left():
    assert words_of(view())["room"] == 16 - len(view().shown["labels"])
    assert words_of(ModelWalk(model(), tokenizer(), SENTENCE * 9))["room"] == 0


def test_tokens_of_markup_and_control_characters_come_as_text_that_can_be_shown():
    odd = OddTokenizer(tokenizer().merges, tokenizer().special_tokens)
    words = words_of(ModelWalk(model(), odd, f"{MARKUP} The cat"))
    for label in (*words["labels"], *words["names"].values(), *words["texts"].values()):
        assert not any(ord(sign) < 32 or 127 <= ord(sign) < 160 for sign in label)
