"""What all views have in common.

A view is a widget with controls above and what they lead to below. When a control moves, the view
computes from a real model, draws, and says in one sentence what is on screen. That sentence is
also the picture's alternative text and the view's `repr`, so a view can be read without being
seen. Where no kernel runs, on a hosting site or in an exported page, the picture stands.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

import anywidget
import ipywidgets as widgets
import numpy as np
import torch
import traitlets

from gptcourse import figures
from gptcourse.figures import DRAWING, WIDTH, Picture, Stage, in_markup, showable, width_of
from gptcourse.views.files import browser_files
from gptcourse.views.image import KernelImage
from gptcourse.views.session import SendableText
from gptlib.tokenizer import END_OF_TEXT
from gptlib.trace import Trace, trace

TEXT_COLOR = "var(--gpt-ink)"
QUIET_COLOR = "var(--gpt-quiet)"
ERROR_COLOR = "var(--gpt-error)"


def answer_while_a_cell_runs(widget: widgets.Widget) -> None:
    """Let `widget`, and all widgets in it, hear the page at any time.

    JupyterLab sends what a learner does to a thread of its own in the kernel. From 7.4 on,
    ipykernel would have a widget wait for the thread of the cell that made it.
    """
    widget.comm._reply_subshell_for = None
    for child in getattr(widget, "children", ()):
        answer_while_a_cell_runs(child)


class BaseView:
    """What holds for every view: it says what it shows, it says what went wrong, and goes on.

    A subclass defines `update`, which computes, draws, and sets `shown`. One that shows what a
    model makes of a text has `model` and `tokenizer`, and asks `traced` for it.
    """

    notice = ""                          # what is to be known about the text, in a sentence

    def __init__(self, *args, **kwargs):
        self.last_error: Exception | None = None
        self.shown: dict = {}
        self._traced: tuple[tuple, Trace] | None = None
        self._held = False
        self._places: dict[str, tuple[traitlets.HasTraits, str]] = {}
        super().__init__(*args, **kwargs)

    @property
    def picture(self) -> Picture | None:
        """What stands where no widget can: a still picture with its words."""
        raise NotImplementedError

    @property
    def stored_picture(self) -> Picture | None:
        """What a notebook stores of the view, for pages without a kernel."""
        return self.picture

    def update(self) -> None:
        """Compute what the controls ask for, draw it, and set `shown`."""
        raise NotImplementedError

    def warn(self, message: str) -> None:
        """Say inside the view what went wrong; an empty message takes it back."""
        raise NotImplementedError

    def refresh(self, _change=None) -> None:
        """Run `update`. It may come from another thread, so it sets its own gradient mode."""
        with DRAWING:
            if not self._held:
                with self.errors_shown(), torch.inference_mode():
                    self.update()

    def traced(self, text: str) -> Trace:
        """The model's pass over a text, one for each model and text; `take_trace` is told of it."""
        read = (self.model, text)
        if self._traced is None or self._traced[0] != read:
            traced, notice = trace_text(self.model, self.tokenizer, text)
            self.take_trace(traced)
            self._traced, self.notice = (read, traced), notice
        return self._traced[1]

    def take_trace(self, traced: Trace) -> None:
        """There is a new pass of the model."""

    @property
    def state(self) -> dict:
        """The settings, by name. Given to another view of the same things, they make it the same.

        Raises a ValueError where it is set to what the view does not have; then nothing changes.
        """
        return {name: getattr(*place) for name, place in self._places.items()}

    @state.setter
    def state(self, wanted: Mapping) -> None:
        before = self.state
        for name in wanted:
            if name not in before:
                raise ValueError(f"{type(self).__name__} has no {name!r}: its state has "
                                 f"{', '.join(before)}.")
        try:
            self._set(wanted)
            refused = [name for name, value in wanted.items() if self.state[name] != value]
        except (traitlets.TraitError, TypeError):
            refused = [name for name in wanted if self.state[name] == before[name]]
        if refused:
            self._set(before)
            name = refused[0]
            raise ValueError(f"{name} cannot be {wanted[name]!r}: take one that the view's own "
                             "control has.")

    def _set(self, values: Mapping) -> None:
        with self.held():
            for name, value in values.items():
                owner, trait = self._places[name]
                setattr(owner, trait, value)
        self.refresh()

    def follow_places(self, places: Mapping[str, tuple[traitlets.HasTraits, str]]) -> None:
        """Update now, and again whenever one of these settings, object and trait, changes."""
        self._places = dict(places)
        for owner, trait in places.values():
            owner.observe(self.refresh, names=trait)
        self.refresh()

    def hear(self, content: object) -> None:
        """What the page asks for: `"picture"` is the picture as a file."""
        if content == "picture" and self.picture is not None:
            picture, page = self.picture, self._on_page
            data = picture.data if isinstance(picture.data, bytes) else picture.data.encode()
            page.send({"picture": picture.mime_type, "width": picture.width, "words": picture.alt,
                       "name": type(self).__name__}, buffers=[data])

    @contextmanager
    def held(self) -> Iterator[None]:
        """Several controls change at once: no update in between."""
        with DRAWING:                                       # other threads wait meanwhile
            former, self._held = self._held, True
            try:
                yield
            finally:
                self._held = former

    @contextmanager
    def errors_shown(self) -> Iterator[None]:
        """Say an error inside the view, in words, and go on."""
        try:
            yield
        except Exception as error:
            self.last_error = error
            self.warn(_told(error))
        else:
            self.last_error = None
            self.warn("")

    def __repr__(self) -> str:
        if self.last_error is not None:
            return f"<{type(self).__name__}: error: {_told(self.last_error)}>"
        return f"<{type(self).__name__}: {self.shown.get('summary', 'nothing shown yet')}>"

    def _repr_mimebundle_(self, **kwargs) -> tuple[dict, dict]:
        """The widget for a page with a kernel, the picture for every other page."""
        bundle = super()._repr_mimebundle_(**kwargs)
        data, metadata = bundle if isinstance(bundle, tuple) else (bundle, {})
        data = {**data, "text/plain": repr(self)}
        still = self.stored_picture
        if still is None:
            return data, metadata
        picture, words = still._repr_mimebundle_()
        return {**picture, **data}, {**metadata, **words}


