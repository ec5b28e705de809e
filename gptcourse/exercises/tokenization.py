"""Exercises of chapter 1. Below each solution stand the mistakes that are known, with what a
learner is told about them; then the trials, then the exercise with its hints."""
# ruff: noqa: B905, RUF007 -- zip(ids, ids[1:]) is what the chapter teaches

from __future__ import annotations

from collections import Counter
from itertools import combinations

import torch

from gptcourse.exercises.answers import CountsAnswer, IdsAnswer, SeveralAnswers, TensorAnswer
from gptcourse.exercises.exercise import Exercise, Property
from gptlib.data import windows as library_windows
from gptlib.tokenizer import BPETokenizer, learn_merges
from gptlib.tokenizer import count_pairs as library_count_pairs
from gptlib.tokenizer import merge as library_merge

# --------------------------------------------------------------------------------- count_pairs


def count_pairs(ids):
    """How often each pair of neighbors occurs.  [1, 2, 1, 2] -> {(1, 2): 2, (2, 1): 1}"""
    return Counter(zip(ids, ids[1:]))


def _every_other_pair(ids):
    """You step over every second pair: each token has a neighbor on both sides, so
    [1, 2, 3] has two pairs, (1, 2) and (2, 3)."""
    return Counter(zip(ids[::2], ids[1::2]))


def _single_tokens(ids):
    """You count single tokens: lay the row next to a copy of itself that is moved on by one."""
    return Counter(ids)


def _order_ignored(ids):
    """The order within a pair counts: (1, 2) and (2, 1) are two different pairs."""
    return Counter((min(pair), max(pair)) for pair in zip(ids, ids[1:]))


def _right_then_left(ids):
    """Each of your pairs is the wrong way around: the left token comes first."""
    return Counter(zip(ids[1:], ids))


def _around_the_end(ids):
    """You count the last token and the first one as neighbors: a row is no circle."""
    return Counter(zip(ids, ids[1:] + ids[:1], strict=True))


def _last_one_missing(ids):
    """The last pair is left out: a row of N tokens has N - 1 pairs."""
    return Counter(zip(ids, ids[1:-1]))


def _first_one_missing(ids):
    """The first pair is left out: begin at place 0."""
    return Counter(zip(ids[1:], ids[2:]))


def _each_once(ids):
    """Every pair is counted only once: add 1 to the count of that very pair each time that it
    occurs."""
    return dict.fromkeys(zip(ids, ids[1:]), 1)


def _not_only_neighbors(ids):
    """You pair every token with all that follow it: only the next one is its neighbor."""
    return Counter(combinations(ids, 2))


def _without_overlap(ids):
    """Pairs may overlap when they are counted: [7, 7, 7] has the pair (7, 7) twice."""
    counts, place = Counter(), 0
    while place < len(ids) - 1:
        counts[ids[place], ids[place + 1]] += 1
        place += 2 if ids[place] == ids[place + 1] else 1
    return counts


def _one_too_low(ids):
    """Every count is too low by one: a pair that is met for the first time counts 1, not 0."""
    return {pair: count - 1 for pair, count in count_pairs(ids).items()}


def _over_the_next(ids):
    """You pair each token with the one after the next: neighbors stand side by side, ids[1:]."""
    return Counter(zip(ids, ids[2:]))


def _frequent_only(ids):
    """Pairs that occur once are missing: count them, too."""
    return {pair: count for pair, count in count_pairs(ids).items() if count > 1}


def _first_pair_only(ids):
    """Only the first pair is counted: let no `return` stand within the loop."""
    return dict.fromkeys(zip(ids[:1], ids[1:2]), 1)


def _both_ways(ids):
    """You count each pair in both directions: (1, 2) means that 1 stands before 2."""
    return count_pairs(ids) + count_pairs(ids[::-1])


def _one_too_high(ids):
    """Every count is too high by one: begin at 0, so that the first time makes it 1."""
    return {pair: count + 1 for pair, count in count_pairs(ids).items()}


def _first_place_of_each(ids):
    """You look for each token with ids.index, which always finds its first place: go along the
    places themselves."""
    places = map(ids.index, ids[:-1])
    return Counter((ids[place], ids[place + 1]) for place in places)


def _tokens_as_places(ids):
    """You use the tokens as places: `for i in ids` goes through the tokens, range(len(ids) - 1)
    through the places."""
    return Counter((ids[token], ids[token + 1]) for token in ids)


def _tokens_of_pairs(ids):
    """You count the two tokens of each pair, as update(pair) does: count the pair itself, with
    counts[pair] += 1."""
    return Counter(token for pair in zip(ids, ids[1:]) for token in pair)


def _last_one_alone(ids):
    """The last token has nobody to its right, so your last pair holds one token: stop one place
    earlier."""
    return Counter((*ids[place : place + 2],) for place in range(len(ids)))


