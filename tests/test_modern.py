"""What chapter 9 changes: each part by hand, and the whole model as watchable as before."""

import dataclasses
import math

import pytest
import torch
import torch.nn.functional as F
from helpers import TINY, random_ids

from gptlib.attention import MultiHeadAttention, repeat_kv, rotate
from gptlib.blocks import RMSNorm, SwiGLU, rms_norm
from gptlib.checkpoint import load_model, save_model
from gptlib.config import GPTConfig
from gptlib.model import GPTModel, count_parameters, parameters_by_part
from gptlib.tap import record
from gptlib.trace import trace

CHANGES = {
    "norm": {"norm": "rms"},
    "positions": {"positions": "rotary"},
    "feed-forward": {"feed_forward": "swiglu", "hidden_dim": 20},
    "shared heads": {"n_kv_heads": 2},
    "all": {
        "norm": "rms", "positions": "rotary", "feed_forward": "swiglu", "n_kv_heads": 1,
        "output_bias": False, "tie_weights": True,
    },
}
each_change = pytest.mark.parametrize("change", CHANGES)


def lively(change) -> GPTModel:
    torch.manual_seed(0)
    model = GPTModel(dataclasses.replace(TINY, **CHANGES[change])).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.2 * torch.randn_like(parameter))
    return model


def test_rms_norm_by_hand():
    """3, 4 has the mean square 12.5."""
    normed = rms_norm(torch.tensor([3.0, 4.0]), torch.tensor([1.0, 10.0]), eps=0)
    root = math.sqrt(12.5)
    torch.testing.assert_close(normed, torch.tensor([3 / root, 40 / root]))


def test_the_written_out_rms_norm_the_layer_and_torch_agree():
    x, layer = 5 + 3 * torch.randn(2, 4, 16), RMSNorm(16, eps=0.3)
    with torch.no_grad():
        layer.scale.uniform_(0.5, 2)
    expected = F.rms_norm(x, (16,), layer.scale, 0.3)
    torch.testing.assert_close(layer(x), expected)
    torch.testing.assert_close(rms_norm(x, layer.scale, 0.3), expected)


def test_a_rotation_by_hand():
    """Two numbers turn by the position itself; of four, the second pair turns slower."""
    x = torch.tensor([[1.0, 0.0], [1.0, 0.0]])
    expected = torch.tensor([[1.0, 0.0], [math.cos(1), math.sin(1)]])
    torch.testing.assert_close(rotate(x, torch.arange(2)), expected)
    x = torch.tensor([[1.0, 1.0, 0.0, 0.0]])
    expected = torch.tensor([[math.cos(5), math.cos(0.5), math.sin(5), math.sin(0.5)]])
    torch.testing.assert_close(rotate(x, torch.tensor([5]), base=100.0), expected)


def test_rotated_products_depend_on_the_distance_only():
    query, key = torch.randn(1, 8), torch.randn(1, 8)

    def product(query_at, key_at):
        return rotate(query, torch.tensor([query_at])) @ rotate(key, torch.tensor([key_at])).T

    torch.testing.assert_close(product(9, 4), product(105, 100))
    assert not torch.allclose(product(9, 4), product(9, 5))


def test_a_rotation_keeps_lengths():
    x = torch.randn(2, 3, 5, 8)
    torch.testing.assert_close(rotate(x, torch.arange(5)).norm(dim=-1), x.norm(dim=-1))


def test_swiglu_by_hand():
    """One number in, two hidden ones: silu(1 · x) · 3x and silu(-1 · x) · 5x, added up."""
    layer = SwiGLU(dataclasses.replace(TINY, emb_dim=1, n_heads=1, hidden_dim=2))
    with torch.no_grad():
        layer.gate.weight.copy_(torch.tensor([[1.0], [-1.0]]))
        layer.expand.weight.copy_(torch.tensor([[3.0], [5.0]]))
        layer.contract.weight.fill_(1.0)
        result = layer(torch.tensor([[2.0]])).item()
    opened = 1 / (1 + math.exp(-2))
    assert result == pytest.approx(2 * opened * 6 - 2 * (1 - opened) * 10, rel=1e-5)


def test_a_shared_head_is_repeated_for_each_of_its_queries():
    x = torch.tensor([1.0, 2.0]).reshape(1, 2, 1, 1)
    assert repeat_kv(x, 3).flatten().tolist() == [1, 1, 1, 2, 2, 2]


def test_with_a_key_head_for_each_query_head_nothing_changes():
    torch.manual_seed(0)
    plain = MultiHeadAttention(TINY)
    shared = MultiHeadAttention(dataclasses.replace(TINY, n_kv_heads=TINY.n_heads))
    shared.load_state_dict(plain.state_dict())
    x = torch.randn(2, 5, TINY.emb_dim)
    assert torch.equal(plain(x), shared(x))


