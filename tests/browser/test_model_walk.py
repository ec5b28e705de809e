"""The walk through a model, on a page: every box, by keys and by pointer, played and stopped."""

import re
from dataclasses import replace

import pytest
from helpers import lively_model
from page import ViewPage
from playwright.sync_api import expect
from test_accessibility import serious_violations
from views.samples import SMALL, model, tokenizer

from gptcourse.views import ModelWalk
from gptcourse.views.walk_numbers import BOXES, BOXES_OF, CHAPTERS_OF, FILLED_IN
from gptlib.corpus import storybook
from gptlib.storyteller import storyteller

STORY = next(storybook.stories(1, seed=3)).text
FOCUSABLE = "#view :is(input, button, [tabindex])"


@pytest.fixture
def opened(window):
    """Opens a view on a page; afterwards, nobody may have complained."""
    pages = []

    def opened(view: ModelWalk, width: int = 1280, **media) -> ViewPage:
        page = window.page()
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(**media)
        pages.append(ViewPage(page, view))
        return pages[-1]

    yield opened
    for page in pages:
        page.stop_listening()
        window.give_back(page.page)
        assert page.complaints == []


def walk(**state) -> ModelWalk:
    view = ModelWalk(model(), tokenizer(), "The cat sat on.")
    view.state = state
    return view


def told_by_the_storyteller() -> ModelWalk:
    """A story of as many tokens as a view shows."""
    return ModelWalk(*storyteller(), STORY)


def place(page: ViewPage) -> tuple[str, int]:
    return tuple(page.evaluate("[model.get('box'), model.get('layer')]"))


def press(page: ViewPage, *keys: str) -> None:
    for key in keys:
        page.keyboard.press(key)
        page.settle()


def button(page: ViewPage, name: str):
    return page.get_by_role("button", name=name, exact=True)


# ----------------------------------------------------------------------------------- every box


def test_every_element_that_can_have_the_focus_keeps_its_keys_from_jupyterlab(opened):
    page = opened(walk())
    for box in BOXES:
        page.send(box=box)
        lacking = page.locator(FOCUSABLE).evaluate_all(
            "all => all.filter(one => !one.hasAttribute('data-lm-suppress-shortcuts'))"
            ".map(one => one.outerHTML)")
        assert lacking == [], box


@pytest.mark.parametrize("width", [1280, 890, 800])
def test_no_box_is_cut_at_its_side_and_all_are_as_high(opened, width):
    page = opened(told_by_the_storyteller(), width)
    heights = set()
    for box in BOXES:
        page.send(box=box)
        assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), box
        beyond = page.locator("#view .gpt").evaluate("""root => {
            const edge = root.getBoundingClientRect().right + 1;
            return [...root.querySelectorAll("*")].filter(
                one => one.getBoundingClientRect().right > edge).map(one => one.outerHTML);
        }""")
        assert beyond == [], box
        assert page.locator(".gpt-top").bounding_box()["height"] < 30, box          # one line
        heights.add(page.locator("#view .gpt").bounding_box()["height"])
    assert len(heights) == 1


def test_the_boxes_of_a_deep_model_need_no_more_room(opened):
    deep = lively_model(config=replace(SMALL, n_layers=12))
    page = opened(ModelWalk(deep, tokenizer(), "The cat sat on."), 890)
    heights = set()
    for box in BOXES:
        page.send(box=box, layer=7)
        heights.add(page.locator("#view .gpt").bounding_box()["height"])
    assert len(heights) == 1
    page.send(box="after feed-forward")
    lines = page.locator(".gpt-growth li").all_inner_texts()
    assert [line.split("\n")[0] for line in lines] == ["embeddings", *(
        f"+ {part} {layer}" for layer in (6, 7, 8) for part in ("attention", "feed-forward"))]


@pytest.mark.parametrize("width", [1280, 890])             # without and with the file browser
def test_a_walk_is_no_higher_than_700_pixels(opened, width):
    page = opened(told_by_the_storyteller(), width)
    assert page.locator("#view .gpt").bounding_box()["height"] <= 700