def _places_as_tokens(ids):
    """You count pairs of places: the tokens themselves stand at these places, ids[i]."""
    return Counter(zip(range(len(ids)), range(1, len(ids))))


def _beyond_the_last(ids):
    """The last token has nobody to its right: stop one place earlier, range(len(ids) - 1)."""
    return Counter((ids[place], ids[place + 1]) for place in range(len(ids)))


def _lists_as_keys(ids):
    """A list cannot be a key of a dictionary, for it may change: make each pair a tuple,
    (left, right)."""
    return {[left, right]: 1 for left, right in zip(ids, ids[1:])}


def _counted_wrongly(answer, ids):
    """What the wrongly counted pairs have in common."""
    theirs, ours = answer(ids[:]), count_pairs(ids)
    if not all(isinstance(pair, tuple) and len(pair) == 2 for pair in theirs):
        return None
    if seen := {*answer([5, 9, 2])}:
        if all(left == right for left, right in seen):
            return "You pair each token with itself: move the second row on by one, ids[1:]."
        if all(left + 1 == right for left, right in seen):
            return "You pair each token with the next number: the next token is ids[i + 1]."
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
    factors = {theirs.get(pair, 0) / count for pair, count in ours.items()}
    if factors == {0}:
        return ("Every count stays 0: add 1 each time that a pair occurs; ids.count(pair) finds "
                "none, for ids holds single tokens.")
    if len(factors) == 1 and len(ours) > 1 and wrong <= {*ours}:
        return f"Every count is {factors.pop():g} times what it should be."
    if any(pair in theirs and pair not in ours for pair in wrong):
        return "Pairs are counted that never stand side by side: the row keeps its order."
    return None


COUNT_PAIRS = Exercise(
    "01.count_pairs",
    goal="Count which two tokens stand side by side, and how often.",
    solution=count_pairs,
    reference=library_count_pairs,
    returns=CountsAnswer(),
    cases=lambda generator: [
        ([1, 2, 1, 2, 3],), ([7, 7, 7],), (list(b"thought the other"),), ([5],),
        (torch.randint(4, (41,), generator=generator).tolist(),),
    ],
    mistakes=[_single_tokens, _each_once, _every_other_pair, _order_ignored, _right_then_left,
              _around_the_end, _last_one_missing, _first_one_missing, _not_only_neighbors,
              _without_overlap, _both_ways, _one_too_low, _one_too_high, _over_the_next,
              _frequent_only, _first_pair_only, _first_place_of_each, _tokens_as_places,
              _tokens_of_pairs, _last_one_alone, _places_as_tokens, _beyond_the_last,
              _lists_as_keys],
    hints=(
        "Take [1, 2, 1, 2]. Write it down twice, the second row moved on by one place. Which pairs "
        "stand above each other?",
        """
        1. zip(ids, ids[1:]) gives every token together with the next one
        2. count how often each of these pairs comes: a Counter does that, or a dictionary in a loop
        """,
        """
        pairs = zip(ids, ids[1:])
        return ...                            # what counts the things that it is given?
        """,
    ),
    properties=[Property("overlapping pairs counted", lambda answer: None
                         if answer([3, 3, 3, 3]) == {(3, 3): 3} else
                         "[3, 3, 3, 3] holds the pair (3, 3) three times.")],
    symptoms=[_counted_wrongly],
)


# --------------------------------------------------------------------------------------- merge


def merge(ids, pair, new_id):
    """Replace each occurrence of `pair`, from left to right.  [1, 1, 1], (1, 1), 9 -> [9, 1]"""
    merged, previous = [], None               # previous: the token before, until a pair takes it
    for token in ids:
        if (previous, token) == pair:
            merged[-1], previous = new_id, None
        else:
            merged.append(token)
            previous = token
    return merged


def _only_the_first(ids, pair, new_id):
    """Only the first occurrence is replaced: go on to the end of the row."""
    for place in range(len(ids) - 1):
        if (ids[place], ids[place + 1]) == pair:
            return [*ids[:place], new_id, *ids[place + 2 :]]
    return ids


def _partner_stays(ids, pair, new_id):
    """The right token of a pair stays behind: the new token stands for both, so skip it; in a
    `while` loop, i += 2 does that, but in a `for` loop, i += 2 skips nothing."""
    pairs = zip(ids, [*ids[1:], None], strict=True)
    return [new_id if (left, right) == pair else left for left, right in pairs]


def _partner_stays_and_end_forgotten(ids, pair, new_id):
    """Two things: the right token of a pair stays behind, which must be skipped, and the last
    token of the row is lost, for the loop stops one place early."""
    return _partner_stays(ids, pair, new_id)[:-1]


