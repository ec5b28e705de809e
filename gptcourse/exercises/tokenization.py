"""Exercises of chapter 1: pairs are counted, merged, learned, and a text becomes a row of ids."""

from __future__ import annotations

import inspect
from collections import Counter
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from gptcourse import gpt
from gptcourse.exercises.answers import CountsAnswer, IdsAnswer, Kind, PairsAnswer, TextAnswer
from gptcourse.exercises.exercise import Exercise, Property
from gptlib.tokenizer import printed_bytes

# --------------------------------------------------------------------------------- count_pairs


def _counted_wrongly(answer, ids):
    """What the wrongly counted pairs have in common."""
    theirs, ours = answer(ids[:]), gpt.count_pairs(ids)
    seen = answer([5, 9, 2])
    if seen and all(left == right for left, right in seen):
        return "You pair each token with itself: move the second row on by one, ids[1:]."
    wrong = {pair for pair in {*theirs, *ours} if theirs.get(pair, 0) != ours[pair]}
    if all(left == right for left, right in wrong & {*ours}) and wrong <= {*ours}:
        return ("Only pairs of two equal tokens are counted wrongly: [7, 7, 7] has the pair (7, 7) "
                "twice.")
    foreign = [pair for pair in wrong if not {*pair} <= {*ids}]
    if foreign and all(left == ids[-1] for left, _ in foreign):
        return "A token is counted that is not in the row: nothing follows the last one."
    if foreign:
        return (f"You count {foreign[0]}, but not both of it are in the row: make pairs of two "
                "tokens, and not of their places.")
    if all(count == ours[pair] for pair, count in theirs.items() if count) and any(theirs.values()):
        return ("The pairs you have are counted rightly, but others are missing: does the loop end "
                "too early, or is something left out?")
    return _all_counts_alike(answer, theirs, ours) if {*theirs} <= {*ours} else (
        "Pairs are counted that never stand side by side: the row keeps its order.")


def _all_counts_alike(answer, theirs, ours):
    """Whether all counts are wrong in the same way."""
    offsets = {theirs.get(pair, 0) - count for pair, count in ours.items()}
    if not any(theirs.values()):
        return ("Every count stays 0: add 1 each time that a pair occurs; ids.count(pair) finds "
                "none, for ids holds single tokens.")
    if len(theirs) < len(ours):
        return ("Pairs are missing, and others are counted too seldom: does the loop end too early,"
                " or with a `return` inside of it?")
    if answer([7, 7, 7, 7]) == {(7, 7): 1}:
        return ("Every pair is counted only once: add 1 to the count of that very pair each time "
                "that it occurs.")
    if len(offsets) == 1:
        way = "high" if offsets.pop() > 0 else "low"
        return f"Every count is too {way}: begin at 0, so that the first time makes it 1."
    return None


COUNT_PAIRS = Exercise(
    "01.count_pairs",
    goal="Count which two tokens stand side by side, and how often.",
    returns=CountsAnswer(),
    cases=lambda generator: [
        ([1, 2, 1, 2, 3],), ([7, 7, 7],), (list(b"thought the other"),), ([5],),
        (torch.randint(4, (41,), generator=generator).tolist(),),
    ],
    edits=[
        ("pairwise(ids)", "(min(pair), max(pair)) for pair in pairwise(ids)",
         "The order within a pair counts: (1, 2) and (2, 1) are two different pairs."),
        ("pairwise(ids)", "(token, ids[ids.index(token) + 1]) for token in ids[:-1]",
         "You look for each token with ids.index, which always finds its first place: go along "
         "the places themselves."),
        ("pairwise(ids)", "(ids[i], ids[i + 1]) for i in ids",
         "You use the tokens as places: `for i in ids` goes through the tokens, "
         "range(len(ids) - 1) through the places."),
    ],
    symptoms=[_counted_wrongly],
    hints=(
        "Take [1, 2, 1, 2]. Write it down twice, the second row moved on by one place. Which pairs "
        "stand above each other?",
        """
        1. pairwise(ids) gives every token together with the next one, and so does zip(ids, ids[1:])
        2. count how often each of these pairs comes: a Counter does that, or a dictionary in a loop
        """,
        """
        pairs = pairwise(ids)
        return ...                            # what counts the things that it is given?
        """,
    ),
)

# --------------------------------------------------------------------------------------- merge


