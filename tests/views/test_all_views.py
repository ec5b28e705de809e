"""What holds for every view."""

import base64
import io
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from ipywidgets import HTML, Checkbox, HBox, Text
from PIL import Image
from samples import MAKERS, sample

import gptcourse.views
from gptcourse.figures import png
from gptcourse.views.base import BaseView, View, whole_slider
from gptcourse.views.browser import MOST_BYTES, BrowserView

SOURCES = [path for path in Path(gptcourse.views.__file__).parent.iterdir()
           if path.suffix in (".py", ".js", ".css")]
SOURCES += Path(gptcourse.__file__).with_name("figures").glob("*.py")


def kinds(kind: type) -> list[str]:
    return [name for name in MAKERS if issubclass(getattr(gptcourse.views, name), kind)]


every_view = pytest.mark.parametrize("name", MAKERS)
every_kernel_view = pytest.mark.parametrize("name", kinds(View))
every_browser_view = pytest.mark.parametrize("name", kinds(BrowserView))


class Fragile(View):
    """Divides twelve by its slider."""

    def __init__(self):
        from gptcourse import figures

        self.divisor = whole_slider("divisor", 0, 12, 3)
        super().__init__([self.divisor])
        self.still = figures.token_strip(["a"], [1])
        self.follow(self.divisor)

    def update(self):
        self.modes = (torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        self.show(f"The share is {12 // self.divisor.value}.", self.still)


def alert(view) -> str:
    return view.children[1].value


def test_every_view_has_a_sample():
    assert set(MAKERS) == {name for name in gptcourse.views.__all__
                           if issubclass(getattr(gptcourse.views, name), BaseView)}
    assert set(MAKERS) == {*kinds(View), *kinds(BrowserView)}


@every_view
def test_a_view_says_in_one_line_what_it_shows(name):
    view = sample(name)
    assert view.last_error is None
    assert repr(view) == f"<{name}: {view.shown['summary']}>"
    assert "\n" not in repr(view) and len(view.shown["summary"]) > 20
    assert not re.search(r"0x[0-9a-f]{6}", repr(view))


@every_view
def test_the_same_view_made_twice_says_the_same(name):
    assert repr(MAKERS[name]()) == repr(sample(name))


@every_view
def test_where_no_widget_manager_is_the_picture_stands_with_its_words(name):
    view = sample(name)
    data, metadata = view._repr_mimebundle_()
    assert "application/vnd.jupyter.widget-view+json" in data
    assert data["text/plain"] == repr(view)
    if name == "TokenizerExplorer":
        assert data["image/svg+xml"].startswith("<svg ") and "<title>" in data["image/svg+xml"]
        assert metadata["image/svg+xml"]["alt"]
    else:
        image = Image.open(io.BytesIO(base64.b64decode(data["image/png"])))
        assert metadata["image/png"] == {"alt": view.shown["summary"], "width": image.width // 2}
        assert image.getcolors(2**24) is None or len(image.getcolors(2**24)) > 20   # not blank


@pytest.mark.parametrize("name", [name for name in kinds(View) if name != "TokenizerExplorer"])
def test_what_is_drawn_anew_leaves_nothing_of_the_whole_picture_out(name):
    """A picture keeps the scenery and draws what changed; this one is compared with all of it."""
    view = MAKERS[name]()
    for control in view.children[0].children:
        if isinstance(control, Checkbox):
            control.value = not control.value
        elif isinstance(control, Text):
            control.value = "A hat for the dog"
        elif hasattr(control, "min") and not control.disabled:
            control.value = control.min
    assert view.last_error is None
    drawn = np.asarray(Image.open(io.BytesIO(view.picture.data)))
    stage = view._charts.stage if name == "TrainingDashboard" else view._stage
    whole = np.asarray(Image.open(io.BytesIO(png(stage.figure))))
    different = (drawn != whole).any(axis=-1).mean()
    assert different < 2e-4                                 # one letter has a few hundred pixels


@every_kernel_view
def test_every_control_has_a_label_and_a_hint(name):
    row = sample(name).children[0].children
    inner = [button for box in row if isinstance(box, HBox) for button in box.children]
    controls = [child for child in [*row, *inner] if not isinstance(child, (HBox, HTML))]
    assert len(controls) > 1
    for control in controls:
        assert control.description and control.tooltip


@every_browser_view
def test_a_browser_view_carries_its_data_as_one_block_of_at_most_a_megabyte(name):
    state = sample(name).get_state()
    blocks = {key: value for key, value in state.items() if isinstance(value, bytes) and value}
    assert "data" in blocks
    assert sum(map(len, blocks.values())) <= MOST_BYTES


@every_browser_view
def test_the_module_of_a_browser_view_stands_by_itself(name):
    module = sample(name)._esm
    assert not re.search(r"^import ", module, re.MULTILINE)
    assert module.count("export default") == 1
    assert "function mount(" in module and ".gpt {" in sample(name)._css


@every_browser_view
def test_the_still_picture_of_a_browser_view_follows_its_settings(name):
    view = MAKERS[name]()
    before = view.picture
    assert view.picture is before                           # drawn once
    view.show("Something else is on screen now.", **{
        key: value for key, value in view.shown.items() if key != "summary"})
    assert view.picture is not before and view.picture.alt == view.shown["summary"]


def test_an_error_is_said_in_the_view_and_kept_and_the_controls_go_on_working():
    view = Fragile()
    view.divisor.value = 0
    assert isinstance(view.last_error, ZeroDivisionError)
    assert 'role="alert"' in alert(view) and "ZeroDivisionError" in alert(view)
    assert repr(view).startswith("<Fragile: error: ZeroDivisionError")
    view.divisor.value = 4
    assert view.last_error is None and alert(view) == ""
    assert view.shown["summary"] == "The share is 3."


def test_what_was_there_before_an_error_is_pale_until_the_view_is_right_again():
    view = Fragile()
    picture, sentence = view.children[2], view.children[-2]
    view.divisor.value = 0
    assert all("gpt-stale" in part._dom_classes for part in (picture, sentence))
    view.divisor.value = 4
    assert not any("gpt-stale" in part._dom_classes for part in (picture, sentence))
    assert ".gpt-stale" in picture._css


def test_an_error_message_cannot_bring_markup_into_the_page():
    view = Fragile()
    with view.errors_shown():
        raise ValueError("<script>alert(1)</script>")
    assert "<script>" not in alert(view) and "&lt;script&gt;" in alert(view)


def test_an_error_of_many_lines_makes_a_repr_of_one():
    view = Fragile()
    with view.errors_shown():
        raise RuntimeError("first line\n  second line")
    assert repr(view) == "<Fragile: error: first line second line>"


def test_callbacks_run_without_gradients_whatever_their_thread_does():
    view = Fragile()
    with torch.enable_grad():
        view.divisor.value = 2
    assert view.modes == (True, False)


@every_view
def test_making_a_view_leaves_the_learners_random_numbers_alone(name):
    sample(name)                        # once before, for the model that the samples share
    state = torch.get_rng_state()
    MAKERS[name]()
    assert torch.equal(torch.get_rng_state(), state)


def test_a_message_from_the_browser_moves_the_view():
    view = Fragile()
    view.divisor.set_state({"value": 6})
    assert view.shown["summary"] == "The share is 2."


def test_no_view_uses_what_loses_errors_or_reaches_for_the_network():
    assert len(SOURCES) > 6
    forbidden = r"\b(interact|interactive_output|Output|pyplot|clear_output|iframe|https?)\b"
    for path in SOURCES:
        text = path.read_text(encoding="utf-8").replace("http://www.w3.org/2000/svg", "")
        found = re.findall(forbidden, text)
        assert not found, (path.name, found)


@every_view
def test_a_view_answers_while_a_cell_runs_and_so_do_all_its_controls(name):
    """What ipykernel asks before it hands on a message: None leaves it in the thread it came in."""
    def routes(widget):
        yield widget.comm._reply_subshell_for
        for child in getattr(widget, "children", ()):
            yield from routes(child)

    assert set(routes(sample(name))) == {None}


IN_A_NEW_PYTHON = """
import sys
sys.path[:0] = sys.argv[1:]
import gptlib
heavy = {"matplotlib", "ipywidgets", "gptcourse"} & set(sys.modules)
assert not heavy, f"the library imports {heavy}"

import gptcourse.figures
assert "matplotlib" not in sys.modules, "the figures import matplotlib before one is drawn"

from ipykernel.comm.comm import BaseComm
before = dict(vars(BaseComm))
import gptcourse.views, gptcourse.quizzes.view
assert dict(vars(BaseComm)) == before, "the views change the widgets of others"
assert "torch._dynamo" not in sys.modules, "the views import torch's compiler, which takes seconds"

from samples import MAKERS
[make() for make in MAKERS.values()]
assert "matplotlib.figure" in sys.modules, "nothing was drawn"
assert "matplotlib.pyplot" not in sys.modules, "a view imports pyplot"
"""


def test_what_is_imported_brings_no_more_than_it_needs_and_changes_nothing_for_others():
    """The library has neither figures nor widgets, and views draw without pyplot."""
    here = Path(__file__).parent
    subprocess.run([sys.executable, "-c", IN_A_NEW_PYTHON, here, here.parent], check=True)
