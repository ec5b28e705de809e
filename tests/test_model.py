import dataclasses
import math

import pytest
import torch
from helpers import TINY, lively_model, random_ids, tiny_model

from gptlib.attention import KVCache
from gptlib.config import GPT2_FAMILY, GPT_CONFIG_124M, GPTConfig
from gptlib.model import GPTModel, count_parameters, parameters_by_part
from gptlib.tap import patch, record
from gptlib.training import next_token_loss


def on_paper(**changes) -> GPTModel:
    """A model of full size without memory for its weights."""
    with torch.device("meta"):
        return GPTModel({**GPT_CONFIG_124M, **changes})


def test_the_124m_configuration_has_163_009_536_parameters_or_621_83_mib():
    n_parameters = count_parameters(on_paper())
    assert n_parameters == 163_009_536
    assert round(4 * n_parameters / 2**20, 2) == 621.83


def test_tied_it_has_124_million():
    assert count_parameters(on_paper(tie_weights=True)) == 124_412_160
    assert count_parameters(on_paper(tie_weights=True, qkv_bias=True)) == 124_439_808


@pytest.mark.parametrize(
    ("name", "millions"), list(zip(GPT2_FAMILY, (124, 355, 774, 1558), strict=True))
)
def test_the_family_has_the_sizes_in_its_names(name, millions):
    config = {**GPT2_FAMILY[name], "tie_weights": True, "qkv_bias": True}
    assert round(sum(parameters_by_part(config).values()) / 1e6) == millions


@pytest.mark.parametrize("tied", [False, True])
def test_the_parts_add_up_to_the_whole(tied):
    config = {**TINY.to_dict(), "tie_weights": tied}
    parts = parameters_by_part(config)
    assert sum(parts.values()) == count_parameters(GPTModel(config))
    assert parts["output head"] == (0 if tied else TINY.vocab_size * TINY.emb_dim)
    assert parts["token embedding"] == TINY.vocab_size * TINY.emb_dim


def test_logits_have_one_score_per_token_of_the_vocabulary():
    assert tiny_model()(random_ids(3, 10)).shape == (3, 10, TINY.vocab_size)


def test_weights_begin_as_gpt2s_did():
    torch.manual_seed(0)
    config = GPTConfig(512, 64, 256, 4, 8, 0.0, True)
    model = GPTModel(config)
    small = 0.02 / math.sqrt(2 * 8)
    for name, parameter in model.named_parameters():
        if name.endswith("bias") or name.endswith("shift"):
            assert (parameter == 0).all(), name
        elif name.endswith("scale"):
            assert (parameter == 1).all(), name
        else:
            residual = name.endswith(("attention.output.weight", "feed_forward.contract.weight"))
            expected = small if residual else 0.02
            assert math.isclose(parameter.std().item(), expected, rel_tol=0.03), name
            assert abs(parameter.mean().item()) < expected / 20, name


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("vocab_size", [65, 512, 4096])
def test_the_loss_of_a_fresh_model_is_ln_v(vocab_size, tied):
    torch.manual_seed(0)
    model = GPTModel(GPTConfig(vocab_size, 64, 128, 4, 4, 0.0, False, tied)).eval()
    ids = random_ids(16, 65, vocab_size=vocab_size)
    with torch.inference_mode():
        loss = next_token_loss(model(ids[:, :-1]), ids[:, 1:]).item()
    assert abs(loss - math.log(vocab_size)) < 0.05


def test_dropout_thins_out_the_sum_of_the_embeddings():
    model = tiny_model(config=dataclasses.replace(TINY, drop_rate=0.5)).train()
    with record(model, "residual_start") as activations:
        model(random_ids(2, 20))
    assert 0.4 < (activations["residual_start"] == 0).float().mean() < 0.6


def test_weights_lie_in_memory_as_torch_lays_them():
    """FSDP refuses others, and fused AdamW goes wrong where they change after it has begun."""
    for name, parameter in tiny_model().named_parameters():
        assert parameter.is_contiguous(), name


def test_tied_weights_are_one_matrix():
    model = GPTModel({**TINY.to_dict(), "tie_weights": True})
    assert model.output_head.weight is model.token_embedding.weight


