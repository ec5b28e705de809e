"""GPT-2 as transformers builds it, small, with lively weights; and our view of its parameters."""

import torch
from transformers import GPT2Config, GPT2LMHeadModel

from gptlib.config import GPTConfig

CONFIG = GPTConfig(
    vocab_size=97, context_length=32, emb_dim=48, n_heads=4, n_layers=3, drop_rate=0.0,
    qkv_bias=True, tie_weights=True,
)


def peer() -> GPT2LMHeadModel:
    torch.manual_seed(0)
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=97, n_positions=32, n_embd=48, n_head=4, n_layer=3, resid_pdrop=0.0,
        embd_pdrop=0.0, attn_pdrop=0.0, bos_token_id=0, eos_token_id=0,
    )).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def peers_name(name: str) -> tuple[str, slice]:
    """Where transformers keeps one of our parameters: its name, and which columns of it."""
    name = name.replace("blocks.", "transformer.h.")
    for ours, theirs in {
        "token_embedding": "transformer.wte", "position_embedding": "transformer.wpe",
        "final_norm": "transformer.ln_f", "attention_norm": "ln_1", "feed_forward_norm": "ln_2",
        "attention.output": "attn.c_proj", "feed_forward.expand": "mlp.c_fc",
        "feed_forward.contract": "mlp.c_proj", "scale": "weight", "shift": "bias",
    }.items():
        name = name.replace(ours, theirs)
    for number, part in enumerate(("query", "key", "value")):
        if f"attention.{part}" in name:
            columns = slice(48 * number, 48 * (number + 1))
            return name.replace(f"attention.{part}", "attn.c_attn"), columns
    return name, slice(None)


def mapped(name: str, tensors: dict[str, torch.Tensor]) -> torch.Tensor:
    """Our view of the peer's tensor: columns cut out, projections transposed."""
    theirs, columns = peers_name(name)
    tensor = tensors[theirs][..., columns]
    projection = any(part in theirs for part in ("c_attn", "c_proj", "c_fc"))
    return tensor.T if projection and tensor.dim() == 2 else tensor
