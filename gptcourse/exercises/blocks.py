"""Exercises of chapter 4: the norm, GELU, the network around it, and the block of all parts."""

from __future__ import annotations

from functools import partial

import torch
import torch.nn.functional as F

from gptcourse import gpt
from gptcourse.exercises.answers import TensorAnswer
from gptcourse.exercises.attention import NARROW, ONE_HEAD, WIDE, layer_inputs, wide_input
from gptcourse.exercises.classes import facts_of_a_layer, filled, fits, run_filled
from gptcourse.exercises.early import EARLY
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.listening import first_misread
from gptcourse.exercises.properties import equal, gradient_reaches, normal

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
    cases=_to_normalize,
    use=partial(run_filled, config="emb_dim"),
    structure=fits(gpt.LayerNorm, [6, 5]),
    edits=[
        ("(x - mean) / torch.sqrt(variance + 1e-5)", "(x - variance) / torch.sqrt(mean + 1e-5)",
         "Mean and variance have changed places: torch.var_mean returns the variance first."),
        ("x.mean(dim=-1, keepdim=True)", "x.mean(dim=-1)",
         "The mean, or the variance, has lost its axis, so it does not go with x row by row: "
         "keep it in both, with keepdim=True."),
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
           (or x.var with unbiased=False, which divides by C - 1 otherwise)
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
        *facts_of_a_layer(_vectors, gpt.LayerNorm, drops=False),
        Property("begins with scale 1 and shift 0", _begins_plain, of_class=True),
    ],
    batched={"x": 1},
)

# ---------------------------------------------------------------------------------------- GELU

gelu = gpt.GELU()
_OTHER_BENDS = {
    "ReLU": torch.relu, "SiLU": F.silu, "a sigmoid": torch.sigmoid, "tanh alone": torch.tanh,
    "the sigmoid form of GELU": lambda x: x * torch.sigmoid(1.702 * x),
    "the error function's GELU, torch's default": F.gelu,
}


def _bend_in_words(numbers, bent):
    """Which other function makes the second of the first."""
    return next((name for name, bend in _OTHER_BENDS.items() if equal(bend(numbers), bent)), None)


def _taken_apart(answer, *trial):
    """Whether it is another function, or else outside or inside of the tanh that it is wrong."""
    if name := _bend_in_words(*trial, answer(*trial)):
        return f"That is {name}: use the formula with tanh, as GPT-2 does."
    if found := _far_from_zero(answer):
        return found
    x = torch.linspace(-1.5, 1.5, 20, dtype=torch.float64)
    inside, powers = torch.atanh(2 * answer(x.clone()) / x - 1), torch.stack([x, x**3], dim=1)
    factors = torch.linalg.lstsq(powers, inside.nan_to_num(0, 0, 0)[:, None]).solution[:, 0]
    if not torch.allclose(powers @ factors, inside, atol=1e-4):
        return ("Inside of the tanh stands something other than √(2/π) (x + 0.044715 x³), or it is "
                "another function.")
    factors = factors.round(decimals=5) + 0.0                              # no -0.00000
    return (f"Inside of the tanh, x is multiplied by {factors[0]:.5f} and x³ by {factors[1]:.5f}: "
            "it must be 0.79788, which is √(2/π), and 0.03568, which is that times 0.044715.")


def _far_from_zero(answer):
    """What stands around the tanh, which is 1 for large numbers and -1 for very negative ones."""
    above, below = (answer(torch.tensor([x])).item() for x in (20.0, -20.0))
    if min(abs(above), abs(above - 20)) < 0.01 and min(abs(below), abs(below + 20)) < 0.01:
        return None
    return ("Outside of the tanh, or in place of it, something is wrong: 20 must stay 20, and -20 "
            f"become 0, but you get {above:.4g} and {below:.4g}.")


