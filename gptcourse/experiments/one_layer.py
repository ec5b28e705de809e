"""The smallest model that an attention layer can learn in."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from gptlib.attention import attention_weights, causal_mask, split_heads


class OneLayer(nn.Module):
    """One attention layer between vectors of tokens and places, and scores of the next token."""

    def __init__(self, layer: nn.Module, vocab_size: int, context_length: int = 32):
        super().__init__()
        C = layer.output.out_features
        self.tokens, self.places = nn.Embedding(vocab_size, C), nn.Embedding(context_length, C)
        self.attention, self.logits = layer, nn.Linear(C, vocab_size)
        for table in (self.tokens, self.places):                    # so that their steps are longer
            table.weight.register_hook(lambda gradient: 50 * gradient)

    def vectors(self, ids: Tensor) -> Tensor:                                # (B, T)
        return self.tokens(ids) + self.places.weight[: ids.shape[1]]         # (B, T, C)

    def forward(self, ids: Tensor) -> Tensor:                                # (B, T)
        x = self.vectors(ids)                                                # (B, T, C)
        return self.logits(x + self.attention(x))                            # (B, T, V)


@torch.no_grad()
def looks(model: OneLayer, ids: Tensor) -> Tensor:
    """How much each token takes from which, in every head.  (B, T) -> (B, H, T, T)"""
    x = model.vectors(ids)                                                   # (B, T, C)
    queries, keys = (split_heads(project(x), model.attention.n_heads)
                     for project in (model.attention.query, model.attention.key))
    return attention_weights(queries, keys, causal_mask(ids.shape[1]))
