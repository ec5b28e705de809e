"""Diagrams: the whole GPT, of which some parts are lit, a block, and training."""

from __future__ import annotations

from collections.abc import Collection, Sequence

import numpy as np

from gptcourse.figures.picture import Picture, svg
from gptcourse.figures.style import INK, PALETTE, WIDTH
from gptcourse.figures.words import cut, in_markup, with_signs

PARTS = {name: tuple(colors) for name, colors in PALETTE["parts"].items()}    # fill, outline
UNLIT = tuple(PALETTE["unlit"])                                      # fill, outline, text
# What the storyteller reads, and how sure it is of the next token, in Poppy's first sentence.
POPPY, POPPYS_NEXT = ((" Poppy", 455), (" the", 259), (" mouse", 565)), (1.0,)


def check_parts(parts: Collection[str]) -> None:
    """Raise a ValueError where one is no part of a GPT."""
    for part in parts:
        if part not in list(PARTS):
            raise ValueError(f"{part!r} is no part of a GPT: choose from {', '.join(PARTS)}.")


def gpt_diagram(
    lit: Collection[str],
    tokens: Sequence[tuple[str, int]] = POPPY, chances: Sequence[float] = POPPYS_NEXT,
) -> Picture:
    """The whole GPT, from text to the next token; the parts named in `lit` are colored.

    The parts are "tokenizer", "embedding", "attention", "block", "model", "training" and
    "generation". The last `tokens` of a text, with their ids, stand at its beginning, and the
    `chances` of the most likely next ones at its end. Raises a ValueError for any other part.
    """
    check_parts(lit)
    draw = _Diagram(lit)
    draw.frame("model", 128, 52, 514, 266, "GPT")
    for offset in (12, 6, 0):
        draw.frame("block", 254 + offset, 90 - offset, 254, 206,
                   "transformer block, L times" if not offset else "")
    _draw_tokenizer(draw, tokens[-3:])
    _draw_stream(draw)
    _draw_head(draw, chances[:5])
    draw.path("training", "M671 312 V352 H614")
    draw.box("training", 372, 334, 238, 38, "loss against the true next token")
    draw.path("training", "M372 353 H330 V320")
    draw.text("training", 318, 357, "gradients move every weight", anchor="end")
    draw.path("generation", "M671 186 V24 H62 V176")
    draw.text("generation", 366, 18, "generation: draw the next token, append it, read on")
    shown = ", ".join(part for part in PARTS if part in lit) or "nothing"
    read = ", ".join(f"{with_signs(token)} {token_id}" for token, token_id in tokens[-3:])
    alt = (f"Diagram of a GPT with {shown} highlighted: text becomes tokens and ids "
           f"({read}); token and position embedding are added; in each of L blocks attention and a "
           "feed-forward network, each behind a norm, add to the residual stream; a final norm and "
           "the output head give probabilities of the next token. Training sends the loss back to "
           "all weights, generation appends a drawn token to the text.")
    return svg(WIDTH, 390, draw.shapes, alt)


def _draw_tokenizer(draw: _Diagram, tokens: Sequence[tuple[str, int]]) -> None:
    """A line for each token and its id."""
    draw.box("tokenizer", 6, 178, 112, 106)
    draw.text("tokenizer", 62, 196, "text → tokens, ids", small=True)
    for row, (token, token_id) in enumerate(tokens):
        y = 204 + 26 * row
        draw.box("tokenizer", 12, y, 62, 22, cut(with_signs(token), 8), small=True, fill="#ffffff")
        draw.text("tokenizer", 112, y + 15, str(token_id), small=True, anchor="end")


def _draw_stream(draw: _Diagram) -> None:
    """Embeddings, and the residual stream with the two branches that add to it."""
    draw.path("embedding", "M118 231 H124 V193 H134")
    draw.path("embedding", "M124 231 V269 H134")
    draw.box("embedding", 136, 172, 84, 42, "token", "embedding")
    draw.box("embedding", 136, 248, 84, 42, "position", "embedding")
    draw.path("embedding", "M220 193 H235 V216")
    draw.path("embedding", "M220 269 H235 V246")
    draw.path("block", "M246 231 H532", width=3.2)
    draw.plus("embedding", 235, 231)
    draw.text("block", 380, 262, "residual stream", small=True)
    for left, name, lines_ in ((266, "attention", ("attention",)),
                               (388, "block", ("feed-", "forward"))):
        draw.path("block", f"M{left + 22} 231 V211")
        draw.box("block", left, 182, 46, 26, "norm", small=True)
        draw.path(name, f"M{left + 22} 182 V163")
        draw.box(name, left, 116, 106, 44, *lines_)
        draw.path(name, f"M{left + 84} 160 V216")
        draw.plus("block", left + 84, 231)


