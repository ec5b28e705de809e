"""What counting which token follows which comes to."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn


def counted_table(ids: Tensor, vocab_size: int) -> nn.Embedding:
    """A language model that looks at one token: as scores, the logarithm of how often each token
    came after it in a text, ids (N)."""
    counts = torch.zeros(vocab_size, vocab_size)                             # (V, V)
    counts.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1), accumulate=True)
    counts[counts.sum(dim=1) == 0] = 1                   # after an unread token, anything may come
    return nn.Embedding(vocab_size, vocab_size, _weight=counts.log()).requires_grad_(False)


class Counted(NamedTuple):
    """What counting comes to, with a context of so many tokens."""

    loss: float            # nats per token, on the text that was counted
    new_loss: float        # and on a new one
    strange: float         # share of the new text's contexts that were never counted


def counting(ids: Sequence[int], new_ids: Sequence[int], context: int, vocab_size: int,
             spare: float = 0.0001) -> Counted:
    """Count which token follows which `context` tokens. In each row, `spare` of a tally goes to
    every token, so that no chance is 0."""
    times, rows = Counter(_cut(ids, context + 1)), Counter()     # rows: the tallies in each
    for sequence, count in times.items():
        rows[sequence[:-1]] += count

    def loss(row: Sequence[int]) -> float:
        sequences = _cut(row, context + 1)
        return -sum(math.log((times[one] + spare) / (rows[one[:-1]] + spare * vocab_size))
                    for one in sequences) / len(sequences)

    contexts = _cut(new_ids, context)
    strange = sum(one not in rows for one in contexts) / len(contexts)
    return Counted(loss(ids), loss(new_ids), strange)


def _cut(row: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """All pieces of so many neighbors."""
    return list(zip(*(row[n:] for n in range(size)), strict=False))
