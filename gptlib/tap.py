"""Look into a forward pass, or change it, without touching the model's code.

A `Tap` is a named place in a model: an identity module that hands on what it gets.

>>> with record(model) as activations:
...     logits = model(ids)
>>> activations["blocks.0.attention.weights"].shape     # (B, H, T, T)
"""

from __future__ import annotations

import difflib
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager

from torch import Tensor, nn

from gptlib.checks import shown


class Tap(nn.Module):
    """Returns its input. Its name is its path in the model, such as `blocks.0.residual_mid`."""

    def forward(self, x: Tensor) -> Tensor:
        return x

    @property
    def watched(self) -> bool:
        """True while somebody patches here, or records here in this thread: whoever looks into a
        model must not change what another thread, in which it learns, computes."""
        here = threading.get_ident()
        return any(getattr(hook, "thread", here) == here
                   for hook in tuple(self._forward_hooks.values()))


def taps(model: nn.Module) -> dict[str, Tap]:
    """Every tap of `model` by name, in the order of definition."""
    return {name: module for name, module in model.named_modules() if isinstance(module, Tap)}


@contextmanager
def record(model: nn.Module, *names: str) -> Iterator[dict[str, Tensor]]:
    """Collect what flows through the taps called `names` (all taps, if none is named).

    Yields a dictionary that fills while the model runs; where it runs several times, the last
    time stays. What it does in another thread, where it may be in training, is not collected.
    Tensors are detached. Raises ValueError for a name that is no tap, TypeError for a list of them.
    """
    for name in names:
        if not isinstance(name, str):
            raise TypeError(
                f"record got {shown(name)} as the name of a tap, but a name is a text: pass several "
                "one after the other, as in record(model, 'residual_start', 'blocks.0.residual_mid')."
            )
    activations: dict[str, Tensor] = {}
    thread = threading.get_ident()

    def keep(name: str) -> Callable:
        def hook(_tap, _inputs, output):
            if threading.get_ident() == thread:
                activations[name] = output.detach()
        hook.thread = thread
        return hook

    with _hooked(model, {name: keep(name) for name in names or taps(model)}):
        yield activations


@contextmanager
def patch(model: nn.Module, changes: Mapping[str, Callable[[Tensor], Tensor]]) -> Iterator[None]:
    """Replace what flows through a tap by `function(tensor)`, for each `{name: function}`.

    The function gets the tensor and returns one of the same shape, type and device.
    Raises ValueError for a name that is no tap and for a result that does not fit, TypeError for
    anything but a dictionary of functions.
    """
    if not isinstance(changes, Mapping) or not all(map(callable, changes.values())):
        raise TypeError(
            f"changes is {shown(changes)}, but must be a dictionary of functions: pass "
            "{'residual_start': lambda x: 2 * x}, for example."
        )

    def replace(name: str, function: Callable) -> Callable:
        def hook(_tap, _inputs, output):
            changed = function(output)
            if _form(changed) != _form(output):
                raise ValueError(
                    f"The patch of {name!r} returned {_form(changed)}, but must return "
                    f"{_form(output)}: change the values only."
                )
            return changed
        return hook

    with _hooked(model, {name: replace(name, function) for name, function in changes.items()}):
        yield


def _form(x) -> str:
    if not isinstance(x, Tensor):
        return shown(x)
    return f"a tensor of shape {tuple(x.shape)} and type {x.dtype} on {x.device}"


@contextmanager
def _hooked(model: nn.Module, hooks: Mapping[str, Callable]) -> Iterator[None]:
    """Register forward hooks by tap name; remove each of them again, whatever happens."""
    places = taps(model)
    with ExitStack() as stack:
        for name, hook in hooks.items():
            if name not in places:
                nearest = difflib.get_close_matches(str(name), places, n=1, cutoff=0.0)
                hint = f"did you mean {nearest[0]!r}?" if nearest else "this model has none."
                raise ValueError(f"No tap is called {shown(name)}; taps(model) lists them: {hint}")
            stack.callback(places[name].register_forward_hook(hook).remove)
        yield
