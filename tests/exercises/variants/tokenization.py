"""Answers to the exercises of chapter 1, right and wrong, as learners write them."""
# ruff: noqa: B905, RUF007 -- zip(ids, ids[1:]) is what the chapter teaches

import math
import re
from collections import Counter, defaultdict

import torch
from collecting import right, wrong

from gptlib.tokenizer import BPETokenizer, merge


@right("count_pairs")
def a_loop_with_a_dictionary(ids):
    counts = {}
    for i in range(len(ids) - 1):
        pair = (ids[i], ids[i + 1])
        counts[pair] = counts.get(pair, 0) + 1
    return counts


@right("count_pairs")
def a_default_dictionary(ids):
    counts = defaultdict(int)
    previous = None
    for token in ids:
        if previous is not None:
            counts[previous, token] += 1
        previous = token
    return counts


@right("count_pairs")
def a_counter_of_slices(ids):
    return Counter((*ids[i : i + 2],) for i in range(len(ids) - 1))


@wrong("count_pairs", "each must be a pair")
def keys_as_text(ids):
    return Counter(f"{a},{b}" for a, b in zip(ids, ids[1:]))


@wrong("count_pairs", "you return a list")
def the_pairs_themselves(ids):
    return list(zip(ids, ids[1:]))


@wrong("count_pairs", "the last pair is left out")
def range_one_short(ids):
    return Counter((ids[i], ids[i + 1]) for i in range(len(ids) - 2))


@wrong("count_pairs", "IndexError")
def range_one_long(ids):
    return Counter((ids[i], ids[i + 1]) for i in range(len(ids)))


@wrong("count_pairs", "step over every second pair")
def every_other_place(ids):
    return Counter((ids[i], ids[i + 1]) for i in range(0, len(ids) - 1, 2))


@wrong("count_pairs", "it changes its input ids")
def eats_its_input(ids):
    counts = Counter()
    while len(ids) > 1:
        counts[ids.pop(0), ids[0]] += 1
    return counts


@wrong("count_pairs", "pair (7, 7)")
def right_only_without_repeats(ids):
    return {pair: 1 for pair in zip(ids, ids[1:]) if pair[0] != pair[1]} | {
        pair: n for pair, n in Counter(zip(ids, ids[1:])).items()
        if pair[0] != pair[1]}


@wrong("count_pairs", "counted rightly, but others are missing")
def only_the_most_frequent(ids):
    return dict(Counter(zip(ids, ids[1:])).most_common(1))


@wrong("count_pairs", "must be a whole number")
def shares_instead_of_counts(ids):
    counts = Counter(zip(ids, ids[1:]))
    return {pair: count / len(ids) for pair, count in counts.items()}