def test_the_text_is_seen_whole_while_it_is_edited_and_nothing_moves(opened):
    page = opened(told_by_the_storyteller(), 800)
    field, below = page.get_by_label("text", exact=True), page.locator(".gpt-columns")
    places = [below.bounding_box()]
    assert field.evaluate("field => field.scrollWidth > field.clientWidth")
    field.focus()
    page.settle()
    assert field.evaluate("field => field.scrollWidth <= field.clientWidth"
                          " && field.scrollHeight <= field.clientHeight")
    places.append(below.bounding_box())
    assert places[0] == places[1]


@pytest.mark.parametrize(("width", "columns"), [(800, 2), (780, 2), (600, 1)])
def test_the_map_stands_beside_the_box_where_there_is_room(opened, width, columns):
    page = opened(walk(), width)
    lefts = {page.locator(name).bounding_box()["x"] for name in (".gpt-map", ".gpt-right")}
    assert len(lefts) == columns


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious_in_any_box(opened, scheme):
    page = opened(walk(token=2), color_scheme=scheme)
    if scheme == "dark":
        page.evaluate("() => document.body.setAttribute('data-jp-theme-light', 'false')")
    for box in BOXES:
        page.send(box=box)
        assert serious_violations(page.page, "#view") == [], box


def test_no_text_is_smaller_than_12_pixels(opened):
    page = opened(told_by_the_storyteller())
    for box in BOXES:
        page.send(box=box)
        small = page.locator("#view *").evaluate_all("""all => all.filter(one =>
            [...one.childNodes].some(node => node.nodeType === 3 && node.textContent.trim())
            && parseFloat(getComputedStyle(one).fontSize) < 12).map(one => one.outerHTML)""")
        assert small == [], box


# ------------------------------------------------------------------------------------- the map


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_the_boxes_of_the_lit_parts_are_colored_and_no_others(opened, scheme):
    page = opened(walk(lit=["attention", "training"], box="after attention"), color_scheme=scheme)
    if scheme == "dark":
        page.evaluate("() => document.body.setAttribute('data-jp-theme-light', 'false')")
    boxes = page.locator(".gpt-box")
    ground = boxes.evaluate_all("all => all.map(one => getComputedStyle(one).backgroundColor)")
    colored = {name for name, color in zip(boxes.all_inner_texts(), ground, strict=True)
               if ground.count(color) == 1}
    assert colored == {"attention", "loss"}
    assert serious_violations(page.page, "#view") == []
    page.send(lit=["model"])
    assert page.locator(".gpt-colored").all_inner_texts() == ["final norm", "output head"]
    page.send(lit=[], box="tokens")                        # then the box that is open has color
    assert page.locator(".gpt-colored").all_inner_texts() == ["text → tokens"]


def test_an_open_box_links_to_the_chapters_that_build_it(opened):
    page = opened(walk())
    links = page.locator(".gpt-built-in a")
    found = {}
    for box in BOXES:
        page.send(box=box)
        found[box] = list(zip(links.all_inner_texts(),
                              links.evaluate_all("all => all.map(one => one.getAttribute('href'))"),
                              strict=True))
    filled = {part: [chapter] for part, chapter in FILLED_IN.items()}
    expected = {box: [(title, f"{name}.ipynb")
                      for name, title in [*CHAPTERS_OF[part], *filled.get(part, [])]]
                for part, boxes in BOXES_OF.items() for box in boxes}
    assert found == expected
    page.send(box="attention")
    assert page.locator(".gpt-built-in").text_content() == (
        "Built in Chapter 3: Attention; filled in Chapter 8: Pretrained weights")


def test_the_tabulator_reaches_the_link_and_it_keeps_the_focus_while_numbers_change(opened):
    page = opened(walk(box="attention"))
    page.get_by_role("slider", name="keys").focus()
    link = page.get_by_role("link", name="Chapter 3: Attention")
    for _ in range(4):
        if link.evaluate("one => one === document.activeElement"):
            break
        press(page, "Tab")
    expect(link).to_be_focused()
    page.send(token=1, head=2)
    expect(link).to_be_focused()


