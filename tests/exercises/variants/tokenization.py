"""Answers to the exercises of chapter 1, as learners write them."""
# ruff: noqa: B905, RUF007 -- zip(ids, ids[1:]) is what the chapter teaches

from collections import Counter, defaultdict
from itertools import chain

from collecting import ENDLESS, right, wrong_edits

from gptcourse.gpt import END_OF_TEXT, WORD, Tokenizer, count_pairs, merge

# --------------------------------------------------------------------------------- count_pairs


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


PAIRS, COUNTED, LOOP = "pairwise(ids)", "Counter(pairwise(ids))", """    counts = {start}
    for i in range({stop}):
        {body}
    return counts
"""


def looped(body, start="Counter()", stop="len(ids) - 1"):
    return "", LOOP.format(start=start, stop=stop, body=body)


wrong_edits(
    "count_pairs",
    (PAIRS, 'f"{a},{b}" for a, b in zip(ids, ids[1:])', "each must be a pair"),
    (COUNTED, "list(zip(ids, ids[1:]))", "you return a list"),
    (*looped("counts[ids[i], ids[i + 1]] += 1", stop="len(ids) - 2"),
     "does the loop end too early"),
    (*looped("counts[ids.pop(0), ids[0]] += 1"), "it changes its input ids"),
    (COUNTED, "{pair: n / len(ids) for pair, n in Counter(pairwise(ids)).items()}",
     "must be a whole number"),
    ("", '    counts = vars(count_pairs).setdefault("counts", Counter())\n'
         "    counts.update(pairwise(ids))\n    return counts", "Called twice with the same input"),
    (*looped("counts[ids[i], ids[i + 1]] = counts.get((ids[i], ids[i + 1]), 1) + 1", "{}"),
     "Every count is too high: begin at 0"),
    ("", '    text = " ".join(map(str, ids))\n'
         '    return {(a, b): text.count(f"{a} {b}") for a, b in pairwise(ids)}',
     "Only pairs of two equal tokens"),
    (PAIRS, "zip(ids, [*ids[1:], 0])", "nothing follows the last one"),
    (*looped("counts[ids[i], ids[i + 1]] += 1\n        counts[ids[i + 1], ids[i]] += 1"),
     "Pairs are counted that never stand side by side"),
    (*looped("counts.setdefault((ids[i], ids[i + 1]), 0)", "{}"), "Every count stays 0"),
    (PAIRS, "(i, i + 1) for i in range(len(ids) - 1)", "and not of their places"),
    (COUNTED, "Counter(pairwise(ids)) + Counter(zip(ids, ids[2:]))", "never stand side by side"),
    (COUNTED, "dict.fromkeys(pairwise(ids), 1)", "Every pair is counted only once"),
    (PAIRS, "zip(ids[:-1], ids[:-1])", "You pair each token with itself"),
    (*looped("counts[ids[i], ids[i + 1]] += 1\n        return counts"), "with a `return` inside"),
)

# --------------------------------------------------------------------------------------- merge


@right("merge")
def the_last_two_of_the_new_row(ids, pair, new_id):
    merged = []
    for token in ids:
        if merged and (merged[-1], token) == pair:
            merged[-1] = new_id
        else:
            merged.append(token)
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
def a_tuple_is_a_row_too(ids, pair, new_id):
    return tuple(merge(ids, pair, new_id))


FOUND, END = "tuple(ids[i : i + 2]) == pair", "    return merged"
STEP, NEXT = "            i += 2\n", "            i += 1\n"
APPENDED = "            merged.append(new_id)\n"
FOR_EACH = """    merged = []
    for token in ids:
        if merged and {found}:
            merged[-1] = new_id
        else:
            merged.append(token)
    return merged
"""

