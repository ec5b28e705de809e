"""What chapters measure: models in which one thing is other than it should be."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType

from torch import Tensor

from gptlib.attention import KVCache, MultiHeadAttention, causal_mask, merge_heads, split_heads
from gptlib.model import GPTModel


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
