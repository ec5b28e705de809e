"""Five questions about training."""

import torch

from gptcourse.quizzes.quiz import Option, Question
from gptlib.optimizer import share_of_peak

_SLOPE, _STEP, _STEPS = 0.02, 0.01, 3
_PEAK, _WARMUP = 0.004, 10
_RATE = _PEAK * share_of_peak(4, 100, _WARMUP)


def _moved() -> float:
    """How far AdamW moves a weight whose slope is always the same."""
    weight = torch.nn.Parameter(torch.zeros(1, dtype=torch.float64))
    optimizer = torch.optim.AdamW([weight], lr=_STEP, weight_decay=0)
    for _ in range(_STEPS):
        weight.grad = torch.full_like(weight, _SLOPE)
        optimizer.step()
    return -weight.item()


QUESTIONS = (
    Question(
        f"A weight's slope is {_SLOPE} in each of its first {_STEPS} steps. The optimizer is "
        f"AdamW, with a rate of {_STEP} and no weight decay. How far has the weight moved?",
        right=Option(
            f"{_moved():.2g}",
            "All slopes agree, so the average slope divided by the root of the average square is "
            f"1, and each of the {_STEPS} steps is as long as the rate."),
        wrong=(
            Option(f"{_STEPS * _STEP * _SLOPE:.1g}",
                   "That's rate times slope, three times over: the plain rule of chapter 2. AdamW "
                   "divides by the usual size of the slopes, so their size drops out."),
            Option(f"{_STEPS * _SLOPE:.2g}",
                   "That's the sum of the slopes. It would be the way with a rate of 1 and the "
                   "plain rule."),
            Option(f"{_STEP * (0.1 + 0.19 + 0.271):.1g}",
                   "The running average begins at 0, and this forgets to make up for that. AdamW "
                   "divides it by 1 − 0.9ⁿ, so the very first step already has its full length."),
        ),
    ),
    Question(
        "Somebody forgets optimizer.zero_grad() in the loop. What happens?",
        right=Option(
            "Each step also follows the gradients of earlier batches",
            "backward adds to the gradient that's there. The old ones were computed for weights "
            "that have moved on since, so they point the wrong way."),
        wrong=(
            Option("An error, because there is a gradient already",
                   "There's no error, and that's why the mistake is hard to find: for a while the "
                   "loss may even fall."),
            Option("Nothing: backward replaces the gradient",
                   "It adds to it. That's useful when a batch is computed in parts, and harmful "
                   "from one step to the next."),
            Option("The weights stop moving",
                   "They do move, but in a direction in which old gradients have as much say as "
                   "the new one."),
        ),
    ),
    Question(
        f"The learning rate climbs to its peak of {_PEAK} in {_WARMUP} steps of warm-up. What is "
        "it at step 4, if steps are counted from 0?",
        right=Option(
            f"{_RATE:g}",
            f"It's the fifth step, so the rate has five of {_WARMUP} shares of the peak. Step 0 "
            "already has one share: with a rate of 0 it would learn nothing."),
        wrong=(
            Option(f"{_PEAK * 4 / _WARMUP:g}",
                   "With four shares here, step 0 would have none, and be wasted."),
            Option(f"{_PEAK:g}",
                   f"The peak comes at step {_WARMUP - 1}, the last one of the warm-up."),
            Option(f"{_PEAK * 5 / (_WARMUP + 1):.2g}",
                   f"This divides by one step too many, so step {_WARMUP - 1} would stay below "
                   "the peak."),
        ),
    ),
    Question(
        "The training loss keeps falling, but the loss on the validation text has begun to rise. "
        "What's going on?",
        right=Option(
            "The model is learning its training text by heart",
            "What it learns now helps with the texts it has seen, and hurts on others. That's "
            "overfitting. More text would help, or stopping sooner."),
        wrong=(
            Option("The learning rate is too high",
                   "Then the training loss would leap about, or rise as well. Here it falls."),
            Option("The model has reached the floor",
                   "At the floor the validation loss would stand still. It rises, so the model is "
                   "getting worse on new text."),
            Option("The validation text is too long",
                   "A longer text only makes the measurement more exact."),
        ),
    ),
    Question(
        "Before the optimizer moves the weights, a gradient of length 5 is clipped to length 1. "
        "What changes?",
        right=Option(
            "All its numbers become a fifth, and its direction stays",
            "It points the same way and is shorter. An odd batch has no more say in the averages "
            "than any other."),
        wrong=(
            Option("All numbers above 1 become 1",
                   "That would clip each number by itself, and turn the direction, because small "
                   "numbers would stay as they are."),
            Option("Four fifths of the numbers become 0",
                   "No number becomes 0. What's limited is the length of the whole gradient, the "
                   "root of the sum of all squares."),
            Option("The loss becomes a fifth",
                   "The loss is what it is. Only the gradient that was computed from it is made "
                   "shorter."),
        ),
    ),
)