wrong_edits(
    "merge",
    ("merged, i = [], 0", "merged, i = ids, 0\n    ids = list(ids)\n    merged.clear()",
     "it changes its input ids"),
    (STEP, NEXT, "right token of a pair stays behind"),
    ("i < len(ids)", "i + 1 < len(ids)", "The last one is missing"),
    ("", "    yield from [*ids]", "a generator"),
    (END, "    return torch.tensor(merged)", ".tolist() makes one of it"),
    (APPENDED, "            merged.append(pair)\n", "must hold a token id"),
    (NEXT, "", ENDLESS),
    (END, "    return merged[: len(ids) - 1]", "The last one is missing"),
    ("", FOR_EACH.format(found="(merged[-1], token) in (pair, (new_id, pair[1]))"), "you return"),
    (APPENDED, "            merged.append(256)\n", "256 is neither in ids nor the new token, 9"),
    (FOUND, "ids[i] == pair[0] and i + 1 < len(ids)", "You look at the left token only"),
    (FOUND, "(ids[i], ids[min(i + 1, len(ids) - 1)]) == pair", "A single token is taken"),
    ("", FOR_EACH.format(found="token == pair[1]"), "You look at the right token only"),
    (APPENDED, "            merged += [ids[i], new_id]\n", "The left token of a pair stays behind"),
    (END, "    return sorted(merged)", "in another order"),
    (NEXT, STEP, "every second token is lost"),
    ("", FOR_EACH.format(found="(token, merged[-1]) == pair"),
     "pair[0] stands on the left, and pair[1] on the right"),
    (STEP, "            return merged\n", "for a return inside of it"),
    (FOUND, "len(ids[i : i + 2]) == 2 and {*ids[i : i + 2]} <= {*pair}", "You replace (2, 1), too"),
    (APPENDED, "            merged += [new_id, *pair]\n", "The pair stays behind the new token"),
    (END, "    return [token for token in ids if token not in pair] + [new_id]",
     "in which the pair is nowhere"),
    ("", "    return [new_id if token in pair else token for token in ids]",
     "You look at the left token only"),
)

# -------------------------------------------------------------------------------- learn_merges


@right("learn_merges")
def a_list_of_words_and_a_sorted_table(words, n_merges):
    rows, merges = [(list(word), times) for word, times in words.items()], []
    for new_id in range(256, 256 + n_merges):
        counts = defaultdict(int)
        for ids, times in rows:
            for pair in zip(ids, ids[1:]):
                counts[pair] += times
        if len(counts) == 0:
            return merges
        most = max(counts.values())
        best = sorted(pair for pair in counts if counts[pair] == most)[0]
        rows = [(merge(ids, best, new_id), times) for ids, times in rows]
        merges += [best]
    return merges


@right("learn_merges")
def the_whole_text_word_by_word(words, n_merges):
    text = [list(word) for word, times in words.items() for _ in range(times)]
    merges = []
    while len(merges) < n_merges and any(len(ids) > 1 for ids in text):
        counts = sum(map(count_pairs, text), Counter())
        _, left, right = min((-count, *pair) for pair, count in counts.items())
        text = [merge(ids, (left, right), 256 + len(merges)) for ids in text]
        merges.append([left, right])
    return tuple(merges)


JOINED_WORDS = """    ids, merges = list({text}), []
    while len(merges) < n_merges and len(ids) > 1:
        counts = count_pairs(ids)
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        ids = merge(ids, best, 256 + len(merges))
        merges.append(best)
    return merges
"""
BEST = "min(counts, key=lambda pair: (-counts[pair], pair))"

wrong_edits(
    "learn_merges",
    ("times * count", "times + count", "whose count in the whole text is"),
    (BEST, "counts.most_common(1)[0][0]", "the one with the smaller ids"),
    (BEST, "max(counts, key=lambda pair: (counts[pair], pair))", "the one with the smaller ids"),
    (BEST, "counts.most_common(1)[0]", "must hold a pair of token ids"),
    ("        spellings = {word: merge(ids, best, 256 + len(merges)) for word, ids in "
     "spellings.items()}\n        merges.append(best)",
     "        merges.append(best)\n        spellings = {word: merge(ids, best, 256 + len(merges)) "
     "for word, ids in spellings.items()}", "number n makes 256 + n"),
    ("        spellings = {word: merge(ids, best, 256 + len(merges)) for word, ids in "
     "spellings.items()}\n", "", "which was merged before"),
    ("len(merges) < n_merges", "len(merges) <= n_merges", "merges are asked for"),
    ("len(merges) < n_merges", "len(merges) < n_merges - 1", "You stop too early"),
    ("        merges.append(best)\n    return", "        merges.append(best)\n        return",
     "ends without `return`"),
    ("    return merges", "    return spellings", "must return a list of pairs"),
    ("    return merges", "    merges", "forget `return`"),
    ("256 + len(merges)", "1000 + len(merges)", "tokens 0 to 256 are all that there are"),
    ("list(word) for word", 'list(word.decode()) for word', "place 0 of your list holds"),
    ("merges.append(best)", "merges.append(best)\n        words.popitem()",
     "it changes its input words"),
    ("", JOINED_WORDS.format(text='b"".join(word * times for word, times in words.items())'),
     "No merge crosses from one word to the next"),
)

# ----------------------------------------------------------------------------------- Tokenizer


