"""GPT-2 as OpenAI published it, in our own `GPTModel`.

>>> model, tokenizer = gpt2("124M")
>>> complete(model, tokenizer, "The capital of France is", 20)

Its files name and store the same matrices in another way. `map_name` says what each of ours is
called there. Query, key and value are one matrix, c_attn, and what OpenAI built as a convolution,
c_attn, c_proj and c_fc, is stored as (in, out), while nn.Linear has (out, in).

Radford et al. (2019), "Language Models are Unsupervised Multitask Learners"; the layout is that of
huggingface.co/openai-community/gpt2.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor, nn

from gptlib.checkpoint import materialized, meta_model
from gptlib.checks import shown
from gptlib.config import GPT2_FAMILY, GPTConfig
from gptlib.model import GPTModel
from gptlib.pretrained.stored import SINGLE, StoredTensor, read_json, refuse, stored_tensors
from gptlib.tokenizer import BPETokenizer, gpt2_tokenizer

SIZES = dict(zip(("124M", "355M", "774M", "1.5B"), GPT2_FAMILY.values(), strict=True))
# Where each is published; before 2024, the first name was all there was.
REPOSITORIES = {
    "124M": ("gpt2", "openai-community/gpt2"),
    "355M": ("gpt2-medium", "openai-community/gpt2-medium"),
    "774M": ("gpt2-large", "openai-community/gpt2-large"),
    "1.5B": ("gpt2-xl", "openai-community/gpt2-xl"),
}
NAMES = {
    "token_embedding": "wte", "position_embedding": "wpe", "blocks": "h",
    "attention_norm": "ln_1", "attention": "attn", "query": "c_attn", "key": "c_attn",
    "value": "c_attn", "output": "c_proj", "feed_forward_norm": "ln_2", "feed_forward": "mlp",
    "expand": "c_fc", "contract": "c_proj", "final_norm": "ln_f", "output_head": "lm_head",
    "scale": "weight", "shift": "bias",
}
DTYPES = ("F64", "F32", "F16", "BF16")           # of weights, as safetensors names them
MASKS = (".attn.bias", ".attn.masked_bias")      # which our model makes when it needs them
# What a GPT-2 may be told in its config.json, and what ours always does.
FIXED = {
    "model_type": "gpt2", "activation_function": "gelu_new", "layer_norm_epsilon": 1e-5,
    "scale_attn_weights": True, "scale_attn_by_inverse_layer_idx": False,
    "add_cross_attention": False,
}
OURS = {
    "vocab_size": "vocab_size", "context_length": "n_positions", "emb_dim": "n_embd",
    "n_heads": "n_head", "n_layers": "n_layer",
}


def gpt2(
    size: str = "124M", path: str | os.PathLike | None = None
) -> tuple[GPTModel, BPETokenizer]:
    """GPT-2 in one of its sizes, "124M", "355M", "774M" or "1.5B", and its tokenizer.

    The weights come from `path`, a file or a folder, where it is given; else from the local cache
    of the Hugging Face Hub; else they are downloaded into it, 0.5, 1.5, 3.2 or 6.4 GB. Raises a
    ConnectionError or ModuleNotFoundError where that isn't possible, and what `load_gpt2` raises.
    """
    config = {**_sizes_of(size), "qkv_bias": True, "tie_weights": True}
    if path is None:
        path = find_gpt2(size) or _download(size)
    return load_gpt2(path, config), gpt2_tokenizer()


def find_gpt2(size: str = "124M") -> Path | None:
    """The file of GPT-2's weights in the local cache of the Hugging Face Hub, if it is there."""
    _sizes_of(size)
    try:
        from huggingface_hub import try_to_load_from_cache
    except ImportError:
        return None
    found = [try_to_load_from_cache(name, SINGLE) for name in reversed(REPOSITORIES[size])]
    return next((Path(path) for path in found if isinstance(path, str)), None)


def load_gpt2(path: str | os.PathLike, config: GPTConfig | Mapping | None = None) -> GPTModel:
    """A model with weights in GPT-2's layout, in evaluation mode and in float32.

    `path` is a safetensors file, or a folder in which one is, or several with an index. Without
    `config`, the configuration is that of the config.json beside it. Every weight of the model must
    be in the file, in its shape, and nothing else but masks. It takes hardly more memory than the
    model. Raises a FileNotFoundError, or a ValueError that names the tensor that doesn't fit.
    """
    stored = _stored(path)
    path = Path(path)
    config = _published_config(path) if config is None else GPTConfig.of(config)
    model = meta_model(config)
    head = stored.pop("lm_head.weight", None) if config.tie_weights else None
    _check_all_fit(path, stored, _places(model))
    if head and not _are_equal(head, stored["wte.weight"]):
        refuse(path, "lm_head.weight differs from wte.weight, but with tie_weights they are one")
    for name, places in _places(materialized(model)).items():
        parts = stored[name].read().split([place.shape[1] for place in places], dim=-1)
        for place, part in zip(places, parts, strict=True):
            place.copy_(part)
    return model.eval()


