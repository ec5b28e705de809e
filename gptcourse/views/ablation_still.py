"""AblationBench as a still picture: the switches, the loss, and both stories."""

from __future__ import annotations

import textwrap

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle

from gptcourse import figures
from gptcourse.figures.canvas import drawable
from gptcourse.figures.style import CARD, INK, MUTED, PALETTE, SERIES, SMALL_SIZE, TEXT_SIZE, WIDTH

MOST_LAYERS, MOST_HEADS = 12, 16                 # that have room
COLUMNS, LINE, MOST_LINES = 48, 17, 15           # of a story, in letters, pixels and lines
LETTER, LETTERS = 6.6, ("DejaVu Sans Mono", "DejaVu Sans")       # their width, their fonts
ERROR, HALF = PALETTE["error"], WIDTH // 2


def draw_bench(shown: dict, n_layers: int, n_heads: int) -> Figure:
    """`shown` as AblationBench has it."""
    layers, heads = min(n_layers, MOST_LAYERS), min(n_heads, MOST_HEADS)
    top = 52 + max(24 * layers, 66) + 16
    laid = [_laid(shown[side]["words"]) for side in ("before", "after")]
    lines = min(MOST_LINES, max((line for places in laid for line, _ in places), default=0) + 1)
    height = top + 30 + LINE * lines + 76
    figure = figures.new_figure(WIDTH, height)
    figure.set_layout_engine("none")
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set(xlim=(0, WIDTH), ylim=(height, 0), facecolor=CARD)
    axes.set_axis_off()
    _draw_switches(axes, shown["off"], layers, heads)
    _draw_losses(axes, shown)
    for n, (side, name) in enumerate((("before", "all on"), ("after", "as switched"))):
        left = 16 + n * HALF
        _write(axes, left, top, f"The story, {name}", fontweight="bold")
        _draw_story(axes, left, top + 26, shown[side], laid[n], shown["changed"][n], bool(n))
        _draw_judgement(axes, left, top + 34 + LINE * lines, shown[side]["mistake"])
    return figure


def _write(axes: Axes, x: float, y: float, text: str, **look) -> None:
    axes.text(x, y, drawable(text), parse_math=False, **{
        "fontsize": TEXT_SIZE, "color": INK, "va": "center", **look})


def _draw_switches(axes: Axes, off: list, layers: int, heads: int) -> None:
    _write(axes, 16, 22, "Heads: those that are off are empty", fontweight="bold")
    side = min(24, (HALF - 90) / heads)
    for layer in range(layers):
        y = 40 + 24 * layer
        _write(axes, 16, y + 10, f"layer {layer}", color=MUTED, fontsize=SMALL_SIZE)
        for head in range(heads):
            gone = (layer, head) in off
            axes.add_patch(Rectangle(
                (66 + side * head, y), side - 4, 20, facecolor=CARD if gone else SERIES[0],
                edgecolor=MUTED if gone else SERIES[0], linestyle=":" if gone else "-"))
            _write(axes, 66 + side * head + side / 2 - 2, y + 10, str(head), ha="center",
                   color=MUTED if gone else CARD, fontsize=SMALL_SIZE)


def _draw_losses(axes: Axes, shown: dict) -> None:
    left, room = HALF + 96, HALF - 216
    _write(axes, HALF + 16, 22, "Loss above the floor, nats per token", fontweight="bold")
    most = max(0.02, *(shown[side]["above"] + shown[side]["error"] for side in ("before", "after")))
    for n, (side, name) in enumerate((("before", "all on"), ("after", "as switched"))):
        above, error, y = shown[side]["above"], shown[side]["error"], 50 + 26 * n
        _write(axes, HALF + 16, y, name, color=MUTED, fontsize=SMALL_SIZE)
        axes.add_patch(Rectangle((left, y - 7), room * max(above, 0) / most, 14,
                                 facecolor=(PALETTE["pale"], SERIES[0])[n]))
        axes.plot([left + room * max(x, 0) / most for x in (above - error, above + error)], [y, y],
                  color=INK, linewidth=1.4)
        _write(axes, left + room + 10, y, f"{above:.3f} ± {error:.3f}", fontsize=SMALL_SIZE)
    axes.plot([left, left], [38, 88], color=INK, linewidth=1.4)


def _laid(words: list[str]) -> list[tuple[int, int]]:
    """Line and column of each word, of which lines of COLUMNS letters are full."""
    places, line, column = [], 0, 0
    for word in words:
        width = len(drawable(word.strip()))
        if column and column + 1 + width > COLUMNS:
            line, column = line + 1, 0
        places.append((line, column))
        column += width + 1
    return places


def _draw_story(axes: Axes, left: float, top: float, told: dict, places: list, changed: list,
                strong: bool) -> None:
    """The words, underlined where they are others, framed where the first mistake is."""
    read = 0
    for word, (line, column), other in zip(told["words"], places, changed, strict=True):
        at, read = read, read + len(word)
        if line >= MOST_LINES:
            continue
        text = figures.cut(drawable(word.strip()), COLUMNS - column)
        x, y, width = left + LETTER * column, top + LINE * line, LETTER * len(text)
        _write(axes, x, y, text, family=LETTERS, fontsize=8.2,
               color=SERIES[0] if other and strong else INK)
        if other:
            axes.plot([x, x + width], [y + 8, y + 8], color=SERIES[0] if strong else MUTED,
                      linewidth=1.6, linestyle="-" if strong else ":")
        if told["at"] is not None and at <= told["at"] < read:
            axes.add_patch(Rectangle((x - 2, y - 8), width + 4, 17, fill=False, edgecolor=ERROR,
                                     linewidth=1.6))


def _draw_judgement(axes: Axes, left: float, top: float, mistake: str | None) -> None:
    words = f"First mistake: {mistake}" if mistake else "No mistake in it."
    words = textwrap.wrap(" ".join(drawable(words).split()), 54)[:4]
    for n, line in enumerate(words):
        _write(axes, left, top + 15 * n, line, fontsize=SMALL_SIZE,
               color=ERROR if mistake else MUTED)
