"""Exercises of chapter 3. Below each solution stand the mistakes that are known, with what a
learner is told about them; then the trials, then the exercise with its hints."""

from __future__ import annotations

import math
from itertools import product

import torch

from gptcourse.exercises.answers import TensorAnswer
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.properties import gradient_reaches, normal
from gptcourse.exercises.trial import Raised, attempt
from gptlib.attention import attention as library_attention
from gptlib.attention import attention_weights as library_attention_weights
from gptlib.attention import causal_mask as library_causal_mask
from gptlib.attention import split_heads as library_split_heads

# --------------------------------------------------------------------------------- causal_mask


def causal_mask(n_tokens):
    """True where a query (row) may look at a key (column).  -> (T, T) bool"""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril()


def _upside_down(n_tokens):
    """Your triangle is upside down: it shows the future and hides the past; .tril() keeps the
    lower one."""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).triu()


def _without_itself(n_tokens):
    """The diagonal is missing: a token may look at itself, too, and the first one has nobody
    else."""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril(-1)


def _marks_the_forbidden(n_tokens):
    """Yours is True where looking is forbidden; here True means that it is allowed, so turn it
    around with ~."""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).triu(1)


def _no_triangle(n_tokens):
    """Everything is allowed: keep only the lower triangle, the past."""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool)


def _one_ahead(n_tokens):
    """The triangle reaches one token too far: every token sees its successor, the very token it
    has to predict."""
    return torch.ones(n_tokens, n_tokens, dtype=torch.bool).tril(1)


def _only_itself(n_tokens):
    """Only the diagonal is allowed: a token would never see another one."""
    return torch.eye(n_tokens, dtype=torch.bool)


def _ones_and_zeros(n_tokens):
    """The triangle is the right one, but made of the numbers 1 and 0: dtype=torch.bool makes it
    True and False."""
    return torch.ones(n_tokens, n_tokens).tril()


def _nothing_allowed(n_tokens):
    """Nobody may look at anything: begin with ones instead of zeros, or turn your comparison
    around."""
    return torch.zeros(n_tokens, n_tokens, dtype=torch.bool)


def _only_the_neighbor(n_tokens):
    """Each token sees itself and the one before it only: all that came before is allowed."""
    return _no_triangle(n_tokens).tril().triu(-1)


def _to_be_added(n_tokens):
    """This is 0 and minus infinity, to be added to scores; here True and False are asked for."""
    return torch.zeros(n_tokens, n_tokens).masked_fill(_marks_the_forbidden(n_tokens), -math.inf)


def _mask_in_words(index, got, expected):
    query, key = index
    if got:
        return (f"mask[{query}, {key}] is True, but token {query} must not look at token {key}, "
                "which comes after it.")
    itself = "itself" if query == key else f"token {key}, which came before it"
    return f"mask[{query}, {key}] is False, but token {query} may look at {itself}."


def _past_and_future(answer, n_tokens):
    """Whether it is the past or the future that the mask gets wrong."""
    allowed, right = answer(n_tokens), causal_mask(n_tokens)
    if allowed.dtype != torch.bool or allowed.shape != right.shape:
        return None
    future, hidden = (allowed & ~right).any(), (right & ~allowed).any()
    if future and hidden:
        return "A part of the future is allowed, and a part of the past is hidden."
    if future:
        return "All of the past is allowed, but a part of the future is, too."
    width = int(allowed[-1].sum())
    if hidden and torch.equal(allowed, right.triu(1 - width)):
        return f"Each token sees the last {width} only: all that came before is allowed."
    if hidden:
        return "None of the future is allowed, but a part of the past is hidden, too."
    return None


def _first_row_only(n_tokens):
    """Only the first row is filled in: let no `return` stand within the loop."""
    mask = torch.zeros(n_tokens, n_tokens, dtype=torch.bool)
    mask[0, 0] = True
    return mask


def _one_row(n_tokens):
    """This is a single row: each token needs a row of its own, with a place for every token."""
    return torch.ones(n_tokens, dtype=torch.bool)


