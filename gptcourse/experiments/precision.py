"""What sixteen bits for a number cost in training: chapter 13."""

from __future__ import annotations

import torch

from gptcourse.experiments.processes import SMALL
from gptlib.corpus import storybook
from gptlib.data import join_documents
from gptlib.model import GPTModel
from gptlib.storyteller import storyteller
from gptlib.training import TrainConfig, TrainingRun, evaluate

# What is in bfloat16: nothing; the products of matrices; these and all weights, their averages and
# sums.
KINDS = ("float32", "products in bf16", "all in bf16")
# loss_in of each from seeds 0, 1 and 2; `python benchmarks/scale.py precision` measures them again.
LOSS_BY_PRECISION = {
    "float32": (0.754, 0.751, 0.749),
    "products in bf16": (0.754, 0.751, 0.749),
    "all in bf16": (0.858, 0.864, 0.858),
}


def loss_in(kind: str, seed: int, steps: int = 300) -> float:
    """The loss on unseen stories, in nats per token, of a small model that was trained in one of
    these KINDS; it is measured in float32."""
    _, tokenizer = storyteller()
    seen, unseen = (join_documents([story.text for story in storybook.stories(n, 1, part)],
                                   tokenizer) for n, part in ((3000, "train"), (200, "validation")))
    torch.manual_seed(seed)
    model = GPTModel(SMALL)
    if kind == "all in bf16":
        model.bfloat16()
    settings = TrainConfig(steps, precision="float32" if kind == "float32" else "bf16", seed=seed)
    for _ in TrainingRun(model, seen, None, settings, device="cpu"):
        pass
    return evaluate(model.float(), unseen)
