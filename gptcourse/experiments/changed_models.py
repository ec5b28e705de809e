"""Models in which one thing is other than it should be, or missing."""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType

import torch
from torch import Tensor, nn

from gptlib.attention import KVCache, causal_mask, merge_heads, split_heads
from gptlib.blocks import TransformerBlock
from gptlib.model import GPTModel
from gptlib.tap import Tap


def with_attention(layer: nn.Module, attention: Callable) -> nn.Module:
    """A copy of an attention layer, the library's or a learner's, whose heads gather by
    `attention(queries, keys, values, mask)`, without dropout.

    That gets (B, H, T, D) three times and the causal mask (T, T) bool, and returns (B, H, T, D).
    """
    def forward(layer: nn.Module, x: Tensor, _cache: None = None) -> Tensor:     # (B, T, C)
        queries, keys, values = (split_heads(project(x), layer.n_heads)
                                 for project in (layer.query, layer.key, layer.value))
        mask = causal_mask(x.shape[1], device=x.device)                      # (T, T)
        return layer.output(merge_heads(attention(queries, keys, values, mask)))

    changed = copy.deepcopy(layer)
    changed.forward = MethodType(forward, changed)
    return changed


class _Tapped(nn.Module):
    """A learner's attention layer, with a tap between its heads and its `output`, where the
    library's has one."""

    def __init__(self, layer: nn.Module, n_heads: int):
        super().__init__()
        self.layer, self.head_outputs = copy.deepcopy(layer), Tap()

        def through_the_tap(_output: nn.Module, read: tuple[Tensor]) -> Tensor:     # (B, T, C)
            return merge_heads(self.head_outputs(split_heads(read[0], n_heads)))

        self.layer.output.register_forward_pre_hook(through_the_tap)

    def forward(self, x: Tensor, _cache: None = None) -> Tensor:             # (B, T, C)
        return self.layer(x)


def with_layer(model: GPTModel, layer: nn.Module) -> GPTModel:
    """A copy of the model whose first attention layer is a copy of `layer`, a learner's.

    What its heads hand over can be recorded and patched, as in the model.
    """
    changed = copy.deepcopy(model)
    changed.blocks[0].attention = _Tapped(layer, model.config.n_heads)
    return changed.train(model.training)


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


def friends_way(x: Tensor, norm: Callable, part: Callable) -> Tensor:
    """How the block of exercise `babbling_block` puts a part and its norm together, for
    `rearranged`: what is added to is no longer the stream."""
    x = norm(x)
    return x + part(x)


def without_positions(model: GPTModel) -> GPTModel:
    """A copy of the model whose position table is 0, and stays 0 in training."""
    changed = copy.deepcopy(model)
    nn.init.zeros_(changed.position_embedding.weight)
    changed.position_embedding.requires_grad_(False)
    return changed


class ForgetfulCache:
    """A cache that counts all tokens, but keeps the keys and values of the latest only."""

    def __init__(self, keep: int):
        self.keep, self.length = keep, 0

    def extend(self, keys: Tensor, values: Tensor) -> tuple[Tensor, Tensor]:
        """What was kept and what is new, (B, H, S, D) each; the latest of it is kept."""
        new = keys.shape[2]
        if self.length > 0:
            keys = torch.cat([self.keys, keys], dim=2)
            values = torch.cat([self.values, values], dim=2)
        self.keys, self.values = keys[:, :, -self.keep :], values[:, :, -self.keep :]
        self.length += new
        return keys, values


def forgetful(model: GPTModel, keep: int) -> GPTModel:
    """A copy of the model whose caches keep the latest `keep` tokens."""
    changed = copy.deepcopy(model)
    changed.new_cache = lambda: [ForgetfulCache(keep) for _ in changed.blocks]
    return changed
