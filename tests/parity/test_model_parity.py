"""Our model beside other implementations of the same architecture, with the same weights."""

import pytest
import torch
from gpt2_peer import CONFIG, mapped, peer
from helpers import random_ids
from torch import nn
from transformers import GPT2LMHeadModel

from gptlib.attention import MultiHeadAttention
from gptlib.model import GPTModel
from gptlib.training import next_token_loss


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
