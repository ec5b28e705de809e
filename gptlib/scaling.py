"""Chapter 13. Scaling laws: what a larger model, more text and more computing are good for.

What a model loses above the floor shrinks like a power of its size and of its text. So a few small
runs tell what a large one will come to, before anybody pays for it.
Kaplan et al. (2020), "Scaling Laws for Neural Language Models"; Hoffmann et al. (2022), "Training
Compute-Optimal Large Language Models".
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gptlib.checks import ABOVE_0, listed, number


class PowerLaw(NamedTuple):
    """y = factor · x ** -exponent: a straight line where both axes are logarithms."""

    factor: float
    exponent: float  # y falls as x grows where it is positive, and grows where it is negative

    def __call__(self, x):
        return self.factor * x ** -self.exponent


def fit_power_law(x: Sequence[float], y: Sequence[float]) -> PowerLaw:
    """The straight line through log y against log x, by least squares.

    Raises a ValueError for numbers that are not above 0, and where no line can be drawn.
    """
    u, v = _logs("x", x), _logs("y", y)
    _check_places(u, v, 2, "A line")
    u_mean, v_mean = u.mean(), v.mean()
    slope = ((u - u_mean) * (v - v_mean)).sum() / ((u - u_mean) ** 2).sum()
    return PowerLaw(math.exp(v_mean - slope * u_mean), -float(slope))


def lowest_point(x: Sequence[float], y: Sequence[float]) -> tuple[float, float]:
    """Where a valley is deepest, and how deep: x and y there, by a parabola through log y against
    log x. Hoffmann et al. (2022), section 3.2, find a budget's best size so.

    Raises a ValueError as `fit_power_law`, and where the numbers show no valley.
    """
    u, v = _logs("x", x), _logs("y", y)
    _check_places(u, v, 3, "A valley")
    curve, slope, height = np.polyfit(u - u.mean(), v, 2)
    lowest = u.mean() - slope / (2 * curve) if curve > 0 else math.inf
    if not u.min() <= lowest <= u.max():
        raise ValueError(
            "The lowest point lies outside of the numbers, so they show one side of a valley only: "
            "add runs beyond the end where y is lowest."
        )
    return math.exp(lowest), math.exp(height - slope ** 2 / (4 * curve))


def _logs(name: str, values: Sequence[float]) -> np.ndarray:
    """The logarithms of a list of numbers above 0.  -> (n)"""
    hint = "a logarithm takes no other, so leave it out."
    values = listed(name, values, "pass a number for each run.")
    return np.log([number(name, float(value), "hold numbers above 0 only", hint, ABOVE_0)
                   for value in values])


def _check_places(u: np.ndarray, v: np.ndarray, least: int, what: str) -> None:
    """Raise a ValueError where u and v are no points at `least` different places."""
    if len(u) != len(v):
        raise ValueError(f"x has {len(u)} numbers and y has {len(v)}, but each point has one of "
                         "both: pass lists of one length.")
    if len(set(u)) < least:
        raise ValueError(f"{what} needs points at {least} different x at least, but there are "
                         f"{len(set(u))}: add runs of other sizes.")
