import dataclasses
import json
import math
import signal
import struct
from pathlib import Path

import pytest
import torch
from helpers import TINY, lively_model, random_ids, tiny_model

from gptlib.checkpoint import (
    load_model,
    load_newest_run,
    load_run,
    save_model,
    save_run,
    with_checkpoints,
)
from gptlib.config import GPTConfig
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer
from gptlib.training import Step, TrainConfig, TrainingRun

TEXT, VALIDATION = random_ids(600), random_ids(90, seed=2)
DROPPING = GPTConfig(**{**TINY.to_dict(), "drop_rate": 0.2})


def new_run(optimizer: str = "adamw") -> TrainingRun:
    config = TrainConfig(
        12, batch_size=5, optimizer=optimizer, warmup_steps=3, evaluate_every=4, seed=7
    )
    return TrainingRun(tiny_model(config=DROPPING), TEXT, VALIDATION, config, device="cpu")


@pytest.mark.parametrize("tied", [False, True])
def test_a_model_comes_back_as_it_was(tmp_path, tied):
    model = lively_model(config=GPTConfig(**{**TINY.to_dict(), "tie_weights": tied}))
    save_model(model, tmp_path / "model.safetensors")
    loaded = load_model(tmp_path / "model.safetensors")
    assert loaded.config == model.config
    assert not loaded.training
    ids = random_ids(2, 9)
    assert torch.equal(loaded(ids), model(ids))
    assert [path.name for path in tmp_path.iterdir()] == ["model.safetensors"]


def test_in_half_precision_a_file_takes_half_the_space_and_the_model_counts_in_full(tmp_path):
    model = lively_model()
    for name, dtype in (("whole", torch.float32), ("half", torch.float16)):
        save_model(model, tmp_path / name, dtype)
    sizes = [(tmp_path / name).stat().st_size for name in ("half", "whole")]
    assert sizes[0] < 0.6 * sizes[1]
    loaded = load_model(tmp_path / "half")
    for ours, theirs in zip(model.parameters(), loaded.parameters(), strict=True):
        assert theirs.dtype == torch.float32
        assert torch.equal(theirs, ours.half().float())


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
@pytest.mark.parametrize("stop", [0, 1, 4, 6, 12])
def test_a_resumed_run_is_bit_identical_to_one_that_never_stopped(tmp_path, stop, optimizer):
    straight, first = new_run(optimizer), new_run(optimizer)
    list(straight)
    while first.step < stop:
        next(first)
    save_run(first, tmp_path / "run.safetensors")
    torch.manual_seed(99)
    resumed = load_run(tmp_path / "run.safetensors", TEXT, VALIDATION, device="cpu")
    assert resumed.step == stop
    assert resumed.history == first.history
    list(resumed)

    for (name, a), b in zip(
        straight.model.named_parameters(), resumed.model.parameters(), strict=True
    ):
        assert torch.equal(a, b), name
    for one, other in zip(straight.optimizers, resumed.optimizers, strict=True):
        ours, theirs = one.state_dict()["state"], other.state_dict()["state"]
        assert len(ours) == len(theirs) > 0
        for number, state in ours.items():
            assert all(torch.equal(state[key], theirs[number][key]) for key in state)
    for a, b in zip(straight.history, resumed.history, strict=True):
        assert (a.loss, a.validation_loss, a.gradient_norm) == (
            b.loss, b.validation_loss, b.gradient_norm,
        )


def test_a_text_of_which_only_some_places_are_taken_is_saved_too(tmp_path):
    config, every_other = TrainConfig(1, batch_size=2), TEXT[::2]
    save_run(TrainingRun(tiny_model(), every_other, None, config, "cpu"), tmp_path / "run")
    assert load_run(tmp_path / "run", every_other.clone(), None, device="cpu").step == 0


def test_a_run_goes_on_with_its_own_text_only(tmp_path):
    save_run(new_run(), tmp_path / "run.safetensors")
    with pytest.raises(ValueError, match="belongs to a run on another text"):
        load_run(tmp_path / "run.safetensors", TEXT[:-1], VALIDATION)


