"""Chapter 2. Dropout whose chances can belong to somebody: to one training run, in one thread."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

import torch
from torch import Tensor, nn

# Every thread has its own, so that a run in one of them changes nothing in another.
_generator: ContextVar[torch.Generator | None] = ContextVar("generator", default=None)


@contextmanager
def dropping(generator: torch.Generator) -> Iterator[None]:
    """Every `Dropout` drops, in whatever mode it is, and draws from `generator`."""
    before = _generator.set(generator)
    try:
        yield
    finally:
        _generator.reset(before)


class Dropout(nn.Dropout):
    """Sets a share p of the numbers to 0, and divides the others by 1 - p to make up for it.

    Srivastava et al. (2014). Outside `dropping` it is torch's own layer: it works in training
    mode only, and draws from the random numbers that all share.
    """

    @property
    def seeded(self) -> bool:
        """Whether it drops with a generator of its own."""
        return self.p > 0 and _generator.get() is not None

    def forward(self, x: Tensor) -> Tensor:
        if not self.seeded:
            return super().forward(x)
        kept = torch.rand(x.shape, generator=_generator.get(), device=x.device) >= self.p
        return x * kept / (1 - self.p)
