"""What comes from a file is data: nothing in it can run."""

import ast
import json
import pickle
import struct
import sys

import pytest
import safetensors.torch  # noqa: F401 - so that nothing is imported while a test watches
import torch
from course import ROOT
from materials import CONFIG, known_ids, tokenizer
from torch import nn

from gptlib.checkpoint import load_model, load_run
from gptlib.pretrained.gpt2 import load_gpt2
from gptlib.tokenizer import BPETokenizer

PACKAGES = [folder for folder in (ROOT / "gptlib", ROOT / "gptcourse") if folder.is_dir()]
FILES = [path for folder in PACKAGES for path in sorted(folder.rglob("*.py"))]
MODULES = {"pickle", "marshal", "shelve", "dill", "cloudpickle", "joblib", "yaml"}
CALLS = {"eval", "exec", "__import__"}
# One place runs code: an exercise's own source from this package, as a learner's answer would run.
OUR_OWN_SOURCES = {"exec": 1}


def calls_of(tree) -> list[ast.Call]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Call)]


def imported(tree) -> set[str]:
    names = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            names |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            names.add(node.module.split(".")[0])
    return names


def unsafe_loads(tree) -> list[str]:
    """torch.load without weights_only=True, numpy.load with pickles."""
    found = []
    for call in calls_of(tree):
        name = ast.unparse(call.func)
        given = {keyword.arg: ast.unparse(keyword.value) for keyword in call.keywords}
        if name == "torch.load" and given.get("weights_only") != "True":
            found.append(ast.unparse(call))
        if "allow_pickle" in given and given["allow_pickle"] != "False":
            found.append(ast.unparse(call))
    return found


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_can_read_code_from_data(path):
    tree = ast.parse(path.read_text(encoding="utf-8"))
    assert not imported(tree) & MODULES
    assert unsafe_loads(tree) == []


def test_code_is_run_in_one_place_at_most():
    names = [
        call.func.id
        for path in FILES for call in calls_of(ast.parse(path.read_text(encoding="utf-8")))
        if isinstance(call.func, ast.Name) and call.func.id in CALLS
    ]
    assert {name: names.count(name) for name in set(names)}.items() <= OUR_OWN_SOURCES.items() or (
        not names
    )


@pytest.mark.parametrize(("source", "unsafe"), [
    ("torch.load(path)", True), ("torch.load(path, weights_only=False)", True),
    ("torch.load(path, weights_only=True)", False), ("np.load(path, allow_pickle=True)", True),
    ("np.load(path)", False),
])
def test_an_unsafe_load_would_be_seen(source, unsafe):
    assert bool(unsafe_loads(ast.parse(source))) is unsafe


class Hostile:
    """Unpickled, it would leave a file behind."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return open, (str(self.path), "w")


def hostile_files(folder):
    """Files that run code where somebody unpickles or evaluates them."""
    victim = folder / "it ran"
    code = f"__import__('pathlib').Path({str(victim)!r}).touch()"
    pickled = pickle.dumps(Hostile(victim))
    (folder / "pickle").write_bytes(pickled)
    torch.save({"config": Hostile(victim)}, folder / "torch")
    safetensors = {
        "__metadata__": {"gptlib": "model", "header": code, "digest": code, "__reduce__": code},
        "x": {"dtype": "U8", "shape": [len(pickled)], "data_offsets": [0, len(pickled)]},
    }
    header = json.dumps(safetensors).encode()
    (folder / "safetensors").write_bytes(struct.pack("<Q", len(header)) + header + pickled)
    rows = [{"byte": code}, {"merge": code}, {"special": code}, {"py/object": code}]
    saved = {"format": "gptlib byte-pair encoding, version 1", "sha256": code, "tokens": rows}
    (folder / "json").write_text(json.dumps(saved))
    (folder / "python").write_text(code)
    return victim, [path for path in folder.iterdir() if path != victim]


def test_a_hostile_file_cannot_run_code(tmp_path):
    victim, files = hostile_files(tmp_path)
    ran = []
    watched = [True]

    def watch(event, arguments):
        if watched and event in ("pickle.find_class", "exec", "os.system", "subprocess.Popen"):
            ran.append((event, arguments))

    tokenizer(), known_ids()                       # made before we watch
    with torch.device("meta"):
        nn.Embedding(2, 2)                         # torch imports 800 modules for this
    sys.addaudithook(watch)                        # it stays for ever, but looks away afterwards
    try:
        for path in files:
            for load in (load_model, BPETokenizer.load, lambda path: load_run(path, [1], None),
                         lambda path: load_gpt2(path, CONFIG)):
                with pytest.raises(ValueError):
                    load(path)
    finally:
        watched.clear()
    assert ran == []
    assert not victim.exists()


def test_those_files_are_hostile(tmp_path):
    victim, _ = hostile_files(tmp_path)
    pickle.loads((tmp_path / "pickle").read_bytes()).close()
    assert victim.exists()
