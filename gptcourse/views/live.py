"""A training in a cell, seen while it runs."""

from __future__ import annotations

import math
import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from weakref import WeakKeyDictionary

import ipywidgets as widgets
import torch
from IPython import get_ipython
from IPython.display import display

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.views.base import QUIET_COLOR, View, button, paragraph
from gptcourse.views.losses import (
    ABOVE,
    SECONDS_BETWEEN_PICTURES,
    LossAxes,
    clock,
    columns,
    result_in_words,
    scale_choice,
    story_block,
    tell,
    write_story,
)
from gptcourse.views.twin import twin
from gptlib.checks import shown
from gptlib.training import Step, TrainingRun

FIRST_STORY = 10                     # the step after which it comes; then 20, 40, 80 and so on
STILL_STORIES = 3                    # the last ones, in the still picture
HEIGHT = 290                         # of the curve, in pixels
UNKNOWN = math.nan                   # of a plain loop, whose steps tell their losses only


@dataclass
class _Record:
    """What a training has shown so far. It outlives the view, which is another with every run of a
    cell."""

    history: list[Step] = field(default_factory=list)
    stories: list[tuple[int, str]] = field(default_factory=list)


_records: WeakKeyDictionary[Iterable, _Record] = WeakKeyDictionary()


class watch(View):  # noqa: N801 - reads as what it does: for step in watch(run)
    """The loss of a training, drawn while a loop goes through its steps.

    >>> for step in watch(run, tokenizer, floor=floor):
    ...     pass                                         # or whatever you do after each step

    What it goes through is a `TrainingRun`, or anything else that hands out a loss for each step,
    such as your own `train`; it hands on what it gets. The notebook's stop button ends the loop
    after the step under way, and so does the button in the view. What has been trained stays
    trained: go through the same run again, and it goes on, with all that was drawn and told.
    """

    def __init__(
        self, steps: Iterable, tokenizer=None, floor: float | None = None, model=None,
        total: int | None = None,
    ):
        """With a `tokenizer`, the model tells a story after 10, 20, 40, 80 steps and so on; where
        `steps` is no TrainingRun, it is `model` that tells, and `total` says how many steps there
        will be. `floor` is the best loss that is possible, where it is known."""
        run = steps if isinstance(steps, TrainingRun) else None
        self.steps, self.tokenizer, self.floor = steps, tokenizer, floor
        self._model = run.model if run else model
        self._total = run.config.steps if run else total
        if tokenizer is not None and self._model is None:
            raise ValueError(
                "There is a tokenizer for stories, but no model to tell them: pass the model that "
                "is trained as model, or leave out the tokenizer.")
        self._first = None if tokenizer is None else tokenizer.end_token
        self._record = _record_of(steps)
        self._stopping, self._running = threading.Event(), False
        self.scale = scale_choice(floor)
        if floor is not None:
            self.scale.value = ABOVE
        self.stop_button = button("stop", self.stop, "End the loop after this step", "stop")
        self.stop_button.disabled = True
        self._status, self._stories = widgets.HTML(), widgets.HTML()
        self._curve = None
        super().__init__([self.scale, self.stop_button], [self._status, self._stories])
        self._build()
        self._sentence.value = paragraph("To begin, go through it: for step in watch(…): …")
        self.follow(self.scale)

    # ------------------------------------------------------------------------------ the loop

    def __iter__(self) -> Iterator:
        output, started, failed = _Output(self), time.monotonic(), None
        self._stopping.clear()
        self._set_running(True)
        self._sentence.value = paragraph("The stop button ends it after the step under way, and "
                                         "so does ■ in the notebook's toolbar.")
        try:
            with _asking(self._stopping):
                yield from self._watched()
        except KeyboardInterrupt:                    # pressed twice
            self._stopping.set()
        except Exception as error:
            failed = error
            raise
        finally:
            self._set_running(False)
            self._end(failed, time.monotonic() - started)
            output.keep(self)

    def stop(self) -> None:
        """Let the loop end after the step under way."""
        if self._running:
            self._stopping.set()
            self._status.value = paragraph("Stopping after this step …", QUIET_COLOR)

    def _watched(self) -> Iterator:
        """The steps, each noted and seen before it is handed on."""
        started, steps_before, next_picture = time.monotonic(), self.step, 0.0
        for step in self.steps:
            self._note(step)
            due = self._story_due()
            if due:
                self._record.stories.append((self.step, self._story()))
            now = time.monotonic()
            if due or now >= next_picture:
                self._show_time((now - started) / max(1, self.step - steps_before))
                self.refresh()
                # A machine is to train, not to draw: a twentieth of the time at most.
                next_picture = now + max(SECONDS_BETWEEN_PICTURES, 20 * (time.monotonic() - now))
            yield step
            if self._stopping.is_set():
                return

    @property
    def history(self) -> list[Step]:
        """The steps so far. Of those of a plain loop, only number and loss are known."""
        run = isinstance(self.steps, TrainingRun)
        return self.steps.history if run else self._record.history

    @property
    def step(self) -> int:
        """Number of the last step."""
        return self.history[-1].step if self.history else 0

    def _note(self, step) -> None:
        if not isinstance(step, Step):
            step = Step(self.step + 1, 0, _loss_of(step), None, UNKNOWN, UNKNOWN, UNKNOWN)
        if not isinstance(self.steps, TrainingRun):
            self._record.history.append(step)

    def _story_due(self) -> bool:
        """After 10, 20, 40, 80 steps and so on, and after the last."""
        stories = self._record.stories
        if self.tokenizer is None or (stories and stories[-1][0] == self.step):
            return False
        count, rest = divmod(self.step, FIRST_STORY)
        return self.step == self._total or (rest == 0 and count & (count - 1) == 0)

    def _story(self) -> str:
        with torch.inference_mode():
            return tell(twin(self._model), self.tokenizer, self._first, self._stopping)

    # ------------------------------------------------------------------------ what is seen

    compute = staticmethod(columns)

    def update(self) -> None:
        result = self.compute(self.history)
        self._curve.set_scale(self.scale.value)
        self._curve.draw(result, self._total or max(self.step, FIRST_STORY))
        if self.tokenizer is not None:
            self._stories.value = _stories_block(self._record.stories)
        self.show(self._summary(result), self._stage, announce=False,
                  stories=tuple(self._record.stories), **result)

    def _summary(self, result: dict) -> str:
        of = f" of {self._total:,}" if self._total else ""
        if not len(result["step"]):
            floor = "" if self.floor is None else f"; the floor is {self.floor:.3f} nats per token"
            return f"Step 0{of}: no loss yet{floor}."
        return f"Step {self.step:,}{of}: {result_in_words(result, self.floor)}."

    def _show_time(self, seconds_per_step: float) -> None:
        last = self.history[-1]
        parts = [f"Step {self.step:,}" + (f" of {self._total:,}" if self._total else ""),
                 f"loss {last.loss:.3f}"]
        if self._total:
            parts.append(f"{clock(seconds_per_step * max(0, self._total - self.step))} left")
        if math.isfinite(last.tokens_per_second):
            parts.append(f"{last.tokens_per_second:,.0f} tokens per second")
        elif seconds_per_step:
            parts.append(f"{figures.number(1 / seconds_per_step, 2)} steps per second")
        self._status.value = paragraph(" · ".join(parts), QUIET_COLOR)

    def _end(self, failed: Exception | None, seconds: float) -> None:
        """The last picture, and below the view a sentence that is the same on every machine."""
        self.refresh()
        if self._record.stories:
            self.picture = self.still()
        self._status.value = paragraph("\N{NO-BREAK SPACE}")      # its line stays
        self._sentence.value = paragraph(f"Ended after step {self.step:,}. It took "
                                         f"{clock(seconds)}.")
        if failed:
            with self.errors_shown():
                raise failed
        elif self._stopping.is_set() and self.step != self._total:
            again = " Run this cell again, and it goes on." * isinstance(self.steps, TrainingRun)
            print(f"Stopped. {self.shown['summary']}{again}")
        else:
            print(self.shown["summary"])

    def still(self) -> figures.Picture:
        """The curve with the last stories below it, for pages where no widget can be."""
        stories = self._record.stories[-STILL_STORIES:]
        with DRAWING:
            figure = figures.new_figure(figures.WIDTH, HEIGHT + 90 * len(stories))
            places = figure.add_gridspec(
                1 + len(stories), 1, height_ratios=[HEIGHT, *[90] * len(stories)])
            curve = self._new_curve(figure, places[0])
            curve.set_scale(self.scale.value)
            curve.draw(self.shown, self._total or self.step)
            for place, (step, story) in enumerate(stories, 1):
                write_story(figures.new_axes(figure, f"What it writes after {step:,} steps",
                                             position=places[place]), story, limit=228)
            return figures.Picture(figures.png(figure), self.shown["summary"], figures.WIDTH)

    def _set_running(self, running: bool) -> None:
        self._running = running
        self.stop_button.disabled = not running

    def _build(self) -> None:
        figure = figures.new_figure(figures.WIDTH, HEIGHT)
        self._curve = self._new_curve(figure)
        self._stage = figures.Stage(figure, self._curve.axes)

    def _new_curve(self, figure, position=111) -> LossAxes:
        validated = isinstance(self.steps, TrainingRun) and self.steps.validation_ids is not None
        return LossAxes(figure, self.floor, position, validated)


