"""Models and training runs as files: safetensors with a JSON header, never pickle.

A file holds tensors and plain values only, so loading one cannot run anybody's code. It carries a
digest of all it holds, so a damaged or altered file is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from torch import Tensor

from gptlib.config import GPTConfig
from gptlib.data import as_ids
from gptlib.files import replacing
from gptlib.model import GPTModel, check_model
from gptlib.tap import own_name
from gptlib.training import Step, TrainConfig, TrainingRun


def save_model(
    model: GPTModel, path: str | os.PathLike, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights and configuration to one file, as float16 for instance in half the space.

    A model whose head was tied by hand is stored as tied, a compiled one as it was written.
    Patches and other hooks are no part of it. Raises a ValueError for a model that isn't what
    `GPTModel(config)` builds and for a `dtype` that cannot hold its weights, a TypeError for
    another kind of model, and an OSError where writing fails.
    """
    if dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(
            f"dtype is {dtype}, but weights are saved as torch.float32, torch.float16 or "
            "torch.bfloat16: choose one."
        )
    config, weights = _config(model), _weights(model)
    stored = {name: tensor.to(dtype) for name, tensor in weights.items()}
    for name, tensor in stored.items():
        if not tensor.isfinite().all() and weights[name].isfinite().all():
            raise ValueError(
                f"{name} has numbers that are too large for {dtype}: save the model as "
                "torch.bfloat16 or torch.float32."
            )
    _write(path, "model", {"config": config}, stored)


def load_model(path: str | os.PathLike, device: torch.device | str = "cpu") -> GPTModel:
    """The model that `save_model` wrote, in evaluation mode and in float32, none of it frozen.

    Raises a FileNotFoundError, or a ValueError for a file that is not whole, not ours or altered.
    """
    header, tensors = _read(path, "model")
    return _model(header["config"], tensors).to(device, torch.float32).eval()


def save_run(run: TrainingRun, path: str | os.PathLike) -> None:
    """Write all that a run needs to go on: weights, optimizers, settings, history.

    Random state and place in the data follow from the seed and the number of steps done. The text
    itself is not written, only its digest.
    """
    tensors = {f"model.{name}": tensor for name, tensor in _weights(run.model).items()}
    for which, optimizer in enumerate(run.optimizers):
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{which}.{number}.{key}": x for key, x in state.items()}
    header = {
        "config": _config(run.model),
        "train": dataclasses.asdict(run.config),
        "history": [dataclasses.asdict(step) for step in run.history],
        "text": _digest_of_ids(run.train_ids),
    }
    _write(path, "training run", header, tensors)


def load_run(
    path: str | os.PathLike,
    train_ids: Sequence[int] | Tensor,
    validation_ids: Sequence[int] | Tensor | None,
    device: torch.device | str | None = None,
) -> TrainingRun:
    """The run that `save_run` wrote, ready to go on as if it had never stopped.

    Raises what `load_model` raises, and a ValueError where `train_ids` are not the run's own.
    """
    header, tensors = _read(path, "training run")
    if _digest_of_ids(as_ids(train_ids)) != header["text"]:
        raise ValueError(
            f"{path} belongs to a run on another text, but a run can only go on with the ids it "
            "began with: pass the same text and tokenizer, or start a new run."
        )
    model = _model(header["config"], _under("model.", tensors))
    run = TrainingRun(model, train_ids, validation_ids, TrainConfig(**header["train"]), device)
    states = [
        _optimizer_state(optimizer, _under(f"optimizer.{which}.", tensors))
        for which, optimizer in enumerate(run.optimizers)
    ]
    run.resume(states, [Step(**step) for step in header["history"]])
    return run


def _weights(model: GPTModel) -> dict[str, Tensor]:
    """Every parameter by name; a tied matrix once."""
    return {own_name(name): parameter.detach() for name, parameter in model.named_parameters()}


@torch.no_grad()
def _model(config: dict, tensors: dict[str, Tensor]) -> GPTModel:
    """A model with these weights; the caller's random numbers are left as they were."""
    with torch.random.fork_rng(devices=[]):
        model = GPTModel(config)
    weights = _weights(model)
    shapes = [{n: {"shape": tuple(x.shape)} for n, x in w.items()} for w in (tensors, weights)]
    difference = _difference(*shapes)
    if difference:
        raise ValueError(
            f"The file's weights aren't those of its configuration ({difference}): save the model "
            "again with this version of gptlib."
        )
    for name, weight in weights.items():
        weight.copy_(tensors[name])
    return model


