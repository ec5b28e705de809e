"""Kill a run at random moments, go on from its newest checkpoint, and ask: was anything lost?

    python tests/reliability/kills.py [--kills 50]

A run that saves itself after every step is ended by SIGKILL, which nothing can catch. Every other
time that happens while a checkpoint is half written. Each checkpoint on the disk must then be
readable, and when the run has come to its end at last, weights and history must be those of a run
that nobody touched, bit by bit.
"""

from __future__ import annotations

import argparse
import multiprocessing
import random
import signal
import sys
import tempfile
import time
import warnings
from dataclasses import astuple
from pathlib import Path

import torch

sys.path.insert(0, str(Path(__file__).parent.parent))
from helpers import TINY, random_ids, tiny_model

from gptlib.checkpoint import load_newest_run, load_run, with_checkpoints
from gptlib.config import GPTConfig
from gptlib.training import TrainConfig, TrainingRun

TEXT, VALIDATION = random_ids(600), random_ids(90, seed=2)
SETTINGS = TrainConfig(60, batch_size=4, optimizer="muon", warmup_steps=5, evaluate_every=7)


def new_run() -> TrainingRun:
    """With dropout, so that random numbers have to come back, too."""
    model = tiny_model(config=GPTConfig(**{**TINY.to_dict(), "emb_dim": 128, "drop_rate": 0.1}))
    return TrainingRun(model, TEXT, VALIDATION, SETTINGS, device="cpu")


def go_on(folder: Path) -> None:
    """What the process does that is killed: begin or go on, and save after every step."""
    torch.set_num_threads(1)
    try:
        run = load_newest_run(folder, TEXT, VALIDATION, device="cpu")
    except FileNotFoundError:
        run = new_run()
    for _ in with_checkpoints(run, folder, every_steps=1, keep=2):
        pass


def state(run: TrainingRun) -> tuple:
    """All that has to be the same in the end; only the speed of a step never is."""
    weights = [weight.detach().numpy().tobytes() for weight in run.model.parameters()]
    return weights, [astuple(step)[:-1] for step in run.history]


def ended(folder: Path, chance: random.Random, while_saving: bool) -> int:
    """Let a process go on with the run, and kill it.  -> its exit code, 0 where it was faster"""
    process = multiprocessing.get_context("fork").Process(target=go_on, args=(folder,))
    process.start()
    time.sleep(chance.uniform(0, 0.6))
    while while_saving and process.is_alive() and not list(folder.glob(".step-*.tmp")):
        pass
    process.kill()
    process.join()
    return process.exitcode


def all_readable(folder: Path) -> bool:
    """Whether each checkpoint can be loaded; one that was passed over counts as well."""
    try:
        for path in folder.glob("step-*.safetensors"):
            load_run(path, TEXT, VALIDATION, device="cpu")
    except (ValueError, OSError):
        return False
    return not list(folder.glob("*.unreadable"))


def end(folder: Path) -> tuple | None:
    """The state at the end of the run, as its last file has it; None where it does not get there"""
    try:
        go_on(folder)
        return state(load_newest_run(folder, TEXT, VALIDATION, device="cpu"))
    except (ValueError, OSError):
        return None


def kills(number: int, seed: int = 0) -> tuple[int, int]:
    """Kill runs `number` times.  -> how often that was tried, how often something was lost

    To be called in a process that has not computed with several threads: it forks.
    """
    warnings.simplefilter("ignore")              # a file that is passed over is counted, not told
    torch.set_num_threads(1)
    straight = new_run()
    for _ in straight:
        pass
    expected, chance, tried, lost = state(straight), random.Random(seed), 0, 0
    while tried < number:
        with tempfile.TemporaryDirectory() as name:
            folder, code = Path(name), None
            while tried < number and code in (None, -signal.SIGKILL):
                code = ended(folder, chance, while_saving=tried % 2 == 1)
                tried += code != 0
                lost += code not in (0, -signal.SIGKILL) or not all_readable(folder)
            lost += end(folder) != expected
    return tried, lost


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    started = time.monotonic()
    tried, lost = kills(arguments.kills, arguments.seed)
    print(f"{tried} kills in {time.monotonic() - started:.0f} s: {lost or 'nothing'} lost")
    return lost > 0


if __name__ == "__main__":
    sys.exit(main())
