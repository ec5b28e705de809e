"""Putting a learner's functions to work inside a trained model.

>>> mine = transplant(model, attention=attention)
>>> complete(mine, tokenizer, "Once upon a time")         # told through your attention
"""

from __future__ import annotations

import copy
from collections.abc import Callable
from types import MethodType

from torch import Tensor, nn

from gptcourse.exercises.checking import Result
from gptlib.attention import KVCache, MultiHeadAttention, attention_weights, causal_mask
from gptlib.blocks import GELU, FeedForward, LayerNorm, TransformerBlock
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
    """The queries are the last of the S tokens."""
    _attend_with(layer, _mask=lambda queries, keys: function(keys.shape[2])[-queries.shape[2] :])


def _replace_attention_weights(layer: MultiHeadAttention, function: Callable) -> None:
    _attend_with(layer, _weights_of=function)


def _replace_attention(layer: MultiHeadAttention, function: Callable) -> None:
    _attend_with(layer, _attention=function)


def _attend_with(layer: MultiHeadAttention, **step: Callable) -> None:
    """Replace one step besides those that were replaced before."""
    vars(layer).update(step)
    layer._explicit = layer._fused = MethodType(_step_by_step, layer)


def _step_by_step(
    layer: MultiHeadAttention, queries: Tensor, keys: Tensor, values: Tensor
) -> Tensor:
    """Attention step by step, by the layer's own steps where it has been given some."""
    mask = getattr(layer, "_mask", _library_mask)(queries, keys)                 # (T, S)
    weights_of = getattr(layer, "_weights_of", attention_weights)
    attention = getattr(layer, "_attention", None)
    if attention is None or layer.weights.watched:
        weights = layer.weights(weights_of(queries, keys, mask))                 # (B, H, T, S)
    if attention is not None:
        return attention(queries, keys, values, mask)                            # (B, H, T, D)
    return layer.dropout(weights) @ values                                       # (B, H, T, D)


def _library_mask(queries: Tensor, keys: Tensor) -> Tensor:
    return causal_mask(queries.shape[2], keys.shape[2], queries.device)


def _run_with(module: nn.Module, forward: Callable) -> None:
    """Another forward pass, as a method: a copy of the module computes with its own parts."""
    module.forward = MethodType(forward, module)


def _replace_layer_norm(norm: LayerNorm, layer_norm: Callable) -> None:
    _run_with(norm, lambda norm, x: layer_norm(x, norm.scale, norm.shift, norm.eps))


def _replace_gelu(layer: GELU, gelu: Callable) -> None:
    layer.forward = gelu


def _replace_feed_forward(layer: FeedForward, feed_forward: Callable) -> None:
    def forward(layer: FeedForward, x: Tensor) -> Tensor:
        def tapped(_contract, inputs):       # the tap sees what `contract` is given
            return (layer.activations(*inputs),)

        with layer.contract.register_forward_pre_hook(tapped):
            return feed_forward(x, layer.expand, layer.contract)

    _run_with(layer, forward)


def _replace_transformer_block(block: TransformerBlock, transformer_block: Callable) -> None:
    """The taps stay where they are: between the two additions, and at the end."""

    def forward(block: TransformerBlock, x: Tensor, cache: KVCache | None = None) -> Tensor:
        x = transformer_block(
            x,
            block.attention_norm,
            lambda x: block.dropout(block.attention(x, cache)),
            lambda x: block.feed_forward_norm(block.residual_mid(x)),
            lambda x: block.dropout(block.feed_forward(x)),
        )
        return block.residual_end(x)

    _run_with(block, forward)


_PARTS = {
    "causal_mask": (MultiHeadAttention, _replace_causal_mask),
    "attention_weights": (MultiHeadAttention, _replace_attention_weights),
    "attention": (MultiHeadAttention, _replace_attention),
    "layer_norm": (LayerNorm, _replace_layer_norm),
    "gelu": (GELU, _replace_gelu),
    "feed_forward": (FeedForward, _replace_feed_forward),
    "transformer_block": (TransformerBlock, _replace_transformer_block),
}
