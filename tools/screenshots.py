"""Pictures of the views as they look on a page, for the README.

    make screenshots        every view at 1280 and 800 pixels, light and dark, in the folder
                            `build/screenshots`

Those that the README shows lie in `.github/pictures` and are replaced too.
"""

from __future__ import annotations

import argparse
import itertools
import shutil
import sys
import tempfile
from pathlib import Path

import nbformat
from course import ROOT, prepare_environment
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook
from pages import write_pages
from playwright.sync_api import sync_playwright

FOLDER = ROOT / "build" / "screenshots"
IN_THE_README = ROOT / ".github" / "pictures"
WIDTHS, SCHEMES = (1280, 800), ("light", "dark")
SETUP = """
import torch
from gptlib.storyteller import storyteller
from gptlib.corpus import storybook
from gptlib.storyteller import storyteller_checkpoints
from gptcourse.experiments.scaling import scaling_runs
from gptcourse.views import *
model, tokenizer = storyteller()
text = next(story.text for story in storybook.stories(400, seed=3)
            if story.text.startswith("Once upon a time Max"))
def until(words): return text[: text.index(words) + len(words)]
def at_the_name_head(words): return Session(until(words), layer=0, head=4)
points = storyteller_checkpoints()
ids = tokenizer.encode("\\n".join(story.text for story in storybook.stories(99, seed=4)))
dashboard = TrainingDashboard(ids[:-900], ids[-900:], tokenizer)
dashboard.steps.value, dashboard.layers.value = 60, 1
"""
VIEWS = {
    "walk": "walk = ModelWalk(model, tokenizer, session=at_the_name_head('it was gone.'))\n"
            "walk.box = 'attention'\nwalk",
    "map": "ModelWalk(model, tokenizer, session=Session(until('very shy.')),\n"
           "          lit={'training', 'generation'})",
    # Where the hero must come next, this head looks back at the name.
    "attention": "AttentionExplorer(model, tokenizer, session=at_the_name_head('it was gone.'))",
    "arcs": "arcs = AttentionExplorer(model, tokenizer,\n"
            "                         session=at_the_name_head('very shy.'))\n"
            "arcs.look = 'arcs'\narcs",
    "microscope": "AttentionMicroscope(model, tokenizer, session=at_the_name_head('very shy.'))",
    "sampling": "SamplingBench(model, tokenizer, 'Tom the bear was shy and lived')",
    "time_machine": "TimeMachine([(p.step, p.model) for p in points], tokenizer,\n"
                    "            until('very shy.'), session=at_the_name_head('very shy.'),\n"
                    "            validation_loss=[p.validation_loss for p in points])",
    "stepper": "GenerationStepper(model, tokenizer, 'Tom the bear')",
    "tokenizer": "TokenizerExplorer(tokenizer, until('it was gone.'))",
    "ablation": "bench = AblationBench(model, tokenizer, 'Once upon a time Poppy the mouse')\n"
                "bench.off, bench.instead = [(0, 4)], 'mean'\nbench",
    "patching": "said = until('?\"')\n"
                "PatchingMap(model, tokenizer, said, said.replace('owl', 'bear'))",
    "rotary": "from gptcourse import experiments\n"
              "RotaryExplorer(*map(torch.tensor, experiments.LOOKS['to', 'Leo']))",
    "scaling": "ScalingExplorer(scaling_runs(), budget=4e11, flops_per_second=2e10)",
    "gradients": "GradientFlow()",
    "configuration": "ConfigExplorer()",
    "training": "dashboard.start()\ndashboard.wait()\ndashboard",
    "watch": "for step in watch(dashboard.run, tokenizer, floor=0.37): pass",
}


def main() -> int:
    argparse.ArgumentParser(
        description="Take pictures of the views, at 1280 and 800 pixels, light and dark, into "
        "build/screenshots; those that the README shows are replaced. It needs Chromium."
    ).parse_args()
    prepare_environment()
    FOLDER.mkdir(parents=True, exist_ok=True)
    cells = [new_markdown_cell("# Views"), *map(new_code_cell, (SETUP, *VIEWS.values()))]
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        path = Path(folder) / "00_views.ipynb"
        nbformat.write(new_notebook(cells=cells), path)
        _, page_path = write_pages([path], Path(folder) / "site")
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox", "--disable-gpu"]
        )
        for width, scheme in itertools.product(WIDTHS, SCHEMES):
            page = browser.new_page(
                viewport={"width": width, "height": 900}, color_scheme=scheme)
            page.goto(page_path.as_uri())
            page.wait_for_selector("html[data-ready=true]")
            shown = page.locator("main .live, main img, main .jp-OutputArea-output > svg")
            for name, view in zip(VIEWS, shown.all(), strict=True):
                view.screenshot(path=FOLDER / f"{name}_{width}_{scheme}.png")
        browser.close()
    for old in IN_THE_README.glob("*.png"):
        shutil.copy(FOLDER / f"{old.stem}_{WIDTHS[0]}_{SCHEMES[0]}.png", old)
    print(f"{len(list(FOLDER.glob('*.png')))} pictures in {FOLDER.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
