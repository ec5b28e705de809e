"""What the views of a training share: its history as columns, its loss on a scale of choice, a
story of the model's, and the time."""

from __future__ import annotations

import textwrap
import threading
from collections.abc import Mapping, Sequence
from itertools import takewhile

import numpy as np
import torch

from gptcourse import figures
from gptcourse.views.base import QUIET_COLOR, TEXT_COLOR, choice
from gptlib.generation import generate
from gptlib.tokenizer import END_OF_TEXT
from gptlib.training import Step

SECONDS_BETWEEN_PICTURES = 0.25
STORY_TOKENS = 80
LEAST_ABOVE = 0.002                        # nats; what is nearer to the floor is noise
PLAIN, LOG, ABOVE = "loss", "log", "above"


def columns(history: Sequence[Step]) -> dict[str, np.ndarray]:
    """The columns of a history; `validation` comes with its own steps.  -> arrays (N)"""
    history = list(history)                           # a run under way makes the history longer
    evaluated = [step for step in history if step.validation_loss is not None]
    return {
        "step": np.array([step.step for step in history]),
        "loss": np.array([step.loss for step in history]),
        "gradient_norm": np.array([step.gradient_norm for step in history]),
        "learning_rate": np.array([step.learning_rate for step in history]),
        "validation_step": np.array([step.step for step in evaluated]),
        "validation": np.array([step.validation_loss for step in evaluated]),
    }


def result_in_words(result: Mapping[str, np.ndarray], floor: float | None) -> str:
    """The last losses, to three decimals, and how far the last of them is from the floor."""
    last, words = result["loss"][-1], f"training loss {result['loss'][-1]:.3f}"
    if len(result["validation"]):
        last = result["validation"][-1]
        when = result["validation_step"][-1]
        at = "" if when == result["step"][-1] else f" at step {when:,}"
        words += f", validation loss {last:.3f}{at}"
    if floor is None or not np.isfinite(last):
        return f"{words}; in nats per token"
    side = "above" if last >= floor else "below"
    return f"{words}, {abs(last - floor):.3f} {side} the floor of {floor:.3f}; in nats per token"


def scale_choice(floor: float | None):
    """A list to choose the scale of the loss from."""
    above = [] if floor is None else [("above the floor, log scale", ABOVE)]
    return choice("show", [("loss", PLAIN), ("loss, log scale", LOG), *above],
                  "The scale of the loss: a log scale shows factors, and so how a curve goes on")


