"""A loss of two weights from above: its lines, and the ways through it."""

import io

import numpy as np
import pytest
from PIL import Image

from gptcourse import figures

WALKS = {"plain": ([8, 7, 6.5], [2, -1, 0.5]), "AdamW": ([8, 4, 0], [2, 0, 0])}


def loss(x, y):
    return 0.05 * x**2 + 5 * y**2


def pixels(picture):
    return np.asarray(Image.open(io.BytesIO(picture.data)).convert("RGB")).astype(int)


def test_each_walk_is_told_with_its_steps_its_ends_and_the_loss_where_it_ends():
    alt = figures.valley(loss, WALKS, "b", "a", "Two ways").alt
    assert alt.startswith("Two ways. Lines of equal loss over b and a. ")
    assert "plain takes 2 steps from (8, 2) to (6.5, 0.5), where the loss is 3.36" in alt
    assert "AdamW takes 2 steps from (8, 2) to (0, 0), where the loss is 0" in alt


def test_other_walks_and_another_loss_give_another_picture():
    first = figures.valley(loss, WALKS, "b", "a")
    turned = {name: (y, x) for name, (x, y) in WALKS.items()}
    others = [figures.valley(loss, turned, "b", "a"),
              figures.valley(lambda x, y: x**2 + y**2, WALKS, "b", "a")]
    assert first.data == figures.valley(loss, WALKS, "b", "a").data
    assert all(other.data != first.data for other in others)
    assert first.width <= figures.WIDTH


def test_a_walk_is_drawn_in_its_color_from_end_to_end():
    image = pixels(figures.valley(loss, {"one": ([0, 10], [0, 0])}, "b", "a"))
    blue = np.array([int(figures.SERIES[0][n : n + 2], 16) for n in (1, 3, 5)])
    columns = np.nonzero((np.abs(image - blue) < 8).all(-1).any(0))[0]
    assert np.ptp(columns) > 0.7 * image.shape[1]


def test_a_walk_with_fewer_y_than_x_is_refused_by_its_name():
    with pytest.raises(ValueError, match="'short' has 3 x and 2 y values"):
        figures.valley(loss, {"short": ([1, 2, 3], [1, 2])}, "b", "a")
