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
from gptcourse.experiments.modern import (
    cache_bytes,
    loss_by_stretch,
    nats_above_floor,
    trained,
)
from gptcourse.experiments.pretrained import gpt2_file
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
    with_batch,
)

__all__ = [
    "Counted",
    "Estimate",
    "ForgetfulCache",
    "OneLayer",
    "along_gradient",
    "cache_bytes",
    "counted_table",
    "counting",
    "effective_number",
    "floor_of_windows",
    "forgetful",
    "gpt2_file",
    "gradients_at_the_bottom",
    "kinds_of_tokens",
    "loss_by_stretch",
    "milliseconds_of_a_token",
    "misfit_chances",
    "nats_above_floor",
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
    "trained",
    "train_on",
    "with_attention",
    "with_batch",
    "without_positions",
]
