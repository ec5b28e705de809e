"""Markup and control characters in a real browser: they are seen, and nothing else happens."""

import html
from urllib.parse import quote

import pytest
from any_text import MARKUP, ODD_TEXTS, OddTokenizer
from page import ViewPage
from views.samples import checkpoints, model, tokenizer

from gptcourse import figures, views
from gptlib.tokenizer import BPETokenizer

ODD = OddTokenizer(tokenizer().merges, tokenizer().special_tokens)
PROMPT = f"{MARKUP} The cat"
IN_THE_BROWSER = {
    "AttentionExplorer": lambda: views.AttentionExplorer(model(), ODD, PROMPT),
    "AttentionMicroscope": lambda: views.AttentionMicroscope(model(), ODD, PROMPT),
    "ModelWalk": lambda: views.ModelWalk(model(), ODD, PROMPT),
    "SamplingBench": lambda: views.SamplingBench(model(), ODD, PROMPT),
    "AblationBench": lambda: views.AblationBench(model(), ODD, PROMPT),
    "PatchingMap": lambda: views.PatchingMap(
        model(), ODD, PROMPT, f"{MARKUP} The dog", ("a", "T")),
    "TimeMachine": lambda: views.TimeMachine(checkpoints(), ODD, PROMPT),
}
IN_THE_KERNEL = {
    "TokenizerExplorer": lambda: views.TokenizerExplorer(tokenizer(), PROMPT)._tokens,
    "GenerationStepper": lambda: views.GenerationStepper(model(), ODD, PROMPT)._text,
}
FOREIGN = "document.querySelectorAll('img, iframe, object, body script').length"


@pytest.fixture
def page(window):
    page = window.page()
    yield page
    window.give_back(page)


@pytest.mark.parametrize("name", IN_THE_BROWSER)
def test_a_view_of_the_browser_shows_markup_as_text(page, name):
    view = IN_THE_BROWSER[name]()
    assert view.last_error is None
    opened = ViewPage(page, view)
    before = page.evaluate(FOREIGN)                         # the page's own module
    opened.send(error=MARKUP)
    assert page.get_by_role("alert").text_content() == MARKUP
    opened.send(error="", notice=MARKUP)
    assert page.evaluate(FOREIGN) == before == 1
    assert page.locator("body").inner_text().count("<img src=x onerror=")
    assert page.evaluate("window.hit") is None and opened.complaints == []
    opened.stop_listening()


@pytest.mark.parametrize("name", IN_THE_KERNEL)
def test_a_view_of_the_kernel_shows_markup_as_text(page, name):
    page.evaluate("page => { document.body.innerHTML = page }", IN_THE_KERNEL[name]().value)
    assert page.evaluate(FOREIGN) == 0 and page.evaluate("window.hit") is None
    assert "<" in page.locator("body").text_content()


def test_the_browser_shows_a_picture_of_every_byte(page):
    gpt2, ours = BPETokenizer.from_gpt2(), BPETokenizer.train("hello hello", 258)
    strips = [figures.token_strip(gpt2.tokens(range(260)), range(260), "\x00"),
              figures.token_strip(ours.tokens(range(258)), range(258)),
              figures.token_strip(list(ODD_TEXTS.values()), range(len(ODD_TEXTS)))]
    for strip in strips:                                    # an SVG of its own has to be XML
        page.set_content(f'<img alt="" src="data:image/svg+xml,{html.escape(quote(strip.data))}">')
        page.wait_for_function("document.querySelector('img').complete")
        assert page.evaluate("document.querySelector('img').naturalWidth") == figures.WIDTH

