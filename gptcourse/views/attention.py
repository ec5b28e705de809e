"""Look at the attention of every head of a model, on a text of your own."""

from __future__ import annotations

import numpy as np
import traitlets

from gptcourse import figures
from gptcourse.views.base import beginning
from gptcourse.views.browser import MOST_BYTES, BrowserView, pack
from gptcourse.views.files import browser_files
from gptcourse.views.session import SendableText, Session
from gptcourse.views.twin import twin
from gptlib.trace import Trace


class AttentionExplorer(BrowserView):
    """All layers and heads at once, one of them enlarged, one token's weights over the text.

    Point at a token to see what it looks at, click to stay there; click a head to enlarge it.
    From Python, the same settings are `prompt`, `layer`, `head`, `token` (None is the last one),
    `mean` for the mean of a layer's heads, `direction`: "row" for what the token looks at,
    "column" for who looks at it, and `look`: "map" for the head enlarged, "arcs" for arcs over the
    words, where the other `heads` of the layer can be seen along with `head`.

    The models of this course learned that a story begins after `<|endoftext|>`; where the
    tokenizer has that token, it comes first, visibly.
    """

    _esm, _css = browser_files("attention", "arcs")

    prompt = SendableText().tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    token = traitlets.Int(None, allow_none=True).tag(sync=True)
    mean = traitlets.Bool(False).tag(sync=True)
    direction = traitlets.Enum(("row", "column"), "row").tag(sync=True)
    look = traitlets.Enum(("map", "arcs"), "map").tag(sync=True)
    heads = traitlets.List(traitlets.Int()).tag(sync=True)
    exact = traitlets.Bytes().tag(sync=True)     # the enlarged head, where `data` is rounded

    def __init__(self, model, tokenizer, text: str | None = None, session: Session | None = None):
        """`tokenizer` is the one that the model was trained with. Without a text, the view shows
        the session's; with one, it becomes the session's."""
        self.model, self.tokenizer = twin(model), tokenizer
        super().__init__(session, prompt=text)
        self.follow("prompt", "layer", "head", "token", "mean", "direction", "look", "heads")

    @staticmethod
    def compute(
        traced: Trace, layer: int, head: int, token: int, mean: bool = False,
        direction: str = "row",
    ) -> dict:
        """The weights of one head, or the mean of a layer's heads (T, T); those that `token`
        gives (row) or gets (column) (T); and their sum."""
        heads = traced[f"blocks.{layer}.attention.weights"]                  # (H, T, T)
        weights = heads.mean(axis=0) if mean else heads[head]                # (T, T)
        row = weights[token] if direction == "row" else weights[:, token]    # (T)
        return {"weights": weights, "row": row, "sum": float(row.sum(dtype=np.float64))}

    def update(self) -> None:
        traced = self.traced(self.prompt)
        layer, head = checked_head(traced, self.layer, self.head)
        token = checked_token(traced, self.token)
        heads = sorted({head, *(checked_head(traced, layer, other)[1] for other in self.heads)})
        result = self.compute(traced, layer, head, token, self.mean, self.direction)
        if self._rounded:
            self.exact = pack({"weights": _lower(result["weights"])}, layer=layer, head=head,
                              mean=self.mean)
        where = f"Mean of layer {layer}" if self.mean else f"Layer {layer}, head {head}"
        said = _sentence(traced.labels, token, self.direction, result)
        if self.look == "arcs" and len(heads) > 1 and not self.mean:
            where = f"Layer {layer}, {len(heads)} heads"
            rows = {head: self.compute(traced, layer, head, token, direction=self.direction)["row"]
                    for head in heads}
            said = _heads_sentence(traced.labels, token, self.direction, rows)
        self.show(f"{where}: {said} {self.notice}".strip(), layer=layer, head=head, token=token,
                  mean=self.mean, direction=self.direction, labels=traced.labels, look=self.look,
                  heads=heads, **result)

    def still(self) -> figures.Picture:
        if self.look == "arcs":
            return self._arcs()
        token, most = self.shown["token"], np.argsort(-self.shown["row"], kind="stable")[:4]
        kept = {"row": ((token,), (token, *most)), "column": ((token, *most), (token,))}
        rows, columns = kept[self.shown["direction"]]
        if self.mean:
            return figures.attention_heatmap(self.shown["weights"], self.shown["labels"],
                                             rows=rows, columns=columns)
        return figures.attention_overview(
            self.traced(self.prompt).attention, self.shown["labels"], self.shown["layer"],
            self.shown["head"], rows=rows, columns=columns)

    def _arcs(self) -> figures.Picture:
        shown = self.shown
        heads = {"mean": shown["weights"]} if self.mean else {
            head: self.traced(self.prompt)[f"blocks.{shown['layer']}.attention.weights"][head]
            for head in shown["heads"]}
        return figures.attention_arcs(heads, shown["labels"], shown["token"],
                                      column=self.direction == "column")

    def take_trace(self, traced: Trace) -> None:
        """Every head's weights go to the page together."""
        if not figures.is_causal(traced.attention):
            raise ValueError(
                "Some tokens look ahead, but this view draws what lies behind them only: "
                "take away the patch that changes the weights."
            )
        weights = _lower(traced.attention)                               # (L, H, T (T + 1) / 2)
        self._rounded = weights.nbytes > MOST_BYTES - 20_000             # the labels need some
        if self._rounded:                                                # as fine as the colors
            weights = np.round(255 * np.sqrt(weights)).astype(np.uint8)
        self.send_data({"weights": weights}, ends=self._ends(traced),
                       labels=[figures.with_signs(label) for label in traced.labels])

    def _ends(self, traced: Trace) -> list[int]:
        """After how many bytes of the text each token ends."""
        start = len(beginning(self.tokenizer))
        sizes = [len(self.tokenizer.decode_bytes([token])) for token in traced.ids[start:].tolist()]
        return [0] * start + np.cumsum(sizes).tolist()


