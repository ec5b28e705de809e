"""Chapter 5. Training: predict the next token, measure the surprise, adjust, repeat.

>>> run = TrainingRun(model, train_ids, validation_ids, TrainConfig(steps=300))
>>> for step in run:
...     print(step.step, step.loss)
"""

from __future__ import annotations

import copy
import math
import signal
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.data import Batches, as_ids, seed_for
from gptlib.model import GPTModel, check_vocabulary
from gptlib.optimizer import adamw, learning_rate_at


def best_device() -> torch.device:
    """The fastest device of this machine: an NVIDIA GPU, an Apple chip, or else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean surprise at the true next token, in nats: -log softmax(logits)[target].

    logits (B, T, V), targets (B, T) -> scalar
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten())


@torch.inference_mode()
def evaluate(model: GPTModel, ids: Sequence[int] | Tensor, batch_size: int = 16) -> float:
    """The loss of `model` over a whole text, read in order, in nats per token.

    Every token but the first is predicted once, with the tokens of its own window before it.
    Raises a ValueError for a text of fewer than two tokens.
    """
    ids = as_ids(ids)
    if len(ids) < 2:
        raise ValueError(
            f"The text has {len(ids)} tokens, but there must be at least 2, one to read and one "
            "to predict: take a longer text."
        )
    T = model.config.context_length
    whole = (len(ids) - 1) // T * T                                   # tokens in full windows
    inputs = [*ids[:whole].view(-1, T).split(batch_size), ids[None, whole:-1]]
    targets = [*ids[1 : whole + 1].view(-1, T).split(batch_size), ids[None, whole + 1 :]]
    total = 0.0
    with _mode(model, training=False):
        for x, y in zip(inputs, targets, strict=True):
            if x.numel():
                loss = next_token_loss(model(x.to(model.device)), y.to(model.device))
                total += loss.item() * x.numel()
    return total / (len(ids) - 1)


@dataclass(frozen=True)
class TrainConfig:
    """How to train. It checks itself: a value that cannot work raises a ValueError."""

    steps: int                    # how often the weights move
    batch_size: int = 16          # windows per step
    learning_rate: float = 3e-3   # the peak of the schedule
    warmup_steps: int = 20        # steps until the peak
    weight_decay: float = 0.1     # pull of the matrices towards zero
    beta2: float = 0.99           # memory of AdamW for the size of gradients
    clip_norm: float = 1.0        # longest gradient that is used as it is
    accumulation: int = 1         # parts in which a batch is computed, to save memory
    evaluate_every: int = 50      # steps between two measurements on the validation text
    seed: int = 0                 # decides the order of the windows, and dropout

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "evaluate_every"):
            _require(name, getattr(self, name), "a whole number of at least 1", int, 1)
        for name in ("warmup_steps", "seed"):
            _require(name, getattr(self, name), "a whole number of at least 0", int, 0)
        for name in ("learning_rate", "clip_norm"):
            _require(name, getattr(self, name), "a number above 0", (int, float), math.ulp(0.0))
        _require("weight_decay", self.weight_decay, "a number of at least 0", (int, float), 0)
        _require("beta2", self.beta2, "a number from 0 to below 1", (int, float), 0)
        if self.beta2 >= 1:
            raise ValueError(f"beta2 is {self.beta2}, but must be below 1: 0.99 is usual.")
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size={self.batch_size} cannot be computed in accumulation="
                f"{self.accumulation} equal parts: choose a divisor of the batch size."
            )


def _require(name: str, value, allowed: str, kind, least: float) -> None:
    number = isinstance(value, kind) and not isinstance(value, bool) and math.isfinite(value)
    if not number or value < least:
        default = TrainConfig.__dataclass_fields__[name].default
        usual = 300 if name == "steps" else default
        raise ValueError(f"{name} is {value!r}, but must be {allowed}: {usual} is usual here.")


@dataclass(frozen=True)
class Step:
    """What one step of training did."""

    step: int                       # counted from 1
    tokens: int                     # read since the start
    loss: float                     # of this step's batch, nats per token
    validation_loss: float | None   # nats per token; None between two evaluations
    learning_rate: float
    gradient_norm: float            # before clipping: the pulse of the run
    tokens_per_second: float        # of this step, evaluation not counted


class TrainingDiverged(RuntimeError):
    """The loss is no number any more; the run has gone back to its last good state."""


class TrainingRun:
    """A training run as an iterator: each turn of the loop is one step, described by a `Step`.

    Stop when you like, with `break` or the notebook's stop button: the model is ready for use and
    the same loop goes on where it stopped. Everything random in a step follows from the seed and
    the number of the step, so a run that was interrupted ends with the same weights, bit by bit.
    Between two steps the model is in evaluation mode.
    """

    def __init__(
        self,
        model: GPTModel,
        train_ids: Sequence[int] | Tensor,
        validation_ids: Sequence[int] | Tensor | None,
        config: TrainConfig,
        device: torch.device | str | None = None,
    ):
        """Without `device`, the run takes `best_device()`. Without `validation_ids`, it skips
        evaluation. Raises a ValueError where the text is too short for a batch or has ids that
        the model does not know."""
        self.config = config
        self.device = torch.device(device) if device is not None else best_device()
        self.model = model.to(self.device).eval()
        self.batches = Batches(
            train_ids, model.config.context_length, config.batch_size, config.seed
        )
        check_vocabulary(self.batches.ids, model.config.vocab_size)
        self.validation_ids = None if validation_ids is None else as_ids(validation_ids)
        self.optimizer = adamw(
            self.model, config.learning_rate, config.weight_decay, (0.9, config.beta2)
        )
        self.history: list[Step] = []
        self._remember()

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(self.history)

    def __iter__(self) -> TrainingRun:
        return self

    def __next__(self) -> Step:
        """Take one step. Raises TrainingDiverged where the loss or the gradient is not finite."""
        if self.step == self.config.steps:
            raise StopIteration
        with _interrupts_wait():
            started = time.perf_counter()
            rate, loss, norm = self._update()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._go_back(rate)
            seconds = time.perf_counter() - started
            number, per_step = self.step + 1, self.config.batch_size * self.batches.context_length
            due = number % self.config.evaluate_every == 0 or number == self.config.steps
            validation_loss = None
            if due and self.validation_ids is not None:
                validation_loss = evaluate(self.model, self.validation_ids, self.config.batch_size)
            self.history.append(
                Step(number, number * per_step, loss, validation_loss, rate, norm,
                     per_step / seconds)
            )
            if due:
                self._remember()
        return self.history[-1]

    def resume(self, optimizer_state: dict, history: Sequence[Step]) -> None:
        """Go on after `history`, with the optimizer as it was then and the model as it is now."""
        self.optimizer.load_state_dict(optimizer_state)
        self.history = list(history)
        self._remember()

    def _update(self) -> tuple[float, float, float]:
        """Forward, loss, backward, clip, step.  -> learning rate, loss, gradient norm"""
        config = self.config
        rate = learning_rate_at(
            self.step, config.steps, config.learning_rate, config.warmup_steps
        )
        for group in self.optimizer.param_groups:
            group["lr"] = rate
        inputs, targets = (part.to(self.device) for part in self.batches.at(self.step))
        size = config.batch_size // config.accumulation
        self.optimizer.zero_grad()
        loss = 0.0
        with _mode(self.model, training=True), _dropout_of(self.step, config.seed, self.device):
            for x, y in zip(inputs.split(size), targets.split(size), strict=True):
                part = next_token_loss(self.model(x), y) / config.accumulation
                part.backward()
                loss += part.item()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm).item()
        if math.isfinite(loss) and math.isfinite(norm):
            self.optimizer.step()
        return rate, loss, norm

    def _remember(self) -> None:
        """Keep a copy of this state, to go back to should the loss go astray.

        Before the first step there is no past loss to trust, so the fresh weights count as good.
        """
        self._good = (
            copy.deepcopy(self.model.state_dict()),
            copy.deepcopy(self.optimizer.state_dict()),
            self.step,
        )

    def _go_back(self, rate: float) -> None:
        weights, optimizer, step = self._good
        bad = self.step + 1
        self.model.load_state_dict(weights)
        self.optimizer.load_state_dict(copy.deepcopy(optimizer))
        del self.history[step:]
        raise TrainingDiverged(
            f"The loss or its gradient stopped being a number at step {bad}, at a learning rate "
            f"of {rate:.2g}; the run went back to step {step}, its last good state: start again "
            "with a lower learning rate or a longer warm-up."
        )


@contextmanager
def _mode(model: nn.Module, training: bool) -> Iterator[None]:
    """Put the model into training or evaluation mode, and back again."""
    former = model.training
    model.train(training)
    try:
        yield
    finally:
        model.train(former)


@contextmanager
def _dropout_of(step: int, seed: int, device: torch.device) -> Iterator[None]:
    """Random numbers that belong to this step alone; the learner's own are left as they were."""
    gpus = [device] if device.type == "cuda" else []
    with torch.random.fork_rng(gpus):
        torch.manual_seed(seed_for(seed, step))
        yield


@contextmanager
def _interrupts_wait() -> Iterator[None]:
    """Let the stop button act after a step, never in the middle of one."""
    if threading.current_thread() is not threading.main_thread():
        yield  # only the main thread is ever interrupted
        return
    waiting = []
    former = signal.signal(signal.SIGINT, lambda *_: waiting.append(True))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)
    if waiting:
        raise KeyboardInterrupt
