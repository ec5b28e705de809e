"""Exercises of chapter 10: to read a model's stream early, to replace a head, to carry a vector
from one text into another, to find induction heads. Nothing of them belongs into the learner's
file; the library has them."""

from __future__ import annotations

import inspect
from collections.abc import Callable
from functools import reduce

import torch
from torch import Generator, Tensor, nn

from gptcourse import gpt
from gptcourse.exercises.answers import TensorAnswer
from gptcourse.exercises.classes import filled
from gptcourse.exercises.exercise import Exercise
from gptcourse.exercises.model import small_config
from gptcourse.exercises.page import edited
from gptcourse.exercises.properties import equal, normal, told_by
from gptlib import inside
from gptlib.model import GPTModel
from gptlib.tap import patch, record


def _in_the_library(function: Callable, *edits: tuple[str, str]) -> str:
    """Its source in gptlib.inside, in a learner's form: without types, and without a check."""
    source = inspect.getsource(function)
    for old, new in edits:
        source = edited(source, old, new)
    return source


# ---------------------------------------------------------------------------------- logit_lens


def _model(kind: type, V: int, C: int, H: int, L: int) -> nn.Module:
    return filled(kind(small_config(V, 8, C, H, L))).eval()


def _streams(generator: Generator):
    """A batch of texts, one text, a whole stream of several layers, a single token."""
    yield _model(gpt.GPTModel, 7, 4, 2, 2), 3 * normal(generator, 2, 3, 4) + 1
    yield _model(gpt.GPTModel, 9, 6, 2, 1), normal(generator, 5, 6)
    yield _model(gpt.GPTModel, 11, 8, 4, 2), 2 * normal(generator, 5, 2, 4, 8)
    yield _model(gpt.GPTModel, 5, 4, 1, 1), normal(generator, 1, 1, 4)


def _what_it_makes_of_a_stream(answer: Callable, model: gpt.GPTModel, stream: Tensor) -> str | None:
    """Which way from the stream to scores was taken in place of the right one."""
    norm, head = model.final_norm, model.output_head
    embedding = model.token_embedding.weight.T                             # (C, V)
    rows = stream.reshape(-1, *stream.shape[-2:])
    ended = [reduce(lambda x, block: block(x), blocks, rows).view(stream.shape)
             for blocks in (model.blocks, model.blocks[-1:])]
    ways = [
        (head(stream), "You leave out the final norm: the output layer was trained on normalized "
                       "vectors."),
        (head(nn.functional.layer_norm(stream, stream.shape[-1:])),
         "The final norm has learned a scale and a shift of its own: call model.final_norm."),
        *((x @ embedding, "The token embedding is another matrix than the output layer, "
                          "model.output_head, before which comes the final norm.")
          for x in (stream, norm(stream))),
        *((head(made), "You let the blocks go on with it: the lens skips them, and goes straight "
                       "to the final norm and the output layer.")
          for x in ended for made in (x, norm(x))),
    ]
    return told_by(answer(model, stream.clone()), ways)


_LENS = "model.output_head(model.final_norm(stream))"

LOGIT_LENS = Exercise(
    "10.logit_lens",
    goal="Turn the stream's vectors, from any layer, into the scores the model would give there.",
    source=_in_the_library(
        inside.logit_lens, ("model: nn.Module, stream: Tensor) -> Tensor:", "model, stream):")),
    kept=False,
    returns=TensorAnswer("logits", ("T", "V"), leading=True),
    cases=_streams,
    edits=[
        (_LENS, "model.final_norm(model.output_head(stream))",
         "First the norm, which takes C numbers and gives C, then the output layer, from C to V."),
        (_LENS, "model(stream)",
         "The whole model begins with ids: call only its last two parts, final_norm and "
         "output_head."),
        (_LENS, f"{_LENS}.argmax(dim=-1)",
         "Those are the ids of the best tokens: return the scores of all of them."),
        (_LENS, "model.final_norm(stream)",
         "Those are the normalized vectors, C numbers each: the output layer makes V scores of "
         "them."),
    ],
    symptoms=[_what_it_makes_of_a_stream],
    hints=(
        "Look at the end of GPTModel.forward. Which two parts come after the last block, and in "
        "which order?",
        """
        1. the final norm, of the stream as it is: it treats each vector by itself
        2. the output layer, which makes V scores of C numbers
        """,
        """
        normalized = model.final_norm(stream)
        return ...                            # V scores for each vector
        """,
    ),
)

# ----------------------------------------------------------------------------- unchanged_start


