import math
from types import SimpleNamespace

import numpy as np
import pytest
from in_node import in_node
from samples import scaling_runs

from gptcourse.views import ScalingExplorer
from gptcourse.views.scaling_numbers import (
    budgets_of,
    checked,
    cost_of,
    fit_law,
    interpolated,
    plan,
    refits,
)
from gptcourse.views.scaling_words import counted, duration, ranged, rounded, work

EXACT = checked(scaling_runs(scatter=0))
SCATTERED = checked(scaling_runs())


def scaling(**settings) -> ScalingExplorer:
    view = ScalingExplorer(scaling_runs(), flops_per_second=2e10)
    view.state = settings
    return view


# ------------------------------------------------------------------------------------- numbers


def test_a_law_that_the_runs_follow_exactly_is_found():
    law = fit_law(EXACT)
    assert law == pytest.approx((60, 0.5, 2000, 0.75), rel=1e-6)
    assert law(10_000, 1_000_000) == pytest.approx(0.6 + 2000 / 10**4.5)


def test_a_run_that_counts_twice_is_the_same_as_two_runs():
    twice = type(SCATTERED)(*(np.append(numbers, numbers[-1]) for numbers in SCATTERED))
    counts = np.ones(len(SCATTERED.loss))
    counts[-1] = 2
    assert fit_law(SCATTERED, counts) == pytest.approx(fit_law(twice), rel=1e-9)


def test_no_other_exponents_nearby_fit_the_runs_better():
    def misfit(law):
        return ((law(SCATTERED.parameters, SCATTERED.tokens) / SCATTERED.loss - 1) ** 2).sum()

    law = fit_law(SCATTERED)
    for name in law._fields:
        for factor in (0.98, 1.02):
            assert misfit(law) < misfit(law._replace(**{name: factor * getattr(law, name)}))


def test_where_size_makes_no_difference_the_law_is_one_of_tokens_alone():
    runs = EXACT._replace(loss=50 / EXACT.tokens**0.4)
    law = fit_law(runs)
    np.testing.assert_allclose(law(runs.parameters, runs.tokens), runs.loss, rtol=1e-6)
    assert law(1e9, 1e6) == pytest.approx(law(1e5, 1e6), rel=1e-3)


def test_the_best_size_is_where_no_other_size_has_less_loss_for_the_same_work():
    made = plan(EXACT)
    for n in range(0, len(made["budgets"]), 9):
        budget, best = made["budgets"][n], made["best"][n, 1]
        assert 6 * best * made["tokens"][n] == pytest.approx(budget, rel=1e-6)
        # A minimum of a / N^0.5 + b N^0.75, whose derivative is 0 there.
        a, b = 60, 2000 * (6 / budget) ** 0.75
        assert best == pytest.approx((0.5 * a / (0.75 * b)) ** (1 / 1.25), rel=0.02)
        assert made["loss"][n, 1] == pytest.approx(a * best**-0.5 + b * best**0.75, rel=1e-6)
        assert made["loss"][n, 1] <= made["valley"][n].min()


def test_exact_runs_leave_no_doubt_and_scattered_ones_the_more_the_farther_away():
    exact, scattered = plan(EXACT), plan(SCATTERED)
    np.testing.assert_allclose(exact["loss"][:, 0], exact["loss"][:, 2], rtol=1e-6)
    width = np.log(scattered["loss"][:, 2] / scattered["loss"][:, 0])
    middle = np.searchsorted(scattered["budgets"], np.median(SCATTERED.flops))
    assert width[-1] > 2 * width[middle] > 0
    assert (scattered["best"][:, 0] < scattered["best"][:, 2]).all()


def test_nine_of_ten_refits_lie_in_the_range():
    made, budget = plan(SCATTERED), 30
    grid = np.geomspace(SCATTERED.parameters.min() / 8, 100 * SCATTERED.parameters.max(), 480)
    tokens = made["budgets"][budget] / cost_of(SCATTERED, grid)
    lowest = [law(grid, tokens).min() for law in refits(SCATTERED)]
    low, _, high = made["loss"][budget]
    assert sum(low <= loss <= high for loss in lowest) == 90


def test_the_work_of_a_size_is_that_of_its_runs_and_between_and_beyond_on_straight_lines():
    assert cost_of(EXACT, np.array([20_000, 80_000, 320_000])) == pytest.approx(
        [120_000, 480_000, 1_920_000])
    assert cost_of(EXACT, np.array([5_000, 40_000, 3_200_000])) == pytest.approx(
        [30_000, 240_000, 19_200_000])


def test_budgets_are_round_and_go_from_the_smallest_run_far_beyond_the_largest():
    budgets = budgets_of(SCATTERED)
    assert budgets[0] <= SCATTERED.flops.min() < budgets[1]
    assert budgets[-2] < 100 * SCATTERED.flops.max() <= budgets[-1]
    assert (np.diff(np.log(budgets)) < 0.3).all()
    assert all(float(f"{budget:.1e}") == budget for budget in budgets)


def test_between_two_budgets_a_power_law_is_met_exactly():
    budgets = np.array([1.0, 10, 1000])
    rows = np.stack([budgets**0.5, 7 / budgets], axis=1)
    for budget in (1.0, 3.0, 500.0, 1000.0):
        assert interpolated(budgets, rows, budget) == pytest.approx([budget**0.5, 7 / budget])


