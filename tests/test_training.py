import copy
import dataclasses
import functools
import itertools
import math
import signal
from contextlib import contextmanager
from threading import Thread

import pytest
import torch
from helpers import TINY, lively_model, random_ids, tiny_model

from gptlib.checkpoint import load_run, save_run
from gptlib.data import IGNORED
from gptlib.model import GPTModel
from gptlib.optimizer import hidden_matrices, parameter_groups, share_of_peak
from gptlib.tap import record
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


def test_every_interrupt_is_left_to_whoever_handled_interrupts_before():
    """Steps 3 and 6 are followed by two validation batches, each with an interrupt of its own."""
    run, heard = run_of(), []
    run.model.register_forward_hook(lambda *_: signal.raise_signal(signal.SIGINT))
    with interrupts_handled_by(lambda *_: heard.append(run.step)):
        assert [step.step for step in run] == [1, 2, 3, 4, 5, 6]
    assert heard == [1, 2, 3, 3, 3, 4, 5, 6, 6, 6]


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
        ({"precision": "fp16"}, "precision is 'fp16', but must be float32 or bf16"),
        ({"compile": "yes"}, "compile is 'yes', but must be False or True"),
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


# -- precision ------------------------------------------------------------------------------


BF16 = {"device_type": "cpu", "dtype": torch.bfloat16}


def measured(run: TrainingRun) -> list[tuple]:
    """A history without the one number that no two runs share, the speed."""
    return [dataclasses.astuple(step)[:-1] for step in run.history]


@pytest.mark.parametrize("precision", ["float32", "bf16"])
def test_autocast_around_the_loop_changes_nothing(precision):
    alone, inside = (run_of(precision=precision, optimizer="muon") for _ in range(2))
    list(alone)
    with torch.autocast(**BF16):
        list(inside)
    assert measured(alone) == measured(inside)
    assert same(weights_of(alone), weights_of(inside))


def test_whoever_looks_at_the_model_under_autocast_sees_the_latest_weights():
    run, ids = run_of(learning_rate=0.03), TEXT[None, :9]
    with torch.autocast(**BF16):
        run.model(ids)                           # autocast keeps its copies of the weights
        next(run)
        seen = run.model(ids)
    with torch.autocast(**BF16):
        assert torch.equal(seen, run.model(ids))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_half_the_digits_give_nearly_the_same_losses(optimizer):
    """Each within 3 %, twice what is usual, where the loss has fallen by nearly a quarter."""
    full, half = (
        run_of(60, optimizer=optimizer, learning_rate=0.01, precision=precision)
        for precision in ("float32", "bf16")
    )
    list(full), list(half)
    assert all(parameter.dtype == torch.float32 for parameter in half.model.parameters())
    assert full.history[0].loss - full.history[-1].loss > 0.9
    for one, other in zip(full.history, half.history, strict=True):
        assert 0 < abs(one.loss - other.loss) < 0.03 * one.loss


# -- other settings ---------------------------------------------------------------------------


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_new_settings_hold_from_the_next_step_on_and_the_step_tells_them(optimizer):
    run = run_of(4, optimizer=optimizer)
    next(run), next(run)
    averages = copy.deepcopy([o.state_dict()["state"] for o in run.optimizers])
    run.config = dataclasses.replace(
        run.config, steps=9, batch_size=6, learning_rate=1e-4, muon_learning_rate=1e-3,
        weight_decay=0.3, beta2=0.5,
    )
    for kept, now in zip(averages, run.optimizers, strict=True):
        for number, state in now.state_dict()["state"].items():
            assert all(torch.equal(kept[number][name], state[name]) for name in state)
    step = next(run)
    share = share_of_peak(2, 9, 2)
    assert (step.learning_rate, step.tokens) == (share * 1e-4, 2 * 96 + 6 * 24)
    *muon, adamw = run.optimizers
    assert [group["weight_decay"] for group in adamw.param_groups] == [0.3, 0.0]
    assert all(group["betas"][1] == 0.5 for group in adamw.param_groups)
    for group in (group for other in muon for group in other.param_groups):
        assert (group["lr"], group["weight_decay"]) == (share * 1e-3, 0.3)
    list(run)
    assert run.step == 9


def test_the_rate_that_is_told_is_the_optimizers():
    run = run_of()
    for group in run.optimizers[0].param_groups:
        group["initial_lr"] = 0.5
    assert next(run).learning_rate == 0.25


def test_the_same_settings_change_nothing():
    straight, other = run_of(), run_of()
    list(straight), next(other), next(other)
    other.config = dataclasses.replace(other.config)
    list(other)
    assert measured(straight) == measured(other)


