"""Chapter 3. Attention: every token gathers what it needs from the tokens before it.

    attention(Q, K, V) = softmax(Q Kᵀ / √D) V

Vaswani et al. (2017), "Attention Is All You Need", section 3.2.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from gptlib.config import GPTConfig
from gptlib.dropout import Dropout
from gptlib.tap import Tap


def causal_mask(n_queries: int, n_keys: int | None = None, device=None) -> Tensor:
    """True where a query (row) may look at a key (column).  -> (n_queries, n_keys) bool

    The queries are the last of the sequence: with more keys, the first query sees those before it.
    """
    n_keys = n_queries if n_keys is None else n_keys
    everything = torch.ones(n_queries, n_keys, dtype=torch.bool, device=device)
    return everything.tril(n_keys - n_queries)


def attention_weights(queries: Tensor, keys: Tensor, mask: Tensor | None = None) -> Tensor:
    """How much each query takes from each key; every row sums to 1.

    queries (..., T, D), keys (..., S, D), mask (T, S) bool -> (..., T, S)
    """
    scores = queries @ keys.transpose(-2, -1)                        # (..., T, S)
    scores = scores / math.sqrt(queries.shape[-1])                   # keeps the variance at 1
    if mask is not None:
        scores = scores.masked_fill(~mask, -math.inf)                # exp(-inf) = 0
    return scores.softmax(dim=-1)


def attention(queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor | None = None) -> Tensor:
    """The values, averaged with the attention weights.

    queries (..., T, D), keys (..., S, D), values (..., S, D), mask (T, S) bool -> (..., T, D)
    """
    return attention_weights(queries, keys, mask) @ values


def split_heads(x: Tensor, n_heads: int) -> Tensor:
    """Cut each token's vector into one piece per head.  (B, T, C) -> (B, H, T, D)"""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads).transpose(1, 2)


def repeat_kv(x: Tensor, times: int) -> Tensor:
    """Each head of keys or values, once for every query head that shares it.

    (B, K, S, D) -> (B, K · times, S, D).  Ainslie et al. (2023), "GQA", section 2.2.
    """
    return x.repeat_interleave(times, dim=1)


def rotate(x: Tensor, positions: Tensor, base: float = 10_000.0) -> Tensor:
    """Turn each pair of numbers of every vector by an angle that grows with its position.

    x (..., T, D), positions (T) -> (..., T, D). Number i is paired with number i + D/2, and turns
    by position / base^(2i/D): the first pair the fastest. The product of a query and a key that
    were turned so depends on the distance between them only.  Su et al. (2021), "RoFormer",
    section 3.2; in this order of the numbers as in Llama's published weights for transformers.
    """
    D = x.shape[-1]
    rates = base ** (-torch.arange(0, D, 2, device=x.device) / D)            # (D/2)
    angles = positions[:, None] * rates                                      # (T, D/2)
    cosine, sine = angles.cos().to(x.dtype), angles.sin().to(x.dtype)
    first, second = x.chunk(2, dim=-1)                                       # (..., T, D/2) each
    return torch.cat([first * cosine - second * sine, second * cosine + first * sine], dim=-1)


def merge_heads(x: Tensor) -> Tensor:
    """Put the pieces of the heads side by side again.  (B, H, T, D) -> (B, T, C)"""
    return x.transpose(1, 2).flatten(2)


class KVCache:
    """The keys and values of all tokens seen so far by one attention layer.

    A new token's query needs them all, but they never change: computed once, they are kept. A layer
    or a block takes one KVCache, a whole model the list of them that its `new_cache` makes.
    """

    def __init__(self, capacity: int):
        self.capacity = capacity
        self.length = 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """Append new keys and values (B, K, T, D); return all of them, (B, K, length, D) each.

        Raises a ValueError where more than `capacity` tokens would have to be kept, or where the
        new ones are of another batch, shape or type than those before.
        """
        start, end = self.length, self.length + keys.shape[2]
        self._check(keys)
        if start == 0:  # room for the whole context at once, so that nothing is copied later
            self._keys, self._values = self._room_for(keys), self._room_for(values)
        self._keys[:, :, start:end] = keys
        self._values[:, :, start:end] = values
        self.length = end
        return self._keys[:, :, :end], self._values[:, :, :end]

    @torch.inference_mode(False)  # what is made within that mode could not be written to outside
    def _room_for(self, x: Tensor) -> Tensor:
        return x.new_empty(*x.shape[:2], self.capacity, x.shape[3])          # (B, K, capacity, D)

    def _check(self, keys: Tensor) -> None:
        if self.length + keys.shape[2] > self.capacity:
            raise ValueError(
                f"The cache has room for {self.capacity} tokens and holds {self.length}, but "
                f"{keys.shape[2]} more came: start a new cache with the latest tokens."
            )
        both = (self._keys if self.length else keys, keys)
        held, new = ((*x.shape[:2], x.shape[3], x.dtype, x.device) for x in both)
        if held != new:
            kind = "a batch of {}, {} heads of width {}, {} on {}"
            raise ValueError(
                f"The cache holds {kind.format(*held)}, but {kind.format(*new)} came: go on with "
                "the same texts and model, or start a new cache."
            )


