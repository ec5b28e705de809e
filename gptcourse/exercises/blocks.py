"""Exercises of chapter 4. Below each solution stand the mistakes that are known, with what a
learner is told about them; then the trials, then the exercise with its hints."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F

from gptcourse.exercises.answers import TensorAnswer
from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.properties import (
    called_once,
    each_token_alone,
    gradient_reaches,
    normal,
    overheard,
    shaken,
)
from gptlib.attention import MultiHeadAttention
from gptlib.blocks import FeedForward, LayerNorm
from gptlib.blocks import gelu as library_gelu
from gptlib.blocks import layer_norm as library_layer_norm
from gptlib.config import GPTConfig

# ---------------------------------------------------------------------------------- layer_norm


def layer_norm(x, scale, shift, eps=1e-5):
    """Each vector brought to mean 0 and variance 1, then stretched and moved as learned.

    x (..., C), scale (C), shift (C) -> (..., C)
    """
    mean = x.mean(dim=-1, keepdim=True)                   # (..., 1)
    variance = (x - mean).square().mean(dim=-1, keepdim=True)
    return scale * (x - mean) / (variance + eps).sqrt() + shift


def _one_less(x, scale, shift, eps=1e-5):
    """The variance is divided by C - 1, as torch's var and std do by default; a norm divides by C:
    unbiased=False."""
    mean, variance = x.mean(dim=-1, keepdim=True), x.var(dim=-1, keepdim=True)
    return scale * (x - mean) / (variance + eps).sqrt() + shift


def _eps_outside(x, scale, shift, eps=1e-5):
    """eps is added outside the root; it belongs to the variance, inside."""
    mean, variance = _mean_and_variance(x)
    return scale * (x - mean) / (variance.sqrt() + eps) + shift


def _one_less_and_eps_outside(x, scale, shift, eps=1e-5):
    """torch's std divides by C - 1, and eps belongs under the root: take the variance with
    unbiased=False, add eps, then the root."""
    mean, deviation = x.mean(dim=-1, keepdim=True), x.std(dim=-1, keepdim=True)
    return scale * (x - mean) / (deviation + eps) + shift


def _no_eps(x, scale, shift, eps=1e-5):
    """eps is missing: for a vector whose numbers are all equal, you divide zero by zero."""
    mean, variance = _mean_and_variance(x)
    return scale * (x - mean) / variance.sqrt() + shift


def _eps_of_its_own(x, scale, shift, eps=1e-5):
    """eps is an argument: use the one that is given, not always 1e-5."""
    return layer_norm(x, scale, shift, 1e-5)


def _no_root(x, scale, shift, eps=1e-5):
    """You divide by the variance: divide by its square root."""
    mean, variance = _mean_and_variance(x)
    return scale * (x - mean) / (variance + eps) + shift


def _no_mean(x, scale, shift, eps=1e-5):
    """The mean is not subtracted from x."""
    _, variance = _mean_and_variance(x)
    return scale * x / (variance + eps).sqrt() + shift


def _root_mean_square(x, scale, shift, eps=1e-5):
    """The mean is subtracted nowhere; this is RMSNorm, which later models use, but not GPT-2."""
    return scale * x / (x.square().mean(dim=-1, keepdim=True) + eps).sqrt() + shift


def _over_tokens(x, scale, shift, eps=1e-5):
    """Mean and variance are taken over the tokens: each token is normalized by itself, over its
    own C numbers, dim=-1."""
    mean = x.mean(dim=-2, keepdim=True)
    variance = x.var(dim=-2, keepdim=True, unbiased=False)
    return scale * (x - mean) / (variance + eps).sqrt() + shift


def _over_everything(x, scale, shift, eps=1e-5):
    """Mean and variance are taken over all numbers at once: each token is normalized by itself,
    with dim=-1 and keepdim=True."""
    return scale * (x - x.mean()) / (x.var(unbiased=False) + eps).sqrt() + shift


def _no_scale(x, scale, shift, eps=1e-5):
    """The learned scale is missing: multiply by it at the end."""
    return layer_norm(x, torch.ones_like(scale), shift, eps)


def _no_shift(x, scale, shift, eps=1e-5):
    """The learned shift is missing: add it at the end."""
    return layer_norm(x, scale, torch.zeros_like(shift), eps)


def _no_scale_no_shift(x, scale, shift, eps=1e-5):
    """The vectors are normalized, but the learned scale and shift are missing."""
    return layer_norm(x, torch.ones_like(scale), torch.zeros_like(shift), eps)


def _shift_before_scale(x, scale, shift, eps=1e-5):
    """The shift is stretched, too: multiply by scale first, then add shift."""
    return scale * layer_norm(x, torch.ones_like(scale), shift, eps)


def _scale_and_shift_swapped(x, scale, shift, eps=1e-5):
    """Scale and shift are swapped: scale multiplies, shift is added."""
    return layer_norm(x, shift, scale, eps)


def _mean_and_variance(x):
    return x.mean(dim=-1, keepdim=True), x.var(dim=-1, keepdim=True, unbiased=False)


def _to_normalize(generator):
    """Ordinary vectors, tiny ones, one whose numbers are all equal; another eps; T = 1."""
    for shape, size, rest in (((4, 6), 1, ()), ((2, 3, 5), 0.01, ()), ((7, 3), 3, (0.5,)),
                              ((3, 2, 4, 8), 2, ()), ((2, 1, 9), 0.01, ())):
        x = 0.5 * size + size * normal(generator, *shape)
        if len(shape) == 4:
            x[0, 0, 0] = 0.25
        yield x, 1 + normal(generator, shape[-1]), normal(generator, shape[-1]), *rest


def _norm_inputs(generator):
    return normal(generator, 2, 4, 6), 1 + normal(generator, 6), normal(generator, 6)


def _axis_lost(x, scale, shift, eps=1e-5):
    """The mean has lost its axis, so it cannot be subtracted from x row by row: keep it, with
    keepdim=True."""
    return scale * (x - x.mean(dim=-1)) / (x.var(dim=-1, unbiased=False) + eps).sqrt() + shift


def _variance_for_the_mean(x, scale, shift, eps=1e-5):
    """Mean and variance have changed places: torch.var_mean returns the variance first."""
    mean, variance = _mean_and_variance(x)
    return scale * (x - variance) / (mean + eps).sqrt() + shift


def _by_the_range(x, scale, shift, eps=1e-5):
    """You divide by the distance from the smallest to the largest number: divide by the root of
    the variance."""
    spread = x.amax(dim=-1, keepdim=True) - x.amin(dim=-1, keepdim=True)
    return scale * (x - x.mean(dim=-1, keepdim=True)) / (spread + eps) + shift


def _mean_distance(x, scale, shift, eps=1e-5):
    """You divide by the mean distance from the mean: the variance is the mean of its squares, and
    you divide by its root."""
    distance = x - x.mean(dim=-1, keepdim=True)
    return scale * distance / (distance.abs().mean(dim=-1, keepdim=True) + eps) + shift


def _one_more_scale(x, scale, shift, eps=1e-5):
    """You multiply by 1 + scale: scale begins at 1 itself, so multiply by it alone."""
    return layer_norm(x, 1 + scale, shift, eps)


def _mean_and_variance_after(answer, *_trial):
    """Whether the norm itself is wrong, or only what becomes of scale, shift and eps."""
    generator = torch.Generator().manual_seed(3)
    x, scale, shift = 3 + 2 * normal(generator, 3, 4, 6), *_norm_inputs(generator)[1:]
    plain, others = (torch.ones(6), torch.zeros(6)), 0.5 * x.flip(1) + 2
    others[1, 1] = x[1, 1]
    both = [answer(vectors.clone(), *plain) for vectors in (x, others)]
    if any(result.shape != x.shape for result in both):
        return None
    one, again = (result[1, 1].double() for result in both)
    if not one.isfinite().all():
        return None
    if not torch.allclose(one, again, rtol=1e-3, atol=1e-4):
        return ("What becomes of one vector changes with the others: mean and variance are those "
                "of the vector alone, along dim=-1.")
    if abs(one.mean()) > 1e-3:
        return ("With scale 1 and shift 0, each vector must have the mean 0, and one of yours has "
                f"{one.mean():.4g}: subtract its mean first, in brackets.")
    variance = one.square().mean()
    if abs(variance - 5 / 6) < 1e-3:
        return LAYER_NORM.diagnosis(_one_less)
    if abs(variance - 1) > 1e-3:
        return ("With scale 1 and shift 0, each vector must have the variance 1, and one of yours "
                f"has {variance:.4g}: divide by the root of the mean of the squared distances.")
    if not _same(answer, x, *plain):
        return None
    if not _same(answer, x, scale, shift):
        return ("With scale 1 and shift 0 it is right: multiply what is normalized by scale, then "
                "add shift.")
    return "All is right but eps: it is added once, to the variance, under the root."


def _same(answer, *arguments):
    return torch.allclose(answer(*arguments), layer_norm(*arguments), rtol=1e-3, atol=1e-4)


LAYER_NORM = Exercise(
    "04.layer_norm",
    goal="Bring each token's vector to mean 0 and variance 1.",
    solution=layer_norm,
    reference=library_layer_norm,
    returns=TensorAnswer("output", ("C",), leading=True),
    cases=lambda generator: list(_to_normalize(generator)),
    mistakes=[_one_less, _eps_outside, _one_less_and_eps_outside, _no_eps, _eps_of_its_own,
              _no_root, _no_mean, _root_mean_square, _over_tokens, _over_everything, _no_scale,
              _no_shift, _no_scale_no_shift, _shift_before_scale, _scale_and_shift_swapped,
              _axis_lost, _variance_for_the_mean, _by_the_range, _mean_distance, _one_more_scale],
    symptoms=[_mean_and_variance_after],
    hints=(
        "Do (1, 7, 7, 9) by hand, as in step 2: its mean, the distances from it, the mean of their "
        "squares. Which axis are those means taken over, when x is a whole batch?",
        """
        1. the mean over the last axis, with keepdim=True so that it can be subtracted
        2. the variance: the mean of the squared distances, over the same axis, divided by C
        3. subtract the mean, divide by the root of variance + eps
        4. times scale, plus shift
        """,
        """
        mean = x.mean(dim=-1, keepdim=True)
        variance = ...                        # the mean of (x - mean) squared
        return scale * (x - mean) / (variance + eps).sqrt() + shift
        """,
    ),
    properties=[
        each_token_alone(_norm_inputs),
        gradient_reaches(("x", "scale", "shift"), _norm_inputs, layer_norm),
    ],
    batched={"x": 1},
)


# ---------------------------------------------------------------------------------------- gelu


def gelu(x):
    """A gate that opens softly: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), for every number."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _relu(x):
    """This is ReLU, which cuts off sharply at 0: GELU opens softly."""
    return torch.relu(x)


