"""Fair timing on a shared machine: all contestants in turns, medians, ratios of one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable

from gptlib.training import TrainingRun


def in_turns(contestants: dict[str, Callable[[], None]], rounds: int) -> dict[str, list[float]]:
    """Seconds per call of each contestant, measured in turns so that noise hits all alike."""
    for work in contestants.values():
        work()  # the first call warms caches up
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for _ in range(rounds):
        for name, work in contestants.items():
            started = time.perf_counter()
            work()
            seconds[name].append(time.perf_counter() - started)
    return seconds


def median_ratio(reference: list[float], ours: list[float]) -> float:
    """How many times faster `ours` is: the median of the round-by-round ratios."""
    return statistics.median(r / o for r, o in zip(reference, ours, strict=True))


def race(runs: dict[str, TrainingRun], parts: int = 40) -> dict[str, float]:
    """Run all to their ends, a fortieth of each at a time. -> seconds of each"""
    seconds = dict.fromkeys(runs, 0.0)
    for part in range(1, parts + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            while run.step < run.config.steps * part // parts:
                next(run)
            seconds[name] += time.perf_counter() - started
    return seconds
