"""Attention weights as arcs over a line of words, in the color of each head."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from gptcourse.figures.canvas import visible
from gptcourse.figures.numbers import as_array, check_labels
from gptcourse.figures.picture import Picture, svg
from gptcourse.figures.style import INK, MUTED, PALETTE, WIDTH
from gptcourse.figures.words import in_markup

MOST, LEAST = 30, 0.03                  # tokens in the line; a weight below it has no arc
LEFT, TALL, WORDS = 56, 190, 96         # room beside the line, above it and below it, in pixels


def attention_arcs(
    heads: Mapping[int | str, np.ndarray], labels: Sequence[str], token: int, column: bool = False
) -> Picture:
    """Which tokens look back at which, an arc as wide as the weight is large.

    The weights (T, T) of each head by its number, labels (T). What `token` looks at stands out, or
    who looks at it with `column`. Of more than 30 tokens the last are drawn, or those up to `token`
    where that is none of them.
    """
    heads = {head: as_array(weights, "weights", dimensions=2) for head, weights in heads.items()}
    for weights in heads.values():
        check_labels(labels, len(weights), "row")
    last = token if token < len(labels) - MOST else len(labels) - 1
    first = max(0, last - MOST + 1)
    drawn = range(first, min(len(labels), first + MOST))
    cell = min(52.0, (WIDTH - LEFT - 12) / len(drawn))
    pale, strong, looked = [], [], {token}
    for nth, (head, weights) in enumerate(heads.items()):
        for query, key in np.argwhere(np.tril(weights) >= LEAST):
            if query not in drawn and key not in drawn:
                continue
            own = token == (key if column else query)
            weight, lift = weights[query, key], 24 / len(heads) * nth
            opacity = (0.35 + 0.6 * weight) * (1 if own else 0.22 if len(heads) < 3 else 0.11)
            places = (_place(n, drawn, cell) for n in (query, key))
            (strong if own else pale).append(_arc(*places, weight, _color(head), opacity, lift))
            if own and weight >= 0.1:
                looked |= {int(query), int(key)}
    shapes = pale + strong
    shapes += [_word(_place(n, drawn, cell), visible(labels[n], 12), n in looked, n == token)
               for n in drawn]
    return svg(WIDTH, TALL + WORDS, shapes, _told(heads, labels, token, column))


def _place(n: int, drawn: range, cell: float) -> float:
    """Where a token stands; those that are not drawn, outside."""
    if n not in drawn:
        return -30.0 if n < drawn[0] else WIDTH + 30.0
    return LEFT + cell * (n - drawn[0] + 0.5)


def _color(head: int | str) -> str:
    names = PALETTE["heads"]
    return PALETTE["orange" if isinstance(head, str) else names[head % len(names)]]


def _arc(
    start: float, end: float, weight: float, color: str, opacity: float, lift: float
) -> str:
    """As `arc` in common.js draws it."""
    look = (f'fill="none" stroke="{color}" stroke-width="{max(0.7, 10 * weight):.2f}" '
            f'stroke-linecap="round" opacity="{opacity:.2f}"')
    if start == end:
        radius = 5 + 4 * weight
        return f'<circle cx="{start:.1f}" cy="{TALL - radius - 5:.1f}" r="{radius:.1f}" {look}/>'
    top = TALL - 1.33 * (16 + (TALL - 52) * abs(start - end) / WIDTH + lift)
    curve = f"M{start:.1f} {TALL} C{start:.1f} {top:.1f} {end:.1f} {top:.1f} {end:.1f} {TALL}"
    return f'<path d="{curve}" {look}/>'


def _word(x: float, word: str, strong: bool, current: bool) -> str:
    weight = ' font-weight="bold"' if strong else ""
    line = ' text-decoration="underline"' if current else ""
    return (f'<text x="{x + 4:.1f}" y="{TALL + 14}" font-size="12" text-anchor="end" '
            f'fill="{INK if strong else MUTED}"{weight}{line} '
            f'transform="rotate(-55 {x + 4:.1f} {TALL + 14})">{in_markup(word)}</text>')


def _told(heads: Mapping, labels: Sequence[str], token: int, column: bool) -> str:
    most = []
    for head, weights in heads.items():
        row = weights[:, token] if column else weights[token]
        most.append(f"head {head} {visible(labels[row.argmax()])} ({row.max():.2f})")
    verb = "is looked at most by" if column else "looks most at"
    return (f"Attention as arcs over {len(labels)} tokens. {visible(labels[token])} {verb}: "
            f"{', '.join(most)}.")
