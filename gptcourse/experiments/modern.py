"""What the four changes of chapter 9 bring: the same small model, one thing changed at a time."""

from __future__ import annotations

import copy
import dataclasses
import statistics
from types import MethodType

import torch
from torch import Tensor, nn

from gptlib.attention import KVCache, attention, causal_mask, merge_heads, split_heads
from gptlib.config import GPTConfig
from gptlib.corpus import storybook
from gptlib.data import document_windows, join_documents
from gptlib.model import GPTModel
from gptlib.pretrained.smollm2 import SmolLM2Tokenizer, smollm2
from gptlib.storyteller import storyteller
from gptlib.training import IGNORED, TrainConfig, TrainingRun, evaluate

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
# Trained for 500 steps of 8 rows, at this peak rate of Muon, from three seeds each: nats above the
# floor for an unseen story, the mean of 300 stories at 0.03, and of the first 100 of them at 0.01.
# benchmarks/modern.py measures them again.
MEASURED: dict[float, dict[str, tuple[float, ...]]] = {
    0.03: {
        "GPT-2": (5.54, 5.61, 5.35),
        "RMSNorm": (5.85, 5.62, 5.68),
        "rotary": (3.78, 2.93, 3.99),
        "SwiGLU": (20.79, 18.02, 22.36),
        "2 of 6 key heads": (7.59, 7.54, 6.95),
        "all four": (7.39, 20.00, 17.14),
    },
    0.01: {
        "GPT-2": (5.36, 5.80, 6.74),
        "RMSNorm": (5.38, 4.98, 5.53),
        "rotary": (3.80, 3.50, 4.27),
        "SwiGLU": (6.19, 6.33, 5.57),
        "2 of 6 key heads": (7.96, 8.26, 7.20),
        "all four": (6.80, 4.54, 5.72),
    },
}
# Trained on pieces of 64 tokens from any place: the loss per token on whole stories, up to place 64
# and beyond, for each seed.
LONGER: dict[str, tuple[tuple[float, float], ...]] = {
    "GPT-2": ((0.568, 2.489), (0.556, 2.432), (0.614, 2.881)),
    "rotary": ((0.524, 0.5), (0.513, 0.494), (0.525, 0.436)),
}
# How one token looks at another in the first layer of step 5's rotary model (seed 0): the query of
# the one and the key of the other in head 3, then in head 2, before they are turned.
LOOKS: dict[tuple[str, str], tuple[tuple[float, ...], tuple[float, ...]]] = {
    ("the", "behind"): (
        (0.21, -0.82, -1.6, 1.44, -1.12, 0.22, -0.07, 0.05,
         -2.5, 1.73, -1.94, -1.83, -0.91, -0.72, -0.81, -0.24),
        (2.08, -1.6, -1.79, -0.39, -1.14, 0.98, 0.55, 0.55,
         -2.58, 1.28, -0.68, -2.36, -1.07, -0.89, -1.24, -0.37)),
    ("to", "Leo"): (
        (2.64, -1.81, -2.16, -1.61, -0.23, 0.87, -0.3, 0.29,
         4.43, -0.43, 4.72, -3.48, -0.8, 0.02, 0.5, -0.7),
        (0.04, 1.37, -0.06, -1.12, -3.14, 1.82, -0.44, 0.01,
         -2.55, -2.97, -6.25, -5.14, -0.3, 0.46, 0.64, -2.26)),
}
HEADS_OF_LOOKS = {("the", "behind"): 3, ("to", "Leo"): 2}


def changed_config(name: str) -> GPTConfig:
    return dataclasses.replace(AS_IN_2019, **CHANGES[name])


def trained(name: str, seed: int, steps: int, pieces: int | None = None,
            rate: float = 0.03) -> GPTModel:
    """The model with this change, after so many steps on eight stories each, or on as much text in
    pieces of so many tokens, from any place; `rate` is Muon's peak learning rate."""
    torch.manual_seed(seed)
    config, n_tokens = changed_config(name), 8 * AS_IN_2019.context_length
    if pieces:
        config = dataclasses.replace(config, context_length=pieces)
    _, tokenizer = storyteller()
    ids = join_documents([story.text for story in storybook.stories(3000, seed=1)], tokenizer)
    settings = TrainConfig(
        steps=steps, batch_size=n_tokens // config.context_length, optimizer="muon",
        learning_rate=0.01, muon_learning_rate=rate, warmup_steps=20, schedule="linear",
        weight_decay=0.0, evaluate_every=steps, seed=seed,
        end_token=None if pieces else tokenizer.end_token,
    )
    run = TrainingRun(GPTModel(config), ids, None, settings, device="cpu")
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
def query_and_key(model: GPTModel, head: int, ids: tuple[int, int]) -> tuple[Tensor, Tensor]:
    """A head's query of the first token and key of the second, (D) each, before they are turned: in
    the first layer of a rotary model, they depend on the token alone."""
    block = model.blocks[0]
    x = block.attention_norm(model.token_embedding(torch.tensor(ids)))               # (2, C)
    queries, keys = (project(x).unflatten(-1, (-1, model.config.head_dim))           # (2, H, D)
                     for project in (block.attention.query, block.attention.key))
    return queries[0, head], keys[1, head]


