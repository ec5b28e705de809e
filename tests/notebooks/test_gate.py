"""The gate lets a good chapter pass and names what is wrong with any other."""

import re

import pytest
from course import code_cells
from execution import WIDGET_VIEW, normalized
from gate import is_compared, problems, report
from nbformat import NotebookNode, from_dict
from nbformat.v4 import new_output
from small_chapter import ALT, PICTURE, code, good_chapter, printed, save, shown, text


def test_a_good_chapter_has_no_problem(tmp_path):
    assert problems(save(good_chapter(), tmp_path)) == []


def test_the_tables_count_what_is_there(tmp_path):
    shown, paced = tables([save(good_chapter(), tmp_path)])
    assert shown == {
        "chapter": "02_sums", "code cells": "11", "compared": "10", "silent": "2",
        "pictures": "1", "views": "1",
    }
    assert paced == {
        "chapter": "02_sums", "words": "24", "code": "11", "blanks": "1", "classes": "0",
        "bugs": "0", "predictions": "0", "asserts": "0", "stretch": "7", "minutes": "20",
    }


def test_the_table_has_the_seconds_where_somebody_took_them(tmp_path):
    path = save(good_chapter(), tmp_path)
    assert "no seconds" in report([path])
    assert tables([path], {path: 12.6})[1]["seconds"] == "13"
    assert "no seconds" not in report([path], {path: 12.6})


def tables(*arguments):
    """The two tables of one chapter: what it has, by the heading of the column."""
    return [
        dict(zip(*(re.split(r" {2,}", line) for line in table.splitlines()[:2]), strict=True))
        for table in report(*arguments).split("\n\n")
    ]


# What to change in a good chapter, and what the gate must then say.

def unexecuted(notebook):
    code_cells(notebook)[1].execution_count = None


def run_out_of_order(notebook):
    first, second = code_cells(notebook)[1:3]
    first.execution_count, second.execution_count = 3, 2


def run_twice(notebook):
    for cell in code_cells(notebook):
        cell.execution_count += 11
        for output in cell.outputs:
            if "execution_count" in output:
                output.execution_count += 11


def tag(*names, **metadata):
    def change(notebook):
        code_cells(notebook)[0].metadata = from_dict({"tags": list(names), **metadata})
    return change


def ignore_two(notebook):
    for cell in code_cells(notebook)[:2]:
        cell.metadata = from_dict({"tags": ["nbval-ignore-output"], "reason": "a time"})


def many_long(notebook):
    for cell in code_cells(notebook)[:3]:
        cell.metadata = from_dict({"tags": ["long"]})


def long_with_the_learners(notebook):
    tag("long")(notebook)
    source("print(1 + mine.add(0, 1))")(notebook)


def source(line):
    def change(notebook):
        code_cells(notebook)[0].source = line
    return change


def prose(line):
    def change(notebook):
        notebook.cells[3].source = f"## By hand\n\n{line}"
    return change


def output(*outputs):
    def change(notebook):
        code_cells(notebook)[0].outputs = list(outputs)
    return change


def widget_state(notebook):
    notebook.metadata.widgets = NotebookNode(state={})


def live_widget(notebook):
    code_cells(notebook)[-1].outputs[0].data[WIDGET_VIEW] = {"model_id": "0123"}


def other_kernel(notebook):
    notebook.metadata.kernelspec.name = "my-own"


def no_exercise_id(notebook):
    del code_cells(notebook)[2].metadata["id"]


def foreign_exercise_id(notebook):
    code_cells(notebook)[2].metadata["id"] = "03.twice"


def empty_cell(notebook):
    notebook.cells.append(code("", count=None))


def only_pictures(notebook):
    for cell in code_cells(notebook)[3:6]:
        cell.outputs = [shown(metadata=ALT, text_plain="<Figure size 1x1 with 2 Axes>",
                              image_png=PICTURE)]


def no_title(notebook):
    notebook.cells[0].source = "## Sums"


def two_titles(notebook):
    notebook.cells[3].source = "# By hand"


def skipped_level(notebook):
    notebook.cells[3].source = "### By hand"


