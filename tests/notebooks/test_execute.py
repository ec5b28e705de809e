"""Running a chapter: the same bytes every time, nothing private, and nothing half done."""

import json
import re

import nbformat
import pytest
from course import CourseError, read
from execution import WIDGET_VIEW, execute
from nbformat.v4 import new_notebook
from small_chapter import code, save, text

CHAPTER = [
    "import sys, torch\nfrom gptcourse import chapter\nchapter.setup(3)",
    "torch.rand(3)",
    "print('one')\nprint('two', flush=True)\nprint('three')",
    "import ipywidgets\nipywidgets.IntSlider(3)",
]

LEAVINGS = {
    "jupytext": {"formats": "ipynb,py"},
    "widgets": {"application/vnd.jupyter.widget-state+json": {
        "state": {}, "version_major": 2, "version_minor": 0,
    }},
}


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    """A chapter that was run twice, each time from a file with other ids and other leavings."""
    folder = tmp_path_factory.mktemp("twice")
    contents = []
    for _ in range(2):
        timing = {"iopub.status.busy": "now"}
        cells = [text("# Title"), *(code(source, execution=timing) for source in CHAPTER)]
        path = save(new_notebook(cells=cells, metadata=LEAVINGS), folder)
        execute(path)
        contents.append(path.read_bytes())
    return path, contents


def test_two_runs_are_byte_identical(executed):
    _, (first, second) = executed
    assert first == second


def test_a_second_run_of_the_result_changes_nothing(executed):
    path, (_, before) = executed
    execute(path)
    assert path.read_bytes() == before


def test_cells_are_numbered_from_one(executed):
    notebook = read(executed[0])
    assert [c.execution_count for c in notebook.cells if c.cell_type == "code"] == [1, 2, 3, 4]


def test_no_version_no_timing_and_no_widget_state_is_stored(executed):
    path, _ = executed
    notebook = json.loads(path.read_text(encoding="utf-8"))
    assert set(notebook["metadata"]) == {"kernelspec", "language_info"}
    assert "version" not in notebook["metadata"]["language_info"]
    assert all(cell["metadata"] == {} for cell in notebook["cells"])
    slider = notebook["cells"][-1]["outputs"][0]
    assert slider["data"] == {"text/plain": ["IntSlider(value=3)"]}
    assert slider["metadata"] == {WIDGET_VIEW: {"live_only": True}}


def test_cell_ids_follow_from_the_text_and_equal_cells_differ(tmp_path):
    path = save(new_notebook(cells=[code("x = 1"), code("x = 1"), text("x = 1")]), tmp_path)
    execute(path)
    ids = [cell.id for cell in read(path).cells]
    assert len(set(ids)) == 3
    assert ids[1] == f"{ids[0]}-2"
    nbformat.validate(read(path))


@pytest.mark.parametrize(("source", "error"), [
    ("first = 1\n1 / 0", "ZeroDivisionError: division by zero"),
    ("import os\nos._exit(1)", "the kernel died"),
])
def test_an_error_is_told_with_its_place_and_the_file_stays(tmp_path, source, error):
    path = save(new_notebook(cells=[text("# A"), code("x = 1"), code(source)]), tmp_path)
    before = path.read_bytes()
    place = f"02_sums.ipynb, code cell [2] ({source.splitlines()[0]!r}): {error}"
    with pytest.raises(CourseError, match=re.escape(place)):
        execute(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_a_chapter_runs_in_its_own_folder_without_anybodys_settings(tmp_path, monkeypatch):
    startup = tmp_path / "ipython" / "profile_default" / "startup"
    startup.mkdir(parents=True)
    (startup / "mine.py").write_text("print('hello from my own settings'); mine = 1")
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    folder = tmp_path / "notebooks"
    folder.mkdir()
    cells = [code("import os; os.path.basename(os.getcwd())"), code("'mine' in dir()")]
    path = save(new_notebook(cells=cells), folder)
    execute(path)
    shown = [cell.outputs[0].data["text/plain"] for cell in read(path).cells]
    assert shown == ["'notebooks'", "False"]
