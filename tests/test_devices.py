"""Two processes on this machine's CPU do as one does."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from sharing import TEXT, run_of

from gptlib import devices, train
from gptlib.checkpoint import load_run, save_run
from gptlib.devices import Processes, checked_device, joined
from gptlib.prepare import prepare
from gptlib.tokenizer import BPETokenizer

KINDS = ["copies", "shard"]


def free_port():
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        return held.getsockname()[1]


def environment(rank, count=2, **more):
    return {"RANK": str(rank), "LOCAL_RANK": str(rank), "WORLD_SIZE": str(count),
            "MASTER_ADDR": "127.0.0.1", "GLOO_SOCKET_IFNAME": "lo", **more}


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """What one process computed, and what two made of the same."""
    folder = tmp_path_factory.mktemp("shared")
    run = run_of(8, "cpu")
    for step in run:
        if step.step == 4:
            save_run(run, folder / "one.safetensors")
    save_run(run, folder / "one-whole.safetensors")
    ports = [free_port(), free_port()]
    command = [sys.executable, Path(__file__).with_name("sharing.py"), folder, *map(str, ports)]
    both = [
        subprocess.Popen(command, env={**os.environ, **environment(rank)},
                         stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
        for rank in range(2)
    ]
    told = [process.communicate(timeout=300)[0] for process in both]
    assert [process.returncode for process in both] == [0, 0], told
    return folder


def losses(tensors):
    return tensors["history"][:, [2, 3, 5]]      # training, validation, and the gradient's norm


def close(path, other):
    ours, theirs = load_file(path), load_file(other)
    assert ours.keys() == theirs.keys()
    for name, tensor in ours.items():
        if name == "history":
            assert torch.allclose(losses(ours), losses(theirs), rtol=0, atol=1e-5)
        else:
            assert torch.allclose(tensor, theirs[name], rtol=0, atol=1e-4), name


@pytest.mark.parametrize("kind", KINDS)
def test_two_processes_learn_what_one_learns(folder, kind):
    """Losses to 1e-5, weights and averages to 1e-4, with accumulation and a tied head."""
    close(folder / f"{kind}-whole.safetensors", folder / "one-whole.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_each_process_computes_its_part_of_a_batch(folder, kind):
    first, second = (torch.load(folder / f"{kind}-seen-{rank}.pt") for rank in range(2))
    assert torch.equal(first[0], second[0]) and len(first[0]) == 4
    parts = torch.cat([*first[1:3], *second[1:3]])
    assert sorted(parts.tolist()) == sorted(first[0].tolist())


@pytest.mark.parametrize("kind", KINDS)
def test_gradients_are_exchanged_once_in_a_step_in_however_many_parts_a_batch_is(folder, kind):
    for rank in range(2):
        whole, parts = json.loads((folder / f"{kind}-counted-{rank}.json").read_text())
        assert whole == parts > 0


@pytest.mark.parametrize("kind", KINDS)
def test_a_checkpoint_goes_from_one_process_to_two_and_back(folder, kind):
    run = load_run(folder / f"{kind}-middle.safetensors", TEXT, TEXT[:90], device="cpu")
    assert run.step == 6
    for _ in run:
        pass
    save_run(run, folder / f"{kind}-back.safetensors")
    close(folder / f"{kind}-back.safetensors", folder / "one-whole.safetensors")


@pytest.mark.parametrize("kind", KINDS)
def test_what_one_decides_all_do(folder, kind):
    """A loss that goes astray, and a wish to stop, which came to the second process only."""
    for rank in range(2):
        error, same, step, newest = json.loads((folder / f"{kind}-{rank}.json").read_text())
        assert "the run went back to step 0" in error
        assert (same, step, newest) == (True, 0, 2)


KILLED = """
import os, signal, sys
from gptlib import train
from gptlib.training import TrainingRun

take_step = TrainingRun._take_step

def killed_at_step_7(run):
    if run.step == 7 and os.environ["TORCHELASTIC_RESTART_COUNT"] == "0" and run.processes.rank:
        open(os.path.join(os.path.dirname(__file__), "was killed"), "w").close()
        os.kill(os.getpid(), signal.SIGKILL)
    take_step(run)

