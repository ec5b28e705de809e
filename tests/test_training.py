import copy
import dataclasses
import itertools
import math
import signal
from contextlib import contextmanager

import pytest
import torch
from helpers import TINY, lively_model, random_ids, tiny_model

from gptlib.data import IGNORED
from gptlib.model import GPTModel
from gptlib.optimizer import hidden_matrices, parameter_groups, share_of_peak
from gptlib.training import TrainConfig, TrainingDiverged, TrainingRun, evaluate, next_token_loss

TEXT = random_ids(600)


def run_of(steps: int = 6, model: GPTModel | None = None, **settings) -> TrainingRun:
    settings = {"batch_size": 4, "warmup_steps": 2, "evaluate_every": 3, **settings}
    model = tiny_model() if model is None else model
    return TrainingRun(model, TEXT, TEXT[:90], TrainConfig(steps, **settings), device="cpu")


def weights_of(run: TrainingRun) -> list[torch.Tensor]:
    return [parameter.detach().clone() for parameter in run.model.parameters()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def test_the_loss_is_the_mean_surprise():
    """Two positions: the true token has probability 1/2 at one, 1/4 at the other."""
    logits = torch.log(torch.tensor([[[0.5, 0.25, 0.25], [0.5, 0.25, 0.25]]]))
    loss = next_token_loss(logits, torch.tensor([[0, 2]]))
    assert math.isclose(loss.item(), (math.log(2) + math.log(4)) / 2, rel_tol=1e-6)


@pytest.mark.parametrize(("schedule", "last"), [("cosine", 0.1), ("linear", 1 / 90)])
def test_the_learning_rate_climbs_then_sinks(schedule, last):
    shares = [share_of_peak(step, 100, 10, schedule) for step in range(100)]
    assert shares[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert max(shares) == shares[9] == shares[10] == 1.0
    assert all(a > b for a, b in itertools.pairwise(shares[10:]))
    assert shares[-1] == pytest.approx(last)


def test_only_matrices_decay():
    model = tiny_model()
    decaying, free = parameter_groups(list(model.parameters()), 0.1)
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert all(names[id(p)].endswith("weight") for p in decaying["params"])
    assert all(names[id(p)].endswith(("bias", "scale", "shift")) for p in free["params"])
    assert (decaying["weight_decay"], free["weight_decay"]) == (0.1, 0.0)
    assert len(decaying["params"]) + len(free["params"]) == len(names)


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("tied", [False, True])
def test_every_parameter_is_optimized_once(optimizer, tied):
    model = GPTModel({**TINY.to_dict(), "tie_weights": tied})
    run = run_of(model=model, optimizer=optimizer)
    optimized = [
        id(p) for o in run.optimizers for group in o.param_groups for p in group["params"]
    ]
    assert sorted(optimized) == sorted(id(p) for p in model.parameters())


def test_the_settings_reach_adamw_and_muon():
    settings = {
        "learning_rate": 0.01, "muon_learning_rate": 0.03, "weight_decay": 0.2, "beta2": 0.9,
    }
    [alone] = run_of(**settings).optimizers
    muon, beside = run_of(optimizer="muon", **settings).optimizers
    [matrices] = muon.param_groups
    assert (matrices["lr"], matrices["weight_decay"]) == (0.03, 0.2)
    for optimizer in (alone, beside):
        for group, decay in zip(optimizer.param_groups, (0.2, 0.0), strict=True):
            assert (group["lr"], group["betas"]) == (0.01, (0.9, 0.9))
            assert group["weight_decay"] == decay


@pytest.mark.parametrize("name", ["adamw", "muon"])
def test_every_optimizer_follows_the_schedule(name):
    run = run_of(optimizer=name)
    for step in run:
        share = share_of_peak(step.step - 1, 6, 2)
        assert step.learning_rate == share * run.config.learning_rate
        for group in (group for optimizer in run.optimizers for group in optimizer.param_groups):
            assert group["lr"] == share * group["initial_lr"]


def test_an_optimizer_that_this_torch_does_not_have_yet_is_told(monkeypatch):
    monkeypatch.delattr(torch.optim, "Muon", raising=False)
    with pytest.raises(ValueError, match='^optimizer="muon" needs torch 2.9 .* or choose'):
        run_of(optimizer="muon")


def test_muon_moves_the_matrices_inside_the_blocks():
    """Four for attention and two for the feed-forward net, each square by itself."""
    shapes = [tuple(p.shape) for p in hidden_matrices(tiny_model())]
    assert shapes == ([(32, 32)] * 4 + [(128, 32), (32, 128)]) * 2
    run = run_of(optimizer="muon")
    assert [type(optimizer).__name__ for optimizer in run.optimizers] == ["Muon", "AdamW"]
    assert [len(g["params"]) for g in run.optimizers[0].param_groups] == [12]
    before = weights_of(run)
    list(run)
    assert all(not torch.equal(a, b) for a, b in zip(before, weights_of(run), strict=True))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_one_batch_is_learned_by_heart(optimizer):
    model = tiny_model()
    ids = random_ids(4 * 24 + 1, seed=5)
    settings = TrainConfig(
        250, batch_size=4, optimizer=optimizer, learning_rate=1e-2, weight_decay=0.0
    )
    *_, last = TrainingRun(model, ids, None, settings, device="cpu")
    assert last.loss < 0.05


def test_evaluation_reads_every_token_once_in_order():
    model, ids = lively_model(), random_ids(24 * 5 + 9)
    with torch.inference_mode():
        pieces = [(ids[i : i + 24][None], ids[i + 1 : i + 25][None]) for i in range(0, 128, 24)]
        losses = [
            next_token_loss(model(x[:, : y.shape[1]]), y).item() * y.shape[1] for x, y in pieces
        ]
    assert sum(y.shape[1] for _, y in pieces) == 128
    assert evaluate(model, ids, batch_size=2) == pytest.approx(sum(losses) / 128, rel=1e-5)


def test_a_text_shorter_than_a_window_is_evaluated_too():
    model, ids = lively_model(), random_ids(9)
    expected = next_token_loss(model(ids[None, :-1]), ids[None, 1:]).item()
    assert evaluate(model, ids) == pytest.approx(expected, rel=1e-5)
    with pytest.raises(ValueError, match="needs at least 2 tokens, .* this one has 1"):
        evaluate(model, ids[:1])


def test_a_text_of_another_tokenizer_cannot_be_evaluated():
    model = tiny_model()
    with pytest.raises(ValueError, match="is outside the vocabulary"):
        evaluate(model, [0, 1, model.config.vocab_size])


@pytest.mark.parametrize("batch_size", [0, -1, 2.5])
def test_a_text_cannot_be_evaluated_in_batches_of_nothing(batch_size):
    with pytest.raises(ValueError, match=f"batch_size is {batch_size}, but must be .* at least 1"):
        evaluate(tiny_model(), random_ids(9), batch_size=batch_size)


def test_documents_are_evaluated_whole_each_with_its_own_beginning():
    model = lively_model()
    documents = [[5, 6, 7, 8, 0], [9] * 12 + [0], [3, 4, 0]]
    ids = [token for document in documents for token in document]
    total = 0.0
    for row in ([0, *documents[0], *documents[1]], [0, *documents[2]]):
        row = torch.tensor([row])
        with torch.inference_mode():
            total += next_token_loss(model(row[:, :-1]), row[:, 1:]).item() * (row.shape[1] - 1)
    model = lively_model(config=dataclasses.replace(TINY, context_length=18))
    model.load_state_dict(
        {**lively_model().state_dict(),
         "position_embedding.weight": lively_model().position_embedding.weight[:18]}
    )
    assert evaluate(model, [*ids, 8, 8], end_token=0) == pytest.approx(total / 21, rel=1e-5)


def test_evaluation_leaves_dropout_out_and_the_mode_as_it_was():
    model = GPTModel({**TINY.to_dict(), "drop_rate": 0.5}).train()
    assert evaluate(model, TEXT[:50]) == evaluate(model, TEXT[:50])
    assert model.training


def test_each_step_reports_itself():
    run = run_of(steps=6)
    steps = list(run)
    assert steps == run.history
    assert [step.step for step in steps] == [1, 2, 3, 4, 5, 6]
    assert [step.tokens for step in steps] == [96 * n for n in range(1, 7)]
    assert [step.validation_loss is not None for step in steps] == [False, False, True] * 2
    assert steps[-1].validation_loss == evaluate(run.model, TEXT[:90])
    assert steps[0].learning_rate == TrainConfig(6).learning_rate / 2
    assert abs(steps[0].loss - math.log(TINY.vocab_size)) < 0.1
    assert all(step.gradient_norm > 0 and step.tokens_per_second > 0 for step in steps)


def test_where_windows_hold_documents_only_their_tokens_count():
    ids = [*([5] * 9 + [0]), *([6] * 20 + [0])] * 4
    config = TrainConfig(4, batch_size=1, evaluate_every=2, end_token=0)
    run = TrainingRun(lively_model(), ids, ids[:31], config, device="cpu")
    counted = [(run.batches.at(step)[1] != IGNORED).sum().item() for step in range(4)]
    steps = list(run)
    assert len(set(counted)) > 1
    assert [step.tokens for step in steps] == list(itertools.accumulate(counted))
    assert steps[-1].validation_loss == evaluate(run.model, ids[:31], batch_size=1, end_token=0)
    assert steps[-1].validation_loss != evaluate(run.model, ids[:31], batch_size=1)


def test_the_last_step_is_measured_in_any_case():
    assert [step.step for step in run_of(steps=4) if step.validation_loss is not None] == [3, 4]


@pytest.mark.parametrize("end_token", [None, 7])
def test_accumulated_parts_move_the_weights_as_the_whole_batch_does(end_token):
    """Also where the parts hold unequal numbers of targets that count."""
    text = [0 if n % 6 else 7 for n in range(90)] + [n % 7 for n in range(14)] + [7] + [9] * 9 + [7]
    def run(accumulation: int) -> TrainingRun:
        if end_token is None:
            return run_of(model=lively_model(), accumulation=accumulation)
        config = TrainConfig(6, batch_size=4, accumulation=accumulation, end_token=end_token)
        return TrainingRun(lively_model(), text, None, config, device="cpu")

    whole, parts = run(1), run(4)
    for one, other in zip(whole, parts, strict=True):
        assert one.loss == pytest.approx(other.loss, rel=1e-5)
        assert one.gradient_norm == pytest.approx(other.gradient_norm, rel=1e-4)


def test_the_gradient_is_clipped_and_its_norm_reported_before():
    run = run_of(model=lively_model(), clip_norm=0.01)
    step = next(run)
    norms = [parameter.grad.norm() for parameter in run.model.parameters()]
    assert step.gradient_norm > 0.1
    assert torch.stack(norms).norm().item() == pytest.approx(0.01, rel=1e-3)


def test_a_run_can_be_left_and_gone_on_with():
    straight, broken = run_of(), run_of()
    list(straight)
    for step in broken:
        if step.step == 2:
            break
    torch.randn(7)  # the learner's own random numbers disturb nothing
    assert len(broken.history) == 2
    list(broken)
    assert same(weights_of(straight), weights_of(broken))


def resumed_from(first: TrainingRun) -> TrainingRun:
    second = run_of(steps=first.config.steps, model=copy.deepcopy(first.model))
    second.resume([optimizer.state_dict() for optimizer in first.optimizers], first.history)
    return second


def test_a_run_and_the_one_that_was_resumed_from_it_disturb_each_other_in_nothing():
    first = run_of()
    next(first)
    second = resumed_from(first)
    list(second), list(first)
    assert same(weights_of(first), weights_of(second))


def test_a_resumed_run_goes_back_to_where_it_was_resumed():
    first = run_of(steps=9)
    for _ in range(4):
        next(first)
    second = resumed_from(first)
    with torch.no_grad():
        second.model.final_norm.scale[0] = math.nan
    with pytest.raises(TrainingDiverged, match="at step 5, .*went back to step 4"):
        next(second)
    list(first), list(second)
    assert same(weights_of(first), weights_of(second))


def test_dropout_follows_the_seed_and_leaves_the_learners_random_state_alone():
    def dropped(seed: int) -> TrainingRun:
        model = tiny_model(config=dataclasses.replace(TINY, drop_rate=0.3))
        torch.manual_seed(seed)
        return run_of(model=model)

    one, other = dropped(1), dropped(2)
    state = torch.get_rng_state()
    next(one)
    assert torch.equal(state, torch.get_rng_state())
    list(one), list(other)
    assert same(weights_of(one), weights_of(other))


def test_between_two_steps_the_model_is_in_evaluation_mode():
    run = run_of(model=tiny_model().train())
    assert not run.model.training
    next(run)
    assert not run.model.training


def test_dropout_is_another_one_in_every_step_and_for_every_seed():
    """The text is a single window and the weights hardly move: all else stays the same."""
    losses = []
    for seed in (0, 1):
        config = TrainConfig(3, batch_size=1, learning_rate=1e-30, seed=seed)
        model = lively_model(config=dataclasses.replace(TINY, drop_rate=0.3))
        run = TrainingRun(model, TEXT[:25], None, config, device="cpu")
        losses += [step.loss for step in run]
    assert len(set(losses)) == 6


@contextmanager
def interrupts_handled_by(handler):
    former = signal.signal(signal.SIGINT, handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, former)


def test_the_stop_button_acts_between_steps():
    """SIGINT in the middle of a step: the step is finished, counted, and the run goes on as if
    nothing had happened."""
    straight, stopped = run_of(), run_of()
    list(straight)

    def press_stop(*_):
        if stopped.step == 2 and not pressed:
            pressed.append(True)
            signal.raise_signal(signal.SIGINT)

    pressed = []
    handle = stopped.model.register_forward_hook(press_stop)
    with interrupts_handled_by(signal.default_int_handler):
        with pytest.raises(KeyboardInterrupt):
            list(stopped)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    handle.remove()
    assert pressed
    assert stopped.step == 3
    list(stopped)
    assert same(weights_of(straight), weights_of(stopped))


def test_an_interrupt_is_left_to_whoever_handled_it_before():
    run, heard = run_of(), []
    run.model.register_forward_hook(lambda *_: signal.raise_signal(signal.SIGINT))
    with interrupts_handled_by(lambda *_: heard.append(run.step)):
        list(run)
    assert heard == [1, 2, 3, 4, 5, 6]


def test_a_loss_that_is_no_number_stops_the_run_at_its_last_good_state():
    run = run_of(steps=9)
    while run.step < 3:
        next(run)
    good = weights_of(run)
    next(run), next(run)
    with torch.no_grad():
        run.model.final_norm.scale[0] = math.nan
    with pytest.raises(TrainingDiverged, match=r"at step 6, .*went back to step 3.*lower learning"):
        next(run)
    assert run.step == 3
    assert same(weights_of(run), good)
    straight = run_of(steps=9)
    list(straight), list(run)
    assert same(weights_of(straight), weights_of(run))


def test_weights_that_have_just_burst_are_no_good_state():
    """The first step's own loss is fine, but its giant update is not."""
    run = run_of(steps=5, learning_rate=1e38, warmup_steps=0, evaluate_every=1)
    fresh = weights_of(run)
    with pytest.raises(TrainingDiverged, match=r"at step 2, .*went back to step 0"):
        list(run)
    assert same(weights_of(run), fresh)


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"optimizer": "adam"}, "optimizer is 'adam', but must be adamw or muon"),
        ({"schedule": "flat"}, "schedule is 'flat', but must be cosine or linear"),
        ({"steps": 0}, "steps is 0, but must be a whole number of at least 1"),
        ({"batch_size": 2.5}, "batch_size is 2.5"),
        ({"learning_rate": 0}, "learning_rate is 0, but must be a number above 0"),
        ({"learning_rate": math.nan}, "learning_rate is nan"),
        ({"warmup_steps": -1}, "warmup_steps is -1"),
        ({"weight_decay": -0.1}, "weight_decay is -0.1"),
        ({"beta2": 1.0}, "beta2 is 1.0, but must be below 1"),
        ({"clip_norm": 0.0}, "clip_norm is 0.0"),
        ({"batch_size": 6, "accumulation": 4}, "batch_size=6 cannot be computed in accumulation=4"),
        ({"seed": -1}, "seed is -1"),
        ({"end_token": "<|endoftext|>"}, "end_token is '<|endoftext|>', but must be the id of a"),
    ],
)
def test_settings_that_cannot_work_are_explained(settings, words):
    with pytest.raises(ValueError, match=words):
        TrainConfig(**{"steps": 5, **settings})