CAUSAL_MASK = Exercise(
    "03.causal_mask",
    goal="Say which tokens each token may look at: itself and those before it.",
    solution=causal_mask,
    reference=library_causal_mask,
    returns=TensorAnswer("mask", ("T", "T"), dtype="bool", words=_mask_in_words),
    cases=lambda generator: [(4,), (7,), (1,), (2,), (16,)],
    mistakes=[_upside_down, _without_itself, _marks_the_forbidden, _no_triangle, _one_ahead,
              _only_itself, _ones_and_zeros, _nothing_allowed, _only_the_neighbor, _to_be_added,
              _first_row_only, _one_row],
    symptoms=[_past_and_future],
    hints=(
        "Draw the table for three tokens on paper. Row 0 may look at column 0 only, row 2 at all "
        "three columns. What shape do the marks have?",
        """
        1. Make a square table of n_tokens rows and columns in which everything is True.
        2. Keep its lower triangle, with the diagonal; the rest becomes False.
        """,
        """
        everything = torch.ones(n_tokens, n_tokens, dtype=torch.bool)
        return ...                            # the lower triangle: a method of four letters
        """,
    ),
)


# --------------------------------------------------------------------------- attention_weights


def attention_weights(queries, keys, mask):
    """How much each query takes from each key; every row sums to 1.

    queries (..., T, D), keys (..., S, D), mask (T, S) bool -> (..., T, S)
    """
    scores = queries @ keys.transpose(-2, -1)             # (..., T, S)
    scores = scores / math.sqrt(queries.shape[-1])
    scores = scores.masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-1)


def _no_mask(queries, keys, mask):
    """The mask is not used: every query looks at every key, those of later tokens included."""
    return (queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])).softmax(dim=-1)


def _mask_too_late(queries, keys, mask):
    """The mask comes after the softmax, so the rows no longer sum to 1, and the future still
    counts in the sum that softmax divided by: set the scores to minus infinity before it."""
    return _no_mask(queries, keys, mask) * mask


def _no_scale(queries, keys, mask):
    """The scores are not divided by the square root of D, the width of a query."""
    return _softmax_of(queries @ keys.transpose(-2, -1), mask)


def _divided_by_width(queries, keys, mask):
    """The scores are divided by D itself; it must be its square root."""
    return _softmax_of(queries @ keys.transpose(-2, -1) / queries.shape[-1], mask)


def _multiplied_by_root(queries, keys, mask):
    """The scores are multiplied by the square root of D; they must be divided by it."""
    return _softmax_of(queries @ keys.transpose(-2, -1) * math.sqrt(queries.shape[-1]), mask)


def _divided_by_tokens(queries, keys, mask):
    """The scores are divided by the square root of the number of keys; it must be that of D, the
    last axis of the queries."""
    return _softmax_of(queries @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-2]), mask)


def _divided_by_queries(queries, keys, mask):
    """The scores are divided by the square root of the number of queries; it must be that of D,
    the last axis of the queries."""
    return _softmax_of(queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-2]), mask)


def _divided_by_half_the_width(queries, keys, mask):
    """The scores are divided by half of D, which D ** 1/2 is: the root is D ** 0.5, or
    math.sqrt(D)."""
    return _softmax_of(queries @ keys.transpose(-2, -1) / (queries.shape[-1] / 2), mask)


def _divided_by_width_and_two(queries, keys, mask):
    """The scores are divided by D and by 2, as / D ** 1/2 does: the root is D ** 0.5, or
    math.sqrt(D)."""
    return _softmax_of(queries @ keys.transpose(-2, -1) / queries.shape[-1] / 2, mask)


def _divided_by_axis_one(queries, keys, mask):
    """The scores are divided by the square root of shape[1], which is D only where there are two
    axes: shape[-1] is D always."""
    return _softmax_of(queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[1]), mask)


def _divided_after_softmax(queries, keys, mask):
    """The weights are divided by the square root of D, so they no longer sum to 1: divide the
    scores, before the softmax."""
    return _softmax_of(queries @ keys.transpose(-2, -1), mask) / math.sqrt(queries.shape[-1])


def _softmax_over_queries(queries, keys, mask):
    """The softmax runs over the queries, so columns sum to 1 instead of rows: use dim=-1."""
    scores = _scaled_scores(queries, keys).masked_fill(~mask, -math.inf)
    return scores.softmax(dim=-2)


def _no_softmax(queries, keys, mask):
    """These are still scores: the softmax, which makes shares of them, is missing."""
    return _scaled_scores(queries, keys).masked_fill(~mask, -math.inf)


def _scores_without_mask(queries, keys, mask):
    """These are still scores: both the mask and the softmax are missing."""
    return _scaled_scores(queries, keys)


def _mask_turned_around(queries, keys, mask):
    """The mask is used the wrong way around: True means that a query may look, so minus infinity
    goes where it is False, which is ~mask."""
    return _softmax_of(_scaled_scores(queries, keys), ~mask)


