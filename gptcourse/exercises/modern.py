"""Exercises of chapter 9: what has changed in the block since GPT-2."""

from __future__ import annotations

import math
from functools import partial

import torch
import torch.nn.functional as F

from gptcourse import gpt
from gptcourse.exercises.answers import TensorAnswer
from gptcourse.exercises.classes import facts_of_a_layer, filled, fits, run_filled
from gptcourse.exercises.exercise import Exercise, Property
from gptcourse.exercises.listening import first_misread
from gptcourse.exercises.properties import equal, gradient_reaches, normal, told_by

# ------------------------------------------------------------------------------------- RMSNorm


def _to_normalize(generator):
    """Ordinary vectors, tiny ones, large ones, all with a mean; T = 1."""
    for shape, size in (((4, 6), 1), ((2, 3, 5), 0.003), ((3, 2, 4, 8), 20), ((2, 1, 9), 0.01)):
        yield shape[-1], 0.5 * size + size * normal(generator, *shape)


def _vectors(generator):
    return 6, 0.5 + normal(generator, 2, 4, 6)


def _mean_square_after(answer, *_trial):
    """Whether the division is wrong, or only what becomes of scale and 1e-5."""
    x = 300 + 200 * normal(torch.Generator().manual_seed(3), 3, 4, 6)
    norm, right = answer.build(6), filled(gpt.RMSNorm(6))
    scaled = norm(x.clone()), right(x)
    with torch.no_grad():
        norm.scale.fill_(1)
        right.scale.fill_(1)
        plain, expected = norm(x.clone()), right(x)
        alone = norm(x[1:2, 1:2].clone())[0, 0]
    if not plain.isfinite().all():
        return None
    if not equal(plain[1, 1], alone):
        return ("What becomes of one vector changes with the others: the mean square is that of "
                "the vector alone, along dim=-1.")
    if equal(plain, F.layer_norm(x, (6,))):
        return "That is LayerNorm: RMSNorm leaves the mean where it is, and subtracts nothing."
    mean_square = plain[1, 1].square().mean().item()
    if abs(mean_square - 1) > 1e-3:
        return ("With scale 1, the mean of the squares of each vector must come out as 1, and in "
                f"one of yours it is {mean_square:.4g}: divide x by the root of the mean of its "
                "own squares.")
    if not equal(plain, expected):
        return ("The mean square comes out as 1, as it must, but the numbers are others than x "
                "divided by the root.")
    if not equal(*scaled):
        return "With scale 1 it is right: multiply what is normalized by self.scale."
    return "All is right but the 1e-5: it is added once, to the mean square, under the root."


def _begins_plain(cls):
    return None if torch.equal(cls(4).scale, torch.ones(4)) else (
        "a fresh norm has another scale than 1: begin with ones.")


RMS_NORM = Exercise(
    "09.RMSNorm",
    goal=("Divide each token's vector by the root of the mean of its squares, with 1e-5 added "
          "under the root, then times scale."),
    returns=TensorAnswer("output", ("C",), leading=True),
    cases=_to_normalize,
    use=partial(run_filled, config="emb_dim"),
    structure=fits(gpt.RMSNorm, [6, 5]),
    edits=[
        ("x.square().mean(dim=-1, keepdim=True)", "x.square().mean(dim=-1)",
         "The mean square has lost its axis, so it does not go with x row by row: keep it, with "
         "keepdim=True."),
    ],
    symptoms=[_mean_square_after],
    hints=(
        "Do (3, 4) by hand, as in the step before: the squares, their mean, its root. Which part "
        "of LayerNorm is gone, and which of its two parameters?",
        """
        __init__: one row of C numbers that are learned, ones for scale; there is no shift
        forward:
        1. the squares of x, and their mean over the last axis, with keepdim=True
        2. add 1e-5, take the root
        3. divide x by it, and multiply by scale
        """,
        """
        self.scale = nn.Parameter(torch.ones(emb_dim))

        mean_square = x.square().mean(dim=-1, keepdim=True)
        return ...                            # scale times x, over the root of the sum with 1e-5
        """,
    ),
    properties=[
        *facts_of_a_layer(_vectors, gpt.RMSNorm, drops=False),
        Property("begins with scale 1", _begins_plain, of_class=True),
    ],
    batched={"x": 1},
)

# -------------------------------------------------------------------------------------- rotate


def _to_rotate(generator):
    """From the start, from later on, out of order; a single token; a single pair."""
    yield normal(generator, 5, 4), torch.arange(5), 10000.0
    yield normal(generator, 2, 3, 6, 8), torch.arange(7, 13), 100.0
    yield normal(generator, 3, 4, 2), torch.tensor([5, 0, 2, 9]), 10000.0
    yield normal(generator, 2, 1, 6), torch.tensor([40]), 500.0