def _config(model: GPTModel) -> dict:
    """The configuration that builds this very model. Raises a ValueError where none does."""
    check_model(model)
    found = _parts(model)
    tied = found.get("output_head.weight", {}).get("place") == "token_embedding.weight"
    config = dataclasses.replace(GPTConfig.of(model.config), tie_weights=tied)
    with torch.device("meta"):
        difference = _difference(found, _parts(GPTModel(config)))
    if difference:
        raise ValueError(
            f"This model isn't what its configuration builds ({difference}), so it would not come "
            "back from a file: give it a model.config that builds it, or keep model.state_dict()."
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(
            "This model lies on the meta device, where weights have shapes but no values: build it "
            "on another device, and load or train it first."
        )
    return config.to_dict()


def _parts(model: GPTModel) -> dict[str, dict]:
    """By name, what each module is and each tensor looks like: all of a model but its numbers."""
    parts: dict[str, dict] = {}
    for name, module in model.named_modules(remove_duplicate=False):
        settings = {
            key: value for key, value in vars(module).items()
            if isinstance(value, (int, float, str)) and key != "training"
        }
        kind = f"{type(module).__module__}.{type(module).__qualname__}"
        forward = "its own" if "forward" in vars(module) else "its class's"
        # What was compiled comes after its wrapper, which has the same name, and replaces it.
        parts[own_name(name)] = {"kind": kind, "forward": forward, **settings}
    first: dict[int, str] = {}
    for named in (model.named_parameters, model.named_buffers):
        for name, tensor in named(remove_duplicate=False):
            name = own_name(name)
            place = first.setdefault(id(tensor), name)  # a tied matrix lies where its first name is
            parts[name] = {"shape": tuple(tensor.shape), "place": place}
    return parts


def _difference(found: dict[str, dict], expected: dict[str, dict]) -> str:
    """The first part that is not as expected, in words; an empty text where there is none."""
    for name in {**expected, **found}:
        if name not in found or name not in expected:
            return f"{name} is {'missing' if name in expected else 'not part of it'}"
        for key, value in expected[name].items():
            if found[name].get(key) != value:
                return f"{name or 'model'}: {key} is {found[name].get(key)}, not {value}"
    return ""


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict:
    """What the optimizer's `load_state_dict` takes, from tensors by `number.name`."""
    groups = optimizer.state_dict()["param_groups"]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        state.setdefault(int(number), {})[key] = tensor
    return {"state": state, "param_groups": groups}


def _under(prefix: str, tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """The tensors whose name begins with `prefix`, without it."""
    return {n[len(prefix) :]: tensor for n, tensor in tensors.items() if n.startswith(prefix)}


def _write(path: str | os.PathLike, kind: str, header: dict, tensors: dict[str, Tensor]) -> None:
    from safetensors import SafetensorError
    from safetensors.torch import save_file

    tensors = {name: tensor.cpu().contiguous() for name, tensor in tensors.items()}
    text = json.dumps(header)
    metadata = {"gptlib": kind, "header": text, "digest": _digest(text, tensors)}
    with replacing(path) as temporary:
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # the library's word for what the disk refused
            raise OSError(str(error)) from error


def _read(path: str | os.PathLike, kind: str) -> tuple[dict, dict[str, Tensor]]:
    from safetensors import SafetensorError, safe_open

    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"There is no file {path}: check the path, or save a {kind} there first."
        )
    try:
        with safe_open(path, "pt") as file:
            metadata = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, OSError) as error:
        raise ValueError(
            f"{path} is not a whole safetensors file ({error}): it was cut short or is of another "
            "kind; use an earlier copy."
        ) from error
    if metadata.get("gptlib") != kind:
        found = f"a {metadata['gptlib']}" if "gptlib" in metadata else "something else"
        raise ValueError(f"{path} holds {found}, not a {kind}: choose a file saved as a {kind}.")
    if metadata.get("digest") != _digest(metadata.get("header", ""), tensors):
        raise ValueError(
            f"{path} was altered or damaged since it was saved, its digest does not fit: use an "
            "earlier copy."
        )
    return json.loads(metadata["header"]), tensors


def _digest(header: str, tensors: dict[str, Tensor]) -> str:
    """SHA-256 of a file's whole content: the header, then every tensor by name."""
    digest = hashlib.sha256(header.encode())
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tensor.dtype} {tuple(tensor.shape)}".encode())
        digest.update(tensor.reshape(-1).view(torch.uint8).numpy())
    return digest.hexdigest()


def _digest_of_ids(ids: Tensor) -> str:
    return hashlib.sha256(ids.contiguous().numpy()).hexdigest()