def _heads_to_replace(generator: Generator):
    """By zero, by the mean of all texts and places, by one for each place, by another text's."""
    yield normal(generator, 2, 3, 5, 4), 1, 0.0
    yield normal(generator, 3, 4, 6, 2), 2, normal(generator, 2)
    yield normal(generator, 1, 2, 4, 5), 0, normal(generator, 4, 5)
    yield normal(generator, 3, 2, 7, 3), 1, normal(generator, 3, 7, 3)


_AXES = {"text": 3, "head": 4, "place": 5, "number": 2}    # of the question below: (B, H, T, D)


def _what_is_replaced(answer: Callable, *_trial) -> str | None:
    """Which texts, heads, places and numbers a replacement reaches, and what it leaves there."""
    outputs = torch.arange(1.0, 121.0).view(*_AXES.values())
    changed = answer(outputs.clone(), 1, -9.0)
    if changed.shape != outputs.shape:
        return "All of outputs is to come back, with one head of it replaced: return the copy."
    hit = changed != outputs
    if not hit.any():
        return "Nothing is replaced: what is returned is outputs as it came in."
    reached = {}
    for axis, name in enumerate(_AXES):
        along = hit.transpose(0, axis).flatten(1).any(dim=1).nonzero().flatten().tolist()
        if along != list(range(_AXES[name])):
            reached[name] = along
    if reached == {"head": [1]} and not equal(changed[:, 1], torch.full((3, 5, 2), -9.0)):
        return ("What stands there afterward is not value: put value in the place of what was "
                "there, with =, and compute nothing.")
    if reached == {"head": [1]}:
        return ("With a number it is right, and with a tensor it is not: put value itself there. "
                "It may have the shapes (D), (T, D) and (B, T, D); = spreads each of them over "
                "what is missing.")
    found = " and ".join(f"{name} {', '.join(map(str, where))}" for name, where in reached.items())
    return (f"Asked to replace head 1 of outputs (B, H, T, D), you replace {found or 'everything'}"
            ": it must be head 1, the second axis, and in it all texts, places and numbers.")


UNCHANGED_START = Exercise(
    "10.unchanged_start",
    definition="replace_head",
    goal=("Find the bug: silence head 5 of any model, and the first five tokens of every text "
          "get the same predictions as before."),
    source=_in_the_library(
        inside.replace_head, ("outputs: Tensor, head: int, value: Tensor | float) -> Tensor:",
                              "outputs, head, value):")),
    kept=False,
    returns=TensorAnswer("outputs", ("B", "H", "T", "D")),
    cases=_heads_to_replace,
    bug=("changed[:, head] = value", "changed[:, :, head] = value",
         "The bug is still in there: count the axes of outputs, (B, H, T, D), and say which of "
         "them each colon and head stands for."),
    edits=[
        ("changed[:, head] = value", "changed[:, head:] = value",
         "That is this head and all after it: head alone, without a colon behind it, is one."),
    ],
    symptoms=[_what_is_replaced],
    hints=(
        "A head works at every token, so silencing it should show from the first one on. Here "
        "head 5 shows from token 5 on. What else, then, might be number 5?",
        """
        1. outputs has the axes texts, heads, places, numbers: (B, H, T, D)
        2. changed[:, :, head] takes all texts, all heads, and the place whose number is head
        3. what is meant is all texts, and this one head
        """,
        """
        changed = outputs.clone()
        changed[...] = value                  # which axis does head belong to?
        return changed
        """,
    ),
)

# ------------------------------------------------------------------------------ patched_logits


def _pairs_of_texts(generator: Generator):
    """Two texts, one, three; early, late and in between, in the stream and within a block."""
    for (count, length), name, place, model in (
        ((2, 5), "blocks.0.residual_mid", 1, _model(GPTModel, 11, 8, 2, 2)),
        ((1, 6), "residual_start", 0, _model(GPTModel, 7, 4, 1, 1)),
        ((3, 4), "blocks.1.residual_end", 3, _model(GPTModel, 9, 6, 2, 2)),
        ((2, 7), "blocks.0.residual_end", 4, _model(GPTModel, 11, 8, 2, 2)),
    ):
        clean = torch.randint(model.config.vocab_size, (count, length), generator=generator)
        other = torch.randint(1, model.config.vocab_size, clean.shape, generator=generator)
        yield model, clean, (clean + other) % model.config.vocab_size, name, place


