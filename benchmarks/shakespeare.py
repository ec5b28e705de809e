"""Tiny Shakespeare, letter by letter: nanoGPT's recipe for a CPU, and ours with half the blocks.

    python benchmarks/shakespeare.py [--text PATH]

nanoGPT's README gives a validation loss of 1.88 for 4 layers of width 128, a context of 64, a batch
of 12 and 2,000 steps. Both recipes run here by this code, a few steps at a time in turns, so that
noise of the machine hits both alike; the loss is that of the whole validation text. Ours takes 2 of
the 4 layers: at so few steps, the time is better spent on more of them. Two questions: in what
share of the recipe's time does ours reach 1.88, and where does it end in the recipe's full time?
"""

from __future__ import annotations

import argparse

import torch
from timing import race

from gptlib.corpus import load_text
from gptlib.data import train_validation_split
from gptlib.model import GPTModel, count_parameters
from gptlib.training import TrainConfig, TrainingRun, evaluate

MODEL = {
    "vocab_size": 65, "context_length": 64, "emb_dim": 128, "n_heads": 4, "n_layers": 4,
    "drop_rate": 0.0, "qkv_bias": False, "tie_weights": True,
}
NANOGPT = TrainConfig(
    2000, batch_size=12, learning_rate=1e-3, beta2=0.99, warmup_steps=100, weight_decay=0.1,
    schedule="cosine", evaluate_every=10**6,
)
OUR_MODEL = {**MODEL, "n_layers": 2}
OURS = {
    "batch_size": 12, "optimizer": "muon", "learning_rate": 6e-3, "muon_learning_rate": 0.03,
    "warmup_steps": 20, "schedule": "linear", "evaluate_every": 10**6,
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--text", default="shakespeare", help="a file, instead of the download")
    parser.add_argument("--short", type=int, default=500, help="steps to reach 1.88 with")
    parser.add_argument("--long", type=int, default=2200, help="steps in the recipe's time")
    arguments = parser.parse_args()
    text = load_text(arguments.text)
    letters = sorted(set(text))
    ids = torch.tensor([letters.index(letter) for letter in text])
    train_ids, validation_ids = train_validation_split(ids)

    runs = {
        "nanoGPT's recipe": new_run(MODEL, train_ids, NANOGPT),
        "ours, short": new_run(OUR_MODEL, train_ids, TrainConfig(arguments.short, **OURS)),
        "ours, long": new_run(OUR_MODEL, train_ids, TrainConfig(arguments.long, **OURS)),
    }
    print(f"{torch.get_num_threads()} threads, torch {torch.__version__}")
    seconds = race(runs)
    for name, run in runs.items():
        loss = evaluate(run.model, validation_ids, 64)
        share = seconds[name] / seconds["nanoGPT's recipe"]
        print(f"  {name:18}{count_parameters(run.model):8,} parameters{run.step:6} steps   "
              f"validation loss {loss:.3f}   {share:.2f} of the recipe's time")


def new_run(model: dict, train_ids: torch.Tensor, config: TrainConfig) -> TrainingRun:
    torch.manual_seed(1)
    return TrainingRun(GPTModel(model), train_ids, None, config, device="cpu")


if __name__ == "__main__":
    main()