class Given:
    """What the stub has."""

    __init__, encode = Tokenizer.__init__, Tokenizer.encode


@right("Tokenizer")
class MergesInTheirOrder(Given):
    def encode_word(self, word):
        ids = [self.id_of_byte[byte] for byte in bytes(word, "utf-8")]
        for pair, new_id in self.id_of_pair.items():
            ids = merge(ids, pair, new_id)
        return ids

    def decode(self, ids):
        row = b""
        for token in ids:
            row += self.vocabulary[token]
        return str(row, "utf-8", "replace")


@right("Tokenizer")
class StartingOver:
    def __init__(self, merges, byte_order=range(256)):
        self.merges, self.byte_order = [*map(tuple, merges)], [*byte_order]
        self.vocabulary = [bytes([byte]) for byte in byte_order]
        for left, right_one in merges:
            self.vocabulary += [self.vocabulary[left] + self.vocabulary[right_one]]
        self.vocabulary += [END_OF_TEXT.encode()]
        self.end_token = 256 + len(merges)

    def encode_word(self, word):
        ids = tuple(map(self.byte_order.index, word.encode("utf-8")))
        changed = True
        while changed:
            changed = False
            for n, pair in enumerate(self.merges):
                if pair in zip(ids, ids[1:]):
                    ids, changed = merge(ids, pair, 256 + n), True
                    break
        return ids

    def encode(self, text):
        return list(chain.from_iterable(map(self.encode_word, WORD.findall(text))))

    def decode(self, ids):
        return b"".join(map(self.vocabulary.__getitem__, ids)).decode("utf-8", "replace")


BYTES = "[self.id_of_byte[byte] for byte in word.encode()]"
CHOICE = "min(pairwise(ids), key=lambda pair: self.id_of_pair.get(pair, math.inf))"
LOOPED = f"""        while len(ids) > 1:
            pair = {CHOICE}
            if pair not in self.id_of_pair:
                break
            ids = merge(ids, pair, self.id_of_pair[pair])
        return ids
"""
IN_ORDER = """        for n, pair in enumerate({pairs}):
            {more}ids = merge(ids, pair, {new})
        return ids
"""
JOINED = 'b"".join(self.vocabulary[token] for token in ids)'
DECODED = f'{JOINED}.decode(errors="replace")'


def in_order(new="256 + n", pairs="self.id_of_pair", more=""):
    return LOOPED, IN_ORDER.format(new=new, pairs=pairs, more=more)


wrong_edits(
    "Tokenizer",
    (CHOICE, "next((pair for pair in self.id_of_pair if pair in pairwise(ids)), 0)[::-1]",
     "go on until none"),
    (CHOICE, "next((p for p in zip(ids, ids[1:]) if p in self.id_of_pair), (0, 0))",
     "the one that was learned first goes first"),
    (*in_order("257 + n"), "your ids spell 'thee', not 'the'"),
    (*in_order("1000 - n"), "1000 is no token"),
    (*in_order("self.id_of_pair[pair]", "reversed(self.id_of_pair)"), "still stand side by side"),
    ("            ids = merge(ids, pair, self.id_of_pair[pair])",
     "            merge(ids, pair, self.id_of_pair[pair])", ENDLESS),
    (LOOPED, "        return word.encode()", "must return a list of token ids"),
    ("word.encode()]", "word.strip().encode()]", "not ' thermometer': begin with the bytes"),
    (BYTES, "word", "a list of token ids, not a text"),
    (BYTES, "list(word)", "the bytes of a text are text.encode"),
    (BYTES, "list(word.encode())", "each as its id, self.id_of_byte[byte]"),
    ("        return ids\n\n    def encode(", "        ids\n\n    def encode(", "forget `return`"),
    (DECODED, JOINED, "you return bytes, but must return a string: .decode(...)"),
    (DECODED, f'{JOINED}.decode(errors="backslashreplace")', "you return"),
    (DECODED, '"".join(self.vocabulary[token].decode(errors="replace") for token in ids)',
     "Some characters are spread over several tokens"),
    (DECODED, f'{JOINED}.decode("ascii", errors="replace")', "decode them once, as UTF-8"),
    (DECODED, f"str({JOINED})", "writes bytes down as Python does"),
    (DECODED, DECODED.replace("in ids", "in sorted(ids)"), "in another order"),
    (DECODED, f"{DECODED}.strip()", "white space counts"),
    (DECODED, "[self.vocabulary[token] for token in ids]", "you return a list"),
    ("self.end_token = len(self.vocabulary) - 1", "self.end_token = len(self.vocabulary)",
     "leave __init__ as it is given"),
)

