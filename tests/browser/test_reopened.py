"""A chapter that was run, saved and opened again another day, while its kernel is long gone."""

from lab_notebook import write_notebook
from playwright.sync_api import expect

CELLS = [
    "from gptlib.storyteller import storyteller\n"
    "from gptcourse.views import AttentionExplorer, GradientFlow",
    "AttentionExplorer(*storyteller(), 'Tom the bear was shy.')",
    "GradientFlow()",
]


def test_a_reopened_chapter_still_shows_its_views(lab):
    write_notebook(lab, "97_reopened.ipynb", CELLS)
    with lab.open("97_reopened.ipynb") as chapter:
        chapter.run_all(seconds=120)
        chapter.page.locator(".gpt canvas").first.wait_for()
        chapter.page.keyboard.press("Control+s")
        chapter.page.wait_for_function(
            "() => !window.jupyterapp.shell.currentWidget.context.model.dirty")

    with lab.open("97_reopened.ipynb") as chapter:
        page = chapter.page
        page.locator(".gpt canvas").first.wait_for()
        picture = page.locator(".jupyter-widgets img").first
        picture.wait_for()
        assert picture.evaluate("image => image.decode().then(() => image.naturalWidth)") > 300
        assert page.get_by_text("Error displaying widget").count() == 0
        tokens = page.get_by_role("group", name="tokens")
        tokens.get_by_role("button").nth(2).click()
        expect(page.locator(".gpt [aria-live=polite]").first).to_contain_text("Token 2")
        assert chapter.console_errors == []
