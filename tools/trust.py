"""Prove what a long life of the library rests on, a line each: what was tried, how often, and what
was lost.

    python tools/trust.py                  everything (an hour)
    python tools/trust.py "inputs: models" only what begins so
"""

from __future__ import annotations

import multiprocessing
import os
import sys
import time
from collections.abc import Callable

from course import ROOT

os.environ["OMP_NUM_THREADS"] = "1"  # the trials run side by side
sys.path[:0] = [str(ROOT / "tests" / "trust"), str(ROOT / "tests"), str(ROOT)]

INPUTS = 100_000
AT_A_TIME = 2

Outcome = tuple[int, list[str]]      # how often it was tried, and what was lost, in words


def trials() -> list[tuple[str, Callable[[], Outcome]]]:
    """What is tried, in the order of the table: a name, and a function that tries it."""
    from functools import partial

    from targets import TARGETS

    return [
        *((f"inputs: {target.name}", partial(try_target, target.name)) for target in TARGETS),
        # A further line for each further trial, such as
        # ("a run that is killed goes on", killing.try_kills),
    ]


def try_target(name: str) -> Outcome:
    from targets import TARGETS
    from trying import share_of, try_inputs

    target = next(target for target in TARGETS if target.name == name)
    tried, found = try_inputs(target, share_of(target, INPUTS))
    return tried, [f"{fault}  <-  {content}" for fault, content in found.items()]


def in_a_process_of_its_own(number: int, results) -> None:
    _, attempt = trials()[number]
    results.put(attempt())


def attempt(number: int) -> Outcome:
    """What a trial found; a process that dies has lost, too."""
    context = multiprocessing.get_context("spawn")
    results = context.SimpleQueue()
    process = context.Process(target=in_a_process_of_its_own, args=(number, results))
    process.start()
    process.join()
    if results.empty():
        return 0, [f"the process died (exit code {process.exitcode})"]
    return results.get()


def main() -> int:
    from concurrent.futures import ThreadPoolExecutor

    chosen = [
        (number, name) for number, (name, _) in enumerate(trials())
        if name.startswith(tuple(sys.argv[1:]) or "")
    ]
    started, all_tried, all_lost = time.monotonic(), 0, []
    print(f"{'what was tried':<48}{'tried':>9}{'lost':>7}", flush=True)
    with ThreadPoolExecutor(AT_A_TIME) as pool:
        for (_, name), (tried, lost) in zip(
            chosen, pool.map(attempt, [number for number, _ in chosen]), strict=True
        ):
            print(f"{name:<48}{tried:>9,}{len(lost):>7,}", flush=True)
            all_tried += tried
            all_lost += [f"{name}: {what}" for what in lost]
    print(f"{'all of it':<48}{all_tried:>9,}{len(all_lost):>7,}")
    print(f"{(time.monotonic() - started) / 60:.0f} minutes")
    for what in all_lost:
        print(f"lost: {what[:1000]}")
    return 1 if all_lost or not all_tried else 0


if __name__ == "__main__":
    sys.exit(main())
