"""A training in a cell draws while the cell runs, and the stop button ends it in peace."""

import json

from lab_notebook import write_notebook

CELLS = [
    "import time\n"
    "from gptlib import BPETokenizer, GPTModel, TrainConfig, TrainingRun\n"
    "from gptcourse.views import watch\n"
    "text = 'The cat sat on the mat. The dog sat on the cat. ' * 12\n"
    "tokenizer = BPETokenizer.train(text, 270)\n"
    "ids = tokenizer.encode(text)\n"
    "model = GPTModel({'vocab_size': 270, 'context_length': 16, 'emb_dim': 32, 'n_heads': 4,\n"
    "                  'n_layers': 1, 'drop_rate': 0.0, 'qkv_bias': False})\n"
    "run = TrainingRun(model, ids, ids[:40], TrainConfig(steps=3000, batch_size=2))",
    "for step in watch(run, tokenizer, floor=0.01):\n"
    "    time.sleep(0.05)",
]
RUN_CELL = """number => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = number;
    return window.jupyterapp.commands.execute("notebook:run-cell");
}"""
INTERRUPT = '() => window.jupyterapp.commands.execute("notebook:interrupt-kernel")'
OUTPUTS = """() => window.jupyterapp.shell.currentWidget.content.model.cells.get(1)
    .outputs.toJSON()"""
PICTURE = ".gpt-picture img:not([alt^='Step 0'])"


def outputs(chapter) -> tuple[str, list[str]]:
    """What the cell has printed, and its errors."""
    found = chapter.page.evaluate(OUTPUTS)
    printed = "".join("".join(one["text"]) for one in found if one["output_type"] == "stream")
    return printed, [one for one in found if one["output_type"] == "error"]


def test_a_loop_that_is_watched_draws_is_stopped_goes_on_and_leaves_its_picture(lab):
    write_notebook(lab, "94_watch.ipynb", CELLS)
    with lab.open("94_watch.ipynb") as chapter:
        page = chapter.page
        page.evaluate(RUN_CELL, 0)
        page.evaluate(f"() => {{ ({RUN_CELL})(1); }}")             # without waiting for its end
        page.get_by_text("What it writes after 10 steps").wait_for()
        picture = page.locator(PICTURE)
        drawn = picture.get_attribute("alt")
        page.wait_for_function(
            "([picture, alt]) => document.querySelector(picture).alt !== alt", arg=[PICTURE, drawn])
        page.locator(".gpt-picture").evaluate("element => { element.stays = true; }")
        page.evaluate(INTERRUPT)
        page.get_by_text("Run this cell again, and it goes on.").wait_for()
        printed, errors = outputs(chapter)
        assert printed.startswith("Stopped. Step ") and not errors
        page.wait_for_timeout(500)                                 # for the picture that is kept
        assert page.locator(".gpt-picture").evaluate("element => element.stays")
        assert page.get_by_role("button", name="stop", exact=True).is_disabled()

        page.evaluate(f"() => {{ ({RUN_CELL})(1); }}")
        page.get_by_text("What it writes after 40 steps").wait_for()
        assert page.get_by_text("What it writes after 10 steps").count() == 1
        page.get_by_role("button", name="stop", exact=True).click()        # that of the view
        page.get_by_text("Run this cell again, and it goes on.").wait_for()
        printed, errors = outputs(chapter)
        assert not errors and chapter.console_errors == []
        page.keyboard.press("Control+s")
        page.wait_for_function(
            "() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
    stored = json.loads((lab.folder / "94_watch.ipynb").read_text(encoding="utf-8"))
    still, _ = stored["cells"][1]["outputs"]
    assert still["metadata"]["image/png"]["alt"] in printed
    assert still["data"]["text/plain"][0].startswith("<watch: Step ")
