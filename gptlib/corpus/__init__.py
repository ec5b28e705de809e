"""Texts to learn from."""

from gptlib.corpus.texts import load_text

__all__ = ["load_text"]
