"""GPT-2's layout, as transformers itself writes it, becomes our model, strictly."""

import json
import subprocess
import sys
import types

import pytest
import torch
from helpers import lively_model, random_ids
from parity.gpt2_peer import CONFIG, peer
from safetensors.torch import load_file, save_file
from transformers import GPT2LMHeadModel

from gptcourse import gpt
from gptlib import GPT2_FAMILY, count_parameters, gpt2_tokenizer
from gptlib.config import GPTConfig
from gptlib.pretrained import gpt2 as published
from gptlib.pretrained.gpt2 import find_gpt2, gpt2, gpt2_tensors, load_gpt2

IDS = random_ids(3, 32, vocab_size=97)


def untied() -> GPT2LMHeadModel:
    config = peer().config
    config.tie_word_embeddings = False
    torch.manual_seed(1)
    model = GPT2LMHeadModel(config).eval()
    model.load_state_dict(peer().state_dict())
    with torch.no_grad():
        model.lm_head.weight = torch.nn.Parameter(0.2 * torch.randn(97, 48))
    return model


def logits(model) -> torch.Tensor:
    with torch.no_grad():
        return getattr(found := model(IDS), "logits", found)


def in_the_file_of_the_course(folder, config) -> torch.Tensor:
    """The logits of gpt.py's GPTModel with the weights of all files in the folder."""
    mine, tensors = gpt.GPTModel(config.to_dict()).eval(), {}
    for path in folder.glob("*.safetensors"):
        tensors |= gpt.read_safetensors(path)
    gpt.load_gpt2(mine, tensors)
    return logits(mine)


@pytest.mark.parametrize("kind", ["tied", "untied", "sharded", "float16", "bfloat16"])
def test_logits_equal_those_of_transformers(kind, tmp_path):
    theirs = untied() if kind == "untied" else peer()
    if kind.endswith("16"):
        theirs = theirs.to(getattr(torch, kind))
    theirs.save_pretrained(tmp_path, max_shard_size="60KB" if kind == "sharded" else "1GB")
    assert len(list(tmp_path.glob("*.safetensors"))) == (9 if kind == "sharded" else 1)
    model, expected = load_gpt2(tmp_path), logits(theirs.float())
    assert model.config == GPTConfig.of({**CONFIG.to_dict(), "tie_weights": kind != "untied"})
    assert {parameter.dtype for parameter in model.parameters()} == {torch.float32}
    assert not model.training and all(x.requires_grad for x in model.parameters())
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=1e-5)
    mine = in_the_file_of_the_course(tmp_path, model.config)
    torch.testing.assert_close(mine, expected, atol=1e-5, rtol=1e-5)


@pytest.fixture
def folder(tmp_path):
    peer().save_pretrained(tmp_path)
    return tmp_path


def rewritten(folder, change, **to) -> None:
    """The weights once more, after `change` on them as a dictionary."""
    path = folder / "model.safetensors"
    tensors = load_file(path)
    change(tensors)
    save_file({name: tensor.contiguous() for name, tensor in tensors.items()}, path)


