"""Pictures stay: on the page of a saved chapter whose kernel is gone, and while a slider moves."""

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


PICTURE = ".jupyter-widgets img"
SAMPLE = """(picture) => {
    const image = document.querySelector(picture);
    window.frames_seen = [];
    window.pictures_seen = new Set([image.src]);
    const look = () => {
        const image = document.querySelector(picture);
        window.frames_seen.push(Boolean(image && image.naturalWidth && image.offsetWidth));
        if (image) window.pictures_seen.add(image.src);
        requestAnimationFrame(look);
    };
    requestAnimationFrame(look);
}"""


def test_no_frame_is_without_a_picture_while_a_slider_of_the_kernel_moves(lab):
    notebook = new_notebook(cells=[new_code_cell(CELLS[0]), new_code_cell(CELLS[2])])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(notebook, lab.folder / "96_slider.ipynb")
    with lab.open("96_slider.ipynb") as chapter:
        chapter.run_all(seconds=120)
        page = chapter.page
        page.locator(PICTURE).wait_for()
        page.evaluate(SAMPLE, PICTURE)
        slider = page.get_by_role("slider").first
        slider.focus()
        for _ in range(6):
            slider.press("ArrowRight")
        page.wait_for_function("() => window.pictures_seen.size >= 3")
        frames = page.evaluate("window.frames_seen")
        assert len(frames) >= 5 and all(frames)