def _left_one_stays(ids, pair, new_id):
    """The left token of a pair stays behind: the new token stands for both, so it replaces the
    token before it."""
    pairs = zip([None, *ids], ids)
    return [new_id if (left, right) == pair else right for left, right in pairs]


def _pair_removed(ids, pair, new_id):
    """The pair disappears, and the new token does not come in its place."""
    return [token for token in merge(ids, pair, new_id) if token != new_id]


def _both_replaced(ids, pair, new_id):
    """Every pair becomes two new tokens: two old ones make one new one, so the row gets shorter."""
    return [x for token in merge(ids, pair, new_id)
            for x in ([new_id, new_id] if token == new_id else [token])]


def _right_to_left(ids, pair, new_id):
    """You go from right to left: from left to right, the first two of [1, 1, 1] become one, and the
    last one stays."""
    return merge(ids[::-1], pair[::-1], new_id)[::-1]


def _end_forgotten(ids, pair, new_id):
    """The last token is lost when it belongs to no pair: do not stop one place early."""
    merged = merge(ids, pair, new_id)
    return merged if (*ids[-2:],) == pair and merged[-1] == new_id else merged[:-1]


def _either_order(ids, pair, new_id):
    """The order counts: only left, then right is replaced, not right, then left."""
    merged = []
    for token in ids:
        if merged and (merged[-1], token) in (pair, pair[::-1]):
            merged[-1] = new_id
        else:
            merged.append(token)
    return merged


def _single_ones_replaced(ids, pair, new_id):
    """You replace each token of the pair wherever it stands: both must stand side by side."""
    return [new_id if token in pair else token for token in ids]


def _as_text(ids, pair, new_id):
    """You replace inside a text, where ‘1 2’ also stands in ‘11 2’: compare numbers."""
    text = " ".join(map(str, ids)).replace(" ".join(map(str, pair)), str(new_id))
    return [int(number) for number in text.split()]


def _nothing_replaced(ids, pair, new_id):
    """Nothing was replaced: does your comparison ever hold? pair is a tuple of two, which equals
    neither a list nor a single token; compare (left, right)."""
    return list(ids)


def _two_by_two(ids, pair, new_id):
    """You go on by two places each time, so a pair that begins at an odd place is missed: go on by
    two only after a pair."""
    pieces = [ids[place : place + 2] for place in range(0, len(ids), 2)]
    return [token for piece in pieces for token in ([new_id] if (*piece,) == pair else piece)]


def _always_two_steps(ids, pair, new_id):
    """You go on by two places even where there is no pair, so every second token is lost: go on by
    two only after a pair, and else by one."""
    return [new_id if (*ids[place : place + 2],) == pair else ids[place]
            for place in range(0, len(ids), 2)]


def _pair_kept(ids, pair, new_id):
    """The pair stays behind the new token, which is to take its place: leave both of it out."""
    return [x for token in merge(ids, pair, new_id)
            for x in ([new_id, *pair] if token == new_id else [token])]


def _others_lost(ids, pair, new_id):
    """Only the new tokens are left: a token that belongs to no pair stays as it is."""
    return [token for token in merge(ids, pair, new_id) if token == new_id]


def _pair_turned_around(ids, pair, new_id):
    """You look for the pair the other way around: pair[0] stands on the left, pair[1] on the
    right."""
    return merge(ids, pair[::-1], new_id)


def _three_steps(ids, pair, new_id):
    """The token after each pair is lost: a pair is two places long, so go on by two, not three."""
    merged, place = [], 0
    while place < len(ids):
        found = (*ids[place : place + 2],) == pair
        merged.append(new_id if found else ids[place])
        place += 3 if found else 1
    return merged


def _sum_of_both(ids, pair, new_id):
    """You put the sum of the two ids there: the new token has an id of its own, new_id."""
    return merge(ids, pair, sum(pair))


def _one_side_is_enough(ids, pair, new_id):
    """One of the two tokens is enough for you: both must be those of the pair, with `and`."""
    merged, place = [], 0
    while place < len(ids):
        found = place + 1 < len(ids) and (ids[place] == pair[0] or ids[place + 1] == pair[1])
        merged.append(new_id if found else ids[place])
        place += 2 if found else 1
    return merged


def _used_twice(ids, pair, new_id):
    """A token is merged with the one before it and with the one behind it: once it is merged, it
    is gone, and [1, 1, 1] becomes [9, 1]."""
    merged, previous = [], None
    for token in ids:
        if (previous, token) == pair:
            merged[-1] = new_id
        else:
            merged.append(token)
        previous = token
    return merged


def _last_pair_missed(ids, pair, new_id):
    """A pair at the very end of the row is missed: it begins at place len(ids) - 2."""
    return [*merge(ids[:-1], pair, new_id), *ids[-1:]]


