"""The town whose floor is known, the runs on it, and what they foretell."""

import math

import pytest
import torch
from torch import nn

from gptcourse.experiments.scaling import (
    STEPS,
    ScalingRun,
    affordable_batch,
    loss_above_floor,
    measured,
    nearest_width,
    scaling_runs,
    store,
    town,
    town_config,
    town_run,
    training_flops,
    valleys,
)
from gptlib.model import GPTModel, count_parameters
from gptlib.scaling import fit_power_law

FIRST, LAST = slice(1, 129), slice(129, 257)


def test_everybody_has_a_name_of_their_own_and_likes_one_thing():
    sentences, chances, words = town()
    assert len(words) == len(set(words)) == 321
    assert len(sentences) == len(chances) == len({tuple(row) for row in sentences[:, 1:3].tolist()})
    assert sentences[:, 1].unique().tolist() == list(range(321))[FIRST]
    assert sentences[:, 2].unique().tolist() == list(range(321))[LAST]
    assert sentences[:, 3].unique().tolist() == list(range(257, 321))
    assert not sentences[:, 0].any()


def test_a_few_are_talked_about_and_most_are_hardly_mentioned():
    """Person 4 has an eighth of the chance of person 1: 1 / 4^1.5."""
    chances = town().chances
    assert chances.sum().item() == pytest.approx(1)
    assert (chances[3] / chances[0]).item() == pytest.approx(1 / 8)
    assert (chances[99] / chances[0]).item() == pytest.approx(1 / 1000)
    assert chances[:10].sum() > 0.75


class Knowing(nn.Module):
    """The best model there is: it counts everybody by their chances."""

    def forward(self, ids):
        sentences, chances, words = town()
        pairs = torch.zeros(len(words), len(words), dtype=torch.float64)
        pairs[sentences[:, 1], sentences[:, 2]] = chances
        liked = torch.zeros(len(words), len(words), dtype=torch.int64)
        liked[sentences[:, 1], sentences[:, 2]] = sentences[:, 3]
        scores = torch.full((*ids.shape, len(words)), -math.inf, dtype=torch.float64)
        scores[:, 0] = pairs.sum(1).log()
        scores[:, 1] = pairs[ids[:, 1]].log()
        scores[range(len(ids)), 2, liked[ids[:, 1], ids[:, 2]]] = 0.0
        scores[:, 3, 0] = 0.0
        return scores


class Guessing(nn.Module):
    def forward(self, ids):
        return torch.zeros(*ids.shape, 321, dtype=torch.float64)


def test_who_knows_the_town_has_the_floor_and_who_knows_nothing_pays_for_every_word():
    assert loss_above_floor(Knowing()) == pytest.approx(0, abs=1e-9)
    assert loss_above_floor(Guessing()) == pytest.approx(math.log(321) - town().floor)


def test_a_text_says_who_is_talked_about_by_their_chances():
    ids = town().text(50_000, seed=3)
    assert ids.shape == (200_001,) and ids[-1] == 0
    said = ids[:-1].view(-1, 4)
    first = (said == town().sentences[0]).all(dim=1).double().mean()
    assert first == pytest.approx(town().chances[0].item(), abs=0.01)
    assert torch.equal(ids, town().text(50_000, seed=3))
    assert not torch.equal(ids, town().text(50_000, seed=4))


def test_a_run_reads_each_sentence_once_and_from_its_start():
    run = town_run(8, 7, steps=3)
    rows = [run.batches.at(step) for step in range(3)]
    inputs, targets = (torch.cat(part) for part in zip(*rows, strict=True))
    assert inputs.shape == targets.shape == (3 * 7, 4)
    assert not inputs[:, 0].any() and not targets[:, 3].any()
    told = town().text(3 * 7, seed=0)[:-1].view(-1, 4)
    assert sorted(inputs.tolist()) == sorted(told.tolist())


def test_a_run_follows_from_its_seed_and_leaves_the_random_state_alone():
    losses = []
    for seed in (1, 1, 2):
        torch.rand(1)
        before = torch.get_rng_state()
        losses.append([step.loss for step in town_run(8, 7, seed, steps=3)])
        assert torch.equal(torch.get_rng_state(), before)
    assert losses[0] == losses[1] != losses[2]


def test_what_is_measured_of_a_run():
    run = town_run(16, 7, seed=5, steps=2)
    *_, last = run
    found = measured(run, 1e8)
    assert found[:7] == (1e8, 16, 7, 2, 5, count_parameters(run.model), last.tokens)
    assert found.tokens == 2 * 7 * 4
    assert found.flops == training_flops(16, found.tokens)
    assert found.loss_above_floor == loss_above_floor(run.model) > 0


def test_a_budget_buys_sentences_for_every_step():
    each = STEPS * training_flops(16, 4)
    assert [affordable_batch(16, factor * each) for factor in (0.1, 1, 7.4, 7.6)] == [1, 1, 7, 8]


def test_the_nearest_width():
    sizes = {width: count_parameters(GPTModel(town_config(width))) for width in (8, 24, 64)}
    for width, size in sizes.items():
        assert nearest_width(size) == nearest_width(1.05 * size) == width


def stored(budget, parameters, loss):
    return ScalingRun(budget, 8, 1, 1, 0, parameters, 1, budget, loss)


def test_each_budget_has_its_valley():
    runs = [stored(2.0, n, y) for n, y in ((40, 3), (10, 3), (20, 2))]
    runs += [stored(1.0, n, y) for n, y in ((4, 5), (8, 4), (16, 5))]
    found = valleys(runs)
    assert [valley.budget for valley in found] == [1, 2]
    assert [valley[1:] for valley in found] == [pytest.approx((8, 4)), pytest.approx((20, 2))]


def test_runs_are_read_as_they_were_stored(tmp_path):
    runs = [stored(6e9, 6032, 0.125), stored(1.2e10, 13600, 1e-5)]
    store(runs, tmp_path / "runs.csv")
    assert scaling_runs(tmp_path / "runs.csv") == runs


# ------------------------------------------------------------------------------- the stored runs


def test_the_stored_runs_are_what_they_say():
    for run in scaling_runs():
        assert run.steps == STEPS
        assert run.batch_size == affordable_batch(run.emb_dim, run.budget)
        assert run.tokens == 4 * run.batch_size * STEPS
        assert run.flops == training_flops(run.emb_dim, run.tokens)
        assert run.parameters == count_parameters(GPTModel(town_config(run.emb_dim)))
        assert 0 < run.loss_above_floor < math.log(321)


def test_the_smallest_stored_run_can_be_repeated():
    smallest = min(scaling_runs(), key=lambda run: (run.budget, run.parameters))
    run = town_run(smallest.emb_dim, smallest.batch_size, smallest.seed)
    for _ in run:
        pass
    assert loss_above_floor(run.model) == pytest.approx(smallest.loss_above_floor, rel=0.02)


def test_every_budget_shows_a_valley_and_more_of_it_buys_a_larger_and_a_better_model():
    _, sizes, losses = zip(*valleys(scaling_runs()), strict=True)
    assert list(sizes) == sorted(sizes) and list(losses) == sorted(losses, reverse=True)


def test_the_smaller_budgets_foretell_the_largest_within_ten_percent():
    *smaller, largest = valleys(scaling_runs())
    law = fit_power_law(*list(zip(*smaller, strict=True))[::2])
    assert law(largest.budget) == pytest.approx(largest.loss_above_floor, rel=0.1)