# ----------------------------------------------------------------------------- from box to box


def test_next_and_back_go_through_all_layers_and_stay_at_the_ends(opened):
    page = opened(walk())
    way = [place(page)]
    for _ in range(19):
        button(page, "on to the next box").click(force=True)
        page.settle()
        way.append(place(page))
    assert way[3] == ("attention norm", 0) and way[9] == ("attention norm", 1)
    assert way[-1] == way[-2] == ("loss", 1)
    expect(button(page, "on to the next box")).to_have_attribute("aria-disabled", "true")
    for _ in range(19):
        button(page, "back to the box before").click(force=True)
        page.settle()
    assert place(page) == ("tokens", 0)


def test_arrow_keys_move_on_the_map_and_the_current_box_is_marked(opened):
    page = opened(walk())
    button(page, "tokens").focus()
    press(page, "ArrowDown", "ArrowDown", "ArrowDown", "ArrowDown")
    assert place(page) == ("attention", 0)
    current = page.locator("[aria-current=step]")
    expect(current).to_be_focused()
    expect(current).to_have_attribute("aria-label", "attention, in this layer")
    expect(page.locator(".gpt-title")).to_have_text(re.compile("^Layer 0 · Attention"))
    press(page, "End")
    assert place(page)[0] == "loss"


def test_the_map_shows_what_the_token_has_behind_it(opened):
    page = opened(walk(box="attention"))
    done = page.locator(".gpt-box.gpt-done").evaluate_all("all => all.map(one => one.textContent)")
    assert done == ["text → tokens", "token embedding", "+position", "norm"]
    assert 0 < page.locator(".gpt-behind").count() < page.locator(".gpt-way").count()


def test_another_token_is_followed_by_click_and_by_keys(opened):
    page = opened(walk(box="token embedding"))
    page.get_by_role("button", name=re.compile("^follow token 2 ")).click()
    press(page, "ArrowLeft")
    followed = page.get_by_role("button", name=re.compile("^follow token 1 "))
    expect(followed).to_have_attribute("aria-pressed", "true")
    expect(followed).to_be_focused()
    assert page.saved == [["token", 2], ["token", 1]]
    label = followed.text_content()
    expect(page.locator(".gpt-said")).to_contain_text(f"stand for ‘{label}’ from now on")
    expect(page.locator(".gpt-pill")).to_have_text(label)


def test_another_session_moves_the_page(opened):
    page = opened(walk(box="attention"))
    page.send(layer=1, head=3, token=2)
    expect(page.locator(".gpt-title")).to_have_text(re.compile("^Layer 1 · "))
    expect(page.locator(".gpt-said")).to_contain_text("Head 3 takes most from ‘")
    expect(page.get_by_label("layer", exact=True)).to_have_value("1")


def test_of_a_large_model_the_page_waits_for_the_numbers_of_another_token(opened):
    large = replace(SMALL, context_length=64, emb_dim=288, n_heads=9, n_layers=9)
    view = ModelWalk(lively_model(config=large), tokenizer(), "The cat sat on. " * 9)
    view.box = "token embedding"
    page = opened(view)
    page.get_by_role("button", name="follow token 2 ·cat", exact=True).click()
    told = page.locator(".gpt-told")
    expect(told).to_have_text("The numbers of ‘·cat’ are still on their way.")
    view.token = 2
    page.send(data=view.data)
    expect(page.locator(".gpt-said")).to_contain_text("stand for ‘·cat’ from now on")
    expect(told).not_to_contain_text("on their way")


# ---------------------------------------------------------------------------------- the numbers


