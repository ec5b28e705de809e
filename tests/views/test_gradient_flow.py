import numpy as np
import torch

from gptcourse.views import GradientFlow
from gptcourse.views.gradients import (
    CONFIG,
    NO_NORM,
    POST_NORM,
    PRE_NORM,
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
    depth = 3
    for shortcuts in (True, False):
        for norm in (PRE_NORM, POST_NORM, NO_NORM):
            expected = _slope(depth, shortcuts, norm)
            gradient = size_at_the_start(depth, shortcuts, norm)
            np.testing.assert_allclose(gradient, expected, rtol=1e-5)


def _slope(depth, shortcuts, norm, step=1e-6) -> float:
    """Norm of the gradient at the start, number by number."""
    generator = torch.Generator().manual_seed(1)
    shape = (1, TOKENS, CONFIG.emb_dim)
    start = torch.randn(shape, generator=generator, dtype=torch.float64)
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


def test_with_shortcuts_and_norms_the_gradient_keeps_its_size_at_any_depth():
    for depth in (2, 12, 48):
        assert 0.5 < size_at_the_start(depth, True, PRE_NORM) < 10


def test_without_both_the_gradient_is_lost():
    assert size_at_the_start(12, False, NO_NORM) < 1e-8
    assert 0 < size_at_the_start(48, False, NO_NORM) < 1e-30


def test_shortcuts_without_norms_let_it_grow():
    assert size_at_the_start(48, True, NO_NORM) > 1e3


def test_post_norm_normalizes_what_each_addition_leaves():
    x = torch.randn(1, TOKENS, CONFIG.emb_dim, dtype=torch.float64)
    block = BLOCKS[0]
    with torch.no_grad():
        middle = block.attention_norm(x + block.attention(x))
        expected = block.feed_forward_norm(middle + block.feed_forward(middle))
        torch.testing.assert_close(through_block(block, x, True, POST_NORM), expected)


def test_post_norm_keeps_the_gradient_but_makes_the_tokens_of_a_deep_stack_alike():
    result = GradientFlow.compute(BLOCKS, 48, True, POST_NORM)
    assert 0.5 < result["gradient"][0] < 10 and result["likeness"][-1] > 0.8


def test_norms_without_shortcuts_make_all_tokens_alike():
    assert GradientFlow.compute(BLOCKS, 12, False, PRE_NORM)["likeness"][-1] > 0.999
    assert GradientFlow.compute(BLOCKS, 12, True, PRE_NORM)["likeness"][-1] < 0.6


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
