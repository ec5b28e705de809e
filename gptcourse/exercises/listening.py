"""Listening to the parts of a model while it runs: which of them first reads what it should not."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

# What a part should read, or the model return, made of what was written by name; and that in words.
Wanted = tuple[Callable[[Mapping[str, Tensor]], Tensor], str]


def first_of(given: tuple, named: Mapping) -> Any:
    """The first argument of a call, whether it was given by place or by name."""
    return [*given, *named.values()][0]


def overheard(**parts: nn.Module) -> dict[str, list[tuple[Tensor, Tensor]]]:
    """What each part reads and writes from now on, call by call, under its name."""
    calls = {name: [] for name in parts}
    for name, part in parts.items():
        part.register_forward_hook(
            lambda _part, given, named, result, heard=calls[name]:
                heard.append((first_of(given, named).clone(), result.clone())), with_kwargs=True)
    return calls


def first_misread(model: nn.Module, x: Tensor, parts: Mapping[str, nn.Module],
                  reads: Mapping[str, Wanted], returns: Wanted,
                  known: Callable[[str, Tensor, Mapping], str | None] = lambda *_: None,
                  ) -> str | None:
    """Where the way of x through a model first goes wrong, part by part, in a sentence.

    `known` may explain what a part reads, from its name, that, and what was written before.
    """
    calls = overheard(**parts)
    result = model(x)
    written = {"x": x}
    for name, (wanted, words) in reads.items():
        if not calls[name]:
            return f"{name} is never called: call it like a function."
        if len(calls[name]) > 1:
            unused = next((other for other in reads if not calls[other]), None)
            rest = f", and {unused} never: once each" if unused else ": once is enough"
            return f"{name} is called {len(calls[name])} times{rest}."
        read, wrote = calls[name][0]
        if not _same(read, wanted(written)):
            others = {other: heard[0][1] for other, heard in calls.items()
                      if heard and other != name}
            return known(name, read, written) or (
                f"{name} reads {_as_a_sum(read, {'x': x, **others})}, but must read {words}.")
        written[name] = wrote
    wanted, words = returns
    if not _same(result, wanted(written)):
        return (f"Each part reads what it should, but you return {_as_a_sum(result, written)}: it "
                f"must be {words}.")
    return None


def _same(one: Tensor, other: Tensor) -> bool:
    """Whether the numbers are the same, in whatever shape; one may repeat the other for each text
    of a batch."""
    if one.numel() == other.numel():
        one = one.reshape(other.shape)
    return _fits(other, one) and torch.allclose(one.double(), other.double(), rtol=1e-4, atol=1e-5)


def _fits(small: Tensor, large: Tensor) -> bool:
    return large.shape[large.dim() - small.dim() :] == small.shape


def _as_a_sum(total: Tensor, written: Mapping[str, Tensor]) -> str:
    """How a tensor is made of others: "x + 2 attention(...)"."""
    terms = {name: term.expand_as(total) for name, term in written.items() if _fits(term, total)}
    if not terms or total.numel() < 2 * len(terms):
        return "something else"
    columns = torch.stack([term.flatten() for term in terms.values()], dim=1).double()
    factors = torch.linalg.lstsq(columns, total.double().flatten()[:, None]).solution[:, 0]
    if not _same(columns @ factors, total.flatten()):
        return "something else"
    words = [_times(factor, name) for factor, name in zip(factors.tolist(), terms, strict=True)
             if abs(factor) > 1e-3]
    return " ".join(words).removeprefix("+ ") or "0"


def _times(factor: float, name: str) -> str:
    size = "" if abs(abs(factor) - 1) < 1e-3 else f"{abs(factor):.4g} "
    return f"{'-' if factor < 0 else '+'} {size}{name if name == 'x' else f'{name}(...)'}"
