"""Train the storyteller that ships with the course, and write down how well it does.

    make storyteller

Everything is seeded: the same machine gives the same files. The model card says what came out. The
files that are shipped are replaced at the very end, all of them; until then they stay as they are.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import tempfile
import time
from pathlib import Path

import torch

from gptlib.checkpoint import load_model, save_model
from gptlib.corpus import storybook
from gptlib.data import join_documents
from gptlib.model import GPTModel, count_parameters
from gptlib.storyteller import (
    ASSETS,
    MODEL,
    SEED,
    TRAINING,
    tell_stories,
    untrained,
)
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer
from gptlib.training import TrainConfig, TrainingRun, evaluate

N_STORIES = 100_000
STEPS = 6000
STATIONS = (50, 100, 200, 400, 800, 1600)  # the steps whose weights are kept beside the last ones
N_VALIDATION = 1000
N_JUDGED = 1000

CARD = """# The storyteller

A small GPT that ships with the course. It has read {n_stories:,} stories of the storybook world
(`gptlib/corpus/storybook.py`) and nothing else, so it can tell such stories and do nothing else.

| | |
|---|---|
| model | {n_layers} blocks of width {emb_dim}, {n_heads} heads, context {context_length} |
| parameters | {n_parameters:,}, stored as float16 |
| tokenizer | byte-pair encoding, {vocab_size} tokens, learned from the first 3,000 stories |
| data | `storybook.stories({n_stories}, seed={seed})` |
| made by | `make storyteller` (seed {seed}, {steps} steps, {minutes:.0f} minutes on two cores) |
| loss | {loss:.2f} nats per validation story, {ratio:.3f} times the floor of {floor:.2f} |
| valid | {valid:.1%} of {n_judged:,} stories told at temperature 1, {new:.1%} of these new |
| on the way | its weights after {stations} steps |

Now and then its stories still contradict themselves. The license is that of the course.
"""


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(
        description=f"Train the storyteller that ships with the course: {STEPS} steps, about ten "
        "minutes on two cores. Its files are replaced when all of them are there."
    )
    parser.add_argument("--into", type=Path, default=ASSETS,
                        help="the folder, if not the shipped one")
    into = parser.parse_args(arguments).into
    into.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=into, prefix=".storyteller-") as folder:
        make(Path(folder))
        for path in sorted(Path(folder).iterdir(), reverse=True):    # the digests are the last
            os.replace(path, into / path.name)
    print((into / "storyteller.md").read_text(encoding="utf-8"))
    return 0


def make(folder: Path) -> None:
    """All files of the storyteller."""
    torch.set_num_threads(2)
    train = [story.text for story in storybook.stories(N_STORIES, SEED)]
    tokenizer = BPETokenizer.train(END_OF_TEXT.join(train[:3000]), MODEL["vocab_size"])
    validation = list(storybook.stories(N_VALIDATION, SEED + 1, part="validation"))
    validation_ids = join_documents([story.text for story in validation], tokenizer)
    end_token = tokenizer.end_token

    config = TrainConfig(steps=STEPS, **TRAINING, end_token=end_token, evaluate_every=STEPS)
    ids = join_documents(train, tokenizer)
    run = TrainingRun(untrained(), ids, None, config, device="cpu")
    losses = {0: evaluate(run.model, validation_ids, end_token=end_token)}
    started = time.monotonic()
    for step in run:
        if step.step % 100 == 0:
            print(f"step {step.step}: {step.loss:.3f} nats per token", flush=True)
        if step.step in STATIONS or step.step == STEPS:
            name = "storyteller" if step.step == STEPS else f"storyteller.{step.step}"
            save_model(run.model, folder / f"{name}.safetensors", torch.float16)
            loss = evaluate(run.model, validation_ids, end_token=end_token)
            losses[step.step] = round(loss, 4)
    minutes = (time.monotonic() - started) / 60

    tokenizer.save(folder / "storyteller.tokenizer.json")
    write(folder / "storyteller.losses.json", json.dumps(losses))
    write(folder / "SHA256SUMS", digests(folder))
    shipped = load_model(folder / "storyteller.safetensors")
    write(folder / "storyteller.md", card(shipped, tokenizer, train, validation, minutes))


def write(path: Path, text: str) -> None:
    path.write_text(text, encoding="utf-8", newline="\n")


def digests(folder: Path) -> str:
    """The digest of each file that `storyteller` and its like will read."""
    return "".join(f"{hashlib.sha256(path.read_bytes()).hexdigest()}  {path.name}\n"
                   for path in sorted(folder.iterdir()))


def card(
    model: GPTModel, tokenizer: BPETokenizer, train: list[str],
    validation: list[storybook.Story], minutes: float,
) -> str:
    """What the files that were just written can do, measured."""
    end_token = tokenizer.end_token
    ids = join_documents([story.text for story in validation], tokenizer)
    loss = evaluate(model, ids, end_token=end_token) * len(ids) / len(validation)
    floor = sum(story.nats for story in validation) / len(validation)
    judgement = storybook.judge(tell_stories(model, tokenizer, N_JUDGED), seen=train)
    return CARD.format(
        **MODEL, n_stories=N_STORIES, n_parameters=count_parameters(model), seed=SEED,
        steps=STEPS, minutes=minutes, loss=loss, ratio=loss / floor, floor=floor,
        valid=judgement.valid, n_judged=N_JUDGED, new=judgement.new,
        stations=", ".join(map(str, STATIONS)),
    )


if __name__ == "__main__":
    sys.exit(main())
