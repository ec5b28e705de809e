"""Exercises of chapter 13: what a token costs, gradients that several processes share, a step that
they take together, a straight line through measurements. Nothing of them belongs into the
learner's file; the library has them, or leaves them to torch."""

from __future__ import annotations

import copy
import inspect
import math
import sys
from collections.abc import Callable, Mapping
from functools import wraps
from typing import Any, ClassVar

import numpy as np
import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn

from gptcourse.exercises.answers import (
    NumberAnswer,
    SeveralAnswers,
    TensorAnswer,
    number,
    scalar,
)
from gptcourse.exercises.classes import filled
from gptcourse.exercises.exercise import TODO, Exercise, says_todo
from gptcourse.exercises.loops import in_a_row
from gptcourse.exercises.model import small_config
from gptcourse.exercises.properties import equal, normal, told_by
from gptcourse.gpt import next_token_loss

# ----------------------------------------------------------------------------- flops_per_token


def flops_per_token(config):
    """Additions and multiplications that a token costs in training.

    config has chapter 5's keys; how many heads there are makes no difference.
    Chowdhery et al. (2022), "PaLM: Scaling Language Modeling with Pathways", appendix B.
    """
    V, T = config["vocab_size"], config["context_length"]
    C, L = config["emb_dim"], config["n_layers"]
    weights = 12 * L * C * C + V * C               # each is multiplied once
    attention = 2 * L * T * C                      # queries by keys, weights by values
    return 6 * (weights + attention)


def _all_kinds_of_sizes(_generator: Generator):
    """Small and large; wide, deep, with a long context, with a large vocabulary."""
    yield (small_config(96, 16, 24, 4, 2),)
    yield (small_config(960, 128, 32, 1, 1),)
    yield (small_config(50_257, 1024, 768, 12, 12),)
    yield (small_config(300, 4096, 64, 8, 7),)


def _which_terms(answer: Callable, _config: Mapping) -> str | None:
    """How many times each kind of product is counted: found by moving one size at a time."""

    def cost(V: int = 70, T: int = 20, L: int = 3) -> float:
        return scalar(answer(small_config(V, T, 8, 1, L)))

    layer, longer = ((cost(T=T, L=5) - cost(T=T)) / 2 for T in (20, 40))
    context = (longer - layer) / 20 / 8                        # what T · C costs in each layer
    shares = {"a layer's matrices": (layer - 20 * 8 * context) / 8**2 / 72,
              "the output head": (cost(V=90) - cost()) / 20 / 8 / 6,
              "attention's products": context / 12}
    if all(math.isclose(share, 1, rel_tol=1e-4) for share in shares.values()):
        table = cost(T=40, L=0) - cost(L=0)
        return ("Each position costs you something even with no layer: rows of the tables are "
                "looked up, and nothing is multiplied." if table else None)
    for (part, wrong), told in _SHARES.items():
        if math.isclose(shares[part], wrong, rel_tol=1e-4, abs_tol=1e-6):
            return told
    worst, share = max(shares.items(), key=lambda item: abs(item[1] - 1))
    return (f"The share of {worst} is {number(share)} times what it should be: 12 C² weights in "
            "each layer, V C in the head, 2 T C products of attention in each layer, and 6 FLOPs "
            "for each.")


_SHARES = {
    ("the output head", 0):
        "The output head is missing: a matrix of V times C, and every token goes through it.",
    ("attention's products", 0):
        "Attention's own products are missing: each layer multiplies a query by T keys, and T "
        "weights by their values, C numbers each.",
    ("the output head", 2):
        "V times C is counted twice: the token embedding has as many numbers, but a row of it is "
        "only looked up.",
    ("attention's products", 1 / 3):
        "Attention's products are counted forward only: they have a backward pass, too, for "
        "queries and keys, weights and values.",
    ("attention's products", 1 / 2):
        "Attention's products are counted half. There are two of them, queries with keys and "
        "weights with values, and the mask spares neither: the whole square is computed.",
}
_SUM = "6 * (weights + attention)"