def _with_erf(x):
    """This is GELU with the error function: GPT-2 was trained with the tanh form, which differs by
    up to 0.0005; with torch's own, say approximate="tanh"."""
    return F.gelu(x)


def _sigmoid_form(x):
    """This is the sigmoid form, x · sigmoid(1.702 x), which is only near: use the tanh form."""
    return x * torch.sigmoid(1.702 * x)


def _silu(x):
    """This is SiLU, x · sigmoid(x), which later models use: GPT-2 has GELU."""
    return x * torch.sigmoid(x)


def _no_half(x):
    """The factor 0.5 is missing: large numbers must pass as they are."""
    return 2 * gelu(x)


def _no_x(x):
    """This is the gate alone, between 0 and 1: multiply x by it."""
    return 0.5 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _no_one(x):
    """The `1 +` in front of tanh is missing, so negative numbers do not go to 0."""
    return 0.5 * x * torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def _no_cube(x):
    """The cube is missing: 0.044715 is multiplied by x³."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * x))


def _squared(x):
    """x is squared where it must be cubed."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**2)))


def _three_times(x):
    """The sign * for ** is no power: x * 3 is three times x, and the cube is x**3."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x * 3)))


def _root_missing(x):
    """2/π stands there without its square root."""
    return 0.5 * x * (1 + torch.tanh(2 / math.pi * (x + 0.044715 * x**3)))


def _cube_of_the_product(x):
    """Only x is cubed: 0.044715 * x**3, not (0.044715 * x)**3."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + (0.044715 * x) ** 3)))