def as_openai_did(tensors) -> None:
    """No prefix, and a mask in every layer."""
    for name in list(tensors):
        tensors[name.removeprefix("transformer.")] = tensors.pop(name)
    for layer in range(3):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 32, 32).tril()
        tensors[f"h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)


def test_it_may_be_a_file_without_prefix_with_masks_and_a_head_that_is_stored_twice(folder):
    expected = logits(peer())
    rewritten(folder, as_openai_did)
    torch.testing.assert_close(logits(load_gpt2(folder)), expected, atol=1e-5, rtol=1e-5)
    torch.testing.assert_close(
        in_the_file_of_the_course(folder, CONFIG), expected, atol=1e-5, rtol=1e-5)
    rewritten(folder, lambda all_: all_.update({"lm_head.weight": all_["wte.weight"].clone()}))
    model = load_gpt2(folder / "model.safetensors", CONFIG)
    assert model.output_head.weight is model.token_embedding.weight
    torch.testing.assert_close(logits(model), expected, atol=1e-5, rtol=1e-5)


FIRST = "transformer.h.0."


@pytest.mark.parametrize(("change", "named"), [
    (lambda all_: all_.pop(f"{FIRST}attn.c_attn.bias"), "h.0.attn.c_attn.bias is missing"),
    (lambda all_: all_.pop("transformer.wte.weight"), "wte.weight is missing"),
    (lambda all_: all_.update({"transformer.h.3.ln_1.bias": torch.zeros(48)}),
     "also has 'h.3.ln_1.bias'"),
    (lambda all_: all_.update({"wte.weight": torch.zeros(97, 48)}), "'wte.weight' is in it twice"),
    (lambda all_: all_.update({f"{FIRST}mlp.c_fc.weight": torch.zeros(192, 48)}),
     r"h.0.mlp.c_fc.weight has the shape (192, 48), but a model of these sizes has (48, 192)"),
    (lambda all_: all_.update({f"{FIRST}ln_1.bias": torch.zeros(47)}),
     "h.0.ln_1.bias has the shape (47,), but a model of these sizes has (48,)"),
    (lambda all_: all_.update({f"{FIRST}ln_1.bias": torch.zeros(48, dtype=torch.int8)}),
     "h.0.ln_1.bias has numbers of the type I8, which is none of F64"),
    (lambda all_: all_[f"{FIRST}ln_1.bias"].fill_(torch.nan), "h.0.ln_1.bias has numbers that are"),
    (lambda all_: all_.update({"lm_head.weight": torch.zeros(97, 48)}), "lm_head.weight differs"),
], ids=str)
def test_what_is_missing_left_over_or_of_another_size_is_refused_by_name(folder, change, named):
    rewritten(folder, change)
    with pytest.raises(ValueError) as told:
        load_gpt2(folder)
    assert named in str(told.value).replace(FIRST, "h.0.")


def header_of(content: bytes) -> tuple[dict, bytes]:
    start = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:start]), content[start:]


def edited(content: bytes, **changes) -> bytes:
    """The file with other words about its first tensor in the header."""
    header, numbers = header_of(content)
    name = min((name for name in header if name != "__metadata__"),
               key=lambda name: header[name]["data_offsets"])
    header[name].update(changes)
    written = json.dumps(header).encode()
    return len(written).to_bytes(8, "little") + written + numbers


@pytest.mark.parametrize(("tamper", "told"), [
    (lambda content: content[:-1], "file not fully covered"),
    (lambda content: content[: len(content) // 2], "file not fully covered"),
    (lambda content: content + b"\0", "file not fully covered"),
    (lambda content: content[:7], "header too small"),
    (lambda content: b"", "header too small"),
    (lambda content: b"\xff" * 8 + content[8:], "header too large"),
    (lambda content: content[:8] + b"x" + content[9:], "invalid JSON"),
    (lambda content: edited(content, dtype="F8"), "unknown variant `F8`"),
    (lambda content: edited(content, dtype="F16"), "invalid shape, data type, or offset"),
    (lambda content: edited(content, shape=[-144]), "invalid value: integer `-144`"),
    (lambda content: edited(content, shape=[10**30]), "expected usize"),
    (lambda content: edited(content, shape=[2**62] * 2), "overflow"),
    (lambda content: edited(content, data_offsets=[4, 580]), "c_attn.bias`"),
    (lambda content: edited(content, data_offsets=None), "expected a tuple of size 2"),
], ids=str)
def test_a_file_that_is_cut_short_or_tampered_with_is_refused_in_a_sentence(folder, tamper, told):
    path = folder / "model.safetensors"
    path.write_bytes(tamper(path.read_bytes()))
    with pytest.raises(ValueError) as error:
        load_gpt2(folder)
    assert str(error.value).startswith(
        f"{path} can't be used, because it is no whole safetensors file (")
    assert told in str(error.value)
    assert str(error.value).endswith("): download it again, or choose another file.")


@pytest.mark.parametrize(("change", "told"), [
    ({"activation_function": "gelu"}, "activation_function is 'gelu', but in our GPTModel"),
    ({"layer_norm_epsilon": 1e-6}, "layer_norm_epsilon is 1e-06"),
    ({"scale_attn_by_inverse_layer_idx": True}, "scale_attn_by_inverse_layer_idx is True"),
    ({"model_type": "llama"}, "model_type is 'llama'"), ({"n_inner": 100}, "n_inner is 100"),
    ({"n_head": 5}, "not divisible by 5 heads"), ({"n_layer": 2}, "also has 'h.2."),
    ({"n_layer": 4}, "h.3.ln_1.weight is missing"),
    ({"vocab_size": 98}, "wte.weight has the shape"),
    ({"tie_word_embeddings": False}, "lm_head.weight is missing"),
])
def test_a_configuration_that_is_not_the_weights_or_not_ours_is_refused(folder, change, told):
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **change}))
    with pytest.raises(ValueError, match=told):
        load_gpt2(folder)


