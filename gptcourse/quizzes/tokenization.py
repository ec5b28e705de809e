"""Quiz of chapter 1."""

from __future__ import annotations

from gptcourse.quizzes.quiz import Option, Question
from gptlib.config import GPT_CONFIG_124M
from gptlib.tokenizer import count_pairs, merge

_IDS = [1, 1, 1, 1, 1]
_MERGED = merge(_IDS, (1, 1), 256)
_MERGES = GPT_CONFIG_124M["vocab_size"] - 256 - 1

QUESTIONS = (
    Question(
        "A tokenizer built on bytes meets a word that occurs in none of the texts it was trained "
        "on. What happens?",
        right=Option("It's spelled in smaller pieces, in the worst case in bytes.",
                     "Each of the 256 bytes is a token, so there is a spelling for every text."),
        wrong=(
            Option("It becomes one token for everything unknown.",
                   "That's what a vocabulary of whole words has to do. Bytes never need it."),
            Option("It is added to the vocabulary.",
                   "The merges are fixed after training, and the model has no weights for more."),
            Option("It is left out.",
                   "Nothing is ever lost: decoding gives back every byte of the text."),
        )),
    Question(
        f"The list {_IDS} holds the pair (1, 1) {count_pairs(_IDS)[1, 1]} times. How long is it "
        "after that pair has been merged?",
        right=Option(f"{len(_MERGED)} tokens",
                     f"From left to right it becomes {_MERGED}: two pairs, and one token is left."),
        wrong=(
            Option(f"{len(_IDS) - count_pairs(_IDS)[1, 1]} token",
                   "Counted pairs may overlap, but a token can be merged only once."),
            Option("2 tokens", "The fifth token has no partner left, but it stays in the list."),
            Option("4 tokens", "Every pair from left to right is replaced, not only the first."),
        )),
    Question(
        "While a word is encoded, several of its pairs are known. Which is merged first?",
        right=Option("The one that was learned first.",
                     "Another order could give other tokens than those the model was trained "
                     "on."),
        wrong=(
            Option("The one that stands leftmost.",
                   "The place in the word doesn't matter, only the place in the list of merges."),
            Option("The one that is most frequent in the word.",
                   "Frequency mattered in training. Now only the order of the merges counts."),
            Option("The one that makes the longest token.",
                   "Length plays no part. Early merges often make the shortest tokens."),
        )),
    Question(
        "GPT-2's vocabulary has 50,257 tokens. How many merges did its training make?",
        right=Option(f"{_MERGES:,}", "The others are the 256 bytes and one special token, for the "
                                     "end of a text."),
        wrong=(
            Option(f"{_MERGES + 257:,}", "Bytes and the special token come without a merge."),
            Option(f"{_MERGES + 1:,}", "The special token isn't merged from anything."),
            Option(f"{256 * 256:,}", "That's the number of pairs of bytes; few are ever merged."),
        )),
    Question(
        "Why does GPT-2 cut a text into words before it counts any pairs?",
        right=Option("So that a name gets the same tokens, whether a space or a comma follows.",
                     "No merge may cross a cut, so the comma can't change the name's tokens, and "
                     "what is learned about them is learned once."),
        wrong=(
            Option("So that every word is a single token.",
                   "Rare words still fall apart. A cut only says where a token may not go on."),
            Option("So that no token contains a space.",
                   "Most tokens begin with one: a space goes to the word after it."),
            Option("So that unknown words can be left out.",
                   "Nothing is unknown to a tokenizer that starts with bytes, cut or not."),
        )),
)
