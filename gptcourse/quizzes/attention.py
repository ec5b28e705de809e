"""Quiz of chapter 3."""

from __future__ import annotations

import math

from gptcourse.quizzes.quiz import Option, Question
from gptlib.attention import causal_mask
from gptlib.config import GPT_CONFIG_124M, GPTConfig

_ALLOWED = int(causal_mask(16).sum())
_D = GPTConfig.of(GPT_CONFIG_124M).head_dim

QUESTIONS = (
    Question(
        "Sixteen tokens, a causal mask. How many of the 256 entries of the mask are True?",
        right=Option(f"{_ALLOWED}", "Token 0 sees one token, token 15 sees sixteen: "
                                    "1 + 2 + ... + 16."),
        wrong=(
            Option(f"{_ALLOWED - 16}", "That leaves the diagonal out, but a token may look at "
                                       "itself."),
            Option("128", "A little more than half: the diagonal is allowed, too."),
            Option("16", "That would be the diagonal alone: nobody would see another token."),
        )),
    Question(
        "Why are the scores divided by √D?",
        right=Option("So that their spread does not grow with D and the softmax is not saturated.",
                     "A sum of D products has D times the variance of one; the root brings it "
                     "back."),
        wrong=(
            Option("So that each row sums to 1.", "The softmax sees to that, whatever the scores."),
            Option("So that the product takes less time.",
                   "It adds a division, and the matrix product takes as long as before."),
            Option("So that the future is hidden.", "The mask does that."),
        )),
    Question(
        f"GPT-2 small has vectors of C = {GPT_CONFIG_124M['emb_dim']} numbers, and "
        f"{GPT_CONFIG_124M['n_heads']} heads. By what are its scores divided?",
        right=Option(f"{math.sqrt(_D):g}", f"A head is {_D} numbers wide, and √{_D} is "
                                           f"{math.sqrt(_D):g}."),
        wrong=(
            Option(f"{_D}", "That is D itself; its root is taken."),
            Option(f"{math.sqrt(GPT_CONFIG_124M['emb_dim']):.1f}",
                   "That is the root of C, the width of the whole vector; a head has its own D."),
            Option(f"{GPT_CONFIG_124M['n_heads']}", "That is the number of heads."),
        )),
    Question(
        "Why does the mask come before the softmax and not after it?",
        right=Option("After it, the future would still count in the sum that softmax divides by.",
                     "So the rows would not sum to 1, and their size would tell what comes later."),
        wrong=(
            Option("After it, the weights would have another shape.",
                   "The shape is (T, T) before and after."),
            Option("Softmax cannot work with zeros.",
                   "It can: a score of 0 is an ordinary score, and gets a share."),
            Option("It is faster.", "It takes the same time. The result would be another one."),
        )),
    Question(
        "Which of the three vectors of a token is averaged by attention?",
        right=Option("the value", "Queries and keys decide how much is taken; values are taken."),
        wrong=(
            Option("the query", "The query asks. Nobody takes it along."),
            Option("the key", "The key is what a token can be found by."),
            Option("all three", "Only the values; the other two are used up in the scores."),
        )),
)
