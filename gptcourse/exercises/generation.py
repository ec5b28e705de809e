"""Exercises of chapter 7. Below each solution stand the mistakes that are known, with what a
learner is told about them; then the trials, then the exercise with its hints."""

from __future__ import annotations

import inspect
import math
from typing import Any

import torch
from torch import Tensor

from gptcourse.exercises.answers import SeveralAnswers, TensorAnswer
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.properties import normal
from gptcourse.exercises.resemblance import Trial
from gptlib.attention import KVCache
from gptlib.generation import apply_temperature as library_apply_temperature
from gptlib.generation import keep_top_k, keep_top_p


class ScoresAnswer(TensorAnswer):
    """Scores of all tokens. A number added to a whole row changes no probability.

    A token that is ruled out has -inf, so -inf is a score like any other, only perhaps the wrong
    one.
    """

    def difference(self, answer: Tensor, expected: Tensor) -> str | None:
        return None if self._same_odds(answer, expected) else super().difference(answer, expected)

    def alike(self, answer: Any, other: Any) -> bool:
        if super().alike(answer, other):
            return True
        both = all(isinstance(x, Tensor) and (x == -math.inf).any() for x in (answer, other))
        return both and answer.shape == other.shape and self._same_odds(answer, other)

    def trace(self, trials: list[Trial]) -> str | None:
        """Which tokens are left."""
        if all(self._same_odds(trial.answer, trial.arguments["logits"]) for trial in trials):
            return ("These scores give the same probabilities as those that came in: nothing has "
                    "changed.")
        if any((trial.answer == math.inf).any() for trial in trials):
            return None                                  # something else is wrong than the choice
        left = [(trial.answer > -math.inf, trial.expected > -math.inf) for trial in trials]
        if any(answer.all() for answer, _ in left):
            return None                                  # where no token is ruled out at all
        if not any(answer.any() for answer, _ in left):
            return ("No token is left in any row: scatter and masked_fill leave a tensor as it is "
                    "and return a new one, so keep what they return, or else look at the "
                    "condition.")
        if not all(answer.any(dim=-1).all() for answer, _ in left):
            return ("There is a row in which everything is ruled out, so nothing is left to draw: "
                    "in every row the best token must stay.")
        if _equally_many(answer for answer, _ in left) and not _equally_many(
                expected for _, expected in left):
            return ("In every row equally many tokens are left, but how many it takes differs from "
                    "row to row.")
        if all((answer | expected).equal(answer) for answer, expected in left):
            return "All the right tokens are left, but some others, too."
        if all((answer & expected).equal(answer) for answer, expected in left):
            return "Too few tokens are left: some that should stay are ruled out."
        return None

    def _not_finite(self, answer: Tensor, expected: Tensor) -> str | None:
        return super()._not_finite(answer.masked_fill(answer == -math.inf, 0), expected)

    def _same_odds(self, answer: Tensor, expected: Tensor) -> bool:
        both = [x.detach().double() for x in (answer, expected)]
        empty = [(x == -math.inf).all(dim=-1, keepdim=True) for x in both]   # rows without a token
        odds = (x.masked_fill(rows, 0).log_softmax(dim=-1)
                for x, rows in zip(both, empty, strict=True))
        return torch.equal(*empty) and torch.allclose(*odds, rtol=self.rtol, atol=self.atol)


def _equally_many(left):
    """Whether in every trial all rows have the same number of tokens left."""
    return all(len(tokens.sum(dim=-1).unique()) == 1 for tokens in left)


# --------------------------------------------------------------------------- apply_temperature


def apply_temperature(logits, temperature):
    """Below 1 the favorites gain, above 1 the outsiders; 0 leaves only the best token of a row.

    logits (..., V) -> (..., V); a token that is ruled out gets the score -inf
    """
    if temperature == 0:
        best = logits.argmax(dim=-1, keepdim=True)                       # (..., 1)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
    return logits / temperature


def _multiplied(logits, temperature):
    """You multiply by the temperature: divide by it, so that a low one widens the gaps between
    the scores. And 0 needs a line of its own."""
    return logits * temperature


def _multiplied_but_zero(logits, temperature):
    """You multiply by the temperature: divide by it, so that a low one widens the gaps between the
    scores."""
    return _but_zero(logits * temperature, logits, temperature)


def _no_zero(logits, temperature):
    """Divided by temperature 0, scores become infinite: give it a line of its own, where only the
    best token of each row keeps a score."""
    return logits / temperature


def _inverted_first(logits, temperature):
    """Nothing can be divided by temperature 0: give it a line of its own, where only the best
    token of each row keeps a score."""
    return logits * (1 / temperature)


def _zero_switches_off(logits, temperature):
    """At temperature 0 the scores stay as they are, which is what temperature 1 does: 0 leaves
    only the best token, all others get -inf."""
    return logits / temperature if temperature else logits.clone()


def _zero_as_token(logits, temperature):
    """At temperature 0 you return the best token: return scores as always, in which all other
    tokens have -inf."""
    return logits / temperature if temperature else logits.argmax(dim=-1)


def _zero_as_column(logits, temperature):
    """At temperature 0 you return the best token, as a column: return scores as always, in which
    all other tokens have -inf."""
    return logits / temperature if temperature else logits.argmax(dim=-1, keepdim=True)


def _powered_probabilities(logits, temperature):
    """You raise the probabilities to a power: their ratios are right then, but these are not
    scores, and the softmax still comes; divide the scores instead."""
    shares = logits.softmax(dim=-1) ** (1 / (temperature or 1))
    return _but_zero(shares, logits, temperature)


def _zero_as_best_score(logits, temperature):
    """At temperature 0 you return the best score only: return one for every token, -inf for all
    but the best."""
    return logits / temperature if temperature else logits.amax(dim=-1, keepdim=True)


