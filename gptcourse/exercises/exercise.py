"""What an exercise is made of. Each chapter's file lists its own, all in one place.

An exercise is a hole in gpt.py: its solution is the source of a definition there, its stub that
source without the body, and each known mistake an edit of it.

>>> Exercise("03.causal_mask", edits=[
...     (".tril()", ".triu()", "The triangle is upside down: this one shows the future."),
... ], ...)
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property, reduce
from typing import Any, NoReturn

from torch import Generator

from gptcourse.exercises.answers import Kind
from gptcourse.exercises.page import blanked, course_source, defined, edited


class NotDoneYet(Exception):
    """Something was computed with TODO."""


class Todo:
    """What a blank function returns. Whoever computes with it is told that a part is missing."""

    def __repr__(self) -> str:
        return "TODO"

    def _refuse(self, *_args, **_kwargs) -> NoReturn:
        raise NotDoneYet("This uses a function that still returns TODO: write that one first.")

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):  # a notebook asks for many of those before it shows an object
            raise AttributeError(name)
        self._refuse()

    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = _refuse
    __matmul__ = __rmatmul__ = __truediv__ = __rtruediv__ = __pow__ = __rpow__ = _refuse
    __floordiv__ = __rfloordiv__ = __mod__ = __rmod__ = __abs__ = __round__ = _refuse
    __invert__ = __neg__ = __and__ = __rand__ = __or__ = __ror__ = _refuse
    __lt__ = __gt__ = __le__ = __ge__ = _refuse
    __getitem__ = __setitem__ = __iter__ = __len__ = __bool__ = __index__ = __float__ = _refuse
    __call__ = _refuse

    @classmethod
    def __torch_function__(cls, *_args, **_kwargs) -> NoReturn:
        TODO._refuse()


TODO = Todo()


def says_todo(definition: Any) -> bool:
    """Whether one of a function's lines that are to be written still says TODO."""
    code = getattr(inspect.unwrap(definition), "__code__", None)
    return code is not None and "TODO" in code.co_names


@dataclass(frozen=True)
class Property:
    """A fact that every right answer obeys, however it is written."""

    name: str                                    # as the line of a right answer lists it
    broken: Callable[[Callable], str | None]     # gets what trials call; says what is wrong
    of_class: bool = False                       # it gets the class itself


@dataclass(frozen=True)
class Mistake:
    """A wrong answer that learners give, and what they are told about it."""

    source: str
    told: str
    definition: Callable
    function: Callable         # what a trial calls


def itself(definition: Callable) -> Callable:
    return definition


@dataclass(frozen=True)
class Exercise:
    """A definition of gpt.py to write, and all that is needed to help with it and to judge it."""

    id: str                                      # "03.causal_mask"
    goal: str                                    # one sentence
    returns: Kind                                # what kind of thing comes back
    cases: Callable[[Generator], Iterable[tuple]]    # the arguments of each trial call
    hints: tuple[str, str, str]                  # a nudge, pseudo-code, all but one line
    edits: Sequence[tuple[str, str, str]] = ()   # known mistakes: old lines, new lines, what to say
    definition: str = ""                         # where it is not called as in the id
    source: str = ""                             # of its solution, where gpt.py has none
    holes: Sequence[str] = ("__init__", "forward")   # the methods of a class that are to be written
    # How gpt.py's source is edited into the form that it has in this chapter: (old, new) each.
    earlier_form: Sequence[tuple[str, str]] = ()
    bug: tuple[str, str, str] | None = None      # find the bug: the stub is right but for this edit
    mended: str = ""                             # all its lines without it, if gpt.py has others
    # Where the most is given: the lines that are to be written, and what stands in their place.
    blanks: Sequence[tuple[str, str]] = ()
    kept: bool = True                            # False where another exercise keeps the definition
    # What a trial calls, made of the definition: for a class, build, fill with weights, run; where
    # not the result itself is to be compared, what is.
    use: Callable[[Any], Callable] = itself
    # What is wrong with how a class is built, in words: the names and shapes of its parameters.
    structure: Callable[[Any], str | None] | None = None
    properties: Sequence[Property] = field(default=())
    # Where no mistake explains what is wrong: it in words, or None. Each gets the function and
    # the arguments of the first trial that went wrong.
    symptoms: Sequence[Callable[..., str | None]] = field(default=())
    # Parameters that may hold several texts along a first axis; the axes of a single one.
    batched: Mapping[str, int] = field(default_factory=dict)
    changes_inputs: bool = False                 # True where to change an input is the task

    @property
    def chapter(self) -> int:
        return int(self.id.partition(".")[0])

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]

    @property
    def defines(self) -> str:
        """The name that is kept in the learner's file."""
        return self.definition or self.name

    @cached_property
    def solution_source(self) -> str:
        return self.source or course_source(self.defines, self.earlier_form)

    @property
    def shown_source(self) -> str:
        """The solution as a learner sees it: where a bug was to be found, in the stub's own way."""
        source = self.solution_source
        return edited(source, "", self.mended) if self.mended else source

    @cached_property
    def solution(self) -> Callable:
        return defined(self.solution_source, self.defines)

    @cached_property
    def reference(self) -> Callable:
        return self.use(self.solution)

    @cached_property
    def stub(self) -> str:
        """What the notebook has: the solution without its body, or with the bug to be found."""
        if self.bug or self.blanks:
            return reduce(lambda source, edit: edited(source, *edit[:2]),
                          self.blanks or [self.bug], self.solution_source)
        return blanked(self.solution_source, self.holes)

    @property
    def hides_a_bug(self) -> bool:
        """Whether a bug is to be found, alone or beside what is to be written."""
        return bool(self.bug) or any("TODO" not in given for _, given in self.blanks)

    @cached_property
    def mistakes(self) -> list[Mistake]:
        made, bug = [], [self.bug] if self.bug else []
        for old, new, told in [*bug, *self.edits]:
            source = edited(self.solution_source, old, new)
            definition = defined(source, self.defines)
            made.append(Mistake(source, told, definition, self.use(definition)))
        return made

    def with_bug(self, identity: str, goal: str, bug: tuple[str, str, str],
                 hints: tuple[str, str, str], definition: str = "",
                 mended: str = "") -> Exercise:
        """The same definition, judged alike, but given whole, with a bug that is to be found; under
        another name where one is given, so that the learner's own is not overwritten."""
        name = definition or self.defines
        source = re.sub(rf"\b{self.defines}\b", name, self.solution_source) if definition else ""
        return replace(self, id=identity, goal=goal, definition=name, source=source or self.source,
                       kept=False, bug=bug, mended=mended, blanks=(), hints=hints,
                       edits=[edit for edit in self.edits if edit[:2] != bug[:2]])

    @property
    def parameters(self) -> list[str]:
        """The names of what a trial call is given."""
        return list(inspect.signature(self.reference).parameters)
