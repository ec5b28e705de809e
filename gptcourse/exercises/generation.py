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
from gptcourse.exercises.answers import SeveralAnswers, TensorAnswer, described
from gptcourse.exercises.attention import NARROW, ONE_HEAD, WIDE, wide_input
from gptcourse.exercises.classes import facts_of_a_layer, filled, fits
from gptcourse.exercises.early import SLIDE
from gptcourse.exercises.exercise import TODO, Exercise, Property, Todo, says_todo
from gptcourse.exercises.listening import first_of
from gptcourse.exercises.loops import NO_TOKEN, WrittenAnswer, one_by_one, run_generation
from gptcourse.exercises.model import drops_at_the_entrance, small_config
from gptcourse.exercises.properties import normal
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
        if all(self._same_odds(trial.answer, trial.arguments["logits"]) for trial in trials):
            return ("These scores give the same probabilities as those that came in: nothing has "
                    "changed.")
        if any((trial.answer == math.inf).any() for trial in trials):
            return None                                  # something else is wrong than the choice
        left = [(trial.answer > -math.inf, trial.expected > -math.inf) for trial in trials]
        if all(answer.equal(~expected) for answer, expected in left):
            return "Just those tokens are ruled out that should stay: turn the choice around."
        if all(answer.all() for answer, _ in left):
            return None                                  # that is told where numbers are compared
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
        return _ranks_left(trials[0].arguments["logits"], *left[0])

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


def _ranks_left(logits, left, wanted):
    """By their ranks, the tokens that are left in the first wrong row, and those that should be."""
    width = logits.shape[-1]
    for scores, *rows in zip(*(x.reshape(-1, width) for x in (logits, left, wanted)), strict=True):
        if not rows[0].equal(rows[1]):
            ranks = scores.argsort(descending=True).argsort() + 1
            ours, theirs = (", ".join(map(str, sorted(ranks[row].tolist()))) for row in rows)
            return ("The best token of a row has rank 1: where it first goes wrong, you keep those "
                    f"of rank {ours}, but must keep {theirs}.")
    return None


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
    if kept == [2, 2]:
        return None
    if max(kept) > 3:
        return ("of four tokens with equal scores, p = 0.5 keeps all: those that share the last "
                "score stay, too, so rule tokens out by their places, not by scores.")
    return (f"of four tokens with equal scores, p = 0.5 keeps {max(kept)}: two have probability "
            "0.5 already, so rule out where the better ones have p or more, with >=.")


_SUMS = "probabilities.cumsum(dim=-1)"
_BACK = "logits.scatter(-1, order, ordered)"

