"""What chapters measure, a module for each kind of question."""

from gptcourse.experiments.changed_models import (
    ForgetfulCache,
    OneLayer,
    forgetful,
    padded_scores,
    rearranged,
    silenced,
    with_attention,
    without_positions,
)
from gptcourse.experiments.counting import Counted, counted_table, counting, spellings
from gptcourse.experiments.surprises import (
    floor_of_windows,
    kinds_of_tokens,
    misfit_chances,
    perfect_surprises,
    story_surprises,
    surprise_by_place,
)
from gptcourse.experiments.telling import (
    Estimate,
    effective_number,
    milliseconds_of_a_token,
    plots_told,
    share,
    stories_told,
)
from gptcourse.experiments.training import (
    along_gradient,
    gradients_at_the_bottom,
    newborn_stream,
    train_by,
    train_on,
)

__all__ = [
    "Counted",
    "Estimate",
    "ForgetfulCache",
    "OneLayer",
    "along_gradient",
    "counted_table",
    "counting",
    "effective_number",
    "floor_of_windows",
    "forgetful",
    "gradients_at_the_bottom",
    "kinds_of_tokens",
    "milliseconds_of_a_token",
    "misfit_chances",
    "newborn_stream",
    "padded_scores",
    "perfect_surprises",
    "plots_told",
    "rearranged",
    "share",
    "silenced",
    "spellings",
    "stories_told",
    "story_surprises",
    "surprise_by_place",
    "train_by",
    "train_on",
    "with_attention",
    "without_positions",
]