def _last_one_twice(ids, pair, new_id):
    """The last token is appended even where it has become part of a pair: append it only where
    no pair ends the row."""
    merged = merge(ids, pair, new_id)
    return [*merged, *ids[-1:]] if merged[-1] == new_id else merged


def _neighbor_of_the_last(ids, pair, new_id):
    """You look one place beyond the end: the last token has nobody to its right, and a row that
    gets shorter while you walk along it ends earlier; ask first whether place + 1 < len(ids)."""
    merged, place = [], 0
    while place < len(ids):
        found = (ids[place], ids[place + 1]) == pair
        merged.append(new_id if found else ids[place])
        place += 2 if found else 1
    return merged


def _by_identity(ids, pair, new_id):
    """You compare with `is`, which asks whether two things are the same object: small numbers
    happen to be, larger ones are not, so compare with ==."""
    merged = []
    for token in ids:
        if merged and merged[-1] is pair[0] and token is pair[1]:
            merged[-1] = new_id
        else:
            merged.append(token)
    return merged


def _put_back(answer, ids, pair, new_id):
    """What the row looks like with the pair again in place of the new token."""
    merged, right = answer(ids[:], pair, new_id), merge(ids, pair, new_id)
    foreign = [token for token in merged if token != new_id and token not in ids]
    if foreign:
        return f"{foreign[0]} is neither in ids nor the new token, {new_id}."
    if found := _replaced_too(answer, pair):
        return found
    if merged == right[: len(merged)]:
        return None                                # it ends too early, which is told elsewhere
    for mistake, stays in ((_left_one_stays, [pair[0], new_id]),
                           (_partner_stays, [new_id, pair[1]]), (_pair_kept, [new_id, *pair])):
        if merged == [x for token in right for x in (stays if token == new_id else [token])]:
            return MERGE.diagnosis(mistake)
    back = [old for token in merged for old in (pair if token == new_id else [token])]
    if len(back) < len(ids):
        others = [max(pair) + n for n in range(1, 6)]
        if answer(others[:], pair, max(pair) + 6) == others[::2]:
            return ("A token that belongs to no pair takes the next one away: go on by one after "
                    "it, and by two after a pair.")
        return f"Tokens are lost: with {pair} put back in place of {new_id}, some are missing."
    if back != ids and sorted(back) == sorted(ids):
        return ("The tokens are the right ones, but in another order: sort nothing, and remember "
                "that remove takes the first token that is equal, not the one at its place.")
    if len(back) > len(ids):
        return (f"Tokens stay behind: with {pair} put back in place of {new_id}, the row is longer "
                "than it was.")
    if back != ids:
        return f"Something other than {pair} was replaced: both tokens must be those of the pair."
    if pair in zip(merged, merged[1:]):
        return f"The two of {pair} still stand side by side: look at every place of the row."
    return None


def _replaced_too(answer, pair):
    """Whether it is not only the pair that is replaced."""
    (left, right), other, new_id = pair, max(pair) + 1, max(pair) + 2
    if new_id in answer([other, other, other], pair, new_id):
        return "You put a new token into a row in which the pair is nowhere."
    for side, row in (("left", [left, other, other]), ("right", [other, other, right])):
        if new_id in answer(row, pair, new_id):
            return f"You look at the {side} token only: both must be those of the pair."
    for row in ([right, left], [left, left], [right, right]):
        if tuple(row) != pair and new_id in answer(row[:], pair, new_id):
            return (f"You replace {tuple(row)}, too: pair[0] stands on the left, and pair[1] on "
                    "the right.")
    return None


MERGE = Exercise(
    "01.merge",
    goal="Make one token of two, wherever they stand side by side.",
    solution=merge,
    reference=library_merge,
    returns=IdsAnswer(),
    cases=lambda generator: [
        ([5, 1, 2, 3, 1, 2, 4], (1, 2), 9), ([1, 1, 1], (1, 1), 256), ([2, 1, 2, 1, 1], (2, 1), 8),
        ([1, 2, 3, 1], (1, 2), 9), ([1, 1, 1, 1, 1], (1, 1), 9), ([4], (4, 4), 256),
        ([2, 1, 3, 1, 2], (1, 2), 7), (list(b"thought the other"), (116, 104), 256),
        (torch.randint(400, 403, (53,), generator=generator).tolist(), (400, 402), 403),
        ([11, 2, 1, 2, 1, 23], (1, 2), 9),
    ],
    mistakes=[_nothing_replaced, _only_the_first, _partner_stays, _partner_stays_and_end_forgotten,
              _left_one_stays, _pair_removed, _both_replaced, _right_to_left, _end_forgotten,
              _either_order, _single_ones_replaced, _as_text, _two_by_two, _always_two_steps,
              _pair_kept, _others_lost, _pair_turned_around, _three_steps, _sum_of_both,
              _one_side_is_enough, _used_twice, _last_pair_missed, _last_one_twice,
              _neighbor_of_the_last, _by_identity],
    symptoms=[_put_back],
    hints=(
        "Build a new list while you walk through the old one. When does the token that you have "
        "just reached complete the pair?",
        """
        1. begin with an empty list, and with no previous token
        2. for each token: if the previous one and this one are the pair, the last one of the
           new list becomes new_id, and the next token has no previous one
        3. otherwise append the token, which is the previous one of the next
        4. return the new list
        """,
        """
        merged, previous = [], None
        for token in ids:
            if (previous, token) == pair:
                ...                           # what becomes of merged[-1], and of previous?
            else:
                merged.append(token)
                previous = token
        return merged
        """,
    ),
)