def _zero_before_softmax(queries, keys, mask):
    """Forbidden scores are set to 0, but softmax gives a score of 0 a share like any other: only
    minus infinity gets none."""
    return _scaled_scores(queries, keys).masked_fill(~mask, 0).softmax(dim=-1)


def _minus_one_before_softmax(queries, keys, mask):
    """Forbidden scores are set to a small number, but softmax gives every number a share: only
    minus infinity, -math.inf, gets none."""
    return _scaled_scores(queries, keys).masked_fill(~mask, -1).softmax(dim=-1)


def _no_scale_no_mask(queries, keys, mask):
    """Two things are missing: the division by the square root of D, and the mask."""
    return (queries @ keys.transpose(-2, -1)).softmax(dim=-1)


def _no_scale_mask_too_late(queries, keys, mask):
    """Two things: the division by the square root of D is missing, and the mask comes after the
    softmax instead of before it."""
    return _no_scale_no_mask(queries, keys, mask) * mask


def _divided_by_the_sum(queries, keys, mask):
    """The scores are divided by their sum, which may be negative or 0: softmax takes e to the
    power of each score first."""
    scores = _scaled_scores(queries, keys) * mask
    return scores / scores.sum(dim=-1, keepdim=True)


def _zero_times_infinity(queries, keys, mask):
    """Every number is NaN: either infinity is multiplied by 0, or all scores of a row are minus
    infinity; masked_fill(~mask, -math.inf) does neither."""
    return (_scaled_scores(queries, keys) + ~mask * -math.inf).softmax(dim=-1)


def _roles_swapped(queries, keys, mask):
    """Queries and keys are swapped: rows must stand for queries and columns for keys, which is
    queries @ keys.transpose(-2, -1)."""
    return attention_weights(keys, queries, mask)


def _own_triangle(queries, keys, mask):
    """You build a mask of your own; use the one that is given, which may be another one."""
    return attention_weights(queries, keys, torch.ones_like(mask).tril())


def _scaled_scores(queries, keys):
    return queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])


def _softmax_of(scores, mask):
    return scores.masked_fill(~mask, -math.inf).softmax(dim=-1)


def _queries_and_keys(generator):
    """As many queries as keys; more keys; more axes; another mask than the causal one; T = 1."""
    patchy = torch.rand(6, 6, generator=generator) < 0.5
    for leading, T, S, D, mask in (
        ((), 4, 4, 3, library_causal_mask(4)),
        ((), 4, 6, 5, library_causal_mask(4, 6)),
        ((2, 3), 5, 8, 7, library_causal_mask(5, 8)),
        ((2,), 6, 6, 9, patchy | torch.eye(6, dtype=torch.bool)),
        ((3, 2), 1, 1, 4, library_causal_mask(1)),
    ):
        yield 2 * normal(generator, *leading, T, D), normal(generator, *leading, S, D), mask


def _square_inputs(generator):
    return normal(generator, 2, 5, 3), normal(generator, 2, 5, 3), library_causal_mask(5)


def _rows_sum_to_one(answer):
    weights = answer(*_square_inputs(torch.Generator().manual_seed(3)))
    if torch.allclose(weights.sum(dim=-1).double(), torch.ones(2, 5).double(), atol=1e-4):
        return None
    return "the rows do not sum to 1: the softmax must be the last step."


def _weights_look_ahead(answer):
    queries, keys, mask = _square_inputs(torch.Generator().manual_seed(4))
    changed = keys.clone()
    changed[:, -1] += 3
    before, after = answer(queries, keys, mask), answer(queries, changed, mask)
    if torch.allclose(before[:, :-1], after[:, :-1], atol=1e-5):
        return None
    return "a change of the last key changes the weights of earlier queries, which must not see it."


def _not_shared_out(queries, keys, mask):
    """You take e to the power of the scores, but do not divide by the sum of the row: softmax does
    both."""
    return _masked(queries, keys, mask).exp()


def _sum_without_its_axis(queries, keys, mask):
    """The sum of each row has lost its axis, so it divides columns: keep it, keepdim=True, or take
    softmax."""
    shares = _masked(queries, keys, mask).exp()
    return shares / shares.sum(dim=-1)


def _sigmoid(queries, keys, mask):
    """You use a sigmoid, which looks at each score by itself: softmax makes shares of a row."""
    return _masked(queries, keys, mask).sigmoid()


def _queries_with_queries(queries, keys, mask):
    """You compare the queries with themselves: compare them with the keys."""
    return _softmax_of(queries @ queries.transpose(-2, -1) / math.sqrt(queries.shape[-1]), mask)


