"""What a check tells: its verdict in one line, help at a click, and words in which code is code."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass

from gptcourse.exercises.exercise import Exercise
from gptcourse.figures import PALETTE, in_markup, showable
from gptcourse.figures.signs import STATUS_COLORS, sign
from gptcourse.listing import Source

# For plain text; a page has shapes, which need no font.
SIGNS = {"todo": "⬜", "right": "✅", "wrong": "❌", "raised": "💥"}
# What a text about "todo" and "right" says by itself.
_WORDS = {"wrong": "not right yet: ", "raised": "it raised an error: "}

_CODE = re.compile(r"""
    `(?P<marked>[^`]+)`                                          # what is marked as code
  | (?<![\w.`])(?:
        \.?[A-Za-z_][\w.]*\((?:[^()]|\([^()]*\))*\)(?:\.\w+)*    # x.mean(dim=-1), range(len(ids))
      | [A-Za-z_][\w.]*\[[^\]]*\]                                # ids[i + 1]
      | \[[^\]]*[:.][^\]]*\]                                     # [..., :k]
      | [A-Za-z]\w*=-?[\w.]*\w                                   # dim=-1
      | (?:torch|nn|math|F|self|x|config)\.[A-Za-z_][\w.]*\w     # torch.cat
      | [A-Za-z]\w*_\w*\w(?:\.\w+)*                              # keep_top_k, my_gpt.py
      | [-+*/<>=!]= | // | \*\*
    )""", re.VERBOSE)


def with_code(text: str) -> str:
    """A text in HTML in which what is code looks like it, whether it is marked as such or not."""
    parts, end = [], 0
    for found in _CODE.finditer(text):
        code = in_markup(found["marked"] or found[0])
        parts += [in_markup(text[end : found.start()]), f"<code>{code}</code>"]
        end = found.end()
    return "".join([*parts, in_markup(text[end:])])


@dataclass(frozen=True, repr=False)
class Hint:
    """A hint in words."""

    title: str
    text: str

    def __repr__(self) -> str:
        return f"{self.title}\n{self.text}" if self.text else self.title

    def _repr_html_(self) -> str:
        return (f'<p style="margin: 0.2em 0">{in_markup(self.title)}</p><pre style="margin: 0; '
                f'padding: 0.4em 0.8em; white-space: pre-wrap; word-break: normal">'
                f"{in_markup(self.text)}</pre>")


def hint(exercise: Exercise, number: int) -> Hint | Source:
    """One of the three hints; the last is code."""
    kind = Source if number == len(exercise.hints) else Hint
    return kind(f"Hint {number} of {len(exercise.hints)} for {exercise.name}",
                inspect.cleandoc(exercise.hints[number - 1]))


def solution(exercise: Exercise) -> Source:
    return Source(f"One way to write {exercise.name}", exercise.shown_source)


EDGE, RAISED = PALETTE["edge"], PALETTE["raised"]
_STYLE = f"""<style>
.gpt-help {{ display: flex; flex-flow: row wrap; gap: 6px; margin-top: 6px; }}
.gpt-help summary {{
  display: inline-block; cursor: pointer; padding: 1px 12px; border-radius: 4px;
  border: 1px solid var(--jp-border-color1, {EDGE}); background: var(--jp-layout-color2, {RAISED});
}}
.gpt-help summary::-webkit-details-marker {{ display: none; }}
.gpt-help details[open] {{ flex: 1 1 100%; order: 1; }}
</style>"""


def _help(exercise: Exercise) -> str:
    """Hints and solution behind buttons, which need no kernel."""
    parts = [(f"hint {n}", hint(exercise, n)) for n in range(1, len(exercise.hints) + 1)]
    folded = "".join(
        f'<details><summary data-lm-suppress-shortcuts="true">{name}</summary>'
        f"{part._repr_html_()}</details>"
        for name, part in [*parts, ("solution", solution(exercise))])
    return f'{_STYLE}<div class="gpt-help">{folded}</div>'


@dataclass(frozen=True, repr=False)
class Result:
    """What a check found out, in one line."""

    exercise: Exercise
    status: str                        # "todo", "right", "wrong" or "raised"
    text: str

    @property
    def ok(self) -> bool:
        return self.status == "right"

    def __repr__(self) -> str:
        return f"{SIGNS[self.status]} {self.exercise.name}: {showable(self.text)}"

    def _repr_html_(self) -> str:
        return (f'<div role="status" style="border-left: 4px solid {STATUS_COLORS[self.status]}; '
                f'padding: 0.3em 0.8em; line-height: 1.5; max-width: 700px">'
                f"{sign(self.status)} <b>{in_markup(self.exercise.name)}</b>: "
                f"{_WORDS.get(self.status, '')}{with_code(self.text)}"
                f"{'' if self.ok else _help(self.exercise)}</div>")
