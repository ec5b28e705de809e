import math
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from helpers import lively_model
from in_node import in_node
from samples import SMALL, model, tokenizer

from gptcourse.figures import with_signs
from gptcourse.views import SamplingBench
from gptcourse.views.browser import MOST_BYTES, pack
from gptcourse.views.session import Session
from gptlib.generation import next_token
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer

END = tokenizer().special_tokens["<|endoftext|>"]


def bench(prompt: str = "The cat") -> SamplingBench:
    return SamplingBench(model(), tokenizer(), prompt)


def logits_of(prompt: str) -> torch.Tensor:
    with torch.inference_mode():
        return model()(torch.tensor([[END, *tokenizer().encode(prompt)]]))[0, -1]


def random_settings(generator: np.random.Generator) -> dict:
    """Each filter is off in every third case or so."""
    def maybe(value):
        return None if generator.random() < 0.35 else value

    return {"temperature": float(10 ** generator.uniform(-1.3, 0.7)) if generator.random() < 0.95
            else 0.0, "top_k": maybe(int(generator.integers(1, 30))),
            "top_p": maybe(float(generator.uniform(0.01, 1))),
            "min_p": maybe(float(generator.uniform(0, 1)))}


def test_untouched_the_bench_shows_the_models_own_probabilities():
    view = bench()
    expected = logits_of("The cat").double().softmax(-1)
    torch.testing.assert_close(view.shown["before"], expected, atol=1e-6, rtol=0)
    torch.testing.assert_close(view.shown["after"], expected, atol=1e-6, rtol=0)
    assert view.shown["kept"] == SMALL.vocab_size
    assert view.shown["best"][0] == expected.argmax()


def test_the_shown_probabilities_are_those_from_which_next_token_draws():
    view = bench()
    view.temperature, view.top_k, view.top_p, view.min_p = 2.0, 9, 0.8, 0.1
    assert 1 < view.shown["kept"] < 9
    for seed in range(20):
        ours, theirs = (torch.Generator().manual_seed(seed) for _ in range(2))
        drawn = torch.multinomial(view.shown["after"], 1, generator=ours)
        logits = logits_of("The cat").double()[None]
        assert drawn == next_token(logits, 2.0, 9, 0.8, 0.1, generator=theirs)


def test_the_page_bends_a_thousand_rows_of_scores_as_the_library_does(tmp_path):
    generator = np.random.default_rng(0)
    scores = generator.normal(0, 3, (1000, 40))
    scores[::3] = scores[::3].round()                      # with many ties
    settings = [random_settings(generator) for _ in scores]
    names = {"temperature": "temperature", "top_k": "topK", "top_p": "topP", "min_p": "minP"}
    cases = [{names[name]: value for name, value in case.items()} for case in settings]
    page = in_node("sampling.mjs", bench()._esm, tmp_path, cases=cases,
                   packed=pack({"logits": scores}))
    assert len(page) == 1000 and len({len(answer["kept"]) for answer in page}) > 10
    for row, case, answer in zip(scores, settings, page, strict=True):
        ours = SamplingBench.compute(torch.tensor(row), **case)
        np.testing.assert_allclose(answer["probabilities"], ours["after"], atol=1e-6)
        assert sorted(answer["kept"]) == ours["after"].nonzero()[:, 0].tolist()
        assert len(answer["kept"]) == ours["kept"]
        assert answer["bits"] == pytest.approx(ours["bits_after"], abs=1e-6)


def test_the_page_draws_by_probability_and_the_same_again_from_a_seed(tmp_path):
    probabilities = [0.5, 0.29, 0.2, 0.01, 0.0]
    seeds = [0, 1, 2, 2]
    page = [dict(map(tuple, pairs)) for pairs in in_node(
        "sampling.mjs", bench()._esm, tmp_path, probabilities=probabilities, count=20_000,
        seeds=seeds)]
    assert page[2] == page[3] and page[0] != page[1]
    for counts in page:
        assert sum(counts.values()) == 20_000
        for token, p in enumerate(probabilities):          # within five standard deviations
            spread = 5 * math.sqrt(20_000 * p * (1 - p))
            assert abs(counts.get(token, 0) - 20_000 * p) <= spread


def test_the_page_gets_every_score_and_the_names_of_the_best(tmp_path):
    view = bench()
    data = in_node("common.mjs", view._esm, tmp_path, packed=view.data, scores=[], numbers=[],
                   written=[], chances=[], labels=[], shares=[])["unpacked"]
    np.testing.assert_array_equal(np.float32(data["logits"]), logits_of("The cat").numpy())
    best = logits_of("The cat").argsort(descending=True, stable=True).tolist()
    names = [with_signs(token) for token in tokenizer().tokens(best)]
    assert data["labels"] == names


