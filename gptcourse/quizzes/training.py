"""Five questions about training."""

import math

from gptcourse.quizzes.quiz import Option, Question
from gptlib.optimizer import share_of_peak

_PROBABILITIES = (0.5, 0.125)
_LOSS = -sum(map(math.log, _PROBABILITIES)) / 2
_PEAK, _WARMUP = 0.004, 10
_RATE = _PEAK * share_of_peak(4, 100, _WARMUP)

QUESTIONS = (
    Question(
        "A model gave the two tokens of a text the probabilities 1/2 and 1/8. What is its "
        "perplexity on this text?",
        right=Option(
            f"{math.exp(_LOSS):.0f}",
            f"The surprises are ln 2 and ln 8, their mean is ln 4 = {_LOSS:.2f}, and e to the "
            "power of it is 4: on average it hesitated between four tokens."),
        wrong=(
            Option(f"{(2 + 8) / 2:.0f}",
                   "That is the mean of 2 and 8. The mean is taken of the logarithms, and comes "
                   "before the exponential."),
            Option(f"{2 / sum(_PROBABILITIES):.1f}",
                   "That comes from the mean of the two probabilities. It is the surprises, their "
                   "logarithms, that are averaged."),
            Option(f"{_LOSS:.2f}",
                   "That is the loss, in nats. The perplexity is e to the power of it."),
        ),
    ),
    Question(
        "Somebody forgets optimizer.zero_grad() in the loop. What happens?",
        right=Option(
            "Each step goes against the sum of all gradients since the start",
            "backward adds to the gradient that is there. Old gradients belong to weights that "
            "have long since moved, so they lead astray."),
        wrong=(
            Option("An error, for there is a gradient already",
                   "There is no error, and that is what makes the mistake hard to find: the loss "
                   "may even fall for a while."),
            Option("Nothing: backward replaces the gradient",
                   "It adds to it. This is useful where a batch is computed in parts, and harmful "
                   "from one step to the next."),
            Option("The weights stop moving",
                   "They move, but in a direction in which old gradients have as much say as the "
                   "new one."),
        ),
    ),
    Question(
        f"The learning rate climbs to its peak of {_PEAK} in {_WARMUP} steps of warm-up. What is "
        "it at step 4, when steps are counted from 0?",
        right=Option(
            f"{_RATE:g}",
            f"It is the fifth step, so the rate has five of {_WARMUP} shares of the peak. The very "
            "first step already has one share, for with a rate of 0 it would learn nothing."),
        wrong=(
            Option(f"{_PEAK * 4 / _WARMUP:g}",
                   "With four shares, step 0 would have none at all, and be wasted."),
            Option(f"{_PEAK:g}",
                   f"The peak is reached at step {_WARMUP - 1}, the last one of the warm-up."),
            Option(f"{_PEAK * 5 / (_WARMUP + 1):.2g}",
                   f"This divides by one step too many, and step {_WARMUP - 1} would stay below "
                   "the peak."),
        ),
    ),
    Question(
        "The training loss keeps falling, but the loss on the validation text has begun to rise. "
        "What is going on?",
        right=Option(
            "The model learns its training text by heart",
            "What it learns now helps with the texts it has seen and harms with others. This is "
            "overfitting; more text, or fewer steps, would help."),
        wrong=(
            Option("The learning rate is too high",
                   "Then the training loss would leap about or rise as well. Here it falls, as it "
                   "should."),
            Option("The model has reached the entropy floor",
                   "At the floor the validation loss stands still. That it rises shows that "
                   "something else is being learned."),
            Option("The validation text is too long",
                   "A longer text only makes the measurement more exact."),
        ),
    ),
    Question(
        "Before the optimizer moves the weights, a gradient of length 5 is cut to length 1. What "
        "changes?",
        right=Option(
            "All its numbers become a fifth, and its direction stays",
            "The step goes the same way, only not as far. One odd batch cannot throw the weights "
            "far off any more."),
        wrong=(
            Option("All numbers above 1 become 1",
                   "That would be cutting each number by itself. It would turn the direction, for "
                   "the small numbers would stay as they are."),
            Option("Four fifths of the numbers become 0",
                   "No number becomes 0. It is the length of the whole gradient that is changed, "
                   "the root of the sum of all squares."),
            Option("The loss becomes a fifth",
                   "The loss is what it is. Only the gradient, which was computed from it, is made "
                   "shorter."),
        ),
    ),
)
