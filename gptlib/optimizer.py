"""Chapter 6. How the weights move: AdamW, Muon, and a learning rate that rises, then sinks."""

from __future__ import annotations

import math

import torch
from torch import nn
from torch.optim import Optimizer

from gptlib.model import GPTModel


def hidden_matrices(model: GPTModel) -> list[nn.Parameter]:
    """The matrices inside the blocks: all that turn one vector of the stream into another."""
    return [parameter for parameter in model.blocks.parameters() if parameter.dim() == 2]


def parameter_groups(parameters: list[nn.Parameter], weight_decay: float) -> list[dict]:
    """Matrices decay towards zero; biases, norms' scales and shifts do not.

    Decay keeps a matrix from growing without need. A vector has no such need: shrinking a norm's
    scale would only make the layer after it weaker.
    """
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def adamw(
    parameters: list[nn.Parameter], learning_rate: float, weight_decay: float, beta2: float
) -> Optimizer:
    """Each number moves by its own average gradient over its usual size.

    Loshchilov and Hutter (2019), "Decoupled Weight Decay Regularization".
    """
    groups = parameter_groups(parameters, weight_decay)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=(0.9, beta2), fused=True)


def muon(
    model: GPTModel, learning_rate: float, adamw_learning_rate: float, weight_decay: float,
    beta2: float,
) -> list[Optimizer]:
    """Muon for the hidden matrices, AdamW for all the rest.

    AdamW looks at each number of a matrix alone, Muon at the matrix as a whole: it moves all its
    directions by the same amount, the weak ones too.  Jordan et al. (2024), "Muon".
    """
    hidden = hidden_matrices(model)
    taken = set(map(id, hidden))
    rest = [parameter for parameter in model.parameters() if id(parameter) not in taken]
    return [
        torch.optim.Muon(hidden, lr=learning_rate, weight_decay=weight_decay),
        adamw(rest, adamw_learning_rate, weight_decay, beta2),
    ]


def share_of_peak(step: int, steps: int, warmup_steps: int, schedule: str = "cosine") -> float:
    """What part of its peak the learning rate has at `step`, counted from 0, of `steps`.

    It climbs in a straight line during the warm-up, while the optimizer's averages are still
    rough, and then sinks: "cosine" follows half a wave down to a tenth, "linear" goes straight
    towards zero.
    """
    if step < warmup_steps:
        return (step + 1) / warmup_steps
    if schedule == "linear":
        return (steps - step) / (steps - warmup_steps)
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)       # 0 to 1
    return 0.1 + 0.9 * (1 + math.cos(math.pi * progress)) / 2
