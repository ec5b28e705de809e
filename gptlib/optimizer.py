"""Chapter 5. How the weights move: AdamW, and a learning rate that rises, then sinks."""

from __future__ import annotations

import math

import torch
from torch import nn


def parameter_groups(model: nn.Module, weight_decay: float) -> list[dict]:
    """Matrices decay towards zero; biases, norms' scales and shifts do not.

    Decay keeps a matrix from growing without need. A vector has no such need: shrinking a norm's
    scale would only make the layer after it weaker.
    """
    parameters = list(model.parameters())
    return [
        {"params": [p for p in parameters if p.dim() >= 2], "weight_decay": weight_decay},
        {"params": [p for p in parameters if p.dim() < 2], "weight_decay": 0.0},
    ]


def adamw(model: nn.Module, learning_rate: float, weight_decay: float, betas: tuple[float, float]):
    """AdamW over the groups above.  Loshchilov and Hutter (2019), "Decoupled Weight Decay"."""
    groups = parameter_groups(model, weight_decay)
    return torch.optim.AdamW(groups, lr=learning_rate, betas=betas, fused=True)


def learning_rate_at(step: int, steps: int, peak: float, warmup_steps: int) -> float:
    """The learning rate of step number `step`, counted from 0, in a run of `steps` steps.

    It climbs in a straight line to `peak` during the warm-up, while the optimizer's averages are
    still rough, and then follows half a cosine wave down to a tenth of the peak.
    """
    if step < warmup_steps:
        return peak * (step + 1) / warmup_steps
    progress = (step - warmup_steps) / max(1, steps - 1 - warmup_steps)       # 0 to 1
    floor = peak / 10
    return floor + (peak - floor) * (1 + math.cos(math.pi * min(progress, 1.0))) / 2
