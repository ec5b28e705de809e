"""Judging a class: how it is built, and what it computes with weights that are given to it.

The names and shapes of its parameters are part of the task: by them, trained weights find their
place. Everything else may be written in any way.
"""

from __future__ import annotations

import copy
import difflib
import inspect
import zlib
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Generator, Tensor, nn

from gptcourse.exercises.exercise import Property, says_todo
from gptcourse.exercises.properties import same_gradients, settings


def unwritten(definition: Any) -> list[str]:
    """The methods of a class that still say TODO."""
    return [name for name, part in vars(definition).items()
            if inspect.isfunction(inspect.unwrap(part)) and says_todo(part)]


@torch.no_grad()
def filled(module: nn.Module) -> nn.Module:
    """The module with random numbers for all its weights: the same ones for the same names."""
    for name, tensor in sorted(module.state_dict(keep_vars=True).items()):   # tied: the last name
        generator = torch.Generator().manual_seed(zlib.crc32(name.encode()))
        if tensor.is_floating_point():
            tensor.copy_(0.5 * torch.randn(tensor.shape, generator=generator))
    return module


def run_filled(cls: type, config: str = "config", x: str = "x") -> Callable:
    """A trial: build the class with a configuration, fill it with weights, and call it.

    `config` and `x` are what messages call the two. A symptom may `build` the layer alone, and
    listen to its parts.
    """

    def build(config):
        return filled(cls(config)).eval()

    def answer(config, x):
        return build(config)(x)

    answer.build = build
    answer.__signature__ = inspect.Signature(
        inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in (config, x))
    return answer


def fits(solution: type, arguments: Sequence) -> Callable[[type], str | None]:
    """A `structure`: parameters named and shaped as the solution's, built with each argument."""

    def problem(cls: type) -> str | None:
        if not issubclass(cls, nn.Module):
            return f"{cls.__name__} is no layer yet: write class {cls.__name__}(nn.Module)."
        for argument in arguments:
            layer, wanted = cls(argument), solution(argument).state_dict()
            mine = layer.state_dict()
            for name in wanted:
                if name not in mine and isinstance(getattr(layer, name, None), Tensor):
                    return f"{name} is a plain tensor, which is not learned: nn.Parameter(...)."
            if found := misfit(mine, wanted):
                return f"with {_short(argument)}, {found}"
        return None

    return problem


def misfit(mine: Mapping[str, Tensor], wanted: Mapping[str, Tensor]) -> str | None:
    """The first difference in the names or shapes of parameters and buffers, in a sentence."""
    extra = [name for name in mine if name not in wanted]
    for name, tensor in wanted.items():
        if name in mine:
            continue
        shape = tuple(tensor.shape)
        alike = [other for other in extra if mine[other].shape == tensor.shape]
        if alike:
            nearest = difflib.get_close_matches(name, alike, n=1, cutoff=0.0)[0]
            if nearest.startswith(f"{name}."):
                return f"{name} is a layer, but must be a parameter: nn.Parameter(...)."
            if name.startswith(f"{nearest}."):
                return f"{nearest} is a parameter, but must be a layer, which has {name}."
            part, _, own = name.rpartition(".")
            if nearest.startswith(f"{part}."):
                return (f"{part} is a layer without {own}: take the one that you wrote yourself, "
                        "and not torch's, for trained weights find their place by name.")
            return (f"it has no {name}, but {nearest}, of the same shape: trained weights find "
                    f"their place by name, so call it {part or own}.")
        return (f"it has no {name} of shape {shape}: make it in __init__, as a layer or an "
                "nn.Parameter, under this name, by which trained weights find their place.")
    for name in extra:
        return (f"it has {name}, for which there are no trained weights: leave it out, or, where "
                "it is a mask, write register_buffer(..., persistent=False).")
    for name, tensor in mine.items():
        shape, right = tuple(tensor.shape), tuple(wanted[name].shape)
        if shape != right:
            return f"{name} has shape {shape}, but must have {right}."
    return None


