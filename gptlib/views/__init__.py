"""Interactive views: every picture is drawn from a model that runs while you move the controls."""

from gptlib.views.attention import AttentionExplorer
from gptlib.views.configuration import ConfigExplorer
from gptlib.views.gradients import GradientFlow
from gptlib.views.sampling import SamplingBench
from gptlib.views.tokenizer import TokenizerExplorer
from gptlib.views.training import TrainingDashboard

__all__ = [
    "AttentionExplorer",
    "ConfigExplorer",
    "GradientFlow",
    "SamplingBench",
    "TokenizerExplorer",
    "TrainingDashboard",
]