FLOPS_PER_TOKEN = Exercise(
    "13.flops_per_token",
    goal="Say what one token costs in training, from nothing but the sizes of a model.",
    source=inspect.getsource(flops_per_token),
    kept=False,
    returns=NumberAnswer("cost", rtol=1e-6),
    cases=_all_kinds_of_sizes,
    edits=[
        ("6 * (weights", "2 * (weights",
         "This is the forward pass alone: the backward pass costs twice as much again."),
        ("6 * (weights", "4 * (weights", "This is the backward pass alone: add the forward pass."),
        ("6 * (weights", "3 * (weights",
         "It is half: each product comes with an addition, which is a FLOP, too."),
        (_SUM, "(weights + attention)",
         "Each of them counts 6 times: multiplied and added, once forward and twice backward."),
    ],
    symptoms=[_which_terms],
    hints=(
        "The chapter has all the pieces: how many weights a token meets, which products attention "
        "adds to them, and how many FLOPs each of these costs forward and backward.",
        """
        1. the weights that are multiplied: 12 C² in each of L layers, and V C in the head
        2. attention's products: T C of queries by keys, T C of weights by values, in each layer
        3. 2 FLOPs for each of them forward, 4 backward
        """,
        """
        V, T = config["vocab_size"], config["context_length"]
        C, L = config["emb_dim"], config["n_layers"]
        weights = 12 * L * C * C + V * C
        attention = 2 * L * T * C
        return ...                            # forward and backward, of both
        """,
    ),
)

# ------------------------------------------------------- several processes, played one by one


class _Waits(BaseException):
    """A process has brought its tensor to an exchange that the others have not come to yet."""

    def __init__(self, brought: Tensor, kind: str):
        self.brought, self.kind = brought.detach().clone(), kind


class _Played(dist.ProcessGroup):
    """What `torch.distributed` exchanges by in a trial: it knows what all processes brought to
    the first exchanges, and stops this one at the next."""

    exchanges: ClassVar[list[list[Tensor]]] = []        # of the trial that runs

    def __init__(self, rank: int, count: int):
        super().__init__(rank, count)
        self.done = 0

    def _all(self, brought: Tensor, kind: str) -> Tensor:
        """What every process brought.  -> (count, ...)"""
        if self.done == len(self.exchanges):
            raise _Waits(brought, kind)
        self.done += 1
        return torch.stack(self.exchanges[self.done - 1])

    @torch.no_grad()
    def allreduce(self, tensors, options):
        if options.reduceOp != dist.ReduceOp.SUM:
            raise RuntimeError("here, all_reduce can only add up: let it add, without a second "
                               "argument, and divide the sum yourself")
        tensors[0].copy_(self._all(tensors[0], "all_reduce").sum(dim=0))
        return _done()

    @torch.no_grad()
    def allgather(self, outputs, inputs, _options):
        for output, one in zip(outputs[0], self._all(inputs[0], "all_gather"), strict=True):
            output.copy_(one)
        return _done()


def _done():
    finished = torch.futures.Future()
    finished.set_result(None)
    return torch._C._distributed_c10d._create_work_from_future(finished)


dist.Backend.register_backend(
    "played", lambda _store, rank, count, _timeout: _Played(rank, count), devices=["cpu"])


def together(work: Callable, count: int) -> list | str:
    """What work(rank) comes to in each of so many processes that exchange tensors; or, in a
    sentence, why they would wait for each other without end.

    None of them really runs: each is called again and again, one exchange further each time.
    """
    _Played.exchanges = []
    while True:
        results = [_as_process(work, rank, count) for rank in range(count)]
        waiting = [result for result in results if isinstance(result, _Waits)]
        if not waiting:
            return results
        if len(waiting) < count:
            return ("the processes would wait without end: one calls torch.distributed more often "
                    "than another, but each exchange needs all of them.")
        if len({(one.kind, one.brought.shape) for one in waiting}) > 1:
            return ("the processes bring tensors of different shapes to one exchange: all of them "
                    "must go through the parameters in the same order.")
        _Played.exchanges.append([one.brought for one in waiting])


