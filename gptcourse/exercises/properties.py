"""Random inputs for the trials, and facts that several exercises test."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Generator, Tensor, nn

from gptcourse.exercises.exercise import Property

CHANGED_IN_PLACE = (
    "the numbers are right, but torch cannot find the gradients, because something that they need "
    "was changed in place: write x = x + ... instead of x += ...")


def normal(generator: Generator, *shape: int, dtype: torch.dtype = torch.float32) -> Tensor:
    """Random numbers with mean 0 and variance 1."""
    return torch.randn(shape, generator=generator, dtype=dtype)


def settings(module: nn.Module) -> list:
    """All that may be switched in a module, besides its numbers."""
    return [*(part.training for part in module.modules()),
            *((x.dtype, x.requires_grad) for x in module.parameters())]


def gradient_reaches(names: tuple[str, ...], arguments: Callable[[Generator], tuple],
                     solution: Callable) -> Property:
    """A change of each of the first arguments, called `names`, changes the result smoothly, and as
    much as it does with the solution.

    Whoever takes numbers out of tensors on the way, cannot train what stands before.
    """

    def broken(answer: Callable) -> str | None:
        try:
            ours, theirs = (_gradients(one, len(names), arguments) for one in (answer, solution))
        except RuntimeError:
            return CHANGED_IN_PLACE
        for name, gradient, expected in zip(names, ours, theirs, strict=True):
            if gradient is None or not gradient.isfinite().all() or not gradient.any():
                return (
                    f"the numbers are right, but no gradient reaches {name}, so a model could not "
                    "be trained through it: stay with torch operations, without .item(), "
                    ".tolist(), .numpy(), .detach() or torch.tensor(...)."
                )
            if not torch.allclose(gradient, expected, rtol=1e-3, atol=1e-4):
                return (
                    f"the numbers are right, but a part of the gradient of {name} is lost, so a "
                    "model would learn the wrong thing: something on the way is cut off by "
                    ".detach(), .item(), no_grad() or torch.tensor(...)."
                )
        return None

    return Property("gradients pass", broken)


def _gradients(function: Callable, n_inputs: int,
               arguments: Callable[[Generator], tuple]) -> list[Tensor | None]:
    """By how much a weighted sum of all results changes with each of the first arguments."""
    given = arguments(torch.Generator().manual_seed(1))
    inputs = [x.requires_grad_() for x in given[:n_inputs]]
    result = function(*inputs, *given[n_inputs:])
    if not result.requires_grad:
        return [None] * n_inputs
    weights = torch.linspace(0.5, 1.5, result.numel(), dtype=result.dtype).view(result.shape)
    return list(torch.autograd.grad((result * weights).sum(), inputs, allow_unused=True))


def overheard(**parts: nn.Module) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """What each part reads and writes from now on, call by call, under its name."""
    calls = {name: [] for name in parts}
    for name, part in parts.items():
        part.register_forward_hook(
            lambda _part, given, result, heard=calls[name]:
                heard.append((given[0].clone(), result.clone())))
    return calls


def called_once(calls: dict[str, list], x: Tensor) -> str | None:
    """Whether each part is called once with all of x, in a sentence if not."""
    for name, heard in calls.items():
        if not heard:
            return f"{name} is never called: call it like a function."
        if sum(read.shape == x.shape for read, _ in heard) > 1:
            return f"{name} is called more than once: once is enough."
    return None


def each_token_alone(arguments: Callable[[Generator], tuple]) -> Property:
    """The last token of x (B, T, C), the last argument, changes; nothing may at the others."""

    def broken(answer: Callable) -> str | None:
        *settings, x = arguments(torch.Generator().manual_seed(2))
        changed = x.clone()
        changed[..., -1, :] += 1
        before, after = (answer(*settings, one.clone()) for one in (x, changed))
        if torch.allclose(before[..., :-1, :], after[..., :-1, :], rtol=1e-4, atol=1e-5):
            return None
        return "a change of the last token changes others: each token must be treated by itself."

    return Property("each token by itself", broken)
