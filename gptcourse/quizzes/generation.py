"""Five questions about generation."""

import torch

from gptcourse.quizzes.quiz import Option, Question
from gptlib.generation import apply_temperature, keep_top_p

_PROBABILITIES = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
_KEPT = int(keep_top_p(_PROBABILITIES.log(), 0.6).isfinite().sum())
_BOLD, _SHY = apply_temperature(torch.tensor([2.0, 0.0]), 0.5).softmax(dim=-1).tolist()
_AS_IT_IS = torch.tensor([2.0, 0.0]).softmax(dim=-1)[0].item()
_PROMPT, _NEW = 20, 100

QUESTIONS = (
    Question(
        "Two tokens have the scores 2 and 0. The temperature goes from 1 down to 0.5. What happens "
        "to the probability of the better one?",
        right=Option(
            f"It rises, from {_AS_IT_IS:.2f} to {_BOLD:.2f}",
            "Divided by 0.5, the scores become 4 and 0. The gap has doubled, so softmax gives the "
            "better one more."),
        wrong=(
            Option(f"It falls, from {_AS_IT_IS:.2f} to {_AS_IT_IS / 2:.2f}",
                   "It isn't the probability that is divided, but the score, before the softmax. "
                   "And dividing by a number below 1 makes the gap wider."),
            Option(f"It stays at {_AS_IT_IS:.2f}, because the order of the two stays",
                   "The order does stay. But how much more often the better one is drawn depends "
                   "on the gap."),
            Option("It becomes 1",
                   f"Only temperature 0 does that. Here the other token keeps {_SHY:.2f}."),
        ),
    ),
    Question(
        "Five tokens have the probabilities 0.4, 0.3, 0.15, 0.1 and 0.05. How many of them does "
        "top-p with p = 0.6 keep?",
        right=Option(
            f"{_KEPT}",
            "The best one has 0.4, which isn't enough. With the second it's 0.7, so 0.6 is "
            "reached, and the second one stays."),
        wrong=(
            Option("1", "0.4 is less than 0.6. The token with which p is reached is kept, too."),
            Option("3", "The first two have 0.7 together, so 0.6 is reached without the third."),
            Option("0", "None of them has 0.6 by itself, but it's their sum that counts, the best "
                        "ones first."),
        ),
    ),
    Question(
        "At temperature 0.25, all of 200 stories were valid. What's wrong with choosing it?",
        right=Option(
            "Plots that are never the likeliest way to go on hardly ever get told",
            "Two of the seven plots were practically gone, though each story was perfect by "
            "itself. You only notice if you count."),
        wrong=(
            Option("Nothing: a higher share isn't possible",
                   "Validity is half of the picture. The other half is variety, and two of the "
                   "seven plots were practically gone."),
            Option("200 stories are too few to say anything",
                   "They say something: with 200 of 200, the true share is at least 0.98, 19 times "
                   "out of 20."),
            Option("It writes the same story every time",
                   "That's temperature 0. At 0.25, stories differ, but less than they should."),
        ),
    ),
    Question(
        "Why does the cache hold keys and values, but no queries?",
        right=Option(
            "A query is needed once, when its own token is new; later tokens bring their own",
            "A new token compares its query with the keys of all tokens and gathers their values. "
            "The queries of earlier tokens aren't part of that."),
        wrong=(
            Option("Queries change with every new token, keys and values don't",
                   "Nothing that belongs to an earlier token changes, and neither does its query. "
                   "It just isn't needed any more."),
            Option("Queries would take up too much memory",
                   "They'd take as much as the keys. But nobody would ever read them."),
            Option("Queries can be computed from keys and values",
                   "They come from a matrix of their own, and nothing in the other two gives them "
                   "away."),
        ),
    ),
    Question(
        f"A prompt of {_PROMPT} tokens is continued by {_NEW} new ones. How many tokens go through "
        "the model with a cache?",
        right=Option(
            f"{_PROMPT + _NEW - 1}",
            f"The {_PROMPT} tokens of the prompt once, and then each new one by itself, except the "
            "last. It's drawn and never read, since nothing follows it."),
        wrong=(
            Option(f"{sum(range(_PROMPT, _PROMPT + _NEW)):,}",
                   "That's without a cache, when all of the text so far goes through the model for "
                   "every new token."),
            Option(f"{_PROMPT * _NEW:,}",
                   "The prompt is read only once: its keys and values are kept."),
            Option(f"{_NEW}",
                   "Before anything can follow, the prompt has to be read, too."),
        ),
    ),
)
