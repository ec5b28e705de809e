import re

import numpy as np
import pytest
import torch
from helpers import lively_model
from in_node import in_node
from samples import SMALL, TEXT, learners_model, model, tokenizer

from gptcourse.figures import with_signs
from gptcourse.views import AttentionExplorer, PatchingMap, Session
from gptcourse.views.patching import PARTS, taps_of
from gptlib.storyteller import storyteller
from gptlib.tap import patch, record

CLEAN, CORRUPTED = "The cat sat on", "The dog sat on"
ANSWERS = {"answer": "a", "other_answer": "T"}


def patching(clean: str = CLEAN, corrupted: str = CORRUPTED, **settings) -> PatchingMap:
    view = PatchingMap(model(), tokenizer(), clean, corrupted, tuple(ANSWERS.values()))
    view.state = settings
    return view


def ids_of(text: str) -> torch.Tensor:
    return torch.tensor([[tokenizer().end_token, *tokenizer().encode(text)]])


@torch.inference_mode()
def chances_of(text: str, changes=None) -> torch.Tensor:
    """The scores of both answers after a text, and their probabilities."""
    answers = [tokenizer().encode(answer)[0] for answer in ANSWERS.values()]
    with patch(model(), changes or {}):
        scores = model()(ids_of(text))[0, -1]
    return scores[answers], scores.softmax(-1)[answers]


@pytest.mark.parametrize("part", PARTS)
def test_every_cell_is_that_of_a_patch_at_this_tap_and_place_alone(part):
    view = patching(part=part)
    names, rows = taps_of(part, SMALL.n_layers)
    assert view.shown["rows"] == rows and len(names) == len(rows) == view.shown["effect"].shape[0]
    with record(model(), *names) as clean, torch.inference_mode():
        model()(ids_of(CLEAN))
    (own, _), (other, _) = chances_of(CLEAN), chances_of(CORRUPTED)
    whole = float((own[0] - own[1]) - (other[0] - other[1]))
    for row, name in enumerate(names):
        for place in range(len(view.shown["labels"])):
            def change(x, name=name, place=place):
                x = x.clone()
                x[..., place, :] = clean[name][..., place, :]
                return x
            scores, chances = chances_of(CORRUPTED, {name: change})
            share = float((scores[0] - scores[1]) - (other[0] - other[1])) / whole
            assert view.shown["effect"][row, place] == pytest.approx(share, abs=1e-4)
            np.testing.assert_allclose(view.shown["chances"][row, place], chances, atol=1e-5)


def test_the_first_row_brings_all_back_where_the_texts_differ_and_the_last_one_at_the_end():
    effect = patching().shown["effect"]
    assert effect[0].tolist() == pytest.approx([0, 0, 1, 0, 0], abs=1e-4)
    assert effect[-1].tolist() == pytest.approx([0, 0, 0, 0, 1], abs=1e-4)


def test_the_probabilities_before_are_the_models_own_after_either_text():
    view = patching()
    np.testing.assert_allclose(view.shown["own"][0], chances_of(CLEAN)[1], atol=1e-6)
    np.testing.assert_allclose(view.shown["own"][1], chances_of(CORRUPTED)[1], atol=1e-6)


def test_of_a_word_that_is_several_tokens_the_last_one_is_chosen():
    view = patching("The cat sat", "A dog sat")
    assert view.shown["differ"] == [1, 2] and view.shown["token"] == 2


def test_without_answers_they_are_the_models_most_probable_ones():
    view = PatchingMap(model(), tokenizer(), "The cat sat", "The dog sat")
    with torch.inference_mode():
        best = [int(model()(ids_of(text))[0, -1].argmax()) for text in (view.prompt, view.other)]
    assert view.shown["answers"] == [with_signs(token) for token in tokenizer().tokens(best)]


