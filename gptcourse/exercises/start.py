"""The exercise of chapter 0, on which one learns what an exercise is: nothing of it is kept."""

from __future__ import annotations

from gptcourse.exercises.answers import NumberAnswer
from gptcourse.exercises.exercise import Exercise

SURPRISE = Exercise(
    "00.surprise",
    goal="Say how surprising something is that had this chance, in nats.",
    source='''def surprise(chance):
    """The surprise of what had this chance (between 0 and 1), in nats."""
    return -math.log(chance)
''',
    kept=False,
    returns=NumberAnswer("surprise"),
    cases=lambda generator: [(0.5,), (0.125,), (1.0,), (0.001,), (0.9,)],
    edits=[
        ("-math.log(chance)", "1 - chance",
         "That is the chance that something else comes; the surprise is minus the logarithm of "
         "this one."),
    ],
    hints=(
        "Something that was certain doesn't surprise you: chance 1, surprise 0. Heads or tails, "
        "0.5, comes to about 0.69. Which formula above gives you both?",
        """
        1. take the natural logarithm of chance: Python calls it math.log
        2. it is 0 or below, so turn its sign around
        """,
        """
        return ...                            # minus, and math.log of chance
        """,
    ),
)

EXERCISES = (SURPRISE,)