@right("merge")
def a_while_loop_with_a_place(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        if place + 1 < len(ids) and ids[place] == pair[0] and ids[place + 1] == pair[1]:
            merged.append(new_id)
            place += 2
        else:
            merged.append(ids[place])
            place += 1
    return merged


@right("merge")
def in_place_on_an_own_copy(ids, pair, new_id):
    ids, place = list(ids), 0
    while place < len(ids) - 1:
        if (ids[place], ids[place + 1]) == pair:
            ids[place : place + 2] = [new_id]
        place += 1
    return ids


@right("merge")
def by_recursion(ids, pair, new_id):
    if len(ids) < 2:
        return ids[:]
    if (ids[0], ids[1]) == pair:
        return [new_id, *by_recursion(ids[2:], pair, new_id)]
    return [ids[0], *by_recursion(ids[1:], pair, new_id)]


@right("merge")
def a_tuple_is_a_row_too(ids, pair, new_id):
    return tuple(a_while_loop_with_a_place(ids, pair, new_id))


@right("merge")
def by_replacing_whole_numbers_in_a_text(ids, pair, new_id):
    left, right = pair
    text = re.sub(rf"\b{left} {right}\b", str(new_id), " ".join(map(str, ids)))
    return [int(number) for number in text.split()]


@wrong("merge", "also stands in ‘11 2’")
def by_replacing_in_a_text(ids, pair, new_id):
    text = " ".join(map(str, ids)).replace(f"{pair[0]} {pair[1]}", str(new_id))
    return [int(number) for number in text.split()]


@wrong("merge", "it changes its input ids")
def in_place_on_the_input(ids, pair, new_id):
    place = 0
    while place < len(ids) - 1:
        if (ids[place], ids[place + 1]) == pair:
            ids[place : place + 2] = [new_id]
        place += 1
    return ids


@wrong("merge", "IndexError")
def reads_behind_the_end(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        if (ids[place], ids[place + 1]) == pair:
            merged.append(new_id)
            place += 2
        else:
            merged.append(ids[place])
            place += 1
    return merged


@wrong("merge", "right token of a pair stays behind")
def forgets_to_skip(ids, pair, new_id):
    merged = []
    for place, token in enumerate(ids):
        if place + 1 < len(ids) and (token, ids[place + 1]) == pair:
            merged.append(new_id)
        else:
            merged.append(token)
    return merged


@wrong("merge", "last token is lost")
def stops_one_early(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids) - 1:
        if (ids[place], ids[place + 1]) == pair:
            merged.append(new_id)
            place += 2
        else:
            merged.append(ids[place])
            place += 1
    return merged


@wrong("merge", "a generator")
def yields_them(ids, pair, new_id):
    yield from merge(ids, pair, new_id)


@wrong("merge", ".tolist() makes one of it")
def as_a_tensor(ids, pair, new_id):
    return torch.tensor(merge(ids, pair, new_id))


@wrong("merge", "must hold a token id")
def joins_the_pair_as_a_tuple(ids, pair, new_id):
    return [pair if token == new_id else token for token in merge(ids, pair, new_id)]


@wrong("merge", "forgets i += 1")
def never_moves_on(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        if ids[place : place + 2] == [*pair]:
            merged = [*ids[:place], new_id, *ids[place + 2 :]]
    return merged


@wrong("merge", "you return")
def right_for_two_different_tokens_only(ids, pair, new_id):
    text = "," + ",".join(map(str, ids)) + ","
    text = text.replace(f",{pair[0]},{pair[1]},", f",{new_id},")
    return [int(token) for token in text.split(",") if token][: len(ids) - 1]


@wrong("merge", "you return")
def merges_the_result_again(ids, pair, new_id):
    merged = []
    for token in ids:
        if merged and (merged[-1], token) in (pair, (new_id, pair[1])):
            merged[-1] = new_id
        else:
            merged.append(token)
    return merged


@right("encode")
def lowest_rank_of_all_pairs(word, merges):
    new_ids = {pair: 256 + n for n, pair in enumerate(merges)}
    ids = list(word.encode())
    while len(ids) > 1:
        pair = min(zip(ids, ids[1:]), key=lambda pair: new_ids.get(pair, math.inf))
        if pair not in new_ids:
            break
        ids = merge(ids, pair, new_ids[pair])
    return ids


@right("encode")
def starting_over_after_each_merge(word, merges):
    ids = list(bytes(word, "utf-8"))
    changed = True
    while changed:
        changed = False
        for n, pair in enumerate(merges):
            if pair in zip(ids, ids[1:]):
                ids, changed = merge(ids, pair, 256 + n), True
                break
    return ids


@right("encode")
def the_library_itself(word, merges):
    return BPETokenizer(merges).encode(word)


@wrong("encode", "comes first in the word")
def greedy_from_the_left(word, merges):
    ids, place = list(word.encode()), 0
    while place < len(ids) - 1:
        pair = (ids[place], ids[place + 1])
        if pair in merges:
            ids = merge(ids, pair, 256 + merges.index(pair))
            place = 0
        else:
            place += 1
    return ids


@wrong("encode", "numbers of the letters")
def letters_by_ord(word, merges):
    ids = [ord(letter) for letter in word]
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "begin at 257")
def counts_from_one(word, merges):
    ids = list(word.encode())
    for n, pair in enumerate(merges, start=1):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "return after the loop")
def returns_inside_the_loop(word, merges):
    ids = list(word.encode())
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
        return ids
    return ids


@wrong("encode", "learned last")
def from_the_end(word, merges):
    ids = list(word.encode())
    for n in range(len(merges) - 1, -1, -1):
        ids = merge(ids, merges[n], 256 + n)
    return ids


@wrong("encode", "These are still the bytes")
def merge_result_thrown_away(word, merges):
    ids = list(word.encode())
    for n, pair in enumerate(merges):
        merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "must return a list of token ids")
