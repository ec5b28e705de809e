"""A text token by token: as chips, in a picture or in a page, and cut into windows."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle

from gptcourse.figures.canvas import visible
from gptcourse.figures.numbers import check_labels
from gptcourse.figures.picture import Picture, sentence, svg
from gptcourse.figures.style import CHIPS, INK, MUTED, SERIES, WIDTH
from gptcourse.figures.words import columns_of, cut, in_markup, with_signs

LONGEST_CHIP = 77                                    # of a token, in columns: a page is no wider


@dataclass(frozen=True)
class Chip:
    """A token on a color, with small lines below it; one that ends a line ends a row of chips."""

    token: str                    # as from `tokenizer.tokens`
    color: str
    below: Sequence[str] = ()
    ink: str = INK
    hint: str = ""                # what the pointer is told
    current: bool = False         # framed, in a page

    @property
    def label(self) -> str:
        label = with_signs(str(self.token))
        while (excess := columns_of(label) - LONGEST_CHIP) > 0:
            label = cut(label, len(label) - max(1, excess // 2))     # a character takes two or less
        return label

    @property
    def ends_row(self) -> bool:
        return str(self.token).endswith("\n")


def token_strip(labels: Sequence[str], ids: Sequence[int], title: str = "") -> Picture:
    """A text cut into its tokens, each on its own color, with the ids below.

    labels (T) as from `tokenizer.tokens(ids)`, ids (T).
    """
    check_labels(labels, len(ids), "id")
    shapes, x, y, start = [], 16.0, 16.0 if not title else 42.0, 16.0
    if title:
        shapes.append(f'<text x="16" y="26" font-size="15" font-weight="bold" fill="{INK}">'
                      f"{in_markup(title)}</text>")
    for label, token_id, color in zip(labels, ids, cycle(CHIPS), strict=False):
        chip = Chip(label, color, [str(int(token_id))])
        width = 12 + max(8.5 * columns_of(chip.label), 7.3 * len(chip.below[0]))
        if x + width > WIDTH - 10 and x > start:
            x, y = start, y + 60
        shapes.append(_drawn(chip, x, y, width))
        x += width + 4
        if chip.ends_row:
            x, y = start, y + 60
    height = y + (60 if x > start else 0) + 2
    said = " | ".join(f"{visible(label)} {token_id}" for label, token_id in
                      zip(labels[:40], ids[:40], strict=True))
    more = "" if len(ids) <= 40 else " and so on"
    alt = f"{sentence(title)}Text as {len(ids)} tokens with their ids: {said}{more}."
    return svg(WIDTH, height, shapes, alt)


def _drawn(chip: Chip, x: float, y: float, width: float) -> str:
    middle = x + width / 2
    mono = 'text-anchor="middle" font-family="DejaVu Sans Mono, Menlo, Consolas, monospace"'
    return (
        f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" height="30" rx="5" '
        f'fill="{chip.color}"/>'
        f'<text x="{middle:.1f}" y="{y + 20:.1f}" font-size="14" fill="{chip.ink}" {mono} '
        f'textLength="{8.5 * columns_of(chip.label):.1f}" lengthAdjust="spacingAndGlyphs">'
        f"{in_markup(chip.label)}</text>"
        f'<text x="{middle:.1f}" y="{y + 46:.1f}" font-size="12" fill="{MUTED}" {mono}>'
        f"{in_markup(chip.below[0])}</text>"
    )


def chip_list(name: str, chips: Iterable[Chip]) -> str:
    """Chips as the HTML of a list called `name`; the style of the views says how they look."""
    items = []
    for chip in chips:
        classes = "gpt-chip gpt-current" if chip.current else "gpt-chip"
        below = "".join(f"<small>{in_markup(line)}</small>" for line in chip.below)
        items.append(f'<li class="{classes}" title="{in_markup(chip.hint)}" '
                     f'style="background-color: {chip.color}; color: {chip.ink}">'
                     f"<span>{in_markup(chip.label)}</span>{below}</li>"
                     + '<li class="gpt-break" aria-hidden="true"></li>' * chip.ends_row)
    return f'<ul class="gpt-chips" aria-label="{name}" dir="auto">{"".join(items)}</ul>'


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
