"""Carry what a model computed on one text over into another, place by place."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import traitlets
from torch import Tensor

from gptcourse import figures
from gptcourse.views.base import (
    MOST_TOKENS,
    beginning,
    chance,
    check_finite,
    decimals,
    prompt_ids,
    written,
)
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.session import SendableText, Session
from gptcourse.views.twin import twin
from gptlib.inside import patching_map
from gptlib.model import GPTModel

STREAM, ATTENTION, FEED_FORWARD = PARTS = ("stream", "attention", "feed-forward")


class PatchingMap(BrowserView):
    """Where in a model, and at which token, is what decides between two answers?

    Two texts differ in a word, and after them the model gives two answers. For each cell of the
    map, it reads the other text with one thing carried over from the first: what the stream holds
    after a layer at one token, or what a layer's attention or feed-forward network adds there. The
    color says how far that brings the answer back, as `gptlib.inside.patch_effect` measures it on
    the difference of the two answers' scores.

    From Python, the settings are `prompt` and `other`, the two texts, of equally many tokens;
    `answer` and `other_answer`, a token each (nothing is the one that the model finds most probable
    after its text); `part` ("stream", "attention" or "feed-forward"); and the chosen cell: `row`,
    from the top, and `token` (None is the last one that the texts do not share).
    """

    _esm, _css = browser_files("patching")

    prompt = SendableText().tag(sync=True)
    other = SendableText().tag(sync=True)
    answer = SendableText().tag(sync=True)
    other_answer = SendableText().tag(sync=True)
    part = traitlets.Enum(PARTS, STREAM).tag(sync=True)
    row = traitlets.Int(0, min=0).tag(sync=True)
    token = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(self, model, tokenizer, clean: str | None = None, corrupted: str = "",
                 answers: tuple[str, str] = ("", ""), session: Session | None = None):
        """`tokenizer` is the one that the model was trained with. Without a clean text, it is the
        session's; with one, it becomes the session's. `answers` are `answer` and `other_answer`.
        """
        self.model, self.tokenizer = twin(model), tokenizer
        self._mapped: tuple[tuple, dict] | None = None
        super().__init__(session, prompt=clean, other=corrupted, answer=answers[0],
                         other_answer=answers[1])
        self.follow("prompt", "other", "answer", "other_answer", "part", "row", "token")

    @staticmethod
    def compute(model: GPTModel, clean: Tensor, corrupted: Tensor, answers: Sequence[int],
                names: Sequence[str]) -> dict[str, np.ndarray]:
        """What each of the taps `names` (R) brings back at each place of the texts (T).

        Gives "effect" (R, T), and the probabilities of the two answers: "chances" (R, T, 2) after
        each patch, "own" (2, 2) after the clean and the corrupted text.
        """
        seen = []

        def measure(logits: Tensor) -> Tensor:                           # (B, T, V) -> (B)
            scores = logits[:, -1].float()
            seen.append(scores.softmax(dim=-1)[:, answers])              # (B, 2)
            return scores[:, answers[0]] - scores[:, answers[1]]

        effect = patching_map(model, clean, corrupted, measure, names)   # reads the texts first
        own, chances = torch.cat(seen[:2]), torch.stack(seen[2:])
        return {name: tensor.float().cpu().numpy()
                for name, tensor in (("effect", effect), ("chances", chances), ("own", own))}

    def update(self) -> None:
        mapped = self._map()
        last = len(mapped["labels"]) - 1
        token = mapped["differ"][-1] if self.token is None else min(self.token, last)
        if token < 0:
            raise ValueError(
                f"token is {token}, but tokens are counted from 0: choose 0 to {last}.")
        row = min(self.row, len(mapped["rows"]) - 1)
        summary = f"{_sentence(mapped, row, token)} {self.notice}".strip()
        self.show(summary, **{**mapped, "row": row, "token": token})

    def still(self) -> figures.Picture:
        columns = [figures.visible(label) for label in self.shown["labels"]]
        return figures.matrix(self.shown["effect"], self.shown["rows"], columns, signed=True,
                              title="How far back to the first text’s answer")

    # ----- the map, computed once for each model, texts, answers and part

    def _map(self) -> dict:
        asked = (self.model, self.prompt, self.other, self.answer, self.other_answer, self.part)
        if self._mapped is None or self._mapped[0] != asked:
            clean, corrupted = self._read()
            answers = self._answers(clean, corrupted)
            names, rows = taps_of(self.part, self.model.config.n_layers)
            found = self.compute(self.model, clean, corrupted, answers, names)
            if not np.isfinite(found["effect"]).all():
                raise ValueError(
                    "Both texts leave the two answers equally far apart, so there is no way from "
                    "the one to the other: name two other answers.")
            differ = (clean != corrupted).nonzero()[:, 0].tolist()
            words = {"rows": rows, "differ": differ} | {
                name: [figures.with_signs(token) for token in self.tokenizer.tokens(ids)]
                for name, ids in (("labels", clean.tolist()), ("others", corrupted.tolist()),
                                  ("answers", answers))}
            self.send_data(found, **words)
            self._mapped = (asked, {**found, **words})
        return self._mapped[1]

    def _read(self) -> tuple[Tensor, Tensor]:
        """The ids of both texts, (T) each."""
        room = max(0, self.model.config.context_length - MOST_TOKENS)
        (clean, self.notice), (corrupted, _) = (
            prompt_ids(self.model, self.tokenizer, text, room)
            for text in (self.prompt, self.other))
        if len(clean) != len(corrupted):
            first, other = (len(ids) - len(beginning(self.tokenizer)) for ids in (clean, corrupted))
            raise ValueError(
                f"The first text has {first} tokens and the other one {other}, but what is carried "
                "over needs the same place there: choose words of equally many tokens.")
        if clean == corrupted:
            raise ValueError(
                "Both texts are the same, so nothing can be carried over: change a word in one of "
                "them.")
        return tuple(torch.tensor(ids, device=self.model.device) for ids in (clean, corrupted))

    def _answers(self, clean: Tensor, corrupted: Tensor) -> list[int]:
        """The two tokens that are asked for, as they are written, or the model's own."""
        logits = self.model(torch.stack([clean, corrupted]))[:, -1]                 # (2, V)
        check_finite(logits.float().cpu().numpy())
        answers = [own if not text else self._token_of(text, name)
                   for text, name, own in zip((self.answer, self.other_answer),
                                              ("answer", "other answer"),
                                              logits.argmax(dim=-1).tolist(), strict=True)]
        if answers[0] == answers[1]:
            token = figures.with_signs(self.tokenizer.tokens(answers[:1])[0])
            raise ValueError(
                f"‘{token}’ is the answer after both texts, so there is no difference to carry "
                "over: name two answers, or change a word that decides between them.")
        return answers

    def _token_of(self, text: str, name: str) -> int:
        ids = self.tokenizer.encode(f" {text[1:]}" if text.startswith("·") else text)
        if len(ids) != 1:
            raise ValueError(
                f"The {name} ‘{figures.visible(text)}’ is {len(ids)} tokens of this tokenizer, but "
                "must be one: most words are with the space before them, which may be written ‘·’.")
        return ids[0]


