"""What was measured on a sample, with how far it may be off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from gptcourse.figures.canvas import DRAWING, drawable, drawn, new_axes, new_figure
from gptcourse.figures.numbers import as_array, number
from gptcourse.figures.picture import Picture, sentence
from gptcourse.figures.style import INK, SERIES, TEXT_SIZE, WIDTH
from gptcourse.figures.words import cut


def estimates(
    points: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    title: str = "",
) -> Picture:
    """Points {name: (x, y)}, each x and y a triple (low, value, high), with bars from low to high.

    Raises a ValueError where there is no point, or a triple that is none or out of order.
    """
    if not points:
        raise ValueError("There is no point to draw: pass at least one, as {name: (x, y)}.")
    points = {name: (_triple(x, name), _triple(y, name)) for name, (x, y) in points.items()}
    with DRAWING:
        figure = new_figure(WIDTH, 360 + (20 if title else 0))
        axes = new_axes(figure, title, x_label, y_label, grid="both")
        for name, (x, y) in points.items():
            axes.plot([x[0], x[2]], [y[1]] * 2, color=SERIES[0], linewidth=1.4, alpha=0.6)
            axes.plot([x[1]] * 2, [y[0], y[2]], color=SERIES[0], linewidth=1.4, alpha=0.6)
            axes.plot(x[1], y[1], marker="o", markersize=6, color=SERIES[0])
            axes.annotate(cut(drawable(name), 24), (x[1], y[1]), (7, 5), fontsize=TEXT_SIZE,
                          textcoords="offset points", color=INK, parse_math=False)
        axes.margins(x=0.12, y=0.12)
    said = "; ".join(f"{name} at {_range(x)} and {_range(y)}" for name, (x, y) in points.items())
    alt = f"{sentence(title)}Points with error bars, {y_label} against {x_label}: {said}."
    return drawn(figure, alt)


def _triple(numbers: Sequence[float], name: str) -> tuple[float, float, float]:
    triple = tuple(as_array(numbers, name, dimensions=1).tolist())
    if len(triple) != 3 or list(triple) != sorted(triple):
        raise ValueError(f"The point {name!r} has {triple}, but needs a low end, a value and a "
                         "high end, in this order: pass (low, value, high).")
    return triple


def _range(triple: tuple[float, float, float]) -> str:
    low, value, high = map(number, triple)
    return value if low == high else f"{value} ({low} to {high})"
