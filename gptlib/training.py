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
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.checks import shown
from gptlib.config import GPTConfig
from gptlib.data import IGNORED, Batches, as_ids, document_windows, seed_for, windows
from gptlib.dropout import Dropout, dropping
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
    return _mean_loss(model, _in_order(ids, model.config, end_token), batch_size)


@torch.inference_mode()
def _mean_loss(
    model: GPTModel, parts: list[tuple[Tensor, Tensor]], batch_size: int,
    before_each: Callable[[], None] = lambda: None,
) -> float:
    """The mean over all targets; `before_each` is called before each batch."""
    total, count = 0.0, 0
    with _evaluation_mode(model):
        for inputs, targets in parts:
            for x, y in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
                before_each()
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


_CHOICES = {
    "optimizer": ("adamw", "muon"), "schedule": ("cosine", "linear"),
    "precision": ("float32", "bf16"), "compile": (False, True),
}


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
    precision: str = "float32"    # or "bf16": products of matrices with fewer digits
    compile: bool = False         # have torch write code for this model, which takes a minute first
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
        _require("weight_decay", self.weight_decay, "a number from 0 to 1", (int, float), 0, 1)
        if self.end_token is not None:
            _require("end_token", self.end_token, "the id of a token, or None", int, 0)
        _require("beta2", self.beta2, "a number from 0 to below 1", (int, float), 0)
        if self.beta2 >= 1:
            raise ValueError(f"beta2 is {self.beta2}, but must be below 1: 0.99 is usual.")
        for name, choices in _CHOICES.items():
            if getattr(self, name) not in choices:
                raise ValueError(
                    f"{name} is {shown(getattr(self, name))}, but must be "
                    f"{' or '.join(map(str, choices))}: choose one."
                )
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size={self.batch_size} cannot be computed in accumulation="
                f"{self.accumulation} equal parts: choose a divisor of the batch size."
            )


