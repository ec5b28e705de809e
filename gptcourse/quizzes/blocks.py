"""Quiz of chapter 4."""

from __future__ import annotations

import torch

from gptcourse.quizzes.quiz import Option, Question
from gptlib.blocks import gelu, layer_norm
from gptlib.config import GPT_CONFIG_124M

_C = GPT_CONFIG_124M["emb_dim"]
_NORMED = layer_norm(torch.tensor([1.0, 7.0, 7.0, 9.0]), torch.ones(4), torch.zeros(4))
_SLOPE = 1.1**12
_AT_MINUS_ONE = float(gelu(torch.tensor(-1.0)))

QUESTIONS = (
    Question(
        "Every number of a vector is multiplied by 10. What becomes of its layer norm?",
        right=Option("It stays the same.",
                     "Mean and deviation grow tenfold as well, and both are taken out. (Only eps "
                     "makes a tiny difference.)"),
        wrong=(
            Option("It grows tenfold, too.", "The division by the deviation takes the size out."),
            Option("It grows by the root of ten.",
                   "The root is taken of the variance, which grows a hundredfold."),
            Option("It becomes 0.", "Only a vector whose numbers are all equal becomes 0."),
        )),
    Question(
        "What is the layer norm of (1, 7, 7, 9), with scale 1 and shift 0?",
        right=Option(str(tuple(round(number, 2) for number in _NORMED.tolist())),
                     "The mean is 6, the distances are -5, 1, 1, 3, and their size is 3."),
        wrong=(
            Option("(-5, 1, 1, 3)", "The mean is taken out, but the division is still to come."),
            Option("(-0.56, 0.11, 0.11, 0.33)", "That is divided by the variance, 9; it must be "
                                                "its root, 3."),
            Option("(-1.44, 0.29, 0.29, 0.87)", "That divides the squares by C - 1; a norm divides "
                                                "by C."),
        )),
    Question(
        "How does gelu(-1) compare with relu(-1)?",
        right=Option(f"It is {_AT_MINUS_ONE:.2f} instead of 0: the gate is not quite closed.",
                     "So there is a slope, and training can find its way back from there."),
        wrong=(
            Option("Both are 0.", "ReLU is flat there, GELU is not."),
            Option("It is -1 instead of 0.", "Only large positive numbers pass as they are."),
            Option(f"It is {-_AT_MINUS_ONE:.2f} instead of 0.",
                   "Half of x times a positive gate: the sign is that of x."),
        )),
    Question(
        "Twelve links, each with the slope 0.1, each with a shortcut around it. What is the slope "
        "from end to end?",
        right=Option(f"about {_SLOPE:.1f}", "Each link has the slope 1 + 0.1, and 1.1 to the power "
                                            "of 12 is what remains."),
        wrong=(
            Option("0.000000000001", "That is without shortcuts, where the slopes 0.1 are "
                                     "multiplied."),
            Option("1.2", "Slopes of links in a row are multiplied, not added."),
            Option("12", "The shortcuts carry 1 each, but in a row ones multiply to 1."),
        )),
    Question(
        "In GPT-2 small, how wide is a token's vector in the middle of the feed-forward network?",
        right=Option(f"{4 * _C:,}", f"Four times as wide as the stream, which has C = {_C}."),
        wrong=(
            Option(f"{_C:,}", "That is the stream; the network widens it first."),
            Option(f"{_C // GPT_CONFIG_124M['n_heads']}", "That is the width of one head."),
            Option(f"{_C**2:,}", "That is the number of weights of a C to C layer."),
        )),
)
