"""What a view made can be kept: its state, as a small dictionary, and its picture, as a file."""

import pytest
from samples import MAKERS, sample

from gptcourse.views import losses

MOVES = {                      # a setting of each view and another value for it
    "TokenizerExplorer": ("merges", 3), "AttentionExplorer": ("layer", 1),
    "AttentionMicroscope": ("mask", False), "SamplingBench": ("top_k", 4),
    "ConfigExplorer": ("layers", 7), "TrainingDashboard": ("steps", 30),
    "GradientFlow": ("shortcuts", False), "TimeMachine": ("checkpoint", 1),
    "GenerationStepper": ("seed", 5), "ModelWalk": ("box", "attention"),
    "AblationBench": ("off", [(0, 1), (1, 3)]), "PatchingMap": ("row", 1),
    "RotaryExplorer": ("query_at", 9), "ScalingExplorer": ("budget", 3e12),
    "watch": ("show", losses.LOG),
}


def test_every_view_is_kept():
    assert set(MOVES) == set(MAKERS)


@pytest.mark.parametrize("name", MOVES)
def test_the_state_of_a_view_makes_another_one_the_same(name):
    view, other = MAKERS[name](), MAKERS[name]()
    setting, value = MOVES[name]
    view.state = {setting: value}
    assert (view.state[setting] == value and repr(view) != repr(other)) or name in (
        "TrainingDashboard", "watch")                # whose sentence is about its run
    other.state = view.state
    assert other.state == view.state and repr(other) == repr(view)
    assert other.last_error is None


@pytest.mark.parametrize("name", MOVES)
def test_a_state_that_a_view_does_not_have_changes_nothing(name):
    view = MAKERS[name]()
    setting, value = MOVES[name]
    before = view.state
    with pytest.raises(ValueError, match="has no 'colour': its state has"):
        view.state = {setting: value, "colour": 1}
    with pytest.raises(ValueError, match=f"{setting} cannot be"):
        view.state = {setting: object()}
    assert view.state == before


def test_a_number_beyond_a_slider_is_refused_and_not_cut():
    view = MAKERS["ConfigExplorer"]()
    before = view.state
    with pytest.raises(ValueError, match="layers cannot be 4800"):
        view.state = {"heads": 8, "layers": 4800}
    assert view.state == before


@pytest.mark.parametrize("name", MOVES)
def test_the_page_gets_the_picture_when_it_asks_for_it(name, monkeypatch):
    view, sent = sample(name), []
    monkeypatch.setattr(type(view._on_page), "send",
                        lambda page, content, buffers=None: sent.append((content, buffers)))
    view._on_page._handle_custom_msg("picture", [])
    [(content, [data])] = sent
    assert content["name"] == name and content["words"] == view.picture.alt
    assert content["width"] == view.picture.width and content["picture"] == view.picture.mime_type
    assert data in (view.picture.data, str(view.picture.data).encode())
