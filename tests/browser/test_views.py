"""The views that live in the browser, in one: real elements, real keys, a real pointer."""

import base64
import io
import re
from dataclasses import replace

import numpy as np
import pytest
from helpers import lively_model
from lab_notebook import write_notebook
from page import PAGE, ViewPage
from PIL import Image
from playwright.sync_api import expect
from views.samples import (
    MAKERS,
    SMALL,
    Run,
    checkpoints,
    model,
    query_and_key,
    scaling_runs,
    tokenizer,
)

import gptcourse.views
from gptcourse import figures
from gptcourse.views import (
    AblationBench,
    AttentionExplorer,
    AttentionMicroscope,
    PatchingMap,
    RotaryExplorer,
    SamplingBench,
    ScalingExplorer,
    TimeMachine,
)
from gptcourse.views.browser import BrowserView
from gptcourse.views.image import KernelImage
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer

SENTENCE = "The cat sat on."
every_browser_view = pytest.mark.parametrize(
    "name", [name for name in MAKERS if issubclass(getattr(gptcourse.views, name), BrowserView)])


@pytest.fixture
def opened(chromium, window):
    """Opens a view on a page; afterwards, nobody may have complained or asked for anything."""
    pages = []

    def opened(view: BrowserView, width: int = 1280, **options) -> ViewPage:
        page = chromium.new_page(**options) if options else window.page()
        page.set_viewport_size({"width": width, "height": 800})
        pages.append(ViewPage(page, view))
        return pages[-1]

    yield opened
    for page in pages:
        page.stop_listening()
        if page.context == window.context:
            window.give_back(page.page)
        else:
            page.close()
        assert page.complaints == []
        assert [url for url in page.requests if not url.startswith(("blob:", "data:"))] == []


def explorer() -> AttentionExplorer:
    return AttentionExplorer(model(), tokenizer(), SENTENCE)


def long_model():
    """One that reads as many tokens as a view shows."""
    return lively_model(config=replace(SMALL, context_length=64))


def arcs(text: str = SENTENCE, **settings) -> AttentionExplorer:
    view = AttentionExplorer(long_model(), tokenizer(), text)
    view.look = "arcs"
    for name, value in settings.items():
        setattr(view, name, value)
    return view


def microscope() -> AttentionMicroscope:
    return AttentionMicroscope(model(), tokenizer(), SENTENCE)


# ----------------------------------------------------------------------------------- every view


@every_browser_view
def test_every_control_has_a_name_and_keeps_its_keys_from_jupyterlab(opened, name):
    page = opened(MAKERS[name]())
    controls = page.locator("input, button, select, textarea")
    assert controls.count() > 2
    for control in controls.all():
        assert control.get_attribute("aria-label")
        assert control.evaluate("c => c.closest('[data-lm-suppress-shortcuts]') !== null")


@every_browser_view
def test_what_is_on_screen_is_also_said_to_screen_readers(opened, name):
    page = opened(MAKERS[name]())
    said = page.locator("[aria-live=polite]").first.text_content()
    assert len(said) > 20
    for canvas in page.locator("canvas:not([aria-hidden])").all():
        assert canvas.get_attribute("role") == "img" and canvas.get_attribute("aria-label")


@every_browser_view
@pytest.mark.parametrize("width", [1280, 800])
def test_no_view_is_wider_than_its_page(opened, name, width):
    page = opened(MAKERS[name](), width)
    assert page.evaluate("document.documentElement.scrollWidth <= window.innerWidth")


@every_browser_view
def test_an_error_of_the_kernel_is_said_and_taken_back(opened, name):
    page = opened(MAKERS[name]())
    page.send(error="The text is empty, but <b>something</b> is needed.")
    alert = page.get_by_role("alert")
    assert alert.text_content() == "The text is empty, but <b>something</b> is needed."
    page.send(error="")
    assert alert.text_content() == ""


@every_browser_view
def test_a_view_without_data_says_why_and_still_takes_a_text(opened, name):
    view = MAKERS[name]()
    view.data, view.error = b"", "There is nothing to draw."
    page = opened(view)
    assert page.get_by_role("alert").text_content() == "There is nothing to draw."
    assert (page.locator("textarea").count() > 0) == view.has_trait("prompt")


@every_browser_view
def test_data_that_cannot_be_read_is_said_in_the_view(opened, name):
    page = opened(MAKERS[name]())
    page.send(data=b"\xff\xff\x00\x00not a header")
    assert "could not draw" in page.get_by_role("alert").text_content()


@every_browser_view
def test_a_closed_view_leaves_nothing_behind(opened, name):
    page = opened(MAKERS[name]())
    assert page.evaluate("model.listeners()") > 0
    page.evaluate("dispose()")
    assert page.evaluate("model.listeners()") == 0
    assert page.locator("#view").inner_html() == ""


@every_browser_view
def test_a_view_is_readable_on_a_dark_page(opened, name):
    page = opened(MAKERS[name]())
    page.evaluate("""() => {
        document.body.style.setProperty('--jp-content-font-color1', 'rgb(250, 250, 250)');
        document.body.dataset.jpThemeLight = 'false';
    }""")
    page.settle()
    ink = page.locator(".gpt").evaluate("root => getComputedStyle(root).color")
    assert ink == "rgb(250, 250, 250)"


def many_runs() -> list[Run]:
    """More sizes than have a color of their own."""
    return [run._replace(budget=times * run.budget, parameters=round(times * run.parameters),
                         flops=times * run.flops)
            for times in (1, 10**0.3, 10**2.3) for run in scaling_runs()]


LONG = {
    "map": lambda: AttentionExplorer(long_model(), tokenizer(), SENTENCE * 12),
    "arcs": lambda: arcs(SENTENCE * 4, heads=[1, 2, 3]),
    "microscope": lambda: AttentionMicroscope(long_model(), tokenizer(), SENTENCE * 12),
    "bench": lambda: SamplingBench(long_model(), tokenizer(), SENTENCE * 4),
    "time": lambda: TimeMachine(checkpoints(), tokenizer(), SENTENCE * 12),
    "ablation": lambda: AblationBench(long_model(), tokenizer(), SENTENCE * 4),
    "patching": lambda: PatchingMap(long_model(), tokenizer(), SENTENCE * 12,
                                    SENTENCE * 11 + "The dog sat on."),
    "rotary": lambda: RotaryExplorer(*query_and_key(64)),
    "scaling": lambda: ScalingExplorer(many_runs(), budget=2e14, flops_per_second=2e10),
}


