"""How long a chapter takes its reader, and how often it gives them something to do."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass

from course import code_cells, tags
from execution import WIDGET_VIEW
from nbformat import NotebookNode
from prose import count_words, text_cells

# Somebody who reads this for the first time, in the evening.
WORDS_A_MINUTE = 160
MINUTES_A_CELL = 1                # to read the code, to run it, to look at what it shows
MINUTES_AN_EXERCISE = 8
ROUNDED_TO = 5

MAX_STRETCH, MAX_PREDICTIONS, MAX_ASSERTS = 8, 8, 6

CARD = re.compile(r"^\*(\d+) minutes\b", re.MULTILINE)
ASKS = re.compile(r"^> \*\*(Predict|Find out)\.\*\*", re.MULTILINE)


@dataclass(frozen=True)
class Pace:
    words: int
    code: int             # cells
    blanks: int           # exercises: functions to write
    classes: int          # to write
    bugs: int             # to find
    predictions: int
    asserts: int
    stretch: int          # the most code cells in a row that ask nothing of the reader

    @property
    def minutes(self) -> int:
        exercises = self.blanks + self.classes + self.bugs
        exact = (self.words / WORDS_A_MINUTE + MINUTES_A_CELL * self.code
                 + MINUTES_AN_EXERCISE * exercises)
        return ROUNDED_TO * round(exact / ROUNDED_TO)

    def amounts(self) -> dict[str, int]:
        return {**vars(self), "minutes": self.minutes}


def pace_of(notebook: NotebookNode) -> Pace:
    exercises = [_kind(cell) for cell in code_cells(notebook) if "exercise" in tags(cell)]
    asked = [found for cell in text_cells(notebook) for found in ASKS.findall(cell.source)]
    return Pace(
        words=sum(map(count_words, text_cells(notebook))),
        code=len(code_cells(notebook)),
        blanks=exercises.count("blank"),
        classes=exercises.count("class"),
        bugs=exercises.count("bug"),
        predictions=asked.count("Predict"),
        asserts=sum(map(_count_asserts, code_cells(notebook))),
        stretch=_longest_stretch(notebook),
    )


def pace_problems(notebook: NotebookNode) -> Iterator[str]:
    """What the card should say, and what is too much, a sentence each."""
    has, card = pace_of(notebook), CARD.search(notebook.cells[0].source if notebook.cells else "")
    if card is None:
        yield (f"the first cell does not say how long the chapter takes; by the rule it is "
               f"{has.minutes} minutes: write *{has.minutes} minutes.* below the promise.")
    elif int(card[1]) != has.minutes:
        yield (f"the first cell says {card[1]} minutes, but by the rule it is {has.minutes} "
               f"({has.words:,} words, {has.code} code cells, "
               f"{has.blanks + has.classes + has.bugs} exercises): write that.")
    if has.stretch > MAX_STRETCH:
        yield (f"{has.stretch} code cells in a row ask nothing of the reader, but {MAX_STRETCH} "
               "at most may: let something be predicted, written, mended or moved among them.")
    if has.predictions > MAX_PREDICTIONS:
        yield (f"asks for {has.predictions} predictions, but {MAX_PREDICTIONS} at most are fun: "
               "keep those that can really be made.")
    if has.asserts > MAX_ASSERTS:
        yield (f"has {has.asserts} asserts, but {MAX_ASSERTS} at most are worth reading: leave the "
               "others to the tests.")


def _kind(exercise: NotebookNode) -> str:
    """A bug is found in code that is whole; all else has a TODO."""
    if "TODO" not in exercise.source:
        return "bug"
    return "class" if re.search(r"^class ", exercise.source, re.MULTILINE) else "blank"


def _count_asserts(cell: NotebookNode) -> int:
    try:
        tree = ast.parse(cell.source)
    except SyntaxError:
        return 0                  # which the gate refuses for itself
    return sum(isinstance(node, ast.Assert) for node in ast.walk(tree))


def _longest_stretch(notebook: NotebookNode) -> int:
    longest = length = 0
    for cell in notebook.cells:
        if _gives_something_to_do(cell):
            length = 0
        elif cell.cell_type == "code" and "check" not in tags(cell):     # that ends an exercise
            length += 1
            longest = max(longest, length)
    return longest


def _gives_something_to_do(cell: NotebookNode) -> bool:
    """Whether there is something to predict, to write, to mend, to answer, or a view to move."""
    if cell.cell_type == "markdown":
        return ASKS.search(cell.source) is not None
    return bool({"exercise", "quiz"} & set(tags(cell))) or any(
        WIDGET_VIEW in output.get("data", {}) or WIDGET_VIEW in output.get("metadata", {})
        for output in cell.get("outputs", [])
    )
