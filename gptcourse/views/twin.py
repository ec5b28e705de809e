"""Views draw models of other classes, too: the learner's own, by its twin in the library."""

from __future__ import annotations

import torch
from torch import nn

from gptlib.model import GPTModel

TOLERANCE = 1e-3  # of scores that are some units large, after sums in another order


@torch.inference_mode()
def twin(model: nn.Module) -> GPTModel:
    """The model itself if it is the library's; else the library's with the same weights.

    The twin has its weights as they are now: make the view again after more training. Raises a
    ValueError where the weights do not fit, or where both give different scores.
    """
    if isinstance(getattr(model, "_orig_mod", model), GPTModel):
        return model
    name = type(model).__name__
    try:
        other = _empty(model.config)
        other.load_state_dict(model.state_dict())
    except (AttributeError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"A view shows {name} by the library's GPTModel with the same weights, but they do not "
            f"fit ({' '.join(str(error).split())[:200]}): name and shape the parts as gpt.py does."
        ) from None
    generator = torch.Generator().manual_seed(0)
    config = other.config
    ids = torch.randint(config.vocab_size, (2, min(config.context_length, 24)), generator=generator)
    device, was_training = next(model.parameters()).device, model.training
    model.eval()
    try:
        difference = (model(ids.to(device)).cpu() - other(ids)).abs().max().item()
    finally:
        model.train(was_training)
    if not difference <= TOLERANCE:
        raise ValueError(
            f"{name} and the library's GPTModel give different scores for the same weights (by "
            f"{difference:.3g}), so a picture of the one would be wrong about the other: find the "
            "difference with check.GPTModel."
        )
    return other


def _empty(config) -> GPTModel:
    """A library's model of that shape; nobody's random numbers are touched."""
    with torch.device("meta"):
        model = GPTModel(config)
    return model.to_empty(device="cpu").eval()
