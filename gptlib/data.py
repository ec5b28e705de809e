"""Chapter 5. From one long row of token ids to batches of inputs and targets.

The target of every token is simply the token that follows it, so a window of T inputs needs
T + 1 ids, and one window holds T examples at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor


def as_ids(ids: Sequence[int] | Tensor) -> Tensor:
    """Token ids as one row of whole numbers, checked.  -> (N) int64"""
    ids = torch.as_tensor(ids)
    if ids.dim() != 1 or ids.is_floating_point() or ids.is_complex() or ids.dtype == torch.bool:
        raise TypeError(
            f"The token ids have shape {tuple(ids.shape)} and type {ids.dtype}, but must be one "
            "row of whole numbers: pass tokenizer.encode(text)."
        )
    return ids.to("cpu", torch.int64)


def windows(
    ids: Sequence[int] | Tensor, context_length: int, stride: int | None = None
) -> tuple[Tensor, Tensor]:
    """Cut a text into windows; the targets are the inputs moved on by one token.

    ids (N) -> inputs (W, T), targets (W, T), where T = context_length. A window starts every
    `stride` tokens; by default they follow each other without overlap.
    Raises a ValueError where the text is shorter than one window.
    """
    ids = as_ids(ids)
    stride = context_length if stride is None else stride
    if context_length < 1 or stride < 1:
        raise ValueError(
            f"context_length is {context_length} and stride is {stride}, but both must be at "
            "least 1: the usual stride is context_length itself."
        )
    if len(ids) < context_length + 1:
        raise ValueError(
            f"The text has {len(ids)} tokens, but one window of {context_length} inputs and their "
            f"targets needs {context_length + 1}: take a longer text or a shorter context."
        )
    pieces = ids.unfold(0, context_length + 1, stride)                   # (W, T + 1)
    return pieces[:, :-1], pieces[:, 1:]


def train_validation_split(
    ids: Sequence[int] | Tensor, validation_share: float = 0.1
) -> tuple[Tensor, Tensor]:
    """The first part of a text for training, the rest for validation: the model never sees it.

    ids (N) -> (N - n), (n). Nothing is shuffled, so no validation text leaks into training.
    """
    if not 0 < validation_share < 1:
        raise ValueError(
            f"validation_share is {validation_share}, but must lie between 0 and 1: "
            "0.1 keeps a tenth of the text for validation."
        )
    ids = as_ids(ids)
    cut = round(len(ids) * (1 - validation_share))
    return ids[:cut], ids[cut:]


class Batches:
    """All windows of a text in shuffled order, without replacement, epoch after epoch.

    Batch number `step` depends on the seed and on nothing else: whoever knows the step knows the
    place in the data, and a run that is resumed repeats no batch and leaves none out.
    """

    def __init__(
        self, ids: Sequence[int] | Tensor, context_length: int, batch_size: int, seed: int = 0
    ):
        self.ids = as_ids(ids)
        self.context_length = context_length
        self.batch_size = batch_size
        self.seed = seed
        self.n_windows = len(windows(self.ids, context_length)[0])
        if not 1 <= batch_size <= self.n_windows:
            raise ValueError(
                f"batch_size is {batch_size}, but this text gives {self.n_windows} windows of "
                f"{context_length} tokens: choose a batch from 1 to {self.n_windows}, a shorter "
                "context or a longer text."
            )
        self._epoch, self._starts = -1, None

    @property
    def per_epoch(self) -> int:
        """Whole batches in one pass over the text; the few windows left over wait."""
        return self.n_windows // self.batch_size

    def at(self, step: int) -> tuple[Tensor, Tensor]:
        """Batch number `step`, counted from 0.  -> inputs (B, T), targets (B, T)"""
        epoch, place = divmod(step, self.per_epoch)
        if epoch != self._epoch:
            self._epoch, self._starts = epoch, self._shuffled_starts(epoch)
        starts = self._starts[place * self.batch_size :][: self.batch_size]          # (B)
        positions = starts[:, None] + torch.arange(self.context_length + 1)          # (B, T + 1)
        pieces = self.ids[positions]
        return pieces[:, :-1], pieces[:, 1:]

    def _shuffled_starts(self, epoch: int) -> Tensor:
        """Where this epoch's windows begin; tokens left over at the end let the cut wander."""
        generator = torch.Generator().manual_seed(seed_for(self.seed, epoch))
        spare = len(self.ids) - 1 - self.n_windows * self.context_length
        shift = torch.randint(spare + 1, (), generator=generator)
        order = torch.randperm(self.n_windows, generator=generator)
        return order * self.context_length + shift


def seed_for(*numbers: int) -> int:
    """One seed made of several numbers, so that each epoch and each step draws its own chances."""
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0])
