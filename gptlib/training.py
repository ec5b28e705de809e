"""Chapter 6. Training: predict the next token, measure the surprise, adjust, repeat.

>>> run = TrainingRun(model, train_ids, validation_ids, TrainConfig(steps=300))
>>> for step in run:
...     print(step.step, step.loss)
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import cached_property

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib import data, running
from gptlib.checks import ABOVE_0, BELOW_1, number, one_of, shown, whole
from gptlib.config import GPTConfig
from gptlib.data import IGNORED, Batches, as_ids, document_windows, seed_for, windows
from gptlib.devices import Processes, best_device, full, local
from gptlib.dropout import dropping
from gptlib.model import GPTModel, check_vocabulary, evaluating
from gptlib.optimizer import adamw, muon, share_of_peak


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
    an `end_token`, every token of every document, with all of that document before it. Raises a
    ValueError for fewer than two tokens, for unknown ids, and for a batch size below 1.
    """
    batch_size = whole("batch_size", batch_size, "16 is usual.", least=1)
    return _mean_loss(model, _in_order(ids, model.config, end_token), batch_size)


@torch.no_grad()
def _mean_loss(
    model: GPTModel, parts: list[tuple[Tensor, Tensor]], batch_size: int,
    before_each: Callable[[], None] = lambda: None,
) -> float:
    """The mean over all targets; `before_each` is called before each batch."""
    total, count = 0.0, 0
    with evaluating(model):
        for inputs, targets in parts:
            for batch in zip(inputs.split(batch_size), targets.split(batch_size), strict=True):
                before_each()
                x, y = (part.to(model.device, torch.int64) for part in batch)
                counted = (y != IGNORED).sum().item()
                loss = next_token_loss(model(x), y)
                total, count = total + counted * loss.item(), count + counted
    return total / count


def _check_text(ids: Tensor, vocab_size: int) -> None:
    """Raise a ValueError where a text of any size has an id that is outside the vocabulary."""
    for part in data.in_parts(ids):
        check_vocabulary(part, vocab_size)


def _in_order(
    ids: Sequence[int] | Tensor, config: GPTConfig, end_token: int | None
) -> list[tuple[Tensor, Tensor]]:
    """A whole text as windows of equal length, and one shorter window for what is left."""
    ids = as_ids(ids)
    if len(ids) < 2:
        raise ValueError(
            "A text needs at least 2 tokens, to read one and predict the other, but this one has "
            f"{len(ids)}: take a longer text."
        )
    _check_text(ids, config.vocab_size)
    T = config.context_length
    if end_token is not None:
        return [document_windows(ids, T, end_token)]
    rest = (len(ids) - 1) // T * T
    parts = [windows(ids[: rest + 1], T)] if rest else []
    if rest < len(ids) - 1:
        parts.append((ids[None, rest:-1], ids[None, rest + 1 :]))
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
    precision: str = "float32"    # or "bf16": products of matrices with fewer digits
    compile: bool = False         # have torch write code for this model, which takes a minute first
    evaluate_every: int = 50      # steps between two measurements on the validation text
    end_token: int | None = None  # where given, windows hold whole documents that it closes
    seed: int = 0                 # decides the order of the windows, and dropout

    def __post_init__(self) -> None:
        given = vars(self)
        usual = {name: f"{getattr(TrainConfig, name, 300)} is usual." for name in given}
        # What was checked is a plain number, also where it was NumPy's.
        for name, least in _LEAST.items():
            given[name] = whole(name, given[name], usual[name], least)
        for name, (rule, *span) in _SPANS.items():
            given[name] = number(name, given[name], rule, usual[name], *span)
        if self.end_token is not None:
            hint = "pass tokenizer.end_token, or None."
            given["end_token"] = whole("end_token", self.end_token, hint)
        one_of("optimizer", self.optimizer, "adamw", "muon")
        one_of("schedule", self.schedule, "cosine", "linear")
        one_of("precision", self.precision, "float32", "bf16")
        one_of("compile", self.compile, False, True)
        if self.batch_size % self.accumulation:
            raise ValueError(
                f"batch_size={self.batch_size} cannot be computed in accumulation="
                f"{self.accumulation} equal parts: choose a divisor of the batch size."
            )


