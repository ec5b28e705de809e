"""Models and training runs as files: safetensors with a JSON header, never pickle.

A file holds tensors and plain values only, so loading one cannot run anybody's code. It carries a
digest of all it holds, so a damaged or altered file is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import Tensor

from gptlib.checks import shown
from gptlib.config import GPTConfig
from gptlib.data import as_ids
from gptlib.files import existing, replacing
from gptlib.model import GPTModel
from gptlib.training import Step, TrainConfig, TrainingRun

ADAMW_KEEPS = {"step", "exp_avg", "exp_avg_sq"}  # for each weight


def save_model(
    model: GPTModel, path: str | os.PathLike, dtype: torch.dtype = torch.float32
) -> None:
    """Write weights and configuration to one file, as float16 for instance in half the space.

    Raises an OSError where that fails.
    """
    weights = {name: tensor.to(dtype) for name, tensor in _weights(model).items()}
    _write(path, "model", {"config": model.config.to_dict()}, weights)


def load_model(path: str | os.PathLike, device: torch.device | str = "cpu") -> GPTModel:
    """The model that `save_model` wrote, in evaluation mode.

    Raises a FileNotFoundError, or a ValueError for a file that is not whole, not ours or altered.
    """
    header, tensors = _read(path, "model")
    with _fitting(path):
        model = _model(header["config"], tensors)
    return model.to(device).eval()


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
        "config": run.model.config.to_dict(),
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
    with _fitting(path):
        text, config = header["text"], TrainConfig(**header["train"])
        history = [Step(**step) for step in header["history"]]
        if not all(type(x) in (int, float) for step in history for x in (step.step, step.tokens)):
            raise TypeError("the history is no list of steps")
        model = _model(header["config"], _under("model.", tensors))
    if _digest_of_ids(as_ids(train_ids)) != text:
        raise ValueError(
            f"{path} belongs to a run on another text, but a run can only go on with the ids it "
            "began with: pass the same text and tokenizer, or start a new run."
        )
    run = TrainingRun(model, train_ids, validation_ids, config, device)
    with _fitting(path):
        states = [
            _optimizer_state(optimizer, _under(f"optimizer.{which}.", tensors))
            for which, optimizer in enumerate(run.optimizers)
        ]
        run.resume(states, history)
    return run


@contextmanager
def _fitting(path: str | os.PathLike) -> Iterator[None]:
    """Whatever does not fit in a file that is whole and has its digest is told in one way."""
    try:
        yield
    except (LookupError, TypeError, ValueError, AttributeError, RecursionError) as error:
        raise ValueError(
            f"{path} is whole, but not what this library writes ({type(error).__name__}: "
            f"{shown(str(error))}): use an earlier copy, or save it again."
        ) from error


def _weights(model: GPTModel) -> dict[str, Tensor]:
    """Every parameter by name; a tied matrix once."""
    return {name: parameter.detach() for name, parameter in model.named_parameters()}


@torch.no_grad()
def _model(config: dict, tensors: dict[str, Tensor]) -> GPTModel:
    """A model with these weights; the caller's random numbers are left as they were.

    Raises a ValueError where they are not those of the configuration, before any memory is taken.
    """
    config = GPTConfig.of(config)
    with torch.device("meta"):
        expected = {name: weight.shape for name, weight in _weights(GPTModel(config)).items()}
    if {name: tensor.shape for name, tensor in tensors.items()} != expected:
        raise ValueError("the weights are not those of the configuration")
    with torch.random.fork_rng(devices=[]):
        model = GPTModel(config)
    for name, parameter in model.named_parameters():
        parameter.copy_(tensors[name])
    return model


def _optimizer_state(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict:
    """What the optimizer's `load_state_dict` takes, from tensors by `number.name`."""
    groups = optimizer.state_dict()["param_groups"]
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for name, tensor in tensors.items():
        number, _, key = name.partition(".")
        parameter = parameters[int(number)]
        if tensor.shape == parameter.shape:  # fused AdamW wants both in the same memory layout
            tensor = torch.empty_like(parameter, device="cpu").copy_(tensor)
        elif key != "step" or tensor.dim():
            raise ValueError(f"{name} has shape {tuple(tensor.shape)}")
        state.setdefault(int(number), {})[key] = tensor
    kept = {"momentum_buffer"} if isinstance(optimizer, torch.optim.Muon) else ADAMW_KEEPS
    if not all(set(known) == kept for known in state.values()) or len(state) not in (
        0, len(parameters)
    ):
        raise ValueError("the optimizer does not remember the same of every weight")
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

    path = existing(path, f"save a {kind} there first.")
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
    with _fitting(path):
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
