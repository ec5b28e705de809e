"""The still picture of ScalingExplorer: the runs and a law, and the valleys of the budgets."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptcourse import figures
from gptcourse.figures import DRAWING, GRID, INK, MUTED, PALETTE
from gptcourse.views.scaling_numbers import log_ticks, valley
from gptcourse.views.scaling_words import counted, rounded, work

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.axis import Axis

COLORS = ("blue", "green", "violet", "teal", "red", "brown", "slate")       # as in scaling.js
MARKERS = "os^Dv*"
LOWEST = {"linestyle": "", "marker": "o", "markersize": 5, "color": INK,
          "markerfacecolor": PALETTE["card"]}
NAMES = {"compute": "FLOPs of the training", "tokens": "tokens read"}


def draw_plan(plan: dict, shown: dict) -> figures.Picture:
    """What the view shows, without the words; `plan` as in scaling_numbers.py."""
    with DRAWING:
        figure = figures.new_figure(figures.WIDTH, 360)
        places = figure.add_gridspec(1, 2)
        left = figures.new_axes(figure, "The runs, and what is to come", NAMES[shown["against"]],
                                "nats per token above the floor", "both", places[0, 0])
        right = figures.new_axes(figure, "The valleys of the budgets", "parameters", "", "both",
                                 places[0, 1])
        _draw_runs(left, plan, shown)
        _draw_valleys(right, plan, shown)
        for axes in (left, right):
            axes.set_yscale("log")
            axes.set_ylim(plan["loss"][-1, 0] / 1.2, 1.3 * plan["runs"][4].max())
            _name_ticks(axes.yaxis, axes.get_ylim(), (1, 2, 5), rounded)
        by_tokens = shown["against"] == "tokens"
        _name_ticks(left.xaxis, left.get_xlim(), (1,), counted if by_tokens else work)
        _name_ticks(right.xaxis, right.get_xlim(), (1,), counted)
        return figures.Picture(figures.png(figure), "", figures.WIDTH)


def _draw_runs(axes: Axes, plan: dict, shown: dict) -> None:
    _, parameters, tokens, flops, loss = plan["runs"]
    by_tokens = shown["against"] == "tokens"
    x, place = (plan["tokens"], tokens) if by_tokens else (plan["budgets"], flops)
    axes.set_xscale("log")
    axes.fill_between(x, plan["loss"][:, 0], plan["loss"][:, 2], color=GRID)
    for n, size in enumerate(plan["sizes"]):
        own = np.flatnonzero(parameters == size)
        own = own[place[own].argsort()]
        axes.plot(place[own], loss[own], linewidth=1, markersize=5, label=counted(size), **_look(n))
    _draw_law(axes, plan, x)
    if not by_tokens:
        axes.plot(plan["tried"], plan["lowest"][:, 1], **LOWEST)
    chosen = float(shown["tokens"]) if by_tokens else shown["budget"]
    axes.axvline(chosen, color=PALETTE["orange"], linewidth=1.2)
    axes.plot(chosen, shown["loss"][1], "o", color=PALETTE["orange"], markersize=8)
    axes.legend(title="parameters", title_fontsize=figures.TEXT_SIZE, fontsize=figures.TEXT_SIZE,
                frameon=False, labelcolor=INK, loc="upper right", handletextpad=0.2)


def _draw_valleys(axes: Axes, plan: dict, shown: dict) -> None:
    budgets, parameters, _, _, loss = plan["runs"]
    axes.set_xscale("log")
    axes.axvspan(shown["best"][0], shown["best"][2], color=GRID)
    _draw_law(axes, plan, plan["best"][:, 1])
    for budget, lowest, curvature in zip(plan["tried"], plan["lowest"], plan["curvature"],
                                         strict=True):
        own = parameters[budgets == budget]
        sizes = np.geomspace(own.min(), own.max())
        axes.plot(sizes, valley(sizes, *lowest, curvature), color=MUTED, linewidth=1)
    for n, size in enumerate(plan["sizes"]):
        axes.plot(parameters[parameters == size], loss[parameters == size], linestyle="",
                  markersize=5, **_look(n))
    axes.plot(*plan["lowest"].T, **LOWEST)
    sizes = np.geomspace(shown["best"][1] / 8, 8 * shown["best"][1])
    lowest = shown["best"][1], shown["loss"][1]
    axes.plot(sizes, valley(sizes, *lowest, plan["curvature"].mean()), color=PALETTE["orange"],
              linewidth=1.6)
    axes.plot(*lowest, "o", color=PALETTE["orange"], markersize=8)
    axes.set_xlim(plan["sizes"][0] / 2, 3 * max(plan["sizes"][-1], plan["best"][-1, 1]))


def _draw_law(axes: Axes, plan: dict, x: np.ndarray) -> None:
    """Its line, dotted beyond the budgets that were tried."""
    known = plan["budgets"] <= plan["tried"][-1]
    for part, style in ((known, "-"), (~known, ":")):
        axes.plot(x[part], plan["loss"][part, 1], color=INK, linewidth=1.6, linestyle=style)


def _name_ticks(axis: Axis, ends: tuple[float, float], digits: Sequence[int],
                write: Callable[[float], str]) -> None:
    """Ticks at powers of ten, times these digits, in plain words; as many as can be read."""
    places = log_ticks(*ends, digits)
    places = places[:: math.ceil(len(places) / (4 * len(digits)))] if places else []
    axis.set_ticks(places, [write(place) for place in places], parse_math=False)
    axis.set_ticks([], minor=True)


def _look(n: int) -> dict:
    return {"color": PALETTE[COLORS[n % len(COLORS)]], "marker": MARKERS[n % len(MARKERS)]}
