import json
import re
from functools import cache

import pytest
import torch
from helpers import lively_model
from in_node import in_node
from samples import SMALL, learners_model, model, tokenizer

from gptcourse import figures
from gptcourse.views import AblationBench, AttentionExplorer, Session
from gptcourse.views.ablation import named, runs
from gptcourse.views.ablation_numbers import (
    INSTEAD,
    STORIES,
    above_floor,
    compared,
    nats_of,
    neurons_of,
    new_stories,
    seen_by,
    stand_in,
    tell,
    words_of,
)
from gptcourse.views.browser import BrowserView
from gptlib.config import GPTConfig
from gptlib.corpus import storybook
from gptlib.data import IGNORED
from gptlib.inside import by_head, other_rows, replace_heads, silence, silence_neurons
from gptlib.storyteller import storyteller, tell_stories
from gptlib.tap import patch
from gptlib.tokenizer import BPETokenizer

OPENING = "Once upon a time Poppy the mouse"
HEADS, NEURONS = [(0, 1), (1, 0), (1, 3)], "layer 0: 5, 60; layer 1: 3"


@cache
def teller():
    return storyteller()


def bench(prompt: str = OPENING, **settings) -> AblationBench:
    """Of the storyteller, which knows what a story is."""
    view = AblationBench(*teller(), prompt)
    view.state = settings
    return view


def small(prompt: str = "The cat", **settings) -> AblationBench:
    view = AblationBench(model(), tokenizer(), prompt)
    view.state = settings
    return view


def words_on_the_page(view: BrowserView) -> dict:
    length = int.from_bytes(view.data[:4], "little")
    return json.loads(view.data[4 : 4 + length])


# -------------------------------------------------------------------------------- the numbers


def test_the_story_with_all_on_is_the_one_that_tell_stories_tells():
    for seed in (0, 3):
        assert bench(seed=seed).shown["before"]["text"] == tell_stories(
            *teller(), 1, seed, OPENING)[0]


def test_the_loss_with_all_on_is_the_models_own_and_its_floor_the_grammars():
    teller_model, teller_tokenizer = teller()
    view, nats, floor, tokens = bench(), 0.0, 0.0, 0
    for story in storybook.stories(STORIES, 0, "validation"):
        ids = [teller_tokenizer.end_token, *teller_tokenizer.encode(story.text),
               teller_tokenizer.end_token]
        with torch.inference_mode():
            logits = teller_model(torch.tensor([ids[:-1]]))[0]
        nats += float(torch.nn.functional.cross_entropy(
            logits, torch.tensor(ids[1:]), reduction="sum"))
        floor, tokens = floor + story.nats, tokens + len(ids) - 1
    assert view.shown["floor"] == pytest.approx(floor / tokens, abs=1e-6)
    assert view.shown["before"]["above"] == pytest.approx((nats - floor) / tokens, abs=1e-5)
    assert view.shown["after"] is view.shown["before"]


@pytest.mark.parametrize("instead", INSTEAD)
def test_the_loss_with_parts_off_is_that_of_the_librarys_patches(instead):
    view, stories = small(), new_stories(tokenizer(), SMALL.context_length)
    view.state = {"off": HEADS, "neurons": "" if instead != "zeros" else NEURONS,
                  "instead": instead}
    outputs = by_head(model(), stories.inputs, "head_outputs")           # (L, H, B, T, D)
    others = other_rows(STORIES, torch.Generator().manual_seed(0))
    changes = {
        "zeros": {**silence(HEADS), **silence_neurons(0, [5, 60]), **silence_neurons(1, [3])},
        "mean": replace_heads({place: outputs[place].mean((0, 1)) for place in HEADS}),
        "another story": replace_heads({place: outputs[place][others] for place in HEADS}),
    }[instead]
    with patch(model(), changes):
        expected = nats_of(model(), stories, {})
    torch.testing.assert_close(view.shown["after"]["nats"], expected, atol=1e-4, rtol=0)
    assert not torch.allclose(expected, view.shown["before"]["nats"], atol=1e-2)


