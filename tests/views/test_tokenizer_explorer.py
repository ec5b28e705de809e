import pytest
from samples import tokenizer

from gptcourse.views import TokenizerExplorer
from gptlib.tokenizer import BPETokenizer, gpt2_tokenizer

SENTENCE = "The cat sat on the mat."


def test_with_all_merges_the_view_shows_what_the_tokenizer_encodes():
    view = TokenizerExplorer(tokenizer(), SENTENCE)
    assert view.shown["ids"] == tokenizer().encode(SENTENCE)
    assert view.shown["tokens"] == tokenizer().tokens(view.shown["ids"])
    assert b"".join(view.shown["bytes"]) == SENTENCE.encode()


def test_without_merges_every_byte_is_a_token():
    view = TokenizerExplorer(tokenizer(), "über")
    view.merges.value = 0
    assert view.shown["ids"] == list("über".encode())
    assert "Every byte is a token" in view.shown["summary"]


def test_with_the_first_merges_the_text_is_cut_as_by_a_tokenizer_that_learned_no_more():
    view = TokenizerExplorer(tokenizer(), SENTENCE)
    lengths = []
    for n in range(len(tokenizer().merges) + 1):
        view.merges.set_state({"value": n})
        young = BPETokenizer(tokenizer().merges[:n])
        assert view.shown["ids"] == young.encode(SENTENCE)
        lengths.append(len(view.shown["ids"]))
    assert lengths == sorted(lengths, reverse=True) and lengths[0] > lengths[-1]


def test_the_byte_order_of_gpt2_is_kept():
    gpt2 = BPETokenizer.from_gpt2()
    view = TokenizerExplorer(gpt2, "The cat sat")
    assert view.shown["ids"] == [464, 3797, 3332]
    view.merges.value = 0
    assert gpt2.decode(view.shown["ids"]) == "The cat sat"


def test_the_merge_under_the_slider_is_told_in_words():
    view = TokenizerExplorer(tokenizer(), SENTENCE)
    view.merges.value = 1
    left, right = tokenizer().tokens(tokenizer().merges[0])
    assert f"joined ‘{left.replace(' ', '·')}’ and ‘{right}’" in view.shown["summary"]


def test_markup_in_the_text_is_shown_and_not_obeyed():
    view = TokenizerExplorer(tokenizer(), "<b>&")
    view.merges.value = 0
    page = view.children[3].value
    assert "&lt;" in page and "&amp;" in page and "<b>" not in page


def test_a_tokenizer_whose_merges_nobody_can_see_is_refused():
    with pytest.raises(TypeError, match="tokenizer is a Encoding, but its merges"):
        TokenizerExplorer(gpt2_tokenizer()._tiktoken, SENTENCE)


def test_the_merges_of_gpt2_tokenizer_are_shown():
    view = TokenizerExplorer(gpt2_tokenizer(), "The cat sat")
    assert view.shown["ids"] == [464, 3797, 3332]
    view.merges.value = 0
    assert len(view.shown["ids"]) == 11


def test_an_empty_text_is_no_error():
    view = TokenizerExplorer(tokenizer(), SENTENCE)
    view.text.value = ""
    assert view.last_error is None and view.shown["ids"] == []


def test_a_lone_surrogate_becomes_the_replacement_character():
    view = TokenizerExplorer(tokenizer(), SENTENCE)
    view.text.value = "\ud800"
    assert view.last_error is None and len(view.shown["ids"]) == 3


def test_a_token_of_a_million_letters_is_cut_on_screen():
    whole = BPETokenizer([(97, 97), *((n, n) for n in range(256, 275))])
    view = TokenizerExplorer(whole, "a" * 2**20)
    assert view.shown["ids"] == [275] and len(view.children[3].value) < 10_000


def test_a_long_text_is_cut_on_screen_with_a_sentence_and_stays_small():
    view = TokenizerExplorer(tokenizer(), SENTENCE * 400)
    assert "Only the first 400 are shown." in view.shown["summary"]
    assert len(view.children[3].value) < 1_000_000
    assert len(view.shown["ids"]) > 400
