import base64
import inspect
import io
import re
import subprocess
import sys
import threading
import warnings
from functools import cache
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
import torch
from any_text import ODD_TEXTS, check_picture
from PIL import Image

import gptlib
from gptcourse import figures
from gptcourse.figures import Picture
from gptcourse.figures.charts import _set_log_x
from gptcourse.figures.diagram import POPPY, POPPYS_NEXT
from gptcourse.figures.estimates import _has_a_neighbor_at_its_right
from gptlib.storyteller import storyteller
from gptlib.tokenizer import BPETokenizer

CAUSAL = torch.tril(torch.ones(3, 3)).softmax(-1).tril()
WORDS = ["The", " cat", " sat"]


def pixels(picture: Picture) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)


def texts(picture: Picture) -> list[str]:
    """The words in an SVG, in order; parsing proves that it is well-formed."""
    root = ElementTree.fromstring(picture.data)
    return [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]


STILLS = {
    "attention_heatmap": lambda: figures.attention_heatmap(CAUSAL, WORDS, "One head"),
    "attention_grid": lambda: figures.attention_grid(CAUSAL.expand(2, 3, 3, 3)),
    "attention_overview": lambda: figures.attention_overview(
        CAUSAL.expand(2, 3, 3, 3), WORDS, 1, 2),
    "attention_arcs": lambda: figures.attention_arcs({0: CAUSAL, 3: CAUSAL}, WORDS, 2),
    "matrix": lambda: figures.matrix([[1.5, -2.0]], ["q"], ["a", "b"], signed=True),
    "lines": lambda: figures.lines({"training": ([1, 2], [3.0, 2.5])}, "step", "loss", floor=2.0),
    "bars": lambda: figures.bars(["a", "b"], [3, 1], "Counts", highlight="a", unit=" ms"),
    "gpt_diagram": lambda: figures.gpt_diagram({"attention"}),
    "valley": lambda: figures.valley(lambda x, y: x**2 + y**2, {"a": ([2, 1], [1, 0])}, "b", "c"),
    "token_strip": lambda: figures.token_strip(WORDS, [464, 3797, 3332]),
    "token_bars": lambda: figures.token_bars(WORDS, {"a": [1, 2, 3], "b": [3, 1, 0]}, "nats"),
    "word_bars": lambda: figures.word_bars(WORDS, {"a": [1, 2, 0], "b": [1, 2, 3]}, "nats"),
    "two_tables": lambda: figures.two_tables(WORDS, np.eye(3), np.ones((3, 3)), 1),
    "one_head": lambda: figures.one_head(WORDS, np.eye(3), np.eye(3), np.eye(3), 1),
    "block_diagram": figures.block_diagram,
    "training_loop": figures.training_loop,
    "estimates": lambda: figures.estimates({"a": ((0, 1, 2), (3, 3, 4))}, "share", "kinds"),
}
every_still = pytest.mark.parametrize("name", STILLS)


@cache
def still(name: str) -> Picture:
    return STILLS[name]()


@every_still
def test_a_notebook_gets_the_picture_with_its_words(name):
    picture = still(name)
    data, metadata = picture._repr_mimebundle_()
    assert data["text/plain"] == repr(picture) == f"<Picture: {picture.alt}>"
    assert metadata == {picture.mime_type: {"alt": picture.alt, "width": picture.width}}
    assert len(picture.alt) > 20 and "\n" not in picture.alt and "0x" not in picture.alt
    content = data[picture.mime_type]
    if picture.mime_type == "image/png":
        image = Image.open(io.BytesIO(base64.b64decode(content)))
        assert image.width == 2 * picture.width                     # crisp on fine screens
        assert len(image.convert("RGB").getcolors(2**24)) > 10      # and not blank
    else:
        root = ElementTree.fromstring(content)
        assert root.get("role") == "img" and root.get("aria-label") == picture.alt
        assert root.find("{http://www.w3.org/2000/svg}title").text == picture.alt


@every_still
def test_the_same_picture_twice_has_the_same_bytes(name):
    assert still(name).data == STILLS[name]().data


@every_still
def test_a_picture_fits_a_page(name):
    assert still(name).width <= figures.WIDTH


def test_of_too_many_labels_every_nth_stands_and_the_kept_ones_in_any_case():
    places = figures.attention.label_places
    assert places(5, 20) == [0, 1, 2, 3, 4]
    assert places(9, 8) == [0, 2, 4, 6, 8]
    assert places(9, 8, [5]) == [0, 2, 5, 8]
    assert places(9, 8, [8, 7]) == [0, 2, 4, 6, 8]             # the second would touch the first


