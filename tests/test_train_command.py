import json
import re
import signal
import subprocess
import sys
import time
from dataclasses import fields
from types import ModuleType

import pytest
import torch

from gptlib import train
from gptlib.checkpoint import load_model, load_newest_run
from gptlib.config import GPT_CONFIG_124M, GPTConfig
from gptlib.model import GPTModel, count_parameters, flops_per_token
from gptlib.prepare import prepare
from gptlib.token_files import open_tokens
from gptlib.tokenizer import END_OF_TEXT, BPETokenizer
from gptlib.training import TrainConfig, TrainingRun

STORY = f"Mia the cat went out. She saw a boat, and the boat saw her.\n{END_OF_TEXT}\n"
SMALL = ["--context-length", "8", "--emb-dim", "16", "--n-heads", "2", "--n-layers", "1"]
BRIEF = ["--batch-size", "4", "--evaluate-every", "3", "--warmup-steps", "2"]


@pytest.fixture(scope="module")
def prepared(tmp_path_factory):
    """A folder with a text, its tokenizer and its token file."""
    folder = tmp_path_factory.mktemp("text")
    (folder / "story.txt").write_text(STORY * 60)
    BPETokenizer.train(STORY, 280).save(folder / "own.json")
    list(prepare([folder / "story.txt"], folder / "story.bin", str(folder / "own.json")))
    return folder


def command(prepared, out, *more, text="story.bin", steps=7):
    return train.main([str(prepared / text), "--out", str(out), "--device", "cpu", "--steps",
                       str(steps), *SMALL, *BRIEF, *more])


def losses_in(out):
    lines = (out / "log.jsonl").read_text().splitlines()
    return [json.loads(line)["loss"] for line in lines]


def undisturbed(prepared, steps=7, **settings):
    """The same run as a loop over `TrainingRun`."""
    ids, tokenizer = open_tokens(prepared / "story.bin")
    config = TrainConfig(steps, **{"batch_size": 4, "evaluate_every": 3, "warmup_steps": 2,
                                   **settings})
    torch.manual_seed(config.seed)
    shape = {**train.PRESETS["tiny"], "vocab_size": tokenizer.vocab_size, "context_length": 8,
             "emb_dim": 16, "n_heads": 2, "n_layers": 1}
    cut = len(ids) - len(ids) // 10
    run = TrainingRun(GPTModel(shape), ids[:cut], ids[cut:], config, device="cpu")
    return run, list(run)


def test_the_command_is_the_run(prepared, tmp_path, capsys):
    """Its losses and its weights, to the last bit, whether the text is prepared or not."""
    run, steps = undisturbed(prepared)
    assert command(prepared, tmp_path / "tokens") == 0
    own = ["--tokenizer", str(prepared / "own.json")]
    assert command(prepared, tmp_path / "text", *own, text="story.txt") == 0
    assert "is in" in capsys.readouterr().out
    for out in (tmp_path / "tokens", tmp_path / "text"):
        told = [json.loads(line) for line in (out / "log.jsonl").read_text().splitlines()]
        timed = "tokens_per_second"
        assert [{**line, timed: 0} for line in told] == [{**vars(s), timed: 0} for s in steps]
        weights = load_model(out / "model.safetensors").state_dict()
        assert all(torch.equal(weights[name], x) for name, x in run.model.state_dict().items())
        assert BPETokenizer.load(out / "tokenizer.json").vocab_size == 280


def test_a_line_tells_how_far_it_is(prepared, tmp_path, capsys):
    assert command(prepared, tmp_path / "run", "--sample", "Mia the", "--peak-tflops", "1e-4") == 0
    first, sample, second, _, last, end = capsys.readouterr().out.splitlines()
    assert re.fullmatch(r"step 3 of 7  loss \d\.\d{3}  validation \d\.\d{3}  [\d,]+ tokens/s  "
                        r"\d+% of peak  \d+ s left", first)
    assert sample.startswith("  'Mia the")
    assert second.startswith("step 6 of 7") and last.startswith("step 7 of 7")
    assert end == f"The model after step 7 is in {tmp_path}/run/model.safetensors."


def test_every_field_is_an_option_with_its_comment_as_help():
    text = " ".join(train._parser().format_help().split())
    for group in train.GROUPS.values():
        for field in fields(group):
            option = f"--{field.name.replace('_', '-')}[ ,]"
            assert field.name == "text" or re.search(option, text)
            assert train._comments(group)[field.name]
    assert "how often the weights move" in text
    assert "windows per step (16)" in text
    assert "adamw, or \"muon\"" in text


