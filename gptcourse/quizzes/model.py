"""Five questions about the full model."""

import math

from gptcourse.quizzes.quiz import Option, Question
from gptlib.config import GPT_CONFIG_124M
from gptlib.model import parameters_by_part

_V, _C, _T = (GPT_CONFIG_124M[key] for key in ("vocab_size", "emb_dim", "context_length"))
_PARTS = parameters_by_part(GPT_CONFIG_124M)
_MATRIX = _V * _C

QUESTIONS = (
    Question(
        "The same token stands at position 0 and at position 5 of a text. What enters the first "
        "block?",
        right=Option(
            "Two different vectors, which share one summand",
            "The row of the token is the same twice, but another row of the position table is "
            "added to each. Without it, a block could not tell the two apart."),
        wrong=(
            Option("The same vector twice",
                   "That would be so without positions: the row of the token table does not know "
                   "where the token stands."),
            Option("Two vectors that have nothing in common",
                   "Both contain the row of the same token, and only the row of the position "
                   "differs."),
            Option("One vector: equal tokens are merged",
                   "Nothing is merged. Every position has a vector of its own, from the entrance "
                   "to the exit."),
        ),
    ),
    Question(
        "A batch of 4 texts with 10 tokens each goes through GPT-2 small. What is the shape of "
        "the result?",
        right=Option(
            f"(4, 10, {_V})",
            "At every position of every text the model scores each token of the vocabulary. "
            f"These are {4 * 10 * _V:,} numbers."),
        wrong=(
            Option(f"(4, {_V})",
                   "One row per text is all that is needed when a text is continued, but the model "
                   "scores what follows at every position, and training uses all of it."),
            Option(f"(4, 10, {_C})",
                   "That is the stream before the head. The head turns each vector of "
                   f"{_C} numbers into {_V} scores."),
            Option("(4, 10)",
                   "That is the shape of the ids that went in. What comes out is not one token per "
                   "position but a score for every token."),
        ),
    ),
    Question(
        "By how many parameters does GPT-2 small shrink when the token embedding and the output "
        "head are tied?",
        right=Option(
            f"{_MATRIX:,}",
            f"One matrix of {_V:,} rows and {_C} columns is saved, "
            f"{_MATRIX / sum(_PARTS.values()):.0%} of the whole model."),
        wrong=(
            Option(f"{2 * _MATRIX:,}",
                   "Two such matrices are there before, and one remains: only the other is saved."),
            Option(f"{_C * _C:,}",
                   "That is a matrix inside a block. The tied one has a row for each token of the "
                   "vocabulary."),
            Option("None: the numbers are only stored in another place",
                   "There really are fewer numbers. Both layers use the same ones, and both help "
                   "to train them."),
        ),
    ),
    Question(
        "You double the context length of a GPT, and change nothing else. Which part gets more "
        "parameters?",
        right=Option(
            "The position embedding",
            "It has a row for every position, so GPT-2 small would get "
            f"{_T * _C:,} more. No other part knows how long the context is."),
        wrong=(
            Option("Attention",
                   "Its table of weights grows, but that is computed anew for every text and is "
                   "not a parameter. The matrices for queries, keys and values stay as they are."),
            Option("The output head",
                   "The head has a row for each token of the vocabulary, and treats each position "
                   "alike."),
            Option("All parts",
                   "Most parts treat each position with the same numbers, and so have nothing to "
                   "do with how many there are."),
        ),
    ),
    Question(
        "A fresh model with a vocabulary of 1,000 tokens has a loss of 0.5. What do you think?",
        right=Option(
            f"Something is wrong: it should be near ln 1000, which is {math.log(1000):.1f}",
            "Who knows nothing gives each token the probability 1/1000. A loss of 0.5 before any "
            "training means that the model sees the answers, or that the loss is not what you "
            "think."),
        wrong=(
            Option("It is a good start",
                   "It is too good. The weights are random numbers, so the model cannot know what "
                   "comes next."),
            Option("It should be 0, since nothing has been learned yet",
                   "A loss of 0 means certainty about the right token. Without knowledge the loss "
                   "is high, not low."),
            Option("It should be 1000, one for each token",
                   "1000 is the perplexity of such a model. The loss is its logarithm."),
        ),
    ),
)