def _square(generator):
    return normal(generator, 2, 4, 6), torch.arange(4), 100.0


def _turn_in_words(answer, *_trial):
    """What a turn does to single numbers: where it leaves them, how long, which pairs, how far."""
    D, base = 6, 64.0
    pairs = torch.eye(D)[:, None, :]                           # each number alone, one token
    still = answer(pairs.clone(), torch.tensor([0]), base)
    if not isinstance(still, torch.Tensor) or still.shape != pairs.shape:
        return None                                            # which is told elsewhere
    if not equal(still, pairs):
        if equal(still.flatten(0, 1) @ still.flatten(0, 1).T, torch.eye(D)):
            return ("At position 0 nothing may turn, but numbers change their places. Number i "
                    "goes with number i + D/2, and both stay where they are: x.chunk(2, dim=-1) "
                    "gives the two halves, and torch.cat puts them side by side again.")
        return ("At position 0 nothing may turn, for every angle is 0, but there other numbers "
                "come out than went in: cos goes with the number itself, sin with its partner.")
    rows = pairs.expand(D, 4, D)
    turned = answer(rows.clone(), torch.arange(4), base)[:, 1]         # (number in, number out)
    partners = [set(row.abs().gt(1e-6).nonzero().flatten().tolist()) for row in turned]
    if partners[0] == {0, 1}:
        return ("You pair neighbors, number 0 with 1, as some models do. Here number i goes with "
                "number i + D/2: x.chunk(2, dim=-1) gives the two halves.")
    if any(not partner <= {i, (i + D // 2) % D} for i, partner in enumerate(partners)):
        return ("Number 0 must be mixed with number D/2 only, number 1 with D/2 + 1, and so on: "
                "the two halves of x, and the same angles for both.")
    lengths = answer(torch.ones(1, D), torch.tensor([1]), base).square().view(2, -1).sum(dim=0)
    if not equal(lengths, torch.full((D // 2,), 2.0)):
        return ("A turn must keep the length of each pair, and yours doesn't: of the two new "
                "numbers, one is a difference and the other a sum, with the same angle in both.")
    first, second = turned[: D // 2].chunk(2, dim=-1)          # what becomes of the first halves
    angles = torch.atan2(second.diagonal(), first.diagonal())
    right = torch.tensor([1, 0.25, 0.0625])                    # 64^(-2i/6)
    if equal(angles, -right):
        return ("Everything turns the other way round: the first half becomes first · cos - second "
                "· sin, the second becomes second · cos + first · sin.")
    if not equal(angles, right):
        found = ", ".join(f"{angle:.4g}" for angle in angles)
        return (f"With D = 6 and base 64, a step of one position must turn the three pairs by 1, "
                f"0.25 and 0.0625, and yours by {found}: pair i turns by base^(-2i/D).")
    later = answer(rows.clone(), torch.arange(4), base)[0, 3]
    if not equal(later[[0, 3]], torch.tensor([math.cos(3), math.sin(3)])):
        return "At position 1 it is right, and not at 3: the angle is the position times the rate."
    return ("From position 0 on it is right, and from others on it is not: the positions are those "
            "that are given, a row of angles for each, positions[:, None] * rates.")


ROTATE = Exercise(
    "09.rotate",
    goal="Turn each pair of numbers, i and i + D/2, by position / base^(2i/D).",
    returns=TensorAnswer("x", ("T", "D"), leading=True),
    cases=_to_rotate,
    edits=[
        ("-torch.arange(0, D, 2, device=x.device) / D", "torch.arange(0, D, 2) / D",
         "The minus in the exponent is missing: pair i turns by base^(-2i/D), ever slower."),
        ("positions[:, None]", "positions",
         "Positions and rates are multiplied number by number: every position needs a row of its "
         "own with all the rates, positions[:, None] * rates."),
    ],
    symptoms=[_turn_in_words],
    hints=(
        "Take D = 2, one pair, as in the step before: at position p, (a, b) becomes (a cos p - "
        "b sin p, b cos p + a sin p). With more pairs only the angle differs.",
        """
        1. rates: base to the power -2i/D, for i from 0 to D/2 - 1
        2. angles: every position times every rate, (T, D/2)
        3. first and second: the two halves of x, so that number i and number i + D/2 are a pair
        4. the new first half: first times cos minus second times sin
        5. the new second half: second times cos plus first times sin
        6. both side by side again
        """,
        """
        D = x.shape[-1]
        rates = base ** (-torch.arange(0, D, 2) / D)
        angles = positions[:, None] * rates
        first, second = x.chunk(2, dim=-1)
        turned_first = first * angles.cos() - second * angles.sin()
        turned_second = ...                   # the same with the two exchanged, and a plus
        return torch.cat([turned_first, turned_second], dim=-1)
        """,
    ),
    properties=[gradient_reaches(("x",), _square, gpt.rotate)],
)

# -------------------------------------------------------------------------------------- SwiGLU

def _gated_input(generator):
    return {"emb_dim": 6, "hidden_dim": 10}, normal(generator, 2, 4, 6)


def _what_the_layers_read(answer, config, x):
    """Which of the three layers reads, or writes, something else than it should."""
    network = answer.build(config)
    parts = {name: getattr(network, name) for name in ("gate", "expand", "contract")}
    return first_misread(network, x, parts, {
        "gate": (lambda written: x, "x as it came in"),
        "expand": (lambda written: x, "x as it came in"),
        "contract": (lambda written: F.silu(written["gate"]) * written["expand"],
                     "silu(gate(x)) · expand(x), number by number"),
    }, (lambda written: written["contract"], "contract(...)"), _other_gate)


def _other_gate(name, read, written):
    if name != "contract":
        return None
    gate, expand = written["gate"], written["expand"]
    gates = {"the gate itself, without a nonlinearity": gate, "a sigmoid alone": gate.sigmoid(),
             "ReLU": gate.relu(), "GELU": F.gelu(gate, approximate="tanh")}
    return told_by(read, [
        (F.silu(expand) * gate, "Gate and expand have changed places: silu goes around what "
                                "self.gate makes of x, and trained weights know the difference."),
        (F.silu(gate) + expand, "You add the two, where the opened gate must be multiplied by "
                                "expand(x)."),
        (F.silu(gate * expand), "silu goes around the gate alone, and not around the product."),
        *((other * expand, f"Your gate is {words}: it must be silu, z · sigmoid(z).")
          for words, other in gates.items()),
    ])


SWIGLU = Exercise(
    "09.SwiGLU",
    goal="Let a gate open or shut each hidden number: contract(silu(gate(x)) · expand(x)).",
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=lambda generator: [
        ({"emb_dim": C, "hidden_dim": width}, normal(generator, B, T, C))
        for B, T, C, width in ((2, 3, 4, 7), (3, 5, 6, 4), (1, 1, 2, 5))],
    use=run_filled,
    structure=fits(gpt.SwiGLU, [{"emb_dim": 4, "hidden_dim": 7}, {"emb_dim": 6, "hidden_dim": 4}]),
    symptoms=[_what_the_layers_read],
    hints=(
        "Three layers, none with a bias: two from C to hidden_dim, one back. Which of the three "
        "results goes through silu, z · sigmoid(z)?",
        """
        __init__: gate and expand, C to hidden_dim, and contract back, all with bias=False
        forward:
        1. gate of x, and silu of it
        2. times expand of x, number by number
        3. contract the product
        """,
        """
        self.gate = nn.Linear(config["emb_dim"], config["hidden_dim"], bias=False)
        # expand and contract likewise

        gate = self.gate(x)
        opened = gate * torch.sigmoid(gate)
        return ...                            # contract, of opened times expand(x)
        """,
    ),
    properties=facts_of_a_layer(_gated_input, gpt.SwiGLU, drops=False),
    batched={"x": 2},
)

# ----------------------------------------------------------------------------------- repeat_kv


def _to_repeat(generator):
    for B, K, S, D, times in ((2, 3, 4, 5, 2), (1, 2, 1, 3, 4), (3, 1, 5, 2, 3), (2, 4, 3, 6, 1)):
        yield normal(generator, B, K, S, D), times


def _which_head_is_where(answer, x, times):
    """Which of the few heads a query finds, and which one it should."""
    _, K, S, D = x.shape
    marked = torch.arange(float(K)).view(1, K, 1, 1).expand(1, K, S, D)
    got = answer(marked.clone(), times)
    if got.shape != (1, K * times, S, D):
        return (f"Of shape {(1, K, S, D)} you make {tuple(got.shape)}: it is axis 1, that of the "
                "heads, that must be so many times as long, and no other.")
    if not equal(got, got[:, :, :1, :1].expand_as(got)):
        return None
    found = got[0, :, 0, 0].tolist()
    wanted = [head for head in range(K) for _ in range(times)]
    if found == wanted:
        return None
    if set(found) - set(wanted):
        return "Numbers are in it that are in none of the heads: copy the heads, compute nothing."
    found = [int(head) for head in found]
    return (f"With {K} heads, {times} times each, the query heads find the heads {found}, one "
            f"after the other, but must find {wanted}: queries that share one are neighbors.")


REPEAT_KV = Exercise(
    "09.repeat_kv",
    goal="Give each head of keys or values to all the query heads of its group.",
    returns=TensorAnswer("heads", ("B", "H", "S", "D")),
    cases=_to_repeat,
    symptoms=[_which_head_is_where],
    hints=(
        "With 2 heads of keys and 6 query heads, each is shared by 3. Write down which one each of "
        "the query heads 0 to 5 gets, if neighbors share.",
        """
        1. axis 1 is that of the heads
        2. head 0 comes `times` times, then head 1 as often, and so on
        """,
        """
        return x.repeat_interleave(...)       # how often, and along which axis
        """,
    ),
    properties=[gradient_reaches(
        ("x",), lambda generator: (normal(generator, 2, 3, 4, 5), 2), gpt.repeat_kv)],
)

# ----------------------------------------------------------------------------------- attention


def _prompt_then_tokens(attend):
    """How a trial calls it: with a prompt of so many tokens at once, then token by token."""

    def answer(queries, keys, values, prompt):
        cache, results, T = gpt.KVCache(), [], queries.shape[2]
        for positions in torch.arange(T).split([prompt] + [1] * (T - prompt)):
            new = (x[:, :, positions] for x in (queries, keys, values))
            results.append(attend(*new, positions, cache))
            if not isinstance(results[-1], torch.Tensor):
                return results[-1]
        return torch.cat(results, dim=2)

    return answer


def _heads(generator, B, H, K, T, D, prompt):
    return (normal(generator, B, H, T, D), normal(generator, B, K, T, D),
            normal(generator, B, K, T, D), prompt)


def _to_attend(generator):
    """A prompt alone, tokens after it, tokens alone; one head of keys, several, as many."""
    for sizes in ((2, 6, 2, 5, 4, 5), (2, 4, 1, 6, 6, 3), (1, 3, 3, 4, 2, 1), (3, 4, 2, 7, 4, 4)):
        yield _heads(generator, *sizes)


def _in_the_prompt_or_later(_answer, queries, _keys, _values, prompt):
    if prompt == queries.shape[2]:
        return "It is wrong in the prompt already, while the cache is still empty."
    return ("The prompt is right, and the tokens after it are not. Write behind each line how many "
            "queries, keys and values there are when a single new token comes.")


_EXTEND = "    keys, values = cache.extend(keys, values)" + " " * 22 + "# (B, K, S, D)\n"
_ROTATE_KEYS = "    keys = rotate(keys, positions)" + " " * 33

LOST_THREAD = Exercise(
    "09.lost_thread",
    goal=("Find the bug: the model reads a prompt as it should, but from the first token on that "
          "it has written itself, it loses the thread."),
    definition="grouped_attention",
    source=f'''def grouped_attention(queries, keys, values, positions, cache):
    """New tokens gather from all in the cache.  (B, H or K, T, D) -> (B, H, T, D)"""
    queries = rotate(queries, positions)                           # (B, H, T, D)
{_ROTATE_KEYS}# (B, K, T, D)
{_EXTEND}    times = queries.shape[1] // keys.shape[1]                      # H / K
    keys = repeat_kv(keys, times)                                  # (B, H, S, D)
    values = repeat_kv(values, times)                              # (B, H, S, D)
    T, S = queries.shape[2], keys.shape[2]
    mask = causal_mask(S)[-T:]                                     # (T, S)
    return attention_weights(queries, keys, mask) @ values         # (B, H, T, D)
''',
    kept=False,
    returns=TensorAnswer("output", ("B", "H", "T", "D")),
    cases=_to_attend,
    use=_prompt_then_tokens,
    bug=(f"{_ROTATE_KEYS}# (B, K, T, D)\n{_EXTEND}", f"{_EXTEND}{_ROTATE_KEYS}# (B, K, S, D)\n",
         "The bug is still in there: when a single new token comes, how many positions come with "
         "it, and how many keys are turned by them?"),
    edits=[
        ("rotate(keys, positions)", "keys",
         "Now the keys aren't turned at all, so no query can tell how far away they are."),
    ],
    symptoms=[_in_the_prompt_or_later],
    hints=(
        "A prompt of five tokens, then one more. For both calls, write behind each line how many "
        "positions, queries, keys and values there are.",
        """
        1. with the prompt the cache is empty: five positions, and five keys
        2. with the next token there is one position, but six keys come back from the cache
        3. so all six are turned by the position of the sixth, as if they stood in one place
        4. a key that is in the cache already never moves again
        """,
        """
        queries = rotate(queries, positions)
        keys = ...                            # turned while they are the new ones only
        keys, values = cache.extend(keys, values)
        # the other lines are right
        """,
    ),
    properties=[gradient_reaches(
        ("queries", "keys", "values"), lambda generator: _heads(generator, 2, 4, 2, 5, 4, 3),
        lambda *given: LOST_THREAD.reference(*given))],
)

EXERCISES = (RMS_NORM, ROTATE, SWIGLU, REPEAT_KV, LOST_THREAD)
