"""A matrix of numbers as colored cells."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

from gptcourse.figures.canvas import DRAWING, drawn, new_axes, new_figure, set_ticks, visible
from gptcourse.figures.numbers import (
    as_array,
    cell_text,
    check_labels,
    is_whole,
    number,
    without_traces,
)
from gptcourse.figures.picture import Picture, sentence
from gptcourse.figures.style import EMPTY, HATCH, INK, SIGNED, SMALL_SIZE, TEXT_SIZE

if TYPE_CHECKING:
    from matplotlib.axes import Axes


def matrix(
    array,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    values: bool = True,
    signed: bool = False,
    by_column: bool = False,
    title: str = "",
) -> Picture:
    """A matrix (R, C) as colored cells; a vector is one row.

    The numbers stand in the cells where they have room, unless `values` is False. `signed` paints
    negative numbers orange, zero gray, positive ones blue; `by_column` gives each column a scale
    of its own, up to its largest number. A cell of -inf or NaN is hatched.
    """
    array = np.atleast_2d(as_array(array, "array"))
    if array.ndim != 2:
        raise ValueError(
            f"array has shape {array.shape}, but a matrix has rows and columns only: pick one "
            "of its matrices, for example array[0]."
        )
    rows, columns = array.shape
    check_labels(row_labels, rows, "row")
    check_labels(column_labels, columns, "column")
    numbers = np.where(np.isfinite(array), array, np.nan)
    cell_width, cell_height = max(12, min(64, 560 // columns)), max(12, min(38, 560 // rows))
    above = [visible(label) for label in column_labels or [""] * columns]
    longest = max(map(len, above))
    upright = columns * 8 >= 560 or 8 * longest > cell_width
    with DRAWING:
        figure = new_figure(columns * cell_width + (140 if row_labels else 40),
                            rows * cell_height + (24 if not column_labels else
                                                  max(60, 11 * longest) if upright else 60)
                            + (28 if title else 0))
        axes = new_axes(figure, title)
        shades = numbers / _largest_by_column(numbers) if by_column else numbers
        norm, colors = _matrix_scale(shades, signed)
        square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        hatch(axes, [square + cell[::-1] for cell in np.argwhere(np.isnan(numbers))])
        image = axes.imshow(shades, cmap=colors, norm=norm, aspect="auto",
                            interpolation="nearest")
        set_ticks(axes, range(columns), above, range(rows),
                  [visible(label) for label in row_labels or [""] * rows], TEXT_SIZE,
                  rotation=90 if upright else 0)
        axes.xaxis.tick_top()
        if values and cell_width >= 34 and cell_height >= 16:
            write_cells(axes, array, image.norm(shades), colors, is_whole(numbers))
    alt = f"{sentence(title)}Matrix of {rows} by {columns} numbers{_range_of(numbers)}."
    if array.size <= 24:
        whole = is_whole(numbers)
        lines = "; ".join(", ".join(cell_text(x, whole) for x in row) for row in array)
        alt += f" Row by row: {lines}."
    return drawn(figure, alt)


def _largest_by_column(numbers: np.ndarray) -> np.ndarray:
    """The largest absolute number of each column, 1 where it has none but 0.  (R, C) -> (C)"""
    largest = np.where(np.isnan(numbers), 0, np.abs(numbers)).max(axis=0)
    return np.where(largest > 0, largest, 1)


def _range_of(numbers: np.ndarray) -> str:
    finite = without_traces(numbers[~np.isnan(numbers)])
    return f", from {number(finite.min())} to {number(finite.max())}" if finite.size else ""


def _matrix_scale(numbers: np.ndarray, signed: bool):
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    finite = numbers[~np.isnan(numbers)]
    if signed:
        reach = np.abs(finite).max(initial=0.0) or 1.0
        return Normalize(-reach, reach), LinearSegmentedColormap.from_list("signed", SIGNED)
    low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
    return Normalize(low, high) if low < high else Normalize(0, 1), "cividis"


def hatch(axes: Axes, polygons: Sequence[np.ndarray]) -> None:
    """Slanted lines where there is no number; each polygon (corners, 2) holds x and y."""
    from matplotlib.collections import PolyCollection

    axes.add_collection(PolyCollection(polygons, facecolor=EMPTY, edgecolor=HATCH,
                                       linewidth=0, hatch="////", zorder=0), autolim=False)


def write_cells(axes: Axes, array: np.ndarray, shades: np.ndarray, colors, whole: bool) -> None:
    """Write each number into its cell, dark on light colors and light on dark ones."""
    import matplotlib

    palette = matplotlib.colormaps[colors] if isinstance(colors, str) else colors
    for (row, column), x in np.ndenumerate(array):
        if np.isnan(x):
            continue
        red, green, blue, _ = palette(float(shades[row, column]))
        dark = np.isfinite(x) and 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        axes.text(column, row, cell_text(x, whole), ha="center", va="center",
                  fontsize=SMALL_SIZE, color="white" if dark else INK)


def draw_cells(axes: Axes, array: np.ndarray, colors, first_column: int = 0):
    """Draw an array (R, C) that changes often as cells around whole numbers, row 0 on top; returns
    matplotlib's mesh, which is several times quicker to draw than its image. NaN stays empty."""
    rows, columns = array.shape
    left, right = first_column - 0.5, first_column + columns - 0.5
    mesh = axes.pcolormesh(np.linspace(left, right, columns + 1),
                           np.linspace(-0.5, rows - 0.5, rows + 1), array, cmap=colors)
    axes.set_xlim(left, right)
    axes.set_ylim(rows - 0.5, -0.5)
    return mesh
