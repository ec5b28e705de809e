"""The kinds of things that an exercise may ask for: is it one, is it equal, where does it differ.

Every method that returns a text returns a sentence for the learner, or None where all is well.
"""

from __future__ import annotations

import math
import numbers
import operator
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn


class Kind:
    """A kind of thing. Where more than the numbers tells what is wrong, it also has
    `trace(trials) -> str | None`: what all wrong answers have in common."""

    name: str                                                      # "weights"

    def malformed(self, answer: Any, expected: Any) -> str | None:
        """What is wrong with the type, the shape, the dtype, or with numbers like NaN."""

    def difference(self, answer: Any, expected: Any) -> str | None:
        """Where a well-formed answer first differs from the expected one."""

    def alike(self, answer: Any, other: Any) -> bool:
        """Whether two answers are the same: so a mistake is recognized."""
        return not (self.malformed(answer, answer) or self.malformed(other, other)
                    or self.difference(answer, other))


def described(value: Any) -> str:
    """A value's type, with its article, as a beginner knows it."""
    if isinstance(value, Tensor):
        return f"a tensor of shape {tuple(value.shape)}"
    known = {
        bool: "True or False", int: "a whole number", float: "a plain number", str: "a string",
        list: "a list", tuple: "a tuple", dict: "a dictionary", np.ndarray: "a NumPy array",
        type(None): "None", type: "a class", bytes: "bytes",
    }
    for kind, words in known.items():
        if type(value) is kind:
            return words
    name = type(value).__name__
    return f"{'an' if name[:1].lower() in 'aeiou' else 'a'} {name}"


def number(value: Any) -> str:
    """A number short enough to be read: 0.3333, 12, True, nan."""
    if isinstance(value, (bool, int)):
        return str(value)
    rounded = f"{value:.4g}"
    return f"{value:.8g}" if rounded in ("0", "1", "-1") and value not in (0, 1, -1) else rounded


# What stands for each group of dtypes, and what to do about a result of another group.
_WANTED = {"float": torch.float32, "whole": torch.int64, "bool": torch.bool}
_ADVICE = {
    "float": "keep them as decimals all the way",
    "whole": "they are counted, not measured: use .long(), or begin with whole numbers",
    "bool": "write a comparison, or use dtype=torch.bool",
}
_SHORT = (torch.float16, torch.bfloat16)
MOST = 1_000_000                                 # numbers of a wrong answer that are looked at


def _no_tensor(value: Any) -> str:
    """How a tensor comes of what was returned in its place, as the end of a sentence."""
    if type(value) is tuple and value:
        if len(value) == 1:
            return ": a comma at the end of a line makes one"
        if len({x.shape for x in value if isinstance(x, Tensor)}) == 1:
            return f": torch.stack joins the {len(value)} tensors in it along a new axis"
        return f": return only what is asked for, not {len(value)} things"
    known = {np.ndarray: ": torch.from_numpy turns one into the other",
             list: ": torch.tensor or torch.stack makes one of it"}
    return known.get(type(value), ": call it, with brackets" if callable(value) else
                     ": it holds values and their places" if hasattr(value, "indices") else "")


def _group(dtype: torch.dtype) -> str:
    if dtype == torch.bool:
        return "bool"
    if dtype.is_floating_point:
        return "float"
    return "complex" if dtype.is_complex else "whole"


