"""A real JupyterLab: wrong answers, what its page shows, where its links lead, whose kernels run.

Every chapter is run here with right answers in `test_solved`, and blank by nbval.
"""

import shutil

from answered import CHAPTERS, WITH_EXERCISES, a_wrong_answer_to, answered, exercises_of, results
from course import NOTEBOOKS, write
from lab_notebook import write_notebook
from playwright.sync_api import expect

from gptcourse.exercises.keeping import FILE


def test_a_chapter_with_wrong_answers_says_so_and_runs_to_its_end(lab):
    name = WITH_EXERCISES[0]
    folder = lab.folder / "wrong"
    folder.mkdir()
    write(answered(CHAPTERS[name], a_wrong_answer_to), folder / f"{name}.ipynb")

    with lab.open(f"wrong/{name}.ipynb") as chapter:
        chapter.run_to_the_end()
        said = results(chapter.notebook)

    assert list(said) == [exercise.id for exercise in exercises_of(name)]
    assert all(line.startswith(("❌", "💥")) for line in said.values()), said
    assert not (folder / FILE).exists()


def test_the_browser_notices_errors_and_requests_to_other_machines(lab):
    cells = [
        "from IPython.display import HTML\n"
        "HTML('<img alt=\"far away\" src=\"http://gptlib.invalid/picture.png\">')",
        "import sys; print('careful', file=sys.stderr)",
        "1 / 0",
        "'never reached'",
    ]
    write_notebook(lab, "99_wrong.ipynb", cells)

    with lab.open("99_wrong.ipynb") as chapter:
        with chapter.page.expect_event("requestfailed"):
            chapter.run_all(seconds=60)

        assert chapter.cells[1]["stderr"] == ["careful\n"]
        assert chapter.cells[2]["errors"] == ["ZeroDivisionError: division by zero"]
        assert chapter.cells[3]["count"] is None
        assert set(chapter.foreign_requests) == {"http://gptlib.invalid/picture.png"}
        assert any("gptlib.invalid" in error for error in chapter.console_errors)


def test_a_diagram_shrinks_with_the_page(lab):
    cells = ["from gptcourse import chapter, figures\nchapter.setup(3)",
             "figures.gpt_diagram({'attention'})"]
    write_notebook(lab, "97_narrow.ipynb", cells)

    with lab.open("97_narrow.ipynb") as chapter:
        chapter.page.set_viewport_size({"width": 800, "height": 1600})
        chapter.run_all(seconds=120)
        drawn, room, whole = chapter.page.locator(".jp-RenderedSVG img").evaluate("""
            picture => picture.decode().then(() => [
                picture.width, picture.parentElement.clientWidth, picture.naturalWidth])""")
        assert drawn <= room < whole


def test_a_map_opens_the_chapter_that_lies_beside_its_notebook(lab):
    folder = lab.folder / "beside"
    folder.mkdir()
    shutil.copy(lab.folder / "03_attention.ipynb", folder)
    cells = ["from gptlib.storyteller import storyteller\nfrom gptcourse.views import ModelWalk",
             "ModelWalk(*storyteller(), 'Tom the bear was shy.', lit={'attention'})"]
    write_notebook(lab, "beside/97_map.ipynb", cells)

    with lab.open("beside/97_map.ipynb") as chapter:
        chapter.run_all(seconds=120)
        address = chapter.page.url
        for way in (lambda link: link.click(), lambda link: link.press("Enter")):
            way(chapter.page.get_by_role("link", name="Chapter 3: Attention"))
            chapter.page.wait_for_function("""() =>
                window.jupyterapp.shell.currentWidget.context.path === 'beside/03_attention.ipynb'
                """)
            chapter.page.evaluate("""async () => { await window.jupyterapp.commands.execute(
                'docmanager:open', { path: 'beside/97_map.ipynb' }); }""")
        assert chapter.page.url == address                    # JupyterLab was never left
        assert chapter.console_errors == []


def test_a_link_to_the_glossary_opens_it_as_a_page_to_read(lab):
    folder = lab.folder / "read"
    folder.mkdir()
    shutil.copy(NOTEBOOKS / "glossary.md", folder)
    name = WITH_EXERCISES[0]
    shutil.copy(CHAPTERS[name], folder)

    with lab.open(f"read/{name}.ipynb") as chapter:
        chapter.page.get_by_role("link", name="glossary").click()
        expect(chapter.page.locator(".jp-MarkdownViewer table th").first).to_have_text("Word")
        assert chapter.console_errors == []


def test_kernels_of_the_course_run_in_its_own_environment(lab):
    """Other pythons may lie about, and kernels of theirs in the home folder."""
    import sys

    source = "import sys, os; print(sys.prefix); print(os.environ['OMP_WAIT_POLICY'])"
    write_notebook(lab, "98_environment.ipynb", [source])

    with lab.open("98_environment.ipynb") as chapter:
        chapter.run_all(seconds=60)
        expect(chapter.page.get_by_text(sys.prefix)).to_have_count(1)
        expect(chapter.page.get_by_text("PASSIVE")).to_have_count(1)
