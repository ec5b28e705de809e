"""Follow one query through one attention head, number by number."""

from __future__ import annotations

import math

import numpy as np
import traitlets

from gptcourse import figures
from gptcourse.views.attention import checked_head, checked_token
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.session import SendableText, Session
from gptcourse.views.twin import twin
from gptlib.trace import Trace

MOST_KEYS = 14                       # in the still picture


class AttentionMicroscope(BrowserView):
    """One token's query meets every key, and becomes an output, in the model's own numbers.

    The steps of `gptlib.attention` from left to right: q · k, ÷ √D, mask, softmax, × v, and the
    sum of it all. Point at a key to see the D products that make its score. From Python, the
    settings are `prompt`, `layer`, `head`, `token` (None is the last one), `key` (None is the one
    with the largest weight), and the switches `scale` and `mask`: what is computed without them
    is no longer the model's, and the view says how far it is off.

    The models of this course learned that a story begins after `<|endoftext|>`; where the
    tokenizer has that token, it comes first, visibly.
    """

    _esm, _css = browser_files("microscope")

    prompt = SendableText().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    token = traitlets.Int(None, allow_none=True).tag(sync=True)
    key = traitlets.Int(None, allow_none=True).tag(sync=True)
    scale = traitlets.Bool(True).tag(sync=True)
    mask = traitlets.Bool(True).tag(sync=True)

    def __init__(self, model, tokenizer, text: str | None = None, session: Session | None = None):
        """`tokenizer` is the one that the model was trained with. Without a text, the view shows
        the session's; with one, it becomes the session's."""
        self.model, self.tokenizer = twin(model), tokenizer
        self._sent: tuple | None = None
        super().__init__(session, prompt=text)
        self.follow("prompt", "layer", "head", "token", "key", "scale", "mask")

    @staticmethod
    def compute(
        queries: np.ndarray, keys: np.ndarray, values: np.ndarray, token: int,
        scale: bool = True, mask: bool = True,
    ) -> dict:
        """Every step from one token's query to its output, of one head.

        queries, keys, values (T, D). Gives products (T, D), scores, scaled, masked and weights
        (T), weighted (T, D), and output (D).
        """
        queries, keys, values = (x.astype(np.float64) for x in (queries, keys, values))
        T, D = keys.shape
        products = queries[token] * keys                                  # (T, D)
        scores = products.sum(axis=-1)                                    # (T)
        scaled = scores / math.sqrt(D) if scale else scores               # (T)
        hidden = np.arange(T) > token
        masked = np.where(hidden, -np.inf, scaled) if mask else scaled    # (T)
        powers = np.exp(masked - masked.max())
        weights = powers / powers.sum()                                   # (T)
        weighted = weights[:, None] * values                              # (T, D)
        return {"products": products, "scores": scores, "scaled": scaled, "masked": masked,
                "weights": weights, "weighted": weighted, "output": weighted.sum(axis=0)}

    def update(self) -> None:
        traced = self.traced(self.prompt)
        layer, head = checked_head(traced, self.layer, self.head)
        place = f"blocks.{layer}.attention"
        names = ("queries", "keys", "values", "head_outputs")
        of_all = {name: traced[f"{place}.{name}"] for name in names}                # (H or K, T, D)
        arrays = {name: x[head * len(x) // traced.config.n_heads]                   # (T, D) each;
                  for name, x in of_all.items()}                   # several queries may share keys
        self._send_head(traced, arrays, layer, head)
        token = checked_token(traced, self.token)
        result = self.compute(arrays["queries"], arrays["keys"], arrays["values"], token,
                              self.scale, self.mask)
        key = (int(result["weights"].argmax()) if self.key is None
               else checked_token(traced, self.key, "key"))
        off = float(np.abs(result["output"] - arrays["head_outputs"][token]).max())
        labels = [figures.visible(label) for label in traced.labels]
        summary = f"Layer {layer}, head {head}: {self._sentence(labels, token, key, result, off)}"
        self.show(f"{summary} {self.notice}".strip(), layer=layer, head=head, token=token, key=key,
                  labels=traced.labels, off=off, **result)

    def still(self) -> figures.Picture:
        steps = ("scores", "scaled", "masked", "weights")
        table = np.stack([self.shown[step] for step in steps], axis=-1)             # (T, 4)
        strongest = np.sort(np.argsort(-self.shown["weights"])[:MOST_KEYS])
        labels = [self.shown["labels"][key] for key in strongest]
        return figures.matrix(table[strongest], labels, ["q · k", "÷ √D", "mask", "softmax"],
                              signed=True, by_column=True,
                              title=f"The {len(labels)} largest weights")

    def _send_head(self, traced: Trace, arrays: dict, layer: int, head: int) -> None:
        """The numbers of one head, whenever it is another."""
        shown = (self.model, self.prompt, layer, head)
        if self._sent != shown:
            labels = [figures.with_signs(label) for label in traced.labels]
            config = traced.config
            self.send_data(arrays, labels=labels, layer=layer, head=head,
                           n_layers=config.n_layers, n_heads=config.n_heads)
            self._sent = shown

    def _sentence(self, labels, token: int, key: int, result: dict, off: float) -> str:
        steps = ["÷ √D" if self.scale else "no scale", "mask" if self.mask else "no mask"]
        rounding = 1e-5 * max(1.0, np.abs(result["output"]).max())
        whose = "as in the model" if off <= rounding else (
            f"up to {figures.number(off)} away from the model's")
        return (f"the query of token {token} ‘{labels[token]}’ meets {len(labels)} keys "
                f"({', '.join(steps)}). For ‘{labels[key]}’ (token {key}), "
                f"{result['products'].shape[1]} products sum to {result['scores'][key]:.3f} and "
                f"become weight {result['weights'][key]:.3f}. The output is {whose}.")
