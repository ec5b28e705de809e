"""A town where some people are talked about far more than others, and what it takes to know them.

In the storybook all words of a kind are equally likely. In real text a few things are mentioned
all the time and most of them hardly ever: the k-th most common word about 1/k times as often as
the first (Zipf's law). The town has that, and still a floor that is known.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterable
from functools import cache
from itertools import product
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from gptlib.config import GPTConfig
from gptlib.model import (
    GPTModel,
    count_parameters,
    evaluating,
    flops_per_token,
    parameters_by_part,
)
from gptlib.scaling import lowest_point
from gptlib.training import TrainConfig, TrainingRun

RUNS = Path(__file__).parent / "scaling_runs.csv"

# The words: 128 first names, 128 last names and 64 things to like, put together from parts.
def _put_together(beginnings: str, ends: str, space: str = "") -> list[str]:
    return [space.join(parts) for parts in product(beginnings.split(), ends.split())]


FIRST = _put_together("Al An Bel Cor Dar El Fin Jon Kal Lor Mar Nor Or Per Sam Tam",
                      "a ette ia in ina o on us")
LAST = _put_together("Ash Birch Black Bridge Brook Copper East Field Hill Long Oak River Stone "
                     "West White Wood", "bury by dale ford ham ley ton well")
LIKED = _put_together("red blue green yellow brown pink golden silver",
                      "apples kites hats boats drums lamps plums bells", space=" ")
ZIPF = 1.5  # person k is mentioned in proportion to 1 / k^1.5

# The recipe of every run: they differ in their width, and in how many sentences a step reads.
# Narrow models need larger steps of AdamW.
STEPS = 500
MUON_LEARNING_RATE = 0.035
ADAMW_LEARNING_RATE = 0.24  # divided by the square root of emb_dim


class Town(NamedTuple):
    """Everybody who lives there, the most talked about first."""

    sentences: Tensor  # (K, 4) ids: end of the one before, first name, last name, liked
    chances: Tensor    # (K) float64: how often each of them is what a sentence says
    words: list[str]   # (V) by id

    @property
    def floor(self) -> float:
        """The lowest loss there is, in nats per token: the entropy of who is talked about, for all
        else follows from that. A sentence is 4 tokens."""
        return -(self.chances * self.chances.log()).sum().item() / 4

    def text(self, n: int, seed: int) -> Tensor:
        """So many sentences by their chances, as one row of ids, closed.  -> (4n + 1)"""
        chance = torch.Generator().manual_seed(seed)
        who = torch.multinomial(self.chances, n, replacement=True, generator=chance)
        return torch.cat([self.sentences[who].flatten(), torch.tensor([0])])


@cache
def town() -> Town:
    """The town: who has which name, and who likes what, is drawn once and for all."""
    chance, people = torch.Generator().manual_seed(0), len(FIRST) * len(LAST)
    names = torch.randperm(people, generator=chance)
    liked = torch.randint(len(LIKED), (people,), generator=chance)
    words = ["<|endoftext|>", *FIRST, *LAST, *LIKED]
    first, last = 1 + names // len(LAST), 1 + len(FIRST) + names % len(LAST)
    sentences = [torch.zeros_like(names), first, last, len(words) - len(LIKED) + liked]
    rates = torch.arange(1, people + 1, dtype=torch.float64) ** -ZIPF
    return Town(torch.stack(sentences, dim=1), rates / rates.sum(), words)


def town_config(emb_dim: int) -> GPTConfig:
    """A model of the town: one block, heads of 8 numbers."""
    return GPTConfig(vocab_size=len(town().words), context_length=4, emb_dim=emb_dim,
                     n_heads=max(1, emb_dim // 8), n_layers=1, drop_rate=0.0, qkv_bias=False)


def town_run(emb_dim: int, batch_size: int, seed: int = 0, steps: int = STEPS) -> TrainingRun:
    """A new model of the town, about to be trained on sentences it has never read before; the run
    follows from its seed, and torch's own random state stays as it was."""
    config = TrainConfig(
        steps, batch_size, "muon", ADAMW_LEARNING_RATE / math.sqrt(emb_dim), MUON_LEARNING_RATE,
        schedule="linear", weight_decay=0.0, evaluate_every=steps, seed=seed,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = GPTModel(town_config(emb_dim))
    return TrainingRun(model, town().text(steps * batch_size, seed), None, config, device="cpu")


@torch.no_grad()
def loss_above_floor(model: GPTModel) -> float:
    """What a model of the town loses to the best one, in nats per token. Exact: each person counts
    by the chance to be talked about, and nobody is left out."""
    sentences, chances, _ = town()
    total = 0.0
    with evaluating(model):
        for rows, chance in zip(sentences.split(2048), chances.split(2048), strict=True):
            logs = model(rows).log_softmax(dim=-1)                               # (B, 4, V)
            targets = torch.cat([rows[:, 1:], rows[:, :1]], dim=1)               # (B, 4)
            surprises = -logs.gather(2, targets[..., None])[..., 0].mean(dim=1)  # (B)
            total += (chance * surprises).sum().item()
    return total - town().floor


def affordable_batch(emb_dim: int, flops: float) -> int:
    """How many sentences each step may read, where a model of this width has so large a budget."""
    return max(1, round(flops / (STEPS * training_flops(emb_dim, 4))))


def training_flops(emb_dim: int, tokens: int) -> float:
    """Of the forward passes, and twice as many for the backward passes."""
    return 3.0 * flops_per_token(town_config(emb_dim)) * tokens


class ScalingRun(NamedTuple):
    """A run of the past, as scaling_runs.csv has it."""

    budget: float            # FLOPs, in round numbers
    emb_dim: int
    batch_size: int          # sentences of 4 tokens that each step reads
    steps: int
    seed: int
    parameters: int
    tokens: int              # that it was trained on, each of them once
    flops: float             # of the whole training, as close to the budget as whole batches come
    loss_above_floor: float  # nats per token


def measured(run: TrainingRun, budget: float) -> ScalingRun:
    """What came out of a run that is over, and had this budget."""
    emb_dim, tokens = run.model.config.emb_dim, run.history[-1].tokens
    return ScalingRun(budget, emb_dim, run.config.batch_size, run.step, run.config.seed,
                      count_parameters(run.model), tokens, training_flops(emb_dim, tokens),
                      loss_above_floor(run.model))


def scaling_runs(path: Path = RUNS) -> list[ScalingRun]:
    """The stored runs, which `python benchmarks/scaling.py runs` makes."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file)
        return [ScalingRun(**{name: _number(text) for name, text in row.items()}) for row in rows]


def _number(text: str) -> float:
    return int(text) if text.isdecimal() else float(text)


def store(runs: Iterable[ScalingRun], path: Path) -> None:
    """Write runs to a file, one by one, as they come."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(ScalingRun._fields)
        for run in runs:
            writer.writerow(run)
            file.flush()


class Valley(NamedTuple):
    """The best that a budget buys."""

    budget: float            # FLOPs
    parameters: float        # of the best size, most often between two sizes that were tried
    loss_above_floor: float  # nats per token


def valleys(runs: Iterable[ScalingRun]) -> list[Valley]:
    """Of each budget the best size, and the loss it would have: the lowest point of a parabola
    through the runs."""
    by_budget = defaultdict(list)
    for run in runs:
        by_budget[run.budget].append((run.parameters, run.loss_above_floor))
    return [Valley(budget, *lowest_point(*zip(*points, strict=True)))
            for budget, points in sorted(by_budget.items())]


def nearest_width(parameters: float) -> int:
    """The emb_dim, a multiple of 8, whose model comes closest to so many parameters."""
    return min(range(8, 257, 8), key=lambda emb_dim: abs(
        math.log(sum(parameters_by_part(town_config(emb_dim)).values()) / parameters)))