def test_arcs_lead_from_each_token_back_to_those_it_looks_at():
    picture = figures.attention_arcs({3: CAUSAL}, WORDS, 2)
    curves = re.findall(r'd="M([\d.]+) 190 C.* ([\d.]+) 190" .*?stroke-width="([\d.]+)"',
                        picture.data.replace("/><", "/>\n<"))
    widths = {(start, end): float(width) for start, end, width in curves}
    left, cell = 56, 52
    middle = [f"{left + cell * (n + 0.5):.1f}" for n in range(3)]
    assert widths == {(middle[query], middle[key]): pytest.approx(10 * CAUSAL[query, key].item(),
                                                                  abs=0.01)
                      for query in range(3) for key in range(query)}
    assert picture.data.count("<circle") == 3                  # each looks at itself, too
    assert texts(picture) == [figures.visible(word) for word in WORDS]
    assert "·sat looks most at: head 3 " in picture.alt


def test_of_many_tokens_thirty_stand_in_a_line_of_arcs():
    words = [str(n) for n in range(64)]
    shown = texts(figures.attention_arcs({0: torch.eye(64)}, words, 63))
    assert shown == words[34:]
    assert texts(figures.attention_arcs({0: torch.eye(64)}, words, 31)) == words[2:32]


def test_the_widest_pictures_fit_a_page():
    assert figures.attention_heatmap(torch.eye(64), ["token"] * 64).width <= figures.WIDTH
    assert figures.attention_grid(torch.eye(5).expand(12, 12, 5, 5)).width <= figures.WIDTH
    assert figures.attention_overview(
        torch.eye(64).expand(12, 12, 64, 64), ["token"] * 64, 11, 3).width <= figures.WIDTH
    assert figures.matrix(torch.ones(40, 40), ["a label"] * 40).width <= figures.WIDTH


def test_pictures_are_drawn_without_pyplot_and_leave_matplotlibs_settings_alone():
    program = """
import sys, matplotlib
before = matplotlib.rcParams.copy()
from test_figures import STILLS
for draw in STILLS.values():
    draw()
assert matplotlib.rcParams.copy() == before
assert 'matplotlib.pyplot' not in sys.modules
"""
    path = f"import sys; sys.path[:0] = {sys.path!r}"
    subprocess.run([sys.executable, "-c", path + program], check=True)