@pytest.mark.parametrize("pieces", [[12], [1] * 12, [5, 7], [5, 1, 6], [1, 11], [11, 1]])
def test_with_a_cache_the_logits_are_the_same(pieces):
    model, ids = lively_model(), random_ids(2, 12)
    cache = model.new_cache()
    parts = [model(piece, cache) for piece in ids.split(pieces, dim=1)]
    torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize(
    ("ids", "error", "words"),
    [
        ([[1, 2]], TypeError, "ids is list, but must be a tensor of whole numbers"),
        (torch.rand(1, 3), TypeError, "ids is a tensor of torch.float32"),
        (torch.tensor([1, 2, 3]), ValueError, r"shape \(3,\), but must be \(batch, tokens\)"),
        (torch.zeros(1, 0, dtype=torch.int64), ValueError, "at least one token"),
        (torch.zeros(1, 25, dtype=torch.int64), ValueError, "25 tokens came, but .* at most 24"),
        (torch.tensor([[3, 61]]), ValueError, "Token id 61 is outside .* ids 0 to 60"),
        (torch.tensor([[3, -1]]), ValueError, "Token id -1 is outside"),
    ],
)
def test_ids_that_cannot_be_are_explained(ids, error, words):
    with pytest.raises(error, match=words):
        tiny_model()(ids)


@pytest.mark.parametrize(
    ("cache", "words"),
    [
        (KVCache(24), "one KVCache for each of this model's 2 blocks, but no list came"),
        ([], r"but 0 of them came: model\.new_cache\(\) makes one"),
        ([KVCache(24)], "but 1 of them came"),
    ],
)
def test_a_cache_of_another_kind_is_explained(cache, words):
    with pytest.raises(ValueError, match=words):
        tiny_model()(random_ids(1, 3), cache)


def test_a_cache_of_strangers_is_explained():
    with pytest.raises(TypeError, match="a list of KVCaches, but a tuple is in this one"):
        tiny_model()(random_ids(1, 3), [(), ()])


def test_a_pass_that_was_broken_off_is_noticed_by_its_cache():
    model, ids = tiny_model(), random_ids(1, 3)
    cache = model.new_cache()
    model(ids, cache)

    def stop(_):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), patch(model, {"blocks.0.residual_end": stop}):
        model(ids, cache)
    with pytest.raises(ValueError, match=r"hold from 3 to 6 tokens, so .* model\.new_cache\(\)"):
        model(ids, cache)


@pytest.mark.parametrize("strict", [False, True])
def test_torch_export_takes_the_model_for_any_batch_and_length(strict):
    model, ids = lively_model(), random_ids(2, 9)
    any_size = {"ids": {0: torch.export.Dim.AUTO, 1: torch.export.Dim.AUTO}}
    exported = torch.export.export(model, (ids,), dynamic_shapes=any_size, strict=strict).module()
    for shape in ((2, 9), (3, 24)):
        ids = random_ids(*shape, seed=5)
        torch.testing.assert_close(exported(ids), model(ids), atol=1e-5, rtol=1e-5)
    with pytest.raises(IndexError):
        exported(ids - TINY.vocab_size)


def test_a_compiled_model_gives_the_same_logits_with_a_cache_too():
    model, ids = lively_model(), random_ids(2, 12)
    compiled, cache = torch.compile(model, backend="eager"), model.new_cache()
    with torch.inference_mode():
        parts = [compiled(piece, cache) for piece in ids.split([5, 1, 6], dim=1)]
        torch.testing.assert_close(torch.cat(parts, dim=1), model(ids), atol=1e-5, rtol=1e-5)


def test_on_the_meta_device_a_pass_tells_shapes():
    ids = torch.zeros(1, 5, dtype=torch.int64, device="meta")
    assert on_paper()(ids).shape == (1, 5, 50257)


def test_a_full_context_is_explained_with_a_cache_too():
    model, cache = tiny_model(), tiny_model().new_cache()
    model(random_ids(1, 20), cache)
    with pytest.raises(ValueError, match="5 tokens came after 20 in the cache, but .* at most 24"):
        model(random_ids(1, 5), cache)
    assert cache[0].length == 20
