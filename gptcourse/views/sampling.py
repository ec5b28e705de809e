"""Bend the probabilities of the next token, and draw from them."""

from __future__ import annotations

import math

import torch
import traitlets
from torch import Tensor

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.views.base import chance, check_finite, decimals, prompt_ids
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.session import SendableText, Session
from gptcourse.views.twin import twin
from gptlib.generation import apply_temperature, keep_min_p, keep_top_k, keep_top_p

MOST_BARS = 15                 # in the still picture
MOST_LABELS = 2000             # of the best tokens are sent; the others are known by their ids


class SamplingBench(BrowserView):
    """Temperature, top-k, top-p and min-p at work on a model's real scores for the next token.

    The page has the scores of the whole vocabulary and bends them itself, in the order of
    `gptlib.next_token`. From Python, the same settings are `prompt`, `temperature`, `top_k` (0 is
    off), `top_p` (1 is off), `min_p` (0 is off), `draws` (how many tokens are drawn on the page)
    and `seed` (of that drawing).
    """

    _esm, _css = browser_files("sampling")

    prompt = SendableText().tag(sync=True)
    temperature = traitlets.Float(1.0).tag(sync=True)
    top_k = traitlets.Int(0).tag(sync=True)
    top_p = traitlets.Float(1.0).tag(sync=True)
    min_p = traitlets.Float(0.0).tag(sync=True)
    draws = traitlets.Int(0).tag(sync=True)
    seed = traitlets.Int(0).tag(sync=True)

    def __init__(self, model, tokenizer, prompt: str | None = None,
                 session: Session | None = None):
        """`tokenizer` is the one that the model was trained with. A text begins after its
        end-of-text token, if it has one, and then the prompt may be empty."""
        self.model, self.tokenizer = twin(model), tokenizer
        self._scored: tuple[tuple, Tensor] | None = None
        super().__init__(session, prompt=prompt)
        self.follow("prompt", "temperature", "top_k", "top_p", "min_p")

    @property
    def settings(self) -> dict:
        """The settings as `gptlib.generate` takes them; what is switched off is None."""
        return {"temperature": self.temperature, "top_k": self.top_k or None,
                "top_p": None if self.top_p == 1 else self.top_p, "min_p": self.min_p or None}

    @staticmethod
    def compute(logits: Tensor, temperature=1.0, top_k=None, top_p=None, min_p=None) -> dict:
        """Probabilities before and after the filters (V), entropies in bits, tokens left.

        logits (V). The filters are those of `gptlib.next_token`, in its order.
        """
        bent = apply_temperature(logits, temperature)
        for keep, limit in ((keep_top_k, top_k), (keep_top_p, top_p), (keep_min_p, min_p)):
            if limit is not None:
                bent = keep(bent, limit)
        before, after = logits.softmax(-1), bent.softmax(-1)
        return {"before": before, "after": after, "kept": int(bent.isfinite().sum()),
                "bits_before": _bits(before), "bits_after": _bits(after)}

    def update(self) -> None:
        result = self.compute(self._scores(), **self.settings)
        best = result["before"].argsort(descending=True, stable=True)[:MOST_BARS].tolist()
        first = figures.visible(self.tokenizer.tokens(best[:1])[0])
        before, after = (float(result[name][best[0]]) for name in ("before", "after"))
        digits = decimals(max(before, after))
        summary = (f"Of {len(result['before']):,} tokens, {result['kept']:,} can be drawn. Most "
                   f"probable: ‘{first}’, {chance(before, digits)} before and "
                   f"{chance(after, digits)} after. Entropy {result['bits_before']:.2f} bits "
                   f"before, {result['bits_after']:.2f} after.")
        self.show(f"{summary} {self.notice}".strip(), best=best, **self.settings, **result)

    def still(self) -> figures.Picture:
        best = self.shown["best"]
        names = [figures.visible(token) for token in self.tokenizer.tokens(best)]
        before, after = (self.shown[name][best].tolist() for name in ("before", "after"))
        digits = decimals(max(*before, *after))
        texts = [f"{chance(old, digits)} → {chance(new, digits) if new else 'ruled out'}"
                 for old, new in zip(before, after, strict=True)]
        with DRAWING:
            figure = figures.new_figure(figures.WIDTH, 26 * len(best) + 60)
            axes = figures.new_axes(figure)
            gray = figures.PALETTE["pale"]
            pale, _ = figures.draw_bars(axes, names, before, gray, [""] * len(best))
            strong, written = figures.draw_bars(axes, names, after, figures.SERIES[0], texts)
            for bar, text, old, new in zip(strong, written, before, after, strict=True):
                bar.set_y(bar.get_y() + 0.18)
                bar.set_height(0.36)
                text.xy = (max(old, new), text.xy[1])
            axes.set_xlim(0, 1.35 * max(*before, *after))
            axes.legend([pale, strong], ["the model's", "after the filters"], loc="lower right",
                        frameon=False, fontsize=figures.TEXT_SIZE, labelcolor=figures.INK)
            return figures.Picture(figures.png(figure), "", figures.WIDTH)

    def _scores(self) -> Tensor:
        """The logits after the prompt (V) in float64; one pass of each model per prompt."""
        read = (self.model, self.prompt)
        if self._scored is None or self._scored[0] != read:
            ids, notice = prompt_ids(self.model, self.tokenizer, self.prompt)
            logits = self.model(torch.tensor([ids], device=self.model.device))[0, -1]
            logits = logits.float().cpu()                                    # (V)
            check_finite(logits.numpy())
            best = logits.argsort(descending=True, stable=True)[:MOST_LABELS].tolist()
            labels = [figures.with_signs(token) for token in self.tokenizer.tokens(best)]
            self.send_data({"logits": logits.numpy()}, labels=labels)
            self._scored, self.notice = (read, logits.double()), notice
        return self._scored[1]


def _bits(probabilities: Tensor) -> float:
    return float(torch.special.entr(probabilities).sum() / math.log(2))
