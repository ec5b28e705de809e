"""A quiz on a page: questions, radio buttons, and an explanation for whatever is chosen."""

from __future__ import annotations

from collections.abc import Sequence

import ipywidgets as widgets

from gptcourse.figures import in_markup
from gptcourse.figures.signs import sign
from gptcourse.quizzes.quiz import Option, Question
from gptcourse.views.base import Page, answer_while_a_cell_runs

_CHOICE = widgets.Layout(width="auto", max_width="700px")
# Radio buttons are made for options of one line: a longer one would lie upon the next. And what is
# said to a choice belongs to its question, not to the one below.
_MARKED = ", ".join(f".gpt-quiz .gpt-right-{n} label:nth-of-type({n + 1})" for n in range(6))
_STYLE = f"""<style>
.gpt-quiz .widget-radio-box {{ margin-bottom: 0; }}
.gpt-quiz .widget-radio-box label {{ display: flex; align-items: start; height: auto; }}
.gpt-quiz .widget-radio-box label input {{ order: -1; flex: none; }}
.gpt-quiz .gpt-quiz-apart {{ padding-top: 10px; }}
{_MARKED} {{ font-weight: 600; box-shadow: -4px 0 var(--jp-success-color1, #2e7d32); }}
</style>"""


class Quiz(widgets.VBox):
    """Questions with one right option each. Choose as often as you like; each choice is explained.

    Where no kernel runs, the page shows questions, options and explanations as text.
    """

    def __init__(self, name: str, questions: Sequence[Question]):
        self.name, self.questions = name, tuple(questions)
        self.options = [question.shuffled(n) for n, question in enumerate(self.questions)]
        self.choices, self._answers = [], []
        rows = []
        for n, question in enumerate(self.questions):
            choice = widgets.RadioButtons(
                options=[(option.text, place) for place, option in enumerate(self.options[n])],
                value=None, layout=_CHOICE)
            answer = widgets.HTML()
            choice.observe(lambda _change, n=n: self._explain(n), names="value")
            self.choices.append(choice)
            self._answers.append(answer)
            asked = widgets.HTML(_paragraph(f"<b>{n + 1}.</b> {in_markup(question.text)}"))
            asked.add_class("gpt-quiz-apart")
            rows += [asked, choice, answer]
        self._score = widgets.HTML()
        self._score.add_class("gpt-quiz-apart")
        style = widgets.HTML(_STYLE, layout={"display": "none"})
        super().__init__([style, *rows, self._score, Page()])
        self.add_class("gpt-quiz")
        answer_while_a_cell_runs(self)
        self._show_score()

    @property
    def n_right(self) -> int:
        """How many questions are answered rightly at the moment."""
        return sum(choice.value is not None and self.options[n][choice.value] is question.right
                   for n, (choice, question) in enumerate(
                       zip(self.choices, self.questions, strict=True)))

    def explanation(self, n: int) -> str:
        """What the page says about the choice that is made in question n, counted from 0."""
        if self.choices[n].value is None:
            return ""
        option = self.options[n][self.choices[n].value]
        return f"{self._verdict(n, option)[1]} {option.explanation}"

    def _verdict(self, n: int, option: Option) -> tuple[str, str]:
        return ("right", "Right.") if option is self.questions[n].right else ("wrong", "No.")

    def _explain(self, n: int) -> None:
        place = self.choices[n].value
        right = place is not None and self._verdict(n, self.options[n][place])[0] == "right"
        for other in range(len(self.options[n])):
            marked = right and other == place
            (self.choices[n].add_class if marked else self.choices[n].remove_class)(
                f"gpt-right-{other}")
        shown = "" if place is None else (
            f"{sign('right' if right else 'wrong')} {in_markup(self.explanation(n))}")
        self._answers[n].value = _paragraph(shown, "status")
        self._show_score()

    def _show_score(self) -> None:
        self._score.value = _paragraph(f"{self.n_right} of {len(self.questions)} right", "status")

    def __repr__(self) -> str:
        return f"<Quiz {self.name}: {self.n_right} of {len(self.questions)} right>"

    def _repr_mimebundle_(self, **kwargs) -> dict:
        bundle = super()._repr_mimebundle_(**kwargs)
        return {**bundle, "text/plain": repr(self), "text/html": self._as_page()}

    def _as_page(self) -> str:
        parts = []
        for n, question in enumerate(self.questions):
            options = "".join(
                f"<li>{in_markup(option.text)}<details><summary>explained</summary>"
                f"{sign(self._verdict(n, option)[0])} {self._verdict(n, option)[1]} "
                f"{in_markup(option.explanation)}</details></li>" for option in self.options[n])
            parts.append(f"<p><b>{n + 1}.</b> {in_markup(question.text)}</p><ul>{options}</ul>")
        return "".join(parts)


def _paragraph(content: str, role: str = "") -> str:
    spoken = f' role="{role}" aria-live="polite"' if role else ""
    return f'<div{spoken} style="line-height: 1.5; max-width: 700px">{content}</div>'
