"""A training run without a notebook: `python -m gptlib.train stories.txt --steps 2000`.

What it does is what `TrainingRun` does; its options are the fields of the classes that say how.
"""

from __future__ import annotations

import argparse
import inspect
import json
import os
import re
import signal
import sys
import time
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, fields, replace
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import Tensor

from gptlib.checkpoint import load_newest_run, save_model, whole_model, with_checkpoints
from gptlib.checks import ABOVE_0, nearest, number, one_of, shown, whole
from gptlib.config import GPT2_FAMILY, GPTConfig
from gptlib.devices import Processes, joined
from gptlib.files import existing, replacing
from gptlib.generation import complete
from gptlib.model import GPTModel, flops_per_token
from gptlib.prepare import prepare
from gptlib.token_files import load_tokenizer, open_tokens
from gptlib.tokenizer import BPETokenizer
from gptlib.training import Step, TrainConfig, TrainingDiverged, TrainingRun

PRESETS = {
    "tiny": {"context_length": 128, "emb_dim": 128, "n_heads": 4, "n_layers": 4, "drop_rate": 0.0,
             "qkv_bias": False},
    **{name.split()[0]: shape for name, shape in GPT2_FAMILY.items()},
}

# Products and sums that a device does in a second with bfloat16, by the maker's data sheet.
PEAK_TFLOPS = {"A100": 312, "H100 80GB HBM3": 989, "H200": 989}


@dataclass(frozen=True)
class CommandConfig:
    """What the command needs to know besides. It checks itself, as the others do."""

    text: str                            # a text file, a folder of .txt files, or a token file .bin
    out: str = "run"                     # folder for checkpoints, log.jsonl and the trained model
    resume: bool = False                 # go on from the newest checkpoint there, if there is one
    preset: str = "tiny"                 # or gpt2-small, -medium, -large, -xl: the model's shape
    tokenizer: str = "gpt2"              # or a file that BPETokenizer.save wrote
    validation_tokens: int | None = None  # kept back at the end; None: a tenth, 100,000 at most
    device: str | None = None            # cpu, cuda, cuda:1 or mps; None: the fastest
    shard: bool = False                  # spread weights over the processes (FSDP2)
    checkpoint_minutes: float = 10       # between two checkpoints
    checkpoint_steps: int | None = None  # likewise; what comes first counts
    sample: str | None = None            # have this continued at each evaluation
    peak_tflops: float | None = None     # a device's, for its share (MFU); None: where known

    def __post_init__(self) -> None:
        one_of("preset", self.preset, *PRESETS)
        if self.validation_tokens is not None:
            whole("validation_tokens", self.validation_tokens, "0 for no validation.")
        if self.checkpoint_steps is not None:
            whole("checkpoint_steps", self.checkpoint_steps, "1000, for example.", least=1)
        rule = "be a number above 0"
        number("checkpoint_minutes", self.checkpoint_minutes, rule, "10 is usual.", ABOVE_0)
        if self.peak_tflops is not None:
            number("peak_tflops", self.peak_tflops, rule, "look into its data sheet.", ABOVE_0)


METAVARS = {"int": "N", "float": "X", "str": "NAME"}
GROUPS = {"the run": CommandConfig, "the model": GPTConfig, "its training": TrainConfig}


def main(arguments: Sequence[str] | None = None) -> int:
    """Train as the options say. Returns 1 after a sentence for what could not be."""
    try:
        settings = read_settings(arguments)
        if "text" not in settings:
            raise ValueError("The run has no text: name a text file, a folder or a token file.")
        command = CommandConfig(**chosen(settings, CommandConfig))
        with joined(command.device, command.shard) as processes:
            train(command, settings, processes)
    except (ValueError, TypeError, OSError, TrainingDiverged) as error:
        if os.environ.get("LOCAL_RANK", "0") == "0":  # of many that fail alike, one says why
            print(error, file=sys.stderr)
        return 1
    return 0


