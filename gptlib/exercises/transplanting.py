"""Putting a learner's functions to work inside a trained model.

>>> mine = transplant(model, attention=attention)
>>> complete(mine, tokenizer, "Once upon a time")         # told through your attention
"""

from __future__ import annotations

import copy
from collections.abc import Callable

from torch import Tensor

from gptlib.attention import MultiHeadAttention, attention_weights, causal_mask
from gptlib.blocks import GELU, FeedForward, LayerNorm, TransformerBlock
from gptlib.exercises.checking import Result
from gptlib.model import GPTModel


def transplant(model: GPTModel, **functions: Callable) -> GPTModel:
    """A copy of the model that computes with the given functions; the model stays as it was.

    The names are those of the exercises: causal_mask, attention_weights, attention, layer_norm,
    gelu, feed_forward, transformer_block. Each is a function or the result of its check. The copy
    shares the model's weights. Raises a TypeError for any other name and for what is no function.
    """
    for name, function in functions.items():
        if name not in _PARTS:
            raise TypeError(
                f"No part of a model is called {name!r}, so it cannot be replaced: choose from "
                f"{', '.join(_PARTS)}."
            )
        functions[name] = function.use if isinstance(function, Result) else function
        if not callable(functions[name]):
            raise TypeError(
                f"{name} is {function!r}, but must be a function: pass it without calling it."
            )
    shared = {id(x): x for x in (*model.parameters(), *model.buffers())}
    changed = copy.deepcopy(model, shared)
    for name, function in functions.items():
        kind, replace = _PARTS[name]
        for module in changed.modules():
            if isinstance(module, kind):
                replace(module, function)
    return changed


def _replace_causal_mask(layer: MultiHeadAttention, function: Callable) -> None:
    """The explicit path with another mask. The queries are the last of the S tokens."""
    layer._mask = lambda queries, keys: function(keys.shape[2])[-queries.shape[2] :]
    layer._explicit = layer._fused = _explicit_path(layer)


def _replace_attention_weights(layer: MultiHeadAttention, function: Callable) -> None:
    layer._weights_of = function
    layer._explicit = layer._fused = _explicit_path(layer)


def _replace_attention(layer: MultiHeadAttention, function: Callable) -> None:
    layer._attention = function
    layer._explicit = layer._fused = _explicit_path(layer)


def _explicit_path(layer: MultiHeadAttention) -> Callable:
    """Attention step by step, with those steps replaced that the layer has another one for."""

    def explicit(queries: Tensor, keys: Tensor, values: Tensor) -> Tensor:
        mask = getattr(layer, "_mask", _library_mask)(queries, keys)             # (T, S)
        weights_of = getattr(layer, "_weights_of", attention_weights)
        attention = getattr(layer, "_attention", None)
        if attention is None or layer.weights.watched:
            weights = layer.weights(weights_of(queries, keys, mask))             # (B, H, T, S)
        if attention is not None:
            return attention(queries, keys, values, mask)                        # (B, H, T, D)
        return layer.dropout(weights) @ values                                   # (B, H, T, D)

    return explicit


def _library_mask(queries: Tensor, keys: Tensor) -> Tensor:
    return causal_mask(queries.shape[2], keys.shape[2], queries.device)


def _replace_layer_norm(norm: LayerNorm, layer_norm: Callable) -> None:
    norm.forward = lambda x: layer_norm(x, norm.scale, norm.shift, norm.eps)


def _replace_gelu(layer: GELU, gelu: Callable) -> None:
    layer.forward = gelu


def _replace_feed_forward(layer: FeedForward, feed_forward: Callable) -> None:
    """The tap sees what `contract` is given."""
    layer.contract.register_forward_pre_hook(lambda _, inputs: (layer.activations(*inputs),))
    layer.forward = lambda x: feed_forward(x, layer.expand, layer.contract)


def _replace_transformer_block(block: TransformerBlock, transformer_block: Callable) -> None:
    """The taps stay where they are: between the two additions, and at the end."""

    def forward(x: Tensor, cache=None) -> Tensor:
        x = transformer_block(
            x,
            block.attention_norm,
            lambda x: block.dropout(block.attention(x, cache)),
            lambda x: block.feed_forward_norm(block.residual_mid(x)),
            lambda x: block.dropout(block.feed_forward(x)),
        )
        return block.residual_end(x)

    block.forward = forward


_PARTS = {
    "causal_mask": (MultiHeadAttention, _replace_causal_mask),
    "attention_weights": (MultiHeadAttention, _replace_attention_weights),
    "attention": (MultiHeadAttention, _replace_attention),
    "layer_norm": (LayerNorm, _replace_layer_norm),
    "gelu": (GELU, _replace_gelu),
    "feed_forward": (FeedForward, _replace_feed_forward),
    "transformer_block": (TransformerBlock, _replace_transformer_block),
}
