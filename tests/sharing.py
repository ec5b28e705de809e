"""What two processes do for tests/test_devices.py: `python sharing.py FOLDER PORT PORT`, once for
each; they meet at one port for each way to share.

Each kind of run is on the same text with the same settings as the one of a single process, which
lies in the folder already: its checkpoint after four steps.
"""

import json
import os
import sys
from pathlib import Path

import torch
from helpers import TINY, random_ids, tiny_model

from gptlib.checkpoint import load_newest_run, load_run, save_run, whole_model, with_checkpoints
from gptlib.config import GPTConfig
from gptlib.devices import joined
from gptlib.training import TrainConfig, TrainingDiverged, TrainingRun

TEXT = random_ids(600)
SETTINGS = {"batch_size": 4, "warmup_steps": 2, "evaluate_every": 3, "accumulation": 2}
TIED = GPTConfig.of({**TINY.to_dict(), "tie_weights": True})


def run_of(steps, device, **settings):
    model = tiny_model(config=TIED)
    return TrainingRun(model, TEXT, TEXT[:90], TrainConfig(steps, **{**SETTINGS, **settings}),
                       device=device)


def share(folder: Path, shard: bool) -> None:
    kind = "shard" if shard else "copies"
    with joined("cpu", shard) as processes:
        run = run_of(8, processes)
        seen = [run.batches.at(0)[0]]
        run._compute = looking(run._compute, seen)
        for _ in run:
            pass
        save_run(run, folder / f"{kind}-whole.safetensors")
        torch.save(seen, folder / f"{kind}-seen-{processes.rank}.pt")

        begun = load_run(folder / "one.safetensors", TEXT, TEXT[:90], device=processes)
        next(begun), next(begun)
        save_run(begun, folder / f"{kind}-middle.safetensors")

        counted = [exchanges_of_gradients(run_of(1, processes, accumulation=n)) for n in (1, 2)]
        Path(folder, f"{kind}-counted-{processes.rank}.json").write_text(json.dumps(counted))

        stops = with_checkpoints(run_of(8, processes), folder / f"{kind}-stopped",
                                 stop=lambda: processes.rank == 1)
        newest = sum(1 for _ in stops)                     # one of them wants to stop: both do
        processes.anyone(False)
        newest += load_newest_run(folder / f"{kind}-stopped", TEXT, TEXT[:90],
                                  device=processes).step

        astray = run_of(8, processes, learning_rate=1e30, warmup_steps=0)
        before = [weight.clone() for weight in whole_model(astray).parameters()]
        try:
            for _ in astray:
                pass
        except TrainingDiverged as error:
            after = whole_model(astray).parameters()
            same = all(map(torch.equal, after, before)) if processes.first else True
            told = [str(error), same, astray.step, newest]
            Path(folder, f"{kind}-{processes.rank}.json").write_text(json.dumps(told))


def exchanges_of_gradients(run):
    """How often gradients are exchanged in the first step of a run."""
    with torch.profiler.profile() as seen:
        next(run)
    return sum(event.name == "gloo:all_reduce" for event in seen.events())


def looking(compute, seen):
    def forward(ids):
        seen.append(ids)
        return compute(ids)
    return forward


if __name__ == "__main__":
    torch.set_num_threads(1)
    for shard, port in enumerate(sys.argv[2:]):
        os.environ["MASTER_PORT"] = port
        share(Path(sys.argv[1]), bool(shard))
