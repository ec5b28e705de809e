"""What chapters measure, a module for each kind of question."""

from gptcourse.experiments.changed_models import (
    ForgetfulCache,
    forgetful,
    friends_way,
    padded_scores,
    rearranged,
    silenced,
    with_attention,
    without_positions,
)
from gptcourse.experiments.counting import (
    Counted,
    counted_table,
    counting,
    falling_back,
    spelled_both_ways,
    spellings,
)
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
    newborn_stream,
    table_of_a_friend,
    train_by,
    train_on,
    with_batch,
)

__all__ = [
    "Counted",
    "Estimate",
    "ForgetfulCache",
    "along_gradient",
    "counted_table",
    "counting",
    "effective_number",
    "falling_back",
    "floor_of_windows",
    "forgetful",
    "friends_way",
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
    "spelled_both_ways",
    "spellings",
    "stories_told",
    "story_surprises",
    "surprise_by_place",
    "table_of_a_friend",
    "train_by",
    "train_on",
    "with_attention",
    "with_batch",
    "without_positions",
]
