"""What is tried, a row of the table each: a name, the inputs, what takes them, and their share."""

from __future__ import annotations

import ast
import json
import linecache
import os
import shutil
import struct
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Callable
from contextlib import suppress
from functools import cache
from itertools import islice
from pathlib import Path
from types import SimpleNamespace
from typing import NamedTuple

import gguf_file
import torch
from hypothesis import strategies as st
from materials import (
    CONFIG,
    TEXT,
    altered,
    anything,
    arguments,
    characters,
    damaged,
    file,
    fractions,
    known_ids,
    known_stories,
    model,
    mostly,
    nested,
    nothing_large,
    small,
    some_ids,
    tensors,
    texts,
    tokenizer,
)
from safetensors.torch import save, save_file

from gptcourse import figures
from gptcourse.exercises import check, keeping, progress, whole_file
from gptcourse.exercises.checking import judge
from gptlib import checkpoint, data, generation, tap, training
from gptlib.corpus import load_text, storybook
from gptlib.model import GPTModel, parameters_by_part
from gptlib.pretrained.gpt2 import gpt2, gpt2_tensors, load_gpt2
from gptlib.pretrained.smollm2 import read_gguf
from gptlib.storyteller import tell_stories
from gptlib.tokenizer import BPETokenizer, _digest
from gptlib.trace import trace

# ---------------------------------------------------------------------------------- tokenizers


@cache
def tokenizer_file() -> bytes:
    with tempfile.TemporaryDirectory() as folder:
        tokenizer().save(Path(folder, "tokenizer"))
        return Path(folder, "tokenizer").read_bytes()


@st.composite
def doubling(draw):
    """Tokens that grow twice as long with each merge."""
    rows = [{"byte": byte} for byte in range(256)]
    rows += [{"merge": [97 if n == 0 else 255 + n] * 2} for n in range(draw(st.integers(9, 80)))]
    return [{"id": n, **row, "token": ""} for n, row in enumerate(rows)]


def altered_tokenizer_rows():
    return altered(json.loads(tokenizer_file())["tokens"]) | doubling()


def read_tokenizer(content: bytes) -> None:
    loaded = BPETokenizer.load(file(content))
    loaded.decode(loaded.encode(TEXT, allowed_special="all"))
    loaded.tokens(range(loaded.vocab_size))


def read_altered_tokenizer(tokens) -> None:
    saved = {**json.loads(tokenizer_file()), "tokens": tokens, "sha256": _digest(tokens)}
    read_tokenizer(json.dumps(saved).encode())


def make_tokenizer(given: dict) -> None:
    made = BPETokenizer(**given)
    made.encode(TEXT)


tokenizer_calls = st.one_of(
    st.tuples(st.just("encode"), arguments(text=texts, allowed_special=st.just("all"))),
    st.tuples(st.sampled_from(["decode", "decode_bytes", "tokens"]), arguments(ids=some_ids)),
)


# --------------------------------------------------------------------------------- checkpoints

IDS = torch.arange(8)[None]
TRAINING = training.TrainConfig(3, batch_size=2, warmup_steps=1, evaluate_every=2)


@cache
def saved(kind: str) -> Path:
    path = Path(tempfile.mkdtemp(prefix="trust-"), "saved")
    if kind == "model":
        checkpoint.save_model(model(), path)
    else:
        optimizer = "muon" if kind == "muon run" else "adamw"
        config = training.TrainConfig(**{**vars(TRAINING), "optimizer": optimizer})
        run = training.TrainingRun(GPTModel(CONFIG), known_ids(), None, config, "cpu")
        next(run)
        checkpoint.save_run(run, path)
    return path


def content_of(kind: str) -> tuple[dict, dict[str, torch.Tensor]]:
    return checkpoint._read(saved(kind), "model" if kind == "model" else "training run")


def read_model(path) -> None:
    checkpoint.load_model(path)(IDS)


def read_run(path) -> None:
    next(checkpoint.load_run(path, known_ids(), None, device="cpu"), None)