def checked_head(traced: Trace, layer: int, head: int) -> tuple[int, int]:
    """Layer and head, if the model has them. Raises a ValueError if not."""
    for name, value, count in (("layer", layer, traced.config.n_layers),
                               ("head", head, traced.config.n_heads)):
        if not 0 <= value < count:
            raise ValueError(
                f"{name} is {value}, but this model has {count} {name}s: "
                f"choose 0{f' to {count - 1}' if count > 1 else ''}."
            )
    return layer, head


def checked_token(traced: Trace, token: int | None, name: str = "token") -> int:
    """The place of a token; None and places beyond the end are the last one's. Raises a
    ValueError for a negative one."""
    last = len(traced.labels) - 1
    if token is not None and token < 0:
        raise ValueError(f"{name} is {token}, but tokens are counted from 0: choose 0 to {last}.")
    return last if token is None else min(token, last)


def _lower(weights: np.ndarray) -> np.ndarray:
    """Row after row up to the diagonal.  (..., T, T) -> (..., T (T + 1) / 2)"""
    return weights[(..., *np.tril_indices(weights.shape[-1]))].astype(np.float32)


def _heads_sentence(labels, token: int, direction: str, rows: dict[int, np.ndarray]) -> str:
    """Where each of several heads looks most."""
    labels = [figures.visible(label) for label in labels]
    most = ", ".join(f"head {head} ‘{labels[row.argmax()]}’ {row.max():.3f}"
                     for head, row in rows.items())
    verb = "looks most at" if direction == "row" else "is looked at most by"
    return f"token {token} ‘{labels[token]}’ {verb}: {most}."


def _sentence(labels, token: int, direction: str, result: dict) -> str:
    labels = [figures.visible(label) for label in labels]
    row = result["row"]
    places = range(token + 1) if direction == "row" else range(token, len(labels))
    order = sorted(places, key=lambda place: -row[place])
    most = ", ".join(f"‘{labels[n]}’ {row[n]:.3f}" for n in order[:3])
    verb = "looks at" if direction == "row" else "is looked at by"
    one = len(order) == 1
    whose = "its" if direction == "row" else "this" if one else "these"
    return (f"token {token} ‘{labels[token]}’ {verb} {most}{' …' if len(order) > 3 else ''}; "
            f"{whose} {len(order)} {'weight sums' if one else 'weights sum'} to "
            f"{result['sum']:.3f}.")