@pytest.mark.parametrize("save", [
    lambda path: save_model(lively_model(), path), BPETokenizer([]).save,
], ids=["model", "tokenizer"])
def test_a_missing_folder_is_named(tmp_path, save):
    with pytest.raises(FileNotFoundError, match=r"there is no folder .*runs: make it first"):
        save(tmp_path / "runs" / "file")


def test_a_missing_file_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no file .*nothing\.safetensors': check the path"):
        load_model(tmp_path / "nothing.safetensors")


@pytest.mark.parametrize("keep", [0, 7, 100, 0.5, -1])
def test_a_truncated_file_is_refused(tmp_path, keep):
    path = tmp_path / "model.safetensors"
    save_model(lively_model(), path)
    content = path.read_bytes()
    path.write_bytes(content[: int(keep * len(content)) if isinstance(keep, float) else keep])
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load_model(path)


def test_foreign_files_are_refused(tmp_path):
    from safetensors.torch import save_file

    path = tmp_path / "other.safetensors"
    save_file({"x": torch.zeros(3)}, path)
    with pytest.raises(ValueError, match="holds something else, not a model: choose"):
        load_model(path)
    save_run(new_run(), path)
    with pytest.raises(ValueError, match="holds a training run, not a model"):
        load_model(path)
    path.write_text("a letter to Lily")
    with pytest.raises(ValueError, match="is not a whole safetensors file"):
        load_model(path)


def test_one_altered_byte_is_noticed(tmp_path):
    path = tmp_path / "model.safetensors"
    save_model(lively_model(), path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 1
    path.write_bytes(content)
    with pytest.raises(ValueError, match="altered or damaged"):
        load_model(path)


def other_heads(header: dict) -> None:
    config = header["__metadata__"]["header"]
    header["__metadata__"]["header"] = config.replace('"n_heads": 4', '"n_heads": 2')


def other_shape(header: dict) -> None:
    header["blocks.0.feed_forward.expand.weight"]["shape"].reverse()


def other_type(header: dict) -> None:
    header["blocks.0.feed_forward.expand.weight"]["dtype"] = "I32"


@pytest.mark.parametrize("alter", [other_heads, other_shape, other_type])
def test_an_altered_header_is_noticed(tmp_path, alter):
    path = tmp_path / "model.safetensors"
    save_model(lively_model(), path)
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    header = json.loads(content[8 : 8 + length])
    alter(header)
    altered = json.dumps(header).encode()
    path.write_bytes(struct.pack("<Q", len(altered)) + altered + content[8 + length :])
    with pytest.raises(ValueError, match="altered or damaged"):
        load_model(path)


def test_loading_draws_no_random_numbers(tmp_path):
    save_model(lively_model(), tmp_path / "model.safetensors")
    save_run(new_run(), tmp_path / "run.safetensors")
    state = torch.get_rng_state()
    load_model(tmp_path / "model.safetensors")
    load_run(tmp_path / "run.safetensors", TEXT, None, device="cpu")
    assert torch.equal(torch.get_rng_state(), state)


def test_nothing_is_pickled(tmp_path):
    save_run(new_run(), tmp_path / "run.safetensors")
    content = (tmp_path / "run.safetensors").read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    assert json.loads(content[8 : 8 + length])["__metadata__"]["gptlib"] == "training run"
    source = Path(load_run.__code__.co_filename).read_text(encoding="utf-8")
    assert "torch.load" not in source
    assert "import pickle" not in source


def test_weights_lie_in_memory_after_loading_as_they_did_before(tmp_path):
    save_model(lively_model(), tmp_path / "model.safetensors")
    models = [load_model(tmp_path / "model.safetensors"), GPTModel(TINY)]
    strides = [[p.stride() for p in model.parameters()] for model in models]
    assert strides[0] == strides[1]


def measured(run: TrainingRun) -> list[tuple]:
    """A history without the one number that no two runs share, the speed."""
    return [dataclasses.astuple(step)[:-1] for step in run.history]


def same_weights(one: TrainingRun, other: TrainingRun) -> bool:
    return all(map(torch.equal, one.model.parameters(), other.model.parameters()))


# -- a run comes back as it was, or goes on otherwise ----------------------------------------------


def test_a_history_of_half_a_million_steps_is_saved(tmp_path):
    run, step = new_run(), Step(1, 2**40 + 1, 0.1, None, 1e-3, math.inf, 7.5)
    run.history = [step, dataclasses.replace(step, validation_loss=0.0)] * 250_000
    save_run(run, tmp_path / "run")
    back = load_run(tmp_path / "run", TEXT, VALIDATION, device="cpu").history
    assert back == run.history
    assert [type(x) for x in vars(back[0]).values()] == [type(x) for x in vars(step).values()]


@pytest.mark.parametrize("optimizer", ["adamw", "muon"])
def test_frozen_parameters_come_back_frozen(tmp_path, optimizer):
    def frozen() -> TrainingRun:
        run = new_run(optimizer)
        run.model.token_embedding.requires_grad_(False)
        run.model.blocks[0].attention.requires_grad_(False)
        return run

    straight, first = frozen(), frozen()
    fixed = straight.model.token_embedding.weight.clone()
    list(straight), next(first), next(first)
    save_run(first, tmp_path / "run")
    resumed = load_run(tmp_path / "run", TEXT, VALIDATION, device="cpu")
    list(resumed)
    assert measured(straight) == measured(resumed)
    assert same_weights(straight, resumed)
    assert torch.equal(fixed, resumed.model.token_embedding.weight)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float64])
