"""Our tokenizer against tiktoken, and the quick trainer against the plainest one there can be."""

import functools
import hashlib
import random
import sys
import unicodedata
from collections import Counter, defaultdict

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gptlib.tokenizer import (
    END_OF_TEXT,
    BPETokenizer,
    _gpt2_files,
    count_pairs,
    gpt2_tokenizer,
    learn_merges,
    merge,
    pre_split,
)

# The same strings in every run, as many as are asked for, and no failure on a slow machine.
steady = settings(derandomize=True, deadline=None, database=None)

ENGLISH = ["the", " the", "The", " don", "'t", "'ll", "'LL", " 2019", "007", "...", " ==", "\n\n"]
EMOJI = ["😀", "👩‍👩‍👧", "🇫🇷", "👍🏽", "❤️", "\u200d", "\ufe0f"]
SPECIAL = [END_OF_TEXT, "<|endoftext", "|>", "<|endoftext|><|endoftext|>"]
SPACES = " \t\n\r\v\f\x85\u00a0\u2003\u2028\u3000"


@functools.cache
def by_category() -> list[list[str]]:
    """All of Unicode but surrogates, and but the places that are still empty: regex may know a
    newer edition than tiktoken, and find a letter where tiktoken finds none."""
    found = defaultdict(list)
    for character in map(chr, range(sys.maxunicode + 1)):
        found[unicodedata.category(character)].append(character)
    return [found[name] for name in sorted({*found} - {"Cs", "Cn"})]


def strings(n: int) -> list[str]:
    """Texts of all kinds, the same ones in every run. hypothesis would draw for twenty seconds."""
    chance = random.Random(0)
    pieces = (
        lambda: [chance.choice(chance.choice(by_category())) for _ in range(chance.randrange(9))],
        lambda: chance.choices(SPACES, k=chance.randint(1, 6)),
        lambda: chance.choices([chr(code) for code in (*range(32), *range(127, 160))], k=3),
        lambda: chance.choices("abcdefgßéж中1٣½'’ ", k=chance.randint(1, 12)),
        lambda: chance.choice([*ENGLISH, *EMOJI, *SPECIAL]),
    )
    return ["".join(sign for _ in range(chance.randrange(7)) for sign in chance.choice(pieces)())
            for _ in range(n)]


ADDRESS = "https://openaipublic.blob.core.windows.net/gpt-2/encodings/main/"


@pytest.fixture(scope="module")
def tiktoken(tmp_path_factory):
    """tiktoken's own GPT-2, which finds OpenAI's files in its cache instead of on the network."""
    import tiktoken

    folder = tmp_path_factory.mktemp("cache")
    for name, content in _gpt2_files().items():
        (folder / hashlib.sha1((ADDRESS + name).encode()).hexdigest()).write_bytes(content)
    with pytest.MonkeyPatch.context() as patched:
        patched.setenv("TIKTOKEN_CACHE_DIR", str(folder))
        return tiktoken.get_encoding("gpt2")


@pytest.fixture(scope="module")
def ours():
    return BPETokenizer.from_gpt2()


@pytest.fixture(scope="module")
def quick():
    return gpt2_tokenizer()


@pytest.fixture(scope="module")
def own():
    return BPETokenizer.train("the cat sat on the mat; été, 中中文, 😀😀 007 007\n\n" * 3, 280)


def test_10_000_strings_get_the_ids_that_tiktoken_gives_them_and_come_back_exactly(
    ours, quick, tiktoken
):
    seen = {*strings(12_500)}
    for text in seen:
        ids = ours.encode(text)
        assert ids == quick.encode(text) == tiktoken.encode(text, disallowed_special=())
        assert ours.decode(ids) == text
        with_special = ours.encode(text, allowed_special="all")
        assert with_special == quick.encode(text, allowed_special="all")
        assert with_special == tiktoken.encode(text, allowed_special="all")
        assert ours.decode(with_special) == text
    assert len(seen) >= 10_000, f"only {len(seen)} different strings"
    assert sum(END_OF_TEXT in text for text in seen) > 300


