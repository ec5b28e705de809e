"""Turn the numbers of a configuration and see what the model costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import ipywidgets as widgets

from gptcourse import figures
from gptcourse.figures import DRAWING
from gptcourse.views.base import View, choice, stepped_slider, switch, table, whole_slider
from gptlib.config import GPT2_FAMILY, GPT_CONFIG_124M, GPTConfig
from gptlib.model import flops_per_token, parameters_by_part

MIB = 2**20


class ConfigExplorer(View):
    """Sliders for a GPT's shape; its parameters by part, its memory, its work per token."""

    def __init__(self, config: GPTConfig | Mapping = GPT_CONFIG_124M):
        self._start = config = GPTConfig.of(config)
        self.preset = choice("preset", ["own choice", *GPT2_FAMILY], "The sizes of GPT-2")
        self.layers = whole_slider("layers", 1, max(48, config.n_layers), config.n_layers)
        self.width = whole_slider("width", min(32, config.emb_dim), max(2048, config.emb_dim),
                                  config.emb_dim, "Numbers per token", step=32)
        self.heads = stepped_slider("heads", _divisors(config.emb_dim), config.n_heads,
                                    "Heads per layer; they share the width evenly")
        self.vocabulary = whole_slider("vocabulary", min(256, config.vocab_size),
                                       max(100_277, config.vocab_size), config.vocab_size)
        self.context = whole_slider("context", min(16, config.context_length),
                                    max(8192, config.context_length), config.context_length,
                                    "The most tokens seen at once", step=16)
        self.tie_weights = switch("tie weights", config.tie_weights,
                                  "One matrix as token embedding and as output head")
        self._table = widgets.HTML()
        self._sliders = {"n_layers": self.layers, "emb_dim": self.width, "n_heads": self.heads,
                         "vocab_size": self.vocabulary, "context_length": self.context}
        super().__init__([self.preset, self.tie_weights, *self._sliders.values()], [self._table])
        self._build()
        self._match_preset()
        self.preset.observe(self._set_preset, names="value")
        self.width.observe(self._fit_heads, names="value")
        self.follow(*self._sliders.values(), self.tie_weights)

    @property
    def config(self) -> GPTConfig:
        """The configuration on screen. Raises a ValueError where the numbers do not fit."""
        chosen = {name: slider.value for name, slider in self._sliders.items()}
        return GPTConfig.of({**self._start.to_dict(), **chosen,
                             "tie_weights": self.tie_weights.value})

    @staticmethod
    def compute(config: GPTConfig) -> dict:
        """Parameters by part and in all; memory in MiB; floating-point operations per token."""
        parts = _parts(config)
        total = sum(parts.values())
        tied = total if config.tie_weights else total - parts["output head"]
        forward = flops_per_token(config)
        return {"parts": parts, "parameters": total, "tied": tied, "mib": total * 4 / MIB,
                "training_mib": 4 * total * 4 / MIB, "forward_flops": forward,
                "training_flops": 3 * forward}

    def update(self) -> None:
        self._match_preset()
        result = self.compute(self.config)
        counts = list(result["parts"].values())
        for bar, text, count in zip(*self._bars, counts, strict=True):
            bar.set_width(count)
            share = count / result["parameters"]
            text.set_text(f"{count:,}  ({share:.1%})")
            text.xy = (count, text.xy[1])
        self._axes.set_xlim(0, 1.42 * max(*counts, *self._largest))
        self._table.value = _costs(result)
        largest = max(result["parts"], key=result["parts"].get)
        summary = (f"{result['parameters']:,} parameters, {result['mib']:,.2f} MiB as float32, "
                   f"{result['training_mib']:,.0f} MiB to train; most sit in: {largest}, "
                   f"{result['parts'][largest]:,}.")
        self.show(summary, self._stage, config=self.config, **result)

    def _build(self) -> None:
        parts = ["token embedding", "position embedding", "attention", "feed-forward", "norms",
                 "output head"]
        # The largest preset: every other is drawn on its scale, so that a larger one looks larger.
        self._largest = list(_parts(GPTConfig.of(GPT2_FAMILY["gpt2-xl (1558M)"])).values())
        figure = figures.new_figure(figures.WIDTH, 258)
        self._axes = figures.new_axes(figure, "Parameters; pale, those of GPT-2 XL")
        behind, _ = figures.draw_bars(self._axes, parts, self._largest, figures.GRID, [""] * 6)
        self._bars = figures.draw_bars(self._axes, parts, [1] * 6, figures.SERIES[0], [""] * 6)
        self._stage = figures.Stage(figure, *behind, *self._bars[0], *self._axes.lines,
                                    *self._bars[1])

    def _set_preset(self, _change) -> None:
        chosen = GPT2_FAMILY.get(self.preset.value)
        with DRAWING:
            if chosen and not self._held:
                with self.held():
                    for name, slider in self._sliders.items():
                        slider.value = chosen[name]
                self.refresh()

    def _fit_heads(self, _change) -> None:
        """Offer the numbers of heads that share the width evenly, and take the nearest."""
        former, offered = self.heads.value, _divisors(self.width.value)
        with self.held():
            self.heads.options = offered
            self.heads.value = min((n for _, n in offered), key=lambda n: abs(n - former))

    def _match_preset(self) -> None:
        """Name the preset that the sliders show, if they show one."""
        shown = {name: slider.value for name, slider in self._sliders.items()}
        names = [name for name, preset in GPT2_FAMILY.items() if shown.items() <= preset.items()]
        with self.held():
            self.preset.value = names[0] if names else "own choice"


def _divisors(width: int) -> list[tuple[str, int]]:
    """How many heads a width can be shared by."""
    return [(str(n), n) for n in range(1, width + 1) if width % n == 0]


def _parts(config: GPTConfig) -> dict[str, int]:
    """`parameters_by_part`, quick for any depth: each further layer adds what the second adds."""
    one, two = (parameters_by_part(replace(config, n_layers=n)) for n in (1, 2))
    return {name: one[name] + (config.n_layers - 1) * (two[name] - one[name]) for name in one}


def _costs(result: dict) -> str:
    return table([
        ("parameters", f"{result['parameters']:,}", "each is a number that training adjusts"),
        ("with one table for both", f"{result['tied']:,}",
         "GPT-2's token embedding is its output head, too: what names such as 124M count"),
        ("memory", f"{result['mib']:,.2f} MiB", "4 bytes per parameter, as float32"),
        ("memory for training", f"{result['training_mib']:,.0f} MiB",
         "weights, gradients and AdamW's two averages: 16 bytes per parameter, activations not "
         "counted"),
        ("work per token", f"{result['forward_flops'] / 1e9:,.3g} GFLOP",
         "2 per weight of blocks and head, and 4 · layers · context · width for attention at full "
         "context"),
        ("in training", f"{result['training_flops'] / 1e9:,.3g} GFLOP",
         "three times as much: the backward pass costs about twice the forward pass"),
    ])