def _zero_as_single_score(logits, temperature):
    """At temperature 0 you return one score for each row: return one for every token, -inf for all
    but the best."""
    return logits / temperature if temperature else logits.amax(dim=-1)


def _zero_with_zeros(logits, temperature):
    """At temperature 0 the others get the score 0, but softmax gives a score of 0 a share like any
    other: only -inf gets none."""
    best = logits == logits.amax(dim=-1, keepdim=True)
    return _but_zero(logits / (temperature or 1), logits.masked_fill(~best, 0), temperature, False)


def _zero_as_shares(logits, temperature):
    """At temperature 0 you return probabilities, 1 for the best token and 0 for others: these are
    scores, in which 0 is a number like any other, so rule the others out with -inf."""
    best = logits == logits.amax(dim=-1, keepdim=True)
    return _but_zero(logits / (temperature or 1), best.to(logits), temperature, False)


def _zero_for_all_rows(logits, temperature):
    """At temperature 0 only the best token of the whole tensor is left, so some rows have none:
    look for the best in each row, with dim=-1."""
    best = logits.masked_fill(logits < logits.max(), -math.inf)
    return _but_zero(logits / (temperature or 1), best, temperature, False)


def _zero_keeps_worst(logits, temperature):
    """At temperature 0 you keep the worst token: keep the best, with argmax."""
    worst = logits.masked_fill(logits > logits.amin(dim=-1, keepdim=True), -math.inf)
    return _but_zero(logits / (temperature or 1), worst, temperature, False)


def _zero_rules_out_best(logits, temperature):
    """At temperature 0 you rule out the best token: it is the one to keep."""
    rest = logits.masked_fill(logits == logits.amax(dim=-1, keepdim=True), -math.inf)
    return _but_zero(logits / (temperature or 1), rest, temperature, False)


def _tiny_instead_of_zero(logits, temperature):
    """You divide by a tiny number instead of 0, so every token keeps a score: give -inf to all but
    the best."""
    return logits / max(temperature, 1e-8)


def _greedy_below_one(logits, temperature):
    """You leave only the best token for every temperature below 1: only 0 does that, so compare
    the temperature itself with 0."""
    return library_apply_temperature(logits, 0 if temperature < 1 else temperature)


def _zero_in_all_rows(logits, temperature):
    """At temperature 0 the best token of each row is put into every row: scatter(-1, best, ...)
    goes row by row."""
    kept = torch.full_like(logits, -math.inf)
    kept[..., logits.argmax(dim=-1)] = 0.0
    return _but_zero(logits / (temperature or 1), kept, temperature, False)


def _cases_swapped(logits, temperature):
    """The two cases are swapped: only at temperature 0 the best token alone is left, for all others
    the scores are divided."""
    return logits / temperature if temperature == 0 else library_apply_temperature(logits, 0)


def _powered_scores(logits, temperature):
    """You raise the scores to a power: it is the probabilities that may be raised to 1 / T, which
    divides the scores by T."""
    return _but_zero(logits ** (1 / (temperature or 1)), logits, temperature)


def _divided_probabilities(logits, temperature):
    """You divide the probabilities: divide the scores, before the softmax, which comes later."""
    return _but_zero(logits.softmax(dim=-1) / (temperature or 1), logits, temperature)


def _returns_probabilities(logits, temperature):
    """These are probabilities: return scores, for the softmax comes later, after all filters."""
    return library_apply_temperature(logits, temperature).softmax(dim=-1)


def _zero_forgotten_and_softmax(logits, temperature):
    """These are probabilities: return scores, for the softmax comes later. And nothing can be
    divided by temperature 0: give it a line of its own."""
    return (logits / temperature).softmax(dim=-1)


def _squared(logits, temperature):
    """You divide twice: divide the scores by the temperature once."""
    return _but_zero(logits / (temperature or 1) ** 2, logits, temperature)


