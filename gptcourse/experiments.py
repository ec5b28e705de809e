"""What chapters measure: how tokens spell a word, what counting comes to, and models in which one
thing is other than it should be."""

from __future__ import annotations

import copy
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from types import MethodType
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gptlib.attention import KVCache, causal_mask, merge_heads, split_heads
from gptlib.blocks import TransformerBlock
from gptlib.corpus import storybook
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer
from gptlib.training import next_token_loss


def spellings(word: str, tokens: Sequence[str]) -> Counter[str]:
    """The ways in which a text, cut into tokens, spells a word, and how often each occurs: the
    tokens that share a character with the word, with bars between them."""
    starts = list(accumulate(map(len, tokens), initial=0))
    ways = Counter()
    for found in re.finditer(re.escape(word), "".join(tokens)):
        first = bisect_right(starts, found.start()) - 1      # the token that holds its first letter
        ways["|".join(tokens[first : bisect_left(starts, found.end())])] += 1
    return ways


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
    new_loss: float        # and on a new one
    strange: float         # share of the new text's contexts that were never counted


def counting(ids: Sequence[int], new_ids: Sequence[int], context: int, vocab_size: int,
             spare: float = 0.001) -> Counted:
    """Count which token follows which `context` tokens; `spare` of a tally goes to every token, so
    that no chance is 0."""
    def cut(row: Sequence[int], size: int) -> list[tuple[int, ...]]:
        return list(zip(*(row[n:] for n in range(size)), strict=False))

    times = Counter(cut(ids, context + 1))
    rows = Counter()
    for sequence, count in times.items():
        rows[sequence[:-1]] += count

    def loss(row: Sequence[int]) -> float:
        sequences = cut(row, context + 1)
        return -sum(math.log((times[one] + spare) / (rows[one[:-1]] + spare * vocab_size))
                    for one in sequences) / len(sequences)

    contexts = cut(new_ids, context)
    strange = sum(one not in rows for one in contexts) / len(contexts)
    return Counted(len(rows), loss(ids), loss(new_ids), strange)


def perfect_surprises(text: str, tokenizer: BPETokenizer) -> Tensor:
    """What each token of a story costs a reader who knows the grammar and sees where words end, in
    nats.  -> (T)"""
    ends = accumulate(map(len, tokenizer.tokens(tokenizer.encode(text))), initial=0)
    seen = (text[: end + (not text[end : end + 1].isalpha())] if end else "" for end in ends)
    return torch.tensor([storybook.nats_of_beginning(part) for part in seen]).diff()


class OneLayer(nn.Module):
    """A language model of a single attention layer: a vector for each token and each place, what
    the layer gathers, and a score for each token that may come next."""

    def __init__(self, attention: nn.Module, emb_dim: int, vocab_size: int, context_length: int):
        super().__init__()
        self.tokens = nn.Embedding(vocab_size, emb_dim)
        self.places = nn.Embedding(context_length, emb_dim)
        self.attention = attention
        self.scores = nn.Linear(emb_dim, vocab_size)
        self.size = math.sqrt(emb_dim)
        for table in (self.tokens, self.places):
            nn.init.normal_(table.weight, std=1 / self.size)

    def forward(self, ids: Tensor) -> Tensor:                                # (B, T)
        # Small numbers made large, as in the first transformer (Vaswani and others, 2017, section
        # 3.4): what a plain step downhill does to a vector is C times as much then.
        x = self.size * (self.tokens(ids) + self.places.weight[: ids.shape[1]])
        return self.scores(x + self.attention(x))                            # (B, T, V)


def with_attention(layer: nn.Module, attention: Callable) -> nn.Module:
    """A copy of an attention layer, the library's or a learner's, whose heads gather by
    `attention(queries, keys, values, mask)`, without dropout.

    That gets (B, H, T, D) three times and the causal mask (T, T) bool, and returns (B, H, T, D).
    """
    def forward(layer: nn.Module, x: Tensor) -> Tensor:                      # (B, T, C)
        queries, keys, values = (split_heads(project(x), layer.n_heads)
                                 for project in (layer.query, layer.key, layer.value))
        mask = causal_mask(x.shape[1], device=x.device)                      # (T, T)
        return layer.output(merge_heads(attention(queries, keys, values, mask)))

    changed = copy.deepcopy(layer)
    changed.forward = MethodType(forward, changed)
    return changed


def rearranged(model: GPTModel, arrange: Callable) -> GPTModel:
    """A copy of the model whose blocks put each part and its norm together by
    `arrange(x, norm, part)`, (B, T, C) -> (B, T, C); its weights are those of the model."""
    def forward(block: TransformerBlock, x: Tensor, cache: KVCache | None = None) -> Tensor:
        def attention(x: Tensor) -> Tensor:
            return block.attention(x, cache)

        x = block.residual_mid(arrange(x, block.attention_norm, attention))
        return block.residual_end(arrange(x, block.feed_forward_norm, block.feed_forward))

    changed = copy.deepcopy(model)
    for block in changed.blocks:
        block.forward = MethodType(forward, block)
    return changed


def train_on(model: GPTModel, batches: Iterable[tuple[Tensor, Tensor]], rate: float,
             warmup_steps: int = 20) -> list[float]:
    """Train with AdamW, a step for each (inputs, targets), at a rate that first rises to `rate`.
    Returns the loss of each step."""
    optimizer, losses = torch.optim.AdamW(model.parameters()), []
    for step, (inputs, targets) in enumerate(batches, start=1):
        optimizer.param_groups[0]["lr"] = rate * min(1, step / warmup_steps)
        loss = next_token_loss(model(inputs), targets)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return losses
