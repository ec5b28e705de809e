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
    PatchingMap,
    RotaryExplorer,
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


def query_and_key(width: int = 16) -> tuple[torch.Tensor, torch.Tensor]:
    """As a head could have them before they are turned."""
    return torch.randn(2, width, generator=torch.Generator().manual_seed(0)).unbind()


class Run(NamedTuple):
    budget: float
    parameters: int
    tokens: int
    flops: float
    loss_above_floor: float


def scaling_runs(scatter: float = 0.03) -> list[Run]:
    """Of three budgets C five sizes each, the best one 0.2 · C^0.5, with loss 1000 / C^0.4 and some
    scatter."""
    generator, runs = np.random.default_rng(0), []
    for budget in (1e10, 4e10, 16e10):
        for times in (0.25, 0.5, 1, 2, 4):
            parameters = round(0.2 * budget**0.5 * times)
            tokens = round(budget / (6 * parameters))
            loss = 1000 * budget**-0.4 * math.exp(
                0.1 * math.log(times) ** 2 + scatter * generator.normal())
            runs.append(Run(budget, parameters, tokens, 6.0 * parameters * tokens, loss))
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
    "GenerationStepper": lambda: GenerationStepper(model(), tokenizer(), "The cat"),
    "TimeMachine": lambda: TimeMachine(checkpoints(), tokenizer(), "The cat sat."),
    "AblationBench": lambda: AblationBench(model(), tokenizer(), "The cat"),
    "PatchingMap": lambda: PatchingMap(model(), tokenizer(), "The cat sat", "The dog sat"),
    "RotaryExplorer": lambda: RotaryExplorer(*query_and_key()),
    "ScalingExplorer": lambda: ScalingExplorer(scaling_runs(), flops_per_second=2e10),
    "TrainingDashboard": dashboard,
    "watch": lambda: watch([], floor=0.5),
}
