"""Every tensor of one forward pass, by name, as NumPy arrays: what pictures and views draw.

A view takes a `Trace` and never a model's internals, so it works on any model of this package.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from gptlib.checks import listed, shown
from gptlib.config import GPTConfig
from gptlib.data import as_ids
from gptlib.model import GPTModel, check_model
from gptlib.tap import record


@dataclass(frozen=True)
class Trace:
    """One sequence on its way through a model."""

    config: GPTConfig
    ids: np.ndarray                  # (T)
    labels: tuple[str, ...]          # one readable text per token
    arrays: dict[str, np.ndarray]    # by the name of the tap, without the batch dimension
    logits: np.ndarray               # (T, V)

    def __getitem__(self, name: str) -> np.ndarray:
        return self.arrays[name]

    @property
    def attention(self) -> np.ndarray:
        """The attention weights of every layer and head.  (L, H, T, T), rows are queries"""
        layers = [name for name in self.arrays if name.endswith(".attention.weights")]
        return np.stack([self[layer] for layer in layers])


@torch.inference_mode()
def trace(
    model: GPTModel, ids: Sequence[int] | Tensor, labels: Sequence[str] | None = None
) -> Trace:
    """Run `model` once over ids (T) and keep every tensor that has a tap.

    `labels` are the tokens as text; without them, the ids themselves are shown. The model should
    be in evaluation mode, or dropout shows in the arrays. Raises a ValueError where labels and
    ids differ in number, and a TypeError for another kind of model.
    """
    check_model(model)
    ids = as_ids(ids).to(model.device)
    labels = ids.tolist() if labels is None else listed(
        "labels", labels, "pass tokenizer.tokens(ids), or leave labels out."
    )
    labels = tuple(label if isinstance(label, str) else shown(label) for label in labels)
    if len(labels) != len(ids):
        raise ValueError(
            f"There are {len(labels)} labels for {len(ids)} tokens, but each token needs one: "
            "pass tokenizer.tokens(ids), or leave labels out."
        )
    with record(model) as activations:
        logits = model(ids[None])[0]
    arrays = {name: tensor[0].float().cpu().numpy() for name, tensor in activations.items()}
    return Trace(model.config, ids.cpu().numpy(), labels, arrays, logits.float().cpu().numpy())