@dataclass(frozen=True)
class TensorAnswer(Kind):
    """A tensor, given the letters of its axes, such as ("B", "T", "S")."""

    name: str
    axes: tuple[str, ...]
    dtype: str = "float"                                           # or "whole", or "bool"
    leading: bool = False                                          # any axes may come before
    rtol: float = 1e-4
    atol: float = 1e-5
    # (index, got, expected) -> the first wrong element in words, for results with a meaning
    words: Callable[[tuple, Any, Any], str] | None = None

    def malformed(self, answer: Any, expected: Tensor) -> str | None:
        if not self.axes and type(answer) in (int, float):
            return (f"you return a plain number, but the {self.name} must stay a tensor, or no "
                    "gradient can flow back through it: leave out .item() and float().")
        if not isinstance(answer, Tensor):
            return (f"you return {described(answer)} as {self.name}, but it must be a torch "
                    f"tensor{_no_tensor(answer)}.")
        if answer.shape != expected.shape:
            return (f"the shape of your {self.name} is {tuple(answer.shape)}, but must be "
                    f"{tuple(expected.shape)}, that is {self._letters}.")
        if _group(answer.dtype) != self.dtype:
            mask = answer.dtype == torch.bool
            advice = "a mask says where, but asked for is what stands there"
            return (f"the dtype of your {self.name} is {answer.dtype}, but must be "
                    f"{_WANTED[self.dtype]}: {advice if mask else _ADVICE[self.dtype]}.")
        if answer.dtype in _SHORT:
            return (f"the dtype of your {self.name} is {answer.dtype}, which keeps only two or "
                    "three digits: stay with the dtype of the inputs.")
        return self._not_finite(_plain(answer), _plain(expected))

    @property
    def _letters(self) -> str:
        letters = [*(["..."] if self.leading else []), *self.axes]
        return f"({', '.join(letters)})" if letters else "one number"

    def _not_finite(self, answer: Tensor, expected: Tensor) -> str | None:
        bad = ~answer.isfinite() & (expected.isfinite() | answer.isnan())
        if not bad.any():
            return None
        index = tuple(bad.nonzero()[0].tolist())
        return (f"{self._place(index)} is {number(answer[index].item())}, but should be "
                f"{number(expected[index].item())}.")

    def difference(self, answer: Tensor, expected: Tensor) -> str | None:
        answer, expected = _plain(answer), _plain(expected)
        wrong = ~torch.isclose(answer, expected, rtol=self.rtol, atol=self.atol)
        if not wrong.any():
            return None
        index = tuple(wrong.nonzero()[0].tolist())
        got, wanted = (self._value(x[index].item()) for x in (answer, expected))
        if self.words:
            return self.words(index, got, wanted)
        several = f" ({wrong.sum()} of {wrong.numel()} numbers differ)" if wrong.numel() > 1 else ""
        return (f"{self._place(index)} is {_longer(got, wanted)}, but should be "
                f"{_longer(wanted, got)}{several}.")

    def _value(self, value: float) -> Any:
        return {"bool": bool, "whole": int, "float": float}[self.dtype](value)

    def _place(self, index: tuple) -> str:
        return f"{self.name}[{', '.join(map(str, index))}]" if index else f"the {self.name}"

    def alike(self, answer: Any, other: Any) -> bool:
        if not all(isinstance(x, Tensor) for x in (answer, other)):
            return False                               # no numbers that could be laid side by side
        if answer.shape != other.shape or _group(answer.dtype) != _group(other.dtype):
            return False
        if answer.dtype in _SHORT or other.dtype in _SHORT:
            return False                               # with so few digits, nobody can tell
        if answer.numel() > MOST:
            return False
        answer, other = _plain(answer), _plain(other)
        return torch.allclose(answer, other, rtol=self.rtol, atol=self.atol, equal_nan=True)


def _plain(x: Tensor) -> Tensor:
    """The same numbers in double precision, with no history and no subclass."""
    with torch._C.DisableTorchFunctionSubclass():
        x = x.detach().as_subclass(Tensor)
    return x.resolve_conj().to(torch.complex128 if x.dtype.is_complex else torch.float64)


