"""How far from perfect: runs on the storybook world, whose best possible loss is known.

    python benchmarks/storybook.py run                  chapter 6's own run: loss, valid stories
    python benchmarks/storybook.py run --steps 1500     ... for longer; --layers 2 for two layers
    python benchmarks/storybook.py optimizers           Muon and AdamW, in turns
    python benchmarks/storybook.py sweep                learning rates, as a table
    python benchmarks/storybook.py head                 the head that knows the hero's name
    python benchmarks/storybook.py store                the run that chapter 6's dashboard shows
                                                        where nobody can press start

Every run has the recipe of the storyteller (gptlib/storyteller.py), in one layer as in chapter 6;
only what is named differs.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Iterable
from functools import cache

import torch
from timing import race
from torch import Tensor

from gptcourse.experiments.training import FINISHED, run_to_store, store_run
from gptlib.corpus import storybook
from gptlib.data import join_documents
from gptlib.model import GPTModel
from gptlib.storyteller import MODEL, TRAINING, storyteller, tell_stories
from gptlib.tap import patch, record
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer
from gptlib.training import TrainConfig, TrainingRun, evaluate

N_STORIES = 20_000
N_JUDGED = 1000
SWEEP_STEPS = 300
N_LAYERS = 1
ADAMW_RATES = (3e-3, 6e-3, 1e-2, 1.5e-2)
MUON_RATES = (0.02, 0.035, 0.05)


@cache
def texts() -> tuple[list[str], list[storybook.Story]]:
    train = [story.text for story in storybook.stories(N_STORIES, seed=1)]
    return train, list(storybook.stories(500, seed=2, part="validation"))


@cache
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(END_OF_TEXT.join(texts()[0][:3000]), MODEL["vocab_size"])


@cache
def encoded() -> tuple[list[int], list[int], float]:
    """The training ids, the validation ids, and the floor in nats per token."""
    train, validation = texts()
    train_ids = join_documents(train, tokenizer())
    validation_ids = join_documents([story.text for story in validation], tokenizer())
    return train_ids, validation_ids, sum(s.nats for s in validation) / len(validation_ids)


def end_token() -> int:
    return tokenizer().end_token


def new_run(steps: int, n_layers: int = N_LAYERS, **changes) -> TrainingRun:
    torch.manual_seed(1)
    config = TrainConfig(
        steps, **{**TRAINING, **changes}, end_token=end_token(), evaluate_every=steps
    )
    model = GPTModel({**MODEL, "n_layers": n_layers})
    return TrainingRun(model, encoded()[0], None, config, device="cpu")


def loss_of(run: TrainingRun) -> float:
    return evaluate(run.model, encoded()[1], end_token=end_token())


def go(steps: int, n_layers: int) -> None:
    """One run from nothing: its time, its loss beside the floor, and its stories, judged."""
    run = new_run(steps, n_layers)
    started, busy = time.perf_counter(), time.process_time()
    for _ in run:
        pass
    seconds, busy = time.perf_counter() - started, time.process_time() - busy
    floor = encoded()[2]
    told = storybook.judge(tell_stories(run.model, tokenizer(), N_JUDGED), seen=texts()[0])
    print(f"{steps} steps, {seconds:.0f} s ({busy:.0f} s of computing): "
          f"{loss_of(run) / floor:.3f} x floor, {told.valid:.1%} of {N_JUDGED} stories valid, "
          f"{told.new:.1%} of these new")


def optimizers(steps: int, share: float) -> None:
    """AdamW for so many steps, Muon for a share of them, each with its best rates of the sweep."""
    runs = {
        "AdamW": new_run(steps, optimizer="adamw", learning_rate=0.01),
        "Muon": new_run(round(steps * share)),
    }
    seconds = race(runs)
    for name, run in runs.items():
        print(f"{name:6} {run.step:5} steps ({run.step / steps:.2f})   time "
              f"{seconds[name] / seconds['AdamW']:.2f}   {loss_of(run) / encoded()[2]:.4f} x floor")


def sweep() -> None:
    """The loss after a short run for each learning rate, as a multiple of the floor."""
    print(f"{SWEEP_STEPS} steps, batches of {TRAINING['batch_size']}; loss / floor\n")
    print("| AdamW's rate | AdamW alone | " + " | ".join(f"Muon {m}" for m in MUON_RATES) + " |")
    print("|---|---|" + "---|" * len(MUON_RATES))
    for rate in ADAMW_RATES:
        cells = [measured(optimizer="adamw", learning_rate=rate)]
        cells += [measured(learning_rate=rate, muon_learning_rate=m) for m in MUON_RATES]
        print(f"| {rate} | " + " | ".join(cells) + " |", flush=True)


def measured(**changes) -> str:
    run = new_run(SWEEP_STEPS, **changes)
    for _ in run:
        pass
    return f"{loss_of(run) / encoded()[2]:.3f}"


def head() -> None:
    """Which head looks at the hero's name when the name is due, and what is lost without it."""
    model, its_tokenizer = storyteller()
    looks = mean_weight_on_name(model, its_tokenizer, texts()[1][:200])            # (L, H)
    layer, number = divmod(int(looks.argmax()), looks.shape[1])
    print(f"layer {layer}, head {number} puts {looks[layer, number]:.2f} of its weight on the "
          f"hero's name; the median head {looks.median():.2f}")

    def without(outputs: Tensor) -> Tensor:                                        # (B, H, T, D)
        outputs = outputs.clone()
        outputs[:, number] = 0
        return outputs

    whole = storybook.judge(tell_stories(model, its_tokenizer, N_JUDGED))
    with patch(model, {f"blocks.{layer}.attention.head_outputs": without}):
        broken = storybook.judge(tell_stories(model, its_tokenizer, N_JUDGED))
    print(f"valid stories: {whole.valid:.1%} with it, {broken.valid:.1%} without it")


def mean_weight_on_name(
    model: GPTModel, its_tokenizer: BPETokenizer, stories: Iterable[storybook.Story]
) -> Tensor:
    """At the token before the hero's last name: the weight on all earlier ones.  -> (L, H)"""
    sums = []
    for story in stories:
        ids = [its_tokenizer.end_token, *its_tokenizer.encode(story.text)]
        words = [its_tokenizer.decode([token]).strip() for token in ids]
        names = [place for place, word in enumerate(words) if word == story.facts["hero"]]
        due = names[-1] - 1
        with record(model) as acts, torch.inference_mode():
            model(torch.tensor([ids]))
        weights = [
            acts[f"blocks.{layer}.attention.weights"][0, :, due] for layer in range(
                model.config.n_layers)
        ]                                                                          # L x (H, T)
        sums.append(torch.stack(weights)[:, :, names[:-1]].sum(-1))
    return torch.stack(sums).mean(0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("what", choices=("run", "optimizers", "sweep", "head", "store"))
    parser.add_argument("--steps", type=int, default=1000, help="of the run, or of AdamW")
    parser.add_argument("--layers", type=int, default=N_LAYERS, help="of the run")
    parser.add_argument("--share", type=float, default=0.5, help="of these steps for Muon")
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    if arguments.what == "run":
        go(arguments.steps, arguments.layers)
    elif arguments.what == "optimizers":
        optimizers(arguments.steps, arguments.share)
    elif arguments.what == "sweep":
        sweep()
    elif arguments.what == "store":
        store_run(run_to_store(), FINISHED)
    else:
        head()


if __name__ == "__main__":
    main()