def bytes_not_list(word, merges):
    return word.encode()


@wrong("encode", "you return")
def first_bytes_only(word, merges):
    return BPETokenizer(merges).encode(word[:3])


@right("windows")
def a_loop_of_slices(ids, context_length):
    inputs, targets = [], []
    for start in range(0, len(ids) - context_length, context_length):
        inputs.append(ids[start : start + context_length])
        targets.append(ids[start + 1 : start + context_length + 1])
    return torch.stack(inputs), torch.stack(targets)


@right("windows")
def unfolded(ids, context_length):
    pieces = ids.unfold(0, context_length + 1, context_length)
    return pieces[:, :-1], pieces[:, 1:]


@right("windows")
def with_an_index_table(ids, context_length):
    starts = torch.arange((len(ids) - 1) // context_length) * context_length
    places = starts[:, None] + torch.arange(context_length)
    return [ids[places], ids[places + 1].int()]


@wrong("windows", "RuntimeError")
def one_window_too_many(ids, context_length):
    n = len(ids) // context_length
    end = n * context_length
    return ids[:end].view(n, context_length), ids[1 : end + 1].view(n, context_length)


@wrong("windows", "inputs themselves")
def forgot_the_step(ids, context_length):
    n = (len(ids) - 1) // context_length
    inputs = ids[: n * context_length].view(n, context_length)
    return inputs, inputs


@wrong("windows", "own first token")
def rolls_within_a_window(ids, context_length):
    n = (len(ids) - 1) // context_length
    inputs = ids[: n * context_length].view(n, context_length)
    return inputs, torch.roll(inputs, -1, 1)


@wrong("windows", "overlap")
def a_window_at_every_token(ids, context_length):
    starts = range(len(ids) - context_length)
    return (torch.stack([ids[i : i + context_length] for i in starts]),
            torch.stack([ids[i + 1 : i + 1 + context_length] for i in starts]))


@wrong("windows", "one input is lost")
def chunks_of_one_more(ids, context_length):
    n = len(ids) // (context_length + 1)
    pieces = ids[: n * (context_length + 1)].view(n, context_length + 1)
    return pieces[:, :-1], pieces[:, 1:]


@wrong("windows", "must return 2 things")
def inputs_only(ids, context_length):
    n = (len(ids) - 1) // context_length
    return ids[: n * context_length].view(n, context_length)


@wrong("windows", "the dtype of your")
def as_decimals(ids, context_length):
    inputs, targets = unfolded(ids, context_length)
    return inputs.float(), targets.float()


@wrong("windows", "must be a torch tensor")
def as_lists(ids, context_length):
    inputs, targets = unfolded(ids, context_length)
    return inputs.tolist(), targets.tolist()


@wrong("windows", "targets[")
def right_shape_only(ids, context_length):
    inputs, targets = unfolded(ids, context_length)
    return inputs, torch.zeros_like(targets)


@wrong("count_pairs", "Called twice with the same input")
def keeps_what_it_counted(ids, counts={}):  # noqa: B006
    for pair in zip(ids, ids[1:]):
        counts[pair] = counts.get(pair, 0) + 1
    return counts


@wrong("count_pairs", "too high by one")
def begins_at_one(ids):
    counts = {}
    for pair in zip(ids, ids[1:]):
        counts[pair] = counts.get(pair, 1) + 1
    return counts


@wrong("count_pairs", "always finds its first place")
def looks_tokens_up(ids):
    counts = Counter()
    for token in ids[:-1]:
        counts[token, ids[ids.index(token) + 1]] += 1
    return counts


@wrong("count_pairs", "You use the tokens as places")
def tokens_for_places(ids):
    counts = Counter()
    for i in ids:
        counts[ids[i], ids[i + 1]] += 1
    return counts


@wrong("count_pairs", "Only pairs of two equal tokens")
def in_a_text(ids):
    text = " ".join(map(str, ids))
    return {pair: text.count(f"{pair[0]} {pair[1]}") for pair in zip(ids, ids[1:])}


@wrong("count_pairs", "each must be a pair of token ids")
def a_partner_for_the_last(ids):
    return Counter(zip(ids, [*ids[1:], None]))


@wrong("count_pairs", "nothing follows the last one")
def a_zero_at_the_end(ids):
    return Counter(zip(ids, [*ids[1:], 0]))


@wrong("merge", "whether two things are the same object")
def is_for_equals(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        if place + 1 < len(ids) and ids[place] is pair[0] and ids[place + 1] is pair[1]:
            merged.append(new_id)
            place += 2
        else:
            merged.append(ids[place])
            place += 1
    return merged


@wrong("merge", "once it is merged, it is gone")
def remembers_the_previous(ids, pair, new_id):
    merged, previous = [], None
    for token in ids:
        if (previous, token) == pair:
            merged[-1] = new_id
        else:
            merged.append(token)
        previous = token
    return merged


@wrong("merge", "at the very end of the row is missed")
def stops_before_the_last_pair(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        if place < len(ids) - 2 and (ids[place], ids[place + 1]) == pair:
            merged.append(new_id)
            place += 2
        else:
            merged.append(ids[place])
            place += 1
    return merged


@wrong("merge", "256 is neither in ids nor the new token, 9")
def always_256(ids, pair, new_id):
    return merge(ids, pair, 256)


@wrong("merge", "You look at the left token only")
def left_token_only(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        found = ids[place] == pair[0] and place + 1 < len(ids)
        merged.append(new_id if found else ids[place])
        place += 2 if found else 1
    return merged


@wrong("merge", "The left token of a pair stays behind")
def appends_the_new_one(ids, pair, new_id):
    merged = []
    for token in ids:
        merged.append(new_id if merged and (merged[-1], token) == pair else token)
    return merged


@wrong("merge", "You look one place beyond the end")
def shrinks_while_it_walks(ids, pair, new_id):
    ids = list(ids)
    for place in range(len(ids) - 1):
        if (ids[place], ids[place + 1]) == pair:
            ids[place : place + 2] = [new_id]
    return ids


@wrong("encode", "your ids spell 'thermometer', not ' thermometer'")
def without_the_space(word, merges):
    return BPETokenizer(merges).encode(word.strip())


@wrong("encode", "your ids spell 'Zo', not 'Zoë': begin with the bytes of the word")
def only_ascii(word, merges):
    ids = list(word.encode("ascii", errors="ignore"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "The two of (97, 97) still stand side by side")
def each_merge_once(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        for place in range(len(ids) - 1):
            if (ids[place], ids[place + 1]) == pair:
                ids[place : place + 2] = [256 + n]
                break
    return ids


@wrong("encode", "You stop at the first merge whose pair is not in the word")
def stops_at_the_first_that_is_missing(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        shorter = merge(ids, pair, 256 + n)
        if shorter == ids:
            break
        ids = shorter
    return ids


@wrong("encode", "as WordPiece does")
def the_longest_first(word, merges):
    pieces = [bytes([byte]) for byte in range(256)]
    for left, right_one in merges:
        pieces.append(pieces[left] + pieces[right_one])
    rest, ids = word.encode("utf-8"), []
    while rest:
        longest = max(filter(rest.startswith, pieces), key=len)
        ids.append(pieces.index(longest))
        rest = rest[len(longest) :]
    return ids


@wrong("encode", "You turn the list of merges around")
def enumerates_the_reversed_list(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(reversed(merges)):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "Your first two merges make the tokens 1000 and 999")
def numbered_from_the_end(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 1000 - n)
    return ids


@wrong("windows", "(N - 1) // T windows fit, not N // T")
def as_many_as_fill(ids, context_length):
    n_windows = len(ids) // context_length
    end = n_windows * context_length
    return ids[:end].view(n_windows, -1), ids[1 : end + 1].view(n_windows, context_length)


@wrong("windows", "in your targets is not in ids")
def adds_one_to_each_token(ids, context_length):
    n_windows = (len(ids) - 1) // context_length
    inputs = ids[: n_windows * context_length].view(n_windows, context_length)
    return inputs, inputs + 1


@wrong("windows", "Window 0 begins at place 2 of the text")
def counted_from_the_end(ids, context_length):
    n_windows = (len(ids) - 1) // context_length
    length = n_windows * context_length
    return (ids[-length - 1 : -1].view(n_windows, context_length),
            ids[-length:].view(n_windows, context_length))


@wrong("windows", "The target of the token at place 0 is the one at place 4")
def the_next_window(ids, context_length):
    rows = ids[: len(ids) // context_length * context_length].view(-1, context_length)
    return rows[:-1], rows[1:]


@wrong("windows", "You have 3 windows, but 12 tokens make 2")
def a_window_without_targets(ids, context_length):
    return (ids.unfold(0, context_length, context_length),
            ids[1:].unfold(0, context_length, context_length))


@wrong("windows", "a row for each window, view(n_windows, context_length)")
def as_many_windows_as_tokens(ids, context_length):
    n_windows = (len(ids) - 1) // context_length
    end = n_windows * context_length
    return (ids[:end].view(context_length, n_windows),
            ids[1 : end + 1].view(context_length, n_windows))


@wrong("windows", "has 4 inputs, but 3 targets")
def one_target_short(ids, context_length):
    n_windows = (len(ids) - 1) // context_length
    inputs = ids[: n_windows * context_length].view(n_windows, context_length)
    return inputs, inputs[:, 1:]


@wrong("windows", "Called twice with the same input")
def anywhere(ids, context_length):
    starts = torch.randint(len(ids) - context_length, ((len(ids) - 1) // context_length,))
    places = starts[:, None] + torch.arange(context_length)
    return ids[places], ids[places + 1]


@wrong("windows", "it must be a torch tensor")
def pairs_of_rows(ids, context_length):
    return [(ids[n : n + context_length], ids[n + 1 : n + 1 + context_length])
            for n in range(0, len(ids) - context_length, context_length)]


@wrong("count_pairs", "in both directions")
def neighbors_of_both_sides(ids):
    counts = Counter()
    for left, right_one in zip(ids, ids[1:]):
        counts[left, right_one] += 1
        counts[right_one, left] += 1
    return counts


@wrong("count_pairs", "the row keeps its order")
def sorted_before(ids):
    return Counter(zip(sorted(ids), sorted(ids)[1:]))


@wrong("windows", "Windows are missing")
def the_first_window_only(ids, context_length):
    return ids[:context_length][None], ids[1 : context_length + 1][None]


@wrong("count_pairs", "Every count is 2 times what it should be")
def counted_once_more(ids):
    counts = Counter(zip(ids, ids[1:]))
    counts.update(zip(ids, ids[1:]))
    return counts


@wrong("count_pairs", "Every count stays 0")
def never_adds(ids):
    counts = {}
    for pair in zip(ids, ids[1:]):
        counts.setdefault(pair, 0)
    return counts


@wrong("merge", "in another order")
def sorted_in_the_end(ids, pair, new_id):
    return sorted(merge(ids, pair, new_id))


@wrong("count_pairs", "You count pairs of places")
def places_for_tokens(ids):
    return Counter((i, i + 1) for i in range(len(ids) - 1))


@wrong("merge", "every second token is lost")
def always_two_places_on(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        merged.append(new_id if tuple(ids[place : place + 2]) == pair else ids[place])
        place += 2
    return merged


@wrong("merge", "Only the new tokens are left")
def nothing_else_appended(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        if tuple(ids[place : place + 2]) == pair:
            merged.append(new_id)
            place += 1
        place += 1
    return merged


@wrong("merge", "You look for the pair the other way around")
def right_token_first(ids, pair, new_id):
    merged = []
    for token in ids:
        if merged and (token, merged[-1]) == pair:
            merged[-1] = new_id
        else:
            merged.append(token)
    return merged


@wrong("merge", "for a return inside of it")
def returns_at_once(ids, pair, new_id):
    merged = []
    for token in ids:
        merged.append(token)
        if tuple(merged[-2:]) == pair:
            merged[-2:] = [new_id]
            return merged
    return merged


@wrong("merge", "The left token of a pair stays behind")
def left_token_appended_first(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        merged.append(ids[place])
        if tuple(ids[place : place + 2]) == pair:
            merged.append(new_id)
            place += 1
        place += 1
    return merged


@wrong("merge", "You look at the left token only")
def one_comparison(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        merged.append(new_id if ids[place] == pair[0] else ids[place])
        place += 2 if ids[place] == pair[0] else 1
    return merged


@wrong("merge", "You look at the right token only")
def the_other_comparison(ids, pair, new_id):
    merged = []
    for token in ids:
        if merged and token == pair[1]:
            merged[-1] = new_id
        else:
            merged.append(token)
    return merged


@wrong("merge", "remove takes the first token that is equal")
def removes_the_wrong_one(ids, pair, new_id):
    merged = list(ids)
    for place in range(len(ids)):
        if tuple(merged[place : place + 2]) == pair:
            merged[place] = new_id
            merged.remove(pair[1])
    return merged


@wrong("merge", "A byte is a number from 0 to 255")
def with_bytes(ids, pair, new_id):
    return list(bytes(ids).replace(bytes(pair), bytes([new_id])))


@wrong("encode", "Every merge makes the same id")
def only_256(word, merges):
    ids = list(word.encode("utf-8"))
    for pair in merges:
        place = 0
        while place < len(ids):
            if tuple(ids[place : place + 2]) == pair:
                ids[place : place + 2] = [256]
            place += 1
    return ids


@wrong("encode", "begin with the bytes of the word")
def sixteen_bits(word, merges):
    ids = list(word.encode("utf-16"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "That encoding lacks a character of the text")
def strictly_ascii(word, merges):
    ids = list(word.encode("ascii"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "The first merge of the list is never tried")
def from_the_second_merge_on(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        if n:
            ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "You go along the word once")
def pair_by_pair(word, merges):
    ids, merged, place = list(word.encode("utf-8")), [], 0
    new_ids = {pair: 256 + n for n, pair in enumerate(merges)}
    while place < len(ids):
        new_id = new_ids.get(tuple(ids[place : place + 2]))
        merged.append(ids[place] if new_id is None else new_id)
        place += 1 if new_id is None else 2
    return merged


@wrong("encode", "that is training")
def counts_and_merges(word, merges):
    ids = list(word.encode("utf-8"))
    for n in range(len(merges)):
        counts = Counter(zip(ids, ids[1:]))
        if counts:
            ids = merge(ids, max(counts, key=counts.get), 256 + n)
    return ids


@wrong("windows", "leave out what remains at the end")
def the_rest_stacked_too(ids, context_length):
    return torch.stack(ids[:-1].split(context_length)), torch.stack(ids[1:].split(context_length))


@wrong("count_pairs", "as update(pair) does")
def updates_with_each_pair(ids):
    counts = Counter()
    for pair in zip(ids, ids[1:]):
        counts.update(pair)
    return counts


@wrong("count_pairs", "your last pair holds one token")
def slices_to_the_end(ids):
    counts = defaultdict(int)
    for i in range(len(ids)):
        counts[tuple(ids[i : i + 2])] += 1
    return counts


@wrong("count_pairs", "and not of their places")
def enumerated(ids):
    return Counter(enumerate(ids))


@wrong("merge", "You replace (2, 1), too")
def one_of_the_pair_and_one_of_the_pair(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        found = len(ids[place : place + 2]) == 2 and set(ids[place : place + 2]) <= set(pair)
        merged.append(new_id if found else ids[place])
        place += 2 if found else 1
    return merged


@wrong("merge", "The pair stays behind the new token")
def inserted_before_the_pair(ids, pair, new_id):
    merged, place = list(ids), 0
    while place < len(merged) - 1:
        if (merged[place], merged[place + 1]) == pair:
            merged.insert(place, new_id)
            place += 2
        place += 1
    return merged


@wrong("encode", "the smallest number")
def the_highest_rank_of_all_pairs(word, merges):
    ids = list(word.encode("utf-8"))
    while pairs := set(zip(ids, ids[1:])) & set(merges):
        number = max(merges.index(pair) for pair in pairs)
        ids = merge(ids, merges[number], 256 + number)
    return ids


@wrong("windows", "multiply by T once more")
def steps_times_steps(ids, context_length):
    inputs, targets = [], []
    for i in range(0, len(ids) - context_length, context_length):
        begin, end = i * context_length, (i + 1) * context_length
        inputs.append(ids[begin:end])
        targets.append(ids[begin + 1 : end + 1])
    return torch.stack(inputs), torch.stack(targets)


@wrong("windows", "cut off what remains")
def view_of_all_but_the_last(ids, context_length):
    return ids[:-1].view(-1, context_length), ids[1:].view(-1, context_length)


@wrong("count_pairs", "never stand side by side")
def a_wider_view(ids):
    return Counter(zip(ids, ids[1:])) + Counter(zip(ids, ids[2:]))


@wrong("count_pairs", "never stand side by side")
def the_last_with_itself(ids):
    return Counter(zip(ids, [*ids[1:], ids[-1]]))


@wrong("count_pairs", "Every pair is counted only once")
def true_for_one(ids):
    return dict.fromkeys(zip(ids, ids[1:]), True)


@wrong("merge", "does your comparison ever hold?")
def a_slice_of_one(ids, pair, new_id):
    merged, place = [], 0
    while place < len(ids):
        found = tuple(ids[place : place + 1]) == pair
        merged.append(new_id if found else ids[place])
        place += 2 if found else 1
    return merged


@wrong("merge", "in which the pair is nowhere")
def a_new_one_at_the_end(ids, pair, new_id):
    return [token for token in ids if token not in pair] + [new_id]


@wrong("encode", "Your first two merges make the tokens 256 and 255")
def counted_down(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 - n)
    return ids


@wrong("encode", "50256 is no token: merge number n")
def end_of_text_added(word, merges):
    return [*BPETokenizer(merges).encode(word), 50256]


@wrong("count_pairs", "You pair each token with itself")
def not_moved_on(ids):
    return Counter(zip(ids[:-1], ids[:-1]))


@wrong("count_pairs", "You pair each token with the next number")
def one_more_than_the_token(ids):
    return Counter((token, token + 1) for token in ids)


@wrong("encode", "where enumerate is missing")
def pairs_without_numbers(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in merges:
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "a list of token ids, not a text")
def pieces_joined_to_a_text(word, merges):
    return " ".join(map(str, BPETokenizer(merges).encode(word)))


@wrong("merge", "in a `for` loop, i += 2 skips nothing")
def steps_on_in_a_for_loop(ids, pair, new_id):
    merged = []
    for i in range(len(ids)):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 2
        else:
            merged.append(ids[i])
    return merged


@wrong("merge", "go on by one after it, and by two after a pair")
def steps_changed_places(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids):
        if i + 1 < len(ids) and (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
            i += 1
        else:
            merged.append(ids[i])
            i += 2
    return merged


@wrong("encode", "the bytes of a text are text.encode")
def begins_with_the_word_itself(word, merges):
    ids = word
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("encode", "the bytes of a text are text.encode")
def begins_with_a_list_of_letters(word, merges):
    ids = list(word)
    for n, pair in enumerate(merges):
        ids = merge(ids, pair, 256 + n)
    return ids


@wrong("windows", "so they also end one later")
def targets_end_with_the_inputs(ids, context_length):
    n_windows = (len(ids) - 1) // context_length
    end = n_windows * context_length
    inputs = ids[:end].view(n_windows, context_length)
    return inputs, ids[1:end].view(n_windows, context_length)


@wrong("windows", "The remainder, which fills no window, is still there")
def all_but_the_last_in_rows(ids, context_length):
    n_windows = (len(ids) - 1) // context_length
    inputs = ids[:-1].view(n_windows, context_length)
    return inputs, ids[1:].view(n_windows, context_length)


@wrong("windows", "The remainder, which fills no window, is still there")
def only_the_inputs_are_cut_off(ids, context_length):
    n_windows = (len(ids) - 1) // context_length
    inputs = ids[: n_windows * context_length].view(n_windows, context_length)
    return inputs, ids[1:].view(n_windows, context_length)


@wrong("count_pairs", "the count of that very pair")
def asks_for_the_left_token_only(ids):
    counts = {}
    for left, right_one in zip(ids, ids[1:]):
        counts[left, right_one] = counts.get(left, 0) + 1
    return counts


@wrong("count_pairs", "Every count stays 0")
def looks_for_pairs_among_tokens(ids):
    return {pair: ids.count(pair) for pair in zip(ids, ids[1:])}


@wrong("merge", "even where it has become part of a pair")
def always_appends_the_last(ids, pair, new_id):
    merged, i = [], 0
    while i < len(ids) - 1:
        found = (ids[i], ids[i + 1]) == pair
        merged.append(new_id if found else ids[i])
        i += 2 if found else 1
    merged.append(ids[-1])
    return merged


@wrong("encode", "in the order ids, pair, new_id")
def pair_and_new_id_swapped(word, merges):
    ids = list(word.encode("utf-8"))
    for n, pair in enumerate(merges):
        ids = merge(ids, 256 + n, pair)
    return ids


@wrong("windows", "// comes before -")
def length_without_brackets(ids, context_length):
    n_windows = len(ids) - 1 // context_length
    end = n_windows * context_length
    return (ids[:end].view(n_windows, context_length),
            ids[1 : end + 1].view(n_windows, context_length))


@wrong("windows", "so they also end one later")
def slices_of_targets_end_early(ids, context_length):
    T, n_windows = context_length, (len(ids) - 1) // context_length
    return (torch.stack([ids[n * T : (n + 1) * T] for n in range(n_windows)]),
            torch.stack([ids[n * T + 1 : (n + 1) * T] for n in range(n_windows)]))


@wrong("windows", "torch.stack joins tensors")
def a_tensor_of_tensors(ids, context_length):
    T, n_windows = context_length, (len(ids) - 1) // context_length
    return (torch.tensor([ids[n * T : (n + 1) * T] for n in range(n_windows)]),
            torch.tensor([ids[n * T + 1 : (n + 1) * T + 1] for n in range(n_windows)]))


@wrong("merge", "Two things: the right token of a pair stays behind")
def a_for_loop_over_all_pairs(ids, pair, new_id):
    merged = []
    for i in range(len(ids) - 1):
        if (ids[i], ids[i + 1]) == pair:
            merged.append(new_id)
        else:
            merged.append(ids[i])
    return merged
