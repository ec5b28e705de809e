"""What charts are drawn on: matplotlib figures in the style of the course, and their pixels."""

from __future__ import annotations

import struct
import threading
import zlib
from collections.abc import Iterable, Sequence
from functools import cache
from typing import TYPE_CHECKING

import numpy as np

from gptcourse.figures.picture import Picture
from gptcourse.figures.style import CARD, GRID, INK, MUTED, SMALL_SIZE, TEXT_SIZE
from gptcourse.figures.words import cut, number_of, showable, with_signs

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

DRAWING = threading.RLock()      # matplotlib is not thread-safe: one picture at a time


def new_figure(width: float, height: float) -> Figure:
    """An empty figure of this size in CSS pixels, at twice their resolution."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 96, height / 96), dpi=192, facecolor=CARD)
    figure.set_layout_engine("constrained", w_pad=0.1, h_pad=0.1)
    return figure


def width_of(figure: Figure) -> int:
    """Width of a figure in CSS pixels."""
    return round(figure.get_figwidth() * 96)


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


def set_ticks(axes: Axes, xs, x_labels, ys, y_labels, size: float, rotation: int) -> None:
    axes.set_xticks(xs, x_labels, fontsize=size, rotation=rotation, parse_math=False)
    axes.set_yticks(ys, y_labels, fontsize=size, parse_math=False)


def set_legend(axes: Axes, artists: Sequence, names: Iterable[str]) -> None:
    """Above the axes, on the right, what each of the artists shows; a name may be any text."""
    legend = axes.legend(artists, [" "] * len(artists), loc="lower right", bbox_to_anchor=(1, 1),
                         ncols=len(artists), frameon=False, fontsize=TEXT_SIZE)
    for text, name in zip(legend.get_texts(), names, strict=True):
        text.set(text=cut(drawable(name), 24), parse_math=False, color=INK)


def drawable(text: str) -> str:
    """As `showable`, for matplotlib: characters that its font lacks are their numbers, too."""
    known = _known_characters()
    return "".join(sign if ord(sign) in known or sign == "\n" else number_of(sign)
                   for sign in showable(text))


@cache
def _known_characters() -> frozenset[int]:
    """The characters that matplotlib's own font can draw."""
    from matplotlib.font_manager import FontProperties, findfont, get_font

    with DRAWING:
        return frozenset(get_font(findfont(FontProperties())).get_charmap())


def visible(token: str, limit: int = 16) -> str:
    """A token as a label in a chart: as `with_signs` and `drawable` have it, long ones cut."""
    return cut(drawable(with_signs(str(token))), limit)


def drawn(figure: Figure, alt: str) -> Picture:
    """The figure as it stands, with what it shows in words."""
    return Picture(png(figure), alt, width_of(figure))


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
            figure.get_layout_engine().execute(figure)   # finds room for every label, once
            figure.set_layout_engine("none")
            for artist in changing:
                artist.set_visible(False)
            self._canvas.draw()
            self._scenery = self._canvas.copy_from_bbox(figure.bbox)
            for artist in changing:
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
