import copy
import dataclasses
import json
import math
import signal
import struct
from pathlib import Path

import pytest
import torch
from helpers import TINY, lively_model, random_ids, tiny_model

import gptlib
from gptlib import checkpoint
from gptlib.blocks import TransformerBlock
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


def tie(model):
    model.output_head.weight = model.token_embedding.weight


def tie_the_other_way(model):
    model.token_embedding.weight = model.output_head.weight


def untie(model):
    model.output_head.weight = torch.nn.Parameter(model.output_head.weight.flip(0).clone())


def compile_a_block(model):
    model.blocks[1] = torch.compile(model.blocks[1], backend="eager")


def compile_itself(model):
    model.compile(backend="eager")


def other_configuration(model):
    model.blocks.append(TransformerBlock(TINY))
    model.config = dataclasses.replace(TINY, n_layers=3)


@pytest.mark.parametrize("tied", [False, True])
@pytest.mark.parametrize("change", [
    tie, tie_the_other_way, untie, compile_a_block, compile_itself, other_configuration,
    copy.deepcopy, torch.nn.Module.double, lambda model: torch.compile(model, backend="eager"),
])
def test_whatever_became_of_a_model_comes_back_as_it_was(tmp_path, change, tied):
    model = lively_model(config=dataclasses.replace(TINY, tie_weights=tied))
    changed = change(model)
    model = model if changed is None else changed
    save_model(model, tmp_path / "model")
    loaded = load_model(tmp_path / "model")
    ids = random_ids(2, 9)
    torch.testing.assert_close(loaded(ids), model(ids).float(), atol=1e-5, rtol=1e-5)
    assert not any("_orig_mod" in name for name, _ in loaded.named_parameters())
    shared = model.output_head.weight is model.token_embedding.weight
    assert loaded.config.tie_weights == shared
    assert (loaded.output_head.weight is loaded.token_embedding.weight) == shared


def test_a_run_of_a_model_that_was_tied_by_hand_or_compiled_comes_back(tmp_path):
    model = tiny_model()
    tie(model)
    compiled = torch.compile(model, backend="eager")
    run = TrainingRun(compiled, TEXT, None, TrainConfig(3, batch_size=2), device="cpu")
    next(run)
    save_run(run, tmp_path / "run")
    resumed = load_run(tmp_path / "run", TEXT, None, device="cpu")
    for one in (run, resumed):
        list(one)
    assert resumed.model.config.tie_weights
    assert torch.equal(resumed.model.output_head.weight, model.output_head.weight)


class LayerNorm(gptlib.blocks.LayerNorm):
    """A reader's own, of the same name."""


def put(name, value):
    """A change of the model: at the dotted name lies another value."""
    place, _, last = name.rpartition(".")
    return lambda model: setattr(model.get_submodule(place), last, value)


