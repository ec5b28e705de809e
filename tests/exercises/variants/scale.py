"""Answers to the exercises of chapter 13."""

import math

import numpy as np
import torch
import torch.distributed as dist
from collecting import right, wrong_edits
from torch.distributed import all_reduce

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
    (_SUM, "12 * (weights + attention)", "2 times what it should be"),
    (_SUM, "6 * weights", "Attention's own products are missing"),
    (_SUM, "6 * weights + 2 * attention", "counted forward only"),
    (_SUM, "6 * (weights + attention / 2)", "the mask spares neither"),
    (_WEIGHTS, "12 * L * C * C ", "The output head is missing"),
    (_WEIGHTS, "12 * L * C * C + 2 * V * C ", "V times C is counted twice"),
    (_WEIGHTS, "12 * L * C * C + V * C + T * C ", "even with no layer"),
    (_WEIGHTS, "4 * L * C * C + V * C ", "a layer's matrices"),
    (_WEIGHTS, "12 * C * C + V * C ", "a layer's matrices"),
    (_WEIGHTS, "12 * L * C + V * C ", "a layer's matrices"),
    ("attention = 2 * L * T * C", "attention = 2 * T * C", "Attention's own products"),
    ("attention = 2 * L * T * C", 'attention = 2 * L * T * C * config["n_heads"]', "the cost is"),
)

# ---------------------------------------------------------------------------- average_gradients


@right("average_gradients")
def divided_first(model, processes):
    for _, parameter in model.named_parameters():
        if parameter.grad is not None:
            parameter.grad.mul_(1 / processes)
            all_reduce(parameter.grad, op=dist.ReduceOp.SUM)


@right("average_gradients")
def in_one_tensor(model, processes):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    flat = torch.cat([gradient.flatten() for gradient in gradients])
    dist.all_reduce(flat)
    start = 0
    for gradient in gradients:
        end = start + gradient.numel()
        gradient.copy_(flat[start:end].view_as(gradient) / processes)
        start = end


@right("average_gradients")
def all_on_their_way_at_once(model, processes):
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    sent = [dist.all_reduce(gradient, async_op=True) for gradient in gradients]
    for work, gradient in zip(sent, gradients, strict=True):
        work.wait()
        gradient /= processes


@right("average_gradients")
def gathered_in_a_list(model, processes):
    for parameter in model.parameters():
        if parameter.grad is not None:
            every = [torch.empty_like(parameter.grad) for _ in range(dist.get_world_size())]
            dist.all_gather(every, parameter.grad)
            parameter.grad = torch.stack(every).mean(dim=0)


@right("average_gradients")
def in_new_tensors(model, processes):
    for parameter in model.parameters():
        if parameter.grad is not None:
            total = parameter.grad.clone()
            dist.all_reduce(total)
            parameter.grad = total / processes
    return model


_ADD = "torch.distributed.all_reduce(parameter.grad)"
_DIVIDE = "parameter.grad /= processes"
_BOTH = f"            {_ADD}     # the sum, for every process\n            {_DIVIDE}\n"

wrong_edits(
    "average_gradients",
    (_DIVIDE, "pass", "That's the sum over all processes"),
    (_DIVIDE, "parameter.grad / processes", "That's the sum over all processes"),
    (_DIVIDE, "parameter.grad /= 2 * processes", "is 0.5 times what it should be"),
    (_DIVIDE, "parameter.grad /= 2", "divided by 2, and must be divided by the number of proc"),
    (_DIVIDE, "parameter.grad /= len(parameter)", "gradients["),
    (_DIVIDE, "parameter.grad /= processes**2", "once more: once is enough"),
    (_ADD, "pass", "nobody adds them up"),
    (_BOTH, "            gradient = parameter.grad.clone()\n"
            "            torch.distributed.all_reduce(gradient)\n"
            "            gradient = gradient / processes\n", "The gradients are as they were"),
    (_BOTH, "            torch.distributed.all_reduce(parameter)\n"
            "            parameter /= processes\n", "leaf Variable"),
    (_BOTH, "            torch.distributed.all_reduce(parameter.data)\n"
            "            parameter.data /= processes\n", "average parameter.grad"),
    (_BOTH, "            torch.distributed.all_reduce(parameter.data)\n", "you change the weights"),
    (_ADD, "torch.distributed.all_reduce(parameter.grad, torch.distributed.ReduceOp.AVG)",
     "can only add up"),
    ("        if parameter.grad is not None:\n", "        if True:\n", "frozen"),
    (_BOTH, f"            parameter.grad = {_ADD}\n", "returns None"),
    (_ADD, "torch.distributed.all_reduce(parameter.grad.clone())", "nobody adds them up"),
    (_BOTH, f"            {_ADD}\n            {_DIVIDE}\n            break\n",
     "go through every parameter"),
    (_BOTH, f"            {_ADD}\n            {_DIVIDE}\n            return\n",
     "go through every parameter"),
    (_BOTH, f"            if torch.distributed.get_rank() == 0:\n                {_ADD}\n",
     "would wait without end"),
    (_BOTH, f"            if torch.distributed.get_rank() == 0:\n                {_DIVIDE}\n",
     "have different gradients"),
    ("        if parameter.grad is not None:\n", "        if parameter.grad is None:\n",
     "The gradients are as they were"),
    ("        if parameter.grad is not None:\n", "        if parameter.requires_grad:\n"
     "            parameter.grad = None\n        if False:\n", "has no gradient any more"),
    (_BOTH, "            total = parameter.grad.sum()\n"
            "            torch.distributed.all_reduce(total)\n"
            "            parameter.grad = total / processes\n", "assign a gradient of size"),
)

# ---------------------------------------------------------------------------------- shared_step

_MEAN = """\
    for parameter in model.parameters():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= processes
"""
_CLIP = "    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"


@right("shared_step")
def with_rows_side_by_side(model, optimizer, inputs, targets, rank, processes):
    share = len(inputs) // processes
    rows = slice(rank * share, (rank + 1) * share)
    loss = torch.nn.functional.cross_entropy(
        model(inputs[rows]).flatten(0, 1), targets[rows].flatten())
    model.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        dist.all_reduce(parameter.grad)
        parameter.grad /= processes
    torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


wrong_edits(
    "shared_step",
    (_MEAN + _CLIP, _CLIP + _MEAN + _CLIP, "weights["),
    ("    loss.backward()\n", "", "everywhere before backward"),
    (_MEAN, "    if rank == 0:\n" + "".join(
        f"    {line}\n" for line in _MEAN.splitlines()), "would wait without end"),
    ("inputs[rank::processes], targets[rank::processes]", "inputs, targets", "nothing is gained"),
    ("    optimizer.step()\n", "", "weights["),
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
    (_RETURN, "start.exp().item(), slope.item()", "opposite sign"),
    (_RETURN, "start.item(), -slope.item()", "logarithms of the right numbers"),
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
)
