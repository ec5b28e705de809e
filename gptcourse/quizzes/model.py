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
            "Two different vectors: the same token row, plus different position rows",
            "Each is the sum of two rows. The token's is the same both times, and the place's is "
            "another."),
        wrong=(
            Option("The same vector twice",
                   "It would be without positions. A token's row doesn't know where the token "
                   "stands, so the row of the place is added."),
            Option("Two vectors that have nothing in common",
                   "They have the token's row in common. Only the row of the place differs."),
            Option("One vector: equal tokens are merged",
                   "Nothing is merged. Every place has a vector of its own, all the way up."),
        ),
    ),
    Question(
        "A batch of 4 texts with 10 tokens each goes through GPT-2 small. What is the shape of "
        "the result?",
        right=Option(
            f"(4, 10, {_V})",
            "At every place of every text, there's a score for each token of the vocabulary. "
            f"That's {4 * 10 * _V:,} numbers."),
        wrong=(
            Option(f"(4, {_V})",
                   "To go on with a text, you'd need only its last place. But the model scores "
                   "what comes next at every place, and training uses all of it."),
            Option(f"(4, 10, {_C})",
                   "That's the stream before the head, which turns each vector of "
                   f"{_C} numbers into {_V} scores."),
            Option("(4, 10)",
                   "That's the shape of the ids that go in. What comes out at each place isn't a "
                   "token, but a score for every token."),
        ),
    ),
    Question(
        "How many parameters fewer does GPT-2 small have when the token embedding and the output "
        "head are tied?",
        right=Option(
            f"{_MATRIX:,}",
            f"One table of {_V:,} rows and {_C} columns is gone, "
            f"{_MATRIX / sum(_PARTS.values()):.0%} of the whole model."),
        wrong=(
            Option(f"{2 * _MATRIX:,}",
                   "There were two such tables, and one of them stays."),
            Option(f"{_C * _C:,}",
                   "That's a matrix inside a block. The tied one has a row for each token of the "
                   "vocabulary."),
            Option("None: the numbers are only stored in another place",
                   "There really are fewer numbers. Both layers use the same ones, and the "
                   "gradient adds up what both have to say."),
        ),
    ),
    Question(
        "You double the context length of a GPT and change nothing else. Which part gets more "
        "parameters?",
        right=Option(
            "The position embedding",
            f"It has a row for every place, so GPT-2 small would get {_T * _C:,} more. No other "
            "part has anything that depends on the length of the context."),
        wrong=(
            Option("Attention",
                   "There are more attention weights, but those are computed anew for each text. "
                   "They aren't parameters, and the four matrices stay as they are."),
            Option("The output head",
                   "It has a row for each token of the vocabulary, and uses the same rows at every "
                   "place."),
            Option("All parts",
                   "Most parts use the same numbers at every place, so it doesn't matter to them "
                   "how many places there are."),
        ),
    ),
    Question(
        "A new model with random weights and a vocabulary of 1,000 tokens has a loss of 0.5. What "
        "do you think?",
        right=Option(
            f"Something is wrong: it should be near ln 1000, which is {math.log(1000):.1f}",
            "A model that knows nothing gives each token a probability of about 1/1000. If it does "
            "so much better before any training, perhaps it can see the answers, or the loss isn't "
            "computed as you think."),
        wrong=(
            Option("It's a good start",
                   "It's too good. The weights are random numbers, so the model can't know what "
                   "comes next."),
            Option("It should be 0, since nothing has been learned yet",
                   "A loss of 0 means being certain, and right, every time. A model that knows "
                   "nothing has a high loss."),
            Option("It should be 1000, one for each token",
                   "1000 is the perplexity of such a model. The loss is the logarithm of that."),
        ),
    ),
)
