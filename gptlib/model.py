"""Chapter 5. The full GPT: embeddings, a stack of blocks, and a head that scores every token.

Radford et al. (2019), "Language Models are Unsupervised Multitask Learners".
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

import torch
from torch import Tensor, nn

from gptlib.attention import KVCache
from gptlib.blocks import LayerNorm, RMSNorm, TransformerBlock, make_norm
from gptlib.config import GPTConfig
from gptlib.dropout import Dropout
from gptlib.tap import Tap


class GPTModel(nn.Module):
    """Token ids in, a score for every possible next token out, at every position.

    `config` is a GPTConfig or a dictionary with its keys, such as GPT_CONFIG_124M.
    torch.compile takes the model as it is, torch.export does without a cache. Where several GPUs
    train it, use DistributedDataParallel, not DataParallel, and give its `.module` to this package.
    """

    def __init__(self, config: GPTConfig | Mapping):
        super().__init__()
        config = GPTConfig.of(config)
        self.config = config
        self.token_embedding = nn.Embedding(config.vocab_size, config.emb_dim)
        if config.positions == "learned":
            self.position_embedding = nn.Embedding(config.context_length, config.emb_dim)
        self.dropout = Dropout(config.drop_rate)
        self.residual_start = Tap()
        self.blocks = nn.ModuleList(TransformerBlock(config) for _ in range(config.n_layers))
        self.final_norm = make_norm(config)
        self.output_head = nn.Linear(config.emb_dim, config.vocab_size, bias=False)
        if config.tie_weights:
            self.output_head.weight = self.token_embedding.weight
        self._initialize()

    def forward(self, ids: Tensor, cache: list[KVCache] | None = None) -> Tensor:
        """ids (B, T) -> logits (B, T, V). With a cache, ids follow the tokens it holds.

        Raises a TypeError or ValueError for ids that are no such batch of known tokens, and for a
        cache that `new_cache` of this model did not make.
        """
        return self.output_head(self.hidden_states(ids, cache))                   # (B, T, V)

    def hidden_states(self, ids: Tensor, cache: list[KVCache] | None = None) -> Tensor:
        """All of `forward` but the head: what the model made of each token.  -> (B, T, C)"""
        past = self._length(cache)
        self._check(ids, past)
        x = self.token_embedding(ids)                                             # (B, T, C)
        if self.config.positions == "learned":
            positions = torch.arange(past, past + ids.shape[1], device=ids.device)    # (T)
            x = x + self.position_embedding(positions)                            # (B, T, C)
        x = self.residual_start(self.dropout(x))
        for layer, block in enumerate(self.blocks):
            x = block(x, cache[layer] if cache else None)                         # (B, T, C)
        return self.final_norm(x)

    def new_cache(self) -> list[KVCache]:
        """An empty cache for `forward`, with room for the whole context: a KVCache per block."""
        return [KVCache(self.config.context_length) for _ in self.blocks]

    @property
    def device(self) -> torch.device:
        return self.token_embedding.weight.device

    @torch.no_grad()
    def _initialize(self) -> None:
        """N(0, 0.02) for every matrix, 0 for every bias, as GPT-2 starts.

        Each block adds to the residual stream twice; the projections that do so start smaller by
        √(2L), so that the stream does not grow with depth.
        """
        if self.token_embedding.weight.is_meta:
            return  # there are no values
        for name, parameter in self.named_parameters():
            if name.endswith(("attention.output.weight", "feed_forward.contract.weight")):
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * self.config.n_layers))
            elif parameter.dim() == 2:
                nn.init.normal_(parameter, std=0.02)
            elif name.endswith("bias"):
                nn.init.zeros_(parameter)

    def _length(self, cache: list[KVCache] | None) -> int:
        """How many tokens the cache holds."""
        if cache is None:
            return 0
        got = f"{len(cache)} of them" if isinstance(cache, (list, tuple)) else "no list"
        if got != f"{len(self.blocks)} of them":
            raise ValueError(
                f"A cache is a list with one KVCache for each of this model's {len(self.blocks)} "
                f"blocks, but {got} came: model.new_cache() makes one."
            )
        for layer in cache:
            if not (hasattr(layer, "length") and hasattr(layer, "extend")):
                raise TypeError(
                    f"A cache is a list of KVCaches, but a {type(layer).__name__} is in this one: "
                    "model.new_cache() makes one."
                )
        lengths = sorted(layer.length for layer in cache)
        if lengths[0] != lengths[-1]:
            raise ValueError(
                f"The blocks' caches hold from {lengths[0]} to {lengths[-1]} tokens, so a pass was "
                "broken off halfway: start again with model.new_cache()."
            )
        return lengths[0]

    def _check(self, ids: Tensor, past: int) -> None:
        if not isinstance(ids, Tensor) or ids.dtype not in (torch.int64, torch.int32):
            got = f"a tensor of {ids.dtype}" if isinstance(ids, Tensor) else type(ids).__name__
            raise TypeError(
                f"ids is {got}, but must be a tensor of whole numbers (torch.int64): "
                "torch.tensor([tokenizer.encode(text)])."
            )
        if ids.dim() != 2 or ids.numel() == 0:
            raise ValueError(
                f"ids has shape {tuple(ids.shape)}, but must be (batch, tokens) with at least one "
                "token: for a single sequence add a dimension with ids[None]."
            )
        if past + ids.shape[1] > self.config.context_length:
            before = f" after {past} in the cache" if past else ""
            raise ValueError(
                f"{ids.shape[1]} tokens came{before}, but this model sees at most "
                f"{self.config.context_length}: shorten the text, for example to its last tokens."
            )
        check_vocabulary(ids, self.config.vocab_size)


def check_vocabulary(ids: Tensor, vocab_size: int) -> None:
    """Raise a ValueError where `ids` hold one that is outside the vocabulary.

    While torch.export looks on, and on the meta device, ids have no numbers that could be checked.
    """
    if ids.is_meta or torch.compiler.is_exporting():
        return
    smallest, largest = ids.aminmax()
    if smallest < 0 or largest >= vocab_size:
        wrong = smallest.item() if smallest < 0 else largest.item()
        raise ValueError(
            f"Token id {wrong} is outside the vocabulary, which has ids 0 to {vocab_size - 1}: "
            "use the tokenizer that belongs to this model."
        )


def check_model(model: nn.Module) -> None:
    """Raise a TypeError where `model` is no GPTModel, compiled or not."""
    if not isinstance(getattr(model, "_orig_mod", model), GPTModel):
        raise TypeError(
            f"model is a {type(model).__name__}, but must be a GPTModel, compiled or not: pass the "
            "model itself, of a wrapper such as DataParallel its .module."
        )


@contextmanager
def evaluating(model: nn.Module) -> Iterator[None]:
    """Put the model into evaluation mode, and each part of it back into its own."""
    modes = [(module, module.training) for module in model.modules()]
    model.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training


def count_parameters(model: nn.Module) -> int:
    """Number of parameters, frozen ones too; a matrix that is used twice counts once."""
    return sum(parameter.numel() for parameter in model.parameters())


def parameters_by_part(config: GPTConfig | Mapping) -> dict[str, int]:
    """Where the parameters sit. Any size works: the model is built without memory for weights.

    The tied matrix of `tie_weights=True` counts as token embedding.
    """
    with torch.device("meta"):
        model = GPTModel(config)
    blocks = model.blocks
    counts = {
        "token embedding": count_parameters(model.token_embedding),
        "position embedding": sum(
            parameter.numel() for name, parameter in model.named_parameters()
            if name.startswith("position_embedding")
        ),
        "attention": sum(count_parameters(block.attention) for block in blocks),
        "feed-forward": sum(count_parameters(block.feed_forward) for block in blocks),
        "norms": sum(
            count_parameters(part) for part in model.modules()
            if isinstance(part, (LayerNorm, RMSNorm))
        ),
    }
    return {**counts, "output head": count_parameters(model) - sum(counts.values())}


def flops_per_token(config: GPTConfig) -> int:
    """Additions and multiplications of one forward pass, for one token at the end of the context.
    The backward pass takes twice as many.

    Two for every weight that is multiplied, and two for every product of attention: a query with
    T keys, and T weights with their values, C numbers each, in L layers. Chowdhery et al. (2022),
    "PaLM: Scaling Language Modeling with Pathways", appendix B.
    """
    V, T, C, L = config.vocab_size, config.context_length, config.emb_dim, config.n_layers
    attention = 2 * C * C + 2 * C * config.key_heads * config.head_dim
    matrices = 3 if config.feed_forward == "swiglu" else 2
    weights = L * (attention + matrices * C * config.hidden_width) + V * C
    return 2 * weights + 2 * L * 2 * T * C
