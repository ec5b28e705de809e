"""What a learner may type, or a run may leave behind: no view goes silent, and each goes on.

A view may refuse a text, in one sentence; or it shows the text, and says how much of it.
"""

import re
from dataclasses import replace

import pytest
import torch
from helpers import lively_model
from samples import SMALL, TEXT, checkpoints, model, tokenizer

from gptcourse import views


def two_texts(text: str) -> dict[str, str]:
    """Two texts of equally many tokens that differ in their last."""
    return {"prompt": f"{text} cat", "other": f"{text} dog"}


READERS = {
    "TokenizerExplorer": lambda text, _: views.TokenizerExplorer(tokenizer(), text),
    "AttentionExplorer": lambda text, model: views.AttentionExplorer(model, tokenizer(), text),
    "AttentionMicroscope": lambda text, model: views.AttentionMicroscope(model, tokenizer(), text),
    "SamplingBench": lambda text, model: views.SamplingBench(model, tokenizer(), text),
    "ModelWalk": lambda text, model: views.ModelWalk(model, tokenizer(), text),
    "GenerationStepper": lambda text, model: views.GenerationStepper(model, tokenizer(), text),
    "AblationBench": lambda text, model: views.AblationBench(model, tokenizer(), text),
    "PatchingMap": lambda text, model: views.PatchingMap(
        model, tokenizer(), *two_texts(text).values()),
    "TimeMachine": lambda text, model: views.TimeMachine(
        [(0, model), *checkpoints()[1:]], tokenizer(), text),
}
WITHOUT_A_MODEL = ("TokenizerExplorer",)
FINE = {
    "one token": "T",
    "emoji": "👍👩‍🚀🏳️‍🌈",
    "right to left": "שלום עולם، مرحبا",
    "markup": "<b>&amp;</b> $x_1$",
    "spaces": " \t\n  ",
    "no letter at all": "\x00\x1b[31m\u200b",
}

every_reader = pytest.mark.parametrize("name", READERS)


def alert(view) -> str:
    return view.error if hasattr(view, "error") else view.children[1].value


def type_in(view, text: str) -> None:
    """Change the view's text as a learner does."""
    if isinstance(view, views.PatchingMap):
        view.state = two_texts(text)
        return
    for field in ("text", "prompt"):
        control = getattr(view, field, None)
        if hasattr(control, "value"):
            control.value = text
            return
    view.prompt = text


def speaks(view, name: str) -> bool:
    """No error: there is a sentence that says what is shown, and a picture with its words."""
    return (view.last_error is None and alert(view) == "" and view.picture is not None
            and repr(view) == f"<{name}: {view.shown['summary']}>"
            and view.picture.alt)


def asks_for_more(view) -> bool:
    """The text does not do for what the view shows, and an alert says so."""
    return view.last_error is not None and bool(
        re.search("type some text|take a longer text|name two answers", alert(view)))


@every_reader
@pytest.mark.parametrize("text", FINE.values(), ids=FINE)
def test_any_text_is_shown(name, text):
    view = READERS[name](text, model())
    assert speaks(view, name) or asks_for_more(view)


@every_reader
def test_a_long_text_is_cut_and_the_view_says_so(name):
    view = READERS[name](TEXT * 4, model())
    assert speaks(view, name)
    said = f"{view.shown['summary']} {getattr(view, 'notice', '')}"
    assert re.search(r"(?i)only the (first|last) \d+ are (read|cut|shown)", said)


@every_reader
def test_an_empty_text_is_shown_or_explained_and_the_view_goes_on(name):
    view = READERS[name]("", model())
    assert speaks(view, name) or asks_for_more(view)
    if name != "TimeMachine":                            # which has no field for another text
        type_in(view, "The cat sat")
        assert speaks(view, name)
        type_in(view, "")
        assert speaks(view, name) or asks_for_more(view)
        type_in(view, "The dog sat on")
        assert speaks(view, name)


@pytest.mark.parametrize("name", [name for name in READERS if name not in WITHOUT_A_MODEL])
def test_weights_that_are_no_numbers_are_explained(name):
    broken = lively_model(config=SMALL)
    with torch.no_grad():
        for parameter in broken.parameters():            # as one step with such a loss leaves it
            parameter.fill_(torch.nan)
    view = READERS[name]("The cat sat", broken)
    assert view.last_error is not None and "not finite" in alert(view)
    assert "error" in repr(view)


@pytest.mark.parametrize("name", [name for name in READERS
                                  if name not in (*WITHOUT_A_MODEL, "TimeMachine")])
def test_numbers_that_dropout_changes_at_random_are_told_as_such(name):
    dropping = lively_model(config=replace(SMALL, drop_rate=0.2))
    told = "in training mode, so dropout changes its numbers"
    assert told in repr(READERS[name]("The cat sat", dropping.train()))
    assert told not in repr(READERS[name]("The cat sat", dropping.eval()))


def test_the_other_views_take_no_text_and_no_trained_model():
    """So that a new view finds its way into this file."""
    others = {"ConfigExplorer", "GradientFlow", "RotaryExplorer", "ScalingExplorer",
              "TrainingDashboard", "Session", "watch"}
    assert {*READERS, *others} == set(views.__all__)
