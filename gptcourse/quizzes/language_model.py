"""Five questions about a first language model."""

import math

from gptcourse.quizzes.quiz import Option, Question

_PROBABILITIES = (1 / 2, 1 / 8)
_LOSS = -sum(map(math.log, _PROBABILITIES)) / 2
_MEAN = sum(_PROBABILITIES) / 2
_SURE = 0.9

QUESTIONS = (
    Question(
        "A model gave the two tokens of a text the probabilities 1/2 and 1/8. What is its loss?",
        right=Option(
            f"{_LOSS:.2f}",
            "The surprises are ln 2 and ln 8, and their mean is ln 4: as if it had been choosing "
            "among four equally likely tokens."),
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
        "A table looks at the last twelve tokens. On the stories that it was counted from, its "
        "loss is far below the floor. On new stories it is worse than that of a table of two. Why?",
        right=Option(
            "Its rows have so few marks that it knows its own stories by heart",
            "That's overfitting: most of its rows were met once, and say for sure what came then. "
            "In a new story something else may come, or there's no row at all."),
        wrong=(
            Option("It was counted for too short a time",
                   "There's nothing more to count in these stories. More stories would help, but "
                   "nobody has enough of them for so many rows."),
            Option("Its targets were moved on twice",
                   "Then its loss on the stories that it was counted from would be bad, too."),
            Option("Twelve tokens say less about the next one than two",
                   "They say more, since the two are among them. But there are too many sets of "
                   "twelve to count what follows each."),
        ),
    ),
    Question(
        "A table of one token is trained for as long as you like, on more and more stories. What "
        "does its loss on new stories come down to?",
        right=Option(
            "The loss of a table that was counted from all those stories",
            "The more stories, the closer the share of the tally marks comes to the true chance of "
            "each token after the last one. A table of one token can't know more than that."),
        wrong=(
            Option("The floor",
                   "The floor belongs to a reader who remembers the whole story. One token isn't "
                   "enough to know what such a reader knows."),
            Option("0",
                   "Then no token would ever be a surprise, but even the perfect reader can't know "
                   "how a die will fall."),
            Option("That depends on the scores at the start",
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