def _draw_head(draw: _Diagram, chances: Sequence[float]) -> None:
    draw.box("model", 535, 210, 42, 42, "final", "norm", small=True)
    draw.path("model", "M577 231 H583")
    draw.box("model", 586, 210, 48, 42, "output", "head", small=True)
    draw.path("model", "M634 231 H645")
    lit_parts = [part for part in ("generation", "training", "model") if part in draw.lit]
    part = (lit_parts or ["model"])[0]
    draw.box(part, 648, 188, 46, 86)
    for row, chance in enumerate(chances):
        draw.bar(part, 654, 196 + 15 * row, max(1.0, 34 * float(chance)), 10)
    draw.text(part, 671, 290, "next", small=True)
    draw.text(part, 671, 304, "token", small=True)


class _Diagram:
    """Collects SVG shapes, each colored by the part of the GPT to which it belongs."""

    def __init__(self, lit: Collection[str]):
        self.lit = lit
        self.shapes: list[str] = []

    def colors(self, part: str) -> tuple[str, str, str]:
        """Fill, outline and text color."""
        return (*PARTS[part], INK) if part in self.lit else UNLIT

    def box(self, part, x, y, width, height, *lines_, small=False, fill=None) -> None:
        own_fill, outline, _ = self.colors(part)
        self.shapes.append(f'<rect x="{x}" y="{y}" width="{width}" height="{height}" rx="6" '
                           f'fill="{fill or own_fill}" stroke="{outline}" stroke-width="1.4"/>')
        for n, line in enumerate(lines_):
            middle = y + height / 2 + 4.5 + 15 * (n - (len(lines_) - 1) / 2)
            self.text(part, x + width / 2, middle, line, small)

    def frame(self, part, x, y, width, height, label) -> None:
        self.box(part, x, y, width, height)
        if label:
            self.text(part, x + 12, y + 18, label, anchor="start", small=True)

    def text(self, part, x, y, content, small=False, anchor="middle") -> None:
        color = self.colors(part)[2]
        self.shapes.append(f'<text x="{x:g}" y="{y:g}" fill="{color}" text-anchor="{anchor}" '
                           f'font-size="{12 if small else 13.5}">{in_markup(content)}</text>')

    def path(self, part, d, width=1.6) -> None:
        """A line along `d` (M, H and V only) that ends in an arrow head."""
        outline = self.colors(part)[1]
        self.shapes.append(f'<path d="{d}" fill="none" stroke="{outline}" '
                           f'stroke-width="{width}"/>')
        self.shapes.append(f'<path d="{_arrow_head(d)}" fill="{outline}"/>')

    def plus(self, part, x, y) -> None:
        fill, outline, _ = self.colors(part)
        self.shapes.append(f'<circle cx="{x}" cy="{y}" r="11" fill="{fill}" stroke="{outline}" '
                           f'stroke-width="1.6"/><path d="M{x - 5} {y} h10 M{x} {y - 5} v10" '
                           f'stroke="{outline}" stroke-width="2"/>')

    def bar(self, part, x, y, width, height) -> None:
        self.shapes.append(f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{height}" '
                           f'fill="{self.colors(part)[1]}"/>')