@pytest.mark.parametrize("width", [1000, 884, 520, 368])    # the last: 800 with the file browser
@pytest.mark.parametrize("name", LONG)
def test_a_long_text_fits_the_screen_and_nothing_scrolls_in_a_view(opened, name, width):
    view = LONG[name]()
    if name == "bench":
        view.draws = 200
    page = opened(view, width + 16)                          # a page has margins
    root = page.locator(".gpt")
    assert root.evaluate("root => root.scrollWidth <= root.clientWidth")
    assert root.evaluate("""root => [...root.querySelectorAll("*")].filter(part =>
        /auto|scroll/.test(getComputedStyle(part).overflow)
        && (part.scrollWidth > part.clientWidth || part.scrollHeight > part.clientHeight))
        .map(part => part.className)""") == []
    edge = root.bounding_box()["x"] + root.bounding_box()["width"]
    assert root.evaluate("""(root, edge) => [...root.querySelectorAll("*:not(path)")].filter(part =>
        part.getBoundingClientRect().right > edge + 1).map(part => part.className)""", edge) == []
    assert width < 1000 or root.bounding_box()["height"] <= 700


@pytest.mark.parametrize("name", ["map", "arcs", "microscope", "time"])
@pytest.mark.parametrize("width", [1000, 520])
def test_nothing_jumps_while_the_pointer_moves(opened, name, width):
    page = opened(LONG[name](), width + 16)
    places = page.locator("tbody tr:visible, .gpt-chip:visible, .gpt-word:visible").all()
    page.settle()
    heights = set()
    for place in places[::7]:
        place.hover()
        page.settle()
        heights.add(page.locator(".gpt").bounding_box()["height"])
    assert len(heights) == 1 and len(places) >= 8


# -------------------------------------------------------------------- pictures from the kernel


def test_a_picture_gives_way_to_the_next_one_without_an_empty_frame(opened):
    pictures = [figures.matrix([[n / 12, 1.0]], title=str(n)) for n in range(12)]
    view = KernelImage()
    view.show(pictures[0])
    page = opened(view)
    page.locator("img").wait_for()
    page.evaluate("""() => {
        window.frames_seen = [];
        const look = () => {
            const image = document.querySelector("#view img");
            window.frames_seen.push([image?.naturalWidth ?? 0, image?.clientHeight ?? 0]);
            requestAnimationFrame(look);
        };
        look();
    }""")
    for picture in pictures[1:] * 3:
        page.send(alt=picture.alt, width=picture.width, value=picture.data)
    expect(page.get_by_role("img", name=pictures[-1].alt, exact=True)).to_have_attribute(
        "width", str(pictures[-1].width))
    frames = page.evaluate("window.frames_seen")
    assert len(frames) > 20
    assert [frame for frame in frames if 0 in frame] == []


def test_what_is_no_picture_leaves_the_former_one_on_the_page(opened):
    picture = figures.matrix([[1.0]], title="One")
    view = KernelImage()
    view.show(picture)
    page = opened(view)
    page.locator("img").wait_for()
    page.send(value=b"no picture")
    page.send(value=b"")
    assert page.locator("img").evaluate("image => image.naturalWidth") > 0


@pytest.mark.parametrize("ground", ["#111111", "#212121"])
def test_a_faint_line_of_a_picture_is_lighter_than_a_dark_page(opened, ground):
    drawn, file = Image.new("RGB", (100, 60), figures.PALETTE["card"]), io.BytesIO()
    drawn.paste(figures.GRID, (0, 20, 100, 40))
    drawn.save(file, "PNG")
    view = KernelImage()
    view.show(figures.Picture(file.getvalue(), "A line.", 100))
    page = opened(view)
    page.locator("img").wait_for()
    page.evaluate("""ground => {
        document.body.style.background = ground;
        document.body.dataset.jpThemeLight = "false";
    }""", ground)
    seen = np.asarray(Image.open(io.BytesIO(page.locator("img").screenshot())).convert("L"))
    paper, line = seen[8, 50], seen[30, 50]
    assert abs(int(paper) - int(ground[1:3], 16)) <= 2 and line >= paper + 16


@pytest.mark.parametrize("name", ["PatchingMap", "AttentionMicroscope"])
def test_zero_is_close_to_the_page_in_light_and_in_dark(opened, name):
    page = opened(MAKERS[name]())
    seen = []
    for light in ("true", "false", "true"):
        page.evaluate("light => { document.body.dataset.jpThemeLight = light; }", light)
        page.settle()
        seen.append(page.locator(".gpt-cell, .gpt-numbers li").evaluate_all("""cells => cells.map(
            (cell) => getComputedStyle(cell).backgroundColor.match(/\\d+/g).map(Number))"""))
        seen[-1] += [
            np.asarray(Image.open(io.BytesIO(strip.screenshot())).convert("RGB"))[7, 2].tolist()
            for strip in page.locator("canvas.gpt-strip").all()]
    assert seen[0] == seen[2]
    lightest, darkest = ([sum(color[:3]) / 3 for color in colors] for colors in seen[:2])
    assert max(lightest) > 200 > 130 > min(darkest) and np.mean(lightest) > np.mean(darkest) + 60


# ----------------------------------------------------------------------------- AttentionExplorer


def said(page) -> str:
    page.settle()
    return page.locator("[aria-live=polite]").first.text_content()


def test_pointing_at_a_token_previews_its_weights_and_a_click_stays_with_them(opened):
    view = explorer()
    page = opened(view)
    last = len(view.shown["labels"]) - 1
    assert said(page).startswith(f"Token {last} ")
    page.get_by_role("button", name=re.compile("^token 2 ")).hover()
    assert said(page).startswith("Token 2 ") and page.saved == []
    page.locator("textarea").hover()
    assert said(page).startswith(f"Token {last} ")
    page.get_by_role("button", name=re.compile("^token 2 ")).click()
    page.locator("textarea").hover()
    assert said(page).startswith("Token 2 ") and page.saved == [["token", 2]]