class LossAxes:
    """The part of a figure that shows a run's losses, on the scale that was chosen last."""

    def __init__(
        self, figure, floor: float | None, position=111, validated: bool = True, n_former: int = 0
    ):
        """Room for the losses of one run, `validated` or not, and in gray for `n_former` others."""
        self.floor, self.scale = floor, PLAIN
        axes = self.axes = figures.new_axes(figure, "", "step", "nats per token", "y", position)
        self._title = axes.set_title("Loss", loc="left", fontsize=11.5, color=figures.INK,
                                     fontweight="bold", pad=10)
        gray = {"color": figures.PALETTE["former"], "linewidth": 1.3}
        self._former = [axes.plot([], [], **gray)[0] for _ in range(n_former)]
        self._training, = axes.plot([], [], color=figures.SERIES[0], linewidth=1.3)
        self._validation, = axes.plot([], [], color=figures.SERIES[1], linewidth=2, marker="o",
                                      markersize=4)
        self._floor = axes.axhline(0 if floor is None else floor, color=figures.MUTED,
                                   linewidth=1.2, linestyle=(0, (5, 4)), visible=floor is not None)
        named = {"training": self._training, **({"validation": self._validation} if validated
                                                else {})}
        self._legend = axes.legend(
            named.values(), named, loc="upper right", frameon=False, fontsize=figures.TEXT_SIZE,
            labelcolor=figures.INK)
        axes.locator_params(axis="x", integer=True, nbins=6)
        axes.set_ylim(0, 0.006)                           # leaves room for the longest labels
        self.set_scale(PLAIN)

    def set_scale(self, scale: str) -> None:
        """One of PLAIN, LOG and ABOVE."""
        if scale != self.scale:
            if scale == PLAIN:
                self.axes.set_yscale("linear")
            elif self.scale == PLAIN:
                figures.set_log_y(self.axes)
        floor = "" if self.floor is None else figures.number(self.floor)
        self._title.set_text(f"Loss above the floor of {floor}" if scale == ABOVE else
                             f"Loss; dashed, the floor {floor}" if floor else "Loss")
        self._floor.set_visible(self.floor is not None and scale != ABOVE)
        self.scale = scale

    def height(self, losses: np.ndarray) -> np.ndarray:
        """What is drawn of losses; nothing of those at the floor or below, where it counts."""
        if self.scale != ABOVE:
            return losses
        return np.where(losses > self.floor, losses - self.floor, np.nan)

    def draw(
        self, result: Mapping[str, np.ndarray], n_steps: int,
        former: Sequence[Mapping[str, np.ndarray]] = (), expected: float = 7.0,
    ) -> None:
        """The columns of a run of `n_steps` in all, and of former ones. Where there is nothing
        to be seen yet, the axis reaches up to an `expected` loss."""
        for line, other in zip(self._former, former, strict=False):
            line.set_data(other["step"], self.height(other["loss"]))
        self._training.set_data(result["step"], self.height(result["loss"]))
        self._validation.set_data(result["validation_step"], self.height(result["validation"]))
        self._legend.set_visible(len(result["step"]) > 0)
        self.axes.set_xlim(0, 1.02 * max([n_steps, *(len(other["step"]) for other in former)]))
        lines = [*self._former, self._training, self._validation]
        seen = np.concatenate([np.asarray(line.get_ydata(), dtype=float) for line in lines])
        self._fit(seen[np.isfinite(seen)], expected)

    def _fit(self, seen: np.ndarray, expected: float) -> None:
        """Have the axis reach over all that is `seen`, and down to the floor where it is drawn."""
        if self.scale != PLAIN:
            seen = seen[seen > (LEAST_ABOVE if self.scale == ABOVE else 0)]
        if not seen.size:
            seen = np.array([expected])
        if self.scale != ABOVE and (self.floor or 0) > 0:
            seen = np.append(seen, self.floor)
        low, high = seen.min(), seen.max()
        if self.scale == PLAIN:
            pad = 0.06 * (high - low) or 0.1
            self.axes.set_ylim(low - pad, high + pad)
        else:
            self.axes.set_ylim(low / 1.3, high * 1.3)


def tell(model, tokenizer, first: int, stopping: threading.Event) -> str:
    """What a model writes after the token `first`, always from the same seed. Setting `stopping`
    ends it early."""
    end = tokenizer.special_tokens.get(END_OF_TEXT)
    generator = torch.Generator().manual_seed(0)
    steps = generate(model, [[first]], STORY_TOKENS, temperature=0.8, stop_token=end,
                     generator=generator)
    written = takewhile(lambda _: not stopping.is_set(), steps)
    return tokenizer.decode([step[0] for step in written])


def story_block(step: int, text: str) -> str:
    """A story as HTML, with the step after which it was told."""
    return (f'<figure style="margin: 4px 0; max-width: {figures.WIDTH}px; color: {TEXT_COLOR}">'
            f'<figcaption style="color: {QUIET_COLOR}">What it writes after {step:,} steps'
            f'</figcaption><blockquote style="margin: 2px 0; padding-left: 12px; white-space: '
            f'pre-wrap; line-height: 1.4; border-left: 3px solid {figures.SERIES[0]}">'
            f"{figures.in_markup(text)}</blockquote></figure>")


def write_story(axes, text: str, limit: int) -> None:
    """The beginning of a story, of at most so many letters, in a picture."""
    axes.set_axis_off()
    words = figures.visible(" ".join(text.split()), limit)
    axes.text(0, 1, textwrap.fill(words, 76), va="top", fontsize=figures.TEXT_SIZE,
              color=figures.INK, parse_math=False, in_layout=False)


def clock(seconds: float) -> str:
    """Minutes and seconds, as 1:05."""
    minutes, seconds = divmod(round(seconds), 60)
    return f"{minutes}:{seconds:02d}"
