"""What stands in the learner's file, chapter by chapter, as a table."""

from __future__ import annotations

from dataclasses import dataclass

from gptcourse.figures import in_markup


@dataclass(frozen=True, repr=False)
class Contents:
    """The definitions of a file: of each chapter, those that are there and those still to come."""

    file: str
    lines: int
    chapters: tuple[tuple[str, tuple[str, ...], tuple[str, ...]], ...]   # title, there, to come

    @property
    def title(self) -> str:
        there = sum(len(names) for _, names, _ in self.chapters)
        every = there + sum(len(names) for _, _, names in self.chapters)
        if not self.lines:
            return f"{self.file}: not begun yet, 0 of {every} definitions. It will be kept here."
        return (f"{self.file}, beside this notebook: {self.lines} lines, {there} of {every} "
                "definitions.")

    def __repr__(self) -> str:
        return "\n".join([self.title, *(
            f"{title:<24} in it: {', '.join(there) or '-'}; to come: {', '.join(to_come) or '-'}"
            for title, there, to_come in self.chapters)])

    def _repr_html_(self) -> str:
        rows = "".join(
            f'<tr><th scope="row" style="text-align: left">{in_markup(title)}</th>'
            f"{_cell(there)}{_cell(to_come)}</tr>" for title, there, to_come in self.chapters)
        return (f'<table><caption style="text-align: left"><b>{in_markup(self.title)}</b></caption>'
                '<tr><th style="text-align: left">chapter</th><th style="text-align: left">in your '
                f'file</th><th style="text-align: left">to come</th></tr>{rows}</table>')


def _cell(names: tuple[str, ...]) -> str:
    code = ", ".join(f"<code>{in_markup(name)}</code>" for name in names)
    return f'<td style="text-align: left">{code}</td>'
