import math

import pytest
import torch
from samples import SMALL, model, tokenizer

from gptlib.generation import next_token
from gptlib.views import SamplingBench


def bench(prompt: str = "The cat") -> SamplingBench:
    return SamplingBench(model(), tokenizer(), prompt)


def logits_of(prompt: str) -> torch.Tensor:
    with torch.inference_mode():
        return model()(torch.tensor([tokenizer().encode(prompt)]))[0, -1]


def test_untouched_the_bench_shows_the_models_own_probabilities():
    view = bench()
    expected = logits_of("The cat").softmax(-1)
    torch.testing.assert_close(view.shown["before"], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(view.shown["after"], expected, atol=1e-6, rtol=0)
    assert view.shown["kept"] == SMALL.vocab_size
    assert view.shown["best"][0] == expected.argmax()


def test_the_shown_probabilities_are_those_from_which_next_token_draws():
    view = bench()
    view.temperature.value, view.top_k.value = 2.0, 9
    view.top_p.value, view.min_p.value = 0.8, 0.1
    assert 1 < view.shown["kept"] < 9
    for seed in range(20):
        ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
        drawn = torch.multinomial(view.shown["after"], 1, generator=ours)
        expected = next_token(logits_of("The cat")[None], 2.0, 9, 0.8, 0.1, generator=theirs)
        assert drawn == expected


@pytest.mark.parametrize(("control", "value", "kept"), [("top_k", 3, 3), ("top_p", 0.01, 1)])
def test_filters_leave_so_many_tokens(control, value, kept):
    view = bench()
    getattr(view, control).set_state({"value": value})
    assert view.shown["kept"] == kept
    assert view.shown["after"].count_nonzero() == kept
    assert math.isclose(view.shown["after"].sum(), 1, rel_tol=1e-5)


def test_min_p_keeps_what_reaches_its_share_of_the_best():
    view = bench()
    view.min_p.value = 0.5
    before = view.shown["before"]
    assert view.shown["kept"] == (before >= 0.5 * before.max()).sum()


def test_entropy_is_in_bits():
    uniform = SamplingBench.compute(torch.zeros(8))
    assert uniform["bits_before"] == pytest.approx(3)
    assert SamplingBench.compute(torch.zeros(8), top_k=2)["bits_after"] == pytest.approx(1)


def test_heat_raises_the_entropy_and_cold_lowers_it():
    view = bench()
    view.temperature.value = 4.0
    assert view.shown["bits_after"] > view.shown["bits_before"]
    view.temperature.value = 0.1
    assert view.shown["bits_after"] < view.shown["bits_before"]


def test_what_is_drawn_was_left_by_the_filters_and_is_counted_on_screen():
    view = bench()
    view.top_k.value = 2
    drawn = view.draw()
    assert len(drawn) == 20 and set(drawn) <= set(view.shown["best"][:2])
    assert view.shown["drawn"] == drawn
    assert f"× {drawn.count(drawn[0])}<" in view.children[3].value


def test_the_button_draws_with_the_views_own_seed():
    one, other = bench(), bench()
    state = torch.get_rng_state()
    one.draw_button.click()
    other.draw_button.click()
    assert one.shown["drawn"] == other.shown["drawn"]
    one.draw_button.click()
    assert one.shown["drawn"] != other.shown["drawn"]
    assert torch.equal(torch.get_rng_state(), state)


def test_an_empty_prompt_is_explained_and_the_view_goes_on():
    view = bench()
    view.prompt.value = ""
    assert "type a word" in repr(view) and view.draw() == []
    view.prompt.value = "A dog"
    assert view.last_error is None
    torch.testing.assert_close(view.shown["before"], logits_of("A dog").softmax(-1))


def test_a_prompt_beyond_the_context_is_read_from_its_end():
    view = bench("The cat sat on the mat. " * 9)
    assert view.last_error is None and view.shown["kept"] == SMALL.vocab_size
