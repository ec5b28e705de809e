"""A query and a key whose pairs of numbers are turned by their positions, each on a circle."""

from __future__ import annotations

import math

import numpy as np
import torch
import traitlets
from torch import Tensor

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.figures.numbers import cell_text
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptlib.attention import rotate
from gptlib.checks import ABOVE_0, number, shown, whole

PLACES = 128                         # the positions are 0 to 127


class RotaryExplorer(BrowserView):
    """Rotary positions at work on one query and one key: a circle for each pair of their numbers.

    Both arrows of a circle turn as their positions change, in the first circle the fastest. What a
    pair adds to the score, the product of query and key, depends on the angle between its arrows,
    so the score depends on the distance only: below, it's drawn for every distance. From Python,
    the settings are `query_at` and `key_at`, the two positions, and `pair`, which is drawn alone,
    too.
    """

    _esm, _css = browser_files("rotary")

    query_at = traitlets.Int(5, min=0, max=PLACES - 1).tag(sync=True)
    key_at = traitlets.Int(3, min=0, max=PLACES - 1).tag(sync=True)
    pair = traitlets.Int(0, min=0).tag(sync=True)

    def __init__(self, query: Tensor, key: Tensor, base: float = 10_000.0):
        """query (D), key (D) as a head has them before they are turned. Raises a ValueError for
        anything but two rows of equally many finite numbers, an even number of them."""
        _check(query, key)
        rule = "be a number above 0"
        self.base = number("base", base, rule, "take the model's, rotary_base.", ABOVE_0)
        self.query, self.key = (x.detach().float().cpu() for x in (query, key))
        super().__init__()
        self.send_data({"query": self.query.numpy(), "key": self.key.numpy()}, base=self.base,
                       places=PLACES)
        self.follow("query_at", "key_at", "pair")

    @staticmethod
    def compute(query: Tensor, key: Tensor, query_at: int, key_at: int, base: float) -> dict:
        """Both turned to their positions, query (D/2, 2) and key (D/2, 2), what each pair adds to
        their score, parts (D/2), and what each adds at every distance, curves (PLACES, D/2)."""
        places = torch.arange(PLACES)
        turned, other = (_pairs(rotate(x[None], torch.tensor([at]), base))[0]
                         for x, at in ((query, query_at), (key, key_at)))        # (D/2, 2) each
        ahead = _pairs(rotate(query.expand(PLACES, -1), places, base))           # (PLACES, D/2, 2)
        arrays = {"query": turned, "key": other, "parts": (turned * other).sum(-1),
                  "curves": (ahead * _pairs(key)).sum(-1)}
        return {name: x.numpy() for name, x in arrays.items()}

    def update(self) -> None:
        if self.key_at > self.query_at:
            raise ValueError(
                f"key_at is {self.key_at}, but must be from 0 to {self.query_at}, where the query "
                "is: no token looks ahead.")
        pair = whole("pair", self.pair, "choose a circle.", most=len(self.query) // 2 - 1)
        result = self.compute(self.query, self.key, self.query_at, self.key_at, self.base)
        distance, parts = self.query_at - self.key_at, result["parts"]
        score = float(parts.sum())
        turn = figures.number(2 * math.pi * self.base ** (2 * pair / len(self.query)))
        self.show(
            f"Query at {self.query_at}, key at {self.key_at}, distance {distance}: the "
            f"{len(parts)} pairs add up to a score of {cell_text(score, False)}. "
            f"Pair {pair}, which turns once in {turn} tokens, adds "
            f"{cell_text(parts[pair], False)}.",
            distance=distance, score=score, pair=pair, base=self.base, **result)

    def still(self) -> figures.Picture:
        from gptcourse.views.rotary_still import draw_rotary  # matplotlib takes a while

        with DRAWING:
            return figures.Picture(figures.png(draw_rotary(self.shown)), "", figures.WIDTH)


def _pairs(x: Tensor) -> Tensor:
    """Number i beside number i + D/2.  (..., D) -> (..., D/2, 2)"""
    return torch.stack(x.chunk(2, dim=-1), dim=-1)


def _check(query: Tensor, key: Tensor) -> None:
    for name, x in (("query", query), ("key", key)):
        if not isinstance(x, Tensor) or x.dim() != 1 or not x.numel() or x.numel() % 2:
            got = f"a tensor of shape {tuple(x.shape)}" if isinstance(x, Tensor) else shown(x)
            raise ValueError(
                f"{name} is {got}, but must be a row of an even count of numbers, (D): take those "
                "of one head at one token.")
        if not np.isfinite(x.detach().float().cpu().numpy()).all():
            raise ValueError(f"{name} has numbers that are not finite: take another head's.")
    if query.shape != key.shape:
        raise ValueError(
            f"query has {len(query)} numbers and key {len(key)}, but both must have equally many: "
            "take those of one head.")