def test_a_model_of_another_precision_keeps_it(tmp_path, dtype):
    def run() -> TrainingRun:
        config = TrainConfig(6, batch_size=5, warmup_steps=2)
        return TrainingRun(tiny_model().to(dtype), TEXT, VALIDATION, config, device="cpu")

    straight, first = run(), run()
    list(straight), next(first), next(first)
    save_run(first, tmp_path / "run")
    resumed = load_run(tmp_path / "run", TEXT, VALIDATION, device="cpu")
    list(resumed)
    assert {parameter.dtype for parameter in resumed.model.parameters()} == {dtype}
    assert measured(straight) == measured(resumed)
    assert same_weights(straight, resumed)


def test_half_precision_of_the_products_comes_back_too(tmp_path):
    first = new_run()
    first.config = dataclasses.replace(first.config, precision="bf16")
    next(first)
    save_run(first, tmp_path / "run")
    resumed = load_run(tmp_path / "run", TEXT, VALIDATION, device="cpu")
    list(first), list(resumed)
    assert measured(first) == measured(resumed)


def test_a_run_goes_on_longer_and_otherwise(tmp_path):
    """As the very run does whose settings change without a file between."""
    here = new_run()
    for _ in range(7):
        next(here)
    save_run(here, tmp_path / "run")
    longer = dataclasses.replace(here.config, steps=20, learning_rate=1e-4, batch_size=3)
    elsewhere = load_run(tmp_path / "run", TEXT, VALIDATION, longer, "cpu")
    here.config = longer
    for _ in range(3):
        next(here), next(elsewhere)
    save_run(elsewhere, tmp_path / "run")
    again = load_run(tmp_path / "run", TEXT, VALIDATION, device="cpu")
    list(here), list(again)
    assert (here.step, here.history[7].learning_rate < 1e-4) == (20, True)
    assert measured(here) == measured(again)
    assert same_weights(here, again)


def test_a_run_that_goes_on_with_another_optimizer_is_refused(tmp_path):
    save_run(new_run(), tmp_path / "run")
    with pytest.raises(ValueError, match="cannot go on with another optimizer"):
        load_run(tmp_path / "run", TEXT, VALIDATION, TrainConfig(20, optimizer="muon"), "cpu")


# -- checkpoints on the way ------------------------------------------------------------------------


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_a_run_is_saved_on_the_way_and_the_latest_are_kept(tmp_path):
    straight, run, folder = new_run(), new_run(), tmp_path / "new" / "folder"
    list(straight)
    saved = {step.step: names(folder) for step in with_checkpoints(run, folder, 5, keep=2)}
    assert [int(name[5:14]) for name in saved[1]] == [0]
    assert [int(name[5:14]) for name in saved[5]] == [0, 5]
    assert [int(name[5:14]) for name in saved[11]] == [5, 10]
    assert [int(name[5:14]) for name in names(folder)] == [10, 12]
    assert measured(straight) == measured(run)
    newest = load_newest_run(folder, TEXT, VALIDATION, device="cpu")
    assert newest.history == run.history


