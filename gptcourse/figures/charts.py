"""Curves and bars."""

from __future__ import annotations

import math
from collections.abc import Collection, Mapping, Sequence
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

from gptcourse.figures.canvas import (
    DRAWING,
    drawable,
    drawn,
    new_axes,
    new_figure,
    set_legend,
    visible,
)
from gptcourse.figures.numbers import as_array, check_labels, is_whole, number, without_traces
from gptcourse.figures.picture import Picture, sentence
from gptcourse.figures.style import GRID, INK, MUTED, SERIES, SMALL_SIZE, TEXT_SIZE, WIDTH
from gptcourse.figures.words import cut

if TYPE_CHECKING:
    from matplotlib.axes import Axes

WORDS_ABOVE = 1.4  # room for the words over the bars of `word_bars`, as a multiple of them
MOST_TICKS = 12    # that stand side by side, each with its number


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    floor: float | None = None,
    log_y: bool = False,
    title: str = "",
    digits: int = 3,
    log_x: bool = False,
    dots: Collection[str] = (),
) -> Picture:
    """Curves {name: (x, y)} with their names at their ends; of those named in `dots` there are the
    points only. `floor` is a dashed line below. With `log_x` every x of the curves has its tick,
    each as far from the next as it is times as large; where there are many, the powers of ten.

    The alternative text says where a curve begins and ends with so many significant `digits`:
    fewer where the last ones differ from machine to machine.
    """
    series = {name: (as_array(x, "x", dimensions=1), as_array(y, "y", dimensions=1))
              for name, (x, y) in series.items()}
    for name, (x, y) in series.items():
        if x.shape != y.shape:
            raise ValueError(
                f"The series {name!r} has {x.size} x and {y.size} y values, but needs as many of "
                "the one as of the other: pass (x, y) of equal length."
            )
    with DRAWING:
        figure = new_figure(WIDTH, 360 + (20 if title else 0))
        axes = new_axes(figure, title, x_label, y_label, grid="y")
        if all(is_whole(x) for x, _ in series.values()):
            axes.locator_params(axis="x", integer=True)
        if log_y:
            set_log_y(axes)
        if log_x:
            _set_log_x(axes, np.unique(np.concatenate([x for x, _ in series.values()])))
        ends = []
        for (name, (x, y)), color in zip(series.items(), cycle(SERIES), strict=False):
            alone = name in dots
            axes.plot(x, y, color=color, linewidth=0 if alone else 2, solid_capstyle="round",
                      marker="o" if alone or len(x) <= 12 else None, markersize=6 if alone else 4)
            finite = y[np.isfinite(y)]
            ends.append((name, finite[-1] if finite.size else 0.0, color))
        if floor is not None:
            axes.axhline(floor, color=MUTED, linewidth=1.2, linestyle=(0, (5, 4)))
            ends.append((f"floor {number(floor)}", floor, MUTED))
        _label_ends(axes, ends, gap=0.065)
    said = [f"{name} from {number(y[0], digits)} at {number(x[0])} to {number(y[-1], digits)} at "
            f"{number(x[-1])}" for name, (x, y) in series.items()]
    if floor is not None:
        said.append(f"a dashed floor at {number(floor)}")
    alt = f"{sentence(title)}Chart of {y_label} against {x_label}: {'; '.join(said)}."
    return drawn(figure, alt)


def _set_log_x(axes: Axes, xs: np.ndarray) -> None:
    axes.set_xscale("log")
    if len(xs) > MOST_TICKS:
        axes.xaxis.set_major_formatter(lambda x, _place: _power_of_ten(x))
        axes.xaxis.set_minor_formatter(lambda _x, _place: "")
        return
    axes.set_xticks(xs, [number(x) for x in xs], parse_math=False)
    axes.set_xticks([], minor=True)


def set_log_y(axes: Axes) -> None:
    """A logarithmic y axis whose ticks read 10⁻³, in plain text; where it spans little more than
    one power of ten, all ticks have their numbers, those in between too."""
    def is_narrow() -> bool:
        low, high = sorted(axes.get_ylim())
        return high < 12 * low

    def power(y: float, _place: int) -> str:
        return number(y) if is_narrow() else _power_of_ten(y)

    def between(y: float, _place: int) -> str:
        return number(y) if is_narrow() else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(power)
    axes.yaxis.set_minor_formatter(between)
    axes.tick_params(which="minor", labelsize=SMALL_SIZE, labelcolor=INK)


def _power_of_ten(x: float) -> str:
    return "10" + str(round(math.log10(x))).translate(_POWERS)


_POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]], gap: float) -> None:
    """Write each (name, y, color) to the right of its curve's end, none over another."""
    axes.margins(x=0.01)
    axes.autoscale_view()
    to_height = (axes.transScale + axes.transLimits).transform
    heights = {name: np.clip(to_height((axes.get_xlim()[1], y))[1], 0, 1) for name, y, _ in ends}
    last = -math.inf
    for name, _, color in sorted(ends, key=lambda end: heights[end[0]]):
        last = max(heights[name], last + gap)
        axes.text(1.015, last, cut(drawable(name), 48), color=color, fontsize=TEXT_SIZE,
                  va="center", transform=axes.transAxes, parse_math=False)


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    title: str = "",
    highlight: str | None = None,
    unit: str = "",
) -> Picture:
    """Horizontal bars, first on top, with their numbers; the bar named `highlight` stands out."""
    values = as_array(values, "values", dimensions=1)
    check_labels(labels, len(values), "bar")
    names = [visible(label, limit=28) for label in labels]
    with DRAWING:
        figure = new_figure(WIDTH, 26 * len(names) + 40 + (28 if title else 0))
        axes = new_axes(figure, title)
        colors = [SERIES[1] if label == highlight else SERIES[0] for label in labels]
        texts = [f"{number(x)}{unit}" for x in without_traces(values)]
        draw_bars(axes, names, values, colors, texts)
    said = ", ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
    alt = f"{sentence(title)}Bar chart: {said}."
    return drawn(figure, alt)


