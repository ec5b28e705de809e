"""Larger runs: two processes against one, killed workers, texts larger than the memory.

    python benchmarks/scale.py equal                  losses and weights of 1 and 2 processes
    python benchmarks/scale.py killed --times 10      a worker killed at so many random moments
    python benchmarks/scale.py text --megabytes 2000  memory to prepare and to train, interrupted
    python benchmarks/scale.py speed                  processes and threads; the command itself
    python benchmarks/scale.py precision              what numbers of 16 bits cost, chapter 13
"""

from __future__ import annotations

import argparse
import io
import json
import os
import random
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from contextlib import redirect_stdout
from pathlib import Path
from unittest import mock

from safetensors.torch import load_file

from gptcourse.experiments.precision import KINDS, loss_in
from gptlib import train
from gptlib.checkpoint import with_checkpoints
from gptlib.corpus import storybook
from gptlib.prepare import prepare
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer

MODEL = ["--context-length", "64", "--emb-dim", "64", "--n-heads", "4", "--n-layers", "2"]
TRAINING = ["--batch-size", "16", "--validation-tokens", "0", "--device", "cpu"]
TRAIN = [sys.executable, "-m", "gptlib.train"]
TWO = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2"]


def stories_file(folder: Path, n_stories: int) -> Path:
    """A token file of so many stories."""
    text = END_OF_TEXT.join(story.text for story in storybook.stories(n_stories, seed=1))
    (folder / "stories.txt").write_text(text)
    BPETokenizer.train(text[:300_000], 512).save(folder / "own.json")
    list(prepare([folder / "stories.txt"], folder / "stories.bin", str(folder / "own.json")))
    return folder / "stories.bin"


def arguments(text: Path, out: Path, steps: int, *more: str) -> list[str]:
    return [str(text), "--out", str(out), "--steps", str(steps), *MODEL, *TRAINING, *more]


def log_of(out: Path) -> list[dict]:
    return [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]


def difference(out: Path, other: Path) -> str:
    """The largest one between the losses and between the weights of two runs."""
    loss = max(abs(a["loss"] - b["loss"]) for a, b in zip(log_of(out), log_of(other), strict=True))
    ours, theirs = (load_file(path / "model.safetensors") for path in (out, other))
    weight = max((ours[name] - theirs[name]).abs().max().item() for name in ours)
    return f"losses to {loss:.1e}, weights to {weight:.1e}"


def run(command: list[str], **environment: str) -> subprocess.CompletedProcess:
    finished = subprocess.run(command, env={**os.environ, **environment}, capture_output=True,
                              text=True)
    if finished.returncode:
        sys.exit(finished.stderr)
    return finished


def equal(folder: Path, steps: int) -> None:
    """One process against two, and a run that begins with one, goes on with two, ends with one."""
    text = stories_file(folder, 2000)
    run([*TRAIN, *arguments(text, folder / "one", steps)])
    for name, more in {"DDP": [], "FSDP2": ["--shard"]}.items():
        run([*TWO, "-m", "gptlib.train", *arguments(text, folder / name, steps, *more)])
        print(f"{steps} steps, 1 process against 2 with {name}: "
              f"{difference(folder / 'one', folder / name)}", flush=True)
        crossing(text, folder / f"{name} crossing", steps, more)
        print(f"   ... and 1, then 2, then 1: "
              f"{difference(folder / 'one', folder / f'{name} crossing')}", flush=True)


