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
        return sum(self._is_right(n, choice.value) for n, choice in enumerate(self.choices))

    def explanation(self, n: int) -> str:
        """What the page says about the choice that is made in question n, counted from 0."""
        if self.choices[n].value is None:
            return ""
        return self._told(n, self.options[n][self.choices[n].value])

    def _is_right(self, n: int, place: int | None) -> bool:
        return place is not None and self.options[n][place] is self.questions[n].right

    def _told(self, n: int, option: Option) -> str:
        return f"{'Right.' if option is self.questions[n].right else 'No.'} {option.explanation}"

    def _explain(self, n: int) -> None:
        chosen = self.choices[n]
        right = self._is_right(n, chosen.value)
        for place in range(len(self.options[n])):
            marked = right and place == chosen.value
            (chosen.add_class if marked else chosen.remove_class)(f"gpt-right-{place}")
        shown = "" if chosen.value is None else (
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
                f"{sign('right' if option is question.right else 'wrong')} "
                f"{in_markup(self._told(n, option))}</details></li>" for option in self.options[n])
            parts.append(f"<p><b>{n + 1}.</b> {in_markup(question.text)}</p><ul>{options}</ul>")
        return "".join(parts)


def _paragraph(content: str, role: str = "") -> str:
    spoken = f' role="{role}" aria-live="polite"' if role else ""
    return f'<div{spoken} style="line-height: 1.5; max-width: 700px">{content}</div>'