def test_every_number_of_a_sum_is_read_by_keys_and_by_pointer(opened):
    view = walk(box="after attention", layer=1, token=2)
    page = opened(view)
    numbers = page.get_by_role("slider", name="numbers")
    numbers.focus()
    press(page, "ArrowRight", "ArrowRight", "ArrowRight")
    told = numbers.get_attribute("aria-valuetext")
    assert told.startswith("Number 3 of these 32: ")
    expect(page.locator(".gpt-told")).to_have_text(told)
    traced = view.traced(view.prompt)
    before = traced["blocks.0.residual_end"][2, 3]
    after = traced["blocks.1.residual_mid"][2, 3]
    expected = " ".join([f"{before:.3f}", "+", f"{after - before:.3f}", "=", f"{after:.3f}"])
    assert told.endswith(expected.replace("-", "−"))
    numbers.blur()
    box = page.locator(".gpt-strip").nth(1).bounding_box()
    page.mouse.move(box["x"] + 31.5 / 32 * box["width"], box["y"] + 9)
    expect(page.locator(".gpt-told")).to_have_text(re.compile("^Number 31 of these 32: "))


def test_what_a_head_looks_at_is_read_by_keys_and_heads_are_chosen_by_keys(opened):
    view = walk(box="attention", token=3)
    page = opened(view)
    keys = page.get_by_role("slider", name="keys")
    keys.focus()
    press(page, "Home")
    product = view.shown["walk"]["products"][0, 0, 6]           # rows of 1, 2 and 3 come before
    assert f"q · k = {product:.2f}".replace("-", "−") in keys.get_attribute("aria-valuetext")
    page.get_by_role("button", name=re.compile("^head 0, most at ")).focus()
    press(page, "ArrowDown", "ArrowDown")
    chosen = page.get_by_role("button", name=re.compile("^head 2, most at "))
    expect(chosen).to_be_focused()
    expect(chosen).to_have_attribute("aria-pressed", "true")
    assert page.saved == [["head", 1], ["head", 2]]
    arcs = page.locator(".gpt-arcs svg > *").count()
    page.get_by_role("checkbox", name="arcs of all heads").check()
    page.settle()
    assert page.locator(".gpt-arcs svg > *").count() > arcs


def test_every_neuron_is_read_by_keys(opened):
    view = walk(box="feed-forward", token=1)
    page = opened(view)
    neurons = page.get_by_role("slider", name="neurons")
    neurons.focus()
    press(page, "End")
    answer = view.shown["walk"]["activations"][0, 1, -1]
    told = f"Neuron 127 of 128 answers {answer:.3f}".replace("-", "−")
    assert neurons.get_attribute("aria-valuetext") == told


def test_a_line_of_all_tokens_says_its_numbers_and_a_click_follows_its_token(opened):
    view = walk(box="token embedding")
    page = opened(view)
    lines = page.locator(".gpt-all")
    box = lines.bounding_box()
    page.mouse.move(box["x"] + 2, box["y"] + 2)
    number = view.shown["walk"]["token"][0, 0]
    expect(page.locator(".gpt-told")).to_have_text(
        f"Number 0 of token 0 ‘<|endoftext|>’: {number:.3f}".replace("-", "−"))
    lines.click(position={"x": 5, "y": 2})
    assert page.saved == [["token", 0]]


def test_every_surprise_is_read_by_keys_and_a_click_follows_its_token(opened):
    view = walk(box="loss")
    page = opened(view)
    numbers = page.get_by_role("slider", name="surprises")
    numbers.focus()
    press(page, "Home", "ArrowRight")
    surprise = view.shown["walk"]["surprises"][1]
    assert numbers.get_attribute("aria-valuetext").endswith(f", surprise {surprise:.3f}")
    assert numbers.get_attribute("aria-valuetext").startswith("‘·cat’ after ‘The’: probability ")
    page.locator(".gpt-bar").nth(2).click()
    assert page.saved == [["token", 2]]
    expect(page.locator(".gpt-said")).to_contain_text("After ‘·cat’ the text goes on with ‘·sat’.")
    expect(page.locator(".gpt-bar.gpt-own")).to_have_count(1)


# ------------------------------------------------------------------------------- play and stops

HOLD_TIME = "window.setTimeout = (act) => { window.due = act; return 1; }"


def tick(page: ViewPage) -> None:
    """The time that the play stays in a box is over."""
    page.evaluate("{ const act = window.due; window.due = null; act(); }")
    page.settle()