_LEAST = {
    "steps": 1, "batch_size": 1, "accumulation": 1, "evaluate_every": 1, "warmup_steps": 0,
    "seed": 0,
}
_POSITIVE = ("be a number above 0, and at most 1e38", ABOVE_0)
_SPANS = {
    "learning_rate": _POSITIVE, "muon_learning_rate": _POSITIVE, "clip_norm": _POSITIVE,
    "weight_decay": ("be a number from 0 to 1", 0, 1),
    "beta2": ("be below 1, and at least 0", 0, BELOW_1),
}


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

    Where several processes share the run, each of them makes the same one, with the `Processes` of
    `gptlib.devices.joined` as device, and all go through the loop at the same pace.
    """

    def __init__(
        self, model: GPTModel, train_ids: Sequence[int] | Tensor,
        validation_ids: Sequence[int] | Tensor | None, config: TrainConfig,
        device: torch.device | str | Processes | None = None,
    ):
        """Without `device`, the run takes `best_device()`. Without `validation_ids`, it skips
        evaluation. Raises a ValueError where a text is too short or has ids that the model does
        not know, and a RuntimeError where the model is to be compiled and cannot be."""
        self.processes = Processes.of(best_device() if device is None else device)
        self.device = self.processes.device
        running.check_dropout(model)
        self.model = getattr(model, "_orig_mod", model)  # what torch.compile(model) was made of
        self._given = self.processes.spread(model.eval())
        self.train_ids = as_ids(train_ids)
        self.validation_ids = None if validation_ids is None else as_ids(validation_ids)
        self.history: list[Step] = []
        self.offset = 0  # of a batch's number to its step's: another batch size moves it
        self._interrupts = running.Interrupts()
        self._set_up(config, [])
        _check_text(self.train_ids, self.model.config.vocab_size)  # of any length: once
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

    @cached_property
    def text_digest(self) -> str:
        """What tells the training text from all others, in a file of the run."""
        return data.digest_of_ids(self.train_ids)

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
                running.check_gradients(self.model)
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
        running.take_over(self.optimizers, optimizer_states, self.processes)
        self.history, self.offset = list(history), offset
        self._remember()

    def _set_up(self, config: TrainConfig, states: Sequence[dict]) -> None:
        """Prepare for these settings, with optimizers that take over `states`."""
        if not isinstance(config, TrainConfig):
            hint = "write TrainConfig(steps=300), for example."
            raise TypeError(f"config is {shown(config)}, but must be a TrainConfig: {hint}")
        self.processes.check(config.batch_size, config.accumulation, config.optimizer)
        shape, end_token = self.model.config, config.end_token
        if end_token is None:
            text = windows(self.train_ids, shape.context_length)
        else:
            text = document_windows(self.train_ids, shape.context_length, end_token)
        batches = Batches(*text, config.batch_size, config.seed)
        validation = []  # what cannot be read is told now, not after the first steps
        if self.validation_ids is not None:
            validation = _in_order(self.validation_ids, shape, end_token)
        optimizers = self._optimizers(config)
        if states:
            running.take_over(optimizers, states, self.processes)
        self._compute = self._given
        if config.compile:
            self._compute = running.compiled(self._given, self.device)
        self.batches, self._validation, self.optimizers = batches, validation, optimizers
        self._config = config

    def _optimizers(self, config: TrainConfig) -> list[torch.optim.Optimizer]:
        rest = (config.learning_rate, config.weight_decay, config.beta2)
        if config.optimizer == "muon":
            optimizers = muon(self.model, config.muon_learning_rate, *rest)
        else:
            optimizers = [adamw(list(self.model.parameters()), *rest)]
        for optimizer in optimizers:
            for group in optimizer.param_groups:
                group["initial_lr"] = group["lr"]
        return optimizers

    def _take_step(self) -> None:
        started = time.perf_counter()
        rate, loss, norm, n_tokens = self._update()
        if not (math.isfinite(loss) and math.isfinite(norm)):
            self._go_back(rate)
        seconds = time.perf_counter() - started
        tokens = n_tokens + (self.history[-1].tokens if self.history else 0)
        step = Step(self.step + 1, tokens, loss, None, rate, norm, n_tokens / seconds)
        self.history.append(step)
        self._interrupts.hold = False

    def _update(self) -> tuple[float, float, float, int]:
        """Forward, loss, backward, clip, step.  -> rate, loss, gradient norm, number of targets"""
        config = self.config
        share = share_of_peak(self.step, config.steps, config.warmup_steps, config.schedule)
        for optimizer in self.optimizers:
            for group in optimizer.param_groups:
                group["lr"] = share * group["initial_lr"]
        batch = self.batches.at(self.step + self.offset)
        counted = int((batch[1] != IGNORED).sum())
        inputs, targets = (self.processes.part_of(x).to(self.device) for x in batch)
        size = len(inputs) // config.accumulation
        self.model.zero_grad()
        loss = 0.0
        chances = torch.Generator(self.device).manual_seed(
            seed_for(config.seed, self.step, *self.processes.own_seed))
        for n, (x, y) in enumerate(zip(inputs.split(size), targets.split(size), strict=True), 1):
            with self.processes.exchanging(self._given, now=n == config.accumulation):
                with self._precision(), dropping(chances):
                    part = next_token_loss(self._compute(x), y) * ((y != IGNORED).sum() / counted)
                (part * self.processes.count).backward()  # whose gradients are averaged
            loss += part.item()
        loss = self.processes.sum(loss)
        norm = full(nn.utils.clip_grad_norm_(self.model.parameters(), config.clip_norm)).item()
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
        half = self.config.precision == "bf16"
        return torch.autocast(self.device.type, torch.bfloat16, enabled=half, cache_enabled=False)

    @property
    def _unmeasured(self) -> bool:
        """Whether the validation loss of the last step is due and lacking."""
        if not (self.history and self._validation):
            return False
        due = self.step % self.config.evaluate_every == 0 or self.step == self.config.steps
        return due and self.history[-1].validation_loss is None

    def _measure(self) -> None:
        with self._precision():
            size, act = self.config.batch_size, self._interrupts.act
            loss = _mean_loss(self.model, self._validation, size, before_each=act)
        self.history[-1] = replace(self.history[-1], validation_loss=loss)

    def _remember(self) -> None:
        """Keep a copy of this state, to go back to should the loss go astray."""
        self._good = *running.copied(self.model, self.optimizers), self.step

    @torch.no_grad()
    def _go_back(self, rate: float) -> None:
        self._interrupts.hold = True
        weights, optimizer_states, step = self._good
        bad = self.step + 1
        for weight, good in zip(self.model.parameters(), weights, strict=True):
            local(weight).copy_(good)
        self.resume(optimizer_states, self.history[:step], self.offset)
        raise TrainingDiverged(
            f"The loss or its gradient stopped being a number at step {bad}, at a learning rate "
            f"of {rate:.2g}; the run went back to step {step}, its last good state: start again "
            "with a lower learning rate or a longer warm-up."
        )