def taps_of(part: str, n_layers: int) -> tuple[list[str], list[str]]:
    """The taps that are patched, in the order of the computation, and what to call them.

    What stands in the stream between attention and feed-forward network, at one token, decides
    what stands there after both, so it needs no row of its own.
    """
    layers = range(n_layers)
    if part == ATTENTION:
        return ([f"blocks.{layer}.attention.head_outputs" for layer in layers],
                [f"attention of layer {layer}" for layer in layers])
    if part == FEED_FORWARD:
        return ([f"blocks.{layer}.feed_forward.activations" for layer in layers],
                [f"feed-forward of layer {layer}" for layer in layers])
    return (["residual_start", *(f"blocks.{layer}.residual_end" for layer in layers)],
            ["embedding", *(f"after layer {layer}" for layer in layers)])


def _sentence(mapped: dict, row: int, token: int) -> str:
    """What one cell says; as `sentence` in patching.js."""
    (own, corrupted), patched = mapped["own"], mapped["chances"][row, token]
    digits = decimals(max(own.max(), corrupted.max()))
    label, there = mapped["labels"][token], mapped["others"][token]
    where = f"‘{label}’" if label == there else f"‘{label}’, in the other text ‘{there}’"
    told = "; ".join(
        f"‘{answer}’ {chance(float(corrupted[n]), digits)} → {chance(float(patched[n]), digits)} "
        f"(first text: {chance(float(own[n]), digits)})"
        for n, answer in enumerate(mapped["answers"]))
    share = written(mapped["effect"][row, token], 2)
    return (f"{mapped['rows'][row].capitalize()}, token {token} {where}: carried over into the "
            f"other text, it goes {share} of the way back to the first text's answer. "
            f"Probabilities: {told}.")
