"""What single neurons of the feed-forward networks respond to."""

from __future__ import annotations

import ipywidgets as widgets
import numpy as np

from gptcourse import figures
from gptcourse.figures import DRAWING, SERIES
from gptcourse.views.base import (
    MOST_TOKENS,
    TEXT_COLOR,
    View,
    button,
    choice,
    text_field,
    whole_slider,
)
from gptcourse.views.twin import twin
from gptlib.trace import Trace

MOST_STRONGEST = 8
COLUMNS = 64                                     # neurons in a row of the picture


class NeuronExplorer(View):
    """One token's activations in a feed-forward network, and one neuron's along the text.

    A neuron is one of the 4C numbers between the two matrices of a FeedForward, after GELU.
    """

    def __init__(self, model, tokenizer, text: str):
        """`tokenizer` is the one that the model was trained with; the model reads its
        end-of-text token first, if it has one."""
        self.model, self.tokenizer = twin(model), tokenizer
        config = self.model.config
        self.text = text_field("text", text, "The text that the model reads")
        self.layer = whole_slider("layer", 0, config.n_layers - 1, config.n_layers - 1,
                                  "Which block, from below")
        self.token = choice("token", [("", 0)], "The token whose neurons are shown")
        self.neuron = whole_slider("neuron", 0, 4 * config.emb_dim - 1, 0,
                                   "The neuron by which the text is colored")
        self.strongest_button = button("strongest here", self.strongest_here,
                                       "Choose the neuron most active at this token", "bolt")
        self._colored = widgets.HTML()
        self._stage, self._n_places = None, MOST_TOKENS
        super().__init__([self.text, self.layer, self.token, self.neuron, self.strongest_button],
                         [self._colored])
        self.follow(self.text, self.layer, self.token, self.neuron)
        self.strongest_here()

    @staticmethod
    def compute(traced: Trace, layer: int, neuron: int, token: int) -> dict:
        """All neurons of one layer at one token (4C), the most active of them, strongest first,
        and one neuron at every token (T)."""
        activations = traced[f"blocks.{layer}.feed_forward.activations"]     # (T, 4C)
        order = np.argsort(-activations[token], kind="stable")
        return {"activations": activations[token], "strongest": order[:MOST_STRONGEST],
                "profile": activations[:, neuron]}

    def strongest_here(self) -> None:
        """Choose the neuron that is most active at the chosen token."""
        with DRAWING:
            if "strongest" in self.shown and self.last_error is None:
                self.neuron.value = int(self.shown["strongest"][0])

    def update(self) -> None:
        traced = self.traced(self.text.value)
        layer, neuron, token = self.layer.value, self.neuron.value, self.token.value
        result = self.compute(traced, layer, neuron, token)
        labels = [figures.visible(label) for label in traced.labels]
        profile, activations = result["profile"], result["activations"]
        self._draw(result, layer, neuron, token)
        self._colored.value = _colored(traced.labels, profile, neuron, token)
        peak = int(profile.argmax())
        summary = (f"Layer {layer}, token {token} ‘{labels[token]}’: most active of "
                   f"{len(activations):,} neurons is {result['strongest'][0]} "
                   f"({_value(activations.max())}). Neuron {neuron} has "
                   f"{_value(profile[token])} here, and most, {_value(profile[peak])}, at token "
                   f"{peak} ‘{labels[peak]}’. {self.notice}").strip()
        self.show(summary, self._stage, layer=layer, neuron=neuron, token=token,
                  labels=traced.labels, **result)

    def take_trace(self, traced: Trace) -> None:
        """The tokens of the text to choose from."""
        with self.held():
            self.token.options = [(f"{n}  {figures.visible(label)}", n)
                                  for n, label in enumerate(traced.labels)]
            self.token.value = len(traced.labels) - 1

    def _draw(self, result: dict, layer: int, neuron: int, token: int) -> None:
        """Colors, lengths and words change; all else is drawn once."""
        if self._stage is None:
            self._build(len(result["activations"]))
        if len(result["profile"]) != self._n_places:
            self._make_room(len(result["profile"]))
        activations, strongest, profile = (result[name] for name in
                                           ("activations", "strongest", "profile"))
        grid = np.full(self._cells.get_array().shape, np.nan)
        grid.flat[: len(activations)] = activations
        reach = np.abs(activations).max() or 1.0
        self._cells.set_array(grid)
        self._cells.set_clim(-reach, reach)
        row, column = divmod(neuron, grid.shape[1])
        self._frame.set_xy((column - 0.5, row - 0.5))
        self._grid_title.set_text(f"Neurons of layer {layer} at token {token}: orange below 0, "
                                  f"blue up to {_value(reach)}")
        self._draw_strongest(activations, strongest, neuron)
        self._draw_profile(profile, neuron, token)

    def _draw_strongest(self, activations, strongest, chosen: int) -> None:
        figures.rename_bars(self._bar_axes, [f"neuron {neuron}" for neuron in strongest])
        self._bar_axes.set_xlim(0, 1.3 * max(float(activations[strongest[0]]), 1e-6))
        for bar, text, neuron in zip(*self._bars, strongest, strict=True):
            value = max(float(activations[neuron]), 0.0)
            bar.set_width(value)
            bar.set_color(SERIES[int(neuron == chosen)])
            text.xy = (value, text.xy[1])
            text.set_text(_value(activations[neuron]))

    def _draw_profile(self, profile, neuron: int, token: int) -> None:
        self._profile_title.set_text(f"Neuron {neuron} along the text")
        low, high = min(profile.min(), 0.0), max(profile.max(), 0.05)
        self._profile_axes.set_ylim(low - 0.05 * high, 1.08 * high)
        self._profile_bars.set_verts([_bar(place, value) for place, value in enumerate(profile)])
        self._profile_bars.set_color([SERIES[int(place == token)]
                                      for place in range(len(profile))])

    def _make_room(self, n_tokens: int) -> None:
        """An axis with as many places as the text has tokens."""
        self._n_places = n_tokens
        self._profile_axes.set_xlim(-0.6, n_tokens - 0.4)
        self._stage.draw_scenery()

    def _build(self, n_neurons: int) -> None:
        columns = min(COLUMNS, n_neurons)
        rows = -(-n_neurons // columns)
        height = min(220, max(24, 11 * rows))
        figure = figures.new_figure(figures.WIDTH, height + 250)
        places = figure.add_gridspec(2, 2, height_ratios=[height, 160], width_ratios=[1, 1.15])
        grid = self._build_grid(figures.new_axes(figure, " ", position=places[0, :]), rows, columns)
        strongest = self._build_strongest(
            figures.new_axes(figure, "Most active here", position=places[1, 0]),
            min(MOST_STRONGEST, n_neurons))
        profile = self._build_profile(
            figures.new_axes(figure, " ", "token", grid="y", position=places[1, 1]))
        self._stage = figures.Stage(figure, *grid, *strongest, *profile)

    def _build_strongest(self, axes, n_bars: int) -> list:
        self._bar_axes = axes
        self._bars = figures.draw_bars(axes, ["neuron 0000"] * n_bars, [0.0] * n_bars,
                                       SERIES[0], [""] * n_bars)
        axes.set_xlim(0, 1)
        names = figures.rename_bars(axes, ["neuron 0000"] * n_bars)
        return [*names, *self._bars[0], *axes.lines, *self._bars[1]]

    def _build_profile(self, axes) -> list:
        from matplotlib.collections import PolyCollection

        self._profile_axes, self._profile_title = axes, _title(axes)
        self._profile_bars = axes.add_collection(PolyCollection([], linewidth=0))
        axes.set_ylim(-0.25, 10)                          # leaves room for the longest labels
        axes.set_xlim(-0.6, MOST_TOKENS - 0.4)
        axes.locator_params(axis="x", integer=True, nbins=8)
        return [axes.yaxis, self._profile_bars, self._profile_title]

    def _build_grid(self, axes, rows: int, columns: int) -> list:
        from matplotlib.colors import LinearSegmentedColormap
        from matplotlib.patches import Rectangle

        self._grid_title = _title(axes)
        signed = LinearSegmentedColormap.from_list("signed", figures.SIGNED)
        self._cells = figures.draw_cells(axes, np.zeros((rows, columns)), signed)
        step = -(-rows // 4)                                  # four labels do not touch
        axes.set_yticks(range(0, rows, step), [f"{row * columns}" for row in range(0, rows, step)])
        axes.set_xticks(range(0, columns, 8), [f"+{column}" for column in range(0, columns, 8)])
        self._frame = axes.add_patch(Rectangle((-0.5, -0.5), 1, 1, fill=False, linewidth=1.8,
                                               edgecolor=figures.INK, clip_on=False))
        return [self._cells, self._frame, self._grid_title]


def _bar(place: int, height: float) -> list[tuple[float, float]]:
    """The corners of an upright bar at this place."""
    left, right = place - 0.4, place + 0.4
    return [(left, 0), (left, height), (right, height), (right, 0)]


def _title(axes):
    """A title that can change, in the style of `figures.new_axes`."""
    return axes.set_title(" ", loc="left", y=1, fontsize=11.5, color=figures.INK,
                          fontweight="bold", pad=10)


def _value(x: float) -> str:
    """An activation with two decimals, and no sign where all of them are zero."""
    text = f"{x:.2f}"
    return text.lstrip("-") if float(text) == 0 else text.replace("-", "−")


def _colored(tokens, profile: np.ndarray, neuron: int, chosen: int) -> str:
    """The text, each token in the color of the neuron's activation, with the number below."""
    reach = max(float(np.abs(profile).max()), 1e-6)
    chips = figures.chip_list(f"activations of neuron {neuron} by token", (
        figures.Chip(token, f"{SERIES[int(value < 0)]}{round(158 * abs(value) / reach):02x}",
                     [_value(value)], TEXT_COLOR, f"token {place}: {value:.4f}", place == chosen)
        for place, (token, value) in enumerate(zip(tokens, profile, strict=True))))
    return f'<div style="color: {TEXT_COLOR}">The text as neuron {neuron} sees it:{chips}</div>'
