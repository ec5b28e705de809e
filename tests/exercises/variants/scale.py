"""Answers to the exercises of chapter 13."""

import math

import numpy as np
import torch
from collecting import right, wrong_edits

from gptlib import GPTConfig, GPTModel
from gptlib import model as library

# ----------------------------------------------------------------------------- flops_per_token


@right("flops_per_token")
def three_times_the_forward_pass(config):
    return 3 * library.flops_per_token(GPTConfig(**config))


@right("flops_per_token")
def part_by_part(config):
    C, T = config["emb_dim"], config["context_length"]
    layer = 4 * C * C + 2 * C * 4 * C
    forward = config["n_layers"] * (2 * layer + 2 * T * C + 2 * T * C)
    forward += 2 * C * config["vocab_size"]
    backward = 2 * forward
    return forward + backward


@right("flops_per_token")
def read_off_a_model(config):
    with torch.device("meta"):
        model = GPTModel(config)
    weights = sum(part.weight.numel() for part in model.modules()
                  if isinstance(part, torch.nn.Linear))
    T, C = config["context_length"], config["emb_dim"]
    return float(6 * weights + 12 * config["n_layers"] * T * C)


_WEIGHTS = "12 * L * C * C + V * C "
_SUM = "6 * (weights + attention)"

wrong_edits(
    "flops_per_token",
    (_SUM, "2 * (weights + attention)", "the forward pass alone"),
    (_SUM, "4 * (weights + attention)", "the backward pass alone"),
    (_SUM, "3 * (weights + attention)", "each product comes with an addition"),
    (_SUM, "weights + attention", "counts 6 times"),
    (_SUM, "12 * (weights + attention)", "2 times what it should be"),
    (_SUM, "6 * weights", "Attention's own products are missing"),
    (_SUM, "6 * weights + 2 * attention", "counted forward only"),
    (_SUM, "6 * (weights + attention / 2)", "Half of attention's products"),
    (_WEIGHTS, "12 * L * C * C ", "The output head is missing"),
    (_WEIGHTS, "12 * L * C * C + 2 * V * C ", "V times C is counted twice"),
    (_WEIGHTS, "12 * L * C * C + V * C + T * C ", "even with no layer"),
    (_WEIGHTS, "4 * L * C * C + V * C ", "a layer's matrices"),
    (_WEIGHTS, "12 * C * C + V * C ", "a layer's matrices"),
    (_WEIGHTS, "12 * L * C + V * C ", "a layer's matrices"),
    ("attention = 2 * L * T * C", "attention = 2 * T * C", "Attention's own products"),
    ("attention = 2 * L * T * C", 'attention = 2 * L * T * C * config["n_heads"]', "the cost is"),
    (_SUM, "None", "it returns None"),
)

# ------------------------------------------------------------------------------- fit_power_law


@right("fit_power_law")
def with_numpy(x, y):
    slope, start = np.polyfit(np.log(x.numpy()), np.log(y.numpy()), 1)
    return np.exp(start), -slope


@right("fit_power_law")
def in_decades(x, y):
    across, up = x.log10(), y.log10()
    n = len(x)
    slope = ((n * (across * up).sum() - across.sum() * up.sum())
             / (n * (across**2).sum() - across.sum() ** 2))
    return 10 ** ((up.sum() - slope * across.sum()) / n), -slope


@right("fit_power_law")
def with_lists(x, y):
    points = [(math.log(a), math.log(b)) for a, b in zip(x.tolist(), y.tolist(), strict=True)]
    middle, height = (sum(each) / len(points) for each in zip(*points, strict=True))
    slope = (sum((a - middle) * (b - height) for a, b in points)
             / sum((a - middle) ** 2 for a, _ in points))
    return [math.exp(height - slope * middle), -slope]


@right("fit_power_law")
def by_least_squares(x, y):
    rows = torch.stack([torch.ones_like(x), -x.log()], dim=1).double()
    start, exponent = torch.linalg.lstsq(rows, y.log().double()[:, None]).solution.flatten()
    return start.exp(), exponent


_SLOPE = "(from_mean * (up - up.mean())).sum() / (from_mean * from_mean).sum()"
_RETURN = "start.exp().item(), -slope.item()"

wrong_edits(
    "fit_power_law",
    (_RETURN, "start.exp().item(), slope.item()", "wrong sign"),
    (_RETURN, "start.item(), -slope.item()", "still a logarithm"),
    (_RETURN, "start.item(), slope.item()", "logarithms of the right numbers"),
    (_RETURN, "-slope.item(), start.exp().item()", "wrong order"),
    (_RETURN, "10 ** start.item(), -slope.item()", "don't fit"),
    (_RETURN, "-slope.item()", "must return 2 things"),
    ("x.log(), y.log()", "x.log10(), y.log10()", "don't fit"),
    ("x.log(), y.log()", "x, y", "a straight line through x and y themselves"),
    ("x.log(), y.log()", "x, y.log()", "The logarithm of x is missing"),
    ("x.log(), y.log()", "x.log(), y", "The logarithm of y is missing"),
    ("x.log(), y.log()", "y.log(), x.log()", "changed places"),
    ("across - across.mean()", "across", "Take the mean away"),
    (_SLOPE, "(across * up).sum() / (across * across).sum()", "Take the mean away"),
    ("up.mean() - slope * across.mean()", "up.mean()", "The exponent is right"),
    ("up.mean() - slope * across.mean()", "up.mean() + slope * across.mean()",
     "The exponent is right"),
    (_SLOPE, "(up[-1] - up[0]) / (across[-1] - across[0])", "first and the last point"),
    (_RETURN, "None", "it returns None"),
)