KEEP_TOP_P = Exercise(
    "07.keep_top_p",
    goal="Forbid the tail, however long it is: keep the fewest best tokens that together reach p.",
    returns=ScoresAnswer("scores", ("V",), leading=True),
    cases=_scores_and_p,
    edits=[
        (f"{_SUMS} - probabilities", _SUMS,
         "The token that reaches p is dropped, so what is left stays below p: rule a token out "
         "where the better ones alone have reached p already."),
        ("", "    probabilities = logits.softmax(dim=-1)\n    before = "
             "probabilities.cumsum(dim=-1) - probabilities\n"
             "    return logits.masked_fill(before >= p, -math.inf)\n",
         "You add up the probabilities in the order of the vocabulary: sort the tokens first, the "
         "best ones in front."),
        (_BACK, "torch.where(order < (before < p).sum(dim=-1, keepdim=True), logits, -math.inf)",
         "A sort names the token at each rank, not the rank of each token: put the scores back "
         "with scatter, or sort the order once more, order.argsort(dim=-1), for the ranks."),
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

    -> what the last call gives back, and the cache's length after each.
    """

    def answer(keys, values, pieces):
        cache, lengths, result = cls(), [], None
        for piece in zip(keys.split(pieces, dim=2), values.split(pieces, dim=2), strict=True):
            result = cache.extend(*piece)
            if result is None or isinstance(result, Todo):
                return result
            lengths.append(cache.length)
        if not isinstance(result, (tuple, list)) or len(result) != 2:
            return (result,)
        whole = all(isinstance(length, int) for length in lengths)
        return *result, torch.tensor(lengths) if whole else lengths

    return answer


class CacheAnswer(SeveralAnswers):
    """Keys, values and lengths."""

    def malformed(self, answer: Any, expected: tuple) -> str | None:
        if not isinstance(answer, tuple) or len(answer) != 3:
            got = answer[0] if isinstance(answer, tuple) else answer
            return (f"extend returns {described(got)}, but must return two things: the keys "
                    "and the values of all tokens so far.")
        return super().malformed(answer, expected)

    def trace(self, trials: list[Trial]) -> str | None:
        """Whether tokens are missing, or only the earlier ones are wrong, or only the new ones."""
        for got, wanted in zip(trials[0].answer[:2], trials[0].expected[:2], strict=True):
            if isinstance(got, Tensor) and got.dim() == 4 and got.shape[2] != wanted.shape[2]:
                return (f"Of {wanted.shape[2]} tokens, {got.shape[2]} are in the cache at the end: "
                        "in every call, append all new ones to those that are kept, by torch.cat "
                        "along the axis of the tokens, dim=2, and keep the longer ones.")
        if any(self.malformed(trial.answer, trial.expected) for trial in trials):
            return None
        right = []                                           # of each part: earlier ones, new ones
        for trial in trials:
            first, *_, new = [*trial.arguments["pieces"][:1], *trial.arguments["pieces"]]
            for got, wanted in zip(trial.answer[:2], trial.expected[:2], strict=True):
                if got.shape != wanted.shape:
                    return None
                right.append([torch.allclose(got[:, :, :first], wanted[:, :, :first]),
                              torch.allclose(got[:, :, -new:], wanted[:, :, -new:])])
        if all(earlier for earlier, _ in right) and not all(new for _, new in right):
            return "The earlier tokens are right, but the new ones must stay as they came in."
        if all(new for _, new in right) and not all(earlier for earlier, _ in right):
            return "The new tokens are right, but the earlier ones must stay as they were."
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
    return None if length == 0 or isinstance(length, Todo) else (
        f"a new cache has the length {length}: set self.length = 0 in __init__, for it holds "
        "nothing yet.")


def _shares_its_memory(cls):
    one, other = cls(), cls()
    one.extend(torch.ones(1, 1, 3, 2), torch.ones(1, 1, 3, 2))
    other.extend(torch.zeros(1, 1, 2, 2), torch.zeros(1, 1, 2, 2))
    keys, _ = one.extend(torch.ones(1, 1, 1, 2), torch.ones(1, 1, 1, 2))
    return None if keys.tolist() == [[[[1, 1]] * 4]] and (one.length, other.length) == (4, 2) else (
        "two caches share their memory: set in __init__, on self, what a cache holds, and not in "
        "the class itself.")


_GROW = "torch.cat([self.keys, keys], dim=2)"
_KEYS = f"            keys = {_GROW}                       # (B, H, S, D)\n"
_GROW_TOO = "torch.cat([self.values, values], dim=2)"
_VALUES = f"            values = {_GROW_TOO}                 # (B, H, S, D)\n"
_KEEP = "self.keys, self.values, self.length = keys, values, keys.shape[2]"

KV_CACHE = Exercise(
    "07.KVCache",
    goal="Keep what never changes: the keys and values of all tokens so far.",
    returns=CacheAnswer((TensorAnswer("keys", ("B", "H", "S", "D")),
                         TensorAnswer("values", ("B", "H", "S", "D")),
                         TensorAnswer("length", ("calls",), dtype="whole"))),
    cases=_to_cache,
    use=run_cache,
    structure=_starts_empty,
    holes=("__init__", "extend"),
    edits=[
        (_KEYS + _VALUES, "            keys, values = torch.cat([keys, self.keys], dim=2), "
                          "torch.cat([values, self.values], dim=2)\n",
         "The new tokens stand before the old ones: append them at the end."),
        (f"        {_KEEP}\n        return keys, values",
         "        if self.length == 0:\n            self.keys, self.values, self.length = keys, "
         "values, keys.shape[2]\n        return keys, values",
         "Only the first tokens are kept: store the longer keys and values in self, in every "
         "call."),
        (", keys.shape[2]\n", ", self.length + 1\n",
         "The length grows by one in each call, but a prompt brings many tokens at once: it is the "
         "number of all of them, keys.shape[2]."),
        (", keys.shape[2]\n", ", self.length + keys.shape[2]\n",
         "The earlier tokens are counted twice: keys holds all of them already when you count."),
        ("        if self.length > 0:\n" + _KEYS + _VALUES,
         f"        keys = {_GROW}\n        values = {_GROW_TOO}\n",
         "In the first call there is nothing to append to yet: where the length is 0, the new keys "
         "and values are all there is."),
    ],
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
    properties=[Property("each cache by itself", _shares_its_memory, of_class=True)],
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


_PIECES = ((), (1, 1, 1, 1, 1), (4, 1, 2), (3, 4), ())


def _one_cache(_layer):
    return gpt.KVCache()


def _cached_inputs(generator):
    """Without a cache; token by token; several at a time, after others; T = 1."""
    configs = (WIDE, WIDE, NARROW, ONE_HEAD, WIDE)
    for config, pieces, B, T in zip(configs, _PIECES, (2, 2, 3, 1, 2), (5, 5, 7, 7, 1),
                                    strict=True):
        yield config, normal(generator, B, T, config["emb_dim"]), pieces


def _only_with_the_cache(solution):
    """A symptom: whether it is the cache that makes the difference."""

    def found(answer, config, x, *_pieces):
        with torch.no_grad():
            wanted = filled(solution(config)).eval()(x)
        alone = answer(config, x)
        if alone.shape != wanted.shape or not torch.allclose(alone, wanted, rtol=1e-4, atol=1e-4):
            return ("It is wrong without a cache, too: compare it with yours of the earlier "
                    "chapter, which did all the rest.")
        return ("All at once, without a cache, it is right: look at what becomes of the cache, and "
                "at where the new tokens stand after those in it.")

    return found


_MASK = "causal_mask(S)[-T:]"

CACHED_ATTENTION = Exercise(
    "07.cached_attention",
    definition="MultiHeadAttention",
    goal="Attend to all tokens so far, those in the cache and the new ones.",
    returns=TensorAnswer("output", ("B", "T", "C")),
    cases=_cached_inputs,
    use=run_with_cache(_one_cache),
    structure=fits(gpt.MultiHeadAttention, [WIDE, NARROW, ONE_HEAD]),
    holes=("forward",),
    edits=[
        (_MASK, "causal_mask(S)[:T]",
         "These are the first T rows of the mask, but the new tokens are the last ones: "
         "causal_mask(S)[-T:]."),
        (_MASK, "causal_mask(T)",
         "The mask has T columns, but there are S keys, those from the cache too: take the last T "
         "rows of causal_mask(S)."),
        (_MASK, "torch.ones(T, S, dtype=torch.bool)",
         "Every query looks at every key: among several new tokens, too, none may see a later "
         "one."),
        ("keys, values = cache.extend(keys, values)", "cache.extend(keys, values)",
         "The layer attends to the new tokens only: extend the cache in every call, and use what "
         "it gives back, keys, values = cache.extend(keys, values)."),
    ],
    symptoms=[_only_with_the_cache(gpt.MultiHeadAttention)],
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
    edits=[
        ("self.feed_forward(self.feed_forward_norm(x))",
         "self.feed_forward(self.feed_forward_norm(x), cache)",
         "The feed-forward network treats each token by itself, so it needs no cache: only "
         "attention looks back."),
    ],
    symptoms=[_only_with_the_cache(gpt.TransformerBlock)],
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


def _one_cache_each(model):
    return [gpt.KVCache() for _ in model.blocks]


def _cached_ids(generator):
    for config, pieces, B, T in zip((MODEL, MODEL, TIED, MODEL, TIED), _PIECES, (2, 2, 3, 1, 2),
                                    (5, 5, 7, 7, 1), strict=True):
        yield config, torch.randint(config["vocab_size"], (B, T), generator=generator), pieces


def _ids_input(generator):
    return MODEL, torch.randint(13, (2, 5), generator=generator)


CACHED_MODEL = Exercise(
    "07.cached_model",
    definition="GPTModel",
    goal="Let positions go on where the cache ends, and give each block its own cache.",
    returns=TensorAnswer("logits", ("B", "T", "V")),
    cases=_cached_ids,
    use=run_with_cache(_one_cache_each),
    structure=fits(gpt.GPTModel, [MODEL, TIED]),
    holes=("forward",),
    edits=[
        ("torch.arange(past, past + ids.shape[1]", "torch.arange(ids.shape[1]",
         "Each call counts its positions from 0 again: the first new token stands after all those "
         "in the cache, at position cache[0].length."),
        ("cache[layer] if cache else None", "cache[0] if cache else None",
         "All blocks share one cache, so each finds keys of the others in it: block number layer "
         "gets cache[layer]."),
        ("cache[layer] if cache else None", "cache",
         "Each block gets the whole list: it needs the cache of its own layer, cache[layer]."),
    ],
    symptoms=[_only_with_the_cache(gpt.GPTModel)],
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
    got = answer(copy.deepcopy(model), [*ids], n_tokens, temperature, top_k, top_p, stop, generator)
    right = gpt.generate(model, ids, n_tokens, temperature, top_k, top_p, stop,
                         torch.Generator().manual_seed(generator))
    right = list(right)
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
    """What two runs of main did, one on a text and one on what the first has kept."""

    vocabulary: list | None = None               # of its tokenizer
    sizes: int | None = None                     # the vocab_size of the model that is trained
    seen: list | None = None                     # ids that it was trained on
    steps: int = 0                               # of how many the loss was asked for
    unseen: list | None = None                   # ids of the evaluation
    after: int = 0                               # the steps that were taken before it
    prompt: list | None = None                   # what was to be continued
    told: str = ""                               # what was printed
    kept: bool = False                           # whether there is a second file after it
    again: list | None = None                    # what the second run was to continue,
    trained_again: bool = False                  # and whether it trained, too
    told_again: str = ""


_SAMPLE, _LOSS = [72, 109, 33], 1.2345           # what the actors give back
_BEGINNING = "Poppy the"                         # on the second command line


def run_main(main):
    """A trial: main runs on a file with this text, then on what it has kept, with a beginning;
    training, evaluation and writing are played."""

    def answer(text):
        if says_todo(main):
            return TODO
        code = inspect.unwrap(main).__code__
        heard, names = Heard(), {**vars(gpt), **inspect.unwrap(main).__globals__}
        tokenizer_class = names["Tokenizer"]

        def tokenizer(*given, **named):
            made = tokenizer_class(*given, **named)
            heard.vocabulary = made.vocabulary
            return made

        def train(model, ids, *_given, steps=None, **_named):
            steps = min(steps or _given[0], 1000)
            heard.seen, heard.sizes = ids.tolist(), model.config["vocab_size"]
            for _ in range(steps):
                heard.steps += 1
                yield 2.5

        def evaluate(_model, ids, *_given, **_named):
            heard.unseen, heard.after = ids.tolist(), heard.steps
            return _LOSS

        def generate(_model, ids, *_given, **_named):
            heard.prompt = list(ids)
            yield from _SAMPLE

        def listen(*parts, sep=" ", end="\n", **_named):
            heard.told += re.sub(r" at 0x\w+", "", sep.join(map(str, parts))) + end

        actors = {"Tokenizer": tokenizer, "train": train, "evaluate": evaluate,
                  "generate": generate, "print": listen}

        def run(*line):
            with (mock.patch.object(sys, "argv", ["my_gpt.py", *map(str, line)]),
                  mock.patch.object(torch.cuda, "is_available", lambda: False),
                  torch.random.fork_rng(devices=[])):
                FunctionType(code, {**names, **actors})()

        with TemporaryDirectory() as folder:
            file = Path(folder) / "text.txt"
            file.write_text(text, encoding="utf-8")
            run(file)
            heard.kept = file.with_suffix(".pt").exists()
            if heard.kept and heard.told:
                first = replace(heard)
                heard.prompt, heard.told, heard.steps = None, "", 0
                run(file.with_suffix(".pt"), *_BEGINNING.split())
                heard = replace(first, again=heard.prompt, trained_again=heard.steps > 0,
                                told_again=heard.told)
        return heard

    return answer


@dataclass(frozen=True)
class MainAnswer:
    """A run of main: what must have happened, whatever its numbers."""

    name: str = "run"

    def malformed(self, answer: Any, expected: Heard) -> str | None:
        return None if isinstance(answer, Heard) else f"main returns {described(answer)}."

    def difference(self, answer: Heard, expected: Heard) -> str | None:
        whole = _text_of(expected, expected.seen + expected.unseen)
        if answer.seen is None:
            return ("nothing is trained: call train(model, seen, steps=...), and go through what "
                    "it yields in a loop, for nothing happens before.")
        if answer.steps < 10:
            return f"only {answer.steps} steps are trained: go through all that train yields."
        if answer.unseen is None:
            return "evaluate is never called: measure the loss on what was held out."
        if answer.sizes != len(answer.vocabulary):
            return (f"the model has {answer.sizes} tokens, but the tokenizer's vocabulary has "
                    f"{len(answer.vocabulary)}: hand it on as vocab_size.")
        seen, unseen = (_text_of(answer, ids) for ids in (answer.seen, answer.unseen))
        if not whole.startswith(seen) or not seen:
            return "what is trained on is not the first part of the text."
        if seen + unseen != whole:
            return ("what is evaluated must be just what was held out, all that comes after what "
                    "is trained on.")
        if len(answer.seen) <= len(answer.unseen):
            return "more is held out than trained on: nine tenths are for training."
        if answer.after < answer.steps:
            return "evaluate is called before the training has ended."
        if f"{_LOSS:.2f}"[:3] not in answer.told:
            return "the loss on what was held out is never printed."
        if answer.prompt is None or _text_of(answer, _SAMPLE) not in answer.told:
            return ("no sample is printed: print the decoded tokens that generate yields, "
                    "tokenizer.decode(generate(...)).")
        if not answer.kept:
            return ("what was learned is not kept: after the training, call "
                    'save(path.with_suffix(".pt"), tokenizer, model).')
        if answer.trained_again:
            return ("what was kept is trained on as if it were a text: where path.suffix is .pt, "
                    "load it.")
        if answer.again is None or not _text_of(answer, answer.again).endswith(_BEGINNING):
            return ("the beginning on the command line is not what generate goes on from: hand it "
                    "[end, *tokenizer.encode(beginning)].")
        if _BEGINNING + _text_of(answer, _SAMPLE) not in answer.told_again:
            return "the beginning is not printed in front of what was written."
        return None

    def alike(self, answer: Any, other: Any) -> bool:
        return isinstance(answer, Heard) and answer == other


def _text_of(heard, ids):
    return b"".join(heard.vocabulary[token] for token in ids).decode(errors="replace")


_TEXTS = ("Poppy the bear had a red kite. " * 600, "The dog ran. It's 7 o'clock!\n" * 500 + "No.",
          f"One fox.{gpt.END_OF_TEXT}Two foxes, naïve.{gpt.END_OF_TEXT}" * 400)
_LOOP = (
    "        for step, loss in enumerate(train(model, seen, steps, peak=peak, draw=draw), "
    "start=1):\n"
    "            if step % 100 == 0:\n"
    '                print(f"step {step:4}   loss {loss:.3f}", flush=True)\n'
    '        print(f"on text it has never seen: {evaluate(model, unseen):.3f} nats per token\\n")\n'
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
    edits=[
        ("train(model, seen,", "train(model, ids,",
         "The model is trained on all of the text, so nothing is held out: give train only what "
         "it may see."),
    ],
    hints=(
        "All that is needed has been written: train yields losses, evaluate returns one, generate "
        "yields tokens, of which the tokenizer makes text. Nothing happens until someone asks.",
        '''
        1. cut ids at nine tenths: what is seen, and what is not
        2. a loop over train(model, seen, steps, peak=peak, draw=draw); print every 100 steps
        3. print evaluate(model, unseen), and save the tokenizer and the model
        4. print the beginning, and after it the decoded tokens of generate
        ''',
        '''
        seen, unseen = ids[: len(ids) * 9 // 10], ids[len(ids) * 9 // 10 :]
        model = ...                                   # as given
        for step, loss in enumerate(train(model, seen, steps, peak=peak, draw=draw), start=1):
            if step % 100 == 0:
                print(f"step {step:4}   loss {loss:.3f}", flush=True)
        print(evaluate(...))
        save(path.with_suffix(".pt"), tokenizer, model)
        ...                                           # for a text and for what was kept of one:
        print(beginning + tokenizer.decode(generate(model, ..., 200, stop=end)))
        ''',
    ),
)

EXERCISES = (KEEP_TOP_P, KV_CACHE, CACHED_ATTENTION, CACHED_BLOCK,
             CACHED_MODEL, GENERATE, MAIN)