def test_what_the_page_says_are_the_kernels_numbers(opened):
    view = explorer()
    view.layer, view.head, view.token = 1, 2, 3
    page = opened(view)
    for n, weight in enumerate(view.shown["row"][:4]):
        name = f"token {n} {view.shown['labels'][n].replace(' ', '·')}, gives {weight:.4f}"
        assert page.get_by_role("button", name=name, exact=True).count() == 1
    assert "its 4 weights sum to 1.0000." in said(page)
    assert page.get_by_role("button", name=re.compile(", masked$")).count() == (
        len(view.shown["labels"]) - 4)


def test_arrow_keys_move_through_tokens_and_heads(opened):
    page = opened(explorer())
    page.get_by_role("button", name="layer 0, head 0", exact=True).focus()
    for key in ("ArrowDown", "ArrowRight", "ArrowLeft", "ArrowLeft"):
        page.keyboard.press(key)
    assert page.saved == [["layer", 1], ["head", 1], ["head", 0]]          # none left of head 0
    pressed = page.locator(".gpt-head[aria-pressed=true]")
    page.settle()
    assert pressed.get_attribute("aria-label") == "layer 1, head 0"
    page.get_by_role("button", name=re.compile("^token 4 ")).click()
    page.keyboard.press("ArrowLeft")
    assert said(page).startswith("Token 3 ")
    page.keyboard.press("Home")
    assert said(page).startswith("Token 0 ")


def test_the_tabulator_leaves_the_mosaic_from_wherever_the_arrow_keys_are(opened):
    page = opened(explorer())
    page.get_by_role("button", name="layer 0, head 0", exact=True).focus()
    page.evaluate("window.requestAnimationFrame = () => {}")          # no picture in between
    page.keyboard.press("ArrowRight")
    page.keyboard.press("Shift+Tab")
    assert page.evaluate("document.activeElement.className").startswith("gpt-chip")


def test_the_mean_of_a_layer_can_be_enlarged(opened):
    page = opened(explorer())
    page.get_by_role("button", name="layer 1, mean of heads").click()
    page.settle()
    assert page.get_by_text("Layer 1, mean of its heads", exact=True).is_visible()
    assert page.saved == [["layer", 1], ["mean", True]]


def test_who_looks_at_the_token_is_a_column(opened):
    page = opened(explorer())
    page.get_by_role("button", name=re.compile("^token 2 ")).click()
    page.get_by_role("radio", name="who looks at the token").check()
    assert "is looked at by" in said(page)
    assert page.get_by_role("button", name=re.compile("^token 1 .*, masked$")).count() == 1


def test_two_views_on_a_page_do_not_share_their_radio_buttons(opened):
    names = [opened(explorer()).locator("input[type=radio]").first.get_attribute("name")
             for _ in range(2)]
    assert names[0] != names[1]


def test_the_enlarged_head_answers_the_pointer(opened):
    page = opened(explorer())
    box = page.locator("canvas.gpt-map").bounding_box()
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] - 8)
    below = page.locator(".gpt-right")
    expect(below).to_contain_text(re.compile(r"looks at ‘\.’ with weight 0\.\d{6}\."))
    page.mouse.move(box["x"] + box["width"] - 8, box["y"] + box["height"] / 2)
    expect(below).to_contain_text("may not look ahead")


def test_weights_that_were_rounded_for_the_way_are_told_as_such_until_the_exact_ones_come(opened):
    large = replace(SMALL, context_length=64, emb_dim=90, n_heads=9, n_layers=30)
    view = AttentionExplorer(lively_model(config=large), tokenizer(), SENTENCE * 20)
    page = opened(view)
    assert "its 64 weights sum to 1.0000." in said(page)
    page.get_by_role("button", name="layer 1, head 0", exact=True).click()
    assert "its 64 weights sum to about 1.0." in said(page)       # the kernel has not answered
    view.layer = 1
    page.send(exact=view.exact)
    assert "its 64 weights sum to 1.0000." in said(page)


@pytest.mark.parametrize("name", ["AttentionExplorer", "TimeMachine"])
def test_a_tap_on_the_map_chooses_the_token_of_its_row(opened, name):
    page = opened(MAKERS[name](), has_touch=True)
    box = page.locator("canvas.gpt-map").bounding_box()
    page.touchscreen.tap(box["x"] + box["width"] - 90, box["y"] + box["height"] - 45)
    page.settle()
    count = page.get_by_role("group", name="tokens").get_by_role("button").count()
    assert page.saved == [["token", count - 2]]


def test_the_mosaic_is_no_wider_than_a_narrow_page(opened):
    page = opened(explorer(), 340)
    mosaic = page.locator(".gpt-mosaic").bounding_box()
    assert mosaic["x"] + mosaic["width"] <= 340
    page.set_viewport_size({"width": 1280, "height": 800})
    page.settle()
    assert page.locator(".gpt-mosaic").bounding_box()["width"] > 340


@pytest.mark.parametrize("width", [1280, 800, 536, 384])
@pytest.mark.parametrize("n_heads", [8, 25])
def test_the_mean_of_many_heads_and_its_name_are_on_the_page(opened, n_heads, width):
    many = lively_model(config=replace(SMALL, n_heads=n_heads, emb_dim=8 * n_heads))
    page = opened(AttentionExplorer(many, tokenizer(), SENTENCE), width)
    edge = page.locator(".gpt-left").bounding_box()
    last = page.get_by_role("button", name="layer 1, mean of heads").bounding_box()
    name = page.locator(".gpt-mean").evaluate("""mean => {
        const words = document.createRange();
        words.selectNodeContents(mean);
        return words.getBoundingClientRect().right;
    }""")
    assert max(last["x"] + last["width"], name) <= edge["x"] + edge["width"]


def test_a_new_text_goes_to_the_kernel_and_its_answer_is_drawn(opened):
    view = explorer()
    page = opened(view)
    page.get_by_label("text", exact=True).fill("A dog")
    page.keyboard.press("Enter")
    assert page.saved == [["prompt", "A dog"]]
    view.prompt = "A dog"
    page.send(data=view.data)
    chips = page.get_by_role("group", name="tokens").get_by_role("button")
    assert chips.count() == len(view.shown["labels"])


