"""Choose a model and its training, start, watch, stop, go on."""

from __future__ import annotations

import copy
import math
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace

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
from gptcourse.views.losses import (
    SECONDS_BETWEEN_PICTURES,
    LossAxes,
    clock,
    columns,
    result_in_words,
    scale_choice,
    story_block,
    tell,
)
from gptcourse.views.session import Session
from gptcourse.views.weights import drawing_from
from gptlib.config import GPTConfig
from gptlib.model import GPTModel, flops_per_token, parameters_by_part
from gptlib.optimizer import share_of_peak
from gptlib.tokenizer import END_OF_TEXT
from gptlib.training import Step, TrainConfig, TrainingRun

MOST_FORMER = 3                  # runs that are kept for comparison
MEASURED_STEPS = 3               # of which the one in the middle tells how long a step takes
OPTIMIZERS = {"adamw": "AdamW", "muon": "Muon"}
RATES = [factor * 10.0**power for power in range(-5, 0) for factor in (1, 2, 3, 5)] + [1.0]


@dataclass(frozen=True)
class RunRecord:
    """What a run was and how far it came; its model is not kept."""

    model: GPTConfig
    training: TrainConfig
    result: dict[str, np.ndarray]    # the columns of its history
    seconds: float

    @property
    def loss(self) -> float:
        """The last loss on the validation text, or else on the training text, in nats per token."""
        validation = self.result["validation"]
        return float(validation[-1] if len(validation) else self.result["loss"][-1])