def _as_process(work: Callable, rank: int, count: int) -> Any:
    hook = sys.excepthook                                   # torch changes it, and for good
    dist.init_process_group("played", store=dist.HashStore(), rank=rank, world_size=count)
    try:
        return work(rank)
    except _Waits as waits:
        return waits
    finally:
        dist.destroy_process_group()
        sys.excepthook = hook


# ---------------------------------------------------------------------------- average_gradients


def average_gradients(model, processes):
    """Make the gradient of each parameter that has one the mean over all processes, in place; each
    process calls this with its own model."""
    for parameter in model.parameters():
        if parameter.grad is not None:
            torch.distributed.all_reduce(parameter.grad)     # the sum, for every process
            parameter.grad /= processes


class OfAllProcesses(TensorAnswer):
    """What each process is left with; or, in a sentence, what else they do."""

    def malformed(self, answer: Any, expected: Tensor) -> str | None:
        return answer if isinstance(answer, str) else super().malformed(answer, expected)


def _joined(ended: list | str) -> Tensor | str:
    """What the processes came to, as rows; a sentence where there is one to say."""
    told = [ended] if isinstance(ended, str) else [one for one in ended if isinstance(one, str)]
    return told[0] if told else torch.stack(ended)


def _with_gradients(model: nn.Module, rank: int) -> nn.Module:
    """The model as this process has it: the same weights, and gradients of its own."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(rank)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = normal(generator, *parameter.shape) + rank
    return model


def _gradients(model: nn.Module) -> Tensor:
    return torch.cat([parameter.grad.flatten() for parameter in model.parameters()
                      if parameter.grad is not None])


def run_averaging(average: Callable) -> Callable:
    """A trial: all processes call it, each with its own gradients.  -> (processes, numbers)"""

    @wraps(average)
    def answer(model, processes):
        def work(rank: int) -> Tensor | str:
            one = _with_gradients(model, rank)
            average(one, processes)
            return _spoiled(one, model) or _gradients(one)

        return TODO if says_todo(average) else _joined(together(work, processes))

    return answer


def _spoiled(model: nn.Module, before: nn.Module) -> str | None:
    """Whether more has changed in a model than the numbers of its gradients."""
    if not torch.allclose(in_a_row(model), in_a_row(before)):
        return ("you change the weights, parameter: all processes have the same ones already, and "
                "what differs is parameter.grad.")
    for name, parameter in model.named_parameters():
        if parameter.grad is not None and not parameter.requires_grad:
            return f"afterward, {name} has a gradient, though it had none: leave those alone."
        if parameter.grad is None and parameter.requires_grad:
            return (f"afterward, {name} has no gradient any more: all_reduce changes its tensor in "
                    "place, and returns None.")
    return None


def _where_they_come_from(answer: Callable, model: nn.Module, processes: int) -> str | None:
    """How the gradients came to be what they are."""
    own = torch.stack([_gradients(_with_gradients(model, rank)) for rank in range(processes)])
    got, mean = answer(copy.deepcopy(model), processes), own.mean(dim=0)
    ways = [
        (own, "The gradients are as they were: average parameter.grad, and in place, for `grad = "
              "grad / processes` only gives the name to a new tensor."),
        (processes * mean.expand_as(own),
         "That's the sum over all processes: divide it by their number."),
        (own / processes, "Each process divides its own gradient, but nobody adds them up: "
                          "all_reduce does that."),
        (mean.expand_as(own) / processes, "That's the mean divided by the number of processes once "
                                          "more: once is enough."),
    ]
    if told := told_by(got, ways):
        return told
    if torch.isclose(got, mean, rtol=1e-4, atol=1e-5).all(dim=0).any():
        return "Some gradients are the mean, but not all of them: go through every parameter."
    if not equal(got, got[:1].expand_as(got)):
        return "Afterward the processes have different gradients: all must end with the mean."
    divisor = processes * mean.norm() / got[0].norm()
    if equal(got[0] * divisor, processes * mean):
        return (f"The sum is divided by {number(divisor.item())}, and must be divided by the "
                f"number of processes, {processes}.")
    return None


def _models(generator: Generator):
    """A layer, several, frozen ones; single numbers; many processes, and one that is alone."""
    for model, processes in (
        (nn.Linear(3, 2), 2), (nn.Sequential(nn.Linear(1, 1), nn.LayerNorm(4)), 3),
        (nn.Linear(2, 1, bias=False), 1), (nn.Embedding(5, 3), 4),
    ):
        yield filled(model), processes
    frozen = nn.Sequential(nn.Linear(2, 3), nn.Linear(3, 2))
    frozen[0].requires_grad_(False)
    yield filled(frozen), 2


_ADD = "torch.distributed.all_reduce(parameter.grad)"
_BOTH = """\
            torch.distributed.all_reduce(parameter.grad)     # the sum, for every process
            parameter.grad /= processes