@st.composite
def altered_content(draw, kind: str):
    """Header and tensors of a saved file, either of them changed; the digest will fit."""
    header, tensors_ = content_of(kind)
    text = json.dumps(header)
    if draw(st.booleans()):
        text = draw(st.one_of(
            altered(header).map(json.dumps), altered(header).map(json.dumps), texts,
            damaged(text.encode()).map(lambda content: content.decode("utf-8", "replace")),
            st.sampled_from(["[" * 100_000, "1" * 5000]),
        ).filter(encodable))
    tensors_ = dict(tensors_)
    for _ in range(draw(st.integers(0, 2))):
        name = draw(st.sampled_from(sorted(tensors_)))
        what = draw(st.sampled_from(["other", "delete", "rename", "flat", "type", "wider", "nan"]))
        tensor = tensors_.pop(name)
        if what == "other":
            tensors_[name] = draw(tensors())
        elif what == "rename":
            tensors_[draw(texts.filter(encodable))] = tensor
        elif what == "flat":
            tensors_[name] = tensor.reshape(-1)
        elif what == "type":
            tensors_[name] = tensor.to(draw(st.sampled_from([torch.int8, torch.float16, torch.bool,
                                                             torch.complex64, torch.float64])))
        elif what == "wider":
            tensors_[name] = torch.cat([tensor[None], tensor[None]])
        elif what == "nan":
            tensors_[name] = tensor * torch.nan
        if not tensors_:
            tensors_[name] = tensor
    return text, tensors_


def encodable(text: str) -> bool:
    return not any("\ud800" <= sign <= "\udfff" for sign in text)


def written(content, kind: str) -> Path:
    path = file(b"", "altered")
    text, tensors_ = content
    whole = {name: tensor.clone(memory_format=torch.contiguous_format)
             for name, tensor in tensors_.items()}
    save_file(whole, path, {"gptlib": kind, "header": text,
                            "digest": checkpoint._digest(text, whole)})
    return path


# ------------------------------------------------------------------------- GPT-2's layout

GPT2_CONFIG = {**CONFIG.to_dict(), "qkv_bias": True}
GPT2_JSON = {
    "model_type": "gpt2", "vocab_size": CONFIG.vocab_size, "n_positions": CONFIG.context_length,
    "n_embd": CONFIG.emb_dim, "n_head": CONFIG.n_heads, "n_layer": CONFIG.n_layers,
    "n_inner": None, "resid_pdrop": 0.1, "layer_norm_epsilon": 1e-05, "tie_word_embeddings": False,
}


@cache
def gpt2_file() -> bytes:
    return save({f"transformer.{name}" if name != "lm_head.weight" else name: tensor
                 for name, tensor in gpt2_tensors(model()).items()}, {"format": "pt"})


def altered_gpt2_headers():
    """The file with another header, whose length fits."""
    start = 8 + int.from_bytes(gpt2_file()[:8], "little")
    numbers = gpt2_file()[start:]
    return altered(json.loads(gpt2_file()[8:start])).map(json.dumps).filter(encodable).map(
        lambda text: len(text.encode()).to_bytes(8, "little") + text.encode() + numbers)


def read_gpt2(content: bytes) -> None:
    load_gpt2(file(content, "gpt2.safetensors"), GPT2_CONFIG)(IDS)


def read_gpt2_folder(given: tuple) -> None:
    """A folder with the weights, and a config.json or an index that was altered."""
    name, said = given
    folder = file(b"", "marker").parent / "gpt2"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    weights = "part.safetensors" if name.endswith("index.json") else "model.safetensors"
    (folder / weights).write_bytes(gpt2_file())
    (folder / "config.json").write_text(json.dumps(GPT2_JSON), encoding="utf-8")
    (folder / name).write_text(json.dumps(said), encoding="utf-8", errors="replace")
    load_gpt2(folder)(IDS)


gpt2_folders = st.one_of(
    st.tuples(st.just("config.json"), altered(GPT2_JSON)),
    st.tuples(st.just("model.safetensors.index.json"), altered(
        {"weight_map": {"wte.weight": "part.safetensors", "wpe.weight": "part.safetensors"}})),
)


# ------------------------------------------------------------------------------- SmolLM2's file


@cache
def smollm2_file() -> bytes:
    return gguf_file.write(file(b"", "tiny.gguf")).read_bytes()