def _floored(logits, temperature):
    """The operator // rounds every quotient down to a whole number: divide with /."""
    return _but_zero(logits // (temperature or 1), logits, temperature)


def _rooted(logits, temperature):
    """You divide by the root of the temperature: divide by the temperature itself."""
    return _but_zero(logits / math.sqrt(temperature or 1), logits, temperature)


def _subtracted(logits, temperature):
    """You subtract the temperature from every score, which changes no probability: divide by
    it."""
    return _but_zero(logits - temperature, logits, temperature)


def _temperature_unused(logits, temperature):
    """The scores are as before: divide them by the temperature."""
    return _but_zero(logits.clone(), logits, temperature)


def _but_zero(otherwise, logits, temperature, choose=True):
    """`otherwise`, but at temperature 0 what is right, or else `logits` as given."""
    if temperature:
        return otherwise
    return library_apply_temperature(logits, 0) if choose else logits


def _scores_to_heat(generator):
    """A row, rows, a batch of texts, a single token; temperatures below and above 1, and 0."""
    for shape, temperature in (((4,), 0.5), ((3, 5), 2.0), ((2, 3, 7), 0.8), ((6,), 0),
                               ((3, 4), 0.0), ((2, 1, 8), 1.5)):
        yield 2 * normal(generator, *shape), temperature
    yield torch.tensor([[1.0, 0.99, 0.9], [-0.5, 0.5, 0.45]]), 0.05      # near 0, but not 0


def _keeps_several(answer):
    kept = answer(torch.tensor([[2.0, 5.0, 5.0, 1.0], [3.0, 3.0, 3.0, 3.0]]), 0)
    if (kept.softmax(dim=-1) > 0).sum(dim=-1).tolist() == [1, 1]:
        return None
    return ("at temperature 0, where several tokens share the best score, you keep all of them, so "
            "chance would still decide: keep one, by its place, from argmax.")


APPLY_TEMPERATURE = Exercise(
    "07.apply_temperature",
    goal="Make a model bolder or more careful.",
    solution=apply_temperature,
    reference=library_apply_temperature,
    returns=ScoresAnswer("scores", ("V",), leading=True),
    cases=lambda generator: list(_scores_to_heat(generator)),
    mistakes=[_multiplied, _multiplied_but_zero, _no_zero, _inverted_first, _zero_switches_off,
              _zero_as_token, _zero_as_column, _powered_probabilities, _zero_as_best_score,
              _zero_with_zeros, _zero_as_shares, _zero_for_all_rows, _zero_keeps_worst,
              _tiny_instead_of_zero, _divided_probabilities, _returns_probabilities,
              _zero_forgotten_and_softmax, _squared, _rooted, _subtracted, _temperature_unused,
              _greedy_below_one, _zero_in_all_rows, _powered_scores, _zero_rules_out_best,
              _zero_as_single_score, _floored, _cases_swapped],
    hints=(
        "For all temperatures above 0 the formula of the chapter is one line. For 0 it cannot be "
        "computed: what does it come to, the closer the temperature gets to 0?",
        """
        1. if the temperature is 0: a row of -inf for every row, and any number, such as 0, at the
           place of its best token
        2. else: the scores divided by the temperature
        """,
        """
        if temperature == 0:
            best = logits.argmax(dim=-1, keepdim=True)        # (..., 1)
            return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
        return ...
        """,
    ),
    properties=[Property("one token at temperature 0", _keeps_several)],
    batched={"logits": 1},
)


# --------------------------------------------------------------------------------------- top_k


def top_k(logits, k):
    """Keep the k best tokens of each row, exactly k of them; all others get the score -inf.

    logits (..., V) -> (..., V)
    """
    best = logits.topk(k, dim=-1).indices                                # (..., k)
    nothing = torch.full_like(logits, -math.inf)                         # (..., V)
    return nothing.scatter(-1, best, logits.gather(-1, best))


def _only_the_best(logits, k):
    """Only the k scores are left, and nobody knows any more to which tokens they belong: return a
    score for every token, with -inf for the others."""
    return logits.topk(k, dim=-1).values


def _their_ids(logits, k):
    """These are the ids of the k best tokens: return scores, with -inf for the others."""
    return logits.topk(k, dim=-1).indices


def _zero_for_others(logits, k):
    """The others get the score 0, but softmax gives a score of 0 a share like any other: only -inf
    gets none."""
    kept = keep_top_k(logits, k)
    return kept.masked_fill(kept == -math.inf, 0)


def _equals_at_the_border(logits, k):
    """Where several tokens share the k-th best score, you keep all of them, so more than k are
    left: keep the tokens by their places, from topk(k).indices, instead of by their scores."""
    return logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1:], -math.inf)


def _worst_kept(logits, k):
    """You keep the worst tokens: the best have the largest scores, so sort in descending order."""
    worst = logits.topk(k, dim=-1, largest=False).indices
    return torch.full_like(logits, -math.inf).scatter(-1, worst, logits.gather(-1, worst))


def _best_ruled_out(logits, k):
    """You rule out the k best tokens: they are the ones to keep."""
    return logits.scatter(-1, logits.topk(k, dim=-1).indices, -math.inf)


def _one_too_many(logits, k):
    """One token too many is left: the k-th best score stands at place k - 1 of the sorted row."""
    return keep_top_k(logits, min(k + 1, logits.shape[-1]))


def _one_too_few(logits, k):
    """One token too few is left: the k-th best must stay, too."""
    return logits.masked_fill(logits <= logits.topk(k, dim=-1).values[..., -1:], -math.inf)


def _first_places(logits, k):
    """You keep the first k tokens of the vocabulary: keep those with the best scores."""
    return torch.where(torch.arange(logits.shape[-1]) < k, logits, -math.inf)


def _not_put_back(logits, k):
    """The scores are sorted now, so they belong to other tokens than before: each must stay at its
    token's place."""
    values = logits.sort(dim=-1, descending=True).values
    return values.masked_fill(torch.arange(logits.shape[-1]) >= k, -math.inf)


def _of_all_rows(logits, k):
    """You keep the k best of the whole tensor: keep k in each row, with dim=-1."""
    border = logits.flatten().topk(k).values[-1]
    return logits.masked_fill(logits < border, -math.inf)


def _border_of_first_row(logits, k):
    """All rows are cut at one border: each needs a border of its own, so keep its axis, with shape
    (..., 1)."""
    border = logits.topk(k, dim=-1).values[..., -1:].flatten()[0]
    return logits.masked_fill(logits < border, -math.inf)


def _places_of_other_rows(logits, k):
    """In each row you write at the places of all rows: scatter and gather go row by row."""
    kept, best = torch.full_like(logits, -math.inf), logits.topk(k, dim=-1).indices
    kept[..., best] = logits[..., best]
    return kept


def _border_without_axis(logits, k):
    """The border of each row has lost its axis, so it cannot be compared with the row: keep it,
    with [..., -1:] or keepdim=True."""
    return logits.masked_fill(logits < logits.topk(k, dim=-1).values[..., -1], -math.inf)


def _border_from_below(logits, k):
    """You sort in ascending order, so the border is the k-th worst score: sort with
    descending=True."""
    return logits.masked_fill(logits < logits.sort(dim=-1).values[..., k - 1 : k], -math.inf)


def _ones_kept(logits, k):
    """The tokens that are left have lost their scores and are all equal: keep each one's own."""
    return keep_top_k(logits, k).masked_fill(keep_top_k(logits, k) > -math.inf, 1.0)


def _only_one(logits, k):
    """Only the best token is left: keep k of them."""
    return keep_top_k(logits, 1)


def _top_k_probabilities(logits, k):
    """These are probabilities: return scores, for the softmax comes later, after all filters."""
    return keep_top_k(logits, k).softmax(dim=-1)