@pytest.mark.parametrize(("change", "words"), [
    (put("output_head", torch.nn.Linear(32, 70, bias=False)), "output_head: out_features is 70"),
    (put("output_head", torch.nn.Linear(32, 50, bias=False)), "output_head: out_features is 50"),
    (put("output_head", torch.nn.Linear(32, 61)), r"output_head\.bias is not part of it"),
    (put("output_head.weight", torch.nn.Parameter(torch.zeros(1, 32))), r"shape is \(1, 32\)"),
    (put("token_embedding", torch.nn.Embedding(62, 32)), "num_embeddings is 62, not 61"),
    (put("final_norm", LayerNorm(32)), r"kind is test_checkpoint\.LayerNorm, not gptlib"),
    (put("final_norm.eps", 0.1), "final_norm: eps is 0.1, not 1e-05"),
    (put("blocks.0.attention.n_heads", 8), "n_heads is 8, not 4"),
    (put("blocks.1.feed_forward.gelu", torch.nn.GELU()), "kind is torch"),
    (put("blocks.1.feed_forward.forward", lambda x: x), "forward is its own, not its class's"),
    (put("blocks.1.feed_forward.contract.bias", None), r"contract\.bias is missing"),
    (put("config", dataclasses.replace(TINY, n_heads=2)), "n_heads is 4, not 2"),
    (put("config", dataclasses.replace(TINY, drop_rate=0.5)), "p is 0.0, not 0.5"),
    (lambda model: model.blocks.append(TransformerBlock(TINY)), "blocks.2 is not part of it"),
    (lambda model: model.blocks.pop(1), "blocks.1 is missing"),
    (lambda model: put("blocks.1", model.blocks[0])(model), r"blocks\.1.*: place is blocks\.0"),
    (lambda model: model.register_buffer("steering", torch.ones(32)), "steering is not part"),
    (lambda model: torch.nn.utils.parametrizations.weight_norm(model.output_head), "kind is torch"),
    (lambda model: model.to("meta"), "lies on the meta device"),
])
def test_what_no_configuration_builds_is_refused_when_saving(tmp_path, change, words):
    model = lively_model()
    change(model)
    with pytest.raises(ValueError, match=words):
        save_model(model, tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_a_subclass_is_refused_when_saving(tmp_path):
    class Mine(GPTModel):
        pass

    with pytest.raises(ValueError, match=r"model: kind is .*Mine, not gptlib\.model\.GPTModel"):
        save_model(Mine(TINY), tmp_path / "model")


@pytest.mark.parametrize("wrap", [
    torch.nn.DataParallel, torch.nn.Sequential, torch.nn.Module.state_dict,
])
def test_what_is_no_model_is_refused_when_saving(tmp_path, wrap):
    with pytest.raises(TypeError, match="but must be a GPTModel, compiled or not"):
        save_model(wrap(lively_model()), tmp_path / "model")


@pytest.mark.parametrize("dtype", [torch.int8, torch.bool, torch.float64, "float16", None])
def test_a_type_that_cannot_hold_weights_is_refused(tmp_path, dtype):
    with pytest.raises(ValueError, match=r"dtype is .*, but must be torch\.float32 or"):
        save_model(lively_model(), tmp_path / "model", dtype)


def test_weights_too_large_for_a_type_are_named(tmp_path):
    model = lively_model()
    with torch.no_grad():
        model.final_norm.scale[3] = 1e6
    with pytest.raises(ValueError, match=r"final_norm\.scale has numbers that are too large for"):
        save_model(model, tmp_path / "model", torch.float16)
    save_model(model, tmp_path / "model", torch.bfloat16)


def test_saving_changes_neither_model_nor_random_numbers(tmp_path):
    model = lively_model().train()
    before, state = copy.deepcopy(model.state_dict()), torch.get_rng_state()
    save_model(model, tmp_path / "model")
    assert model.training
    assert torch.equal(torch.get_rng_state(), state)
    assert all(torch.equal(x, before[name]) for name, x in model.state_dict().items())


@pytest.mark.parametrize(("change", "words"), [
    (lambda tensors: tensors.pop("output_head.weight"), r"output_head\.weight is missing"),
    (lambda tensors: tensors.update(more=torch.zeros(1)), "more is not part of it"),
    (lambda tensors: tensors.update({"final_norm.scale": torch.ones(1)}), r"shape is \(1,\)"),
])
def test_a_file_of_other_weights_is_refused_and_nothing_broadcast(tmp_path, change, words):
    tensors = dict(lively_model().state_dict())
    change(tensors)
    checkpoint._write(tmp_path / "model", "model", {"config": TINY.to_dict()}, tensors)
    with pytest.raises(ValueError, match=words):
        load_model(tmp_path / "model")


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


def test_a_model_counts_in_single_precision_whatever_is_usual_here(tmp_path):
    save_model(lively_model(), tmp_path / "model")
    usual = torch.get_default_dtype()
    torch.set_default_dtype(torch.float64)
    try:
        loaded = load_model(tmp_path / "model")
    finally:
        torch.set_default_dtype(usual)
    assert {parameter.dtype for parameter in loaded.parameters()} == {torch.float32}


@pytest.mark.parametrize("change", [
    lambda x: x[:1], lambda x: torch.cat([x, x]), lambda x: x.new_zeros(()),
], ids=["shorter", "longer", "a number"])
def test_averages_of_another_shape_are_refused(tmp_path, change):
    """The fused optimizer would write beyond their memory, and the process would die."""
    run = new_run()
    next(run)
    save_run(run, tmp_path / "run")
    header, tensors = checkpoint._read(tmp_path / "run", "training run")
    tensors["optimizer.0.0.exp_avg"] = change(tensors["optimizer.0.0.exp_avg"])
    checkpoint._write(tmp_path / "run", "training run", header, tensors)
    with pytest.raises(ValueError, match="whole, but not what this library writes .* has shape"):
        load_run(tmp_path / "run", TEXT, VALIDATION, device="cpu")


def test_a_configuration_without_end_is_refused_before_anything_is_built(tmp_path):
    save_model(lively_model(), tmp_path / "model")
    header, tensors = checkpoint._read(tmp_path / "model", "model")
    for size in ({"vocab_size": 99_999_999}, {"n_layers": 10**9}):
        wrong = {"config": {**header["config"], **size}}
        checkpoint._write(tmp_path / "model", "model", wrong, tensors)
        with pytest.raises(ValueError, match="whole, but not what this library writes"):
            load_model(tmp_path / "model")


def test_a_text_that_is_none_is_not_put_down_to_the_file(tmp_path):
    save_run(new_run(), tmp_path / "run")
    with pytest.raises(TypeError, match="The token ids are given as str"):
        load_run(tmp_path / "run", "a text", VALIDATION)
