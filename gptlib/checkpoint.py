"""Models and training runs as files: safetensors with a JSON header, never pickle.

A file holds tensors and plain values only, so loading one cannot run anybody's code. It carries a
digest of all it holds, so a damaged or altered file is refused.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import math
import os
import time
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

import torch
from torch import Tensor

from gptlib.checks import as_path, one_of, shown, whole
from gptlib.config import GPTConfig
from gptlib.data import as_ids, digest_of_ids
from gptlib.devices import Processes
from gptlib.files import existing, replacing
from gptlib.model import GPTModel, check_model
from gptlib.tap import own_name
from gptlib.training import Step, TrainConfig, TrainingRun


class UnreadableFile(ValueError):
    """A file is not whole, of another kind, or altered since it was saved."""


def save_model(model: GPTModel, path: str | os.PathLike, dtype=torch.float32) -> None:
    """Write weights and configuration to one file, as float16 for instance in half the space.

    A head that was tied by hand is stored as tied, a compiled model as it was written, hooks not at
    all. Raises a ValueError for a model that isn't what `GPTModel(config)` builds and for a `dtype`
    that cannot hold its weights, a TypeError for another kind, an OSError where writing fails.
    """
    one_of("dtype", dtype, torch.float32, torch.float16, torch.bfloat16)
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
    with _fitting(path):
        model = _model(header["config"], tensors)
    return model.to(device, torch.float32).eval()


def save_run(run: TrainingRun, path: str | os.PathLike) -> None:
    """Write all that a run needs to go on: weights, optimizers, settings, history; all else follows
    from the seed and the number of steps. Of the text only the digest is written.

    Of several processes that share a run, all call this, and the first one writes.
    """
    model, whole = whole_model(run), run.processes.whole
    tensors = {f"model.{name}": tensor for name, tensor in _weights(model).items()}
    for which, optimizer in enumerate(run.optimizers):
        for number, state in optimizer.state_dict()["state"].items():
            tensors |= {f"optimizer.{which}.{number}.{key}": whole(x) for key, x in state.items()}
    if not run.processes.first:
        return
    tensors["history"] = _rows(run.history)
    parameters = run.model.named_parameters()
    header = {
        "config": _config(model), "train": vars(run.config), "offset": run.offset,
        "frozen": [name for name, parameter in parameters if not parameter.requires_grad],
        "text": run.text_digest,
    }
    _write(path, "training run", header, tensors)


def whole_model(run: TrainingRun) -> GPTModel:
    """The run's model. Where processes have parts of it, and all call this, the first one gets a
    copy that has all weights; the others' has none."""
    if not run.processes.shard:
        return run.model
    weights = {name: run.processes.whole(part) for name, part in _weights(run.model).items()}
    if run.processes.first:
        return _model(run.model.config.to_dict(), weights)
    return meta_model(run.model.config)


def load_run(
    path: str | os.PathLike, train_ids: Sequence[int] | Tensor,
    validation_ids: Sequence[int] | Tensor | None, config: TrainConfig | None = None,
    device: torch.device | str | Processes | None = None,
) -> TrainingRun:
    """The run that `save_run` wrote, ready to go on as if it had never stopped, or with the new
    settings in `config`: longer, for instance, or with another learning rate or batch size.

    Raises what `load_model` raises, and a ValueError where `train_ids` are not the run's own or
    `config` has another optimizer.
    """
    header, tensors = _read(path, "training run")
    with _fitting(path):
        settings, history = TrainConfig(**header["train"]), _steps(tensors["history"])
        text = header["text"]
        offset = whole("offset", header["offset"], "save it again.", least=-len(history))
        model = _model(header["config"], _under("model.", tensors))
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(name not in header["frozen"])
    if text != digest_of_ids(as_ids(train_ids)):
        raise ValueError(
            f"{path} belongs to a run on another text, but a run can only go on with the ids it "
            "began with: pass the same text and tokenizer, or start a new run."
        )
    run = TrainingRun(model, train_ids, validation_ids, settings, device)
    run.text_digest = text
    with _fitting(path):
        kept = (_under(f"optimizer.{which}.", tensors) for which in range(len(run.optimizers)))
        run.resume(list(map(_averages, run.optimizers, kept)), history, offset)
    if config is not None:
        run.config = config
    return run