def _filtered_probabilities(logits, k):
    """You filter the probabilities: filter the scores, and leave the softmax for later."""
    return keep_top_k(logits.softmax(dim=-1), k)


def _ranks_confused(logits, k):
    """A sort names the token at each rank, not the rank of each token: put the scores back with
    scatter, or use argsort twice."""
    ranks = logits.argsort(dim=-1, descending=True, stable=True)
    return logits.masked_fill(ranks >= k, -math.inf)


def _places_as_rows(logits, k):
    """By logits[best] you take whole rows of the batch: gather and scatter pick places within each
    row."""
    best, kept = logits.topk(k, dim=-1).indices, torch.full_like(logits, -math.inf)
    kept[best] = logits[best]
    return kept


def _first_scores_written(logits, k):
    """Here scatter writes the first k scores of each row: give it those of the best tokens,
    logits.gather(-1, best)."""
    best = logits.topk(k, dim=-1).indices
    return torch.full_like(logits, -math.inf).scatter(-1, best, logits)


def _border_behind_the_last(logits, k):
    """You look at the score after the k-th best, and with k = V there is none: compare with the
    k-th best, or keep the places from topk(k)."""
    border = logits.sort(dim=-1, descending=True).values[..., [k]]
    return logits.masked_fill(logits <= border, -math.inf)


def _k_unused(logits, k):
    """Nothing was ruled out: all but the k best tokens must get -inf. scatter and masked_fill leave
    a tensor as it is and return a new one, so keep what they return."""
    return logits.clone()


def _scores_and_k(generator):
    """Rows of several lengths, k from 1 to all, negative scores, and one position."""
    for shape, k in (((5,), 2), ((3, 7), 3), ((2, 3, 6), 1), ((2, 1, 9), 4), ((4, 8), 8)):
        yield 2 * normal(generator, *shape) - 1, k


def _keeps_too_many(answer):
    logits = torch.tensor([[1.0, 3.0, 2.0, 2.0, 2.0, 0.0], [0.5, 0.5, 0.5, 0.5, 0.5, 0.5]])
    kept = answer(logits.clone(), 3).isfinite().sum(dim=-1).tolist()
    if kept == [3, 3]:
        return None
    if min(kept) < 3:
        return (f"of six tokens, some of which share a score, top_k with k = 3 keeps {min(kept)}: "
                "keep exactly k, by their places, from topk(k).indices.")
    return " ".join(inspect.getdoc(_equals_at_the_border).split())


TOP_K = Exercise(
    "07.top_k",
    goal="Forbid all but the k best tokens.",
    solution=top_k,
    reference=keep_top_k,
    returns=ScoresAnswer("scores", ("V",), leading=True),
    cases=lambda generator: list(_scores_and_k(generator)),
    mistakes=[_only_the_best, _zero_for_others, _their_ids, _equals_at_the_border, _worst_kept,
              _best_ruled_out, _one_too_many, _one_too_few, _first_places, _not_put_back,
              _of_all_rows, _border_of_first_row, _places_of_other_rows, _border_without_axis,
              _border_from_below, _ones_kept, _only_one, _top_k_probabilities,
              _filtered_probabilities, _k_unused, _ranks_confused, _places_as_rows,
              _border_behind_the_last, _first_scores_written],
    hints=(
        "logits.topk(k, dim=-1) gives the k best scores of each row, and the places where they "
        "stand. The result has V scores in each row, as before: most of them are -inf.",
        """
        1. the places of the k best tokens in each row, (..., k)
        2. a tensor like logits, full of -inf
        3. at those places, the scores from logits: scatter writes what gather reads
        """,
        """
        best = logits.topk(k, dim=-1).indices                 # (..., k)
        nothing = torch.full_like(logits, -math.inf)          # (..., V)
        return nothing.scatter(-1, best, ...)                 # the scores at those places
        """,
    ),
    properties=[Property("exactly k, even where scores are equal", _keeps_too_many)],
    batched={"logits": 1},
)


# --------------------------------------------------------------------------------------- top_p


def top_p(logits, p):
    """Keep the fewest best tokens that together have probability p or more; the others get -inf.

    logits (..., V) -> (..., V)
    """
    ordered, order = logits.sort(dim=-1, descending=True)                # (..., V)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities                # of all better tokens
    ordered = ordered.masked_fill(before >= p, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, ordered)


def _crossing_one_dropped(logits, p):
    """The token that reaches p is dropped, so what is left stays below p: rule a token out where
    the better ones alone have reached p already."""
    ordered, order = logits.sort(dim=-1, descending=True)
    sums = ordered.softmax(dim=-1).cumsum(dim=-1)
    return torch.empty_like(logits).scatter(-1, order, ordered.masked_fill(sums > p, -math.inf))


def _crossing_one_dropped_but_first(logits, p):
    """The token that reaches p is dropped, unless it is the best one: rule a token out where the
    better ones alone have reached p already."""
    ordered, order, sums = _sorted(logits)
    return _restored(ordered, order, (sums > p) & (torch.arange(logits.shape[-1]) > 0))


def _probabilities_unsorted(logits, p):
    """The scores are sorted, but the probabilities are not: take the softmax of the sorted
    ones."""
    ordered, order, _ = _sorted(logits)
    probabilities = logits.softmax(dim=-1)
    return _restored(ordered, order, probabilities.cumsum(dim=-1) - probabilities >= p)


def _order_as_ranks(logits, p):
    """A sort names the token at each rank, not the rank of each token: put the scores back with
    scatter, or sort the order once more, order.argsort(dim=-1), for the ranks."""
    _, order, sums = _sorted(logits)
    enough = (sums < p).sum(dim=-1, keepdim=True) + 1
    return logits.masked_fill(order >= enough, -math.inf)