def test_another_optimizer_is_refused_and_the_run_goes_on_as_before():
    straight, run = run_of(), run_of()
    list(straight), next(run)
    with pytest.raises(ValueError, match="cannot go on with another optimizer"):
        run.config = dataclasses.replace(run.config, optimizer="muon", learning_rate=1.0)
    with pytest.raises(ValueError, match="windows of 24 tokens"):
        run.config = dataclasses.replace(run.config, batch_size=100)
    list(run)
    assert measured(straight) == measured(run)


@pytest.mark.parametrize(("former", "new"), [(3, 8), (6, 4), (5, 5)])
def test_another_batch_size_goes_on_where_the_former_one_stopped(former, new):
    """24 windows, told apart by their first token: none comes twice, less than a batch is lost."""
    text = [*torch.arange(24).repeat_interleave(24).tolist(), 0]
    run = TrainingRun(tiny_model(), text, None, TrainConfig(9, batch_size=former), device="cpu")
    read = []
    run.model.register_forward_pre_hook(lambda _, ids: read.extend(ids[0][:, 0].tolist()))
    next(run), next(run)
    run.config = dataclasses.replace(run.config, batch_size=new)
    while len(read) < 20:
        next(run)
    order = run.batches.inputs[run.batches._order, 0].tolist()
    assert len(set(read)) == len(read)
    assert order[: 2 * former] == read[: 2 * former]
    assert order.index(read[2 * former]) - 2 * former < new


# -- nothing to learn with ----------------------------------------------------------------------


@pytest.mark.parametrize("switch", [
    torch.no_grad, torch.inference_mode, lambda: torch.set_grad_enabled(False),
], ids=["no_grad", "inference_mode", "set_grad_enabled"])
def test_without_gradients_a_run_says_so_and_can_go_on_elsewhere(switch):
    straight, run = run_of(), run_of()
    list(straight), next(run)
    with switch(), pytest.raises(RuntimeError, match="Gradients are switched off .* run the loop"):
        next(run)
    list(run)
    assert measured(straight) == measured(run)


def test_a_model_made_under_inference_mode_cannot_be_trained():
    with torch.inference_mode():
        model = tiny_model()
    with pytest.raises(RuntimeError, match="or where the model was made"):
        next(run_of(model=model))


def test_a_model_that_is_frozen_as_a_whole_cannot_be_trained():
    with pytest.raises(RuntimeError, match="Every parameter of the model is frozen"):
        next(run_of(model=tiny_model().requires_grad_(False)))


# -- dropout and other people's random numbers ----------------------------------------------


def dropping_run(**settings) -> TrainingRun:
    return run_of(model=tiny_model(config=dataclasses.replace(TINY, drop_rate=0.3)), **settings)


@pytest.mark.parametrize("rate", [0.0, 0.3])
def test_while_a_run_computes_it_neither_takes_nor_gives_random_numbers(rate):
    """Drawing inside its forward pass is what another thread does at the wrong moment."""
    def run() -> TrainingRun:
        return run_of(model=tiny_model(config=dataclasses.replace(TINY, drop_rate=rate)))

    straight, disturbed, drawn = run(), run(), []
    list(straight)
    disturbed.model.blocks[1].register_forward_hook(lambda *_: drawn.append(torch.rand(1)))
    torch.manual_seed(5)
    list(disturbed)
    assert measured(straight) == measured(disturbed)
    torch.manual_seed(5)
    assert torch.equal(torch.cat(drawn), torch.cat([torch.rand(1) for _ in drawn]))


def test_who_uses_the_model_meanwhile_meets_no_dropout_and_changes_nothing():
    straight, watched, seen = dropping_run(), dropping_run(), []
    list(straight)

    def use_it_in_another_thread(_, ids):
        if len(seen) < 9:
            seen.append(None)
            thread = Thread(target=look)
            thread.start()
            thread.join()

    def look():
        with torch.inference_mode():
            seen[-1] = watched.model.eval()(TEXT[None, :9]), watched.model(TEXT[None, :9])

    watched.model.blocks[0].register_forward_pre_hook(use_it_in_another_thread)
    list(watched)
    assert measured(straight) == measured(watched)
    assert all(torch.equal(*twice) for twice in seen if twice)


def test_dropout_inside_a_run_drops_its_share_and_keeps_the_mean():
    from gptlib.dropout import Dropout, dropping

    layer, ones = Dropout(0.25).eval(), torch.ones(40_000)
    with dropping(torch.Generator().manual_seed(0)):
        dropped = layer(ones)
    assert sorted(dropped.unique().tolist()) == [0.0, pytest.approx(4 / 3)]
    assert dropped.mean().item() == pytest.approx(1, abs=0.02)
    assert torch.equal(layer(ones), ones)