def _keys_with_keys(queries, keys, mask):
    """You compare the keys with themselves: compare the queries with them."""
    return _softmax_of(keys @ keys.transpose(-2, -1) / math.sqrt(keys.shape[-1]), mask)


def _cosines(queries, keys, mask):
    """You bring queries and keys to length 1 first: their lengths count, too, so it is the plain
    product, divided by the square root of D."""
    queries, keys = (x / x.norm(dim=-1, keepdim=True) for x in (queries, keys))
    return _softmax_of(queries @ keys.transpose(-2, -1), mask)


def _all_axes_turned(queries, keys, mask):
    """With .T you turn all axes around, those of the batch, too: keys.transpose(-2, -1) swaps only
    the last two."""
    return _softmax_of(queries @ keys.T / math.sqrt(queries.shape[-1]), mask)


def _scores_without_a_table(queries, keys, mask):
    """The mask does not fit your scores: they need a row for each query and a column for each key,
    queries @ keys.transpose(-2, -1)."""
    return _softmax_of(queries * keys, mask)


def _keys_as_they_stand(queries, keys, mask):
    """The keys are not transposed: to meet every query, they stand in columns,
    keys.transpose(-2, -1)."""
    return _softmax_of(queries @ keys, mask)


def _first_axes_swapped(queries, keys, mask):
    """With transpose(0, 1) you swap the first two axes, which are the last two of a matrix only:
    count from the end, keys.transpose(-2, -1)."""
    return _softmax_of(queries @ keys.transpose(0, 1) / math.sqrt(queries.shape[-1]), mask)


def _softmax_over_all(queries, keys, mask):
    """The softmax runs over the whole table, so that all rows together sum to 1: each row is to
    sum to 1 by itself, dim=-1."""
    scores = _masked(queries, keys, mask)
    return scores.flatten(-2).softmax(dim=-1).reshape(scores.shape)


def _softmax_of_axis_one(queries, keys, mask):
    """The softmax runs along axis 1, as it also may where no dim is given: with a batch in front
    that is not the axis of the keys, and dim=-1 always is."""
    return _masked(queries, keys, mask).softmax(dim=1)


def _plus_infinity(queries, keys, mask):
    """Forbidden scores are set to plus infinity: it is minus infinity that gets no share."""
    return _scaled_scores(queries, keys).masked_fill(~mask, math.inf).softmax(dim=-1)


def _mask_added(queries, keys, mask):
    """The mask is added to the scores as 1 and 0, which only makes some a little larger: only
    minus infinity takes a score out."""
    return (_scaled_scores(queries, keys) + mask.float()).softmax(dim=-1)


def _shares_in_words(answer, *_trial):
    """What the weights are made of, for scores that differ little."""
    generator = torch.Generator().manual_seed(6)
    queries, keys = normal(generator, 4, 6), normal(generator, 4, 6)
    mask = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 1]], dtype=torch.bool)
    weights = answer(queries, keys, mask).double()
    if weights.shape != mask.shape:
        return None
    if (weights == -math.inf).any():
        return "Some weights are minus infinity, so these are scores: softmax must come last."
    if not weights.isfinite().all():
        return None
    if (weights < 0).any():
        return ("Some weights are negative, which shares never are: softmax must be the last step, "
                "and not log_softmax.")
    if (weights[mask] == 0).all() and weights.any():
        return ATTENTION_WEIGHTS.diagnosis(_mask_turned_around)
    if (weights[~mask] != 0).any():
        return ("A key that the mask hides gets a share: set its score to minus infinity, before "
                "the softmax.")
    if not torch.allclose(weights.sum(dim=-1), torch.ones(4).double(), atol=1e-4):
        return "The rows do not sum to 1, as a softmax along the keys, dim=-1, would make them."
    if (weights[mask] <= 0).any():
        return "A key that may be seen gets no share, or one below 0: softmax gives each its share."
    scores = queries @ keys.T
    shares, products = (_differences(x, mask) for x in (weights.log(), scores.double()))
    factor = (shares * products).sum() / products.square().sum()
    if not torch.allclose(shares, factor * products, atol=1e-3):
        return ("The shares do not come from the dot products of queries and keys alone, all "
                "divided by the same number.")
    if abs(factor) < 1e-4:
        return "All keys get the same share: the scores must come from queries and keys."
    if abs(factor - 6**-0.5) > 1e-4:
        return (f"With D = 6, your scores are divided by {1 / factor:.4g}: it must be the square "
                "root of D, 2.449.")
    return None