def _require(name: str, value, allowed: str, kind, least: float, most: float = 1e38) -> None:
    most = 2**62 if kind is int else most  # beyond, torch's own numbers overflow
    number = isinstance(value, kind) and not isinstance(value, bool)
    if not number or not least <= value <= most:
        default = TrainConfig.__dataclass_fields__[name].default
        usual = 300 if name == "steps" else default
        raise ValueError(
            f"{name} is {shown(value)}, but must be {allowed}, and no more than {most:.1g}: "
            f"{usual} is usual here."
        )


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
    The model stays in evaluation mode: where it drops out, it does so in the run's own thread only,
    and the random numbers of others are left alone.

    A run keeps one copy of weights and optimizers in the computer's memory, to go back to should
    the loss go astray: with AdamW three numbers for each weight, 1.9 GB for GPT-2 small.
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
        not know, and a RuntimeError where the model is to be compiled and cannot be."""
        self.device = torch.device(device) if device is not None else best_device()
        self._given = model.to(self.device).eval()
        self.model = getattr(model, "_orig_mod", model)  # what torch.compile(model) was made of
        if any(isinstance(m, nn.Dropout) and m.p and not isinstance(m, Dropout)
               for m in model.modules()):
            raise ValueError(
                "The model holds a torch.nn.Dropout, but a run seeds its own: put a "
                "gptlib.dropout.Dropout in its place."
            )
        self.train_ids = as_ids(train_ids)
        self.validation_ids = None if validation_ids is None else as_ids(validation_ids)
        self.history: list[Step] = []
        self.offset = 0  # of a batch's number to its step's: another batch size moves it
        self._interrupts = _Interrupts()
        self._set_up(config, [])
        self._remember()

    @property
    def config(self) -> TrainConfig:
        """The settings. New ones hold from the next step on, in which the run goes on with its
        weights, its averages and its place in the text; only the optimizer has to stay.

        Raises a ValueError for another optimizer."""
        return self._config

    @config.setter
    def config(self, config: TrainConfig) -> None:
        former, number = self.batches, self.step + self.offset
        self._set_up(config, [optimizer.state_dict() for optimizer in self.optimizers])
        epoch, place = divmod(number, former.per_epoch)
        place = math.ceil(place * former.batch_size / config.batch_size)   # no window comes twice
        self.offset = epoch * self.batches.per_epoch + min(place, self.batches.per_epoch)
        self.offset -= self.step
        self._remember()

    @property
    def step(self) -> int:
        """Number of steps done."""
        return len(self.history)

    def __iter__(self) -> TrainingRun:
        return self

    def __next__(self) -> Step:
        """Take one step. Raises TrainingDiverged where the loss or the gradient is not finite, and
        a RuntimeError where nothing can be learned, because no gradient flows."""
        if self.step >= self.config.steps and not self._unmeasured:
            raise StopIteration
        # The precision is a setting of the run, whatever autocast around the loop would have.
        with self._interrupts, torch.autocast(self.device.type, enabled=False):
            if not self._unmeasured:
                _check_gradients(self.model)
                self._take_step()
            if self._unmeasured:
                self._interrupts.act()
                self._measure()
        return self.history[-1]

    def resume(
        self, optimizer_states: Sequence[dict], history: Sequence[Step], offset: int = 0
    ) -> None:
        """Go on after `history`, with the optimizers' averages as they were then, the model as it
        is and the settings of this run."""
        _load(self.optimizers, optimizer_states)
        self.history, self.offset = list(history), offset
        self._remember()

    def _set_up(self, config: TrainConfig, states: Sequence[dict]) -> None:
        """Prepare for these settings, with optimizers that take over `states`."""
        if not isinstance(config, TrainConfig):
            raise TypeError(
                f"config is {shown(config)}, but must be a TrainConfig: write "
                "TrainConfig(steps=300)."
            )
        T, end_token = self.model.config.context_length, config.end_token
        if end_token is None:
            text = windows(self.train_ids, T)
        else:
            text = document_windows(self.train_ids, T, end_token)
        check_vocabulary(self.train_ids, self.model.config.vocab_size)
        batches = Batches(*text, config.batch_size, config.seed)
        validation = []  # what cannot be read is told now, not after the first steps
        if self.validation_ids is not None:
            validation = _in_order(self.validation_ids, self.model.config, end_token)
        optimizers = self._optimizers(config)
        if states:
            _load(optimizers, states)
        self._compute = _compiled(self.model, self.device) if config.compile else self._given
        self.batches, self._validation, self.optimizers = batches, validation, optimizers
        self._config = config

    def _optimizers(self, config: TrainConfig) -> list[torch.optim.Optimizer]:
        rest = (config.learning_rate, config.weight_decay, config.beta2)
        if config.optimizer == "muon":
            optimizers = muon(self.model, config.muon_learning_rate, *rest)
        else:
            optimizers = [adamw(list(self.model.parameters()), *rest)]
        for group in (group for optimizer in optimizers for group in optimizer.param_groups):
            group["initial_lr"] = group["lr"]
        return optimizers

    def _take_step(self) -> None:
        started = time.perf_counter()
        rate, loss, norm, n_tokens = self._update()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._go_back(rate)
        seconds = time.perf_counter() - started
        tokens = n_tokens + (self.history[-1].tokens if self.history else 0)
        self.history.append(
            Step(self.step + 1, tokens, loss, None, rate, norm, n_tokens / seconds)
        )
        self._interrupts.hold = False

    def _update(self) -> tuple[float, float, float, int]:
        """Forward, loss, backward, clip, step.  -> rate, loss, gradient norm, number of targets"""
        config = self.config
        share = share_of_peak(self.step, config.steps, config.warmup_steps, config.schedule)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["initial_lr"]
        batch = self.batches.at(self.step + self.offset)
        inputs, targets = (part.to(self.device) for part in batch)
        size = config.batch_size // config.accumulation
        counted = int((targets != IGNORED).sum())
        self.model.zero_grad()
        loss = 0.0
        chances = torch.Generator(self.device).manual_seed(seed_for(config.seed, self.step))
        for x, y in zip(inputs.split(size), targets.split(size), strict=True):
            with self._precision(), dropping(chances):
                part = next_token_loss(self._compute(x), y) * ((y != IGNORED).sum() / counted)
            part.backward()
            loss += part.item()
        norm = nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm).item()
        if math.isfinite(loss) and math.isfinite(norm):
            if self.step % config.evaluate_every == 0:
                self._remember()  # only now is it known that these weights give a sound loss
            self._interrupts.hold = True  # the weights move and the history tells it, or neither
            for optimizer in self.optimizers:
                optimizer.step()
            torch.clear_autocast_cache()  # of copies of the weights as they were
        return self.optimizers[-1].param_groups[0]["lr"], loss, norm, counted

    def _precision(self) -> torch.autocast:
        """Products of matrices in bfloat16, where the settings say so."""
        enabled = self.config.precision == "bf16"
        return torch.autocast(
            self.device.type, torch.bfloat16, enabled=enabled, cache_enabled=False
        )

    @property
    def _unmeasured(self) -> bool:
        """Whether the validation loss of the last step is due and lacking."""
        if not (self.history and self._validation):
            return False
        due = self.step % self.config.evaluate_every == 0 or self.step == self.config.steps
        return due and self.history[-1].validation_loss is None

    def _measure(self) -> None:
        with self._precision():
            loss = _mean_loss(
                self.model, self._validation, self.config.batch_size, self._interrupts.act
            )
        self.history[-1] = replace(self.history[-1], validation_loss=loss)

    def _remember(self) -> None:
        """Keep a copy of this state, to go back to should the loss go astray."""
        weights = [weight.detach().to("cpu", copy=True) for weight in self.model.parameters()]
        states = [optimizer.state_dict() for optimizer in self.optimizers]
        for state in states:
            state["state"] = {
                number: {name: value.to("cpu", copy=True) for name, value in values.items()}
                for number, values in state["state"].items()
            }
        self._good = weights, states, self.step

    @torch.no_grad()
    def _go_back(self, rate: float) -> None:
        self._interrupts.hold = True
        weights, optimizer_states, step = self._good
        bad = self.step + 1
        for weight, good in zip(self.model.parameters(), weights, strict=True):
            weight.copy_(good)
        self.resume(optimizer_states, self.history[:step], self.offset)
        raise TrainingDiverged(
            f"The loss or its gradient stopped being a number at step {bad}, at a learning rate "
            f"of {rate:.2g}; the run went back to step {step}, its last good state: start again "
            "with a lower learning rate or a longer warm-up."
        )


def _load(optimizers: list[torch.optim.Optimizer], states: Sequence[dict]) -> None:
    """Give the optimizers the averages in `states`, while their settings stay as they are."""
    if len(states) != len(optimizers):
        raise ValueError(
            "A run cannot go on with another optimizer, which would lack its averages: keep the "
            "one that the run began with, or start a new run with this model."
        )
    for optimizer, state in zip(optimizers, states, strict=True):
        own = optimizer.state_dict()["param_groups"]
        optimizer.load_state_dict(copy.deepcopy({"state": state["state"], "param_groups": own}))


def _check_gradients(model: GPTModel) -> None:
    parameters = list(model.parameters())
    if not torch.is_grad_enabled() or any(parameter.is_inference() for parameter in parameters):
        raise RuntimeError(
            "Gradients are switched off by no_grad, inference_mode or set_grad_enabled, here or "
            "where the model was made, but training follows them: make the model and run the loop "
            "where they are on."
        )
    if not any(parameter.requires_grad for parameter in parameters):
        raise RuntimeError(
            "Every parameter of the model is frozen, but training has to move some: "
            "parameter.requires_grad_(True) frees one."
        )


def _compiled(model: GPTModel, device: torch.device) -> Callable[[Tensor], Tensor]:
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
    return torch.compile(model)


@contextmanager
def _evaluation_mode(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and back again."""
    former = model.training
    model.eval()
    try:
        yield
    finally:
        model.train(former)


class _Interrupts:
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
