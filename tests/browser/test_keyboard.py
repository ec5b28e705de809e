"""Every view in one notebook of JupyterLab, found by role and name, moved by keys alone; and in the
end, moved as it comes.

    GPTCOURSE_MOVES=4000 pytest tests/browser/test_keyboard.py -k evening      about an hour
"""

import os
import random
import re

import pytest
from lab_notebook import write_notebook
from playwright.sync_api import expect

import gptcourse.views
from gptcourse.views.base import BaseView

START = """
from types import SimpleNamespace
import torch
from gptlib import BPETokenizer, GPTModel
from gptcourse.views import *
text = "The cat sat on the mat. The dog sat on the cat. " * 12
tokenizer = BPETokenizer.train(text, 270)
endless = BPETokenizer.train(text, 270, special_tokens=())       # no prompt of it may be empty
ids = tokenizer.encode(text)
def small(seed):
    torch.manual_seed(seed)
    return GPTModel({"vocab_size": 270, "context_length": 32, "emb_dim": 32, "n_heads": 4,
                     "n_layers": 2, "drop_rate": 0.0, "qkv_bias": False})
model = small(0)
runs = [SimpleNamespace(budget=budget, parameters=n, tokens=budget / (6 * n), flops=budget,
                        loss_above_floor=30 / n**0.5 + 2000 / (budget / (6 * n)) ** 0.75)
        for budget in (1e10, 2e10, 4e10) for n in (2_000, 8_000, 32_000)]
"""
CELLS = {
    "TokenizerExplorer": "TokenizerExplorer(tokenizer, 'The cat sat.')",
    "AttentionExplorer": "AttentionExplorer(model, tokenizer, 'The cat sat.')",
    "AttentionMicroscope": "AttentionMicroscope(model, tokenizer, 'The cat sat.')",
    "ModelWalk": "ModelWalk(model, tokenizer, 'The cat sat.')",
    "SamplingBench": "SamplingBench(model, tokenizer, 'The cat')",
    "ConfigExplorer": "ConfigExplorer()",
    "TrainingDashboard": "TrainingDashboard(ids * 10, ids, tokenizer, floor=0.5)",
    "watch": "watch(iter([3.0, 2.0]), floor=0.5)",
    "GradientFlow": "GradientFlow()",
    "TimeMachine": "TimeMachine([(0, small(1)), (9, small(2))], tokenizer, 'The cat sat.')",
    "GenerationStepper": "GenerationStepper(model, endless, 'The cat')",
    "AblationBench": "AblationBench(model, tokenizer, 'The cat')",
    "PatchingMap": "PatchingMap(model, tokenizer, 'The cat sat', 'The sat sat', ('a', 'T'))",
    "RotaryExplorer": "RotaryExplorer(torch.linspace(1, 2, 16), torch.linspace(-1, 1, 16))",
    "ScalingExplorer": "ScalingExplorer(runs)",
}
# What a learner presses, and what the view then says: role, name, keys, sentence.
MOVES = {
    "TokenizerExplorer": [
        ("slider", "merges", ["Home"], "After 0 merges of 13: 12 bytes make 12 tokens"),
        ("slider", "merges", ["ArrowRight"], "Merge 1 joined ‘a’ and ‘t’ to ‘at’."),
        ("textbox", "text", ["Control+End", "!"], "13 bytes make 11 tokens"),
    ],
    "AttentionExplorer": [
        ("button", re.compile("^token 4 "), ["ArrowLeft"], "Token 3 ‘·sat’ looks at"),
        ("button", "layer 0, head 0", ["ArrowDown", "ArrowRight", "Shift+Tab", "Home"],
         "Token 0 ‘<|endoftext|>’ looks at"),
        ("radio", "what the token looks at", ["ArrowRight"], "these 5 weights sum to"),
    ],
    "AttentionMicroscope": [
        ("slider", "query", ["Home"], "weight 1.000000. The output equals the model's"),
        ("checkbox", "causal mask", ["Space"], "away from the model's."),
        ("checkbox", "scale by √D", ["Space"], ", not scaled "),
    ],
    "ModelWalk": [
        ("button", "on to the next box", ["Enter", "Enter"], "Row 4 is added to ‘.’"),
        ("button", "position embedding", ["ArrowDown", "ArrowDown"], "Head 0 takes most from"),
        ("button", re.compile("^follow token 4 "), ["ArrowLeft"], "compares a query of ‘·sat’"),
    ],
    "SamplingBench": [
        ("slider", "temperature", ["Home"], "Of 270 tokens, 1 can be drawn."),
        ("slider", "temperature", ["End"], "Of 270 tokens, 270 can be drawn."),
        ("slider", "top-k", ["ArrowRight"], "Of 270 tokens, 1 can be drawn."),
    ],
    "ConfigExplorer": [("slider", "layers", ["ArrowRight"], "170,095,104 parameters")],
    "GradientFlow": [
        ("slider", "depth", ["ArrowRight"], "13 blocks with shortcuts and pre-norm"),
        ("combobox", "norms", ["Space", "ArrowDown", "Enter"],
         "13 blocks with shortcuts and post-norm"),
        ("checkbox", "shortcuts", ["Space"], "13 blocks with post-norm, no shortcuts"),
    ],
    "TimeMachine": [
        ("slider", "after step", ["Home"], "After step 0: loss on this text"),
        ("button", re.compile("^token 4 "), ["ArrowLeft"], "Token 3 ‘·sat’ had probability"),
    ],
    "AblationBench": [
        ("switch", "layer 0, head 0", ["Space"], "Off: layer 0, head 0; instead, zeros."),
        ("switch", "layer 0, head 0", ["ArrowRight", "ArrowDown", "Enter"],
         "Off: layer 0, head 0; layer 1, head 1; instead, zeros."),
        ("radio", "zeros", ["ArrowRight"], "layer 1, head 1; instead, the mean."),
        ("textbox", "neurons off", ["0", ":", "9", "Enter"], "layer 0, neuron 9; instead"),
        ("button", "Switch all heads and neurons on", ["Enter"], "All 8 heads and all neurons are"),
    ],
    "PatchingMap": [
        ("button", re.compile("^embedding, token 2 "), ["ArrowDown"], "After layer 0, token 2 "),
        ("button", re.compile("^after layer 0, token 2 "), ["ArrowRight"], "0, token 3 ‘·sat’: "),
        ("radio", "stream", ["ArrowRight"], "Attention of layer 1, token 3 ‘·sat’: "),
        ("textbox", "answer of the first text", ["Control+a", "m", "Enter"], "Probabilities: ‘m’ "),
    ],
    "RotaryExplorer": [
        ("slider", "both", ["End"], "Query at 127, key at 125, distance 2: "),
        ("slider", "query at", ["Home"], "Query at 0, key at 0, distance 0: "),
        ("slider", "key at", ["ArrowRight"], "Query at 1, key at 1, distance 0: "),
        ("button", re.compile("^pair 0, "), ["ArrowRight"], "Pair 1, which turns once in 19.9 "),
    ],
    "ScalingExplorer": [
        ("slider", "budget", ["Home"], "With 10 GFLOP, the laws recommend"),
        ("slider", "budget", ["ArrowRight"], "With 12 GFLOP, the laws recommend"),
        ("button", re.compile("^Run 1 of 9: "), ["End", "Enter"], "With 40 GFLOP, the laws"),
    ],
    "GenerationStepper": [
        ("button", "step", ["Enter"], "1 new token after a prompt of"),
        ("button", "back", ["Enter"], "0 new tokens after a prompt of"),
    ],
}
FOCUSABLE = ("input:not([disabled]), select, textarea, button:not([disabled]), summary, "
             "[tabindex], [contenteditable=true]")