# -------------------------------------------------------------------------------------- encode


def encode(word, merges):
    """The token ids of a word: its bytes, merged, the pair that was learned first goes first.

    Pair number n of `merges` becomes token 256 + n.  "the", [(116, 104)] -> [256, 101]
    """
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


def _only_bytes(word, merges):
    """These are still the bytes: nothing is merged, for merge takes ids, pair and new_id in this
    order, or what it returns is not kept, as in ids = merge(...)."""
    return list(word.encode("utf-8"))


def _letters(word, merges):
    """You begin with the numbers of the letters, ord(...); begin with the bytes of the text,
    word.encode("utf-8")."""
    return _merged([ord(letter) for letter in word], merges)


def _another_encoding(word, merges):
    """You begin with other bytes: the text must be encoded as "utf-8"."""
    return _merged(list(word.encode("utf-16-le")), merges)


def _last_learned_first(word, merges):
    """You begin with the merge that was learned last: the first one goes first."""
    ids = list(word.encode("utf-8"))
    for n in reversed(range(len(merges))):
        ids = merge(ids, merges[n], 256 + n)
    return ids


def _leftmost_first(word, merges):
    """You merge whatever pair comes first in the word: of all pairs in it, the one that was
    learned first goes first, wherever it stands."""
    new_ids = {pair: 256 + n for n, pair in enumerate(merges)}
    ids = list(word.encode("utf-8"))
    while pair := next((p for p in zip(ids, ids[1:]) if p in new_ids), None):
        ids = merge(ids, pair, new_ids[pair])
    return ids


def _one_merge_only(word, merges):
    """You stop after the first merge of the list: return after the loop, not inside it."""
    return _merged(list(word.encode("utf-8")), merges[:1])


def _ids_from_zero(word, merges):
    """The new ids begin at 0, but those are bytes: merge number n makes token 256 + n."""
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, n)
    return ids


def _ids_one_too_high(word, merges):
    """Your new ids begin at 257: merge number 0 makes token 256."""
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 257 + n)
    return ids


def _always_the_same_id(word, merges):
    """Every merge makes the same id: merge number n makes token 256 + n."""
    ids = list(word.encode("utf-8"))
    for pair in merges:
        ids = merge(ids, pair, 256)
    return ids


def _highest_number_first(word, merges):
    """Of all pairs in the word, you merge the one that was learned last: the one that was learned
    first goes first, the smallest number."""
    ids, numbers = list(word.encode("utf-8")), {pair: n for n, pair in enumerate(merges)}
    while known := [pair for pair in zip(ids, ids[1:]) if pair in numbers]:
        pair = max(known, key=numbers.get)
        ids = merge(ids, pair, 256 + numbers[pair])
    return ids


def _most_frequent_first(word, merges):
    """You merge the pair that is most frequent in this word: that is training; in encoding, the
    order of the merges decides."""
    new_ids = {pair: 256 + n for n, pair in enumerate(merges)}
    ids = list(word.encode("utf-8"))
    while known := [p for p in zip(ids, ids[1:]) if p in new_ids]:
        pair = Counter(known).most_common(1)[0][0]
        ids = merge(ids, pair, new_ids[pair])
    return ids


def _merged(ids, merges):
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


_TRAINED = learn_merges({b"thought": 3, b" the": 5, b" other": 4, b" three": 2, b" oath": 1}, 14)


def _last_merge_missing(word, merges):
    """The last merge of the list is never tried: go through all of them."""
    return encode(word, merges[:-1])


def _ids_one_too_low(word, merges):
    """The new ids are one too low: 255 is the last byte, so the first merge makes token 256."""
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 255 + n)
    return ids


def _counts_used_merges(word, merges):
    """You number the merges that were used: a pair's id comes from its place in the whole list,
    whether earlier ones were used or not."""
    ids, used = list(word.encode("utf-8")), 0
    for pair in merges:
        shorter = merge(ids, pair, 256 + used)
        used += len(shorter) < len(ids)
        ids = shorter
    return ids