def _p_softmax_twice(logits, p):
    """The softmax is applied twice, so all probabilities come close to each other: once is
    enough."""
    ordered, order, _ = _sorted(logits)
    probabilities = ordered.softmax(dim=-1).softmax(dim=-1)
    return _restored(ordered, order, probabilities.cumsum(dim=-1) - probabilities >= p)


def _one_sum_for_all_rows(logits, p):
    """You divide by the sum over all rows: each row has probabilities of its own, which add up to
    1, so it is softmax(dim=-1), or sum(dim=-1, keepdim=True)."""
    ordered, order, _ = _sorted(logits)
    probabilities = ordered.exp() / ordered.exp().sum()
    return _restored(ordered, order, probabilities.cumsum(dim=-1) - probabilities >= p)


def _written_into_all_rows(logits, p):
    """Square brackets with [..., order] write into all rows at once: scatter(-1, order, ...) goes
    row by row."""
    ordered, order, sums = _sorted(logits)
    kept = torch.full_like(logits, -math.inf)
    kept[..., order] = ordered.masked_fill(sums - ordered.softmax(dim=-1) >= p, -math.inf)
    return kept


def _p_one_too_many(logits, p):
    """One token too many is left: the one that reaches p is the last to keep."""
    ordered, order, sums = _sorted(logits)
    too_late = sums - ordered.softmax(dim=-1) >= p
    return _restored(ordered, order, too_late.roll(1, -1) & too_late)


def _in_the_order_of_ids(logits, p):
    """You add up the probabilities in the order of the vocabulary: sort the tokens first, the best
    ones in front."""
    probabilities = logits.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities
    return logits.masked_fill(before >= p, -math.inf)


def _in_the_order_of_ids_dropped(logits, p):
    """You add up the probabilities in the order of the vocabulary: sort the tokens first, the best
    ones in front. And the token that reaches p is to stay."""
    return logits.masked_fill(logits.softmax(dim=-1).cumsum(dim=-1) > p, -math.inf)


def _from_the_worst(logits, p):
    """You begin with the worst tokens: begin with the best, by a sort with descending=True."""
    return _top_p_of(-logits, logits, p)


def _p_not_put_back(logits, p):
    """The scores are sorted now, so they belong to other tokens than before: bring each back to
    its token's place, with scatter and the order."""
    ordered, _, sums = _sorted(logits)
    return ordered.masked_fill(sums - ordered.softmax(dim=-1) >= p, -math.inf)


def _mask_not_put_back(logits, p):
    """What is ruled out is counted in sorted order, but the scores are not sorted: bring the two
    into the same order, with scatter."""
    ordered, _, sums = _sorted(logits)
    return logits.masked_fill(sums - ordered.softmax(dim=-1) >= p, -math.inf)


def _mask_not_put_back_dropped(logits, p):
    """What is ruled out is counted in sorted order, but the scores are not sorted: bring the two
    into the same order, with scatter. And the token that reaches p is to stay."""
    return logits.masked_fill(_sorted(logits)[2] > p, -math.inf)


def _best_ruled_out_until_p(logits, p):
    """You rule tokens out until p is reached: these are the ones to keep, and the token that
    reaches p with them."""
    ordered, order, sums = _sorted(logits)
    return _restored(ordered, order, sums < p)


def _probabilities_cut(logits, p):
    """These are probabilities, with 0 for the tail: return scores, with -inf for the tail."""
    kept = keep_top_p(logits, p)
    return logits.softmax(dim=-1).masked_fill(kept == -math.inf, 0)


def _gathered_back(logits, p):
    """A gather with the same order sorts once more, it does not undo it: scatter brings each score
    back to its token's place."""
    ordered, order, sums = _sorted(logits)
    kept = ordered.masked_fill(sums - ordered.softmax(dim=-1) >= p, -math.inf)
    return kept.gather(-1, order)


def _picked_by_order(logits, p):
    """Square brackets with the order sort once more, and for all rows at once: scatter brings each
    score back to its token's place."""
    ordered, order, sums = _sorted(logits)
    kept = ordered.masked_fill(sums - ordered.softmax(dim=-1) >= p, -math.inf)
    return kept[..., order]


def _unsorted_put_back(logits, p):
    """You put the unsorted scores back to the places of the sorted ones: rule out among the sorted
    scores, and scatter these."""
    ordered, order, sums = _sorted(logits)
    return _restored(logits, order, sums - ordered.softmax(dim=-1) >= p)


def _each_above_p(logits, p):
    """You keep the tokens that have probability p by themselves: it is their sum that must reach
    p, the best ones first."""
    return logits.masked_fill(logits.softmax(dim=-1) < p, -math.inf)


def _relative_to_best(logits, p):
    """This is min-p, which compares each token with the best one: top-p adds up probabilities, the
    best ones first, until they reach p."""
    probabilities = logits.softmax(dim=-1)
    return logits.masked_fill(probabilities < p * probabilities.amax(-1, True), -math.inf)


def _scores_added_up(logits, p):
    """You add up scores: add up probabilities, after a softmax."""
    ordered, order, _ = _sorted(logits)
    return _restored(ordered, order, ordered.cumsum(dim=-1) - ordered >= p)


def _scores_added_up_dropped(logits, p):
    """You add up scores: add up probabilities, after a softmax. And the token that reaches p is to
    stay."""
    ordered, order, _ = _sorted(logits)
    return _restored(ordered, order, ordered.cumsum(dim=-1) > p)


def _rest_instead(logits, p):
    """You keep probability 1 - p: keep p, the fewest best tokens that reach it."""
    return _top_p_of(logits, logits, 1 - p)


def _nucleus_ruled_out(logits, p):
    """You rule out the best tokens and keep the rest: turn the condition around."""
    ordered, order, sums = _sorted(logits)
    return _restored(ordered, order, sums - ordered.softmax(dim=-1) < p)


