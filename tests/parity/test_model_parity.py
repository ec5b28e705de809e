"""Our model beside other implementations of the same architecture, with the same weights."""

import pytest
import torch
from helpers import random_ids
from torch import nn
from transformers import GPT2Config, GPT2LMHeadModel

from gptlib.attention import MultiHeadAttention
from gptlib.config import GPTConfig
from gptlib.model import GPTModel
from gptlib.training import next_token_loss

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


@pytest.fixture(scope="module")
def pair() -> tuple[GPTModel, GPT2LMHeadModel]:
    ours, theirs = GPTModel(CONFIG).eval(), peer()
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(mapped(name, weights))
    return ours, theirs


def test_logits_equal_transformers_gpt2(pair):
    ours, theirs = pair
    ids = random_ids(3, 32, vocab_size=97)
    with torch.inference_mode():
        torch.testing.assert_close(ours(ids), theirs(ids).logits, atol=1e-5, rtol=1e-5)


def test_gradients_equal_transformers_gpt2(pair):
    ours, theirs = pair
    ids = random_ids(3, 33, vocab_size=97)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    next_token_loss(ours(inputs), targets).backward()
    next_token_loss(theirs(inputs).logits, targets).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        torch.testing.assert_close(
            parameter.grad, mapped(name, gradients), atol=1e-5, rtol=1e-5, msg=name
        )


def test_attention_equals_torchs_multihead_attention():
    torch.manual_seed(0)
    ours = MultiHeadAttention(CONFIG).eval()
    theirs = nn.MultiheadAttention(48, 4, bias=True, batch_first=True).eval()
    with torch.no_grad():
        projections = (ours.query, ours.key, ours.value)
        theirs.in_proj_weight.copy_(torch.cat([layer.weight for layer in projections]))
        theirs.in_proj_bias.copy_(torch.cat([layer.bias for layer in projections]))
        theirs.out_proj.load_state_dict(ours.output.state_dict())
        x = torch.randn(2, 10, 48)
        blocked = nn.Transformer.generate_square_subsequent_mask(10)
        expected, _ = theirs(x, x, x, attn_mask=blocked, is_causal=True, need_weights=False)
        torch.testing.assert_close(ours(x), expected, atol=1e-5, rtol=1e-5)
