"""One walk through the whole GPT: from a token to the probabilities of the next one."""

from __future__ import annotations

from collections.abc import Collection

import traitlets

from gptcourse import figures
from gptcourse.figures import DRAWING, PARTS
from gptcourse.views.attention import checked_head, checked_token
from gptcourse.views.base import MOST_TOKENS
from gptcourse.views.browser import MOST_BYTES, BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.session import SendableText, Session
from gptcourse.views.twin import twin
from gptcourse.views.walk_numbers import (
    BOXES,
    BOXES_OF,
    CHAPTERS_OF,
    DRAWS,
    FILLED_IN,
    IN_A_LAYER,
    SENTENCES,
    numbers_of,
    sentence,
)
from gptlib.config import GPTConfig
from gptlib.trace import Trace

WORDS = 60_000                        # bytes of a view that are left to labels


class ModelWalk(BrowserView):
    """The whole GPT as a diagram that you walk through, in the numbers of a real model.

    Each box shows what is there for the token that is followed. From Python, the settings are
    `prompt`, `box` (such as "attention" or "after attention"), `layer`, `head`, `token` (None is
    the last one), `breakpoints` (the boxes at which the play stops), `all_heads` (for the arcs of
    all heads of a layer) and `draw` (which of a few draws of the next token is shown).

    With `lit`, the walk is a chapter's map: the boxes of these parts of the GPT are colored, all
    others are quiet, and it begins at the first of them.

    The models of this course learned that a story begins after `<|endoftext|>`; where the
    tokenizer has that token, it comes first, visibly.
    """

    _esm, _css = browser_files("walk", "walk_numbers", "walk_pictures")

    prompt = SendableText().tag(sync=True)
    box = traitlets.Enum(BOXES, BOXES[0]).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    token = traitlets.Int(None, allow_none=True).tag(sync=True)
    breakpoints = traitlets.List(traitlets.Enum(BOXES)).tag(sync=True)
    draw = traitlets.Int(0, min=0, max=DRAWS - 1).tag(sync=True)
    all_heads = traitlets.Bool(False).tag(sync=True)
    lit = traitlets.List(traitlets.Enum(tuple(PARTS))).tag(sync=True)

    def __init__(self, model, tokenizer, text: str | None = None, session: Session | None = None,
                 lit: Collection[str] = ()):
        """`tokenizer` is the one that the model was trained with. Without a text, the view shows
        the session's; with one, it becomes the session's. `lit` are names of `figures.PARTS`.
        Raises a ValueError where one is not."""
        figures.check_parts(lit)
        self.model, self.tokenizer = twin(model), tokenizer
        _check_form(self.model.config)
        self._walked: dict | None = None
        boxes = [box for part in lit for box in BOXES_OF[part]]
        super().__init__(session, prompt=text, lit=[part for part in PARTS if part in lit],
                         box=min(boxes, key=BOXES.index, default=None))
        self.follow("prompt", "box", "layer", "head", "token", "breakpoints", "all_heads", "draw",
                    "lit")

    compute = staticmethod(numbers_of)

    def update(self) -> None:
        traced = self.traced(self.prompt)
        layer, head = checked_head(traced, self.layer, self.head)
        token = checked_token(traced, self.token)
        walk = self._walk(traced, token)
        told = sentence(walk, self.box, layer, head, token, self.draw)
        where = f"Layer {layer}, {self.box}" if self.box in IN_A_LAYER else self.box.capitalize()
        map_of = f"The whole GPT, with {' and '.join(self.lit)} in color. " if self.lit else ""
        self.show(f"{map_of}{where}: {told} {self.notice}".strip(), box=self.box, layer=layer,
                  head=head, token=token, labels=traced.labels, walk=walk)

    def still(self) -> figures.Picture:
        if self.lit:
            return self._map()
        from gptcourse.views.walk_still import draw_walk  # matplotlib takes a while

        with DRAWING:
            figure = draw_walk(**{name: self.shown[name]
                                  for name in ("walk", "box", "layer", "head", "token")})
            return figures.Picture(figures.png(figure), "", figures.WIDTH)

    def _map(self) -> figures.Picture:
        """What a chapter shows where no widget can be: the parts, and this text at both ends."""
        walk, token = self.shown["walk"], self.shown["token"]
        last = slice(max(token - 2, 0), token + 1)
        text = list(zip(self.shown["labels"][last], walk["ids"][last], strict=True))
        return figures.gpt_diagram(self.lit, tokens=text,
                                   chances=walk["chances"][walk["places"].index(token)])

    def take_trace(self, traced: Trace) -> None:
        self._walked = None

    def _walk(self, traced: Trace, token: int) -> dict:
        """The arrays and words that are on the page; they are those of all tokens, or, where that
        would be too much, of the one that is followed."""
        if self._walked is None or token not in self._walked["places"]:
            # What was once too much is too much for every other token, too.
            places = [token] if self._walked else list(range(len(traced.ids)))
            arrays = self.compute(self.model, traced, places)
            if sum(array.nbytes for array in arrays.values()) > MOST_BYTES - WORDS:
                places = [token]
                arrays = self.compute(self.model, traced, places)
            words = {"places": places, **self._words(traced, arrays)}
            self.send_data(arrays, sentences=SENTENCES, chapters=CHAPTERS_OF, filled=FILLED_IN,
                           **words)
            self._walked = {**arrays, **words}
        return self._walked

    def _words(self, traced: Trace, arrays: dict) -> dict:
        """Tokens by their ids, and which of those drawn can be appended to the text."""
        drawn = sorted({*arrays["best"].flat, *arrays["drawn"].flat})
        texts = self.tokenizer.tokens([int(n) for n in drawn])
        most = min(MOST_TOKENS, traced.config.context_length)
        return {
            "labels": [figures.with_signs(label) for label in traced.labels],
            "ids": traced.ids.tolist(), "vocabulary": traced.config.vocab_size,
            "room": most - len(traced.ids),
            "names": {str(n): figures.with_signs(text)
                      for n, text in zip(drawn, texts, strict=True)},
            "texts": {str(n): text for n, text in zip(drawn, texts, strict=True)
                      if figures.showable(text) == text and self.tokenizer.encode(text) == [n]},
        }


def _check_form(config: GPTConfig) -> None:
    """Raise a ValueError for a model with parts that GPT-2 doesn't have, which no box describes."""
    form = (config.norm, config.positions, config.feed_forward, config.key_heads)
    if form != ("layer", "learned", "gelu", config.n_heads):
        raise ValueError(
            "The walk's boxes are GPT-2's, and this model has other parts (chapter 9): look at it "
            "with AttentionExplorer, AttentionMicroscope or GenerationStepper."
        )
