import pytest
import torch
from samples import TEXT, tokenizer

from gptcourse.views import WindowExplorer
from gptcourse.views.windows import MOST_TOKENS
from gptlib.data import windows

SENTENCE = "The cat sat on the mat. The dog sat."


def explorer(text: str = SENTENCE, context_length: int = 4) -> WindowExplorer:
    return WindowExplorer(tokenizer(), text, context_length)


@pytest.mark.parametrize(("context_length", "stride"), [(1, 1), (4, 4), (4, 1), (3, 5)])
def test_the_windows_are_those_of_the_library(context_length, stride):
    view = explorer()
    view.context_length.value, view.stride.value = context_length, stride
    ids = torch.tensor(tokenizer().encode(SENTENCE))
    inputs, targets = windows(ids, context_length, stride)
    assert torch.equal(ids[view.shown["inputs"]], inputs)
    assert torch.equal(ids[view.shown["targets"]], targets)
    assert view.shown["summary"].startswith(f"{len(ids)} tokens, a window of {context_length} "
                                            f"every {stride}: {len(inputs)} window")


def test_with_a_stride_of_the_context_nothing_is_asked_twice_and_only_the_ends_never():
    first, *others = explorer().shown["asked"].tolist()
    assert first == 0 and set(others) <= {0, 1}
    assert others == sorted(others, reverse=True)


def test_a_smaller_stride_asks_again_and_a_larger_one_leaves_gaps():
    view = explorer()
    view.stride.set_state({"value": 1})
    assert view.shown["asked"].max() == 4
    view.stride.set_state({"value": 6})
    assert view.shown["asked"].tolist()[:7] == [0, 1, 1, 1, 1, 0, 0]


def test_the_chosen_window_is_shown_token_by_token():
    view = explorer()
    view.window.set_state({"value": 2})
    tokens = [token.replace(" ", "·") for token in view.shown["labels"]]
    assert f"Window 2 reads {' | '.join(tokens[4:8])} and is asked for " in view.picture.alt
    assert view.picture.alt.endswith(f"{' | '.join(tokens[5:9])}.")
    assert view._strip.value == view.picture.data


def test_the_slider_for_the_window_ends_at_the_last_one():
    view = explorer()
    view.stride.value = 1
    view.window.value = view.window.max
    view.stride.value = 4
    assert view.window.value == view.window.max == len(view.shown["inputs"])
    assert view.shown["window"] == view.window.value - 1


def test_the_sentence_counts_what_is_never_asked_for():
    view = explorer("cat sat on the mat")
    view.context_length.value, view.stride.value = 1, 1
    assert " 1 token is never asked for, 0 more than once." in view.shown["summary"]
    view.stride.value = 2
    assert " tokens are never asked for" in view.shown["summary"]


def test_a_single_window_leaves_nothing_to_choose():
    view = explorer("cat sat on the mat")
    view.context_length.value = len(view.shown["labels"]) - 1
    assert len(view.shown["inputs"]) == 1 and view.window.disabled and view.last_error is None


def test_a_long_text_is_cut_with_a_sentence():
    view = explorer(TEXT)
    assert len(view.shown["labels"]) == MOST_TOKENS
    assert f"only the first {MOST_TOKENS} are cut." in view.shown["summary"]


@pytest.mark.parametrize("text", ["", "a"])
def test_a_text_that_is_too_short_is_explained_and_the_view_goes_on(text):
    view = explorer()
    view.text.value = text
    assert f"needs 5 tokens, but the text has {len(text)}" in repr(view)
    view.text.value = SENTENCE
    assert view.last_error is None


@pytest.mark.parametrize("text", ["🐭🐭🐭", "שלום עולם", "<b>&amp;</b> <i>"])
def test_any_text_can_be_cut(text):
    view = explorer(text)
    assert view.last_error is None and "<b>" not in view.picture.data


def test_a_context_for_which_there_is_no_room_is_refused():
    with pytest.raises(ValueError, match="context_length is 13, but this view has room for 1 to"):
        explorer(context_length=13)
