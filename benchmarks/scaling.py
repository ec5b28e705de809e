"""Scaling laws of the town, where the floor is known: the stored runs, and what they predict.

    python benchmarks/scaling.py runs                makes gptcourse/experiments/scaling_runs.csv
    python benchmarks/scaling.py runs --seed 1 --out other.csv      ... once more, by other chances
    python benchmarks/scaling.py law                 what the runs say, with what is uncertain of it
    python benchmarks/scaling.py check               the prediction of chapter 13, run by run
    python benchmarks/scaling.py check --runs other.csv             ... from these runs
    python benchmarks/scaling.py rates               whether the learning rates are fair

Every run reads new sentences only and follows from its seed.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch

from gptcourse.experiments import scaling
from gptcourse.experiments.scaling import (
    RUNS,
    ScalingRun,
    affordable_batch,
    measured,
    nearest_width,
    scaling_runs,
    store,
    town_run,
    valleys,
)
from gptlib.scaling import PowerLaw, fit_power_law

WIDTHS = {  # for each budget in GFLOP those around the best
    6: (8, 16, 24, 32), 12: (8, 16, 24, 32), 24: (16, 24, 32, 48), 48: (16, 24, 32, 48),
    96: (16, 24, 32, 48),
}
LIVE = 288e9  # FLOPs of the run that is predicted: three times the largest budget


def trained(budget: float, emb_dim: int, seed: int) -> ScalingRun:
    run = town_run(emb_dim, affordable_batch(emb_dim, budget), seed)
    for _ in run:
        pass
    return measured(run, budget)


def runs(seed: int) -> Iterator[ScalingRun]:
    for gigaflops, widths in WIDTHS.items():
        for emb_dim in widths:
            run = trained(gigaflops * 1e9, emb_dim, seed)
            print(f"{gigaflops:3} GFLOP   C {emb_dim:3}   batches of {run.batch_size:4}   "
                  f"{run.loss_above_floor:.4f} nats/token above the floor", flush=True)
            yield run


def laws(stored: list[ScalingRun]) -> tuple[PowerLaw, PowerLaw]:
    """How the lowest loss and the best size go with the budget."""
    budgets, sizes, losses = zip(*valleys(stored), strict=True)
    return fit_power_law(budgets, losses), fit_power_law(budgets, sizes)


def law(stored: list[ScalingRun]) -> None:
    """The valleys, both laws, and how far they move when one budget is left out."""
    for valley in valleys(stored):
        print(f"{valley.budget / 1e9:4.0f} GFLOP   best {valley.parameters:8,.0f} parameters   "
              f"{valley.loss_above_floor:.4f} nats/token above the floor")
    loss, size = laws(stored)
    without = [laws([run for run in stored if run.budget != budget])
               for budget in sorted({run.budget for run in stored})]
    for name, found, others in (("loss falls", loss, [pair[0] for pair in without]),
                                ("best size grows", size, [pair[1] for pair in without])):
        span = sorted(abs(other.exponent) for other in others)
        print(f"the {name} by the power {abs(found.exponent):.3f} of the budget; "
              f"with one budget left out {span[0]:.3f} to {span[-1]:.3f}")
    print("all runs together: " + two_terms(stored))


def two_terms(stored: list[ScalingRun]) -> str:
    """The law of Hoffmann et al. (2022), A / N^a + B / D^b, with the exponents that leave the least
    squares of relative errors, out of a grid; A and B follow from them by linear equations."""
    N, D, loss = (np.array([getattr(run, name) for run in stored], dtype=float)
                  for name in ("parameters", "tokens", "loss_above_floor"))

    def fitted(a: float, b: float) -> tuple[float, float, float, float, float]:
        terms = np.stack([N**-a, D**-b], axis=1) / loss[:, None]
        factors = np.linalg.lstsq(terms, np.ones(len(loss)), rcond=None)[0]
        return np.mean((terms @ factors - 1) ** 2) ** 0.5, a, b, *factors

    grid = (fitted(a, b) for a in np.arange(0.1, 2.5, 0.02) for b in np.arange(0.1, 1.5, 0.01))
    error, a, b, A, B = min(found for found in grid if min(found[3:]) > 0)
    return (f"{A:.0f} / parameters^{a:.2f} + {B:.2f} / tokens^{b:.2f}, "
            f"off by {error:.1%} (root mean square)")


def check(stored: list[ScalingRun], seeds: int) -> None:
    """The prediction, and what runs of other seeds come to."""
    loss, size = laws(stored)
    emb_dim, predicted = nearest_width(size(LIVE)), loss(LIVE)
    print(f"predicted at {LIVE / 1e9:.0f} GFLOP: {size(LIVE):,.0f} parameters, so C = {emb_dim}; "
          f"{predicted:.4f} nats/token above the floor")
    ratios = []
    for seed in range(100, 100 + seeds):
        run = trained(LIVE, emb_dim, seed)
        ratios.append(run.loss_above_floor / predicted)
        print(f"seed {seed}: {run.loss_above_floor:.4f}, {ratios[-1]:.3f} of the prediction",
              flush=True)
    within = sum(abs(ratio - 1) <= 0.1 for ratio in ratios)
    print(f"{within} of {seeds} within 10 %; mean {statistics.mean(ratios):.3f}, from "
          f"{min(ratios):.3f} to {max(ratios):.3f}")


def rates() -> None:
    """The shortest and the longest runs, with half and with twice one of the learning rates."""
    for gigaflops, emb_dim in ((6, 16), (96, 16), (96, 32), (96, 64)):
        print(f"{gigaflops} GFLOP, C {emb_dim}: "
              f"{trained(gigaflops * 1e9, emb_dim, 0).loss_above_floor:.4f}", flush=True)
        for name in ("MUON_LEARNING_RATE", "ADAMW_LEARNING_RATE"):
            usual = getattr(scaling, name)
            for factor in (0.5, 2):
                setattr(scaling, name, factor * usual)
                run = trained(gigaflops * 1e9, emb_dim, 0)
                print(f"   {factor} x {name}: {run.loss_above_floor:.4f}", flush=True)
            setattr(scaling, name, usual)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("runs", "law", "check", "rates"))
    parser.add_argument("--seed", type=int, default=0, help="of the runs that are made")
    parser.add_argument("--out", type=Path, default=RUNS, help="where these go")
    parser.add_argument("--runs", type=Path, default=RUNS, help="those that are fitted")
    parser.add_argument("--seeds", type=int, default=5, help="with which the prediction is checked")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "runs":
        store(runs(arguments.seed), arguments.out)
    elif arguments.what == "law":
        law(scaling_runs(arguments.runs))
    elif arguments.what == "check":
        check(scaling_runs(arguments.runs), arguments.seeds)
    else:
        rates()


if __name__ == "__main__":
    main()
