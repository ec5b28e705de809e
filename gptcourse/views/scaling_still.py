"""The still picture of ScalingExplorer: the runs and the law, and one budget's valley."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np

from gptcourse import figures
from gptcourse.figures import DRAWING, GRID, INK, PALETTE
from gptcourse.views.scaling_words import counted, work

if TYPE_CHECKING:
    from matplotlib.axes import Axes

CARD = PALETTE["card"]
COLORS = ("blue", "green", "violet", "teal", "red", "brown", "slate")       # as in scaling.js
NAMES = {"compute": "FLOPs of the training", "tokens": "tokens read"}
MARKERS = "os^Dv*"


def draw_plan(plan: dict, shown: dict) -> figures.Picture:
    """What the view shows, without the words; `plan` as in `scaling_numbers.plan`, and "runs"."""
    with DRAWING:
        figure = figures.new_figure(figures.WIDTH, 360)
        places = figure.add_gridspec(1, 2, width_ratios=[1, 1])
        left = figures.new_axes(figure, "The runs and the law", NAMES[shown["against"]],
                                "nats per token above the floor", "both", places[0, 0])
        right = figures.new_axes(figure, "At this budget", "parameters", "", "both",
                                 places[0, 1])
        _draw_runs(left, plan, shown)
        _draw_valley(right, plan, shown)
        for axes in (left, right):
            figures.set_log_y(axes)
            axes.set_ylim(plan["loss"][-1, 0] / 1.2, 1.3 * plan["runs"][3].max())
        right.set_xlim(plan["sizes"][0] / 3, 3 * plan["best"][-1, 1])
        _name_powers(left, counted if shown["against"] == "tokens" else work)
        _name_powers(right, counted)
        return figures.Picture(figures.png(figure), "", figures.WIDTH)


def _draw_runs(axes: Axes, plan: dict, shown: dict) -> None:
    parameters, tokens, flops, loss = plan["runs"]
    by_tokens = shown["against"] == "tokens"
    x = plan["tokens"] if by_tokens else plan["budgets"]
    axes.set_xscale("log")
    axes.fill_between(x, plan["loss"][:, 0], plan["loss"][:, 2], color=GRID)
    beyond = plan["budgets"] > flops.max()
    axes.plot(x[~beyond], plan["loss"][~beyond, 1], color=INK, linewidth=1.6)
    axes.plot(x[beyond], plan["loss"][beyond, 1], color=INK, linewidth=1.6, linestyle=":")
    for n, (size, cost) in enumerate(zip(plan["sizes"], plan["cost"], strict=True)):
        look, own = _look(n), parameters == size
        end = plan["budgets"] <= 1.3 * flops[own].max()
        along = plan["budgets"] / cost if by_tokens else plan["budgets"]
        axes.plot(along[end], plan["curves"][n][end], color=look["color"], linewidth=1)
        axes.plot((tokens if by_tokens else flops)[own], loss[own], linestyle="", markersize=5,
                  label=counted(size), **look)
    chosen = float(shown["tokens"]) if by_tokens else shown["budget"]
    axes.axvline(chosen, color=PALETTE["orange"], linewidth=1.2)
    axes.plot(chosen, shown["loss"][1], "o", color=PALETTE["orange"], markersize=8)
    axes.legend(title="parameters", title_fontsize=figures.TEXT_SIZE, fontsize=figures.TEXT_SIZE,
                frameon=False, labelcolor=INK, loc="lower left", handletextpad=0.2)


def _draw_valley(axes: Axes, plan: dict, shown: dict) -> None:
    axes.set_xscale("log")
    axes.axvspan(shown["best"][0], shown["best"][2], color=GRID)
    axes.plot(plan["grid"], shown["valley"], color=INK, linewidth=1.6)
    for n, size in enumerate(plan["sizes"]):
        loss = np.exp(np.interp(np.log(size), np.log(plan["grid"]), np.log(shown["valley"])))
        axes.plot(size, loss, linestyle="", markersize=6, **_look(n), markerfacecolor=CARD)
    axes.plot(shown["best"][1], shown["loss"][1], "o", color=PALETTE["orange"], markersize=8)


def _name_powers(axes: Axes, write: Callable[[float], str]) -> None:
    """Ticks at the powers of ten that are in sight, in plain words."""
    low, high = axes.get_xlim()
    powers = 10.0 ** np.arange(math.ceil(math.log10(low)), math.floor(math.log10(high)) + 1)
    powers = powers[:: max(1, math.ceil(len(powers) / 5))]
    axes.set_xticks(powers, map(write, powers), parse_math=False)
    axes.set_xticks([], minor=True)


def _look(n: int) -> dict:
    return {"color": PALETTE[COLORS[n % len(COLORS)]], "marker": MARKERS[n % len(MARKERS)]}