TrainingRun._take_step = killed_at_step_7
sys.exit(train.main())
"""


def test_after_a_killed_worker_the_run_goes_on_from_its_last_checkpoint(tmp_path):
    text = "Mia the cat went out. She saw a boat, and the boat saw her.\n"
    (tmp_path / "text.txt").write_text(40 * text)
    (tmp_path / "killed.py").write_text(KILLED)
    BPETokenizer.train(text, 270).save(tmp_path / "own.json")
    list(prepare([tmp_path / "text.txt"], tmp_path / "text.bin", str(tmp_path / "own.json")))
    settings = {"device": "cpu", "steps": 10, "batch_size": 4, "context_length": 8, "emb_dim": 16,
                "n_heads": 2, "n_layers": 1, "checkpoint_steps": 3, "resume": True}
    lines = [f"{name} = {json.dumps(value)}" for name, value in settings.items()]
    (tmp_path / "run.toml").write_text("\n".join(lines))
    arguments = [str(tmp_path / "text.bin"), "--config", str(tmp_path / "run.toml"), "--out"]
    assert train.main([*arguments, str(tmp_path / "one")]) == 0
    finished = subprocess.run(
        [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2",
         "--max-restarts=1", str(tmp_path / "killed.py"), *arguments, str(tmp_path / "two")],
        env={**os.environ, "GLOO_SOCKET_IFNAME": "lo"}, capture_output=True, text=True, timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    one, two = ([json.loads(line) for line in (tmp_path / name / "log.jsonl").open()]
                for name in ("one", "two"))
    assert (tmp_path / "was killed").exists()
    assert [line["step"] for line in two] == list(range(1, 11))
    assert [line["tokens"] for line in two] == [line["tokens"] for line in one]
    expected = pytest.approx([line["loss"] for line in one], abs=1e-5)
    assert [line["loss"] for line in two] == expected


# -- what cannot be ------------------------------------------------------------------------------


def test_a_port_in_use_is_named(monkeypatch):
    with socket.socket() as held:
        held.bind(("127.0.0.1", 0))
        held.listen()
        port = str(held.getsockname()[1])
        for name, value in environment(0, MASTER_PORT=port).items():
            monkeypatch.setenv(name, value)
        with pytest.raises(OSError, match=rf"at 127\.0\.0\.1:{port} .*the port may be in use"), \
                joined("cpu"):
            pass


@pytest.mark.parametrize(("processes", "settings", "words"), [
    (Processes(torch.device("cpu"), 0, 3), (16, 1, "adamw"),
     "batch_size=16 windows cannot be shared equally by 3 processes: choose a multiple of 3"),
    (Processes(torch.device("cpu"), 0, 2), (6, 2, "adamw"),
     "by 2 processes in accumulation=2 parts each: choose a multiple of 4"),
    (Processes(torch.device("cpu"), 0, 64), (16, 1, "adamw"), "by 64 processes: .*or fewer"),
    (Processes(torch.device("cpu"), 0, 2, True), (16, 1, "muon"),
     "optimizer is muon, which looks at whole matrices, but shard"),
])
def test_settings_that_cannot_be_shared_are_explained(processes, settings, words):
    with pytest.raises(ValueError, match=words):
        processes.check(*settings)


def test_each_process_of_a_machine_takes_a_gpu_of_its_own(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    assert [checked_device(None, number) for number in (None, 0, 1)] == [
        torch.device(f"cuda:{number}") for number in (0, 0, 1)]
    with pytest.raises(ValueError, match="no device 'cuda:2' here: .*cuda:1, or fewer processes"):
        checked_device("cuda", 2)


def test_no_two_processes_drop_out_the_same():
    cpu = torch.device("cpu")
    assert [Processes(cpu, rank, 3).own_seed for rank in range(3)] == [(), (1,), (2,)]


def test_alone_nothing_is_exchanged():
    alone = Processes.of("cpu")
    assert (alone.sum(0.1), alone.anyone(True, False), alone.first) == (0.1, [True, False], True)
    model = torch.nn.Linear(2, 2)
    assert alone.spread(model) is model and not devices.dist.is_initialized()
    with pytest.raises(OSError, match="disk is full"):
        alone.first_does(full_disk)


def full_disk():
    raise OSError("disk is full")