UNMARKED = f"""output => [...output.querySelectorAll("{FOCUSABLE}")]
    .filter(element => !element.hasAttribute("data-lm-suppress-shortcuts"))
    .map(element => element.outerHTML.slice(0, 99))"""
# One of each kind of control that takes no text.
KINDS = f"""output => [...new Set([...output.querySelectorAll("{FOCUSABLE}")]
    .filter(element => element.checkVisibility()
        && !element.matches("textarea, input:not([type=range], [type=checkbox], [type=radio]), "
                            + "[contenteditable=true]"))
    .map(element => element.localName + (element.classList[0] ? "." + element.classList[0] : "")))]
"""
CELLS_NOW = """() => window.jupyterapp.shell.currentWidget.content.widgets.map(
    cell => [cell.model.type, cell.model.sharedModel.getSource()])"""
# Collects what the first picture of an output is in every frame, until `stop` is set.
WATCH = """output => {
    window.frames_seen = [];
    window.watching = true;
    const look = () => {
        const image = output.querySelector("img");
        window.frames_seen.push([image?.naturalWidth ?? 0, image?.clientHeight ?? 0, image?.alt]);
        if (window.watching) requestAnimationFrame(look);
    };
    look();
}"""


@pytest.fixture(scope="module")
def chapter(lab):
    write_notebook(lab, "96_keys.ipynb", [START, *CELLS.values()])
    with lab.open("96_keys.ipynb") as chapter:
        chapter.run_all(seconds=120)
        chapter.page.set_default_timeout(20_000)
        yield chapter
        assert chapter.console_errors == []
        assert chapter.foreign_requests == []


