"""The storyteller: a small trained model that ships with the course and knows one thing, stories.

`make storyteller` trains it anew; `gptlib/assets/storyteller.md` says how well it does.
"""

from __future__ import annotations

from pathlib import Path

from gptlib.checkpoint import load_model
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer

ASSETS = Path(__file__).parent / "assets"


def storyteller() -> tuple[GPTModel, BPETokenizer]:
    """The trained model, in evaluation mode, and its tokenizer.

    A story is what follows `<|endoftext|>`, up to the next one. Raises a ValueError where a file
    is not the one that was shipped.
    """
    model = load_model(ASSETS / "storyteller.safetensors")
    return model, BPETokenizer.load(ASSETS / "storyteller.tokenizer.json")
