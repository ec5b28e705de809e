"""A tiny GGUF file of SmolLM2's kind, written by the package gguf."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
from gguf import GGMLQuantizationType, GGUFValueType, GGUFWriter
from gguf.quants import quantize

from gptlib.tokenizer import printed_bytes

SPECIAL = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
MERGES = ["h e", "l l", "Ġ t", "Ġt he", "he ll", "1 2"]
MISSING = {"\x04", "\x14"}
CHARACTERS = [c for c, byte in printed_bytes().items() if chr(byte) not in MISSING]
TOKENS = [*SPECIAL, *CHARACTERS, *(pair.replace(" ", "") for pair in MERGES)]
BLOCKS, C, HIDDEN = 2, 64, 96
FACTS = {
    "general.architecture": "llama",
    "llama.context_length": 32,
    "llama.block_count": BLOCKS,
    "llama.embedding_length": C,
    "llama.feed_forward_length": HIDDEN,
    "llama.attention.head_count": 4,
    "llama.attention.head_count_kv": 2,
    "llama.attention.layer_norm_rms_epsilon": 1e-5,
    "llama.rope.freq_base": 100.0,
    "tokenizer.ggml.model": "gpt2",
    "tokenizer.ggml.pre": "smollm",
    "tokenizer.ggml.tokens": TOKENS,
    "tokenizer.ggml.token_type": [3] * len(SPECIAL) + [1] * (len(TOKENS) - len(SPECIAL)),
    "tokenizer.ggml.merges": MERGES,
}


def tensors() -> dict[str, np.ndarray]:
    """By the file's names, as transformers would have them before anything is packed."""
    draw = np.random.default_rng(0)
    shapes = {
        "attn_norm": (C,), "attn_q": (C, C), "attn_k": (C // 2, C), "attn_v": (C // 2, C),
        "attn_output": (C, C), "ffn_norm": (C,), "ffn_gate": (HIDDEN, C), "ffn_up": (HIDDEN, C),
        "ffn_down": (C, HIDDEN),
    }
    found = {"token_embd.weight": (len(TOKENS), C), "output_norm.weight": (C,)}
    for layer in range(BLOCKS):
        found |= {f"blk.{layer}.{name}.weight": shape for name, shape in shapes.items()}
    return {
        name: draw.normal(1 if len(shape) == 1 else 0, 0.3, shape).astype(np.float32)
        for name, shape in found.items()
    }


def write(path: Path, facts: Mapping = FACTS, changed: Mapping = {}) -> Path:
    """A file with these facts; some of its tensors are changed, or missing where it says None."""
    writer = GGUFWriter(path, "llama")
    writer.kv_data[0].clear()                        # the architecture: it is one of the facts
    for name, value in facts.items():
        writer.add_key_value(name, value, GGUFValueType.get_type(value))
    for name, tensor in {**tensors(), **changed}.items():
        if tensor is None:
            continue
        kind = GGMLQuantizationType.F32
        if tensor.ndim == 2:
            kind = GGMLQuantizationType.Q8_0 if "embd" in name else GGMLQuantizationType.Q4_1
        writer.add_tensor(name, quantize(tensor, kind), raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path
