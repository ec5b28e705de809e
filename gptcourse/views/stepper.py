"""Generation one token at a time: what is drawn, from what, and what the cache keeps."""

from __future__ import annotations

import threading
import time

import ipywidgets as widgets
import numpy as np
import torch
from torch import Tensor

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.views.base import (
    View,
    beginning,
    button,
    chance,
    check_finite,
    decimals,
    number_slider,
    prompt_ids,
    table,
    text_field,
)
from gptcourse.views.twin import twin
from gptlib.config import GPTConfig
from gptlib.generation import apply_temperature, next_token
from gptlib.tap import record
from gptlib.tokenizer import END_OF_TEXT

MOST_BARS = 8
SECONDS_A_TOKEN = 0.6                      # of a text that plays
PAGE = 128                                 # columns of the cache on screen at once


class GenerationStepper(View):
    """Step through generation and back: the text, the next token's probabilities, the KV cache.

    The token at a position depends on the seed and the position only, so whoever goes back and
    forth again meets the same tokens. Generation ends at the end-of-text token and where the
    context is full.
    """

    def __init__(self, model, tokenizer, prompt: str):
        """`tokenizer` is the one that the model was trained with. A text begins after its
        end-of-text token, if it has one, and then the prompt may be empty."""
        self.model, self.tokenizer = twin(model), tokenizer
        self._end = tokenizer.special_tokens.get(END_OF_TEXT)
        self.prompt = text_field("prompt", prompt, "The text that the model continues")
        self.temperature = number_slider("temperature", 0, 3, 1.0, 0.05,
                                         "0 always takes the most probable token")
        self.seed = widgets.BoundedIntText(
            0, 0, 2**31 - 1, description="seed", tooltip="Another seed, another text",
            style={"description_width": "96px"}, layout={"width": "200px"})
        self.back_button = button("back", self.back, "Take the last token away", "step-backward")
        self.step_button = button("step", self.step, "Append the drawn token", "step-forward")
        self.restart_button = button("start over", self.restart, "Back to the prompt", "undo")
        self.play_button = button("play", self.play, "Step on by itself, or pause", "play")
        self._playing = threading.Event()
        self._text = widgets.HTML()
        self._work = widgets.HTML()
        self._stage = None
        buttons = widgets.HBox([self.step_button, self.back_button, self.play_button,
                                self.restart_button])
        super().__init__([self.prompt, self.temperature, self.seed, buttons],
                         [self._text, self._work])
        self._begun: str | None = None                # the prompt that the cache began with
        self.follow(self.prompt, self.temperature, self.seed)

    @staticmethod
    def compute(logits: Tensor, temperature: float, seed: int, position: int) -> dict:
        """The probabilities of the token at `position`, and the one that `seed` draws there.

        logits (V). The draw is that of `gptlib.next_token`.
        """
        generator = torch.Generator().manual_seed((seed << 20) + position)
        drawn = int(next_token(logits[None], temperature, generator=generator)[0])
        probabilities = apply_temperature(logits, temperature).softmax(dim=-1)   # (V)
        return {"probabilities": probabilities, "drawn": drawn}

    @staticmethod
    def work(config: GPTConfig, n_prompt: int, n_held: int) -> dict:
        """What generation has cost with the prompt and all tokens up to `n_held` in the cache.

        `floats` are kept: a key and a value of C numbers for each token in each layer. Tokens
        through the model: each once with the cache, without it all of them again in every step.
        """
        return {"floats": 2 * config.n_layers * config.emb_dim * n_held, "with_cache": n_held,
                "without_cache": sum(range(n_prompt, n_held + 1))}

    @property
    def stopped(self) -> str:
        """Why there is no next step, in a sentence, or nothing."""
        if len(self._ids) > self._n_prompt and self._ids[-1] == self._end:
            return "The end-of-text token was drawn, so the text is complete."
        if len(self._ids) >= self.model.config.context_length:
            return (f"The context of {self.model.config.context_length} tokens is full: the model "
                    "sees no more at once.")
        return ""

    def step(self) -> None:
        """Append the drawn token, and let the model read it."""
        with DRAWING:
            if self._ready and not self.stopped:
                with self.errors_shown(), torch.inference_mode():
                    self._ids.append(self.shown["drawn"])
                    if self._ids[-1] != self._end:
                        self._read_on(self._ids[-1])
                    self.update()

    def play(self) -> None:
        """Step on by itself, a token at a time, until the end or until this is called once more."""
        if self._playing.is_set():
            self.pause()
        elif self._ready and not self.stopped:
            self._playing.set()
            self._name_play_button()
            self._player = threading.Thread(target=self._keep_stepping, daemon=True)
            self._player.start()

    def pause(self) -> None:
        """Step on no more by itself."""
        self._playing.clear()
        self._name_play_button()

    def leave_page(self) -> None:
        self.pause()

    def _keep_stepping(self) -> None:
        while self._playing.is_set() and not self.stopped and self.last_error is None:
            self.step()
            time.sleep(SECONDS_A_TOKEN)
        self.pause()

    def _name_play_button(self) -> None:
        playing = self._playing.is_set()
        self.play_button.description = "pause" if playing else "play"
        self.play_button.icon = "pause" if playing else "play"

    def back(self) -> None:
        """Take the last token away, and its keys and values from the cache."""
        self.pause()
        self._go_back(1)

    def restart(self) -> None:
        """Begin again with the prompt."""
        self.pause()
        with DRAWING:
            if self._ready:
                self._go_back(len(self._ids) - self._n_prompt)
            else:
                self.refresh()

    def _go_back(self, count: int) -> None:
        """Take so many tokens away. The model has read all that is left, and need not again."""
        with DRAWING:
            if self._ready and len(self._ids) - count >= self._n_prompt:
                with self.errors_shown(), torch.inference_mode():
                    del self._ids[len(self._ids) - count :]
                    self._set_length(min(self._length, len(self._ids)))
                    self.update()

    def update(self) -> None:
        if self._begun != self.prompt.value:
            self._begin()
        temperature, position = self.temperature.value, self._length
        result = self.compute(self._scores[position], temperature, self.seed.value, position)
        result["work"] = self.work(self.model.config, self._n_prompt, position)
        best = result["probabilities"].argsort(descending=True, stable=True)[:MOST_BARS].tolist()
        if result["drawn"] not in best:
            best[-1] = result["drawn"]
        self._draw(result, best)
        tokens = self.tokenizer.tokens(self._ids)
        self._text.value = _chips(tokens, self._n_prompt)
        self._work.value = _costs(result["work"], self.model.config)
        self.step_button.disabled = self.play_button.disabled = bool(self.stopped)
        self.back_button.disabled = len(self._ids) == self._n_prompt
        label = figures.visible(self.tokenizer.tokens([result["drawn"]])[0])
        probability = float(result["probabilities"][result["drawn"]])
        digits = decimals(float(result["probabilities"].max()))
        n_new = len(self._ids) - self._n_prompt
        upcoming = self.stopped or (
            f"Next, at position {position}, comes ‘{label}’, whose probability is "
            f"{chance(probability, digits)}.")
        told = self._ids[len(beginning(self.tokenizer)):]
        summary = (f"{n_new} new token{'' if n_new == 1 else 's'} after a prompt of "
                   f"{self._n_prompt}. {upcoming} The cache holds {position} token"
                   f"{'' if position == 1 else 's'}, "
                   f"{result['work']['floats']:,} numbers. {self._notice}").rstrip()
        self.show(summary, self._stage, ids=list(self._ids), best=best, stopped=self.stopped,
                  text=self.tokenizer.decode(told), **result)

    # ----- model and cache

    @property
    def _ready(self) -> bool:
        """Whether the prompt on screen could be read."""
        return self._begun is not None and self.prompt.value == self._begun

    def _begin(self) -> None:
        """Read the prompt into a new cache."""
        self._begun = None
        # One token must fit in after the prompt.
        self._ids, self._notice = prompt_ids(self.model, self.tokenizer, self.prompt.value, room=1)
        self._n_prompt = len(self._ids)
        self._cache = self.model.new_cache()
        self._known: list[int] = []                   # every token that the model has read ...
        self._scores: dict[int, Tensor] = {}          # ... and, by their number, what comes next
        config = self.model.config
        self._sizes = np.full((config.n_layers, config.context_length), np.nan)
        self._feed(self._ids)
        self._begun = self.prompt.value

    @property
    def _length(self) -> int:
        """How many tokens the cache holds."""
        return self._cache[0].length

    def _set_length(self, length: int) -> None:
        for layer in self._cache:
            layer.length = length                     # what lies beyond stays until overwritten

    def _read_on(self, token: int) -> None:
        """One more token. The model reads it, unless it is the very one that was taken back."""
        start = self._length
        if self._known[start : start + 1] == [token]:
            self._set_length(start + 1)
        else:
            self._feed([token])

    def _feed(self, ids: list[int]) -> None:
        """Let the model read new tokens; the cache keeps their keys and values."""
        start = self._length
        names = [f"blocks.{layer}.attention.keys" for layer in range(len(self._cache))]
        with record(self.model, *names) as keys:
            hidden = self.model.hidden_states(
                torch.tensor([ids], device=self.model.device), self._cache)      # (1, new, C)
        logits = self.model.output_head(hidden[0, -1]).float().cpu()             # (V)
        check_finite(logits.numpy())
        for layer, name in enumerate(names):
            sizes = keys[name][0].float().square().sum(dim=(0, 2)).sqrt()        # (new), of (H, D)
            self._sizes[layer, start : start + len(ids)] = sizes.cpu().numpy()
        self._known[start:] = ids
        self._scores[start + len(ids)] = logits

    # ----- picture

    def _draw(self, result: dict, best: list[int]) -> None:
        page = (self._length - 1) // PAGE * PAGE
        if self._stage is None or self._page != page:
            self._build(page, len(best))
        labels = [figures.visible(label) for label in self.tokenizer.tokens(best)]
        figures.rename_bars(self._bar_axes, labels)
        probabilities = result["probabilities"][best].tolist()
        self._bar_axes.set_xlim(0, 1.3 * max(probabilities))
        digits = decimals(max(probabilities))
        for bar, text, token, p in zip(*self._bars, best, probabilities, strict=True):
            drawn = token == result["drawn"]
            bar.set_width(p)
            bar.set_color(figures.SERIES[int(drawn)])
            text.xy = (p, text.xy[1])
            text.set_text(f"{chance(p, digits)}{'  drawn' * drawn}")
        self._draw_cache(page)

    def _draw_cache(self, page: int) -> None:
        """The keys that the cache holds, with a frame around those that came last."""
        held = self._sizes[:, : self._length]
        cells = np.full(self._cells.get_array().shape, np.nan)
        cells[:, : self._length - page] = held[:, page:]
        self._cells.set_array(cells)
        self._cells.set_clim(0, held.max())
        newest = 0 if self._length == self._n_prompt else self._length - 1
        self._frame.set_x(max(newest, page) - 0.5)
        self._frame.set_width(self._length - max(newest, page))

    def _build(self, page: int, n_bars: int) -> None:
        L, context = self._sizes.shape
        height = min(16 * L + 20, 240)
        figure = figures.new_figure(figures.WIDTH, 180 + height + 100)
        places = figure.add_gridspec(2, 1, height_ratios=[180, height + 20])
        self._bar_axes = figures.new_axes(figure, "Next token", position=places[0])
        self._bars = figures.draw_bars(self._bar_axes, ["m" * 12] * n_bars, [0.0] * n_bars,
                                       figures.SERIES[0], [""] * n_bars)
        self._bar_axes.set_xlim(0, 1)
        cache = self._build_cache(figures.new_axes(
            figure, "KV cache: size of each key; framed, what is new", "position", "layer",
            position=places[1]), page, min(page + PAGE, context))
        self._page = page
        names = figures.rename_bars(self._bar_axes, ["m" * 12] * n_bars)
        self._stage = figures.Stage(figure, *names, *self._bars[0], *self._bar_axes.lines,
                                    *self._bars[1], *cache)

    def _build_cache(self, axes, first: int, end: int) -> list:
        """Room for the columns from `first` up to `end`, hatched where nothing is kept yet."""
        from matplotlib.patches import Rectangle

        L = len(self._sizes)
        left, right, bottom = first - 0.5, end - 0.5, L - 0.5
        figures.hatch(axes, [np.array([(left, -0.5), (right, -0.5), (right, bottom),
                                       (left, bottom)])])
        self._cells = figures.draw_cells(axes, np.full((L, end - first), np.nan), "cividis", first)
        self._frame = axes.add_patch(Rectangle((0, -0.5), 1, L, fill=False, linewidth=2.2,
                                               edgecolor=figures.SERIES[1], clip_on=False))
        axes.set_yticks(range(0, L, max(1, L // 6)))
        axes.locator_params(axis="x", integer=True, nbins=9)
        return [self._cells, self._frame]


def _chips(tokens: list[str], n_prompt: int) -> str:
    """The text so far: the prompt in gray, what was generated in color, the last of it framed."""
    return figures.chip_list("text so far", (
        figures.Chip(token, figures.PALETTE["given"] if n < n_prompt else figures.CHIPS[0],
                     hint=f"position {n}", current=n_prompt <= n == len(tokens) - 1)
        for n, token in enumerate(tokens)))


def _costs(work: dict, config: GPTConfig) -> str:
    return table([
        ("numbers in the cache", f"{work['floats']:,}",
         f"a key and a value of {config.emb_dim} for each token, in {config.n_layers} layers"),
        ("tokens through the model", f"{work['with_cache']:,}",
         "each once, for the cache remembers"),
        ("without a cache", f"{work['without_cache']:,}", "the whole text again for every step"),
    ])