def _latin(word, merges):
    """You turn the text into bytes in another way than UTF-8, which has two bytes for ë: use
    word.encode("utf-8")."""
    return _merged(list(word.encode("latin-1", "replace")), merges)


def _first_merge_missing(word, merges):
    """The first merge of the list is never tried: begin at number 0."""
    ids = list(word.encode("utf-8"))
    for n in range(1, len(merges)):
        ids = merge(ids, merges[n], 256 + n)
    return ids


def _stops_where_one_is_missing(word, merges):
    """You stop at the first merge whose pair is not in the word: go on, for later ones may be in
    it."""
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        if pair not in zip(ids, ids[1:]):
            return ids
        ids = merge(ids, pair, 256 + n)
    return ids


def _once_along_the_word(word, merges):
    """You go along the word once: go along the merges, each through the whole word, for a later one
    may use what an earlier one has made."""
    ids, merged = list(word.encode("utf-8")), []
    while ids:
        found = (*ids[:2],) in merges
        merged.append(256 + merges.index((*ids[:2],)) if found else ids[0])
        ids = ids[2:] if found else ids[1:]
    return merged


def _longest_first(word, merges):
    """You take the longest token that fits, from the left, as WordPiece does: in BPE, the order of
    the merges decides."""
    pieces = _pieces(merges)
    rest, ids = word.encode("utf-8"), []
    while rest:
        longest = max(filter(rest.startswith, pieces), key=len)
        ids.append(pieces.index(longest))
        rest = rest[len(longest) :]
    return ids


def _trained_anew(word, merges):
    """You count pairs and merge the most frequent one: that is training; in encoding, merge the
    pairs of the list, in its order."""
    ids = list(word.encode("utf-8"))
    for n in range(len(merges)):
        if counts := count_pairs(ids):
            ids = merge(ids, max(counts, key=counts.get), 256 + n)
    return ids


def _without_enumerate(word, merges):
    """One number stands where a pair belongs: merge takes its arguments in the order ids, pair,
    new_id, and where enumerate is missing, the loop takes each pair apart into two ids."""
    ids = list(word.encode("utf-8"))
    for n, pair in merges:
        ids = library_merge(ids, pair, 256 + n)
    return ids


def _pieces(merges):
    """The bytes of every token."""
    pieces = [bytes([byte]) for byte in range(256)]
    for left, right in merges:
        pieces.append(pieces[left] + pieces[right])
    return pieces


def _list_turned_around(word, merges):
    """You turn the list of merges around, so the order is wrong, and the numbers are, too: the
    first one goes first and makes token 256."""
    return _merged(list(word.encode("utf-8")), merges[::-1])


def _spelled(answer, word, merges):
    """What the ids spell, by the list of merges, and what was left undone."""
    ids, pieces = answer(word, merges[:]), _pieces(merges)
    made = answer("abcd", [(97, 98), (99, 100)])
    if made == [256, 256]:
        return ENCODE.diagnosis(_always_the_same_id)
    if len(made) == 2 and made != [256, 257] and not {*made} & {*b"abcd"}:
        return (f"Your first two merges make the tokens {made[0]} and {made[1]}: merge number n of "
                "the list makes token 256 + n.")
    foreign = [token for token in ids if not 0 <= token < len(pieces)]
    if foreign:
        return f"{foreign[0]} is no token: merge number n of the list makes token 256 + n."
    spelled = b"".join(pieces[token] for token in ids).decode("utf-8", "replace")
    if spelled != word:
        bytes_used = answer(word, []) or list(word.encode("utf-8"))
        advice = ("" if bytes_used == list(word.encode("utf-8")) else
                  ": begin with the bytes of the word, word.encode(\"utf-8\")")
        return f"With these merges, your ids spell {spelled!r}, not {word!r}{advice}."
    undone = [pair for pair in merges if pair in zip(ids, ids[1:])]
    if undone:
        return (f"The two of {undone[0]} still stand side by side, and the pair is in the list: "
                "each merge goes through the whole word, as the ones before have left it.")
    return "Your ids spell the word, but the merges were not made in the order of the list."


