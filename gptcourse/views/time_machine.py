"""Travel through a training run: what a model knew after each of its checkpoints."""

from __future__ import annotations

import math
import textwrap
from collections.abc import Iterable, Sequence

import numpy as np
import torch
import traitlets

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.views.attention import checked_head, checked_token
from gptcourse.views.base import MOST_TOKENS, trace_text
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.losses import write_story
from gptcourse.views.session import Session
from gptcourse.views.twin import twin
from gptlib.generation import generate
from gptlib.model import GPTModel
from gptlib.tokenizer import END_OF_TEXT
from gptlib.trace import Trace

MOST_WEIGHTS = 850_000          # of all heads together, a byte each; words take the rest
SAMPLE_TOKENS = 100
APART = 0.15                    # of the axis lies between step 0 and where its logarithms begin


class TimeMachine(BrowserView):
    """The checkpoints of one training run: the loss, what each would have told, how well each
    predicts a text, and what one head looks at.

    All of it is computed once and sent to the page. From Python, the settings are `checkpoint`
    (its number in the order of steps, None is the last), `layer`, `head`, and `token` (None is
    the last one).
    """

    _esm, _css = browser_files("time_machine")

    checkpoint = traitlets.Int(None, allow_none=True).tag(sync=True)
    layer = traitlets.Int(0).tag(sync=True)
    head = traitlets.Int(0).tag(sync=True)
    token = traitlets.Int(None, allow_none=True).tag(sync=True)

    def __init__(
        self, checkpoints: Iterable[tuple[int, GPTModel]], tokenizer, text: str,
        floor: float | None = None, validation_loss: Sequence[float] | None = None,
        session: Session | None = None,
    ):
        """`checkpoints` are pairs of step and model, `tokenizer` is the one of them all.

        `validation_loss` has one number per checkpoint, in nats per token; without it, the loss
        on `text` is drawn. `floor` is the best possible loss, if it is known.
        """
        self._checkpoints, self.tokenizer, self.text = list(checkpoints), tokenizer, text
        self._floor, self._validation_loss = floor, validation_loss
        self._run: dict | None = None
        super().__init__(session)
        self.follow("checkpoint", "layer", "head", "token")

    @staticmethod
    def compute(traced: Trace) -> dict:
        """How surprised a model is by each token but the first, in nats (T - 1), its loss, which
        is their mean, and its attention (L, H, T, T).

        The surprise is -log p of the token that came, by the probabilities before it.
        """
        logits = torch.from_numpy(traced.logits[:-1]).double()               # (T - 1, V)
        came = torch.from_numpy(traced.ids[1:])[:, None]                     # (T - 1, 1)
        surprise = -logits.log_softmax(-1).gather(-1, came)[:, 0].numpy()    # (T - 1)
        return {"surprise": surprise, "loss": float(surprise.mean()),
                "attention": traced.attention}

    @staticmethod
    def tell(model: GPTModel, start: Sequence[int], end: int | None, seed: int = 0) -> list[int]:
        """What `model` draws after the ids `start`, at temperature 1, up to the token `end`."""
        room = model.config.context_length - len(start)
        generator = torch.Generator().manual_seed(seed)
        steps = generate(model, [start], min(SAMPLE_TOKENS, room), stop_token=end,
                         generator=generator)
        return [step[0] for step in steps]

    def update(self) -> None:
        run = self._run = self._run or self._travel()
        last = len(run["steps"]) - 1
        place = last if self.checkpoint is None else self.checkpoint
        if not 0 <= place <= last:
            raise ValueError(
                f"checkpoint is {place}, but there are {last + 1}: choose 0 to {last}.")
        layer, head = checked_head(run["traced"], self.layer, self.head)
        step, loss = run["steps"][place], run["losses"][place]
        sample, surprise = run["samples"][place], run["surprise"][place]
        kind = "loss on this text" if self._validation_loss is None else "validation loss"
        above = "" if self._floor is None else (
            f", {abs(loss - self._floor):.3f} {'above' if loss >= self._floor else 'below'} the "
            "floor")
        opening = textwrap.shorten(sample, 60, placeholder=" …") or "nothing"
        summary = (f"After step {step:,}, checkpoint {place + 1} of {last + 1}: {kind} {loss:.3f} "
                   f"nats per token{above}. It tells: “{opening}”")
        labels = run["traced"].labels
        token = checked_token(run["traced"], self.token)
        self.show(f"{summary} {self.notice}".strip(), checkpoint=place, step=step, loss=loss,
                  sample=sample, surprise=surprise, layer=layer, head=head, token=token,
                  labels=labels, weights=run["attention"][place][layer, head])

    def still(self) -> figures.Picture:
        run, shown = self._run, self.shown
        with DRAWING:
            figure = figures.new_figure(figures.WIDTH, 530)
            places = figure.add_gridspec(2, 2, height_ratios=[380, 100], width_ratios=[1, 1.9])
            axes = figures.new_axes(figure, "Loss", "step", "nats per token", "y", places[0, 0])
            x = self.places(run["steps"])
            axes.plot(x, run["losses"], color=figures.SERIES[0], marker="o", markersize=4,
                      linewidth=2)
            axes.plot([x[shown["checkpoint"]]], [shown["loss"]], color=figures.SERIES[1],
                      marker="o", markersize=9)
            told_apart = [n for n, place in enumerate(x) if n == 0 or place - x[n - 1] > 0.06]
            axes.set_xticks([x[n] for n in told_apart],
                            [f"{run['steps'][n]:,}" for n in told_apart], rotation=90)
            if self._floor is not None:
                axes.axhline(self._floor, color=figures.MUTED, linestyle=(0, (5, 4)))
            title = f"Layer {shown['layer']}, head {shown['head']}"
            axes = figures.new_axes(figure, title, position=places[0, 1])
            labels = [figures.visible(label) for label in shown["labels"]]
            figures.draw_heatmap(axes, shown["weights"], labels, 250 / len(labels), values=False)
            write_story(figures.new_axes(figure, f"Told after step {shown['step']:,}",
                                         position=places[1, :]), shown["sample"], limit=290)
            return figures.Picture(figures.png(figure), "", figures.WIDTH)

    def _travel(self) -> dict:
        """Visit every checkpoint once, and send the page what was found."""
        self._check()
        end = self.tokenizer.special_tokens.get(END_OF_TEXT)
        run: dict = {name: [] for name in ("steps", "losses", "surprise", "attention", "samples",
                                           "ended")}
        order = sorted(range(len(self._checkpoints)), key=lambda n: self._checkpoints[n][0])
        for step, model in (self._checkpoints[n] for n in order):
            traced, self.notice = self._trace(step, model)
            found = self.compute(traced)
            start = [int(traced.ids[0])]
            told = self.tell(model, start, end)
            run["steps"].append(int(step))
            run["losses"].append(found["loss"])
            run["surprise"].append(found["surprise"])
            run["attention"].append(found["attention"])
            text = self.tokenizer.decode(told if end is not None else start + told)
            run["samples"].append(figures.showable(text))
            run["ended"].append(len(told) < min(SAMPLE_TOKENS, model.config.context_length - 1))
            run["traced"] = traced
        if self._validation_loss is not None:
            run["losses"] = [float(self._validation_loss[n]) for n in order]
        self._send_run(run)
        return run

    @staticmethod
    def places(steps: Sequence[int]) -> list[float]:
        """Where steps in their order stand on the axis, from 0 to 1: by their logarithms, for most
        happens early. Step 0, which has none, stands apart."""
        positive = [step for step in steps if step > 0] or [1]
        gap = APART * math.log(positive[-1] / positive[0]) or 1.0
        powers = [math.log(step / positive[0]) if step > 0 else -gap for step in steps]
        low, high = min(powers), max(powers)
        return [(power - low) / (high - low) if high > low else 0.5 for power in powers]

    def _send_run(self, run: dict) -> None:
        lower = np.tril_indices(len(run["traced"].labels))
        weights = np.stack(run["attention"])[(..., *lower)]          # (N, L, H, T (T + 1) / 2)
        self.send_data(
            {"weights": np.round(255 * np.sqrt(weights)).astype(np.uint8),    # as fine as colors
             "surprise": np.stack(run["surprise"]).astype(np.float32)},
            labels=[figures.with_signs(label) for label in run["traced"].labels],
            steps=run["steps"], places=self.places(run["steps"]), losses=run["losses"],
            floor=self._floor, samples=run["samples"], ended=run["ended"],
            lossName="loss on this text" if self._validation_loss is None else "validation loss")

    def _trace(self, step: int, model: GPTModel) -> tuple[Trace, str]:
        heads = len(self._checkpoints) * model.config.n_layers * model.config.n_heads
        most = int(math.sqrt(2 * MOST_WEIGHTS / heads)) - 1         # T (T + 1) / 2 for each head
        try:
            traced, notice = trace_text(model, self.tokenizer, self.text, min(MOST_TOKENS, most))
        except ValueError as error:
            raise ValueError(f"At step {step}: {error}") from error
        if len(traced.ids) < 2:
            raise ValueError(
                f"The text has {len(traced.ids)} token that fits, but there must be 2, one to read "
                "and one to predict: take a longer text, or fewer checkpoints.")
        return traced, notice

    def _check(self) -> None:
        pairs = [pair for pair in self._checkpoints
                 if isinstance(pair, (tuple, list)) and len(pair) == 2]
        if not pairs or pairs != self._checkpoints:
            raise ValueError(
                "There are no checkpoints to travel to: pass pairs of step and model, such as "
                "[(0, untrained), (1000, trained)].")
        self._checkpoints = [(step, twin(model)) for step, model in self._checkpoints]
        configs = {model.config for _, model in self._checkpoints}
        if len(configs) > 1:
            raise ValueError(
                "The checkpoints have models of different shapes, but must come from one training "
                "run: make a view for each run.")
        if self._floor is not None and not math.isfinite(self._floor):
            raise ValueError(
                f"floor is {self._floor}, but must be a number of nats: leave it out where it is "
                "not known.")
        losses = self._validation_loss
        if losses is not None and len(losses) != len(self._checkpoints):
            raise ValueError(
                f"There are {len(losses)} validation losses for {len(self._checkpoints)} "
                "checkpoints, but each needs one: leave them out to draw the loss on the text.")
        if losses is not None and not np.isfinite(np.asarray(losses, dtype=float)).all():
            raise ValueError(
                "Some validation losses are no finite numbers, so they cannot be drawn: leave "
                "those checkpoints out.")
