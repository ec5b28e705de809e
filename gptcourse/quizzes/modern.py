"""Five questions about modern language models."""

import torch

from gptcourse.quizzes.quiz import Option, Question
from gptlib.blocks import rms_norm

_ONE, _SEVEN = rms_norm(torch.tensor([1.0, 7.0]), torch.ones(2), eps=0).tolist()
_L, _K, _H, _D = 30, 3, 9, 64
_A_TOKEN = 2 * _L * _K * _D * 4

QUESTIONS = (
    Question(
        "A query stands at place 9 and a key at place 4, both rotated. Put the same query at place "
        "109 and the same key at 104, and rotate them there. What happens to their product?",
        right=Option(
            "Nothing: only their distance counts, and it's still 5",
            "Both turn by the same additional angle, and the angle between them stays."),
        wrong=(
            Option("It gets smaller, because both are further from the start",
                   "A turn never changes the length of a vector, so being far from the start makes "
                   "nothing smaller."),
            Option("It changes, because both have new positions",
                   "Both are turned further, but by the same angle, and the product depends only "
                   "on the angle between them."),
            Option("It can't be computed beyond the trained length",
                   "It can: an angle exists for every position. Whether the model has learned what "
                   "large distances mean is another question."),
        ),
    ),
    Question(
        "What does RMSNorm, with scale 1, make of (1, 7)?",
        right=Option(
            f"({_ONE:.2f}, {_SEVEN:.2f})",
            "The mean square is (1 + 49) / 2 = 25. Both numbers are divided by its root, 5."),
        wrong=(
            Option("(-1.00, 1.00)",
                   "That's LayerNorm, which subtracts the mean first. RMSNorm leaves it."),
            Option(f"({1 / 50**0.5:.2f}, {7 / 50**0.5:.2f})",
                   "You divided by 7.07, the root of the sum of the squares. It's their mean, so "
                   "that long and short vectors end up with numbers of the same size."),
            Option(f"({1 / 25:.2f}, {7 / 25:.2f})",
                   "You divided by the mean square itself. The root is missing."),
        ),
    ),
    Question(
        f"A model has {_L} layers, {_H} query heads and {_K} heads of keys and values, each {_D} "
        "wide. What does the cache keep for each token, in float32?",
        right=Option(
            f"{_A_TOKEN:,} bytes",
            f"A key and a value in {_K} heads of {_L} layers: 2 · {_L} · {_K} · {_D} numbers of "
            "four bytes. The repeated heads are never stored."),
        wrong=(
            Option(f"{_A_TOKEN * _H // _K:,} bytes",
                   "That's what it would be if every query head had keys of its own."),
            Option(f"{_A_TOKEN // 2:,} bytes",
                   "That's the keys alone. The values are kept, too."),
            Option(f"{2 * _L * _D * 4:,} bytes",
                   f"That would be a single head of keys and values. This model has {_K}."),
        ),
    ),
    Question(
        "Why is a SwiGLU made narrower than GPT-2's feed-forward network?",
        right=Option(
            "It has three matrices in place of two, but should have as many weights",
            "Two thirds of the width, times three matrices, is as much as the whole width times "
            "two."),
        wrong=(
            Option("Because silu is slower than GELU",
                   "Both take practically no time. The matrices do."),
            Option("Because it has no biases",
                   "That saves a few numbers, and says nothing about the width."),
            Option("So that gate and expand fit each other",
                   "They do at any width, as long as both have the same."),
        ),
    ),
    Question(
        "A block of 32 weights is stored in 4 bits each, with its least number and its step in 16 "
        "bits each. How many bits is that for each weight?",
        right=Option("5", "32 · 4 + 2 · 16 = 160 bits, for 32 weights."),
        wrong=(
            Option("4", "Without the least number and the step nobody could read the 16 levels."),
            Option("36", "The two numbers of 16 bits are shared by the whole block."),
            Option("4.5", "That's with one number of 16 bits for each block. Here there are two."),
        ),
    ),
)