def _differences(x, mask):
    """By how much each number that the mask leaves exceeds the mean of those of its row."""
    mean = (x.where(mask, 0)).sum(dim=-1, keepdim=True) / mask.sum(dim=-1, keepdim=True)
    return (x - mean)[mask]


def _masked(queries, keys, mask):
    scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
    return scores.masked_fill(~mask, -math.inf)


ATTENTION_WEIGHTS = Exercise(
    "03.attention_weights",
    goal="Compare every query with every key, and turn the scores into shares.",
    solution=attention_weights,
    reference=library_attention_weights,
    returns=TensorAnswer("weights", ("T", "S"), leading=True),
    cases=lambda generator: list(_queries_and_keys(generator)),
    mistakes=[_no_mask, _mask_too_late, _no_scale, _divided_by_width, _multiplied_by_root,
              _divided_by_tokens, _divided_by_queries, _divided_by_half_the_width,
              _divided_by_width_and_two, _scores_without_a_table, _divided_after_softmax,
              _softmax_over_queries, _no_softmax, _scores_without_mask, _mask_turned_around,
              _zero_before_softmax, _minus_one_before_softmax, _no_scale_no_mask,
              _no_scale_mask_too_late, _divided_by_the_sum, _zero_times_infinity, _roles_swapped,
              _own_triangle, _not_shared_out, _sum_without_its_axis, _divided_by_axis_one, _sigmoid,
              _queries_with_queries, _keys_with_keys, _cosines, _all_axes_turned,
              _keys_as_they_stand, _first_axes_swapped, _softmax_over_all, _softmax_of_axis_one,
              _plus_infinity, _mask_added],
    symptoms=[_shares_in_words],
    hints=(
        "Four steps: compare, scale, mask, share out. A dot product compares; which matrix "
        "product takes all dot products of queries and keys at once?",
        """
        1. scores: queries times keys, the last two axes of the keys transposed
        2. divide by the square root of the width of a query
        3. where the mask is False, the score becomes minus infinity
        4. softmax along the last axis
        """,
        """
        scores = queries @ keys.transpose(-2, -1)
        scores = scores / math.sqrt(queries.shape[-1])
        scores = ...                          # masked_fill, where the mask is not True
        return scores.softmax(dim=-1)
        """,
    ),
    properties=[
        Property("rows sum to 1", _rows_sum_to_one),
        Property("no look-ahead", _weights_look_ahead),
        gradient_reaches(("queries", "keys"), _square_inputs, attention_weights),
    ],
    batched={"queries": 2, "keys": 2},
)


# ----------------------------------------------------------------------------------- attention


def attention(queries, keys, values, mask):
    """The values, averaged with the attention weights.

    queries (..., T, D), keys (..., S, D), values (..., S, D), mask (T, S) bool -> (..., T, D)
    """
    return attention_weights(queries, keys, mask) @ values


def _returns_the_weights(queries, keys, values, mask):
    """These are the weights: the values, which are to be averaged with them, are missing."""
    return attention_weights(queries, keys, mask)


def _weights_transposed(queries, keys, values, mask):
    """The weights are transposed: row t of the weights belongs to query t, so it is
    weights @ values as they stand."""
    return attention_weights(queries, keys, mask).transpose(-2, -1) @ values


def _averages_the_keys(queries, keys, values, mask):
    """You average the keys: keys only decide how much is taken, and what is taken are the
    values."""
    return attention_weights(queries, keys, mask) @ keys


def _averages_the_queries(queries, keys, values, mask):
    """You average the queries: queries only ask, and what is taken are the values."""
    return attention_weights(queries, keys, mask) @ queries


def _values_as_keys(queries, keys, values, mask):
    """The queries are compared with the values: they must be compared with the keys."""
    return attention_weights(queries, values, mask) @ values


def _attention_without_mask(queries, keys, values, mask):
    """The mask is not used: every token gathers from later ones, too."""
    return _no_mask(queries, keys, mask) @ values


def _attention_mask_too_late(queries, keys, values, mask):
    """The mask comes after the softmax, so the shares of a row no longer sum to 1: set the scores
    to minus infinity before it."""
    return _mask_too_late(queries, keys, mask) @ values


def _attention_without_scale(queries, keys, values, mask):
    """The scores are not divided by the square root of D, the width of a query."""
    return _no_scale(queries, keys, mask) @ values


def _attention_without_softmax(queries, keys, values, mask):
    """The softmax is missing: the values are added up with raw scores instead of shares."""
    return _scaled_scores(queries, keys).masked_fill(~mask, 0) @ values


