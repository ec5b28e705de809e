"""What many functions ask of their arguments, and the one sentence that says what is wrong."""

from __future__ import annotations

import difflib
import math
import operator
import os
from collections.abc import Iterable
from numbers import Real
from pathlib import Path

MOST = 2**62                  # beyond, torch's whole numbers overflow; its others beyond 1e38
ABOVE_0, BELOW_1 = math.ulp(0.0), math.nextafter(1.0, 0.0)


def whole(name: str, value, hint: str, least: int = 0, most: int = MOST) -> int:
    """`value` as an int. Raises a ValueError for all but a whole number from `least` to `most`."""
    try:
        converted = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        converted = least - 1
    if not least <= converted <= most:
        open_ended = most == MOST and converted < least
        span = f"of at least {least}" if open_ended else f"from {least} to {most:,}"
        raise ValueError(f"{name} is {shown(value)}, but must be a whole number {span}: {hint}")
    return converted


def number(name: str, value, rule: str, hint: str, least: float = 0, most: float = 1e38) -> float:
    """`value` as a float. Raises a ValueError with the rule for all but `least` to `most`."""
    try:
        is_number = isinstance(value, Real) and not isinstance(value, bool)
        converted = float(value) if is_number else math.nan
    except OverflowError:
        converted = math.inf
    if not least <= converted <= most:
        raise ValueError(f"{name} is {shown(value)}, but must {rule}: {hint}")
    return converted


def one_of(name: str, value, *choices) -> None:
    """Raises a ValueError where `value` is none of the choices, which are all of one type."""
    if type(value) is not type(choices[0]) or value not in choices:
        allowed = " or ".join(map(str, choices))
        raise ValueError(f"{name} is {shown(value)}, but must be {allowed}: choose one.")


def listed(name: str, values: Iterable, hint: str) -> list:
    """`values` as a list. Raises a TypeError for a text, or where there is nothing to list."""
    if isinstance(values, str):
        raise TypeError(f"{name} is one string, but must be a list: {hint}")
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name} is {shown(values)}, but must be a list: {hint}") from None


def as_path(path: str | os.PathLike, hint: str = "name a file.") -> Path:
    """`path` as a Path. Raises a TypeError for what names no file."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in os.fsdecode(path):
        raise TypeError(f"The path is {shown(path)}, but must be a text or a pathlib.Path: {hint}")
    return Path(os.fsdecode(path))


def nearest(name, known: Iterable[str], otherwise: str = "remove it.") -> str:
    """A question for the end of a sentence: which of the known names was meant?"""
    found = difflib.get_close_matches(shown(name), known, n=1, cutoff=0.5)
    return f"did you mean {found[0]!r}?" if found else otherwise


def shown(value, most: int = 80) -> str:
    """A value as part of a sentence: its repr, short, on one line."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a number of more than 4,300 digits
        text = f"<{type(value).__name__} too long to be written>"
    return text if len(text) <= most else f"{text[: most - 1]}…"
