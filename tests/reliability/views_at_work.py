"""Views that are moved for a long time, and while other things happen in the same kernel.

Each function returns how often something was tried, and what was lost: a sentence for each loss.
The tests call them with small numbers, a longer command with large ones.
"""

import gc
import os
import random
import threading
from pathlib import Path

import ipywidgets as widgets
import numpy as np
import torch
from helpers import lively_model
from views.samples import MAKERS, SMALL, TEXT, dashboard, tokenizer

from gptcourse import views
from gptcourse.views.base import View
from gptlib.training import TrainConfig, TrainingRun

MOST_GROWTH = 50 * 2**20               # bytes, after the first time
TEXTS = ("The cat sat", "A hat for the dog", "The dog sat on the mat.")


def controls(view) -> list[widgets.Widget]:
    return [part for part in view.children[0].children if hasattr(part, "value")
            and not isinstance(part, widgets.HTML)]


def move(view, number: int) -> None:
    """Move one control of the view, as a learner does; `number` says which, and where to."""
    if isinstance(view, View):
        movable = [control for control in controls(view) if not control.disabled]
        _turn(movable[number % len(movable)], number)
    elif view.has_trait("prompt"):
        view.prompt = TEXTS[number % len(TEXTS)]
    else:
        view.checkpoint = number % 3


def _turn(control, number: int) -> None:
    if hasattr(control, "options"):
        options = [option[1] if isinstance(option, tuple) else option for option in control.options]
        control.value = options[number % len(options)]
    elif isinstance(control.value, bool):
        control.value = not control.value
    elif isinstance(control.value, str):
        control.value = TEXTS[number % len(TEXTS)]
    elif isinstance(control.value, float):
        control.value = control.min + (number % 7) / 7 * (control.max - control.min)
    else:
        control.value = control.min + number % min(control.max - control.min + 1, 12)


# ------------------------------------------------------------------------- while a cell trains


def moved_while_a_cell_trains(n_steps: int = 20, moves: int = 12) -> tuple[int, list[str]]:
    """Two views are moved in threads of their own while a run goes on in this one: one looks into
    the model that learns, one into another. The run's losses are those of a run without views,
    bit by bit, and the second view's numbers are those that it has alone."""
    alone = views.GenerationStepper(lively_model(config=SMALL), tokenizer(), "The cat")
    expected = [_numbers(alone, number) for number in range(moves)]
    quiet = [step.loss for step in _run(n_steps)]

    run = _run(n_steps)
    watcher = views.AttentionExplorer(run.model, tokenizer(), "The cat")
    other = views.GenerationStepper(lively_model(config=SMALL), tokenizer(), "The cat")
    found, over, begun = [], threading.Event(), threading.Barrier(3)

    def move_watcher() -> None:
        begun.wait()
        number = 0
        while not over.is_set():
            watcher.prompt = TEXTS[number % len(TEXTS)]
            number += 1

    def move_other() -> None:
        begun.wait()
        found.extend(_numbers(other, number) for number in range(moves))

    threads = [threading.Thread(target=move_watcher), threading.Thread(target=move_other)]
    for thread in threads:
        thread.start()
    begun.wait()
    losses = [step.loss for step in run]
    threads[1].join()
    over.set()
    threads[0].join()
    lost = [f"step {n} of the run has loss {new!r} beside views, {old!r} without"
            for n, (old, new) in enumerate(zip(quiet, losses, strict=True), 1) if old != new]
    lost += [f"move {n} shows other numbers while a cell trains"
             for n, (old, new) in enumerate(zip(expected, found, strict=True)) if old != new]
    lost += [f"{view!r}" for view in (watcher, other) if view.last_error is not None]
    return n_steps + moves, lost


def _run(n_steps: int) -> TrainingRun:
    ids = tokenizer().encode(TEXT)
    config = TrainConfig(steps=n_steps, batch_size=4, evaluate_every=10)
    return TrainingRun(lively_model(config=SMALL), ids, ids[:100], config, "cpu")