class Page(anywidget.AnyWidget):
    """What a box of controls needs of the page around it.

    The page's own code leaves the handles of sliders without a name, so a screen reader could only
    say "slider" of each, and it gives a button's icon a letter that is in no alphabet. What is to
    be read out when it changes must be a place that stays. Letters that are pressed on a control
    are no commands to JupyterLab. And only the page knows when the kernel is gone, or when the box
    is on it no more, because its cell was run again or deleted.
    """

    _esm, _css = browser_files("page")

    saves = traitlets.Bool(False).tag(sync=True)      # whether there is a picture to save


class View(BaseView, widgets.VBox):
    """Controls, a picture from the kernel, and a sentence; `update` ends in `show`."""

    picture: Picture | None = None

    def __init__(self, controls: Sequence[widgets.Widget], below: Sequence[widgets.Widget] = ()):
        """`controls` stand above the picture, what is in `below` between picture and sentence."""
        self._alert = widgets.HTML()
        self._sentence = widgets.HTML().add_class("gpt-sentence")
        self._image = KernelImage()
        self._drawn = [self._image, *below, self._sentence]
        row = widgets.HBox(list(controls), layout=widgets.Layout(
            flex_flow="row wrap", align_items="center", grid_gap="0 14px",
            max_width=f"{WIDTH}px"))
        self._on_page = Page(saves=True)
        self._on_page.on_msg(lambda _, content, __: self.hear(content))
        super().__init__([row, self._alert, *self._drawn, self._on_page])
        self.add_class("gpt-view")
        answer_while_a_cell_runs(self)

    def show(
        self, summary: str, picture: Stage | Picture, announce: bool = True, **shown
    ) -> None:
        """Put a picture and its sentence on screen; `shown` says what numbers they carry.

        A Picture in place of a Stage stands for a view that shows its matter as text, and is
        seen only where there is no widget. A view that moves by itself leaves the sentence on the
        page as it was with `announce=False`, for screen readers read out every change.
        """
        summary = showable(summary)
        if isinstance(picture, Stage):
            picture = Picture(picture.png(), summary, width_of(picture.figure))
            self._image.show(picture)
        self.picture = picture
        if announce:
            self._sentence.value = paragraph(summary)
        self.shown = {"summary": summary, **shown}

    def follow(self, *controls: widgets.Widget) -> None:
        """Update now, and again whenever one of these controls changes its value."""
        self.follow_places({control.description: (control, "value") for control in controls})

    def warn(self, message: str) -> None:
        self._alert.value = paragraph(message, ERROR_COLOR, "alert") if message else ""
        for part in self._drawn:                          # pale, for it is what was there before
            (part.add_class if message else part.remove_class)("gpt-stale")

    def hear(self, content: object) -> None:
        if content == "here":
            self.enter_page()
        elif content == "gone":
            self.leave_page()
        super().hear(content)

    def enter_page(self) -> None:
        """The view was put on a page, where somebody may look at it."""

    def leave_page(self) -> None:
        """The view was taken from the page. It can be shown again."""