def test_a_text_is_seen_whole_enter_applies_it_and_shift_with_enter_begins_a_line(opened):
    page = opened(explorer(), 520)
    field = page.get_by_label("text", exact=True)
    one = field.bounding_box()["height"]
    field.fill(SENTENCE * 9)
    page.settle()
    assert field.bounding_box()["height"] > one + 15
    assert field.evaluate("field => field.scrollHeight <= field.clientHeight")
    field.fill("A dog")
    page.keyboard.press("Shift+Enter")
    assert page.saved == []
    page.keyboard.type("ran")
    page.keyboard.press("Enter")
    assert page.saved == [["prompt", "A dog\nran"]] and field.input_value() == "A dog\nran"


@pytest.mark.parametrize("look", ["map", "arcs"])
def test_the_text_can_be_cut_after_a_token(opened, look):
    view = AttentionExplorer(model(), tokenizer(), "The cät sat.")
    view.look = look
    labels = view.shown["labels"]
    page = opened(view)
    token = next(n for n, label in enumerate(labels) if "".join(labels[1:n + 1]) == "The c")
    page.get_by_role("button", name=re.compile(f"^token {token + 2} ")).click(modifiers=["Alt"])
    assert page.saved == [["prompt", "The cä"]]              # a letter of two tokens
    page.get_by_role("button", name=re.compile(f"^token {token + 1} ")).click()
    page.get_by_role("button", name=re.compile("^Cut the text after")).click()
    assert page.saved[1:] == [["token", token + 1], ["prompt", "The c"], ["token", None]]
    page.get_by_role("button", name=re.compile("^token 0 ")).click(modifiers=["Alt"])
    assert len(page.saved) == 4                              # nothing would be left


# ------------------------------------------------------------------------------ attention as arcs


def strong(page) -> int:
    page.settle()
    return page.locator(".gpt-strong > *").count()


def test_the_arcs_of_a_token_are_its_weights_as_wide_as_they_are_large(opened):
    view = arcs(layer=1, head=2, token=5)
    page = opened(view)
    weights = [weight for weight in view.shown["row"] if weight >= 0.03]
    widths = page.locator(".gpt-strong > *").evaluate_all(
        "arcs => arcs.map(arc => Number(arc.getAttribute('stroke-width')))")
    assert widths == pytest.approx([max(0.7, 10 * weight) for weight in weights], abs=0.01)
    drawn = (np.tril(view.shown["weights"]) >= 0.03).sum()
    assert page.locator(".gpt-pale > *").count() == drawn > len(weights)
    assert not page.locator("canvas.gpt-map").is_visible()


def test_arcs_begin_and_end_at_their_words(opened):
    view = arcs(token=5)
    page = opened(view)
    words = [word.bounding_box() for word in page.locator(".gpt-word").all()]
    middles = [word["x"] + word["width"] / 2 for word in words]
    keys = [key for key, weight in enumerate(view.shown["row"][:5]) if weight >= 0.03]
    ends = page.locator(".gpt-strong > path").evaluate_all("""arcs => arcs.map(arc => {
        const left = arc.ownerSVGElement.getBoundingClientRect().x;
        return [0, arc.getTotalLength()].map(at => left + arc.getPointAtLength(at).x);
    })""")
    assert ends == [pytest.approx([middles[5], middles[key]], abs=1) for key in keys]
    assert len({word["y"] for word in words}) == 1                       # in one line


def test_pointing_at_a_word_or_an_arc_tells_its_weights(opened):
    view = arcs(layer=1, head=2)
    page = opened(view)
    page.locator(".gpt-word").nth(3).hover()
    assert said(page).startswith("Token 3 ") and page.saved == []
    page.locator("textarea").hover()
    page.locator(".gpt-pale > path").first.dispatch_event("pointerenter")
    triangle = np.tril(view.shown["weights"])
    query, key = next((q, k) for q, k in np.argwhere(triangle >= 0.03) if q > k)
    labels = [label.replace(" ", "·") for label in view.shown["labels"]]
    told = (f"Head 2: ‘{labels[query]}’ looks at ‘{labels[key]}’ with weight "
            f"{triangle[query, key]:.4f}.")
    assert page.get_by_text(told, exact=True).is_visible()
    assert said(page).startswith(f"Token {query} ")


def test_arrow_keys_move_along_the_words_each_of_which_says_its_weight(opened):
    view = arcs(token=3)
    page = opened(view)
    label = view.shown["labels"][2].replace(" ", "·")
    name = f"token 2 {label}, gives {view.shown['row'][2]:.4f}"
    assert page.get_by_role("button", name=name, exact=True).count() == 1
    page.locator(".gpt-word").nth(3).click()
    page.keyboard.press("ArrowLeft")
    assert said(page).startswith("Token 2 ")
    page.keyboard.press("Home")
    page.settle()
    assert page.saved[-1] == ["token", 0]
    assert page.evaluate("document.activeElement.getAttribute('aria-pressed')") == "true"


def test_several_heads_of_a_layer_are_seen_at_once_each_in_its_color(opened):
    view = arcs(token=5)
    page = opened(view)
    page.get_by_role("button", name="arcs of head 2", exact=True).click()
    page.settle()
    assert page.saved == [["heads", [0, 2]]]
    view.heads = [0, 2]
    colors = set(page.locator(".gpt-strong > *").evaluate_all(
        "arcs => arcs.map(arc => arc.getAttribute('stroke'))"))
    assert len(colors) == 2
    told = view.shown["summary"]
    assert re.sub(r"\d\.\d+", "", said(page)) == "T" + re.sub(
        r"\d\.\d+", "", told[told.index("token 5") + 1:])
    page.get_by_role("button", name="arcs of all heads", exact=True).click()
    page.settle()
    assert len(page.locator(".gpt-pick [aria-pressed=true]").all()) == SMALL.n_heads + 1
    page.get_by_role("button", name="layer 1, head 3", exact=True).click()
    page.settle()
    pressed = page.locator(".gpt-pick [aria-pressed=true]")
    assert [chip.get_attribute("aria-label") for chip in pressed.all()] == ["arcs of head 3"]


def test_who_looks_at_a_token_are_the_arcs_that_end_there(opened):
    view = arcs(token=2, direction="column")
    assert strong(opened(view)) == (view.shown["row"] >= 0.03).sum() > 1


