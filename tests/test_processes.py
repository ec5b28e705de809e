"""Several processes, started from a notebook, do what one does, and never outlive it."""

import inspect
import linecache
import os
import subprocess
import sys
import time

import pytest
import torch

from gptcourse.exercises import scale
from gptcourse.exercises.page import run
from gptcourse.exercises.scale import AVERAGE_GRADIENTS, average_gradients
from gptcourse.experiments.processes import in_processes, shared_training, yours_or_ours

OWN = """
import torch.distributed as dist

def part(x, n):
    return x / n

def average_gradients(model, processes):
    for parameter in model.parameters():
        if parameter.grad is not None:
            dist.all_reduce(parameter.grad)
            parameter.grad = part(parameter.grad, processes)
"""


def in_a_cell(source, name):
    """What a notebook's cell defines under this name."""
    file = f"<cell {len(linecache.cache)}>"
    linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
    return run(source, file, {"__name__": "__main__"})[name]


def test_two_processes_learn_what_one_learns_with_a_learners_function():
    alone, shared = shared_training(1, steps=4), shared_training(
        2, in_a_cell(OWN, "average_gradients"), steps=4)
    assert len(shared.losses) == 4 and alone.losses[3] < alone.losses[0]
    assert shared.losses == pytest.approx(alone.losses, abs=1e-5)
    assert torch.equal(*shared.weights)
    torch.testing.assert_close(shared.weights[:1], alone.weights, rtol=0, atol=1e-4)


@pytest.mark.parametrize(("source", "words"), [
    ("    return torch.ones(2) @ torch.ones(3)",
     r"In process [01], in line 3, `return torch.ones\(2\) @ torch.ones\(3\)`: RuntimeError"),
    ("    while rank:\n        time.sleep(0.01)",
     "After 1 seconds the processes haven't come to an end: perhaps one waits for another"),
    ("    if rank:\n        torch.distributed.all_reduce(torch.ones(1))",
     "In process 1, in line 4, .* it waited for another process, which had come to its end"),
    ("    os._exit(9)", "ended from outside"),
])
def test_what_fails_in_a_process_comes_back_as_a_sentence_and_none_stays(source, words, tmp_path):
    work = in_a_cell(f"import os, time, torch\n\n{noted(tmp_path)}{source}\n", "work")
    with pytest.raises(RuntimeError, match=words):
        in_processes(2, work, seconds=1)
    numbers = [int(path.name) for path in tmp_path.iterdir()]
    assert numbers and not any(map(runs, numbers))


def noted(folder):
    """How a function begins that leaves the number of its process in a folder."""
    return (f"def work(rank, count):\n"
            f"    open(os.path.join({str(folder)!r}, str(os.getpid())), 'w').close()\n")


def runs(number):
    try:
        os.kill(number, 0)
    except ProcessLookupError:
        return False
    return True


def test_data_and_functions_go_there_and_data_comes_back():
    work = in_a_cell("def work(rank, count, x, of):\n    return [rank, count, of(x) + rank]\n",
                     "work")
    twice = in_a_cell("times = 2\n\ndef twice(x):\n    return times * x\n", "twice")
    ended = in_processes(2, work, torch.ones(2), twice)
    assert [one[:2] for one in ended] == [[0, 2], [1, 2]]
    assert [one[2].tolist() for one in ended] == [[2, 2], [3, 3]]


def test_what_has_no_source_to_be_sent_is_explained():
    with pytest.raises(RuntimeError, match="can't be sent to another process: write a function"):
        in_processes(2, in_a_cell("f = lambda rank, count: rank\n", "f"))


def test_processes_end_with_the_notebook_that_started_them(tmp_path):
    source = f"import os, time\n\n{noted(tmp_path)}    time.sleep(600)\n"
    program = ("from test_processes import in_a_cell, in_processes\n"
               f"in_processes(2, in_a_cell({source!r}, 'work'), seconds=600)")
    notebook = subprocess.Popen([sys.executable, "-c", program], cwd=os.path.dirname(__file__))
    while len(list(tmp_path.iterdir())) < 2:
        assert notebook.poll() is None
        time.sleep(0.05)
    notebook.kill()
    notebook.wait()
    numbers = [int(path.name) for path in tmp_path.iterdir()]
    for _ in range(600):
        if not any(map(runs, numbers)):
            return
        time.sleep(0.05)
    raise AssertionError(f"{numbers} are still there")


def test_a_learners_function_is_taken_where_it_is_right():
    own = in_a_cell(OWN, "average_gradients")
    wrong = in_a_cell(OWN.replace("x / n", "x"), "average_gradients")
    assert yours_or_ours(own) is own
    assert yours_or_ours(wrong) is average_gradients
    blank = run(AVERAGE_GRADIENTS.stub.replace("TODO", "None"), "<stub>", {})["average_gradients"]
    assert yours_or_ours(blank) is average_gradients


def test_so_is_one_for_any_exercise_of_the_chapter():
    for name in ("flops_per_token", "fit_power_law"):
        course = getattr(scale, name)
        own, wrong = (in_a_cell(f"import math, torch\n{source}", name) for source in (
            inspect.getsource(course),
            inspect.getsource(course).replace("return ", "return 2, ")))
        assert yours_or_ours(own) is own
        assert yours_or_ours(wrong) is course
    with pytest.raises(ValueError, match=r"^<lambda> is no function of chapter 13's exercises"):
        yours_or_ours(lambda config: 0)
