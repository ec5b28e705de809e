"""Any text as one that every page and picture can show."""

from __future__ import annotations

import html
import re
import unicodedata

# What a page cannot show, or what changes how all that follows looks: control characters, marks of
# direction and signs without a width, halves of surrogate pairs, which are no text, and the two
# signs that XML forbids. Joiners and wide spaces are seen by what they stand between, unless a text
# has nothing else.
_UNSEEN = re.compile(
    r"[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u061c\u180e\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f"
    r"\ud800-\udfff\ufeff\ufff9-\ufffb\ufffe\uffff]"
    r"|\A[\xa0\u034f\u1680\u2000-\u200d\u202f\u205f\u3000\ufe00-\ufe0f\U000e0020-\U000e007f]+\Z")


def showable(text: str) -> str:
    r"""Any text as one that every page and picture can show: what none can show as its number,
    such as \x1b. Line ends and tabs stay."""
    return _UNSEEN.sub(lambda found: "".join(map(number_of, found[0])), text)


def number_of(sign: str) -> str:
    return f"\\x{ord(sign):02x}" if ord(sign) < 256 else f"U+{ord(sign):04X}"


def in_markup(text: str) -> str:
    """Any text as the text of HTML or SVG, where nothing of it can be markup."""
    return html.escape(showable(text))


def with_signs(token: str) -> str:
    """Line ends and tabs as signs, the spaces around a token as dots, the rest as `showable`."""
    token = showable(token.replace("\n", "↵").replace("\t", "⇥").replace("\r", "␍"))
    middle = token.strip(" ")
    left = len(token) - len(token.lstrip(" "))
    return "·" * left + middle + "·" * (len(token) - left - len(middle))


def cut(text: str, limit: int) -> str:
    return text if len(text) <= limit else text[: limit - 1] + "…"


def columns_of(text: str) -> int:
    """Width of a text in columns of a fixed-width font: Chinese characters and emoji take two."""
    wide = sum(unicodedata.east_asian_width(sign) in "WF" for sign in text)
    joined = sum(unicodedata.combining(sign) > 0 for sign in text)
    return max(1, len(text) + wide - joined)
