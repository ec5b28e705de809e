"""Still pictures: arrays in, a `Picture` out, which a notebook shows and a screen reader reads.

Charts are matplotlib figures, diagrams are SVG. Every picture brings its own light background, so
it reads the same on a dark page, and an alternative text that is composed from its data.
"""

from __future__ import annotations

import base64
import html
import math
import re
import struct
import threading
import unicodedata
import zlib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from itertools import cycle
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWING = threading.RLock()      # matplotlib is not thread-safe: one picture at a time

CARD, INK, MUTED, GRID = "#fcfcfa", "#1f2933", "#5b6570", "#dfe3e8"
SERIES = ("#1f5fa8", "#d1660a", "#2f8050", "#8a4fa3", "#5b6570", "#b3364a")
CHIPS = ("#cfe3f7", "#fbdcb8", "#d2ebd3", "#e6d8f0", "#f7d3d6", "#e3e3c4")
SIGNED = ("#b4500a", "#f0b27a", "#ebebeb", "#8fb8e0", "#1f5fa8")     # orange, gray, blue
WIDTH = 700                                                          # of most pictures, in pixels
TEXT_SIZE, SMALL_SIZE = 10.0, 8.5                                    # points: 13 and 11 pixels
LONGEST_CHIP = 77                                    # of a token, in columns: a page is no wider


@dataclass(frozen=True, repr=False)
class Picture:
    """A PNG or an SVG together with what it shows in words."""

    data: bytes | str    # of a PNG, or the text of an SVG
    alt: str
    width: int           # in CSS pixels

    def __post_init__(self) -> None:
        object.__setattr__(self, "alt", with_signs(self.alt))

    @property
    def mime_type(self) -> str:
        return "image/png" if isinstance(self.data, bytes) else "image/svg+xml"

    def __repr__(self) -> str:
        return f"<Picture: {self.alt}>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        png = isinstance(self.data, bytes)
        content = base64.b64encode(self.data).decode() if png else self.data
        bundle = {self.mime_type: content, "text/plain": repr(self)}
        return bundle, {self.mime_type: {"alt": self.alt, "width": self.width}}


# ------------------------------------------------------------------------------------ attention


def attention_heatmap(weights, labels: Sequence[str], title: str = "") -> Picture:
    """How much each token (row) takes from each token (column).

    weights (T, T), labels (T). Where no token looks ahead, the cells above the diagonal are
    hatched. Up to twelve tokens the numbers stand in the cells.
    """
    weights = _array(weights, "weights", dimensions=2)
    labels = [visible(label) for label in labels]
    _check_labels(labels, len(weights), "row")
    _check_labels(labels, weights.shape[1], "column")
    side = heatmap_side(len(weights))
    with DRAWING:
        figure = new_figure(side + 180, side + 130)
        axes = new_axes(figure, title)
        draw_heatmap(axes, weights, labels, side / len(weights))
        picture = png(figure)
    masked = "; no token looks ahead" if is_causal(weights) else ""
    strongest = np.argmax(weights, axis=-1)
    pairs = [f"{labels[row]} at {labels[column]} ({weights[row, column]:.2f})"
             for row, column in enumerate(strongest)]
    more = "" if len(pairs) <= 8 else ", and so on"
    alt = (f"{_sentence(title)}Heat map of attention weights, {len(labels)} tokens as rows and as "
           f"columns{masked}. Looks most: {', '.join(pairs[:8])}{more}.")
    return Picture(picture, alt, width_of(figure))


