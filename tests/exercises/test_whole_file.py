"""check.my_gpt() says of every point whether the learner's file can do it, and if not, why."""

import re
from pathlib import Path

import pytest

from gptcourse import gpt
from gptcourse.exercises import all_exercises, check, whole_file
from gptcourse.exercises.early import EARLY, FIRST
from gptcourse.exercises.keeping import FILE
from gptcourse.exercises.page import GIVEN, course_pieces, course_source

IMPORTS = "import math\nimport torch\nfrom torch import nn\n\n"
LOSS, BATCH = (IMPORTS + course_source(name) for name in ("next_token_loss", "batch"))
SURPRISE = "says how surprised a model is"


@pytest.fixture(autouse=True)
def in_an_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def states(report):
    return {what: (state, why) for state, what, why in report}


def test_the_whole_answer_can_do_everything():
    Path(FILE).write_bytes(Path(gpt.__file__).read_bytes())
    report = check.my_gpt()
    assert {state for state, _, _ in report.points} == {"done"}, report
    assert report.title == f"my_gpt.py can do {len(report.points)} of {len(report.points)} things."


def test_without_a_file_nothing_is_done_yet_and_nothing_wrong():
    points = whole_file._tried(FILE)
    assert {(state, why) for state, _, why in points} == {("not yet", "there is no file yet")}


@pytest.mark.parametrize(("source", "state", "why"), [
    (LOSS, "done", ""), (BATCH, "not yet", "missing: next_token_loss (chapter 2)"),
    (LOSS.replace(".mean()", ".sum()"), "wrong", "its numbers are not the right ones"),
    (LOSS.replace(".mean()", ".mean(3)"), "wrong", "IndexError"),
    (LOSS.replace("return -", "return 0 * helper - "), "not yet", "'helper' is not defined"),
    (LOSS.replace("return -", "return 0 * batch - "), "not yet", "missing: batch (chapter 2)"),
    (LOSS.replace("return -", "raise SystemExit('bye') or -"), "wrong", "SystemExit: bye"),
])
def test_a_point_is_done_or_says_why_not(source, state, why):
    Path(FILE).write_text(source)
    found = states(whole_file._tried(FILE))[SURPRISE]
    assert found[0] == state and why in found[1]


@pytest.mark.parametrize("name", FIRST)
def test_a_first_form_is_not_yet_what_later_points_need(name):
    first, grows = FIRST[name], {"train": 6, "generate": 7}[FIRST[name].of]
    text = Path(gpt.__file__).read_text(encoding="utf-8")
    Path(FILE).write_text(text.replace(course_source(first.of),
                                       course_source(first.of, first.edits)), encoding="utf-8")
    found = states(whole_file._tried(FILE))
    waiting = {what for what, (state, why) in found.items()
               if (state, why) == ("not yet", f"missing: the later {first.of} (chapter {grows})")}
    assert waiting == {what for what, needs, _ in whole_file.POINTS if first.of in needs}
    assert "wrong" not in {state for state, _ in found.values()}


def after(chapter):
    """The file of a learner who has solved all that the chapters up to this one ask for."""
    kept = {one.defines: one.solution_source for one in all_exercises()
            if one.kept and one.chapter <= chapter}
    kept |= {name: course_source(name) for name in GIVEN if whole_file._chapter(name) <= chapter}
    return "\n".join(kept.pop(piece.names[0], "") if piece.kind == "definition" else piece.source
                     for piece in course_pieces() if piece.kind != "other")


@pytest.mark.parametrize("chapter", range(1, 9))
def test_what_later_chapters_bring_is_not_yet_there_and_nothing_is_wrong(chapter):
    Path(FILE).write_text(after(chapter), encoding="utf-8")
    points = whole_file._tried(FILE)
    assert {state for state, _, _ in points} <= {"done", "not yet"}, points
    for state, _, why in points:
        comes_in = [int(digit) for digit in re.findall(r"\(chapter (\d)\)", why)]
        assert (state == "done") == (not comes_in) and all(one > chapter for one in comes_in), why
    done = [what for state, what, _ in points if state == "done"]
    assert chapter < 7 or len(done) == len(points) - (chapter == 7)       # a file like GPT-2's


def test_a_model_with_a_cache_waits_for_the_layers_that_take_one():
    text = Path(gpt.__file__).read_text(encoding="utf-8")
    block = course_source("TransformerBlock")
    Path(FILE).write_text(text.replace(block, course_source("TransformerBlock",
                                                            EARLY["TransformerBlock"])))
    waiting = [(state, why) for state, _, why in whole_file._tried(FILE) if state != "done"]
    assert waiting == 5 * [("not yet", "missing: the later TransformerBlock (chapter 7)")]


@pytest.mark.parametrize(("right", "wrong", "why"), [
    ("tensor = tensor.t()", "pass", "RuntimeError: Error(s) in loading state_dict"),
    ('("query", "key", "value")', '("key", "query", "value")', "its numbers are not the right"),
    ('"feed_forward": "mlp"', '"feed_forward": "net"', "KeyError"),
])
def test_weights_in_the_wrong_place_are_found(right, wrong, why):
    text = Path(gpt.__file__).read_text(encoding="utf-8")
    assert text.count(right) == 1
    Path(FILE).write_text(text.replace(right, wrong), encoding="utf-8")
    [(state, found)] = [(state, why) for state, what, why in whole_file._tried(FILE)
                        if state != "done"]
    assert state == "wrong" and why in found


@pytest.mark.parametrize(("source", "why"), [
    ("import gptlib\n", "Python can't run it: ModuleNotFoundError"),
    ("from gptcourse.gpt import *\n", "Python can't run it: ModuleNotFoundError"),
    ("def half(:\n", "Python can't run it: SyntaxError"), ("raise SystemExit\n", "SystemExit"),
    ("open('not there')\n", "FileNotFoundError"), ("import os\nos._exit(3)\n", "without a word"),
    ("while True:\n    pass\n", "it did not end within 1 seconds"),
])
def test_a_file_that_does_not_run_alone_says_why(source, why, monkeypatch):
    monkeypatch.setattr(whole_file, "SECONDS", 1 if "while" in source else 120)
    Path(FILE).write_text(source)
    if "while" in source or "os" in source:
        points = check.my_gpt().points
    else:
        points = whole_file._tried(FILE)
    assert [state for state, _, _ in points] == ["wrong"] and why in points[0][2]


def test_what_a_file_prints_does_no_harm():
    Path(FILE).write_text(
        f"import sys\nsys.stdout.buffer.write(b'\\xff no end of line')\n{LOSS}", encoding="utf-8")
    assert states(check.my_gpt().points)[SURPRISE] == ("done", "")


def test_the_report_is_a_page_in_which_nothing_is_html():
    report = whole_file.FileReport("<b>.py", (("wrong", "<i>", "<u>"),))
    page = report._repr_html_()
    assert not any(tag in page for tag in ("<b>.py", "<i>", "<u>")) and "0 of 1" in repr(report)