def _arrow_head(d: str) -> str:
    """A triangle at the end of a path of M, H and V steps, pointing where its last step went."""
    x = y = dx = dy = 0.0
    for step in d.replace("M", "").replace("H", "| H").replace("V", "| V").split("|"):
        step = step.strip()
        if step[0] == "H":
            dx, dy, x = float(step[1:]) - x, 0, float(step[1:])
        elif step[0] == "V":
            dx, dy, y = 0, float(step[1:]) - y, float(step[1:])
        else:
            x, y = map(float, step.split())
    ux, uy = np.sign(dx), np.sign(dy)
    tip, back = (x + 3 * ux, y + 3 * uy), (x - 5 * ux, y - 5 * uy)
    return (f"M{tip[0]:g} {tip[1]:g} L{back[0] + 4 * uy:g} {back[1] + 4 * ux:g} "
            f"L{back[0] - 4 * uy:g} {back[1] - 4 * ux:g} Z")


def block_diagram() -> Picture:
    """One transformer block at reading size: the stream, and the two branches that add to it."""
    draw = _Diagram({"attention", "block"})
    draw.path("block", "M6 138 H694", width=3.2)
    draw.text("block", 146, 164, "residual stream: C numbers for each token", small=True)
    draw.text("attention", 142, 18, "looks at earlier tokens, too", small=True)
    draw.text("block", 479, 18, "feed_forward: each token alone", small=True)
    draw.frame("block", 389, 28, 192, 72, "")
    draw.text("block", 485, 94, "4C wide inside", small=True)
    _draw_branch(draw, 12, 264, (("block", 22, 74, "attention_", "norm"),
                                 ("attention", 110, 70, "attention"),
                                 ("block", 192, 56, "dropout")))
    _draw_branch(draw, 278, 666, (("block", 287, 96, "feed_forward_", "norm"),
                                  ("block", 393, 52, "expand"), ("block", 457, 44, "GELU"),
                                  ("block", 513, 62, "contract"), ("block", 594, 56, "dropout")))
    alt = ("Diagram of a transformer block: the residual stream, C numbers for each token, runs "
           "through it; a first branch takes a copy through attention_norm, attention and dropout "
           "and adds the result; a second takes a copy through feed_forward_norm, the feed-forward "
           "network (expand, GELU, contract; 4C wide inside) and dropout and adds the result.")
    return svg(WIDTH, 180, draw.shapes, alt)


def _draw_branch(draw: _Diagram, start: int, end: int, boxes: Sequence[tuple]) -> None:
    """From the stream at `start` up through boxes (part, left, width, *lines), to the plus."""
    way = f"M{start} 138 V58"
    for part, left, width, *lines_ in boxes:
        draw.path(part, f"{way} H{left - 3}")
        draw.box(part, left, 38, width, 40, *lines_, small=True)
        way = f"M{left + width} 58"
    draw.path("block", f"{way} H{end} V123")
    draw.plus("block", end, 138)


def training_loop() -> Picture:
    """One turn of the loop of training: batch, scores, loss, gradient, step, and around again."""
    draw = _Diagram({"training", "model", "tokenizer"})
    draw.box("tokenizer", 16, 70, 130, 54, "batch", "from the text")
    draw.path("model", "M146 97 H252")
    draw.text("model", 196, 88, "inputs", small=True)
    draw.box("model", 256, 62, 150, 70, "model", "its weights")
    draw.path("training", "M406 97 H532")
    draw.text("training", 466, 88, "scores", small=True)
    draw.box("training", 536, 70, 148, 54, "loss", "mean surprise")
    draw.path("training", "M81 70 V32 H610 V66")
    draw.text("training", 346, 24, "targets: the token that really came next", small=True)
    draw.path("training", "M610 124 V190")
    draw.text("training", 602, 160, "backward", small=True, anchor="end")
    draw.box("training", 536, 194, 148, 54, "gradient", "a slope per weight")
    draw.path("training", "M536 221 H410")
    draw.box("training", 256, 194, 150, 54, "step", "a little downhill")
    draw.path("training", "M331 194 V136")
    draw.text("training", 322, 168, "moves the weights", small=True, anchor="end")
    draw.path("tokenizer", "M256 221 H81 V128")
    draw.text("tokenizer", 168, 212, "again", small=True)
    alt = ("Diagram of the loop of training: a batch from the text gives inputs to the model and "
           "targets to the loss; the model's scores and the targets give the loss; backward makes "
           "a gradient of it, a slope for every weight; a step moves the weights a little "
           "downhill; then comes the next batch.")
    return svg(WIDTH, 264, draw.shapes, alt)
