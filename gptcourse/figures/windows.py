"""A text cut into windows of inputs and targets, as bands below its tokens."""

from __future__ import annotations

from collections.abc import Sequence

from gptcourse.figures.canvas import visible
from gptcourse.figures.picture import Picture, svg
from gptcourse.figures.style import CHIPS, INK, SERIES, WIDTH
from gptcourse.figures.words import in_markup


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
    return svg(WIDTH, y + 132, shapes, alt)


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
