"""Five questions about generation."""

import torch

from gptcourse.quizzes.quiz import Option, Question
from gptlib.generation import apply_temperature, keep_top_k, keep_top_p

_PROBABILITIES = torch.tensor([0.4, 0.3, 0.15, 0.1, 0.05])
_KEPT = int(keep_top_p(_PROBABILITIES.log(), 0.6).isfinite().sum())
_BOLD, _SHY = apply_temperature(torch.tensor([2.0, 0.0]), 0.5).softmax(dim=-1).tolist()
_AS_IT_IS = torch.tensor([2.0, 0.0]).softmax(dim=-1)[0].item()
_TOP_2 = keep_top_k(_PROBABILITIES.log(), 2).softmax(dim=-1)[0].item()
_PROMPT, _NEW = 20, 100

QUESTIONS = (
    Question(
        "Two tokens have the scores 2 and 0. What happens to the probability of the better one "
        "when the temperature sinks from 1 to 0.5?",
        right=Option(
            f"It rises, from {_AS_IT_IS:.2f} to {_BOLD:.2f}",
            "Divided by 0.5, the scores become 4 and 0. The gap has doubled, and softmax turns "
            "gaps into ratios."),
        wrong=(
            Option(f"It falls, from {_AS_IT_IS:.2f} to {_AS_IT_IS / 2:.2f}",
                   "It is the scores that are divided, before the softmax, and by a number below 1 "
                   "at that, which makes the gap wider."),
            Option(f"It stays at {_AS_IT_IS:.2f}, for the order of the two stays",
                   "The order stays, it is true. But how much more often the better one is drawn "
                   "depends on the gap."),
            Option("It becomes 1",
                   f"Only temperature 0 does that. Here the other token keeps {_SHY:.2f}."),
        ),
    ),
    Question(
        "Five tokens have the probabilities 0.4, 0.3, 0.15, 0.1 and 0.05. How many of them does "
        "top-p with p = 0.6 keep?",
        right=Option(
            f"{_KEPT}",
            "The best one alone has 0.4, which is not enough. Together with the second it is 0.7, "
            "so 0.6 is reached, and the second one stays."),
        wrong=(
            Option("1", "0.4 is less than 0.6: the token that reaches p belongs to those that are "
                        "kept."),
            Option("3", "The first two have 0.7 together, so 0.6 is reached without the third."),
            Option("0", "None has 0.6 by itself, but it is their sum that counts, the best ones "
                        "first."),
        ),
    ),
    Question(
        "From the same five tokens, top-k with k = 2 keeps the first two. With what probability "
        "is the best one drawn then?",
        right=Option(
            f"{_TOP_2:.2f}",
            "The others have the score -inf, and softmax shares their part out among those that "
            "are left: 0.4 of 0.7."),
        wrong=(
            Option("0.40", "The probabilities must sum to 1 again. What the three others had is "
                           "shared out among the two."),
            Option("0.50", "The two do not become equal: the ratio of those that are left stays as "
                           "it was, 4 to 3."),
            Option("1.00", "That would be greedy decoding. The second token can still be drawn."),
        ),
    ),
    Question(
        "Why does the cache hold keys and values, but no queries?",
        right=Option(
            "A query is needed once, when its own token comes; later tokens ask with their own",
            "A new token compares its query with the keys of all tokens and gathers their values. "
            "The queries of earlier tokens have done their work."),
        wrong=(
            Option("Queries change with every new token, keys and values do not",
                   "Nothing that belongs to an earlier token changes, its query does not either. "
                   "It is just not needed any more."),
            Option("Queries would take up too much memory",
                   "They would take as much as the keys. But there is no use for them."),
            Option("Queries can be computed from keys and values",
                   "They come from a matrix of their own, and are not hidden in the other two."),
        ),
    ),
    Question(
        f"A prompt of {_PROMPT} tokens is continued by {_NEW} new ones. How many tokens go through "
        "the model with a cache?",
        right=Option(
            f"{_PROMPT + _NEW - 1}",
            f"The prompt once, {_PROMPT} tokens, and then each new one by itself. The last one is "
            "drawn and never read: nothing follows it."),
        wrong=(
            Option(f"{sum(range(_PROMPT, _PROMPT + _NEW)):,}",
                   "So many are needed without a cache, where the whole text so far goes through "
                   "the model for every new token."),
            Option(f"{_PROMPT * _NEW:,}",
                   "The prompt is read only once: its keys and values are kept."),
            Option(f"{_NEW}",
                   "Before anything can be continued, the prompt has to be read, too."),
        ),
    ),
)
