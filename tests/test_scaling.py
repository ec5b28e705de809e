import math
import re

import numpy as np
import pytest

from gptlib.scaling import PowerLaw, fit_power_law, lowest_point


def test_a_power_law_is_a_factor_and_an_exponent():
    assert PowerLaw(6.0, 0.5)(4) == 3.0
    assert PowerLaw(6.0, -1.0)(4) == 24.0
    assert PowerLaw(6.0, 0.5)(np.array([1.0, 4.0, 9.0])).tolist() == [6.0, 3.0, 2.0]


@pytest.mark.parametrize("factor, exponent", [(2.0, 0.5), (0.01, 1.5), (7.0, -0.4), (3.0, 0.0)])
def test_an_exact_law_is_recovered(factor, exponent):
    x = [1e3, 5e3, 2e4, 1e9]
    found = fit_power_law(x, [factor * number**-exponent for number in x])
    assert found == pytest.approx((factor, exponent), abs=1e-12)


def test_two_points_make_a_line_by_hand():
    """Four times the x, half the y: so the exponent is 1/2, and 8 = factor / sqrt(4)."""
    assert fit_power_law([4, 16], [8, 4]) == pytest.approx((16, 0.5))


def test_a_point_off_the_line_counts_by_its_logarithm():
    """At x = 1, 10, 100, y is 1, 10, 1: no slope, and the mean of the logarithms is 10^(1/3)."""
    assert fit_power_law([1, 10, 100], [1, 10, 1]) == pytest.approx((10 ** (1 / 3), 0.0))


def test_the_line_has_the_least_squares():
    x, y = np.array([1.0, 2.0, 5.0, 9.0]), np.array([3.0, 2.5, 1.0, 0.8])
    law = fit_power_law(x, y)

    def squares(factor, exponent):
        return ((np.log(y) - np.log(PowerLaw(factor, exponent)(x))) ** 2).sum()

    for nearby in ((1.01, 0), (0.99, 0), (1, 0.01), (1, -0.01)):
        assert squares(*law) < squares(law.factor * nearby[0], law.exponent + nearby[1])


@pytest.mark.parametrize("bottom, depth, curve", [(30.0, 0.2, 0.4), (1e6, 5.0, 0.01)])
def test_the_lowest_point_of_an_exact_valley(bottom, depth, curve):
    x = [bottom / 8, bottom / 2, bottom * 3, bottom * 5]
    y = [depth * math.exp(curve * math.log(place / bottom) ** 2) for place in x]
    assert lowest_point(x, y) == pytest.approx((bottom, depth))


def test_the_lowest_point_lies_between_equal_sides():
    """The geometric mean of 2 and 8 is 4, with y lower in the middle."""
    assert lowest_point([2, 4, 8], [3, 2, 3]) == pytest.approx((4, 2))


@pytest.mark.parametrize("fit", [fit_power_law, lowest_point])
@pytest.mark.parametrize("x, y, said", [
    ([1, 2, 0], [1, 2, 3], "x is 0.0, but must hold numbers above 0 only"),
    ([1, 2, 3], [1, -2, 3], "y is -2.0, but must hold numbers above 0 only"),
    ([1, 2, 3], [1, math.nan, 3], "y is nan, but must hold"),
    ([1, 2, 3], [1, 2], "x has 3 numbers and y has 2"),
    ("123", [1, 2, 3], "x is one string, but must be a list"),
    ([1, 2, 3], 5, "y is 5, but must be a list"),
])
def test_bad_numbers_are_told(fit, x, y, said):
    with pytest.raises((ValueError, TypeError), match=re.escape(said)):
        fit(x, y)


@pytest.mark.parametrize("x", [[], [5], [5, 5, 5]])
def test_a_line_needs_two_places(x):
    with pytest.raises(ValueError, match="A line needs points at 2 different x"):
        fit_power_law(x, x)


def test_a_valley_needs_three_places():
    with pytest.raises(ValueError, match="A valley needs points at 3 different x"):
        lowest_point([1, 2, 2], [3, 2, 2])


@pytest.mark.parametrize("y", [[3, 2, 1], [1, 2, 3], [1, 2, 1], [4, 2, 1.5], [1, 1.5, 4]])
def test_one_side_of_a_valley_has_no_lowest_point(y):
    with pytest.raises(ValueError, match="one side of a valley only"):
        lowest_point([1, 2, 4], y)