def with_other_facts(facts) -> bytes | None:
    """A whole file that says something else, where such a file can be written."""
    with suppress(AttributeError, ValueError, OverflowError, struct.error):
        return gguf_file.write(file(b"", "other.gguf"), facts).read_bytes()


def read_smollm2(content: bytes) -> None:
    model, read_tokenizer = read_gguf(file(content, "smollm2.gguf"))
    model(torch.tensor([read_tokenizer.encode("the 12")]))


# ------------------------------------------------------------------------------- configuration

sizes = st.sampled_from([1, 2, 4, 8, 16]) | small
configurations = st.one_of(
    mostly(st.fixed_dictionaries({
        "vocab_size": mostly(sizes), "context_length": mostly(sizes), "emb_dim": mostly(sizes),
        "n_heads": mostly(sizes), "n_layers": mostly(sizes),
        "drop_rate": mostly(st.floats(0, 0.9)), "qkv_bias": mostly(st.booleans()),
    }, optional={"tie_weights": mostly(st.booleans())})),
    altered(CONFIG.to_dict()),
    st.fixed_dictionaries({name: st.sampled_from([1, 10, 10**4, 10**6, 10**9, 10**18, 10**30])
                           for name in ("vocab_size", "context_length", "emb_dim", "n_layers")}
                          ).map(lambda given: {**CONFIG.to_dict(), "n_heads": 1, **given}),
)


def use_configuration(config) -> None:
    """Count any model; build one that fits into memory."""
    if sum(parameters_by_part(config).values()) < 10_000_000:
        GPTModel(config)


# ---------------------------------------------------------------------------------- generation

generators = st.none() | st.builds(lambda: torch.Generator().manual_seed(1))
sampling = {
    "temperature": fractions, "top_k": st.none() | st.integers(1, CONFIG.vocab_size),
    "top_p": st.none() | st.floats(0, 1), "min_p": st.none() | st.floats(0, 1),
}


def sampled(**also):
    names = {name: mostly(values) for name, values in sampling.items()}
    return st.fixed_dictionaries(also, optional=names | {"generator": mostly(generators)})


prompts = st.lists(mostly(some_ids), max_size=3) | anything
generations = sampled(
    prompts=prompts, max_new_tokens=mostly(st.integers(1, 20)),
    stop_token=mostly(st.none() | small),
)
completions = sampled(
    prompt=mostly(texts.filter(bool)), max_new_tokens=mostly(st.integers(1, 20), nothing_large),
)


def use_generate(given: dict) -> None:
    list(islice(generation.generate(model(), **given), 3))


def use_complete(given: dict) -> None:
    generation.complete(model(), tokenizer(), **given)


def use_tell_stories(given: dict) -> None:
    tell_stories(model(), tokenizer(), **given)


logits = tensors(shape=st.sampled_from([[1, 5], [2, 3], [5], [0, 5], [2, 0], [1, 2, 3], []]))


# ----------------------------------------------------------------------- looking into a model

tap_names = st.sampled_from([*tap.taps(model())]) | texts
changes = st.sampled_from([
    lambda x: x * 2, lambda x: x[0], lambda x: None, lambda x: x.double(), lambda x: x.long(),
    lambda x: x * torch.nan, lambda x: "text", lambda x: x.detach().numpy(), lambda x: x.to("meta"),
])


def use_record(names) -> None:
    with tap.record(model(), *names):
        model()(IDS)


def use_patch(wanted) -> None:
    with tap.patch(model(), wanted):
        model()(IDS)


def use_trace(given: dict) -> None:
    traced = trace(model(), **given)
    assert traced.attention.shape[-1] == len(traced.ids)


# ------------------------------------------------------------------------------ data, training

def use_data(call: tuple[str, dict]) -> None:
    name, given = call
    if name == "Batches":
        batches = data.Batches(**given)
        batches.at(0), batches.at(7)
    else:
        getattr(data, name)(**given)