def attention_grid(attention, title: str = "") -> Picture:
    """All heads of all layers side by side: a row per layer, a column per head.

    attention (L, H, T, T).
    """
    attention = _array(attention, "attention", dimensions=4)
    L, H, T, _ = attention.shape
    cell = min(142, 570 // H)
    with DRAWING:
        figure = new_figure(H * cell + 130, L * cell + 90)
        axes = new_axes(figure, title)
        pitch = T + max(1, T // 10)                                  # a head and its gap
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
        _ticks(axes, middles[:H], [f"head {head}" for head in range(H)],
               middles[:L], [f"layer {layer}" for layer in range(L)], SMALL_SIZE, rotation=0)
        axes.set_xlim(-0.5, (H - 1) * pitch + T - 0.5)
        axes.set_ylim((L - 1) * pitch + T - 0.5, -0.5)
        _color_bar(figure, axes, image)
        picture = png(figure)
    alt = (f"{_sentence(title)}Attention weights of {L} layers with {H} heads each over {T} "
           "tokens, one small heat map per head.")
    return Picture(picture, alt, width_of(figure))


def heatmap_side(n_tokens: int) -> int:
    """Length of a heat map's side in pixels: large cells for a few tokens, small ones for many."""
    return min(520, max(200, 44 * n_tokens))


def draw_heatmap(
    axes: Axes, weights: np.ndarray, labels: Sequence[str], cell: float, values: bool = True
):
    """Draw weights (T, T) into `axes`, cells of `cell` pixels; returns matplotlib's image."""
    T = len(weights)
    if is_causal(weights):
        _hatch_triangles(axes, T, [(0, 0)])
    image = axes.imshow(_without_future(weights), cmap="cividis", norm=_weight_scale(),
                        interpolation="nearest", interpolation_stage="rgba")
    apart = math.ceil(13 / cell)                 # labels of 11 pixels touch where cells are small
    places = range(0, T, apart)
    named = [labels[place] for place in places]
    size = max(SMALL_SIZE, min(TEXT_SIZE, 0.72 * cell))
    _ticks(axes, places, named, places, named, size, rotation=90 if T > 4 else 0)
    axes.set_ylabel("looks …", fontsize=TEXT_SIZE, color=MUTED)
    axes.set_xlabel("… at", fontsize=TEXT_SIZE, color=MUTED)
    if values and T <= 12:
        shown = _without_future(weights)
        _write_cells(axes, shown, image.norm(shown), "cividis", whole=False)
    _color_bar(axes.figure, axes, image)
    return image


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
    _hatch(axes, [outline + np.array([left, top]) for top, left in corners])


def _hatch(axes: Axes, polygons: Sequence[np.ndarray]) -> None:
    from matplotlib.collections import PolyCollection

    axes.add_collection(PolyCollection(polygons, facecolor="#f1f3f5", edgecolor="#c3cad2",
                                       linewidth=0, hatch="////", zorder=0), autolim=False)


def _color_bar(figure: Figure, axes: Axes, image) -> None:
    bar = figure.colorbar(image, ax=axes, fraction=0.03, pad=0.02, ticks=[0, 0.05, 0.25, 0.5, 1])
    bar.ax.set_yticklabels(["0", "0.05", "0.25", "0.5", "1"], fontsize=SMALL_SIZE, color=MUTED)
    bar.ax.tick_params(length=0)
    bar.outline.set_visible(False)
    bar.ax.set_title("weight", fontsize=SMALL_SIZE, color=MUTED, pad=6, loc="left")


# -------------------------------------------------------------------------------------- numbers


def matrix(
    array,
    row_labels: Sequence[str] | None = None,
    column_labels: Sequence[str] | None = None,
    values: bool = True,
    signed: bool = False,
    title: str = "",
) -> Picture:
    """A matrix (R, C) as colored cells; a vector is one row.

    The numbers stand in the cells where they have room, unless `values` is False. `signed` paints
    negative numbers orange, zero gray, positive ones blue. A cell of -inf or NaN is hatched.
    """
    array = np.atleast_2d(_array(array, "array"))
    if array.ndim != 2:
        raise ValueError(
            f"array has shape {array.shape}, but a matrix has rows and columns only: pick one "
            "of its matrices, for example array[0]."
        )
    rows, columns = array.shape
    _check_labels(row_labels, rows, "row")
    _check_labels(column_labels, columns, "column")
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
        norm, colors = _matrix_scale(numbers, signed)
        square = np.array([(-0.5, -0.5), (0.5, -0.5), (0.5, 0.5), (-0.5, 0.5)])
        _hatch(axes, [square + cell[::-1] for cell in np.argwhere(np.isnan(numbers))])
        image = axes.imshow(numbers, cmap=colors, norm=norm, aspect="auto",
                            interpolation="nearest")
        _ticks(axes, range(columns), above, range(rows),
               [visible(label) for label in row_labels or [""] * rows], TEXT_SIZE,
               rotation=90 if upright else 0)
        axes.xaxis.tick_top()
        if values and cell_width >= 34 and cell_height >= 16:
            _write_cells(axes, array, image.norm(numbers), colors, _is_whole(numbers))
        picture = png(figure)
    alt = f"{_sentence(title)}Matrix of {rows} by {columns} numbers{_range_of(numbers)}."
    if array.size <= 24:
        whole = _is_whole(numbers)
        lines = "; ".join(", ".join(_cell_text(x, whole) for x in row) for row in array)
        alt += f" Row by row: {lines}."
    return Picture(picture, alt, width_of(figure))


def lines(
    series: Mapping[str, tuple[Sequence[float], Sequence[float]]],
    x_label: str,
    y_label: str,
    floor: float | None = None,
    log_y: bool = False,
    title: str = "",
    digits: int = 3,
) -> Picture:
    """Curves {name: (x, y)} with their names at their ends; `floor` is a dashed line below.

    The alternative text says where a curve begins and ends with so many significant `digits`:
    fewer where the last ones differ from machine to machine.
    """
    series = {name: (_array(x, "x", dimensions=1), _array(y, "y", dimensions=1))
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
        if all(_is_whole(x) for x, _ in series.values()):
            axes.locator_params(axis="x", integer=True)
        if log_y:
            set_log_y(axes)
        ends = []
        for (name, (x, y)), color in zip(series.items(), cycle(SERIES), strict=False):
            axes.plot(x, y, color=color, linewidth=2, solid_capstyle="round",
                      marker="o" if len(x) <= 12 else None, markersize=4)
            finite = y[np.isfinite(y)]
            ends.append((name, finite[-1] if finite.size else 0.0, color))
        if floor is not None:
            axes.axhline(floor, color=MUTED, linewidth=1.2, linestyle=(0, (5, 4)))
            ends.append((f"floor {number(floor)}", floor, MUTED))
        _label_ends(axes, ends, gap=0.065)
        picture = png(figure)
    said = [f"{name} from {number(y[0], digits)} at {number(x[0])} to {number(y[-1], digits)} at "
            f"{number(x[-1])}" for name, (x, y) in series.items()]
    if floor is not None:
        said.append(f"a dashed floor at {number(floor)}")
    alt = f"{_sentence(title)}Chart of {y_label} against {x_label}: {'; '.join(said)}."
    return Picture(picture, alt, width_of(figure))


def bars(
    labels: Sequence[str],
    values: Sequence[float],
    title: str = "",
    highlight: str | None = None,
    unit: str = "",
) -> Picture:
    """Horizontal bars, first on top, with their numbers; the bar named `highlight` stands out."""
    values = _array(values, "values", dimensions=1)
    _check_labels(labels, len(values), "bar")
    names = [visible(label, limit=28) for label in labels]
    with DRAWING:
        figure = new_figure(WIDTH, 26 * len(names) + 40 + (28 if title else 0))
        axes = new_axes(figure, title)
        colors = [SERIES[1] if label == highlight else SERIES[0] for label in labels]
        texts = [f"{number(x)}{unit}" for x in without_traces(values)]
        draw_bars(axes, names, values, colors, texts)
        picture = png(figure)
    said = ", ".join(f"{name} {text}" for name, text in zip(names, texts, strict=True))
    alt = f"{_sentence(title)}Bar chart: {said}."
    return Picture(picture, alt, width_of(figure))


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


def without_traces(values: np.ndarray) -> np.ndarray:
    """The values, those that no picture can show beside the largest set to 0.

    Traces are what is left of rounding, another number on every processor.
    """
    return np.where(np.abs(values) < 1e-4 * np.abs(values).max(initial=0), 0, values)


def number(x: float, digits: int = 3) -> str:
    """A number for reading: 163,009,536, 0.25, 3.1e−7. `digits` are those of a fraction."""
    if not math.isfinite(x):
        return "nan" if math.isnan(x) else ("∞" if x > 0 else "−∞")
    if float(x).is_integer() and abs(x) < 1e15:
        return f"{int(x):,}".replace("-", "−")
    text = f"{x:,.0f}" if 10**digits <= round(abs(x)) < 1e15 else f"{x:.{digits}g}"
    return text.replace("-", "−").replace("e−0", "e−").replace("e+", "e")


def _matrix_scale(numbers: np.ndarray, signed: bool):
    from matplotlib.colors import LinearSegmentedColormap, Normalize

    finite = numbers[~np.isnan(numbers)]
    if signed:
        reach = np.abs(finite).max(initial=0.0) or 1.0
        return Normalize(-reach, reach), LinearSegmentedColormap.from_list("signed", SIGNED)
    low, high = finite.min(initial=np.inf), finite.max(initial=-np.inf)
    return Normalize(low, high) if low < high else Normalize(0, 1), "cividis"


def _write_cells(axes: Axes, array: np.ndarray, shades: np.ndarray, colors, whole: bool) -> None:
    """Write each number into its cell, dark on light colors and light on dark ones."""
    import matplotlib

    palette = matplotlib.colormaps[colors] if isinstance(colors, str) else colors
    for (row, column), x in np.ndenumerate(array):
        if np.isnan(x):
            continue
        red, green, blue, _ = palette(float(shades[row, column]))
        dark = np.isfinite(x) and 0.3 * red + 0.59 * green + 0.11 * blue < 0.5
        axes.text(column, row, _cell_text(x, whole), ha="center", va="center",
                  fontsize=SMALL_SIZE, color="white" if dark else INK)


def _label_ends(axes: Axes, ends: Sequence[tuple[str, float, str]], gap: float) -> None:
    """Write each (name, y, color) to the right of its curve's end, none over another."""
    axes.margins(x=0.01)
    axes.autoscale_view()
    to_height = (axes.transScale + axes.transLimits).transform
    heights = {name: np.clip(to_height((axes.get_xlim()[1], y))[1], 0, 1) for name, y, _ in ends}
    last = -math.inf
    for name, _, color in sorted(ends, key=lambda end: heights[end[0]]):
        last = max(heights[name], last + gap)
        axes.text(1.015, last, _cut(drawable(name), 48), color=color, fontsize=TEXT_SIZE,
                  va="center", transform=axes.transAxes, parse_math=False)


def _cell_text(x: float, whole: bool) -> str:
    if not math.isfinite(x):
        return number(x)
    text = f"{x:.0f}" if whole else f"{x:.2f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _is_whole(numbers: np.ndarray) -> bool:
    """Whether all of them are whole numbers, which are written without decimals."""
    finite = numbers[np.isfinite(numbers)]
    return bool((finite == finite.round()).all())


def _range_of(numbers: np.ndarray) -> str:
    finite = without_traces(numbers[~np.isnan(numbers)])
    return f", from {number(finite.min())} to {number(finite.max())}" if finite.size else ""


# ----------------------------------------------------------------------------- figures and words


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in CSS pixels, at twice their resolution."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 96, height / 96), dpi=192, facecolor=CARD)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    return figure


def new_axes(
    figure: Figure, title: str = "", x_label: str = "", y_label: str = "", grid: str = "",
    position=111,
) -> Axes:
    """Axes in the style of the course: no frame, quiet ticks, a title on the left."""
    axes = figure.add_subplot(position)
    axes.set_facecolor(CARD)
    for side in axes.spines.values():
        side.set_visible(False)
    axes.tick_params(which="both", length=0, labelsize=SMALL_SIZE, labelcolor=INK)
    axes.set_xlabel(drawable(x_label), fontsize=TEXT_SIZE, color=MUTED, parse_math=False)
    axes.set_ylabel(drawable(y_label), fontsize=TEXT_SIZE, color=MUTED, parse_math=False)
    if grid:
        axes.grid(axis=grid, color=GRID, linewidth=0.8)
        axes.set_axisbelow(True)
    if title:
        axes.set_title(drawable(title), loc="left", fontsize=11.5, color=INK, fontweight="bold",
                       pad=10, parse_math=False)
    return axes


def set_log_y(axes: Axes) -> None:
    """A logarithmic y axis whose ticks read 10⁻³, in plain text; where it spans little more than
    one power of ten, all ticks have their numbers, those in between too."""
    def is_narrow() -> bool:
        low, high = sorted(axes.get_ylim())
        return high < 12 * low

    def power(y: float, _place: int) -> str:
        return number(y) if is_narrow() else "10" + str(round(math.log10(y))).translate(_POWERS)

    def between(y: float, _place: int) -> str:
        return number(y) if is_narrow() else ""

    axes.set_yscale("log")
    axes.yaxis.set_major_formatter(power)
    axes.yaxis.set_minor_formatter(between)
    axes.tick_params(which="minor", labelsize=SMALL_SIZE, labelcolor=INK)


_POWERS = str.maketrans("-0123456789", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹")


def png(figure: Figure) -> bytes:
    """The figure as the bytes of a PNG."""
    return Stage(figure).png()


class Stage:
    """A figure of which some artists change from picture to picture; all else is drawn once."""

    def __init__(self, figure: Figure, *changing):
        """`changing` are the matplotlib artists that get other data or places later."""
        from matplotlib.backends.backend_agg import FigureCanvasAgg

        self.figure, self.changing = figure, changing
        with DRAWING:
            self._canvas = FigureCanvasAgg(figure)
            figure.draw_without_rendering()              # finds room for every label, once
            figure.set_layout_engine("none")
            self.draw_scenery()

    def draw_scenery(self) -> None:
        """Draw what stays; once more, where something of it is no longer as it was."""
        with DRAWING:
            for artist in self.changing:
                artist.set_visible(False)
            self._canvas.draw()
            self._scenery = self._canvas.copy_from_bbox(self.figure.bbox)
            for artist in self.changing:
                artist.set_visible(True)

    def png(self) -> bytes:
        """What the figure looks like now, as the bytes of a PNG."""
        from PIL import Image

        with DRAWING:
            self._canvas.restore_region(self._scenery)
            for artist in self.changing:
                self.figure.draw_artist(artist)
            pixels = Image.fromarray(np.asarray(self._canvas.buffer_rgba())).convert("RGB")
            return _png_of(np.asarray(pixels))


def _png_of(pixels: np.ndarray) -> bytes:
    """Pixels (height, width, 3) as a PNG (W3C, "Portable Network Graphics", section 11).

    Usual writers try several filters on each line, for photographs. A drawing without any is
    written in a third of the time, and is no larger.
    """
    height, width, _ = pixels.shape
    lines = np.zeros((height, 1 + 3 * width), dtype=np.uint8)     # each begins with 0: no filter
    lines[:, 1:] = pixels.reshape(height, 3 * width)
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)           # 8 bits each of RGB
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(lines, 1)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks)


def width_of(figure: Figure) -> int:
    """Width of a figure in CSS pixels."""
    return round(figure.get_figwidth() * 96)


# What a page cannot show, or what changes how all that follows looks: control characters, marks of
# direction and signs without a width, halves of surrogate pairs, which are no text, and the two
# signs that XML forbids. Joiners and wide spaces are seen by what they stand between, unless a text
# has nothing else.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff]"
    r"|\A[\xa0\u034f\u1680\u2000-\u200d\u202f\u205f\u3000\ufe00-\ufe0f\U000e0020-\U000e007f]+\Z")


def showable(text: str) -> str:
    r"""Any text as one that every page and picture can show: what none can show as its number,
    such as \x1b. Line ends and tabs stay."""
    return _UNSEEN.sub(lambda found: "".join(map(_number_of, found[0])), text)


def drawable(text: str) -> str:
    """The same for matplotlib: characters that its font lacks are their numbers, too."""
    known = _known_characters()
    return "".join(sign if ord(sign) in known or sign == "\n" else _number_of(sign)
                   for sign in showable(text))


def in_markup(text: str) -> str:
    """Any text as the text of HTML or SVG, where nothing of it can be markup."""
    return html.escape(showable(text))


def with_signs(token: str) -> str:
    """Line ends and tabs as signs, the spaces around a token as dots, the rest as `showable`."""
    token = showable(token.replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍"))
    middle = token.strip(" ")
    left = len(token) - len(token.lstrip(" "))
    return "·" * left + middle + "·" * (len(token) - left - len(middle))


def visible(token: str, limit: int = 16) -> str:
    """A token as a label in a chart: as `with_signs` and `drawable` have it, long ones cut."""
    return _cut(drawable(with_signs(str(token))), limit)


def _cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def _number_of(sign: str) -> str:
    return f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"U+{ord(sign):04X}"


@cache
def _known_characters() -> frozenset[int]:
    """The characters that matplotlib's own font can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    with DRAWING:
        return frozenset(get_font(findfont(FontProperties())).get_charmap())


def _ticks(axes: Axes, xs, x_labels, ys, y_labels, size: float, rotation: int) -> None:
    axes.set_xticks(xs, x_labels, fontsize=size, rotation=rotation, parse_math=False)
    axes.set_yticks(ys, y_labels, fontsize=size, parse_math=False)


def _sentence(title: str) -> str:
    return f"{title}. " if title else ""


def _array(values, name: str, dimensions: int | None = None) -> np.ndarray:
    """Tensor, list or array as a NumPy array of floats, checked for its size and dimensions."""
    if hasattr(values, "detach"):                     # a tensor of any device and precision
        values = values.detach().cpu().double()
    array = np.asarray(values, dtype=float)
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(
            f"{name} has shape {array.shape}, but this picture needs {dimensions} dimensions: "
            "pick one sequence, layer or head where there are too many."
        )
    if not array.size:
        raise ValueError(
            f"{name} has shape {array.shape}, but a picture needs at least one number: look at "
            "where it was made, or cut."
        )
    return array


def _check_labels(labels: Sequence[str] | None, count: int, what: str) -> None:
    if labels is not None and len(labels) != count:
        raise ValueError(
            f"There are {len(labels)} labels for {count} {what}s, but each {what} needs one: "
            "pass as many labels, or another array."
        )


# ------------------------------------------------------------------------------------- diagrams

PARTS = {  # name -> fill and outline when lit
    "tokenizer": ("#d2ebd3", "#2f8050"),
    "embedding": ("#cfe3f7", "#1f5fa8"),
    "attention": ("#fbdcb8", "#b4500a"),
    "block": ("#efe4f6", "#8a4fa3"),
    "model": ("#e9f0f8", "#34689c"),
    "training": ("#f7d3d6", "#b3364a"),
    "generation": ("#d3ecec", "#1f7a7a"),
}
PALE = ("#f3f4f6", "#c5ccd4")


def gpt_diagram(lit: Collection[str], built: Collection[str] = ()) -> Picture:
    """The whole GPT, from text to the next token: the parts named in `lit` are colored, those in
    `built` are drawn in their color on white, all others are gray.

    The parts are "tokenizer", "embedding", "attention", "block", "model", "training" and
    "generation". Raises a ValueError for any other.
    """
    for part in (*lit, *built):
        if part not in list(PARTS):
            raise ValueError(f"{part!r} is no part of the diagram: choose from {', '.join(PARTS)}.")
    draw = _Diagram(lit, built)
    draw.frame("model", 128, 52, 514, 266, "GPT")
    for offset in (12, 6, 0):
        draw.frame("block", 254 + offset, 90 - offset, 254, 206,
                   "transformer block, L times" if not offset else "")
    _draw_tokenizer(draw)
    _draw_stream(draw)
    _draw_head(draw)
    draw.path("training", "M671 312 V352 H614")
    draw.box("training", 372, 334, 238, 38, "loss against the true next token")
    draw.path("training", "M372 353 H330 V320")
    draw.text("training", 318, 357, "gradients move every weight", anchor="end")
    draw.path("generation", "M671 186 V24 H62 V176")
    draw.text("generation", 366, 18, "generation: draw the next token, append it, read on")
    shown = ", ".join(part for part in PARTS if part in lit) or "nothing"
    done = ", ".join(part for part in PARTS if part in built)
    marked = f" and {done} marked as built" if done else ""
    alt = (f"Diagram of a GPT with {shown} highlighted{marked}: text becomes tokens and ids; token "
           "and position embedding are added; in each of L blocks attention and a feed-forward "
           "network, each behind a norm, add to the residual stream; a final norm and the output "
           "head give probabilities of the next token. Training sends the loss back to all "
           "weights, generation appends a drawn token to the text.")
    return _svg(WIDTH, 390, draw.shapes, alt)


def _draw_tokenizer(draw: _Diagram) -> None:
    draw.box("tokenizer", 6, 178, 112, 106)
    draw.text("tokenizer", 62, 200, "“The cat sat”")
    for x, width, token, token_id in ((12, 33, "The", 464), (48, 32, "·cat", 3797),
                                      (83, 30, "·sat", 3332)):
        draw.box("tokenizer", x, 211, width, 24, token, small=True, fill="#ffffff")
        draw.text("tokenizer", x + width / 2, 252, str(token_id), small=True)
    draw.text("tokenizer", 62, 274, "tokens, ids", small=True)


def _draw_stream(draw: _Diagram) -> None:
    """Embeddings, and the residual stream with the two branches that add to it."""
    draw.path("embedding", "M118 231 H124 V193 H134")
    draw.path("embedding", "M124 231 V269 H134")
    draw.box("embedding", 136, 172, 84, 42, "token", "embedding")
    draw.box("embedding", 136, 248, 84, 42, "position", "embedding")
    draw.path("embedding", "M220 193 H235 V216")
    draw.path("embedding", "M220 269 H235 V246")
    draw.path("block", "M246 231 H532", width=3.2)
    draw.plus("embedding", 235, 231)
    draw.text("block", 380, 262, "residual stream", small=True)
    for left, name, lines_ in ((266, "attention", ("attention",)),
                               (388, "block", ("feed-", "forward"))):
        draw.path("block", f"M{left + 22} 231 V211")
        draw.box("block", left, 182, 46, 26, "norm", small=True)
        draw.path(name, f"M{left + 22} 182 V163")
        draw.box(name, left, 116, 106, 44, *lines_)
        draw.path(name, f"M{left + 84} 160 V216")
        draw.plus("block", left + 84, 231)


def _draw_head(draw: _Diagram) -> None:
    draw.box("model", 535, 210, 42, 42, "final", "norm", small=True)
    draw.path("model", "M577 231 H583")
    draw.box("model", 586, 210, 48, 42, "output", "head", small=True)
    draw.path("model", "M634 231 H645")
    lit_parts = [part for part in ("generation", "training", "model") if part in draw.lit]
    part = (lit_parts or ["model"])[0]
    draw.box(part, 648, 188, 46, 86)
    for row, width in enumerate((12, 32, 20, 7, 4)):
        draw.bar(part, 654, 196 + 15 * row, width, 10)
    draw.text(part, 671, 290, "next", small=True)
    draw.text(part, 671, 304, "token", small=True)


class _Diagram:
    """Collects SVG shapes, each colored by the part of the GPT to which it belongs."""

    def __init__(self, lit: Collection[str], built: Collection[str]):
        self.lit, self.built = lit, built
        self.shapes: list[str] = []

    def colors(self, part: str) -> tuple[str, str, str]:
        """Fill, outline and text color."""
        if part in self.lit:
            return (*PARTS[part], INK)
        return ("#ffffff", PARTS[part][1], INK) if part in self.built else (*PALE, "#66707b")

    def box(self, part, x, y, width, height, *lines_, small=False, fill=None) -> None:
        own_fill, outline, _ = self.colors(part)
        self.shapes.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" '
                           f'fill="{fill or own_fill}" stroke="{outline}" stroke-width="1.4"/>')
        for n, line in enumerate(lines_):
            middle = y + height / 2 + 4.5 + 15 * (n - (len(lines_) - 1) / 2)
            self.text(part, x + width / 2, middle, line, small)

    def frame(self, part, x, y, width, height, label) -> None:
        self.box(part, x, y, width, height)
        if label:
            self.text(part, x + 12, y + 18, label, anchor="start", small=True)

    def text(self, part, x, y, content, small=False, anchor="middle") -> None:
        color = self.colors(part)[2]
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" fill="{color}" text-anchor="{anchor}" '
                           f'font-size="{12 if small else 13.5}">{in_markup(content)}</text>')

    def path(self, part, d, width=1.6) -> None:
        """A line along `d` (M, H and V only) that ends in an arrow head."""
        outline = self.colors(part)[1]
        self.shapes.append(f'<path d="{d}" fill="none" stroke="{outline}" '
                           f'stroke-width="{width}"/>')
        self.shapes.append(f'<path d="{_arrow_head(d)}" fill="{outline}"/>')

    def plus(self, part, x, y) -> None:
        fill, outline, _ = self.colors(part)
        self.shapes.append(f'<circle cx="{x}" cy="{y}" r="11" fill="{fill}" stroke="{outline}" '
                           f'stroke-width="1.6"/><path d="M{x - 5} {y} h10 M{x} {y - 5} v10" '
                           f'stroke="{outline}" stroke-width="2"/>')

    def bar(self, part, x, y, width, height) -> None:
        self.shapes.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" '
                           f'fill="{self.colors(part)[1]}"/>')


def _arrow_head(d: str) -> str:
    """A triangle at the end of a path of M, H and V steps, pointing where its last step went."""
    x = y = dx = dy = 0.0
    for step in d.replace("M", "").replace("H", "| H").replace("V", "| V").split("|"):
        step = step.strip()
        if step[0] == "H":
            dx, dy, x = float(step[1:]) - x, 0, float(step[1:])
        elif step[0] == "V":
            dx, dy, y = 0, float(step[1:]) - y, float(step[1:])
        else:
            x, y = map(float, step.split())
    ux, uy = np.sign(dx), np.sign(dy)
    tip, back = (x + 3 * ux, y + 3 * uy), (x - 5 * ux, y - 5 * uy)
    return (f"M{tip[0]:g} {tip[1]:g} L{back[0] + 4 * uy:g} {back[1] + 4 * ux:g} "
            f"L{back[0] - 4 * uy:g} {back[1] - 4 * ux:g} Z")


def tensor_shapes(shapes: Mapping[str, Sequence[int]]) -> Picture:
    """Tensors on their way through a model, {name: shape}, a line each, the first on top.

    A bar is as long as a tensor has numbers for one token. (B, H, T, D) is cut into its H heads,
    (B, T) is a single number per token.
    """
    widest = max(math.prod(_per_token(shape)) for shape in shapes.values())
    shapes_drawn = []
    for row, (name, shape) in enumerate(shapes.items()):
        heads, size = _per_token(shape)
        y, length = 34 + 28 * row, 300 * size / widest
        shapes_drawn += [
            f'<text x="16" y="{y}" font-size="13.5" fill="{INK}">{in_markup(name)}</text>',
            f'<text x="246" y="{y}" font-size="13.5" fill="{MUTED}">'
            f"{in_markup(str(tuple(shape)))}</text>",
        ]
        shapes_drawn += [
            f'<rect x="{380 + length * head:.1f}" y="{y - 14}" width="{max(1.5, length - 1):.1f}" '
            f'height="18" fill="{SERIES[0] if heads == 1 else SERIES[1]}"/>'
            for head in range(heads)
        ]
    said = "; ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    alt = f"Shapes of tensors, with bars for the numbers per token: {said}."
    return _svg(WIDTH, 28 * len(shapes) + 26, shapes_drawn, alt)


def _per_token(shape: Sequence[int]) -> tuple[int, int]:
    """Heads, and numbers per token and head, of (B, T), (B, T, C) or (B, H, T, D)."""
    return (shape[1] if len(shape) == 4 else 1, shape[-1] if len(shape) > 2 else 1)


def token_strip(labels: Sequence[str], ids: Sequence[int], title: str = "") -> Picture:
    """A text cut into its tokens, each on its own color, with the ids below.

    labels (T) as from `tokenizer.tokens(ids)`, ids (T).
    """
    _check_labels(labels, len(ids), "id")
    shapes, x, y, start = [], 16.0, 16.0 if not title else 42.0, 16.0
    if title:
        shapes.append(f'<text x="16" y="26" font-size="15" font-weight="bold" fill="{INK}">'
                      f"{in_markup(title)}</text>")
    for n, (label, token_id) in enumerate(zip(labels, ids, strict=True)):
        shown = with_signs(str(label))
        while _columns(shown) > LONGEST_CHIP:
            shown = _cut(shown, len(shown) - 1)
        width = 12 + max(8.5 * _columns(shown), 7.3 * len(str(int(token_id))))
        if x + width > WIDTH - 10 and x > start:
            x, y = start, y + 60
        shapes.append(_chip(x, y, width, shown, str(int(token_id)), CHIPS[n % len(CHIPS)]))
        x += width + 4
        if str(label).endswith("\n"):
            x, y = start, y + 60
    height = y + (60 if x > start else 0) + 2
    said = " | ".join(f"{visible(label)} {token_id}" for label, token_id in
                      zip(labels[:40], ids[:40], strict=True))
    more = "" if len(ids) <= 40 else " and so on"
    alt = f"{_sentence(title)}Text as {len(ids)} tokens with their ids: {said}{more}."
    return _svg(WIDTH, height, shapes, alt)


def _chip(x: float, y: float, width: float, label: str, below: str, color: str) -> str:
    middle = x + width / 2
    mono = 'text-anchor="middle" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace"'
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="30" rx="5" fill="{color}"/>'
        f'<text x="{middle:.1f}" y="{y + 20:.1f}" font-size="14" fill="{INK}" {mono} '
        f'textLength="{8.5 * _columns(label):.1f}" lengthAdjust="spacingAndGlyphs">'
        f"{in_markup(label)}</text>"
        f'<text x="{middle:.1f}" y="{y + 46:.1f}" font-size="12" fill="{MUTED}" {mono}>'
        f"{in_markup(below)}</text>"
    )


def window_strip(
    labels: Sequence[str], inputs: Sequence[Sequence[int]], asked: Sequence[int], chosen: int
) -> Picture:
    """The windows of a text as bands below its tokens, one of them with inputs and targets.

    labels (N) of the tokens, inputs (W, T) their places in each window, asked (N) how often each
    is a target; `chosen` is the number of a window. At most ten bands are drawn.
    """
    left, cell = 76, min(44, (WIDTH - 92) / len(labels))
    first = max(0, min(chosen - 4, len(inputs) - 10))
    drawn = inputs[first : first + 10]
    shapes = [_turned(left + cell * (n + 0.5), 62, visible(label, 9))
              for n, label in enumerate(labels)]
    for row, places in enumerate(drawn, start=first):
        y, is_chosen = 72 + 19 * (row - first), row == chosen
        x, end = left + cell * places[0], left + cell * (places[-1] + 1)
        shapes += [
            _words(left - 8, y + 11, f"window {row + 1}", "end", bold=is_chosen),
            _band(x, y, end - x, SERIES[0] if is_chosen else CHIPS[0]),
            _band(end + 1, y, cell - 2, "none", outline=SERIES[1]),
        ]
    y = 72 + 19 * len(drawn)
    shapes.append(_words(left - 8, y + 14, "asked for", "end"))
    for n, count in enumerate(asked):
        shapes.append(_words(left + cell * (n + 0.5), y + 14, str(count), bold=count != 1))
    places = inputs[chosen]
    width = min(80, (WIDTH - 92) / len(places))
    for name, row, color, moved in (("inputs", 0, CHIPS[0], 0), ("targets", 1, CHIPS[1], 1)):
        top = y + 40 + 52 * row
        shapes.append(_words(left - 8, top + 19, name, "end", bold=True))
        for n, place in enumerate(places):
            x = left + width * n
            shapes += [_band(x + 1, top, width - 2, color, height=28),
                       _words(x + width / 2, top + 19, visible(labels[place + moved],
                                                               int(width / 7.2)))]
            if not moved:
                shapes.append(_words(x + width / 2, top + 44, "↓"))
    alt = (f"{len(inputs)} windows of {len(places)} tokens as bands below a text of {len(labels)} "
           f"tokens. Window {chosen + 1} reads {_joined(labels, places)} and is asked for "
           f"{_joined(labels, [place + 1 for place in places])}.")
    return _svg(WIDTH, y + 132, shapes, alt)


def _joined(labels: Sequence[str], places: Sequence[int]) -> str:
    return " | ".join(visible(labels[place]) for place in places)


def _words(x: float, y: float, words: str, anchor: str = "middle", bold: bool = False) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="12" fill="{INK}" text-anchor="{anchor}"'
            f"{weight}>{in_markup(words)}</text>")


def _turned(x: float, y: float, words: str) -> str:
    """Words that climb to the right, so that narrow columns have room for them."""
    return (f'<text x="{x:.1f}" y="{y}" font-size="12" fill="{INK}" '
            f'transform="rotate(-55 {x:.1f} {y})">{in_markup(words)}</text>')


def _band(x: float, y: float, width: float, fill: str, height: int = 14, outline="none") -> str:
    return (f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="{height}" rx="3" '
            f'fill="{fill}" stroke="{outline}" stroke-width="1.6"/>')


def _columns(text: str) -> int:
    """Width of a text in columns of a fixed-width font: Chinese characters and emoji take two."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    joined = sum(unicodedata.combining(sign) > 0 for sign in text)
    return max(1, len(text) + wide - joined)


def _svg(width: int, height: float, shapes: Sequence[str], alt: str) -> Picture:
    words = in_markup(with_signs(alt))
    return Picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{words}" '
        f'width="{width}" height="{height:g}" viewBox="0 0 {width} {height:g}" '
        f'style="max-width: 100%; height: auto" '
        f'font-family="system-ui, -apple-system, \'Segoe UI\', \'DejaVu Sans\', sans-serif">'
        f'<title>{words}</title><rect width="100%" height="100%" rx="8" fill="{CARD}"/>'
        f'{"".join(shapes)}</svg>',
        alt, width,
    )
