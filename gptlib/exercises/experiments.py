"""What a wrong answer does when it is called in another way.

A wrong result alone does not always say why it is wrong. But a function that gives the same with
another k does not use k, and one whose first text changes when only the others do mixes texts.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from gptlib.exercises.exercise import Exercise
from gptlib.exercises.trial import Raised, attempt

Failed = tuple[tuple, Any, Any]        # the arguments, what was observed, and what is expected


def experiments(exercise: Exercise, function: Callable, failed: Sequence[Failed]) -> str | None:
    """What comes to light, in a sentence; None if nothing does."""
    asked = (_by_chance, _number_of_axes, _mixed_texts)
    return next(filter(None, (ask(exercise, function, failed) for ask in asked)), None)


def last_experiments(exercise: Exercise, function: Callable,
                     failed: Sequence[Failed]) -> str | None:
    """What at least says which input to look at."""
    return _unused(exercise, function) or _without_one_input(exercise, function, failed)


def number_of_axes(exercise: Exercise, function: Callable, case: tuple) -> str | None:
    """The same for a call that raised."""
    expected = exercise.reference(*copy.deepcopy(case))
    return _number_of_axes(exercise, function, [(case, None, expected)])


def _observed(exercise: Exercise, function: Callable, case: Sequence) -> Any:
    """What a call leaves behind; None where it raises, or returns something unreadable."""
    given = copy.deepcopy(tuple(case))
    result = attempt(function, given)
    if isinstance(result, Raised):
        return None
    try:
        return exercise.observe(result, given)
    except Exception:
        return None


def _by_chance(exercise: Exercise, function: Callable, failed: Sequence[Failed]) -> str | None:
    """Whether the same call has another result the second time."""
    for case, answer, expected in failed[:1]:
        again = _observed(exercise, function, case)
        both = (answer, again)
        if again is None or any(exercise.returns.malformed(x, expected) for x in both):
            continue
        if not exercise.returns.alike(*both):
            return ("Called twice with the same input, it returns two different things: something "
                    "is drawn by chance, such as the numbers of a new layer, or left over from "
                    "former calls.")
    return None


def _number_of_axes(exercise: Exercise, function: Callable, failed: Sequence[Failed]) -> str | None:
    """Whether it would be right, had the inputs one axis before those of a single text."""
    if not getattr(exercise.returns, "leading", False):
        return None
    names, seen = exercise.parameters, []
    for case, _, expected in failed:
        folded = [x.reshape(-1, *x.shape[x.dim() - axes :])
                  if (axes := exercise.batched.get(name)) else x
                  for name, x in zip(names, case, strict=True)]
        shapes = [(tuple(x.shape), tuple(y.shape)) for x, y in zip(case, folded, strict=True)
                  if isinstance(x, Tensor)]
        result = _observed(exercise, function, folded)
        if shapes[0][0] == shapes[0][1] or not isinstance(result, Tensor):
            return None
        if result.numel() != expected.numel() or exercise.returns.difference(
                result.reshape(expected.shape), expected):
            return None
        seen.append(shapes[0])
    (shape, like), name = seen[0], next(iter(exercise.batched))
    return (f"For {name} of shape {like} it would be right, for {shape} it is not: any number of "
            "axes may come first, so count them from the end, dim=-1, and write [..., i] or "
            "scatter where you pick something from each row.")


def _mixed_texts(exercise: Exercise, function: Callable, failed: Sequence[Failed]) -> str | None:
    """Whether one text of a batch comes out otherwise among copies of itself."""
    names, batched = exercise.parameters, exercise.batched
    for case, answer, _ in failed:
        inputs = [(x, batched[name]) for name, x in zip(names, case, strict=False)
                  if name in batched]
        if not inputs or not all(x.dim() > axes and len(x) > 1 for x, axes in inputs):
            continue
        for place, which in ((0, "first"), (-1, "last")):
            alone = [x[[place]].expand_as(x).clone() if name in batched else x
                     for name, x in zip(names, case, strict=False)]
            again = _observed(exercise, function, alone)
            parts = [x if isinstance(x, (tuple, list)) else [x] for x in (answer, again)]
            if len(parts[0]) != len(parts[1]) or not all(
                    isinstance(x, Tensor) and x.dim() for row in parts for x in row):
                continue
            if not all(torch.allclose(one[place], other[place], rtol=1e-3, atol=1e-5)
                       for one, other in zip(*parts, strict=True)):
                return (f"What comes out for the {which} of the batch changes when only the others "
                        "do: something runs over the batch, such as dim=0, mixes it, such as a "
                        "reshape, or takes what belongs to another row.")
    return None


def _without_one_input(exercise: Exercise, function: Callable,
                       failed: Sequence[Failed]) -> str | None:
    """Inputs without whose numbers all would be right."""
    numbers = [place for place, value in enumerate(failed[0][0]) if _zeros(value) is not None]
    guilty = [place for place in numbers if all(
        _right_without(exercise, function, case, place) for case, *_ in failed)]
    if not guilty or len(guilty) == len(numbers):
        return None
    names = " or ".join(exercise.parameters[place] for place in guilty)
    return (f"If all numbers in {names} were 0, it would be right: so look at what you do with "
            f"{names}.")


def _right_without(exercise: Exercise, function: Callable, case: tuple, place: int) -> bool:
    """Whether it is right where one input is 0, and the result still says something."""
    given = [*case[:place], _zeros(case[place]), *case[place + 1 :]]
    expected = _observed(exercise, exercise.reference, given)
    if not isinstance(expected, Tensor) or len(expected.unique()) < expected.numel() / 4:
        return False
    answer = _observed(exercise, function, given)
    return not (exercise.returns.malformed(answer, expected)
                or exercise.returns.difference(answer, expected))


def _zeros(value: Any) -> Any:
    """The same with the number 0 everywhere; None where there are no numbers to learn."""
    if isinstance(value, Tensor) and value.is_floating_point():
        return torch.zeros_like(value)
    if isinstance(value, nn.Module):
        value = copy.deepcopy(value)
        with torch.no_grad():
            for parameter in value.parameters():
                parameter.zero_()
        return value
    return None


def _unused(exercise: Exercise, function: Callable) -> str | None:
    """An argument that never makes a difference, though it should."""
    for place, name in enumerate(exercise.parameters):
        if _never_matters(exercise, function, place):
            return (f"The result stays the same when {name} changes: use {name} itself, and "
                    "nothing of your own in its place.")
    return None


def _never_matters(exercise: Exercise, function: Callable, place: int) -> bool:
    tried = False
    for case, other in _with_another(exercise, place):
        right, wrong = ([_observed(exercise, asked, x) for x in (case, other)]
                        for asked in (exercise.reference, function))
        if exercise.returns.alike(*right) or exercise.returns.malformed(wrong[0], right[0]):
            continue
        if not exercise.returns.alike(*wrong):
            return False
        tried = True
    return tried


def _with_another(exercise: Exercise, place: int) -> Iterator[tuple[list, list]]:
    """Every trial, and the same with another value at that place, where one is at hand."""
    generator = torch.Generator().manual_seed(0)
    cases = [list(case) for case in exercise.cases(generator)]
    for case in cases:
        value = case[place]
        if isinstance(value, Tensor) and value.is_floating_point():
            others = [torch.rand(value.shape, generator=generator)]
        elif isinstance(value, Tensor) and value.numel() and value.dtype != torch.bool:
            smallest, largest = value.min().item(), value.max().item()
            others = [torch.randint(smallest, largest + 1, value.shape, generator=generator)]
        elif isinstance(value, (int, float)) and not isinstance(value, bool):
            others = [other[place] for other in cases if other[place] != value][:2]
        else:
            continue
        for other in others:
            yield case, [*case[:place], other, *case[place + 1 :]]
