"""Chapter 10. What a model knows, where it keeps it, and how one would prove it.

`record` and `patch` of gptlib.tap look into a forward pass and change it; here is what to ask them.

>>> with patch(model, silence([(0, 3), (1, 5)])):        # layer 0, head 3, and layer 1, head 5
...     logits = model(ids)
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial

import torch
from torch import Tensor, nn

from gptlib.checks import whole
from gptlib.model import GPTModel, check_model
from gptlib.tap import patch, record, taps


def stream_names(model: nn.Module) -> list[str]:
    """The taps of the residual stream: at its start, and after each half of every block."""
    return [name for name in taps(model) if "residual" in name]         # 2L + 1 names


def residual_stream(model: GPTModel, ids: Tensor) -> Tensor:
    """Every token's vector on its way through the model.  ids (B, T) -> (2L + 1, B, T, C)"""
    return _recorded(model, ids, stream_names(model))


def by_head(model: GPTModel, ids: Tensor, what: str) -> Tensor:
    """All heads' "weights" (L, H, B, T, T), or "head_outputs" (L, H, B, T, D), for ids (B, T)."""
    check_model(model)
    names = [f"blocks.{layer}.attention.{what}" for layer in range(model.config.n_layers)]
    return _recorded(model, ids, names).transpose(1, 2)


@torch.no_grad()
def _recorded(model: GPTModel, ids: Tensor, names: list[str]) -> Tensor:
    with record(model, *names) as activations:
        model(ids)
    return torch.stack([activations[name] for name in names])


def logit_lens(model: nn.Module, stream: Tensor) -> Tensor:
    """What the model would predict if it ended here: stream (..., T, C) -> logits (..., T, V).

    nostalgebraist (2020), "interpreting GPT: the logit lens".
    """
    return model.output_head(model.final_norm(stream))


def linear_probe(features: Tensor, labels: Tensor, new: Tensor) -> Tensor:
    """How a straight reader of a fact, learned from vectors and labels, scores new vectors.

    features (N, C), labels (N) from 0 to K - 1, new (M, C) -> (M, K); the highest score is what it
    reads. Least squares towards 1 for the true label and 0 for the others, with a slight pull to 0.
    Alain and Bengio (2016), "Understanding intermediate layers using linear classifier probes".
    Raises a ValueError where the labels do not fit the features.
    """
    if features.dim() != 2 or labels.shape != features.shape[:1] or labels.dtype != torch.int64:
        raise ValueError(
            f"features is {tuple(features.shape)}, labels {tuple(labels.shape)} of {labels.dtype}, "
            "but must be (N, C) and (N) of torch.int64: a vector and a number for each place.")
    x, asked = (nn.functional.pad(x.double(), (0, 1), value=1.0) for x in (features, new))
    gram = x.T @ x                                                      # (C + 1, C + 1)
    pull = 1e-3 * gram.diagonal().mean() * torch.eye(len(gram), device=x.device)
    return asked @ torch.linalg.solve(gram + pull, x.T @ nn.functional.one_hot(labels).double())


def repeated_nonsense(vocab_size: int, period: int, count: int,
                      generator: torch.Generator | None = None) -> Tensor:
    """Random ids, and then the very same once more.  -> (count, 2 · period)

    Nothing helps to predict the first half: a model that is good at the second has looked back.
    """
    hint = "repeated_nonsense(model.config.vocab_size, period=16, count=8), for example."
    size = (whole("count", count, hint, least=1), whole("period", period, hint, least=1))
    once = torch.randint(whole("vocab_size", vocab_size, hint, least=1), size, generator=generator)
    return torch.cat([once, once], dim=1)


def induction_score(weights: Tensor, period: int) -> Tensor:
    """How much a token looks at what followed its own earlier copy, `period` places before it.

    weights (..., T, T), rows are queries -> (...): the mean of weights[t, t - period + 1] over all
    t >= period, 1 at best.  Olsson et al. (2022), "In-context Learning and Induction Heads", who
    call it prefix matching. Raises a ValueError for a period of less than 1 or of all T tokens.
    """
    whole("period", period, "there must be a second copy.", least=1, most=weights.shape[-1] - 1)
    after_the_copy = weights.diagonal(1 - period, dim1=-2, dim2=-1)     # (..., T - period + 1)
    return after_the_copy[..., 1:].mean(dim=-1)          # without t = period - 1: it is no copy


def replace_head(outputs: Tensor, head: int, value: Tensor | float) -> Tensor:
    """outputs (B, H, T, D) with all that one head found replaced by 0, (D), (T, D) or (B, T, D)."""
    changed = outputs.clone()                            # what others have recorded stays as it is
    changed[:, head] = value
    return changed