def _p_zero_for_others(logits, p):
    """The others get the score 0, but softmax gives a score of 0 a share like any other: only -inf
    gets none."""
    kept = keep_top_p(logits, p)
    return kept.masked_fill(kept == -math.inf, 0)


def _top_p_probabilities(logits, p):
    """These are probabilities: return scores, for the softmax comes later, after all filters."""
    return keep_top_p(logits, p).softmax(dim=-1)


def _sorted_probabilities(logits, p):
    """You filter the probabilities: use them to decide, but return the scores."""
    kept = keep_top_p(logits, p)
    return logits.softmax(dim=-1).masked_fill(kept == -math.inf, -math.inf)


def _p_unused(logits, p):
    """Nothing was ruled out: all tokens but the best, whose probabilities reach p, must get -inf.
    masked_fill leaves a tensor as it is and returns a new one, so keep what it returns."""
    return logits.clone()


def _shifted_but_first(logits, p):
    """You shift the mask by one place, so that the token that reaches p stays, but the first place
    of the mask keeps its old value: the best token must always stay, remove[..., 0] = False."""
    ordered, order, sums = _sorted(logits)
    remove = sums > p
    return _restored(ordered, order, torch.cat([remove[..., :1], remove[..., :-1]], dim=-1))


def _one_count_for_all_rows(logits, p):
    """You count the tokens of all rows together: each row keeps a number of its own, so count with
    sum(dim=-1, keepdim=True)."""
    ordered, order, sums = _sorted(logits)
    return _restored(ordered, order, torch.arange(logits.shape[-1]) > (sums < p).sum())


def _p_only_best(logits, p):
    """Only the best token is left: keep as many as it takes to reach p."""
    return keep_top_k(logits, 1)


def _always_two(logits, p):
    """You always keep two tokens: where the best one reaches p by itself, it is enough."""
    ordered, order, sums = _sorted(logits)
    ruled_out = sums - ordered.softmax(dim=-1) >= p
    return _restored(ordered, order, ruled_out & (torch.arange(logits.shape[-1]) > 1))


def _sorted(logits):
    ordered, order = logits.sort(dim=-1, descending=True)
    return ordered, order, ordered.softmax(dim=-1).cumsum(dim=-1)


def _restored(ordered, order, ruled_out):
    kept = ordered.masked_fill(ruled_out, -math.inf)
    return torch.empty_like(ordered).scatter(-1, order, kept)


def _top_p_of(rank, logits, p):
    """Top-p where the largest `rank` comes first."""
    order = rank.argsort(dim=-1, descending=True)
    probabilities = logits.softmax(dim=-1).gather(-1, order)
    before = probabilities.cumsum(dim=-1) - probabilities
    return _restored(logits.gather(-1, order), order, before >= p)


def _scores_and_p(generator):
    """Rows of several lengths, p from little to nearly 1, and one position."""
    for shape, p in (((6,), 0.8), ((3, 5), 0.6), ((2, 3, 7), 0.9), ((4, 8), 0.05), ((2, 4), 0.999),
                     ((2, 1, 9), 0.7)):
        yield 1.5 * normal(generator, *shape), p


def _misses_the_exact_sum(answer):
    if not answer(torch.tensor([[1.0, 0.0, 0.5, -0.25]]), 1.0).isfinite().all():
        return "with p = 1, some tokens are ruled out, but only all of them together reach 1."
    kept = answer(torch.zeros(2, 4), 0.5).isfinite().sum(dim=-1).tolist()
    if kept == [2, 2]:
        return None
    if max(kept) > 3:
        return ("of four tokens with equal scores, top_p with p = 0.5 keeps all: those that share "
                "the last score stay, too, so rule tokens out by their places, not by scores.")
    return (f"of four tokens with equal scores, top_p with p = 0.5 keeps {max(kept)}: two have "
            "probability 0.5 already, so rule out where the better ones have p or more, with >=.")


TOP_P = Exercise(
    "07.top_p",
    goal="Forbid the tail, however long it is.",
    solution=top_p,
    reference=keep_top_p,
    returns=ScoresAnswer("scores", ("V",), leading=True),
    cases=lambda generator: list(_scores_and_p(generator)),
    mistakes=[_crossing_one_dropped, _crossing_one_dropped_but_first, _p_one_too_many,
              _in_the_order_of_ids, _in_the_order_of_ids_dropped, _from_the_worst, _p_not_put_back,
              _mask_not_put_back, _mask_not_put_back_dropped, _best_ruled_out_until_p,
              _probabilities_cut, _gathered_back, _order_as_ranks, _each_above_p, _relative_to_best,
              _scores_added_up, _scores_added_up_dropped, _rest_instead, _nucleus_ruled_out,
              _p_zero_for_others, _top_p_probabilities, _sorted_probabilities, _p_unused,
              _p_only_best, _always_two, _probabilities_unsorted, _p_softmax_twice,
              _one_sum_for_all_rows, _written_into_all_rows, _shifted_but_first,
              _one_count_for_all_rows, _picked_by_order, _unsorted_put_back],
    hints=(
        "Sort the tokens, the best in front, and add their probabilities up from the left. A "
        "token is not needed any more if the better ones have reached p without it.",
        """
        1. sort the scores in descending order, and keep their places
        2. softmax: their probabilities
        3. for each, the sum of all before it: cumsum, less its own
        4. -inf where that sum is p or more
        5. back to the places of the tokens: scatter with the order from 1
        """,
        """
        ordered, order = logits.sort(dim=-1, descending=True)
        probabilities = ordered.softmax(dim=-1)
        before = ...                                          # of all better tokens
        ordered = ordered.masked_fill(before >= p, -math.inf)
        return torch.empty_like(logits).scatter(-1, order, ordered)
        """,
    ),
    properties=[Property("the fewest, also where they reach p exactly", _misses_the_exact_sum)],
    batched={"logits": 1},
)


