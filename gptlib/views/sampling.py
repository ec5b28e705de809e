"""Bend the probabilities of the next token, and draw from them."""

from __future__ import annotations

import html
import math
from collections import Counter

import ipywidgets as widgets
import torch
from torch import Tensor

from gptlib import figures
from gptlib.generation import (
    apply_temperature,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_token,
)
from gptlib.views.base import (
    TEXT_COLOUR,
    View,
    button,
    log_slider,
    number_slider,
    text_field,
    whole_slider,
)

MOST_BARS = 15


class SamplingBench(View):
    """Temperature, top-k, top-p and min-p at work on a model's real scores for the next token."""

    def __init__(self, model, tokenizer, prompt: str):
        self.model, self.tokenizer = model, tokenizer
        self.generator = torch.Generator().manual_seed(0)
        V = model.config.vocab_size
        self.prompt = text_field("prompt", prompt, "The model scores every possible next token")
        self.temperature = log_slider("temperature", 0.05, 5, 1.0, "1 leaves the probabilities")
        self.top_k = whole_slider("top-k", 0, min(V, 200), 0, "Keep the k best tokens; 0 is off")
        self.top_p = number_slider("top-p", 0.01, 1, 1.0, 0.01,
                                   "Keep the best tokens that make up this share; 1 is off")
        self.min_p = number_slider("min-p", 0, 1, 0.0, 0.01,
                                   "Keep tokens this share as probable as the best; 0 is off")
        self.draw_button = button("draw 20", self.draw, "Draw twenty next tokens", "random")
        self._drawn = widgets.HTML()
        self._prompt: str | None = None
        super().__init__([self.prompt, self.temperature, self.top_k, self.top_p, self.min_p,
                          self.draw_button], [self._drawn])
        self._build(min(V, MOST_BARS))
        self.follow(self.prompt, self.temperature, self.top_k, self.top_p, self.min_p)

    @property
    def settings(self) -> dict:
        """The controls as `gptlib.generate` takes them; what is switched off is None."""
        return {"temperature": self.temperature.value, "top_k": self.top_k.value or None,
                "top_p": self.top_p.value if self.top_p.value < 1 else None,
                "min_p": self.min_p.value or None}

    @staticmethod
    def compute(logits: Tensor, temperature=1.0, top_k=None, top_p=None, min_p=None) -> dict:
        """Probabilities before and after the filters, entropies in bits, tokens left.

        logits (V). The filters are those of `gptlib.next_token`, in its order.
        """
        bent = apply_temperature(logits, temperature)
        for keep, limit in ((keep_top_k, top_k), (keep_top_p, top_p), (keep_min_p, min_p)):
            if limit is not None:
                bent = keep(bent, limit)
        before, after = logits.softmax(-1), bent.softmax(-1)
        return {"before": before, "after": after, "kept": int(bent.isfinite().sum()),
                "bits_before": _bits(before), "bits_after": _bits(after)}

    def draw(self, n: int = 20) -> list[int]:
        """Draw `n` next tokens with the library's own `next_token`, and show them."""
        ids: list[int] = []
        with self.errors_shown(), torch.inference_mode():
            logits = self._scores().expand(n, -1)                            # (n, V)
            ids = next_token(logits, generator=self.generator, **self.settings).tolist()
            counts = Counter(ids).most_common()
            texts = self.tokenizer.tokens([token for token, _ in counts])
            self._drawn.value = _drawn(texts, [count for _, count in counts])
            self.shown["drawn"] = ids
        return ids

    def update(self) -> None:
        result = self.compute(self._scores(), **self.settings)
        best = result["before"].argsort(descending=True, stable=True)[:MOST_BARS]
        labels = [figures.visible(label) for label in self.tokenizer.tokens(best.tolist())]
        before, after = (result[name][best].tolist() for name in ("before", "after"))
        self._move_bars(labels, before, after)
        kept = result["kept"]
        summary = (f"Of {len(result['before']):,} tokens, {kept:,} can be drawn. Most probable: "
                   f"‘{labels[0]}’, {before[0]:.3f} before and {after[0]:.3f} after. Entropy "
                   f"{result['bits_before']:.2f} bits before, {result['bits_after']:.2f} after.")
        self._drawn.value = ""
        self.show(summary, self._stage, best=best.tolist(), **result)

    def _scores(self) -> Tensor:
        """The logits after the last token of the prompt (V); one pass of the model per prompt."""
        if self._prompt != self.prompt.value:
            ids = self.tokenizer.encode(self.prompt.value)
            if not ids:
                raise ValueError(
                    "The prompt is empty, but the model needs a token to go on from: type a word."
                )
            ids = torch.tensor(ids[-self.model.config.context_length :])
            logits = self.model(ids[None].to(self.model.device))
            self._logits = logits[0, -1].float().cpu()
            self._prompt = self.prompt.value
        return self._logits

    def _build(self, n_bars: int) -> None:
        figure = figures.new_figure(figures.WIDTH, 26 * n_bars + 60)
        axes = figures.new_axes(figure)
        empty = [0.0] * n_bars
        room = ["m" * 12] * n_bars                        # keeps space for the longest labels
        self._before, _ = figures.draw_bars(axes, room, empty, "#c9d1d9", [""] * n_bars)
        self._after, self._texts = figures.draw_bars(axes, room, empty, figures.SERIES[0],
                                                     [""] * n_bars)
        for bar in self._after:
            bar.set_height(0.36)
            bar.set_y(bar.get_y() + 0.18)
        axes.legend([self._before, self._after], ["the model's", "after the filters"],
                    loc="lower right", frameon=False, fontsize=figures.TEXT_SIZE,
                    labelcolor=figures.INK)
        self._stage = figures.Stage(figure, axes)

    def _move_bars(self, labels: list[str], before: list[float], after: list[float]) -> None:
        axes = self._stage.changing[0]
        longest = max(*before, *after)
        axes.set_xlim(0, 1.35 * next(limit for limit in (0.1, 0.25, 0.5, 1.01) if longest <= limit))
        axes.set_yticks(range(len(labels)), labels, fontsize=figures.TEXT_SIZE, parse_math=False)
        rows = zip(self._before, self._after, self._texts, before, after, strict=True)
        for pale, strong, text, old, new in rows:
            pale.set_width(old)
            strong.set_width(new)
            text.xy = (max(old, new), text.xy[1])
            text.set_text(f"{old:.3f} → {new:.3f}" if new else f"{old:.3f} → ruled out")


def _bits(probabilities: Tensor) -> float:
    return float(torch.special.entr(probabilities).sum() / math.log(2))


def _drawn(texts: list[str], counts: list[int]) -> str:
    chips = "".join(
        f'<li style="display: inline-block; margin: 2px; padding: 1px 6px; border-radius: 4px; '
        f'color: {figures.INK}; background: {figures.CHIPS[n % len(figures.CHIPS)]}">'
        f"{html.escape(figures.visible(text))} × {count}</li>"
        for n, (text, count) in enumerate(zip(texts, counts, strict=True)))
    return (f'<div style="color: {TEXT_COLOUR}; max-width: 700px">Drawn: <ul aria-label="drawn '
            f'tokens" style="display: inline; list-style: none; padding: 0">{chips}</ul></div>')
