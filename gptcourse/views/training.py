"""Choose a model and its training, start, watch, stop, go on."""

from __future__ import annotations

import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import replace
from itertools import takewhile

import ipywidgets as widgets
import numpy as np
import torch

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.views.base import (
    QUIET_COLOR,
    TEXT_COLOR,
    View,
    button,
    choice,
    number_slider,
    paragraph,
    stepped_slider,
    whole_slider,
)
from gptcourse.views.weights import drawing_from
from gptlib.config import GPTConfig
from gptlib.generation import generate
from gptlib.model import GPTModel, parameters_by_part
from gptlib.tokenizer import END_OF_TEXT
from gptlib.training import Step, TrainConfig, TrainingRun

SECONDS_BETWEEN_PICTURES = 0.25
SAMPLE_TOKENS = 80
RATES = [factor * 10.0**power for power in range(-5, 0) for factor in (1, 2, 3, 5)] + [1.0]


class TrainingDashboard(View):
    """A training run in a thread of its own, so that page and controls stay alive.

    `run` is the `TrainingRun`, with its `history` and its `model`, while it runs and afterwards. It
    ends when the view is taken from the page: nobody could stop it there any more.
    """

    def __init__(
        self,
        train_ids: Sequence[int],
        validation_ids: Sequence[int],
        tokenizer,
        floor: float | None = None,
        model_config: GPTConfig | Mapping | None = None,
        train_config: TrainConfig | None = None,
    ):
        """`floor` is the best loss that is possible on this text, where it is known. The sliders
        begin with the two configurations, or else with a short run on a CPU; what has no slider
        stays as it is there."""
        self.train_ids, self.validation_ids = train_ids, validation_ids
        self.tokenizer, self.floor = tokenizer, floor
        self.run: TrainingRun | None = None
        self.samples: list[tuple[int, str]] = []
        self._seconds = 0.0                              # of training, in this run
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._model_config = GPTConfig.of(model_config or _small_model(tokenizer.vocab_size))
        self._train_config = train_config or TrainConfig(steps=300, evaluate_every=30)
        self._make_controls(self._model_config, self._train_config)
        self.progress = widgets.IntProgress(
            0, 0, 1, layout={"width": "min(560px, 100%)"}, tooltip="How far the run is")
        self._plan, self._status, self._sample = (widgets.HTML() for _ in range(3))
        super().__init__(
            [*self._settings,
             widgets.HBox([self.start_button, self.stop_button, self.resume_button]), self._plan],
            [self.progress, self._status, self._sample])
        self._drawn = []                     # a run stays true, whatever is wrong with a slider
        self._build()
        self.follow(*self._settings)

    # ----------------------------------------------------------------- what the buttons do

    def start(self) -> None:
        """Train a fresh model with the settings on screen; a run under way ends first."""
        self.stop()
        with self.errors_shown(), torch.inference_mode(False):
            config, training = self.configs()
            with drawing_from(torch.Generator().manual_seed(training.seed)):
                model = GPTModel(config)
            self.run = TrainingRun(model, self.train_ids, self.validation_ids, training)
            self.samples, self._seconds = [], 0.0
        if self.last_error is None:
            self._launch()

    def ask_to_stop(self) -> None:
        """Let the run end after the batch under way, without waiting for it."""
        if self.running and not self._stopping.is_set():
            self._stopping.set()
            self._status.value = paragraph("Stopping after this batch …", QUIET_COLOR)

    def stop(self) -> None:
        """End the run after the batch under way. The model can be used, the run can go on."""
        self.ask_to_stop()
        self.wait()

    def resume(self) -> None:
        """Go on with the run where it was stopped."""
        if self._stopping.is_set():
            self.wait()                      # it may still be about to end
        if self.run is None:
            with self.errors_shown():
                raise ValueError("There is no run to continue yet: press start.")
        elif not self.running:
            self.refresh()                   # an error of the former run is over
            self._launch()

    def wait(self, timeout: float | None = None) -> bool:
        """Until the run ends or `timeout` seconds have passed; whether it has ended.

        The notebook's own stop button ends the run as well; pressed once more, only the waiting.
        """
        if self._thread is not None:
            try:
                self._thread.join(timeout)
            except KeyboardInterrupt:
                self.ask_to_stop()
                self._thread.join()
        return not self.running

    @property
    def running(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def leave_page(self) -> None:
        self.ask_to_stop()

    def close(self) -> None:
        """End the run and take the view from the page."""
        self.stop()
        super().close()

    # --------------------------------------------------------------------------- the run

    def configs(self) -> tuple[GPTConfig, TrainConfig]:
        """What the sliders say. Raises a ValueError where the numbers do not fit together."""
        model = replace(self._model_config, emb_dim=self.width.value, n_layers=self.layers.value,
                        n_heads=self.heads.value, drop_rate=self.dropout.value)
        training = replace(
            self._train_config, optimizer=self.optimizer.value, steps=self.steps.value,
            learning_rate=self.learning_rate.value, batch_size=self.batch.value)
        return model, training

    def _launch(self) -> None:
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._train, args=(self._stopping,), daemon=True)
        self._thread.start()

    def _train(self, stopping: threading.Event) -> None:
        self._enable_buttons(running=True)
        started = time.monotonic()
        with self.errors_shown():
            try:
                with _stoppable(self.run.model, stopping):
                    self._loop(stopping)
            except KeyboardInterrupt:
                pass                         # from `_stoppable`; the step before is the last
            finally:
                self._seconds += time.monotonic() - started
                self._enable_buttons(running=False)
                self._status.value = paragraph(
                    f"Ended after step {self.run.step:,}. It took {_clock(self._seconds)}.",
                    QUIET_COLOR)
        if self.last_error is None:
            self.refresh()                   # and say again what is wrong with the sliders
        else:
            self._show_run()

    def _loop(self, stopping: threading.Event) -> None:
        started, steps_before, next_picture = time.monotonic(), self.run.step, 0.0
        for step in self.run:
            if step.validation_loss is not None:
                self.samples.append((step.step, self._write_sample(stopping)))
            now = time.monotonic()
            if now >= next_picture or step.validation_loss is not None:
                seconds_per_step = (now - started) / max(1, step.step - steps_before)
                self._show_time(step, seconds_per_step * (self.run.config.steps - step.step))
                first = step.step == steps_before + 1
                self._show_run(announce=first or step.validation_loss is not None)
                # A slow machine is to train, not to draw: a fifth of the time at most.
                spent = time.monotonic() - now
                next_picture = now + max(SECONDS_BETWEEN_PICTURES, 5 * spent)
            if stopping.is_set():
                return

    def _write_sample(self, stopping: threading.Event) -> str:
        """What the model writes by now, from the beginning of a text."""
        end = self.tokenizer.special_tokens.get(END_OF_TEXT)
        first = int(self.train_ids[0]) if end is None else end
        generator = torch.Generator().manual_seed(0)
        steps = generate(self.run.model, [[first]], SAMPLE_TOKENS, temperature=0.8,
                         stop_token=end, generator=generator)
        written = takewhile(lambda _: not stopping.is_set(), steps)
        return self.tokenizer.decode([step[0] for step in written])

    # ------------------------------------------------------------------------ what is seen

    @staticmethod
    def compute(history: Sequence[Step]) -> dict[str, np.ndarray]:
        """The columns of a history; `validation` comes with its own steps.  -> arrays (N)"""
        history = list(history)                       # a run under way makes the history longer
        evaluated = [step for step in history if step.validation_loss is not None]
        return {
            "step": np.array([step.step for step in history]),
            "loss": np.array([step.loss for step in history]),
            "gradient_norm": np.array([step.gradient_norm for step in history]),
            "learning_rate": np.array([step.learning_rate for step in history]),
            "validation_step": np.array([step.step for step in evaluated]),
            "validation": np.array([step.validation_loss for step in evaluated]),
        }

    def update(self) -> None:
        """Say what a press on start would do; then show the run. The sliders never disturb it."""
        try:
            self._plan.value = paragraph(self._planned(*self.configs()), QUIET_COLOR)
        except ValueError:
            self._plan.value = ""
            raise
        finally:
            self._show_run()

    def _show_run(self, announce: bool = True) -> None:
        with DRAWING:
            result = self.compute(self.run.history if self.run else [])
            steps = self.run.config.steps if self.run else self.steps.value
            self._draw(result, steps)
            self.progress.max, self.progress.value = steps, len(result["step"])
            self._sample.value = _sample_block(*self.samples[-1]) if self.samples else ""
            self.show(self._summary(result, steps), self._stage, announce, steps=steps,
                      samples=tuple(self.samples), **result)

    def _summary(self, result: dict, steps: int) -> str:
        if not len(result["step"]):
            return "No run yet: press start."
        words = f"Step {result['step'][-1]:,} of {steps:,}: training loss {result['loss'][-1]:.3f}"
        if len(result["validation"]):
            words += (f", validation loss {result['validation'][-1]:.3f} at step "
                      f"{result['validation_step'][-1]:,}")
        floor = f", floor {self.floor:.3f}" if self.floor is not None else ""
        return f"{words}{floor}; in nats per token."

    def _planned(self, config: GPTConfig, training: TrainConfig) -> str:
        if not len(self.train_ids):
            raise ValueError("There is no text to train on: pass the ids of one as train_ids.")
        tokens = training.batch_size * config.context_length
        passes = training.steps * tokens / len(self.train_ids)
        parameters = sum(parameters_by_part(config).values())
        return (f"Start trains a model of {parameters:,} parameters on {training.steps:,} batches "
                f"of {training.batch_size} × {config.context_length} tokens: it reads the text "
                f"{passes:.1f} times.")

    def _show_time(self, step: Step, seconds_left: float) -> None:
        self._status.value = paragraph(
            f"Step {step.step:,} of {self.run.config.steps:,} · {_clock(seconds_left)} left · "
            f"{step.tokens_per_second:,.0f} tokens per second · gradient norm "
            f"{step.gradient_norm:.2f}", QUIET_COLOR)

    def _draw(self, result: dict, steps: int) -> None:
        curves = (("step", "loss"), ("validation_step", "validation"), ("step", "gradient_norm"),
                  ("step", "learning_rate"))
        for curve, (x, y) in zip(self._curves, curves, strict=True):
            curve.set_data(result[x], result[y])
        for axes, expected in zip(self._axes, self._expected(), strict=True):
            axes.set_xlim(0, 1.06 * steps)
            axes.set_ylim(0, 1.1 * expected)
            if len(result["step"]):
                axes.relim()
                axes.autoscale(axis="y")

    def _expected(self) -> tuple[float, float, float]:
        """How far loss, gradient norm and learning rate reach in an ordinary run: up to a blind
        guess, to one, and to the peak of the schedule."""
        return math.log(self._model_config.vocab_size), 1.0, self.learning_rate.value

    def _enable_buttons(self, running: bool) -> None:
        self.start_button.disabled = running
        self.stop_button.disabled = not running
        measured = self.run.history and self.run.history[-1].validation_loss is not None
        self.resume_button.disabled = running or bool(
            self.run.step == self.run.config.steps and (measured or self.validation_ids is None))

    def _make_controls(self, model: GPTConfig, training: TrainConfig) -> None:
        self.optimizer = choice("optimizer", [("AdamW", "adamw"), ("Muon", "muon")],
                                "Muon leaves embeddings and vectors to AdamW")
        self.optimizer.value = training.optimizer
        rates = sorted({*RATES, training.learning_rate})
        self.learning_rate = stepped_slider(
            "learning rate", [(figures.number(rate), rate) for rate in rates],
            training.learning_rate, "AdamW's, at the peak of the schedule")
        self.batch = whole_slider("batch", 1, max(64, training.batch_size), training.batch_size,
                                  "Windows of text per step")
        self.steps = whole_slider("steps", min(10, training.steps), max(2000, training.steps),
                                  training.steps, "How often the weights move")
        self.dropout = number_slider("dropout", 0, max(0.5, model.drop_rate), model.drop_rate,
                                     0.05, "Share of activations dropped while training")
        self.width = whole_slider("width", min(16, model.emb_dim), max(256, model.emb_dim),
                                  model.emb_dim, "Numbers per token", step=16)
        self.layers = whole_slider("layers", 1, max(8, model.n_layers), model.n_layers,
                                   "Number of blocks")
        self.heads = whole_slider("heads", 1, max(8, model.n_heads), model.n_heads,
                                  "Heads per block; the width must be divisible by them")
        self._settings = [self.optimizer, self.learning_rate, self.steps, self.batch,
                          self.dropout, self.width, self.layers, self.heads]
        self.start_button = button("start", self.start, "Train a fresh model", "play")
        self.stop_button = button("stop", self.ask_to_stop, "End the run after this batch", "stop")
        self.resume_button = button("continue", self.resume, "Go on with the run", "step-forward")
        self.stop_button.disabled = self.resume_button.disabled = True

    def _build(self) -> None:
        figure = figures.new_figure(figures.WIDTH, 340)
        grid = figure.add_gridspec(2, 5)
        loss = figures.new_axes(figure, "Loss", "step", "nats per token", "y", grid[:, :3])
        norm = figures.new_axes(figure, "Gradient norm", "", "", "y", grid[0, 3:])
        rate = figures.new_axes(figure, "Learning rate", "step", "", "y", grid[1, 3:])
        train, = loss.plot([], [], color=figures.SERIES[0], linewidth=1.3, label="training")
        validation, = loss.plot([], [], color=figures.SERIES[1], linewidth=2, marker="o",
                                markersize=4, label="validation")
        if self.floor is not None:
            loss.axhline(self.floor, color=figures.MUTED, linewidth=1.2, linestyle=(0, (5, 4)),
                         label=f"floor {figures.number(self.floor)}")
        loss.legend(loc="upper right", frameon=False, fontsize=figures.TEXT_SIZE,
                    labelcolor=figures.INK)
        pulse, = norm.plot([], [], color=figures.SERIES[2], linewidth=1.2)
        schedule, = rate.plot([], [], color=figures.SERIES[3], linewidth=1.6)
        for axes in (loss, norm, rate):
            axes.locator_params(axis="x", integer=True, nbins=6)
        rate.yaxis.set_major_formatter(lambda y, _: figures.number(y))
        rate.set_ylim(0, 2e-4)                            # leaves room for the longest labels
        self._axes = (loss, norm, rate)
        self._curves = (train, validation, pulse, schedule)
        self._stage = figures.Stage(figure, *self._axes)


