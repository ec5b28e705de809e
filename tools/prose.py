"""The prose of a chapter: its words, its headings, what a link can point to."""

from __future__ import annotations

import re
from collections.abc import Iterator

from nbformat import NotebookNode

# Formulas are no Markdown: `x[i](y)` in one is no link.
MATH = re.compile(r"\$\$.*?\$\$|(?<!\\)\$[^$\n]+\$", re.DOTALL)


def text_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "markdown"]


def tokens(cell: NotebookNode) -> Iterator:
    """The Markdown tokens of a text cell, nested ones included, without formulas."""
    from markdown_it import MarkdownIt

    for token in MarkdownIt("commonmark").enable("table").parse(MATH.sub(" ", cell.source)):
        yield token
        yield from token.children or ()


def count_words(cell: NotebookNode) -> int:
    """The words of a text cell; code, formulas and markup are none."""
    text = " ".join(token.content for token in tokens(cell) if token.type == "text")
    return len(re.findall(r"[^\W\d_][\w’'-]*", text))


def headings(notebook: NotebookNode) -> list[tuple[int, str]]:
    """Level and text of every heading, in order."""
    return [heading for cell in text_cells(notebook) for heading in headings_of(cell)]


def headings_of(cell: NotebookNode) -> list[tuple[int, str]]:
    from markdown_it import MarkdownIt

    parsed = MarkdownIt("commonmark").parse(cell.source)
    return [
        (int(token.tag[1]), parsed[place + 1].content)
        for place, token in enumerate(parsed)
        if token.type == "heading_open"
    ]


def anchors(notebook: NotebookNode) -> set[str]:
    """What JupyterLab lets a link point to: headings with hyphens for spaces, and given ids."""
    found = {re.sub(r"[`*]", "", text).replace(" ", "-") for _, text in headings(notebook)}
    for cell in text_cells(notebook):
        found.update(re.findall(r"<[^>]*\b(?:id|name)\s*=\s*[\"']([^\"']+)", cell.source))
    return found
