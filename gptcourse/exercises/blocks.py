"""Exercises of chapter 4: the norm, the bend, the network around it, and the block of all parts."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from gptcourse import gpt
from gptcourse.exercises.answers import TensorAnswer
from gptcourse.exercises.attention import NARROW, ONE_HEAD, WIDE, layer_inputs, wide_input
from gptcourse.exercises.classes import (
    dropout_in_training_only,
    filled,
    fits,
    forward_leaves_it_alone,
    gradients_reach_all,
    no_look_ahead,
    run_filled,
)
from gptcourse.exercises.early import EARLY
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.properties import (
    called_once,
    each_token_alone,
    gradient_reaches,
    normal,
    overheard,
)

# ----------------------------------------------------------------------------------- LayerNorm


def _to_normalize(generator):
    """Ordinary vectors, tiny ones, one whose numbers are all equal; T = 1."""
    for shape, size in (((4, 6), 1), ((2, 3, 5), 0.01), ((3, 2, 4, 8), 2), ((2, 1, 9), 0.01)):
        x = 0.5 * size + size * normal(generator, *shape)
        if len(shape) == 4:
            x[0, 0, 0] = 0.25
        yield shape[-1], x


def _vectors(generator):
    return 6, normal(generator, 2, 4, 6)


_ONE_LESS = ("The variance is divided by C - 1, as torch's var and std do by default; a norm "
             "divides by C: unbiased=False.")


def _mean_and_variance_after(answer, *_trial):
    """Whether the norm itself is wrong, or only what becomes of scale, shift and 1e-5."""
    x = 300 + 200 * normal(torch.Generator().manual_seed(3), 3, 4, 6)
    norm, right = answer.build(6), filled(gpt.LayerNorm(6))
    others = 0.5 * x.flip(1) + 200
    others[1, 1] = x[1, 1]
    scaled = norm(x.clone()), right(x)
    with torch.no_grad():
        for layer in (norm, right):
            layer.scale.fill_(1)
            layer.shift.zero_()
        plain = norm(x.clone())
        one, again = plain[1, 1].double(), norm(others)[1, 1].double()
    if not one.isfinite().all():
        return None
    if not torch.allclose(one, again, rtol=1e-3, atol=1e-4):
        return ("What becomes of one vector changes with the others: mean and variance are those "
                "of the vector alone, along dim=-1.")
    if abs(one.mean()) > 1e-3 * (1 + one.std()):
        return ("With scale 1 and shift 0, each vector must have the mean 0, and one of yours has "
                f"{one.mean():.4g}: subtract its mean first, in brackets.")
    variance = one.square().mean()
    if abs(variance - 5 / 6) < 1e-3:
        return _ONE_LESS
    if abs(variance - 1) > 1e-3:
        return ("With scale 1 and shift 0, each vector must have the variance 1, and one of yours "
                f"has {variance:.4g}: divide by the root of the mean of the squared distances.")
    if not torch.allclose(plain, right(x), rtol=1e-3, atol=1e-4):
        return None
    if not torch.allclose(*scaled, rtol=1e-3, atol=1e-4):
        return ("With scale 1 and shift 0 it is right: multiply what is normalized by self.scale, "
                "then add self.shift.")
    return "All is right but the 1e-5: it is added once, to the variance, under the root."


def _begins_plain(cls):
    """A fresh norm changes nothing about what it has normalized."""
    norm = cls(4)
    if torch.equal(norm.scale, torch.ones(4)) and torch.equal(norm.shift, torch.zeros(4)):
        return None
    return "a fresh norm has another scale than 1, or another shift than 0: ones and zeros."


LAYER_NORM = Exercise(
    "04.LayerNorm",
    goal=("Bring each token's vector to mean 0 and variance 1, with 1e-5 added to the variance, "
          "then times scale, plus shift."),
    returns=TensorAnswer("output", ("C",), leading=True),
    cases=lambda generator: list(_to_normalize(generator)),
    use=partial(run_filled, config="emb_dim"),
    structure=fits(gpt.LayerNorm, [6, 5]),
    edits=[
        (", unbiased=False", "", _ONE_LESS),
        ("torch.sqrt(variance + 1e-5)", "(torch.sqrt(variance) + 1e-5)",
         "1e-5 is added outside the root; it belongs to the variance, inside."),
        ("variance + 1e-5", "variance",
         "1e-5 is missing: for a vector whose numbers are all equal, you divide zero by zero."),
        ("torch.sqrt(variance + 1e-5)", "(variance + 1e-5)",
         "You divide by the variance: divide by its square root."),
        ("(x - mean)", "x",
         "The mean is not subtracted from x."),
        ("(x - mean)", "(mean - x)",
         "You subtract x from the mean, so every sign is turned: subtract the mean from x."),
        ("self.scale * (x - mean)", "self.scale * x - mean",
         "The brackets around x - mean are missing, so only the mean is divided by the root."),
        ("x.var(dim=-1, keepdim=True, unbiased=False)               # (..., 1)\n"
         "        return self.scale * (x - mean)",
         "x.square().mean(dim=-1, keepdim=True)\n        return self.scale * x",
         "The mean is subtracted nowhere; this is RMSNorm, which later models use, but not GPT-2."),
        ("(x - mean) / torch.sqrt(variance + 1e-5)", "(x - variance) / torch.sqrt(mean + 1e-5)",
         "Mean and variance have changed places: torch.var_mean returns the variance first."),
        ("x.mean(dim=-1, keepdim=True)", "x.mean(dim=-1)",
         "The mean, or the variance, has lost its axis, so it does not go with x row by row: "
         "keep it in both, with keepdim=True."),
        ("self.scale *", "(1 + self.scale) *",
         "You multiply by 1 + scale: scale begins at 1 itself, so multiply by it alone."),
        ("self.scale * (x - mean) / torch.sqrt(variance + 1e-5) + self.shift",
         "self.shift * (x - mean) / torch.sqrt(variance + 1e-5) + self.scale",
         "Scale and shift are swapped: scale multiplies, shift is added."),
    ],
    symptoms=[_mean_and_variance_after],
    hints=(
        "Do (1, 7, 7, 9) by hand, as in step 2: its mean, the distances from it, the mean of their "
        "squares. Which axis are those means taken over, when x is a whole batch?",
        """
        __init__: two rows of C numbers that are learned, ones for scale, zeros for shift
        forward:
        1. the mean over the last axis, with keepdim=True so that it can be subtracted
        2. the variance: the mean of the squared distances, over the same axis, divided by C
        3. subtract the mean, divide by the root of variance + 1e-5
        4. times scale, plus shift
        """,
        """
        self.scale = nn.Parameter(torch.ones(emb_dim))        # and the shift, of zeros

        mean = x.mean(dim=-1, keepdim=True)
        variance = ...                        # the mean of (x - mean) squared
        return self.scale * (x - mean) / torch.sqrt(variance + 1e-5) + self.shift
        """,
    ),
    properties=[
        each_token_alone(_vectors),
        gradients_reach_all(_vectors, gpt.LayerNorm),
        forward_leaves_it_alone(_vectors),
        Property("begins with scale 1 and shift 0", _begins_plain, of_class=True),
    ],
    batched={"x": 1},
)

# ---------------------------------------------------------------------------------------- GELU

gelu = gpt.GELU()
_OTHER_BENDS = {
    "ReLU": torch.relu, "the square of ReLU": lambda x: torch.relu(x) ** 2,
    "leaky ReLU": F.leaky_relu, "ELU": F.elu, "SiLU": F.silu, "hard swish": F.hardswish,
    "softplus": F.softplus, "Mish": F.mish, "a sigmoid": torch.sigmoid, "tanh alone": torch.tanh,
    "a softmax": lambda x: x.softmax(dim=-1),
    "the sigmoid form of GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "the error function's GELU, torch's default": F.gelu,
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
    above, below, half_above, half_below = (
        answer(torch.tensor([x])).item() / x for x in (20.0, -20.0, 10.0, -10.0))
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
    "04.GELU",
    goal="Bend every number softly: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).",
    returns=TensorAnswer("output", (), leading=True),
    cases=lambda generator: [
        (torch.linspace(-2, 3, 6),), (2 * normal(generator, 3, 5),), (normal(generator, 2, 4, 7),),
        (torch.tensor([-30.0, 30.0]),), (normal(generator, 1, 1),),
    ],
    holes=("forward",),
    use=lambda cls: lambda x: cls()(x),
    edits=[
        ("0.5 * x * (1", "x * (1",
         "The factor 0.5 is missing: large numbers must pass as they are."),
        ("0.5 * x * (1", "0.5 * (1", "This is the gate alone, between 0 and 1: multiply x by it."),
        ("1 + torch.tanh", "torch.tanh",
         "The `1 +` in front of tanh is missing, so negative numbers do not go to 0."),
        ("1 + torch.tanh", "1 - torch.tanh",
         "The gate is 1 minus tanh, so it closes for large numbers: it must be 1 plus tanh."),
        (" + 0.044715 * x**3", "", "The cube is missing: 0.044715 is multiplied by x³."),
        ("x**3", "x**2", "x is squared where it must be cubed."),
        ("x**3", "x * 3",
         "The sign * for ** is no power: x * 3 is three times x, and the cube is x**3."),
        ("math.sqrt(2 / math.pi)", "2 / math.pi", "2/π stands there without its square root."),
        ("0.044715 * x**3", "(0.044715 * x) ** 3",
         "Only x is cubed: 0.044715 * x**3, not (0.044715 * x)**3."),
        ("math.sqrt(2 / math.pi)", "math.sqrt(2) / math.pi",
         "The root is taken of 2 alone: √(2/π) is math.sqrt(2 / math.pi)."),
        ("math.sqrt(2 / math.pi)", "math.sqrt(math.pi / 2)",
         "The 2 and the π have changed places: it is the root of 2/π."),
        ("0.044715", "0.44715",
         "The factor of the cube is ten times too large: 0.044715 has a zero behind the point."),
        ("(x + 0.044715 * x**3)", "x + 0.044715 * x**3",
         "The root multiplies x alone: it multiplies the whole sum, so the cube belongs inside its "
         "brackets."),
        ("torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))",
         "torch.tanh(math.sqrt(2 / math.pi)) * (x + 0.044715 * x**3)",
         "The bracket of tanh closes too early: the root and the sum belong inside of it, both."),
        ("(1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
         "1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))",
         "The brackets around 1 + tanh(...) are missing: half of x multiplies the whole sum."),
        ("torch.tanh(", "torch.sigmoid(",
         "A sigmoid stands where the tanh belongs: it lies between 0 and 1, tanh between -1 and "
         "1."),
        ("0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))",
         "x * torch.sigmoid(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))",
         "Inside of the tanh stands half of what it should be: 0.5 (1 + tanh(z)) is sigmoid(2z), "
         "so a sigmoid takes the double."),
        ("torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))", "torch.tanh(x)",
         "This takes tanh of x alone: its argument is the root of 2/π times (x + 0.044715 x³)."),
        ("torch.tanh", "torch.tan",
         "That is the tangent, which shoots up: the gate is the hyperbolic one, tanh."),
        ("0.5 * x *", "x // 2 *", "The sign // rounds down: half of x is 0.5 * x, or x / 2."),
    ],
    symptoms=[_taken_apart],
    hints=(
        "It is nothing but a formula, 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), and torch works "
        "on all numbers of x at once. Write it from the inside to the outside.",
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

# --------------------------------------------------------------------------------- FeedForward


def _what_the_layers_read(answer, config, x):
    """Which of the two layers reads, or writes, something else than it should."""
    network = answer.build(config)
    calls = overheard(expand=network.expand, contract=network.contract)
    result = network(x)
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
            return f"You bend with {name}: GPT-2 has your GELU."
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
    "04.FeedForward",
    goal="Let each token think by itself: expand four times as wide, gelu, contract.",
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=lambda generator: [({"emb_dim": C}, normal(generator, B, T, C))
                             for B, T, C in ((2, 3, 4), (3, 5, 6), (1, 1, 2))],
    use=run_filled,
    structure=fits(gpt.FeedForward, [{"emb_dim": 4}, {"emb_dim": 6}]),
    edits=[
        ("self.gelu(self.expand(x))", "self.expand(x)",
         "gelu is missing: without a bend, two linear layers are no more than one."),
        ("self.contract(self.gelu(self.expand(x)))", "self.gelu(self.contract(self.expand(x)))",
         "gelu comes after contract: it belongs between the two layers."),
        ("self.contract(self.gelu(self.expand(x)))",
         "self.gelu(self.contract(self.gelu(self.expand(x))))",
         "gelu is applied at the end, too: it belongs between the two layers only."),
        ("self.gelu(self.expand(x))", "self.expand(self.gelu(x))",
         "gelu comes before expand: it belongs between the two layers."),
        ("self.gelu(self.expand(x))", "self.gelu(self.gelu(self.expand(x)))",
         "gelu is applied twice in a row: once is enough."),
        ("return self.contract", "return x + self.contract",
         "x is added to the result: the shortcut belongs to the block, outside of this network."),
        ("return self.contract", "return x * self.contract",
         "You multiply the result by x: the result alone is asked for."),
        ("self.contract(self.gelu(self.expand(x)))", "self.gelu(self.expand(x))",
         "The vectors are still wide: contract brings them back to their width."),
        ("self.contract(self.gelu(self.expand(x)))", "self.expand(self.gelu(self.contract(x)))",
         "The vectors do not fit there: expand, C to 4C, comes before contract, 4C to C; and both "
         "are called, for a layer stores its matrix the other way around."),
        ("self.contract(self.gelu(self.expand(x)))",
         "self.gelu(x @ self.expand.weight.T) @ self.contract.weight.T",
         "The layers' biases are left out: call a layer like a function, and it adds its own."),
        ('nn.Linear(config["emb_dim"], 4 * config["emb_dim"])',
         'nn.Linear(4 * config["emb_dim"], config["emb_dim"])',
         "nn.Linear takes the width that comes in first, and then the one that goes out: expand "
         "makes 4C of C."),
        ('nn.Linear(config["emb_dim"], 4 * config["emb_dim"])',
         'nn.Linear(config["emb_dim"], config["emb_dim"])',
         "expand makes vectors four times as wide: 4 * config[\"emb_dim\"] goes out."),
    ],
    symptoms=[_what_the_layers_read],
    hints=(
        "__init__ makes two linear layers, C to 4C and 4C to C, and a GELU. In which order do the "
        "three steps happen, read from the inside?",
        """
        1. expand x
        2. bend the result with gelu
        3. contract it
        """,
        """
        self.expand = nn.Linear(config["emb_dim"], 4 * config["emb_dim"])
        self.gelu = GELU()                                    # and contract, back to C

        hidden = self.gelu(self.expand(x))                    # (B, T, 4C)
        return ...                                            # (B, T, C)
        """,
    ),
    properties=[
        each_token_alone(wide_input),
        gradients_reach_all(wide_input, gpt.FeedForward),
        forward_leaves_it_alone(wide_input),
    ],
    batched={"x": 2},
)

# ---------------------------------------------------------------------------- TransformerBlock

_PARTS = ("attention_norm", "attention", "feed_forward_norm", "feed_forward")


def _what_the_parts_read(answer, config, x):
    """Which part reads something other than it should, in the order of the block."""
    block = answer.build(config)
    calls = overheard(**{name: getattr(block, name) for name in _PARTS})
    result = block(x)
    if problem := called_once(calls, x):
        return problem
    read, wrote = ({name: heard[0][n] for name, heard in calls.items()} for n in (0, 1))
    terms = {"x": x, **{f"{name}(...)": wrote[name] for name in _PARTS}}
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


@torch.no_grad()
def _drops_what_it_adds(cls):
    """In training, a part of what attention and the feed-forward network add is dropped, no more.

    One of the two is silenced, and the dropout inside of both is off, so that what is left shows.
    """
    x = normal(torch.Generator().manual_seed(4), 16, 7, 12)
    torch.manual_seed(4)
    for name, silent in (("attention", "feed_forward.contract"),
                         ("feed_forward", "attention.output")):
        block = filled(cls({**WIDE, "drop_rate": 0.25})).train()
        for part in _PARTS:
            getattr(block, part).eval()
        for parameter in block.get_submodule(silent).parameters():
            parameter.zero_()
        share = (block(x) - x == 0).float().mean()
        if not 0.2 < share < 0.3:
            return (f"in training, with drop_rate=0.25, 25% of what self.{name} adds must be "
                    f"dropped, but it is {share:.0%}: self.dropout(...) goes around what is added, "
                    "and x itself stays whole.")
    return None


_BLOCK = {
    "definition": "TransformerBlock",
    "earlier_form": EARLY["TransformerBlock"],
    "returns": TensorAnswer("output", ("B", "T", "C")),
    "cases": lambda generator: list(layer_inputs(generator)),
    "use": run_filled,
    "structure": fits(gpt.TransformerBlock, [WIDE, NARROW, ONE_HEAD]),
    "symptoms": [_what_the_parts_read],
    "properties": [
        no_look_ahead(wide_input),
        gradients_reach_all(wide_input, gpt.TransformerBlock),
        forward_leaves_it_alone(wide_input),
        dropout_in_training_only(wide_input),
        Property("drops a part of what is added", _drops_what_it_adds, of_class=True),
    ],
    "batched": {"x": 2},
}
_FIRST = "x = x + self.dropout(self.attention(self.attention_norm(x)))"
_SECOND = "return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))"
_BOTH = f"{_FIRST}\n        {_SECOND}"
_POST_NORM = """x = self.attention_norm(x + self.dropout(self.attention(x)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))"""
_STREAM_NORMALIZED = """x = self.attention_norm(x)
        x = x + self.dropout(self.attention(x))
        x = self.feed_forward_norm(x)
        return x + self.dropout(self.feed_forward(x))"""
_RESULTS_NORMALIZED = """x = x + self.attention_norm(self.attention(x))
        return x + self.feed_forward_norm(self.feed_forward(x))"""

TRANSFORMER_BLOCK = Exercise(
    "04.TransformerBlock",
    goal=("Put attention and feed_forward together, each behind a norm of its own, attention_norm "
          "and feed_forward_norm: two additions to the residual stream, with dropout on both."),
    edits=[
        (_BOTH, "x = self.attention(self.attention_norm(x))\n"
         "        return self.feed_forward(self.feed_forward_norm(x))",
         "Both shortcuts are missing: each part's result is added to x, not put in its place."),
        ("x = x + self.dropout", "x = self.dropout",
         "The shortcut around attention is missing: add its result to x."),
        ("return x + self.dropout", "return self.dropout",
         "The shortcut around the feed-forward network is missing: add its result to x."),
        (_BOTH, "x = x + self.attention(x)\n        return x + self.feed_forward(x)",
         "The norms are missing: each part reads a normalized copy of x."),
        (_BOTH, _POST_NORM,
         "You normalize after each addition, as in 2017: GPT-2 normalizes only what a part reads, "
         "so that the stream itself stays untouched."),
        (_BOTH, _RESULTS_NORMALIZED,
         "You normalize what the parts write: normalize what they read."),
        (_BOTH, _STREAM_NORMALIZED,
         "The normalized copy takes the place of x, so it is what the results are added to: keep x "
         "as it is, and give the copy to the part only."),
        (_BOTH, "attended = self.attention(self.attention_norm(x))\n"
         "        return x + attended + self.feed_forward(self.feed_forward_norm(x))",
         "The feed-forward network reads the old x: it must read x after attention was added."),
        (_BOTH, "middle = x + self.attention(self.attention_norm(x))\n"
         "        return x + self.feed_forward(self.feed_forward_norm(middle))",
         "The second result is added to the old x, so what attention found is lost: add it to the "
         "new one."),
        (_BOTH, "x = x + self.attention(self.feed_forward_norm(x))\n"
         "        return x + self.feed_forward(self.attention_norm(x))",
         "The two norms are swapped: attention_norm belongs to attention."),
        ("feed_forward(self.feed_forward_norm(x))", "feed_forward(self.attention_norm(x))",
         "attention_norm is used twice: the feed-forward network has a norm of its own."),
        (_BOTH, "x = x + self.feed_forward(self.feed_forward_norm(x))\n"
         "        return x + self.attention(self.attention_norm(x))",
         "The feed-forward network comes first: a token gathers with attention before it thinks."),
        (_BOTH, "return x + self.attention(self.attention_norm(x))",
         "The feed-forward network is missing: it makes the second addition."),
        ('self.feed_forward_norm = LayerNorm(config["emb_dim"])',
         "self.feed_forward_norm = self.attention_norm",
         "Both norms are one and the same layer: each gets a LayerNorm of its own."),
        ('self.attention_norm = LayerNorm(config["emb_dim"])',
         'self.attention_norm = nn.LayerNorm(config["emb_dim"])',
         "That is torch's norm, whose numbers are called weight and bias: take your own LayerNorm, "
         "with scale and shift."),
        ("self.attention_norm = LayerNorm(config[\"emb_dim\"])",
         "self.attention_norm = LayerNorm(config)",
         "LayerNorm takes a width and not the whole configuration: config[\"emb_dim\"]."),
    ],
    hints=(
        "A block only ever adds to x. What does attention read: x itself? And what does the "
        "feed-forward network read: the x from before, or with what attention has added?",
        """
        __init__: a LayerNorm for each of the two parts, the two parts, and one nn.Dropout
        forward:
        1. x becomes x plus what attention makes of the normalized x
        2. the new x plus what the feed-forward network makes of the normalized new x
        3. around each of the two results, before it is added: self.dropout
        """,
        """
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return ...                            # likewise, with the other norm and the other part
        """,
    ),
    **_BLOCK,
)

POST_NORM = Exercise(
    "04.post_norm",
    goal=("Find the bug: two of these blocks learn well, two dozen learn nothing, and with trained "
          "weights in it the model talks nonsense."),
    bug=(_BOTH, _POST_NORM),
    kept=False,
    edits=[
        (_BOTH, _POST_NORM,
         "The bug is still in there: follow x from the top to the bottom, and look what happens "
         "to it besides the two additions."),
        (_BOTH, _RESULTS_NORMALIZED,
         "The stream is free now, but you normalize what the parts write, and what they read is as "
         "large as x has grown: each reads a normalized copy."),
        (_BOTH, _STREAM_NORMALIZED,
         "You normalize x itself before each part, so the stream is still cut twice: only what the "
         "part reads is normalized."),
        (_BOTH, "x = x + self.dropout(self.attention(x))\n"
         "        return x + self.dropout(self.feed_forward(x))",
         "Without the norms the stream is free, but the parts read numbers that grow from block to "
         "block: each reads a normalized copy."),
        (_BOTH, f"{_FIRST}\n        return self.feed_forward_norm(x + self.dropout("
         "self.feed_forward(x)))",
         "The first half is mended: now do the same to the second."),
        (_BOTH, "x = self.attention_norm(x + self.dropout(self.attention(x)))\n"
         f"        {_SECOND}",
         "The second half is mended: now do the same to the first."),
    ],
    hints=(
        "Write down what a number of x goes through from the first block to the last, if both "
        "parts add nothing at all. Compare it with the sentence below the class's name.",
        """
        1. x + ... must be the last thing that happens in each of the two lines
        2. the norm moves inside, around the x that the part reads
        """,
        """
        x = x + self.dropout(self.attention(self.attention_norm(x)))
        return ...                            # the same for the second half
        """,
    ),
    **_BLOCK,
)

EXERCISES = (LAYER_NORM, GELU, FEED_FORWARD, TRANSFORMER_BLOCK, POST_NORM)
