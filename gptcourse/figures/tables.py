"""Language models of a single token: the table that is counted and the one that is learned."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from gptcourse.figures.canvas import visible
from gptcourse.figures.numbers import as_array, cell_text, check_labels, is_whole
from gptcourse.figures.picture import Picture, svg
from gptcourse.figures.style import CHIPS, EMPTY, GRID, INK, MUTED, SERIES, WIDTH
from gptcourse.figures.words import in_markup

CELL_HEIGHT, LABELS = 32, 66                     # of a row, and what is kept free on its left
GAP = 44                                         # between the two tables


def two_tables(labels: Sequence[str], counts, scores, row: int) -> Picture:
    """A table of counts and one of scores (R, R), and the chances that one row of each gives.

    Counts become chances by a division, scores by a softmax. Column and row stand for the same
    tokens; at most eight of them have room. Raises a ValueError for a row that is not there.
    """
    counts, scores = (as_array(x, name, dimensions=2)
                      for x, name in ((counts, "counts"), (scores, "scores")))
    for x in (counts, scores):
        check_labels(labels, len(x), "row")
        check_labels(labels, x.shape[1], "column")
    if row not in range(len(labels)):
        raise ValueError(f"row is {row!r}, but the tables have rows 0 to {len(labels) - 1}: choose "
                         "one of them.")
    with np.errstate(invalid="ignore", divide="ignore"):
        powers = np.exp(scores[row] - scores[row].max())
        chances = counts[row] / counts[row].sum(), powers / powers.sum()
    labels = [visible(label, 7) for label in labels]
    width = (WIDTH - 32 - GAP) / 2
    shapes = [
        *_table(16, width, "Counts", labels, counts, row, chances[0],
                "divide by the row's sum"),
        *_table(16 + width + GAP, width, "Scores", labels, scores, row, chances[1],
                "softmax of the row"),
    ]
    said = "; ".join(f"{label} {cell_text(one, False)} and {cell_text(other, False)}"
                     for label, one, other in zip(labels, *chances, strict=True))
    alt = (f"Two tables of {len(labels)} by {len(labels)} cells, one of counts, one of scores; the "
           f"row of {labels[row]} is marked in both. Divided by its sum, the row of counts gives "
           f"chances; a softmax makes chances of the row of scores: {said}.")
    return svg(WIDTH, CELL_HEIGHT * len(labels) + 164, shapes, alt)


def _table(left, width, title, labels, numbers, row, chances, how) -> list[str]:
    """One of the two, from its title down to the chances."""
    cell = (width - LABELS) / len(labels)
    x = [left + LABELS + cell * n for n in range(len(labels))]
    middle, below = left + LABELS + cell / 2, 66 + CELL_HEIGHT * len(labels)
    shapes = [_words(left, 28, title, "start", bold=True)]
    shapes += [_words(x[n] + cell / 2, 56, label) for n, label in enumerate(labels)]
    for n, label in enumerate(labels):
        y, chosen = 66 + CELL_HEIGHT * n, n == row
        shapes.append(_words(left + LABELS - 8, y + 20, label, "end", bold=chosen))
        shapes += _cells(x, y, cell, numbers[n], CHIPS[0] if chosen else EMPTY,
                         is_whole(numbers))
    arrow = f"M{middle:.1f} {below + 6} v20 m-5 -6 l5 6 l5 -6"
    shapes += [
        f'<path d="{arrow}" fill="none" stroke="{MUTED}" stroke-width="1.6"/>',
        _words(middle + 12, below + 21, how, "start", color=MUTED),
        _words(left + LABELS - 8, below + 56, "chance", "end"),
        *_cells(x, below + 36, cell, chances, CHIPS[1], False),
    ]
    for n, chance in enumerate(np.nan_to_num(chances)):
        shapes.append(f'<rect x="{x[n] + 1:.1f}" y="{below + 74}" height="8" '
                      f'width="{(cell - 2) * chance:.1f}" fill="{SERIES[1]}"/>')
    return shapes


def _cells(x, y, width, numbers, fill, whole) -> list[str]:
    shapes = []
    for left, value in zip(x, numbers, strict=True):
        shapes.append(f'<rect x="{left + 1:.1f}" y="{y + 1}" width="{width - 2:.1f}" '
                      f'height="{CELL_HEIGHT - 2}" rx="4" fill="{fill}" stroke="{GRID}"/>')
        shapes.append(_words(left + width / 2, y + 21, cell_text(value, whole)))
    return shapes


def _words(x, y, words, anchor="middle", bold=False, color=INK) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (f'<text x="{x:.1f}" y="{y:.1f}" font-size="13" fill="{color}" text-anchor="{anchor}"'
            f"{weight}>{in_markup(words)}</text>")
