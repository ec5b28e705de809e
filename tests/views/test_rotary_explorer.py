import numpy as np
import pytest
import torch
from in_node import in_node
from samples import query_and_key

from gptcourse.views import RotaryExplorer
from gptcourse.views.rotary import PLACES
from gptlib.attention import rotate


def view(**settings) -> RotaryExplorer:
    view = RotaryExplorer(*query_and_key())
    view.state = settings
    return view


def test_the_parts_of_all_pairs_add_up_to_the_product_of_the_rotated_vectors():
    query, key = query_and_key()
    for query_at, key_at in ((0, 0), (5, 3), (127, 0), (90, 89)):
        shown = RotaryExplorer.compute(query, key, query_at, key_at, 100.0)
        turned, other = (rotate(x[None], torch.tensor([at]), 100.0)[0]
                         for x, at in ((query, query_at), (key, key_at)))
        assert shown["parts"].sum() == pytest.approx((turned @ other).item(), abs=1e-5)
        assert shown["curves"][query_at - key_at] == pytest.approx(shown["parts"], abs=1e-4)


def test_a_pair_is_number_i_and_number_i_plus_half_and_its_arrows_keep_their_lengths():
    query, key = query_and_key(8)
    shown = RotaryExplorer.compute(query, key, 40, 7, 10_000.0)
    for name, x in (("query", query), ("key", key)):
        lengths = [torch.hypot(x[n], x[n + 4]).item() for n in range(4)]
        assert np.linalg.norm(shown[name], axis=-1) == pytest.approx(lengths, rel=1e-5)


def test_the_score_stays_when_both_move_and_only_then():
    explorer = view(query_at=5, key_at=3)
    before = explorer.shown
    explorer.state = {"query_at": 105, "key_at": 103}
    assert explorer.shown["score"] == pytest.approx(before["score"], abs=1e-4)
    assert not np.allclose(explorer.shown["query"], before["query"], atol=0.1)      # they turned
    explorer.key_at = 102
    assert abs(explorer.shown["score"] - before["score"]) > 0.1


def test_the_page_turns_as_the_library_does(tmp_path):
    explorer = view()
    cases = [{"query_at": 0, "key_at": 0}, {"query_at": 127, "key_at": 31}]
    answers = in_node("rotary.mjs", explorer._esm, tmp_path, packed=explorer.data, cases=cases)
    for case, answer in zip(cases, answers, strict=True):
        expected = RotaryExplorer.compute(*query_and_key(), **case, base=10_000.0)
        for name, numbers in expected.items():
            np.testing.assert_allclose(answer[name], numbers, atol=1e-4, err_msg=name)
    assert np.shape(answers[0]["curves"]) == (PLACES, 8)


def test_the_sentence_tells_the_score_and_the_chosen_pair():
    explorer = view(query_at=9, key_at=8, pair=3)
    score, part = explorer.shown["score"], explorer.shown["parts"][3]
    assert "Query at 9, key at 8, distance 1: the 8 pairs" in repr(explorer)
    assert f"a score of {score:.2f}. Pair 3".replace("-", "−") in repr(explorer)
    assert f"turns once in 199 tokens, adds {part:.2f}.".replace("-", "−") in repr(explorer)


def test_no_token_looks_ahead_and_no_circle_is_beyond_the_last():
    explorer = view()
    explorer.key_at = 90
    assert "key_at is 90, but must be from 0 to 5" in explorer.error
    explorer.query_at = 100
    assert explorer.error == "" and explorer.shown["distance"] == 10
    explorer.pair = 8
    assert "pair is 8" in explorer.error
    with pytest.raises(ValueError, match="query_at cannot be 128"):
        explorer.state = {"query_at": 128}


@pytest.mark.parametrize(("query", "key", "said"), [
    ([1.0, 2.0], torch.ones(2), r"query is \[1.0, 2.0\], but must be a row"),
    (torch.ones(3), torch.ones(3), r"query is a tensor of shape \(3,\), but must be a row of an e"),
    (torch.ones(4), torch.ones(1, 4), r"key is a tensor of shape \(1, 4\), but must be a row"),
    (torch.ones(4), torch.ones(2), "query has 4 numbers and key 2, but both must have equally"),
    (torch.ones(2), torch.tensor([1.0, torch.nan]), "key has numbers that are not finite"),
])
def test_what_is_no_query_and_key_of_a_head_is_refused(query, key, said):
    with pytest.raises(ValueError, match=said):
        RotaryExplorer(query, key)


def test_a_base_that_turns_nothing_is_refused():
    with pytest.raises(ValueError, match="base is 0, but must be a number above 0"):
        RotaryExplorer(*query_and_key(), base=0)


def test_a_head_of_64_numbers_and_one_of_two_are_shown():
    for width, base in ((64, 100_000.0), (2, 10_000.0)):
        explorer = RotaryExplorer(*query_and_key(width), base)
        assert explorer.last_error is None and explorer.picture.data
        assert f"the {width // 2} pairs" in repr(explorer)