@dataclass(frozen=True)
class NumberAnswer(Kind):
    """A single number, plain or as a tensor of shape ()."""

    name: str
    rtol: float = 1e-4
    atol: float = 1e-6

    def malformed(self, answer: Any, expected: Any) -> str | None:
        if isinstance(answer, Tensor) and answer.shape != ():
            return (f"you return a tensor of shape {tuple(answer.shape)}, but one number is asked "
                    "for.")
        if isinstance(answer, bool) or not isinstance(answer, (numbers.Real, Tensor)):
            uncalled = callable(answer) and not isinstance(answer, nn.Module)
            more = ": call it, with round brackets" if uncalled else ""
            return f"you return {described(answer)}, but must return one number{more}."
        if isinstance(answer, Tensor) and answer.is_complex():
            return f"your {self.name} is {answer!r}, but must be a number that can be read."
        if scalar(answer) != scalar(expected) and not np.isfinite(scalar(answer)):
            return (f"the {self.name} is {number(scalar(answer))}, but should be "
                    f"{number(scalar(expected))}.")
        return None

    def difference(self, answer: Any, expected: Any) -> str | None:
        got, wanted = scalar(answer), scalar(expected)
        if np.isclose(got, wanted, rtol=self.rtol, atol=self.atol):
            return None
        return f"the {self.name} is {_longer(got, wanted)}, but should be {_longer(wanted, got)}."


def scalar(value: Any) -> int | float:
    """One number as Python has it; an int too large for a float is infinite."""
    if isinstance(value, numbers.Integral):
        return int(value) if abs(value) < 1e300 else math.inf if value > 0 else -math.inf
    return float(value)


def _longer(value: float, other: float) -> str:
    """The number with as many digits as it takes to tell it from the other one."""
    return number(value) if number(value) != number(other) else f"{value:.8g}"


@dataclass(frozen=True)
class IdsAnswer(Kind):
    """A row of token ids, as a list."""

    name: str = "ids"

    def malformed(self, answer: Any, expected: list[int]) -> str | None:
        if not isinstance(answer, (list, tuple)):
            extra = ": write list(...) around it" if hasattr(answer, "__iter__") else ""
            extra = {Tensor: ": .tolist() makes one of it", str: ", not a text"}.get(
                type(answer), extra)
            return f"you return {described(answer)}, but must return a list of token ids{extra}."
        for place, token in enumerate(answer):
            if isinstance(token, bool) or not isinstance(token, numbers.Integral):
                advice = {str: ": the bytes of a text are text.encode(\"utf-8\")",
                          Tensor: ": .item() takes it out of a tensor"}.get(type(token), "")
                return (f"place {place} of your list holds {described(token)}, {_short(token)}, "
                        f"but must hold a token id, a whole number{advice}.")
        return None

    def difference(self, answer: list[int], expected: list[int]) -> str | None:
        return _unequal(_ids(answer), _ids(expected))


@dataclass(frozen=True)
class TextAnswer(Kind):
    """A string."""

    name: str = "text"

    def malformed(self, answer: Any, expected: str) -> str | None:
        if isinstance(answer, str):
            return None
        extra = ": .decode(...) makes one of them" if isinstance(answer, bytes) else ""
        return f"you return {described(answer)}, but must return a string{extra}."

    def difference(self, answer: str, expected: str) -> str | None:
        return _unequal(answer, expected)


@dataclass(frozen=True)
class PairsAnswer(Kind):
    """A list of pairs of token ids, in order."""

    name: str = "merges"

    def malformed(self, answer: Any, expected: list) -> str | None:
        if not isinstance(answer, (list, tuple)):
            return f"you return {described(answer)}, but must return a list of pairs."
        for place, pair in enumerate(answer):
            if not _is_pair(pair, (tuple, list)):
                return (f"place {place} of your list holds {_short(pair)}, but must hold a pair of "
                        "token ids, such as (116, 104).")
        return None

    def difference(self, answer: list, expected: list) -> str | None:
        answer, expected = _pairs(answer), _pairs(expected)
        for place, (got, wanted) in enumerate(zip(answer, expected, strict=False)):
            if got != wanted:
                return f"pair {place} of your {self.name} is {got}, but should be {wanted}."
        if len(answer) != len(expected):
            return (f"your list of {self.name} has length {len(answer)}, but must have "
                    f"{len(expected)}.")
        return None