def test_settings_come_from_a_file_and_options_before_it(prepared, tmp_path):
    path = tmp_path / "run.toml"
    path.write_text('steps = 9\nbatch_size = 4\nschedule = "linear"\nqkv_bias = true\n')
    settings = train.read_settings(["text.bin", "--config", str(path), "--steps", "1,000"])
    assert settings == {"text": "text.bin", "steps": 1000, "batch_size": 4, "schedule": "linear",
                        "qkv_bias": True}


def test_a_preset_is_a_model_of_the_family():
    assert {**train.PRESETS["gpt2-small"]} == GPT_CONFIG_124M
    assert train.PRESETS["gpt2-xl"]["n_layers"] == 48
    GPTConfig.of({**train.PRESETS["tiny"], "vocab_size": 300})


def test_a_run_in_parts_is_the_run_in_one(prepared, tmp_path):
    out = tmp_path / "run"
    _, steps = undisturbed(prepared, learning_rate=1e-3)
    rate = ["--learning-rate", "1e-3", "--checkpoint-steps", "1"]
    assert command(prepared, out, *rate, "--resume") == 0
    for path in out.glob("step-*.safetensors"):
        if int(path.stem[5:]) > 5:
            path.unlink()                     # as if it had been killed after step 5 was saved
    with (out / "log.jsonl").open("a") as log:
        log.write('{"half a li')
    assert command(prepared, out, *rate, "--resume") == 0
    assert losses_in(out) == [step.loss for step in steps]


def test_a_finished_run_goes_on_longer(prepared, tmp_path):
    assert command(prepared, tmp_path / "run", "--n-kv-heads", "1") == 0
    story = str(prepared / "story.bin")
    assert train.main([story, "--out", str(tmp_path / "run"), "--resume", "--steps", "9"]) == 0
    assert len(losses_in(tmp_path / "run")) == 9
    assert load_model(tmp_path / "run" / "model.safetensors").config.n_kv_heads == 1