def replace_heads(replacements: Mapping[tuple[int, int], Tensor | float]) -> dict[str, Callable]:
    """Changes for `patch`: {(layer, head): value}, each value as `replace_head` takes it.

    0 is something that the model may never have seen there. A mean over all texts and places,
    outputs[layer, head].mean((0, 1)) with outputs from `by_head`, keeps what they have in common.
    outputs[layer, head][other_rows(B)] is another text's.
    Wang et al. (2022), "Interpretability in the Wild", section 2.2. The patched model raises a
    ValueError for a head that is not there and for a value that does not fit.
    """
    layers: dict[int, dict] = {}
    for (layer, head), value in replacements.items():
        layers.setdefault(layer, {})[head] = value

    def replace(outputs: Tensor, values: Mapping) -> Tensor:
        B, H, T, D = outputs.shape
        for head, value in values.items():
            head = whole("head", head, "name heads as (layer, head).", most=H - 1)
            if isinstance(value, Tensor) and value.shape not in ((), (D,), (T, D), (B, T, D)):
                raise ValueError(
                    f"What replaces head {head} is {tuple(value.shape)}, but must be a number, "
                    f"({D},), ({T}, {D}) or ({B}, {T}, {D}): take it from texts of as many tokens.")
            outputs = replace_head(outputs, head, value)
        return outputs

    return {f"blocks.{layer}.attention.head_outputs": partial(replace, values=values)
            for layer, values in layers.items()}


def silence(heads: Iterable[tuple[int, int]]) -> dict[str, Callable]:
    """Changes for `patch`: each of these heads (layer, head) finds only zeros."""
    return replace_heads(dict.fromkeys(heads, 0.0))


def silence_neurons(layer: int, numbers: Sequence[int]) -> dict[str, Callable]:
    """Changes for `patch`: these neurons of a layer stay at 0."""
    def quiet(activations: Tensor) -> Tensor:                           # (B, T, 4C)
        most = activations.shape[-1] - 1
        which = [whole("neuron", n, "name others of this layer.", most=most) for n in numbers]
        return activations.index_fill(-1, torch.tensor(which, device=activations.device), 0.0)
    return {f"blocks.{layer}.feed_forward.activations": quiet}


def other_rows(count: int, generator: torch.Generator | None = None) -> Tensor:
    """For each of `count` texts another one, at random; each comes once.  -> (count)"""
    count = whole("count", count, "a single text has no other one.", least=2)
    order = torch.randperm(count, generator=generator)
    return torch.empty_like(order).scatter(0, order, order.roll(1))     # the one before it in order


def patched_logits(model: nn.Module, clean: Tensor, corrupted: Tensor, name: str,
                   place: int | slice) -> Tensor:
    """The run on `corrupted`, but one token's vector at a tap is that of the run on `clean`.

    ids (B, T) each, a tap's name, a token's number -> logits (B, T, V)
    Meng et al. (2022), "Locating and Editing Factual Associations in GPT", section 2.
    """
    with record(model, name) as seen:
        model(clean)

    def put_in(x: Tensor) -> Tensor:                                    # (B, ..., T, C)
        changed = x.clone()
        changed[..., place, :] = seen[name][..., place, :]
        return changed

    with patch(model, {name: put_in}):
        return model(corrupted)


def patch_effect(clean: Tensor, corrupted: Tensor, patched: Tensor) -> Tensor:
    """The share of the way from the corrupted run to the clean one that a patch went back.

    0: it changed nothing. 1: it brought all of it back. The three are one measure of the three
    runs.  Heimersheim and Nanda (2024), "How to use and interpret activation patching".
    """
    return (patched - corrupted) / (clean - corrupted)


@torch.no_grad()
def patching_map(
    model: GPTModel, clean: Tensor, corrupted: Tensor, measure: Callable[[Tensor], Tensor],
    names: Sequence[str],
) -> Tensor:
    """The effect of `patched_logits` for each tap and each place, all places of a tap at once.

    clean (T), corrupted (T) are ids; `measure` makes a number of each row of logits (B, T, V), as
    `lambda logits: logits[:, -1, right] - logits[:, -1, wrong]` does.  -> (names, T)
    """
    if clean.shape != corrupted.shape or clean.dim() != 1:
        raise ValueError(
            f"The texts are ids of shapes {tuple(clean.shape)} and {tuple(corrupted.shape)}, but "
            "must be rows of equal length: choose words of equally many tokens.")

    def each_at_its_place(x: Tensor, source: Tensor) -> Tensor:         # (T, ..., T, C)
        changed = x.clone()                                             # row t is patched at t
        changed.diagonal(dim1=0, dim2=-2).copy_(source[0].mT)           # (..., C, T)
        return changed

    with record(model, *names) as seen:
        best = measure(model(clean[None]))                              # (1)
    worst, patched = measure(model(corrupted[None])), []                # (1)
    for name in names:
        with patch(model, {name: partial(each_at_its_place, source=seen[name])}):
            patched.append(measure(model(corrupted.expand(len(corrupted), -1))))    # (T)
    return patch_effect(best, worst, torch.stack(patched))
