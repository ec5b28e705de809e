"""What stored training runs say of a budget's best use: valleys, two laws, how sure they are."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from gptlib.scaling import fit_power_law, lowest_point

LEAST, MOST = 1e-9, 1e27       # of any number of a run
BEYOND = 100                   # times the largest stored budget is where the budgets end,
LONGEST = 3600                 # or where a machine is busy for so many seconds
ROUND = (1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8)                 # the budgets of a power of ten
# Student's t for nine of ten: so many standard errors to each side, by degrees of freedom.
NINE_OF_TEN = (6.314, 2.920, 2.353, 2.132, 2.015, 1.943, 1.895, 1.860, 1.833, 1.812)


class Runs(NamedTuple):
    """Stored training runs, an array (R) of each number."""

    budget: np.ndarray         # FLOPs, the same for runs that are compared with each other
    parameters: np.ndarray
    tokens: np.ndarray
    flops: np.ndarray          # of the whole training, close to the budget
    loss_above_floor: np.ndarray                             # nats per token


def checked(runs: Sequence) -> Runs:
    """Runs that have these numbers as attributes, as arrays.

    Raises a ValueError where they can't be drawn, or are of too few budgets for a law.
    """
    columns = []
    for name in Runs._fields:
        numbers = np.array([float(getattr(run, name)) for run in runs])
        wrong = np.flatnonzero(~((numbers >= LEAST) & (numbers <= MOST)))         # nan, too
        if len(wrong):
            raise ValueError(
                f"{name} of run {wrong[0] + 1} is {numbers[wrong[0]]:g}, but a logarithmic axis "
                f"takes numbers from {LEAST:g} to {MOST:g}: leave that run out.")
        columns.append(numbers)
    budgets = len(np.unique(columns[0]))
    if budgets < 3:
        raise ValueError(f"A law needs runs of three budgets at least, but here are {budgets}: add "
                         "runs of other budgets.")
    return Runs(*columns)


def valleys(runs: Runs) -> dict[str, np.ndarray]:
    """Of each of the n budgets "lowest" (n, 2), the best size and its loss, by `lowest_point`; and
    "curvature" (n), how steep its sides are: log loss rises by so much times the square of log size
    over best size.

    Raises a ValueError where a budget's runs show no valley.
    """
    lowest, curvature = [], []
    for budget in np.unique(runs.budget):
        own = runs.budget == budget
        size, loss = runs.parameters[own], runs.loss_above_floor[own]
        lowest.append(lowest_point(size, loss))
        u = np.log(size)
        curvature.append(np.polyfit(u - u.mean(), np.log(loss), 2)[0])
    return {"tried": np.unique(runs.budget), "lowest": np.array(lowest),
            "curvature": np.array(curvature)}


def power_law_with_range(x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
    """The power law through n points, asked at m places: low end, value, high end.  -> (m, 3)

    Nine of ten further points would lie between the ends, if they scatter about the line as these
    do: the prediction interval of linear regression, here of logarithms (Draper and Smith, 1998,
    "Applied Regression Analysis", section 3.2).
    """
    law, freedom = fit_power_law(x, y), len(x) - 2
    u, far = np.log(x), np.log(at)
    error = math.sqrt((np.log(y / law(x)) ** 2).sum() / freedom)
    spread = np.sqrt(1 + 1 / len(x) + (far - u.mean()) ** 2 / ((u - u.mean()) ** 2).sum())
    half = NINE_OF_TEN[min(freedom, len(NINE_OF_TEN)) - 1] * error * spread
    return law(at)[:, None] * np.exp(half[:, None] * np.array([-1, 0, 1]))


def cost_of(runs: Runs, parameters: np.ndarray) -> np.ndarray:
    """FLOPs of training on a token, for models of these sizes: those of the runs, between them and
    beyond by straight lines of logarithms."""
    sizes, places = np.unique(runs.parameters, return_index=True)
    x, y = np.log(sizes), np.log(runs.flops[places] / runs.tokens[places])
    at = np.log(parameters)
    first, last = ((y[1] - y[0]) / (x[1] - x[0]), (y[-1] - y[-2]) / (x[-1] - x[-2]))
    return np.exp(np.interp(at, x, y) + first * np.minimum(at - x[0], 0)
                  + last * np.maximum(at - x[-1], 0))


def budgets_of(low: float, high: float) -> np.ndarray:
    """Round numbers of FLOPs, from `low` or just below to `high` or just above."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    numbers = np.array([float(f"{digits}e{power}") for power in powers for digits in ROUND])
    below, above = max(0, (numbers <= low).sum() - 1), (numbers < high).sum()
    return numbers[below : above + 1]


def plan(
    runs: Runs, speed: float | None = None, also: Sequence[float] = ()
) -> dict[str, np.ndarray]:
    """What the stored valleys say of B "budgets", round ones, those that were tried and those in
    `also`: "best" (B, 3), the best size, and "loss" (B, 3) above the floor, low end, value and high
    end each; and "tokens" (B) to read. `valleys` besides, and "sizes", the S different ones.
    `speed` is a machine's, in FLOPs per second.
    """
    found = valleys(runs)
    tried, (sizes, losses) = found["tried"], found["lowest"].T
    rounded = budgets_of(tried[0], max(BEYOND * tried[-1], LONGEST * (speed or 0)))
    budgets = np.unique([*rounded, *tried, *also])
    best = power_law_with_range(tried, sizes, budgets)
    return {**found, "budgets": budgets, "best": best, "sizes": np.unique(runs.parameters),
            "loss": power_law_with_range(tried, losses, budgets),
            "tokens": budgets / cost_of(runs, best[:, 1]), "runs": np.stack(runs)}


def ends(plan: dict[str, np.ndarray]) -> dict[str, tuple[float, float]]:
    """How far each axis goes, so that all runs and all that the laws say have their place."""
    _, _, tokens, flops, loss = plan["runs"]
    sizes, along = plan["sizes"], {}
    for name, of_runs, of_laws in (("compute", flops, plan["budgets"]),
                                   ("tokens", tokens, plan["tokens"])):
        places = np.concatenate([of_runs, of_laws])
        along[name] = places.min() / 1.3, 1.3 * places.max()
    return {**along, "sizes": (sizes[0] / 2, 3 * max(sizes[-1], plan["best"][-1, 1])),
            "loss": (plan["loss"][-1, 0] / 1.2, 1.4 * loss.max())}


def log_ticks(low: float, high: float, digits: Sequence[int] = ()) -> list[float]:
    """Powers of ten times these digits, or else times 1, and 2 and 5 where there are few."""
    digits = digits or ((1, 2, 5) if high / low < 1e3 else (1,))
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    places = [float(f"{digit}e{power}") for power in powers for digit in digits]
    return [place for place in places if low <= place <= high]


def valley(sizes: np.ndarray, best: float, loss: float, curvature: float) -> np.ndarray:
    """The loss of these sizes where the best one and its loss are known; as in scaling.js."""
    return loss * np.exp(curvature * np.log(sizes / best) ** 2)
