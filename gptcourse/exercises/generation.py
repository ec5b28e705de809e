"""Exercises of chapter 7: from scores to a token, what is remembered, and how a text goes on."""

from __future__ import annotations

import copy
import inspect
import math
import re
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FunctionType
from typing import Any
from unittest import mock

import torch
from torch import Tensor

from gptcourse import gpt
from gptcourse.exercises.answers import SeveralAnswers, TensorAnswer
from gptcourse.exercises.attention import NARROW, ONE_HEAD, WIDE, wide_input
from gptcourse.exercises.classes import facts_of_a_layer, filled, fits
from gptcourse.exercises.early import SLIDE
from gptcourse.exercises.exercise import TODO, Exercise, Property, says_todo
from gptcourse.exercises.listening import first_of
from gptcourse.exercises.loops import NO_TOKEN, WrittenAnswer, one_by_one, run_generation
from gptcourse.exercises.model import drops_at_the_entrance, small_config
from gptcourse.exercises.properties import equal, normal
from gptcourse.exercises.resemblance import Trial


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
        if any(trial.answer.shape != trial.expected.shape for trial in trials):
            return ("Return a score for every token, each at its own place: those that are ruled "
                    "out have -inf.")
        left = [(trial.answer > -math.inf, trial.expected > -math.inf) for trial in trials]
        if all(answer.equal(~expected) for answer, expected in left):
            return "Just those tokens are ruled out that should stay: turn the choice around."
        if not all(answer.any(dim=-1).all() for answer, _ in left):
            return ("There is a row in which everything is ruled out, so nothing is left to draw: "
                    "in every row the best token must stay. And keep what scatter and masked_fill "
                    "return, for they change nothing themselves.")
        return _ranks_left(trials[0].arguments["logits"], *left[0])

    def _not_finite(self, answer: Tensor, expected: Tensor) -> str | None:
        return super()._not_finite(answer.masked_fill(answer == -math.inf, 0), expected)

    def _same_odds(self, answer: Tensor, expected: Tensor) -> bool:
        both = [x.detach().double() for x in (answer, expected)]
        empty = [(x == -math.inf).all(dim=-1, keepdim=True) for x in both]   # rows without a token
        odds = (x.masked_fill(rows, 0).log_softmax(dim=-1)
                for x, rows in zip(both, empty, strict=True))
        return torch.equal(*empty) and torch.allclose(*odds, rtol=self.rtol, atol=self.atol)


def _ranks_left(logits, left, wanted):
    """By their ranks, the tokens that are left in the first wrong row, and those that should be."""
    width = logits.shape[-1]
    for scores, *rows in zip(*(x.reshape(-1, width) for x in (logits, left, wanted)), strict=True):
        if not rows[0].equal(rows[1]):
            ranks = scores.argsort(descending=True).argsort() + 1
            ours, theirs = (sorted(ranks[row].tolist()) for row in rows)
            why = ("" if ours == [*range(1, len(ours) + 1)] else
                   ". They aren't the best ones: sort the scores before you add probabilities up, "
                   "and bring them back to their own places, with scatter")
            return ("The best token of a row has rank 1: where it first goes wrong, you keep those "
                    f"of rank {_listed(ours)}, but must keep {_listed(theirs)}{why}.")
    return None


def _listed(numbers):
    return ", ".join(map(str, numbers))


# --------------------------------------------------------------------------------- keep_top_p


def _scores_and_p(generator):
    """Rows of several lengths, p from little to nearly 1, and one position."""
    for shape, p in (((6,), 0.8), ((3, 5), 0.6), ((2, 3, 7), 0.9), ((4, 8), 0.05), ((2, 4), 0.999),
                     ((2, 1, 9), 0.7)):
        yield 1.5 * normal(generator, *shape), p


