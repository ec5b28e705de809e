"""A chapter as a page: opened as a file, with the network off, its views work."""

import re

import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pages import write_pages
from playwright.sync_api import expect

CELLS = [
    new_markdown_cell("# Far from any kernel\n\nThe score is $q \\cdot k / \\sqrt{D}$, a surprise "
                      "is $-\\ln p$, and `$5$` is code. [Go on](01_next.ipynb), or look up "
                      "[words](01_next.ipynb#Words)."),
    new_code_cell("import torch\nfrom gptlib import GPTModel\n"
                  "from gptlib.storyteller import storyteller\n"
                  "from gptcourse.views import AttentionExplorer, GradientFlow"),
    new_code_cell("model, tokenizer = storyteller()\n"
                  "AttentionExplorer(model, tokenizer, 'Tom the bear was shy.')"),
    new_code_cell("GradientFlow()"),
]

MAP = ("from gptlib.storyteller import storyteller\nfrom gptcourse.views import ModelWalk\n"
       "ModelWalk(*storyteller(), 'Tom the bear was shy.', lit={'attention'})")


@pytest.fixture(scope="module")
def pages(tmp_path_factory):
    folder = tmp_path_factory.mktemp("chapters")
    nbformat.write(new_notebook(cells=CELLS), folder / "00_start.ipynb")
    following = new_notebook(cells=[new_markdown_cell("# Next\n\n## Words"), new_code_cell(MAP)])
    nbformat.write(following, folder / "01_next.ipynb")
    last = new_notebook(cells=[new_markdown_cell("# Attention")])
    nbformat.write(last, folder / "03_attention.ipynb")
    paths = [folder / f"{name}.ipynb" for name in ("00_start", "01_next", "03_attention")]
    return write_pages(paths, folder / "site")[1:]              # the first is the contents


@pytest.fixture
def page(chromium, pages):
    context = chromium.new_context(viewport={"width": 1280, "height": 900}, offline=True)
    page = context.new_page()
    page.asked, page.complaints = [], []
    page.on("request", lambda request: page.asked.append(request.url))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on("console", lambda message: page.complaints.append(message.text)
            if message.type == "error" else None)
    page.goto(pages[0].as_uri())
    page.wait_for_selector("html[data-ready=true]")
    yield page
    context.close()


def test_a_page_asks_for_nothing_but_itself_and_complains_of_nothing(page):
    assert [url for url in page.asked if not url.startswith(("file:", "blob:", "data:"))] == []
    assert page.complaints == []


def test_formulas_are_drawn_and_code_stays_code(page):
    assert page.locator("math msqrt").count() == 1
    assert page.locator("math mi + mspace + mi").count() == 1  # ln p, and not lnp
    assert page.get_by_text("$5$", exact=True).count() == 1


def test_a_view_of_the_browser_answers_the_pointer_without_a_kernel(page):
    view = page.locator(".live")
    before = view.inner_text()
    view.get_by_role("radio", name="who looks at the token").check()
    page.wait_for_function("([view, before]) => view.innerText !== before",
                           arg=[view.element_handle(), before], timeout=5_000)


def test_a_view_follows_the_colors_of_the_page(page):
    ink = "root => getComputedStyle(root).getPropertyValue('--gpt-accent')"
    page.emulate_media(color_scheme="dark")
    page.locator("body[data-jp-theme-light=false]").wait_for(state="attached")
    dark = page.locator(".gpt").evaluate(ink)
    page.emulate_media(color_scheme="light")
    page.locator("body[data-jp-theme-light=true]").wait_for(state="attached")
    assert page.locator(".gpt").evaluate(ink) != dark


def test_a_text_that_no_model_would_read_cannot_be_typed(page):
    field = page.get_by_role("textbox", name="text")
    before = field.input_value()
    assert not field.is_editable() and "needs the notebook" in field.get_attribute("title")
    assert page.get_by_role("radio", name="who looks at the token").is_editable()
    assert page.get_by_role("button", name=re.compile("^Cut the text")).count() == 0
    page.get_by_role("button", name=re.compile("^token 1 ")).click(modifiers=["Alt"])
    assert field.input_value() == before


def test_a_view_of_the_kernel_is_a_picture_with_words(page):
    picture = page.locator("main img")
    assert picture.count() == 1
    assert len(picture.get_attribute("alt")) > 40
    assert picture.evaluate("image => image.naturalWidth") > 300


def test_a_link_leads_to_a_heading_of_another_page(page):
    page.get_by_role("link", name="words").click()
    expect(page).to_have_title("Next")
    expect(page.locator(":target")).to_have_text(re.compile("^Words"))


def test_a_map_leads_to_the_page_of_a_chapter(page, pages):
    page.goto(pages[1].as_uri())
    page.wait_for_selector("html[data-ready=true]")
    page.get_by_role("link", name="Chapter 3: Attention").click()
    expect(page).to_have_title("Attention")


def test_the_pages_lead_to_each_other(page):
    page.get_by_role("link", name="Go on").click()
    expect(page).to_have_title("Next")
    page.get_by_role("link", name="start").first.click()
    expect(page).to_have_title("Far from any kernel")
    page.get_by_role("link", name="contents").first.click()
    expect(page).to_have_title("GPT from scratch")


def test_the_contents_name_the_chapters_and_find_words_in_all_of_them(page, pages):
    page.goto(pages[0].with_name("index.html").as_uri())
    assert page.locator(".contents a").all_inner_texts() == [
        "Far from any kernel", "Next", "Attention"]
    field = page.get_by_role("searchbox", name="Search all chapters")
    field.fill("SCORE surprise")
    expect(page.get_by_role("status")).to_have_text("1 place.")
    field.fill("no such word")
    expect(page.get_by_role("status")).to_have_text("0 places.")
    field.fill("words")
    page.get_by_role("link", name="Next: Words").click()
    expect(page).to_have_title("Next")
    expect(page.locator(":target")).to_have_text(re.compile("^Words"))
    assert page.complaints == []
