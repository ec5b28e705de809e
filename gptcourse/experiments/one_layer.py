"""The smallest model that an attention layer can learn in."""

from __future__ import annotations

from torch import Tensor, nn


class OneLayer(nn.Module):
    """One attention layer between vectors of tokens and places, and scores of the next token."""

    def __init__(self, layer: nn.Module, vocab_size: int, context_length: int = 32):
        super().__init__()
        C = layer.output.out_features
        self.tokens, self.places = nn.Embedding(vocab_size, C), nn.Embedding(context_length, C)
        self.attention, self.scores = layer, nn.Linear(C, vocab_size)
        for table in (self.tokens, self.places):        # small, and 8 times as large when read:
            nn.init.normal_(table.weight, std=1 / 8)    # so a plain step moves what is read farther

    def vectors(self, ids: Tensor) -> Tensor:                                # (B, T)
        return 8 * (self.tokens(ids) + self.places.weight[: ids.shape[1]])   # (B, T, C)

    def forward(self, ids: Tensor) -> Tensor:                                # (B, T)
        x = self.vectors(ids)                                                # (B, T, C)
        return self.scores(x + self.attention(x))                            # (B, T, V)
