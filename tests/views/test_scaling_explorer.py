import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from in_node import in_node
from samples import scaling_runs

from gptcourse.views import ScalingExplorer
from gptcourse.views.scaling_numbers import (
    NINE_OF_TEN,
    budgets_of,
    checked,
    cost_of,
    ends,
    log_ticks,
    plan,
    power_law_with_range,
    valley,
    valleys,
)
from gptcourse.views.scaling_words import counted, duration, nats, ranged, rounded, said_laws, work
from gptlib.scaling import fit_power_law, lowest_point

EXACT = checked(scaling_runs(scatter=0))
SCATTERED = checked(scaling_runs())


def scaling(**settings) -> ScalingExplorer:
    view = ScalingExplorer(scaling_runs(), flops_per_second=2e10)
    view.state = settings
    return view


# ------------------------------------------------------------------------------------- numbers


def test_valleys_that_the_runs_follow_exactly_are_found():
    found = valleys(EXACT)
    assert found["tried"].tolist() == [1e10, 4e10, 16e10]
    np.testing.assert_allclose(found["lowest"][:, 0], [20_000, 40_000, 80_000], rtol=1e-6)
    np.testing.assert_allclose(found["lowest"][:, 1], 1000 * found["tried"] ** -0.4, rtol=1e-6)
    np.testing.assert_allclose(found["curvature"], 0.1, rtol=1e-6)
    for budget, lowest in zip(found["tried"], found["lowest"], strict=True):
        own = EXACT.budget == budget
        np.testing.assert_allclose(valley(EXACT.parameters[own], *lowest, 0.1),
                                   EXACT.loss_above_floor[own], rtol=1e-6)


def test_the_valleys_are_those_of_the_library_whatever_the_order_of_the_runs():
    order = np.random.default_rng(1).permutation(len(SCATTERED.budget))
    found = valleys(type(SCATTERED)(*(numbers[order] for numbers in SCATTERED)))
    for budget, lowest in zip(found["tried"], found["lowest"], strict=True):
        own = SCATTERED.budget == budget
        assert lowest == pytest.approx(lowest_point(SCATTERED.parameters[own],
                                                    SCATTERED.loss_above_floor[own]), rel=1e-9)


def test_every_budget_gets_what_the_two_power_laws_say():
    made = plan(SCATTERED)
    sizes, losses = made["lowest"].T
    np.testing.assert_allclose(
        made["best"][:, 1], fit_power_law(made["tried"], sizes)(made["budgets"]), rtol=1e-9)
    np.testing.assert_allclose(
        made["loss"][:, 1], fit_power_law(made["tried"], losses)(made["budgets"]), rtol=1e-9)
    np.testing.assert_allclose(6 * made["best"][:, 1] * made["tokens"], made["budgets"], rtol=1e-3)


def test_exact_valleys_leave_no_doubt_and_scattered_ones_the_more_the_farther_away():
    exact, scattered = plan(EXACT), plan(SCATTERED)
    np.testing.assert_allclose(exact["loss"][:, 0], exact["loss"][:, 2], rtol=1e-6)
    for name in ("best", "loss"):
        width = np.log(scattered[name][:, 2] / scattered[name][:, 0])
        middle = np.searchsorted(scattered["budgets"], 4e10)
        assert width[-1] > 2 * width[middle] > 0


@pytest.mark.parametrize("count", [3, 5, 9])
def test_nine_of_ten_further_points_lie_in_the_range(count):
    generator, x = np.random.default_rng(0), np.geomspace(1, 50, count)
    inside = []
    for _ in range(4000):
        y = 7 * x**-0.4 * np.exp(0.1 * generator.normal(size=count))
        [[low, _, high]] = power_law_with_range(x, y, np.array([500.0]))
        inside.append(low <= 7 * 500**-0.4 * math.exp(0.1 * generator.normal()) <= high)
    assert np.mean(inside) == pytest.approx(0.9, abs=0.02)


def test_the_table_of_students_t_is_right():
    for freedom, t in enumerate(NINE_OF_TEN, 1):
        x = torch.linspace(-t, t, 100_001, dtype=torch.float64)
        density = torch.distributions.StudentT(float(freedom)).log_prob(x).exp()
        assert torch.trapezoid(density, x).item() == pytest.approx(0.9, abs=1e-4)


