"""A disk that is full while a file is written: the former file survives, the error says so."""

import subprocess
import sys
from pathlib import Path

import pytest

resource = pytest.importorskip("resource", reason="limits on a file's size are a POSIX feature")

# A limit on the size of files refuses the write half-way, as a full disk does.
PROGRAM = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from helpers import lively_model
from gptlib import save_model
from gptlib.tokenizer import BPETokenizer

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
tokenizer = BPETokenizer.train("she sells sea shells " * 20 + "by the sea shore", 270)
model = lively_model(seed=5)
for save in (lambda path: save_model(model, path)), tokenizer.save:
    try:
        save(sys.argv[2])
    except OSError as error:
        print(error)
"""


def test_the_former_file_survives_a_full_disk(tmp_path):
    """Whether a model or a tokenizer was to take its place."""
    path = tmp_path / "former"
    path.write_bytes(b"the former file")
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tests, path], capture_output=True, text=True
    )
    refused = done.stdout.splitlines()
    assert len(refused) == 2, done.stderr
    assert all("what was there before is unchanged: free some space" in each for each in refused)
    assert path.read_bytes() == b"the former file"
    assert list(tmp_path.iterdir()) == [path]


# A run of which the first checkpoint fits, and the next one does not: then there is room again.
RUN = """
import dataclasses, resource, signal, sys
sys.path.insert(0, sys.argv[1])
from pathlib import Path
from helpers import random_ids, tiny_model
from gptlib import TrainConfig, TrainingRun, load_newest_run, with_checkpoints

def new_run():
    text = random_ids(600)
    return TrainingRun(tiny_model(), text, text[:90], TrainConfig(9, batch_size=4), device="cpu")

def measured(run):
    return [dataclasses.astuple(step)[:-1] for step in run.history]

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
straight, run, folder = new_run(), new_run(), Path(sys.argv[2])
list(straight)
try:
    for step in with_checkpoints(run, folder, every_steps=3, keep=1):
        resource.setrlimit(resource.RLIMIT_FSIZE, (2000, resource.RLIM_INFINITY))
except OSError as error:
    print(error)
print(run.step, sorted(path.name for path in folder.iterdir()))
resource.setrlimit(resource.RLIMIT_FSIZE, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
again = load_newest_run(folder, random_ids(600), random_ids(600)[:90], device="cpu")
list(with_checkpoints(run, folder, every_steps=3, keep=1)), list(again)
print(measured(run) == measured(again) == measured(straight))
"""


def test_a_run_whose_checkpoint_meets_a_full_disk_keeps_the_former_and_goes_on(tmp_path):
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", RUN, tests, tmp_path], capture_output=True, text=True
    )
    refused, left, same = done.stdout.splitlines()
    assert "step-000000003.safetensors could not be written" in refused, done.stderr
    assert "what was there before is unchanged: free some space" in refused
    assert left == "3 ['step-000000000.safetensors']"
    assert same == "True"