ENCODE = Exercise(
    "01.encode",
    goal="Spell a word in tokens with merges that were learned before.",
    solution=encode,
    reference=lambda word, merges: BPETokenizer(merges).encode(word),
    returns=IdsAnswer(),
    cases=lambda generator: [
        ("the", [(116, 104), (256, 101)]), ("abc", [(98, 99), (97, 98)]), ("Zoë", [(90, 111)]),
        ("a", [(97, 97)]), ("aaaaaaa", [(97, 97), (256, 256)]), ("🐭", []),
        (" thermometer", _TRAINED), ("thought", _TRAINED),
        ("cabab", [(99, 97), (97, 98)]), ("abcbc", [(98, 99), (97, 98)]),
    ],
    mistakes=[_only_bytes, _letters, _another_encoding, _last_learned_first, _leftmost_first,
              _highest_number_first, _one_merge_only, _ids_from_zero, _ids_one_too_high,
              _always_the_same_id, _most_frequent_first, _last_merge_missing, _ids_one_too_low,
              _counts_used_merges, _latin, _list_turned_around, _first_merge_missing,
              _stops_where_one_is_missing, _once_along_the_word, _longest_first, _trained_anew,
              _without_enumerate],
    symptoms=[_spelled],
    hints=(
        "A merge may use the result of an earlier one, never that of a later one. So what happens "
        "if you go through the list of merges once, from its beginning?",
        """
        1. ids are the bytes of the word, as a list
        2. for each merge, in the order of the list: replace its pair by its new id, 256 + n
        3. return what is left
        """,
        """
        ids = list(word.encode("utf-8"))
        for n, pair in enumerate(merges):
            ids = ...                         # merge: which pair, which new id?
        return ids
        """,
    ),
)


# ------------------------------------------------------------------------------------- windows


def windows(ids, context_length):
    """Cut a text into windows; the targets are the inputs moved on by one token.

    ids (N) -> inputs (W, T), targets (W, T), T = context_length; what fills no window is left out.
    """
    n_windows = (len(ids) - 1) // context_length
    end = n_windows * context_length
    inputs = ids[:end].view(n_windows, context_length)
    targets = ids[1 : end + 1].view(n_windows, context_length)
    return inputs, targets


def _not_moved(ids, context_length):
    """The targets are the inputs themselves: a model would learn to repeat; move them on by one
    token."""
    n_windows = (len(ids) - 1) // context_length
    inputs = ids[: n_windows * context_length].view(n_windows, context_length)
    return inputs, inputs.clone()


def _moved_back(ids, context_length):
    """Your targets are the tokens before the inputs: a model would learn to read backward; the
    inputs begin at place 0, the targets at place 1."""
    inputs, targets = windows(ids, context_length)
    return targets, inputs


def _moved_by_two(ids, context_length):
    """The targets are moved on by two tokens; it must be one."""
    n_windows = (len(ids) - 2) // context_length
    end = n_windows * context_length
    return (ids[:end].view(n_windows, context_length),
            ids[2 : end + 2].view(n_windows, context_length))


def _rolled(ids, context_length):
    """The last target of each window is the window's own first token: it must be the token that
    follows in the text."""
    inputs, _ = windows(ids, context_length)
    return inputs, inputs.roll(-1, dims=1)


def _two_steps_in_one(ids, context_length):
    """You go by steps of T, and multiply by T once more: either range(n_windows) and i * T, or
    steps of T and i itself."""
    T, starts = context_length, range(0, len(ids) - context_length, context_length)
    return tuple(torch.stack([ids[i * T + by : i * T + by + T] for i in starts]) for by in (0, 1))


def _overlapping(ids, context_length):
    """Your windows start at every token and overlap: one starts where the one before has ended."""
    pieces = ids.unfold(0, context_length + 1, 1)
    return pieces[:, :-1], pieces[:, 1:]


def _gap_between(ids, context_length):
    """You cut the text into pieces of T + 1 tokens, so one input is lost between every two
    windows: a window's last target is the next window's first input."""
    pieces = ids.unfold(0, context_length + 1, context_length + 1)
    return pieces[:, :-1], pieces[:, 1:]


def _last_window_lost(ids, context_length):
    """Windows are missing: (N - 1) // T of them fit."""
    inputs, targets = windows(ids, context_length)
    return inputs[:-1], targets[:-1]


def _one_target_each(ids, context_length):
    """You give each window one target: every token has a target of its own, the next token, so a
    window holds T examples."""
    inputs, targets = windows(ids, context_length)
    return inputs, targets[:, -1]


def _one_long_row(ids, context_length):
    """This is one long row: cut it into rows of context_length tokens with view."""
    inputs, targets = windows(ids, context_length)
    return inputs.flatten(), targets.flatten()


def _by_columns(ids, context_length):
    """The text runs down the columns: each window is a row of tokens that follow each other."""
    n_windows = (len(ids) - 1) // context_length
    end = n_windows * context_length
    return (ids[:end].view(context_length, n_windows).T,
            ids[1 : end + 1].view(context_length, n_windows).T)


def _no_target_for_the_last(ids, context_length):
    """The last token needs a target, too: (N - 1) // T windows fit, not N // T."""
    n_windows = len(ids) // context_length
    end = n_windows * context_length
    return (ids[:end].view(n_windows, context_length),
            ids[1 : end + 1].view(n_windows, context_length))


def _length_without_brackets(ids, context_length):
    """Brackets are missing, for // comes before -: (len(ids) - 1) // context_length."""
    n_windows = len(ids) - 1 // context_length
    return ids[: n_windows * context_length].view(n_windows, context_length)