"""

AVERAGE_GRADIENTS = Exercise(
    "13.average_gradients",
    goal="Let several processes, each with gradients of its own, all end with the mean of them.",
    source=inspect.getsource(average_gradients),
    kept=False,
    returns=OfAllProcesses("gradients", ("processes", "numbers")),
    cases=_models,
    use=run_averaging,
    changes_inputs=True,
    edits=[
        (_BOTH, "            parameter.grad = torch.distributed.all_reduce(parameter.grad) / "
                "processes\n",
         "all_reduce returns None: it writes the sum into the very tensor that you give it."),
        (_ADD, f"parameter.grad = {_ADD}",
         "What all_reduce returns is None, and you put that in the gradient's place: call it, and "
         "look into the tensor that you gave it."),
        (_ADD, "torch.distributed.reduce(parameter.grad, 0)",
         "Take all_reduce, which brings the sum to every process: reduce brings it to one only, "
         "and broadcast brings one process's own gradient to all."),
        (_BOTH, "            mean = parameter.grad.mean()\n"
                "            torch.distributed.all_reduce(mean)\n"
                "            parameter.grad.fill_(mean / processes)\n",
         "You average the numbers of a gradient: each number stays by itself, and is averaged with "
         "those at the same place in the other processes."),
    ],
    symptoms=[_where_they_come_from],
    hints=(
        "Two processes hold 1 and 5 as the gradient of the same weight. What should both hold "
        "afterward? And what does torch.distributed.all_reduce leave with them?",
        """
        1. go through model.parameters(), in every process in the same order
        2. where a parameter has a gradient, parameter.grad, let all_reduce add it up, in place
        3. divide what it left there by the number of processes, in place
        """,
        """
        for parameter in model.parameters():
            if parameter.grad is not None:
                torch.distributed.all_reduce(parameter.grad)
                ...                               # from the sum to the mean
        """,
    ),
)

# ---------------------------------------------------------------------------------- shared_step


def shared_step(model, optimizer, inputs, targets, rank, processes):
    """A step of process number `rank`, on its rows of a batch (B, T) that all get. -> their loss"""
    inputs, targets = inputs[rank::processes], targets[rank::processes]     # (B / processes, T)
    loss = next_token_loss(model(inputs), targets)
    optimizer.zero_grad()
    loss.backward()
    for parameter in model.parameters():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= processes
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimizer.step()
    return loss.item()


def run_shared_step(step: Callable) -> Callable:
    """A trial: all processes take one step, on the same batch.  -> (processes, weights)"""

    def answer(model, inputs, targets, processes):
        def work(rank: int) -> Tensor | str:
            one, read = copy.deepcopy(model), []
            one.register_forward_pre_hook(lambda _, given: read.append(len(given[0])))
            step(one, torch.optim.SGD(one.parameters(), lr=0.1), inputs, targets, rank, processes)
            if sum(read) == len(inputs) // processes:
                return in_a_row(one)
            return (f"of {len(inputs)} rows, process {rank} reads {sum(read)}: each reads a share "
                    "of its own, or nothing is gained.")

        return _joined(together(work, processes))

    return answer


def _batches(generator: Generator):
    """Long gradients and short ones; two processes and more; one that is alone."""
    for B, T, processes, scale in ((4, 3, 2, 8), (6, 2, 3, 4), (2, 5, 1, 6), (8, 4, 4, 0.1)):
        model = filled(nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7)))
        model[1].weight.data.mul_(scale)
        ids = torch.randint(7, (B, T + 1), generator=generator)
        yield model, ids[:, :-1], ids[:, 1:], processes


_MEAN = """\
    for parameter in model.parameters():
        torch.distributed.all_reduce(parameter.grad)
        parameter.grad /= processes
