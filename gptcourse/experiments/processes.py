"""Several processes that share a training, started from a notebook: chapter 13."""

from __future__ import annotations

import inspect
import linecache
import os
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import torch
import torch.distributed as dist
from torch import Tensor, nn

from gptcourse.exercises import scale
from gptcourse.exercises.checking import judge
from gptcourse.exercises.keeping import from_around
from gptcourse.exercises.page import run
from gptcourse.exercises.scale import average_gradients
from gptcourse.exercises.trial import Raised, attempt
from gptlib.config import GPTConfig
from gptlib.corpus import storybook
from gptlib.data import Batches, join_documents, windows
from gptlib.model import GPTModel
from gptlib.storyteller import storyteller
from gptlib.training import next_token_loss

SMALL = GPTConfig(vocab_size=960, context_length=64, emb_dim=64, n_heads=4, n_layers=2,
                  drop_rate=0.0, qkv_bias=False)


class SharedRun(NamedTuple):
    """What came of a training that processes shared."""

    losses: list[float]    # of the whole batch, for each step
    weights: Tensor        # (processes, all weights) at the end


def shared_training(processes: int, average: Callable = average_gradients,
                    steps: int = 10) -> SharedRun:
    """A small model learns from batches of 16 windows. Several processes compute equal parts of
    each, at the same time, and average(model, processes) makes their gradients one.

    Raises a RuntimeError where a process fails, with the line in which it did.
    """
    if processes == 1:
        with torch.random.fork_rng(devices=[]):
            ended = [_train(0, 1, average, steps)]
    else:
        ended = in_processes(processes, _train, average, steps)
    losses, weights = zip(*ended, strict=True)
    return SharedRun(torch.tensor(losses).mean(dim=0).tolist(), torch.stack(weights))


def yours_or_ours(answer: Callable) -> Callable:
    """A learner's function for an exercise of this chapter where it's right, until then the
    course's, which has the same name."""
    name = getattr(answer, "__name__", "")
    exercise = next((one for one in scale.EXERCISES if one.defines == name), None)
    if exercise is None:
        raise ValueError(f"{name or repr(answer)} is no function of chapter 13's exercises: define "
                         "it under its name, with def.")
    return answer if judge(exercise, answer)[0] == "right" else getattr(scale, name)


def _train(rank: int, processes: int, average: Callable, steps: int) -> tuple[list, Tensor]:
    """What one of the processes does: all begin alike, and each reads its own rows."""
    ids = join_documents([story.text for story in storybook.stories(200, seed=1)], storyteller()[1])
    batches = Batches(*windows(torch.tensor(ids), SMALL.context_length), batch_size=16, seed=0)
    torch.manual_seed(0)
    model, losses = GPTModel(SMALL), []
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    for step in range(steps):
        inputs, targets = (x[rank::processes] for x in batches.at(step))     # (B / processes, T)
        loss = next_token_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        if processes > 1:
            average(model, processes)
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        losses.append(loss.item())
    return losses, nn.utils.parameters_to_vector(model.parameters()).detach()


# ------------------------------------------------------------ a function in several new processes

STARTED = "from gptcourse.experiments import processes; processes.work()"
LOOPBACK = {"linux": "lo", "darwin": "lo0"}        # the interface by which a machine reaches itself


def in_processes(count: int, function: Callable, *given: Any, seconds: float = 180) -> list:
    """What function(rank, count, *given) returns in each of `count` new processes, which reach each
    other by torch.distributed (gloo): numbers, texts, tensors, and lists of them.

    What is given may be such, too, or functions, also those of a notebook's cells: their source is
    sent. Raises a RuntimeError where a process fails, or they work for more than so many `seconds`.
    """
    sent: dict[str, str] = {}
    task = [("function" if callable(x) else "value", _send(x, sent) if callable(x) else x)
            for x in (function, *given)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)}
    if sys.platform in LOOPBACK:
        environment.setdefault("GLOO_SOCKET_IFNAME", LOOPBACK[sys.platform])
    with tempfile.TemporaryDirectory() as name:
        torch.save({"sent": sent, "task": task, "seconds": seconds}, Path(name, "task"))
        started = [
            subprocess.Popen([sys.executable, "-c", STARTED, name, str(rank), str(count)],
                             env=environment, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
                             stderr=subprocess.DEVNULL)
            for rank in range(count)
        ]
        try:
            _wait(started, Path(name), seconds)
        finally:                                   # none of them stays, whatever happened
            for process in started:
                process.kill()
                process.communicate()
        return [torch.load(Path(name, f"{rank}"), weights_only=True) for rank in range(count)]


