"""What the learner's file can do already, point by point: it is run alone, in a fresh process.

>>> check.my_gpt()
my_gpt.py can do 3 of 11 things.
done     turns text into GPT-2's own token ids, and back
...
"""

from __future__ import annotations

import contextlib
import importlib.util
import inspect
import io
import json
import math
import os
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import torch
from safetensors.torch import save_file

from gptcourse.exercises.early import CALLERS, EARLY, FIRST
from gptcourse.exercises.page import HEADING, Piece, course_piece, course_pieces
from gptcourse.figures import in_markup
from gptlib.model import GPTModel
from gptlib.pretrained.gpt2 import gpt2_tensors
from gptlib.storyteller import storyteller
from gptlib.tokenizer import BPETokenizer

TEXT = "Poppy the bear had a red kite. Poppy the bear had a blue kite, and it's 7 o'clock! " * 40
BEGINNING = "Poppy the"
SECONDS = 120


def _tokenizer_of_gpt2(my) -> bool:
    library = BPETokenizer.from_gpt2()
    mine = my.Tokenizer(library.merges, library.byte_order)
    text = "It's 2026: Poppy says   \"naïve\"\n\n 你好, 🦊!"
    return mine.encode(text) == library.encode(text) and mine.decode(mine.encode(text)) == text


def _learns_merges(my) -> bool:
    words = Counter(word.encode() for word in my.WORD.findall(TEXT))
    return my.learn_merges(words, 30) == BPETokenizer.train(TEXT, 256 + 30, ()).merges


def _surprise(my) -> bool:
    logits, targets = torch.zeros(2, 3, 50), torch.zeros(2, 3, dtype=torch.int64)
    return math.isclose(float(my.next_token_loss(logits, targets)), math.log(50), rel_tol=1e-5)


def _windows(my) -> bool:
    ids = torch.arange(100)
    inputs, targets = my.batch(ids, 8, 16)
    return inputs.shape == (8, 16) and torch.equal(targets, inputs + 1)


SMALL = {"vocab_size": 60, "context_length": 12, "emb_dim": 32, "n_heads": 4, "n_layers": 2,
         "drop_rate": 0.0, "qkv_bias": True}


def _looks_back_only(my) -> bool:
    torch.manual_seed(0)
    layer, x = my.MultiHeadAttention(SMALL).eval(), torch.randn(2, 6, 32)
    changed = torch.cat([x[:, :-1], x[:, -1:] + 1], dim=1)
    before, after = layer(x), layer(changed)
    return torch.allclose(before[:, :-1], after[:, :-1], atol=1e-6) and before.shape == x.shape


def _same_start(my) -> bool:
    torch.manual_seed(1)
    weights = my.GPTModel({**SMALL, "n_layers": 8}).state_dict()
    inner, last = (weights[f"blocks.3.{name}.weight"].std() for name in (
        "attention.query", "feed_forward.contract"))
    return abs(inner - 0.02) < 0.002 and abs(last - 0.02 / math.sqrt(16)) < 0.001


def _storyteller(my) -> bool:
    model, tokenizer = storyteller()
    mine = my.GPTModel(model.config.to_dict()).eval()
    mine.load_state_dict(model.state_dict())
    ids = torch.tensor([tokenizer.encode("Once upon a time Poppy the bear")])
    return torch.allclose(mine(ids), model(ids), atol=1e-3)


def _learns(my) -> bool:
    torch.manual_seed(2)
    model, ids = my.GPTModel(SMALL), torch.arange(600) % 60
    losses = list(my.train(model, ids, steps=60, peak=1e-2))
    return len(losses) == 60 and losses[-1] < 0.3 * losses[0] and (
        my.evaluate(model, *my.batch(ids, 20, 12)) < 0.3 * losses[0])


def _writes(my) -> bool:
    torch.manual_seed(3)
    library = GPTModel(SMALL).eval()
    mine = my.GPTModel(SMALL).eval()
    mine.load_state_dict(library.state_dict())
    ids, best = [5, 6, 7], []
    with torch.inference_mode():
        while len(best) < 20:                       # beyond the context, too
            best.append(library(torch.tensor([[*ids, *best][-12:]]))[0, -1].argmax().item())
    return list(my.generate(mine, ids, 20, temperature=0)) == best


