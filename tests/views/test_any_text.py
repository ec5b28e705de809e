"""Whatever a model's tokens are, and whatever is typed: every view shows it as text."""

import json

import ipywidgets as widgets
import pytest
from any_text import MARKUP, ODD_TEXTS, OddTokenizer, check_page, check_picture, check_words
from helpers import lively_model
from samples import MAKERS, SMALL, TEXT, checkpoints, model, tokenizer

from gptcourse import views
from gptcourse.views.base import paragraph, table
from gptcourse.views.browser import BrowserView

ODD = OddTokenizer(tokenizer().merges, tokenizer().special_tokens)
WITH_TEXT = {
    "TokenizerExplorer": lambda text: views.TokenizerExplorer(ODD, text),
    "AttentionExplorer": lambda text: views.AttentionExplorer(model(), ODD, text),
    "AttentionMicroscope": lambda text: views.AttentionMicroscope(model(), ODD, text),
    "ModelWalk": lambda text: views.ModelWalk(model(), ODD, text),
    "SamplingBench": lambda text: views.SamplingBench(model(), ODD, text),
    "GenerationStepper": lambda text: views.GenerationStepper(model(), ODD, text),
    "AblationBench": lambda text: views.AblationBench(model(), ODD, text),
    "PatchingMap": lambda text: views.PatchingMap(model(), ODD, f"{text} cat", f"{text} dog"),
    "TimeMachine": lambda text: views.TimeMachine(checkpoints(), ODD, text + "The cat"),
}


def everything_in(widget: widgets.Widget) -> list[widgets.Widget]:
    return [widget, *(inner for child in getattr(widget, "children", ())
                      for inner in everything_in(child))]


def texts_in(words) -> list[str]:
    """Every text in what JSON can hold."""
    if isinstance(words, (list, dict)):
        inner = words.values() if isinstance(words, dict) else words
        return [text for one in inner for text in texts_in(one)]
    return [words] if isinstance(words, str) else []


def check_view(view) -> None:
    """All that a page gets of it is text that every page can show."""
    for part in everything_in(view):
        state = {key: value for key, value in part.get_state().items()
                 if not isinstance(value, (bytes, memoryview)) and not key.startswith("_")}
        json.dumps(state, ensure_ascii=False, default=str).encode()
        if isinstance(part, widgets.HTML):
            check_page(part.value)
    for words in (repr(view), view.shown.get("summary", ""), getattr(view, "error", "")):
        check_words(words)
    if view.picture is not None:
        check_picture(view.picture)
    if isinstance(view, BrowserView) and view.data:
        length = int.from_bytes(view.data[:4], "little")
        for text in texts_in(json.loads(view.data[4 : 4 + length])):
            check_words(text)


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
@pytest.mark.parametrize("name", WITH_TEXT)
def test_any_text_in_a_view_stays_text(name, text):
    view = WITH_TEXT[name](text)
    check_view(view)
    with view.errors_shown():
        raise ValueError(text)
    check_view(view)


def test_a_prompt_of_markup_is_seen_as_it_was_typed():
    view = views.TokenizerExplorer(tokenizer(), MARKUP)
    seen = "".join(check_page(view._tokens.value).text.split())
    assert all(sign in seen for sign in '<>="') and "img" not in check_page(
        view._tokens.value).elements


@pytest.mark.parametrize("name", WITH_TEXT)
def test_half_a_surrogate_pair_becomes_the_replacement_character_wherever_it_is_typed(name):
    view = WITH_TEXT[name]("The cat sat on the mat")
    field = getattr(view, "text", None) or getattr(view, "prompt", None)
    if isinstance(field, widgets.Widget):
        field.value = "a\ud800\U0001f44d" * 3
        assert field.value == "a\ufffd\U0001f44d" * 3
    elif name != "TimeMachine":                             # which has no field
        view.prompt = "a\ud83d\udc4d\udc4d"
        if name == "PatchingMap":                           # whose texts have equally many tokens
            view.answer, view.other_answer, view.other = "a", "T", "T\ud83d\udc4d\udc4d"
        assert view.prompt == view.session.prompt == "a\U0001f44d\ufffd"
    assert view.last_error is None
    check_view(view)


def test_what_a_model_writes_while_it_trains_stays_text():
    ids = tokenizer().encode(TEXT)
    view = views.TrainingDashboard(ids, ids[:60], ODD, model_config=SMALL)
    view.batch.value, view.steps.value = 2, 10
    view.start()
    assert view.wait(60) and view.last_error is None and view.samples
    assert MARKUP in view.samples[-1][1] and MARKUP in check_page(view._sample.value).text
    check_view(view)


def test_what_a_model_tells_while_it_is_watched_stays_text():
    view = views.watch(iter([3.0] * 10), ODD, model=lively_model(config=SMALL))
    list(view)
    [(_, story)] = view.shown["stories"]
    assert MARKUP in story and MARKUP in check_page(view._stories.value).text
    check_view(view)


def test_the_tokens_that_generation_draws_stay_text():
    view = views.GenerationStepper(lively_model(config=SMALL), ODD, "The cat")
    for _ in range(6):
        view.step()
        check_view(view)


def test_the_parts_of_all_views_take_any_text():
    for text in ODD_TEXTS.values():
        check_page(paragraph(text))
        check_page(table([(text, text, text)]))


def test_every_view_with_a_text_or_a_tokenizer_is_here():
    others = {"TrainingDashboard", "watch", "ConfigExplorer", "GradientFlow", "RotaryExplorer",
              "ScalingExplorer"}
    assert {*WITH_TEXT, *others} == set(MAKERS)
