"""What many functions ask of their arguments, and the one sentence that says what is wrong."""

from __future__ import annotations

import math
import operator
import os
from collections.abc import Iterable
from pathlib import Path


def whole(name: str, value, hint: str, least: int = 0, most: float = math.inf) -> int:
    """`value` as an int. Raises a ValueError for all but a whole number from `least` to `most`."""
    try:
        number = least - 1 if isinstance(value, bool) else operator.index(value)
    except TypeError:
        number = least - 1
    if not least <= number <= most:
        span = f"of at least {least}" if most == math.inf else f"from {least} to {most:,}"
        raise ValueError(f"{name} is {shown(value)}, but must be a whole number {span}: {hint}")
    return number


def listed(name: str, values: Iterable, hint: str) -> list:
    """`values` as a list. Raises a TypeError where there is nothing to list."""
    try:
        return list(values)
    except TypeError:
        raise TypeError(f"{name} is {shown(values)}, but must be a list: {hint}") from None


def as_path(path: str | os.PathLike, hint: str = "name a file.") -> Path:
    """`path` as a Path. Raises a TypeError for what names no file."""
    if not isinstance(path, (str, os.PathLike)) or "\0" in os.fsdecode(path):
        raise TypeError(
            f"The path is {shown(path)}, but must be a text or a pathlib.Path: {hint}"
        )
    return Path(os.fsdecode(path))


def shown(value, most: int = 80) -> str:
    """A value as part of a sentence: its repr, short, on one line."""
    try:
        text = " ".join(repr(value).split())
    except ValueError:  # a number of more than 4,300 digits
        text = f"<{type(value).__name__} too long to be written>"
    return text if len(text) <= most else f"{text[: most - 1]}…"