def _misses_the_exact_sum(answer):
    if not answer(torch.tensor([[1.0, 0.0, 0.5, -0.25]]), 1.0).isfinite().all():
        return "with p = 1, some tokens are ruled out, but only all of them together reach 1."
    kept = answer(torch.tensor([[0.0, 2.0, 1.0]]), 0.0).isfinite().tolist()
    if kept != [[False, True, False]]:
        return ("with p = 0, nothing is left to draw, or more than the best token: however small p "
                "is, the best one stays, and where p is 0 it stays alone.")
    kept = answer(torch.zeros(2, 4), 0.5).isfinite().sum(dim=-1).tolist()
    return None if kept == [2, 2] else (
        f"of four tokens with equal scores, p = 0.5 keeps {max(kept)}, but two have probability "
        "0.5 already: rule out where the better ones have p or more, with >=, and by their places, "
        "not by their scores.")


_SUMS = "probabilities.cumsum(dim=-1)"

KEEP_TOP_P = Exercise(
    "07.keep_top_p",
    goal="Forbid the tail, however long it is: keep the fewest best tokens that together reach p.",
    returns=ScoresAnswer("scores", ("V",), leading=True),
    cases=_scores_and_p,
    edits=[
        (f"{_SUMS} - probabilities", _SUMS,
         "The token that reaches p is dropped, so what is left stays below p: rule a token out "
         "where the better ones alone have reached p already."),
        ("ordered.masked_fill", "logits.masked_fill",
         "You put the unsorted scores back to the places of the sorted ones: rule out among the "
         "sorted scores, and scatter these."),
    ],
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
        ordered, order = logits.sort(dim=-1, descending=True, stable=True)
        probabilities = ordered.softmax(dim=-1)
        before = ...                                          # of all better tokens
        before[..., 0] = -1                                   # the best one stays
        ordered = ordered.masked_fill(before >= p, -math.inf)
        return logits.scatter(-1, order, ordered)
        """,
    ),
    properties=[Property("the fewest, also where they reach p exactly", _misses_the_exact_sum)],
    batched={"logits": 1},
)

# ------------------------------------------------------------------------------------- KVCache


def run_cache(cls):
    """A trial: all keys and values, handed over in pieces of so many tokens, one after another.

    -> what the last call gives back.
    """

    def answer(keys, values, pieces):
        cache = cls()
        for piece in zip(keys.split(pieces, dim=2), values.split(pieces, dim=2), strict=True):
            result = cache.extend(*piece)
        return result

    return answer


def _which_tokens_are_in_it(answer, keys, values, pieces):
    """Whether tokens are missing, or stand elsewhere, or only the earlier or the new are wrong."""
    first, new = pieces[0], pieces[-1]
    for got, wanted in zip(answer(keys, values, pieces), (keys, values), strict=True):
        if got.dim() == 4 and got.shape[2] != wanted.shape[2]:
            return (f"Of {wanted.shape[2]} tokens, {got.shape[2]} are in the cache at the end: in "
                    "every call, append all new ones to those that are kept, by torch.cat along "
                    "the axis of the tokens, dim=2, and keep the longer ones.")
        if got.shape != wanted.shape:
            return None
        earlier, later = (equal(got[:, :, part], wanted[:, :, part])
                          for part in (slice(first), slice(-new, None)))
        if earlier and not later:
            return "The earlier tokens are right, but the new ones must stay as they came in."
        if later and not earlier:
            return "The new tokens are right, but the earlier ones must stay as they were."
        if not earlier and equal(got[:, :, :new], wanted[:, :, -new:]):
            return "The new tokens stand before the old ones: append them at the end."
    return None


def _to_cache(generator):
    """A prompt and single tokens; several at once, again and again; the first ones; T = 1."""
    for B, H, D, pieces in ((2, 3, 4, (5, 1, 1)), (1, 2, 5, (3, 4)), (3, 2, 4, (6,)),
                            (2, 4, 3, (1, 1)), (1, 3, 6, (2, 2, 3))):
        shape = B, H, sum(pieces), D
        yield normal(generator, *shape), normal(generator, *shape), pieces


def _starts_empty(cls):
    """Whether a new cache has a length, and it is 0."""
    length = getattr(cls(), "length", None)
    return None if length == 0 else (
        f"a new cache has the length {length}: set self.length = 0 in __init__, for it holds "
        "nothing yet.")


def _counts_other_tokens(cls):
    cache, lengths = cls(), []
    for T in (5, 1, 2):
        cache.extend(torch.ones(1, 1, T, 2), torch.ones(1, 1, T, 2))
        lengths.append(cache.length)
    return None if lengths == [5, 6, 8] else (
        f"after 5 tokens, then 1, then 2, the lengths are {lengths}, but must be [5, 6, 8]: the "
        "length is that of all tokens so far, keys.shape[2] of the longer keys.")


def _shares_its_memory(cls):
    one, other = cls(), cls()
    one.extend(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2))
    other.extend(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    keys, _ = one.extend(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
    return None if keys.tolist() == [[[[1, 1]] * 4]] and (one.length, other.length) == (4, 2) else (
        "two caches share their memory: set in __init__, on self, what a cache holds, and not in "
        "the class itself.")


KV_CACHE = Exercise(
    "07.KVCache",
    goal="Keep what never changes: the keys and values of all tokens so far.",
    returns=SeveralAnswers((TensorAnswer("keys", ("B", "H", "S", "D")),
                            TensorAnswer("values", ("B", "H", "S", "D")))),
    cases=_to_cache,
    use=run_cache,
    structure=_starts_empty,
    holes=("__init__", "extend"),
    edits=[
        ("if self.length > 0:", "if True:",
         "In the first call there is nothing to append to yet: where the length is 0, the new keys "
         "and values are all there is."),
    ],
    symptoms=[_which_tokens_are_in_it],
    hints=(
        "torch.cat joins tensors along one axis. In (B, H, T, D), which axis counts the tokens? "
        "And what is there to append to in the first call?",
        """
        1. __init__: the cache holds nothing yet, so its length is 0
        2. extend: where it holds something, the old keys, then the new ones, along the axis of
           the tokens; the values likewise
        3. keep both in self, and the number of tokens as self.length
        4. return both
        """,
        """
        if self.length > 0:
            keys = torch.cat([self.keys, keys], dim=2)
            values = ...                              # likewise
        self.keys, self.values, self.length = keys, values, keys.shape[2]
        return keys, values
        """,
    ),
    properties=[Property("the length counts all tokens", _counts_other_tokens, of_class=True),
                Property("each cache by itself", _shares_its_memory, of_class=True)],
)

# ------------------------------------------------------------ the cache on its way through a model


def run_with_cache(caches):
    """How a trial reads x (B, T, ...) in pieces of so many tokens, with what `caches(model)` gives.

    Without pieces, it reads all of it at once, and no cache.
    """

    def use(cls):
        def answer(config, x, pieces=()):
            model = filled(cls(config)).eval()
            if not pieces:
                return model(x)
            cache, results = caches(model), []
            for piece in x.split(pieces, dim=1):
                results.append(model(piece, cache))
                if not isinstance(results[-1], Tensor):
                    return results[-1]
            return torch.cat(results, dim=1)

        return answer

    return use


# Texts, tokens, and in which pieces: no cache; token by token; several after others; T = 1.
_WAYS = ((2, 5, ()), (2, 5, (1, 1, 1, 1, 1)), (3, 7, (4, 1, 2)), (1, 7, (3, 4)), (2, 1, ()))


def _cached_inputs(generator):
    for config, (B, T, pieces) in zip((WIDE, WIDE, NARROW, ONE_HEAD, WIDE), _WAYS, strict=True):
        yield config, normal(generator, B, T, config["emb_dim"]), pieces


def _only_with_the_cache(solution, task):
    """A symptom: whether it is the cache that makes the difference; then, what is to be done."""

    def found(answer, config, x, *_pieces):
        with torch.no_grad():
            wanted = filled(solution(config)).eval()(x)
        if not equal(answer(config, x), wanted):
            return ("It is wrong without a cache, too: compare it with yours of the earlier "
                    "chapter, which did all the rest.")
        return f"All at once, without a cache, it is right. With a cache, {task}."

    return found


_MASK = "causal_mask(S)[-T:]"

CACHED_ATTENTION = Exercise(
    "07.cached_attention",
    definition="MultiHeadAttention",
    goal="Attend to all tokens so far, those in the cache and the new ones.",
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=_cached_inputs,
    use=run_with_cache(lambda _layer: gpt.KVCache()),
    structure=fits(gpt.MultiHeadAttention, [WIDE, NARROW, ONE_HEAD]),
    holes=("forward",),
    edits=[
        (_MASK, "causal_mask(S)[:T]",
         "These are the first T rows of the mask, but the new tokens are the last ones: "
         "causal_mask(S)[-T:]."),
        (_MASK, "causal_mask(T)",
         "The mask has T columns, but there are S keys, those from the cache too: take the last T "
         "rows of causal_mask(S)."),
    ],
    symptoms=[_only_with_the_cache(
        gpt.MultiHeadAttention, "extend it in every call, and go on with the keys and values that "
        "it gives back, of which the new tokens are the last")],
    hints=(
        "Two things change. Where do keys and values of earlier tokens come from? And with more "
        "keys than queries, which rows of the square mask belong to the new tokens?",
        """
        1. queries, keys and values of x, as before
        2. where there is a cache, extend it: keys and values are now those of all S tokens
        3. the last T rows of the causal mask of S tokens
        4. the rest as before
        """,
        """
        queries = split_heads(self.query(x), self.n_heads)           # keys and values likewise
        if cache is not None:
            keys, values = cache.extend(keys, values)
        T, S = queries.shape[2], keys.shape[2]
        mask = ...                                                   # (T, S)
        weights = self.dropout(attention_weights(queries, keys, mask))
        mixed = (weights @ values).transpose(1, 2).flatten(2)
        return self.output(mixed)
        """,
    ),
    properties=facts_of_a_layer(wide_input, gpt.MultiHeadAttention),
)

CACHED_BLOCK = replace(
    CACHED_ATTENTION,
    id="07.cached_block",
    definition="TransformerBlock",
    goal="Find the bug: with the cache, this block lets a model write fast, and nonsense. Why?",
    bug=("self.attention_norm(x), cache)", "self.attention_norm(x))",
         "The cache comes in, but nobody gets it: attention needs it, as its second argument."),
    structure=fits(gpt.TransformerBlock, [WIDE, NARROW, ONE_HEAD]),
    edits=(),
    symptoms=[_only_with_the_cache(gpt.TransformerBlock, "attention needs it, and nobody else")],
    hints=(
        "With the cache, the model reads one new token at a time. Follow the cache from the head "
        "of forward to the layer that needs what it holds.",
        """
        1. of all the parts of a block, only attention looks at earlier tokens
        2. it finds them in the cache, if it is given one
        3. so forward hands it on
        """,
        """
        x = x + self.dropout(self.attention(self.attention_norm(x), ...))
        return x + self.dropout(self.feed_forward(self.feed_forward_norm(x)))
        """,
    ),
    properties=facts_of_a_layer(wide_input, gpt.TransformerBlock),
)

MODEL = small_config(13, 9, 8, 2, 2)
TIED = small_config(7, 9, 6, 2, 3, tie_weights=True)


def _cached_ids(generator):
    for config, (B, T, pieces) in zip((MODEL, MODEL, TIED, MODEL, TIED), _WAYS, strict=True):
        yield config, torch.randint(config["vocab_size"], (B, T), generator=generator), pieces


def _ids_input(generator):
    return MODEL, torch.randint(13, (2, 5), generator=generator)


CACHED_MODEL = Exercise(
    "07.cached_model",
    definition="GPTModel",
    goal="Let positions go on where the cache ends, and give each block its own cache.",
    returns=TensorAnswer("logits", ("B", "T", "V")),
    cases=_cached_ids,
    use=run_with_cache(lambda model: [gpt.KVCache() for _ in model.blocks]),
    structure=fits(gpt.GPTModel, [MODEL, TIED]),
    holes=("forward",),
    edits=[
        ("cache[layer] if cache else None", "cache",
         "Each block gets the whole list: it needs the cache of its own layer, cache[layer]."),
    ],
    symptoms=[_only_with_the_cache(
        gpt.GPTModel, "positions go on where it ends, at cache[0].length, and block number layer "
        "gets cache[layer], its own")],
    hints=(
        "When a cache holds 5 tokens, at which position does the next one stand? And how does each "
        "block find the cache that holds its own keys and values?",
        """
        1. how many tokens are past: the length of the first cache; without a cache, 0
        2. the positions of the new ones: from there on, as many as there are ids
        3. token and position embeddings, added; dropout
        4. each block gets x and the cache of its layer, or None
        5. the final norm, then the output head
        """,
        """
        past = cache[0].length if cache else 0
        positions = torch.arange(..., device=ids.device)
        x = self.dropout(self.token_embedding(ids) + self.position_embedding(positions))
        for layer, block in enumerate(self.blocks):
            x = block(x, cache[layer] if cache else None)
        return self.output_head(self.final_norm(x))
        """,
    ),
    properties=[*facts_of_a_layer(_ids_input, gpt.GPTModel),
                Property("drops at the entrance", drops_at_the_entrance, of_class=True)],
)

# ------------------------------------------------------------------------------------ generate


def _writer(**config):
    model = filled(gpt.GPTModel({**MODEL, **config})).eval()
    model.output_head.weight.data.mul_(1.5)
    return model


def _to_continue(generator):
    """The best tokens and drawn ones; each filter, both, none; to a stop; beyond the context."""
    for ids, n_tokens, temperature, top_k, top_p, stop in (
        ([3], 5, 0, None, None, None), ([1, 5, 2], 6, 1.0, None, None, None),
        ([2, 7], 5, 0.5, None, None, None), ([4, 4, 8, 1], 4, 2.0, 2, None, None),
        ([0, 9, 3], 6, 4.0, None, 0.4, None), ([6], 12, 1.5, 6, 0.7, None),
        ([5, 1], 14, 1.0, None, None, None), ([*range(12)], 5, 0, None, None, None),
        ([7, 2, 4], 0, 1.0, None, None, None), ([8, 3], 13, 1.0, None, None, 6),
        ([9, 1], 7, 0, None, None, 298),                 # a large id, which comes at once
    ):
        seed = int(torch.randint(1000, (1,), generator=generator))
        model = _writer(vocab_size=300) if stop == 298 else _writer()
        yield model, ids, n_tokens, temperature, top_k, top_p, stop, seed


def _continued(generate, model):
    return generate(model, [1, 2, 3], 6, 0)


def _reads_anew(generate):
    model, lengths, states = _writer(drop_rate=0.5).train(), [], []

    def overhear(_model, given, named, out):
        lengths.append(first_of(given, named).shape[1])
        states.append((model.training, out.requires_grad))

    model.register_forward_hook(overhear, with_kwargs=True)
    list(_continued(generate, model))
    if any(training for training, _ in states):
        return "a model that is in training mode drops numbers while it writes: call model.eval()."
    if any(recorded for _, recorded in states):
        return ("the way back to the weights is recorded, for nobody: keep @torch.no_grad() above "
                "the first line.")
    if lengths[:4] == [3, 1, 1, 1]:
        return None
    return (f"the tokens are right, but for each of them the model reads {lengths[1]} tokens: with "
            "a KVCache for every block, made once, it reads the prompt, and then only what is new, "
            "one token at a time.")


def _first_wrong(answer, model, ids, n_tokens, temperature, top_k, top_p, stop, generator):
    """What a wrong row of tokens does, beside the setting that it was given."""
    settings = n_tokens, temperature, top_k, top_p, stop
    got = answer(copy.deepcopy(model), [*ids], *settings, generator)
    right = [*gpt.generate(model, ids, *settings, torch.Generator().manual_seed(generator))]
    if stop is not None:
        return ("It is `stop` that goes wrong: as soon as it is drawn, return, before it is handed "
                "out, and hand out nothing after it.")
    if len(got) != len(right):
        return None
    place = next(n for n, pair in enumerate(zip(got, right, strict=True)) if pair[0] != pair[1])
    if len(ids) + place > model.config["context_length"]:
        return (f"The first {place} tokens are right, until the text grows longer than the "
                "context: from then on the model reads the last context_length tokens, each at a "
                "new position, with new caches.")
    if temperature == 0 and place:
        return ("The first token is right, a later one is not: look at what the model reads after "
                "the prompt, the one token that is new, and at its caches, which stay the same.")
    if temperature == 0:
        return ("At temperature 0 the best token is the only one: look at which scores you take, "
                "those at the last position.")
    if top_k is None and top_p is None and temperature == 1:
        return ("The draws differ, though nothing is filtered: take one number of torch.multinomial"
                " for each token, with generator=generator, from the softmax of all V scores.")
    if top_k is not None and top_p is not None:
        return ("Each filter alone is right, the two together are not: after the temperature comes "
                "top_k, and then top_p.")
    if top_k is None and top_p is None:
        return ("At temperatures 0 and 1 it is right: at any, the scores first go through "
                "apply_temperature, and the softmax is taken of what it returns.")
    name = "top_p" if top_k is None else "top_k"
    return (f"Without a filter it is right, with {name} it is not: after the temperature, where "
            f"{name} is not None, the scores become what keep_{name} returns.")


GENERATE = Exercise(
    "07.generate",
    goal="Draw a token, append it, again: hand out each as it comes, end at `stop`, and let the "
         "model read only what is new.",
    returns=WrittenAnswer(),
    cases=_to_continue,
    use=run_generation,
    edits=[
        NO_TOKEN,
        (SLIDE, "",
         "The text outgrows the context: when it is longer, the model reads its last "
         "context_length tokens, with new caches."),
        ("        new = [token]\n", "        new = ids\n",
         "The caches hold the earlier tokens already, so the model must read the new one only: new "
         "= [token]."),
        ("[KVCache() for _ in model.blocks]\n    for", "[KVCache()] * len(model.blocks)\n    for",
         "All blocks share one cache, which is in the list several times: make one for each, "
         "[KVCache() for _ in model.blocks]."),
        ("torch.tensor([new])", "torch.tensor(new)",
         "The model reads a batch, (B, T): a single text needs one more pair of brackets, "
         "torch.tensor([new])."),
    ],
    symptoms=[_first_wrong],
    hints=(
        "What does the model read first, and what after that? Then, from its scores at the last "
        "position: temperature, filters, softmax, a draw. And what if the text gets too long?",
        """
        1. a copy of ids; what is new: all of them; a KVCache for every block
        2. in a loop: where ids is longer than the context, all of the last context_length ids are
           new, and the caches too
        3. the scores at the last position: temperature, then top_k, then top_p, where not None
        4. one token by torch.multinomial of the softmax, with the generator
        5. return if it is `stop`; else yield it, append it, and now it alone is new
        """,
        """
        ids, new, cache = list(ids), list(ids), [KVCache() for _ in model.blocks]
        for _ in range(n_tokens):
            if len(ids) > model.config["context_length"]:
                new, cache = ids[-model.config["context_length"] :], [KVCache() for _ in
                                                                      model.blocks]
            logits = model(torch.tensor([new]), cache)[0, -1]
            ...                                       # temperature, top_k and top_p
            token = torch.multinomial(logits.softmax(dim=-1), 1, generator=generator).item()
            if token == stop:
                return
            yield token
            ids.append(token)
            new = [token]
        """,
    ),
    properties=[one_by_one("each token as it comes", "yield token", _writer, _continued),
                Property("only what is new is read", _reads_anew, of_class=True)],
)

# ---------------------------------------------------------------------------------------- main


@dataclass
class Heard:
    """What a run of main did."""

    vocabulary: list | None = None               # of its tokenizer
    sizes: int | None = None                     # the vocab_size of the model that is trained
    seen: list | None = None                     # ids that it was trained on
    steps: int = 0                               # of how many the loss was asked for
    train_draws: str = "batch"                   # with this function
    unseen: list | None = None                   # ids that the windows of the evaluation are from
    drawn_by: str = ""                           # with this function
    drawn: bool = False                          # it is these that evaluate is given
    after: int = 0                               # the steps that were taken before it
    prompt: list | None = None                   # what was to be continued
    told: str = ""                               # what was printed


_SAMPLE, _LOSS = [72, 109, 33], 1.2345           # what the actors give back
_BEGINNING = "Poppy the"                         # on the second command line


def run_main(main):
    """A trial: main runs on a file with this text, then on what it has kept, with a beginning.

    -> what it did each time; one thing where nothing is kept.
    """

    def answer(text):
        if says_todo(main):
            return TODO
        with TemporaryDirectory() as folder:
            file = Path(folder) / "text.txt"
            file.write_text(text, encoding="utf-8")
            runs, kept = [_overheard(main, file)], file.with_suffix(".pt")
            return [*runs, _overheard(main, kept, *_BEGINNING.split())] if kept.exists() else runs

    return answer


def _overheard(main, *line):
    """A run of main with this command line; training, evaluation and writing are played."""
    main = inspect.unwrap(main)
    heard, names, windows = Heard(), {**vars(gpt), **main.__globals__}, []

    def tokenizer(*given, **named):
        made = names["Tokenizer"](*given, **named)
        heard.vocabulary = made.vocabulary
        return made

    def train(model, ids, *_given, steps=None, draw=None, **_named):
        heard.seen, heard.sizes = ids.tolist(), model.config["vocab_size"]
        if draw is not None:
            heard.train_draws = getattr(draw, "__name__", "a function of its own")
        for _ in range(min(steps or _given[0], 1000)):
            heard.steps += 1
            yield 2.5

    def drawing(name):
        def draw(ids, *given, **named):
            heard.unseen, heard.drawn_by = ids.tolist(), name
            windows[:] = names[name](ids, *given, **named)
            return tuple(windows)

        draw.__name__ = name
        return draw

    def evaluate(_model, *given, **named):
        heard.drawn = [*map(id, (*given, *named.values()))][:2] == [*map(id, windows)]
        heard.after = heard.steps
        return _LOSS

    def generate(_model, ids, *_given, **_named):
        heard.prompt = list(ids)
        yield from _SAMPLE

    def listen(*parts, sep=" ", end="\n", **_named):
        heard.told += re.sub(r" at 0x\w+", "", sep.join(map(str, parts))) + end

    actors = {"Tokenizer": tokenizer, "train": train, "batch": drawing("batch"),
              "story_batch": drawing("story_batch"), "evaluate": evaluate, "generate": generate,
              "print": listen}
    with (mock.patch.object(sys, "argv", ["my_gpt.py", *map(str, line)]),
          mock.patch.object(torch.cuda, "is_available", lambda: False),
          torch.random.fork_rng(devices=[])):
        FunctionType(main.__code__, {**names, **actors})()
    return heard


@dataclass(frozen=True)
class MainAnswer:
    """Two runs of main: what must have happened, whatever its numbers."""

    name: str = "run"

    def malformed(self, answer: Any, expected: list[Heard]) -> str | None:
        return None                              # whatever it did, that can be looked at

    def difference(self, answer: list[Heard], expected: list[Heard]) -> str | None:
        first, *later = answer
        whole = _text_of(expected[0], expected[0].seen + expected[0].unseen)
        if first.steps < 10:
            return (f"{first.steps} steps are trained: call train(model, seen, steps=...), and go "
                    "through all that it yields in a loop, for nothing happens before.")
        if first.after < first.steps:
            return ("evaluate is not called after the training: measure the loss on what was held "
                    "out.")
        if not first.drawn:
            return ("evaluate measures windows: give it those that draw takes from what was held "
                    "out, evaluate(model, *draw(unseen, 200, 128)).")
        if first.drawn_by != first.train_draws:
            return (f"train draws its windows with {first.train_draws}, the evaluation with "
                    f"{first.drawn_by}: let both use draw, which fits the text.")
        if first.sizes != len(first.vocabulary):
            return (f"the model has {first.sizes} tokens, but the tokenizer's vocabulary has "
                    f"{len(first.vocabulary)}: hand it on as vocab_size.")
        seen, unseen = (_text_of(first, ids) for ids in (first.seen, first.unseen))
        if seen + unseen != whole or len(first.seen) <= len(first.unseen):
            return ("the text must be cut in two: train on its first nine tenths, and evaluate "
                    "just what comes after.")
        if f"{_LOSS:.2f}"[:3] not in first.told:
            return "the loss on what was held out is never printed."
        sample = _text_of(first, _SAMPLE)
        if first.prompt is None or sample not in first.told:
            return ("no sample is printed: print the decoded tokens that generate yields, "
                    "tokenizer.decode(generate(...)).")
        if not later:
            return ("what was learned is not kept: after the training, call "
                    'save(path.with_suffix(".pt"), tokenizer, model).')
        second = later[0]
        if second.steps:
            return ("what was kept is trained on as if it were a text: where path.suffix is .pt, "
                    "load it.")
        if second.prompt is None or not _text_of(first, second.prompt).endswith(_BEGINNING):
            return ("the beginning on the command line is not what generate goes on from: hand it "
                    "[end, *tokenizer.encode(beginning)].")
        if _BEGINNING + sample not in second.told:
            return "the beginning is not printed in front of what was written."
        return None

    def alike(self, answer: Any, other: Any) -> bool:
        return answer == other


def _text_of(heard, ids):
    return b"".join(heard.vocabulary[token] for token in ids).decode(errors="replace")


_TEXTS = ("Poppy the bear had a red kite. " * 600, "The dog ran. It's 7 o'clock!\n" * 500 + "No.",
          f"One fox.{gpt.END_OF_TEXT}Two foxes, naïve.{gpt.END_OF_TEXT}" * 400)
_LOOP = (
    "        for step, loss in enumerate(train(model, seen, steps, peak=peak, draw=draw), "
    "start=1):\n"
    "            if step % 100 == 0:\n"
    '                print(f"step {step:4}   loss {loss:.3f}", flush=True)\n'
    "        new_loss = evaluate(model, *draw(unseen, 200, 128))\n"
    '        print(f"on text it has never seen: {new_loss:.3f} nats per token\\n")\n'
    '        save(path.with_suffix(".pt"), tokenizer, model)\n'
)
_WRITE = '''    told = generate(model, [end, *tokenizer.encode(beginning)], 200, stop=end)
    print(beginning + tokenizer.decode(told))
'''
_SPLIT = "        seen, unseen = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]\n"

MAIN = Exercise(
    "07.main",
    goal="Put it all together: hold a tenth of the text back, train on the rest and show how it "
         "goes, measure on what was held back, keep what was learned, and write.",
    returns=MainAnswer(),
    cases=lambda generator: [(text,) for text in _TEXTS],
    use=run_main,
    blanks=[(_SPLIT, "        seen, unseen = TODO\n"), (_LOOP, "        TODO\n"),
            (_WRITE, "    TODO\n")],
    hints=(
        "All that is needed has been written: train yields losses, evaluate returns one, generate "
        "yields tokens, of which the tokenizer makes text. Nothing happens until someone asks.",
        '''
        1. cut ids at nine tenths: what is seen, and what is not
        2. a loop over train(model, seen, steps, peak=peak, draw=draw); print every 100 steps
        3. measure on 200 windows that draw takes from unseen, print that, and save both
        4. print the beginning, and after it the decoded tokens of generate
        ''',
        '''
        seen, unseen = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
        model = ...                                   # as given
        for step, loss in enumerate(train(model, seen, steps, peak=peak, draw=draw), start=1):
            if step % 100 == 0:
                print(f"step {step:4}   loss {loss:.3f}", flush=True)
        print(evaluate(model, *draw(...)))
        save(path.with_suffix(".pt"), tokenizer, model)
        ...                                           # for a text and for what was kept of one:
        print(beginning + tokenizer.decode(generate(model, ..., 200, stop=end)))
        ''',
    ),
)

EXERCISES = (KEEP_TOP_P, KV_CACHE, CACHED_ATTENTION, CACHED_BLOCK,
             CACHED_MODEL, GENERATE, MAIN)
