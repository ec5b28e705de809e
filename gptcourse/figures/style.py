"""Colors and sizes. The colors stand in `palette.json`, for pictures and pages alike."""

from __future__ import annotations

import json
from pathlib import Path

PALETTE = json.loads(Path(__file__).with_name("palette.json").read_text(encoding="utf-8"))

CARD, INK, MUTED, GRID = (PALETTE[name] for name in ("card", "ink", "muted", "grid"))
EMPTY, HATCH = PALETTE["empty"], PALETTE["hatch"]                    # of a cell without a number
SERIES = tuple(PALETTE[name] for name in ("blue", "orange", "green", "violet", "muted", "red"))
CHIPS = tuple(PALETTE["chips"])
SIGNED = tuple(PALETTE["signed"])                                    # orange, gray, blue
WIDTH = 700                                                          # of most pictures, in pixels
TEXT_SIZE, SMALL_SIZE = 10.0, 8.5                                    # points: 13 and 11 pixels


# Pictures are drawn for a light page. On a dark one light and dark change places, and colors keep
# their hue; what was the paper, black by then, adds no light to the page, a faint line a little.
DARK_PICTURE = "{ filter: invert(1) hue-rotate(180deg) contrast(1.03); mix-blend-mode: screen; }"
PICTURES = ":is(.jp-RenderedSVG, .jp-RenderedImage, .gpt-picture) img"


def css_variables() -> str:
    """The single colors as CSS, "blue" is var(--gpt-color-blue), and the scale of signed numbers,
    var(--gpt-signed); others on a dark page."""
    light, dark = (
        "".join(f" --gpt-color-{name}: {color};" for name, color in colors.items()
                if isinstance(color, str))
        + f" --gpt-signed: linear-gradient(90deg, {', '.join(colors['signed'])});"
        for colors in (PALETTE, PALETTE["dark"]))
    return f':root {{{light} }}\nbody[data-jp-theme-light="false"] {{{dark} }}\n'


def picture_style() -> str:
    """CSS for pictures: none is wider than its page, and they follow the page's theme."""
    return (f"{PICTURES} {{ max-width: 100%; height: auto; }}\n"
            f'body[data-jp-theme-light="false"] {PICTURES} {DARK_PICTURE}\n')
