"""The tensors of safetensors files, found by name, each read when it is needed.

Read one by one, straight to where they belong, they take hardly more memory than the model.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor

from gptlib.checks import as_path, shown
from gptlib.files import existing

SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and what it looks like; its numbers are still in the file."""

    name: str
    path: Path
    dtype: str                 # in the format's own words, such as F32 or BF16
    shape: tuple[int, ...]

    def read(self) -> Tensor:
        """Its numbers. Raises a ValueError where one of them is infinite or NaN."""
        with safe_open(self.path, "pt") as file:  # opened for one: else what was read stays, too
            tensor = file.get_tensor(self.name)
        if not torch.stack(tensor.aminmax()).isfinite().all():  # without a copy of its size
            refuse(self.path, f"{self.name} has numbers that are infinite or NaN")
        return tensor


def refuse(path: Path, what: str) -> NoReturn:
    raise ValueError(
        f"{path} can't be used, because {what}: download it again, or choose another file."
    )


def stored_tensors(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """All tensors of a safetensors file, or of a folder: of its model.safetensors, or of the
    several files that its model.safetensors.index.json lists.

    Raises a FileNotFoundError where there is none, and a ValueError for a file that is cut short,
    altered or of another kind.
    """
    path = as_path(path, "name a file or a folder.")
    if os.path.isdir(path):
        single = path / SINGLE
        path = single if single.is_file() else path / INDEX
        if not path.is_file():
            raise FileNotFoundError(
                f"In {path.parent} there is neither {SINGLE} nor {INDEX}: name the folder or the "
                "file that holds the weights."
            )
    path = existing(path, "name the file that holds the weights.")
    return _of_several(path) if path.name.endswith(".json") else _of_one(path)


def read_json(path: Path) -> dict:
    """A JSON file that holds an object. Raises a ValueError for all else."""
    try:
        value = json.loads(path.read_bytes())
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        refuse(path, "what should be JSON in it, with names and values, is something else")
    return value


def _of_several(index: Path) -> dict[str, StoredTensor]:
    places = read_json(index).get("weight_map")
    if not isinstance(places, dict) or not all(isinstance(x, str) for x in places.values()):
        refuse(index, "it has no weight_map, which says for each tensor in which file it is")
    found: dict[str, StoredTensor] = {}
    for name in sorted(set(places.values())):
        if name != os.path.basename(name) or "\0" in name:
            refuse(index, f"it names the file {shown(name)}, which is not in its own folder")
        part = _of_one(existing(index.with_name(name), f"get all files that {index.name} lists."))
        for twice in sorted(found.keys() & part):
            refuse(index, f"{shown(twice)} is in two of the files that it lists")
        found |= part
    return found


def _of_one(path: Path) -> dict[str, StoredTensor]:
    try:
        with safe_open(path, "pt") as file:
            parts = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118
    except SafetensorError as error:
        refuse(path, f"it is no whole safetensors file ({shown(str(error), 200)[1:-1]})")
    return {
        name: StoredTensor(name, path, part.get_dtype(), tuple(part.get_shape()))
        for name, part in parts.items()
    }