def read_settings(arguments: Sequence[str] | None) -> dict:
    """The settings of the configuration file, and over them those of the command line, by name.

    Raises a ValueError for a setting that does not exist.
    """
    given = vars(_parser().parse_args(arguments))
    path = given.pop("config", None)
    return {**(_from_toml(path) if path else {}), **given}


def chosen(settings: Mapping, group: type) -> dict:
    """Those of the settings that are fields of this group."""
    return {field.name: settings[field.name] for field in fields(group) if field.name in settings}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        self.exit(2, f"{message}: {self.prog} --help lists all options.\n")


def _parser() -> argparse.ArgumentParser:
    """An option for each field, with the comment beside it as help, and without any default: so it
    can be told what was given."""
    parser = _Parser(
        prog="python -m gptlib.train", usage="%(prog)s TEXT --steps N [options]",
        argument_default=argparse.SUPPRESS, allow_abbrev=False,
        formatter_class=lambda prog: argparse.HelpFormatter(prog, max_help_position=30),
        description="Train a GPT on a text. Ctrl-C and SIGTERM save a checkpoint and end the run; "
        "--resume goes on from there.", epilog="On several devices: torchrun --nproc_per_node=2 -m "
        "gptlib.train TEXT ..., with --max-restarts=3 and --resume to go on after a crash.",
    )
    parser.add_argument("text", nargs="?", metavar="TEXT", help=_comments(CommandConfig)["text"])
    parser.add_argument("--config", metavar="FILE", help="a TOML file with any of these settings, "
                        "such as batch_size = 32; options come before it")
    for title, group in GROUPS.items():
        options, comments = parser.add_argument_group(title), _comments(group)
        for field in fields(group):
            name, kind = "--" + field.name.replace("_", "-"), field.type.split()[0]
            told = comments[field.name].replace("%", "%%")
            if field.name == "text":
                continue
            if kind == "bool":
                options.add_argument(name, action=argparse.BooleanOptionalAction, help=told)
            else:
                read = str if kind == "str" else _number
                options.add_argument(name, type=read, metavar=METAVARS[kind], help=told)
    return parser


def _comments(group: type) -> dict[str, str]:
    """What stands beside each field in the source, which so says it in one place only."""
    lines = re.findall(r"^    (\w+): (.*?) *# (.+)$", inspect.getsource(group), re.MULTILINE)
    told = {}
    for name, declared, comment in lines:
        default = declared.partition(" = ")[2].strip('"')
        told[name] = comment.replace("None: ", "left out: ")
        if default not in ("", "None", "False"):
            first = comment.startswith("or ")
            told[name] = f"{default}, {comment}" if first else f"{comment} ({default})"
    return told


def _number(text: str) -> int | float | str:
    """A number where it is one; what else it is, the field's own check says."""
    for kind in (int, float):
        try:
            return kind(text.replace(",", ""))
        except ValueError:
            pass
    return text


def _from_toml(path: str) -> dict:
    try:
        settings = tomllib.loads(existing(path, "leave --config out.").read_text(encoding="utf-8"))
    except ValueError as error:
        raise ValueError(f"{path} is not TOML ({error}): write lines like steps = 2000.") from None
    known = [field.name for group in GROUPS.values() for field in fields(group)]
    for name in settings:
        if name not in known:
            raise ValueError(f"{path} has an unknown setting {shown(name)}: {nearest(name, known)}")
    return settings