def test_attention_weights_are_dropped_in_a_run():
    """Only there: all other layers of this model drop nothing."""
    losses = []
    for rate in (0.0, 0.5):
        model = lively_model()
        for block in model.blocks:
            block.attention.dropout.p = rate
        losses.append(next(run_of(model=model)).loss)
    assert losses[0] != losses[1]


def test_a_dropout_layer_that_would_be_silent_is_refused():
    model = tiny_model()
    model.dropout = torch.nn.Dropout(0.1)
    with pytest.raises(ValueError, match="put a gptlib.dropout.Dropout in its place"):
        run_of(model=model)


# -- the stop button ----------------------------------------------------------------------------


def press_stop(times: int = 1) -> None:
    for _ in range(times):
        signal.raise_signal(signal.SIGINT)


def stopped_at(run: TrainingRun) -> int:
    """Run until the stop button acts.  -> the number of steps done"""
    with interrupts_handled_by(signal.default_int_handler):
        with pytest.raises(KeyboardInterrupt):
            list(run)
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    return run.step


@pytest.mark.parametrize("saved", [False, True])
def test_the_stop_button_acts_between_two_batches_of_the_validation_text(saved, tmp_path):
    straight, run, batches = run_of(), run_of(), []
    list(straight)

    def press(*_):
        if run.step == 3:
            batches.append(run.step)
            press_stop()

    handle = run.model.register_forward_hook(press)
    assert stopped_at(run) == 3
    handle.remove()
    assert batches == [3]                        # of two
    assert run.history[-1].validation_loss is None
    if saved:
        save_run(run, tmp_path / "run")
        run = load_run(tmp_path / "run", TEXT, TEXT[:90], device="cpu")
    assert [step.step for step in run] == [3, 4, 5, 6]
    assert measured(straight) == measured(run)
    assert same(weights_of(straight), weights_of(run))


def test_a_second_press_ends_the_step_under_way():
    straight, run = run_of(), run_of()
    list(straight), next(run), next(run)
    handle = run.model.register_forward_hook(lambda *_: press_stop(2))
    assert stopped_at(run) == 2
    handle.remove()
    list(run)
    assert measured(straight) == measured(run)
    assert same(weights_of(straight), weights_of(run))


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_while_the_weights_move_even_a_second_press_waits(optimizer):
    straight, run = run_of(optimizer=optimizer), run_of(optimizer=optimizer)
    list(straight), next(run), next(run)
    handle = run.optimizers[-1].register_step_pre_hook(lambda *_: press_stop(2))
    assert stopped_at(run) == 3
    handle.remove()
    list(run)
    assert measured(straight) == measured(run)
    assert same(weights_of(straight), weights_of(run))


# -- compiled -------------------------------------------------------------------------------------


def test_where_nothing_can_be_compiled_a_run_says_what_is_lacking(monkeypatch):
    def fail(_model):
        def call(_x):
            raise OSError("cl is not found")
        return call

    monkeypatch.setattr(torch, "compile", fail)
    with pytest.raises(RuntimeError, match=r"needs a C\+\+ compiler .* or leave compile out"):
        run_of(compile=True)


@pytest.fixture
def light_compiler(monkeypatch):
    """torch.compile that captures the model as ever, but writes no code, which takes long."""
    monkeypatch.setattr(torch, "compile", functools.partial(torch.compile, backend="eager"))


@pytest.mark.parametrize("by", ["the run", "its owner"])
def test_a_compiled_run_is_the_run_and_its_model_stays_open_to_looks(by, tmp_path, light_compiler):
    drop = {"optimizer": "muon", "compile": by == "the run"}
    model = tiny_model(config=dataclasses.replace(TINY, drop_rate=0.3))
    straight = dropping_run(optimizer="muon")
    run = run_of(model=torch.compile(model) if by == "its owner" else model, **drop)
    assert len(hidden_matrices(torch.compile(model))) == 12
    assert len(run.optimizers[0].param_groups[0]["params"]) == 12
    list(straight), next(run), next(run)
    save_run(run, tmp_path / "run")
    resumed = load_run(tmp_path / "run", TEXT, TEXT[:90], device="cpu")
    assert resumed.config.compile == (by == "the run")
    list(run), list(resumed)
    for other in (run, resumed):
        assert list(other.model.state_dict()) == list(straight.model.state_dict())
        for a, b in zip(straight.history, other.history, strict=True):
            assert a.loss == pytest.approx(b.loss, rel=1e-4)
    with record(run.model, "residual_start") as inside:
        run.model(TEXT[None, :9])
    assert inside
