"""Cut a text into windows of inputs and targets, and see which questions it asks."""

from __future__ import annotations

import ipywidgets as widgets
import torch
from torch import Tensor

from gptcourse import figures
from gptcourse.views.base import View, text_field, whole_slider
from gptlib import data
from gptlib.tokenizer import BPETokenizer

MOST_TOKENS = 32
MOST_CONTEXT = 12


class WindowExplorer(View):
    """The windows of a text for any context length and stride, one of them token by token."""

    def __init__(self, tokenizer: BPETokenizer, text: str, context_length: int = 8):
        if context_length not in range(1, MOST_CONTEXT + 1):
            raise ValueError(
                f"context_length is {context_length}, but this view has room for 1 to "
                f"{MOST_CONTEXT} tokens: take 8 to begin with."
            )
        self.tokenizer = tokenizer
        self.text = text_field("text", text, "The text that is cut into windows", rows=3)
        self.context_length = whole_slider("context", 1, MOST_CONTEXT, context_length,
                                           "How many tokens a window reads")
        self.stride = whole_slider("stride", 1, MOST_CONTEXT, context_length,
                                   "How many tokens further on the next window begins")
        self.window = whole_slider("window", 1, MOST_TOKENS, 1, "The window that is shown below")
        self._strip = widgets.HTML()
        super().__init__([self.text, self.context_length, self.stride, self.window],
                         [self._strip])
        self.follow(self.text, self.context_length, self.stride, self.window)

    @staticmethod
    def compute(n_tokens: int, context_length: int, stride: int) -> dict[str, Tensor]:
        """The places of inputs and targets, (W, T) each, and how often each token is asked for.

        "asked" (n_tokens) counts the windows of which a token is a target.
        """
        inputs, targets = data.windows(range(n_tokens), context_length, stride)      # (W, T)
        return {"inputs": inputs, "targets": targets,
                "asked": torch.bincount(targets.flatten(), minlength=n_tokens)}

    def update(self) -> None:
        context_length, stride = self.context_length.value, self.stride.value
        ids = self.tokenizer.encode(self.text.value)
        labels = self.tokenizer.tokens(ids[:MOST_TOKENS])
        result = self.compute(len(labels), context_length, stride)
        n_windows = len(result["inputs"])
        with self.held():
            self.window.max, self.window.disabled = max(2, n_windows), n_windows == 1
            self.window.value = min(self.window.value, n_windows)
        window = self.window.value - 1

        asked = result["asked"]
        never, again = int((asked == 0).sum()), int((asked > 1).sum())
        cut = "" if len(ids) <= MOST_TOKENS else (
            f" The text has {len(ids):,} tokens; only the first {MOST_TOKENS} are cut.")
        summary = (f"{len(labels)} tokens, a window of {context_length} every {stride}: "
                   f"{n_windows} window{'s' * (n_windows > 1)}, {asked.sum()} questions. "
                   f"{never} token{' is' if never == 1 else 's are'} never asked for, {again} "
                   f"more than once. Window {window + 1} begins at token "
                   f"{result['inputs'][window, 0]}.{cut}")
        strip = figures.window_strip(labels, result["inputs"].tolist(), asked.tolist(), window)
        self._strip.value = strip.data
        self.show(summary, strip, window=window, labels=labels, **result)