def _root_over_two_only(x):
    """The root is taken of 2 alone: √(2/π) is math.sqrt(2 / math.pi)."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2) / math.pi * (x + 0.044715 * x**3)))


def _ten_times_the_cube(x):
    """The factor of the cube is ten times too large: 0.044715 has a zero behind the point."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.44715 * x**3)))


def _root_of_x_only(x):
    """The root multiplies x alone: it multiplies the whole sum, so the cube belongs inside its
    brackets."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * x + 0.044715 * x**3))


def _gate_upside_down(x):
    """The gate is 1 minus tanh, so it closes for large numbers: it must be 1 plus tanh."""
    return 0.5 * x * (1 - torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _pi_over_two(x):
    """The 2 and the π have changed places: it is the root of 2/π."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(math.pi / 2) * (x + 0.044715 * x**3)))


def _tangent(x):
    """That is the tangent, which shoots up: the gate is the hyperbolic one, tanh."""
    return 0.5 * x * (1 + torch.tan(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _bare_tangent(x):
    """This takes tanh of x alone: its argument is the root of 2/π times (x + 0.044715 x³)."""
    return 0.5 * x * (1 + torch.tanh(x))


def _tanh_of_the_root(x):
    """The bracket of tanh closes too early: the root and the sum belong inside of it, both."""
    return 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi)) * (x + 0.044715 * x**3))