GELU = Exercise(
    "04.GELU",
    goal="Bend every number softly: 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))).",
    returns=TensorAnswer("output", (), leading=True, rtol=1e-6, atol=2e-6),   # 0.0447 shows
    cases=lambda generator: [
        (torch.linspace(-2, 3, 6),), (2 * normal(generator, 3, 5),), (normal(generator, 2, 4, 7),),
        (torch.tensor([-30.0, 30.0]),), (normal(generator, 1, 1),),
    ],
    holes=("forward",),
    use=lambda cls: lambda x: cls()(x),
    edits=[
        ("x**3", "x**2", "x is squared where it must be cubed."),
        ("torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3))",
         "torch.tanh(math.sqrt(2 / math.pi)) * (x + 0.044715 * x**3)",
         "The bracket of tanh closes too early: the root and the sum belong inside of it, both."),
    ],
    symptoms=[_taken_apart],
    hints=(
        "It is nothing but a formula, 0.5 x (1 + tanh(√(2/π) (x + 0.044715 x³))), and torch works "
        "on all numbers of x at once. Write it from the inside to the outside.",
        """
        1. inner: x plus 0.044715 times x cubed, and this sum times the root of 2/π
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
    return first_misread(
        network, x, {"expand": network.expand, "contract": network.contract}, {
            "expand": (lambda written: x, "x as it came in"),
            "contract": (lambda written: gelu(written["expand"]), "gelu(expand(...))"),
        }, (lambda written: written["contract"], "contract(...)"), _norm_or_bend)


def _norm_or_bend(name, read, written):
    """The likeliest things that a layer reads in place of the right one."""
    if name == "contract":
        bend = _bend_in_words(written["expand"], read)
        return bend and f"Your nonlinearity is {bend}: GPT-2 has your GELU."
    if equal(read, F.layer_norm(written["x"], read.shape[-1:])):
        return "expand reads a normalized x: the norm belongs to the block, not to this network."
    return None


FEED_FORWARD = Exercise(
    "04.FeedForward",
    goal="Let each token think by itself: expand four times as wide, gelu, contract.",
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=lambda generator: [({"emb_dim": C}, normal(generator, B, T, C))
                             for B, T, C in ((2, 3, 4), (3, 5, 6), (1, 1, 2))],
    use=run_filled,
    structure=fits(gpt.FeedForward, [{"emb_dim": 4}, {"emb_dim": 6}]),
    edits=[
        ("self.contract(self.gelu(self.expand(x)))", "self.expand(self.gelu(self.contract(x)))",
         "The vectors do not fit there: expand, C to 4C, comes before contract, 4C to C; and both "
         "are called, for a layer stores its matrix the other way around."),
    ],
    symptoms=[_what_the_layers_read],
    hints=(
        "__init__ makes two linear layers, C to 4C and 4C to C, and a GELU. In which order do the "
        "three steps happen, read from the inside?",
        """
        1. expand x
        2. gelu of what came out
        3. contract it
        """,
        """
        self.expand = nn.Linear(config["emb_dim"], 4 * config["emb_dim"])
        self.gelu = GELU()                                    # and contract, back to C

        hidden = self.gelu(self.expand(x))                    # (B, T, 4C)
        return ...                                            # (B, T, C)
        """,
    ),
    properties=facts_of_a_layer(wide_input, gpt.FeedForward, drops=False),
    batched={"x": 2},
)

# ---------------------------------------------------------------------------- TransformerBlock

_PARTS = ("attention_norm", "attention", "feed_forward_norm", "feed_forward")


def _what_the_parts_read(answer, config, x):
    """Which part reads something other than it should, in the order of the block."""
    block = answer.build(config)
    return first_misread(
        block, x, {name: getattr(block, name) for name in _PARTS}, {
            "attention_norm": (lambda written: x, "x"),
            "attention": (lambda written: written["attention_norm"], "attention_norm(...)"),
            "feed_forward_norm": (lambda written: x + written["attention"], "x + attention(...)"),
            "feed_forward": (lambda written: written["feed_forward_norm"],
                             "feed_forward_norm(...)"),
        }, (lambda written: x + written["attention"] + written["feed_forward"],
            "x + attention(...) + feed_forward(...)"))


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


_BOTH = """x = x + self.dropout(self.attention(self.attention_norm(x)))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))"""
_POST_NORM = """x = self.attention_norm(x + self.dropout(self.attention(x)))
        return self.feed_forward_norm(x + self.dropout(self.feed_forward(x)))"""
_ON_THE_COPY = """for norm, part in ((self.attention_norm, self.attention),
                           (self.feed_forward_norm, self.feed_forward)):
            x = norm(x)
            x = x + self.dropout(part(x))
        return x"""

TRANSFORMER_BLOCK = Exercise(
    "04.TransformerBlock",
    goal=("Put attention and feed_forward together, each behind a norm of its own, attention_norm "
          "and feed_forward_norm: two additions to the residual stream, with dropout on both."),
    earlier_form=EARLY["TransformerBlock"],
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=layer_inputs,
    use=run_filled,
    structure=fits(gpt.TransformerBlock, [WIDE, NARROW, ONE_HEAD]),
    edits=[
        (_BOTH, _POST_NORM,
         "You normalize after each addition, as in 2017: GPT-2 normalizes only what a part reads, "
         "so that the stream itself stays untouched."),
    ],
    hints=(
        "A block only ever adds to x. What does attention read: x itself? And what does the "
        "feed-forward network read: the x from before, or with what attention has added?",
        """
        __init__: a LayerNorm for each of the two parts, the two parts, and one nn.Dropout;
        a norm takes the width, config["emb_dim"], and a part takes the whole config
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
    symptoms=[_what_the_parts_read],
    properties=[
        *facts_of_a_layer(wide_input, gpt.TransformerBlock),
        Property("drops a part of what is added", _drops_what_it_adds, of_class=True),
    ],
    batched={"x": 2},
)

BABBLING_BLOCK = TRANSFORMER_BLOCK.with_bug(
    "04.babbling_block",
    definition="BabblingBlock",
    goal=("Find the bug: this block learns, but it is not the one of GPT-2, and with trained "
          "weights in it the model talks nonsense."),
    bug=(_BOTH, _ON_THE_COPY,
         "The bug is still in there: say of each line what x is afterwards, the stream or a "
         "normalized copy of it."),
    hints=(
        "Suppose both parts add nothing at all. What happens to a number of x on its way through "
        "this block? Compare that with the sentence below the class's name.",
        """
        1. no line may put anything in place of x: all that may happen to x is an addition
        2. so the normalized copy needs a name of its own, or none: only the part reads it
        """,
        """
        for norm, part in ...:                # as it is
            x = x + ...                       # dropout of what the part makes of a normalized copy
        return x
        """,
    ),
)

EXERCISES = (LAYER_NORM, GELU, FEED_FORWARD, TRANSFORMER_BLOCK, BABBLING_BLOCK)
