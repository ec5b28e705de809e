"""Tensors on their way through a model, as bars."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from gptcourse.figures.picture import Picture, svg
from gptcourse.figures.style import INK, MUTED, SERIES, WIDTH
from gptcourse.figures.words import in_markup


def tensor_shapes(shapes: Mapping[str, Sequence[int]]) -> Picture:
    """Tensors on their way through a model, {name: shape}, a line each, the first on top.

    A bar is as long as a tensor has numbers for one token. (B, H, T, D) is cut into its H heads,
    (B, T) is a single number per token.
    """
    widest = max(math.prod(_per_token(shape)) for shape in shapes.values())
    shapes_drawn = []
    for row, (name, shape) in enumerate(shapes.items()):
        heads, size = _per_token(shape)
        y, length = 34 + 28 * row, 300 * size / widest
        shapes_drawn += [
            f'<text x="16" y="{y}" font-size="13.5" fill="{INK}">{in_markup(name)}</text>',
            f'<text x="246" y="{y}" font-size="13.5" fill="{MUTED}">'
            f"{in_markup(str(tuple(shape)))}</text>",
        ]
        shapes_drawn += [
            f'<rect x="{380 + length * head:.1f}" y="{y - 14}" width="{max(1.5, length - 1):.1f}" '
            f'height="18" fill="{SERIES[0] if heads == 1 else SERIES[1]}"/>'
            for head in range(heads)
        ]
    said = "; ".join(f"{name} {tuple(shape)}" for name, shape in shapes.items())
    alt = f"Shapes of tensors, with bars for the numbers per token: {said}."
    return svg(WIDTH, 28 * len(shapes) + 26, shapes_drawn, alt)


def _per_token(shape: Sequence[int]) -> tuple[int, int]:
    """Heads, and numbers per token and head, of (B, T), (B, T, C) or (B, H, T, D)."""
    return (shape[1] if len(shape) == 4 else 1, shape[-1] if len(shape) > 2 else 1)
