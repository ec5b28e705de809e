import json
import struct
from pathlib import Path

import pytest
import torch
from helpers import TINY, lively_model, random_ids, tiny_model

from gptlib.checkpoint import load_model, load_run, save_model, save_run
from gptlib.config import GPTConfig
from gptlib.model import GPTModel
from gptlib.tokenizer import BPETokenizer
from gptlib.training import TrainConfig, TrainingRun

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