def crossing(text: Path, out: Path, steps: int, more: list[str]) -> None:
    """A third of the steps with one process, a third with two, a third with one."""
    given = arguments(text, out, steps, "--checkpoint-steps", "1", "--resume")
    for part, command in enumerate([TRAIN, [*TWO, "-m", "gptlib.train"], TRAIN], start=1):
        both = part == 2
        process = subprocess.Popen([*command, *given, *(more if both else [])],
                                   stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        while part < 3 and process.poll() is None and n_lines(out) < steps * part // 3:
            time.sleep(0.01)
        if part < 3:
            process.send_signal(signal.SIGTERM)
        process.wait()


def n_lines(out: Path) -> int:
    path = out / "log.jsonl"
    return path.read_text().count("\n") if path.exists() else 0


def killed(folder: Path, times: int, steps: int) -> None:
    """SIGKILL for a worker at random moments of one run, which torchrun starts again each time."""
    text = stories_file(folder, 2000)
    run([*TRAIN, *arguments(text, folder / "one", steps)])
    given = arguments(text, folder / "two", steps, "--checkpoint-steps", "5", "--resume")
    process = subprocess.Popen([*TWO, f"--max-restarts={times}", "-m", "gptlib.train", *given],
                               stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    chances, done = random.Random(0), 0
    moments = sorted(chances.sample(range(2, steps), times))
    for moment in moments:
        while n_lines(folder / "two") < moment and process.poll() is None:
            time.sleep(0.002)
        workers = children(process.pid)
        if process.poll() is None and workers:
            os.kill(chances.choice(workers), signal.SIGKILL)
            done += 1
            wait_for_the_next(process, workers)
    process.wait()
    numbers = [line["step"] for line in log_of(folder / "two")]
    print(f"{done} kills, at steps {moments}; exit {process.returncode}; every step told once: "
          f"{numbers == list(range(1, steps + 1))}; {difference(folder / 'one', folder / 'two')}")


def children(pid: int) -> list[int]:
    """The processes that this one started (Linux only)."""
    path = Path(f"/proc/{pid}/task/{pid}/children")
    return [int(child) for child in path.read_text().split()] if path.exists() else []


def wait_for_the_next(process: subprocess.Popen, workers: list[int]) -> None:
    while process.poll() is None and set(children(process.pid)) & set(workers):
        time.sleep(0.01)


def text(folder: Path, megabytes: int, steps: int) -> None:
    """Prepare a long text, killed halfway, then train on it, with the most memory that was used."""
    path = folder / "long.txt"
    part = END_OF_TEXT.join(story.text for story in storybook.stories(10_000, seed=1))
    with path.open("w") as file:
        for _ in range(max(1, megabytes * 1_000_000 // len(part))):
            file.write(part + END_OF_TEXT)
    size = path.stat().st_size
    BPETokenizer.train(part[:300_000], 512).save(folder / "own.json")
    command = [sys.executable, "-m", "gptlib.prepare", str(path), "--tokenizer",
               str(folder / "own.json"), "--workers", "2", "--out", str(folder / "long.bin")]
    half = watched(command, lambda: done_share(folder / "long.json") >= 0.5)
    print(f"{size / 1e6:,.0f} MB of text; half of it prepared with at most {half:,.0f} MB in all "
          "processes, then killed", flush=True)
    print(f"the rest: at most {watched(command):,.0f} MB", flush=True)
    bare = [*TRAIN, *arguments(stories_file(folder, 2000), folder / "short", steps)]
    given = arguments(folder / "long.bin", folder / "long", steps, "--checkpoint-steps", "20")
    print(f"a run of {steps} steps: at most {watched(bare):,.0f} MB on 0.4 MB of text, and "
          f"{watched([*TRAIN, *given]):,.0f} MB on all of it", flush=True)


def done_share(path: Path) -> float:
    if not path.exists():
        return 0.0
    facts = json.loads(path.read_text())
    return facts["pieces_done"] / facts["pieces"]


def watched(command: list[str], enough=lambda: False) -> float:
    """Run a command, or kill it when that is enough. -> the most memory of its processes together,
    in MB, without pages of files, which the system takes back when it needs them (Linux only)."""
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, start_new_session=True)
    most = 0.0
    while process.poll() is None:
        family = [process.pid, *children(process.pid)]
        most = max(most, sum(own_memory(pid) for pid in family))
        if enough():
            os.killpg(process.pid, signal.SIGKILL)
        time.sleep(0.05)
    return most


def own_memory(pid: int) -> float:
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0
    return sum(int(line.split()[1]) for line in lines if line.startswith("RssAnon")) / 1000


def speed(folder: Path, steps: int) -> None:
    """Processes against threads, by the median step; and what the command itself costs."""
    path = stories_file(folder, 2000)
    contestants = {"1 process x 2 threads": TRAIN,
                   "2 processes x 1 thread": [*TWO, "-m", "gptlib.train"]}
    rates: dict[str, list[float]] = {name: [] for name in contestants}
    for turn in range(3):
        for name, command in contestants.items():
            out = folder / f"{name} {turn}"
            run([*command, *arguments(path, out, steps)], OMP_NUM_THREADS=name[-8])
            rates[name] += [line["tokens_per_second"] for line in log_of(out)[5:]]
    for name, rate in rates.items():
        print(f"{name}: {statistics.median(rate):,.0f} tokens/s", flush=True)
    shares = [own_share(arguments(path, folder / f"command {turn}", steps)) for turn in range(5)]
    print(f"the command's own work is {statistics.median(shares):.2%} of the processors' time "
          f"({min(shares):.2%} to {max(shares):.2%}); all else is a loop over TrainingRun")


def own_share(given: list[str]) -> float:
    """What the command does between two steps: a line in the log, and now and then on the screen.

    -> its share of the time in which the processors were busy with the run's steps and with it"""
    own, started = 0.0, 0.0

    def steps_of(*run, **settings):
        nonlocal own, started
        started = time.process_time()                 # the text is read, and the model made
        for step in with_checkpoints(*run, **settings):
            before = time.process_time()
            yield step
            own += time.process_time() - before

    with mock.patch.object(train, "with_checkpoints", steps_of), redirect_stdout(io.StringIO()):
        train.main(given)
    return own / (time.process_time() - started)


def precision() -> None:
    """The losses of chapter 13's small model, from three seeds, with more and more in bf16."""
    for kind in KINDS:
        print(f"{kind}: {', '.join(f'{loss_in(kind, seed):.3f}' for seed in range(3))}", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("equal", "killed", "text", "speed", "precision"))
    parser.add_argument("--steps", type=int, default=50, help="of each run")
    parser.add_argument("--times", type=int, default=10, help="that a worker is killed")
    parser.add_argument("--megabytes", type=int, default=2000, help="of text")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        if given.what == "equal":
            equal(folder, given.steps)
        elif given.what == "killed":
            killed(folder, given.times, given.steps)
        elif given.what == "text":
            text(folder, given.megabytes, given.steps)
        elif given.what == "precision":
            precision()
        else:
            speed(folder, given.steps)


if __name__ == "__main__":
    main()