def _put_back(answer, ids, pair, new_id):
    """What the row looks like with the pair again in place of the new token."""
    merged, right = list(answer(ids[:], pair, new_id)), gpt.merge(ids, pair, new_id)
    foreign = [token for token in merged if token != new_id and token not in ids]
    if foreign:
        return f"{foreign[0]} is neither in ids nor the new token, {new_id}."
    if found := _replaced_too(answer, pair):
        return found
    if merged == right[: len(merged)]:
        return None                                # it ends too early, which is told elsewhere
    for words, stays in {
        "The left token of a pair stays behind: the new token stands for both, so it replaces the "
        "token before it.": [pair[0], new_id],
        "The right token of a pair stays behind: the new token stands for both, so skip it; in a "
        "`while` loop, i += 2 does that, but in a `for` loop, i += 2 skips nothing.":
            [new_id, pair[1]],
        "The pair stays behind the new token, which is to take its place: leave both of it out.":
            [new_id, *pair],
    }.items():
        if merged == [x for token in right for x in (stays if token == new_id else [token])]:
            return words
    return _lost_or_kept(answer, ids, pair, new_id, merged)


def _lost_or_kept(answer, ids, pair, new_id, merged):
    back = [old for token in merged for old in (pair if token == new_id else [token])]
    if len(back) < len(ids):
        others = [max(pair) + n for n in range(1, 6)]
        if answer(others[:], pair, max(pair) + 6) == others[::2]:
            return ("A token that belongs to no pair takes the next one away, so every second token"
                    " is lost: go on by one after it, and by two after a pair.")
        return f"Tokens are lost: with {pair} put back in place of {new_id}, some are missing."
    if back != ids and sorted(back) == sorted(ids):
        return ("The tokens are the right ones, but in another order: sort nothing, and remember "
                "that remove takes the first token that is equal, not the one at its place.")
    if len(back) > len(ids):
        return (f"Tokens stay behind: with {pair} put back in place of {new_id}, the row is longer "
                "than it was.")
    if pair in pairwise(merged):
        return f"The two of {pair} still stand side by side: look at every place of the row."
    return None


def _replaced_too(answer, pair):
    """Whether it is not only the pair that is replaced."""
    (left, right), other, new_id = pair, max(pair) + 1, max(pair) + 2
    too = "You replace {}, too: pair[0] stands on the left, and pair[1] on the right."
    for row, words in (
        ([other, other, other], "You put a new token into a row in which the pair is nowhere."),
        ([left, other, other], "You look at the left token only: both must be those of the pair."),
        ([left],
         "A single token is taken for a pair: the last one of a row has none to its right."),
        ([other, other, right],
         "You look at the right token only: both must be those of the pair."),
        ([right, left], too), ([left, left], too), ([right, right], too),
    ):
        if tuple(row) != pair and new_id in answer(row[:], pair, new_id):
            return words.format(tuple(row))
    return None


_NOTHING_SKIPPED = """
    merged = []
    for i in range(len(ids) - 1):
        merged.append(new_id if (ids[i], ids[i + 1]) == pair else ids[i])
    return merged
"""
_REMEMBERED = """
    merged, previous = [], None
    for token in ids:
        merged.append(token)
        if (previous, token) == pair:
            merged[-2:] = [new_id]
        previous = token
    return merged
"""