def train(command: CommandConfig, settings: Mapping, processes: Processes) -> None:
    """The run from its text to its model, in the folder `command.out`."""
    out = Path(command.out)
    processes.first_does(lambda: _prepare(command, out))
    ids, tokenizer = _read(command, settings, out)
    parts = _split(ids, command.validation_tokens)
    run = _begin(command, settings, parts, tokenizer, processes)
    every = command.checkpoint_steps or float("inf")
    with _stop_signals() as stop, _report(run, command, out) as report:
        for step in with_checkpoints(run, out, every, command.checkpoint_minutes, stop=stop):
            report(step)
            if command.sample is not None and step.step % run.config.evaluate_every == 0:
                _sample(run, tokenizer, command.sample)
    model = whole_model(run)
    if not processes.first:
        return
    if run.step < run.config.steps:
        print(f"Stopped after step {run.step:,}, which is saved in {out}: --resume goes on.")
        return
    save_model(model, out / "model.safetensors")
    print(f"The model after step {run.step:,} is in {out / 'model.safetensors'}.")


def _prepare(command: CommandConfig, out: Path) -> None:
    """The folder for the run, with the text as a token file, where it is none yet."""
    out.mkdir(parents=True, exist_ok=True)
    if not command.text.endswith(".bin"):
        workers = os.cpu_count() or 1
        for _ in prepare([command.text], out / "text.bin", command.tokenizer, workers):
            pass


def _read(command: CommandConfig, settings: Mapping, out: Path) -> tuple[Tensor, BPETokenizer]:
    """The ids of the text and their tokenizer, which must be the one that was asked for, if any."""
    if not command.text.endswith(".bin"):
        return open_tokens(out / "text.bin")
    ids, tokenizer = open_tokens(command.text)
    if "tokenizer" in settings and tokenizer.digest != load_tokenizer(command.tokenizer).digest:
        raise ValueError(
            f"{command.text} was made with another tokenizer than {command.tokenizer}: leave "
            "--tokenizer out, or make the token file anew with python -m gptlib.prepare."
        )
    return ids, tokenizer