def test_of_a_long_text_the_last_thirty_tokens_stand_in_the_line_and_others_can_be_reached(opened):
    view = arcs(SENTENCE * 7)
    page = opened(view, 1000)
    count = len(view.shown["labels"])
    shown = page.locator(".gpt-word:visible")
    assert shown.count() == 30 < count
    assert page.get_by_text(f"these are tokens {count - 30} to {count - 1} of").is_visible()
    assert strong(page) == (view.shown["row"] >= 0.03).sum()            # also those that leave it
    page.get_by_role("button", name="earlier").click()
    page.settle()
    assert page.saved == [["token", count - 31]]
    assert shown.last.get_attribute("aria-label").startswith(
        f"token {max(count - 31, 29)} ")


# --------------------------------------------------------------------------- AttentionMicroscope


def test_every_product_of_a_query_and_a_key_can_be_read(opened):
    view = microscope()
    view.token = 3
    page = opened(view)
    page.get_by_role("row").nth(2).hover()                  # the header is a row too: key 1
    page.settle()
    numbers = page.locator(".gpt-numbers").first.locator("b").all_inner_texts()
    expected = [f"{x:.3f}".replace("-", "−") for x in view.shown["products"][1]]
    assert numbers == [text if float(text.replace("−", "-")) else text.strip("−")
                       for text in expected]


def test_arrow_keys_move_from_key_to_key(opened):
    page = opened(microscope())
    rows = page.locator("tbody tr")
    rows.nth(0).click()
    page.keyboard.press("ArrowDown")
    page.keyboard.press("End")
    page.settle()
    assert [value for name, value in page.saved if name == "key"] == [0, 1, rows.count() - 1]
    assert rows.last.get_attribute("aria-current") == "true"


def test_the_switches_change_the_numbers_and_the_page_says_how_far_off_they_are(opened):
    view = microscope()
    view.token = 1
    page = opened(view)
    assert "equals the model's" in said(page)
    page.get_by_role("checkbox", name="causal mask").uncheck()
    view.mask = False
    assert f"up to {view.shown['off']:.3f} away from the model's" in said(page)
    weights = page.locator("tbody .gpt-weight").all_inner_texts()
    assert weights == [f"{weight:.4f}" for weight in view.shown["weights"]]
    page.get_by_role("checkbox", name="scale by √D").uncheck()
    page.settle()
    assert page.get_by_role("columnheader", name="no scale").count() == 1


def test_another_query_is_drawn_without_asking_the_kernel(opened):
    view = microscope()
    page = opened(view)
    page.get_by_label("query", exact=True).focus()
    page.keyboard.press("Home")
    page.settle()
    assert page.saved[-1] == ["token", 0]
    assert page.locator("tbody .gpt-weight").all_inner_texts()[0] == "1.0000"


def test_an_output_that_is_the_models_to_the_last_bit_is_called_so(opened):
    view = microscope()
    view.token = 0                                           # which looks at itself alone
    assert view.shown["off"] == 0
    assert "The output equals the model's." in said(opened(view))


def test_of_many_keys_the_heaviest_are_shown_with_the_chosen_one_and_the_querys_own(opened):
    view = AttentionMicroscope(long_model(), tokenizer(), SENTENCE * 9)
    view.token, view.key = 40, 3
    page = opened(view)
    weights = view.shown["weights"]
    shown = [int(n) for n in page.locator("tbody tr:visible").evaluate_all(
        "rows => rows.map(row => [...row.parentNode.children].indexOf(row))")]
    assert {3, 40, *np.argsort(-weights)[:14]} <= set(shown) and len(shown) == 16
    others = len(weights) - 16
    left = 1 - weights[shown].sum()
    expect(page.locator(".gpt-rest")).to_contain_text(f"{others} other keys weigh {left:.4f}")
    page.locator("tbody tr[aria-current=true]").focus()
    page.keyboard.press("ArrowDown")                       # to a key that may not be among them
    page.settle()
    assert page.saved == [["key", 4]]
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "true"


def test_every_step_of_the_microscope_is_seen_without_scrolling_beside_a_side_bar(opened):
    page = opened(microscope(), 640)
    table, frame = (page.locator(f".gpt-frame{part}").bounding_box() for part in (" table", ""))
    assert table["width"] <= frame["width"]
    headings = page.get_by_role("columnheader").all()
    assert all(heading.is_visible() for heading in headings) and len(headings) == 8


def test_on_a_narrow_page_the_microscope_has_fewer_keys_and_each_number_two_lines(opened):
    page = opened(LONG["microscope"](), 536)
    assert page.locator("tbody tr:visible").count() == 8
    assert page.locator(".gpt").bounding_box()["height"] <= 800
    page.set_viewport_size({"width": 1280, "height": 800})
    page.settle()
    assert page.locator("tbody tr:visible").count() == 16


# -------------------------------------------------------------------------------- AblationBench


def ablation(**settings) -> AblationBench:
    view = MAKERS["AblationBench"]()
    view.state = settings
    return view


def test_a_click_switches_a_head_off_and_the_next_one_on_again(opened):
    page = opened(ablation())
    head = page.get_by_role("switch", name="layer 1, head 2")
    expect(head).to_be_checked()
    head.click()
    expect(head).not_to_be_checked()
    assert page.saved == [["off", [[1, 2]]], ["layer", 1], ["head", 2]]
    head.click()
    expect(head).to_be_checked()
    assert page.evaluate("window.model.get('off')") == []


def test_the_name_of_a_layer_switches_all_its_heads(opened):
    page = opened(ablation(off=[(0, 1), (1, 0)]))
    name = page.get_by_role("button", name="layer 0: switch all its heads")
    name.click()
    assert page.evaluate("window.model.get('off').length") == 5
    name.click()
    assert page.evaluate("window.model.get('off')") == [[1, 0]]


def test_arrow_keys_move_from_switch_to_switch_and_the_tabulator_leaves_them(opened):
    page = opened(ablation())
    page.get_by_role("switch", name="layer 0, head 0").focus()
    for key in ("ArrowDown", "End", "ArrowRight", "Space"):
        page.keyboard.press(key)
    last = page.get_by_role("switch", name="layer 1, head 3")
    expect(last).to_be_focused()
    expect(last).not_to_be_checked()
    page.keyboard.press("Home")
    expect(page.get_by_role("button", name="layer 1: switch all its heads")).to_be_focused()
    page.keyboard.press("Tab")
    assert not page.evaluate("document.activeElement.closest('.gpt-switches') !== null")


