"""The storyteller: a small trained model that ships with the course and knows one thing, stories.

`make storyteller` trains it anew, by the recipe below; `gptlib/assets/storyteller.md` says how
well it does.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import NamedTuple

import torch

from gptlib.checkpoint import load_model
from gptlib.checks import whole
from gptlib.config import GPTConfig
from gptlib.generation import generate
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer

ASSETS = Path(__file__).parent / "assets"

# The recipe. Few blocks learn fastest here, and small heads find each other sooner than large ones.
SEED = 1
MODEL = {
    "vocab_size": 960, "context_length": 128, "emb_dim": 128, "n_heads": 8, "n_layers": 2,
    "drop_rate": 0.0, "qkv_bias": False,
}
TRAINING = {
    "batch_size": 16, "optimizer": "muon", "learning_rate": 0.01, "muon_learning_rate": 0.035,
    "warmup_steps": 20, "schedule": "linear", "weight_decay": 0.0,
}


class Checkpoint(NamedTuple):
    """The storyteller as it was after so many steps of its training."""

    step: int
    validation_loss: float  # nats per token
    model: GPTModel


def storyteller() -> tuple[GPTModel, BPETokenizer]:
    """The trained model, in evaluation mode, and its tokenizer.

    A story is what follows `<|endoftext|>`, up to the next one. Raises a ValueError where a file
    is not the one that was shipped.
    """
    model = load_model(_asset("storyteller.safetensors"))
    return model, BPETokenizer.load(_asset("storyteller.tokenizer.json"))


def storyteller_checkpoints() -> list[Checkpoint]:
    """The storyteller's way, from random weights to what it is now. Raises as `storyteller`."""
    losses = json.loads(_asset("storyteller.losses.json").read_text(encoding="utf-8"))
    _, *between, _ = losses
    names = [f"storyteller.{step}.safetensors" for step in between] + ["storyteller.safetensors"]
    models = [untrained(), *(load_model(_asset(name)) for name in names)]
    rows = zip(map(int, losses), losses.values(), models, strict=True)
    return [Checkpoint(*row) for row in rows]


def tell_stories(model: GPTModel, tokenizer: BPETokenizer, n: int, seed: int = 0,
                 opening: str = "", **sampling) -> list[str]:
    """`n` stories that begin with `opening`, told side by side, each up to its end or the
    context's; `sampling` goes to `next_token`.

    Raises a ValueError for fewer than one, and for a tokenizer without `<|endoftext|>`.
    """
    n = whole("n", n, "say how many stories you want.", least=1)
    seed = whole("seed", seed, "the usual seed is 0.", most=2**63 - 1)
    end_token = tokenizer.end_token
    prompt = [end_token, *tokenizer.encode(opening)]
    told: list[list[int]] = [[] for _ in range(n)]
    for step in generate(
        model, [prompt] * n, model.config.context_length - len(prompt), stop_token=end_token,
        generator=torch.Generator().manual_seed(seed), **sampling,
    ):
        for row, token in zip(told, step, strict=True):
            if token is not None:
                row.append(token)
    return [opening + tokenizer.decode(row) for row in told]


def untrained() -> GPTModel:
    """The storyteller before its first step; torch's own random state stays as it was."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(SEED)
        return GPTModel(GPTConfig.of(MODEL)).eval()


def _asset(name: str) -> Path:
    """The path of a shipped file, after a look at its digest."""
    path = ASSETS / name
    sums = (ASSETS / "SHA256SUMS").read_text(encoding="utf-8").split()
    expected = dict(zip(sums[1::2], sums[::2], strict=True)).get(name)
    if not path.is_file() or hashlib.sha256(path.read_bytes()).hexdigest() != expected:
        raise ValueError(
            f"{path} is missing or not the file that was shipped: restore it with git checkout, "
            "or train the storyteller anew with make storyteller."
        )
    return path