def test_shared_heads_are_plain_ones_with_equal_keys_and_values():
    torch.manual_seed(0)
    plain = MultiHeadAttention(TINY)
    shared = MultiHeadAttention(dataclasses.replace(TINY, n_kv_heads=2))
    weights = shared.state_dict()
    D, times = TINY.head_dim, TINY.n_heads // 2
    for part in ("key", "value"):
        for kind in {name.rpartition(".")[2] for name in weights if part in name}:
            heads = weights[f"{part}.{kind}"].unflatten(0, (2, D))
            weights[f"{part}.{kind}"] = heads.repeat_interleave(times, dim=0).flatten(0, 1)
    plain.load_state_dict(weights)
    x = torch.randn(2, 5, TINY.emb_dim)
    torch.testing.assert_close(plain(x), shared(x))


@each_change
@torch.inference_mode()
def test_with_a_cache_the_logits_are_the_same(change):
    model, ids = lively(change), random_ids(2, 12)
    cache = model.new_cache()
    pieces = [model(piece, cache) for piece in ids.split([5, 1, 4, 2], dim=1)]
    torch.testing.assert_close(torch.cat(pieces, dim=1), model(ids))


@torch.inference_mode()
def test_the_cache_keeps_the_few_heads():
    model = lively("shared heads")
    cache = model.new_cache()
    model(random_ids(3, 7), cache)
    keys, values = cache[0].extend(*2 * [torch.zeros(3, 2, 1, TINY.head_dim)])
    assert keys.shape == values.shape == (3, 2, 8, TINY.head_dim)


@each_change
@torch.inference_mode()
def test_whoever_watches_sees_all_heads_and_the_same_logits(change):
    model, ids = lively(change), random_ids(1, 9)
    unwatched = model(ids)
    with record(model) as activations:
        watched = model(ids)
    torch.testing.assert_close(watched, unwatched, atol=1e-5, rtol=1e-5)
    assert activations["blocks.1.attention.weights"].shape == (1, TINY.n_heads, 9, 9)
    assert trace(model, ids[0]).attention.shape == (TINY.n_layers, TINY.n_heads, 9, 9)


@each_change
def test_a_changed_future_token_moves_no_earlier_logit(change):
    model, ids = lively(change), random_ids(1, 9)
    other = ids.clone()
    other[0, 5] = (ids[0, 5] + 1) % TINY.vocab_size
    with torch.inference_mode():
        moved = (model(ids) - model(other)).abs().amax(dim=-1)[0]
    assert moved[:5].max() == 0 < moved[5:].min()


@each_change
def test_a_file_brings_the_model_back(change, tmp_path):
    model, ids = lively(change), random_ids(1, 9)
    save_model(model, tmp_path / "model.safetensors")
    other = load_model(tmp_path / "model.safetensors")
    assert other.config == model.config
    assert torch.equal(model(ids), other(ids))


@each_change
def test_parts_are_counted_and_begin_as_they_should(change):
    config = dataclasses.replace(TINY, **CHANGES[change])
    model = GPTModel(config)
    assert sum(parameters_by_part(config).values()) == count_parameters(model)
    ends = model.blocks[0].feed_forward.contract.weight
    assert ends.std() < 0.75 * model.blocks[0].feed_forward.expand.weight.std()


def test_without_learned_positions_there_is_no_embedding_of_them():
    model = GPTModel(dataclasses.replace(TINY, positions="rotary"))
    assert not any("position" in name for name, _ in model.named_parameters())
    assert parameters_by_part(model.config)["position embedding"] == 0


def test_rotary_positions_go_on_beyond_the_length_of_training():
    model = lively("positions")
    T = TINY.context_length
    model.config = dataclasses.replace(model.config, context_length=2 * T)
    ids = random_ids(1, 2 * T)
    with torch.inference_mode():
        assert model(ids).isfinite().all()


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"norm": "batch"}, "norm is 'batch', but must be layer or rms"),
        ({"positions": "sine"}, "positions is 'sine', but must be learned or rotary"),
        ({"feed_forward": "relu"}, "feed_forward is 'relu', but must be gelu or swiglu"),
        ({"n_kv_heads": 0}, "n_kv_heads is 0, but must be a whole number from 1 to 12: leave it"),
        ({"n_kv_heads": 24}, "n_kv_heads is 24"),
        ({"n_kv_heads": 5}, r"12 query heads \(n_heads\) cannot share 5 .*choose from 1, 2, 3, 4"),
        ({"norm_eps": 0}, "norm_eps is 0, but must be a number above 0"),
        ({"rotary_base": "1e4"}, "rotary_base is '1e4', but must be a number of at least 1"),
        ({"hidden_dim": 0}, "hidden_dim is 0, but must be a whole number"),
        ({"output_bias": None}, "output_bias is None, but must be True or False"),
        ({"positions": "rotary", "emb_dim": 36}, "3 wide: choose an even width"),
    ],
)
def test_a_field_that_cannot_work_is_explained(change, words):
    sizes = {"vocab_size": 9, "context_length": 8, "emb_dim": 48, "n_heads": 12, "n_layers": 1}
    with pytest.raises(ValueError, match=words):
        GPTConfig.of({**sizes, "drop_rate": 0.0, "qkv_bias": False, **change})
