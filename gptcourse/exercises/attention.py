"""Exercises of chapter 3: who may look, how much each gives, many heads, and the layer of them."""

from __future__ import annotations

import math
from itertools import product

import torch

from gptcourse import gpt
from gptcourse.exercises.answers import TensorAnswer
from gptcourse.exercises.classes import facts_of_a_layer, filled, fits, run_filled
from gptcourse.exercises.early import EARLY
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.listening import first_misread
from gptcourse.exercises.properties import gradient_reaches, normal

# --------------------------------------------------------------------------------- causal_mask


def _mask_in_words(index, got, _expected):
    query, key = index
    if got:
        return (f"mask[{query}, {key}] is True, but token {query} must not look at token {key}, "
                "which comes after it.")
    itself = "itself" if query == key else f"token {key}, which came before it"
    return f"mask[{query}, {key}] is False, but token {query} may look at {itself}."


def _past_and_future(answer, n_tokens):
    """Whether it is the past or the future that the mask gets wrong."""
    allowed, right = answer(n_tokens), gpt.causal_mask(n_tokens)
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


CAUSAL_MASK = Exercise(
    "03.causal_mask",
    goal="Say which tokens each token may look at: itself and those before it.",
    returns=TensorAnswer("mask", ("T", "T"), dtype="bool", words=_mask_in_words),
    cases=lambda generator: [(4,), (7,), (1,), (2,), (16,)],
    edits=[
        (".tril()", "",
         "Everything is allowed: keep only the lower triangle, the past."),
    ],
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


def _queries_and_keys(generator):
    """As many queries as keys; more keys; more axes; another mask than the causal one; T = 1."""
    patchy = torch.rand(6, 6, generator=generator) < 0.5
    for leading, T, S, D, mask in (
        ((), 4, 4, 3, gpt.causal_mask(4)),
        ((), 4, 6, 5, gpt.causal_mask(6)[-4:]),
        ((2, 3), 5, 8, 7, gpt.causal_mask(8)[-5:]),
        ((2,), 6, 6, 4, patchy | torch.eye(6, dtype=torch.bool)),
        ((3, 2), 1, 1, 2, gpt.causal_mask(1)),
    ):
        yield normal(generator, *leading, T, D), normal(generator, *leading, S, D), mask


def _square_inputs(generator):
    return normal(generator, 2, 4, 3), normal(generator, 2, 4, 3), gpt.causal_mask(4)


def _rows_sum_to_one(answer):
    sums = answer(*_square_inputs(torch.Generator().manual_seed(3))).sum(dim=-1)
    return None if torch.allclose(sums, torch.ones_like(sums)) else "the rows do not sum to 1."


def _hidden_keys_count_for_nothing(answer):
    queries, keys, mask = _square_inputs(torch.Generator().manual_seed(4))
    changed = keys.clone()
    changed[:, -1] += 1
    if torch.allclose(answer(queries, keys, mask)[:, :-1], answer(queries, changed, mask)[:, :-1]):
        return None
    return "a change of the last key changes the weights of queries that must not see it."


def _shares_in_words(answer, *_trial):
    """What the weights are made of, for scores that differ little."""
    generator = torch.Generator().manual_seed(6)
    queries, keys = normal(generator, 4, 6), normal(generator, 4, 6)
    mask = torch.tensor([[1, 0, 1, 1], [0, 1, 1, 0], [1, 1, 1, 0], [1, 1, 0, 1]], dtype=torch.bool)
    weights = answer(queries, keys, mask).double()
    return _about_shares(weights, queries, keys, mask) if weights.shape == mask.shape else None


def _about_shares(weights, queries, keys, mask):
    """What is wrong with how much each query (row) gives each key (column).  (..., T, S)"""
    seen, hidden = weights[..., mask], weights[..., ~mask]
    if (weights == -math.inf).any():
        return "Some weights are minus infinity, so these are scores: softmax must come last."
    if not weights.isfinite().all():
        return None
    if (weights < -1e-6).any():
        return ("Some weights are negative, which shares never are: softmax must be the last step, "
                "and not log_softmax.")
    if (seen == 0).all() and weights.any():
        return ("The mask is used the wrong way around: minus infinity goes where it is False, "
                "which is ~mask.")
    if (hidden > 1e-6).any():
        return ("A key that the mask hides gets a share: set its score to minus infinity, before "
                "the softmax, and go on with what masked_fill returns: it leaves scores as they "
                "are.")
    sums, scores = weights.sum(dim=-1), (queries @ keys.mT).double()
    if not torch.allclose(sums, torch.ones_like(sums), atol=1e-4):
        return "The rows do not sum to 1, as a softmax along the keys, dim=-1, would make them."
    shares, products = (_differences(x, mask) for x in (weights.log(), scores))
    factor = (shares * products).sum() / products.square().sum()
    if not torch.allclose(shares, factor * products, atol=1e-3):
        return ("The shares do not come from the dot products of queries and keys alone, all "
                "divided by the same number.")
    if abs(factor) < 1e-4:
        return "All keys get the same share: the scores must come from queries and keys."
    D = queries.shape[-1]
    if abs(factor - D**-0.5) > 1e-4:
        return (f"With D = {D}, your scores are divided by {1 / factor:.4g}: it must be the square "
                f"root of D, {D**0.5:.4g}.")
    return None


def _differences(x, mask):
    """By how much each number that the mask leaves exceeds the mean of those of its row."""
    mean = (x.where(mask, 0)).sum(dim=-1, keepdim=True) / mask.sum(dim=-1, keepdim=True)
    return (x - mean)[..., mask]


ATTENTION_WEIGHTS = Exercise(
    "03.attention_weights",
    goal="Compare every query with every key, and turn the scores into shares.",
    returns=TensorAnswer("weights", ("T", "S"), leading=True),
    cases=_queries_and_keys,
    edits=[
        (".masked_fill(~mask, -math.inf).softmax(dim=-1)", ".softmax(dim=-1) * mask",
         "The mask comes after the softmax, so the rows no longer sum to 1, and the future still "
         "counts in the sum that softmax divided by: set the scores to minus infinity before it."),
        ("math.sqrt(queries.shape[-1])", "math.sqrt(queries.shape[1])",
         "You take axis 1 for the width, which is D only where there are two axes: count from the "
         "end, queries.shape[-1]."),
        ("softmax(dim=-1)", "softmax(dim=1)",
         "The softmax runs along axis 1, as it also may where no dim is given: with a batch in "
         "front that is not the axis of the keys, and dim=-1 always is."),
        ("queries @ keys.transpose(-2, -1)", "keys @ queries.transpose(-2, -1)",
         "Queries and keys are swapped: rows must stand for queries and columns for keys."),
        ("keys.transpose(-2, -1)", "keys.transpose(0, 1)",
         "With transpose(0, 1) you swap the first two axes, which are the last two of a matrix "
         "only: count from the end, keys.transpose(-2, -1)."),
    ],
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
        scores = queries @ keys.transpose(-2, -1) / math.sqrt(queries.shape[-1])
        scores = ...                          # masked_fill, where the mask is not True: ~mask
        return scores.softmax(dim=-1)
        """,
    ),
    properties=[
        Property("rows sum to 1", _rows_sum_to_one),
        Property("no look-ahead", _hidden_keys_count_for_nothing),
        gradient_reaches(("queries", "keys"), _square_inputs, gpt.attention_weights),
    ],
    batched={"queries": 2, "keys": 2},
)

# --------------------------------------------------------------------------------- split_heads


def _to_split(generator):
    for B, T, C, n_heads in ((2, 5, 12, 3), (3, 4, 10, 2), (1, 1, 6, 3), (2, 3, 7, 1)):
        yield normal(generator, B, T, C), n_heads


def _where_they_came_from(answer, x, n_heads):
    """Which number of which token a wrong place holds, and which it should hold."""
    B, T, C = x.shape
    numbers = torch.arange(B * T * C, dtype=torch.float32).view(B, T, C)
    got, right = answer(numbers.clone(), n_heads), gpt.split_heads(numbers, n_heads)
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
    returns=TensorAnswer("heads", ("B", "H", "T", "D")),
    cases=_to_split,
    edits=[
        (".view(B, T, n_heads, C // n_heads).transpose(1, 2)",
         ".reshape(B, n_heads, T, C // n_heads)",
         "The shape is right, but view alone fills it in reading order and mixes the tokens up: "
         "cut the last axis first, as (B, T, H, D), and transpose then."),
        ("n_heads, C // n_heads)", "C // n_heads, n_heads)",
         "The number of heads and their width are swapped: the last axis becomes (H, D), in this "
         "order, before you transpose; x.split takes the width of a piece, x.chunk the number."),
        ("x.view(B, T, n_heads, C // n_heads).transpose(1, 2)",
         "torch.cat(x.chunk(n_heads, dim=-1), dim=1)",
         "The heads need an axis of their own, which torch.stack makes, and torch.cat does not."),
    ],
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
                                 gpt.split_heads)],
    batched={"x": 2},
)

# --------------------------------------------------------------------------- MultiHeadAttention

WIDE = {"emb_dim": 12, "n_heads": 3, "qkv_bias": True, "drop_rate": 0.0, "context_length": 16}
NARROW = {"emb_dim": 8, "n_heads": 2, "qkv_bias": False, "drop_rate": 0.0, "context_length": 7}
ONE_HEAD = {"emb_dim": 6, "n_heads": 1, "qkv_bias": False, "drop_rate": 0.1, "context_length": 5}


def layer_inputs(generator):
    """Several widths and numbers of heads, with and without biases; T = 1."""
    for config, B, T in ((WIDE, 2, 5), (NARROW, 3, 7), (ONE_HEAD, 1, 4), (WIDE, 2, 1)):
        yield config, normal(generator, B, T, config["emb_dim"])


def wide_input(generator):
    return WIDE, normal(generator, 2, 5, 12)


def _what_the_layers_read(answer, config, _x):
    """Which of the four reads something else than it should; of `output`, what that is made of."""
    layer, H = answer.build(config).double(), config["n_heads"]
    mask, generator = gpt.causal_mask(3), torch.Generator().manual_seed(5)
    x = 0.5 * normal(generator, 2, 3, config["emb_dim"], dtype=torch.float64)   # few: T <= D
    names = ("query", "key", "value")
    if not layer(x.clone()).isfinite().all():
        return None

    def heads(written, n_heads=H):
        return [gpt.split_heads(written[name].reshape(x.shape), n_heads) for name in names]

    def gathered(written, n_heads=H):
        queries, keys, values = heads(written, n_heads)
        weights = gpt.attention_weights(queries, keys, mask)                 # (B, H, T, T)
        return (weights @ values).transpose(1, 2).flatten(2)                 # (B, T, C)

    def known(name, read, written):
        if name != "output" or read.shape != x.shape:
            return None
        for other in range(1, config["emb_dim"]):
            if (other != H and config["emb_dim"] % other == 0
                    and torch.allclose(read, gathered(written, other), atol=1e-6)):
                return (f"With n_heads = {H}, you split into {other}: split_heads gets "
                        "self.n_heads, which is the configuration's.")
        queries, keys, values = heads(written)
        found = gpt.split_heads(read, H)                                     # (B, H, T, D)
        shares = found @ torch.linalg.pinv(values)                           # (B, H, T, T)
        if torch.allclose(shares @ values, found, atol=1e-6):
            return _about_shares_of_tokens(shares) or _about_shares(shares, queries, keys, mask)
        if torch.allclose(read.flatten().sort().values, gathered(written).flatten().sort().values):
            return ("All numbers are right, but in other places: after weights @ values, "
                    "transpose(1, 2) brings the heads of a token together, and then flatten(2) "
                    "joins them.")
        return None

    return first_misread(
        layer, x, {name: getattr(layer, name) for name in (*names, "output")},
        dict.fromkeys(names, (lambda written: x, "x")) | {
            "output": (gathered, "weights @ values, merged: each of the self.n_heads heads averages"
                                 " its piece of self.value(x)")},
        (lambda written: written["output"], "what output returns"), known)


def _about_shares_of_tokens(shares):
    later = (shares.triu(1).abs() > 1e-6).nonzero().tolist()
    return later and (
        f"Token {later[0][2]} gathers from token {later[0][3]}, which comes later: the causal mask "
        "hides it before the softmax, row t of the weights belongs to token t, and nothing else "
        "may move numbers between tokens.")


def _drops_weights_only(cls):
    """For a single token, each head has one weight: 0 or twice as large, with drop_rate=0.5."""
    config = {**WIDE, "drop_rate": 0.5}
    layer, right = (filled(one(config)) for one in (cls, gpt.MultiHeadAttention))
    x = normal(torch.Generator().manual_seed(7), 1, 1, 12)
    values = right.value(x).view(3, 4)
    possible = torch.stack([right.output((2 * torch.tensor(kept)[:, None] * values).flatten())
                            for kept in product((0.0, 1.0), repeat=3)])                  # (8, C)
    layer.train()
    for _ in range(5):
        if not torch.isclose(layer(x)[0], possible, atol=1e-4).all(dim=-1).any():
            return ("in training, something else than the attention weights is dropped: dropout "
                    "comes right after attention_weights, and nowhere else in this layer.")
    return None


MULTI_HEAD_ATTENTION = Exercise(
    "03.MultiHeadAttention",
    goal="Put the pieces into one layer: project, split, attend in every head, merge, project.",
    earlier_form=EARLY["MultiHeadAttention"],
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=layer_inputs,
    use=run_filled,
    structure=fits(gpt.MultiHeadAttention, [WIDE, NARROW, ONE_HEAD]),
    edits=[
        ("(queries, keys, mask)", "(keys, queries, mask)",
         "Queries and keys are swapped: attention_weights takes the queries first."),
        ('self.query = nn.Linear(C, C, bias=config["qkv_bias"])', "self.query = nn.Linear(C, C)",
         "Whether queries, keys and values add a bias is the configuration's: "
         'bias=config["qkv_bias"].'),
    ],
    hints=(
        "__init__ needs four linear layers, all from C to C, and a dropout. forward has the steps "
        "of this chapter in a row; each is a function that you have written.",
        """
        1. query, key and value of x, each split into heads
        2. the causal mask of T tokens; attention_weights of queries, keys and mask
        3. dropout on the weights; weights times values
        4. transpose tokens and heads back, flatten the last two axes, and self.output
        """,
        """
        queries = split_heads(self.query(x), self.n_heads)           # keys and values likewise
        mask = causal_mask(x.shape[1]).to(x.device)
        weights = self.dropout(attention_weights(queries, keys, mask))
        mixed = ...                        # values gathered, then the way back: (B, T, C)
        return self.output(mixed)
        """,
    ),
    symptoms=[_what_the_layers_read],
    properties=[
        *facts_of_a_layer(wide_input, gpt.MultiHeadAttention),
        Property("weights dropped, and nothing else", _drops_weights_only, of_class=True),
    ],
)

# ---------------------------------------------------------------------------- PeekingAttention

PEEKING_ATTENTION = MULTI_HEAD_ATTENTION.with_bug(
    "03.PeekingAttention",
    definition="PeekingAttention",
    goal="Find the bug: every forbidden weight is 0, and still tokens learn something of what "
         "comes after them.",
    bug=(".transpose(1, 2).flatten(2)     ", ".reshape(x.shape)               ",
         "The bug is still in there: the mask and the weights are right, but a token's output has "
         "numbers of other tokens in it. Say of each line which axis the tokens are on."),
    hints=(
        "The mask is right, and so are the weights. Where else do the numbers of several tokens "
        "lie in one tensor? Write the shape beside each line, with the name of each axis.",
        """
        1. weights @ values has the axes (B, H, T, D): all tokens of head 0 come first
        2. reshape reads the numbers in this order, and cuts off the next C for each token
        3. so the heads of one token have to stand together before its numbers are joined
        """,
        """
        mixed = (weights @ values).transpose(...)     # (B, T, H, D): which two change places?
        mixed = mixed.flatten(2)                      # (B, T, C)
        return self.output(mixed)
        """,
    ),
)

EXERCISES = (CAUSAL_MASK, ATTENTION_WEIGHTS, SPLIT_HEADS, MULTI_HEAD_ATTENTION, PEEKING_ATTENTION)