def _numbers(view, number: int) -> list:
    view.prompt.value = TEXTS[number % len(TEXTS)]
    view.step()
    return [*view.shown["ids"], *view.shown["probabilities"].tolist()]


# ----------------------------------------------------------------------------- random numbers


def random_numbers_left_alone(moves: int = 6) -> tuple[int, list[str]]:
    """No view seeds, draws from or puts back the random numbers of torch, NumPy or Python."""
    tried, lost = 0, []
    for name, make in MAKERS.items():
        make()                          # the models that the samples share are made by now
        torch.manual_seed(1), np.random.seed(1), random.seed(1)
        before, calls = _random_state(), []
        former = torch.set_rng_state, torch.manual_seed
        torch.set_rng_state = torch.manual_seed = calls.append
        try:
            view = make()
            for number in range(moves):
                move(view, number)
            if name == "TrainingDashboard":
                view.steps.value, view.batch.value = 10, 2
                for control, value in ((view.width, 32), (view.heads, 4), (view.layers, 1)):
                    control.value = value
                view.start()
                view.wait()
        finally:
            torch.set_rng_state, torch.manual_seed = former
        tried += 1
        if calls or _random_state() != before:
            lost.append(f"{name} touches the random numbers of others")
    return tried, lost


def _random_state() -> tuple:
    return (torch.get_rng_state().numpy().tobytes(), random.getstate(),
            np.random.get_state()[1].tobytes(), np.random.get_state()[2])


# -------------------------------------------------------------------------------- endurance


def updates_of_every_view(n_updates: int = 200, warm_up: int = 16) -> tuple[int, list[str]]:
    """Each view of the kernel is moved so often; memory, threads, hooks and figures stay.

    By the end of the `warm_up`, each control has moved and all that is made once is there."""
    tried, lost = 0, []
    for name in MAKERS:
        if issubclass(getattr(views, name), View):
            view = MAKERS[name]()
            for number in range(warm_up):
                move(view, number)
            lost += _kept(name, lambda view=view: [move(view, n) for n in range(n_updates)],
                          getattr(view, "model", None))
            view.close()
            tried += n_updates
    return tried, lost


def trainings_in_one_kernel(n_runs: int = 10, n_steps: int = 12) -> tuple[int, list[str]]:
    """The dashboard trains so often; memory, threads, hooks and figures stay."""
    view = dashboard()
    view.steps.value = n_steps

    def train(times: int) -> None:
        for _ in range(times):
            view.start()
            view.wait()
            assert view.last_error is None, view.last_error

    train(1)
    lost = _kept("TrainingDashboard", lambda: train(n_runs - 1), None)
    lost += [f"a hook stays on {type(module).__name__} after a run"
             for module in view.run.model.modules() if _hooks(module)]
    view.close()
    return n_runs, lost


def _kept(name: str, act, model) -> list[str]:
    """What `act` leaves behind, a sentence for each."""
    before = _inventory()
    act()
    after = _inventory()
    lost = []
    if after["memory"] - before["memory"] > MOST_GROWTH:
        lost.append(f"{name}: memory grows by {(after['memory'] - before['memory']) >> 20} MiB")
    for what in ("threads", "figures", "widgets"):
        if after[what] > before[what]:
            lost.append(f"{name}: {after[what] - before[what]} {what} more than before")
    if model is not None and any(_hooks(module) for module in model.modules()):
        lost.append(f"{name}: a hook stays in the model")
    return lost


def _hooks(module) -> int:
    return len(module._forward_hooks) + len(module._forward_pre_hooks)


def _inventory() -> dict[str, int]:
    from matplotlib.figure import Figure

    gc.collect()
    return {"memory": _memory(), "threads": threading.active_count(),
            "figures": sum(type(thing) is Figure for thing in gc.get_objects()),
            "widgets": len(widgets.widget._instances)}


def _memory() -> int:
    """Bytes of this process in memory, where the system tells it as Linux does, or else nothing."""
    pages = Path("/proc/self/statm")
    return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") if pages.exists() else 0