def _send(value: Any, sent: dict[str, str], name: str = "") -> str:
    """Put into `sent` what defines a function elsewhere, and before it all that it takes from the
    cells around it.  -> the name under which it stands there"""
    own, home = getattr(value, "__name__", ""), getattr(value, "__module__", "")
    name = name or own
    if name in sent:
        return name
    if isinstance(value, ModuleType):
        sent[name] = f"import {own} as {name}\n"
    elif home != "__main__" and getattr(sys.modules.get(home), own, None) is value:
        sent[name] = f"from {home} import {own} as {name}\n"
    elif inspect.isfunction(value) and own.isidentifier():
        source = textwrap.dedent(inspect.getsource(value))
        around = {**value.__globals__, **inspect.getclosurevars(value).nonlocals}
        for used in sorted(from_around(source) & {*around} - {own}):
            _send(around[used], sent, used)
        sent[name] = source if name == own else f"{source}\n{name} = {own}\n"
    elif isinstance(value, (int, float, str, type(None))):
        sent[name] = f"{name} = {value!r}\n"
    else:
        raise RuntimeError(
            f"{name or value!r} can't be sent to another process: write a function, with def, that "
            "takes nothing from around it but modules, functions and plain numbers.")
    return name


def _wait(started: list[subprocess.Popen], folder: Path, seconds: float) -> None:
    """Until all have ended well; the time counts from when all have begun. Raises a RuntimeError
    where one doesn't."""
    end = float("inf")
    while None in (codes := [process.poll() for process in started]) and not any(codes):
        if end == float("inf") and (folder / "begun").exists():
            end = time.monotonic() + seconds
        if time.monotonic() > end:
            raise RuntimeError(
                f"After {seconds:.0f} seconds the processes haven't come to an end: perhaps one "
                "waits for another, for all must make the same calls of torch.distributed.")
        time.sleep(0.02)
    if any(codes):
        told = sorted(folder.glob("*.failed"), key=lambda path: path.stat().st_mtime_ns)
        raise RuntimeError(told[0].read_text(encoding="utf-8") if told else (
            "One of the processes was ended from outside, perhaps for want of memory."))


def work() -> None:
    """What runs in a new process."""
    folder, rank, count = Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])
    threading.Thread(target=_end_with_the_notebook, daemon=True).start()
    torch.set_num_threads(1)
    given = torch.load(folder / "task", weights_only=True)
    definitions: dict[str, Any] = {}
    for name, source in given["sent"].items():
        file = f"<{name}>"
        linecache.cache[file] = (len(source), None, source.splitlines(keepends=True), file)
        definitions = run(source, file, definitions)
    function, *arguments = (definitions[value] if kind == "function" else value
                            for kind, value in given["task"])
    store = dist.FileStore(str(folder / "store"), count)
    dist.init_process_group("gloo", store=store, rank=rank, world_size=count,
                            timeout=timedelta(seconds=given["seconds"]))
    (folder / "begun").touch()                     # all have, for each waits there for the others
    result = attempt(function, (rank, count, *arguments))
    if isinstance(result, Raised):
        place = f", {result.where}" if result.where else ""
        reason = ("it waited for another process, which had come to its end: all must make the "
                  "same calls of torch.distributed." if " by peer" in result.what
                  else result.what)
        (folder / f"{rank}.failed").write_text(f"In process {rank}{place}: {reason}",
                                               encoding="utf-8")
    else:
        torch.save(result, folder / f"{rank}")
    os._exit(isinstance(result, Raised))           # at once, whatever the others wait for


def _end_with_the_notebook() -> None:
    sys.stdin.read()                               # it comes to an end when who started this does
    os._exit(1)
