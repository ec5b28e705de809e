import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import TINY

from gptlib.blocks import GELU, FeedForward, LayerNorm, TransformerBlock, gelu, layer_norm
from gptlib.tap import record


def test_layer_norm_by_hand():
    """1, 3 has mean 2 and variance 1."""
    scale, shift = torch.tensor([2.0, 2.0]), torch.tensor([0.0, 1.0])
    normed = layer_norm(torch.tensor([1.0, 3.0]), scale, shift)
    torch.testing.assert_close(normed, torch.tensor([-2.0, 3.0]), atol=1e-4, rtol=0)


def test_the_written_out_layer_norm_the_layer_and_torch_agree():
    torch.manual_seed(0)
    x, layer = 5 + 3 * torch.randn(2, 4, 16), LayerNorm(16)
    with torch.no_grad():
        layer.scale.uniform_(0.5, 2)
        layer.shift.normal_()
    expected = F.layer_norm(x, (16,), layer.scale, layer.shift)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(layer_norm(x, layer.scale, layer.shift), expected)


def test_a_constant_vector_is_normed_to_the_shift_and_not_to_nan():
    layer = LayerNorm(8)
    assert torch.equal(layer(torch.full((1, 8), 7.0)), torch.zeros(1, 8))


@pytest.mark.parametrize("eps", [1e-5, 0.1])
def test_eps_is_added_to_the_variance_before_the_root(eps):
    """-0.1, 0.1 has variance 0.01."""
    x, normed = torch.tensor([-0.1, 0.1]), 0.1 / math.sqrt(0.01 + eps)
    expected = torch.tensor([-normed, normed])
    torch.testing.assert_close(layer_norm(x, torch.ones(2), torch.zeros(2), eps), expected)
    torch.testing.assert_close(LayerNorm(2, eps)(x), expected)


def test_gelu_is_the_tanh_form_and_differs_from_erf_by_up_to_4_7e_4():
    x = torch.linspace(-6, 6, 12001, dtype=torch.float64)
    torch.testing.assert_close(gelu(x), F.gelu(x, approximate="tanh"))
    torch.testing.assert_close(GELU()(x), gelu(x))
    difference = (gelu(x) - F.gelu(x)).abs().max().item()
    assert math.isclose(difference, 4.7e-4, abs_tol=1e-5)


def test_the_feed_forward_net_is_four_times_as_wide_and_works_on_each_token_alone():
    net, x = FeedForward(TINY), torch.randn(1, 5, TINY.emb_dim)
    assert net.expand.out_features == 4 * TINY.emb_dim
    torch.testing.assert_close(net(x)[:, 2:3], net(x[:, 2:3]))


def test_a_block_that_writes_nothing_hands_its_input_on():
    block, x = TransformerBlock(TINY).eval(), torch.randn(2, 5, TINY.emb_dim)
    for projection in (block.attention.output, block.feed_forward.contract):
        torch.nn.init.zeros_(projection.weight)
        torch.nn.init.zeros_(projection.bias)
    assert torch.equal(block(x), x)


def test_dropout_thins_out_what_each_part_adds():
    torch.manual_seed(0)
    block = TransformerBlock(dataclasses.replace(TINY, drop_rate=0.5)).train()
    x = torch.randn(2, 20, TINY.emb_dim)
    with record(block) as activations:
        end = block(x)
    middle = activations["residual_mid"]
    for before, after in ((x, middle), (middle, end)):
        assert 0.4 < (before == after).float().mean() < 0.6


def test_a_block_adds_both_parts_to_the_residual_stream():
    block, x = TransformerBlock(TINY).eval(), torch.randn(2, 5, TINY.emb_dim)
    middle = x + block.attention(block.attention_norm(x))
    expected = middle + block.feed_forward(block.feed_forward_norm(middle))
    torch.testing.assert_close(block(x), expected)
