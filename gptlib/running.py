"""What a training run needs beside its loop: a state to go back to, a stop button that waits, and
a model that can be trained."""

from __future__ import annotations

import copy
import signal
import threading
from collections.abc import Callable, Sequence

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gptlib.devices import Processes, local
from gptlib.dropout import Dropout
from gptlib.model import GPTModel


def check_dropout(model: nn.Module) -> None:
    """Raise a ValueError where the model drops with chances that no run can seed."""
    layers = [layer for layer in model.modules() if isinstance(layer, nn.Dropout) and layer.p]
    if not all(isinstance(layer, Dropout) for layer in layers):
        raise ValueError(
            "The model holds a torch.nn.Dropout, but a run seeds its own: put a "
            "gptlib.dropout.Dropout in its place."
        )


def check_gradients(model: nn.Module) -> None:
    """Raise a RuntimeError where nothing can be learned, because no gradient flows."""
    parameters = list(model.parameters())
    if not torch.is_grad_enabled() or any(parameter.is_inference() for parameter in parameters):
        raise RuntimeError(
            "Gradients are switched off by no_grad, inference_mode or set_grad_enabled, here or "
            "where the model was made: make the model and run the loop where they are on."
        )
    if not any(parameter.requires_grad for parameter in parameters):
        raise RuntimeError(
            "Every parameter of the model is frozen, but training has to move some: "
            "parameter.requires_grad_(True) frees one."
        )


def compiled(model: GPTModel, device: torch.device) -> Callable[[Tensor], Tensor]:
    """The model in code written for it alone; the model itself stays as it is, to be looked into.

    Raises a RuntimeError where the machine lacks what torch needs for that.
    """
    try:
        torch.compile(lambda x: x + 1)(torch.ones(2, device=device))
    except Exception as error:  # whatever is lacking, each of torch's backends has its own words
        raise RuntimeError(
            f"compile=True needs a C++ compiler that works (g++, clang or Visual Studio's), on a "
            f"GPU Triton too, and torch failed with theirs ({type(error).__name__}): install one, "
            "or leave compile out."
        ) from error
    return torch.compile(getattr(model, "_orig_mod", model))


def copied(model: GPTModel, optimizers: Sequence[Optimizer]) -> tuple[list[Tensor], list[dict]]:
    """The weights and the optimizers' averages as they are now, in the computer's memory."""
    weights = [local(weight.detach()).to("cpu", copy=True) for weight in model.parameters()]
    states = [optimizer.state_dict()["state"] for optimizer in optimizers]
    return weights, [
        {"state": {
            number: {name: local(value).to("cpu", copy=True) for name, value in averages.items()}
            for number, averages in state.items()
        }} for state in states
    ]


def take_over(
    optimizers: Sequence[Optimizer], states: Sequence[dict], processes: Processes
) -> None:
    """Give the optimizers the averages in `states`, while their settings stay as they are."""
    if len(states) != len(optimizers):
        raise ValueError(
            "A run cannot go on with another optimizer, which would lack its averages: keep the "
            "one that the run began with, or start a new run with this model."
        )
    for optimizer, state in zip(optimizers, states, strict=True):
        own = optimizer.state_dict()["param_groups"]
        weights = [weight for group in optimizer.param_groups for weight in group["params"]]
        kept = {
            n: {name: processes.like(weights[n], value) for name, value in averages.items()}
            for n, averages in state["state"].items()
        }
        optimizer.load_state_dict(copy.deepcopy({"state": kept, "param_groups": own}))


class Interrupts:
    """While it is entered, the stop button acts where the run calls `act`, and at the end.

    Pressed again before that it acts at once, but never while the run is on `hold`.
    """

    def __enter__(self) -> None:
        self.waiting, self.hold = 0, False
        self.here = threading.current_thread() is threading.main_thread()
        if self.here:  # only the main thread is ever interrupted
            self.former = signal.signal(signal.SIGINT, self._pressed)

    def __exit__(self, *_) -> None:
        if self.here:
            signal.signal(signal.SIGINT, self.former)
            while self.waiting:
                self.waiting -= 1
                signal.raise_signal(signal.SIGINT)  # whoever handled it before does so now

    def act(self) -> None:
        self.__exit__()
        self.__enter__()

    def _pressed(self, *_) -> None:
        self.waiting += 1
        if self.waiting > 1 and not self.hold:
            self.act()
