"""Exercises of chapter 13: what a token costs, gradients that several processes share, a step that
they take together, a straight line through measurements. Nothing of them belongs into the
learner's file; the library has them, or leaves them to torch."""

from __future__ import annotations

import copy
import inspect
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
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
from gptcourse.exercises.exercise import TODO, Exercise, Property, Todo
from gptcourse.exercises.loops import in_a_row
from gptcourse.exercises.model import small_config
from gptcourse.exercises.properties import normal
from gptcourse.exercises.resemblance import Trial
from gptcourse.exercises.trial import NoAnswer
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
    def cost(V, T, C, L):
        try:
            return scalar(answer(small_config(V, T, C, 1, L)))
        except (TypeError, ValueError):
            raise NoAnswer from None                           # it is no number

    per_context = (cost(70, 40, 8, 3) - cost(70, 20, 8, 3)) / 20 / 8             # by L
    per_context_of_five = (cost(70, 40, 8, 5) - cost(70, 20, 8, 5)) / 20 / 8
    context = (per_context_of_five - per_context) / 2
    table = per_context - 3 * context                          # what T costs without any layer
    head = (cost(90, 20, 8, 3) - cost(70, 20, 8, 3)) / 20 / 8
    layer = (cost(70, 20, 8, 5) - cost(70, 20, 8, 3)) / 2
    matrices = (layer - context * 20 * 8) / 64
    found = {"a layer's matrices": (matrices, 72), "the output head": (head, 6),
             "attention's products": (context, 12)}
    shares = {name: got / wanted for name, (got, wanted) in found.items()}
    if all(math.isclose(share, 1, rel_tol=1e-4) for share in shares.values()):
        return ("Each position costs you something even with no layer: rows of the tables are "
                "looked up, and nothing is multiplied." if table > 1e-6 else None)
    return _one_of_them(shares)


def _one_of_them(shares: Mapping[str, float]) -> str:
    _, head, attention = shares.values()
    if math.isclose(head, 0, abs_tol=1e-6):
        return "The output head is missing: a matrix of V times C, and every token goes through it."
    if math.isclose(attention, 0, abs_tol=1e-6):
        return ("Attention's own products are missing: each layer multiplies a query by T keys, "
                "and T weights by their values, C numbers each.")
    if math.isclose(head, 2, rel_tol=1e-4):
        return ("V times C is counted twice: the token embedding has as many numbers, but a row of "
                "it is only looked up.")
    if math.isclose(attention, 1 / 3, rel_tol=1e-4):
        return ("Attention's products are counted forward only: they have a backward pass, too, "
                "for queries and keys, weights and values.")
    if math.isclose(attention, 1 / 2, rel_tol=1e-4):
        return ("Half of attention's products is missing: queries meet keys, and then weights meet "
                "values.")
    worst, share = max(shares.items(), key=lambda item: abs(item[1] - 1))
    return (f"The share of {worst} is {number(share)} times what it should be: 12 C² weights in "
            "each layer, V C in the head, 2 T C products of attention in each layer, and 6 FLOPs "
            "for each.")


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
        (" + V * C  ", "  ",
         "The output head is missing: a matrix of V times C, and every token goes through it."),
        (_SUM, "6 * weights",
         "Attention's own products are missing: each layer multiplies a query by T keys, and T "
         "weights by their values, C numbers each."),
        (_SUM, "6 * weights + 2 * attention",
         "Attention's products are counted forward only: they have a backward pass, too, for "
         "queries and keys, weights and values."),
        (" + V * C  ", " + 2 * V * C  ",
         "V times C is counted twice: the token embedding has as many numbers, but a row of it is "
         "only looked up."),
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
        if options.reduceOp == dist.ReduceOp.AVG:
            raise RuntimeError("Cannot use ReduceOp.AVG with Gloo")       # as it says itself
        every, ways = self._all(tensors[0], "all_reduce"), dist.ReduceOp
        for way, joined in ((ways.SUM, every.sum), (ways.PRODUCT, every.prod),
                            (ways.MAX, every.amax), (ways.MIN, every.amin)):
            if options.reduceOp == way:
                tensors[0].copy_(joined(dim=0))
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


@dataclass(frozen=True)
class Shared:
    """What several processes are left with, each its parameters by name."""

    before: list[dict[str, Tensor | None]]      # the gradients that they had
    gradients: list[dict[str, Tensor | None]]
    moved: bool                                 # whether the weights are others, too
    stuck: str = ""                             # why they don't come to an end


def _with_gradients(model: nn.Module, rank: int) -> nn.Module:
    """The model as this process has it: the same weights, and gradients of its own."""
    model, generator = copy.deepcopy(model), torch.Generator().manual_seed(rank)
    for parameter in model.parameters():
        if parameter.requires_grad:
            parameter.grad = normal(generator, *parameter.shape) + rank
    return model


