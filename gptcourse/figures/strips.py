"""A text token by token: as chips, in a picture or in a page."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import cycle

from gptcourse.figures.canvas import visible
from gptcourse.figures.numbers import check_labels
from gptcourse.figures.picture import Picture, sentence, svg
from gptcourse.figures.style import CHIPS, INK, MUTED, WIDTH
from gptcourse.figures.words import columns_of, cut, in_markup, with_signs

LONGEST_CHIP = 77                                    # of a token, in columns: a page is no wider


@dataclass(frozen=True)
class Chip:
    """A token on a color, with small lines below it; one that ends a line ends a row of chips."""

    token: str                    # as from `tokenizer.tokens`
    color: str
    below: Sequence[str] = ()
    hint: str = ""                # what the pointer is told
    current: bool = False         # framed, in a page

    @property
    def label(self) -> str:
        label = with_signs(str(self.token)).replace(" ", "·")        # those inside of it, too
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
    said = " | ".join(f"{visible(label).replace(' ', '·')} {token_id}" for label, token_id in
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
        f'<text x="{middle:.1f}" y="{y + 20:.1f}" font-size="14" fill="{INK}" {mono} '
        f'textLength="{8.5 * columns_of(chip.label):.1f}" lengthAdjust="spacingAndGlyphs">'
        f"{in_markup(chip.label)}</text>"
        f'<text x="{middle:.1f}" y="{y + 46:.1f}" font-size="12" fill="{MUTED}" {mono}>'
        f"{in_markup(chip.below[0])}</text>"
    )


def chip_list(name: str, chips: Iterable[Chip]) -> str:
    """Chips as the HTML of a list called `name`; the style of the views says how they look."""
    items, chips = [], list(chips)
    many = " gpt-many" * (len(chips) > 40)               # as in common.js
    for chip in chips:
        classes = "gpt-chip gpt-current" if chip.current else "gpt-chip"
        below = "".join(f"<small>{in_markup(line)}</small>" for line in chip.below)
        items.append(f'<li class="{classes}" title="{in_markup(chip.hint)}" '
                     f'style="background-color: {chip.color}; color: {INK}">'
                     f"<span>{in_markup(chip.label)}</span>{below}</li>"
                     + '<li class="gpt-break" aria-hidden="true"></li>' * chip.ends_row)
    return f'<ul class="gpt-chips{many}" aria-label="{name}" dir="auto">{"".join(items)}</ul>'
