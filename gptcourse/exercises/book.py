"""All exercises of the course, by name, and what has been solved of them."""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import groupby

from gptcourse.exercises import (
    attention,
    blocks,
    generation,
    inside,
    language_model,
    model,
    modern,
    pretrained,
    progress,
    scale,
    start,
    tokenization,
    training,
)
from gptcourse.exercises.checking import Check
from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.keeping import FILE
from gptcourse.exercises.result import SIGNS
from gptcourse.exercises.whole_file import FileReport, file_report
from gptcourse.figures import in_markup
from gptcourse.figures.signs import sign
from gptcourse.titles import TITLES

CHAPTERS = (start, tokenization, language_model, attention, blocks, model, training, generation,
            pretrained, modern, inside, scale)


def all_exercises() -> list[Exercise]:
    """Every exercise, in the order of the chapters that ask for it."""
    listed = [exercise for chapter in CHAPTERS for exercise in chapter.EXERCISES]
    return sorted(listed, key=lambda exercise: exercise.chapter)


class Checks:
    """`check.causal_mask(causal_mask)` judges, `check.report()` tells how far you have come."""

    def __init__(self, exercises: list[Exercise]):
        self._checks = {exercise.name: Check(exercise) for exercise in exercises}

    def __getattr__(self, name: str) -> Check:
        if name.startswith("_"):
            raise AttributeError(name)
        if name in self._checks:
            return self._checks[name]
        nearest = difflib.get_close_matches(name, self._checks, n=1, cutoff=0.0)
        raise AttributeError(f"No exercise is called {name!r}: did you mean check.{nearest[0]}?")

    def __dir__(self) -> list[str]:
        return [*self._checks, "my_gpt", "report"]

    def report(self, chapter: int | None = None) -> Report:
        """What is solved so far: a line for each chapter, or for each exercise of the one that is
        named. Kept in the current folder.

        Raises a ValueError for a chapter without exercises.
        """
        exercises = [one.exercise for one in self._checks.values()]
        chosen = [e for e in exercises if chapter in (None, e.chapter)]
        if not chosen:
            those = ", ".join(map(str, sorted({e.chapter for e in exercises})))
            raise ValueError(
                f"chapter is {chapter!r}, but the exercises are in chapters {those}: name one of "
                "them, or leave it out for all."
            )
        entries = progress.load()
        kind = Overview if chapter is None else Report
        return kind(tuple(Row(e, **entries.get(e.id, {})) for e in chosen),
                    tuple(progress.remarks()))

    def my_gpt(self) -> FileReport:
        """What the learner's file can do already, point by point, run alone in a fresh process."""
        return file_report(FILE)

    def __repr__(self) -> str:
        return f"check: {len(self._checks)} exercises; check.report() shows your progress"


@dataclass(frozen=True)
class Row:
    """One exercise in a report."""

    exercise: Exercise
    solved: bool = False
    tries: int = 0

    @property
    def status(self) -> str:
        return "right" if self.solved else "wrong" if self.tries else "todo"

    @property
    def state(self) -> str:
        tries = f"{self.tries} {'try' if self.tries == 1 else 'tries'}"
        if self.solved:
            return f"solved in {tries}"
        return f"not right yet, {tries}" if self.tries else "not done yet"


@dataclass(frozen=True, repr=False)
class Report:
    """The progress through some exercises, a line for each."""

    rows: tuple[Row, ...]
    remarks: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        return f"{sum(row.solved for row in self.rows)} of {len(self.rows)} exercises solved"

    def __repr__(self) -> str:
        return "\n".join([self.title, *self._lines(), *self.remarks])

    def _lines(self) -> Iterator[str]:
        for row in self.rows:
            yield f"{SIGNS[row.status]} {row.exercise.id:<24} {row.state}"

    def _repr_html_(self) -> str:
        remarks = "".join(f"<p>{in_markup(remark)}</p>" for remark in self.remarks)
        return (f'<table><caption style="text-align: left"><b>{self.title}</b></caption>'
                f"{''.join(self._lines_in_markup())}</table>{remarks}")

    def _lines_in_markup(self) -> Iterator[str]:
        for row in self.rows:
            yield (f'<tr><td>{sign(row.status)}</td>'
                   f'<td style="text-align: left">{row.exercise.chapter:02d}</td>'
                   f'<th scope="row" style="text-align: left"><code>{in_markup(row.exercise.name)}'
                   f'</code></th><td style="text-align: left; white-space: nowrap">{row.state}</td>'
                   f'<td style="text-align: left">{in_markup(row.exercise.goal)}</td></tr>')


@dataclass(frozen=True, repr=False)
class Overview(Report):
    """The progress through the course, a line for each chapter, a sign for each exercise."""

    def _chapters(self) -> Iterator[tuple[str, list[str], str]]:
        """Name, the status of every exercise, and how many are solved."""
        for number, group in groupby(self.rows, key=lambda row: row.exercise.chapter):
            rows = list(group)
            solved = sum(row.solved for row in rows)
            yield (f"{number} · {TITLES[number]}", [row.status for row in rows],
                   f"{solved} of {len(rows)}")

    def _lines(self) -> Iterator[str]:
        for name, statuses, solved in self._chapters():
            yield f"{name:<28} {''.join(SIGNS[status] for status in statuses)} {solved}"

    def _lines_in_markup(self) -> Iterator[str]:
        for name, statuses, solved in self._chapters():
            yield (f'<tr><th scope="row" style="text-align: left">{in_markup(name)}</th>'
                   f'<td style="text-align: left">{"".join(map(sign, statuses))}</td>'
                   f'<td style="text-align: left">{solved}</td></tr>')


check = Checks(all_exercises())