def _runs_alone(my) -> bool:
    """All of main, but for the number of steps: on a text, then on what is kept of it."""
    whole_run = my.train
    my.train = lambda model, ids, steps, *more, **named: whole_run(
        model, ids, 2, *more, **named)
    Path("text.txt").write_text(TEXT * 4, encoding="utf-8")
    texts = []
    for line in (["text.txt"], ["text.pt", BEGINNING]):
        sys.argv = ["my_gpt.py", *line]
        with contextlib.redirect_stdout(io.StringIO()) as told:
            my.main()
        texts.append(told.getvalue().strip())
    return bool(texts[0]) and texts[1].startswith(BEGINNING)


def _gpt2_file(my) -> bool:
    """A small file as GPT-2 was published: its names, its matrices on their side, a mask in each
    block, and no head, which is tied."""
    torch.manual_seed(4)
    config = {**SMALL, "tie_weights": True}
    library = GPTModel(config).eval()
    with torch.no_grad():
        for parameter in library.parameters():       # no two biases or norms are equal
            parameter.add_(0.2 * torch.randn_like(parameter))
    tensors = gpt2_tensors(library)
    for layer in range(library.config.n_layers):
        tensors[f"h.{layer}.attn.bias"] = torch.ones(1, 1, 12, 12).tril()
    save_file(tensors, "model.safetensors")
    mine = my.GPTModel(config).eval()
    my.load_gpt2(mine, my.read_safetensors("model.safetensors"))
    ids = torch.arange(12)[None]
    return torch.allclose(mine(ids), library(ids), atol=1e-3)


LAYERS = ("MultiHeadAttention", "TransformerBlock", "GPTModel")
# What the file can do, the definitions that it takes, and how it is tried.
POINTS: list[tuple[str, tuple[str, ...], Callable[[ModuleType], bool]]] = [
    ("learns a vocabulary from a text", ("count_pairs", "merge", "learn_merges"), _learns_merges),
    ("turns text into GPT-2's own token ids, and back", ("Tokenizer",), _tokenizer_of_gpt2),
    ("says how surprised a model is", ("next_token_loss",), _surprise),
    ("cuts batches of windows from a text", ("batch",), _windows),
    ("attends with several heads, and never to the future", ("MultiHeadAttention",),
     _looks_back_only),
    ("starts with the random weights of GPT-2", ("GPTModel", "init_weights"), _same_start),
    ("holds the storyteller's weights, and gives its very scores", LAYERS, _storyteller),
    ("learns a text", (*LAYERS, "learning_rate", "train", "evaluate"), _learns),
    ("writes with its cache what it would write without", (*LAYERS, "KVCache", "generate"),
     _writes),
    ("learns from a file, keeps what it learned, and writes: python my_gpt.py text.txt",
     ("learn_merges", "Tokenizer", "batch", *LAYERS, "train", "evaluate", "KVCache", "generate",
      "main"),
     _runs_alone),
    ("holds the weights of a file as GPT-2's, and gives its very scores",
     (*LAYERS, "read_safetensors", "map_name", "load_gpt2"), _gpt2_file),
]
ALONE = "runs alone"


@dataclass(frozen=True, repr=False)
class FileReport:
    """The points of a file; each is "done", "not yet" or "wrong", with a reason."""

    file: str
    points: tuple[tuple[str, str, str], ...]         # state, what, why not

    def __repr__(self) -> str:
        return "\n".join([self.title, *(f"{state:<8} {what}{f' ({why})' if why else ''}"
                                        for state, what, why in self.points)])

    @property
    def title(self) -> str:
        done = sum(state == "done" for state, _, _ in self.points)
        return f"{self.file} can do {done} of {len(self.points)} things."

    def _repr_html_(self) -> str:
        rows = "".join(
            f"<tr>{''.join(map(_left, point))}</tr>" for point in self.points)
        return (f'<table><caption style="text-align: left"><b>{in_markup(self.title)}</b>'
                f"</caption>{rows}</table>")


def _left(text: str) -> str:
    return f'<td style="text-align: left">{in_markup(text)}</td>'


