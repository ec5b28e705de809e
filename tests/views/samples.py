"""One of each view, on a tokenizer and a model that are small enough for a test."""

import math
from functools import cache
from typing import NamedTuple

import numpy as np
import torch
from helpers import lively_model

from gptcourse import gpt
from gptcourse.views import (
    AblationBench,
    AttentionExplorer,
    AttentionMicroscope,
    ConfigExplorer,
    GenerationStepper,
    GradientFlow,
    ModelWalk,
    NeuronExplorer,
    PatchingMap,
    SamplingBench,
    ScalingExplorer,
    TimeMachine,
    TokenizerExplorer,
    TrainingDashboard,
    watch,
)
from gptlib.config import GPTConfig
from gptlib.tokenizer import BPETokenizer

TEXT = "The cat sat on the mat. The dog sat on the cat. A hat for the cat, a mat for the dog. " * 12
SMALL = GPTConfig(vocab_size=280, context_length=16, emb_dim=32, n_heads=4, n_layers=2,
                  drop_rate=0.0, qkv_bias=False)


@cache
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(TEXT, 280)


@cache
def model():
    return lively_model(config=SMALL)


def learners_model():
    """One that knows nothing yet, of the file that the learner writes."""
    torch.manual_seed(0)
    return gpt.GPTModel(SMALL.to_dict())


@cache
def checkpoints() -> tuple:
    """Models as one run could have left them behind."""
    return tuple((step, lively_model(seed, SMALL)) for seed, step in enumerate((0, 50, 200)))


class Run(NamedTuple):
    parameters: int
    tokens: int
    flops: float
    loss_above_floor: float


def scaling_runs(scatter: float = 0.05) -> list[Run]:
    """Runs of three sizes as a law has them, 60 / N^0.5 + 2000 / D^0.75, and some scatter."""
    generator, runs = np.random.default_rng(0), []
    for parameters in (20_000, 80_000, 320_000):
        for tokens in (200_000, 600_000, 1_800_000, 5_400_000):
            loss = 60 / parameters**0.5 + 2000 / tokens**0.75
            runs.append(Run(parameters, tokens, 6.0 * parameters * tokens,
                            loss * math.exp(scatter * generator.normal())))
    return runs


def dashboard(**options) -> TrainingDashboard:
    ids = tokenizer().encode(TEXT)
    view = TrainingDashboard(ids[:-60], ids[-60:], tokenizer(), floor=0.5, model_config=SMALL,
                             **options)
    view.batch.value, view.steps.value = 4, 12
    return view


@cache
def sample(name: str):
    """A view that tests only look at."""
    return MAKERS[name]()


MAKERS = {
    "TokenizerExplorer": lambda: TokenizerExplorer(tokenizer(), "The cat sat."),
    "AttentionExplorer": lambda: AttentionExplorer(model(), tokenizer(), "The cat sat."),
    "AttentionMicroscope": lambda: AttentionMicroscope(model(), tokenizer(), "The cat sat."),
    "GradientFlow": GradientFlow,
    "ConfigExplorer": ConfigExplorer,
    "ModelWalk": lambda: ModelWalk(model(), tokenizer(), "The cat sat."),
    "SamplingBench": lambda: SamplingBench(model(), tokenizer(), "The cat"),
    "NeuronExplorer": lambda: NeuronExplorer(model(), tokenizer(), "The cat sat."),
    "GenerationStepper": lambda: GenerationStepper(model(), tokenizer(), "The cat"),
    "TimeMachine": lambda: TimeMachine(checkpoints(), tokenizer(), "The cat sat."),
    "AblationBench": lambda: AblationBench(model(), tokenizer(), "The cat"),
    "PatchingMap": lambda: PatchingMap(model(), tokenizer(), "The cat sat", "The dog sat"),
    "ScalingExplorer": lambda: ScalingExplorer(scaling_runs(), flops_per_second=2e10),
    "TrainingDashboard": dashboard,
    "watch": lambda: watch([], floor=0.5),
}