def gpt2_tensors(model: nn.Module) -> dict[str, Tensor]:
    """The weights of a GPTModel as a file in GPT-2's layout has them, which `load_gpt2` reads and
    transformers, too. Where the model's queries, keys and values have no bias, it is 0.
    """
    tensors = {}
    for name, matrices in _places(model).items():
        tensor = torch.cat(matrices, dim=1)
        is_vector = not name.endswith("weight") or ".ln_" in name or name == "ln_f.weight"
        tensors[name] = (tensor[0] if is_vector else tensor).clone()
    for layer in range(len(model.blocks)):
        width = tensors[f"h.{layer}.attn.c_attn.weight"].shape[1]
        tensors.setdefault(f"h.{layer}.attn.c_attn.bias", torch.zeros(width))
    return tensors


def map_name(name: str) -> str:
    """What GPT-2 calls it.  "blocks.0.feed_forward.expand.bias" -> "h.0.mlp.c_fc.bias" """
    return ".".join(NAMES.get(part, part) for part in name.split("."))


def _stored(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """All weights, whether their names begin with `transformer.` or not; masks left out."""
    stored: dict[str, StoredTensor] = {}
    for name, tensor in stored_tensors(path).items():
        name = name.removeprefix("transformer.")
        if name in stored:
            refuse(tensor.path, f"{shown(name)} is in it twice, with transformer. and without")
        if not name.endswith(MASKS):
            stored[name] = tensor
    return stored


def _places(model: nn.Module) -> dict[str, list[Tensor]]:
    """Where the numbers of each of GPT-2's tensors belong: views of our parameters as matrices,
    turned as they are stored, which together, side by side, are the tensor. Of c_attn they are
    three, else it is one.
    """
    places: dict[str, list[Tensor]] = {}
    for name, parameter in model.named_parameters():
        theirs = map_name(name)
        matrix = parameter.detach()
        if matrix.dim() == 1:
            matrix = matrix[None]
        elif ".c_" in theirs:
            matrix = matrix.T
        places.setdefault(theirs, []).append(matrix)
    return places


def _check_all_fit(
    path: Path, stored: dict[str, StoredTensor], places: dict[str, list[Tensor]]
) -> None:
    for name, matrices in places.items():
        if name not in stored:
            refuse(path, f"{name} is missing in it")
        rows, columns = matrices[0].shape[0], sum(matrix.shape[1] for matrix in matrices)
        expected = (rows, columns) if rows > 1 else (columns,)
        if stored[name].shape not in (expected, (rows, columns)):
            refuse(path, f"{name} has the shape {stored[name].shape}, but a model of these sizes "
                         f"has {expected}")
        if stored[name].dtype not in DTYPES:
            refuse(path, f"{name} has numbers of the type {stored[name].dtype}, which is none of "
                         f"{', '.join(DTYPES)}")
    for name in stored:
        if name not in places:
            refuse(path, f"it also has {shown(name)}, for which a model of these sizes has no "
                         "place")


def _are_equal(one: StoredTensor, other: StoredTensor) -> bool:
    same_form = (one.shape, one.dtype) == (other.shape, other.dtype)
    return same_form and torch.equal(one.read(), other.read())


def _sizes_of(size: str) -> dict:
    if not isinstance(size, str) or size not in SIZES:
        raise ValueError(
            f"size is {shown(size)}, but GPT-2 was published as {', '.join(SIZES)}: choose one of "
            "them, or load a file of another size with load_gpt2."
        )
    return SIZES[size]


def _published_config(path: Path) -> GPTConfig:
    """The configuration in the config.json of a folder, or beside a file."""
    file = (path if os.path.isdir(path) else path.parent) / "config.json"
    if not file.is_file():
        raise FileNotFoundError(
            f"Beside the weights there is no {file}, which says how many heads the model has: put "
            "it there, or pass a config."
        )
    said = read_json(file)
    for key in OURS.values():
        if key not in said:
            refuse(file, f"{key} is missing in it")
    config = GPTConfig(
        **{ours: said[theirs] for ours, theirs in OURS.items()}, qkv_bias=True,
        drop_rate=said.get("resid_pdrop", 0.1), tie_weights=said.get("tie_word_embeddings", True),
    )
    for key, value in FIXED.items():
        if said.get(key, value) != value:
            refuse(file, f"{key} is {shown(said[key])}, but in our GPTModel it is {shown(value)}")
    if said.get("n_inner") not in (None, 4 * config.emb_dim):
        refuse(file, f"n_inner is {shown(said['n_inner'])}, but in our GPTModel it is four times "
                     "n_embd")
    return config


def _download(size: str) -> str:
    """The path of the downloaded weights. Raises a ConnectionError with the ways out."""
    repository = REPOSITORIES[size][-1]
    otherwise = (
        f"get {SINGLE} from https://huggingface.co/{repository} on a machine with a network, and "
        f"pass its path, gpt2({size!r}, path), or go on with the storyteller, which is here."
    )
    try:
        from huggingface_hub import hf_hub_download
    except ImportError:
        raise ModuleNotFoundError(
            "To download GPT-2, the package huggingface_hub is needed, which is not installed: run "
            f"`pip install huggingface_hub`, or {otherwise}"
        ) from None
    try:
        return hf_hub_download(repository, SINGLE)
    except Exception as error:          # of several libraries, which change from release to release
        raise ConnectionError(
            f"GPT-2's weights ({size}) are not in the local cache of the Hugging Face Hub, and "
            f"could not be downloaded ({type(error).__name__}): {otherwise}"
        ) from error