class MultiHeadAttention(nn.Module):
    """H attention heads side by side, each on its own D = C/H numbers of every token.

    With fewer heads of keys and values, K of them, each is shared by H/K queries (chapter 9).
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        C, D = config.emb_dim, config.head_dim
        self.n_heads = config.n_heads
        self.n_kv_heads = config.key_heads
        self.rotary_base = config.rotary_base if config.positions == "rotary" else None
        self.query = nn.Linear(C, C, bias=config.qkv_bias)
        self.key = nn.Linear(C, self.n_kv_heads * D, bias=config.qkv_bias)
        self.value = nn.Linear(C, self.n_kv_heads * D, bias=config.qkv_bias)
        self.output = nn.Linear(C, C, bias=config.output_bias)
        self.dropout = Dropout(config.drop_rate)

        self.queries, self.keys, self.values = Tap(), Tap(), Tap()
        self.weights, self.head_outputs = Tap(), Tap()

    def forward(self, x: Tensor, cache: KVCache | None = None) -> Tensor:
        """x (B, T, C) -> (B, T, C). With a cache, x follows the tokens that the cache holds."""
        queries = split_heads(self.query(x), self.n_heads)                  # (B, H, T, D)
        keys = split_heads(self.key(x), self.n_kv_heads)                    # (B, K, T, D)
        values = split_heads(self.value(x), self.n_kv_heads)                # (B, K, T, D)
        if self.rotary_base is not None:
            past = 0 if cache is None else cache.length
            positions = torch.arange(past, past + x.shape[1], device=x.device)
            both = torch.cat([queries, keys], dim=1)                        # (B, H + K, T, D)
            both = rotate(both, positions, self.rotary_base)
            queries, keys = both.split([self.n_heads, self.n_kv_heads], dim=1)
        queries, keys, values = self.queries(queries), self.keys(keys), self.values(values)
        if cache is not None:
            keys, values = cache.extend(keys, values)                       # (B, K, S, D)

        attend = self._explicit if self.weights.watched else self._fused
        mixed = self.head_outputs(attend(queries, keys, values))            # (B, H, T, D)
        return self.output(merge_heads(mixed))                              # (B, T, C)

    def _explicit(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The formula as it stands, so that somebody can watch or change the weights."""
        if self.n_kv_heads < self.n_heads:
            keys = repeat_kv(keys, self.n_heads // self.n_kv_heads)         # (B, H, S, D)
            values = repeat_kv(values, self.n_heads // self.n_kv_heads)     # (B, H, S, D)
        mask = causal_mask(queries.shape[2], keys.shape[2], queries.device)
        weights = self.weights(attention_weights(queries, keys, mask))      # (B, H, T, S)
        return self.dropout(weights) @ values                               # (B, H, T, D)

    def _fused(self, queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        """The same numbers from torch's kernel, which never stores the weights."""
        if self.dropout.seeded:  # the kernel draws from the random numbers that all share
            return self._explicit(queries, keys, values)
        T, S = queries.shape[2], keys.shape[2]
        mask, causal = None, False  # a single query may look at every key
        if 1 < T < S:
            mask = causal_mask(T, S, queries.device)
        elif T > 1:  # the kernel's own mask starts at the first key: right only where T = S
            causal = True
        return F.scaled_dot_product_attention(
            queries, keys, values, attn_mask=mask, is_causal=causal,
            dropout_p=self.dropout.p if self.training else 0.0,
            enable_gqa=self.n_kv_heads < self.n_heads,
        )