def _is_pair(value: Any, kinds: type | tuple[type, ...]) -> bool:
    return (isinstance(value, kinds) and len(value) == 2
            and all(isinstance(token, numbers.Integral) for token in value))


def _pairs(rows) -> list[tuple]:
    return [(*_ids(pair),) for pair in rows]


def _ids(row) -> list[int]:
    return [operator.index(token) for token in row]


@dataclass(frozen=True)
class CountsAnswer(Kind):
    """A dictionary, or Counter, from pairs of ids to how often they occur."""

    name: str = "counts"

    def malformed(self, answer: Any, expected: Mapping) -> str | None:
        if not isinstance(answer, Mapping):
            return (f"you return {described(answer)}, but must return a dictionary, or a Counter, "
                    "from each pair to its count.")
        for pair, count in answer.items():
            if not _is_pair(pair, tuple):
                return (f"one of your keys is {_short(pair)}, but each must be a pair of token "
                        "ids, such as (116, 104).")
            if isinstance(count, bool) or not isinstance(count, numbers.Integral):
                return (f"the count of {_short(pair)} is {_short(count)}, but must be a whole "
                        "number.")
        return None

    def difference(self, answer: Mapping, expected: Mapping) -> str | None:
        answer, expected = _counts(answer), _counts(expected)
        for pair in [*expected, *answer]:
            got, wanted = answer.get(pair, 0), expected.get(pair, 0)
            if got != wanted:
                if not got:
                    return f"the pair {pair} is missing, but occurs {_times(wanted)}."
                return f"the pair {pair} is counted {_times(got)}, but occurs {_times(wanted)}."
        return None


def _counts(answer: Mapping) -> dict:
    """Without pairs that are counted zero times: they say nothing."""
    return {(*pair,): operator.index(count) for pair, count in answer.items() if count}


def _times(count: int) -> str:
    return {0: "never", 1: "once", 2: "twice"}.get(count, f"{count} times")


@dataclass(frozen=True)
class SeveralAnswers(Kind):
    """A tuple of several things, each of its own kind."""

    parts: tuple[Kind, ...]

    @property
    def name(self) -> str:
        return " and ".join(part.name for part in self.parts)

    def malformed(self, answer: Any, expected: tuple) -> str | None:
        if not isinstance(answer, (tuple, list)) or len(answer) != len(self.parts):
            got = described(answer)
            if isinstance(answer, (tuple, list)):
                got += f" of {len(answer)}"
            return (f"you return {got}, but must return {len(self.parts)} things: "
                    f"{', '.join(part.name for part in self.parts)}.")
        return self._first("malformed", answer, expected)

    def difference(self, answer: tuple, expected: tuple) -> str | None:
        return self._first("difference", answer, expected)

    def _first(self, question: str, answer: tuple, expected: tuple) -> str | None:
        found = (getattr(part, question)(one, other)
                 for part, one, other in zip(self.parts, answer, expected, strict=True))
        return next(filter(None, found), None)

    def alike(self, answer: Any, other: Any) -> bool:
        rows = [x for x in (answer, other)
                if isinstance(x, (tuple, list)) and len(x) == len(self.parts)]
        return len(rows) == 2 and all(
            part.alike(*pair) for part, *pair in zip(self.parts, *rows, strict=True))


def _unequal(answer: Any, expected: Any) -> str | None:
    if answer == expected:
        return None
    return f"you return {_short(answer)}, but it should be {_short(expected)}."


def _short(value: Any, limit: int = 70) -> str:
    """A value as Python writes it, cut where it grows long."""
    text = " ".join(repr(value).split())
    return text if len(text) <= limit else f"{text[: limit - 2]} …"