def test_the_work_of_a_size_is_that_of_its_runs_and_between_and_beyond_on_straight_lines():
    assert cost_of(EXACT, np.array([5_000, 40_000, 320_000])) == pytest.approx(
        [30_000, 240_000, 1_920_000], rel=1e-4)
    assert cost_of(EXACT, np.array([1_000, 56_000, 3_200_000])) == pytest.approx(
        [6_000, 336_000, 19_200_000], rel=1e-4)


@pytest.mark.parametrize(("low", "high"), [(6e9, 9.6e12), (1e10, 1.6e13), (1.1, 7.0)])
def test_budgets_are_round_and_hold_both_ends(low, high):
    budgets = budgets_of(low, high)
    assert budgets[0] <= low < budgets[1] and budgets[-2] < high <= budgets[-1]
    assert (np.diff(np.log(budgets)) < 0.3).all()
    assert all(float(f"{budget:.1e}") == budget for budget in budgets)


def test_budgets_go_to_an_hour_of_the_machine_and_without_one_to_a_hundred_times_the_largest():
    assert plan(EXACT)["budgets"][-1] == 16e12 * 1.25                        # the next round one
    assert plan(EXACT, speed=1e9)["budgets"][-1] == plan(EXACT)["budgets"][-1]
    assert plan(EXACT, speed=2e10)["budgets"][-1] == 8e13                    # of 72 TFLOP


def test_each_budget_that_was_tried_is_among_them_and_so_is_any_other_that_is_asked_for():
    assert {*EXACT.budget, 2.345e11} <= {*plan(EXACT, also=[2.345e11])["budgets"]}


def test_the_axes_have_room_for_every_run_and_all_that_the_laws_say():
    made = plan(SCATTERED)
    for name, places in (("compute", made["budgets"]), ("compute", SCATTERED.flops),
                         ("tokens", made["tokens"]), ("tokens", SCATTERED.tokens),
                         ("sizes", made["best"][:, 1]), ("sizes", SCATTERED.parameters),
                         ("loss", made["loss"]), ("loss", SCATTERED.loss_above_floor)):
        low, high = ends(made)[name]
        assert low < places.min() and places.max() < high


def test_a_logarithmic_axis_has_a_few_round_ticks():
    assert log_ticks(4.0, 60.0) == [5, 10, 20, 50]
    assert log_ticks(3e10, 2e15) == [1e11, 1e12, 1e13, 1e14, 1e15]
    assert log_ticks(0.0021, 0.5) == [0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5]


# ---------------------------------------------------------------------------------------- words


@pytest.mark.parametrize(("said", "text"), [
    (rounded(0.02549), "0.025"), (nats(0.03579), "0.0358"), (nats(0.027), "0.0270"),
    (rounded(2.0), "2"), (rounded(479_600), "480,000"),
    (counted(834.0), "830"), (counted(12_900), "13 thousand"), (counted(999_900), "1 million"),
    (work(4e12), "4 TFLOP"), (work(1.2e17), "120 PFLOP"), (work(3.84e11), "384 GFLOP"),
    (ranged(620_000, 850_000), "620 to 850 thousand"),
    (ranged(620_000, 1_200_000), "620 thousand to 1.2 million"), (ranged(3, 30), "3 to 30"),
    (duration(1.0), "1 second"), (duration(4.21), "4.2 seconds"), (duration(150), "2.5 minutes"),
    (duration(5100), "85 minutes"),
    (duration(5400), "1.5 hours"), (duration(270_000), "3.1 days"),
])
def test_numbers_are_said_as_one_reads_them(said, text):
    assert said == text


def test_the_sentence_says_what_the_laws_have_and_how_far_they_go():
    view = scaling(budget=4e10)
    found = view.shown
    assert found["summary"].startswith("With 40 GFLOP (2 seconds at 20 GFLOP/s), the laws ")
    assert f"recommend {counted(found['best'][1])} parameters" in found["summary"]
    assert f"{nats(found['loss'][1])} nats per token above the floor" in found["summary"]
    assert "That is" not in found["summary"]
    view.budget = 8e11
    assert view.shown["summary"].endswith("That is 5 times the largest budget tried.")
    assert "seconds" not in repr(ScalingExplorer(scaling_runs()))


def test_both_laws_are_said_with_what_twice_the_budget_brings():
    said = said_laws(plan(EXACT))
    assert said.startswith("Twice the budget: 1.4 times the best size (exponent 0.50), 0.76 times "
                           "its loss above the floor (exponent −0.40).")


