"""Look into a forward pass, or change it, without touching the model's code.

A `Tap` is a named place in a model: an identity module that hands on what it gets.

>>> with record(model) as activations:
...     logits = model(ids)
>>> activations["blocks.0.attention.weights"].shape     # (B, H, T, T)
"""

from __future__ import annotations

import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from threading import get_ident

import torch
from torch import Tensor, nn

from gptlib.checks import nearest, shown


class Tap(nn.Module):
    """Returns its input. Its name is its path in the model, such as `blocks.0.residual_mid`."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @property
    def watched(self) -> bool:
        """True while somebody patches here, or records here in this thread: whoever looks into a
        model must not change what another thread, in which it learns, computes."""
        hooks = tuple(self._forward_hooks.values())  # another thread may remove one meanwhile
        return any(_concerns_this_thread(hook) for hook in hooks)


def taps(model: nn.Module) -> dict[str, Tap]:
    """Every tap of `model` by name, in the order of definition."""
    return {
        own_name(name): module for name, module in model.named_modules() if isinstance(module, Tap)
    }


def own_name(name: str) -> str:
    """The name of a module or weight without the `_orig_mod` that torch.compile puts into it."""
    return ".".join(part for part in name.split(".") if part != "_orig_mod")


@contextmanager
def record(model: nn.Module, *names: str) -> Iterator[dict[str, Tensor]]:
    """Collect what flows through the taps called `names` (all taps, if none is named).

    Yields a dictionary that fills while the model runs in this thread; the last time stays.
    Tensors are detached. A compiled model runs uncompiled for as long as somebody watches.
    Raises ValueError for a name that is no tap, TypeError for a list of them.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"record got {shown(name)} as the name of a tap, but a name is a text: pass more "
                "of them singly, as in record(model, 'residual_start', 'blocks.0.residual_mid')."
            )
    activations: dict[str, Tensor] = {}

    def keep(name: str) -> Callable:
        return lambda output: activations.update({name: output.detach()})

    with _watching(model, {name: keep(name) for name in names or taps(model)}, get_ident()):
        yield activations


@contextmanager
def patch(model: nn.Module, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Replace what flows through a tap by `function(tensor)`, for each `{name: function}`.

    The function returns a tensor of the same shape, type and device. A compiled model runs
    uncompiled meanwhile. Raises ValueError for a name that is no tap and for a result that does not
    fit, TypeError for anything but a dictionary of functions.
    """
    if not isinstance(changes, Mapping) or not all(map(callable, changes.values())):
        raise TypeError(
            f"changes is {shown(changes)}, but must be a dictionary of functions: pass "
            "{'residual_start': lambda x: 2 * x}, for example."
        )

    def replace(name: str, function: Callable) -> Callable:
        def checked(output: Tensor) -> Tensor:
            changed = function(output)
            if _form(changed) != _form(output):
                raise ValueError(
                    f"The patch of {name!r} returned {_form(changed)}, but must return "
                    f"{_form(output)}: change the values only."
                )
            return changed
        return checked

    with _watching(model, {name: replace(name, function) for name, function in changes.items()}):
        yield


def _form(x) -> str:
    if not isinstance(x, Tensor):
        return shown(x)
    return f"a tensor of shape {tuple(x.shape)} and type {x.dtype} on {x.device}"


@contextmanager
def _watching(
    model: nn.Module, functions: Mapping[str, Callable], thread: int | None = None
) -> Iterator[None]:
    """Call the functions at the taps of these names, where a thread is given in that one only."""
    places = taps(model)
    if not places:
        raise ValueError(
            f"This {type(model).__name__} has no taps, so nothing in it can be watched: pass a "
            "GPTModel or a part of one, as it is written or compiled."
        )
    for name in functions:
        if name not in places:
            raise ValueError(
                f"No tap is called {shown(name)}; taps(model) lists them: {nearest(name, places)}"
            )
    with _uncompiled(), ExitStack() as stack:
        for name, function in functions.items():
            hook = _hook(places[name], function, thread)
            stack.callback(places[name].register_forward_hook(hook).remove)
        yield


def _hook(place: Tap, function: Callable, thread: int | None) -> Callable:
    def hook(tap, _inputs, output):  # a copy that is made of the model copies its hooks, too
        if tap is place and _concerns_this_thread(hook):
            return function(output)
    hook.thread = thread
    return hook


def _concerns_this_thread(hook: Callable) -> bool:
    return getattr(hook, "thread", None) in (None, get_ident())


_lock, _eager, _watchers = threading.Lock(), ExitStack(), 0


@contextmanager
def _uncompiled() -> Iterator[None]:
    """Let every model run as it is written, in all threads, until the last watcher is gone.

    Compiled code takes no notice of hooks that came after it.
    """
    global _watchers
    if "torch._dynamo" not in sys.modules:  # nothing is compiled, and the import takes seconds
        yield
        return
    with _lock:
        _watchers += 1
        if _watchers == 1:
            _eager.enter_context(torch.compiler.set_stance("force_eager"))
    try:
        yield
    finally:
        with _lock:
            _watchers -= 1
            if _watchers == 0:
                _eager.close()
