"""Every view in JupyterLab, as large as it gets, on a page with the file browser open."""

import re

import pytest
from lab_notebook import write_notebook
from test_keyboard import CELLS

HIGHEST = 700                                    # pixels, of a window of 900
START = """
import torch
from gptcourse.experiments import scaling_runs
from gptcourse.views import *
from gptlib.corpus import storybook
from gptlib.storyteller import storyteller, storyteller_checkpoints
model, tokenizer = storyteller()
text = next(story.text for story in storybook.stories(99, seed=3)
            if story.facts["plot"] == "trading" and story.facts["friend_kind"] == "frog")
text = text[: text.index(" croaked")]                              # 56 tokens
points = [(point.step, point.model) for point in storyteller_checkpoints()]
ids = tokenizer.encode(text) * 40
dashboard = TrainingDashboard(ids, ids[:200], tokenizer, floor=0.4)
dashboard.steps.value, dashboard.layers.value, dashboard.width.value = 10, 1, 32
for _ in range(6):
    dashboard.start()
    dashboard.wait()
"""
LARGE = {
    "TokenizerExplorer": "TokenizerExplorer(tokenizer, text)",
    "AttentionExplorer": "AttentionExplorer(model, tokenizer, text)",
    "AttentionMicroscope": "AttentionMicroscope(model, tokenizer, text)",
    "ModelWalk": "ModelWalk(model, tokenizer, text)",
    "SamplingBench": "SamplingBench(model, tokenizer, text)",
    "ConfigExplorer": CELLS["ConfigExplorer"],
    "TrainingDashboard": "dashboard",
    "watch": "for _ in watch(iter([3.0, 2.0] * 30), tokenizer, 0.4, model, 60): pass",
    "GradientFlow": CELLS["GradientFlow"],
    "TimeMachine": "TimeMachine(points, tokenizer, text)",
    "GenerationStepper": "GenerationStepper(model, tokenizer, text)",
    "AblationBench": "AblationBench(model, tokenizer, text)",
    "PatchingMap": "PatchingMap(model, tokenizer, text, text.replace('frog', 'bear'))",
    "RotaryExplorer": "RotaryExplorer(*torch.randn(2, 64))",
    "ScalingExplorer": "ScalingExplorer(scaling_runs(), flops_per_second=2e10)",
}


@pytest.fixture(scope="module")
def chapter(lab):
    write_notebook(lab, "95_large.ipynb", [START, *LARGE.values()])
    with lab.open("95_large.ipynb") as chapter:
        chapter.page.set_viewport_size({"width": 1280, "height": 900})
        chapter.run_all(seconds=300)
        yield chapter


def test_every_view_is_here():
    assert set(LARGE) == set(CELLS)


@pytest.mark.parametrize("name", LARGE)
def test_no_view_is_higher_than_700_pixels(chapter, name):
    page, number = chapter.page, 1 + list(LARGE).index(name)
    assert page.get_by_role("tree", name="Files").or_(page.locator(".jp-DirListing")).is_visible()
    page.evaluate(
        "n => window.jupyterapp.shell.currentWidget.content.scrollToItem(n, 'center')", number)
    output = page.locator(
        f".jp-Notebook .jp-Cell[data-windowed-list-index='{number}'] .jp-OutputArea-output").first
    output.locator("[aria-live=polite], [role=status]").filter(
        has_text=re.compile(r"\w")).first.wait_for()
    for image in output.locator("img").all():
        image.evaluate("image => image.decode()")
    assert 200 < output.bounding_box()["height"] <= HIGHEST
