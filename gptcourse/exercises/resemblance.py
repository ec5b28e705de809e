"""What a wrong answer looks like beside the right one: turned, moved, scaled, stopped too early.

Many mistakes leave a plain trace in the numbers, whatever the exercise. A trace counts only if it
shows in every trial that went wrong.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from gptcourse.exercises.answers import MOST

RTOL, ATOL = 1e-4, 1e-6


@dataclass(frozen=True)
class Trial:
    """One call that went wrong: its arguments by name, what came back, and what should have."""

    arguments: Mapping[str, Any]
    answer: Any
    expected: Any


def relation(trials: Sequence[Trial]) -> str | None:
    """In what way wrong answers are made of the right ones, in a sentence; None if in none."""
    if trials and _are_rows(trials):
        return _made_of_the_right_row(trials)
    pairs = _comparable(trials)
    if pairs and _of_equal_shape(pairs) == {True}:
        return _first(_RELATIONS, pairs)
    if pairs and all(isinstance(x.expected, Tensor) for x in trials):    # one result, not several
        return _first((_one_text, _one_place_left), pairs)
    return None


def resemblance(trials: Sequence[Trial]) -> str | None:
    """What else they look like beside the right ones: less certain than a relation."""
    if trials and _are_rows(trials):
        return _row_trace(trials)
    pairs = _comparable(trials)
    traces = {(True,): (_in_another_order, _nearly), (False,): _TRACES_OF_SHAPES}
    return _first(traces.get((*_of_equal_shape(pairs),), ()), pairs)


def _comparable(trials: Sequence[Trial]) -> list[Trial]:
    """The trials as tensors; none where one is no tensor, or where not its numbers are wrong."""
    pairs = [_as_tensors(trial) for trial in trials]
    return [] if None in pairs or any(_same(x.answer, x.expected) for x in pairs) else pairs


def _of_equal_shape(pairs: Sequence[Trial]) -> set[bool]:
    return {x.answer.shape == x.expected.shape for x in pairs}


def _first(traces: Sequence[Callable], trials: Sequence[Trial]) -> str | None:
    return next(filter(None, (trace(trials) for trace in traces)), None)


def _are_rows(trials: Sequence[Trial]) -> bool:
    return all(_is_row(x) for trial in trials for x in (trial.answer, trial.expected))


def _is_row(value: Any) -> bool:
    return isinstance(value, (list, tuple)) and all(isinstance(x, int) for x in value)


def _as_tensors(trial: Trial) -> Trial | None:
    """The trial in double precision. Of several results, the first that is wrong."""
    answer, expected = trial.answer, trial.expected
    if _is_row(expected):
        return None
    if isinstance(expected, (list, tuple)):
        if not isinstance(answer, (list, tuple)) or len(answer) != len(expected):
            return None
        pairs = [_as_tensors(Trial(trial.arguments, *pair))
                 for pair in zip(answer, expected, strict=True)]
        return next((pair for pair in pairs if pair and not _same(pair.answer, pair.expected)),
                    None)
    if isinstance(answer, Tensor) and answer.numel() > MOST:
        return None
    if getattr(answer, "dtype", None) == torch.bool != getattr(expected, "dtype", None):
        return None                                  # True and False are like too many numbers
    try:
        return Trial(trial.arguments, _double(answer), _double(expected))
    except (TypeError, ValueError, RuntimeError):
        return None


def _double(value: Any) -> Tensor:
    return torch.as_tensor(value).detach().to("cpu", torch.float64)


def _same(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=RTOL, atol=ATOL)


def _all_are(trials: Sequence[Trial], made: Callable[[Tensor], Tensor]) -> bool:
    """Whether every answer is what `made` makes of the expected one, and has some numbers."""
    if sum(trial.expected.numel() for trial in trials) < 3:
        return False                                 # two numbers resemble too many things
    try:
        return all(_same(trial.answer, made(trial.expected)) for trial in trials)
    except (RuntimeError, IndexError):
        return False


def _axes(trials: Sequence[Trial]) -> Iterator[tuple[int, str]]:
    """The axes that all right answers have, counted from the end, and what they are called."""
    for dim in range(-1, -1 - min(trial.expected.dim() for trial in trials), -1):
        yield dim, {-1: "last axis", -2: "last axis but one"}.get(dim, f"axis {dim}")


# ------------------------------------------------------------------------- numbers of equal shape


def _an_input(trials: Sequence[Trial]) -> str | None:
    for name in trials[0].arguments:
        given = [trial.arguments[name] for trial in trials]
        if all(isinstance(x, Tensor) and _same(_double(x), trial.answer)
               for x, trial in zip(given, trials, strict=True)):
            for other in trials[0].arguments:
                if all(isinstance(x := trial.arguments[other], Tensor) and
                       _same(_double(x), trial.expected) for trial in trials):
                    return f"That is {name}, where {other} should stand."
            return (f"That is {name} as it came in: nothing has changed it, or what you compute "
                    "from it is not returned.")
    return None


_ROUNDED = "Everything was rounded to whole numbers: mind //, round() and .long()."
_MADE = (
    ("All of it is zero: perhaps nothing is ever written into it, or added to it, or a factor is "
     "0, as 1 // 2 is.", torch.zeros_like),
    ("Every number has the opposite sign: a minus is missing, or is one too many.", torch.neg),
    ("True and False have changed places.", lambda x: 1 - x),
    ("These are the logarithms of the right numbers: one log too many, or no exp at the end.",
     lambda x: _finite(x).log()),
    ("This is e to the power of the right numbers: one exp too many, or a log that is missing.",
     lambda x: _finite(x).exp()),
    ("A softmax was applied to what was right before it.", lambda x: _in_rows(x).softmax(dim=-1)),
    ("A log_softmax was applied to what was right before it.",
     lambda x: _in_rows(x).log_softmax(dim=-1)),
    *((_ROUNDED, made) for made in (torch.trunc, torch.floor, torch.ceil, torch.round)),
)


def _in_rows(x: Tensor) -> Tensor:
    """A single number is no row: whatever it is, its softmax is 1."""
    return x if x.dim() and x.shape[-1] > 1 else x * math.nan


def _finite(x: Tensor) -> Tensor:
    """Where a number is infinite, nothing is like what is made of it."""
    return x.where(x.isfinite(), math.nan)


def _made_of_the_right_ones(trials: Sequence[Trial]) -> str | None:
    return next((words for words, made in _MADE if _all_are(trials, made)), None)


def _not_ruled_out(trials: Sequence[Trial]) -> str | None:
    """Where the right scores have minus infinity."""
    gone = [trial.expected == -math.inf for trial in trials]
    if not any(places.any() for places in gone):
        return None
    if all(torch.equal(trial.answer.isnan(), ~places)
           for trial, places in zip(trials, gone, strict=True)):
        return ("Where a score should be kept stands nan, for 0 times infinity is no number: use "
                "masked_fill or torch.where instead of a product with the mask.")
    everywhere = all(places.any() for places in gone)
    if everywhere and all((trial.answer[places] == 0).all()
                          for trial, places in zip(trials, gone, strict=True)):
        return ("Where -inf belongs stands 0, but softmax gives a score of 0 a share like any "
                "other: only -inf gets none.")
    if everywhere and not any((trial.answer == -math.inf).any() for trial in trials):
        return "No token is ruled out: those that must not come need the score -inf."
    if all(torch.equal(trial.answer == -math.inf, places) and
           not _sorted_alike(trial.answer, trial.expected)
           for trial, places in zip(trials, gone, strict=True)):
        return "The right tokens are left, but with other scores: each must keep its own."
    return None


def _all_the_same(trials: Sequence[Trial]) -> str | None:
    for dim, where in _axes(trials):
        long = [trial for trial in trials if trial.expected.shape[dim] > 1]
        if long and all(_constant(trial.answer, dim) and not _constant(trial.expected, dim)
                        and trial.answer.isfinite().any() for trial in long):
            return (f"All places along the {where} hold the same numbers, but each must have its "
                    "own.")
    return None


def _constant(x: Tensor, dim: int) -> bool:
    return _same(x, x.narrow(dim, 0, 1).expand_as(x))


def _turned(trials: Sequence[Trial]) -> str | None:
    for dim, where in _axes(trials):
        if _all_are(trials, lambda x, dim=dim: x.flip(dim)):
            return f"The right numbers, but in reverse order along the {where}."
    if _all_are(trials, lambda x: x.transpose(-1, -2)):
        return "Rows and columns have changed places: something is transposed."
    return None


def _scaled(trials: Sequence[Trial]) -> str | None:
    factors = [_factor(trial) for trial in trials]
    if None in factors or sum(trial.expected.numel() for trial in trials) < 3:
        return None
    if max(factors) - min(factors) < _slack(factors[0], RTOL) and len(trials) > 1:
        said = _FACTORS.get(round(factors[0], 4), "a constant factor")
        return f"Every number is {factors[0]:.4g} times what it should be: {said}."
    for name, axis, sizes in _sizes(trials):
        for power, words in _POWERS.items():
            if len(set(sizes)) > 1 and all(math.isclose(factor, size**power, rel_tol=RTOL)
                                           for factor, size in zip(factors, sizes, strict=True)):
                single = all(trial.expected.numel() == 1 for trial in trials)
                return words.format(it="It is" if single else "Every number is",
                                    size=f"{name}.shape[{axis}]")
    return None


_FACTORS = {
    round(1 / math.log(2), 4): "the logarithm is to the base 2, not e",
    round(1 / math.log(10), 4): "the logarithm is to the base 10, not e",
    2.0: "something is counted twice, or a division by 2 is missing",
    0.5: "half of it is missing, or a factor 2",
}
_POWERS = {
    1: "{it} too large by the factor {size}: a sum where the mean is asked for?",
    -1: "{it} too small by the factor {size}: a mean where the sum is asked for?",
    0.5: "{it} too large by the square root of {size}: is a division missing?",
    -0.5: "{it} too small by the square root of {size}: one division too many?",
}


def _factor(trial: Trial) -> float | None:
    """The one number by which all expected numbers are multiplied."""
    answer, expected = trial.answer.flatten(), trial.expected.flatten()
    usable = expected.isfinite() & (expected.abs() > 1e-6)
    if not usable.any() or not torch.equal(answer[~usable], expected[~usable]):
        return None
    ratios = answer[usable] / expected[usable]
    spread, first = (ratios - ratios[0]).abs().max(), ratios[0].item()
    return first if first and spread <= _slack(first, 1e-3) else None


def _slack(factor: float, share: float) -> float:
    """How much factors may differ and still be one: next to nothing where all are nearly 1."""
    return min(share * abs(factor), 0.01 * abs(factor - 1))


def _sizes(trials: Sequence[Trial]):
    """(argument, axis, its size in each trial), for all axes of all arguments."""
    for name, first in trials[0].arguments.items():
        if isinstance(first, Tensor):
            given = [trial.arguments[name] for trial in trials]
            for axis in range(-1, -1 - min(x.dim() for x in given), -1):
                usual = axis % first.dim() if len({x.dim() for x in given}) == 1 else axis
                yield name, usual, [x.shape[axis] for x in given]


def _right_but_for_a_part(trials: Sequence[Trial]) -> str | None:
    """Wrong in the same place of an axis every time, and nowhere else."""
    for dim, where in _axes(trials):
        wrong = [_wrong_along(trial, dim) for trial in trials]
        if max(map(len, wrong)) < 3:
            continue
        if all(places.tolist() == [True] + [False] * (len(places) - 1) for places in wrong):
            return f"All is right but the first place along the {where}: look at how you begin."
        if all(places.tolist() == [False] * (len(places) - 1) + [True] for places in wrong):
            return f"All is right but the last place along the {where}: look at where you end."
    return None


def _wrong_along(trial: Trial, dim: int) -> Tensor:
    """Which places of one axis hold a wrong number.  -> (size of that axis) bool"""
    wrong = ~torch.isclose(trial.answer, trial.expected, rtol=RTOL, atol=ATOL, equal_nan=True)
    return wrong.movedim(dim, 0).flatten(1).any(dim=1) if wrong.dim() > 1 else wrong


_RELATIONS = (_an_input, _not_ruled_out, _made_of_the_right_ones, _turned, _scaled,
              _right_but_for_a_part, _all_the_same)


def _in_another_order(trials: Sequence[Trial]) -> str | None:
    if min(trial.expected.unique().numel() for trial in trials) < 3:
        return None                                  # True and False are easily as many
    if all(_sorted_alike(trial.answer, trial.expected) for trial in trials):
        return ("Each row has the right numbers, but not at their places: something is sorted, "
                "turned or moved, and not put back.")
    if all(_sorted_alike(trial.answer.flatten(), trial.expected.flatten()) for trial in trials):
        return ("All the right numbers are there, but not at their places: something is turned or "
                "sorted, or a view or reshape cuts rows anew.")
    return None


def _sorted_alike(one: Tensor, other: Tensor) -> bool:
    return one.dim() > 0 and _same(one.sort(dim=-1).values, other.sort(dim=-1).values)


def _nearly(trials: Sequence[Trial]) -> str | None:
    if all(torch.allclose(trial.answer, trial.expected, rtol=0.02, atol=0.002)
           for trial in trials):
        return ("Nearly right, from the third digit on it is not: look for a constant that is "
                "rounded, left out, or added in the wrong place, or for a type with few digits.")
    return None


# ---------------------------------------------------------------------------- shapes that differ


def _shapes(trials: Sequence[Trial]) -> list[tuple[list[int], list[int]]]:
    return [(list(trial.answer.shape), list(trial.expected.shape)) for trial in trials]


_SHAPES = {
    "Two axes have changed places: a transpose is missing, or one too many.":
        lambda got, wanted: sorted(got) == sorted(wanted),
    "An axis of size 1 is too many or missing: see to keepdim, squeeze and [..., None].":
        lambda got, wanted: _without_ones(got) == _without_ones(wanted),
    "An axis is gone: something was summed, averaged or indexed away that should stay.":
        lambda got, wanted: len(got) < len(wanted) and _is_part(got, wanted),
    "There is an axis too many: something should be summed, averaged or picked there.":
        lambda got, wanted: len(got) > len(wanted) and _is_part(wanted, got),
    "The numbers are as many as they should be, but cut in another way.":
        lambda got, wanted: math.prod(got) == math.prod(wanted),
}


def _axis_more_or_less(trials: Sequence[Trial]) -> str | None:
    return next((words for words, holds in _SHAPES.items()
                 if all(holds(*pair) for pair in _shapes(trials))), None)


def _without_ones(shape: list[int]) -> list[int]:
    return [size for size in shape if size != 1]


def _is_part(small: list[int], large: list[int]) -> bool:
    """Whether the sizes of `small` stand in `large` in the same order."""
    rest = iter(large)
    return all(size in rest for size in small)


def _one_place_left(trials: Sequence[Trial]) -> str | None:
    """One place of an axis is left of all that the right answer has."""
    for dim, where in _axes(trials):
        if all(trial.expected.shape[dim] < 2 for trial in trials):
            continue
        for place, words in ((-1, "last"), (0, "first")):
            if all(_same(trial.answer.reshape(-1), trial.expected.select(dim, place).reshape(-1))
                   for trial in trials):
                return (f"Only the {words} place along the {where} is left: all of them are asked "
                        "for.")
    return None


def _one_more_or_less(trials: Sequence[Trial]) -> str | None:
    differences = {tuple(a - b for a, b in zip(got, wanted, strict=True))
                   for got, wanted in _shapes(trials) if len(got) == len(wanted)}
    if len(trials) == 1 and _has_another_size(trials[0]):
        return None
    if len(differences) == 1 and all(trial.answer.dim() == trial.expected.dim()
                                     for trial in trials):
        steps = {axis: step for axis, step in enumerate(differences.pop()) if step}
        if {*steps.values()} in ({1}, {-1}):
            axes = " and ".join(f"axis {axis}" for axis in steps)
            much = "many" if 1 in steps.values() else "few"
            return (f"One place too {much} along {axes}: look at where it begins, where it ends, "
                    "and what should be added to it.")
    return None


def _has_another_size(trial: Trial) -> bool:
    """Whether a wrong size is that of another axis, and one more or less than it by accident."""
    given = [size for x in trial.arguments.values() if isinstance(x, Tensor) for size in x.shape]
    return any(got != wanted and got in given
               for got, wanted in zip(trial.answer.shape, trial.expected.shape, strict=False))


def _one_text(trials: Sequence[Trial]) -> str | None:
    """One text is left of batches of several."""
    batches = [(got, wanted) for got, wanted in _shapes(trials) if wanted[:1] != [1]]
    if batches and all(len(wanted) > 2 and got == [1, *wanted[1:]] for got, wanted in batches):
        return "Only one text of the batch is left: what you do for one, do for all."
    return None


_TRACES_OF_SHAPES = (_one_text, _one_place_left, _axis_more_or_less, _one_more_or_less)


# ------------------------------------------------------------------------------------ rows of ids

_ROWS = {
    "The last one is missing: look at where your loop or slice ends.": lambda row: row[:-1],
    "The first one is missing: look at where your loop or slice begins.": lambda row: row[1:],
    "The right ones in reverse order.": lambda row: row[::-1],
    "Nothing is in it: perhaps nothing is ever appended.": lambda row: [],
}


def _made_of_the_right_row(trials: Sequence[Trial]) -> str | None:
    for words, made in _ROWS.items():
        if all(list(trial.answer) == made(list(trial.expected)) for trial in trials):
            return words
    return None


def _row_trace(trials: Sequence[Trial]) -> str | None:
    for name in trials[0].arguments:
        if all(_is_row(x := trial.arguments[name]) and list(x) == list(trial.answer)
               for trial in trials):
            return f"That is {name} as it came in: nothing has been done to it."
    if all(trial.answer == trial.expected[: len(trial.answer)] for trial in trials):
        return ("It begins right, and the rest is missing: look at the end of your loop, for a "
                "return inside of it, or for what you leave out.")
    return None
