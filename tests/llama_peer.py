"""Llama as transformers builds it, small, with lively weights; and our names of its parameters."""

import torch
from transformers import LlamaConfig, LlamaForCausalLM

from gptlib.config import GPTConfig

CONFIG = GPTConfig(
    vocab_size=97, context_length=64, emb_dim=48, n_heads=6, n_layers=3, drop_rate=0.0,
    qkv_bias=False, tie_weights=True, n_kv_heads=2, norm="rms", norm_eps=1e-6, positions="rotary",
    rotary_base=500.0, feed_forward="swiglu", hidden_dim=80, output_bias=False,
)
NAMES = {
    "token_embedding": "model.embed_tokens", "final_norm": "model.norm", "output_head": "lm_head",
    "blocks.": "model.layers.", "feed_forward_norm": "post_attention_layernorm",
    "attention_norm": "input_layernorm", "feed_forward.gate": "mlp.gate_proj",
    "feed_forward.expand": "mlp.up_proj", "feed_forward.contract": "mlp.down_proj",
    "attention.query": "self_attn.q_proj", "attention.key": "self_attn.k_proj",
    "attention.value": "self_attn.v_proj", "attention.output": "self_attn.o_proj",
    "scale": "weight",
}


def peer() -> LlamaForCausalLM:
    torch.manual_seed(0)
    model = LlamaForCausalLM(LlamaConfig(
        vocab_size=97, hidden_size=48, intermediate_size=80, num_hidden_layers=3,
        num_attention_heads=6, num_key_value_heads=2, max_position_embeddings=64,
        rms_norm_eps=1e-6, tie_word_embeddings=True, attn_implementation="eager",
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def peers_name(name: str) -> str:
    """Where transformers keeps one of our parameters."""
    for ours, theirs in NAMES.items():
        name = name.replace(ours, theirs)
    return name
