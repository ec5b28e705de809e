"""RotaryExplorer as a still picture: the circles, and the score against the distance."""

from __future__ import annotations

import math

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle

from gptcourse import figures
from gptcourse.figures.canvas import set_legend
from gptcourse.figures.numbers import cell_text
from gptcourse.figures.style import GRID, INK, MUTED, PALETTE, SMALL_SIZE, WIDTH

COLUMNS = 8                          # of circles
ARROWS = {"query": (PALETTE["green"], "-", 2.4), "key": (PALETTE["violet"], (0, (3, 2)), 1.6)}


def draw_rotary(shown: dict) -> Figure:
    """`shown` as RotaryExplorer has it."""
    count = len(shown["parts"])
    rows = math.ceil(count / COLUMNS)
    figure = figures.new_figure(WIDTH, 108 * rows + 220)
    places = figure.add_gridspec(rows + 1, COLUMNS, height_ratios=[108] * rows + [220])
    longest = max(np.linalg.norm(shown[name], axis=-1).max() for name in ARROWS) or 1.0
    for pair in range(count):
        axes = figures.new_axes(figure, position=places[divmod(pair, COLUMNS)])
        _draw_circle(axes, shown, pair, longest)
    _draw_curves(figures.new_axes(
        figure, x_label="distance between query and key", y_label="score", grid="y",
        position=places[rows, :]), shown)
    return figure


def _draw_circle(axes: Axes, shown: dict, pair: int, longest: float) -> None:
    """Both arrows of a pair, how many tokens a turn takes, and what it adds to the score."""
    chosen = pair == shown["pair"]
    axes.add_patch(Circle((0, 0), 1, fill=False, linewidth=2 if chosen else 1,
                          edgecolor=PALETTE["orange"] if chosen else GRID))
    for name, (color, dashes, width) in ARROWS.items():
        axes.plot(*zip((0, 0), shown[name][pair] / longest, strict=True), color=color,
                  linestyle=dashes, linewidth=width, label=name)
        axes.plot(*(shown[name][pair] / longest), "o", color=color, markersize=3)
    turn = 2 * math.pi * shown["base"] ** (pair / len(shown["parts"]))
    axes.set_title(figures.number(turn), fontsize=SMALL_SIZE, color=MUTED, pad=3)
    axes.set_xlabel(cell_text(shown["parts"][pair], False), fontsize=SMALL_SIZE, color=INK)
    axes.set(xlim=(-1.1, 1.1), ylim=(-1.1, 1.1), xticks=[], yticks=[], aspect="equal")


def _draw_curves(axes: Axes, shown: dict) -> None:
    scores = shown["curves"].sum(axis=1)
    alone, = axes.plot(shown["curves"][:, shown["pair"]], color=PALETTE["orange"], linewidth=1.4,
                       linestyle=(0, (4, 2)))
    line, = axes.plot(scores, color=INK, linewidth=1.8)
    point, = axes.plot(shown["distance"], shown["score"], "o", color=INK, markersize=7)
    query, key = (axes.plot([], [], color=color, linestyle=dashes, linewidth=width)[0]
                  for color, dashes, width in ARROWS.values())
    set_legend(axes, [query, key, line, alone, point],
               ["query", "key", "score", f"pair {shown['pair']} alone", "now"])