def _attention_over_queries(queries, keys, values, mask):
    """The softmax runs over the queries instead of the keys: use dim=-1."""
    return _softmax_over_queries(queries, keys, mask) @ values


def _attention_roles_swapped(queries, keys, values, mask):
    """Queries and keys are swapped: attention_weights gets the queries first."""
    return attention_weights(keys, queries, mask) @ values


def _keys_and_values_swapped(queries, keys, values, mask):
    """Keys and values are swapped: the queries are compared with the keys, and what is averaged are
    the values."""
    return attention_weights(queries, values, mask) @ keys


def _plain_average(queries, keys, values, mask):
    """Every token it may see gets the same share: the shares must come from queries and keys."""
    return (mask / mask.sum(dim=-1, keepdim=True)) @ values


def _attention_softmax_twice(queries, keys, values, mask):
    """The softmax is applied twice: attention_weights has shared out already."""
    return attention_weights(queries, keys, mask).softmax(dim=-1) @ values


def _with_values(generator):
    for queries, keys, mask in _queries_and_keys(generator):
        yield queries, keys, normal(generator, *keys.shape), mask


def _square_with_values(generator):
    queries, keys, mask = _square_inputs(generator)
    return queries, keys, normal(generator, 2, 5, 3), mask


def _attention_looks_ahead(answer):
    queries, keys, values, mask = _square_with_values(torch.Generator().manual_seed(5))
    keys_too, values_too = keys.clone(), values.clone()
    keys_too[:, -1] += 3
    values_too[:, -1] -= 2
    before = answer(queries, keys, values, mask)
    after = answer(queries, keys_too, values_too, mask)
    if torch.allclose(before[:, :-1], after[:, :-1], atol=1e-5):
        return None
    return "a change of the last token changes what earlier tokens gather: they must not see it."


def _best_value_only(queries, keys, values, mask):
    """You take the value with the largest weight only: all values count, each by its weight."""
    best = attention_weights(queries, keys, mask).argmax(dim=-1, keepdim=True)
    return values.gather(-2, best.expand(*best.shape[:-1], values.shape[-1]))


def _forbidden_only(queries, keys, values, mask):
    """The mask is used the wrong way around: True means that a query may look."""
    return attention_weights(queries, keys, ~mask).nan_to_num() @ values


def _with_the_queries(queries, keys, values, mask):
    """You add the queries to the result: what is taken are the values, and the shortcut belongs to
    the block."""
    return queries + attention(queries, keys, values, mask)


def _weights_on_the_right(queries, keys, values, mask):
    """The two sides of @ have changed places: the weights stand on the left, weights @ values."""
    return values @ attention_weights(queries, keys, mask)


def _values_transposed(queries, keys, values, mask):
    """The values are transposed: row s of the values belongs to key s, so it is weights @ values
    as they stand."""
    return attention_weights(queries, keys, mask) @ values.transpose(-2, -1)


def _attention_keys_as_they_stand(queries, keys, values, mask):
    """The keys are not transposed, which attention_weights does for you: call it."""
    return _softmax_of(queries @ keys, mask) @ values


def _number_by_number(queries, keys, values, mask):
    """The signs * and + go number by number: the sum over all keys, each with its weight, is the
    matrix product weights @ values."""
    return attention_weights(queries, keys, mask) * values


def _weights_in_words(answer, *trial):
    """What is wrong with the weights: with the unit vectors as values, they are what comes out."""
    if answer(*trial).shape != attention(*trial).shape:
        return None

    if roles := _roles_in_words(answer, *trial):
        return roles

    def weights(queries, keys, mask):
        return answer(queries, keys, torch.eye(keys.shape[-2]).expand(*keys.shape[:-1], -1), mask)

    queries, keys, values, mask = trial
    shares = weights(queries, keys, mask)
    if not torch.allclose(answer(*trial), shares @ values, rtol=1e-3, atol=1e-4, equal_nan=True):
        return "The result is no weighted sum of the values as they are given."
    trials = list(_queries_and_keys(torch.Generator().manual_seed(7)))
    for mistake in ATTENTION_WEIGHTS.mistakes:
        if all(_same(weights, mistake, trial) for trial in trials):
            return ATTENTION_WEIGHTS.diagnosis(mistake)
    if (shares.where(mask, 0) != shares).any():
        return "A value that the mask hides has a share in the result."
    if not torch.allclose(shares.sum(dim=-1), torch.ones(())):
        return "The shares that the values have in the result do not sum to 1."
    if not torch.allclose(shares, attention_weights(queries, keys, mask), rtol=1e-3, atol=1e-4):
        return "The values are averaged with other shares than those of attention_weights."
    return None


