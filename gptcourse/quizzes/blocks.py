"""Quiz of chapter 4."""

from __future__ import annotations

from gptcourse.quizzes.quiz import Option, Question
from gptlib.config import GPT_CONFIG_124M

_C = GPT_CONFIG_124M["emb_dim"]

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
        "In both norms of a block, every scale and every shift is 0. What does the block do?",
        right=Option("It adds one and the same vector to every token.",
                     "Both parts read nothing but zeros. What they make of that, from their biases "
                     "alone, is the same for all tokens. And the shortcuts carry x past it."),
        wrong=(
            Option("It makes every token's vector 0.",
                   "The parts read zeros, but x itself gets past them on the shortcuts."),
            Option("It hands x on, but ten times as large.",
                   "Nothing in a block multiplies the stream: its parts only add to it."),
            Option("It fails: it would have to divide by 0.",
                   "Scale multiplies. It divides by the root of variance + eps, which isn't 0."),
        )),
    Question(
        "A part has learned to compute f(x) = -x, and it has a shortcut around it. How much of the "
        "gradient gets back through both?",
        right=Option("nothing", "x + f(x) is 0 for every x, so its slope is 0. A shortcut helps as "
                                "long as the part doesn't undo it."),
        wrong=(
            Option("all of it", "The shortcut alone has the slope 1, but the part adds its own."),
            Option("all of it, with its sign flipped",
                   "That's the part alone, whose slope is -1. The shortcut's is added to that."),
            Option("twice as much", "The two slopes are added, and they have opposite signs."),
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
