"""One attention head, number by number: what a single query does."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np

from gptcourse.figures.canvas import visible
from gptcourse.figures.numbers import as_array, check_labels, number
from gptcourse.figures.picture import Picture, sentence, svg
from gptcourse.figures.style import CHIPS, EMPTY, GRID, INK, MUTED, WIDTH
from gptcourse.figures.words import in_markup

ROW_HEIGHT, TOP = 44, 92                         # of a word's row, and where the first one begins
COLUMNS = ("key", "query · key", "÷ √D", "weight", "value", "weight × value")
LEFT, STEP = 150, 96                             # the middle of the first column, and to the next


def one_head(
    labels: Sequence[str], queries, keys, values, row: int, title: str = ""
) -> Picture:
    """How the query of one word, `row`, gathers values, with a line for each word.

    queries, keys and values are (T, D), T at most six, D at most three; later words are masked.
    Raises a ValueError for a row that is not there.
    """
    queries, keys, values = (
        as_array(x, name, dimensions=2)
        for x, name in ((queries, "queries"), (keys, "keys"), (values, "values")))
    for x in (queries, keys, values):
        check_labels(labels, len(x), "word")
    if row not in range(len(labels)):
        raise ValueError(f"row is {row!r}, but there are words 0 to {len(labels) - 1}: choose one "
                         "of them.")
    labels = [visible(label, 9) for label in labels]
    scores = keys @ queries[row]                                             # (T)
    scaled = scores / math.sqrt(keys.shape[1])                               # (T)
    masked = np.where(np.arange(len(labels)) <= row, scaled, -math.inf)      # (T)
    powers = np.exp(masked - masked.max())
    weights = powers / powers.sum()                                          # (T)
    parts = weights[:, None] * values                                        # (T, D)

    query = f"The query of {labels[row]}: {_vector(queries[row])}"
    shapes = [_words(16, 28, query, "start", bold=True),
              *(_words(_middle(n), 66, name, color=MUTED) for n, name in enumerate(COLUMNS))]
    said = []
    for n, label in enumerate(labels):
        y = TOP + ROW_HEIGHT * n
        shapes.append(_words(84, y + 18, label, "end", bold=n == row))
        if n > row:
            shapes.append(_words(_middle(0) - 40, y + 18, "comes later: masked", "start",
                                 color=MUTED))
            said.append(f"{label} comes later and is masked")
            continue
        cells = (_vector(keys[n]), _short(scores[n]), _short(scaled[n]), _short(weights[n]),
                 _vector(values[n]), _vector(parts[n]))
        for column, text in enumerate(cells):
            shapes += _cell(_middle(column), y, text, column)
        said.append(f"{label}: " + ", ".join(
            f"{name} {text}" for name, text in zip(COLUMNS, cells, strict=True)))
    last, gathered = len(COLUMNS) - 1, _vector(parts.sum(axis=0))
    below = TOP + ROW_HEIGHT * len(labels)
    shapes += [
        f'<path d="M{_middle(last) - 42} {below - 4} h84" stroke="{INK}" stroke-width="1.6"/>',
        _words(_middle(last) - 62, below + 24, f"added up, what {labels[row]} gathers", "end"),
        *_cell(_middle(last), below + 6, gathered, last),
    ]
    alt = f"{sentence(title)}{query}. {'; '.join(said)}. Added up: {gathered}."
    return svg(WIDTH, below + 50, shapes, alt)


def _middle(column: int) -> int:
    return LEFT + STEP * column


def _cell(x: float, y: float, text: str, column: int) -> list[str]:
    """A number in its box, with an arrow to it from the one on its left."""
    fill = CHIPS[0] if COLUMNS[column] == "weight" else EMPTY
    shapes = [f'<rect x="{x - 40}" y="{y}" width="80" height="28" rx="4" fill="{fill}" '
              f'stroke="{GRID}"/>', _words(x, y + 19, text)]
    if column > 0 and COLUMNS[column] != "value":
        shapes.append(f'<path d="M{x - 55} {y + 14} h12 m-4 -4 l4 4 l-4 4" fill="none" '
                      f'stroke="{MUTED}" stroke-width="1.4"/>')
    return shapes


def _short(x: float) -> str:
    return number(round(float(x), 2) + 0.0)


def _vector(numbers: np.ndarray) -> str:
    return f"({', '.join(map(_short, numbers))})"


def _words(x, y, words, anchor="middle", bold=False, color=INK) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (f'<text x="{x}" y="{y}" font-size="13" fill="{color}" text-anchor="{anchor}"'
            f"{weight}>{in_markup(words)}</text>")