@torch.inference_mode()
def losses_within_and_beyond(model: GPTModel, n_stories: int) -> tuple[float, float]:
    """The mean loss on whole stories, by a model that has learned from shorter pieces of them: at
    the places that a piece has, and beyond."""
    _, tokenizer = storyteller()
    texts = [story.text for story in storybook.stories(n_stories, seed=3, part="validation")]
    known, whole = model.config.context_length, AS_IN_2019.context_length
    ids = join_documents(texts, tokenizer)
    inputs, targets = document_windows(ids, whole, tokenizer.end_token)              # (W, T)
    losses = nn.functional.cross_entropy(
        with_context(model, whole)(inputs).transpose(1, 2), targets, reduction="none",
        ignore_index=IGNORED)                                                        # (W, T)
    counted = targets != IGNORED
    within, beyond = (losses[:, part].sum() / counted[:, part].sum()
                      for part in (slice(known), slice(known, None)))
    return within.item(), beyond.item()


def with_context(model: GPTModel, length: int) -> GPTModel:
    """A model with the same weights that takes `length` tokens. A table of positions gets new rows,
    which nobody has trained; rotary positions need none."""
    torch.manual_seed(0)
    longer = GPTModel(dataclasses.replace(model.config, context_length=length)).eval()
    weights = model.state_dict()
    if model.config.positions == "learned":
        rows = weights["position_embedding.weight"]
        new = longer.position_embedding.weight[len(rows) :]
        weights["position_embedding.weight"] = torch.cat([rows, new])
    longer.load_state_dict(weights)
    return longer


def with_your_parts(model: GPTModel, parts) -> GPTModel:
    """A copy of a model with all four changes, in which RMSNorm, rotate, SwiGLU and repeat_kv are
    those of `parts`, such as `mine`; the weights are the model's."""
    def forward(layer: nn.Module, x: Tensor, cache: KVCache | None = None) -> Tensor:  # (B, T, C)
        queries = split_heads(layer.query(x), layer.n_heads)                 # (B, H, T, D)
        keys, values = (split_heads(project(x), layer.n_kv_heads)            # (B, K, T, D)
                        for project in (layer.key, layer.value))
        past, T, times = cache.length if cache else 0, x.shape[1], layer.n_heads // layer.n_kv_heads
        positions = torch.arange(past, past + T)
        queries, keys = (parts.rotate(one, positions, layer.rotary_base) for one in (queries, keys))
        if cache:
            keys, values = cache.extend(keys, values)                        # (B, K, S, D)
        keys, values = (parts.repeat_kv(one, times) for one in (keys, values))
        mixed = attention(queries, keys, values, causal_mask(T, past + T))   # (B, H, T, D)
        return layer.output(merge_heads(mixed))

    changed, config = copy.deepcopy(model), model.config.to_dict()
    for block in changed.blocks:
        block.attention.forward = MethodType(forward, block.attention)
        block.attention_norm = _filled(parts.RMSNorm(config["emb_dim"]), block.attention_norm)
        block.feed_forward_norm = _filled(parts.RMSNorm(config["emb_dim"]), block.feed_forward_norm)
        block.feed_forward = _filled(parts.SwiGLU(config), block.feed_forward)
    changed.final_norm = _filled(parts.RMSNorm(config["emb_dim"]), changed.final_norm)
    return changed


def _filled(part: nn.Module, by: nn.Module) -> nn.Module:
    part.load_state_dict(by.state_dict())
    return part


def smollm2_if_there() -> tuple[GPTModel, SmolLM2Tokenizer] | tuple[None, str]:
    """SmolLM2 and its tokenizer; or None, and why it isn't here and how to get it."""
    try:
        return smollm2()
    except (ConnectionError, ModuleNotFoundError) as reason:
        return None, str(reason)


def in_few_bits(matrix: Tensor, bits: int, block: int = 32) -> Tensor:
    """A matrix after each block of its numbers was stored in so many bits: as whole numbers of
    equal steps from the block's least number to its largest."""
    rows = matrix.reshape(-1, block)                                         # (blocks, 32)
    least, largest = rows.amin(dim=1, keepdim=True), rows.amax(dim=1, keepdim=True)
    scale = (largest - least) / (2**bits - 1)                                # (blocks, 1)
    numbers = ((rows - least) / scale.clamp(min=1e-30)).round()              # 0 to 2^bits - 1
    return (least + scale * numbers).view_as(matrix)


def model_in_few_bits(model: GPTModel, bits: int) -> GPTModel:
    """A copy of the model whose matrices were stored in so many bits a weight."""
    changed = copy.deepcopy(model)
    with torch.no_grad():
        for parameter in changed.parameters():
            if parameter.dim() == 2:
                parameter.copy_(in_few_bits(parameter, bits))
    return changed
