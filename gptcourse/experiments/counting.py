"""How tokens spell a word, and what counting comes to."""

from __future__ import annotations

import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gptlib.tokenizer import BPETokenizer, merge


def spellings(word: str, tokens: Sequence[str]) -> Counter[str]:
    """The ways in which a text, cut into tokens, spells a word, and how often each occurs: the
    tokens that share a character with the word, with bars between them."""
    starts = list(accumulate(map(len, tokens), initial=0))
    ways = Counter()
    for found in re.finditer(re.escape(word), "".join(tokens)):
        first = bisect_right(starts, found.start()) - 1      # the token that holds its first letter
        ways["|".join(tokens[first : bisect_left(starts, found.end())])] += 1
    return ways


def spelled_both_ways(
    text: str, uncut_merges: Sequence[tuple[int, int]], new_text: str, words: Sequence[str]
) -> dict[str, tuple[int, dict[str, Counter[str]]]]:
    """How `new_text` comes out with as many merges that a text taught when it was cut into words
    first, and with the `uncut_merges` that the same text taught without.

    -> {"cut" or "uncut": (tokens in all, {word: its spellings})}
    """
    size = 256 + len(uncut_merges)
    cut, uncut = BPETokenizer.train(text, size, special_tokens=()), BPETokenizer(uncut_merges)
    ids = list(new_text.encode())
    for new_id, pair in enumerate(uncut_merges, start=256):
        ids = merge(ids, pair, new_id)
    rows = {"cut": cut.tokens(cut.encode(new_text)), "uncut": uncut.tokens(ids)}
    return {way: (len(row), {word: spellings(word, row) for word in words})
            for way, row in rows.items()}


def counted_table(ids: Tensor, vocab_size: int) -> nn.Embedding:
    """A language model that looks at one token: as scores, the logarithm of how often each token
    came after it in a text, ids (N)."""
    counts = torch.zeros(vocab_size, vocab_size)                             # (V, V)
    counts.index_put_((ids[:-1], ids[1:]), torch.ones(len(ids) - 1), accumulate=True)
    counts[counts.sum(dim=1) == 0] = 1                   # after an unread token, anything may come
    return nn.Embedding(vocab_size, vocab_size, _weight=counts.log()).requires_grad_(False)


class Counted(NamedTuple):
    """What counting comes to, with a context of so many tokens."""

    rows: int              # the contexts that occur
    loss: float            # nats per token, on the text that was counted
    new_loss: float        # and on a new one, with a spare mark
    strange: float         # share of the new text's contexts that were never counted


def counting(ids: Sequence[int], new_ids: Sequence[int], context: int, vocab_size: int,
             spare: float = 0.001) -> Counted:
    """Count which token follows which `context` tokens. In a new text, `spare` of a tally goes to
    every token, so that no chance is 0; in the one that was counted, none is."""
    times, rows = _tallies(ids, context)

    def loss(row: Sequence[int], spare: float) -> float:
        sequences = _cut(row, context + 1)
        return -sum(math.log((times[one] + spare) / (rows[one[:-1]] + spare * vocab_size))
                    for one in sequences) / len(sequences)

    contexts = _cut(new_ids, context)
    strange = sum(one not in rows for one in contexts) / len(contexts)
    return Counted(len(rows), loss(ids, 0), loss(new_ids, spare), strange)


def falling_back(ids: Sequence[int], new_ids: Sequence[int], context: int, vocab_size: int,
                 weight: float = 5) -> float:
    """The loss on a new text of a reader who counted which token follows which `context` tokens,
    and adds to each row what a context one token shorter says, as `weight` marks more."""
    tables = [_tallies(ids, size) for size in range(context + 1)]

    def chance(sequence: tuple[int, ...]) -> float:
        p = 1 / vocab_size
        for size, (times, rows) in enumerate(tables):
            end = sequence[context - size :]
            p = (times[end] + weight * p) / (rows[end[:-1]] + weight)
        return p

    sequences = _cut(new_ids, context + 1)
    return -sum(math.log(chance(one)) for one in sequences) / len(sequences)


def _cut(row: Sequence[int], size: int) -> list[tuple[int, ...]]:
    """All pieces of so many neighbors."""
    return list(zip(*(row[n:] for n in range(size)), strict=False))


def _tallies(ids: Sequence[int], context: int) -> tuple[Counter, Counter]:
    """How often each token followed each context of that many, and how often each context did."""
    times, rows = Counter(_cut(ids, context + 1)), Counter()
    for sequence, count in times.items():
        rows[sequence[:-1]] += count
    return times, rows