# ---------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(("said", "text"), [
    (rounded(0.02549), "0.025"), (rounded(2.0), "2"), (rounded(479_600), "480,000"),
    (counted(834.0), "830"), (counted(12_900), "13 thousand"), (counted(999_900), "1 million"),
    (work(4e12), "4 TFLOP"), (work(1.2e17), "120 PFLOP"), (work(2e10), "20 GFLOP"),
    (ranged(620_000, 850_000), "620 to 850 thousand"),
    (ranged(620_000, 1_200_000), "620 thousand to 1.2 million"), (ranged(3, 30), "3 to 30"),
    (duration(4.21), "4.2 seconds"), (duration(150), "2.5 minutes"), (duration(5100), "85 minutes"),
    (duration(5400), "1.5 hours"), (duration(270_000), "3.1 days"),
])
def test_numbers_are_said_as_one_reads_them(said, text):
    assert said == text


def test_the_sentence_says_what_the_plan_has_and_what_is_only_foretold():
    view = scaling(budget=4e12)
    found = view.shown
    assert found["summary"].startswith("With 4 TFLOP (3.3 minutes at 20 GFLOP/s), the law's best ")
    assert f"best model has {counted(found['best'][1])} parameters" in found["summary"]
    assert f"{rounded(found['loss'][1])} nats per token above the floor" in found["summary"]
    assert "forecast" not in found["summary"]
    view.budget = 1.1e14
    assert view.shown["summary"].endswith("That is 11 times the largest run: a forecast.")
    assert "minutes" not in repr(ScalingExplorer(scaling_runs()))


def test_the_page_says_of_every_budget_what_the_kernel_says(tmp_path):
    view = scaling()
    budgets = [*view._plan["budgets"].tolist(), 2.345e11, 7.7e12]
    page = in_node("scaling.mjs", view._esm, tmp_path, packed=view.data, budgets=budgets)
    for budget, said in zip(budgets, page["said"], strict=True):
        view.budget = budget
        assert view.last_error is None and said == view.shown["summary"]
    assert [run["loss"] for run in page["runs"]] == SCATTERED.loss.tolist()
    assert [run["flops"] for run in page["runs"]] == SCATTERED.flops.tolist()


def test_the_page_writes_numbers_as_the_kernel_does(tmp_path):
    numbers = [10 ** (n / 7) * digits for n in range(-20, 110) for digits in (1, 1.25, 9.96)]
    page = in_node("scaling.mjs", scaling()._esm, tmp_path, numbers=numbers)
    for x, words in zip(numbers, page["words"], strict=True):
        assert words == [rounded(x), counted(x), work(x), duration(x), ranged(x, 1.7 * x)]


def test_a_logarithmic_axis_of_the_page_has_a_few_round_ticks(tmp_path):
    axes = [(0.0021, 0.5), (3e10, 2e15), (4.0, 60.0)]
    ticks = in_node("scaling.mjs", scaling()._esm, tmp_path, axes=axes)["ticks"]
    assert ticks[2] == [5, 10, 20, 50] and ticks[1] == [1e11, 1e12, 1e13, 1e14, 1e15]
    assert ticks[0] == [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]


# ----------------------------------------------------------------------------------------- view


def test_without_a_budget_it_is_about_the_largest_runs():
    assert 0.8 < scaling().budget / SCATTERED.flops.max() < 1.25


def test_all_numbers_are_sent_once():
    view = scaling()
    sent = view.data
    view.set_state({"budget": 2e12, "against": "tokens"})
    assert view.data is sent and view.shown["budget"] == 2e12
    assert view.shown["against"] == "tokens" and len(sent) < 100_000


@pytest.mark.parametrize("against", ["compute", "tokens"])
@pytest.mark.parametrize("budget", [3e10, 4e12, 1e15])
def test_every_budget_has_its_still_picture(budget, against):
    view = scaling(budget=budget, against=against)
    assert view.last_error is None and view.picture.alt == view.shown["summary"]


def test_a_budget_that_the_runs_say_nothing_of_is_explained_and_the_view_goes_on():
    view = scaling()
    view.budget = 1e20
    assert "budget is 1e20 FLOPs" in view.error.replace(",", "").replace("1" + 20 * "0", "1e20")
    assert "choose one of these" in view.error
    view.budget = 1e12
    assert view.error == "" and "With 1 TFLOP" in repr(view)


def run(**changed) -> SimpleNamespace:
    return SimpleNamespace(**{**scaling_runs()[0]._asdict(), **changed})


@pytest.mark.parametrize(("runs", "words"), [
    (scaling_runs()[:4], "A law needs five runs, of two sizes and two numbers of tokens at least, "
     "but there are 4, of 1 and 4: add"),
    ([run(parameters=n) for n in range(1, 7)], "there are 6, of 6 and 1: add other"),
    ([], "there are 0, of 0 and 0"),
    ([*scaling_runs(), run(loss_above_floor=-0.01)], "loss_above_floor of run 13 is -0.01, but a"),
    ([run(tokens=math.nan), *scaling_runs()], "tokens of run 1 is nan, but a logarithmic axis"),
    ([*scaling_runs(), run(flops=math.inf)], "flops of run 13 is inf, but"),
])
def test_runs_that_give_no_law_are_explained_in_the_view(runs, words):
    view = ScalingExplorer(runs)
    assert words in view.error and words in repr(view)


@pytest.mark.parametrize("speed", [0, -1.0, math.inf, math.nan])
def test_a_machine_without_a_speed_is_explained(speed):
    view = ScalingExplorer(scaling_runs(), flops_per_second=speed)
    assert "flops_per_second is" in view.error and "leave it out" in view.error
