"""Chapter 7. Generation: from the scores of all tokens to one token, again and again.

Each filter takes logits (..., V) and gives logits (..., V), in which a token that is ruled out has
-inf; it raises a ValueError for a number outside its range. They are applied in this order:
temperature, top-k, top-p, min-p.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from itertools import count

import torch
from torch import Tensor
from torch.nn.functional import pad

from gptlib.attention import KVCache
from gptlib.checks import ABOVE_0, number, shown, whole
from gptlib.data import as_ids
from gptlib.model import GPTModel, check_model, evaluating

KEEP_ALL = "leave it out to keep every token."


def apply_temperature(logits: Tensor, temperature: float) -> Tensor:
    """Below 1 the favorites gain, above 1 the outsiders; 0 leaves the first best token only."""
    hint = "use 0 for the most probable token, 1 for the model's own probabilities."
    rule = "be a number of at least 0, and at most 1e38"
    temperature = number("temperature", temperature, rule, hint)
    if temperature < 1e-30:  # 0, or so little that a quotient could be infinite
        best = logits.argmax(dim=-1, keepdim=True)                       # (..., 1)
        return torch.full_like(logits, -math.inf).scatter(-1, best, 0.0)
    return logits / temperature


def keep_top_k(logits: Tensor, top_k: int) -> Tensor:
    """Keep the k most probable tokens, of 1 to V.  Fan et al. (2018), section 5."""
    V = logits.shape[-1]
    top_k = whole("top_k", top_k, KEEP_ALL, least=1, most=V)
    order = logits.argsort(dim=-1, descending=True, stable=True)         # (..., V)
    return logits.scatter(-1, order[..., top_k:], -math.inf)


def keep_top_p(logits: Tensor, top_p: float) -> Tensor:
    """Keep the fewest most probable tokens that together have probability p or more, 0 < p ≤ 1.

    Holtzman et al. (2020), section 3.1.
    """
    top_p = number("top_p", top_p, "be a probability above 0 and up to 1", KEEP_ALL, ABOVE_0, 1)
    ordered, order = logits.sort(dim=-1, descending=True, stable=True)   # (..., V)
    probabilities = ordered.softmax(dim=-1)
    before = probabilities.cumsum(dim=-1) - probabilities                # of all better tokens
    ordered = ordered.masked_fill(before >= top_p, -math.inf)
    return torch.empty_like(logits).scatter(-1, order, ordered)


def keep_min_p(logits: Tensor, min_p: float) -> Tensor:
    """Keep the tokens that are at least `min_p` times as probable as the best one, 0 ≤ min_p ≤ 1.

    Nguyen et al. (2025), "Turning Up the Heat".
    """
    min_p = number("min_p", min_p, "be a share from 0 to 1", KEEP_ALL, most=1)
    probabilities = logits.softmax(dim=-1)
    best = probabilities.amax(dim=-1, keepdim=True)                      # (..., 1)
    return logits.masked_fill(probabilities < min_p * best, -math.inf)


def next_token(
    logits: Tensor,
    temperature: float = 1.0,
    top_k: int | None = None,
    top_p: float | None = None,
    min_p: float | None = None,
    generator: torch.Generator | None = None,
) -> Tensor:
    """Draw one token for every row of scores.  logits (B, V) -> (B) int64, on the CPU

    The draw happens on the CPU, so a seeded generator gives the same tokens on every device.
    Raises a ValueError for scores that are no such rows of numbers or leave nothing to draw.
    """
    _check_scores(logits, generator)
    logits = apply_temperature(logits.float(), temperature)  # halves are too coarse to add up
    if top_k is not None:
        logits = keep_top_k(logits, top_k)
    if top_p is not None:
        logits = keep_top_p(logits, top_p)
    if min_p is not None:
        logits = keep_min_p(logits, min_p)
    probabilities = logits.softmax(dim=-1).cpu()                         # (B, V)
    if not probabilities.isfinite().all():
        raise ValueError(
            "The scores are not finite numbers, so no token can be drawn: load the model's weights "
            "again, or train it with a smaller learning rate."
        )
    return torch.multinomial(probabilities, 1, generator=generator)[:, 0]


@torch.inference_mode()
def generate(
    model: GPTModel, prompts: Sequence[Sequence[int]], max_new_tokens: int, *,
    stop_token: int | None = None, **sampling,
) -> Iterator[list[int | None]]:
    """Continue every prompt token by token; `sampling` goes to `next_token`.

    Yields one list per step with each prompt's next token, or None where that prompt has none in
    this step: all rows walk through the positions together, and a longer prompt is still being
    read while a shorter one already continues. A row ends after `max_new_tokens`, or before its
    `stop_token`. Beyond the context the model sees the latest tokens only.

    The first step raises a ValueError for an empty prompt, for one that is longer than the context,
    and for anything but rows of token ids; a TypeError for another kind of model.
    """
    prompts = _checked_prompts(model, prompts, max_new_tokens)
    lengths = [len(prompt) for prompt in prompts]
    ends = [length + max_new_tokens for length in lengths]
    ids = torch.zeros(len(prompts), max(lengths), dtype=torch.int64)         # (B, T)
    for row, prompt in zip(ids, prompts, strict=True):
        row[: len(prompt)] = prompt
    cache = model.new_cache()

    with evaluating(model):
        for position in count(min(lengths)):
            if position == ids.shape[1]:
                ids = pad(ids, (0, 1))                   # a place for the tokens of this step
            logits = _logits_after(model, ids[:, :position], cache)              # (B, V)
            drawn = next_token(logits, **sampling).tolist()
            step: list[int | None] = [None] * len(prompts)
            for row, token in enumerate(drawn):
                if lengths[row] <= position < ends[row]:
                    ids[row, position] = token
                    if token == stop_token:
                        ends[row] = position
                    else:
                        step[row] = token
            if any(token is not None for token in step):
                yield step
            if max(ends) <= position + 1:
                return


def _logits_after(model: GPTModel, ids: Tensor, cache: list[KVCache]) -> Tensor:
    """Scores for the token that follows ids (B, T).  -> (B, V)"""
    context = model.config.context_length
    if ids.shape[1] <= context:
        new = ids[:, cache[0].length :]
        hidden = model.hidden_states(new.to(model.device), cache)                # (B, new, C)
    else:  # the window slides: every token has a new position, and what was cached is no use
        hidden = model.hidden_states(ids[:, -context:].to(model.device))         # (B, T, C)
    return model.output_head(hidden[:, -1])


def complete(model: GPTModel, tokenizer, prompt: str, max_new_tokens: int, **options) -> str:
    """The prompt and its continuation as text; `options` as for `generate`."""
    ids = tokenizer.encode(prompt)
    new = [step[0] for step in generate(model, [ids], max_new_tokens, **options)]
    return tokenizer.decode([*ids, *new])


def _check_scores(logits: Tensor, generator: torch.Generator | None) -> None:
    if not isinstance(logits, Tensor) or not logits.is_floating_point():
        raise ValueError(
            f"logits is {shown(logits)}, but must be a tensor of floats: pass what a model returns."
        )
    if logits.dim() != 2 or not logits.numel():
        raise ValueError(
            f"logits has shape {tuple(logits.shape)}, but must be (batch, vocabulary): "
            "write logits[None] for a single row, logits[:, -1] for the last tokens of a batch."
        )
    if not isinstance(generator, (torch.Generator, type(None))):
        raise ValueError(
            f"generator is {shown(generator)}, but must be a torch.Generator: leave it out, or "
            "write torch.Generator().manual_seed(0)."
        )


def _checked_prompts(model: GPTModel, prompts: Sequence, max_new_tokens: int) -> list[Tensor]:
    """Each prompt as a row of ids."""
    check_model(model)
    whole("max_new_tokens", max_new_tokens, "say how many tokens you want.", least=1)
    try:
        rows = [as_ids(prompt) for prompt in prompts]
    except TypeError:
        rows = []
    if not rows:
        raise ValueError(
            "prompts must be a list of prompts, each a list of token ids: write "
            "[tokenizer.encode(text)] for a single one."
        )
    context = model.config.context_length
    for n, prompt in enumerate(rows):
        if not len(prompt):
            hint = "begin with the end-of-text token, or with a word."
            raise ValueError(f"Prompt {n} is empty, but a model goes on from some token: {hint}")
        if len(prompt) > context:
            raise ValueError(
                f"Prompt {n} has {len(prompt)} tokens, but this model sees at most {context}: "
                f"keep its last tokens with prompt[-{context}:]."
            )
    return rows