def with_checkpoints(
    run: TrainingRun, folder: str | os.PathLike, every_steps: float = math.inf,
    every_minutes: float = 10, keep: int = 3, stop: Callable[[], bool] = lambda: False,
) -> Iterator[Step]:
    """The steps of `run`, which is saved to `folder` at the start, after so many steps or minutes,
    whatever comes first, and at the end, which has come, too, once `stop()` is true. The latest
    `keep` files stay there.

    >>> for step in with_checkpoints(run, "checkpoints"):
    ...     print(step.step, step.loss)

    Raises an OSError where saving fails, after which the run can go on, and a ValueError where
    `folder` holds a later state, perhaps of another run.
    """
    keep = whole("keep", keep, "3 is usual.", least=1)
    folder = as_path(folder)
    folder.mkdir(parents=True, exist_ok=True)
    newest, path = max(_checkpoints(folder), default=(0, folder))
    if newest > run.step:
        raise ValueError(
            f"{path} is of a later step than this run's {run.step}, and could be lost: go on from "
            "there with load_newest_run, or choose another folder."
        )
    if run.processes.first:
        for left_over in folder.glob(".step-*.tmp"):  # by a process that was killed while it saved
            left_over.unlink()
    _save_newest(run, folder, keep)
    number, moment = run.step, time.monotonic()
    for step in run:
        now = time.monotonic()
        late = run.step - number >= every_steps or now - moment >= 60 * every_minutes
        ended = stop() or run.step == run.config.steps
        late, ended = run.processes.anyone(late, ended)
        if late or ended:
            _save_newest(run, folder, keep)
            number, moment = run.step, now
        yield step
        if ended:
            return


def load_newest_run(
    folder: str | os.PathLike, train_ids: Sequence[int] | Tensor,
    validation_ids: Sequence[int] | Tensor | None, config: TrainConfig | None = None,
    device: torch.device | str | Processes | None = None,
) -> TrainingRun:
    """The run of the newest whole file that `with_checkpoints` left in `folder`.

    A file that cannot be read is passed over with a warning, and gets the ending .unreadable.
    Raises what `load_run` raises, and a FileNotFoundError where there is none.
    """
    for _, path in reversed(_checkpoints(as_path(folder))):
        try:
            return load_run(path, train_ids, validation_ids, config, device)
        except FileNotFoundError:
            continue  # another process of this run has just renamed it
        except UnreadableFile as error:
            with suppress(FileNotFoundError):
                path.replace(path.with_suffix(".unreadable"))
            warnings.warn(f"{error} It was passed over and renamed to .unreadable.", stacklevel=2)
    raise FileNotFoundError(
        f"There is no whole checkpoint in {folder}: check the folder, or start a new run, with "
        "with_checkpoints."
    )


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


def _save_newest(run: TrainingRun, folder: Path, keep: int) -> None:
    """Save, then drop what is too old."""
    save_run(run, folder / f"step-{run.step:09}.safetensors")
    if not run.processes.first:
        return
    for _, path in _checkpoints(folder)[:-keep]:
        path.unlink()


def _checkpoints(folder: Path) -> list[tuple[int, Path]]:
    """Number of steps and path of each file, the newest last."""
    paths = folder.glob("step-*.safetensors")
    return sorted((int(path.stem[5:]), path) for path in paths if path.stem[5:].isdigit())


def _rows(history: Sequence[Step]) -> Tensor:
    """A history as a table, (steps, fields); a loss is never below 0, so -1 stands for None."""
    rows = [[-1 if x is None else x for x in vars(step).values()] for step in history]
    return torch.tensor(rows, dtype=torch.float64).reshape(-1, len(dataclasses.fields(Step)))


