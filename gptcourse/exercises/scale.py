"""Exercises of chapter 13: what a token costs, and the straight line that a power law is. Nothing
of them belongs into the learner's file; the library has them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

import torch
from torch import Generator, Tensor

from gptcourse.exercises.answers import NumberAnswer, SeveralAnswers, number, scalar
from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.model import small_config

# ----------------------------------------------------------------------------- flops_per_token

_FLOPS_PER_TOKEN = '''\
def flops_per_token(config):
    """Additions and multiplications that a token costs in training, at the end of the context.

    config has chapter 5's keys, its heads are as many as you like.
    Kaplan et al. (2020), "Scaling Laws for Neural Language Models", section 2.1.
    """
    V, T = config["vocab_size"], config["context_length"]
    C, L = config["emb_dim"], config["n_layers"]
    weights = 12 * L * C * C + V * C               # each is multiplied once
    attention = 2 * L * T * C                      # queries by keys, weights by values
    return 6 * (weights + attention)
'''


def _all_kinds_of_sizes(_generator: Generator):
    """Small and large; wide, deep, with a long context, with a large vocabulary."""
    yield (small_config(96, 16, 24, 4, 2),)
    yield (small_config(960, 128, 32, 1, 1),)
    yield (small_config(50_257, 1024, 768, 12, 12),)
    yield (small_config(300, 4096, 64, 8, 7),)


def _which_terms(answer: Callable, _config: Mapping) -> str | None:
    """How many times each kind of product is counted: found by moving one size at a time."""
    def cost(V, T, C, L):
        return scalar(answer(small_config(V, T, C, 1, L)))

    per_context = (cost(70, 40, 8, 3) - cost(70, 20, 8, 3)) / 20 / 8             # by L
    per_context_of_five = (cost(70, 40, 8, 5) - cost(70, 20, 8, 5)) / 20 / 8
    context = (per_context_of_five - per_context) / 2
    table = per_context - 3 * context                          # what T costs without any layer
    head = (cost(90, 20, 8, 3) - cost(70, 20, 8, 3)) / 20 / 8
    layer = (cost(70, 20, 8, 5) - cost(70, 20, 8, 3)) / 2
    matrices = (layer - context * 20 * 8) / 64
    found = {"a layer's matrices": (matrices, 72), "the output head": (head, 6),
             "attention's products": (context, 12)}
    shares = {name: got / wanted for name, (got, wanted) in found.items()}
    if all(math.isclose(share, 1, rel_tol=1e-4) for share in shares.values()):
        return ("Each position costs you something even with no layer: rows of the tables are "
                "looked up, and nothing is multiplied." if table > 1e-6 else None)
    return _one_of_them(shares)


def _one_of_them(shares: Mapping[str, float]) -> str:
    _, head, attention = shares.values()
    if math.isclose(head, 0, abs_tol=1e-6):
        return "The output head is missing: a matrix of V times C, and every token goes through it."
    if math.isclose(attention, 0, abs_tol=1e-6):
        return ("Attention's own products are missing: each layer multiplies a query by T keys, "
                "and T weights by their values, C numbers each.")
    if math.isclose(head, 2, rel_tol=1e-4):
        return ("V times C is counted twice: the token embedding has as many numbers, but a row of "
                "it is only looked up.")
    if math.isclose(attention, 1 / 3, rel_tol=1e-4):
        return ("Attention's products are counted forward only: they have a backward pass, too, "
                "for queries and keys, weights and values.")
    if math.isclose(attention, 1 / 2, rel_tol=1e-4):
        return ("Half of attention's products is missing: queries meet keys, and then weights meet "
                "values.")
    worst, share = max(shares.items(), key=lambda item: abs(item[1] - 1))
    return (f"The share of {worst} is {number(share)} times what it should be: 12 C² weights in "
            "each layer, V C in the head, 2 T C products of attention in each layer, and 6 FLOPs "
            "for each.")


_SUM = "6 * (weights + attention)"

FLOPS_PER_TOKEN = Exercise(
    "13.flops_per_token",
    goal="Say what one token costs in training, from nothing but the sizes of a model.",
    source=_FLOPS_PER_TOKEN,
    kept=False,
    returns=NumberAnswer("cost", rtol=1e-6),
    cases=_all_kinds_of_sizes,
    edits=[
        ("6 * (weights", "2 * (weights",
         "This is the forward pass alone: the backward pass costs twice as much again."),
        ("6 * (weights", "4 * (weights", "This is the backward pass alone: add the forward pass."),
        ("6 * (weights", "3 * (weights",
         "It is half: each product comes with an addition, which is a FLOP, too."),
        (_SUM, "(weights + attention)",
         "Each of them counts 6 times: multiplied and added, once forward and twice backward."),
        (" + V * C  ", "  ",
         "The output head is missing: a matrix of V times C, and every token goes through it."),
        (_SUM, "6 * weights",
         "Attention's own products are missing: each layer multiplies a query by T keys, and T "
         "weights by their values, C numbers each."),
        (_SUM, "6 * weights + 2 * attention",
         "Attention's products are counted forward only: they have a backward pass, too, for "
         "queries and keys, weights and values."),
        (" + V * C  ", " + 2 * V * C  ",
         "V times C is counted twice: the token embedding has as many numbers, but a row of it is "
         "only looked up."),
    ],
    symptoms=[_which_terms],
    hints=(
        "The chapter has all the pieces: how many weights a token meets, which products attention "
        "adds to them, and how many FLOPs each of these costs forward and backward.",
        """
        1. the weights that are multiplied: 12 C² in each of L layers, and V C in the head
        2. attention's products: T C of queries by keys, T C of weights by values, in each layer
        3. 2 FLOPs for each of them forward, 4 backward
        """,
        """
        V, T = config["vocab_size"], config["context_length"]
        C, L = config["emb_dim"], config["n_layers"]
        weights = 12 * L * C * C + V * C
        attention = 2 * L * T * C
        return ...                            # forward and backward, of both
        """,
    ),
)

# ------------------------------------------------------------------------------- fit_power_law

_FIT_POWER_LAW = '''\
def fit_power_law(x, y):
    """The factor and the exponent with which y is about factor · x^(-exponent).

    x (N), y (N), all above 0 -> two numbers: the straight line through (ln x, ln y) from which
    the squares of the distances, up and down, have the least sum.
    """
    across, up = x.log(), y.log()                                                # (N)
    from_mean = across - across.mean()
    slope = (from_mean * (up - up.mean())).sum() / (from_mean * from_mean).sum()
    start = up.mean() - slope * across.mean()                                    # at ln x = 0
    return start.exp().item(), -slope.item()
'''


def _points(generator: Generator):
    """On a line, beside one, few and many, rising, and some that stand in no order."""
    x = torch.tensor([1.0, 10.0, 100.0])
    yield x, 8 / x
    x = torch.tensor([100.0, 400.0, 900.0, 1600.0, 3000.0])
    yield x, 3 * x ** -0.5 * torch.tensor([1.1, 0.9, 1.05, 1.0, 0.97])
    x = 10 ** (1 + 3 * torch.rand(20, generator=generator))
    yield x, 40 * x ** -0.8 * torch.exp(0.2 * torch.randn(20, generator=generator))
    yield torch.tensor([2.0, 5.0]), torch.tensor([0.3, 0.9])


def _which_line(answer: Callable, x: Tensor, y: Tensor) -> str | None:
    """Which other line was taken, or how the right one was read off."""
    factor, exponent = map(scalar, answer(x.clone(), y.clone()))
    start, slope = _fitted(x.log(), y.log())
    swapped = _fitted(y.log(), x.log())

    def are(*wanted: float) -> bool:
        return all(math.isclose(got, one, rel_tol=1e-3, abs_tol=1e-6)
                   for got, one in zip((factor, exponent), wanted, strict=True))

    e = math.exp(start)
    ways = [
        ((e, slope), "The exponent has the wrong sign: y = factor · x^(-exponent), so where y "
         "falls, the exponent is above 0. It is minus the slope."),
        ((start, -slope), "Your factor is still a logarithm: where ln x is 0, the line is "
         "at ln(factor), so the factor is exp of that."),
        ((start, slope), "Your factor is still a logarithm, and the exponent is minus the "
         "slope."),
        ((-slope, e), "The two are right, and stand in the wrong order: first the factor."),
        ((math.exp(start / math.log(10)), -slope), "Logarithm and exponential don't fit: "
         "after log10, the factor is 10 ** start, and after log it is exp(start)."),
        ((10 ** start, -slope), "Logarithm and exponential don't fit: after log, the factor "
         "is exp(start), and after log10 it is 10 ** start."),
        ((math.exp(swapped[0]), -swapped[1]), "x and y have changed places: the slope is how much "
         "ln y rises where ln x rises by 1."),
    ]
    told = next((words for numbers, words in ways if are(*numbers)), None)
    if told:
        return told
    plain = _fitted(x, y)
    if are(plain[0], -plain[1]) or are(*plain):
        return "That's a straight line through x and y themselves: take the logarithm of both."
    for pair, which in (((x, y.log()), "x"), ((x.log(), y), "y")):
        if math.isclose(abs(exponent), abs(_fitted(*pair)[1]), rel_tol=1e-3):
            return f"The logarithm of {which} is missing: take it of both."
    across, up = x.log(), y.log()
    for height in (up, up - up.mean()):
        uneven = (across * height).sum() / across.square().sum()
        if math.isclose(abs(exponent), abs(uneven), rel_tol=1e-3):
            return "Take the mean away from both logarithms before you multiply and square them."
    if math.isclose(exponent, -slope, rel_tol=1e-3):
        return ("The exponent is right, and the factor isn't: the line goes through the means, so "
                "ln(factor) is the mean of ln y minus slope times the mean of ln x.")
    ends = (up[-1] - up[0]) / (across[-1] - across[0])
    if math.isclose(abs(exponent), abs(ends), rel_tol=1e-3):
        return "That's the line through the first and the last point: all of them count."
    return None


def _fitted(across: Tensor, up: Tensor) -> tuple[float, float]:
    """Start and slope of the straight line of least squares."""
    across, up = across.double(), up.double()
    from_mean = across - across.mean()
    slope = ((from_mean * (up - up.mean())).sum() / from_mean.square().sum()).item()
    return up.mean().item() - slope * across.mean().item(), slope


FIT_POWER_LAW = Exercise(
    "13.fit_power_law",
    goal="Find the power law that lies nearest to some measurements.",
    source=_FIT_POWER_LAW,
    kept=False,
    returns=SeveralAnswers((NumberAnswer("factor", 1e-3), NumberAnswer("exponent", 1e-3))),
    cases=_points,
    edits=[
        ("-slope.item()", "slope.item()",
         "The exponent has the wrong sign: y = factor · x^(-exponent), so where y falls, the "
         "exponent is above 0. It is minus the slope."),
        ("start.exp()", "start",
         "Your factor is still a logarithm: where ln x is 0, the line is at ln(factor), so the "
         "factor is exp of that."),
        ("x.log(), y.log()", "x, y",
         "That's a straight line through x and y themselves: take the logarithm of both."),
        ("x.log(), y.log()", "y.log(), x.log()",
         "x and y have changed places: the slope is how much ln y rises where ln x rises by 1."),
        ("x.log(), y.log()", "x.log10(), y.log10()",
         "Logarithm and exponential don't fit: after log10, the factor is 10 ** start, and after "
         "log it is exp(start)."),
    ],
    symptoms=[_which_line],
    hints=(
        "After a logarithm on both sides, y = factor · x^(-exponent) is a straight line: "
        "ln y = ln(factor) - exponent · ln x. So find that line, and read the two off.",
        """
        1. the logarithms of x and of y
        2. slope: the sum of (ln x - its mean) times (ln y - its mean), divided by the sum of
           the squares of (ln x - its mean)
        3. start: the mean of ln y, minus the slope times the mean of ln x
        4. the factor is exp(start), the exponent minus the slope
        """,
        """
        across, up = x.log(), y.log()
        from_mean = across - across.mean()
        slope = ...                           # two sums, and one division
        start = up.mean() - slope * across.mean()
        return start.exp().item(), -slope.item()
        """,
    ),
)

EXERCISES = [FLOPS_PER_TOKEN, FIT_POWER_LAW]