def _short(argument: Any) -> str:
    if isinstance(argument, Mapping):
        return ", ".join(f"{name}={value}" for name, value in argument.items()
                         if name != "drop_rate")
    return f"emb_dim={argument}"


# ---------------------------------------------------------------------- facts that classes obey


def facts_of_a_layer(arguments: Callable[[Generator], tuple], solution: type,
                     drops: bool = True) -> list[Property]:
    """What every layer obeys that is called with these, a configuration and x."""
    facts = [no_look_ahead(arguments), gradients_reach_all(arguments, solution),
             forward_leaves_it_alone(arguments)]
    return [*facts, dropout_in_training_only(arguments)] if drops else facts


def gradients_reach_all(arguments: Callable[[Generator], tuple], solution: type) -> Property:
    """Every parameter, and x, gets the gradient that it gets in the solution."""

    def run(cls: type) -> tuple[Tensor, dict[str, Tensor]]:
        config, x = arguments(torch.Generator().manual_seed(1))
        module = filled(cls(config)).eval()
        leaves = dict(module.named_parameters())
        if x.is_floating_point():
            leaves["x"] = x.requires_grad_()
        return module(x), leaves

    return same_gradients("gradients reach every parameter", run, solution, of_class=True)


def forward_leaves_it_alone(arguments: Callable[[Generator], tuple]) -> Property:
    """To call a layer changes neither its numbers nor its settings, such as train and eval."""

    def broken(cls: type) -> str | None:
        config, x = arguments(torch.Generator().manual_seed(4))
        module = filled(cls(config))
        if not all(part.training for part in module.modules()):
            return "a fresh one must be ready for training: leave out .eval()."
        before = copy.deepcopy(module)
        module(x)
        after = module.state_dict()
        if settings(module) == settings(before) and all(
                torch.equal(after[name], old) for name, old in before.state_dict().items()):
            return None
        return ("forward changes the layer itself, its numbers or its settings: it only computes "
                "with them, so leave out eval(), and whatever is written into a weight.")

    return Property("forward leaves it alone", broken, of_class=True)


def dropout_in_training_only(arguments: Callable[[Generator], tuple]) -> Property:
    """Two passes differ in training with a drop rate of one half, and never else."""

    def broken(cls: type) -> str | None:
        config, x = arguments(torch.Generator().manual_seed(2))
        module = filled(cls({**config, "drop_rate": 0.5}))
        module.eval()
        if not torch.equal(module(x), module(x)):
            return ("in evaluation, two passes over the same input differ: make the dropout with "
                    "nn.Dropout in __init__, which model.eval() switches off.")
        module.train()
        if torch.equal(module(x), module(x)):
            return ("in training, nothing is dropped with drop_rate=0.5: make nn.Dropout("
                    "config[\"drop_rate\"]) in __init__, and call it in forward.")
        module = filled(cls({**config, "drop_rate": 0.0})).train()
        if not torch.equal(module(x), module(x)):
            return ("in training, something is dropped with drop_rate=0.0: the rate is the "
                    "configuration's, nn.Dropout(config[\"drop_rate\"]).")
        return None

    return Property("dropout in training only", broken, of_class=True)


def no_look_ahead(arguments: Callable[[Generator], tuple]) -> Property:
    """The last token of the input changes; nothing may change at those before it."""

    def broken(answer: Callable) -> str | None:
        config, x = arguments(torch.Generator().manual_seed(3))
        changed = x.clone()
        changed[:, -1] += 1
        if not x.is_floating_point():
            changed %= config["vocab_size"]
        before, after = (answer(config, one)[:, :-1] for one in (x, changed))
        if torch.allclose(before, after, rtol=1e-4, atol=1e-5):
            return None
        return ("a change of the last token changes what comes out for those before it: no token "
                "may see the future.")

    return Property("no look-ahead", broken)