@pytest.fixture
def view(chapter):
    """Finds the output in which a view stands; JupyterLab draws cells near the window only."""
    def view(name: str):
        number = 1 + list(CELLS).index(name)
        chapter.page.evaluate(
            "n => window.jupyterapp.shell.currentWidget.content.scrollToItem(n, 'center')", number)
        output = chapter.page.locator(
            f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}'] .jp-OutputArea")
        spoken(output).filter(has_text=re.compile(r"\w")).first.wait_for()
        return output
    return view


def reach(output, role: str, name):
    """Come to a control by the tabulator, from the first control of the view."""
    control = output.get_by_role(role, name=name, exact=True)
    focusable = "input:not([disabled]), textarea, button:not([disabled]), [tabindex='0']"
    output.locator(focusable).first.focus()
    for _ in range(40):
        if control.evaluate("control => control === document.activeElement"):
            return control
        output.page.keyboard.press("Tab")
    raise AssertionError(f"no way to {role} {name} by the tabulator")


def spoken(output):
    """The places whose changes a screen reader reads out."""
    return output.locator("[aria-live=polite], [role=status]")


def test_every_view_has_a_cell_and_keys():
    everyone = {name for name in gptcourse.views.__all__
                if issubclass(getattr(gptcourse.views, name), BaseView)}
    assert set(CELLS) == everyone
    assert {*MOVES, "TrainingDashboard", "watch"} == everyone


@pytest.mark.parametrize("name", MOVES)
def test_a_view_is_moved_by_keys_and_says_what_it_shows(view, name):
    output = view(name)
    for role, control, keys, sentence in MOVES[name]:
        expect(spoken(output).filter(has_text=sentence)).to_have_count(0)
        reach(output, role, control)
        for key in keys:
            output.page.keyboard.press(key)
        expect(spoken(output).filter(has_text=sentence)).to_have_count(1)


@pytest.mark.parametrize("name", ["ConfigExplorer", "GradientFlow", "GenerationStepper"])
def test_the_picture_of_the_kernel_has_the_sentence_as_its_words(view, name):
    output = view(name)
    place = output.get_by_role("status")
    expect(place).to_have_text(re.compile(r"\w"))
    sentence = place.text_content()
    expect(output.get_by_role("img", name=sentence, exact=True)).to_be_visible()


