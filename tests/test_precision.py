"""What chapter 13 says of numbers in sixteen bits."""

import pytest
import torch

from gptcourse.experiments import LOSS_BY_PRECISION
from gptcourse.experiments.precision import KINDS, loss_in


def test_each_kind_trains_otherwise_and_hardly_at_first():
    losses = [loss_in(kind, seed=0, steps=2) for kind in KINDS]
    assert len({*losses}) == 3 and losses == pytest.approx(losses[:1] * 3, abs=0.01)


def test_products_in_bf16_cost_less_than_a_seed_does_and_weights_in_bf16_much_more():
    exact, products, everything = (torch.tensor(LOSS_BY_PRECISION[kind]) for kind in KINDS)
    between_seeds = exact.max() - exact.min()
    assert (products - exact).abs().max() < between_seeds / 3
    assert (everything - exact).min() > 10 * between_seeds