def file_report(path: str | Path) -> FileReport:
    """Try every point in a fresh process, in an empty folder, without this course around it."""
    path = Path(path).resolve()
    with tempfile.TemporaryDirectory() as folder:
        try:
            finished = subprocess.run(
                [sys.executable, "-c", f"from {__name__} import say; say()", str(path)],
                capture_output=True, cwd=folder,
                encoding="utf-8", errors="replace", timeout=SECONDS, check=False,
                env={**os.environ, "OMP_WAIT_POLICY": "PASSIVE"})  # else waiting threads spin
            points = json.loads(finished.stdout.splitlines()[-1])
        except subprocess.TimeoutExpired:
            points = [("wrong", ALONE, f"it did not end within {SECONDS} seconds")]
        except (ValueError, IndexError):
            last = (finished.stderr.strip().splitlines() or ["it ended without a word"])[-1]
            points = [("wrong", ALONE, last)]
    return FileReport(path.name, tuple(map(tuple, points)))


def _tried(path: str) -> list[tuple[str, str, str]]:
    """All points of the file, in this process."""
    if not Path(path).exists():
        return [("not yet", what, "there is no file yet") for what, _, _ in POINTS]
    try:
        my = _loaded(path)
    except NameError as error:
        if (piece := _piece_called(error.name)) is None:
            return [("wrong", ALONE, f"Python can't run it: {type(error).__name__}: {error}")]
        why = f"missing: {error.name} (chapter {_chapter(piece.names[0])})"
        return [("not yet", what, why) for what, _, _ in POINTS]
    except (Exception, SystemExit) as error:
        return [("wrong", ALONE, f"Python can't run it: {type(error).__name__}: {error}")]
    return [_point(my, *point) for point in POINTS]


def _loaded(path: str) -> ModuleType:
    """The file as a module, while neither package of the course can be imported."""
    specification = importlib.util.spec_from_file_location("my_gpt", path)
    my = importlib.util.module_from_spec(specification)
    course = {name: sys.modules[name] for name in sys.modules
              if name.split(".")[0] in ("gptlib", "gptcourse")}
    sys.modules.update(dict.fromkeys([*course, "gptlib", "gptcourse"]))
    try:
        specification.loader.exec_module(my)
    finally:
        sys.modules.update(course)
    return my


def _point(my: ModuleType, what: str, needs: tuple[str, ...], works: Callable) -> tuple:
    if missing := _missing(my, needs):
        return "not yet", what, missing
    try:
        right = works(my)
    except (NameError, AttributeError) as error:
        known = _piece_called(error.name)
        return "not yet", what, _missing(my, (error.name,)) if known else str(error)
    except (Exception, SystemExit) as error:
        return "wrong", what, f"{type(error).__name__}: {error}"
    return ("done", what, "") if right else ("wrong", what, "its numbers are not the right ones")


def _missing(my: ModuleType, needs: tuple[str, ...]) -> str:
    """What the file lacks of these definitions, with the chapters in which it comes, or nothing.

    Of a definition that grows, the form is needed that it has when all of them are written, or
    that its caller expects already.
    """
    latest, chapters = max(map(_chapter, needs)), {}
    for name in needs:
        callers = [caller for caller, callee in CALLERS if callee == name and caller in needs]
        if not hasattr(my, name):
            chapters.setdefault(_chapter(name), []).append(name)
        elif (chapter := _grows_in(my, name)) and (chapter <= latest or any(
                hasattr(my, caller) and not _grows_in(my, caller) for caller in callers)):
            chapters.setdefault(chapter, []).append(f"the later {name}")
    said = (f"{' and '.join(names)} (chapter {chapter})"
            for chapter, names in sorted(chapters.items()))
    return f"missing: {', '.join(said)}" if chapters else ""


def _piece_called(name: str) -> Piece | None:
    """What gpt.py calls so."""
    return next((piece for piece in course_pieces() if name in piece.names), None)


def _chapter(name: str) -> int:
    """The chapter in whose section of gpt.py a name stands; 0 for an import."""
    heading = HEADING.fullmatch(course_piece(name).heading)
    return int(heading[1][:2]) if heading else 0


def _grows_in(my: ModuleType, name: str) -> int | None:
    """The chapter in which a definition of the file has yet to grow, if it has."""
    definition = getattr(my, name)
    for first in FIRST.values():
        if first.of == name and callable(definition):
            grown = first.grown in inspect.signature(definition).parameters
            return None if grown else _chapter(name)
    if name in EARLY and isinstance(definition, type):
        try:
            inspect.signature(definition.forward).bind("self", "x", "cache")
        except TypeError:
            return _chapter("KVCache")
    return None


def say() -> None:
    """Print all points of the file that the command line names."""
    print(f"\n{json.dumps(_tried(sys.argv[1]))}")      # whatever the file printed is above