def test_ids_outside_the_vocabulary_are_found_before_the_first_step():
    config = TrainConfig(3, batch_size=2)
    with pytest.raises(ValueError, match="Token id 61 is outside the vocabulary"):
        TrainingRun(tiny_model(), [*TEXT.tolist(), 61], None, config, device="cpu")


@pytest.mark.parametrize(("end_token", "words"), [
    (None, "needs 25 tokens, but the text has 0"), (0, "holds no end token"),
])
def test_an_empty_text_is_found_before_the_first_step(end_token, words):
    config = TrainConfig(3, batch_size=2, end_token=end_token)
    with pytest.raises(ValueError, match=words):
        TrainingRun(tiny_model(), [], None, config, device="cpu")


@pytest.mark.parametrize(
    ("validation_ids", "settings", "error", "words"),
    [
        ([1], {}, ValueError, "needs at least 2 tokens"),
        ([1, 61], {}, ValueError, "Token id 61 is outside the vocabulary"),
        ([1] * 30, {"end_token": 0}, ValueError, "holds no end token"),
        ("a text", {}, TypeError, "The token ids are given as str"),
    ],
)
def test_a_validation_text_that_cannot_be_read_is_found_before_the_first_step(
    validation_ids, settings, error, words
):
    config = TrainConfig(3, batch_size=2, **settings)
    with pytest.raises(error, match=words):
        TrainingRun(tiny_model(), [*range(20), 0] * 9, validation_ids, config, device="cpu")