def test_both_stories_are_on_the_page_with_what_changed_and_what_is_wrong(opened):
    view = ablation(off=[(0, 1), (1, 2)], instead="mean")
    page = opened(view)
    for side, tag in (("before", "del"), ("after", "ins")):
        name = {"before": "all on", "after": "as switched"}[side]
        story = page.get_by_role("region", name=f"The story, {name}")
        assert figures.showable(view.shown[side]["text"]) in story.text_content()
        changed = view.shown["changed"][side == "after"]
        assert (story.locator(tag).count() > 0) == any(changed)
        assert figures.showable(view.shown[side]["mistake"]) in story.text_content()
    judged, said = page.locator("[aria-live=polite]").all_text_contents()
    assert said == view.shown["summary"].replace(f"{judged} ", "")
    assert f"{view.shown['after']['above']:.3f} ±" in page.locator(".gpt-bars").text_content()


def test_what_another_view_looks_at_is_where_the_tabulator_comes_to(opened):
    page = opened(ablation())
    page.send(layer=1, head=3)
    assert page.locator(".gpt-switches [tabindex='0']").get_attribute("aria-label") == (
        "layer 1, head 3")


def test_where_no_kernel_is_nothing_can_be_switched_and_the_page_says_so(chromium):
    page = chromium.new_page()
    ViewPage(page, ablation(off=[(0, 1)]), re.sub(r"send\(content\) .*", "", PAGE))
    assert page.get_by_role("switch").all() and all(
        switch.is_disabled() for switch in page.get_by_role("switch").all())
    assert all(radio.is_disabled() for radio in page.get_by_role("radio").all())
    assert "so it needs the notebook" in page.locator(".gpt").text_content()
    page.close()


# ------------------------------------------------------------------------------- RotaryExplorer


def circles(page) -> list[str]:
    return [page.locator(".gpt-circle").nth(n).inner_html() for n in range(8)]


def test_moving_both_turns_every_arrow_and_leaves_the_score(opened):
    view = MAKERS["RotaryExplorer"]()
    page = opened(view)
    score = f"add up to a score of {view.shown['score']:.2f}.".replace("-", "−")
    before = circles(page)
    assert score in said(page)
    page.get_by_label("both", exact=True).fill("105")
    assert score in said(page) and said(page).startswith("Query at 105, key at 103, distance 2:")
    assert page.saved == [["query_at", 105], ["key_at", 103]]
    page.keyboard.press("End")
    assert score in said(page) and said(page).startswith("Query at 127, key at 125, distance 2:")
    assert [one != two for one, two in zip(circles(page), before, strict=True)][:5] == [True] * 5


def test_no_slider_brings_the_key_ahead_of_the_query(opened):
    page = opened(MAKERS["RotaryExplorer"]())
    page.get_by_label("key at", exact=True).fill("40")
    assert said(page).startswith("Query at 40, key at 40, distance 0:")
    page.get_by_label("query at", exact=True).fill("9")
    assert said(page).startswith("Query at 9, key at 9, distance 0:")
    assert page.get_by_label("both", exact=True).get_attribute("min") == "0"
    page.get_by_label("query at", exact=True).fill("12")
    assert page.get_by_label("both", exact=True).get_attribute("min") == "3"


def test_a_circle_is_chosen_and_its_part_is_the_kernels(opened):
    view = MAKERS["RotaryExplorer"]()
    page = opened(view)
    for n, part in enumerate(view.shown["parts"]):
        adds = f"{part:.2f}".replace("-", "−")
        name = re.compile(f"^pair {n}, a full turn in .* tokens, adds {adds}$")
        assert page.get_by_role("button", name=name).count() == 1
    page.locator(".gpt-circle").nth(2).click()
    assert "Pair 2, which turns once in 62.8 tokens, adds" in said(page)
    assert page.saved == [["pair", 2]]
    assert page.locator(".gpt-circle[aria-pressed=true]").count() == 1


def test_the_curve_tells_the_score_at_the_pointer_and_a_click_goes_there(opened):
    view = MAKERS["RotaryExplorer"]()
    page = opened(view)
    box = page.locator(".gpt-curves").bounding_box()
    x = box["x"] + 44 + (box["width"] - 56) * 20 / 127
    page.mouse.move(x, box["y"] + 60)
    score = f"{view.shown['curves'][20].sum():.2f}".replace("-", "−")
    expect(page.get_by_text(f"At a distance of 20, the score is {score};")).to_be_visible()
    page.mouse.click(x, box["y"] + 60)
    assert said(page).startswith("Query at 20, key at 0, distance 20:")
    assert f"a score of {score}." in said(page)


# ---------------------------------------------------------------------------------- PatchingMap


def test_pointing_at_a_cell_previews_it_and_a_click_stays_with_it(opened):
    page = opened(MAKERS["PatchingMap"]())
    said = page.locator("[aria-live]")
    assert said.text_content().startswith("Embedding, token 2 ‘·cat’, in the other text ‘·dog’:")
    page.get_by_role("button", name=re.compile("^after layer 0, token 3 ")).hover()
    assert said.text_content().startswith("After layer 0, token 3 ‘·sat’:")
    page.mouse.move(0, 0)
    page.settle()
    assert said.text_content().startswith("Embedding, token 2 ")
    page.get_by_role("button", name=re.compile("^after layer 1, token 1 ")).click()
    assert page.saved == [["row", 2], ["token", 1]]
    page.mouse.move(0, 0)
    page.settle()
    assert said.text_content().startswith("After layer 1, token 1 ‘The’:")


