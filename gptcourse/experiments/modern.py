"""What the four changes of chapter 9 bring: the same small model, one thing changed at a time."""

from __future__ import annotations

import dataclasses
import statistics

import torch
from torch import nn

from gptlib.config import GPTConfig
from gptlib.corpus import storybook
from gptlib.data import join_documents
from gptlib.model import GPTModel
from gptlib.storyteller import storyteller
from gptlib.training import TrainConfig, TrainingRun, evaluate

AS_IN_2019 = GPTConfig(
    vocab_size=960, context_length=128, emb_dim=96, n_heads=6, n_layers=2, drop_rate=0.0,
    qkv_bias=False,
)
# What a change saves goes into a wider feed-forward network, so that all have as many parameters.
CHANGES = {
    "GPT-2": {},
    "RMSNorm": {"norm": "rms", "hidden_dim": 386},
    "rotary": {"positions": "rotary", "hidden_dim": 416},
    "SwiGLU": {"feed_forward": "swiglu", "hidden_dim": 258},
    "2 of 6 key heads": {"n_kv_heads": 2, "hidden_dim": 448},
    "all four": {
        "norm": "rms", "positions": "rotary", "feed_forward": "swiglu", "n_kv_heads": 2,
        "hidden_dim": 323, "output_bias": False,
    },
}
# Trained for 300 steps of 8 rows, by `trained`, from three seeds each: nats above the floor for a
# story of 1,000 unseen ones. `python -m gptcourse.experiments.modern` measures them again.
MEASURED: dict[str, tuple[float, ...]] = {}


def changed_config(name: str) -> GPTConfig:
    return dataclasses.replace(AS_IN_2019, **CHANGES[name])


def trained(name: str, seed: int, steps: int, rows: int = 8) -> GPTModel:
    """The model with this change, after so many steps on so many rows of stories each."""
    torch.manual_seed(seed)
    _, tokenizer = storyteller()
    ids = join_documents([story.text for story in storybook.stories(3000, seed=1)], tokenizer)
    settings = TrainConfig(
        steps=steps, batch_size=rows, optimizer="muon", learning_rate=0.01,
        muon_learning_rate=0.03, warmup_steps=20, schedule="linear", weight_decay=0.0,
        evaluate_every=steps, end_token=tokenizer.end_token, seed=seed,
    )
    run = TrainingRun(GPTModel(changed_config(name)), ids, None, settings, device="cpu")
    for _ in run:
        pass
    return run.model.eval()


def nats_above_floor(model: GPTModel, n_stories: int) -> float:
    """How many nats more than a perfect reader the model pays for an unseen story, on average."""
    _, tokenizer = storyteller()
    stories = list(storybook.stories(n_stories, seed=2, part="validation"))
    ids = join_documents([story.text for story in stories], tokenizer)
    loss = evaluate(model, ids, end_token=tokenizer.end_token) * len(ids) / len(stories)
    return loss - statistics.mean(story.nats for story in stories)


@torch.inference_mode()
def loss_by_stretch(model: GPTModel, length: int, stretch: int, n_rows: int) -> list[float]:
    """The mean loss in each stretch of places of rows that are `length` tokens long, longer than
    any that the model was trained on: only rotary positions can do that."""
    _, tokenizer = storyteller()
    texts = [story.text for story in storybook.stories(5 * n_rows, seed=3, part="validation")]
    ids = torch.tensor(join_documents(texts, tokenizer))
    rows = ids[: n_rows * (length + 1)].view(n_rows, length + 1)
    longer = with_context(model, length)
    losses = nn.functional.cross_entropy(
        longer(rows[:, :-1]).transpose(1, 2), rows[:, 1:], reduction="none")         # (B, T)
    return [part.mean().item() for part in losses.split(stretch, dim=1)]


def with_context(model: GPTModel, length: int) -> GPTModel:
    """A model with the same weights that takes `length` tokens. Rotary positions need no table."""
    longer = GPTModel(dataclasses.replace(model.config, context_length=length)).eval()
    longer.load_state_dict(model.state_dict())
    return longer


def cache_bytes(config: GPTConfig, n_tokens: int) -> int:
    """What the cache of one text takes, in float32: keys and values of each layer and key head."""
    heads = config.n_kv_heads or config.n_heads
    return 2 * config.n_layers * heads * config.head_dim * n_tokens * 4