# -------------------------------------------------------------------------------- extend_cache


def extend_cache(cache, keys, values):
    """Append the keys and values of new tokens (B, H, T, D) to those of earlier ones.

    cache is None, or a pair of keys and values (B, H, S, D) -> a new pair, (B, H, S + T, D) each
    """
    if cache is None:
        return keys, values
    old_keys, old_values = cache
    return torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)


def _new_ones_first(cache, keys, values):
    """The new tokens stand before the old ones: append them at the end."""
    if cache is None:
        return keys, values
    return torch.cat([keys, cache[0]], dim=2), torch.cat([values, cache[1]], dim=2)


def _old_ones_lost(cache, keys, values):
    """The earlier tokens are lost: return theirs, too, with the new ones after them."""
    return keys, values


def _new_ones_lost(cache, keys, values):
    """The new tokens are missing: append them to those in the cache."""
    return cache if cache is not None else (keys, values)


def _keys_only(cache, keys, values):
    """Only the keys have grown: the values of earlier tokens are needed, too."""
    return _joined(cache, keys, values)[0], values


def _values_only(cache, keys, values):
    """Only the values have grown: the keys of earlier tokens are needed, too."""
    return keys, _joined(cache, keys, values)[1]


def _pair_swapped(cache, keys, values):
    """Keys and values are swapped: return the keys first."""
    return _joined(cache, keys, values)[::-1]


def _cache_swapped(cache, keys, values):
    """New keys are appended to old values, and the other way round: a cache holds the keys
    first."""
    return _joined(None if cache is None else cache[::-1], keys, values)


def _keys_twice(cache, keys, values):
    """You return the keys twice: the second of the pair are the values."""
    return (_joined(cache, keys, values)[0],) * 2


def _along_heads(cache, keys, values):
    """You append along the heads: tokens are counted along the third axis, dim=2."""
    return _joined(cache, keys, values, dim=1)


def _along_width(cache, keys, values):
    """You append along the width of the vectors: tokens are counted along the third axis, dim=2,
    or -2."""
    return _joined(cache, keys, values, dim=3)


def _along_batch(cache, keys, values):
    """You append along the batch: tokens are counted along the third axis, dim=2."""
    return _joined(cache, keys, values, dim=0)


def _added(cache, keys, values):
    """You add the new numbers to the old ones: append them, with torch.cat."""
    return (keys, values) if cache is None else (cache[0] + keys, cache[1] + values)


def _last_new_one(cache, keys, values):
    """Only the last of the new tokens is kept: a prompt brings many at once, and all are
    needed."""
    return _joined(cache, keys[:, :, -1:], values[:, :, -1:])


def _first_new_one(cache, keys, values):
    """Only the first of the new tokens is appended: a prompt brings many at once, and all are
    needed."""
    if cache is None:
        return keys, values
    return _joined(cache, keys[:, :, :1], values[:, :, :1])


def _zeros_in_front(cache, keys, values):
    """With no cache yet you put zeros in front, and attention takes them for tokens: where the
    cache is None, the new keys and values are all there is."""
    return _joined(cache or (torch.zeros_like(keys), torch.zeros_like(values)), keys, values)


def _pairs_in_a_row(cache, keys, values):
    """You make a row of four tensors of the two pairs: join the old keys and the new ones with
    torch.cat, and the values likewise."""
    return (keys, values) if cache is None else (*cache, keys, values)


def _pair_of_pairs(cache, keys, values):
    """You put the old pair and the new one side by side: join the old keys and the new ones into
    one tensor, with torch.cat, and the values likewise."""
    return (keys, values) if cache is None else (cache, (keys, values))


def _oldest_dropped(cache, keys, values):
    """The cache keeps its length and loses its oldest tokens: it must grow."""
    if cache is None:
        return keys, values
    pairs = _joined(cache, keys, values)
    return tuple(x[:, :, -old.shape[2] :] for x, old in zip(pairs, cache, strict=True))


def _newest_replaced(cache, keys, values):
    """The new tokens take the place of the last ones in the cache: append them after those."""
    if cache is None:
        return keys, values
    rest = tuple(old[:, :, : max(0, old.shape[2] - keys.shape[2])] for old in cache)
    return _joined(rest, keys, values)


def _appended_twice(cache, keys, values):
    """The new tokens are appended twice: once is enough."""
    return _joined(_joined(cache, keys, values), keys, values)


def _stacked(cache, keys, values):
    """You put keys and values into one tensor: return them as a pair."""
    return torch.stack(_joined(cache, keys, values))


def _tokens_stacked(cache, keys, values):
    """You stack, which makes a new axis: cat joins tensors along one that is there, dim=2."""
    if cache is None:
        return keys, values
    return torch.stack([cache[0], keys], dim=2), torch.stack([cache[1], values], dim=2)


def _keys_as_values(cache, keys, values):
    """You append the keys to the old values: the second cat needs the new values."""
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], keys], dim=2)


def _old_keys_in_both(cache, keys, values):
    """You append the values to the old keys: the second cat begins with the old values."""
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys], dim=2), torch.cat([cache[0], values], dim=2)


def _begins_with_itself(cache, keys, values):
    """Where the cache is None, you take the new tokens for old ones and append them to themselves:
    return them as they are."""
    return _joined((keys, values) if cache is None else cache, keys, values)


def _values_stay_old(cache, keys, values):
    """You return the old values as they are: the new ones must be appended, as with the keys."""
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys], dim=2), cache[1]


def _keys_stay_old(cache, keys, values):
    """You return the old keys as they are: the new ones must be appended, as with the values."""
    if cache is None:
        return keys, values
    return cache[0], torch.cat([cache[1], values], dim=2)


