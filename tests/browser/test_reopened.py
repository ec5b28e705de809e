"""A chapter that was run, saved and opened again another day, while its kernel is long gone."""

import json

import pytest
from lab_notebook import write_notebook

CELLS = [
    "from gptlib.storyteller import storyteller\n"
    "from gptcourse.views import AttentionExplorer, GradientFlow",
    "AttentionExplorer(*storyteller(), 'Tom the bear was shy.')",
    "GradientFlow()",
]
RESTART = "() => window.jupyterapp.shell.currentWidget.sessionContext.session.kernel.restart()"
SAVED = "() => !window.jupyterapp.shell.currentWidget.context.model.dirty"
# A setting of JupyterLab's that the learner may have switched on; the command switches it over.
SAVE_STATE = """() => window.jupyterapp.commands.execute(
    "@jupyter-widgets/jupyterlab-manager:saveWidgetState")"""


def save(chapter):
    chapter.page.keyboard.press("Control+s")
    chapter.page.wait_for_function(SAVED)


def check_stills(chapter):
    """The two views are pictures, with their words and what to do, and nothing else."""
    page = chapter.page
    page.get_by_text("run this cell (Shift+Enter)").nth(1).wait_for()
    pictures = page.locator(".jp-OutputArea-output img")
    assert pictures.count() == 2
    for picture in pictures.all():
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        assert len(picture.get_attribute("alt")) > 40
    assert page.get_by_text("Error displaying widget").count() == 0
    assert page.locator(".gpt, .widget-vbox").count() == 0
    assert chapter.console_errors == []


@pytest.mark.parametrize("state", ["saved", "not saved"])
def test_a_reopened_chapter_shows_pictures_of_its_views_until_it_is_run_again(lab, state):
    write_notebook(lab, "97_reopened.ipynb", CELLS)
    with lab.open("97_reopened.ipynb", afresh=True) as chapter:
        chapter.run_all(seconds=120)
        chapter.page.locator(".gpt canvas").first.wait_for()
        if state == "saved":
            chapter.page.evaluate(SAVE_STATE)
        save(chapter)
    stored = json.loads((lab.folder / "97_reopened.ipynb").read_text(encoding="utf-8"))
    assert ("widgets" in stored["metadata"]) is (state == "saved")

    for _ in range(2):
        with lab.open("97_reopened.ipynb", afresh=True) as chapter:
            check_stills(chapter)
            chapter.page.evaluate(RESTART)
            save(chapter)
    with lab.open("97_reopened.ipynb", afresh=True) as chapter:
        check_stills(chapter)
        if state == "saved":
            chapter.page.evaluate(SAVE_STATE)
        chapter.run_all(seconds=120)                        # and now the views answer again
        chapter.page.locator(".gpt canvas").first.wait_for()
        assert chapter.page.get_by_text("run this cell (Shift+Enter)").count() == 0