def _rows_and_columns_swapped(ids, context_length):
    """Rows and columns have changed places: it is a row for each window,
    view(n_windows, context_length)."""
    n_windows = (len(ids) - 1) // context_length
    end = n_windows * context_length
    return (ids[:end].view(context_length, n_windows),
            ids[1 : end + 1].view(context_length, n_windows))


def _targets_end_early(ids, context_length):
    """The targets are one token short: they begin one token later than the inputs, so they also
    end one later, ids[1 : end + 1]."""
    n_windows = (len(ids) - 1) // context_length
    return ids[1 : n_windows * context_length].view(n_windows, context_length)


def _remainder_kept(ids, context_length):
    """The remainder, which fills no window, is still there: cut inputs and targets to
    n_windows * context_length tokens first."""
    return ids[:-1].view((len(ids) - 1) // context_length, context_length)


def _to_cut(generator):
    for N, T in ((11, 4), (12, 4), (13, 4), (37, 5), (4, 3), (6, 1)):
        yield torch.randperm(500, generator=generator)[:N], T


def _where_they_come_from(answer, ids, context_length):
    """Of what places of the text the windows are made."""
    places = {token: place for place, token in enumerate(ids.tolist())}
    parts = dict(zip(("inputs", "targets"), answer(ids.clone(), context_length)))
    for name, part in parts.items():
        foreign = [token for token in part.flatten().tolist() if token not in places]
        if foreign:
            return (f"{foreign[0]} in your {name} is not in ids: inputs and targets are tokens of "
                    "the text, as they are.")
    rows, targets = ([[places[token] for token in row] for row in part.tolist()]
                     for part in parts.values())
    for n, row in enumerate(rows):
        if len(row) != context_length:
            return f"Your windows hold {len(row)} tokens each: they must hold {context_length}."
        if row != [*range(row[0], row[0] + len(row))]:
            return f"Window {n} is made of the tokens at places {row}, not of neighbors."
        if row[0] != n * context_length:
            return (f"Window {n} begins at place {row[0]} of the text: it must begin at place "
                    f"{n * context_length}.")
    for n, (row, next_ones) in enumerate(zip(rows, targets)):
        if len(row) != len(next_ones):
            ends = (": they begin one token later than the inputs, so they also end one later"
                    if next_ones == row[1:] else "")
            return f"Window {n} has {len(row)} inputs, but {len(next_ones)} targets{ends}."
        for place, target in zip(row, next_ones):
            if target != place + 1:
                return (f"The target of the token at place {place} is the one at place {target}: "
                        "it must be the next one.")
    n_windows = (len(ids) - 1) // context_length
    if len(rows) != n_windows:
        return (f"You have {len(rows)} windows, but {len(ids)} tokens make {n_windows}: "
                "(N - 1) // T, for every input has a target.")
    return None


def _texts_do_not_meet(answer):
    """The targets are the inputs moved on by one token; windows follow each other."""
    ids = torch.arange(100, 124)
    inputs, targets = answer(ids, 5)
    if torch.equal(inputs.flatten() + 1, targets.flatten()):
        return None
    return "each target must be the token that follows its input."


WINDOWS = Exercise(
    "01.windows",
    goal="Cut a text into the examples that a model learns from.",
    solution=windows,
    reference=library_windows,
    returns=SeveralAnswers((TensorAnswer("inputs", ("W", "T"), dtype="whole"),
                            TensorAnswer("targets", ("W", "T"), dtype="whole"))),
    cases=lambda generator: list(_to_cut(generator)),
    mistakes=[_moved_by_two, _not_moved, _moved_back, _rolled, _two_steps_in_one, _overlapping,
              _gap_between, _last_window_lost, _one_target_each, _one_long_row, _by_columns,
              _no_target_for_the_last, _rows_and_columns_swapped, _targets_end_early,
              _remainder_kept, _length_without_brackets],
    symptoms=[_where_they_come_from],
    hints=(
        "Take ten tokens and windows of four. Write the inputs of both windows down, and under "
        "each token the one that follows it in the text. Which tokens of the text do the targets "
        "use, from which place to which?",
        """
        1. the number of windows: how often T fits into N - 1, for the last target needs a token
        2. inputs: the first n_windows * T tokens, as rows of T
        3. targets: the same, but beginning at place 1
        """,
        """
        n_windows = (len(ids) - 1) // context_length
        end = n_windows * context_length
        inputs = ids[:end].view(n_windows, context_length)
        targets = ...                         # likewise, moved on by one
        return inputs, targets
        """,
    ),
    properties=[Property("each target follows its input", _texts_do_not_meet)],
)

EXERCISES = (COUNT_PAIRS, MERGE, ENCODE, WINDOWS)
