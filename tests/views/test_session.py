import pytest
import torch
from helpers import lively_model
from samples import SMALL, learners_model, model, tokenizer

from gptcourse.views import AttentionExplorer, AttentionMicroscope, Session
from gptlib.config import GPTConfig

SENTENCE = "The cat sat on."


def pair():
    explorer = AttentionExplorer(model(), tokenizer(), SENTENCE)
    return explorer, AttentionMicroscope(model(), tokenizer(), session=explorer.session)


def places(*views):
    return [(view.shown["layer"], view.shown["head"], view.shown["token"]) for view in views]


def test_views_that_share_a_session_follow_each_other_in_both_directions():
    explorer, microscope = pair()
    explorer.layer, explorer.head = 1, 2
    microscope.token = 1
    assert places(explorer, microscope) == [(1, 2, 1)] * 2
    microscope.set_state({"layer": 0, "head": 3, "token": 2})          # as a browser sends it
    assert places(explorer, microscope) == [(0, 3, 2)] * 2
    assert repr(explorer.session) == (
        f"<Session: layer 0, head 3, token 2 of {SENTENCE!r}>")


def test_a_new_text_reaches_every_view_and_is_read_once_by_each(monkeypatch):
    explorer, microscope = pair()
    passes = []
    forward = type(model()).forward
    monkeypatch.setattr(type(model()), "forward",
                        lambda *given: passes.append(1) or forward(*given))
    microscope.prompt = "A dog"
    assert explorer.shown["labels"] == microscope.shown["labels"] != ()
    assert "".join(explorer.shown["labels"][1:]) == "A dog"
    explorer.layer = 1
    assert len(passes) == 2


def test_a_session_drives_its_views():
    session = Session("The cat sat", layer=1, head=3, token=2)
    views = [AttentionExplorer(model(), tokenizer(), session=session),
             AttentionMicroscope(model(), tokenizer(), session=session)]
    assert places(*views) == [(1, 3, 2)] * 2
    session.head = 0
    assert places(*views) == [(1, 0, 2)] * 2


def test_a_token_beyond_a_shorter_text_is_the_last_one_until_the_text_grows_again():
    explorer, microscope = pair()
    explorer.token = 4
    explorer.prompt = "A"
    last = len(explorer.shown["labels"]) - 1
    assert places(explorer, microscope) == [(0, 0, last)] * 2 and last < 4
    explorer.prompt = SENTENCE
    assert places(explorer, microscope) == [(0, 0, 4)] * 2


def test_the_text_given_to_a_view_becomes_that_of_its_session():
    session = Session("The cat")
    first = AttentionExplorer(model(), tokenizer(), session=session)
    AttentionMicroscope(model(), tokenizer(), "A hat", session)
    assert session.prompt == "A hat"
    assert "".join(first.shown["labels"][1:]) == "A hat"


def test_views_without_a_common_session_go_their_own_ways():
    first, second = (AttentionExplorer(model(), tokenizer(), SENTENCE) for _ in range(2))
    first.layer = 1
    assert second.shown["layer"] == 0


@pytest.mark.parametrize(("name", "value", "sentence"), [
    ("layer", SMALL.n_layers, "layer is 2, but this model has 2 layers: choose 0 to 1."),
    ("head", -1, "head is -1, but this model has 4 heads: choose 0 to 3."),
    ("token", -1, "token is -1, but tokens are counted from 0: choose 0 to "),
])
def test_what_a_model_does_not_have_is_said_in_every_view_and_the_next_choice_works(
    name, value, sentence
):
    views = pair()
    setattr(views[0].session, name, value)
    for view in views:
        assert view.error.startswith(sentence)
    setattr(views[0].session, name, 1)
    for view in views:
        assert view.last_error is None and view.error == "" and view.shown[name] == 1


def test_another_model_reaches_every_view_of_the_session_and_none_beyond():
    explorer, microscope = pair()
    alone = AttentionExplorer(model(), tokenizer(), SENTENCE)
    before = alone.shown["weights"]
    explorer.layer, explorer.head = 1, 3
    small = lively_model(7, GPTConfig.of({**SMALL.to_dict(), "n_layers": 1, "n_heads": 2}))
    explorer.session.model = small
    assert places(explorer, microscope) == [(0, 1, explorer.shown["token"])] * 2
    assert explorer.error == microscope.error == ""
    fresh = AttentionMicroscope(small, tokenizer(), SENTENCE, Session(layer=0, head=1))
    assert repr(microscope) == repr(fresh) and alone.shown["weights"] is before
    assert microscope.data == fresh.data


def test_the_learners_model_is_taken_as_its_twin_and_one_that_does_not_fit_is_told():
    explorer, _ = pair()
    explorer.session.model = learners_model()
    assert type(explorer.model).__module__ == "gptlib.model" and explorer.error == ""
    explorer.session.model = torch.nn.Linear(2, 2)
    assert "do not fit" in explorer.error
    explorer.session.model = model()
    assert explorer.error == ""
