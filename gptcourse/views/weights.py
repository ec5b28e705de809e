"""Random weights for what a view builds, while the learner's random numbers stay as they are.

A view acts while a cell runs, in a thread of its own. The random numbers of torch belong to all
threads together, so a view that seeds them, or draws from them, changes what the cell draws; and
one that puts them back afterwards takes away what the cell drew meanwhile.
"""

from __future__ import annotations

import torch
from torch.overrides import TorchFunctionMode

FILLING = {"normal_", "trunc_normal_", "uniform_", "kaiming_uniform_"}


class drawing_from(TorchFunctionMode):  # noqa: N801 - reads as what it does: with drawing_from(g)
    """Within the block, and in this thread only, new weights are drawn from `generator`.

    They are those that `torch.manual_seed` of the same seed would give.
    """

    def __init__(self, generator: torch.Generator):
        super().__init__()
        self.generator = generator

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        if function.__name__ in FILLING:
            kwargs = {**kwargs, "generator": self.generator}
        return function(*args, **kwargs)
