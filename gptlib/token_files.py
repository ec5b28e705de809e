"""Token ids in a file, for texts that are larger than the memory.

Three files belong together. NAME.bin holds the ids, one after the other, in 2 bytes each where the
vocabulary allows it and in 4 otherwise; NAME.json says what they are; NAME.tokenizer.json is the
tokenizer. The ids are mapped into memory: what a run reads of them is read when it is needed.
"""

from __future__ import annotations

import json
import os
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from gptlib.checks import shown
from gptlib.files import existing, replacing
from gptlib.tokenizer import BPETokenizer, gpt2_tokenizer

FORMAT = "gptlib token file, version 1"


@dataclass(frozen=True)
class TokenFacts:
    """What NAME.json says of NAME.bin."""

    tokenizer: str       # its digest
    vocab_size: int      # V
    sources: list[list]  # name, bytes and time of change of each file that the tokens come from
    pieces: int          # into which the sources are cut
    pieces_done: int = 0
    tokens: int = 0      # of these pieces

    @property
    def dtype(self) -> np.dtype:
        """The type of an id in the file."""
        return np.dtype("<u2" if self.vocab_size <= 2**16 else "<u4")

    @property
    def complete(self) -> bool:
        return self.pieces_done == self.pieces

    def save(self, path: Path) -> None:
        """Write the facts of the token file at `path`."""
        saved = {"format": FORMAT, **asdict(self), "dtype": self.dtype.name}
        with replacing(path.with_suffix(".json")) as temporary:
            temporary.write_text(json.dumps(saved, indent=1) + "\n", encoding="utf-8")

    @classmethod
    def load(cls, path: Path) -> TokenFacts:
        """The facts of the token file at `path`. Raises a ValueError for what are none."""
        described = existing(path.with_suffix(".json"), "make both with python -m gptlib.prepare.")
        try:
            saved = json.loads(described.read_bytes())
            if saved.pop("format") != FORMAT or saved.pop("dtype") not in ("uint16", "uint32"):
                raise ValueError("another format")
            return cls(**saved)
        except (ValueError, LookupError, TypeError, AttributeError) as error:
            raise ValueError(
                f"{described} does not describe a token file ({shown(str(error))}): make it anew "
                "with python -m gptlib.prepare."
            ) from None


def open_tokens(path: str | os.PathLike) -> tuple[Tensor, BPETokenizer]:
    """The ids of a token file, which stay in the file, and their tokenizer.

    Raises a FileNotFoundError where one of the three files is missing, and a ValueError where the
    ids are not all there or another tokenizer lies beside them.  -> (N) uint16 or uint32
    """
    path = existing(path, "make it with python -m gptlib.prepare.")
    facts, tokenizer = TokenFacts.load(path), BPETokenizer.load(tokenizer_beside(path))
    if not facts.complete:
        raise ValueError(
            f"{path} has {facts.pieces_done} of {facts.pieces} pieces of its text: run the "
            "python -m gptlib.prepare that began it again, which goes on from there."
        )
    if tokenizer.digest != facts.tokenizer:
        raise ValueError(
            f"{path} was made with another tokenizer than {tokenizer_beside(path)}: bring back the "
            "one that lay there, or make the token file anew with python -m gptlib.prepare."
        )
    size, expected = path.stat().st_size, facts.tokens * facts.dtype.itemsize
    if size != expected:
        raise ValueError(
            f"{path} has {size:,} bytes, but its {facts.tokens:,} tokens take {expected:,}, so it "
            "was cut short or changed: copy it again, or make it anew with python -m "
            "gptlib.prepare."
        )
    dtype = torch.uint16 if facts.dtype.itemsize == 2 else torch.uint32
    return torch.from_file(str(path), shared=False, size=facts.tokens, dtype=dtype), tokenizer


def tokenizer_beside(path: Path) -> Path:
    """Where the tokenizer of a token file lies."""
    return path.with_suffix(".tokenizer.json")


@cache
def load_tokenizer(name: str) -> BPETokenizer:
    """"gpt2", or the tokenizer that `BPETokenizer.save` wrote to this path."""
    return gpt2_tokenizer() if name == "gpt2" else BPETokenizer.load(name)
