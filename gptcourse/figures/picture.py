"""A picture is a PNG or an SVG together with what it shows in words."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from dataclasses import dataclass

from gptcourse.figures.style import CARD
from gptcourse.figures.words import in_markup, with_signs


@dataclass(frozen=True, repr=False)
class Picture:
    """A PNG or an SVG together with what it shows in words."""

    data: bytes | str    # of a PNG, or the text of an SVG
    alt: str
    width: int           # in CSS pixels

    def __post_init__(self) -> None:
        object.__setattr__(self, "alt", with_signs(self.alt))

    @property
    def mime_type(self) -> str:
        return "image/png" if isinstance(self.data, bytes) else "image/svg+xml"

    def __repr__(self) -> str:
        return f"<Picture: {self.alt}>"

    def _repr_mimebundle_(self, include=None, exclude=None) -> tuple[dict, dict]:
        png = isinstance(self.data, bytes)
        content = base64.b64encode(self.data).decode() if png else self.data
        bundle = {self.mime_type: content, "text/plain": repr(self)}
        return bundle, {self.mime_type: {"alt": self.alt, "width": self.width}}


def svg(width: int, height: float, shapes: Sequence[str], alt: str) -> Picture:
    words = in_markup(with_signs(alt))
    return Picture(
        f'<svg xmlns="http://www.w3.org/2000/svg" role="img" aria-label="{words}" '
        f'width="{width}" height="{height:g}" viewBox="0 0 {width} {height:g}" '
        f'style="max-width: 100%; height: auto" '
        f'font-family="system-ui, -apple-system, \'Segoe UI\', \'DejaVu Sans\', sans-serif">'
        f'<title>{words}</title><rect width="100%" height="100%" rx="8" fill="{CARD}"/>'
        f'{"".join(shapes)}</svg>',
        alt, width,
    )


def sentence(title: str) -> str:
    return f"{title}. " if title else ""