data_calls = st.one_of(
    st.tuples(st.just("windows"), arguments(ids=some_ids, context_length=st.integers(1, 6))),
    st.tuples(st.just("document_windows"), arguments(
        ids=some_ids, context_length=st.integers(1, 9), end_token=small)),
    st.tuples(st.just("train_validation_split"), arguments(
        ids=some_ids, validation_share=fractions)),
    st.tuples(st.just("join_documents"), arguments(
        texts=st.lists(texts)).map(lambda given: {**given, "tokenizer": tokenizer()})),
    st.tuples(st.just("Batches"), arguments(
        inputs=tensors(), targets=tensors(), batch_size=small, seed=small)),
)
train_configs = st.fixed_dictionaries({}, optional={
    name: mostly(st.just(value) | small | fractions) for name, value in vars(TRAINING).items()
})
train_configs |= st.fixed_dictionaries({"steps": st.just(2), "batch_size": st.just(2)}, optional={
    "seed": anything, "learning_rate": fractions, "muon_learning_rate": fractions,
    "weight_decay": fractions, "beta2": fractions, "clip_norm": fractions,
    "warmup_steps": small, "optimizer": st.sampled_from(["adamw", "muon"]),
    "schedule": st.sampled_from(["cosine", "linear"]), "end_token": st.none() | small,
})


def use_train_config(given: dict) -> None:
    config = training.TrainConfig(**{"steps": 1, **given})
    run = training.TrainingRun(GPTModel(CONFIG), known_ids(), None, config, "cpu")
    list(islice(run, 2))


def use_run(given: dict) -> None:
    next(training.TrainingRun(GPTModel(CONFIG), config=TRAINING, device="cpu", **given))


# ------------------------------------------------------------------------ storybook and texts

@st.composite
def near_stories(draw):
    """The beginning of a story, some of its words or letters exchanged."""
    story = draw(st.sampled_from(known_stories()))
    text = story[: draw(st.integers(0, len(story)))] if draw(st.booleans()) else story
    for _ in range(draw(st.integers(0, 2))):
        at = draw(st.integers(0, len(text)))
        word = draw(st.sampled_from([*story.split(" ")]) | texts)
        text = text[:at] + word + text[at + len(word) * draw(st.integers(0, 1)) :]
    return text * draw(st.sampled_from([1, 1, 1, 1, 2, 300]))


READERS = (storybook.parse, storybook.next_distribution, storybook.next_words,
           storybook.nats_of_beginning, storybook.part_of)


def use_story(text) -> None:
    for reader in READERS:
        try:
            reader(text)
        except storybook.ReadingError as error:  # then the others refuse it, too
            assert 0 <= error.at <= len(text)
            refused = error
        else:
            refused = None
    if refused:
        raise refused


def use_stories(given: dict) -> None:
    list(islice(storybook.stories(**given), 2))


paths = st.one_of(
    texts, anything, st.sampled_from([
        "pydok", "~", "~nobody-at-all/file", "\0", "a" * 5000, Path("."), "", "/dev/null/x", b"/",
    ]),
)
text_files = st.one_of(
    st.binary(), damaged("Grüße, 你好 and 👍\r\n".encode() * 5), texts.map(
        lambda text: text.encode("utf-16", "surrogatepass")),
    st.sampled_from([b"", b"\xef\xbb\xbf", b"\xff\xfe", b"\0" * 50]),
)


def use_text_file(content: bytes) -> None:
    load_text(file(content, "text"))


# ------------------------------------------------------------------------------------ progress

tries = st.builds(
    "{}.{}.{}".format, st.sampled_from(["02.causal_mask", "02", "", "99.unknown"]) | texts,
    st.integers() | texts, st.sampled_from(progress.STATUSES) | texts,
)


def use_progress(names: list[str]) -> None:
    """A folder in which all kinds of files lie beside the tries."""
    former, folder = os.getcwd(), Path(file(b"", "progress")).parent / "tries"
    shutil.rmtree(folder, ignore_errors=True)
    (folder / progress.FOLDER).mkdir(parents=True)
    os.chdir(folder)
    try:
        for name in names:
            with suppress(OSError, ValueError):      # no name for a file here
                Path(progress.FOLDER, name).touch()
        before = progress.load()
        progress.record("02.causal_mask", "wrong")
        known = {"tries": 0, "solved": False}
        now = progress.load()["02.causal_mask"]
        entry = before.get("02.causal_mask", known)
        assert now["tries"] == entry["tries"] + (not entry["solved"])
    finally:
        os.chdir(former)
        progress._unsaved.clear()


