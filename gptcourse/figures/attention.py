"""Attention weights as heat maps: one head, or all of them side by side."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptcourse.figures.canvas import DRAWING, drawn, new_axes, new_figure, set_ticks, visible
from gptcourse.figures.cells import hatch, write_cells
from gptcourse.figures.numbers import as_array, check_labels
from gptcourse.figures.picture import Picture, sentence
from gptcourse.figures.style import MUTED, SERIES, SMALL_SIZE, TEXT_SIZE, WIDTH

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

MOST_LAYERS = 3  # whose heads have room above a large one


def attention_heatmap(
    weights, labels: Sequence[str], title: str = "", rows: Sequence[int] = (),
    columns: Sequence[int] = (),
) -> Picture:
    """How much each token (row) takes from each token (column).

    weights (T, T), labels (T). Where no token looks ahead, the cells above the diagonal are
    hatched. Up to twelve tokens the numbers stand in the cells. Where the labels are too many,
    every nth stands, and those of these `rows` and `columns` in any case.
    """
    weights = as_array(weights, "weights", dimensions=2)
    labels = [visible(label) for label in labels]
    check_labels(labels, len(weights), "row")
    check_labels(labels, weights.shape[1], "column")
    side = min(520, max(200, 44 * len(weights)))       # large cells for a few tokens
    with DRAWING:
        figure = new_figure(side + 180, side + 130)
        axes = new_axes(figure, title)
        draw_heatmap(axes, weights, labels, side / len(weights), rows=rows, columns=columns)
    masked = "; no token looks ahead" if is_causal(weights) else ""
    strongest = np.argmax(weights, axis=-1)
    pairs = [f"{labels[row]} at {labels[column]} ({weights[row, column]:.2f})"
             for row, column in enumerate(strongest)]
    more = "" if len(pairs) <= 8 else ", and so on"
    alt = (f"{sentence(title)}Heat map of attention weights, {len(labels)} tokens as rows and as "
           f"columns{masked}. Looks most: {', '.join(pairs[:8])}{more}.")
    return drawn(figure, alt)


def attention_grid(attention, title: str = "", rows: Sequence[str] = ()) -> Picture:
    """All heads of all layers side by side: a row per layer, a column per head.

    attention (L, H, T, T). Where its rows are something else than layers, `rows` names them.
    """
    attention = as_array(attention, "attention", dimensions=4)
    L, H, T, _ = attention.shape
    names = [visible(name) for name in rows] or [f"layer {layer}" for layer in range(L)]
    check_labels(names, L, "row")
    cell = min(142, 570 // H)
    with DRAWING:
        figure = new_figure(H * cell + 130, L * cell + 90)
        axes = new_axes(figure, title)
        _color_bar(figure, axes, _draw_grid(axes, attention, names))
    whose = f"{' and '.join(names)}, {H} heads each," if rows else f"{L} layers with {H} heads each"
    alt = (f"{sentence(title)}Attention weights of {whose} over {T} tokens, one small heat map "
           "per head.")
    return drawn(figure, alt)


def attention_overview(
    attention, labels: Sequence[str], layer: int, head: int, rows: Sequence[int] = (),
    columns: Sequence[int] = (),
) -> Picture:
    """All heads as in `attention_grid`, one of them framed, and that one large below them.

    attention (L, H, T, T). A model with more than MOST_LAYERS layers shows one of them only. The
    labels of `rows` and `columns` are written in any case.
    """
    attention = as_array(attention, "attention", dimensions=4)
    L, H, T, _ = attention.shape
    check_labels(labels, T, "token")
    shown = range(L) if L <= MOST_LAYERS else [layer]
    thumb, side = min(80, 560 // H), 470
    with DRAWING:
        figure = new_figure(WIDTH, len(shown) * thumb + side + 170)
        places = figure.add_gridspec(2, 1, height_ratios=[len(shown) * thumb + 20, side + 150])
        axes = new_axes(figure, position=places[0])
        _draw_grid(axes, attention[list(shown)], [f"layer {one}" for one in shown])
        _frame(axes, T, list(shown).index(layer), head)
        axes = new_axes(figure, f"Layer {layer}, head {head}", position=places[1])
        draw_heatmap(axes, attention[layer, head], [visible(label) for label in labels], side / T,
                     values=False, rows=rows, columns=columns)
    return drawn(figure, f"Attention weights of {len(shown) * H} heads over {T} tokens, one small "
                         f"heat map per head; layer {layer}, head {head} is large.")


def _draw_grid(axes: Axes, attention: np.ndarray, rows: Sequence[str]):
    """Draw attention (L, H, T, T), whose rows have these names; returns matplotlib's image."""
    L, H, T, _ = attention.shape
    pitch = _pitch(T)
    mosaic = np.full((L * pitch, H * pitch), np.nan)
    for layer in range(L):
        for head in range(H):
            top, left = layer * pitch, head * pitch
            mosaic[top:top + T, left:left + T] = _without_future(attention[layer, head])
    if is_causal(attention):
        corners = [(layer * pitch, head * pitch) for layer in range(L) for head in range(H)]
        _hatch_triangles(axes, T, corners)
    image = axes.imshow(mosaic, cmap="cividis", norm=_weight_scale(), interpolation="nearest")
    middles = np.arange(max(L, H)) * pitch + (T - 1) / 2
    set_ticks(axes, middles[:H], [f"head {head}" for head in range(H)],
              middles[:L], rows, SMALL_SIZE, rotation=0)
    axes.set_xlim(-0.5, (H - 1) * pitch + T - 0.5)
    axes.set_ylim((L - 1) * pitch + T - 0.5, -0.5)
    return image


