"""Train the storyteller that ships with the course, and write down how well it does.

    make storyteller

Everything is seeded: the same machine gives the same file. The model card says what came out.
"""

from __future__ import annotations

import sys
import time

import torch

from gptlib.checkpoint import save_model
from gptlib.corpus import storybook
from gptlib.files import replacing
from gptlib.generation import generate
from gptlib.model import GPTModel, count_parameters
from gptlib.storyteller import ASSETS, storyteller
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer
from gptlib.training import TrainConfig, TrainingRun, evaluate

MODEL = {
    "vocab_size": 1024, "context_length": 128, "emb_dim": 192, "n_heads": 6, "n_layers": 3,
    "drop_rate": 0.0, "qkv_bias": False,
}
N_STORIES = 20_000
TRAINING = {
    "steps": 2000, "batch_size": 12, "optimizer": "muon", "learning_rate": 8e-3,
    "muon_learning_rate": 0.03, "warmup_steps": 20, "schedule": "linear", "weight_decay": 0.0,
}
N_JUDGED = 300

CARD = """# The storyteller

A small GPT that ships with the course. It has read {n_stories:,} stories of the storybook world
(`gptlib/corpus/storybook.py`) and nothing else, so it can tell such stories and do nothing else.

| | |
|---|---|
| model | {n_layers} blocks of width {emb_dim}, {n_heads} heads, context {context_length} |
| parameters | {n_parameters:,}, stored as float16 |
| tokenizer | byte-pair encoding, {vocab_size} tokens, learnt from the first 3,000 stories |
| data | `storybook.stories({n_stories}, seed=1)` |
| made by | `make storyteller` (seed 1, {steps} steps, {minutes:.0f} minutes on two cores) |
| loss | {loss:.2f} nats per validation story, {ratio:.3f} times the floor of {floor:.2f} |
| valid | {valid:.0%} of {n_judged} stories told at temperature 1, {new:.0%} of these new |

Its stories may still contradict themselves: a red kite can become a blue one. The license is that
of the course.
"""


def main() -> int:
    train = [story.text for story in storybook.stories(N_STORIES, seed=1)]
    tokenizer = BPETokenizer.train(END_OF_TEXT.join(train[:3000]), MODEL["vocab_size"])
    end_token = tokenizer.special_tokens[END_OF_TEXT]
    config = TrainConfig(**TRAINING, end_token=end_token, evaluate_every=200)

    torch.manual_seed(1)
    ids = story_ids(train, tokenizer, end_token)
    run = TrainingRun(GPTModel(MODEL), ids, None, config, device="cpu")
    started = time.monotonic()
    for step in run:
        if step.step % 100 == 0:
            print(f"step {step.step}: {step.loss:.3f} nats per token", flush=True)
    minutes = (time.monotonic() - started) / 60

    tokenizer.save(ASSETS / "storyteller.tokenizer.json")
    save_model(run.model, ASSETS / "storyteller.safetensors", torch.float16)
    with replacing(ASSETS / "storyteller.md") as temporary:
        temporary.write_text(card(train, minutes), encoding="utf-8")
    print((ASSETS / "storyteller.md").read_text(encoding="utf-8"))
    return 0


def story_ids(stories: list[str], tokenizer: BPETokenizer, end_token: int) -> list[int]:
    """All stories in one row, each closed by the end token."""
    return [token for text in stories for token in [*tokenizer.encode(text), end_token]]


def card(train: list[str], minutes: float) -> str:
    """What the files that were just written can do, measured."""
    model, tokenizer = storyteller()
    end_token = tokenizer.special_tokens[END_OF_TEXT]
    stories = list(storybook.stories(1000, seed=2, part="validation"))
    ids = story_ids([story.text for story in stories], tokenizer, end_token)
    loss = evaluate(model, ids, end_token=end_token) * len(ids) / len(stories)
    floor = sum(story.nats for story in stories) / len(stories)
    generator = torch.Generator().manual_seed(0)
    told = generate(
        model, [[end_token]] * N_JUDGED, MODEL["context_length"] - 1, stop_token=end_token,
        generator=generator,
    )
    texts = [
        tokenizer.decode([token for token in row if token is not None])
        for row in zip(*told, strict=True)
    ]
    judgement = storybook.judge(texts, seen=train)
    return CARD.format(
        **MODEL, n_stories=N_STORIES, n_parameters=count_parameters(model),
        steps=TRAINING["steps"], minutes=minutes, loss=loss, ratio=loss / floor, floor=floor,
        valid=judgement.valid, n_judged=N_JUDGED, new=judgement.new,
    )


if __name__ == "__main__":
    sys.exit(main())
