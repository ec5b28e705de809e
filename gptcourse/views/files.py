"""What views bring into the page, their ES modules and styles, and in front what they share."""

from __future__ import annotations

import json
import re
from pathlib import Path

from gptcourse.figures.style import PALETTE, css_variables, picture_style

FOLDER = Path(__file__).parent
_IMPORT = re.compile(r"^import [^;]*;\n", re.MULTILINE)


def read(file: str) -> str:
    return (FOLDER / file).read_text(encoding="utf-8")


def style(*names: str) -> str:
    """These styles, after the colors and what is the same on every page."""
    own = (read(f"{name}.css") for name in ("shared", *names))
    return "\n".join([css_variables(), picture_style(), *own])


def browser_files(name: str, *parts: str) -> tuple[str, str]:
    """The ES module and the style of a view that draws in the browser.

    A view's own module imports from `./common.js`, and that the colors, so that each can be read
    and run by itself; on a page there are no files to import from, and what they import stands in
    front of them instead. So do modules that only this view has, its `parts`.
    """
    palette = f"const PALETTE = {json.dumps(PALETTE)};\n"
    modules = (_IMPORT.sub("", read(f"{part}.js")) for part in ("common", *parts, name))
    own = [name] if (FOLDER / f"{name}.css").exists() else []
    return "\n".join([palette, *modules]), style("common", *own)