def _gradients(model: nn.Module) -> dict[str, Tensor | None]:
    return {name: None if parameter.grad is None else parameter.grad.detach().clone()
            for name, parameter in model.named_parameters()}


def run_averaging(average: Callable) -> Callable:
    """A trial: all processes call it, each with its own gradients."""

    @wraps(average)
    def answer(model, processes):
        def work(rank: int):
            one = _with_gradients(model, rank)
            return average(one, processes), one

        before = [_gradients(_with_gradients(model, rank)) for rank in range(processes)]
        ended = together(work, processes)
        if isinstance(ended, str):
            return Shared(before, [], False, ended)
        if any(isinstance(result, Todo) for result, _ in ended):
            return TODO
        return Shared(before, [_gradients(one) for _, one in ended], any(
            not _close(weight, former)
            for _, one in ended
            for weight, former in zip(one.parameters(), model.parameters(), strict=True)))

    return answer


@dataclass(frozen=True)
class SharedAnswer:
    """The gradients of all processes."""

    name: str = "gradients"

    def malformed(self, answer: Shared, expected: Shared) -> str | None:
        if not isinstance(answer, Shared) or answer.stuck:
            return getattr(answer, "stuck", "it comes to no end.")
        for name, gradient, wanted in _beside(answer, expected):
            if (gradient is None) != (wanted is None):
                return (f"afterward, {name} has no gradient any more: all_reduce changes its "
                        "tensor in place, and returns None." if gradient is None else
                        f"afterward, {name} has a gradient, though it had none: leave those alone.")
            if wanted is not None and gradient.shape != wanted.shape:
                return (f"the gradient of {name} has shape {tuple(gradient.shape)}, but must have "
                        f"{tuple(wanted.shape)}.")
        return None

    def difference(self, answer: Shared, expected: Shared) -> str | None:
        for name, gradient, wanted in _beside(answer, expected):
            if wanted is not None and not _close(gradient, wanted):
                place = (~torch.isclose(gradient, wanted, rtol=1e-4, atol=1e-5)).nonzero()[0]
                got, right = (number(x[tuple(place)].item()) for x in (gradient, wanted))
                return f"a gradient of {name} is {got}, but the mean of all processes is {right}."
        return "the gradients are right, but the weights change, too." if answer.moved else None

    def alike(self, answer: Any, other: Any) -> bool:
        if not all(isinstance(x, Shared) for x in (answer, other)):
            return False
        if (answer.stuck, answer.moved) != (other.stuck, other.moved):
            return False
        return len(answer.gradients) == len(other.gradients) and all(
            (one is None) == (two is None) and (one is None or _close(one, two))
            for _, one, two in _beside(answer, other))

    def trace(self, trials: Sequence[Trial]) -> str | None:
        """How the gradients came to be what they are, in all trials that went wrong."""
        seen = [(trial.answer, trial.expected) for trial in trials]
        if any(not _comparable(*pair) for pair in seen):
            return None
        if any(answer.moved for answer, _ in seen):
            return ("You change the weights, parameter: all processes have the same ones already, "
                    "and what differs is parameter.grad.")
        rows = [tuple(map(_row, (answer.gradients, expected.gradients, expected.before)))
                for answer, expected in seen]
        return next((told for told, is_so in _ORIGINS.items() if all(is_so(*row) for row in rows)),
                    None) or _divisor(rows)


def _beside(answer: Shared, other: Shared):
    """Name, gradient and the other's gradient, of each parameter of each process."""
    for ours, theirs in zip(answer.gradients, other.gradients, strict=True):
        for name, gradient in theirs.items():
            yield name, ours[name], gradient


def _close(one: Tensor, other: Tensor) -> bool:
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _row(gradients: Sequence[dict[str, Tensor | None]]) -> Tensor:
    """Those of all processes.  -> (processes, all numbers)"""
    return torch.stack([torch.cat([x.flatten() for x in one.values() if x is not None])
                        for one in gradients])


def _comparable(answer: Shared, expected: Shared) -> bool:
    return not answer.stuck and all(
        (one is None) == (two is None) and (one is None or one.shape == two.shape)
        for _, one, two in _beside(answer, expected))


# What there is to say where, in every trial, the gradients with which processes are left, (P, N),
# come about in that way from their mean and from those that each had.
_ORIGINS: dict[str, Callable[[Tensor, Tensor, Tensor], bool]] = {
    "The gradients are as they were: average parameter.grad, and in place, for `grad = grad / "
    "processes` only gives the name to a new tensor.": lambda got, mean, own: _close(got, own),
    "That's the sum over all processes: divide it by their number.":
        lambda got, mean, own: _close(got, mean * len(own)),
    "Each process divides its own gradient, but nobody adds them up: all_reduce does that.":
        lambda got, mean, own: _close(got, own / len(own)),
    "That's the mean divided by the number of processes once more: once is enough.":
        lambda got, mean, own: _close(got, mean / len(own)),
    "Some gradients are the mean, but not all of them: go through every parameter.":
        lambda got, mean, own: torch.isclose(got, mean, rtol=1e-4, atol=1e-5).all(dim=0).any(),
    "Afterward the processes have different gradients: all must end with the mean.":
        lambda got, mean, own: not _close(got, got[:1].expand_as(got)),
}


