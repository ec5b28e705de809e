"""What stored training runs say of a budget's best use: a law fitted to them, and what follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

REFITS = 100                   # of the law, to other runs drawn from the stored ones
RANGE = (5, 95)                # percent of the refits lie below the ends of a range
LEAST, MOST = 1e-9, 1e27        # of any number of a run
BEYOND = 100                   # times the largest run's budget is where the budgets end
ROUND = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)                 # the budgets of a power of ten
SIZES = 480                    # are compared for each budget; every fourth is drawn
EXPONENTS = np.arange(1, 101) / 50                                          # 0.02 to 2
FINER = np.arange(-20, 21) / 1000


class Runs(NamedTuple):
    """Stored training runs, an array (R) of each number; flops are those of the whole training."""

    parameters: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray
    loss: np.ndarray           # above the floor, in nats per token


class Law(NamedTuple):
    """Loss above the floor = size_factor · N^-size_exponent + token_factor · D^-token_exponent.

    N is the number of parameters, D that of tokens. Hoffmann et al. (2022), "Training
    Compute-Optimal Large Language Models", equation 2, where the floor is not known.
    """

    size_factor: float
    size_exponent: float
    token_factor: float
    token_exponent: float

    def __call__(self, parameters, tokens):
        return (self.size_factor * parameters ** -self.size_exponent
                + self.token_factor * tokens ** -self.token_exponent)


def checked(runs: Sequence) -> Runs:
    """Runs with `parameters`, `tokens`, `flops` and `loss_above_floor` each, as arrays.

    Raises a ValueError where no law can be fitted to them.
    """
    columns = []
    for name in ("parameters", "tokens", "flops", "loss_above_floor"):
        numbers = np.array([float(getattr(run, name)) for run in runs])
        wrong = np.flatnonzero(~((numbers >= LEAST) & (numbers <= MOST)))         # nan, too
        if len(wrong):
            raise ValueError(
                f"{name} of run {wrong[0] + 1} is {numbers[wrong[0]]:g}, but a logarithmic axis "
                f"takes numbers from {LEAST:g} to {MOST:g}: leave that run out.")
        columns.append(numbers)
    sizes, amounts = (len(np.unique(numbers)) for numbers in columns[:2])
    if len(columns[0]) < 5 or min(sizes, amounts) < 2:
        raise ValueError(
            "A law needs five runs, of two sizes and two numbers of tokens at least, but there "
            f"are {len(columns[0])}, of {sizes} and {amounts}: add other runs.")
    return Runs(*columns)


def fit_law(runs: Runs, counts: np.ndarray | None = None) -> Law:
    """The law with the least squares of relative errors; run r counts `counts[r]` times (R)."""
    counts = np.ones(len(runs.loss)) if counts is None else counts
    size, tokens = (math.exp(np.log(numbers).mean()) for numbers in runs[:2])   # near 1 is exact
    near = runs._replace(parameters=runs.parameters / size, tokens=runs.tokens / tokens)
    rough = _best_of(near, counts, EXPONENTS, EXPONENTS)
    law = _best_of(near, counts, *(exponent + FINER for exponent in rough[1::2]))
    return law._replace(size_factor=law.size_factor * size**law.size_exponent,
                        token_factor=law.token_factor * tokens**law.token_exponent)


def _best_of(runs: Runs, counts: np.ndarray, size_exponents: np.ndarray,
             token_exponents: np.ndarray) -> Law:
    """The best law of all pairs of these exponents (I) and (J).

    With both exponents given, the factors follow from two linear equations; where one of them
    would be negative, it is 0.
    """
    x = runs.parameters ** -size_exponents[:, None] / runs.loss             # (I, R)
    y = runs.tokens ** -token_exponents[:, None] / runs.loss                # (J, R)
    x_1, y_1 = (x @ counts)[:, None], y @ counts                            # (I, 1), (J)
    x_x, y_y, x_y = (x * x @ counts)[:, None], y * y @ counts, (x * counts) @ y.T   # (I, J)
    both = x_x * y_y - x_y**2
    both = np.where(both > 1e-12 * x_x * y_y, both, np.inf)                 # the same twice: 0
    a, b = (x_1 * y_y - y_1 * x_y) / both, (y_1 * x_x - x_1 * x_y) / both
    a, b = (np.where(b <= 0, x_1 / x_x, np.maximum(a, 0)),
            np.where(a <= 0, y_1 / y_y, np.maximum(b, 0)))
    errors = a * a * x_x + 2 * a * b * x_y + b * b * y_y - 2 * (a * x_1 + b * y_1)
    i, j = np.unravel_index(errors.argmin(), errors.shape)
    return Law(float(a[i, j]), float(size_exponents[i]), float(b[i, j]), float(token_exponents[j]))


def refits(runs: Runs) -> list[Law]:
    """The law fitted to as many runs again and again, drawn from the stored ones with repetition
    (Efron, 1979, "Bootstrap Methods"): how far these laws differ is how well the runs know it."""
    generator, count = np.random.default_rng(0), len(runs.loss)
    draws = generator.integers(count, size=(REFITS, count))
    return [fit_law(runs, np.bincount(draw, minlength=count).astype(float)) for draw in draws]


def cost_of(runs: Runs, parameters: np.ndarray) -> np.ndarray:
    """FLOPs of training on a token, for models of these sizes: those of the runs, between them and
    beyond by straight lines of logarithms."""
    sizes, places = np.unique(runs.parameters, return_index=True)
    x, y = np.log(sizes), np.log(runs.flops[places] / runs.tokens[places])
    at = np.log(parameters)
    inside = np.interp(at, x, y)
    first, last = ((y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2]))
    return np.exp(inside + first * np.minimum(at - x[0], 0) + last * np.maximum(at - x[-1], 0))


def budgets_of(runs: Runs) -> np.ndarray:
    """Round numbers of FLOPs, from the smallest run's to far beyond the largest one's."""
    low, high = runs.flops.min(), BEYOND * runs.flops.max()
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = np.array([float(f"{digits}e{power}") for power in powers for digits in ROUND])
    below, above = max(0, (numbers <= low).sum() - 1), (numbers < high).sum()
    return numbers[below : above + 1]


def plan(runs: Runs) -> dict:
    """For each of B budgets: the size that the law finds best, its tokens, its loss, with ranges.

    "valley" (B, G) is the loss of the sizes "grid" (G), "curves" (S, B) that of the stored "sizes"
    (S). "best" and "loss" (B, 3) are low end, value and high end of the refits' range.
    """
    law, others, budgets = fit_law(runs), refits(runs), budgets_of(runs)
    low, high = runs.parameters.min() / 8, runs.parameters.max() * BEYOND
    grid = np.geomspace(low, high, SIZES)
    tokens = budgets[:, None] / cost_of(runs, grid)                                  # (B, G)
    valley = law(grid, tokens)
    best, loss = _lowest(grid, valley)
    ranges = np.percentile([_lowest(grid, other(grid, tokens)) for other in others], RANGE, axis=0)
    sizes = np.unique(runs.parameters)
    cost = cost_of(runs, sizes)
    relative = law(runs.parameters, runs.tokens) / runs.loss - 1
    return {
        "law": law, "off": float(np.sqrt((relative**2).mean())), "budgets": budgets,
        "best": np.stack([ranges[0, 0], best, ranges[1, 0]], axis=1),
        "loss": np.stack([ranges[0, 1], loss, ranges[1, 1]], axis=1),
        "tokens": budgets / cost_of(runs, best), "grid": grid[::4], "valley": valley[:, ::4],
        "sizes": sizes, "cost": cost, "curves": law(sizes[:, None], budgets / cost[:, None])}


def _lowest(grid: np.ndarray, valley: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The best size for each budget and its loss: (B) each."""
    return grid[valley.argmin(axis=1)], valley.min(axis=1)


def interpolated(budgets: np.ndarray, rows: np.ndarray, budget: float) -> np.ndarray:
    """What the rows (B, ...) say for a budget, between two of theirs by a straight line of
    logarithms; as `interpolated` in scaling.js."""
    place = np.interp(math.log(budget), np.log(budgets), np.arange(len(budgets)))
    n = min(int(place), len(budgets) - 2)
    return np.exp(np.log(rows[n]) + (place - n) * (np.log(rows[n + 1]) - np.log(rows[n])))