MERGE = Exercise(
    "01.merge",
    goal="Make one token of two, wherever they stand side by side.",
    returns=IdsAnswer(),
    cases=lambda generator: [
        ([5, 1, 2, 7, 1, 2, 4], (1, 2), 9), ([1, 1, 1], (1, 1), 256), ([2, 1, 2, 1, 1], (2, 1), 8),
        ([1, 2, 3, 1], (1, 2), 9), ([1, 1, 1, 1, 1], (1, 1), 9), ([4], (4, 4), 256),
        ([2, 1, 3, 1, 2], (1, 2), 7), (list(b"thought the other"), (116, 104), 256),
        (torch.randint(400, 403, (53,), generator=generator).tolist(), (400, 402), 403),
        ([11, 2, 1, 2, 1, 23], (1, 2), 9),
    ],
    edits=[
        ("tuple(ids[i : i + 2])", "ids[i : i + 2]",
         "Nothing was replaced: does your comparison ever hold? pair is a tuple of two, which "
         "equals neither a list nor a single token; compare (left, right)."),
        ("", _NOTHING_SKIPPED,
         "Two things: the right token of a pair stays behind, which must be skipped, and the last "
         "token of the row is lost, for the loop stops one place early."),
        ("    return merged",
         "    return merged + ids[-1:] if merged[-1] == new_id else merged",
         "The last token is appended even where it has become part of a pair: append it only where "
         "no pair ends the row."),
        ("", _REMEMBERED,
         "A token is merged with the one before it and with the one behind it: once it is merged, "
         "it is gone, and [1, 1, 1] becomes [9, 1]."),
    ],
    symptoms=[_put_back],
    hints=(
        "Walk through the row with a place i, and build a new list. How many places further does "
        "i go after a pair, and how many after any other token?",
        """
        1. begin with an empty list, at place 0
        2. as long as the place is in the row: if the two tokens from there on are the pair,
           append new_id and go on by two; otherwise append the token and go on by one
        3. return the new list
        """,
        """
        merged, i = [], 0
        while i < len(ids):
            if tuple(ids[i : i + 2]) == pair:
                merged.append(new_id)
                ...                           # which place comes next?
            else:
                merged.append(ids[i])
                i += 1
        return merged
        """,
    ),
)

# -------------------------------------------------------------------------------- learn_merges


def _at_the_first_wrong_merge(answer, words, n_merges):
    """How often the pair that was chosen occurs by then, and how often the right one does."""
    theirs = [tuple(pair) for pair in answer(dict(words), n_merges)]
    ours = gpt.learn_merges(words, n_merges)
    n = next((n for n, (got, best) in enumerate(zip(theirs, ours, strict=False)) if got != best),
             min(len(theirs), len(ours)))
    if n == len(ours):
        return (f"{n_merges} merges are asked for, and no more than there are pairs: you make "
                f"{len(theirs)}.")
    if n == len(theirs):
        return "You stop too early: as long as a pair is left, it can be merged."
    spellings = dict.fromkeys(words)
    for word in words:
        spellings[word] = list(word)
        for number, pair in enumerate(ours[:n]):
            spellings[word] = gpt.merge(spellings[word], pair, 256 + number)
    counts = Counter()
    for word, times in words.items():
        counts.update({pair: times * count
                       for pair, count in gpt.count_pairs(spellings[word]).items()})
    between = {(left[-1], right[0]) for left in spellings.values() for right in spellings.values()}
    return _chosen_instead(theirs[n], ours[n], n, counts, ours[:n], between)


def _chosen_instead(got, best, n, counts, before, between):
    chosen = f"Merge number {n} is {got}"
    if got in before:
        return (f"{chosen}, which was merged before: each merge changes how the words are spelled, "
                "and the next pair is counted in these new spellings.")
    if max(got) >= 256 + n:
        return (f"{chosen}, but tokens 0 to {255 + n} are all that there are: number n makes "
                "256 + n.")
    if not counts[got] and got in between:
        return (f"{chosen}, the end of a word and the beginning of another. No merge crosses from "
                "one word to the next: count and merge in each word by itself.")
    if not counts[got]:
        return (f"{chosen}, but these two never stand side by side in the words as they are "
                "spelled by then.")
    if counts[got] == counts[best]:
        return (f"{chosen}. Of pairs that occur equally often, take the one with the smaller ids, "
                f"{best}.")
    return (f"{chosen}, whose count in the whole text is {counts[got]} by then; but that of {best} "
            f"is {counts[best]}.")


_STORY = {b"thought": 3, b" the": 5, b" other": 4, b" three": 2, b" oath": 1, "ï".encode(): 4}

