"""Look at the attention of every head of a model, on a text of your own."""

from __future__ import annotations

import html

import ipywidgets as widgets
import numpy as np

from gptlib import figures
from gptlib.trace import Trace, trace
from gptlib.views.base import TEXT_COLOUR, View, choice, text_field, whole_slider

MOST_TOKENS = 64


class AttentionExplorer(View):
    """One head's weights as a heat map, and one token's weights as numbers that sum to 1."""

    def __init__(self, model, tokenizer, text: str):
        """`tokenizer` is the one that the model was trained with."""
        self.model, self.tokenizer = model, tokenizer
        config = model.config
        self.text = text_field("text", text, "The text that the model reads")
        self.layer = whole_slider("layer", 0, config.n_layers - 1, 0, "Which block, from below")
        self.head = whole_slider("head", 0, config.n_heads - 1, 0, "Which head of this block")
        self.token = choice("token", [("", 0)], "The token whose weights are listed")
        self._weights = widgets.HTML()
        self._traced: tuple[str, Trace, str] | None = None
        self._stage = None
        super().__init__([self.text, self.layer, self.head, self.token], [self._weights])
        self.follow(self.text, self.layer, self.head, self.token)

    @staticmethod
    def compute(traced: Trace, layer: int, head: int, token: int) -> dict:
        """The weights of one head (T, T), those of one token (T), and their sum."""
        weights = traced[f"blocks.{layer}.attention.weights"][head]          # (T, T)
        return {"weights": weights, "row": weights[token], "sum": float(weights[token].sum())}

    def update(self) -> None:
        traced, cut = self._trace()
        layer, head, token = self.layer.value, self.head.value, self.token.value
        result = self.compute(traced, layer, head, token)
        labels = [figures.visible(label) for label in traced.labels]
        self._draw(labels, result["weights"], token)
        order = np.argsort(-result["row"][: token + 1], kind="stable")
        most = ", ".join(f"‘{labels[n]}’ {result['row'][n]:.3f}" for n in order[:3])
        summary = (f"Layer {layer}, head {head}: token {token} ‘{labels[token]}’ looks at {most}"
                   f"{' …' if token > 2 else ''}; its {token + 1} weights sum to "
                   f"{result['sum']:.3f}.{cut}")
        self._weights.value = _listed(labels, result["row"], token)
        self.show(summary, self._stage, layer=layer, head=head, token=token, labels=traced.labels,
                  **result)

    def _trace(self) -> tuple[Trace, str]:
        """One pass of the model per text, and a sentence where the text was cut."""
        text = self.text.value
        if self._traced is None or self._traced[0] != text:
            ids = self.tokenizer.encode(text)
            if not ids:
                raise ValueError("The text is empty, but attention needs a token: type some text.")
            most = min(MOST_TOKENS, self.model.config.context_length)
            cut = "" if len(ids) <= most else (
                f" The text has {len(ids)} tokens; only the first {most} are read.")
            traced = trace(self.model, ids[:most], self.tokenizer.tokens(ids[:most]))
            with self.held():
                self.token.options = [(f"{n}  {figures.visible(label)}", n)
                                      for n, label in enumerate(traced.labels)]
                self.token.value = len(traced.labels) - 1
            self._traced, self._stage = (text, traced, cut), None
        return self._traced[1:]

    def _draw(self, labels: list[str], weights: np.ndarray, token: int) -> None:
        """New axes for a new text; otherwise only the colours change, and the frame moves."""
        if self._stage is None:
            side = figures.heatmap_side(len(labels))
            figure = figures.new_figure(side + 180, side + 110)
            axes = figures.new_axes(figure)
            self._map = figures.draw_heatmap(axes, weights, labels, side / len(labels),
                                             values=False)
            self._frame = axes.axhspan(0, 1, facecolor="none", edgecolor="#d1660a", linewidth=2)
            self._stage = figures.Stage(figure, self._map, self._frame)
        figures.recolour_heatmap(self._map, weights)
        self._frame.set_y(token - 0.5)


def _listed(labels: list[str], row: np.ndarray, token: int) -> str:
    """The weights of one token as a list of chips, darker for more."""
    chips = "".join(
        f'<li style="display: inline-block; margin: 2px; padding: 1px 6px; border-radius: 4px; '
        f'background: rgba(209, 102, 10, {0.06 + 0.6 * row[n]:.2f})"><b>'
        f"{html.escape(labels[n])}</b> {row[n]:.4f}</li>"
        for n in range(len(labels)) if n <= token or row[n])
    return (f'<div style="max-width: 700px; color: {TEXT_COLOUR}; line-height: 1.6">'
            f"‘{html.escape(labels[token])}’ takes"
            f'<ul aria-label="weights" style="display: inline; list-style: none; padding: 4px">'
            f"{chips}</ul> sum {row.sum():.6f}</div>")