@pytest.mark.parametrize("name", ["TokenizerExplorer", "ConfigExplorer", "TrainingDashboard"])
def test_the_place_where_a_view_of_the_kernel_speaks_stays_when_its_words_change(view, name):
    """Or else a screen reader would not notice that they did."""
    output = view(name)
    place = output.get_by_role("status")
    expect(place).to_have_text(re.compile(r"\w"))
    place.evaluate("place => { place.stays = true; }")
    before = place.text_content()
    if name == "TrainingDashboard":
        reach(output, "slider", "steps")
        output.page.keyboard.press("Home")
        start = reach(output, "button", "start")
        output.page.keyboard.press("Enter")
        expect(place).to_contain_text("Step 10 of 10", timeout=60_000)
        expect(start).to_be_enabled(timeout=60_000)         # for the next who presses it
    else:
        reach(output, "slider", {"TokenizerExplorer": "merges"}.get(name, "layers"))
        output.page.keyboard.press("ArrowLeft")
    expect(place).not_to_have_text(before)
    assert place.evaluate("place => place.stays")


@pytest.mark.parametrize("name", CELLS)
def test_no_letter_that_is_pressed_on_a_control_is_a_command_to_jupyterlab(view, name):
    """There, `d` twice deletes the cell, `b` inserts one, `m` makes text of it."""
    output = view(name)
    assert output.evaluate(UNMARKED) == []
    page = output.page
    before = page.evaluate(CELLS_NOW)
    for kind in output.evaluate(KINDS):
        output.locator(kind).first.focus()
        for letter in "abcdefghijklmnopqrstuvwxyz":
            page.keyboard.press(letter)
    assert page.evaluate(CELLS_NOW) == before


def test_a_text_for_a_view_of_the_kernel_is_seen_whole_and_shift_with_enter_begins_a_line(view):
    field = reach(view("GenerationStepper"), "textbox", "prompt")
    before, one = field.input_value(), field.bounding_box()["height"]
    field.fill("The cat sat on the mat. " * 9)
    field.press("Shift+Enter")
    field.press("m")
    assert field.input_value().endswith(" \nm")
    assert field.bounding_box()["height"] > one + 15
    assert field.evaluate("field => field.scrollHeight <= field.clientHeight")
    field.fill(before)
    field.press("Enter")
    assert field.input_value() == before


def test_enter_applies_a_seed_that_was_typed(view):
    output = view("GenerationStepper")
    reach(output, "spinbutton", "seed")
    picture = output.locator("img").first
    before = picture.get_attribute("src")
    output.page.keyboard.type("123")
    output.page.keyboard.press("Enter")
    expect(picture).not_to_have_attribute("src", before)


def test_an_impossible_choice_is_explained_beside_its_control(view):
    output = view("GenerationStepper")
    field = reach(output, "textbox", "prompt")
    text = field.input_value()
    field.fill("")
    output.page.keyboard.press("Enter")
    expect(output.get_by_role("alert")).to_contain_text("empty")
    former = (output.locator(".gpt-picture"), output.locator(".gpt-sentence"))
    for part in former:                                         # of the prompt before, so pale
        expect(part).to_have_css("opacity", "0.35")
    field.fill(text)
    output.page.keyboard.press("Enter")
    expect(output.get_by_role("alert")).to_have_count(0)
    for part in former:
        expect(part).to_have_css("opacity", "1")


def test_no_frame_is_without_a_picture_while_a_slider_moves(view):
    output = view("ConfigExplorer")
    reach(output, "slider", "layers")
    output.evaluate(WATCH)
    for key in ["ArrowRight"] * 10 + ["ArrowLeft"] * 10:
        output.page.keyboard.press(key)
        output.page.wait_for_timeout(60)
    output.page.evaluate("window.watching = false")
    frames = output.page.evaluate("window.frames_seen")
    assert len({alt for _, _, alt in frames}) > 3                 # pictures did change
    assert [frame for frame in frames if not (frame[0] and frame[1])] == []


