"""Random inputs for the trials, and facts that several exercises test."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch
from torch import Generator, Tensor, nn

from gptcourse.exercises.exercise import Property

CHANGED_IN_PLACE = (
    "the numbers are right, but torch cannot find the gradients, because something that they need "
    "was changed in place: write x = x + ... instead of x += ...")


def normal(generator: Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random numbers with mean 0 and variance 1."""
    return torch.randn(shape, generator=generator, dtype=dtype)


def equal(one: Tensor, other: Tensor) -> bool:
    """Whether two results are the same but for rounding."""
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def told_by(result: Tensor, ways: Sequence[tuple[Tensor, str]]) -> str | None:
    """What is to be said of the first of these ways that leads to the very same result."""
    return next((told for way, told in ways if equal(result, way)), None)


def settings(module: nn.Module) -> list:
    """All that may be switched in a module, besides its numbers."""
    return [*(part.training for part in module.modules()),
            *((x.dtype, x.requires_grad) for x in module.parameters())]


def gradient_reaches(names: tuple[str, ...], arguments: Callable[[Generator], tuple],
                     solution: Callable) -> Property:
    """Each of the first arguments, called `names`, gets the same gradient as in the solution."""

    def run(function: Callable) -> tuple[Tensor, dict[str, Tensor]]:
        given = arguments(torch.Generator().manual_seed(1))
        inputs = {name: x.requires_grad_() for name, x in zip(names, given, strict=False)}
        return function(*given), inputs

    return same_gradients("gradients pass", run, solution)


def same_gradients(name: str, run: Callable[[Callable], tuple[Tensor, dict[str, Tensor]]],
                   solution: Callable, of_class: bool = False) -> Property:
    """What an answer computes depends on its inputs and parameters smoothly, and as much as the
    solution does; `run` gives the result of either, and these tensors by name.

    Whoever takes numbers out of tensors on the way, cannot train what stands before.
    """

    def gradients(answer: Callable) -> dict[str, Tensor | None]:
        result, leaves = run(answer)
        if not result.requires_grad:
            return dict.fromkeys(leaves)
        weights = torch.linspace(0.5, 1.5, result.numel(), dtype=result.dtype).view(result.shape)
        found = torch.autograd.grad((result * weights).sum(), [*leaves.values()], allow_unused=True)
        return dict(zip(leaves, found, strict=True))

    def broken(answer: Callable) -> str | None:
        try:
            ours, theirs = map(gradients, (answer, solution))
        except RuntimeError:
            return CHANGED_IN_PLACE
        for leaf, expected in theirs.items():
            gradient = ours.get(leaf)
            if gradient is None:
                found = f"no gradient reaches {leaf}"
            elif torch.allclose(gradient, expected, rtol=1e-3, atol=1e-4):
                continue
            else:
                found = f"{'a part' if gradient.any() else 'all'} of the gradient of {leaf} is lost"
            return (f"the numbers are right, but {found}, so a model would not learn what it "
                    "should: stay with torch operations, without .item(), .tolist(), .numpy(), "
                    ".data, .detach(), no_grad() or torch.tensor(...).")
        return None

    return Property(name, broken, of_class)