def _divisor(rows: Sequence[tuple[Tensor, Tensor, Tensor]]) -> str | None:
    """By what the sum is divided in place of the number of processes, if it is always the same."""
    divisors = [(len(own) * (got * mean).sum() / (got * got).sum()).item()
                for got, mean, own in rows]
    if not all(_close(got * by, mean * len(own))
               for by, (got, mean, own) in zip(divisors, rows, strict=True)):
        return None
    if max(divisors) - min(divisors) < 1e-3:
        return f"The sum is divided by {number(divisors[0])} in every trial: divide by processes."
    return "The sum is divided by another number than that of the processes, and no other counts."


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
_NONE = """\
            torch.distributed.all_reduce(parameter.grad)     # the sum, for every process
            parameter.grad /= processes
"""

AVERAGE_GRADIENTS = Exercise(
    "13.average_gradients",
    goal="Let several processes, each with gradients of its own, all end with the mean of them.",
    source=inspect.getsource(average_gradients),
    kept=False,
    returns=SharedAnswer(),
    cases=_models,
    use=run_averaging,
    changes_inputs=True,
    edits=[
        ("        if parameter.grad is not None:\n", "        if True:\n",
         "A parameter may have no gradient, as where it's frozen: leave out those whose grad is "
         "None."),
        (_NONE, "            parameter.grad = torch.distributed.all_reduce(parameter.grad) / "
                "processes\n",
         "all_reduce returns None: it writes the sum into the very tensor that you give it."),
        (_ADD, f"parameter.grad = {_ADD}",
         "What all_reduce returns is None, and you put that in the gradient's place: call it, and "
         "look into the tensor that you gave it."),
        (_ADD, "torch.distributed.all_reduce(parameter.grad, torch.distributed.ReduceOp.AVG)",
         "Between processors, which torch connects by gloo, all_reduce can add up but not average: "
         "let it add, and divide the sum yourself."),
        (_ADD, "torch.distributed.all_reduce(parameter.grad, torch.distributed.ReduceOp.MAX)",
         "You take the largest of the gradients: all_reduce without a second argument adds them "
         "up."),
        (_ADD, "torch.distributed.all_reduce(parameter.grad, torch.distributed.ReduceOp.PRODUCT)",
         "You multiply the gradients: all_reduce without a second argument adds them up."),
        (_ADD, "torch.distributed.reduce(parameter.grad, 0)",
         "Take all_reduce, which brings the sum to every process: reduce brings it to one only, "
         "and broadcast brings one process's own gradient to all."),
        (_NONE, "            mean = parameter.grad.mean()\n"
                "            torch.distributed.all_reduce(mean)\n"
                "            parameter.grad.fill_(mean / processes)\n",
         "You average the numbers of a gradient: each number stays by itself, and is averaged with "
         "those at the same place in the other processes."),
    ],
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


class SteppedAnswer(TensorAnswer):
    """The weights with which each process is left, or why they wait without end."""

    def malformed(self, answer: Any, expected: Tensor) -> str | None:
        return answer if isinstance(answer, str) else super().malformed(answer, expected)


def run_shared_step(step: Callable) -> Callable:
    """A trial: all processes take one step, on the same batch.  -> (processes, weights)"""

    def answer(model, inputs, targets, processes):
        def work(rank: int) -> Tensor:
            one = copy.deepcopy(model)
            step(one, torch.optim.SGD(one.parameters(), lr=0.1), inputs, targets, rank, processes)
            return in_a_row(one)

        ended = together(work, processes)
        return ended if isinstance(ended, str) else torch.stack(ended)

    return answer


def _batches(generator: Generator):
    """Long gradients and short ones; two processes and more; one that is alone."""
    for B, T, processes, scale in ((4, 3, 2, 8), (6, 2, 3, 4), (2, 5, 1, 6), (8, 4, 4, 0.1)):
        model = filled(nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7)))
        model[1].weight.data.mul_(scale)
        ids = torch.randint(7, (B, T + 1), generator=generator)
        yield model, ids[:, :-1], ids[:, 1:], processes