def _split(ids: Tensor, n_validation: int | None) -> tuple[Tensor, Tensor | None]:
    """The text to learn from, and its end, which is kept for validation."""
    if n_validation == 0:
        return ids, None
    if n_validation is None:
        n_validation = min(100_000, len(ids) // 10)
    if not 2 <= n_validation <= len(ids) - 2:
        raise ValueError(
            f"validation_tokens={n_validation} of a text of {len(ids):,} tokens cannot be kept "
            "back: take a longer text, or 0 for no validation."
        )
    return ids[:-n_validation], ids[-n_validation:]


def _begin(
    command: CommandConfig, settings: Mapping, parts: tuple[Tensor, Tensor | None],
    tokenizer: BPETokenizer, processes: Processes,
) -> TrainingRun:
    """A new run, or the one in the folder, with the settings of training that were given."""
    training = chosen(settings, TrainConfig)
    shape = PRESETS[command.preset] if "preset" in settings or not command.resume else {}
    shape = {**shape, "vocab_size": tokenizer.vocab_size, **chosen(settings, GPTConfig)}
    there = any(Path(command.out).glob("step-*.safetensors"))
    if there and not command.resume:
        raise ValueError(
            f"{command.out} holds a run already: add --resume to go on with it, or choose another "
            "folder with --out."
        )
    if there:
        run = load_newest_run(command.out, *parts, device=processes)
        of_run = run.model.config.to_dict()
        for name, value in shape.items():
            if of_run.get(name, value) != value:
                raise ValueError(
                    f"{name} is {value}, but {of_run[name]} in the run in {command.out}: leave it "
                    "out to go on, or choose another folder with --out."
                )
        if replace(run.config, **training) != run.config:
            run.config = replace(run.config, **training)
        return run
    if "steps" not in training:
        raise ValueError("The run has no steps: say how often the weights move, as --steps 2000.")
    config = TrainConfig(**training)
    torch.manual_seed(config.seed)
    model = GPTModel({**PRESETS[command.preset], **shape})
    if processes.first:
        tokenizer.save(Path(command.out, "tokenizer.json"))
    return TrainingRun(model, *parts, config, processes)


@contextmanager
def _stop_signals() -> Iterator[Callable[[], bool]]:
    """Say whether SIGTERM or Ctrl-C has come, and let neither end the process meanwhile."""
    came = []
    former = {
        number: signal.signal(number, lambda number, _: came.append(number))
        for number in (signal.SIGTERM, signal.SIGINT)
    }
    try:
        yield lambda: bool(came)
    finally:
        for number, handler in former.items():
            signal.signal(number, handler)


@contextmanager
def _report(run: TrainingRun, command: CommandConfig, out: Path) -> Iterator[Callable]:
    """A function that tells of a step: in log.jsonl, in one line on the screen, in TensorBoard."""
    if not run.processes.first:
        yield lambda step: None
        return
    first, steps, started = run.step, run.config.steps, time.monotonic()
    for_a_token = 3 * flops_per_token(run.model.config)  # forward and backward
    for_one_percent = _peak(run, command) / for_a_token / 100  # tokens/s
    quiet = not sys.stdout.isatty()
    with replacing(out / "log.jsonl") as path:  # up to here, however much further it was
        path.write_text("".join(map(_json_line, run.history)), encoding="utf-8")
    with (out / "log.jsonl").open("a", encoding="utf-8") as log, _tensorboard(run, out) as curves:

        def tell(step: Step) -> None:
            log.write(_json_line(step))
            log.flush()
            curves(step)
            last = step.step == steps
            if quiet and not last and step.step % run.config.evaluate_every:
                return
            left = (time.monotonic() - started) / (step.step - first) * (steps - step.step)
            validation = step.validation_loss
            line = "  ".join(filter(None, [
                f"step {step.step:,} of {steps:,}", f"loss {step.loss:.3f}",
                f"validation {validation:.3f}" if validation is not None else "",
                f"{step.tokens_per_second:,.0f} tokens/s",
                f"{step.tokens_per_second / for_one_percent:.0f}% of peak" if for_one_percent
                else "",
                f"{_time(left)} left" if not last else "",
            ]))
            stays = quiet or last or validation is not None
            print(line if quiet else f"\r\033[K{line}", end="\n" if stays else "", flush=True)

        yield tell


def _json_line(step: Step) -> str:
    return json.dumps(vars(step)) + "\n"


def _time(seconds: float) -> str:
    minutes = round(seconds / 60)
    if minutes < 2:
        return f"{seconds:.0f} s"
    return f"{minutes} min" if minutes < 120 else f"{minutes / 60:.1f} h"


@contextmanager
def _tensorboard(run: TrainingRun, out: Path) -> Iterator[Callable[[Step], None]]:
    """A function that adds a step to TensorBoard's curves, where that is installed."""
    if find_spec("tensorboard") is None:
        yield lambda step: None
        return
    from torch.utils.tensorboard import SummaryWriter

    with SummaryWriter(str(out), purge_step=run.step + 1) as writer:

        def add(step: Step) -> None:
            for name, value in vars(step).items():
                if name not in ("step", "tokens") and value is not None:
                    writer.add_scalar(name, value, step.step)

        yield add


def peak_of(gpu: str) -> float | None:
    """What a GPU of this name can do in bfloat16, in FLOPs a second, where that is known."""
    return next((tflops * 1e12 for part, tflops in PEAK_TFLOPS.items() if part in gpu), None)


def _peak(run: TrainingRun, command: CommandConfig) -> float:
    """What all devices of the run could do in a second, or 0 where that is not known."""
    peak = (command.peak_tflops or 0) * 1e12
    if not peak and run.device.type == "cuda" and run.config.precision == "bf16":
        peak = peak_of(torch.cuda.get_device_name(run.device)) or 0
    return peak * run.processes.count


def _sample(run: TrainingRun, tokenizer: BPETokenizer, opening: str) -> None:
    model = whole_model(run)
    if run.processes.first:
        length = min(100, 4 * model.config.context_length)
        generator = torch.Generator().manual_seed(run.config.seed)
        print(f"  {complete(model, tokenizer, opening, length, generator=generator)!r}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