def _told(error: Exception) -> str:
    """An error in one line; one that is no sentence by itself at least has a name."""
    text = showable(" ".join(str(error).split()))
    if text and isinstance(error, (ValueError, TypeError, RuntimeError)):
        return text
    return f"{type(error).__name__}: {text}"


def paragraph(text: str, color: str = TEXT_COLOR, role: str = "") -> str:
    """A text as HTML; with the role "alert", it is read out when it appears."""
    named = f' role="{role}"' if role else ""
    return (f'<div{named} style="color: {color}; line-height: 1.5; max-width: {WIDTH}px">'
            f"{in_markup(text)}</div>")


def table(rows: Sequence[tuple[str, str, str]]) -> str:
    """Rows of a name, a number and a reason, as HTML."""
    cells = "".join(
        f'<tr><th scope="row" style="text-align: left; padding: 1px 16px 1px 0; '
        f'white-space: nowrap">{in_markup(name)}</th>'
        f'<td style="text-align: right; padding: 1px 16px; white-space: nowrap">'
        f'{in_markup(number)}</td>'
        f'<td style="text-align: left; padding: 1px 0">{in_markup(why)}</td></tr>'
        for name, number, why in rows)
    return (f'<table style="color: {TEXT_COLOR}; line-height: 1.5; max-width: {WIDTH}px">{cells}'
            "</table>")


# ------------------------------------------------------------------------------------------ text

MOST_TOKENS = 64                     # of a text that a view draws token by token


def trace_text(model, tokenizer, text: str, most: int = MOST_TOKENS) -> tuple[Trace, str]:
    """One pass of the model over a text, and what is to be known about it in a sentence, or "".

    The models of this course learned that a story begins after `<|endoftext|>`, so that token
    comes first wherever the tokenizer has it. Raises a ValueError where nothing is left to read,
    and where the model's numbers are not finite.
    """
    ids, start = tokenizer.encode(text), beginning(tokenizer)
    if not ids:
        raise ValueError("The text is empty, but the model needs a token to read: type some text.")
    most = min(most, model.config.context_length) - len(start)
    cut = "" if len(ids) <= most else (
        f"The text has {len(ids):,} tokens; only the first {most} are read.")
    ids = start + ids[:most]
    traced = trace(model, ids, tokenizer.tokens(ids))
    check_finite(traced.logits)
    return traced, f"{cut} {_dropping(model)}".strip()


def prompt_ids(model, tokenizer, prompt: str, room: int = 0) -> tuple[list[int], str]:
    """The ids that a model goes on from, and what is to be known about them in a sentence, or "".

    A prompt that is too long loses its beginning, so that `room` more tokens fit into the context
    after it. Raises a ValueError where the model would have nothing to read.
    """
    ids, start = tokenizer.encode(prompt), beginning(tokenizer)
    if not ids and not start:
        raise ValueError(
            "The prompt is empty, but the model needs a token to go on from: type a word.")
    most = model.config.context_length - len(start) - room
    cut = "" if len(ids) <= most else (
        f"The prompt has {len(ids):,} tokens; only the last {most} are read.")
    return start + ids[max(0, len(ids) - most):], f"{cut} {_dropping(model)}".strip()