# ----------------------------------------------------------------------------- figures, views

written_texts = st.text(characters, max_size=60) | st.sampled_from([
    "$x_1$", "<b>&amp;</b>", "\x00\x1b[31m\u200b\ufffe", "👍👩‍🚀🏳️‍🌈", "שלום", "𝒳" * 70,
    "\\frac{1", "]]>",
])
marks = st.lists(written_texts, min_size=1, max_size=8)


def use_figure(call: Callable[[], figures.Picture]) -> None:
    picture = call()
    if isinstance(picture.data, str):
        ElementTree.fromstring(picture.data.encode("utf-8"))
    json.dumps(picture._repr_mimebundle_())


drawings = st.one_of(
    st.tuples(marks, written_texts).map(
        lambda given: lambda: figures.token_strip(given[0], range(len(given[0])), given[1])),
    nested(written_texts | small).map(lambda given: lambda: figures.gpt_diagram([given])),
    st.tuples(marks, small).map(lambda given: lambda: figures.two_tables(
        given[0], torch.eye(len(given[0])), torch.eye(len(given[0])).log(), given[1])),
)
charts = st.one_of(
    st.tuples(marks, written_texts).map(lambda given: lambda: figures.attention_heatmap(
        torch.eye(len(given[0])), *given)),
    st.tuples(marks, written_texts).map(lambda given: lambda: figures.matrix(
        torch.eye(len(given[0])), *[given[0]] * 2, title=given[1])),
    st.tuples(marks, written_texts).map(lambda given: lambda: figures.bars(
        given[0], range(len(given[0])), *given[1:])),
    st.tuples(marks, written_texts, tensors()).map(lambda given: lambda: figures.lines(
        {label: ([0, 1], [1, 2]) for label in given[0]}, given[1], given[1], title=given[1])),
    st.tuples(tensors(), written_texts).map(
        lambda given: lambda: figures.matrix(given[0], title=given[1])),
    st.tuples(tensors(), tensors()).map(
        lambda given: lambda: figures.lines({"a": given}, "x", "y")),
)


def use_view(given: tuple[str, str]) -> None:
    from gptcourse import views

    name, text = given
    makers = {
        "TokenizerExplorer": lambda: views.TokenizerExplorer(tokenizer(), text),
        "TimeMachine": lambda: views.TimeMachine([(0, model()), (1, model())], tokenizer(), text),
        "PatchingMap": lambda: views.PatchingMap(model(), tokenizer(), f"{text} a", f"{text} b"),
    }
    make = makers.get(name, lambda: getattr(views, name)(model(), tokenizer(), text))
    view = make()
    try:
        if view.last_error is not None:
            raise view.last_error
        assert view.picture.alt
        json.dumps(view._repr_mimebundle_(), ensure_ascii=False).encode("utf-8")
    finally:
        view.close()


def use_scaling(rows: list[dict]) -> None:
    from gptcourse.views import ScalingExplorer

    view = ScalingExplorer([SimpleNamespace(**row) for row in rows])
    if view.last_error is not None:
        raise view.last_error
    assert view.picture.alt and view.shown["best"][1] > 0
    json.dumps(view._repr_mimebundle_())


amounts = st.floats(1e-9, 1e27) | st.sampled_from([1e5, 1e6, 1e9, 0.1]) | fractions
scaling_runs = st.lists(st.fixed_dictionaries({
    "budget": st.sampled_from([1e9, 2e10, 3e11]) | amounts, "parameters": amounts,
    "tokens": amounts, "flops": amounts, "loss_above_floor": amounts}), max_size=20)
READING_VIEWS = ("TokenizerExplorer", "AttentionExplorer", "SamplingBench",
                 "AttentionMicroscope", "GenerationStepper", "TimeMachine", "ModelWalk",
                 "AblationBench", "PatchingMap")


# ------------------------------------------------------------------------------------ my_gpt.py