def test_every_cell_says_its_share_and_has_its_color(opened):
    view = MAKERS["PatchingMap"]()
    page = opened(view)
    cells = page.locator(".gpt-cell").all()
    assert len(cells) == view.shown["effect"].size
    for cell, share in zip(cells, view.shown["effect"].ravel().tolist(), strict=True):
        written = f"{share:.2f}".replace("-0.00", "0.00").replace("-", "−")
        assert cell.get_attribute("aria-label").endswith(f": {written}")
    whole, nothing = (page.get_by_role("button", name=re.compile(f"^embedding, token {n} "))
                      .evaluate("cell => cell.style.backgroundColor") for n in (2, 0))
    assert (whole, nothing) == ("rgb(31, 95, 168)", "rgb(235, 235, 235)")


# ------------------------------------------------------------------------------- SamplingBench


def test_the_sliders_of_the_bench_stand_two_by_two_beside_a_side_bar(opened):
    page = opened(MAKERS["SamplingBench"](), 640)
    heights = [page.get_by_label(name, exact=True).bounding_box()["y"]
               for name in ("temperature", "top-k", "top-p", "min-p")]
    assert heights[0] == heights[1] < heights[2] == heights[3]


@pytest.mark.parametrize("width", [1280, 640])
def test_every_column_of_the_bench_stands_below_its_heading(opened, width):
    page = opened(MAKERS["SamplingBench"](), width)
    lefts = [[cell.bounding_box()["x"] for cell in row.locator("> *").all()][1:]
             for row in page.locator(".gpt-row").all()[:2]]
    assert lefts[0] == lefts[1] and len(lefts[0]) == 3


def test_the_page_tells_a_newborns_tiny_probabilities_as_the_kernel_does(opened):
    gpt2 = BPETokenizer.from_gpt2()
    newborn = GPTModel(replace(SMALL, vocab_size=gpt2.vocab_size)).eval()
    view = SamplingBench(newborn, gpt2, "The cat")
    page = opened(view)
    assert said(page) == view.shown["summary"]
    bar, room = (page.locator(f".gpt-row .gpt-bar {part}").first.bounding_box()["width"]
                 for part in (".gpt-strong", ".gpt-sum"))
    assert bar > 100 > room


def test_enter_applies_a_seed_and_one_above_the_maximum_is_refused(opened):
    page = opened(MAKERS["SamplingBench"]())
    field = page.get_by_label("seed", exact=True)
    for typed in ("12", "2147483648", "-1", "1.5"):
        field.fill(typed)
        page.keyboard.press("Enter")
        page.settle()
        assert field.input_value() == "12"
    assert page.saved == [["seed", 12]]


def test_every_step_of_the_temperature_is_a_round_number(opened):
    page = opened(MAKERS["SamplingBench"]())
    slider, seen = page.get_by_role("slider", name="temperature"), []
    slider.press("Home")
    page.settle()
    for _ in range(31):
        seen.append(slider.get_attribute("aria-valuetext"))
        slider.press("ArrowRight")
        page.settle()
    assert seen == [f"{n / 10:.1f}" for n in range(31)]


# ------------------------------------------------------------------------------ ScalingExplorer


def test_pointing_at_a_run_tells_its_numbers_and_a_click_takes_its_budget(opened):
    page = opened(MAKERS["ScalingExplorer"]())
    run = page.get_by_role("button", name=re.compile(
        r"^Run 8 of 15: 40,000 parameters, 170 thousand tokens, budget 40 GFLOP: 0\.\d+ nats"))
    name = run.get_attribute("aria-label")
    run.hover()
    assert page.get_by_text(name, exact=True).is_visible() and page.saved == []
    run.click()
    assert page.saved == [["budget", 40_000_000_000]]
    assert said(page).startswith("With 40 GFLOP (2 seconds at 20 GFLOP/s), the laws recommend ")
    page.mouse.move(0, 0)
    assert not page.get_by_text(name, exact=True).is_visible()


def test_arrow_keys_walk_along_the_runs_and_the_tabulator_comes_and_leaves(opened):
    page = opened(MAKERS["ScalingExplorer"]())
    page.get_by_role("radio", name="compute").focus()
    page.keyboard.press("Tab")
    expect(page.get_by_role("button", name=re.compile("^Run 1 of 15: "))).to_be_focused()
    for key in ("End", "ArrowLeft"):
        page.keyboard.press(key)
    expect(page.get_by_role("button", name=re.compile("^Run 14 of 15: "))).to_be_focused()
    page.keyboard.press("Space")
    assert page.saved == [["budget", 16e10]]
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "gpt-button gpt-save"


@pytest.mark.parametrize("against", ["compute", "tokens"])
def test_the_point_of_the_budget_lies_on_the_laws_line_and_both_pictures_share_their_heights(
        opened, against):
    page = opened(MAKERS["ScalingExplorer"]())
    page.get_by_role("radio", name=against).check()
    slider = page.get_by_label("budget", exact=True)
    for place in ("0", "20", "38"):
        slider.fill(place)
        page.settle()
        left, right = (point.bounding_box() for point in page.locator("circle.gpt-best").all())
        assert left["y"] == pytest.approx(right["y"], abs=0.2)
        away = page.locator(".gpt-columns path.gpt-law").evaluate_all("""(paths, [x, y]) => {
            const far = (path) => {
                const [all, onPage] = [path.getTotalLength(), path.getScreenCTM()];
                const places = Array.from({ length: 2000 }, (_, n) => (
                    path.getPointAtLength((n / 1999) * all).matrixTransform(onPage)));
                return Math.min(...places.map((place) => Math.hypot(place.x - x, place.y - y)));
            };
            return Math.min(...paths.slice(0, 2).filter((path) => path.getTotalLength()).map(far));
        }""", [left["x"] + left["width"] / 2, left["y"] + left["height"] / 2])
        assert away < 1.5


def test_a_run_stands_where_its_numbers_are(opened):
    page = opened(MAKERS["ScalingExplorer"]())
    count = len(scaling_runs())
    places = [page.get_by_role("button", name=re.compile(f"^Run {n + 1} of {count}: "))
              .bounding_box() for n in range(count)]
    for side, numbers in (("x", [run.parameters for run in scaling_runs()]),
                          ("y", [run.loss_above_floor for run in scaling_runs()])):
        seen = np.array([place[side] for place in places])
        line = np.polyfit(np.log(numbers), seen, 1)
        np.testing.assert_allclose(np.polyval(line, np.log(numbers)), seen, atol=0.2)
        assert (line[0] > 0) == (side == "x")


# ------------------------------------------------------------------------------- in JupyterLab


