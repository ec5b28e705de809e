"""A model's weights in the form in which GPT-2 was published."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from gptlib.model import GPTModel
from gptlib.pretrained.gpt2 import gpt2_tensors


def gpt2_file(model: GPTModel) -> Path:
    """Where the model lies as a safetensors file in GPT-2's layout, with a mask in each layer as in
    the published ones, and with biases for queries, keys and values, where the model has none. The
    file is gone when Python ends."""
    T = model.config.context_length
    tensors = gpt2_tensors(model)
    for layer in range(model.config.n_layers):
        if not model.config.qkv_bias:
            _move_into_biases(tensors, f"h.{layer}.")
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, T, T).tril()
    folder = tempfile.mkdtemp()
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    path = Path(folder) / "model.safetensors"
    save_file(tensors, path, {"format": "pt"})
    return path


def _move_into_biases(tensors: dict[str, Tensor], block: str) -> None:
    """Half of the shift of the norm before attention, so that no score changes:
    (n + s) W = (n + s/2) W + s/2 W."""
    half = tensors[f"{block}ln_1.bias"] / 2                                  # (C)
    tensors[f"{block}ln_1.bias"] = half
    tensors[f"{block}attn.c_attn.bias"] = half @ tensors[f"{block}attn.c_attn.weight"]
