"""Prove what a long life of the library rests on: a line for each thing that was tried, with how
often, and what was lost.

    python tools/trust.py                       everything (an hour)
    python tools/trust.py "inputs: models"      only what begins so
"""

from __future__ import annotations

import argparse
import multiprocessing
import os
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from course import ROOT

os.environ["OMP_NUM_THREADS"] = "1"  # the trials run side by side
sys.path[:0] = [str(ROOT / "tests" / "trust"), str(ROOT / "tests"), str(ROOT)]

INPUTS = 100_000
AT_A_TIME = 2

Outcome = tuple[int, list[str]]      # how often it was tried, and what was lost, in words


def trials() -> list[tuple[str, Callable[[], Outcome]]]:
    """What is tried, in the order of the table: a name, and a function that tries it."""
    from functools import partial

    from reliability import kills, views_at_work
    from targets import TARGETS

    return [
        *((f"inputs: {target.name}", partial(try_target, target.name)) for target in TARGETS),
        ("stories that are told and read", partial(stories_read, 100_000)),
        ("runs that are killed and go on", partial(killed_runs, kills.kills, 50)),
        ("views that move while a cell trains",
         partial(views_at_work.moved_while_a_cell_trains, 90, 60)),
        ("random numbers beside every view", partial(views_at_work.random_numbers_left_alone, 30)),
        ("updates of every view", views_at_work.updates_of_every_view),
        ("trainings in one kernel", views_at_work.trainings_in_one_kernel),
    ]


def stories_read(number: int) -> Outcome:
    from gptlib.corpus.storybook import parse, stories

    return number, [story.text for story in stories(number, seed=2) if parse(story.text) != story]


def killed_runs(kills: Callable[[int], tuple[int, int]], number: int) -> Outcome:
    tried, lost = kills(number)
    return tried, ["a run, or one of its checkpoints"] * lost


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
    parser = argparse.ArgumentParser(description=" ".join(__doc__.split("\n\n")[0].split()))
    parser.add_argument("names", nargs="*", help="only the lines that begin so")
    names = tuple(parser.parse_args().names) or ""
    chosen = [(number, name) for number, (name, _) in enumerate(trials()) if name.startswith(names)]
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
