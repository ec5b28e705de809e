"""What a model tells when it is asked many times, how sure a count is, and what a token takes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor, nn

from gptlib.corpus import storybook
from gptlib.model import GPTModel
from gptlib.storyteller import tell_stories
from gptlib.tokenizer import BPETokenizer


def stories_told(model: GPTModel, tokenizer: BPETokenizer, opening: str, many: int, seed: int = 0,
                 **sampling) -> list[str]:
    """As `gptlib.tell_stories`, so many stories that begin with `opening`."""
    return tell_stories(model, tokenizer, many, seed, opening, **sampling)


def plots_told(model: GPTModel, tokenizer: BPETokenizer, opening: str, many: int, seed: int = 0,
               **sampling) -> list[str]:
    """The plots of those among so many stories that have no mistake; arguments as for
    `stories_told`."""
    texts = stories_told(model, tokenizer, opening, many, seed, **sampling)
    mistakes = storybook.judge(texts).mistakes
    return [storybook.parse(text).facts["plot"]
            for text, mistake in zip(texts, mistakes, strict=True) if mistake is None]


class Estimate(NamedTuple):
    """A number measured on a sample, and the range in which the true one lies, 19 times of 20."""

    low: float
    value: float
    high: float


def share(count: int, many: int, z: float = 1.96) -> Estimate:
    """The share of `count` among so many, with Wilson's interval (1927), which is also right where
    all or none are counted."""
    p, squared = count / many, z * z / many
    middle = (p + squared / 2) / (1 + squared)
    reach = math.sqrt(p * (1 - p) * squared + squared * squared / 4) / (1 + squared)
    return Estimate(min(p, middle - reach), p, max(p, middle + reach))


def milliseconds_of_a_token(model: nn.Module, new_cache: Callable, lengths: Sequence[int],
                            tries: int = 5) -> tuple[list[float], list[float]]:
    """How long the model computes the scores after texts of these lengths, in milliseconds, the
    best of several tries: when it reads all of a text, and when a cache has all but the last."""
    def best(ids: Tensor, read: int) -> float:
        """When a cache has the first `read` of them already, if any."""
        seconds = []
        for _ in range(tries):
            cache = new_cache() if read else None
            if read:
                model(ids[:, :read], cache)
            started = time.process_time()
            model(ids[:, read:], cache)
            seconds.append(time.process_time() - started)
        return 1000 * min(seconds)

    pairs = []
    with torch.inference_mode():
        for length in lengths:
            ids = torch.zeros(1, length, dtype=torch.int64)                  # (B, T), with B = 1
            pairs.append((best(ids, 0), best(ids, length - 1)))
    without, with_cache = map(list, zip(*pairs, strict=True))
    return without, with_cache