MY_GPT = '''"""My GPT."""

from __future__ import annotations

import math

import torch
from torch import nn


LUCKY = 7
OTHER = "seven"

# ---- 02 A first language model: which token comes next, and how surprising is it? ----------------

# what I wrote myself
def next_token_loss(logits, targets):
    return nn.functional.cross_entropy(logits.flatten(0, 1), targets.flatten())


def triangle(x):
    """My own: not what the notebook calls so."""
    return x.triu(LUCKY)

# ---- 03 Attention: every token gathers what it needs from the tokens before it -------------------

def causal_mask(n_tokens):
    return torch.ones(n_tokens, n_tokens).tril() > 0    # all of the past

@torch.no_grad()
def try_it(text="a \\
b"):
    return triangle(text), """
causal_mask = 3"""
'''
CELL = """import numpy as np

def {helper}(x):
    return x.tril()

def causal_mask(n_tokens):
    return {helper}(torch.from_numpy(np.ones((n_tokens, n_tokens), dtype=bool)))
"""


helpers = st.sampled_from(["triangle", "lower"])


@st.composite
def lines_moved(draw):
    """Lines of a file that were moved, deleted, doubled, or have an odd character in them."""
    lines = MY_GPT.splitlines(keepends=True)
    for _ in range(draw(st.integers(1, 4))):
        at, to = (draw(st.integers(0, len(lines) - 1)) for _ in range(2))
        how = draw(st.sampled_from(["move", "delete", "double", "odd"]))
        line = lines.pop(at) if how in ("move", "delete") else lines[at]
        if how == "odd":
            lines[at] = line[:-1] + draw(st.sampled_from("\f\v\x1c\x85\u2028\r\0")) + line[-1]
        elif how != "delete":
            lines.insert(to, line)
    return "".join(lines).encode()


def use_my_gpt(given: tuple[bytes, str]) -> None:
    """A definition and its helper are kept in a file; the others in it, and its lines, stay."""
    content, helper = given
    cell = CELL.format(helper=helper)
    linecache.cache["<cell>"] = len(cell), None, cell.splitlines(keepends=True), "<cell>"
    exec(compile(cell, "<cell>", "exec"), notebook := {"torch": torch})
    former, folder = os.getcwd(), Path(file(b"", "my_gpt")).parent / "learner"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    os.chdir(folder)
    try:
        path = Path("my_gpt.py")
        path.write_bytes(content)
        told = keeping.keep(check.causal_mask.exercise, notebook["causal_mask"], judge)
        assert told.endswith(".") and "\n" not in told, told
        assert not lines_of(content) - lines_of(path.read_bytes()), "lines are lost"
        if told == "Kept in my_gpt.py.":
            ast.parse(path.read_bytes())
            assert not runs(content) or runs(path.read_bytes())
        else:
            assert path.read_bytes() == content
        assert callable(keeping.Mine().causal_mask)
        whole_file._tried(str(path))
    finally:
        os.chdir(former)


def lines_of(content: bytes) -> Counter:
    return Counter(line.strip() for line in content.replace(b"\r", b"\n").split(b"\n")
                   if line.strip())


def runs(content: bytes) -> bool:
    try:
        return bool(compile(content, "my_gpt.py", "exec"))
    except (SyntaxError, ValueError):
        return False


# ------------------------------------------------------------------------------------ the table

class Target(NamedTuple):
    """A name, the inputs, what takes one of them, and how many of them there are in a thousand."""

    name: str
    inputs: st.SearchStrategy
    use: Callable[[object], object]
    share: int


def call(function: Callable, *fixed) -> Callable[[dict], object]:
    return lambda given: function(*fixed, **given)