def _no_brackets(x):
    """The brackets around 1 + tanh(...) are missing: half of x multiplies the whole sum."""
    return 0.5 * x * 1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def _half_inside(x):
    """Inside of the tanh stands half of what it should be: 0.5 (1 + tanh(z)) is sigmoid(2z), so a
    sigmoid takes the double."""
    return x * torch.sigmoid(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))


def _half_rounded(x):
    """The sign // rounds down: half of x is 0.5 * x, or x / 2."""
    return x // 2 * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


def _sigmoid_for_tanh(x):
    """A sigmoid stands where the tanh belongs: it lies between 0 and 1, tanh between -1 and 1."""
    return 0.5 * x * (1 + torch.sigmoid(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))


_OTHER_BENDS = {
    "ReLU": torch.relu, "the square of ReLU": lambda x: torch.relu(x) ** 2,
    "leaky ReLU": F.leaky_relu, "ELU": F.elu, "SiLU": F.silu, "hard swish": F.hardswish,
    "softplus": F.softplus, "Mish": F.mish, "a sigmoid": torch.sigmoid, "tanh alone": torch.tanh,
    "a softmax": lambda x: x.softmax(dim=-1), "the sigmoid form of GELU": _sigmoid_form,
    "the error function's GELU": F.gelu,
}


def _bend_in_words(numbers, bent):
    """Which other function makes the second of the first."""
    return next((name for name, bend in _OTHER_BENDS.items() if _equal(bend(numbers), bent)), None)


def _equal(one, other):
    return one.shape == other.shape and torch.allclose(one, other, rtol=1e-4, atol=1e-5)


def _taken_apart(answer, *trial):
    """Whether it is another function, or else outside or inside of the tanh that it is wrong."""
    if name := _bend_in_words(*trial, answer(*trial)):
        return f"That is {name}: use the formula with tanh, as GPT-2 does."
    if found := _far_from_zero(answer):
        return found
    x = torch.linspace(-1.5, 1.5, 20, dtype=torch.float64)
    bent, right = answer(x.clone()), gelu(x)
    if bent.shape != x.shape:
        return None
    wrong = (bent - right).abs()
    if wrong[x > 0].max() < 1e-5 and wrong.max() > 1e-3:
        return ("Above 0 it is right, below 0 it is not: GELU lets a little of small negative "
                "numbers pass, -0.1588 for -1.")
    inside, powers = torch.atanh(2 * bent / x - 1), torch.stack([x, x**3], dim=1)
    if not inside.isfinite().all():
        return None
    factors = torch.linalg.lstsq(powers, inside[:, None]).solution[:, 0]
    if not torch.allclose(powers @ factors, inside, atol=1e-4):
        return ("Inside of the tanh stands something other than √(2/π) (x + 0.044715 x³), or it is "
                "another function.")
    factors = factors.round(decimals=5) + 0.0                              # no -0.00000
    return (f"Inside of the tanh, x is multiplied by {factors[0]:.5f} and x³ by {factors[1]:.5f}: "
            "it must be 0.79788, which is √(2/π), and 0.03568, which is that times 0.044715.")


