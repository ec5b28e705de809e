"""Text as no writer means it, and what a page makes of it.

Tokens of such kinds are real: GPT-2's vocabulary has all control characters, and whoever types a
prompt may type markup.
"""

from html.parser import HTMLParser
from xml.etree import ElementTree

from gptlib.tokenizer import BPETokenizer

MARKUP = '<img src=x onerror="window.hit = 1">'
ODD_TEXTS = {
    "markup": MARKUP,
    "the end of a tag": "\"'></title></text></span></style><script>window.hit = 1</script>&lt;",
    "a comment": "<!-- <![CDATA[ ]]> -->",
    "control characters": "\x00\x01\x08\x0b\x0c\x0e\x1b[31m\x1f\x7f\x80\x9f",
    "lone surrogates": "\ud800 \udfff\udc80",
    "no characters": "\ufffe\uffff\U0001ffff\ufdd0",
    "marks of direction": "\u202eabc\u2066\u200f",
    "without a width": "\u200b\ufeff\xad",
    "a joiner alone": "\u200d",
    "a wide space": "\xa0",
    "line ends": "\r\n\t\u2028\x85",
    "formulas": "$\\frac{$ $$ {",
    "a long token": "=" * 400,
    "nothing": "",
    "emoji": "👩\u200d🚀 é 東",
}
# What this project's pages are made of.
ELEMENTS = {
    "b", "blockquote", "br", "caption", "circle", "code", "details", "div", "figcaption",
    "figure", "li", "p", "path", "pre", "rect", "small", "span", "style", "summary", "svg",
    "table", "td", "text", "th", "title", "tr", "ul",
}


class OddTokenizer(BPETokenizer):
    """A tokenizer of which every token reads as one of these texts."""

    def tokens(self, ids):
        odd = list(ODD_TEXTS.values())
        return [odd[token % len(odd)] for token in ids]

    def decode(self, ids):
        return "".join(self.tokens(ids))


class Page(HTMLParser):
    """The elements of a page, its attributes, and its text."""

    def __init__(self, page: str):
        super().__init__(convert_charrefs=True)
        self.elements, self.attributes, self.text = set(), set(), ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.elements.add(tag)
        self.attributes.update(name for name, _ in attributes)

    def handle_data(self, data):
        self.text += data

    def handle_comment(self, data):
        self.elements.add("a comment")

    unknown_decl = handle_decl = handle_pi = handle_comment


def check_page(page: str) -> Page:
    """The page has only what this project makes, and any machine can take it."""
    found = Page(page)
    assert found.elements <= ELEMENTS, found.elements - ELEMENTS
    assert not {name for name in found.attributes if name.startswith("on")}
    check_words(page)
    return found


def check_words(words: str) -> None:
    """Nothing in it that is no text, or that does something to a page."""
    words.encode()                                    # no half of a surrogate pair
    assert all(sign.isprintable() or sign in "\n\t\U0001ffff\ufdd0\u200d\xa0" for sign in words), (
        [sign for sign in words if not sign.isprintable()])


def check_picture(picture) -> None:
    """The picture and its words can be shown by everything; an SVG is XML with these words."""
    check_words(picture.alt)
    if isinstance(picture.data, str):
        check_page(picture.data)
        root = ElementTree.fromstring(picture.data.encode())
        assert root.get("aria-label") == picture.alt
        assert all(part.tag.startswith("{http://www.w3.org/2000/svg}") for part in root.iter())
