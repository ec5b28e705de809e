"""Moves the controls of a view, as a learner would, and looks whether it follows."""

import ipywidgets

from gptcourse.views.base import BaseView
from gptcourse.views.browser import BrowserView


def drive(view) -> None:
    """Every control is moved once; each time there is no error, and in the end another picture."""
    if not isinstance(view, BaseView):
        return                                             # a quiz, say
    at_first = view.shown["summary"]
    moves = [*(moves_of_the_page if isinstance(view, BrowserView) else moves_of_the_kernel)(view)]
    assert moves, f"{view!r} has nothing to move"
    for where, name, value in moves:
        setattr(where, name, value)
        assert view.last_error is None, f"{name} = {value}: {view.last_error}"
    assert view.shown["summary"] != at_first, at_first


def moves_of_the_kernel(view):
    """(control, "value", another value) for each slider, list and switch above the picture."""
    for control in view.children[0].children:
        if isinstance(control, (ipywidgets.IntSlider, ipywidgets.FloatSlider)):
            if not control.disabled:
                down = control.value > (control.min + control.max) / 2
                yield control, "value", control.min if down else control.max
        elif isinstance(control, (ipywidgets.SelectionSlider, ipywidgets.Dropdown)):
            others = [value for _, value in control._options_full if value != control.value]
            if others:
                yield control, "value", others[0]
        elif isinstance(control, ipywidgets.Checkbox):
            yield control, "value", not control.value


def moves_of_the_page(view):
    """(view, name, another value) for the settings that views of the browser share or bend."""
    for name, values in {
        "layer": (0, 1), "head": (0, 1), "token": (1, 2), "step": (0, 1), "temperature": (1.0, 2.0),
        "top_k": (0, 3), "scale": (True, False), "mask": (True, False), "off": ([], [(0, 0)]),
        "query_at": (5, 9),
    }.items():
        if view.has_trait(name):
            yield view, name, values[getattr(view, name) == values[0]]
