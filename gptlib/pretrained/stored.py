"""The tensors of safetensors files, found by name and read piece by piece.

A file begins with eight bytes, the length of the header. The header is JSON: for each tensor its
type, its shape, and from where to where its numbers lie. Then come the numbers, in one row.
Reading in pieces, straight to where they belong, takes hardly more memory than the model.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import torch
from torch import Tensor

from gptlib.checks import as_path, shown
from gptlib.files import existing

TYPES = {
    "F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16,
    "I64": torch.int64, "I32": torch.int32, "I16": torch.int16, "I8": torch.int8,
    "U8": torch.uint8, "BOOL": torch.bool,
}
LONGEST_HEADER = 100_000_000   # bytes, as the format has it
PIECE = 2**24                  # bytes that are read at a time
SINGLE, INDEX = "model.safetensors", "model.safetensors.index.json"


@dataclass(frozen=True)
class StoredTensor:
    """Where a tensor lies, and what it looks like; its numbers are still in the file."""

    name: str
    path: Path
    start: int                 # its first byte
    dtype: torch.dtype
    shape: tuple[int, ...]

    @property
    def end(self) -> int:
        return self.start + self.dtype.itemsize * math.prod(self.shape)

    def pieces(self) -> Iterator[Tensor]:
        """A matrix (rows, columns) in pieces of some rows each; a vector is a matrix of one row.

        Raises a ValueError where the file ends too early, or where a number is infinite or NaN.
        """
        *rows, columns = (1, *self.shape)
        length = self.dtype.itemsize * columns                       # bytes of a row
        left = math.prod(rows)
        with self.path.open("rb") as file:
            file.seek(self.start)
            while left:
                content = bytearray(length * min(left, max(1, PIECE // length)))
                if file.readinto(content) < len(content):
                    refuse(self.path, f"it ends within {self.name}")
                piece = torch.frombuffer(content, dtype=self.dtype).view(-1, columns)
                if not piece.isfinite().all():
                    refuse(self.path, f"{self.name} has numbers that are infinite or NaN")
                left -= len(piece)
                yield piece


def refuse(path: Path, what: str) -> NoReturn:
    raise ValueError(
        f"{path} can't be used, because {what}: download it again, or choose another file."
    )


def stored_tensors(path: str | os.PathLike) -> dict[str, StoredTensor]:
    """All tensors of a safetensors file, or of a folder: of its model.safetensors, or of the
    several files that its model.safetensors.index.json lists.

    Raises a FileNotFoundError where there is none, and a ValueError, with the tensor's name where
    it is about one, for a file that is cut short, altered or of another kind.
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
    if path.name.endswith(".json"):
        return _of_several(existing(path, "name the file that holds the weights."))
    return _of_one(existing(path, "name the file that holds the weights."))


def read_json(path: Path) -> dict:
    """A JSON file that holds an object. Raises a ValueError for all else."""
    return _parsed(path, path.read_bytes())


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
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if size < 8 or length > min(size - 8, LONGEST_HEADER):
            refuse(path, "it is no whole safetensors file: its header is longer than itself")
        header = _parsed(path, file.read(length))
    header.pop("__metadata__", None)
    found = {name: _described(path, 8 + length, name, about) for name, about in header.items()}
    end = 8 + length
    for tensor in sorted(found.values(), key=lambda tensor: (tensor.start, tensor.end)):
        if tensor.start != end:
            refuse(path, f"{tensor.name} doesn't begin where the tensor before it ends")
        end = tensor.end
        if end > size:
            refuse(path, f"it is cut short: it has {size:,} bytes, and {tensor.name} ends at "
                         f"byte {end:,}")
    if end < size:
        refuse(path, f"after its last tensor, {size - end:,} bytes follow that belong to none")
    return found


def _parsed(path: Path, content: bytes) -> dict:
    try:
        value = json.loads(content)
    except (ValueError, RecursionError):
        value = None
    if not isinstance(value, dict):
        refuse(path, "what should be JSON in it, with names and values, is something else")
    return value


def _described(path: Path, start: int, name: str, about) -> StoredTensor:
    """What the header says of a tensor, after a look whether it fits together."""
    said = about if isinstance(about, dict) else {}
    label, (dtype, shape, places) = shown(name)[1:-1], (
        said.get(key) for key in ("dtype", "shape", "data_offsets"))
    if not isinstance(dtype, str) or dtype not in TYPES:
        refuse(path, f"{label} has the type {shown(dtype)}, which is none of {', '.join(TYPES)}")
    if not _are_sizes(shape) or not _are_sizes(places) or len(places) != 2:
        refuse(path, f"{label} has the shape {shown(shape)} and the place {shown(places)}, which "
                     "aren't what they should be")
    tensor = StoredTensor(label, path, start + places[0], TYPES[dtype], tuple(shape))
    if tensor.end != start + places[1]:
        refuse(path, f"{label} has {places[1] - places[0]:,} bytes, but its shape "
                     f"{shown(shape)} and type {dtype} ask for {tensor.end - tensor.start:,}")
    return tensor


def _are_sizes(values) -> bool:
    return isinstance(values, list) and len(values) <= 8 and all(
        type(value) is int and 0 <= value < 2**62 for value in values)