def test_threads_can_draw_at_the_same_time():
    expected = {name: still(name).data for name in STILLS}
    drawn = []

    def work():
        drawn.append({name: draw().data for name, draw in STILLS.items()})

    threads = [threading.Thread(target=work) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert drawn == [expected] * 3


def test_the_heat_map_hatches_the_future_only_where_nobody_looks_at_it():
    masked = figures.attention_heatmap(CAUSAL, WORDS)
    open_ = figures.attention_heatmap(torch.full((3, 3), 1 / 3), WORDS)
    assert "no token looks ahead" in masked.alt and "no token looks ahead" not in open_.alt
    hatch = (pixels(masked) == (0xC3, 0xCA, 0xD2)).all(-1)
    assert hatch.sum() > 200
    assert (pixels(open_) == (0xC3, 0xCA, 0xD2)).all(-1).sum() == 0
    rows, columns = np.nonzero(hatch)
    assert columns.min() > pixels(masked).shape[1] / 4          # the upper right corner
    assert rows.max() < pixels(masked).shape[0] * 0.6


def test_the_overview_frames_the_head_that_is_large():
    heads = CAUSAL.expand(2, 3, 3, 3)
    frames = []
    for layer, head in ((0, 0), (0, 2), (1, 0)):
        picture = figures.attention_overview(heads, WORDS, layer, head)
        framed = (pixels(picture) == (0xD1, 0x66, 0x0A)).all(-1)
        frames.append(np.argwhere(framed).mean(axis=0))                # its middle (y, x)
        assert f"layer {layer}, head {head} is large" in picture.alt
    (y, x), right, below = frames
    assert abs(right[0] - y) < 2 and right[1] > x + 100
    assert abs(below[1] - x) < 2 and below[0] > y + 100


def test_of_many_layers_the_overview_shows_the_one_that_was_chosen():
    assert "3 heads" in figures.attention_overview(CAUSAL.expand(9, 3, 3, 3), WORDS, 8, 1).alt


def test_a_matrix_can_have_a_color_scale_for_each_column():
    def colors(**options):
        shown = pixels(figures.matrix([[100, 1], [50, -0.5]], values=False, signed=True, **options))
        height, width = shown.shape[:2]
        return [tuple(shown[y, x]) for y in (height // 3, 2 * height // 3)
                for x in (2 * width // 5, 3 * width // 5)]

    alone, together = colors(by_column=True), colors()
    assert alone[0] == alone[1] == together[0] != together[1]
    assert figures.matrix([[0, 1], [0, np.nan]], by_column=True).data


def test_the_heat_map_tells_where_each_token_looks_most():
    weights = np.array([[1, 0, 0], [0.75, 0.25, 0], [0.1, 0.6, 0.3]])
    alt = figures.attention_heatmap(weights, WORDS).alt
    assert "The at The (1.00), ·cat at The (0.75), ·sat at ·cat (0.60)" in alt


def test_other_weights_give_another_picture():
    one, other = np.eye(3), np.array([[1, 0, 0], [1, 0, 0], [1, 0, 0]])
    pictures = [figures.attention_heatmap(weights, WORDS).data for weights in (one, other)]
    assert pictures[0] != pictures[1]


def test_the_numbers_of_a_matrix_are_read_out_row_by_row():
    assert "Row by row: 1.50, −2.00; 0.25, 3.00." in figures.matrix([[1.5, -2], [0.25, 3]]).alt
    assert "Row by row: 1, 2, 3." in figures.matrix([1, 2, 3]).alt
    assert "−∞" in figures.matrix([[0.5, -np.inf]]).alt


def test_a_signed_matrix_is_orange_below_zero_and_blue_above():
    image = pixels(figures.matrix([[-1.0, 1.0]], signed=True, values=False))
    left, right = image[image.shape[0] // 2, [image.shape[1] // 4, 3 * image.shape[1] // 4]]
    assert left[0] > 150 > 60 > left[2] and right[2] > 150 > 60 > right[0]


def test_a_matrix_without_any_finite_number_is_hatched_and_no_error():
    assert (pixels(figures.matrix([[-np.inf, np.nan]])) == (0xC3, 0xCA, 0xD2)).all(-1).any()


def test_curves_are_told_from_first_to_last_with_their_floor():
    alt = figures.lines({"loss": ([0, 50], [6.0, 1.25])}, "step", "nats", floor=0.712).alt
    assert "nats against step: loss from 6 at 0 to 1.25 at 50; a dashed floor at 0.712" in alt


def test_curves_with_gaps_or_narrow_logarithmic_ranges_can_be_drawn():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alt = figures.lines({"a": ([1, 2], [3.0, np.nan]), "b": ([1, 2], [np.inf] * 2)}, "x",
                            "y").alt
        narrow = figures.lines({"a": ([1, 2], [3.0, 5.0])}, "x", "y", log_y=True)
    assert "a from 3 at 1 to nan at 2" in alt
    left = pixels(narrow)[:, :100]
    assert (left.sum(-1) < 300).sum() > 100                 # numbers beside the axis


def test_a_logarithmic_axis_has_plain_numbers_where_it_is_narrow_and_powers_of_ten_elsewhere():
    axes = figures.new_axes(figures.new_figure(300, 200))
    figures.set_log_y(axes)
    told = [axes.yaxis.get_major_formatter(), axes.yaxis.get_minor_formatter()]
    axes.set_ylim(0.3, 2)
    assert [tick(y, 0) for tick, y in zip(told, (1.0, 0.4), strict=True)] == ["1", "0.4"]
    axes.set_ylim(1e-3, 2)
    assert [tick(y, 0) for tick, y in zip(told, (1.0, 0.4), strict=True)] == ["10⁰", ""]


def test_on_a_logarithmic_x_axis_each_factor_of_ten_has_the_same_width():
    def middle_of_the_curve(**options):
        """The column of the curve halfway up, as a share of its width."""
        curve = {"": ([1, 10, 100], [0.0, 1.0, 2.0])}
        blue = np.array([int(figures.SERIES[0][n : n + 2], 16) for n in (1, 3, 5)])
        image = pixels(figures.lines(curve, "x", "y", **options))
        rows, columns = np.nonzero((np.abs(image - blue) < 8).all(-1))
        halfway = columns[np.abs(rows - (rows.min() + rows.max()) / 2) < 3]
        return (halfway.mean() - columns.min()) / np.ptp(columns)

    assert abs(middle_of_the_curve(log_x=True) - 0.5) < 0.03
    assert middle_of_the_curve() < 0.2


def test_tensors_of_any_kind_can_be_drawn():
    weights = torch.eye(3, dtype=torch.bfloat16, requires_grad=True)
    assert "The at The (1.00)" in figures.attention_heatmap(weights, WORDS).alt


def test_a_matrix_without_room_for_numbers_is_drawn_without_them():
    array = np.ones((40, 40))
    assert figures.matrix(array).data == figures.matrix(array, values=False).data


def test_a_logarithmic_x_axis_sets_points_apart_by_how_many_times_they_grow():
    """Of 1, 4 and 16 the middle one is in the middle then, and has its number."""
    color = [int(figures.SERIES[0][n : n + 2], 16) for n in (1, 3, 5)]
    tops = []
    for log_x in (False, True):
        shown = pixels(figures.lines({"a": ([1, 4, 16], [0, 1, 0])}, "x", "y", log_x=log_x))
        tops.append(np.argwhere((shown == color).all(-1))[0, 1])             # the highest point
    assert tops[1] > tops[0] + 200


def test_where_a_logarithmic_x_axis_has_many_points_its_ticks_are_the_powers_of_ten():
    axes = figures.new_axes(figures.new_figure(6, 4), "", "x", "y")
    axes.plot([1e3, 1e6], [1, 2])
    _set_log_x(axes, np.geomspace(1e3, 1e6, 12))
    assert len(axes.get_xticks()) == 12
    _set_log_x(axes, np.geomspace(1e3, 1e6, 13))
    told = [axes.xaxis.get_major_formatter(), axes.xaxis.get_minor_formatter()]
    assert [tick(x, 0) for tick, x in zip(told, (1e4, 2e4), strict=True)] == ["10⁴", ""]


def test_a_curve_can_be_drawn_as_dots_alone():
    color = [int(figures.SERIES[0][n : n + 2], 16) for n in (1, 3, 5)]
    curve = {"a": ([0, 2], [0, 1])}
    line, dots = ((pixels(figures.lines(curve, "x", "y", dots=dots)) == color).all(-1).sum()
                  for dots in ((), ("a",)))
    assert 50 < dots < line / 3


def test_curves_over_many_powers_of_ten_can_be_drawn():
    drawn = figures.lines({"a": ([1, 2, 3], [1e-40, 1e-8, 1.0])}, "x", "y", log_y=True)
    assert len(pixels(drawn)) > 100 and "from 1e−40" in drawn.alt


def test_bars_carry_their_numbers_and_units():
    alt = figures.bars(["attention", "norms"], [28_320_768, 38_400], unit=" parameters").alt
    assert "attention 28,320,768 parameters, norms 38,400 parameters" in alt


def test_the_highlighted_bar_has_another_color():
    plain, marked = (pixels(figures.bars(["a", "b"], [1, 2], highlight=name))
                     for name in (None, "b"))
    orange = (0xD1, 0x66, 0x0A)
    assert not (plain == orange).all(-1).any() and (marked == orange).all(-1).sum() > 1000


@pytest.mark.parametrize(("x", "text"), [
    (163_009_536, "163,009,536"), (0.25, "0.25"), (3.1e-7, "3.1e−7"), (-4, "−4"), (621.83, "622"),
    (1234.5, "1,234"), (999.6, "1,000"), (np.inf, "∞"), (-np.inf, "−∞"), (np.nan, "nan"),
    (0.0, "0"),
])
def test_a_number_reads_well(x, text):
    assert figures.number(x) == text


@pytest.mark.parametrize(("token", "label"), [
    (" cat", "·cat"), ("a b", "a b"), ("\n", "↵"), ("\t\t", "⇥⇥"), ("\x07", "\\x07"), ("é", "é"),
    ("東", "U+6771"), ("unbelievably long token", "unbelievably lo…"), ("$x_1$", "$x_1$"),
])
def test_a_token_becomes_a_label(token, label):
    assert figures.visible(token) == label


def test_labels_that_no_font_has_or_that_look_like_formulas_cause_no_warning():
    odd = ["$a$", "東京", "🙂", "\\frac{"]
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        figures.attention_heatmap(np.eye(4), odd, "A title with $ signs $")
        figures.bars(odd, [1, 2, 3, 4])
        figures.matrix(np.eye(4), odd, odd)


def test_the_diagram_colors_what_is_lit_and_nothing_else():
    dark = figures.gpt_diagram([]).data
    for part, (fill, outline) in figures.PARTS.items():
        assert fill not in dark and outline not in dark
        lit = figures.gpt_diagram([part])
        assert outline in lit.data and f"with {part} highlighted" in lit.alt
        others = {colors[1] for name, colors in figures.PARTS.items() if name != part}
        assert not any(color in lit.data for color in others)


def test_the_diagram_shows_every_piece_of_a_gpt():
    words = " ".join(texts(figures.gpt_diagram(["model"])))
    for piece in ("token embedding", "position embedding", "norm attention", "feed- forward",
                  "residual stream", "final norm", "output head", "next token", "loss"):
        assert piece in words


def test_the_diagram_shows_what_the_storyteller_reads_and_expects():
    model, tokenizer = storyteller()
    beginning = "Do you know Poppy the mouse"
    ids = [tokenizer.end_token, *tokenizer.encode(beginning)]
    assert tuple(zip(tokenizer.tokens(ids), ids, strict=True))[-3:] == POPPY
    chances = model(torch.tensor([ids]))[0, -1].softmax(-1)
    assert chances.topk(len(POPPYS_NEXT))[0].tolist() == pytest.approx(POPPYS_NEXT, abs=0.005)
    words = texts(figures.gpt_diagram([]))
    assert {"·Poppy", "·the", "·mouse", *(str(token_id) for _, token_id in POPPY)} <= set(words)


def test_the_diagram_shows_the_end_of_the_text_that_it_is_given():
    text = [("Tom", 7), (" the", 8), (" magnificent", 9), (" bear", 10)]
    picture = figures.gpt_diagram([], tokens=text, chances=[0.75, 0.25])
    words = texts(picture)
    assert "Tom" not in words and {"·the", "8", "·magnif…", "9", "·bear", "10"} <= set(words)
    assert "(·the 8, ·magnificent 9, ·bear 10)" in picture.alt
    bars = re.findall(r'width="([\d.]+)" height="10"', picture.data)
    assert [float(bar) for bar in bars] == [25.5, 8.5]


def test_a_strip_shows_every_token_with_its_id():
    tokens, ids = ["The", " cat", "\n", "<b>&", "\\xe6"], [5, 61, 7, 8, 9]
    assert texts(figures.token_strip(tokens, ids)) == [
        "The", "5", "·cat", "61", "↵", "7", "<b>&", "8", "\\xe6", "9"]
    strip = figures.token_strip(["d a "], [279])
    assert texts(strip) == ["d·a·", "279"] and strip.alt.endswith(": d·a· 279.")


def test_a_long_strip_wraps_within_the_page_and_a_line_end_begins_a_row():
    chips = ElementTree.fromstring(figures.token_strip(["token"] * 60, range(60)).data)
    boxes = [box for box in chips.iter("{http://www.w3.org/2000/svg}rect") if box.get("rx") == "5"]
    assert len(boxes) == 60
    assert max(float(box.get("x")) + float(box.get("width")) for box in boxes) < figures.WIDTH
    rows = {box.get("y") for box in boxes}
    assert len(rows) > 4
    assert max(map(float, rows)) + 50 < float(chips.get("height"))
    broken = ElementTree.fromstring(figures.token_strip(["a\n", "b"], [1, 2]).data)
    heights = [box.get("y") for box in broken.iter("{http://www.w3.org/2000/svg}rect")][1:]
    assert heights[0] != heights[1]


@pytest.mark.parametrize(("draw", "message"), [
    (lambda: figures.attention_heatmap(np.eye(3), ["a"]), "1 labels for 3 rows"),
    (lambda: figures.attention_heatmap(np.ones((2, 3, 3)), WORDS), "needs 2 dimensions"),
    (lambda: figures.attention_heatmap(np.ones((2, 3)), ["a", "b"]), "2 labels for 3 columns"),
    (lambda: figures.attention_heatmap(np.eye(0), []), "weights has shape (0, 0), but a picture"),
    (lambda: figures.matrix([]), "array has shape (0,), but a picture needs at least one number"),
    (lambda: figures.attention_grid(np.eye(3)), "needs 4 dimensions"),
    (lambda: figures.attention_overview(np.ones((1, 1, 2, 2)), ["a"], 0, 0), "1 labels for 2"),
    (lambda: figures.matrix(np.ones((2, 2, 2))), "pick one of its matrices"),
    (lambda: figures.matrix(np.eye(2), column_labels=["a"]), "1 labels for 2 columns"),
    (lambda: figures.lines({"a": ([1], [1, 2])}, "x", "y"), "1 x and 2 y values"),
    (lambda: figures.estimates({"a": ((1, 2, 3), (3, 2, 1))}, "x", "y"), "pass (low, value, high)"),
    (lambda: figures.estimates({"a": ((1, 2), (1, 2, 3))}, "x", "y"), "pass (low, value, high)"),
    (lambda: figures.estimates({}, "x", "y"), "There is no point"),
    (lambda: figures.bars(["a"], [1, 2]), "1 labels for 2 bars"),
    (lambda: figures.gpt_diagram(["atention"]), "'atention' is no part of a GPT: choose from tok"),
    (lambda: figures.token_strip(["a"], [1, 2]), "1 labels for 2 ids"),
])
def test_what_cannot_be_drawn_is_explained(draw, message):
    with pytest.raises(ValueError, match=re.escape(message)):
        draw()


def test_traces_of_rounding_are_shown_as_nothing():
    """Another processor leaves another trace, and the text beside a picture is compared."""
    assert "b 0" in figures.bars(["a", "b"], [0.5, 3e-9]).alt
    assert "from 0 to 1" in figures.matrix([[1.0, 4e-9]]).alt
    assert "b 0.0004" in figures.bars(["a", "b"], [0.5, 4e-4]).alt


def test_two_tables_turn_the_same_row_into_chances_each_in_its_own_way():
    counts = np.array([[1.0, 3.0], [2.0, 2.0]])
    picture = figures.two_tables(["a", "b"], counts, np.log(counts), row=0)
    assert "the row of a is marked" in picture.alt
    assert picture.alt.endswith("a 0.25 and 0.25; b 0.75 and 0.75.")
    other = figures.two_tables(["a", "b"], counts, np.zeros((2, 2)), row=1)
    assert other.alt.endswith("a 0.50 and 0.50; b 0.50 and 0.50.")
    words = texts(picture)
    assert words.count("0.25") == 2 and words.count("3") == 1 and words.count("1.10") == 1
    bars = [float(w) for w in re.findall(r'height="8" width="([\d.]+)"', picture.data)]
    assert bars[0] == bars[2] and bars[1] == bars[3] == pytest.approx(3 * bars[0], rel=0.01)


def test_a_score_of_minus_infinity_gets_no_chance():
    counts = np.array([[0.0, 2.0], [1.0, 1.0]])
    with np.errstate(divide="ignore"):
        picture = figures.two_tables(["a", "b"], counts, np.log(counts), row=0)
    assert picture.alt.endswith("a 0.00 and 0.00; b 1.00 and 1.00.") and "−∞" in texts(picture)


def test_two_tables_need_a_label_for_every_row_and_column():
    with pytest.raises(ValueError, match="3 labels for 2 rows"):
        figures.two_tables(["a", "b", "c"], np.eye(2), np.eye(2), 0)
    with pytest.raises(ValueError, match="2 labels for 3 columns"):
        figures.two_tables(["a", "b"], np.ones((2, 3)), np.eye(2), 0)
    with pytest.raises(ValueError, match="row is 2, but the tables have rows 0 to 1"):
        figures.two_tables(["a", "b"], np.eye(2), np.eye(2), 2)


def test_one_head_shows_what_attention_computes_and_masks_what_comes_later():
    queries, keys, values = (torch.randn(3, 2, generator=torch.Generator().manual_seed(n))
                             for n in range(3))
    gathered = gptlib.attention.attention(queries, keys, values, gptlib.causal_mask(3))
    for row in range(3):
        picture = figures.one_head(["a", "b", "c"], queries, keys, values, row)
        found = re.search(r"Added up: \((\S+), (\S+)\)\.$", picture.alt.replace("−", "-"))
        assert [float(one) for one in found.groups()] == pytest.approx(gathered[row].tolist(),
                                                                       abs=0.006)
        assert texts(picture).count("comes later: masked") == 2 - row
        assert texts(picture).count("softmax") == 1          # of all scores, not of each


def test_one_head_needs_a_label_for_every_word_and_a_row_that_is_there():
    with pytest.raises(ValueError, match="3 labels for 2 words"):
        figures.one_head(["a", "b", "c"], np.eye(2), np.eye(2), np.eye(2), 0)
    with pytest.raises(ValueError, match="row is 2, but there are words 0 to 1"):
        figures.one_head(["a", "b"], np.eye(2), np.eye(2), np.eye(2), 2)


def test_bars_over_tokens_say_the_numbers_of_each_token_and_need_as_many_as_there_are():
    picture = figures.token_bars([" a", "b"], {"one": [1, 0.5], "two": [0, 2.346]}, "nats", "All")
    assert picture.alt == ("All. Bars of nats over 2 tokens, for one and two: ·a 1, 0; "
                           "b 0.5, 2.35.")
    with pytest.raises(ValueError, match="2 labels for 3 values"):
        figures.token_bars(["a", "b"], {"one": [1, 2, 3]}, "nats")
    with pytest.raises(ValueError, match="no series to draw"):
        figures.token_bars(["a", "b"], {}, "nats")


def test_the_loop_of_training_goes_around():
    picture = figures.training_loop()
    assert {"batch", "model", "loss", "gradient", "step", "again"} <= {*texts(picture)}
    assert picture.data.count("<path") == 2 * 7                        # a line and a head for each


def test_an_estimate_says_how_far_it_may_be_off_where_it_may():
    points = {"cold": ((0.98, 1, 1), (1, 1, 1)), "hot": ((0.5, 0.61, 0.7), (6.2, 6.7, 6.9))}
    assert figures.estimates(points, "valid", "kinds", "Trade").alt == (
        "Trade. Points with error bars, kinds against valid: cold at 1 (0.98 to 1) and 1; hot at "
        "0.61 (0.5 to 0.7) and 6.7 (6.2 to 6.9).")


@pytest.mark.parametrize(("x", "y", "left"), [(0.98, 0.3, True), (1, 0.3, False), (0.6, 0.3, False),
                                              (0.98, 0.1, False)])
def test_an_estimates_name_stands_left_where_a_neighbor_stands_right(x, y, left):
    points = {"it": ((x, x, x), (y, y, y)), "other": ((0.9, 1, 1), (0.2, 0.31, 0.4)),
              "far": ((0.5, 0.5, 0.5), (0, 0.05, 0.1))}
    assert _has_a_neighbor_at_its_right(x, y, points) is left


def test_a_block_has_the_parts_of_the_library_in_their_order():
    words = texts(figures.block_diagram())
    branches = [word for word in words if word.replace("_", "").isalpha()]
    assert branches == ["attention_", "norm", "attention", "dropout",
                        "feed_forward_", "norm", "expand", "GELU", "contract", "dropout"]


def test_the_words_of_a_chart_are_as_exact_as_they_are_asked_to_be():
    rising = {"a": ([1, 2], [6.9, 0.829])}
    assert "from 7 at 1 to 0.8 at 2" in figures.lines(rising, "x", "y", digits=1).alt
    assert "from 6.9 at 1 to 0.829 at 2" in figures.lines(rising, "x", "y").alt
    assert figures.number(12.3, digits=1) == "12"


def test_a_color_of_the_palette_is_written_nowhere_else():
    """Neither as #1f5fa8 nor as 31, 95, 168: Python, pages and styles take it from there."""
    palette = Path(figures.__file__).with_name("palette.json")
    codes = set(re.findall(r"#([0-9a-f]{6})", palette.read_text(encoding="utf-8")))
    spellings = codes | {", ".join(map(str, bytes.fromhex(code))) for code in codes}
    files = [path for folder in (palette.parents[1], palette.parents[2] / "tools")
             for path in folder.rglob("*") if path.suffix in (".py", ".js", ".css", ".html")]
    assert len(codes) > 30 and len(files) > 60
    for path in files:
        text = path.read_text(encoding="utf-8").lower()
        assert not {code for code in spellings if code in text}, path


def test_only_the_words_that_stick_out_are_written_over_their_bars():
    alt = figures.word_bars(["a", "flute", "was", "hers"], {"model": [0.1, 2, 0.2, 0],
                            "reader": [0, 1.5, 0, 0.7]}, "nats", least=0.5).alt
    assert "flute 2 and 1.5" in alt and "hers 0 and 0.7" in alt and "was" not in alt
    with pytest.raises(ValueError, match="There are 1 series to draw, but it takes two"):
        figures.word_bars(["a"], {"model": [1]}, "nats")
    with pytest.raises(ValueError, match="2 labels for 1 value"):
        figures.word_bars(["a", "b"], {"model": [1], "reader": [2]}, "nats")


# ---------------------------------------------------------------------------------- any token

WITH_WORDS = {
    "attention_heatmap": lambda text: figures.attention_heatmap(np.eye(2), [text, text], text[:16]),
    "attention_arcs": lambda text: figures.attention_arcs({0: CAUSAL}, [text] * 3, 1),
    "attention_overview": lambda text: figures.attention_overview(
        CAUSAL.expand(2, 3, 3, 3), [text] * 3, 0, 0),
    "attention_grid": lambda text: figures.attention_grid(CAUSAL.expand(2, 3, 3, 3), text[:40]),
    "matrix": lambda text: figures.matrix([[1] * 6], [text], [text] * 6, title=text[:16]),
    "lines": lambda text: figures.lines({text: ([1, 2], [3, 4])}, text[:40], text[:40], 2.0,
                                        title=text[:40]),
    "bars": lambda text: figures.bars([text, "b"], [1, 2], text[:40], text, unit=text[:8]),
    "token_strip": lambda text: figures.token_strip([text, text], [1, 2], text),
    "token_bars": lambda text: figures.token_bars([text, "b"], {text: [1, 2], "c": [3, 4]},
                                                  text[:40], text[:40]),
    "word_bars": lambda text: figures.word_bars(
        [text, "b"], {text: [1, 2], "c": [3, 4]}, text[:40], title=text[:40]),
    "two_tables": lambda text: figures.two_tables([text, "b"], np.eye(2), np.zeros((2, 2)), 0),
    "gpt_diagram": lambda text: figures.gpt_diagram(["tokenizer"], tokens=[(text, 3), ("b", 4)]),
    "one_head": lambda text: figures.one_head([text, "b"], np.eye(2), np.eye(2), np.eye(2), 1,
                                              text[:40]),
    "estimates": lambda text: figures.estimates({text: ((1, 2, 3), (4, 5, 6))}, text[:40],
                                                text[:40], text[:40]),
    "valley": lambda text: figures.valley(lambda x, y: x**2 + y**2, {text: ([2, 1], [1, 0])},
                                          text[:40], text[:40], text[:40]),
}


def test_every_figure_that_takes_words_is_tried_with_any_text():
    drawn = {name for name, thing in vars(figures).items() if inspect.isfunction(thing)
             and not name.startswith("_")
             and inspect.signature(thing).return_annotation == "Picture"}
    without = {"block_diagram", "training_loop"}
    assert drawn == {*WITH_WORDS, *without}


@pytest.mark.parametrize("text", ODD_TEXTS.values(), ids=ODD_TEXTS)
@pytest.mark.parametrize("draw", WITH_WORDS.values(), ids=WITH_WORDS)
def test_any_text_is_drawn_without_a_warning_and_stays_text(draw, text):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_picture(draw(text))


def test_every_byte_is_shown_whichever_tokenizer_has_it():
    ours = BPETokenizer.train("hello hello", 258)
    gpt2 = BPETokenizer.from_gpt2()
    for labels, ids in ((ours.tokens(range(258)), range(258)),
                        (gpt2.tokens(range(260)), range(260))):
        strip = figures.token_strip(labels, ids)
        check_picture(strip)
        shown = texts(strip)[::2]
        assert len(shown) == len(ids)
        assert len(set(shown)) == len(ids), "each looks different"
        assert all(label.strip() for label in shown)


def test_a_tokens_own_signs_are_kept_and_what_nobody_sees_has_a_number():
    assert figures.with_signs(" <b>&\u200b ") == "·<b>&U+200B·"
    assert figures.with_signs("👩\u200d🚀") == "👩\u200d🚀"
    assert figures.with_signs("\u200d") == "U+200D"
    assert figures.with_signs("10\xa0000") == "10\xa0000"
    assert figures.with_signs("\xa0") == "\\xa0"
    assert figures.showable("a\n\tb\x00\ud800") == "a\n\tb\\x00U+D800"
    assert figures.in_markup("<i>\x1b") == "&lt;i&gt;\\x1b"


def test_a_chip_is_never_wider_than_the_page():
    long = ["-" * 128, "東" * 90, "e" + "\u0301" * 90, "a"]
    root = ElementTree.fromstring(figures.token_strip(long, range(4)).data)
    boxes = [box for box in root.iter("{http://www.w3.org/2000/svg}rect") if box.get("rx") == "5"]
    assert max(float(box.get("x")) + float(box.get("width")) for box in boxes) <= figures.WIDTH
