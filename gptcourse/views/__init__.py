"""Interactive views: every picture is drawn from a model that runs while you move the controls."""

from gptcourse.views.ablation import AblationBench
from gptcourse.views.attention import AttentionExplorer
from gptcourse.views.configuration import ConfigExplorer
from gptcourse.views.gradients import GradientFlow
from gptcourse.views.live import watch
from gptcourse.views.microscope import AttentionMicroscope
from gptcourse.views.patching import PatchingMap
from gptcourse.views.rotary import RotaryExplorer
from gptcourse.views.sampling import SamplingBench
from gptcourse.views.scaling import ScalingExplorer
from gptcourse.views.session import Session
from gptcourse.views.stepper import GenerationStepper
from gptcourse.views.time_machine import TimeMachine
from gptcourse.views.tokenizer import TokenizerExplorer
from gptcourse.views.training import TrainingDashboard
from gptcourse.views.walk import ModelWalk

__all__ = [
    "AblationBench",
    "AttentionExplorer",
    "AttentionMicroscope",
    "ConfigExplorer",
    "GenerationStepper",
    "GradientFlow",
    "ModelWalk",
    "PatchingMap",
    "RotaryExplorer",
    "SamplingBench",
    "ScalingExplorer",
    "Session",
    "TimeMachine",
    "TokenizerExplorer",
    "TrainingDashboard",
    "watch",
]