@contextmanager
def _stoppable(model: GPTModel, stopping: threading.Event) -> Iterator[None]:
    """Once `stopping` is set, end a measurement on the validation text between two of its batches,
    as the notebook's stop button does where a run is not in a thread."""
    thread = threading.get_ident()

    def look(_model, _ids) -> None:
        measuring = torch.is_inference_mode_enabled() and threading.get_ident() == thread
        if stopping.is_set() and measuring:
            raise KeyboardInterrupt

    hook = model.register_forward_pre_hook(look)
    try:
        yield
    finally:
        hook.remove()


def _small_model(vocab_size: int) -> GPTConfig:
    return GPTConfig(vocab_size=vocab_size, context_length=64, emb_dim=128, n_heads=4, n_layers=4,
                     drop_rate=0.0, qkv_bias=False)


def _clock(seconds: float) -> str:
    """Minutes and seconds, as 1:05."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"


def _sample_block(step: int, text: str) -> str:
    return (f'<figure style="margin: 6px 0; max-width: {figures.WIDTH}px; color: {TEXT_COLOR}">'
            f'<figcaption style="color: {QUIET_COLOR}">What it writes after {step:,} steps'
            f'</figcaption><blockquote style="margin: 2px 0; padding-left: 12px; white-space: '
            f'pre-wrap; line-height: 1.5; border-left: 3px solid {figures.SERIES[0]}">'
            f"{figures.in_markup(text)}</blockquote></figure>")