LEARN_MERGES = Exercise(
    "01.learn_merges",
    goal="Train: merge the most frequent pair, count again, and so on.",
    returns=PairsAnswer(),
    cases=lambda generator: [
        ({b"ab": 1, b"abc": 1, b"ca": 5}, 2), (_STORY, 14), ({b"aaaa": 2, b"baa": 3}, 9),
        ({b"ba": 2, b"ab": 2, b"cc": 2}, 3), ({b"a": 7}, 4), ({b"xyxy": 2, b"yzy": 3}, 1),
        ({bytes(torch.randint(97, 101, (n,), generator=generator).tolist()): n % 4 + 1
          for n in range(2, 9)}, 12),
    ],
    edits=[
        ("if not counts:", "if False:",
         "A text may have no pairs left: stop where there is nothing more to count."),
    ],
    symptoms=[_at_the_first_wrong_merge],
    hints=(
        "It's learn_from, with a list of words in place of one text. Each word needs a spelling "
        "of its own, list(word) to begin with. What has to be counted anew in each round, and what "
        "has to be merged?",
        """
        1. spellings = for each word, the list of its bytes
        2. as long as merges are wanted: count the pairs in all spellings, the pairs of a word as
           many times as the word occurs; if there are none, stop
        3. choose the pair as learn_from does; its token is 256 + the number of merges so far
        4. merge it in every spelling, and append it to the list
        """,
        """
        spellings, merges = {word: list(word) for word in words}, []
        while len(merges) < n_merges:
            counts = Counter()
            for word, times in words.items():
                for pair, count in count_pairs(spellings[word]).items():
                    counts[pair] += ...       # how often does it stand in the text?
            if not counts:
                break
            best = min(counts, key=lambda pair: (-counts[pair], pair))
            spellings = {word: merge(ids, best, 256 + len(merges))
                         for word, ids in spellings.items()}
            merges.append(best)
        return merges
        """,
    ),
)

# ----------------------------------------------------------------------------------- Tokenizer


def call_method(cls):
    """A trial: make a tokenizer, and call one of its methods."""

    def answer(merges, byte_order, method, given):
        return getattr(cls(merges, byte_order), method)(given)

    return answer


@dataclass(frozen=True)
class IdsOrText(Kind):
    """What `encode` and what `decode` return."""

    name: str = "ids or text"

    def _kind(self, value: Any) -> IdsAnswer | TextAnswer:
        return TextAnswer() if isinstance(value, str) else IdsAnswer()

    def malformed(self, answer: Any, expected: Any) -> str | None:
        return self._kind(expected).malformed(answer, expected)

    def difference(self, answer: Any, expected: Any) -> str | None:
        return self._kind(expected).difference(answer, expected)

    def alike(self, answer: Any, other: Any) -> bool:
        return self._kind(answer) == self._kind(other) and super().alike(answer, other)


_TRAINED = gpt.learn_merges(_STORY, 14)
_AS_IN_GPT2 = list(printed_bytes().values())
_TRAINED_AS_IN_GPT2 = [tuple(_AS_IN_GPT2.index(x) if x < 256 else x for x in pair)
                       for pair in _TRAINED]


def _to_spell(_generator):
    """Words, texts, and rows of ids, with the bytes in their order and in that of GPT-2."""
    plain, moved = (range(256), _TRAINED), (_AS_IN_GPT2, _TRAINED_AS_IN_GPT2)
    for word, merges in (
        ("the", [(116, 104), (256, 101)]), ("abc", [(98, 99), (97, 98)]), ("Zoë", [(90, 111)]),
        ("a", [(97, 97)]), ("aaaaaaa", [(97, 97), (256, 256)]), ("🐭", []),
        ("cabab", [(99, 97), (97, 98)]), ("abcbc", [(98, 99), (97, 98)]),
        (" thermometer", _TRAINED), ("thought", _TRAINED),
    ):
        yield merges, range(256), "encode_word", word
    for order, merges in (plain, moved):
        tokenizer = gpt.Tokenizer(merges, order)
        yield merges, order, "encode_word", " Zoë's thermometer"
        for text in ("the other oath, the oath!", "", "It's 2026:\n\n  naïve 你好, 🦊 "):
            yield merges, order, "encode", text
            yield merges, order, "decode", tokenizer.encode(text)
        yield merges, order, "decode", [*tokenizer.encode_word("ë")[:1], tokenizer.end_token]


def _parts(cls):
    """Whether what others ask of a tokenizer is there, besides its methods."""
    for name in ("vocabulary", "end_token"):
        got, wanted = (getattr(one(_TRAINED), name, None) for one in (cls, gpt.Tokenizer))
        if got != wanted:
            return f"{name} is not what it was: leave __init__ as it is given."
    return None