def test_every_character_that_python_knows_gets_tiktokens_ids(ours, quick, tiktoken):
    known = [
        character
        for character in map(chr, range(sys.maxunicode + 1))
        if unicodedata.category(character) not in ("Cn", "Co", "Cs")
    ]
    assert len(known) > 140_000
    for separator in (" ", "-", "\n "):
        text = separator.join(known)
        assert ours.encode(text) == quick.encode(text) == tiktoken.encode(text)


def test_a_text_of_many_words_gets_tiktokens_ids(ours, tiktoken):
    from gptlib.corpus import load_text

    text = load_text("pydoc")
    ids = ours.encode(text)
    assert ids == tiktoken.encode(text) and ours.decode(ids) == text


@pytest.mark.parametrize("length", [31, 32, 33, 100, 3_000])
def test_words_without_an_end_get_tiktokens_ids(ours, quick, tiktoken, length):
    draw = random.Random(length)
    for letters in ("aeinorst", "ACGT", "a", " ", "=-", "01234567", "的一是不了", "กาเรน", "😀é"):
        text = "".join(draw.choices(letters, k=length))
        ids = ours.encode(text)
        assert ids == quick.encode(text) == tiktoken.encode(text) and ours.decode(ids) == text


@settings(steady, max_examples=300)
@given(ids=st.lists(st.integers(0, 50256), max_size=20))
def test_any_row_of_ids_is_decoded_as_by_tiktoken(ours, tiktoken, ids):
    assert ours.decode(ids) == tiktoken.decode(ids)
    assert ours.decode_bytes(ids) == tiktoken.decode_bytes(ids)


def test_each_of_the_50_257_tokens_has_tiktokens_bytes(ours, tiktoken):
    assert [ours.decode_bytes([n]) for n in range(50257)] == [
        tiktoken.decode_single_token_bytes(n) for n in range(50257)
    ]


def test_a_tokenizer_of_our_own_brings_any_string_back(own):
    for text in strings(1000):
        assert own.decode(own.encode(text)) == text
        assert own.decode(own.encode(text, allowed_special="all")) == text


@settings(steady, max_examples=300)
@given(
    merges=st.lists(st.tuples(*[st.integers(0, 10**6)] * 2), max_size=60),
    text=st.text("abc", max_size=120),
)
def test_a_long_word_is_encoded_by_the_merges_in_their_order_whatever_they_are(merges, text):
    possible = {}
    for left, right in merges:                       # among a, b, c and what was made of them
        ids = [97, 98, 99, *range(256, 256 + len(possible))]
        possible[ids[left % len(ids)], ids[right % len(ids)]] = None
    expected = list(text.encode())
    for new_id, pair in enumerate(possible, start=256):
        expected = merge(expected, pair, new_id)
    assert BPETokenizer(possible).encode(text) == expected


def learn_merges_by_recounting(words, n_merges):
    """Byte-pair encoding as its definition says: before every merge, count all pairs anew."""
    spellings = {word: list(word) for word in words}
    merges = []
    while len(merges) < n_merges:
        counts = Counter()
        for word, ids in spellings.items():
            for pair, count in count_pairs(ids).items():
                counts[pair] += count * words[word]
        if not counts:
            break
        best = min(counts, key=lambda pair: (-counts[pair], pair))
        spellings = {
            word: merge(ids, best, 256 + len(merges)) for word, ids in spellings.items()
        }
        merges.append(best)
    return merges


@settings(steady, max_examples=300)
@given(
    words=st.dictionaries(
        st.text("abc", min_size=1, max_size=12).map(str.encode), st.integers(1, 4), max_size=8
    ),
    n_merges=st.integers(0, 40),
)
def test_the_quick_trainer_learns_what_recounting_everything_learns(words, n_merges):
    assert learn_merges(words, n_merges) == learn_merges_by_recounting(words, n_merges)


def test_the_quick_trainer_agrees_on_any_text():
    for text in strings(300):
        words = Counter(word.encode() for word in pre_split(text))
        assert learn_merges(words, 50) == learn_merges_by_recounting(words, 50)


def test_pre_splitting_loses_nothing():
    for text in strings(1000):
        assert "".join(pre_split(text)) == text
