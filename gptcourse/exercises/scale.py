"""Exercises of chapter 13: gradients that several processes share, and a step that they take
together. Nothing of them belongs into the learner's file; the library leaves this to torch."""

from __future__ import annotations

import copy
import inspect
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import wraps
from typing import Any, ClassVar

import torch
import torch.distributed as dist
from torch import Generator, Tensor, nn

from gptcourse.exercises.answers import TensorAnswer, number
from gptcourse.exercises.classes import filled
from gptcourse.exercises.exercise import TODO, Exercise, Property, Todo
from gptcourse.exercises.loops import in_a_row
from gptcourse.exercises.properties import normal
from gptcourse.exercises.resemblance import Trial
from gptcourse.gpt import next_token_loss

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
    """A step of the process number `rank`, on its rows of a batch (B, T); all take the same one."""
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
_PART = "inputs[rank::processes], targets[rank::processes]"

SHARED_STEP = Exercise(
    "13.shared_step",
    goal="Find the bug: two processes that take this step together should get the weights that one "
         "gets with the whole batch. Late in a run they do, but in its first steps they don't. "
         "Why?",
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
        ("        parameter.grad /= processes\n", "",
         "That's the step of the sum of all gradients: divide it by the number of processes."),
        (_PART, "inputs[:len(inputs) // processes], targets[:len(inputs) // processes]",
         "All processes read the same rows, so the rest of the batch is lost: each takes rows of "
         "its own, from `rank` on."),
        ("    loss.backward()\n", "",
         "Nobody computes a gradient: loss.backward() comes before they're averaged."),
    ],
    hints=(
        "In the first steps, gradients are long; later they're short. Which of these lines treats "
        "a long gradient otherwise than a short one?",
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

EXERCISES = (AVERAGE_GRADIENTS, SHARED_STEP)
