"""A chapter that was run, saved and opened again another day, while its kernel is long gone."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook

CELLS = [
    "from gptlib import storyteller\nfrom gptlib.views import AttentionExplorer, GradientFlow",
    "AttentionExplorer(*storyteller(), 'Tom the bear was shy.')",
    "GradientFlow()",
]


def test_a_reopened_chapter_still_shows_its_views(lab):
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in CELLS])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(notebook, lab.folder / "97_reopened.ipynb")
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
        assert picture.evaluate("image => image.naturalWidth") > 300
        assert page.get_by_text("Error displaying widget").count() == 0
        tokens = page.get_by_role("group", name="tokens")
        tokens.get_by_role("button").nth(2).click()
        assert "Token 2" in page.locator(".gpt [aria-live=polite]").first.text_content()
        assert chapter.console_errors == []