def _roles_in_words(answer, queries, keys, values, mask):
    """What is used as queries, keys and values, where it is not what it should be."""
    if queries.shape != keys.shape:
        return None                                   # they cannot stand for each other
    result = answer(queries, keys, values, mask)
    parts = {"queries": queries, "keys": keys, "values": values}
    for roles in product(parts, repeat=3):
        if torch.allclose(result, attention(*(parts[name] for name in roles), mask), rtol=1e-4):
            return ("You ask with the {}, compare with the {} and average the {}: it must be "
                    "queries, keys and values.".format(*roles))
    return None


def _same(one, mistake, trial):
    theirs = attempt(mistake, trial)
    return not isinstance(theirs, Raised) and torch.allclose(
        one(*trial), theirs, rtol=1e-4, atol=1e-5, equal_nan=True)


ATTENTION = Exercise(
    "03.attention",
    goal="Let every token gather the values of the tokens it looks at.",
    solution=attention,
    reference=library_attention,
    returns=TensorAnswer("output", ("T", "D"), leading=True),
    cases=lambda generator: list(_with_values(generator)),
    mistakes=[_averages_the_keys, _returns_the_weights, _weights_transposed, _averages_the_queries,
              _values_as_keys, _attention_without_mask, _attention_mask_too_late,
              _attention_without_scale, _attention_without_softmax, _attention_over_queries,
              _attention_roles_swapped, _keys_and_values_swapped, _plain_average,
              _attention_softmax_twice, _best_value_only, _forbidden_only, _with_the_queries,
              _weights_on_the_right, _values_transposed, _attention_keys_as_they_stand,
              _number_by_number],
    symptoms=[_weights_in_words],
    hints=(
        "You have the shares already: attention_weights gives a row of them for every query. "
        "What did step 1 of the chapter do with a table of shares and a table of vectors?",
        """
        1. the weights, from queries, keys and mask
        2. the matrix product of the weights with the values
        """,
        """
        weights = attention_weights(queries, keys, mask)      # (..., T, S)
        return ...                                            # (..., T, S) times (..., S, D)
        """,
    ),
    properties=[
        Property("no look-ahead", _attention_looks_ahead),
        gradient_reaches(("queries", "keys", "values"), _square_with_values, attention),
    ],
    batched={"queries": 2, "keys": 2, "values": 2},
)


# --------------------------------------------------------------------------------- split_heads


def split_heads(x, n_heads):
    """Cut each token's vector into one piece per head.  (B, T, C) -> (B, H, T, D)"""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads).transpose(1, 2)


def _no_transpose(x, n_heads):
    """The heads are cut, but still stand behind the tokens, as (B, T, H, D): swap axes 1 and 2
    with transpose(1, 2)."""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads)