def test_without_a_configuration_it_says_so(folder):
    (folder / "config.json").unlink()
    with pytest.raises(FileNotFoundError, match="how many heads the model has"):
        load_gpt2(folder)
    assert load_gpt2(folder, CONFIG).config == CONFIG


@pytest.mark.parametrize(("index", "told"), [
    ({}, "no weight_map"), ({"weight_map": {"x": "../model.safetensors"}}, "not in its own folder"),
    ({"weight_map": {"x": "a.safetensors", "y": "model.safetensors"}}, "There is no file"),
    ({"weight_map": {"x": "copy.safetensors", "y": "model.safetensors"}}, "is in two of the files"),
    ({"weight_map": {"x": 3}}, "no weight_map"), ([], "should be JSON"),
])
def test_an_index_that_leads_elsewhere_is_refused(folder, index, told):
    (folder / "copy.safetensors").write_bytes((folder / "model.safetensors").read_bytes())
    path = folder / "model.safetensors.index.json"
    path.write_text(json.dumps(index))
    with pytest.raises((ValueError, FileNotFoundError), match=told):
        load_gpt2(path)


@pytest.mark.parametrize("kind", [{}, {"tie_weights": False}, {"qkv_bias": False}], ids=str)
def test_a_model_of_ours_is_written_in_gpt2s_layout_and_read_back(kind, tmp_path):
    config = GPTConfig.of({**CONFIG.to_dict(), **kind})
    ours = lively_model(config=config)
    save_file(gpt2_tensors(ours), tmp_path / "model.safetensors")
    again = load_gpt2(tmp_path / "model.safetensors", {**config.to_dict(), "qkv_bias": True})
    torch.testing.assert_close(logits(again), logits(ours))
    theirs = peer() if config.tie_weights else untied()
    tensors = {name if name == "lm_head.weight" else f"transformer.{name}": tensor
               for name, tensor in gpt2_tensors(ours).items()}
    problems = theirs.load_state_dict(tensors, strict=False)
    assert not problems.unexpected_keys and set(problems.missing_keys) <= {"lm_head.weight"}
    torch.testing.assert_close(logits(theirs), logits(ours), atol=1e-5, rtol=1e-5)


# -- the four sizes, and where they come from -------------------------------------------------


@pytest.mark.parametrize(("size", "name"), zip(published.SIZES, GPT2_FAMILY, strict=True))
def test_the_sizes_are_those_of_the_family(size, name):
    assert published.SIZES[size] == GPT2_FAMILY[name]


@pytest.fixture
def small_gpt2(folder, monkeypatch):
    """As if GPT-2 were as small as this one."""
    monkeypatch.setitem(published.SIZES, "124M", {**CONFIG.to_dict(), "qkv_bias": False})
    return folder / "model.safetensors"


