"""ModelWalk as a still picture: the whole walk of one token at a glance."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path

from gptcourse import figures
from gptcourse.figures.style import (
    CARD,
    INK,
    MUTED,
    PALETTE,
    SERIES,
    SIGNED,
    TEXT_SIZE,
    WIDTH,
)
from gptcourse.views.base import chance
from gptcourse.views.walk_numbers import stream, weights_of

MOST_LAYERS, ROW, LEFT, RIGHT, GAP = 3, 27, 196, 626, 18
ACCENT, FOLLOWED = SERIES[1], PALETTE["parts"]["attention"][0]


def draw_walk(walk: dict, box: str, layer: int, head: int, token: int) -> Figure:
    """The text with the arcs of one head, the vectors from the embedding to the final norm, each in
    colors of its own, and the probabilities. Of a deep model, only the current layer is drawn."""
    rows = _vectors(walk, layer, walk["places"].index(token))
    height = 176 + ROW * len(rows) + 156
    figure = figures.new_figure(WIDTH, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), facecolor=CARD)
    axes.set_axis_off()
    _draw_text(axes, walk, layer, head, token)
    _write(axes, WIDTH - 16, 166, "length", "right", color=MUTED)
    for n, (name, boxes, numbers) in enumerate(rows):
        _draw_vector(axes, 176 + ROW * n, name, numbers, box in boxes)
    _draw_chances(axes, 176 + ROW * len(rows), walk, token, box in ("output head", "next token"))
    return figure


def _vectors(walk: dict, layer: int, row: int) -> list[tuple[str, tuple, np.ndarray]]:
    """Names, the boxes that they are shown in, and numbers (C)."""
    n_layers = walk["weights"].shape[0]
    rows = [("token embedding", ("tokens", "token embedding"), walk["token"][row]),
            ("+ position", ("position embedding",), walk["position"][row])]
    drawn = range(n_layers) if n_layers <= MOST_LAYERS else [layer]
    for n in drawn:
        for part, name in (("attention", "attention"), ("feed_forward", "feed-forward")):
            boxes = (f"{name} norm", name, f"after {name}") if n == layer else ()
            rows.append((f"+ {name}, layer {n}", boxes, walk[part][n, row]))
    end = stream(walk, row, 2 * n_layers)
    if len(drawn) < n_layers:
        others = end - sum(numbers for _, _, numbers in rows)
        rows.append((f"+ {n_layers - len(drawn)} other layers", (), others))
    rows.append(("= the stream", (), end))
    return [*rows, ("after the final norm", ("final norm",), walk["final_norm"][row])]


def _write(axes: Axes, x: float, y: float, text: str, align="left", **look) -> None:
    look = {"fontsize": TEXT_SIZE, "color": INK, "va": "center", **look}
    axes.text(x, y, figures.visible(text, 60), ha=align, parse_math=False, **look)


def _draw_text(axes: Axes, walk: dict, layer: int, head: int, token: int) -> None:
    """The token that is followed, those that it looks at, and of the others as many as fit."""
    _write(axes, 16, 24, f"From ‘{walk['labels'][token]}’ to the next token", fontsize=11.5,
           fontweight="bold")
    _write(axes, WIDTH - 16, 24, f"arcs: where it looks with head {head} of layer {layer}", "right",
           color=MUTED)
    weights = weights_of(walk, "weights", layer, head, token)
    labels = [figures.visible(label, 12) for label in walk["labels"][: token + 1]]
    x, middles = 16.0, {}
    for n in _fitting(labels, weights):
        if n - 1 not in middles and n:
            _write(axes, x, 138, "…", color=MUTED)
            x += GAP
        width = _width_of(labels[n])
        axes.add_patch(FancyBboxPatch(
            (x + 2, 128), width - 4, 20, boxstyle="round,pad=2,rounding_size=4",
            facecolor=FOLLOWED if n == token else PALETTE["raised"],
            edgecolor=ACCENT if n == token else PALETTE["raised"]))
        _write(axes, x + width / 2, 138, labels[n], "center")
        middles[n], x = x + width / 2, x + width + 4
    for key, weight in enumerate(weights):
        if key in middles and key < token and weight > 0.01:
            _draw_arc(axes, middles[token], middles[key], float(weight))


def _width_of(label: str) -> float:
    return 8 * len(label) + 12


def _fitting(labels: list[str], weights: np.ndarray) -> list[int]:
    """The places of the last token, of those with much weight, and of the last before it, as many
    as there is room for."""
    token, kept = len(labels) - 1, []
    heavy = [n for n in np.argsort(-weights, kind="stable") if weights[n] > 0.05]
    for n in [token, *heavy, *range(token - 1, -1, -1)]:
        tried = sorted({*kept, int(n)})
        gaps = sum(place and place - 1 not in tried for place in tried)
        if GAP * gaps + sum(_width_of(labels[place]) + 4 for place in tried) < WIDTH - 30:
            kept = tried
    return kept


def _draw_arc(axes: Axes, start: float, end: float, weight: float) -> None:
    top = 122 - 1.33 * (12 + 74 * (start - end) / WIDTH)
    path = Path([(start, 122), (start, top), (end, top), (end, 122)], [1, 4, 4, 4])
    axes.add_patch(PathPatch(path, facecolor="none", edgecolor=ACCENT, capstyle="round",
                             linewidth=0.5 + 5 * weight, alpha=0.35 + 0.6 * weight))


def _draw_vector(axes: Axes, y: float, name: str, numbers: np.ndarray, current: bool) -> None:
    _write(axes, 16, y + 10, name, color=ACCENT if current else INK,
           fontweight="bold" if current else "normal")
    reach = float(np.abs(numbers).max()) or 1.0
    axes.imshow(numbers[None], extent=(LEFT, RIGHT, y + 19, y + 1), aspect="auto", vmin=-reach,
                vmax=reach, cmap=LinearSegmentedColormap.from_list("signed", SIGNED),
                interpolation="nearest")
    length = figures.number(float(np.linalg.norm(numbers)), 4)
    _write(axes, WIDTH - 16, y + 10, length, "right", color=MUTED)


def _draw_chances(axes: Axes, y: float, walk: dict, token: int, current: bool) -> None:
    row = walk["places"].index(token)
    _write(axes, 16, y + 20, "the next token", color=ACCENT if current else INK,
           fontweight="bold" if current else "normal")
    for n, (token_id, p) in enumerate(zip(walk["best"][row, :5], walk["chances"][row, :5],
                                          strict=True)):
        middle = y + 20 + 24 * n
        _write(axes, LEFT + 84, middle, figures.visible(walk["names"][str(token_id)], 11), "right")
        axes.barh(middle, (RIGHT - LEFT - 94) * float(p), left=LEFT + 94, height=12,
                  color=SERIES[0])
        _write(axes, WIDTH - 16, middle, chance(float(p), 3), "right", color=MUTED)
