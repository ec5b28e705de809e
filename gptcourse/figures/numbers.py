"""Numbers: taken in, looked at, and written for reading."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np


def as_array(values, name: str, dimensions: int | None = None) -> np.ndarray:
    """Tensor, list or array as a NumPy array of floats, checked for its size and dimensions."""
    if hasattr(values, "detach"):                     # a tensor of any device and precision
        values = values.detach().cpu().double()
    array = np.asarray(values, dtype=float)
    if dimensions is not None and array.ndim != dimensions:
        raise ValueError(
            f"{name} has shape {array.shape}, but this picture needs {dimensions} dimensions: "
            "pick one sequence, layer or head where there are too many."
        )
    if not array.size:
        raise ValueError(
            f"{name} has shape {array.shape}, but a picture needs at least one number: look at "
            "where it was made, or cut."
        )
    return array


def check_labels(labels: Sequence[str] | None, count: int, what: str) -> None:
    if labels is not None and len(labels) != count:
        raise ValueError(
            f"There are {len(labels)} labels for {count} {what}s, but each {what} needs one: "
            "pass as many labels, or another array."
        )


def is_whole(numbers: np.ndarray) -> bool:
    """Whether all of them are whole numbers, which are written without decimals."""
    finite = numbers[np.isfinite(numbers)]
    return bool((finite == finite.round()).all())


def without_traces(values: np.ndarray) -> np.ndarray:
    """The values, those that no picture can show beside the largest set to 0.

    Traces are what is left of rounding, another number on every processor.
    """
    return np.where(np.abs(values) < 1e-4 * np.abs(values).max(initial=0), 0, values)


def number(x: float, digits: int = 3) -> str:
    """A number for reading: 163,009,536, 0.25, 3.1e−7. `digits` are those of a fraction."""
    if not math.isfinite(x):
        return "nan" if math.isnan(x) else ("∞" if x > 0 else "−∞")
    if float(x).is_integer() and abs(x) < 1e15:
        return f"{int(x):,}".replace("-", "−")
    text = f"{x:,.0f}" if 10**digits <= round(abs(x)) < 1e15 else f"{x:.{digits}g}"
    return text.replace("-", "−").replace("e−0", "e−").replace("e+", "e")


def cell_text(x: float, whole: bool) -> str:
    if not math.isfinite(x):
        return number(x)
    text = f"{x:.0f}" if whole else f"{x:.2f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")