ERROR = new_output("error", ename="ValueError", evalue="no", traceback=[])
WRONG = [
    (unexecuted, "1 of 11 code cells have not been run"),
    (run_out_of_order, "not run once each from the top"),
    (run_twice, "not run once each from the top"),
    (tag("nbval-skip"), "unknown tag 'nbval-skip'"),
    (tag("raises-exception"), "unknown tag 'raises-exception'"),
    (tag("excercise"), "unknown tag 'excercise'"),
    (tag("nbval-ignore-output"), "without a `reason`"),
    (many_long, "3 of 11 code cells are tagged long, 20% at most"),
    (long_with_the_learners, "is tagged long but uses `mine`"),
    (ignore_two, "2 cells are tagged nbval-ignore-output"),
    (no_exercise_id, "an exercise with the id ''"),
    (foreign_exercise_id, "an exercise with the id '03.twice'"),
    (source("# NBVAL_IGNORE_OUTPUT\nprint(1)"), "steers nbval by a comment"),
    (source("# nbval_skip\nprint(1)"), "steers nbval by a comment"),
    (source("%matplotlib inline\n1"), "not plain Python"),
    (source("!ls"), "not plain Python"),
    (source("get_ipython().system('ls')"), "uses get_ipython"),
    (source("x = 1;"), "ends in `;`"),
    (source("from ipywidgets import interact"), "uses interact"),
    (source("import matplotlib.pyplot as plt"), "uses pyplot"),
    (source("widgets.Output()"), "uses Output"),
    (source("\n".join(["x = 1"] * 13)), "has 13 lines"),
    (source("open('/home/somebody/text.txt')"), "has an absolute path"),
    (source(r"open(r'C:\texts\mine.txt')"), "has an absolute path"),
    (output(ERROR), "stores an error (ValueError)"),
    (output(printed("careful\n", name="stderr")), "writes to stderr"),
    (output(printed("saved to /tmp/x\n")), "shows an absolute path"),
    (output(shown(text_plain="<Thing at 0x7f12ab34cd>")), "a memory address"),
    (output(shown(text_plain="2", image_png=PICTURE)), "(image/png) without alt text"),
    (output(shown(text_plain="2", image_svg__xml="<svg><path/></svg>")), "SVG without"),
    (output(shown(text_plain="2", text_html="<svg><path/></svg>")), "SVG without"),
    (output(shown(text_plain="2", text_html="<img src='data:x'>")), "<img> without alt"),
    (output(shown(text_plain="2", text_html="<img alt='x' src='https://x.org/y.png'>")), "network"),
    (output(shown(text_plain="2", text_html="<script src=//x.org/y.js></script>")), "network"),
    (widget_state, "stores the state of widgets"),
    (live_widget, "a widget that is gone"),
    (other_kernel, "not as `tools/notebooks.py execute` leaves it"),
    (empty_cell, "is empty"),
    (only_pictures, "only 7 of 11 code cells are compared"),
    (no_title, "must be the title"),
    (two_titles, "a second title"),
    (skipped_level, "skips a level"),
    (prose("[there](03_nothing.ipynb)"), "leads nowhere"),
    (prose("[there](#Nothing)"), "leads to no heading"),
    (prose("[there](02_sums.ipynb#Nothing)"), "leads to no heading"),
    (prose("<a href='03_nothing.ipynb'>there</a>"), "leads nowhere"),
    (prose("[there](../secret.txt)"), "leads out of the folder"),
    (prose("![A cat.](https://x.org/cat.png)"), "lies elsewhere"),
    (prose("![A cat.](attachment:cat.png)"), "is not attached"),
    (prose("![](attachment:cat.png)"), "has no alt text"),
    (prose("<img src='https://x.org/cat.png' alt='A cat.'>"), "network"),
    (prose("It lies in /home/somebody/course."), "has an absolute path"),
]


@pytest.mark.parametrize(("change", "said"), WRONG, ids=[said for _, said in WRONG])
def test_the_gate_says_what_is_wrong(tmp_path, change, said):
    notebook = good_chapter()
    change(notebook)
    found = problems(save(notebook, tmp_path))
    assert any(said in problem for problem in found), found


@pytest.mark.parametrize("outputs", [
    [shown(text_plain="2", text_html="<svg role='img' aria-label='A bar.'></svg>")],
    [shown(text_plain="2", image_svg__xml="<svg><title>A bar.</title></svg>")],
    [shown(text_plain="2", text_html="<img alt='A bar.' src='data:image/png;base64,AA'>")],
    [shown(metadata=ALT, text_plain="2", image_png=PICTURE)],
])
def test_a_picture_that_is_described_passes(tmp_path, outputs):
    notebook = good_chapter()
    code_cells(notebook)[0].outputs = outputs
    assert problems(save(normalized(notebook), tmp_path)) == []


@pytest.mark.parametrize(("cell", "compared"), [
    (code("1", shown(1, text_plain="1"), count=1), True),
    (code("1", shown(1, text_plain="1")), False),                      # never run: never compared
    (code("x = 1", count=1), True),                                    # must stay silent
    (code("1", shown(1, text_plain="1"), count=1, tags=["nbval-ignore-output"]), False),
    (code("p", shown(text_plain="<Figure size 6x4 with 1 Axes>", image_png="A"), count=1), False),
    (code("p", shown(text_plain="<IPython.core.display.Image object>", image_png="A"), count=1),
     False),
    (code("p", shown(text_plain="A map of 3 heads", image_png="A"), count=1), True),
    (code("p", shown(image_png="A"), printed("2\n"), count=1), True),
    (code("p", shown(text_html="<b>2</b>"), count=1), True),
])
def test_a_cell_is_compared_if_nbval_would_see_it_change(cell, compared):
    assert is_compared(cell) is compared


def test_an_exercise_may_be_a_class_as_long_as_it_is(tmp_path):
    notebook = good_chapter()
    cell = code_cells(notebook)[2]
    cell.source, cell.metadata["id"] = "\n".join(["class Sum:", *["    x = 1"] * 20]), "02.Sum"
    assert problems(save(normalized(notebook), tmp_path)) == []
