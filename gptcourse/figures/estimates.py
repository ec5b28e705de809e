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
            left = _has_a_neighbor_at_its_right(x[1], y[1], points)
            axes.annotate(cut(drawable(name), 24), (x[1], y[1]), (-7 if left else 7, 5),
                          ha="right" if left else "left", fontsize=TEXT_SIZE,
                          textcoords="offset points", color=INK, parse_math=False)
        axes.margins(x=0.12, y=0.12)
    said = "; ".join(f"{name} at {_range(x)} and {_range(y)}" for name, (x, y) in points.items())
    alt = f"{sentence(title)}Points with error bars, {y_label} against {x_label}: {said}."
    return drawn(figure, alt)


def _has_a_neighbor_at_its_right(x: float, y: float, points: Mapping) -> bool:
    """Whether another point stands where the name of this one would be written."""
    wide, high = (max(point[axis][2] for point in points.values())
                  - min(point[axis][0] for point in points.values()) for axis in (0, 1))
    return any(0 < other_x[1] - x < wide / 8 and abs(other_y[1] - y) < high / 8
               for other_x, other_y in points.values())


def _triple(numbers: Sequence[float], name: str) -> tuple[float, float, float]:
    triple = tuple(as_array(numbers, name, dimensions=1).tolist())
    if len(triple) != 3 or list(triple) != sorted(triple):
        raise ValueError(f"The point {name!r} has {triple}, but needs a low end, a value and a "
                         "high end, in this order: pass (low, value, high).")
    return triple


def _range(triple: tuple[float, float, float]) -> str:
    low, value, high = map(number, triple)
    return value if low == high else f"{value} ({low} to {high})"
