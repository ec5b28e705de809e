"""A quiz of five questions for each chapter: `quiz.attention`, as the last line of a cell.

The questions of a chapter stand beside this module, under the name of its exercises.
"""

from __future__ import annotations

import random
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING

from gptcourse import quizzes

if TYPE_CHECKING:
    from gptcourse.quizzes.view import Quiz

SEED = 0


@dataclass(frozen=True)
class Option:
    """One possible answer, and what is to be said to whoever chooses it."""

    text: str
    explanation: str


@dataclass(frozen=True)
class Question:
    """A question with exactly one right option."""

    text: str
    right: Option
    wrong: tuple[Option, ...]

    def shuffled(self, number: int) -> list[Option]:
        """All options, in an order that is the same every time."""
        options = [self.right, *self.wrong]
        random.Random(f"{SEED} {number}").shuffle(options)
        return options


def chapters() -> list[str]:
    """The names under which there is a quiz."""
    return sorted({module.name for module in iter_modules(quizzes.__path__)} - {"quiz", "view"})


def questions(chapter: str) -> tuple[Question, ...]:
    return import_module(f"{quizzes.__name__}.{chapter}").QUESTIONS


def __getattr__(name: str) -> Quiz:
    if name.startswith("_") or name not in chapters():
        raise AttributeError(f"There is no quiz {name!r}: choose from {', '.join(chapters())}.")
    from gptcourse.quizzes.view import Quiz

    return Quiz(name, questions(name))


def __dir__() -> list[str]:
    return chapters()