def test_views_in_jupyterlab_follow_each_other_and_answer_while_a_cell_runs(lab):
    cells = [
        "from gptlib import BPETokenizer, GPTModel\n"
        "from gptcourse.views import AttentionExplorer, AttentionMicroscope\n"
        "tokenizer = BPETokenizer.train('Mia had a red ball. ' * 3, 265)\n"
        "model = GPTModel(dict(vocab_size=265, context_length=32, emb_dim=32, n_heads=4,\n"
        "                      n_layers=2, drop_rate=0.0, qkv_bias=False)).eval()\n"
        "explorer = AttentionExplorer(model, tokenizer, 'Mia had a red ball.')\n"
        "explorer",
        "microscope = AttentionMicroscope(model, tokenizer, session=explorer.session)\n"
        "microscope",
    ]
    write_notebook(lab, "97_views.ipynb", cells)

    with lab.open("97_views.ipynb") as chapter:
        chapter.run_all(seconds=60)
        page = chapter.page
        page.evaluate("""() => {
            const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
            window.finished = false;
            kernel.requestExecute({ code: 'import time; time.sleep(600)' }).done.then(
                () => { window.finished = true; });
        }""")
        page.get_by_role("button", name="layer 1, head 2", exact=True).click()
        microscope = page.locator(".gpt-microscope")
        expect(microscope.get_by_label("layer", exact=True)).to_have_value("1")
        expect(microscope.get_by_label("head", exact=True)).to_have_value("2")

        microscope.get_by_label("query", exact=True).fill("3")
        chips = page.get_by_role("group", name="tokens").get_by_role("button")
        expect(chips.nth(3)).to_have_attribute("aria-pressed", "true")

        page.get_by_label("text", exact=True).first.fill(".")
        page.keyboard.press("Enter")
        expect(microscope.locator("tbody tr")).to_have_count(2)        # where it begins, and "."

        chips.nth(1).hover()
        expect(page.locator(".gpt-attention [aria-live=polite]")).to_have_text(
            re.compile("^Token 1 "))
        page.get_by_role("button", name="layer 0, head 1", exact=True).click()
        expect(microscope.get_by_label("head", exact=True)).to_have_value("1")
        assert not page.evaluate("window.finished")             # the kernel answered beside it

        assert chapter.foreign_requests == []
        assert chapter.console_errors == []


def test_a_training_whose_cell_is_run_again_ends_and_one_whose_cell_is_moved_goes_on(lab):
    cells = [
        "from gptlib import BPETokenizer\n"
        "from gptcourse.views import TrainingDashboard\n"
        "tokenizer = BPETokenizer.train('Mia had a red ball. ' * 3, 265)\n"
        "ids, views = tokenizer.encode('Mia had a red ball. ' * 400), []",
        "views.append(TrainingDashboard(ids, ids[:99], tokenizer))\n"
        "views[-1].steps.value = 2000\n"
        "views[-1]",
        "views[0].start()",
    ]
    write_notebook(lab, "95_training.ipynb", cells)

    with lab.open("95_training.ipynb") as chapter:
        chapter.run_all(seconds=60)
        running = "[view.running for view in views]"
        chapter.page.get_by_role("button", name="stop", exact=True).wait_for()
        command(chapter.page, 1, "move-cell-down")
        command(chapter.page, 2, "move-cell-up")
        chapter.page.wait_for_timeout(2_000)                # longer than a view waits
        assert answer(chapter.page, running) == "[True]"
        command(chapter.page, 1, "run-cell")
        chapter.page.wait_for_timeout(2_000)
        assert answer(chapter.page, f"views[0].wait(60), {running}") == "(True, [False, False])"
        assert answer(chapter.page, "0 < views[0].run.step < 2000") == "True"
        assert chapter.console_errors == []


def command(page, cell: int, name: str) -> None:
    """What JupyterLab does with a cell."""
    page.evaluate("""([cell, name]) => {
        const app = window.jupyterapp;
        app.shell.currentWidget.content.activeCellIndex = cell;
        return app.commands.execute(`notebook:${name}`);
    }""", [cell, name])


def answer(page, expression: str) -> str:
    """What the kernel thinks of an expression."""
    return page.evaluate("""async r => {
        const { kernel } = window.jupyterapp.shell.currentWidget.sessionContext.session;
        const asked = kernel.requestExecute({ code: "", user_expressions: { r } });
        return (await asked.done).content.user_expressions.r.data["text/plain"];
    }""", expression)


def test_a_text_of_several_lines_is_seen_whole(lab):
    write_notebook(lab, "96_text.ipynb", [
        "from gptlib.storyteller import storyteller\n"
        "from gptcourse.views import TokenizerExplorer\n"
        "TokenizerExplorer(storyteller()[1], 'The cat sat on the mat and saw the dog. ' * 9)",
    ])
    with lab.open("96_text.ipynb") as chapter:
        chapter.run_all(seconds=120)
        field = chapter.page.locator("textarea").first
        shown, whole = field.evaluate("box => [box.clientHeight, box.scrollHeight]")
        assert shown >= whole > 60                          # more than three lines of 16 pixels


def test_a_click_saves_the_picture_with_its_sentence(chromium):
    """The kernel sends a drawing; the page writes the sentence under it."""
    page = chromium.new_page(accept_downloads=True)
    view = MAKERS["AttentionExplorer"]()
    shown = ViewPage(page, view)
    page.get_by_role("button", name="Save this view as a picture").click()
    assert page.evaluate("window.asked") == ["picture"]
    with page.expect_download() as download:
        page.evaluate("""([data, width, words]) => {
            const bytes = Uint8Array.from(atob(data), (sign) => sign.charCodeAt(0));
            window.answer({ picture: "image/png", width, words, name: "AttentionExplorer" },
                          [new DataView(bytes.buffer)]);
        }""", [base64.b64encode(view.picture.data).decode(), view.picture.width, view.picture.alt])
    saved = Image.open(download.value.path())
    drawing = Image.open(io.BytesIO(view.picture.data))
    assert download.value.suggested_filename == "AttentionExplorer.png"
    assert saved.width == 2 * view.picture.width
    assert saved.height > drawing.height * saved.width / drawing.width + 30
    assert shown.complaints == []
    page.close()