def _steps(rows: Tensor) -> list[Step]:
    return [
        Step(int(step), int(tokens), loss, None if measured == -1 else measured, *rest)
        for step, tokens, loss, measured, *rest in rows.tolist()
    ]


def _weights(model: GPTModel) -> dict[str, Tensor]:
    """Every parameter by name; a tied matrix once."""
    return {own_name(name): parameter.detach() for name, parameter in model.named_parameters()}


@torch.no_grad()
def _model(config: dict, tensors: dict[str, Tensor]) -> GPTModel:
    """A model with these weights, in their precision; no random number is drawn.

    Raises a ValueError where they are not those of the configuration, before any memory is taken.
    """
    model = meta_model(config)
    both = tensors, _weights(model)
    shapes = ({name: {"shape": tuple(x.shape)} for name, x in each.items()} for each in both)
    difference = _difference(*shapes)
    kinds = {tensor.dtype for tensor in tensors.values()}
    if len(kinds) > 1 or not kinds <= {torch.bfloat16, torch.float16, torch.float32, torch.float64}:
        difference = f"their types are {kinds}"
    if difference:
        raise ValueError(f"the weights aren't those of its configuration: {difference}")
    for name, weight in _weights(materialized(model.to(*kinds))).items():
        weight.copy_(tensors[name])
    return model


def meta_model(config: GPTConfig | Mapping) -> GPTModel:
    """A model on the meta device: its weights have shapes, but neither memory nor values."""
    with torch.device("meta"):
        return GPTModel(config)


def materialized(model: GPTModel) -> GPTModel:
    """The same model with memory for its weights, in which no value stands yet."""
    model.to_empty(device="cpu")
    if model.config.tie_weights:
        model.output_head.weight = model.token_embedding.weight
    return model


def _config(model: GPTModel) -> dict:
    """The configuration that builds this very model. Raises a ValueError where none does."""
    check_model(model)
    found = _parts(model)
    tied = found.get("output_head.weight", {}).get("place") == "token_embedding.weight"
    config = dataclasses.replace(GPTConfig.of(model.config), tie_weights=tied)
    difference = _difference(found, _parts(meta_model(config)))
    if difference:
        raise ValueError(
            f"This model isn't what its configuration builds ({difference}), so it would not come "
            "back from a file: give it a model.config that builds it, or keep model.state_dict()."
        )
    if any(parameter.is_meta for parameter in model.parameters()):
        raise ValueError(
            "This model lies on the meta device, where weights have no values: build it elsewhere."
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


def _averages(optimizer: torch.optim.Optimizer, tensors: dict[str, Tensor]) -> dict:
    """What the optimizer keeps for each weight, for `resume`, from tensors by `number.name`."""
    is_muon = isinstance(optimizer, torch.optim.Muon)
    names = ("momentum_buffer",) if is_muon else ("step", "exp_avg", "exp_avg_sq")
    parameters = [p for group in optimizer.param_groups for p in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    # Sorted, for processes that share a run have to go through them in the same order.
    for number in sorted({int(name.partition(".")[0]) for name in tensors}):
        kept = state[number] = {name: tensors[f"{number}.{name}"] for name in names}
        for name, tensor in kept.items():
            # In fused AdamW, averages of another shape would be written beyond their memory.
            if tensor.shape != (() if name == "step" else parameters[number].shape):
                raise ValueError(f"{name} of weight {number} has shape {tuple(tensor.shape)}")
    return {"state": state}


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
        raise UnreadableFile(
            f"{path} is not a whole safetensors file ({error}), but cut short or of another kind: "
            "use an earlier copy."
        ) from error
    if metadata.get("gptlib") != kind:
        found = f"a {metadata['gptlib']}" if "gptlib" in metadata else "something else"
        raise UnreadableFile(
            f"{path} holds {found}, not a {kind}: choose a file saved as a {kind}."
        )
    if metadata.get("digest") != _digest(metadata.get("header", ""), tensors):
        raise UnreadableFile(
            f"{path} was altered or damaged since it was saved: its digest does not fit; use an "
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
