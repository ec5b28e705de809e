"""The learner's copies: brought up to date where nothing was written, else left alone."""

import json

import nbformat
import pytest
from copies import MANIFEST, digest, fresh, hand_out
from course import read, write
from learner import progress
from nbformat.v4 import new_notebook
from small_chapter import code, good_chapter, save, text

from gptcourse.exercises import all_exercises
from gptcourse.exercises.progress import record


@pytest.fixture
def course(tmp_path):
    """A course of two chapters, and the folder for the copies."""
    chapters = tmp_path / "notebooks"
    chapters.mkdir()
    paths = [save(good_chapter(), chapters, name) for name in ("01_a.ipynb", "02_sums.ipynb")]
    return paths, tmp_path / "workbook"


def edit(path, source="# mine"):
    notebook = read(path)
    notebook.cells[1].source = source
    write(notebook, path)


def run_and_save_as_jupyterlab_does(path):
    notebook = read(path)
    for number, cell in enumerate(notebook.cells, start=1):
        cell.metadata["execution"] = {"iopub.status.busy": "now"}
        if cell.cell_type == "code":
            cell.execution_count = number
            cell.outputs = good_chapter().cells[1].outputs
    notebook.metadata["widgets"] = {}
    notebook.cells.append(code(""))
    nbformat.write(notebook, path)


def new_edition(path):
    edit(path, "# the newer edition")


def test_copies_have_the_text_and_no_outputs(course):
    paths, folder = course
    hand_out(paths, folder)
    for path in paths:
        original, copy = read(path), read(folder / path.name)
        assert [c.source for c in copy.cells] == [c.source for c in original.cells]
        assert [c.metadata for c in copy.cells] == [c.metadata for c in original.cells]
        code = [c for c in copy.cells if c.cell_type == "code"]
        assert all(c.outputs == [] and c.execution_count is None for c in code)
        assert copy.metadata.kernelspec.name == "python3"


def test_a_paper_is_handed_out_as_it_is_and_kept_where_it_was_changed(course):
    paths, folder = course
    paper = paths[0].parent / "glossary.md"
    paper.write_text("# Glossary\n", encoding="utf-8")
    hand_out([*paths, paper], folder)
    copy = folder / "glossary.md"
    assert copy.read_bytes() == paper.read_bytes()

    paper.write_text("# Glossary\n\nmore\n", encoding="utf-8")
    hand_out([*paths, paper], folder)
    assert copy.read_bytes() == paper.read_bytes()          # it was only read

    copy.write_text("mine\n", encoding="utf-8")
    paper.write_text("# Glossary\n\neven more\n", encoding="utf-8")
    lines = hand_out([*paths, paper], folder)
    assert copy.read_text(encoding="utf-8") == "mine\n"
    assert "glossary.md: there is a newer edition" in lines[0] and "another name" in lines[0]


def test_a_second_time_nothing_is_written(course):
    paths, folder = course
    hand_out(paths, folder)
    before = {path.name: path.read_bytes() for path in folder.iterdir()}
    times = {path.name: path.stat().st_mtime_ns for path in folder.glob("*.ipynb")}
    lines = hand_out(paths, folder)
    assert {path.name: path.read_bytes() for path in folder.iterdir()} == before
    assert {path.name: path.stat().st_mtime_ns for path in folder.glob("*.ipynb")} == times
    assert len(lines) == 1


def test_what_the_learner_wrote_stays(course):
    paths, folder = course
    hand_out(paths, folder)
    edit(folder / "02_sums.ipynb")
    before = (folder / "02_sums.ipynb").read_bytes()
    assert len(hand_out(paths, folder)) == 1
    assert (folder / "02_sums.ipynb").read_bytes() == before


def test_a_changed_copy_stays_when_there_is_a_newer_edition_and_is_named(course):
    paths, folder = course
    hand_out(paths, folder)
    edit(folder / "02_sums.ipynb")
    new_edition(paths[1])
    before = (folder / "02_sums.ipynb").read_bytes()
    for _ in range(2):  # it is said each time, until the learner has decided
        lines = hand_out(paths, folder)
        assert (folder / "02_sums.ipynb").read_bytes() == before
        assert len(lines) == 2
        assert lines[0].startswith("02_sums.ipynb: there is a newer edition")

    (folder / "02_sums.ipynb").rename(folder / "02_sums_mine.ipynb")
    assert len(hand_out(paths, folder)) == 1
    assert read(folder / "02_sums.ipynb").cells[1].source == "# the newer edition"
    assert (folder / "02_sums_mine.ipynb").read_bytes() == before


@pytest.mark.parametrize("use", [lambda path: None, run_and_save_as_jupyterlab_does])
def test_a_copy_that_was_only_run_is_brought_up_to_date(course, use):
    paths, folder = course
    hand_out(paths, folder)
    use(folder / "02_sums.ipynb")
    new_edition(paths[1])
    assert len(hand_out(paths, folder)) == 1
    assert read(folder / "02_sums.ipynb").cells[1].source == "# the newer edition"


def test_outputs_of_a_copy_stay_while_the_chapter_is_the_same(course):
    paths, folder = course
    hand_out(paths, folder)
    run_and_save_as_jupyterlab_does(folder / "02_sums.ipynb")
    before = (folder / "02_sums.ipynb").read_bytes()
    hand_out(paths, folder)
    assert (folder / "02_sums.ipynb").read_bytes() == before


