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

ROW_HEIGHT, BOX_HEIGHT = 44, 28                  # of a word's row, and of the boxes in it
COLUMNS = {                                      # name: where its boxes begin, their width
    "key": (92, 80), "query · key": (190, 64), "÷ √D": (272, 64), "weight": (398, 64),
    "value": (480, 80), "weight × value": (578, 96),
}
SOFTMAX = (354, 26)                              # one box for all words: it makes shares of them


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
    top = 66 if not title else 92                                # where the first row begins
    shapes = [_words(16, top - 38, query, "start", bold=not title),
              *(_words(_middle(name), top - 10, name, color=MUTED) for name in COLUMNS)]
    if title:
        shapes.append(_words(16, 26, title, "start", bold=True))
    said = []
    for n, label in enumerate(labels):
        y = top + ROW_HEIGHT * n
        shapes.append(_words(80, y + 19, label, "end", bold=n == row))
        if n > row:
            shapes.append(_words(COLUMNS["key"][0], y + 19, "comes later: masked", "start",
                                 color=MUTED))
            said.append(f"{label} comes later and is masked")
            continue
        cells = dict(zip(COLUMNS, (_vector(keys[n]), _short(scores[n]), _short(scaled[n]),
                                   _short(weights[n]), _vector(values[n]), _vector(parts[n])),
                         strict=True))
        for name, text in cells.items():
            shapes += _box(name, y, text)
        shapes.append(_arrow_to(SOFTMAX[0], y))
        said.append(f"{label}: " + ", ".join(f"{name} {text}" for name, text in cells.items()))
    last, gathered = "weight × value", _vector(parts.sum(axis=0))
    left, width = COLUMNS[last]
    below = top + ROW_HEIGHT * len(labels)
    shapes += [
        *_softmax(top, max(66, ROW_HEIGHT * row + BOX_HEIGHT)),
        f'<path d="M{left - 2} {below - 6} h{width + 4}" stroke="{INK}" stroke-width="1.6"/>',
        _words(left - 24, below + 21, f"added up, what {labels[row]} gathers", "end"),
        *_box(last, below + 2, gathered),
    ]
    alt = (f"{sentence(title)}{query}. One softmax makes the weights of all scores. "
           f"{'; '.join(said)}. Added up: {gathered}.")
    return svg(WIDTH, below + 46, shapes, alt)


def _middle(column: str) -> float:
    left, width = COLUMNS[column]
    return left + width / 2


def _box(column: str, y: float, text: str) -> list[str]:
    """A number in its box, with an arrow to it from the one on its left."""
    left, width = COLUMNS[column]
    fill = CHIPS[0] if column == "weight" else EMPTY
    shapes = [f'<rect x="{left}" y="{y}" width="{width}" height="{BOX_HEIGHT}" rx="4" '
              f'fill="{fill}" stroke="{GRID}"/>', _words(_middle(column), y + 19, text)]
    if column not in ("key", "value"):
        shapes.append(_arrow_to(left, y))
    return shapes


def _arrow_to(x: float, y: float) -> str:
    return (f'<path d="M{x - 16} {y + 14} h13 m-4 -4 l4 4 l-4 4" fill="none" stroke="{MUTED}" '
            'stroke-width="1.4"/>')


def _softmax(y: float, height: float) -> list[str]:
    left, width = SOFTMAX
    x, middle = left + width / 2, y + height / 2
    return [f'<rect x="{left}" y="{y}" width="{width}" height="{height}" rx="4" '
            f'fill="{EMPTY}" stroke="{MUTED}"/>',
            f'<text x="{x}" y="{middle + 4}" transform="rotate(-90 {x} {middle})" font-size="13" '
            f'fill="{INK}" text-anchor="middle">softmax</text>']


def _short(x: float) -> str:
    return number(round(float(x), 2) + 0.0)


def _vector(numbers: np.ndarray) -> str:
    return f"({', '.join(map(_short, numbers))})"


def _words(x, y, words, anchor="middle", bold=False, color=INK) -> str:
    weight = ' font-weight="bold"' if bold else ""
    return (f'<text x="{x}" y="{y}" font-size="13" fill="{color}" text-anchor="{anchor}"'
            f"{weight}>{in_markup(words)}</text>")