def test_a_signal_saves_and_ends(prepared, tmp_path):
    """Sent to a process that is somewhere in its run; the rest of the run is as if nothing was."""
    out, steps = tmp_path / "run", 3000
    arguments = [str(prepared / "story.bin"), "--out", str(out), "--device", "cpu", "--steps",
                 str(steps), *SMALL, *BRIEF, "--validation-tokens", "0"]
    process = subprocess.Popen([sys.executable, "-m", "gptlib.train", *arguments],
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while process.poll() is None and not (
        (out / "log.jsonl").is_file() and (out / "log.jsonl").stat().st_size > 1000
    ):
        time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    output, errors = process.communicate()
    assert (process.returncode, errors) == (0, "")
    done = len(losses_in(out))
    assert 0 < done < steps
    assert f"Stopped after step {done:,}, which is saved in {out}: --resume goes on." in output
    ids, _ = open_tokens(prepared / "story.bin")
    assert load_newest_run(out, ids, None, device="cpu").step == done


def test_tensorboard_gets_the_curves_where_it_is_installed(prepared, tmp_path, monkeypatch):
    scalars = []

    class Writer:
        def __init__(self, folder, purge_step):
            assert (folder, purge_step) == (str(tmp_path / "run"), 1)

        def __enter__(self):
            return self

        def __exit__(self, *_):
            pass

        def add_scalar(self, *scalar):
            scalars.append(scalar)

    module = ModuleType("torch.utils.tensorboard")
    module.SummaryWriter = Writer
    monkeypatch.setitem(sys.modules, "torch.utils.tensorboard", module)
    monkeypatch.setattr(train, "find_spec", lambda name: name == "tensorboard")
    assert command(prepared, tmp_path / "run") == 0
    losses = losses_in(tmp_path / "run")
    told = [scalar[1:] for scalar in scalars if scalar[0] == "loss"]
    assert told == list(zip(losses, range(1, 8), strict=True))
    assert [scalar[2] for scalar in scalars if scalar[0] == "validation_loss"] == [3, 6, 7]


def test_the_work_of_a_token_is_counted():
    """6 for each weight but the positions', which are looked up, and 12 LCT for attention."""
    config = GPTConfig.of({**GPT_CONFIG_124M, "tie_weights": True, "qkv_bias": True})
    with torch.device("meta"):
        matrices = count_parameters(GPTModel(config)) - 1024 * 768
    assert 3 * flops_per_token(config) == pytest.approx(
        6 * matrices + 12 * 12 * 768 * 1024, rel=1e-3)


# -- what cannot be ------------------------------------------------------------------------------


@pytest.mark.parametrize(("more", "words"), [
    (["--emb-dim", "15"], r"A width \(emb_dim\) of 15 is not divisible by 2 heads"),
    (["--batch-size", "x"], "batch_size is 'x', but must be a whole number"),
    (["--batch-size", "4000"], r"batch_size is 4000, but must be .* from 1 to \d+: this text has"),
    (["--preset", "gpt5"], "preset is 'gpt5', but must be tiny or gpt2-small or"),
    (["--device", "cuda:7"], "There is no device 'cuda:7' here: choose from cpu"),
    (["--shard"], "this is a single one: start them with torchrun"),
    (["--tokenizer", "gpt2"], r"story\.bin was made with another tokenizer than gpt2: leave"),
    (["--vocab-size", "100"], "outside the vocabulary, which has ids 0 to 99"),
    (["--validation-tokens", "99999"], "validation_tokens=99999 of a text of .* cannot be kept"),
    (["--checkpoint-minutes", "0"], "checkpoint_minutes is 0, but must be a number above 0"),
    (["--config", "nowhere.toml"], "There is no file 'nowhere.toml': check the path"),
])
def test_what_cannot_work_is_told_in_one_sentence(prepared, tmp_path, capsys, more, words):
    assert command(prepared, tmp_path / "run", *more) == 1
    output, errors = capsys.readouterr()
    assert output == "" and re.search(words, errors) and errors.count("\n") == 1
    assert not (tmp_path / "run" / "log.jsonl").exists()


@pytest.mark.parametrize(("content", "words"), [
    ("steps = 3\nstep = 4", r"run\.toml has an unknown setting 'step': did you mean 'steps'\?"),
    ("steps: 3", r"run\.toml is not TOML \(.*\): write lines like steps = 2000"),
    ("steps = 3.5", "steps is 3.5, but must be a whole number"),
])
def test_a_configuration_file_that_cannot_be_is_explained(
    prepared, tmp_path, capsys, content, words
):
    (tmp_path / "run.toml").write_text(content)
    arguments = [str(prepared / "story.bin"), "--config", str(tmp_path / "run.toml")]
    assert train.main([*arguments, "--out", str(tmp_path / "run"), *SMALL]) == 1
    assert re.search(words, capsys.readouterr().err)


def test_a_run_that_is_there_is_not_begun_again_nor_with_another_model(prepared, tmp_path, capsys):
    out = tmp_path / "run"
    assert command(prepared, out, steps=1) == 0
    assert command(prepared, out) == 1
    assert f"{out} holds a run already: add --resume" in capsys.readouterr().err
    assert command(prepared, out, "--resume", "--n-layers", "2") == 1
    assert f"n_layers is 2, but 1 in the run in {out}" in capsys.readouterr().err
    assert command(prepared, out, "--resume", "--validation-tokens", "50") == 1
    assert "belongs to a run on another text" in capsys.readouterr().err


def test_without_text_or_steps_the_command_says_what_it_needs(prepared, tmp_path, capsys):
    assert train.main(["--steps", "3"]) == 1
    assert "The run has no text: name a text file" in capsys.readouterr().err
    assert train.main([str(prepared / "story.bin"), "--out", str(tmp_path / "run")]) == 1
    assert "The run has no steps: say how often" in capsys.readouterr().err
    with pytest.raises(SystemExit, match="2"):
        train.main(["--stepps=3"])
    assert capsys.readouterr().err == (
        "unrecognized arguments: --stepps=3: python -m gptlib.train --help lists all options.\n"
    )


def test_a_token_file_that_was_cut_short_is_explained(prepared, tmp_path, capsys):
    for path in prepared.glob("story.*"):
        (tmp_path / path.name).write_bytes(path.read_bytes())
    (tmp_path / "story.bin").write_bytes((prepared / "story.bin").read_bytes()[:-2])
    assert command(tmp_path, tmp_path / "run") == 1
    assert "so it was cut short or changed: copy it again" in capsys.readouterr().err
