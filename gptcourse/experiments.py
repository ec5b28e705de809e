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

from gptcourse.views.gradients import NO_NORM, PRE_NORM, GradientFlow, stack_of_blocks
from gptlib.attention import KVCache, MultiHeadAttention, causal_mask, merge_heads, split_heads
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


def with_attention(model: GPTModel, attention: Callable) -> GPTModel:
    """A copy of the model whose heads gather by `attention(queries, keys, values, mask)`.

    That gets (B, H, T, D), (B, H, S, D), (B, H, S, D) and the causal mask (T, S) bool, and returns
    (B, H, T, D). All taps are fed but `weights`, which the function keeps to itself.
    """
    def forward(layer: MultiHeadAttention, x: Tensor, cache: KVCache | None = None) -> Tensor:
        queries = layer.queries(split_heads(layer.query(x), layer.n_heads))  # (B, H, T, D)
        keys = layer.keys(split_heads(layer.key(x), layer.n_heads))          # (B, H, T, D)
        values = layer.values(split_heads(layer.value(x), layer.n_heads))    # (B, H, T, D)
        if cache is not None:
            keys, values = cache.extend(keys, values)                        # (B, H, S, D)
        mask = causal_mask(queries.shape[2], keys.shape[2], x.device)        # (T, S)
        mixed = layer.head_outputs(attention(queries, keys, values, mask))   # (B, H, T, D)
        return layer.output(merge_heads(mixed))                              # (B, T, C)

    changed = copy.deepcopy(model)
    for block in changed.blocks:
        block.attention.forward = MethodType(forward, block.attention)
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


def silenced(model: nn.Module, *names: str) -> nn.Module:
    """A copy of the model, or of a block, in which the parts of these names, such as
    "blocks.0.attention", give zeros: so they add nothing to the stream."""
    def zeros(part: nn.Module, inputs: tuple, output: Tensor) -> Tensor:
        return torch.zeros_like(output)

    changed = copy.deepcopy(model)
    for name in names:
        changed.get_submodule(name).register_forward_hook(zeros)
    return changed


def gradients_at_the_bottom(depths: Iterable[int], shortcuts: bool, norms: bool) -> list[float]:
    """The size of the gradient that comes down through stacks of so many random blocks, as a
    multiple of what enters at the top; the norms, if any, stand before the parts."""
    stack, norm = stack_of_blocks(), PRE_NORM if norms else NO_NORM
    return [float(GradientFlow.compute(stack, depth, shortcuts, norm)["gradient"][0])
            for depth in depths]


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