TARGETS = (
    Target("tokenizer files: bytes", damaged(tokenizer_file()), read_tokenizer, 60),
    Target("tokenizer files: content", altered_tokenizer_rows(), read_altered_tokenizer, 60),
    Target("tokenizers: arguments", arguments(
        merges=st.lists(st.tuples(small, small)) | st.just([(1, 2), (256, 256)]),
        special_tokens=st.lists(texts, max_size=3),
        byte_order=st.just(range(256))), make_tokenizer, 30),
    Target("tokenizers: training", arguments(
        text=st.text(characters, min_size=9), vocab_size=st.integers(257, 262),
        special_tokens=st.lists(texts, max_size=2)), call(BPETokenizer.train), 30),
    Target("tokenizers: texts and ids", tokenizer_calls,
           lambda given: getattr(tokenizer(), given[0])(**given[1]), 40),
    Target("models: bytes", damaged(saved("model").read_bytes()),
           lambda content: read_model(file(content)), 60),
    Target("models: content", altered_content("model"),
           lambda content: read_model(written(content, "model")), 60),
    Target("runs: bytes", damaged(saved("run").read_bytes()),
           lambda content: read_run(file(content)), 40),
    Target("runs: content", altered_content("run") | altered_content("muon run"),
           lambda content: read_run(written(content, "training run")), 60),
    Target("GPT-2's weights: bytes", damaged(gpt2_file()), read_gpt2, 60),
    Target("GPT-2's weights: header", altered_gpt2_headers(), read_gpt2, 60),
    Target("GPT-2's weights: folders", gpt2_folders, read_gpt2_folder, 40),
    Target("SmolLM2's file: bytes", damaged(smollm2_file()), read_smollm2, 30),
    Target("SmolLM2's file: facts", altered(gguf_file.FACTS).map(with_other_facts).filter(bool),
           read_smollm2, 30),
    Target("GPT-2's weights: arguments", arguments(
        size=st.sampled_from(["124M", "1.5B"]), path=paths), call(gpt2), 20),
    Target("paths", st.tuples(paths, st.sampled_from(
        [load_text, checkpoint.load_model, BPETokenizer.load])), lambda given: given[1](given[0]),
        40),
    Target("configurations", configurations, use_configuration, 60),
    Target("ids for the model", some_ids | nested(tensors()), lambda ids: model()(ids), 20),
    Target("generate", generations, use_generate, 50),
    Target("complete", completions, use_complete, 30),
    Target("tell_stories", st.fixed_dictionaries(
        {"n": mostly(st.integers(1, 3), nothing_large)}, optional={"seed": small | anything}),
        use_tell_stories, 20),
    Target("next_token", st.fixed_dictionaries({"logits": mostly(logits)}, optional={
        name: mostly(values | small) for name, values in sampling.items()}),
        call(generation.next_token), 40),
    Target("trace", arguments(ids=some_ids, labels=st.none() | st.lists(texts)), use_trace, 20),
    Target("record", st.lists(mostly(tap_names), max_size=3), use_record, 20),
    Target("patch", st.dictionaries(mostly(tap_names, st.none() | small | texts), mostly(
        changes, small | texts), max_size=2) | anything, use_patch, 20),
    Target("evaluate", st.fixed_dictionaries({"ids": mostly(some_ids)}, optional={
        "batch_size": mostly(small), "end_token": mostly(st.none() | small)}),
        call(training.evaluate, model()), 20),
    Target("windows and batches", data_calls, use_data, 50),
    Target("settings of a run", train_configs, use_train_config, 40),
    Target("texts of a run", arguments(
        train_ids=st.builds(known_ids), validation_ids=st.none() | some_ids), use_run, 20),
    Target("stories", mostly(near_stories(), anything), use_story, 60),
    Target("lists of stories", mostly(st.lists(mostly(near_stories(), anything), max_size=3)),
           storybook.judge, 20),
    Target("stories to be told", arguments(
        n=st.integers(1, 3), seed=small, part=st.sampled_from(["train", "validation"])),
           use_stories, 10),
    Target("text files", text_files, use_text_file, 30),
    Target("progress: names of files", st.lists(tries | texts, max_size=8), use_progress, 40),
    Target("my_gpt.py: bytes", st.tuples(damaged(MY_GPT.encode()), helpers), use_my_gpt, 20),
    Target("my_gpt.py: lines moved, deleted, doubled", st.tuples(lines_moved(), helpers),
           use_my_gpt, 20),
    Target("diagrams", drawings, use_figure, 30),
    Target("charts", charts, use_figure, 5),
    Target("views", st.tuples(st.sampled_from(READING_VIEWS), written_texts), use_view, 5),
    Target("the scaling view", scaling_runs, use_scaling, 5),
)