def test_play_walks_on_by_itself_and_pauses(opened):
    page = opened(walk())
    page.evaluate(HOLD_TIME)
    button(page, "play").click()
    assert place(page)[0] == "tokens"
    tick(page)
    tick(page)
    assert place(page)[0] == "position embedding"
    expect(page.locator(".gpt-said")).to_have_attribute("aria-live", "off")
    button(page, "pause").click()
    expect(page.locator(".gpt-said")).to_have_attribute("aria-live", "polite")
    expect(button(page, "play")).to_be_visible()
    for _ in range(2):
        button(page, "on to the next box").click()
    assert place(page)[0] == "attention"


def test_play_stops_at_a_breakpoint_and_goes_on_from_there_to_the_end(opened):
    page = opened(walk())
    page.evaluate(HOLD_TIME)
    button(page, "stop at tokens").focus()
    press(page, "ArrowDown", "Enter")
    assert page.saved == [["breakpoints", ["token embedding"]]]
    expect(button(page, "stop at token embedding")).to_have_attribute("aria-pressed", "true")
    button(page, "play").click()
    tick(page)
    assert place(page)[0] == "token embedding"
    expect(button(page, "play")).to_be_visible()
    assert page.evaluate("window.due") is None
    button(page, "play").click()
    for _ in range(17):
        tick(page)
    assert place(page) == ("loss", 1)
    expect(button(page, "play")).to_be_visible()
    button(page, "play").click()                                  # from the beginning again
    page.settle()
    assert place(page)[0] == "tokens"
    press(page, "Tab")
    button(page, "stop at token embedding").click()
    assert page.evaluate("model.get('breakpoints')") == []


def test_whoever_moves_by_hand_ends_the_play(opened):
    page = opened(walk())
    page.evaluate(HOLD_TIME)
    button(page, "play").click()
    button(page, "attention, in this layer").click()
    expect(button(page, "play")).to_be_visible()


def test_where_motion_is_to_be_reduced_play_goes_to_its_stop_at_once(opened):
    page = opened(walk(breakpoints=["attention"]), reduced_motion="reduce")
    page.evaluate(HOLD_TIME)
    for expected in (("attention", 0), ("attention", 1), ("loss", 1)):
        button(page, "play").click()
        page.settle()
        assert place(page) == expected
        expect(button(page, "play")).to_be_visible()
    assert page.evaluate("window.due") is None
    assert page.locator(".gpt-pill").evaluate(
        "pill => getComputedStyle(pill).transitionDuration") == "0s"


def test_a_play_that_runs_ends_where_motion_becomes_unwanted(opened):
    page = opened(walk())
    page.evaluate(HOLD_TIME)
    button(page, "play").click()
    page.emulate_media(reduced_motion="reduce")
    tick(page)
    assert place(page)[0] == "tokens" and page.evaluate("window.due") is None
    expect(button(page, "play")).to_be_visible()


def test_a_play_that_runs_ends_with_its_view(opened):
    page = opened(walk())
    page.evaluate(HOLD_TIME)
    button(page, "play").click()
    page.evaluate("dispose()")
    tick(page)
    assert page.saved == [] and page.evaluate("window.due") is None


# ------------------------------------------------------------------------------- the next token


def test_another_token_can_be_drawn_and_appended_to_the_text(opened):
    view = ModelWalk(*storyteller(), "Do you know")
    view.box = "next token"
    page = opened(view)
    button(page, "draw again").click()
    page.settle()
    assert page.saved == [["draw", 1]]
    drawn = page.locator(".gpt-drawn bdi").text_content()
    expect(page.locator(".gpt-said")).to_contain_text(f"This time it's ‘{drawn}’.")
    button(page, "append it, walk on").click()
    changed = dict(page.saved)
    assert changed["prompt"] == "Do you know" + drawn.replace("·", " ")
    assert changed["box"] == "tokens"


def test_what_cannot_be_appended_is_said_in_words(opened):
    page = opened(walk(box="next token", token=1))
    button(page, "append it, walk on").click(force=True)
    expect(page.locator(".gpt-told")).to_contain_text("Follow the last token")
    assert page.saved == []
