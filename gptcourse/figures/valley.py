"""A loss of two weights seen from above, with the ways that steps take through it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import cycle

import numpy as np

from gptcourse.figures.canvas import DRAWING, drawn, new_axes, new_figure, set_legend
from gptcourse.figures.numbers import as_array, number
from gptcourse.figures.picture import Picture, sentence
from gptcourse.figures.style import MUTED, SERIES, WIDTH

LINES = 12                                       # of equal loss
MARGIN = 0.12                                    # around the ways, as a share of what they span


def valley(
    loss: Callable, walks: Mapping[str, tuple[Sequence[float], Sequence[float]]], x_label: str,
    y_label: str, title: str = "",
) -> Picture:
    """Lines of equal `loss(x, y)`, and walks {name: (x, y)} through it, a dot for each step.

    Between neighboring lines the loss grows by the same factor. Raises a ValueError for a walk
    that has not as many x as y.
    """
    walks = {name: tuple(as_array(way, "a walk", dimensions=1) for way in walk)
             for name, walk in walks.items()}
    for name, (x, y) in walks.items():
        if x.shape != y.shape:
            raise ValueError(
                f"The walk {name!r} has {x.size} x and {y.size} y values, but needs as many of the "
                "one as of the other: pass (x, y) of equal length.")
    x, y = (_span(np.concatenate(ways)) for ways in zip(*walks.values(), strict=True))
    heights = np.asarray(loss(x[None, :], y[:, None]), dtype=float)          # (Y, X)
    low, high = np.quantile(heights, 0.01), heights.max()
    with DRAWING:
        figure = new_figure(WIDTH, 380 + (20 if title else 0))
        axes = new_axes(figure, title, x_label, y_label)
        axes.contour(x, y, heights, np.geomspace(low, high, LINES), colors=[MUTED], linewidths=0.7,
                     alpha=0.55)
        lines = [axes.plot(*way, color=color, linewidth=1.6, marker="o", markersize=4)[0]
                 for way, color in zip(walks.values(), cycle(SERIES), strict=False)]
        set_legend(axes, lines, walks)
    said = "; ".join(
        f"{name} takes {len(way[0]) - 1} steps from ({_place(way, 0)}) to ({_place(way, -1)}), "
        f"where the loss is {number(float(loss(way[0][-1], way[1][-1])))}"
        for name, way in walks.items())
    return drawn(figure, f"{sentence(title)}Lines of equal loss over {x_label} and {y_label}. "
                         f"{said}.")


def _span(numbers: np.ndarray) -> np.ndarray:
    """From a little below the least of these numbers to a little above the largest."""
    low, high = numbers.min(), numbers.max()
    room = MARGIN * (high - low) or 1.0
    return np.linspace(low - room, high + room, 160)


def _place(way: tuple[np.ndarray, np.ndarray], n: int) -> str:
    return ", ".join(number(round(float(numbers[n]), 2) + 0.0) for numbers in way)