def draw_bars(axes: Axes, names: Sequence[str], values, colors, texts: Sequence[str]):
    """Draw horizontal bars into `axes`; returns matplotlib's bars and the texts beside them."""
    places = np.arange(len(names))
    drawn = axes.barh(places, values, color=colors, height=0.72)
    axes.axvline(0, color=GRID, linewidth=1)
    axes.set_ylim(len(names) - 0.4, -0.6)
    axes.set_yticks(places, names, fontsize=TEXT_SIZE, parse_math=False)
    axes.set_xticks([])
    axes.margins(x=0.12)
    written = [axes.annotate(drawable(text), (value, place), (5 if value >= 0 else -5, 0),
                             textcoords="offset points", va="center", parse_math=False,
                             ha="left" if value >= 0 else "right", fontsize=TEXT_SIZE, color=INK)
               for text, value, place in zip(texts, values, places, strict=True)]
    return drawn, written


def rename_bars(axes: Axes, names: Sequence[str]) -> list:
    """Give the bars of `draw_bars` these names; returns them as matplotlib's texts, always the
    same ones, which are quicker to draw than the whole axis."""
    axes.set_yticks(range(len(names)), names, fontsize=TEXT_SIZE, parse_math=False)
    return axes.get_yticklabels()


def token_bars(
    labels: Sequence[str], series: Mapping[str, Sequence[float]], y_label: str, title: str = ""
) -> Picture:
    """Upright bars over the tokens of a text, side by side for each of the series {name: (T)}.

    Raises a ValueError where there is no series, or one that is not as long as the text.
    """
    if not series:
        raise ValueError("There is no series to draw: pass at least one, as {name: values}.")
    series = {name: as_array(values, name, dimensions=1) for name, values in series.items()}
    for values in series.values():
        check_labels(labels, len(values), "value")
    names = [visible(label, limit=12) for label in labels]
    thick = 0.84 / len(series)
    with DRAWING:
        figure = new_figure(WIDTH, 330 + (20 if title else 0))
        axes = new_axes(figure, title, y_label=y_label, grid="y")
        bars_ = []
        for n, (values, color) in enumerate(zip(series.values(), cycle(SERIES), strict=False)):
            left = np.arange(len(names)) - 0.42 + thick * (n + 0.5)
            bars_.append(axes.bar(left, values, thick, color=color))
        axes.set_xticks(range(len(names)), names, rotation=60, ha="right", rotation_mode="anchor",
                        fontsize=SMALL_SIZE, parse_math=False)
        axes.margins(x=0.01)
        set_legend(axes, bars_, series)
    said = "; ".join(
        f"{name} {', '.join(number(x) for x in np.round(row, 2))}"
        for name, row in zip(names, np.stack(list(series.values()), axis=1), strict=True))
    alt = (f"{sentence(title)}Bars of {y_label} over {len(names)} tokens, for "
           f"{' and '.join(series)}: {said}.")
    return drawn(figure, alt)


def word_bars(
    words: Sequence[str], series: Mapping[str, Sequence[float]], y_label: str, least: float = 0.5,
    title: str = "",
) -> Picture:
    """Upright bars over the words of a long text for the first of two series {name: (n)}, a dot for
    the second; only words where one of them is `least` or more are written, over their bars.

    Raises a ValueError for another number of series, or for one that is not as long as the text.
    """
    if len(series) != 2:
        raise ValueError(f"There are {len(series)} series to draw, but it takes two: pass one for "
                         "the bars and one for the dots, as {name: values}.")
    bars_, dots = (as_array(values, name, dimensions=1) for name, values in series.items())
    for values in (bars_, dots):
        check_labels(words, len(values), "value")
    places, tops = np.arange(len(words)), np.maximum(bars_, dots)
    named = {place: visible(words[place]) for place in np.flatnonzero(tops >= least)}
    with DRAWING:
        figure = new_figure(WIDTH, 330 + (20 if title else 0))
        axes = new_axes(figure, title, "words, in the order of the text", y_label, grid="y")
        axes.set_xticks([])
        columns = axes.bar(places, bars_, 0.8, color=SERIES[0])
        points, = axes.plot(places, dots, "o", color=SERIES[1], markersize=4)
        for place, y in _above_each_other(named, tops).items():
            axes.annotate(named[place], (place, y), (0, 6), textcoords="offset points",
                          rotation=90, ha="center", va="bottom", fontsize=SMALL_SIZE, color=INK,
                          parse_math=False)
        axes.margins(x=0.01)
        axes.set_ylim(0, WORDS_ABOVE * tops.max(initial=least))
        set_legend(axes, [columns, points], series)
    said = ", ".join(f"{name} {number(bars_[place], 2)} and {number(dots[place], 2)}"
                     for place, name in named.items())
    alt = (f"{sentence(title)}Bars of {y_label} over {len(words)} words, with dots: "
           f"{' and '.join(series)}. Below {number(least)} for all but: {said}.")
    return drawn(figure, alt)


def _above_each_other(named: Mapping[int, str], tops: np.ndarray) -> dict[int, float]:
    """Where each upright word begins: on its bar, or, beside a word in its way, above that one."""
    letter = WORDS_ABOVE * tops.max() / 42                     # so many stand in the height
    begins, former, end = {}, -2, 0.0
    for place, name in named.items():
        y = tops[place]
        if place == former + 1 and y < end and y + letter * len(name) > begins[former]:
            y = end + letter
        begins[place], former, end = y, place, y + letter * len(name)
    return begins