def _heads_flattened(cache, keys, values):
    """You flatten heads and tokens into one axis, so new tokens land in other heads: join along
    the axis of the tokens, dim=2, as it is."""
    if cache is None:
        return keys, values
    shapes = [(*new.shape[:2], -1, new.shape[3]) for new in (keys, values)]
    return tuple(torch.cat([old.flatten(1, 2), new.flatten(1, 2)], dim=1).reshape(shape)
                 for old, new, shape in zip(cache, (keys, values), shapes, strict=True))


def _asked_to_extend(cache, keys, values):
    """Here the cache is no object with methods, but a pair of tensors: join them with
    torch.cat."""
    cache.extend(keys, values)
    return cache


def _pair_appended(cache, keys, values):
    """A pair cannot grow, and a list of pairs is not asked for: join the old keys and the new ones
    with torch.cat, and the values likewise."""
    cache.append((keys, values))
    return cache


def _nothing_at_first(cache, keys, values):
    """Where the cache is None, nothing comes back: the new keys and values are all there is then,
    so return these."""
    return None if cache is None else _joined(cache, keys, values)


def _no_first_time(cache, keys, values):
    """At first there is no cache: where it is None, the new keys and values are all there is."""
    old_keys, old_values = cache
    return torch.cat([old_keys, keys], dim=2), torch.cat([old_values, values], dim=2)


def _none_indexed(cache, keys, values):
    """At first there is no cache, and None has no parts: then the new keys and values are all
    there is."""
    return torch.cat([cache[0], keys], dim=2), torch.cat([cache[1], values], dim=2)


def _joined(cache, keys, values, dim=2):
    if cache is None:
        return keys, values
    return torch.cat([cache[0], keys], dim=dim), torch.cat([cache[1], values], dim=dim)


def _library_extend_cache(cache, keys, values):
    """The library's KVCache, which sets room aside for the whole context at once."""
    room = KVCache(keys.shape[2] + (0 if cache is None else cache[0].shape[2]))
    if cache is not None:
        room.extend(*cache)
    return room.extend(keys, values)


class _CacheAnswer(SeveralAnswers):
    """A pair of tensors; what was put together in another way is recognized, too."""

    def alike(self, answer: Any, other: Any) -> bool:
        return super().alike(answer, other) or _same_tree(answer, other)

    def trace(self, trials: list[Trial]) -> str | None:
        """Whether only the earlier tokens are wrong, or only the new ones."""
        if any(self.malformed(trial.answer, trial.expected) for trial in trials):
            return None
        right = []                                           # of each part: earlier ones, new ones
        for trial in trials:
            cache = trial.arguments["cache"]
            S = 0 if cache is None else cache[0].shape[2]
            for pair in zip(trial.answer, trial.expected, strict=True):
                halves = [[x[:, :, :S] for x in pair], [x[:, :, S:] for x in pair]]
                right.append([torch.allclose(*half) for half in halves])
        if all(earlier for earlier, _ in right):
            return "The earlier tokens are right, but the new ones must stay as they came in."
        if all(new for _, new in right):
            return "The new tokens are right, but the earlier ones must stay as they were."
        return None


def _same_tree(one: Any, other: Any) -> bool:
    if isinstance(one, Tensor) and isinstance(other, Tensor):
        return torch.equal(one, other)
    rows = all(isinstance(x, (tuple, list)) for x in (one, other))
    return rows and len(one) == len(other) and all(map(_same_tree, one, other))


def _to_cache(generator):
    """One token after several; several after several; the first ones; one after one; as many new
    ones as old ones."""
    for B, H, S, T, D in ((2, 3, 5, 1, 4), (1, 2, 3, 4, 5), (3, 2, 0, 6, 4), (2, 4, 1, 1, 3),
                          (1, 3, 2, 2, 6)):
        old = [normal(generator, B, H, S, D) for _ in range(2)]
        new = [normal(generator, B, H, T, D) for _ in range(2)]
        yield tuple(old) if S else None, *new


EXTEND_CACHE = Exercise(
    "07.extend_cache",
    goal="Keep what never changes: the keys and values of all tokens so far.",
    solution=extend_cache,
    reference=_library_extend_cache,
    returns=_CacheAnswer((TensorAnswer("keys", ("B", "H", "S + T", "D")),
                          TensorAnswer("values", ("B", "H", "S + T", "D")))),
    cases=lambda generator: list(_to_cache(generator)),
    mistakes=[_new_ones_first, _old_ones_lost, _new_ones_lost, _keys_only, _values_only,
              _pair_swapped, _cache_swapped, _keys_twice, _along_heads, _along_width, _along_batch,
              _added, _last_new_one, _oldest_dropped, _newest_replaced, _appended_twice, _stacked,
              _tokens_stacked, _asked_to_extend, _no_first_time, _none_indexed, _keys_as_values,
              _old_keys_in_both, _begins_with_itself, _values_stay_old, _keys_stay_old,
              _heads_flattened, _first_new_one, _zeros_in_front, _pairs_in_a_row, _pair_of_pairs,
              _pair_appended, _nothing_at_first],
    hints=(
        "torch.cat joins tensors along one axis. In (B, H, T, D), which axis "
        "counts the tokens? And what is there to append to when the cache is still None?",
        """
        1. with no cache yet, the new keys and values are all there is
        2. otherwise: the old keys, then the new ones, along the axis of the tokens
        3. the values likewise
        """,
        """
        if cache is None:
            return keys, values
        old_keys, old_values = cache
        return torch.cat([old_keys, keys], dim=2), ...        # the values likewise
        """,
    ),
    batched={"keys": 3, "values": 3},
)

EXERCISES = (APPLY_TEMPERATURE, TOP_K, TOP_P, EXTEND_CACHE)