def _far_from_zero(answer):
    """What stands around the tanh, which is 1 for large numbers and -1 for very negative ones."""
    far = (20.0, -20.0, 10.0, -10.0)
    results = [answer(torch.tensor([x])) for x in far]
    if any(result.numel() != 1 for result in results):
        return None
    above, below, half_above, half_below = (
        result.item() / x for result, x in zip(results, far, strict=True))
    if max(min(abs(share), abs(share - 1)) for share in (above, below)) < 5e-4:
        return None
    words = "Outside of the tanh, or in place of it, something is wrong:"
    if max(abs(above - half_above), abs(below - half_below)) < 5e-4:
        alone, times_tanh = (above + below) / 2, (above - below) / 2
        return (f"{words} far from 0 you have x ({alone:.4g} + {times_tanh:.4g} tanh), but must "
                "have x (0.5 + 0.5 tanh).")
    return (f"{words} 20 must stay 20, and -20 become 0, but you get {20 * above:.4g} and "
            f"{-20 * below:.4g}.")


GELU = Exercise(
    "04.gelu",
    goal="Bend every number softly: let the large ones pass and close for the negative ones.",
    solution=gelu,
    reference=library_gelu,
    returns=TensorAnswer("output", (), leading=True),
    cases=lambda generator: [
        (torch.linspace(-2, 3, 6),), (2 * normal(generator, 3, 5),), (normal(generator, 2, 4, 7),),
        (torch.tensor([-30.0, 30.0]),), (normal(generator, 1, 1),),
    ],
    mistakes=[_relu, _with_erf, _sigmoid_form, _silu, _no_half, _no_x, _no_one, _no_cube, _squared,
              _root_missing, _cube_of_the_product, _root_over_two_only, _ten_times_the_cube,
              _root_of_x_only, _gate_upside_down, _pi_over_two, _tangent, _bare_tangent,
              _no_brackets, _half_inside, _half_rounded, _sigmoid_for_tanh, _three_times,
              _tanh_of_the_root],
    symptoms=[_taken_apart],
    hints=(
        "Nothing but the formula of the docstring, and torch works on all numbers of x at once. "
        "Write it from the inside to the outside.",
        """
        1. inner: x plus 0.044715 times x cubed, all times the root of 2/π
        2. gate: 1 plus the tanh of inner
        3. half of x, times the gate
        """,
        """
        inner = math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)
        return ...                            # half of x, times (1 + tanh of inner)
        """,
    ),
    properties=[gradient_reaches(("x",), lambda generator: (normal(generator, 3, 5),), gelu)],
)


# -------------------------------------------------------------------------------- feed_forward


def feed_forward(x, expand, contract):
    """Widen each token's vector, bend it with gelu, and bring it back to its width.

    x (B, T, C); expand and contract are layers, C -> 4C and 4C -> C.  -> (B, T, C)
    """
    return contract(gelu(expand(x)))


def _no_bend(x, expand, contract):
    """gelu is missing: without a bend, two linear layers are no more than one."""
    return contract(expand(x))


def _bent_with_relu(x, expand, contract):
    """You bend with ReLU: GPT-2 has gelu."""
    return contract(expand(x).relu())


def _bent_with_erf(x, expand, contract):
    """You bend with the error function's GELU, torch's default: use your gelu, the tanh form."""
    return contract(F.gelu(expand(x)))


def _bent_at_the_end(x, expand, contract):
    """gelu comes after contract: it belongs between the two layers."""
    return gelu(contract(expand(x)))


def _bent_twice(x, expand, contract):
    """gelu is applied at the end, too: it belongs between the two layers only."""
    return gelu(contract(gelu(expand(x))))