def test_training_is_started_and_stopped_by_keys_and_the_page_answers_meanwhile(view):
    output = view("TrainingDashboard")
    page = output.page
    reach(output, "slider", "steps")
    page.keyboard.press("End")
    reach(output, "button", "start")
    page.keyboard.press("Enter")
    expect(output).to_contain_text(re.compile(r"Step \d+ of 2,000 · "))
    reach(output, "slider", "batch")
    page.keyboard.press("Home")
    expect(output).to_contain_text("on 2,000 batches of 1 × 64 tokens")
    stop = reach(output, "button", "stop")
    expect(stop).to_be_enabled()                                  # it trains still
    page.keyboard.press("Enter")
    expect(output).to_contain_text(re.compile(r"Ended after step \d+\."))
    expect(output.get_by_role("button", name="continue", exact=True)).to_be_enabled()


# ------------------------------------------------------------------------------------ an evening

N_MOVES = int(os.environ.get("GPTCOURSE_MOVES", 60))
THEMES = ("JupyterLab Dark", "JupyterLab Light")
SIZES = ({"width": 1280, "height": 900}, {"width": 800, "height": 900})
KEYS = ("ArrowRight", "ArrowLeft", "ArrowUp", "ArrowDown", "Home", "End", "Space", "Enter")
TEXTS = ("The dog sat.", "A hat for the cat", "😀 é", "")
RUN_CELL = """async (number) => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = number;
    await window.jupyterapp.commands.execute("notebook:run-cell");
}"""


def test_an_evening_at_the_views_leaves_the_console_empty(chapter):
    """All of them, as the tests above have left them, moved as it comes."""
    chance, said = random.Random(0), []
    chapter.page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
    for move in range(N_MOVES):
        number = chance.randrange(len(CELLS))
        output = scrolled_to(chapter.page, 1 + number)
        if move % 50 == 49:
            look_again(chapter.page, 1 + number, chance)
        elif move % 5 == 4:
            point_at(chapter.page, output, chance)
        else:
            use(output, chance)
        assert said + chapter.console_errors == [], f"after move {move}"
        assert chapter.questions == []
    assert [line for cell in chapter.cells for line in cell["stderr"] + cell["errors"]] == []


def scrolled_to(page, number: int):
    page.evaluate(
        "n => window.jupyterapp.shell.currentWidget.content.scrollToItem(n, 'center')", number)
    output = page.locator(
        f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}'] .jp-OutputArea-output")
    output.first.wait_for()
    return output.first


def use(output, chance: random.Random) -> None:
    """Take any control of the view, and press some keys on it, or write another text."""
    controls = output.locator(FOCUSABLE)
    shown = [n for n, visible in enumerate(
        controls.evaluate_all("all => all.map(one => one.checkVisibility())")) if visible]
    control = controls.nth(chance.choice(shown))
    if control.evaluate("one => one.matches('textarea, input[type=text]')"):
        control.fill(chance.choice(TEXTS))
        control.press("Enter")
    else:
        control.focus()
        for key in chance.choices(KEYS, k=3):
            output.page.keyboard.press(key)


def point_at(page, output, chance: random.Random) -> None:
    """Move the pointer over what is seen of the view, and click in the end, but on no link: it
    would lead to another chapter."""
    box = output.bounding_box()
    seen = page.locator(".jp-WindowedPanel-outer").first.bounding_box()
    top = max(box["y"], seen["y"])
    bottom = min(box["y"] + box["height"], seen["y"] + seen["height"])
    for _ in range(4):
        x, y = box["x"] + chance.random() * box["width"], top + chance.random() * (bottom - top)
        page.mouse.move(x, y)
    if not page.evaluate("place => document.elementFromPoint(...place)?.closest('a')", [x, y]):
        page.mouse.down()
        page.mouse.up()


def look_again(page, number: int, chance: random.Random) -> None:
    """Another theme, another width of the page, the cell run again."""
    page.evaluate("""async (theme) => { await window.jupyterapp.commands.execute(
        'apputils:change-theme', { theme }); }""", chance.choice(THEMES))
    page.set_viewport_size(chance.choice(SIZES))
    page.evaluate(RUN_CELL, number)
