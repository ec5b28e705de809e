"""What an exercise is made of. Each chapter's file defines its own, all in one place.

>>> def causal_mask(n_tokens):                      # the solution; the stub is cut from it
...     \"\"\"True where a query may look at a key.  -> (T, T) bool\"\"\"
...     return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()
>>> def upside_down(n_tokens):                      # a mistake, and what to say about it
...     \"\"\"The triangle is upside down: this one shows the future.\"\"\"
...     return torch.ones(n_tokens, n_tokens, dtype=torch.bool).triu()
>>> Exercise("03.causal_mask", solution=causal_mask, mistakes=[upside_down], ...)
"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn

from torch import Generator

from gptcourse.exercises.answers import Kind


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


@dataclass(frozen=True)
class Property:
    """A fact that every right answer obeys, however it is written."""

    name: str                                    # as the line of a right answer lists it
    broken: Callable[[Callable], str | None]     # gets the answer; says in words what is wrong


@dataclass(frozen=True)
class Exercise:
    """A function to write, and all that is needed to help with it and to judge it."""

    id: str                                      # "03.causal_mask"
    goal: str                                    # one sentence
    solution: Callable                           # its head and docstring are the stub
    reference: Callable                          # the library's, with the same arguments
    returns: Kind                                # what kind of thing comes back
    cases: Callable[[Generator], Sequence[tuple]]    # the arguments of each trial call
    mistakes: Sequence[Callable]                 # wrong ones; the docstring is the diagnosis
    hints: tuple[str, str, str]                  # a nudge, pseudo-code, all but one line
    properties: Sequence[Property] = field(default=())
    # Where no mistake explains what is wrong: it in words, or None. Each gets the function and
    # the arguments of the first trial that went wrong.
    symptoms: Sequence[Callable[..., str | None]] = field(default=())
    # Parameters that may hold several texts along a first axis; the axes of a single one.
    batched: Mapping[str, int] = field(default_factory=dict)
    changes_inputs: bool = False                 # True where to change an input is the task
    # What is compared, made from the result and the arguments after the call.
    observe: Callable[[Any, tuple], Any] = field(default=lambda result, arguments: result)

    @property
    def name(self) -> str:
        return self.id.partition(".")[2]

    @property
    def chapter(self) -> int:
        return int(self.id.partition(".")[0])

    @property
    def parameters(self) -> list[str]:
        return list(inspect.signature(self.solution).parameters)

    @property
    def solution_source(self) -> str:
        return inspect.getsource(self.solution)

    @property
    def stub(self) -> str:
        """The blank function: head and docstring of the solution, then TODO."""
        head = _lines_to_docstring(self.solution_source)
        return "".join([*head, "    return TODO\n"])

    @property
    def wrong_source(self) -> str:
        """The first known mistake, as a learner would have written it under the stub's head."""
        mistake = inspect.getsource(self.mistakes[0])
        body = mistake.splitlines(keepends=True)[len(_lines_to_docstring(mistake)) :]
        return "".join([*_lines_to_docstring(self.solution_source), *body])

    def diagnosis(self, mistake: Callable) -> str:
        return " ".join(inspect.getdoc(mistake).split())


def _lines_to_docstring(source: str) -> list[str]:
    """The lines of a function down to the end of its docstring."""
    function = ast.parse(source).body[0]
    return source.splitlines(keepends=True)[: function.body[0].end_lineno]