def hub(monkeypatch, cached=None, download=None) -> list:
    """huggingface_hub with these in its cache and on its servers; what it is asked for."""
    asked = []

    def get(name, file):
        asked.append(name)
        if download is None:
            raise OSError("no network")
        return download

    monkeypatch.setitem(sys.modules, "huggingface_hub", types.SimpleNamespace(
        try_to_load_from_cache=lambda name, file: (cached or {}).get(name),
        hf_hub_download=get))
    return asked


@pytest.mark.parametrize("name", ["gpt2", "openai-community/gpt2"])
def test_a_path_comes_first_then_the_cache_then_the_network(small_gpt2, monkeypatch, name):
    asked = hub(monkeypatch, {name: str(small_gpt2)}, "nowhere")
    for path in (small_gpt2, small_gpt2.parent, None):
        model, tokenizer = gpt2("124M", path)
        assert tokenizer is gpt2_tokenizer()
        torch.testing.assert_close(logits(model), logits(peer()), atol=1e-5, rtol=1e-5)
    assert find_gpt2() == small_gpt2 and asked == []
    asked = hub(monkeypatch, {}, str(small_gpt2))
    assert find_gpt2() is None
    assert count_parameters(gpt2()[0]) == count_parameters(model)
    assert asked == ["openai-community/gpt2"]


def test_where_none_has_it_a_sentence_says_the_ways_out(monkeypatch):
    hub(monkeypatch)
    with pytest.raises(ConnectionError, match=r"could not be downloaded \(OSError\): get model.*"
                                              r"pass its path, gpt2\('355M', path\), or go on"):
        gpt2("355M")
    monkeypatch.setitem(sys.modules, "huggingface_hub", None)
    assert find_gpt2() is None
    with pytest.raises(ModuleNotFoundError, match="run `pip install huggingface_hub`, or"):
        gpt2()


@pytest.mark.parametrize("size", ["medium", 124, None, "125M"])
def test_an_unknown_size_is_refused(size):
    for function in (gpt2, find_gpt2):
        with pytest.raises(ValueError, match="124M, 355M, 774M, 1.5B: choose one"):
            function(size)


MEASURE = """
import sys
from pathlib import Path
from gptlib.pretrained.gpt2 import load_gpt2

def memory(which):
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line for line in lines if line.startswith(which)).split()[1])

load_gpt2(sys.argv[2])                                   # whatever is needed once
Path("/proc/self/clear_refs").write_text("5")            # the peak is what it takes from here on
before = memory("VmRSS")
load_gpt2(sys.argv[1])
print(memory("VmHWM") - before)
"""


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere memory is counted in another way")
def test_a_load_takes_hardly_more_memory_than_the_weights(folder, tmp_path_factory):
    """Beside them there is the tensor under way; here, as in GPT-2, each is a small part of all."""
    large = tmp_path_factory.mktemp("large")
    config = {**json.loads((folder / "config.json").read_text()), "n_embd": 768, "n_head": 12,
              "n_layer": 8, "vocab_size": 5_000}
    (large / "config.json").write_text(json.dumps(config))
    with torch.device("meta"):
        model = gpt.GPTModel({**CONFIG.to_dict(), "emb_dim": 768, "n_heads": 12, "n_layers": 8,
                              "vocab_size": 5_000})
    tensors = {}
    for name, parameter in model.named_parameters():
        shape = tuple(parameter.shape)[::-1] if ".c_" in gpt.map_name(name) else parameter.shape
        if "c_attn" in gpt.map_name(name):
            shape = (*shape[:-1], 3 * shape[-1])
        tensors[gpt.map_name(name)] = torch.zeros(shape)
    save_file(tensors, large / "model.safetensors")
    weights = sum(tensor.nbytes for tensor in tensors.values())
    finished = subprocess.run([sys.executable, "-c", MEASURE, str(large), str(folder)],
                              capture_output=True, text=True, check=True)
    assert weights > 2e8
    assert 0.9 * weights < int(finished.stdout) <= 1.2 * weights
