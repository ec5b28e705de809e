"""Fair timing on a shared machine: all contestants in turns, medians, ratios of one run."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable


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