def _spelled(answer, merges, byte_order, method, given):
    """What the ids spell, and what was left undone."""
    right, got = gpt.Tokenizer(merges, byte_order), answer(merges, byte_order, method, given)
    if method == "decode":
        if got == "".join(right.vocabulary[token].decode(errors="replace") for token in given):
            return ("Some characters are spread over several tokens: what do the bytes of each "
                    "token say by themselves?")
        return _text_in_words(got, right.decode(given)) if isinstance(got, str) else None
    if IdsAnswer().malformed(got, []):
        return None
    ids = list(got)
    foreign = [token for token in ids if not 0 <= token < right.end_token]
    if foreign:
        return (f"{foreign[0]} is no token: the id of a byte is self.id_of_byte[byte], that of a "
                "pair self.id_of_pair[pair].")
    if right.decode(ids) != given:
        spelled, bytes_used = right.decode(ids), answer([], byte_order, method, given)
        advice = ("" if bytes_used == [right.id_of_byte[byte] for byte in given.encode()] else
                  ": begin with the bytes of the word, word.encode(\"utf-8\"), each as its id, "
                  "self.id_of_byte[byte]")
        return f"With these merges, your ids spell {spelled!r}, not {given!r}{advice}."
    undone = [pair for pair in merges if pair in pairwise(ids)]
    if undone and method == "encode_word":
        return (f"The two of {undone[0]} still stand side by side, and the pair was learned: go on "
                "until none of the pairs in the word is known.")
    return ("Your ids spell the word, but of all pairs in it, the one that was learned first goes "
            "first, the one with the smallest id, wherever it stands.")


def _text_in_words(text, right):
    if "b'" in text:
        return ("str(...) writes bytes down as Python does, b'...': .decode(...) makes a text of "
                "them.")
    if text in right:
        return ("A part of the text is missing: white space counts, and every id has its bytes in "
                "self.vocabulary, the end token, too.")
    if sorted(text) == sorted(right):
        return "The right characters in another order: go through ids in the order they have."
    return ("self.vocabulary has the bytes of each token: join all of them as they are, with "
            "b\"\".join, and decode them once, as UTF-8, in the end.")


def _takes_what_comes_one_by_one(answer):
    """What `generate` yields in chapter 7 is decoded without a list of it."""
    text = answer(_TRAINED, range(256), "decode", (token for token in b"oath"))
    if text == "oath":
        return None
    return f"ids that come one by one, from a generator, are decoded as {text!r}, not as 'oath'."


_SPELLING = inspect.getsource(gpt.Tokenizer.encode_word).partition('"""\n')[2]
_JOINED = 'b"".join(self.vocabulary[token] for token in ids).decode(errors="replace")'
_ONE_BY_ONE = '"".join(self.vocabulary[token].decode(errors="replace") for token in ids)'

TOKENIZER = Exercise(
    "01.Tokenizer",
    goal="Spell a word in tokens with the merges that were learned, and find the bug in decode.",
    blanks=[(_SPELLING, "        return TODO\n"), (_JOINED, _ONE_BY_ONE)],
    returns=IdsOrText(),
    cases=_to_spell,
    use=call_method,
    structure=_parts,
    edits=[
        ("word.encode()]", "word]",
         "self.id_of_byte has the ids of bytes, and of no letters: go through word.encode()."),
        ("math.inf", "0",
         "A pair that was never learned gets 0, so min takes it before all others: give it "
         "math.inf, which is larger than every id."),
        ("            if pair not in self.id_of_pair:\n                break\n", "",
         "Where no pair of the word was learned, there is nothing to merge: leave the loop."),
    ],
    symptoms=[_spelled],
    hints=(
        "For encode_word, two tables are given: self.id_of_byte has the id of each byte, and "
        "self.id_of_pair that of each learned pair. The smaller that id, the earlier it was "
        "learned. (On decode, hint 3 has a word.)",
        """
        1. the bytes of the word, each as its id
        2. of all neighbors, take the pair with the smallest id, where an unknown pair counts as
           math.inf; where none is known, or only one token is left, stop
        3. merge it, and look again
        """,
        """
        ids = [self.id_of_byte[byte] for byte in word.encode()]
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda pair: self.id_of_pair.get(pair, math.inf))
            if pair not in self.id_of_pair:
                break
            ids = ...                         # merge: which pair, which new id?
        return ids

        # decode: the two bytes of one character may be two tokens, and neither is a character
        together = ...                        # all the bytes that belong together
        return together.decode(errors="replace")
        """,
    ),
    properties=[Property("ids may come one by one", _takes_what_comes_one_by_one)],
)

EXERCISES = (COUNT_PAIRS, MERGE, LEARN_MERGES, TOKENIZER)
