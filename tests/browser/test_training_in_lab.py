"""A run goes on while its view is scrolled out of sight, and ends when the view is gone."""

from lab_notebook import write_notebook

VIEW = """
from gptlib import BPETokenizer
from gptcourse.views import TrainingDashboard
text = "The cat sat on the mat. The dog sat on the cat. " * 12
tokenizer = BPETokenizer.train(text, 270)
ids = tokenizer.encode(text)
runs = [*globals().get("runs", []), TrainingDashboard(ids * 10, ids, tokenizer)]
runs[-1].steps.value = 2000
runs[-1]"""
MUCH_TEXT = "for n in range(60): print(n)"
LOOK = "[(view.running, view.run and view.run.step) for view in runs]"
RUN_CELL = """number => {
    const notebook = window.jupyterapp.shell.currentWidget.content;
    notebook.activeCellIndex = number;
    return window.jupyterapp.commands.execute("notebook:run-cell");
}"""
SHOWN_BY_THE_LAST = """() => {
    const cells = window.jupyterapp.shell.currentWidget.content.model.cells;
    return cells.get(cells.length - 1).outputs.get(0).data["text/plain"];
}"""


def test_a_run_ends_with_its_view_and_not_before(lab):
    cells = [VIEW, *[MUCH_TEXT] * 20, LOOK]
    write_notebook(lab, "95_runs.ipynb", cells)

    with lab.open("95_runs.ipynb") as chapter:
        def look() -> list:
            chapter.page.evaluate(RUN_CELL, len(cells) - 1)
            return eval(chapter.page.evaluate(SHOWN_BY_THE_LAST))

        chapter.run_all(seconds=120)
        chapter.page.get_by_role("button", name="start", exact=True).click()
        [(_, before)] = look()                              # far below the view
        chapter.page.wait_for_timeout(3000)
        [(running, after)] = look()
        assert running and after > (before or 0)
        chapter.page.evaluate(RUN_CELL, 0)                  # another view takes its place
        chapter.page.wait_for_timeout(3000)
        (running, last), _ = look()
        assert not running and last < 2000