def _only_relabeled(x, n_heads):
    """The shape is right, but view alone fills it in reading order and mixes the tokens up: cut
    the last axis first, as (B, T, H, D), and transpose then."""
    B, T, C = x.shape
    return x.reshape(B, n_heads, T, C // n_heads)


def _interleaved(x, n_heads):
    """Each head gets every H-th number; it must get D neighbors: the last axis becomes (H, D), in
    this order."""
    B, T, C = x.shape
    return x.view(B, T, C // n_heads, n_heads).permute(0, 3, 1, 2)


def _sizes_swapped(x, n_heads):
    """The number of heads and their width are swapped: the last axis becomes (H, D), in this
    order, before you transpose; and x.split takes the width of a piece, x.chunk the number."""
    B, T, C = x.shape
    return x.view(B, T, C // n_heads, n_heads).transpose(1, 2)


def _heads_first(x, n_heads):
    """The heads stand before the batch; the order is (B, H, T, D)."""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads).permute(2, 0, 1, 3)


def _tokens_last(x, n_heads):
    """The last two axes are swapped; the order is (B, H, T, D)."""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads).permute(0, 2, 3, 1)


def _columns_relabeled(x, n_heads):
    """The shape is right, but the tokens are mixed up: cut the last axis first, as (B, T, H, D),
    and let transpose move the axis of the heads."""
    B, T, C = x.shape
    return x.transpose(1, 2).reshape(B, n_heads, T, C // n_heads)


def _untouched(x, n_heads):
    """Nothing was cut: view(B, T, n_heads, C // n_heads) cuts the last axis into pieces."""
    return x


def _to_split(generator):
    for B, T, C, n_heads in ((2, 5, 12, 3), (3, 4, 10, 2), (1, 1, 6, 3), (2, 3, 7, 1)):
        yield normal(generator, B, T, C), n_heads


def _all_of_it_for_each(x, n_heads):
    """Every head gets the whole vector: each gets a piece of D = C // n_heads numbers."""
    return x[:, None].expand(-1, n_heads, -1, -1)


def _tokens_cut(x, n_heads):
    """You cut the row of tokens into pieces: cut the vectors, the last axis, and leave every token
    to every head."""
    return torch.stack(x.chunk(n_heads, dim=1), dim=1)


def _tokens_divided(x, n_heads):
    """You divide the number of tokens: divide the width of the vectors, C // n_heads, and leave
    every token to every head."""
    B, T, C = x.shape
    return x.view(B, n_heads, T // n_heads, C)


def _tokens_before_heads(x, n_heads):
    """You swap heads and width, the last two axes: it is tokens and heads that change places,
    transpose(1, 2)."""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C // n_heads).transpose(-2, -1)


def _pieces_that_overlap(x, n_heads):
    """Your pieces overlap, for each begins only one place after the one before: piece number h
    begins at place h * D."""
    D = x.shape[-1] // n_heads
    return torch.stack([x[..., h : h + D] for h in range(n_heads)], dim=1)


def _joined_with_the_batch(x, n_heads):
    """Batch and heads share one axis: keep an axis for each, (B, H, T, D)."""
    return split_heads(x, n_heads).flatten(0, 1)


def _joined_with_the_tokens(x, n_heads):
    """The heads are strung together in the row of tokens: they need an axis of their own, which
    torch.stack makes, and torch.cat does not."""
    return split_heads(x, n_heads).flatten(1, 2)


def _whole_width_for_each(x, n_heads):
    """Each head gets only a piece of the C numbers: its width is C // n_heads."""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C).transpose(1, 2)


def _divided_as_a_number(x, n_heads):
    """The operator / gives a decimal number, even where nothing is left over: sizes are whole, so
    divide with //."""
    B, T, C = x.shape
    return x.view(B, T, n_heads, C / n_heads).transpose(1, 2)


def _where_they_came_from(answer, x, n_heads):
    """Which number of which token a wrong place holds, and which it should hold."""
    B, T, C = x.shape
    numbers = torch.arange(B * T * C, dtype=torch.float32).view(B, T, C)
    got, right = answer(numbers.clone(), n_heads), split_heads(numbers, n_heads)
    if got.shape != right.shape or torch.equal(got, right):
        return None
    text, head, token, place = (got != right).nonzero()[0].tolist()
    value, wanted = got[text, head, token, place].item(), right[text, head, token, place].item()
    if value not in numbers:
        return "Numbers are in it that are not in x: cut x and move its axes, and compute nothing."
    return (f"heads[{text}, {head}, {token}, {place}] holds number {int(value) % C} of token "
            f"{int(value) // C % T}, but must hold number {int(wanted) % C} of token {token}.")


SPLIT_HEADS = Exercise(
    "03.split_heads",
    goal="Give every head its own piece of each token's vector.",
    solution=split_heads,
    reference=library_split_heads,
    returns=TensorAnswer("heads", ("B", "H", "T", "D")),
    cases=lambda generator: list(_to_split(generator)),
    mistakes=[_only_relabeled, _no_transpose, _interleaved, _sizes_swapped, _heads_first,
              _tokens_last, _columns_relabeled, _untouched, _all_of_it_for_each, _tokens_cut,
              _tokens_divided, _tokens_before_heads, _pieces_that_overlap, _joined_with_the_batch,
              _joined_with_the_tokens, _whole_width_for_each, _divided_as_a_number],
    symptoms=[_where_they_came_from],
    hints=(
        "Two steps: cut, then move. Only the last axis is cut, so (B, T, C) becomes four axes "
        "first; and the matrix products of attention run over the last two axes.",
        """
        1. B, T, C are the sizes of x; each head is D = C // n_heads wide
        2. view x as (B, T, n_heads, D): the tokens stay where they are
        3. swap axes 1 and 2, so that a head's tokens stand together
        """,
        """
        B, T, C = x.shape
        pieces = x.view(B, T, n_heads, C // n_heads)          # (B, T, H, D)
        return ...                                            # (B, H, T, D)
        """,
    ),
    properties=[gradient_reaches(("x",), lambda generator: (normal(generator, 2, 3, 8), 4),
                                 split_heads)],
    batched={"x": 2},
)

EXERCISES = (CAUSAL_MASK, ATTENTION_WEIGHTS, ATTENTION, SPLIT_HEADS)
