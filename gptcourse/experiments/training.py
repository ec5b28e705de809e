"""How a model begins, and how its loss falls."""

from __future__ import annotations

import copy
import csv
import math
from collections.abc import Iterable, Mapping, Sequence
from itertools import count, repeat
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from gptlib.corpus import storybook
from gptlib.data import join_documents
from gptlib.model import GPTModel
from gptlib.storyteller import MODEL, TRAINING, storyteller
from gptlib.tap import record
from gptlib.training import Step, TrainConfig, TrainingRun, next_token_loss

FINISHED = Path(__file__).parent / "finished_run.csv"
KEPT = ("step", "tokens", "loss", "validation_loss", "learning_rate", "gradient_norm")


def newborn_stream(config: Mapping, ids: Tensor, smaller: bool = True) -> float:
    """How large the numbers in a new model's residual stream are after its last block (root mean
    square); unless `smaller`, the matrices that write to the stream begin as large as all others.
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        model = GPTModel(config).eval()
    for block in () if smaller else model.blocks:
        for writer in (block.attention.output, block.feed_forward.contract):
            writer.weight.data *= math.sqrt(2 * len(model.blocks))
    top = f"blocks.{len(model.blocks) - 1}.residual_end"
    with torch.inference_mode(), record(model, top) as inside:
        model(ids)
    return inside[top].square().mean().sqrt().item()


def along_gradient(
    model: nn.Module, inputs: Tensor, targets: Tensor, distances: Sequence[float]
) -> tuple[list[float], float]:
    """The loss on a batch (B, T), after a walk of each of these distances from the model's weights
    straight against the gradient; and what the slope promises for a distance of 1."""
    loss = next_token_loss(model(inputs), targets)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    losses = []
    for distance in distances:
        walker = copy.deepcopy(model)
        with torch.no_grad():
            for weight, gradient in zip(walker.parameters(), gradients, strict=True):
                weight -= distance * gradient / norm
            losses.append(next_token_loss(walker(inputs), targets).item())
    return losses, norm.item()


def steps_in_valley(rule: type[Optimizer], steps: int = 30, **options) -> tuple[list, list]:
    """Where an optimizer walks on the loss 0.05 b² + 5 a², whose slopes are 0.1 b and 10 a, from
    b = 8 and a = 2 on.  -> all b, all a (steps + 1)"""
    place = nn.Parameter(torch.tensor([8.0, 2.0]))
    optimizer, way = rule([place], **options), [place.tolist()]
    for _ in range(steps):
        place.grad = torch.tensor([0.1, 10.0]) * place.detach()
        optimizer.step()
        way.append(place.tolist())
    return tuple(map(list, zip(*way, strict=True)))


def train_on(model: GPTModel, batches: Iterable[tuple[Tensor, Tensor]], rate: float,
             warmup_steps: int = 20) -> list[float]:
    """Train with AdamW, a step for each (inputs, targets), at a rate that first rises to `rate`.
    Returns the loss of each step."""
    rates = (rate * min(1, step / warmup_steps) for step in count(start=1))
    optimizer = torch.optim.AdamW(model.parameters(), fused=True)
    return _train_by(optimizer, rates, model, batches)


def _train_by(optimizer: Optimizer, rates: Iterable[float], model: nn.Module,
              batches: Iterable[tuple[Tensor, Tensor]]) -> list[float]:
    losses = []
    for (inputs, targets), rate in zip(batches, rates, strict=False):        # rates may be endless
        optimizer.param_groups[0]["lr"] = rate
        loss = next_token_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses


def table_of_a_friend(ids: Tensor, vocab_size: int, seed: int) -> tuple[nn.Embedding, float]:
    """What a table of one token learns from a text, ids (N), in 150 steps, where each row of its
    scores is compared with the token that it has read; and the loss of the last step."""
    table, generator = nn.Embedding(vocab_size, vocab_size), torch.Generator().manual_seed(seed)
    nn.init.zeros_(table.weight)
    starts = torch.randint(len(ids) - 31, (150, 32, 1), generator=generator)
    batches = ids[starts + torch.arange(32)]                                 # (steps, B, T)
    rule = torch.optim.SGD(table.parameters())
    return table, _train_by(rule, repeat(200.0), table, zip(batches, batches, strict=True))[-1]


def finished_run(path: Path = FINISHED) -> list[Step]:
    """The stored steps of a run with the settings that chapter 6's dashboard begins with. How fast
    they were is not kept."""
    with path.open(encoding="utf-8", newline="") as file:
        return [Step(int(row["step"]), int(row["tokens"]), float(row["loss"]),
                     float(row["validation_loss"]) if row["validation_loss"] else None,
                     float(row["learning_rate"]), float(row["gradient_norm"]), math.nan)
                for row in csv.DictReader(file)]


def run_to_store() -> TrainingRun:
    """The same run, about to begin; torch's own random state stays as it was."""
    tokenizer = storyteller()[1]
    texts, new = ([story.text for story in storybook.stories(count, seed=seed, part=part)]
                  for count, seed, part in ((10_000, 1, "train"), (100, 7, "validation")))
    config = TrainConfig(steps=300, **TRAINING, end_token=tokenizer.end_token)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = GPTModel({**MODEL, "n_layers": 1})
    return TrainingRun(model, join_documents(texts, tokenizer), join_documents(new, tokenizer),
                       config, device="cpu")


def store_run(steps: Iterable[Step], path: Path) -> None:
    """Write the steps of a run to a file, for `finished_run`; their numbers have six digits."""
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(KEPT)
        for step in steps:
            values = (getattr(step, name) for name in KEPT)
            writer.writerow([f"{value:.6g}" if isinstance(value, float) else value
                             for value in values])
