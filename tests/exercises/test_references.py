"""Where an exercise's solution is its own reference, it agrees with what the library does."""

import math

import pytest
import torch

from gptcourse.exercises import check
from gptcourse.exercises.generation import extend_cache
from gptcourse.exercises.model import embed, gpt_forward, tie_weights
from gptcourse.exercises.training import perplexity, train_step
from gptlib.model import GPTModel, count_parameters
from gptlib.optimizer import adamw
from gptlib.tap import record
from gptlib.training import TrainConfig, TrainingRun, evaluate

CONFIG = {"vocab_size": 13, "context_length": 8, "emb_dim": 12, "n_heads": 3, "n_layers": 2,
          "drop_rate": 0.0, "qkv_bias": True}


@pytest.fixture(autouse=True)
def in_an_own_folder(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # a check keeps its progress in the current folder


def small_model(**changes):
    torch.manual_seed(0)
    return GPTModel({**CONFIG, **changes}).eval()


def some_ids(*shape):
    return torch.randint(13, shape, generator=torch.Generator().manual_seed(1))


def test_embed_is_the_entrance_of_the_model():
    model, ids = small_model(), some_ids(2, 5)
    with torch.inference_mode(), record(model, "residual_start") as inside:
        model(ids)
        mine = embed(ids, model.token_embedding.weight, model.position_embedding.weight)
    torch.testing.assert_close(mine, inside["residual_start"])


def test_gpt_forward_is_the_model():
    model, ids = small_model(), some_ids(3, 7)
    logits = gpt_forward(ids, model.token_embedding, model.position_embedding, model.blocks,
                         model.final_norm, model.output_head)
    torch.testing.assert_close(logits, model(ids))


def test_tie_weights_makes_a_tied_model():
    mine, library = tie_weights(small_model()), small_model(tie_weights=True)
    assert count_parameters(mine) == count_parameters(library) < count_parameters(small_model())
    assert mine.output_head.weight is mine.token_embedding.weight


def test_perplexity_is_e_to_the_loss():
    model, ids = small_model(), some_ids(9)
    with torch.inference_mode():
        logs = model(ids[None, :-1])[0].log_softmax(dim=-1)
    surprises = -logs.gather(-1, ids[1:, None])[:, 0]
    assert math.isclose(perplexity(surprises), math.exp(evaluate(model, ids)), rel_tol=1e-5)


def test_train_step_is_a_step_of_the_run():
    run = TrainingRun(small_model(), some_ids(50), None, TrainConfig(
        steps=1, batch_size=2, warmup_steps=0, clip_norm=0.05), device="cpu")
    mine = small_model()
    optimizer = adamw(list(mine.parameters()), 3e-3, weight_decay=0.1, beta2=0.99)
    loss = train_step(mine, optimizer, *run.batches.at(0), 0.05)
    step = next(run)
    assert step.gradient_norm > 0.05                       # so the clipping is put to the test
    assert math.isclose(loss, step.loss, rel_tol=1e-6)
    for ours, theirs in zip(mine.parameters(), run.model.parameters(), strict=True):
        torch.testing.assert_close(ours, theirs)


def test_extend_cache_token_by_token_is_the_cache_of_the_model():
    model, ids = small_model(n_layers=1), some_ids(2, 6)
    with torch.inference_mode(), record(model, "blocks.0.attention.keys",
                                        "blocks.0.attention.values") as inside:
        model(ids)
    keys, values = (inside[f"blocks.0.attention.{name}"] for name in ("keys", "values"))
    mine, library = None, model.new_cache()[0]
    for t in range(6):
        new = keys[:, :, t : t + 1], values[:, :, t : t + 1]
        mine, theirs = extend_cache(mine, *new), library.extend(*new)
        assert all(map(torch.equal, mine, theirs))
    assert torch.equal(mine[0], keys) and torch.equal(mine[1], values)


def unsolved(*arguments):
    return None


@pytest.mark.parametrize("mine", [unsolved, train_step], ids=["the library's", "the learner's"])
def test_the_step_that_a_check_hands_on_returns_a_number(mine):
    use = check.train_step(mine).use
    model = small_model()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    losses = [use(model, optimizer, some_ids(2, 4), some_ids(2, 4), 1.0) for _ in range(2)]
    assert losses[1] < losses[0] and isinstance(losses[0], float)


@pytest.mark.parametrize("mine", [unsolved, extend_cache], ids=["the library's", "the learner's"])
def test_the_cache_that_a_check_hands_on_grows(mine):
    use, keys = check.extend_cache(mine).use, torch.ones(1, 2, 3, 4)
    cache = use(use(None, keys, -keys), keys, -keys)
    assert [x.shape for x in cache] == [(1, 2, 6, 4)] * 2
    assert (cache[0] == -cache[1]).all()


@pytest.mark.parametrize("mine", [unsolved, tie_weights], ids=["the library's", "the learner's"])
def test_the_model_that_a_check_hands_on_is_tied(mine):
    model = check.tie_weights(mine).use(small_model())
    assert model.output_head.weight is model.token_embedding.weight
