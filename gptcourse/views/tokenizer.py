"""Watch byte-pair encoding cut a text, merge by merge."""

from __future__ import annotations

from itertools import cycle

import ipywidgets as widgets

from gptcourse import figures
from gptcourse.views.base import WIDE, View, text_field, whole_slider
from gptlib.tokenizer import BPETokenizer

MOST_TOKENS = 400


class TokenizerExplorer(View):
    """A text as colored tokens with ids and bytes, after as many merges as you like."""

    def __init__(self, tokenizer: BPETokenizer, text: str):
        if not isinstance(tokenizer, BPETokenizer):
            raise TypeError(
                f"tokenizer is a {type(tokenizer).__name__}, but its merges are to be replayed, "
                "and only a BPETokenizer shows them: pass BPETokenizer.from_gpt2(), for example."
            )
        self.tokenizer = tokenizer
        n_merges = len(tokenizer.merges)
        self.text = text_field("text", text, "The text that is cut into tokens", at_once=True)
        self.merges = whole_slider("merges", 0, n_merges, n_merges,
                                   "How many merges are done, in the order they were learned")
        self.merges.layout = WIDE
        self._tokens = widgets.HTML()
        super().__init__([self.text, self.merges], [self._tokens])
        self.follow(self.text, self.merges)

    @staticmethod
    def compute(tokenizer: BPETokenizer, text: str, n_merges: int) -> dict:
        """The ids, texts and bytes of the tokens with the first `n_merges` merges only."""
        young = BPETokenizer(tokenizer.merges[:n_merges], (), tokenizer.byte_order)
        ids = young.encode(text)
        return {"ids": ids, "tokens": young.tokens(ids),
                "bytes": [young.decode_bytes([token]) for token in ids]}

    def update(self) -> None:
        text, n_merges = self.text.value, self.merges.value
        result = self.compute(self.tokenizer, text, n_merges)
        ids, tokens = result["ids"], result["tokens"]
        n_bytes = len(text.encode())
        share = f", {n_bytes / len(ids):.2f} bytes per token" if ids else ""
        cut = "" if len(ids) <= MOST_TOKENS else f" Only the first {MOST_TOKENS} are shown."
        summary = (f"After {_count(n_merges, 'merge')} of {len(self.tokenizer.merges):,}: "
                   f"{_count(n_bytes, 'byte')} make {_count(len(ids), 'token')}{share}."
                   f"{self._latest(n_merges)}{cut}")
        self._tokens.value = figures.chip_list("tokens with ids and bytes", (
            figures.Chip(token, color, [str(token_id), figures.cut(octets[:99].hex(" "), 100)])
            for token, token_id, octets, color, _ in zip(
                tokens, ids, result["bytes"], cycle(figures.CHIPS), range(MOST_TOKENS),
                strict=False)))
        still = figures.token_strip(tokens[:60], ids[:60])
        self.show(summary, still, n_merges=n_merges, **result)

    def _latest(self, n_merges: int) -> str:
        """The merge on which the slider stands, in words."""
        if not n_merges:
            return " Every byte is a token."
        left, right = self.tokenizer.tokens(self.tokenizer.merges[n_merges - 1])
        whole = self.tokenizer.tokens([255 + n_merges])[0]
        left, right, whole = (figures.visible(part, limit=30) for part in (left, right, whole))
        return f" Merge {n_merges:,} joined ‘{left}’ and ‘{right}’ to ‘{whole}’."


def _count(number: int, thing: str) -> str:
    return f"{number:,} {thing}{'' if number == 1 else 's'}"