def _what_was_put_in(
    answer: Callable, model: GPTModel, clean: Tensor, corrupted: Tensor, name: str, place: int
) -> str | None:
    """Which other run came back: none patched, another text's, one patched elsewhere."""

    def patched(where: tuple | int, by: Callable = lambda old, new: new) -> Tensor:
        def change(x: Tensor) -> Tensor:
            changed = x.clone()
            changed[where] = by(x[where], seen[name][where])
            return changed
        with patch(model, {name: change}):
            return model(corrupted)

    everything = slice(None)
    with record(model, name) as seen:
        end = model(clean)
    ways = [
        (model(corrupted), "What comes back is the corrupted run, as if nothing had been put in: "
         "record while the model reads clean, and run corrupted inside of the patch, with a "
         "function that returns the changed vectors."),
        (end, "What comes back is the clean run: run corrupted inside of the patch, and replace "
         "the vector at place only, not those of all tokens."),
        (inside.patched_logits(model, corrupted, clean, name, place), "The texts have changed "
         "places: record the clean run, and put its vector into the corrupted one."),
        (patched((everything, place), torch.add), "You add the clean vector to the one that was "
         "there: put it in its place, with =."),
        (patched((everything, slice(place, None))), "All tokens from place on are replaced: only "
         "the one at place is meant."),
        (patched((everything, slice(0, place + 1))), "All tokens up to place are replaced: only "
         "the one at place is meant."),
        (patched((0, place)), "Only the first text is patched: [:, place] is that token of all "
         "texts."),
        (patched(place % len(clean)), "That's the text number place, with all its tokens: the "
         "first axis holds the texts, and [:, place] is a token of each."),
        *((patched((everything, other)), f"The vector of token {other} was put in, and place is "
           f"{place}: count it as the axis does, from 0.")
          for other in range(clean.shape[1]) if other != place),
    ]
    return told_by(answer(model, clean.clone(), corrupted.clone(), name, place), ways)


PATCHED_LOGITS = Exercise(
    "10.patched_logits",
    goal="Carry one vector from the run on a text over into the run on another one.",
    source=_in_the_library(
        inside.patched_logits,
        ("model: nn.Module, clean: Tensor, corrupted: Tensor, name: str,\n"
         "                   place: int | slice) -> Tensor:",
         "model, clean, corrupted, name, place):"),
        ("    with record(model, name)",
         "    from gptlib import patch, record\n\n    with record(model, name)"),
        ("put_in(x: Tensor) -> Tensor:                                    # (B, ..., T, C)",
         "put_in(x):                                                       # (B, T, C)")),
    kept=False,
    returns=TensorAnswer("logits", ("B", "T", "V")),
    cases=_pairs_of_texts,
    symptoms=[_what_was_put_in],
    hints=(
        "Two runs: the first only to be recorded, the second to be changed on its way. What does "
        "the function that you give to patch get, and what must it return?",
        """
        1. inside of record(model, name) as seen, run clean: seen[name] is (B, T, C)
        2. a function of x, the corrupted run's vectors (B, T, C): a copy of x, in which all texts
           have the clean vector at place
        3. inside of patch(model, {name: that function}), run corrupted, and return its logits
        """,
        """
        with record(model, name) as seen:
            model(clean)

        def put_in(x):                        # (B, T, C)
            changed = x.clone()
            ...                               # the clean vector, at place
            return changed

        with patch(model, {name: put_in}):
            return model(corrupted)
        """,
    ),
)

# ----------------------------------------------------------------------------- induction_score


def _attention(generator: Generator, *shape: int) -> Tensor:
    """Random attention weights: nothing from the future, each row sums to 1."""
    scores = 2 * normal(generator, *shape)
    future = torch.ones(shape[-2:], dtype=torch.bool).triu(1)
    return scores.masked_fill(future, -torch.inf).softmax(dim=-1)


def _all_kinds_of_weights(generator: Generator):
    """A head, a layer, a batch of layers; what repeats twice, more often, not to its end; one
    token again and again."""
    yield _attention(generator, 6, 6), 3
    yield _attention(generator, 4, 10, 10), 5
    yield _attention(generator, 2, 3, 2, 8, 8), 4
    yield _attention(generator, 3, 7, 7), 3
    yield _attention(generator, 2, 3, 3), 1


T, PERIOD = 7, 3                                          # of the questions below
_RIGHT = [(t, t - PERIOD + 1) for t in range(PERIOD, T)]