def test_a_vocabulary_like_gpt2s_fits_into_a_view():
    gpt2 = BPETokenizer.from_gpt2()
    large = lively_model(config=type(SMALL)(**{**SMALL.to_dict(), "vocab_size": 50_257}))
    view = SamplingBench(large, gpt2, "The cat")
    assert view.last_error is None and 4 * 50_257 < len(view.data) < MOST_BYTES / 2


def test_the_opinions_of_a_newborn_of_a_large_vocabulary_are_told_apart_from_zero():
    gpt2 = BPETokenizer.from_gpt2()
    newborn = GPTModel(replace(SMALL, vocab_size=gpt2.vocab_size)).eval()
    view = SamplingBench(newborn, gpt2, "The cat")
    best = float(view.shown["before"].max())
    assert best < 0.0005 and f"{best:.5f} before and {best:.5f} after" in repr(view)


@pytest.mark.parametrize(("name", "value", "kept"), [("top_k", 3, 3), ("top_p", 0.01, 1)])
def test_filters_leave_so_many_tokens(name, value, kept):
    view = bench()
    view.set_state({name: value})
    assert view.shown["kept"] == kept
    assert view.shown["after"].count_nonzero() == kept
    assert math.isclose(view.shown["after"].sum(), 1, rel_tol=1e-5)


def test_min_p_keeps_what_reaches_its_share_of_the_best():
    view = bench()
    view.min_p = 0.5
    before = view.shown["before"]
    assert view.shown["kept"] == (before >= 0.5 * before.max()).sum()


def test_entropy_is_in_bits():
    uniform = SamplingBench.compute(torch.zeros(8))
    assert uniform["bits_before"] == pytest.approx(3)
    assert SamplingBench.compute(torch.zeros(8), top_k=2)["bits_after"] == pytest.approx(1)


def test_heat_raises_the_entropy_and_cold_lowers_it():
    view = bench()
    view.temperature = 4.0
    assert view.shown["bits_after"] > view.shown["bits_before"]
    view.temperature = 0.1
    assert view.shown["bits_after"] < view.shown["bits_before"]


def test_only_another_prompt_asks_the_model_and_sends_scores_anew():
    view = bench()
    sent = view.data
    view.temperature, view.top_k = 0.5, 4
    assert view.data is sent
    view.set_state({"prompt": "A dog"})
    assert view.data != sent
    expected = logits_of("A dog").double().softmax(-1)
    torch.testing.assert_close(view.shown["before"], expected, atol=1e-6, rtol=0)


def test_a_setting_that_the_library_refuses_is_explained_and_the_view_goes_on():
    view = bench()
    view.top_k = 281
    assert "top_k is 281" in view.error and "top_k is 281" in repr(view)
    view.top_k = 0
    assert view.error == "" and view.last_error is None


def test_a_story_may_begin_with_nothing_where_there_is_an_end_token():
    assert bench("").last_error is None
    plain = BPETokenizer(tokenizer().merges, ("<other>",), tokenizer().byte_order)
    view = SamplingBench(model(), plain, "")
    assert "type a word" in view.error and view.picture is None
    view.prompt = "A dog"
    assert view.error == "" and view.picture is not None


def test_a_prompt_beyond_the_context_is_read_from_its_end_and_says_so():
    view = bench("The cat sat on the mat. " * 9)
    assert view.last_error is None and view.shown["kept"] == SMALL.vocab_size
    assert "only the last 15 are read" in view.notice
    assert view.notice in view.shown["summary"]


def test_numbers_that_are_none_are_explained():
    broken = GPTModel(SMALL).eval()
    with torch.no_grad():
        broken.output_head.weight.fill_(torch.nan)
    assert "not finite" in SamplingBench(broken, tokenizer(), "The").error


def test_every_script_is_shown():
    view = bench("🙂 שלום")
    assert view.last_error is None and len(repr(view).splitlines()) == 1


def test_benches_with_one_session_share_their_prompt():
    session = Session("The cat")
    one, other = (SamplingBench(model(), tokenizer(), session=session) for _ in range(2))
    one.prompt = "A dog"
    assert other.prompt == "A dog"
    torch.testing.assert_close(other.shown["before"], one.shown["before"])


def test_what_next_token_draws_often_is_what_the_bench_calls_probable():
    view = bench()
    view.temperature, view.top_k = 0.8, 5
    logits = logits_of("The cat").expand(2000, -1)
    drawn = Counter(next_token(logits, 0.8, 5, generator=torch.Generator().manual_seed(0)).tolist())
    for token, count in drawn.items():
        p = float(view.shown["after"][token])
        assert abs(count - 2000 * p) <= 5 * math.sqrt(2000 * p * (1 - p)) + 1