def _dropping(model) -> str:
    """A sentence where dropout makes every pass of the model another one, or nothing."""
    if not (model.training and model.config.drop_rate):
        return ""
    return ("The model is in training mode, so dropout changes its numbers at random: call "
            "model.eval(), and run this cell again.")


def beginning(tokenizer) -> list[int]:
    """What every text of this course begins after: the end-of-text token, if there is one."""
    end = tokenizer.special_tokens.get(END_OF_TEXT)
    return [] if end is None else [end]


def decimals(probability: float) -> int:
    """How many decimals tell the probabilities up to this one apart: those of a large vocabulary
    are tiny where a model has no opinion yet."""
    return 3 if probability >= 0.01 else 5


def chance(probability: float, digits: int) -> str:
    """A probability with so many decimals; what would read as zero and is not has one digit that
    says so: 0.0004, 4e−5."""
    text = f"{probability:.{digits}f}"
    return text if float(text) or not probability else figures.number(probability, 1)


def written(x: float, digits: int) -> str:
    """A number for reading, with a true minus sign, as `written` in common.js."""
    text = f"{x:.{digits}f}"
    return (text if float(text) else text.lstrip("-")).replace("-", "−")


def check_finite(logits: np.ndarray) -> None:
    """Raise a ValueError where a model's scores are not finite numbers."""
    if not np.isfinite(logits).all():
        raise ValueError(
            "The model computes numbers that are not finite, so there is nothing to show: load "
            "its weights again, or train it with a smaller learning rate.")


# -------------------------------------------------------------------------------------- controls

WIDE = {"flex": "1 1 100%", "max_width": f"{WIDTH}px"}
_STYLE = {"description_width": "96px"}
_LAYOUT = {"flex": "1 1 262px", "max_width": "345px"}     # two beside each other on any page


def whole_slider(label: str, low: int, high: int, value: int, hint: str = "", step: int = 1):
    """A slider over whole numbers. With nothing to choose from, it is shown but cannot move.

    A browser moves a value that lies between two steps, so there every whole number is a step.
    """
    if (value - low) % step or (high - low) % step:
        step = 1
    return widgets.IntSlider(
        value, low, max(high, low + 1) if high == low else high, step, description=label,
        tooltip=hint or label, disabled=high == low, style=_STYLE, layout=_LAYOUT)


def number_slider(label: str, low: float, high: float, value: float, step: float, hint: str = ""):
    """A slider over real numbers."""
    return widgets.FloatSlider(
        value, min=low, max=high, step=step, description=label, tooltip=hint or label,
        readout_format=".3g", style=_STYLE, layout=_LAYOUT)


def stepped_slider(label: str, options: Sequence[tuple[str, object]], value, hint: str = ""):
    """A slider over the given pairs of text and value, in their order."""
    return widgets.SelectionSlider(
        options=options, value=value, description=label, tooltip=hint or label, style=_STYLE,
        layout=_LAYOUT)


class _Text(widgets.Textarea):
    value = SendableText().tag(sync=True)


def text_field(label: str, value: str, hint: str = "", at_once: bool = False):
    """A field that shows all of a text, where the browser can do that, and three lines elsewhere.

    The view follows when it is left, or on enter; shift and enter begin a line. If a view need not
    ask a model, it follows every letter, `at_once`.
    """
    field = _Text(value, description=label, tooltip=hint or label, continuous_update=at_once,
                  rows=3, style=_STYLE, layout=WIDE).add_class("gpt-text")
    return field if at_once else field.add_class("gpt-on-enter")


def choice(label: str, options: Sequence, hint: str = ""):
    """A list to choose one of; an option is a text, or a pair of text and value."""
    return widgets.Dropdown(options=options, description=label, tooltip=hint or label,
                            style=_STYLE, layout=_LAYOUT)


def switch(label: str, value: bool, hint: str = ""):
    """A box to tick."""
    return widgets.Checkbox(value, description=label, tooltip=hint or label, indent=False,
                            layout={"width": "120px"})


def button(label: str, action: Callable[[], object], hint: str = "", icon: str = ""):
    """A button that calls `action`, a public method of the view."""
    made = widgets.Button(description=label, tooltip=hint or label, icon=icon)
    made.on_click(lambda _: action())
    return made
