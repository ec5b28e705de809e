"""Quiz of chapter 4."""

from __future__ import annotations

import torch

from gptcourse.quizzes.quiz import Option, Question
from gptlib.blocks import gelu
from gptlib.config import GPT_CONFIG_124M

_C = GPT_CONFIG_124M["emb_dim"]
_SLOPE = 1.1**12
_AT_MINUS_ONE = float(gelu(torch.tensor(-1.0)))

QUESTIONS = (
    Question(
        "Every number of a vector is multiplied by 10. What happens to its layer norm?",
        right=Option("It stays the same.",
                     "The mean and the root of the variance grow tenfold, too. The one is "
                     "subtracted, the other divided out. (Only eps makes a tiny difference.)"),
        wrong=(
            Option("It grows tenfold, too.", "The size is divided out."),
            Option("It grows by the root of ten.",
                   "The root is taken of the variance, which grows a hundredfold."),
            Option("It becomes 0.", "That happens only to a vector whose numbers are all equal."),
        )),
    Question(
        "What can a feed-forward network with 4C numbers in the middle compute, if you leave out "
        "its GELU?",
        right=Option("Only what a single layer from C to C could.",
                     "Two matrices in a row can be multiplied into one, and the biases go along."),
        wrong=(
            Option("Nothing: its output is 0.",
                   "It still multiplies by two matrices, which is as good as one."),
            Option("The same as before, only less exactly.",
                   "It can't even leave the sign off a number any more, however long it learns."),
            Option("Four times as much as a single layer.",
                   "The room in the middle brings nothing as long as all of it is straight."),
        )),
    Question(
        "How does gelu(-1) compare with relu(-1)?",
        right=Option(f"It's {_AT_MINUS_ONE:.2f} instead of 0: the gate isn't quite closed.",
                     "GELU dips below zero there. The lowest point is near x = -0.75."),
        wrong=(
            Option("Both are 0.", "ReLU is 0 there. GELU comes close to 0 only further left."),
            Option("It's -1 instead of 0.", "Only large positive numbers pass as they are."),
            Option(f"It's {-_AT_MINUS_ONE:.2f} instead of 0.",
                   "Half of x times a positive bracket has the sign of x."),
        )),
    Question(
        "Twelve parts in a row have the slope 0.1 each, and each has a shortcut around it. What is "
        "the slope from one end to the other?",
        right=Option(f"about {_SLOPE:.1f}", "With its shortcut each one has the slope 1 + 0.1, and "
                                            "1.1 to the power of 12 is what you get."),
        wrong=(
            Option("0.000000000001", "That's without the shortcuts: 0.1 to the power of 12."),
            Option("1.2", "The slopes of parts in a row are multiplied, not added."),
            Option("12", "The shortcuts have the slope 1 each, but in a row they're multiplied."),
        )),
    Question(
        f"In GPT-2 small, the stream has C = {_C} numbers for each token. How many are there in "
        "the middle of the feed-forward network?",
        right=Option(f"{4 * _C:,}", "Four times as many as in the stream."),
        wrong=(
            Option(f"{_C:,}", "That's the stream. The network makes four times as many of it."),
            Option(f"{_C // GPT_CONFIG_124M['n_heads']}", "That's the width of one head."),
            Option(f"{_C**2:,}", "That's the number of weights in a layer from C to C."),
        )),
)
