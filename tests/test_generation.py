import math

import pytest
import torch
from helpers import TINY, lively_model, random_ids

from gptlib import generation
from gptlib.config import GPTConfig
from gptlib.generation import (
    apply_temperature,
    complete,
    generate,
    keep_min_p,
    keep_top_k,
    keep_top_p,
    next_token,
)

PROBABILITIES = torch.tensor([[0.1, 0.4, 0.2, 0.3]])
LOGITS = PROBABILITIES.log()


def seeded(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def kept(logits: torch.Tensor) -> list[int]:
    return torch.isfinite(logits[0]).nonzero()[:, 0].tolist()


def test_temperature_divides_the_logits():
    hot = apply_temperature(LOGITS, 2.0).softmax(-1)
    expected = PROBABILITIES.sqrt() / PROBABILITIES.sqrt().sum()
    torch.testing.assert_close(hot, expected)


def test_temperature_zero_is_argmax():
    logits = torch.randn(50, 9, generator=seeded())
    assert torch.equal(next_token(logits, temperature=0), logits.argmax(-1))
    assert next_token(torch.tensor([[1.0, 5.0, 5.0]]), temperature=0).tolist() == [1]


@pytest.mark.parametrize("temperature", [1e-29, 1e-31, 1e-38, 1e-60, 5e-324])
def test_a_temperature_next_to_zero_is_argmax_too(temperature):
    logits = 30 * torch.randn(50, 9, generator=seeded())
    assert torch.equal(next_token(logits, temperature), logits.argmax(-1))


def test_top_k_keeps_exactly_k_also_among_equals():
    assert kept(keep_top_k(LOGITS, 2)) == [1, 3]
    assert kept(keep_top_k(torch.zeros(1, 5), 3)) == [0, 1, 2]
    assert torch.equal(keep_top_k(LOGITS, 4), LOGITS)


@pytest.mark.parametrize(
    ("top_p", "expected"),
    [(0.01, [1]), (0.39, [1]), (0.5, [1, 3]), (0.75, [1, 2, 3]), (1.0, [0, 1, 2, 3])],
)
def test_top_p_keeps_the_fewest_tokens_that_reach_p(top_p, expected):
    assert kept(keep_top_p(LOGITS, top_p)) == expected


def test_top_p_stops_where_the_sum_is_exactly_p():
    assert kept(keep_top_p(torch.zeros(1, 4), 0.5)) == [0, 1]


@pytest.mark.parametrize(
    ("min_p", "expected"), [(0, [0, 1, 2, 3]), (0.3, [1, 2, 3]), (0.7, [1, 3]), (1.0, [1])]
)
def test_min_p_keeps_what_is_near_the_best(min_p, expected):
    assert kept(keep_min_p(LOGITS, min_p)) == expected


def test_filters_leave_the_kept_logits_and_the_input_as_they_are():
    logits = torch.randn(3, 40, generator=seeded())
    before = logits.clone()
    for filtered in (keep_top_k(logits, 7), keep_top_p(logits, 0.6), keep_min_p(logits, 0.2)):
        stays = torch.isfinite(filtered)
        assert 0 < stays.sum() < 120
        assert torch.equal(filtered[stays], logits[stays])
    assert torch.equal(logits, before)


def test_draws_follow_the_probabilities():
    drawn = next_token(LOGITS.expand(20_000, 4), generator=seeded())
    shares = torch.bincount(drawn, minlength=4) / 20_000
    torch.testing.assert_close(shares[None], PROBABILITIES, atol=0.015, rtol=0)


def test_all_filters_compose_and_a_removed_token_is_never_drawn():
    logits = torch.randn(2000, 30, generator=seeded())
    drawn = next_token(logits, 1.5, top_k=5, top_p=0.9, min_p=0.1, generator=seeded(1))
    allowed = keep_min_p(keep_top_p(keep_top_k(apply_temperature(logits, 1.5), 5), 0.9), 0.1)
    assert torch.isfinite(allowed.gather(-1, drawn[:, None])).all()


@pytest.mark.parametrize("score", [math.nan, -math.inf])
def test_scores_that_leave_nothing_to_draw_are_explained(score):
    with pytest.raises(ValueError, match="scores are not finite numbers, so no token"):
        next_token(torch.full((2, 4), score))


@pytest.mark.parametrize("shape", [(4,), (2, 3, 4)])
def test_scores_that_are_no_batch_of_rows_are_explained(shape):
    with pytest.raises(ValueError, match=r"must be \(batch, vocabulary\): write logits\[None\]"):
        next_token(torch.zeros(shape))


@pytest.mark.parametrize(
    ("function", "value", "words"),
    [
        (apply_temperature, -0.1, "temperature is -0.1, but must be a number of at least 0"),
        (apply_temperature, math.nan, "temperature is nan"),
        (apply_temperature, math.inf, "temperature is inf"),
        (apply_temperature, None, "temperature is None, but must be a number of at least 0"),
        (keep_top_k, 0, "top_k is 0, but must be a whole number from 1 to 4"),
        (keep_top_k, 5, "top_k is 5"),
        (keep_top_k, 2.0, "top_k is 2.0"),
        (keep_top_p, 0, "top_p is 0, but must be a probability above 0 and up to 1"),
        (keep_top_p, 1.01, "top_p is 1.01"),
        (keep_top_p, "0.9", "top_p is '0.9'"),
        (keep_min_p, -0.5, "min_p is -0.5"),
        (keep_min_p, 2, "min_p is 2"),
        (keep_min_p, [0.1], r"min_p is \[0.1\]"),
    ],
)
def test_values_that_cannot_be_are_explained(function, value, words):
    with pytest.raises(ValueError, match=words):
        function(LOGITS, value)


PROMPTS = [random_ids(9, seed=3).tolist(), [5], random_ids(4, seed=4).tolist()]


def rows(steps: list[list[int | None]]) -> list[list[int]]:
    """The tokens of each prompt, without the gaps."""
    return [[t for t in row if t is not None] for row in zip(*steps, strict=True)]


@pytest.mark.parametrize("options", [
    {"temperature": 0}, {"temperature": 1.0}, {"top_k": 5, "top_p": 0.9, "min_p": 0.05},
])
@pytest.mark.parametrize("new_tokens", [10, 40])
def test_with_and_without_cache_the_same_tokens_come(options, new_tokens, monkeypatch):
    """Ten tokens stay within the context of 24, forty go far beyond it."""
    model, results = lively_model(), []
    for _ in range(2):
        results.append(
            list(generate(model, PROMPTS, new_tokens, generator=seeded(), **options)))
        monkeypatch.setattr(
            generation, "_logits_after",
            lambda model, ids, _: model(ids[:, -TINY.context_length :])[:, -1])
    assert results[0] == results[1]
    assert [len(row) for row in rows(results[0])] == [new_tokens] * 3


def test_a_prompt_may_fill_the_whole_context():
    prompt = random_ids(TINY.context_length).tolist()
    assert len(list(generate(lively_model(), [prompt], 3))) == 3


def test_prompts_of_unequal_length_are_continued_as_if_alone():
    model = lively_model()
    together = rows(list(generate(model, PROMPTS, 12, temperature=0)))
    alone = [rows(list(generate(model, [p], 12, temperature=0)))[0] for p in PROMPTS]
    assert together == alone


def test_greedy_generation_takes_the_best_token_after_the_latest_ones_each_time():
    model, ids = lively_model(), list(PROMPTS[0])
    for (token,) in generate(model, [ids[:]], 40, temperature=0):
        latest = torch.tensor([ids[-TINY.context_length :]])
        assert token == model(latest)[0, -1].argmax().item()
        ids.append(token)
    assert len(ids) == 49


def test_memory_is_taken_for_the_tokens_that_are_drawn_not_for_those_that_are_allowed():
    steps = generate(lively_model(), [[2], [2, 5]], 2**40, temperature=0)
    assert [len(next(steps)) for _ in range(3)] == [2, 2, 2]


def test_a_row_ends_before_its_stop_token_while_the_others_go_on():
    model = lively_model()
    free = rows(list(generate(model, PROMPTS, 12, temperature=0)))
    stop = free[0][5]
    stopped = rows(list(generate(model, PROMPTS, 12, temperature=0, stop_token=stop)))
    for before, after in zip(free, stopped, strict=True):
        assert after == (before[: before.index(stop)] if stop in before else before)
    assert len(stopped[0]) <= 5


def test_where_every_row_has_ended_no_more_steps_come():
    model = lively_model()
    free = [token for (token,) in generate(model, PROMPTS[:1], 12, temperature=0)]
    stopped = list(generate(model, PROMPTS[:1], 12, temperature=0, stop_token=free[5]))
    assert stopped == [[token] for token in free[: free.index(free[5])]]


def test_the_same_seed_tells_the_same_story():
    model = lively_model()
    one, other, third = (
        list(generate(model, PROMPTS, 12, generator=seeded(seed))) for seed in (1, 1, 2)
    )
    assert one == other != third


def test_generation_works_without_dropout_and_gives_the_mode_back():
    model = lively_model(config=GPTConfig(**{**TINY.to_dict(), "drop_rate": 0.5})).train()
    one, other = (list(generate(model, PROMPTS, 9, temperature=0)) for _ in range(2))
    assert one == other
    assert model.training
    for _ in generate(model, PROMPTS, 9):
        break
    assert model.training
    list(generate(model.eval(), PROMPTS, 9))
    assert not model.training
    model.train().blocks[0].eval()  # a part that is to stay as it is, frozen for instance
    list(generate(model, PROMPTS, 9))
    assert model.training
    assert not model.blocks[0].attention.training


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_scores_in_half_precision_are_added_up_in_full(dtype):
    """In bfloat16, a sum near 1 has no room for tokens below 0.004."""
    logits = (torch.arange(4000, 0, -1) / 400).to(dtype)[None]
    for options in ({"top_p": 0.999}, {"temperature": 1e-4}):
        drawn = [
            [next_token(x, generator=seeded(n), **options).item() for n in range(300)]
            for x in (logits, logits.float())
        ]
        assert drawn[0] == drawn[1]


def test_another_kind_of_model_is_explained():
    with pytest.raises(TypeError, match=r"model is a DataParallel, but must be .* its \.module"):
        next(generate(torch.nn.DataParallel(lively_model()), PROMPTS, 3))


def test_a_compiled_model_continues_as_it_does_uncompiled():
    model = lively_model()
    compiled = torch.compile(model, backend="eager")
    ways = [list(generate(one, PROMPTS, 5, temperature=0)) for one in (model, compiled)]
    assert ways[0] == ways[1]


def test_text_is_completed():
    class Letters:
        def encode(self, text):
            return [ord(letter) - 64 for letter in text]

        def decode(self, ids):
            return "".join(chr(token + 64) for token in ids)

    text = complete(lively_model(), Letters(), "ABC", 5, temperature=0)
    assert text.startswith("ABC")
    assert len(text) == 8


@pytest.mark.parametrize(
    ("prompts", "new_tokens", "words"),
    [
        ([[]], 5, "Prompt 0 is empty"),
        ([[1], [2] * 25], 5, r"Prompt 1 has 25 tokens, but this model sees at most 24.*\[-24:\]"),
        ([1, 2, 3], 5, "prompts must be a list of prompts"),
        (torch.tensor([1, 2, 3]), 5, "prompts must be a list of prompts"),
        ([[1.5, 2.5]], 5, "prompts must be a list of prompts, each a list of token ids"),
        ([["a", "b"]], 5, "prompts must be a list of prompts, each a list of token ids"),
        (None, 5, "prompts must be a list of prompts"),
        ("Lily", 5, "prompts must be a list of prompts"),
        ([], 5, "prompts must be a list of prompts"),
        ([[1]], 0, "max_new_tokens is 0"),
        ([[99]], 3, "Token id 99 is outside the vocabulary"),
    ],
)
def test_prompts_that_cannot_be_are_explained(prompts, new_tokens, words):
    with pytest.raises(ValueError, match=words):
        list(generate(lively_model(), prompts, new_tokens))
