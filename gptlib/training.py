"""Chapter 6. Training: predict the next token, measure the surprise, adjust, repeat.

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

from gptlib.config import GPTConfig
from gptlib.data import IGNORED, Batches, as_ids, document_windows, seed_for, windows
from gptlib.model import GPTModel, check_vocabulary
from gptlib.optimizer import adamw, muon, share_of_peak


def best_device() -> torch.device:
    """The fastest device of this machine: an NVIDIA GPU, an Apple chip, or else the CPU."""
    if torch.cuda.is_available():
        return torch.device("cuda")
    if torch.backends.mps.is_available():
        return torch.device("mps")
    return torch.device("cpu")


def next_token_loss(logits: Tensor, targets: Tensor) -> Tensor:
    """The mean surprise at the true next token, in nats: -log softmax(logits)[target].

    logits (B, T, V), targets (B, T) -> scalar. Targets that are IGNORED do not count.
    """
    return F.cross_entropy(logits.flatten(0, 1), targets.flatten(), ignore_index=IGNORED)


@torch.inference_mode()
def evaluate(
    model: GPTModel, ids: Sequence[int] | Tensor, batch_size: int = 16, end_token: int | None = None
) -> float:
    """The loss of `model` over a whole text, read in order, in nats per token.

    Every token but the first is predicted once, with the tokens of its own window before it; with
    an `end_token`, every token of every document, with all of that document before it.
    Raises a ValueError for a text of fewer than two tokens, or with ids that the model does not
    know, and for a batch size below 1.
    """
    _require("batch_size", batch_size, "a whole number of at least 1", int, 1)
    total, count = 0.0, 0
    with _mode(model, training=False):
        for inputs, targets in _in_order(ids, model.config, end_token):
            for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
                counted = (y != IGNORED).sum().item()
                loss = next_token_loss(model(x.to(model.device)), y.to(model.device))
                total, count = total + counted * loss.item(), count + counted
    return total / count


def _in_order(
    ids: Sequence[int] | Tensor, config: GPTConfig, end_token: int | None
) -> list[tuple[Tensor, Tensor]]:
    """A whole text as windows of equal length, and one shorter window for what is left."""
    ids = as_ids(ids)
    if len(ids) < 2:
        raise ValueError(
            f"A text needs at least 2 tokens, one to read and one to predict, but this one has "
            f"{len(ids)}: take a longer text."
        )
    check_vocabulary(ids, config.vocab_size)
    T = config.context_length
    if end_token is not None:
        return [document_windows(ids, T, end_token)]
    whole = (len(ids) - 1) // T * T
    parts = [windows(ids[: whole + 1], T)] if whole else []
    if whole < len(ids) - 1:
        parts.append((ids[None, whole:-1], ids[None, whole + 1 :]))
    return parts


@dataclass(frozen=True)
class TrainConfig:
    """How to train. It checks itself: a value that cannot work raises a ValueError."""

    steps: int                    # how often the weights move
    batch_size: int = 16          # windows per step
    optimizer: str = "adamw"      # or "muon", which leaves embeddings and vectors to AdamW
    learning_rate: float = 3e-3   # AdamW's, at the peak of the schedule
    muon_learning_rate: float = 0.02  # Muon's, likewise
    warmup_steps: int = 20        # steps until the peak
    schedule: str = "cosine"      # down to a tenth; or "linear", down to zero
    weight_decay: float = 0.1     # pull of the matrices towards zero
    beta2: float = 0.99           # memory of AdamW for the size of gradients
    clip_norm: float = 1.0        # longest gradient that is used as it is
    accumulation: int = 1         # parts in which a batch is computed, to save memory
    evaluate_every: int = 50      # steps between two measurements on the validation text
    end_token: int | None = None  # where given, windows hold whole documents that it closes
    seed: int = 0                 # decides the order of the windows, and dropout

    def __post_init__(self) -> None:
        for name in ("steps", "batch_size", "accumulation", "evaluate_every"):
            _require(name, getattr(self, name), "a whole number of at least 1", int, 1)
        for name in ("warmup_steps", "seed"):
            _require(name, getattr(self, name), "a whole number of at least 0", int, 0)
        for name in ("learning_rate", "muon_learning_rate", "clip_norm"):
            _require(name, getattr(self, name), "a number above 0", (int, float), math.ulp(0.0))
        _require("weight_decay", self.weight_decay, "a number of at least 0", (int, float), 0)
        if self.end_token is not None:
            _require("end_token", self.end_token, "the id of a token, or None", int, 0)
        _require("beta2", self.beta2, "a number from 0 to below 1", (int, float), 0)
        if self.beta2 >= 1:
            raise ValueError(f"beta2 is {self.beta2}, but must be below 1: 0.99 is usual.")
        for name, choices in (("optimizer", ("adamw", "muon")), ("schedule", ("cosine", "linear"))):
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {getattr(self, name)!r}, but must be {' or '.join(choices)}: "
                    "choose one."
                )
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
    tokens: int                     # predicted since the start
    loss: float                     # of this step's batch, nats per token
    validation_loss: float | None   # nats per token; None between two evaluations
    learning_rate: float            # AdamW's; Muon's goes up and down with it
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
        evaluation. Raises a ValueError where a text is too short or has ids that the model does
        not know."""
        self.config = config
        self.device = torch.device(device) if device is not None else best_device()
        self.model = model.to(self.device).eval()
        self.train_ids = as_ids(train_ids)
        self.batches = Batches(*self._windows(), config.batch_size, config.seed)
        check_vocabulary(self.train_ids, model.config.vocab_size)
        self.validation_ids = None if validation_ids is None else as_ids(validation_ids)
        if validation_ids is not None:  # what cannot be read is told now, not after the first steps
            _in_order(self.validation_ids, model.config, config.end_token)
        self.optimizers = self._optimizers()
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
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
            rate, loss, norm, n_tokens = self._update()
            if not (math.isfinite(loss) and math.isfinite(norm)):
                self._go_back(rate)
            seconds = time.perf_counter() - started
            number = self.step + 1
            tokens = n_tokens + (self.history[-1].tokens if self.history else 0)
            due = number % self.config.evaluate_every == 0 or number == self.config.steps
            validation_loss = None
            if due and self.validation_ids is not None:
                validation_loss = evaluate(
                    self.model, self.validation_ids, self.config.batch_size, self.config.end_token
                )
            self.history.append(
                Step(number, tokens, loss, validation_loss, rate, norm, n_tokens / seconds)
            )
        return self.history[-1]

    def resume(self, optimizer_states: Sequence[dict], history: Sequence[Step]) -> None:
        """Go on after `history`, with the optimizers as they were then and the model as it is."""
        for optimizer, state in zip(self.optimizers, optimizer_states, strict=True):
            optimizer.load_state_dict(copy.deepcopy(state))
        self.history = list(history)
        self._remember()

    def _windows(self) -> tuple[Tensor, Tensor]:
        T, end_token = self.model.config.context_length, self.config.end_token
        if end_token is None:
            return windows(self.train_ids, T)
        return document_windows(self.train_ids, T, end_token)

    def _optimizers(self) -> list[torch.optim.Optimizer]:
        config = self.config
        rest = (config.learning_rate, config.weight_decay, config.beta2)
        if config.optimizer == "muon":
            return muon(self.model, config.muon_learning_rate, *rest)
        return [adamw(list(self.model.parameters()), *rest)]

    def _update(self) -> tuple[float, float, float, int]:
        """Forward, loss, backward, clip, step.  -> rate, loss, gradient norm, number of targets"""
        config = self.config
        share = share_of_peak(self.step, config.steps, config.warmup_steps, config.schedule)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["initial_lr"]
        inputs, targets = (part.to(self.device) for part in self.batches.at(self.step))
        size = config.batch_size // config.accumulation
        counted = int((targets != IGNORED).sum())
        self.model.zero_grad()
        loss = 0.0
        with _mode(self.model, training=True), _dropout_of(self.step, config.seed, self.device):
            for x, y in zip(inputs.split(size), targets.split(size), strict=True):
                part = next_token_loss(self.model(x), y) * ((y != IGNORED).sum() / counted)
                part.backward()
                loss += part.item()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm).item()
        if math.isfinite(loss) and math.isfinite(norm):
            if self.step % config.evaluate_every == 0:
                self._remember()  # only now is it known that these weights give a sound loss
            for optimizer in self.optimizers:
                optimizer.step()
        return share * config.learning_rate, loss, norm, counted

    def _remember(self) -> None:
        """Keep a copy of this state, to go back to should the loss go astray."""
        self._good = (
            copy.deepcopy(self.model.state_dict()),
            copy.deepcopy([optimizer.state_dict() for optimizer in self.optimizers]),
            self.step,
        )

    def _go_back(self, rate: float) -> None:
        weights, optimizer_states, step = self._good
        bad = self.step + 1
        self.model.load_state_dict(weights)
        self.resume(optimizer_states, self.history[:step])
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
        signal.raise_signal(signal.SIGINT)  # whoever handled it before does so now
