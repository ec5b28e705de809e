"""Five questions about a first language model."""

import math

from gptcourse.quizzes.quiz import Option, Question
from gptlib.data import windows

_PROBABILITIES = (1 / 4, 1 / 16)
_LOSS = -sum(map(math.log, _PROBABILITIES)) / 2
_MEAN = sum(_PROBABILITIES) / 2
_N_TOKENS, _CONTEXT = 120, 10
_N_WINDOWS = len(windows(list(range(_N_TOKENS)), _CONTEXT)[0])
_SURE = 0.9

QUESTIONS = (
    Question(
        "A model gave the two tokens of a text the probabilities 1/4 and 1/16. What is its loss?",
        right=Option(
            f"{_LOSS:.2f}",
            "The surprises are ln 4 and ln 16, and their mean is ln 8: as if it had been choosing "
            "among eight equally likely tokens."),
        wrong=(
            Option(f"{-math.log(_MEAN):.2f}",
                   "That is the surprise at the mean of the two probabilities. The logarithm comes "
                   "first, and then the mean."),
            Option(f"{2 * _LOSS:.2f}",
                   "That is the surprise at the whole text, the sum. The loss is the mean per "
                   "token."),
            Option(f"{_MEAN:.2f}", "That is the mean probability: the logarithms are missing."),
        ),
    ),
    Question(
        f"A model gave the token that really came the probability {_SURE}. What is the slope of "
        "the loss for the score of that token?",
        right=Option(
            f"{_SURE - 1:.1f}".replace("-", "−"),
            f"Probability minus truth, {_SURE} − 1. It is close to 0, because there is little left "
            "to learn here, and negative, because raising the score makes the loss fall."),
        wrong=(
            Option(f"{_SURE}", "That would be its slope if another token had come: the truth is 1 "
                               "for this one, and has to be subtracted."),
            Option(f"{1 - _SURE:.1f}",
                   "The size is right. But a positive slope says that the loss rises with the "
                   "score, and this score should go up."),
            Option("0", "Only a model that gave it probability 1 would have no slope left."),
        ),
    ),
    Question(
        f"A text has {_N_TOKENS} tokens. You lay windows of {_CONTEXT} inputs end to end: the next "
        "window's inputs begin where the last one's ended. How many fit, each with its targets?",
        right=Option(f"{_N_WINDOWS}",
                     "Twelve would need 121 tokens, because the last target is the token after the "
                     "last input."),
        wrong=(
            Option(f"{_N_TOKENS // _CONTEXT}",
                   "The twelfth window's last target would be token 120, counted from 0, and there "
                   "is none."),
            Option(f"{_N_TOKENS // (_CONTEXT + 1)}",
                   "That's 120 divided by 11, rounded down. But a window's last target is also the "
                   "next one's first input, so each further window costs only 10 tokens."),
            Option(f"{_N_TOKENS - _CONTEXT}",
                   "That many would fit if a window began at every token."),
        ),
    ),
    Question(
        "You train a table that sees one token, for as long as you like, on as many stories as you "
        "like. How low can its loss on new stories get?",
        right=Option(
            "As low as that of a table counted from all those stories, and no lower",
            "With enough stories, the share of the tally marks is the true chance of each token "
            "after the last one. A table of one token can't know more than that."),
        wrong=(
            Option("Down to the floor",
                   "The floor belongs to a reader who remembers the whole story. One token isn't "
                   "enough to know what such a reader knows."),
            Option("Down to 0",
                   "Then no token would ever be a surprise, but even the perfect reader can't know "
                   "how a die will fall."),
            Option("It depends on the scores at the start",
                   "They decide how long it takes. But wherever you begin, there's a slope left "
                   "until the probabilities are the shares of the tally marks."),
        ),
    ),
    Question(
        "In training, the loss sinks below the floor within a few steps. On new stories, measured "
        "properly, it is enormous. What is the first thing to look at?",
        right=Option(
            "Which target each row of scores is compared with",
            "A model that is asked for what it can see has an easy time. One that sees only the "
            "past gets below the floor by learning its stories by heart, and that takes many "
            "passes."),
        wrong=(
            Option("Whether the learning rate is too high",
                   "Then the loss in training would be bad, too. Here it is too good."),
            Option("Whether there are too few windows in a batch",
                   "A small batch makes the curve jitter. It doesn't take it below the floor."),
            Option("Whether the model should be larger",
                   "A loss below the floor isn't the mark of a model that is too small. It has "
                   "seen the answers."),
        ),
    ),
)