class TrainingDashboard(View):
    """A training run in a thread of its own, so that page and controls stay alive.

    `run` is the `TrainingRun`, with its `history`, and `model` the model that it trains, while it
    runs and afterwards. It ends when the view is taken from the page: nobody could stop it there
    any more. `former` are the runs before it, which stay on screen for comparison.
    """

    def __init__(
        self,
        train_ids: Sequence[int],
        validation_ids: Sequence[int],
        tokenizer,
        floor: float | None = None,
        model_config: GPTConfig | Mapping | None = None,
        train_config: TrainConfig | None = None,
        session: Session | None = None,
        finished: Sequence[Step] = (),
    ):
        """`floor` is the best loss that is possible on this text, where it is known. The sliders
        begin with the two configurations, or else with a short run on a CPU; what has no slider
        stays as it is there. Views that share `session` can be given the model. `finished` is the
        history of a run with these settings, for pages where nobody can press start."""
        self.train_ids, self.validation_ids = train_ids, validation_ids
        self.tokenizer, self.floor, self.finished = tokenizer, floor, finished
        self.session = Session() if session is None else session
        self.run: TrainingRun | None = None
        self.former: list[RunRecord] = []
        self.samples: list[tuple[int, str]] = []
        self._seconds = 0.0                              # of training, in this run
        self._seconds_per_step: dict[tuple, float] = {}  # by the size of a step, the last one last
        self._thread: threading.Thread | None = None
        self._stopping = threading.Event()
        self._model_config = GPTConfig.of(model_config or _small_model(tokenizer.vocab_size))
        self._train_config = train_config or TrainConfig(steps=300, evaluate_every=30)
        self._make_controls(self._model_config, self._train_config)
        self.scale = scale_choice(floor)
        self.progress = widgets.IntProgress(
            0, 0, 1, layout={"width": "160px", "flex": "0 1 auto"}, tooltip="How far the run is")
        self._plan, self._status, self._sample, self._runs = (widgets.HTML() for _ in range(4))
        self._sample.layout.min_height = "84px"          # four lines, so that nothing jumps
        buttons = widgets.HBox(self._buttons, layout={"flex_flow": "row wrap"})
        super().__init__(
            [*self._settings, self.scale, buttons, self._plan],
            [widgets.HBox([self.progress, self._status]), self._sample, self._runs])
        self.children[0].layout.max_width = "880px"      # three sliders beside each other
        self._drawn = []                     # a run stays true, whatever is wrong with a slider
        self._charts = self._new_charts()
        self.follow(*self._settings, self.scale)

    # ----------------------------------------------------------------- what the buttons do

    def start(self) -> None:
        """Train a fresh model with the settings on screen; a run under way ends first."""
        self.stop()
        with self.errors_shown(), torch.inference_mode(False):
            config, training = self.configs()
            with drawing_from(torch.Generator().manual_seed(training.seed)):
                model = GPTModel(config)
            run = TrainingRun(model, self.train_ids, self.validation_ids, training)
            self.former = [*self.former, *self._record()][-MOST_FORMER:]
            self.run, self.samples, self._seconds = run, [], 0.0
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

    @property
    def model(self) -> GPTModel | None:
        """What the run trains; None as long as there is none."""
        return self.run.model if self.run else None

    def use_model(self) -> None:
        """Have the views of this session show the model as it is now."""
        with self.errors_shown():
            if self.model is None or self.running:
                raise ValueError("There is a model to use as soon as a run has ended: "
                                 f"press {'stop' if self.running else 'start'}.")
            self.session.model = copy.deepcopy(self.model)        # a run that goes on leaves it be
            self._status.value = paragraph(
                f"The views of this session show the model of step {self.run.step:,}.", QUIET_COLOR)

    def measure(self) -> None:
        """Take a few steps of this size with a model of no use, so that the view can say how long
        a run will take."""
        try:
            config, training = self.configs()
        except ValueError:
            return                                                # which the view says already
        seconds = seconds_per_step(config, training)
        tokens = training.batch_size * config.context_length
        # To read a token costs a third of what learning from it costs.
        reading = len(self.validation_ids or []) / (3 * tokens * training.evaluate_every)
        self._seconds_per_step.setdefault(_size(config, training), seconds * (1 + reading))
        self.refresh()

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

    def enter_page(self) -> None:
        if not (self._seconds_per_step or self.running):
            threading.Thread(target=self.measure, daemon=True).start()

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
                self._remember_pace()
                self._enable_buttons(running=False)
                self._status.value = paragraph(
                    f"Ended after step {self.run.step:,}. It took {clock(self._seconds)}.",
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
        return tell(self.run.model, self.tokenizer, first, stopping)

    def _record(self) -> list[RunRecord]:
        """The present run, if it has taken a step."""
        if not (self.run and self.run.history):
            return []
        return [RunRecord(self.run.model.config, self.run.config, self.compute(self.run.history),
                          self._seconds)]

    def _remember_pace(self) -> None:
        if self.run.step:
            size = _size(self.run.model.config, self.run.config)
            self._seconds_per_step.pop(size, None)               # so that it becomes the last one
            self._seconds_per_step[size] = self._seconds / self.run.step

    # ------------------------------------------------------------------------ what is seen

    compute = staticmethod(columns)

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
            records = self._record()
            result = records[0].result if records else self.compute([])
            steps = self.run.config.steps if self.run else self.steps.value
            self._draw(result, steps)
            self.progress.max, self.progress.value = steps, len(result["step"])
            self._sample.value = story_block(*self.samples[-1]) if self.samples else ""
            self._runs.value = _table_of([*self.former, *records], self.floor)
            self.show(self._summary(result, steps), self._charts.stage, announce, steps=steps,
                      samples=tuple(self.samples), **result)

    def _summary(self, result: dict, steps: int) -> str:
        if len(result["step"]):
            return (f"Step {result['step'][-1]:,} of {steps:,}: "
                    f"{result_in_words(result, self.floor)}.")
        floor = "" if self.floor is None else f", towards the floor of {self.floor:.3f}"
        return (f"No run yet: press start. In {steps:,} steps, the loss should sink from about "
                f"{self._blind_guess:.3f}, a blind guess among {self._model_config.vocab_size:,} "
                f"tokens{floor}; in nats per token.")

    def _planned(self, config: GPTConfig, training: TrainConfig) -> str:
        if not len(self.train_ids):
            raise ValueError("There is no text to train on: pass the ids of one as train_ids.")
        tokens = training.batch_size * config.context_length
        passes = training.steps * tokens / len(self.train_ids)
        parameters = sum(parameters_by_part(config).values())
        seconds = self._expected_seconds(config, training)
        return (f"Start trains {parameters:,} parameters on {training.steps:,} batches of "
                f"{training.batch_size} × {config.context_length} tokens, {passes:.1f} times the "
                f"text{f': {_about(seconds)}' if seconds else ''}.")

    def _expected_seconds(self, config: GPTConfig, training: TrainConfig) -> float | None:
        """How long a run will take: as long for each step as the last one of this size took, or
        else one of another size, by the work in it. None where nothing has been measured."""
        if not self._seconds_per_step:
            return None
        size = _size(config, training)
        known = size if size in self._seconds_per_step else [*self._seconds_per_step][-1]
        return training.steps * self._seconds_per_step[known] * _work(size) / _work(known)

    def _show_time(self, step: Step, seconds_left: float) -> None:
        self._status.value = paragraph(
            f"Step {step.step:,} of {self.run.config.steps:,} · {clock(seconds_left)} left · "
            f"{step.tokens_per_second:,.0f} tokens per second · gradient norm "
            f"{step.gradient_norm:.2f}", QUIET_COLOR)

    def _draw(self, result: dict, steps: int) -> None:
        peak, planned = self.learning_rate.value, self.steps.value
        warmup, schedule = self._train_config.warmup_steps, self._train_config.schedule
        self._charts.draw(result, steps, self.scale.value, peak,
                          [record.result for record in self.former],
                          [peak * share_of_peak(step, planned, warmup, schedule)
                           for step in range(planned)])

    @property
    def stored_picture(self) -> figures.Picture | None:
        """As long as there is no run, the finished one, which says that it is another."""
        if not self.finished or self._record():
            return self.picture
        result, config = self.compute(self.finished), self._model_config
        training, steps = self._train_config, len(result["step"])
        with DRAWING:
            charts = self._new_charts(
                f"A finished run, stored with the course: {steps:,} steps, optimizer "
                f"{OPTIMIZERS[training.optimizer]}, batch {training.batch_size}, width "
                f"{config.emb_dim}, layers {config.n_layers}")
            charts.draw(result, steps, self.scale.value, result["learning_rate"].max())
            words = f"A finished run, stored with the course. {self._summary(result, steps)}"
            return figures.Picture(charts.stage.png(), words, figures.WIDTH)

    @property
    def _blind_guess(self) -> float:
        return math.log(self._model_config.vocab_size)

    def _enable_buttons(self, running: bool) -> None:
        self.start_button.disabled = running
        self.stop_button.disabled = not running
        self.use_button.disabled = running or not self.run.step
        measured = self.run.history and self.run.history[-1].validation_loss is not None
        self.resume_button.disabled = running or bool(
            self.run.step == self.run.config.steps and (measured or self.validation_ids is None))

    def _make_controls(self, model: GPTConfig, training: TrainConfig) -> None:
        self.optimizer = choice("optimizer", [(name, key) for key, name in OPTIMIZERS.items()],
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
        self.use_button = button("use this model", self.use_model,
                                 "Views that share this session show it", "share")
        self._buttons = [self.start_button, self.stop_button, self.resume_button, self.use_button]
        for other in self._buttons[1:]:
            other.disabled = True

    def _new_charts(self, title: str = "") -> _Charts:
        return _Charts(self.floor, self.validation_ids is not None, self._model_config.vocab_size,
                       title)


class _Charts:
    """The losses of a run, its gradient norm and its learning rate, and what is known of these
    before it begins."""

    def __init__(self, floor: float | None, validated: bool, vocab_size: int, title: str = ""):
        figure = figures.new_figure(figures.WIDTH, 270 if title else 240)
        if title:
            figure.suptitle(title, x=0.01, ha="left", color=figures.MUTED,
                            fontsize=figures.TEXT_SIZE)
        grid = figure.add_gridspec(2, 5)
        self.loss = LossAxes(figure, floor, grid[:, :3], validated, MOST_FORMER)
        norm = figures.new_axes(figure, "Gradient norm", "", "", "y", grid[0, 3:])
        rate = figures.new_axes(figure, "Learning rate", "step", "", "y", grid[1, 3:])
        pulse, = norm.plot([], [], color=figures.SERIES[2], linewidth=1.2)
        schedule, = rate.plot([], [], color=figures.SERIES[3], linewidth=1.6)
        self._small_curves = ((norm, pulse, "gradient_norm", 1.0),
                              (rate, schedule, "learning_rate", None))
        for axes in (norm, rate):
            axes.locator_params(axis="x", integer=True, nbins=6)
        rate.yaxis.set_major_formatter(lambda y, _: figures.number(y))
        rate.set_ylim(0, 2e-4)                            # leaves room for the longest labels
        self._blind_guess = math.log(vocab_size)
        waiting = {"color": figures.MUTED, "linewidth": 1.2, "linestyle": (0, (1, 2))}
        self.guess = self.loss.axes.axhline(self._blind_guess, **waiting)
        guess = self.loss.axes.text(
            0.02, 0.86, f"a blind guess: ln {vocab_size:,} = {figures.number(self._blind_guess)}",
            transform=self.loss.axes.transAxes, va="top", color=figures.MUTED,
            fontsize=figures.TEXT_SIZE)
        self._planned_rate, = rate.plot([], [], **waiting)
        self.expectations = [self.guess, guess, self._planned_rate]
        self.stage = figures.Stage(figure, self.loss.axes, norm, rate)

    def draw(
        self, result: Mapping[str, np.ndarray], steps: int, scale: str, peak: float,
        former: Sequence[Mapping[str, np.ndarray]] = (), planned_rates: Sequence[float] = (),
    ) -> None:
        """The columns of a run of so many steps, and of former ones; `peak` is the highest rate."""
        self.loss.set_scale(scale)
        self.loss.draw(result, steps, former, expected=self._blind_guess)
        nothing = not len(result["step"])
        for part in self.expectations:
            part.set_visible(nothing)
        self.guess.set_ydata([self.loss.height(np.array(self._blind_guess))] * 2)
        self._planned_rate.set_data(np.arange(len(planned_rates)) + 1, planned_rates)
        for axes, curve, name, expected in self._small_curves:
            curve.set_data(result["step"], result[name])
            axes.set_xlim(0, 1.06 * steps)
            axes.set_ylim(0, 1.1 * (peak if expected is None else expected))
            if not nothing:
                axes.relim(visible_only=True)
                axes.autoscale(axis="y")


def seconds_per_step(config: GPTConfig, training: TrainConfig) -> float:
    """How long a step of this size takes on this machine; measured, on text without a meaning."""
    B, T = training.batch_size, config.context_length
    generator = torch.Generator().manual_seed(0)
    with torch.inference_mode(False), torch.enable_grad():
        with drawing_from(generator):
            model = GPTModel(config)
        ids = torch.randint(config.vocab_size, (B * T + 1,), generator=generator)
        run = TrainingRun(model, ids, None, replace(training, steps=MEASURED_STEPS, end_token=None,
                                                    compile=False))
        return sorted(B * T / step.tokens_per_second for step in run)[MEASURED_STEPS // 2]


def _size(config: GPTConfig, training: TrainConfig) -> tuple[GPTConfig, int, str]:
    """What decides how long a step takes."""
    return config, training.batch_size, training.optimizer


def _work(size: tuple[GPTConfig, int, str]) -> int:
    config, batch_size, _ = size
    return flops_per_token(config) * config.context_length * batch_size


def _about(seconds: float) -> str:
    """A time that is not known exactly: about 40 s, about 3 min."""
    if seconds > 90:
        return f"about {round(seconds / 60)} min"
    digits = 5 if seconds > 20 else 1
    return f"about {max(1, digits * round(seconds / digits))} s"


@contextmanager
def _stoppable(model: GPTModel, stopping: threading.Event) -> Iterator[None]:
    """Once `stopping` is set, end a measurement on the validation text between two of its batches,
    as the notebook's stop button does where a run is not in a thread."""
    thread = threading.get_ident()

    def look(_model, _ids) -> None:
        measuring = not torch.is_grad_enabled() and threading.get_ident() == thread
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


def _table_of(runs: Sequence[RunRecord], floor: float | None) -> str:
    """The runs as rows of an HTML table, the present one first and in bold, the former gray, as
    their curves are."""
    if not runs:
        return ""
    above = [] if floor is None else ["above floor"]
    names = ["optimizer", "rate", "steps", "batch", "width", "layers", "loss", *above, "time"]
    rows = [("th", f"color: {QUIET_COLOR}", names)]
    for n, run in enumerate(reversed(runs)):
        distance = [] if floor is None else [f"{run.loss - floor:.3f}".replace("-", "−")]
        style = "font-weight: bold" if n == 0 else f"color: {QUIET_COLOR}"
        rows.append(("td", style, [
            OPTIMIZERS[run.training.optimizer],
            figures.number(run.training.learning_rate), f"{len(run.result['step']):,}",
            run.training.batch_size, run.model.emb_dim, run.model.n_layers, f"{run.loss:.3f}",
            *distance, clock(run.seconds) if run.seconds else "…"]))
    cell = "padding: 0 clamp(5px, 2vw - 10px, 16px) 0 0"                  # on any page
    lines = "".join(
        f'<tr style="{style}">'
        + "".join(f'<{kind} style="{cell}">{word}</{kind}>' for word in words) + "</tr>"
        for kind, style, words in rows)
    return ('<div tabindex="0" role="group" aria-label="Runs, the present one first" '
            'style="overflow-x: auto; width: 0; min-width: 100%">'                # where narrow
            f'<table style="color: {TEXT_COLOR}; font-size: 12px; line-height: 1.4; '
            f'text-align: left; font-variant-numeric: tabular-nums">{lines}'
            "</table></div>")
