"""What a wrong answer does when it is called in another way.

A wrong result alone does not always say why it is wrong. But a function that gives the same with
another k does not use k, and one whose first text changes when only the others do mixes texts.
"""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.trial import Raised, attempt

PATIENCE = 0.5         # seconds after which a function is not called any more


@dataclass
class Experiments:
    """More calls of one function; each question is answered by a sentence, or None."""

    exercise: Exercise
    function: Callable
    failed: Sequence[tuple[tuple, Any, Any]]     # arguments, answer, what is expected
    spent: float = 0.0                           # seconds, in all calls so far

    def number_of_axes(self) -> str | None:
        """Whether it would be right, had the inputs one axis before those of a single text."""
        exercise, shapes = self.exercise, []
        if not getattr(exercise.returns, "leading", False) or not self._begin_with_a_batch():
            return None
        for case, _, expected in self.failed:
            folded = [x.reshape(-1, *x.shape[x.dim() - axes :])
                      if (axes := exercise.batched.get(name)) else x
                      for name, x in zip(exercise.parameters, case, strict=False)]
            shapes.append((tuple(case[0].shape), tuple(folded[0].shape)))
            if shapes[-1][0] == shapes[-1][1] or not self._right_together([folded], expected):
                return None
        shape, like = shapes[0]
        return (f"For {exercise.parameters[0]} of shape {like} it would be right, for {shape} it "
                "is not: any number of axes may come first, so count them from the end, dim=-1, "
                "and write [..., i] or scatter where you pick something from each row.")

    def _begin_with_a_batch(self) -> bool:
        return self.exercise.parameters[0] in self.exercise.batched

    def row_by_row(self) -> str | None:
        """Whether it would be right, were it called with one row of a batch at a time."""
        exercise, shapes = self.exercise, []
        if not getattr(exercise.returns, "leading", False) or {*exercise.batched.values()} != {1}:
            return None
        if not self._begin_with_a_batch():
            return None
        for case, _, expected in self.failed:
            batches = [x.reshape(-1, x.shape[-1]) if name in exercise.batched else None
                       for name, x in zip(exercise.parameters, case, strict=False)]
            rows = [[x if batch is None else batch[n]
                     for x, batch in zip(case, batches, strict=True)]
                    for n in range(len(batches[0]))]
            if len(rows) < 2 or not self._right_together(rows, expected):
                return None
            shapes.append((tuple(rows[0][0].shape), tuple(case[0].shape)))
        row, batch = shapes[0]
        return (f"For {exercise.parameters[0]} of shape {row} it would be right, for {batch} it is "
                "not: treat each row by itself, with dim=-1 and keepdim=True, and with gather or "
                "scatter in place of [...], which picks whole rows.")

    def _right_together(self, cases: Sequence[Sequence], expected: Tensor) -> bool:
        """Whether the results of these calls, put together, are the expected one."""
        results = [self._result(self.function, case) for case in cases]
        if not all(isinstance(x, Tensor) for x in results):
            return False
        numbers = sum(x.numel() for x in results)
        if len({x.shape for x in results}) > 1 or numbers != expected.numel():
            return False
        return self._right(torch.stack(results).reshape(expected.shape), expected)

    def mixed_texts(self) -> str | None:
        """Whether one text of a batch comes out otherwise among copies of itself."""
        names, batched = self.exercise.parameters, self.exercise.batched
        for case, answer, _ in self.failed:
            inputs = [(x, batched[name]) for name, x in zip(names, case, strict=False)
                      if name in batched]
            if not inputs or not all(x.dim() > axes and len(x) > 1 for x, axes in inputs):
                continue
            for place, which in ((0, "first"), (-1, "last")):
                alone = [x[[place]].expand_as(x).clone() if name in batched else x
                         for name, x in zip(names, case, strict=False)]
                if not _same_at(place, answer, self._result(self.function, alone)):
                    return (f"What comes out for the {which} of the batch changes when only the "
                            "others do: something runs over the batch, such as dim=0, mixes it, "
                            "such as a reshape, or takes what belongs to another row.")
        return None

    def unused(self) -> str | None:
        """An argument that never makes a difference, though it should."""
        for place, name in enumerate(self.exercise.parameters):
            if self._never_matters(place):
                return (f"The result stays the same when {name} changes: use {name} itself, and "
                        "nothing of your own in its place.")
        return None

    def _never_matters(self, place: int) -> bool:
        returns, tried = self.exercise.returns, False
        for case, other in _with_another(self.exercise, place):
            right, theirs = ([self._result(function, x) for x in (case, other)]
                             for function in (self.exercise.reference, self.function))
            if returns.alike(*right) or not self._can_be_read(theirs[0], right[0]):
                continue
            if not returns.alike(*theirs):
                return False
            tried = True
        return tried and self.spent <= PATIENCE

    def _can_be_read(self, answer: Any, right: Any) -> bool:
        """Whether a result is well-formed, but perhaps for its shape."""
        if isinstance(answer, Tensor) and answer.shape != getattr(right, "shape", None):
            return answer.numel() > 0 and bool(answer.isfinite().all())
        return not self.exercise.returns.malformed(answer, right)

    def _right(self, answer: Any, expected: Any) -> bool:
        returns = self.exercise.returns
        return not (returns.malformed(answer, expected) or returns.difference(answer, expected))

    def _result(self, function: Callable, case: Sequence) -> Any:
        """None where it raises, or where the function is too slow to be called any more."""
        if self.spent > PATIENCE:
            return None
        ours = function is self.exercise.reference and not self.exercise.changes_inputs
        given = tuple(case) if ours else copy.deepcopy(tuple(case))
        start = time.perf_counter()
        result = attempt(function, given)
        self.spent += time.perf_counter() - start
        return None if isinstance(result, Raised) else result


def _same_at(place: int, answer: Any, again: Any) -> bool:
    """Whether two results agree on one text of the batch, as far as they can be compared."""
    parts = [list(x) if isinstance(x, (tuple, list)) else [x] for x in (answer, again)]
    if len(parts[0]) != len(parts[1]) or not all(
            isinstance(x, Tensor) and x.dim() and len(x) for row in parts for x in row):
        return True
    pairs = [(one[place], other[place]) for one, other in zip(*parts, strict=True)]
    return all(torch.allclose(*pair, rtol=1e-3, atol=1e-5, equal_nan=True) for pair in pairs
               if pair[0].shape == pair[1].shape and pair[0].dtype == pair[1].dtype)


def _with_another(exercise: Exercise, place: int) -> Iterator[tuple[list, list]]:
    """Every trial, and the same with another value at that place, where one is at hand."""
    generator = torch.Generator().manual_seed(0)
    cases = [list(case) for case in exercise.cases(generator) if len(case) > place]
    for case in cases:
        value = case[place]
        if isinstance(value, Tensor) and value.is_floating_point():
            others = [torch.rand(value.shape, generator=generator)]
        elif isinstance(value, Tensor) and value.numel() and value.dtype != torch.bool:
            smallest, largest = value.min().item(), value.max().item()
            others = [torch.randint(smallest, largest + 1, value.shape, generator=generator)]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            others = [other[place] for other in cases
                      if not isinstance(other[place], Tensor) and other[place] != value][:2]
        else:
            continue
        for other in others:
            yield case, [*case[:place], other, *case[place + 1 :]]
