"""What chapters measure: how tokens spell a word, what counting comes to, what each token of a
story costs, and models in which one thing is other than it should be."""

from __future__ import annotations

import copy
import math
import re
from bisect import bisect_left, bisect_right
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from itertools import accumulate
from types import FunctionType, MethodType
from typing import NamedTuple

import torch
from torch import Tensor, nn

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


@torch.no_grad()
def story_surprises(model: nn.Module, texts: Sequence[str], tokenizer: BPETokenizer) -> Tensor:
    """What each token of some stories costs a model that reads every story from its beginning, and
    at last the token that ends it, in nats.  -> (N), one story after the other"""
    end = tokenizer.end_token
    stories = [torch.tensor([end, *tokenizer.encode(text), end]) for text in texts]
    rows = nn.utils.rnn.pad_sequence(stories, batch_first=True, padding_value=end)   # (n, T + 1)
    costs = []
    for some in rows.split(16):
        logs = model(some[:, :-1]).log_softmax(dim=-1)                       # (B, T, V)
        costs.append(-logs.gather(-1, some[:, 1:, None])[..., 0])            # (B, T)
    lengths = torch.tensor([len(story) - 1 for story in stories])            # (n)
    return torch.cat(costs)[torch.arange(rows.shape[1] - 1) < lengths[:, None]]


def kinds_of_tokens(
    texts: Sequence[str], tokenizer: BPETokenizer, counted: nn.Embedding
) -> tuple[Tensor, dict[str, Tensor]]:
    """What each token of some stories costs the perfect reader, in the order of `story_surprises`,
    and of which kind it is: "neighbor", the last token gives it away to a counted table; "memory",
    only the story so far does; "dice", nothing does.  -> (N), and for each kind (N) bool"""
    ending = torch.zeros(1)                                  # that a story is over costs nothing
    perfect = torch.cat([part for text in texts
                         for part in (perfect_surprises(text, tokenizer), ending)])
    by_table = story_surprises(counted, texts, tokenizer)
    dice, easy = perfect > 0.01, by_table < 0.5
    return perfect, {"neighbor": ~dice & easy, "memory": ~dice & ~easy, "dice": dice}


def along_gradient(
    model: nn.Module, inputs: Tensor, targets: Tensor, distances: Sequence[float]
) -> tuple[list[float], float]:
    """The loss on a batch (B, T), after a walk of each of these distances from the model's weights
    straight against the gradient; and what the slope promises for a distance of 1."""
    loss = next_token_loss(model(inputs), targets)
    gradients = torch.autograd.grad(loss, list(model.parameters()))
    norm = torch.cat([gradient.flatten() for gradient in gradients]).norm()
    losses = []
    for distance in distances:
        walker = copy.deepcopy(model)
        with torch.no_grad():
            for weight, gradient in zip(walker.parameters(), gradients, strict=True):
                weight -= distance * gradient / norm
            losses.append(next_token_loss(walker(inputs), targets).item())
    return losses, norm.item()


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


def with_batch(train: FunctionType, batch: Callable) -> FunctionType:
    """A copy of a training loop that draws its windows by this `batch`, whatever stands for that
    name in the file where the loop was written."""
    return FunctionType(train.__code__, {**train.__globals__, "batch": batch}, train.__name__,
                        train.__defaults__, train.__closure__)
