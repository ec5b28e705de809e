"""What chapter 9's four changes bring on stories, one at a time, at equal parameters and steps.

    python benchmarks/modern.py [--steps 500] [--seeds 0 1 2] [--rates 0.03 0.01]

The figures that the chapter shows are stored in gptcourse/experiments/modern.py.
"""

from __future__ import annotations

import argparse
import itertools
import time

from gptcourse.experiments.modern import (
    CHANGES,
    HEADS_OF_LOOKS,
    changed_config,
    losses_within_and_beyond,
    nats_above_floor,
    query_and_key,
    trained,
)
from gptlib.model import GPTModel, count_parameters
from gptlib.storyteller import storyteller


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--steps", type=int, default=500)
    parser.add_argument("--seeds", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--rates", type=float, nargs="*", default=[0.03, 0.01])    # Muon's
    arguments = parser.parse_args()
    for name in CHANGES:
        print(f"{name}: {count_parameters(GPTModel(changed_config(name))):,} parameters")
    for seed in arguments.seeds:
        for name, rate in itertools.product(CHANGES, arguments.rates):
            started = time.process_time()
            model = trained(name, seed, arguments.steps, rate=rate)
            seconds = time.process_time() - started
            if name == "rotary" and rate == arguments.rates[0]:
                print_looks(model)
            above = nats_above_floor(model, 300)
            print(f"seed {seed}, {name}, rate {rate}: {above:.2f} nats above the floor, "
                  f"{seconds:.0f} s", flush=True)
        for name in ("GPT-2", "rotary"):
            model = trained(name, seed, arguments.steps, pieces=64)
            within, beyond = losses_within_and_beyond(model, 300)
            print(f"seed {seed}, {name}, on pieces of 64 tokens: on whole stories {within:.3f} "
                  f"nats a token up to place 64, {beyond:.3f} beyond", flush=True)


def print_looks(model: GPTModel) -> None:
    """The numbers of LOOKS."""
    _, tokenizer = storyteller()
    for looks, head in HEADS_OF_LOOKS.items():
        ids = tuple(tokenizer.encode(f" {word}")[0] for word in looks)
        for name, x in zip(("query", "key"), query_and_key(model, head, ids), strict=True):
            print(f"{looks}, {name}: {[round(n, 2) for n in x.tolist()]}")


if __name__ == "__main__":
    main()