def test_the_page_has_ready_what_the_kernel_says_of_every_budget_and_every_run(tmp_path):
    view = scaling()
    page = in_node("scaling.mjs", view._esm, tmp_path, packed=view.data)
    for n, budget in enumerate(view._plan["budgets"].tolist()):
        view.budget = budget
        assert view.last_error is None and page["data"]["said"][n] == view.shown["summary"]
        size, tokens, above, time = (number for _, number, _ in page["data"]["facts"][n])
        for words in (f" {size} parameters", f" {tokens} tokens", f" {above} nats", f"({time} at"):
            assert words in view.shown["summary"]
    assert page["data"]["work"][0] == "10 GFLOP" and page["data"]["named"][7].startswith(
        "Run 8 of 15: 40,000 parameters, 170 thousand tokens, budget 40 GFLOP: 0.")
    assert [run["loss"] for run in page["runs"]] == SCATTERED.loss_above_floor.tolist()
    assert [run["flops"] for run in page["runs"]] == SCATTERED.flops.tolist()


def test_the_page_draws_a_valley_as_the_kernel_does(tmp_path):
    places = [[size, 20_000, 0.1, 0.13] for size in (1_000.0, 20_000.0, 99_000.0)]
    page = in_node("scaling.mjs", scaling()._esm, tmp_path, places=places)
    sizes = np.array([size for size, *_ in places])
    assert page["valley"] == pytest.approx(valley(sizes, 20_000, 0.1, 0.13).tolist())


# ----------------------------------------------------------------------------------------- view


def test_without_a_budget_it_is_the_next_round_one_after_the_largest_tried():
    assert scaling().budget == 2e11


def test_all_numbers_and_words_are_sent_once_and_are_few():
    view = scaling()
    sent = view.data
    view.set_state({"budget": 2e12, "against": "tokens"})
    assert view.data is sent and view.shown["budget"] == 2e12
    assert view.shown["against"] == "tokens" and len(sent) < 50_000


def test_a_budget_between_them_is_worked_out_when_it_is_asked_for():
    view = scaling()
    before = view.data
    view.budget = 2.345e11
    assert "With 235 GFLOP (12 seconds" in repr(view) and view.data != before
    found = plan(SCATTERED, also=[2.345e11])
    n = found["budgets"].tolist().index(2.345e11)
    assert view.shown["best"].tolist() == found["best"][n].tolist()


@pytest.mark.parametrize("against", ["compute", "tokens"])
@pytest.mark.parametrize("budget", [1e10, 4e11, 6e13])
def test_every_budget_has_its_still_picture(budget, against):
    view = scaling(budget=budget, against=against)
    assert view.last_error is None and view.picture.alt == view.shown["summary"]


def test_a_budget_that_the_view_does_not_have_is_explained_and_the_view_goes_on():
    view = scaling()
    view.budget = 1e20
    assert "budget is 1e+20 FLOPs, but this view goes from 1e+10 to 8e+13: choose" in view.error
    view.budget = 1e12
    assert view.error == "" and "With 1 TFLOP" in repr(view)


def run(**changed) -> SimpleNamespace:
    return SimpleNamespace(**{**scaling_runs()[0]._asdict(), **changed})


@pytest.mark.parametrize(("runs", "words"), [
    (scaling_runs()[:10], "A law needs runs of three budgets at least, but here are 2: add runs"),
    ([], "but here are 0: add runs"),
    ([*scaling_runs(), run(budget=7e10)], "A valley needs points at 3 different x at least, but"),
    ([*scaling_runs(), run(loss_above_floor=-0.01)], "loss_above_floor of run 16 is -0.01, but a"),
    ([run(tokens=math.nan), *scaling_runs()], "tokens of run 1 is nan, but a logarithmic axis"),
    ([*scaling_runs(), run(flops=math.inf)], "flops of run 16 is inf, but"),
])
def test_runs_that_give_no_law_are_explained_in_the_view(runs, words):
    view = ScalingExplorer(runs)
    assert words in view.error and words in repr(view)


@pytest.mark.parametrize("speed", [0, -1.0, math.inf, math.nan])
def test_a_machine_without_a_speed_is_explained(speed):
    view = ScalingExplorer(scaling_runs(), flops_per_second=speed)
    assert "flops_per_second is" in view.error and "leave it out" in view.error