@pytest.mark.parametrize("instead", INSTEAD)
def test_what_is_told_with_parts_off_is_what_a_model_without_a_cache_would_tell(instead):
    view = bench(off=[(0, 2), (0, 4)], neurons="layer 0: 17", instead=instead)
    teller_model, teller_tokenizer = teller()
    stories = new_stories(teller_tokenizer, 128)
    seen = {name: seen_by(teller_model, stories, name)
            for name in ("blocks.0.attention.head_outputs", "blocks.0.feed_forward.activations")}
    heads, neurons = (torch.zeros_like(x) if instead == "zeros" else stand_in(x, instead)
                      for x in seen.values())

    def change_heads(x):
        x = x.clone()
        x[:, [2, 4]] = heads[:1, [2, 4], : x.shape[2]]
        return x

    def change_neurons(x):
        x = x.clone()
        x[..., 17] = neurons[:1, : x.shape[1], 17]
        return x

    ids = [teller_tokenizer.end_token, *teller_tokenizer.encode(OPENING)]
    told = view.shown["after"]["ids"]
    with torch.inference_mode(), patch(teller_model, dict(zip(seen, (change_heads, change_neurons),
                                                               strict=True))):
        logits = teller_model(torch.tensor([ids + told]))[0, len(ids) - 1 :]
    generator = torch.Generator().manual_seed(0)
    drawn = [int(torch.multinomial(row.softmax(-1)[None], 1, generator=generator))
             for row in logits]
    assert drawn[:-1] == told and told != view.shown["before"]["ids"]
    assert drawn[-1] == teller_tokenizer.end_token or len(ids + told) == 128


def test_a_guess_changes_nothing_of_what_is_told():
    for guess in ((), [7, 7, 7], tell(model(), [0, 5], 0, 16, 1, {}),
                  tell(model(), [0, 5], 0, 16, 1, {})[:4]):
        assert tell(model(), [0, 5], 0, 16, 1, {}, guess) == tell(model(), [0, 5], 0, 16, 1, {})


def test_stories_are_cut_to_the_context_and_cost_a_perfect_reader_what_their_beginning_does():
    stories = new_stories(tokenizer(), 16)
    assert stories.inputs.shape == (STORIES, 16) and set(stories.lengths.tolist()) == {16}
    text = tokenizer().decode(stories.targets[2].tolist())
    assert stories.floors[2] == pytest.approx(storybook.nats_of_beginning(text), abs=1e-5)
    whole = new_stories(teller()[1], 128)
    assert (whole.targets == IGNORED).any() and int(whole.lengths.min()) > 60
    assert whole.inputs[0, int(whole.lengths[0])] == teller()[1].end_token      # the next one's


def test_the_error_is_twice_what_other_stories_would_scatter_by():
    stories = new_stories(teller()[1], 128)
    exact = stories.floors + 0.5 * stories.lengths
    assert above_floor(exact.double(), stories) == pytest.approx((0.5, 0.0), abs=1e-5)
    excess = torch.tensor([0.0, 1.0] * (STORIES // 2)) * stories.lengths
    _, error = above_floor((stories.floors + excess).double(), stories)
    assert 0.25 < error < 0.5                                  # 2 · 0.5 / √7 = 0.38 of equal ones


# ------------------------------------------------------------------------------ what is shown


def test_without_the_head_that_keeps_the_toy_the_story_forgets_it_and_the_judge_says_so():
    view = bench(off=[(0, 4)])
    assert view.shown["before"]["mistake"] is None
    mistake = view.shown["after"]["mistake"]
    assert "(the story is about a kite)" in mistake and mistake in repr(view)
    assert view.shown["after"]["above"] > 10 * abs(view.shown["before"]["above"])
    text, at = view.shown["after"]["text"], view.shown["after"]["at"]
    assert f"the text says '{text[at:].split()[0]}'" in mistake
    page = words_on_the_page(view)
    [wrong] = [run for run in page["after"]["runs"] if run[2]]
    assert wrong[0].strip().startswith(text[at:].split()[0]) and wrong[1]
    # It stands below the story there, so the sentence does not say it once more.
    assert page["after"]["mistake"] == figures.showable(mistake)
    assert page["said"] == view.shown["summary"].replace(f"First mistake: {mistake} ", "")


def test_a_head_that_the_model_does_without_leaves_the_story_as_it_is():
    view = bench(off=[(1, 2)])
    assert "The story stays the same. The judge finds no mistake in it." in repr(view)
    assert not any(any(changed) for changed in view.shown["changed"])


def test_changed_words_are_marked_on_both_sides_and_the_rest_are_the_same():
    before, after = map(words_of, ("Tom had a red kite and a hat.", "Tom had a blue kite. A hat."))
    changed = compared(before, after)
    assert "".join(before) == "Tom had a red kite and a hat."
    for words, others in zip((before, after), changed, strict=True):
        kept = [word.strip() for word, other in zip(words, others, strict=True) if not other]
        assert kept == ["Tom", "had", "a", "hat."]
    assert runs(after, changed[1], 10) == [
        ["Tom had a", False, False], [" blue", True, True], [" kite. A", True, False],
        [" hat.", False, False]]


def test_parts_are_named_one_by_one_or_counted():
    assert named([(0, 1), (0, 4)], {1: [17]}) == "layer 0, heads 1, 4; layer 1, neuron 17"
    assert named([(0, head) for head in range(8)], {1: [3, 5]}) == "8 heads and 2 neurons"


def test_neurons_are_written_by_their_layer():
    assert neurons_of("layer 1: 17, 40;layer 0: 3\n 1: 17 5") == {0: [3], 1: [5, 17, 40]}
    assert neurons_of("  ;") == {}
    for text in ("17", "layer one: 3", "layer 1: -3", "layer 1: 3 - 9", "<b>", "1: ²"):
        with pytest.raises(ValueError, match="named by their layer and their numbers: write "):
            neurons_of(text)


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"off": [(2, 0)]}, "off has layer 2, head 0, but this model has 2 layers of 4 heads"),
    ({"off": [(0, -1)]}, "off has layer 0, head -1, but this model has"),
    ({"neurons": "layer 2: 0"}, "neurons names layer 2, but this model has layers 0 to 1"),
    ({"neurons": "layer 1: 128"}, "neurons names 128 of layer 1, but .* neurons 0 to 127"),
    ({"neurons": "<img>"}, "neurons says '<img>', but neurons are named by"),
])
def test_what_the_model_does_not_have_is_said_and_the_next_choice_works(settings, sentence):
    view = small(**settings)
    assert re.match(sentence, view.error) and view.last_error is not None
    view.state = {"off": [(1, 3)], "neurons": ""}
    assert view.error == "" and view.shown["off"] == [(1, 3)]


