"""Switch off what a model is made of, and read what it tells then."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
import traitlets
from torch import Tensor

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.views.ablation_numbers import (
    INSTEAD,
    LONGEST,
    STORIES,
    ZEROS,
    Off,
    Stories,
    above_floor,
    compared,
    first_mistake,
    nats_of,
    neurons_of,
    new_stories,
    seen_by,
    stand_in,
    tell,
    words_of,
)
from gptcourse.views.ablation_still import draw_bench
from gptcourse.views.base import check_finite, prompt_ids
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.session import SendableText, Session
from gptcourse.views.twin import twin
from gptlib.config import GPTConfig
from gptlib.model import GPTModel

IN_WORDS = dict(zip(INSTEAD, ("zeros", "the mean", "what another story has there"), strict=True))


class AblationBench(BrowserView):
    """Every head of a model as a switch, and its neurons by number: what does it tell without?

    With the parts that are off, the model tells its story once more, from the same seed, so that
    all that changes in it comes from them. A judge that knows the grammar names its first mistake.
    And the loss is measured on a few new stories, above the floor that no model can pass.

    From Python, the settings are `prompt` (how the story begins, which may be empty), `seed`,
    `off` (pairs of layer and head), `neurons` (a text: "layer 1: 17, 40; layer 0: 3"), `instead`
    (what takes the place of a part: "zeros"; its "mean" over new stories; or what it found, at the
    same place, in "another story"), and `layer` and `head`, the head that was switched last.
    """

    _esm, _css = browser_files("ablation")

    prompt = SendableText().tag(sync=True)
    seed = traitlets.Int(0, min=0, max=2**31 - 1).tag(sync=True)
    off = traitlets.List(traitlets.Tuple(traitlets.Int(), traitlets.Int())).tag(sync=True)
    neurons = SendableText().tag(sync=True)
    instead = traitlets.Enum(INSTEAD, ZEROS).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)

    def __init__(self, model, tokenizer, prompt: str | None = None,
                 session: Session | None = None):
        """`tokenizer` is the one that the model was trained with. Without a prompt, the story
        begins as the session's does; with one, it becomes the session's. Raises a ValueError for
        a tokenizer without `<|endoftext|>`."""
        self.model, self.tokenizer = twin(model), tokenizer
        self._end = tokenizer.end_token
        self._known: dict[tuple, object] = {}            # what need not be computed again
        super().__init__(session, prompt=prompt)
        self.follow("prompt", "seed", "off", "neurons", "instead", "layer", "head")

    @staticmethod
    def compute(model: GPTModel, stories: Stories, off: Off) -> dict:
        """The loss with parts off, in nats: that of each story (B), and per token above the floor,
        with twice its standard error."""
        nats = nats_of(model, stories, off)
        check_finite(nats.numpy())
        above, error = above_floor(nats, stories)
        return {"nats": nats, "above": above, "error": error}

    def update(self) -> None:
        start, self.notice = prompt_ids(self.model, self.tokenizer, self.prompt,
                                        room=self.model.config.context_length - self._longest + 1)
        heads, neurons = self._checked_heads(), neurons_of(self.neurons)
        off = self._off(heads, neurons)
        before = self._told(start, {}, ())
        which = (tuple(heads), str(neurons), self.instead) if off else ()
        after = self._told(start, off, which, before["ids"])
        changed = compared(before["words"], after["words"])
        shown = {"off": heads, "neurons": neurons, "instead": self.instead, "before": before,
                 "after": after, "changed": changed, "floor": self._floor}
        story, judged, loss = _sentences(
            shown, self.model.config.n_layers * self.model.config.n_heads)
        self.show(f"{story} {judged} {loss} {self.notice}".strip(), **shown)
        self._send_words(f"{story} {loss}")

    def still(self) -> figures.Picture:
        config = self.model.config
        with DRAWING:
            figure = draw_bench(self.shown, config.n_layers, config.n_heads)
            return figures.Picture(figures.png(figure), "", figures.WIDTH)

    def follow_to(self, model) -> None:
        """Go on with another model; what it does not have is not off in it."""
        if hasattr(model, "config"):
            config = GPTConfig.of(model.config)
            with self.held():
                self.off = [(layer, head) for layer, head in self.off
                            if layer < config.n_layers and head < config.n_heads]
        super().follow_to(model)

    # ----- what is off

    def _checked_heads(self) -> list[tuple[int, int]]:
        config = self.model.config
        for layer, head in self.off:
            if not (0 <= layer < config.n_layers and 0 <= head < config.n_heads):
                raise ValueError(
                    f"off has layer {layer}, head {head}, but this model has {config.n_layers} "
                    f"layers of {config.n_heads} heads, counted from 0: switch others off.")
        return sorted(set(self.off))

    def _off(self, heads: Sequence[tuple[int, int]], neurons: Mapping[int, Sequence[int]]) -> Off:
        """Where each tap is changed, and what stands there instead."""
        off = {}
        for layer in sorted({layer for layer, _ in heads}):
            name = f"blocks.{layer}.attention.head_outputs"
            where = torch.zeros(self.model.config.n_heads, 1, 1, dtype=torch.bool)
            where[[head for other, head in heads if other == layer]] = True
            off[name] = (where.to(self.model.device), self._stand_in(name))
        for layer, numbers in neurons.items():
            if layer >= self.model.config.n_layers:
                raise ValueError(
                    f"neurons names layer {layer}, but this model has layers 0 to "
                    f"{self.model.config.n_layers - 1}: choose one of them.")
            name = f"blocks.{layer}.feed_forward.activations"
            many = self.model.blocks[layer].feed_forward.contract.in_features
            if numbers[-1] >= many:
                raise ValueError(
                    f"neurons names {numbers[-1]} of layer {layer}, but a layer of this model has "
                    f"neurons 0 to {many - 1}: choose one of them.")
            where = torch.zeros(many, dtype=torch.bool)
            where[numbers] = True
            off[name] = (where.to(self.model.device), self._stand_in(name))
        return off

    def _stand_in(self, name: str) -> Tensor:
        if self.instead == ZEROS:
            return torch.zeros(1, self._longest, 1, device=self.model.device)
        seen = self._once("seen", name, make=lambda: seen_by(self.model, self._stories, name))
        return self._once("stand-in", name, self.instead,
                          make=lambda: stand_in(seen, self.instead))

    # ----- what comes of it

    @property
    def _longest(self) -> int:
        return min(self.model.config.context_length, LONGEST)

    @property
    def _stories(self) -> Stories:
        return self._once("stories", self._longest,
                          make=lambda: new_stories(self.tokenizer, self._longest))

    @property
    def _floor(self) -> float:
        """What a perfect reader pays for a token of the stories, in nats."""
        return float(self._stories.floors.sum() / self._stories.lengths.sum())

    def _told(self, start: Sequence[int], off: Off, which: tuple,
              guess: Sequence[int] = ()) -> dict:
        """The loss and the story with these parts off, and what the judge says of it."""
        def make() -> dict:
            told = tell(self.model, start, self._end, self._longest, self.seed, off, guess)
            text = self.tokenizer.decode([*start[1:], *told])
            result = self._once("loss", which,
                                make=lambda: self.compute(self.model, self._stories, off))
            mistake, at = first_mistake(text) or (None, None)
            return {"ids": told, "text": text, "words": words_of(text), "mistake": mistake,
                    "at": at, **result}
        return self._once("told", which, tuple(start), self.seed, make=make)

    def _once(self, *which, make):
        """What `make` gives, computed once for each model."""
        if self._known.get(("model",)) is not self.model:
            self._known = {("model",): self.model}
        if which not in self._known:
            self._known[which] = make()
        return self._known[which]

    def _send_words(self, said: str) -> None:
        """The page gets words only: what it shows fits into a few kilobytes. What the judge says
        stands below each story there, so it is not `said` once more."""
        shown, config = self.shown, self.model.config
        sides = {}
        for side, changed in zip(("before", "after"), shown["changed"], strict=True):
            told = shown[side]
            sides[side] = {
                "runs": runs(told["words"], changed, told["at"]), "above": told["above"],
                "error": told["error"], "mistake": figures.showable(told["mistake"] or "")}
        self.send_data({}, said=said, floor=shown["floor"],
                       layers=config.n_layers, heads=config.n_heads, stories=STORIES, **sides)


def runs(words: Sequence[str], changed: Sequence[bool], at: int | None) -> list[list]:
    """A text as runs of words with one look each: the text, whether it is changed, whether the
    judge finds the first mistake there, `at` this character."""
    found, place = [], 0
    for word, other in zip(words, changed, strict=True):
        wrong = at is not None and place <= at < place + len(word)
        place += len(word)
        if found and found[-1][1:] == [other, wrong]:
            found[-1][0] += word
        else:
            found.append([word, other, wrong])
    return [[figures.showable(text), other, wrong] for text, other, wrong in found]


def named(heads: Sequence[tuple[int, int]], neurons: Mapping[int, Sequence[int]]) -> str:
    """Parts in words: "layer 0, heads 1 and 4; layer 1, neuron 17", or their number if many."""
    parts = [(layer, "head", [head for other, head in heads if other == layer])
             for layer in sorted({layer for layer, _ in heads})]
    parts += [(layer, "neuron", list(numbers)) for layer, numbers in neurons.items()]
    if sum(len(numbers) for *_, numbers in parts) > 8:
        counts = [(len(heads), "head"), (sum(map(len, neurons.values())), "neuron")]
        return " and ".join(f"{count} {kind}{'s' * (count > 1)}" for count, kind in counts if count)
    return "; ".join(
        f"layer {layer}, {kind}{'s' * (len(numbers) > 1)} {', '.join(map(str, numbers))}"
        for layer, kind, numbers in parts)


def _sentences(shown: dict, n_heads: int) -> tuple[str, str, str]:
    """What is off and what becomes of the story, what the judge says of it, and the loss."""
    before, after = shown["before"], shown["after"]
    loss = (f"On {STORIES} new stories, the loss is {after['above']:.3f} ± {after['error']:.3f} "
            f"nats per token above the floor of {shown['floor']:.3f}")
    judged = (f"First mistake: {after['mistake']}" if after["mistake"]
              else "The judge finds no mistake in it.")
    if not shown["off"] and not shown["neurons"]:
        return (f"All {n_heads} heads and all neurons are on: the model tells its story.", judged,
                f"{loss}.")
    changed, words = sum(shown["changed"][1]), len(after["words"])
    story = f"Changed words of the story: {changed} of {words}" if changed else (
        "The story stays the same")
    return (f"Off: {named(shown['off'], shown['neurons'])}; instead, {IN_WORDS[shown['instead']]}. "
            f"{story}.", judged, f"{loss}; with all on, it is {before['above']:.3f}.")