def _pitch(T: int) -> int:
    """A head and the gap behind it, in cells."""
    return T + max(1, T // 10)


def _frame(axes: Axes, T: int, row: int, head: int) -> None:
    from matplotlib.patches import Rectangle

    corner = (head * _pitch(T) - 0.5, row * _pitch(T) - 0.5)
    axes.add_patch(Rectangle(corner, T, T, fill=False, linewidth=2.2, edgecolor=SERIES[1],
                             clip_on=False))


def draw_heatmap(
    axes: Axes, weights: np.ndarray, labels: Sequence[str], cell: float, values: bool = True,
    rows: Sequence[int] = (), columns: Sequence[int] = (),
):
    """Draw weights (T, T) into `axes`, cells of `cell` pixels; returns matplotlib's image."""
    T = len(weights)
    if is_causal(weights):
        _hatch_triangles(axes, T, [(0, 0)])
    image = axes.imshow(_without_future(weights), cmap="cividis", norm=_weight_scale(),
                        interpolation="nearest", interpolation_stage="rgba")
    across, down = (label_places(T, cell, kept) for kept in (columns, rows))
    size = max(SMALL_SIZE, min(TEXT_SIZE, 0.72 * cell))
    set_ticks(axes, across, [labels[place] for place in across],
              down, [labels[place] for place in down], size, rotation=90 if T > 4 else 0)
    axes.set_ylabel("looks …", fontsize=TEXT_SIZE, color=MUTED)
    axes.set_xlabel("… at", fontsize=TEXT_SIZE, color=MUTED)
    if values and T <= 12:
        shown = _without_future(weights)
        write_cells(axes, shown, image.norm(shown), "cividis", whole=False)
    _color_bar(axes.figure, axes, image)
    return image


def label_places(count: int, cell: float, kept: Sequence[int] = ()) -> list[int]:
    """Which of the labels that stand `cell` pixels apart have room: those that are `kept` come
    first, the earlier before the later, then every nth of the others."""
    apart = math.ceil(13 / cell)                 # labels of 11 pixels touch where cells are small
    places = []
    for place in [*kept, *range(0, count, apart)]:
        if all(abs(place - other) >= apart for other in places):
            places.append(place)
    return sorted(places)


def is_causal(weights: np.ndarray) -> bool:
    """Whether nobody looks ahead: all weights above the diagonal are zero.  (..., T, T)"""
    return not np.triu(weights, 1).any()


def _without_future(weights: np.ndarray) -> np.ndarray:
    """The cells above the diagonal as NaN, which stay empty, where nobody looks ahead."""
    if not is_causal(weights):
        return weights
    return np.where(np.tri(weights.shape[-1], dtype=bool), weights, np.nan)


def _weight_scale():
    """Colors by the square root of a weight, so that small ones can be told from none."""
    from matplotlib.colors import PowerNorm

    return PowerNorm(0.5, 0, 1)


def _hatch_triangles(axes: Axes, T: int, corners: Sequence[tuple[int, int]]) -> None:
    """Hatch the cells above the diagonal of the (T, T) squares at these (top, left) corners."""
    stairs = [(n + 0.5, n + side) for n in range(T - 1) for side in (-0.5, 0.5)]
    outline = np.array([*stairs, (T - 0.5, T - 1.5), (T - 0.5, -0.5)])
    hatch(axes, [outline + np.array([left, top]) for top, left in corners])


def _color_bar(figure: Figure, axes: Axes, image) -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 0.05, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "0.05", "0.25", "0.5", "1"], fontsize=SMALL_SIZE, color=MUTED)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.ax.set_title("weight", fontsize=SMALL_SIZE, color=MUTED, pad=6, loc="left")