def test_a_message_from_the_page_switches_a_head():
    view = small()
    view.set_state({"off": [[1, 2]], "layer": 1, "head": 2})
    assert view.shown["off"] == [(1, 2)] and (view.session.layer, view.session.head) == (1, 2)
    assert words_on_the_page(view)["said"].startswith("Off: layer 1, head 2; instead, zeros.")


def test_the_head_that_is_switched_is_the_one_that_other_views_look_at():
    session = Session("The cat")
    view = AblationBench(model(), tokenizer(), session=session)
    explorer = AttentionExplorer(model(), tokenizer(), session=session)
    view.layer, view.head = 1, 3
    assert (explorer.shown["layer"], explorer.shown["head"]) == (1, 3)
    explorer.prompt = "The dog"
    assert view.shown["before"]["text"].startswith("The dog")


def test_another_model_of_the_session_is_told_with_the_parts_that_it_has():
    view = small(off=[(0, 1), (1, 3)])
    view.session.model = lively_model(7, GPTConfig.of({**SMALL.to_dict(), "n_layers": 1}))
    assert view.error == "" and view.shown["off"] == [(0, 1)]
    assert words_on_the_page(view)["layers"] == 1
    view.session.model = learners_model()
    assert view.error == "" and words_on_the_page(view)["layers"] == 2


def test_what_was_computed_once_is_not_computed_again(monkeypatch):
    view = small(off=[(0, 1)])
    passes = []
    forward = type(model()).hidden_states
    monkeypatch.setattr(type(model()), "hidden_states",
                        lambda *given: passes.append(1) or forward(*given))
    view.off = []
    view.off = [(0, 1)]
    view.layer = 1
    assert passes == []


def test_a_tokenizer_without_an_end_is_refused_in_a_sentence():
    with pytest.raises(ValueError, match="no token '<|endoftext|>'"):
        AblationBench(model(), BPETokenizer(tokenizer().merges, ()), "The cat")


def test_a_model_is_the_same_after_it_was_looked_into():
    before = [parameter.clone() for parameter in model().parameters()]
    small(off=HEADS, neurons=NEURONS, instead="another story")
    assert all(map(torch.equal, before, model().parameters()))
    assert not any(module._forward_hooks for module in model().modules())


# ------------------------------------------------------------------------------- in the page


def test_switches_of_the_page(tmp_path):
    answer = in_node("ablation.mjs", AblationBench._esm, tmp_path, off=[[0, 1], [1, 0]],
                     largest=[0.001, 0.09, 0.11, 0.5, 3.2])
    assert answer["on"] == [[1, 0]] and answer["off"] == [[0, 1], [1, 0], [1, 2]]
    assert answer["layerOff"] == [[1, 0], [0, 0], [0, 1], [0, 2]] and answer["layerOn"] == [[1, 0]]
    assert answer["reach"] == [0.02, 0.1, 0.2, 0.5, 5]