"""
_CLIP = "    nn.utils.clip_grad_norm_(model.parameters(), 1.0)\n"
_DIVIDE = "        parameter.grad /= processes\n"
_PART = "inputs[rank::processes], targets[rank::processes]"

SHARED_STEP = Exercise(
    "13.shared_step",
    goal="Find the bug: two processes that take this step together should get the weights that one "
         "gets with the whole batch. A step late in a training comes out right, but one of the "
         "first doesn't. Why?",
    source=inspect.getsource(shared_step),
    kept=False,
    returns=OfAllProcesses("weights", ("processes", "weights")),
    cases=_batches,
    use=run_shared_step,
    changes_inputs=True,
    bug=(_MEAN + _CLIP, _CLIP + _MEAN,
         "The bug is still in there: no line is wrong by itself. Say for each of them what it does "
         "to a gradient of length 3, and to one of length 0.5."),
    edits=[
        (_CLIP, "",
         "Nothing cuts a long gradient any more: as with one process, its length is to be 1 at "
         "most when the optimizer uses it."),
        (_MEAN, "",
         "Each process goes its own way: before the optimizer steps, all must have the mean of "
         "their gradients."),
        (_DIVIDE + _CLIP, _CLIP + "    for parameter in model.parameters():\n" + _DIVIDE,
         "You clip the sum of the gradients, and divide it then: with one process, it's the mean "
         "that is clipped."),
        (_DIVIDE, "",
         "That's the step of the sum of all gradients: divide it by the number of processes."),
        (_PART, "inputs[:len(inputs) // processes], targets[:len(inputs) // processes]",
         "All processes read the same rows, so the rest of the batch is lost: each takes rows of "
         "its own, from `rank` on."),
    ],
    hints=(
        "In the first steps, gradients are long; later they're short. Which of these lines changes "
        "a long gradient, and leaves a short one as it is?",
        """
        1. one process with the whole batch: its gradient is the mean over all rows, and that mean
           is cut to length 1 where it's longer
        2. here: which gradient is cut, and which one is averaged?
        3. two gradients of length 3, in opposite directions, have the mean 0. What's left of them
           when they're cut first? And of one of length 9 and one of length 1, side by side?
        """,
        """
        loss.backward()
        for parameter in model.parameters():
            torch.distributed.all_reduce(parameter.grad)
            parameter.grad /= processes
        ...                                       # and only now
        optimizer.step()
        """,
    ),
)

# ------------------------------------------------------------------------------- fit_power_law


def fit_power_law(x, y):
    """The factor and the exponent with which y is about factor · x^(-exponent).

    x (N), y (N), all above 0 -> two numbers: the straight line through (ln x, ln y) from which
    the squares of the distances, up and down, have the least sum.
    """
    across, up = x.log(), y.log()                                                # (N)
    from_mean = across - across.mean()
    slope = (from_mean * (up - up.mean())).sum() / (from_mean * from_mean).sum()
    start = up.mean() - slope * across.mean()                                    # at ln x = 0
    return start.exp().item(), -slope.item()


def _points(generator: Generator):
    """On a line, beside one, few and many, rising, and some that stand in no order."""
    x = torch.tensor([1.0, 10.0, 100.0])
    yield x, 8 / x
    x = torch.tensor([100.0, 400.0, 900.0, 1600.0, 3000.0])
    yield x, 3 * x ** -0.5 * torch.tensor([1.1, 0.9, 1.05, 1.0, 0.97])
    x = 10 ** (1 + 3 * torch.rand(20, generator=generator))
    yield x, 40 * x ** -0.8 * torch.exp(0.2 * torch.randn(20, generator=generator))
    yield torch.tensor([2.0, 5.0]), torch.tensor([0.3, 0.9])


def _which_line(answer: Callable, x: Tensor, y: Tensor) -> str | None:
    """Which other line was taken, or how the right one was read off."""
    factor, exponent = map(scalar, answer(x.clone(), y.clone()))
    right_factor, right_exponent = fit_power_law(x, y)
    if _near(exponent, right_exponent):
        start, decade = math.log(right_factor), math.log(10)
        if _near(factor, math.exp(start / decade)) or _near(factor, 10**start):
            return ("Logarithm and exponential don't fit: after log10, the factor is 10 ** start, "
                    "and after log it is exp(start).")
        return ("The exponent is right, and the factor isn't: the line goes through the means, so "
                "ln(factor) is the mean of ln y minus slope times the mean of ln x.")
    if _near(exponent, right_factor):
        return "The two are right, and stand in the wrong order: first the factor."
    across, up = x.log(), y.log()
    uneven = "Take the mean away from both logarithms before you multiply and square them."
    slopes = [
        (_slope(up, across), "x and y have changed places: the slope is how much ln y rises where "
                             "ln x rises by 1."),
        (_slope(x, y), "That's a straight line through x and y themselves: take the logarithm of "
                       "both."),
        (_slope(x, up), "The logarithm of x is missing: take it of both."),
        (_slope(across, y), "The logarithm of y is missing: take it of both."),
        ((across * up).sum() / across.square().sum(), uneven),
        ((across * (up - up.mean())).sum() / across.square().sum(), uneven),
        ((up[-1] - up[0]) / (across[-1] - across[0]),
         "That's the line through the first and the last point: all of them count."),
    ]
    return next((told for slope, told in slopes if _near(abs(exponent), abs(slope))), None)


def _slope(across: Tensor, up: Tensor) -> float:
    """That of the straight line of least squares."""
    return np.polyfit(across.double(), up.double(), 1)[0]


def _near(one: float, other: float) -> bool:
    return math.isclose(one, other, rel_tol=1e-3, abs_tol=1e-6)


FIT_POWER_LAW = Exercise(
    "13.fit_power_law",
    goal="Find the power law that lies nearest to some measurements.",
    source=inspect.getsource(fit_power_law),
    kept=False,
    returns=SeveralAnswers((NumberAnswer("factor", 1e-3), NumberAnswer("exponent", 1e-3))),
    cases=_points,
    symptoms=[_which_line],
    hints=(
        "After a logarithm on both sides, y = factor · x^(-exponent) is a straight line: "
        "ln y = ln(factor) - exponent · ln x. So find that line, and read the two off.",
        """
        1. the logarithms of x and of y
        2. slope: the sum of (ln x - its mean) times (ln y - its mean), divided by the sum of
           the squares of (ln x - its mean)
        3. start: the mean of ln y, minus the slope times the mean of ln x
        4. the factor is exp(start), the exponent minus the slope
        """,
        """
        across, up = x.log(), y.log()
        from_mean = across - across.mean()
        slope = ...                           # two sums, and one division
        start = up.mean() - slope * across.mean()
        return start.exp().item(), -slope.item()
        """,
    ),
)

EXERCISES = (FLOPS_PER_TOKEN, AVERAGE_GRADIENTS, SHARED_STEP, FIT_POWER_LAW)