def _bent_two_times_over(x, expand, contract):
    """gelu is applied twice in a row: once is enough."""
    return contract(gelu(gelu(expand(x))))


def _matrices_only(x, expand, contract):
    """The layers' biases are left out: call a layer like a function, and it adds its own."""
    return gelu(x @ expand.weight.T) @ contract.weight.T


def _bent_at_the_start(x, expand, contract):
    """gelu comes before expand: it belongs between the two layers."""
    return contract(expand(gelu(x)))


def _with_shortcut(x, expand, contract):
    """x is added to the result: the shortcut belongs to the block, outside of this network."""
    return x + contract(gelu(expand(x)))


def _not_contracted(x, expand, contract):
    """The vectors are still wide: contract brings them back to their width."""
    return gelu(expand(x))


def _linear_layers(generator):
    """Sizes all different; contract is no mirror of expand."""
    for B, T, C in ((2, 3, 4), (3, 5, 6), (1, 1, 2)):
        expand = shaken(generator, torch.nn.Linear(C, 4 * C))
        yield normal(generator, B, T, C), expand, shaken(generator, torch.nn.Linear(4 * C, C))


def _one_network(generator):
    return next(iter(_linear_layers(generator)))


def _layers_swapped(x, expand, contract):
    """The vectors do not fit there: expand, C to 4C, comes before contract, 4C to C; and both are
    called, for a layer stores its matrix the other way around."""
    return expand(gelu(contract(x)))


def _times_x(x, expand, contract):
    """You multiply the result by x: the result alone is asked for."""
    return x * feed_forward(x, expand, contract)


def _what_the_layers_read(answer, x, expand, contract):
    """Which of the two layers reads, or writes, something else than it should."""
    calls = overheard(expand=expand, contract=contract)
    result = answer(x, expand, contract)
    if problem := called_once({"expand": calls["expand"]}, x) or called_once(calls, x):
        return problem
    (read, hidden), (bent, written) = calls["expand"][0], calls["contract"][0]
    if read.shape != x.shape:
        return None                        # piece by piece, or as one long row: both may be right
    if _equal(read, F.layer_norm(x, x.shape[-1:])):
        return "expand reads a normalized x: the norm belongs to the block, not to this network."
    if not _equal(read, x):
        return "expand reads something other than x as it came in."
    if not _equal(bent, gelu(hidden)):
        if name := _bend_in_words(hidden, bent):
            return f"You bend with {name}: GPT-2 has gelu."
        terms = {"expand(...)": hidden, "gelu(...)": gelu(hidden)}
        if made := _as_a_sum(bent, terms):
            return f"contract reads {made}, but must read gelu(...), and nothing else."
        return ("contract reads something other than the gelu of what expand returns: nothing else "
                "stands between the two layers.")
    if not _equal(result, written):
        if made := _as_a_sum(result, {"x": x, "contract(...)": written}):
            return f"You return {made}: it must be contract(...), and nothing else."
        return "Something is done with what contract returns: that is the result already."
    return None


def _as_a_sum(total, terms):
    """How a tensor is made of others: "x + 2 attention(...)"; None if it is no sum of them."""
    terms = {name: term for name, term in terms.items() if term.shape == total.shape}
    if not terms:
        return None
    columns = torch.stack([term.flatten() for term in terms.values()], dim=1).double()
    if not (columns.isfinite().all() and total.isfinite().all()):
        return None                            # lstsq would print what it thinks of that
    factors = torch.linalg.lstsq(columns, total.double().flatten()[:, None]).solution[:, 0]
    if not _equal(columns @ factors, total.double().flatten()):
        return None
    words = [_times(factor, name) for factor, name in zip(factors.tolist(), terms, strict=True)
             if abs(factor) > 1e-3]
    return " ".join(words).removeprefix("+ ") or "0"


def _times(factor, name):
    size = "" if abs(abs(factor) - 1) < 1e-3 else f"{abs(factor):.4g} "
    return f"{'-' if factor < 0 else '+'} {size}{name}"