def _reads_its_share(step: Callable) -> str | None:
    """Whether the processes together read the batch once."""
    read = []

    def work(rank: int) -> None:
        model = filled(nn.Sequential(nn.Embedding(7, 3), nn.Linear(3, 7)))
        handle = model.register_forward_pre_hook(lambda _, given: read.append(given[0]))
        step(model, torch.optim.SGD(model.parameters(), lr=0.1), ids, ids, rank, 2)
        handle.remove()

    ids = torch.arange(8).view(4, 2) % 7
    together(work, 2)
    rows = [len(x) for x in read[-2:]]
    return None if rows == [2, 2] else (
        f"of a batch of 4 rows, two processes read {rows[0]} and {rows[-1]}: each reads its own "
        "half, or nothing is gained.")


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
    returns=SteppedAnswer("weights", ("processes", "weights")),
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
        ("    loss.backward()\n", "",
         "Nobody computes a gradient: loss.backward() comes before they're averaged."),
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
    properties=[Property("each row is read by one process", _reads_its_share, of_class=True)],
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
    start, slope = _fitted(x.log(), y.log())
    swapped = _fitted(y.log(), x.log())

    def are(*wanted: float) -> bool:
        return all(math.isclose(got, one, rel_tol=1e-3, abs_tol=1e-6)
                   for got, one in zip((factor, exponent), wanted, strict=True))

    e = math.exp(start)
    ways = [
        ((e, slope), "The exponent has the wrong sign: y = factor · x^(-exponent), so where y "
         "falls, the exponent is above 0. It is minus the slope."),
        ((start, -slope), "Your factor is still a logarithm: where ln x is 0, the line is "
         "at ln(factor), so the factor is exp of that."),
        ((start, slope), "Your factor is still a logarithm, and the exponent is minus the "
         "slope."),
        ((-slope, e), "The two are right, and stand in the wrong order: first the factor."),
        ((math.exp(start / math.log(10)), -slope), "Logarithm and exponential don't fit: "
         "after log10, the factor is 10 ** start, and after log it is exp(start)."),
        ((10 ** start, -slope), "Logarithm and exponential don't fit: after log, the factor "
         "is exp(start), and after log10 it is 10 ** start."),
        ((math.exp(swapped[0]), -swapped[1]), "x and y have changed places: the slope is how much "
         "ln y rises where ln x rises by 1."),
    ]
    told = next((words for numbers, words in ways if are(*numbers)), None)
    if told:
        return told
    plain = _fitted(x, y)
    if are(plain[0], -plain[1]) or are(*plain):
        return "That's a straight line through x and y themselves: take the logarithm of both."
    for pair, which in (((x, y.log()), "x"), ((x.log(), y), "y")):
        if math.isclose(abs(exponent), abs(_fitted(*pair)[1]), rel_tol=1e-3):
            return f"The logarithm of {which} is missing: take it of both."
    across, up = x.log(), y.log()
    for height in (up, up - up.mean()):
        uneven = (across * height).sum() / across.square().sum()
        if math.isclose(abs(exponent), abs(uneven), rel_tol=1e-3):
            return "Take the mean away from both logarithms before you multiply and square them."
    if math.isclose(exponent, -slope, rel_tol=1e-3):
        return ("The exponent is right, and the factor isn't: the line goes through the means, so "
                "ln(factor) is the mean of ln y minus slope times the mean of ln x.")
    ends = (up[-1] - up[0]) / (across[-1] - across[0])
    if math.isclose(abs(exponent), abs(ends), rel_tol=1e-3):
        return "That's the line through the first and the last point: all of them count."
    return None


def _fitted(across: Tensor, up: Tensor) -> tuple[float, float]:
    """Start and slope of the straight line of least squares."""
    slope, start = np.polyfit(across.double(), up.double(), 1).tolist()
    return start, slope


FIT_POWER_LAW = Exercise(
    "13.fit_power_law",
    goal="Find the power law that lies nearest to some measurements.",
    source=inspect.getsource(fit_power_law),
    kept=False,
    returns=SeveralAnswers((NumberAnswer("factor", 1e-3), NumberAnswer("exponent", 1e-3))),
    cases=_points,
    edits=[
        ("-slope.item()", "slope.item()",
         "The exponent has the wrong sign: y = factor · x^(-exponent), so where y falls, the "
         "exponent is above 0. It is minus the slope."),
        ("start.exp()", "start",
         "Your factor is still a logarithm: where ln x is 0, the line is at ln(factor), so the "
         "factor is exp of that."),
        ("x.log(), y.log()", "x, y",
         "That's a straight line through x and y themselves: take the logarithm of both."),
        ("x.log(), y.log()", "y.log(), x.log()",
         "x and y have changed places: the slope is how much ln y rises where ln x rises by 1."),
        ("x.log(), y.log()", "x.log10(), y.log10()",
         "Logarithm and exponential don't fit: after log10, the factor is 10 ** start, and after "
         "log it is exp(start)."),
    ],
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
