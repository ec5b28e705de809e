import numpy as np
import torch

from gptcourse.views import GradientFlow
from gptcourse.views.gradients import (
    CONFIG,
    NO_NORM,
    POST_NORM,
    PRE_NORM,
    START_SIZE,
    TOKENS,
    stack_of_blocks,
    through_block,
)

BLOCKS = stack_of_blocks()


def size_at_the_start(depth: int, shortcuts: bool, norm: str) -> float:
    return GradientFlow.compute(BLOCKS, depth, shortcuts, norm)["gradient"][0]


def test_with_shortcuts_and_pre_norm_the_pass_is_that_of_the_librarys_own_block():
    x = torch.randn(1, TOKENS, CONFIG.emb_dim, dtype=torch.float64)
    with torch.no_grad():
        torch.testing.assert_close(through_block(BLOCKS[0], x, True, PRE_NORM), BLOCKS[0](x))
        assert not torch.allclose(through_block(BLOCKS[0], x, False, PRE_NORM), BLOCKS[0](x))


def test_the_gradient_is_the_true_slope():
    """Against a finite difference through the same stack."""
    depth = 2
    for shortcuts in (True, False):
        for norm in (PRE_NORM, POST_NORM, NO_NORM):
            expected = _slope(depth, shortcuts, norm)
            gradient = size_at_the_start(depth, shortcuts, norm)
            np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def _slope(depth, shortcuts, norm, step=1e-7) -> float:
    """Norm of the gradient at the start, number by number."""
    generator = torch.Generator().manual_seed(1)
    shape = (1, TOKENS, CONFIG.emb_dim)
    start = START_SIZE * torch.randn(shape, generator=generator, dtype=torch.float64)
    entering = torch.randn(shape, generator=generator, dtype=torch.float64)
    changes = step * torch.eye(start.numel(), dtype=torch.float64).view(-1, *shape[1:])
    with torch.no_grad():
        ends = []
        for sign in (1, -1):
            x = start + sign * changes
            for block in BLOCKS[:depth]:
                x = through_block(block, x, shortcuts, norm)
            ends.append((x * entering).sum((1, 2)))
    return float((ends[0] - ends[1]).norm() / (2 * step) / entering.norm())


def test_with_shortcuts_or_norms_the_gradient_arrives_from_any_depth():
    for depth in (2, 12, 48):
        assert 0.5 < size_at_the_start(depth, True, PRE_NORM) < 5
        assert 0.9 < size_at_the_start(depth, True, NO_NORM) < 1.2
        assert 0.1 < size_at_the_start(depth, False, PRE_NORM) < 5


def test_without_both_the_gradient_is_lost():
    assert size_at_the_start(12, False, NO_NORM) < 1e-8
    assert 0 < size_at_the_start(48, False, NO_NORM) < 1e-30


def test_post_norm_normalizes_what_each_addition_leaves():
    x = torch.randn(1, TOKENS, CONFIG.emb_dim, dtype=torch.float64)
    block = BLOCKS[0]
    with torch.no_grad():
        middle = block.attention_norm(x + block.attention(x))
        expected = block.feed_forward_norm(middle + block.feed_forward(middle))
        torch.testing.assert_close(through_block(block, x, True, POST_NORM), expected)


def test_without_shortcuts_all_tokens_become_alike():
    for norm in (PRE_NORM, POST_NORM, NO_NORM):
        assert GradientFlow.compute(BLOCKS, 12, False, norm)["likeness"][-1] > 0.99
        assert GradientFlow.compute(BLOCKS, 12, True, norm)["likeness"][-1] < 0.5


def test_tokens_whose_numbers_have_all_but_vanished_are_alike_by_their_directions():
    result = GradientFlow.compute(BLOCKS, 48, False, NO_NORM)
    assert 0.99 < result["likeness"][-1] < 1.0001


def test_sliders_and_switches_show_what_compute_gives():
    view = GradientFlow()
    view.depth.set_state({"value": 5})
    view.shortcuts.value = False
    assert len(view.shown["gradient"]) == 6
    assert "with pre-norm, no shortcuts" in view.shown["summary"]
    expected = GradientFlow.compute(BLOCKS, 5, False, PRE_NORM)["gradient"]
    np.testing.assert_array_equal(view.shown["gradient"], expected)
    assert view.last_error is None


def test_the_view_works_where_gradients_are_switched_off():
    with torch.inference_mode():
        view = GradientFlow()
        view.norm.value = NO_NORM
    assert view.last_error is None and view.shown["gradient"].min() > 0


def test_the_list_of_norms_says_what_the_blocks_compute():
    view = GradientFlow()
    view.norm.value = POST_NORM
    assert dict(view.norm.options)["post-norm: norm(x + f(x))"] == POST_NORM
    view.shortcuts.value = False
    assert not any("x +" in words for words, _ in view.norm.options)
    assert view.norm.value == POST_NORM == dict(view.norm.options)["post-norm: norm(f(x))"]
    assert view.shown["name"] == "with post-norm, no shortcuts"
    view.shortcuts.value = True
    assert view.norm.label == "post-norm: norm(x + f(x))"