class _Output:
    """The place in the notebook where a loop shows its view.

    What is stored there is a picture from before the first step, and becomes the last one in the
    end. Its words stay: what compares notebooks reads only those that came first.
    """

    def __init__(self, view: watch):
        if get_ipython() is None:                    # a script, which has no such place
            self._handle = None
            return
        data, words = view._repr_mimebundle_()
        self._text = data["text/plain"]
        self._handle = display(data, metadata=words, raw=True, display_id=True)

    def keep(self, view: watch) -> None:
        if self._handle is not None:
            data, words = view._repr_mimebundle_()
            self._handle.update({**data, "text/plain": self._text}, metadata=words, raw=True)


@contextmanager
def _asking(stopping: threading.Event) -> Iterator[None]:
    """The notebook's stop button sets `stopping`; pressed once more, it acts at once."""
    def pressed(*_) -> None:
        if stopping.is_set():
            raise KeyboardInterrupt
        stopping.set()

    here = threading.current_thread() is threading.main_thread()    # no other is interrupted
    former = signal.signal(signal.SIGINT, pressed) if here else None
    try:
        yield
    finally:
        if here:
            signal.signal(signal.SIGINT, former)


def _record_of(steps: Iterable) -> _Record:
    """What was seen of these steps before, where they go on and do not begin anew."""
    if iter(steps) is steps:
        try:
            return _records.setdefault(steps, _Record())
        except TypeError:                            # nothing can be kept beside a map or a zip
            pass
    return _Record()


def _loss_of(step) -> float:
    try:
        return float(step.detach() if hasattr(step, "detach") else step)
    except (TypeError, ValueError):
        raise TypeError(
            f"watch got {shown(step)} from the loop, but it draws losses: have the loop yield the "
            "loss of each step, a number.") from None


def _stories_block(stories: list[tuple[int, str]]) -> str:
    """All stories, the last one first, in a box of their own."""
    blocks = [story_block(step, text) for step, text in reversed(stories)]
    return ('<div role="group" tabindex="0" aria-label="Stories so far, the last one first" '
            'style="height: 190px; overflow-y: auto">' + "".join(blocks) + "</div>")
