import math

import pytest
import torch
import torch.nn.functional as F
from helpers import TINY, lively_model, random_ids

from gptlib.attention import (
    KVCache,
    MultiHeadAttention,
    attention,
    attention_weights,
    causal_mask,
    merge_heads,
    split_heads,
)
from gptlib.tap import record

T, S, D = 5, 7, 4


def random_heads(*shape: int, seed: int = 0) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def test_a_token_looks_at_itself_and_at_the_past():
    assert causal_mask(3).tolist() == [
        [True, False, False], [True, True, False], [True, True, True],
    ]


def test_with_more_keys_than_queries_the_queries_are_the_last_tokens():
    assert causal_mask(2, 4).tolist() == [[True, True, True, False], [True, True, True, True]]


def test_attention_by_hand():
    """One query (1, 0), keys (ln 3 · √2, 0) and (0, 0): weights 3/4 and 1/4."""
    query = torch.tensor([[1.0, 0.0]])
    keys = torch.tensor([[math.log(3) * math.sqrt(2), 0.0], [0.0, 0.0]])
    values = torch.tensor([[4.0, 0.0], [0.0, 8.0]])
    torch.testing.assert_close(attention_weights(query, keys), torch.tensor([[0.75, 0.25]]))
    torch.testing.assert_close(attention(query, keys, values), torch.tensor([[3.0, 2.0]]))


def test_every_row_of_weights_sums_to_one_and_the_future_has_none():
    queries, keys = random_heads(2, T, D), random_heads(2, T, D, seed=1)
    weights = attention_weights(queries, keys, causal_mask(T))
    torch.testing.assert_close(weights.sum(-1), torch.ones(2, T))
    assert (weights.masked_select(~causal_mask(T)) == 0).all()


def test_attention_equals_torchs_kernel_also_with_more_keys_than_queries():
    q, k, v = (random_heads(2, 3, n, D, seed=n) for n in (T, S, S))
    mask = causal_mask(T, S)
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
    torch.testing.assert_close(attention(q, k, v, mask), expected)


def test_heads_are_split_and_merged_without_loss():
    x = random_heads(2, T, 12)
    heads = split_heads(x, 3)
    assert heads.shape == (2, 3, T, 4)
    torch.testing.assert_close(heads[:, 1], x[..., 4:8])
    assert torch.equal(merge_heads(heads), x)


@pytest.mark.parametrize("cut", [None, 1, 4, 7, 8])
def test_the_fused_and_the_explicit_path_give_the_same_numbers(cut):
    """Without a cache, and with one that takes all tokens but the last few before them."""
    torch.manual_seed(0)
    layer, x = MultiHeadAttention(TINY).eval(), random_heads(2, 9, TINY.emb_dim)
    results = []
    for explicit in (False, True):
        names = ["weights"] if explicit else []
        cache = None if cut is None else KVCache(9)
        pieces = [x] if cut is None else [x[:, :cut], x[:, cut:]]
        with record(layer, *(names or ["queries"])):
            results.append(torch.cat([layer(piece, cache) for piece in pieces], dim=1))
    torch.testing.assert_close(results[0], results[1])
    torch.testing.assert_close(results[0], layer(x))


def test_dropout_hits_the_weights_in_training_on_both_paths():
    config = TINY.to_dict() | {"drop_rate": 0.5}
    layer = MultiHeadAttention(type(TINY).of(config)).train()
    x = random_heads(1, 9, TINY.emb_dim)
    assert not torch.equal(layer(x), layer(x))
    with record(layer, "weights"):
        assert not torch.equal(layer(x), layer(x))


def test_a_cache_hands_back_all_keys_in_order():
    cache, keys, values = KVCache(6), random_heads(1, 2, 6, D), random_heads(1, 2, 6, D, seed=1)
    cache.extend(keys[:, :, :4], values[:, :, :4])
    all_keys, all_values = cache.extend(keys[:, :, 4:], values[:, :, 4:])
    assert torch.equal(all_keys, keys)
    assert torch.equal(all_values, values)
    assert cache.length == 6


def test_a_full_cache_says_so():
    cache = KVCache(4)
    cache.extend(random_heads(1, 2, 3, D), random_heads(1, 2, 3, D))
    with pytest.raises(ValueError, match="room for 4 tokens and holds 3, but 2 more came"):
        cache.extend(random_heads(1, 2, 2, D), random_heads(1, 2, 2, D))


@pytest.mark.parametrize("new", [
    random_heads(1, 2, 1, D), random_heads(3, 2, 1, D), random_heads(2, 1, 1, D),
    random_heads(2, 2, 1, 1), random_heads(2, 2, 1, D).half(), random_heads(2, 2, 1, D).double(),
    random_heads(2, 2, 1, D).to("meta"),
], ids=["fewer texts", "more texts", "fewer heads", "narrower", "half", "double", "elsewhere"])
def test_a_cache_goes_on_with_what_it_began_with(new):
    cache = KVCache(4)
    cache.extend(random_heads(2, 2, 3, D), random_heads(2, 2, 3, D))
    came = f"{new.shape[0]}, {new.shape[1]} heads of width {new.shape[3]}, {new.dtype} on"
    with pytest.raises(ValueError, match=f"holds a batch of 2, 2 heads .* a batch of {came}"):
        cache.extend(new, new)
    assert cache.length == 3


def test_a_cache_may_be_begun_in_inference_mode_and_continued_outside():
    model, ids = lively_model(), random_ids(2, 9)
    cache = model.new_cache()
    with torch.inference_mode():
        model(ids[:, :4], cache)
    rest = model(ids[:, 4:], cache)
    torch.testing.assert_close(rest, model(ids)[:, 4:], atol=1e-5, rtol=1e-5)


def test_a_changed_future_token_moves_no_earlier_logit():
    model, ids = lively_model(), random_ids(1, 12)
    before = model(ids)
    for place in range(1, 12):
        changed = ids.clone()
        changed[0, place] = (changed[0, place] + 1) % TINY.vocab_size
        after = model(changed)
        torch.testing.assert_close(after[:, :place], before[:, :place], atol=1e-6, rtol=0)
        assert not torch.allclose(after[:, place], before[:, place], atol=1e-4)
