"""An evening at the views: all of them on one page, moved as it comes, and the console stays empty.

    GPTCOURSE_MOVES=4000 pytest tests/browser/test_an_evening.py      about an hour
"""

import os
import random

from lab_notebook import write_notebook
from test_keyboard import CELLS, FOCUSABLE, START

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


def test_an_evening_at_the_views_leaves_the_console_empty(lab):
    write_notebook(lab, "94_evening.ipynb", [START, *CELLS.values()])
    chance = random.Random(0)
    with lab.open("94_evening.ipynb") as chapter:
        said = []
        chapter.page.on("console", lambda message: said.append(f"{message.type}: {message.text}"))
        chapter.run_all(seconds=300)
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
