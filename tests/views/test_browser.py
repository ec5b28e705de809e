"""What the views of the browser share: the way of the numbers into the page, and of errors."""

import json
import re
import threading

import matplotlib
import numpy as np
import pytest
import torch
import traitlets
from in_node import in_node

from gptcourse import figures
from gptcourse.views.base import chance
from gptcourse.views.browser import MOST_BYTES, BrowserView, pack
from gptcourse.views.files import browser_files

MODULE, _ = browser_files("attention", "arcs")


class Halver(BrowserView):
    """Sends what is left of a cake."""

    _esm = MODULE
    guests = traitlets.Int(1).tag(sync=True)

    def __init__(self, **options):
        super().__init__(**options)
        self.follow("guests")

    def update(self):
        self.modes = (torch.is_inference_mode_enabled(), torch.is_grad_enabled())
        if self.guests < 0:
            raise ValueError("guests is negative, but nobody can be missing twice: use 1 or more.")
        self.send_data({"left": np.array([1 / self.guests])}, unit="cakes")
        self.show(f"There is 1/{self.guests} left.")

    def still(self):
        return figures.token_strip(["cake"], [self.guests])


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """What the shared functions answer, and what they were asked."""
    rng = np.random.default_rng(0)
    given = {
        "arrays": {
            "single": rng.standard_normal((2, 3, 5)).astype(np.float32),
            "bytes": np.arange(7, dtype=np.uint8),
            "double": rng.standard_normal(4),
            "whole": np.array([[-3, 2**31 - 1]], dtype=np.int32),
        },
        "scores": [*rng.standard_normal(9).tolist(), None],
        "numbers": [0.5, 2, -1, 2, 0.5],
        "written": [[0.03125, 3], [-1.5, 1], [-0.0, 2], [-3.1e-7, 3], [0, 4], [12345.678, 1],
                    [1e-320, 2]],
        "chances": [[0.2513, 3], [0.9999, 3], [0, 3], [4.2e-4, 3], [4.4e-5, 3], [3e-9, 5],
                    [2.1e-5, 5]],
        "labels": ["short", "endless", "👩‍🚀👩‍🚀👩‍🚀"],
        "shares": [n / 256 for n in range(257)],
    }
    packed = pack(given["arrays"], labels=["·Zoë", "猫", "👍", '"quoted"'])
    asked = {name: value for name, value in given.items() if name != "arrays"}
    folder = tmp_path_factory.mktemp("node")
    return given, in_node("common.mjs", MODULE, folder, packed=packed, **asked)


def test_a_page_unpacks_what_the_kernel_packed(shared):
    given, answer = shared
    for name, array in given["arrays"].items():
        assert answer["unpacked"]["shapes"][name] == list(array.shape)
        assert answer["unpacked"][name] == array.ravel().tolist()
    assert answer["unpacked"]["labels"] == ["·Zoë", "猫", "👍", '"quoted"']


def test_softmax_in_the_page_is_torchs(shared):
    given, answer = shared
    scores = torch.tensor([-torch.inf if x is None else x for x in given["scores"]])
    np.testing.assert_allclose(answer["softmax"], scores.softmax(-1), atol=1e-7)


def test_of_equal_numbers_the_earlier_comes_first(shared):
    assert shared[1]["largest"] == [1, 3, 0]


def test_no_probability_above_zero_reads_as_zero_in_the_page_or_in_the_kernel(shared):
    expected = ["0.251", "1.000", "0.000", "0.0004", "4e−5", "3e−9", "0.00002"]
    given, answer = shared
    assert answer["chances"] == expected
    assert [chance(p, digits) for p, digits in given["chances"]] == expected


def test_numbers_are_written_for_reading(shared):
    assert shared[1]["written"] == ["0.031", "−1.5", "0.00", "0.000", "0.0000",
                                      "12345.7", "0.00"]


def test_long_labels_are_cut_between_characters(shared):
    assert shared[1]["shortened"][:2] == ["short", "endle…"]
    assert "\ufffd" not in json.dumps(shared[1]["shortened"][2], ensure_ascii=False)
    assert shared[1]["shortened"][2].endswith("…")


def test_the_colors_of_a_page_are_those_of_the_still_pictures(shared):
    given, answer = shared
    expected = 255 * matplotlib.colormaps["cividis"](np.array(given["shares"]) * 255 / 256)[:, :3]
    assert np.abs(np.array(answer["cividis"]) - expected).max() < 6
    ends = [answer["signed"][place] for place in (0, 64, 128, 192, 256)]
    assert ends == [[int(code[n:n + 2], 16) for n in (1, 3, 5)] for code in figures.SIGNED]


def test_a_module_runs_by_itself_in_its_folder_too(tmp_path):
    """The import that a page replaces is the one that Node and editors follow."""
    from gptcourse.views.files import FOLDER

    for name in ("attention", "arcs", "microscope"):
        own = (FOLDER / f"{name}.js").read_text(encoding="utf-8")
        imports = re.findall(r"^import \{([^}]*)\} from \"\./(\w+\.js)\";", own, re.MULTILINE)
        assert "common.js" in dict(map(reversed, imports))
        for used, file in imports:
            shared = (FOLDER / file).read_text(encoding="utf-8")
            for function in filter(None, map(str.strip, used.split(","))):
                assert re.search(rf"^export (function|const) {function}\b", shared, re.MULTILINE)
                assert own.count(function) > 1, f"{name}.js imports {function} in vain"


def test_more_than_a_megabyte_is_refused_in_a_sentence():
    pack({"fits": np.zeros(MOST_BYTES - 200, dtype=np.uint8)})
    with pytest.raises(ValueError, match=r"at most 1,000,000 .* choose a shorter text"):
        pack({"large": np.zeros(MOST_BYTES, dtype=np.uint8)})


def test_a_browser_view_says_what_it_shows_and_what_went_wrong():
    view = Halver()
    assert repr(view) == "<Halver: There is 1/1 left.>"
    view.guests = 0
    assert isinstance(view.last_error, ZeroDivisionError)
    assert view.error == "ZeroDivisionError: division by zero"
    assert repr(view) == "<Halver: error: ZeroDivisionError: division by zero>"
    view.set_state({"guests": 4})                               # as a browser sends it
    assert view.last_error is None and view.error == ""
    assert view.shown["summary"] == view.picture.alt == "There is 1/4 left."


def test_a_view_that_fails_from_the_start_still_has_a_page_to_say_so():
    view = Halver(guests=-1)
    assert view.error.startswith("guests is negative") and view.picture is None
    data, _ = view._repr_mimebundle_()
    assert data["text/plain"] == repr(view)
    assert "application/vnd.jupyter.widget-view+json" in data


def test_settings_that_come_in_another_thread_compute_without_gradients():
    view = Halver()
    with torch.enable_grad():
        thread = threading.Thread(target=view.set_state, args=[{"guests": 3}])
        thread.start()
        thread.join()
    assert view.modes == (True, False) and view.shown["summary"] == "There is 1/3 left."