def _which_weights_count(answer: Callable, *_trial) -> str | None:
    """What single weights add to the score: which are read, and with what factor."""
    scores = [answer(x.view(T, T), PERIOD) for x in torch.eye(T * T)]
    if any(score.shape != () for score in scores):
        return None                                        # which is told elsewhere
    counts = torch.stack(scores).view(T, T)
    both = torch.arange(T * T * 1.0).view(T, T)
    if not torch.isclose(answer(both, PERIOD), (both * counts).sum(), rtol=1e-3):
        return ("The score must be a mean of weights, and yours is something else: it doesn't "
                "grow as they do. Take weights[t, t - period + 1] as they are, and their mean.")
    read = [tuple(place) for place in counts.abs().gt(1e-6).nonzero().tolist()]
    if read == _RIGHT:
        factor = counts[_RIGHT[0]]
        if torch.isclose(factor, torch.tensor(1 / len(_RIGHT))):
            return ("With the weights of a single head it is right, and with more axes before the "
                    "last two it is not: count axes from the end, dim1=-2, dim2=-1 and [..., i].")
        if not equal(counts[tuple(zip(*_RIGHT, strict=True))], factor.expand(len(_RIGHT))):
            return "The right weights are read, but they don't count alike: take their mean."
        if torch.isclose(factor, torch.tensor(1.0)):
            return "You add the weights up: take their mean."
        return (f"The right weights are read, but with {T} tokens and period {PERIOD} each counts "
                f"{factor:.4g}, in place of 1/{len(_RIGHT)}: divide by how many tokens have an "
                "earlier copy, which is what a mean does.")
    return _misread(read)


def _misread(read: list[tuple[int, int]]) -> str:
    listed, wanted = (", ".join(f"[{query}, {key}]" for query, key in places[:6])
                      for places in (read, _RIGHT))
    if len(read) > 6:
        listed += f" and {len(read) - 6} more"
    distances = {query - key for query, key in read}
    if distances == {PERIOD}:
        why = ("that is the earlier copy itself, t - period; induction looks at the token after "
               "it, t - period + 1")
    elif distances == {PERIOD + 1}:
        why = "that is the token before the earlier copy: the one after it is t - period + 1"
    elif set(_RIGHT) < set(read) and distances == {PERIOD - 1}:
        why = f"token {read[0][0]} has no earlier copy yet: the first that has one is t = period"
    elif set(read) < set(_RIGHT):
        why = "tokens are left out: all from t = period to the last one count"
    else:
        why = "the token t looks, from t = period on, and what it should see is t - period + 1"
    return (f"With {T} tokens and period {PERIOD}, you read the weights at {listed or 'no place'}"
            f", but must read {wanted}: {why}.")


INDUCTION_SCORE = Exercise(
    "10.induction_score",
    goal="Measure how much tokens look at what followed their own earlier copy.",
    source=_in_the_library(
        inside.induction_score, ("weights: Tensor, period: int) -> Tensor:", "weights, period):"),
        (" Raises a ValueError for a period of less than 1 or of all T tokens.", ""),
        ('    whole("period", period, "there must be a second copy.", least=1, '
         "most=weights.shape[-1] - 1)\n", "")),
    kept=False,
    returns=TensorAnswer("score", (), leading=True),
    cases=_all_kinds_of_weights,
    edits=[
        ("", "    looks = [weights[t, t - period + 1] for t in range(period, len(weights))]\n"
             "    return sum(looks) / len(looks)\n",
         "weights[t, ...] is right for a single head only: with more axes before the last two, "
         "weights[..., t, t - period + 1] and weights.shape[-1] go by the last ones."),
        ("1 - period", "period - 1",
         "That diagonal lies above the main one, in the future, where every weight is 0: below it "
         "the number is negative, 1 - period. Rows are queries, the tokens that look."),
    ],
    symptoms=[_which_weights_count],
    hints=(
        "Period 3, tokens a b c a b c. Token 3 is the second a, and its earlier copy is token 0. "
        "What followed that copy, and which place of weights tells how much token 3 looks at it?",
        """
        1. the places are [t, t - period + 1], for every t from period to the last token
        2. they stand on a diagonal, below the main one by period - 1
        3. weights.diagonal(1 - period, dim1=-2, dim2=-1) is that diagonal of every head
        4. its first place is t = period - 1, which has no earlier copy: leave it out
        5. the mean of the others, over the last axis
        """,
        """
        after_the_copy = weights.diagonal(1 - period, dim1=-2, dim2=-1)
        return ...                            # the mean, without the first place
        """,
    ),
    batched={"weights": 2},
)

EXERCISES = (LOGIT_LENS, UNCHANGED_START, PATCHED_LOGITS, INDUCTION_SCORE)