def test_the_storyteller_carries_an_animal_from_its_name_to_the_end_within_one_layer():
    story = ("Once upon a time Poppy the mouse lived on the hill and was very shy. One rainy day "
             "Poppy had a red kite, but wanted a lamp. Then she met Gus the frog, who had a pink "
             'one. "Shall we swap?" asked Poppy. "Gladly!"')
    view = PatchingMap(*storyteller(), story, story.replace("frog", "bear"))
    assert view.shown["answers"] == ["·croaked", "·rumbled"]
    place = view.shown["labels"].index("·frog")
    assert [view.shown["token"]] == view.shown["differ"] == [place]
    strong = np.argwhere(view.shown["effect"] > 0.5).tolist()
    assert strong == [[0, place], [1, len(view.shown["labels"]) - 1],
                      [2, len(view.shown["labels"]) - 1]]
    assert "‘·croaked’ " in repr(view) and "in the other text ‘·bear’" in repr(view)


@pytest.mark.parametrize(("settings", "sentence"), [
    ({"other": "The dog sat on the"}, "The first text has 4 tokens and the other one 5, but"),
    ({"other": CLEAN}, "Both texts are the same, so nothing can be carried over: change a word"),
    ({"other_answer": "a"}, "‘a’ is the answer after both texts, .* name two answers"),
    ({"answer": "cats and dogs"}, "The answer ‘cats and dogs’ is .* tokens of this tokenizer, but"),
    ({"other_answer": "<img>"}, "The other answer ‘<img>’ is 5 tokens"),
    ({"token": -1}, "token is -1, but tokens are counted from 0: choose 0 to 4."),
])
def test_what_cannot_be_carried_over_is_said_and_the_next_choice_works(settings, sentence):
    view = patching()
    before = view.state
    view.state = settings
    assert re.match(sentence, view.error) and view.last_error is not None
    view.state = before
    assert view.error == "" and view.shown["effect"].shape == (3, 5)


def test_an_answer_may_be_written_with_the_dot_that_stands_for_a_space():
    view = patching(answer="·cat", other_answer=" dog")
    assert view.shown["answers"] == ["·cat", "·dog"]


def test_answers_that_no_text_tells_apart_are_explained():
    blind = lively_model(config=SMALL)
    with torch.no_grad():
        for block in blind.blocks:                  # nothing gets from one token to another
            block.attention.output.weight.zero_()
            block.attention.output.bias.zero_()
    view = PatchingMap(blind, tokenizer(), CLEAN, CORRUPTED)
    view.state = ANSWERS
    assert "equally far apart" in view.error and "name two other answers" in view.error


def test_long_texts_lose_their_beginning_and_a_row_beyond_the_last_is_the_last():
    view = patching(TEXT + " cat", TEXT + " dog", row=99)
    assert "only the last 15 are read" in repr(view)
    assert len(view.shown["labels"]) == SMALL.context_length and view.shown["row"] == 2


def test_choosing_a_cell_asks_the_model_nothing(monkeypatch):
    view = patching()
    passes = []
    forward = type(model()).forward
    monkeypatch.setattr(type(model()), "forward",
                        lambda *given: passes.append(1) or forward(*given))
    view.row, view.token = 1, 3
    assert passes == [] and "After layer 0, token 3 ‘·sat’:" in repr(view)
    view.part = "attention"
    assert passes != []


def test_views_of_a_session_follow_its_text_and_its_token():
    session = Session(CLEAN)
    view = PatchingMap(model(), tokenizer(), corrupted=CORRUPTED, session=session)
    explorer = AttentionExplorer(model(), tokenizer(), session=session)
    view.token = 3
    assert explorer.shown["token"] == 3
    session.model = learners_model()
    assert type(view.model).__module__ == "gptlib.model"


def test_the_page_says_of_a_cell_what_the_kernel_says(tmp_path):
    view = patching()
    cells = [(row, token) for row in range(3) for token in range(5)]
    said = in_node("patching.mjs", PatchingMap._esm, tmp_path, packed=view.data, cells=cells)
    for (row, token), sentence in zip(cells, said, strict=True):
        view.row, view.token = row, token
        assert sentence == view.shown["summary"]
