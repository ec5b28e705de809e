"""Our model with what chapter 9 changes, beside Llama as transformers has it."""

import pytest
import torch
from helpers import random_ids
from llama_peer import CONFIG, peer, peers_name
from transformers import LlamaConfig
from transformers.models.llama import modeling_llama

from gptlib.attention import repeat_kv, rotate
from gptlib.blocks import RMSNorm
from gptlib.model import GPTModel
from gptlib.training import next_token_loss


@pytest.fixture(scope="module")
def pair():
    ours, theirs = GPTModel(CONFIG).eval(), peer()
    weights = dict(theirs.named_parameters())
    with torch.no_grad():
        for name, parameter in ours.named_parameters():
            parameter.copy_(weights.pop(peers_name(name)))
    assert not weights, "each weight of theirs has its place in ours"
    return ours, theirs


def close(ours, theirs, **options):
    torch.testing.assert_close(ours, theirs, atol=1e-5, rtol=1e-5, **options)


def test_logits_equal_transformers_llama(pair):
    ours, theirs = pair
    ids = random_ids(3, 40, vocab_size=97)
    with torch.inference_mode():
        close(ours(ids), theirs(ids).logits)


def test_gradients_equal_transformers_llama(pair):
    ours, theirs = pair
    ids = random_ids(3, 33, vocab_size=97)
    inputs, targets = ids[:, :-1], ids[:, 1:]
    next_token_loss(ours(inputs), targets).backward()
    next_token_loss(theirs(inputs).logits, targets).backward()
    gradients = {name: parameter.grad for name, parameter in theirs.named_parameters()}
    for name, parameter in ours.named_parameters():
        close(parameter.grad, gradients[peers_name(name)], msg=name)


@torch.inference_mode()
def test_the_norm_and_the_feed_forward_network_equal_llamas(pair):
    ours, theirs = pair
    x = 3 * torch.randn(2, 7, 48)
    layer = theirs.model.layers[1]
    close(ours.blocks[1].feed_forward_norm(x), layer.post_attention_layernorm(x))
    close(ours.blocks[1].feed_forward(x), layer.mlp(x))
    norm = RMSNorm(48, eps=0.1)
    peers = modeling_llama.LlamaRMSNorm(48, eps=0.1)
    close(norm(x), peers(x))


@pytest.mark.parametrize("past", [0, 13])
def test_rotated_vectors_equal_llamas(past):
    positions = torch.arange(past, past + 7)
    queries, keys = torch.randn(2, 6, 7, 8), torch.randn(2, 2, 7, 8)
    config = LlamaConfig(
        hidden_size=48, num_attention_heads=6,
        rope_parameters={"rope_type": "default", "rope_theta": 500.0},
    )
    cosine, sine = modeling_llama.LlamaRotaryEmbedding(config)(queries, positions[None])
    expected = modeling_llama.apply_rotary_pos_emb(queries, keys, cosine, sine)
    close(rotate(queries, positions, 500.0), expected[0])
    close(rotate(keys, positions, 500.0), expected[1])


def test_shared_heads_are_repeated_as_llamas():
    x = torch.randn(2, 3, 5, 4)
    close(repeat_kv(x, 4), modeling_llama.repeat_kv(x, 4))