def test_minutes_count_too(tmp_path, monkeypatch):
    clock = iter(range(0, 10**6, 60))  # a minute passes between two looks at it
    monkeypatch.setattr("gptlib.checkpoint.time.monotonic", lambda: next(clock))
    list(with_checkpoints(new_run(), tmp_path, every_minutes=3, keep=9))
    assert [int(name[5:14]) for name in names(tmp_path)] == [0, 3, 6, 9, 12]


def test_a_newest_checkpoint_that_cannot_be_read_is_passed_over_with_a_word(tmp_path):
    straight, run = new_run(), new_run()
    list(straight)
    for step in with_checkpoints(run, tmp_path, every_steps=2, keep=2):
        if step.step == 7:
            break
    newest = tmp_path / "step-000000006.safetensors"
    newest.write_bytes(newest.read_bytes()[:-9])
    with pytest.warns(UserWarning, match="not a whole safetensors file.* passed over"):
        again = load_newest_run(tmp_path, TEXT, VALIDATION, device="cpu")
    assert again.step == 4
    assert names(tmp_path) == ["step-000000004.safetensors", "step-000000006.unreadable"]
    list(with_checkpoints(again, tmp_path, every_steps=2, keep=1))
    assert measured(straight) == measured(again)
    assert names(tmp_path) == ["step-000000006.unreadable", "step-000000012.safetensors"]


def test_where_the_text_is_another_one_no_checkpoint_is_passed_over(tmp_path):
    next(with_checkpoints(new_run(), tmp_path))
    before = names(tmp_path)
    with pytest.raises(ValueError, match="belongs to a run on another text"):
        load_newest_run(tmp_path, TEXT[1:], VALIDATION)
    assert names(tmp_path) == before


def test_checkpoints_of_another_run_are_not_mixed_with_those_of_this_one(tmp_path):
    list(with_checkpoints(new_run(), tmp_path))
    before = names(tmp_path)
    with pytest.raises(ValueError, match="000012.safetensors is of a later step than this run's 0"):
        next(with_checkpoints(new_run(), tmp_path))
    assert names(tmp_path) == before


def test_what_a_killed_process_left_over_is_cleared_away(tmp_path):
    (tmp_path / ".step-000000005.safetensors.4711.tmp").write_bytes(b"half a file")
    (tmp_path / "step-by-step.safetensors").write_bytes(b"somebody's own")
    list(with_checkpoints(new_run(), tmp_path, keep=1))
    assert names(tmp_path) == ["step-000000012.safetensors", "step-by-step.safetensors"]


def test_without_a_checkpoint_the_folder_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=f"no whole checkpoint in {tmp_path}: check"):
        load_newest_run(tmp_path, TEXT, VALIDATION)


@pytest.mark.parametrize("keep", [0, -1, 1.5])
def test_no_checkpoint_kept_is_no_checkpoint(tmp_path, keep):
    with pytest.raises(ValueError, match="keep is .*, but must be a whole number of at least 1"):
        next(with_checkpoints(new_run(), tmp_path, keep=keep))


def test_an_interrupted_loop_over_checkpoints_goes_on_in_the_next_one(tmp_path):
    """As in a cell that is stopped, and run again."""
    straight, run, presses = new_run(), new_run(), []

    def press(*_):
        if run.step in (3, 7, 11) and run.step not in presses:
            presses.append(run.step)
            signal.raise_signal(signal.SIGINT)

    list(straight)
    run.model.register_forward_hook(press)
    former, stops = signal.signal(signal.SIGINT, signal.default_int_handler), 0
    try:
        for _ in range(4):
            try:
                list(with_checkpoints(run, tmp_path, every_steps=1))
            except KeyboardInterrupt:
                stops += 1
    finally:
        signal.signal(signal.SIGINT, former)
    assert stops == 3
    assert measured(straight) == measured(run)
    assert load_newest_run(tmp_path, TEXT, VALIDATION, device="cpu").history == run.history