FEED_FORWARD = Exercise(
    "04.feed_forward",
    goal="Let each token think by itself: widen, bend, bring back.",
    solution=feed_forward,
    reference=lambda x, expand, contract: contract(library_gelu(expand(x))),
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=lambda generator: list(_linear_layers(generator)),
    mistakes=[_no_bend, _bent_with_relu, _bent_with_erf, _bent_at_the_end, _bent_twice,
              _bent_at_the_start, _with_shortcut, _not_contracted, _bent_two_times_over,
              _matrices_only, _layers_swapped, _times_x],
    symptoms=[_what_the_layers_read],
    hints=(
        "expand and contract are layers: call them like functions. In which order do the three "
        "steps of the formula happen, read from the inside?",
        """
        1. expand x
        2. bend the result with gelu
        3. contract it
        """,
        """
        hidden = gelu(expand(x))                              # (B, T, 4C)
        return ...                                            # (B, T, C)
        """,
    ),
    properties=[each_token_alone(_one_network),
                gradient_reaches(("x",), _one_network, feed_forward)],
    batched={"x": 2},
)


# --------------------------------------------------------------------------- transformer_block


def transformer_block(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """Two additions to the residual stream, each computed from a normalized copy of it.

    x (B, T, C), and four parts, each called like a function.  -> (B, T, C)
    """
    x = x + attention(attention_norm(x))
    return x + feed_forward(feed_forward_norm(x))


def _no_shortcuts(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """Both shortcuts are missing: each part's result is added to x, not put in its place."""
    x = attention(attention_norm(x))
    return feed_forward(feed_forward_norm(x))


def _no_first_shortcut(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The shortcut around attention is missing: add its result to x."""
    x = attention(attention_norm(x))
    return x + feed_forward(feed_forward_norm(x))


def _no_second_shortcut(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The shortcut around the feed-forward network is missing: add its result to x."""
    x = x + attention(attention_norm(x))
    return feed_forward(feed_forward_norm(x))


def _no_norms(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The norms are missing: each part reads a normalized copy of x."""
    x = x + attention(x)
    return x + feed_forward(x)


def _no_first_norm(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """Attention reads x as it is: it must read attention_norm(x)."""
    x = x + attention(x)
    return x + feed_forward(feed_forward_norm(x))


def _no_second_norm(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The feed-forward network reads x as it is: it must read feed_forward_norm(x)."""
    x = x + attention(attention_norm(x))
    return x + feed_forward(x)


def _post_norm(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """You normalize after each addition, as in 2017: GPT-2 normalizes only what a part reads, so
    that the stream itself stays untouched."""
    x = attention_norm(x + attention(x))
    return feed_forward_norm(x + feed_forward(x))


def _results_normalized(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """You normalize what the parts write: normalize what they read."""
    x = x + attention_norm(attention(x))
    return x + feed_forward_norm(feed_forward(x))


def _stream_normalized(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The normalized copy takes the place of x, so it is what the results are added to: keep x as
    it is, and give the copy to the part only."""
    x = attention_norm(x)
    x = x + attention(x)
    x = feed_forward_norm(x)
    return x + feed_forward(x)


def _side_by_side(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The feed-forward network reads the old x: it must read x after attention was added."""
    return x + attention(attention_norm(x)) + feed_forward(feed_forward_norm(x))


def _old_stream(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The second result is added to the old x, so what attention found is lost: add it to the new
    one."""
    middle = x + attention(attention_norm(x))
    return x + feed_forward(feed_forward_norm(middle))


def _norms_swapped(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The two norms are swapped: attention_norm belongs to attention."""
    x = x + attention(feed_forward_norm(x))
    return x + feed_forward(attention_norm(x))


def _one_norm_twice(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """attention_norm is used twice: the feed-forward network has a norm of its own."""
    x = x + attention(attention_norm(x))
    return x + feed_forward(attention_norm(x))


def _order_swapped(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The feed-forward network comes first: a token gathers with attention before it thinks."""
    x = x + feed_forward(feed_forward_norm(x))
    return x + attention(attention_norm(x))


def _only_attention(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """The feed-forward network is missing: it makes the second addition."""
    return x + attention(attention_norm(x))


def _only_feed_forward(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """Attention is missing: it makes the first addition."""
    return x + feed_forward(feed_forward_norm(x))


def _block_parts(generator):
    """Sizes all different; the parts of the library with random weights."""
    for B, T, C, n_heads in ((2, 4, 6, 3), (3, 5, 8, 2), (1, 1, 4, 1)):
        config = GPTConfig(vocab_size=11, context_length=7, emb_dim=C, n_heads=n_heads, n_layers=1,
                           drop_rate=0.0, qkv_bias=True)
        parts = LayerNorm(C), MultiHeadAttention(config), LayerNorm(C), FeedForward(config)
        yield normal(generator, B, T, C), *(shaken(generator, part) for part in parts)


def _one_block(generator):
    return next(iter(_block_parts(generator)))


def _input_added_again(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """You add the input once more at the end: each part adds its result to x, and that is all."""
    return x + transformer_block(x, attention_norm, attention, feed_forward_norm, feed_forward)


def _multiplied_with_x(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """You multiply x by what the parts find: a block only ever adds."""
    x = x * attention(attention_norm(x))
    return x * feed_forward(feed_forward_norm(x))


def _sums_halved(x, attention_norm, attention, feed_forward_norm, feed_forward):
    """You halve the sum after each part: add, and leave the stream as it is."""
    x = (x + attention(attention_norm(x))) / 2
    return (x + feed_forward(feed_forward_norm(x))) / 2


def _what_the_parts_read(answer, x, *parts):
    """Which part reads something other than it should, in the order of the block."""
    names = ("attention_norm", "attention", "feed_forward_norm", "feed_forward")
    calls = overheard(**dict(zip(names, parts, strict=True)))
    result = answer(x, *parts)
    if problem := called_once(calls, x):
        return problem
    read, wrote = ({name: heard[0][n] for name, heard in calls.items()} for n in (0, 1))
    terms = {"x": x, **{f"{name}(...)": wrote[name] for name in names}}
    middle = x + wrote["attention"]
    for name, wanted, words in (
        ("attention_norm", x, "x"),
        ("attention", wrote["attention_norm"], "attention_norm(...)"),
        ("feed_forward_norm", middle, "x + attention(...)"),
        ("feed_forward", wrote["feed_forward_norm"], "feed_forward_norm(...)"),
    ):
        if read[name].shape != x.shape:
            return f"{name} gets only a part of x, or another shape: give it all tokens at once."
        if not _equal(read[name], wanted):
            others = {term: terms[term] for term in terms if term != f"{name}(...)"}
            made = _as_a_sum(read[name], others)
            return f"{name} reads {made or 'something else'}, but must read {words}."
    if not _equal(result, middle + wrote["feed_forward"]):
        made = _as_a_sum(result, terms) or "something else"
        return (f"Each part reads what it should, but you return {made}: it must be "
                "x + attention(...) + feed_forward(...).")
    return None


TRANSFORMER_BLOCK = Exercise(
    "04.transformer_block",
    goal="Put the parts together: two additions to the residual stream.",
    solution=transformer_block,
    reference=transformer_block,               # a test holds it and the library's class together
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=lambda generator: list(_block_parts(generator)),
    mistakes=[_no_shortcuts, _no_first_shortcut, _no_second_shortcut, _no_norms, _no_first_norm,
              _no_second_norm, _post_norm, _results_normalized, _stream_normalized, _side_by_side,
              _old_stream, _norms_swapped, _one_norm_twice, _order_swapped, _only_attention,
              _only_feed_forward, _input_added_again, _multiplied_with_x, _sums_halved],
    symptoms=[_what_the_parts_read],
    hints=(
        "A block only ever adds to x. What does attention read: x itself? And what does the "
        "feed-forward network read: the x from before, or with what attention has added?",
        """
        1. x becomes x plus what attention makes of the normalized x
        2. the new x plus what the feed-forward network makes of the normalized new x
        """,
        """
        x = x + attention(attention_norm(x))
        return ...                            # likewise, with the other norm and the other part
        """,
    ),
    properties=[gradient_reaches(("x",), _one_block, transformer_block)],
    batched={"x": 2},
)

EXERCISES = (LAYER_NORM, GELU, FEED_FORWARD, TRANSFORMER_BLOCK)
