"""Interactive views: every picture is drawn from a model that runs while you move the controls."""

from gptlib.views.attention import AttentionExplorer
from gptlib.views.configuration import ConfigExplorer
from gptlib.views.gradients import GradientFlow
from gptlib.views.microscope import AttentionMicroscope
from gptlib.views.neurons import NeuronExplorer
from gptlib.views.sampling import SamplingBench
from gptlib.views.session import Session
from gptlib.views.stepper import GenerationStepper
from gptlib.views.time_machine import TimeMachine
from gptlib.views.tokenizer import TokenizerExplorer
from gptlib.views.training import TrainingDashboard
from gptlib.views.windows import WindowExplorer

__all__ = [
    "AttentionExplorer",
    "AttentionMicroscope",
    "ConfigExplorer",
    "GenerationStepper",
    "GradientFlow",
    "NeuronExplorer",
    "SamplingBench",
    "Session",
    "TimeMachine",
    "TokenizerExplorer",
    "TrainingDashboard",
    "WindowExplorer",
]