def test_a_cell_of_ones_own_counts_as_a_change(course):
    paths, folder = course
    hand_out(paths, folder)
    notebook = read(folder / "02_sums.ipynb")
    notebook.cells.append(text("What I think of it."))
    write(notebook, folder / "02_sums.ipynb")
    new_edition(paths[1])
    assert "newer edition" in hand_out(paths, folder)[0]
    assert read(folder / "02_sums.ipynb").cells[-1].source == "What I think of it."


def test_a_deleted_copy_comes_back(course):
    paths, folder = course
    hand_out(paths, folder)
    (folder / "02_sums.ipynb").unlink()
    hand_out(paths, folder)
    assert (folder / "02_sums.ipynb").exists()


@pytest.mark.parametrize("damage", ["", "{", "[1]", '{"02_sums.ipynb": 3}', "\x00\xff"])
def test_a_damaged_list_is_set_aside_and_no_work_is_lost(course, damage):
    paths, folder = course
    hand_out(paths, folder)
    edit(folder / "02_sums.ipynb")
    before = (folder / "02_sums.ipynb").read_bytes()
    (folder / MANIFEST).write_bytes(damage.encode("latin-1"))
    lines = hand_out(paths, folder)
    assert "was damaged" in lines[0]
    assert (folder / ".handed_out.damaged.json").read_bytes() == damage.encode("latin-1")
    assert (folder / "02_sums.ipynb").read_bytes() == before
    assert set(json.loads((folder / MANIFEST).read_text())) == {"01_a.ipynb"}


def test_a_lost_list_loses_no_work_and_is_made_again(course):
    paths, folder = course
    hand_out(paths, folder)
    edit(folder / "02_sums.ipynb")
    before = (folder / "02_sums.ipynb").read_bytes()
    (folder / MANIFEST).unlink()
    new_edition(paths[1])
    hand_out(paths, folder)
    assert (folder / "02_sums.ipynb").read_bytes() == before
    new_edition_of_first = "# newer, too"
    edit(paths[0], new_edition_of_first)
    hand_out(paths, folder)  # the untouched copy was recognized, so it follows
    assert read(folder / "01_a.ipynb").cells[1].source == new_edition_of_first


@pytest.mark.parametrize("content", [
    b"", b"not a notebook", b'{"cells": 3}', b"\xff\xfe",
    b'{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [{"mine": 1}]}',
])
def test_a_copy_that_is_no_notebook_any_more_is_the_learners(course, content):
    paths, folder = course
    hand_out(paths, folder)
    (folder / "02_sums.ipynb").write_bytes(content)
    for _ in range(2):
        lines = hand_out(paths, folder)
        assert lines[0].startswith("02_sums.ipynb cannot be read as a notebook any more")
        assert (folder / "02_sums.ipynb").read_bytes() == content
        (folder / MANIFEST).unlink()
    (folder / "02_sums.ipynb").rename(folder / "damaged.ipynb")
    assert len(hand_out(paths, folder)) == 1
    assert digest(read(folder / "02_sums.ipynb")) == digest(read(paths[1]))


def test_a_full_disk_leaves_the_old_copy_whole(course, monkeypatch):
    paths, folder = course
    hand_out(paths, folder)
    before = (folder / "02_sums.ipynb").read_bytes()
    new_edition(paths[1])

    def no_space(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("gptlib.files.os.fsync", no_space)
    with pytest.raises(OSError, match="No space left"):
        hand_out(paths, folder)
    assert (folder / "02_sums.ipynb").read_bytes() == before
    assert not list(folder.glob("*.tmp"))


def test_an_unreadable_chapter_is_named(tmp_path):
    broken = tmp_path / "01_a.ipynb"
    broken.write_text("{")
    with pytest.raises(Exception, match=r"01_a\.ipynb cannot be read as a notebook"):
        hand_out([broken], tmp_path / "workbook")


def test_an_old_format_is_read(tmp_path):
    """Notebooks of format 4.4 have no cell ids."""
    notebook = new_notebook(cells=[code("x = 1")])
    notebook.nbformat_minor = 4
    del notebook.cells[0]["id"]
    path = tmp_path / "01_a.ipynb"
    nbformat.write(notebook, path)
    hand_out([path], tmp_path / "workbook")
    assert read(tmp_path / "workbook" / "01_a.ipynb").cells[0].source == "x = 1"


def test_a_fresh_copy_stands_beside_the_learners_own(course):
    paths, folder = course
    hand_out(paths, folder)
    for number in ("", "2"):
        edit(folder / paths[0].name, f"# mine {number}")
        lines = fresh(paths[0], folder)
        mine = folder / f"{paths[0].stem}_mine{number}.ipynb"
        assert read(mine).cells[1].source == f"# mine {number}" and mine.name in lines[0]
        assert digest(read(folder / paths[0].name)) == digest(read(paths[0]))
    other = folder / paths[1].name
    assert digest(read(other)) == digest(read(paths[1]))


def test_progress_says_where_to_go_on(tmp_path, monkeypatch):
    chapters = [tmp_path / name for name in ("00_a.ipynb", "01_b.ipynb", "02_c.ipynb")]
    folder = tmp_path / "workbook"
    folder.mkdir()
    line, first = progress(chapters, folder)
    assert first == chapters[0] and "are waiting" in line
    monkeypatch.chdir(folder)
    every = [exercise for exercise in all_exercises() if exercise.chapter < 2]
    for exercise in every:
        record(exercise.id, "right")
    line, current = progress(chapters, folder)
    assert current == chapters[2] and line.startswith(f"{len(every)} of ")
