"""Exercises of chapter 8: a file's bytes as tensors, their names, and where each belongs."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Generator, Tensor

from gptcourse import gpt
from gptcourse.exercises.answers import TextAnswer, described
from gptcourse.exercises.classes import filled
from gptcourse.exercises.exercise import TODO, Exercise, Property, says_todo
from gptcourse.exercises.model import small_config
from gptcourse.exercises.properties import normal
from gptcourse.exercises.resemblance import Trial
from gptcourse.exercises.trial import Raised, attempt
from gptlib.pretrained.gpt2 import gpt2_tensors


@dataclass(frozen=True)
class NamedTensors:
    """Several tensors by name; `name` says what they are."""

    name: str
    # (name, got, expected, all expected) -> what one wrong tensor resembles, in words
    known: Callable[[str, Tensor, Tensor, Mapping], str | None] = lambda *_: None

    def malformed(self, answer: Any, expected: Mapping) -> str | None:
        if not isinstance(answer, Mapping):
            return (f"you return {described(answer)}, but must return a dictionary of {self.name} "
                    "by name.")
        for name in [*expected, *answer]:
            if name not in answer:
                return f"{name} is missing among your {self.name}: you have {_some(answer)}."
            if name not in expected:
                return f"{_short(name)} is among your {self.name}, but does not belong there."
        for name, wanted in expected.items():
            got = answer[name]
            if not isinstance(got, Tensor):
                return f"{name} is {described(got)}, but must be a tensor."
            if (got.shape, got.dtype) != (wanted.shape, wanted.dtype):
                return (f"{name} has shape {tuple(got.shape)} and dtype {got.dtype}, but must have "
                        f"{tuple(wanted.shape)} and {wanted.dtype}.")
        return None

    def difference(self, answer: Mapping, expected: Mapping) -> str | None:
        for name, wanted in expected.items():
            if not _same(answer[name], wanted):
                wrong = sum(not _same(answer[other], x) for other, x in expected.items())
                return (f"{name} holds other numbers than it should ({wrong} of {len(expected)} "
                        f"{self.name} do).")
        return None

    def alike(self, answer: Any, other: Any) -> bool:
        return all(isinstance(x, Mapping) for x in (answer, other)) and (
            answer.keys() == other.keys()
            and all(_same(x, other[name]) for name, x in answer.items()))

    def trace(self, trials: Sequence[Trial]) -> str | None:
        """What the first wrong tensor of the first wrong trial resembles."""
        answer, expected = trials[0].answer, trials[0].expected
        if self.malformed(answer, expected):
            return None
        for name, wanted in expected.items():
            if not _same(answer[name], wanted):
                return self.known(name, answer[name], wanted, expected)
        return None


def _same(one: Any, other: Any) -> bool:
    return (isinstance(one, Tensor) and isinstance(other, Tensor) and one.shape == other.shape
            and torch.allclose(one.double(), other.double(), rtol=1e-5, atol=1e-7, equal_nan=True))


def _some(names) -> str:
    shown = [_short(name) for name in list(names)[:3]]
    return f"{', '.join(shown)}{', …' if len(names) > 3 else ''}" if shown else "none"


def _short(name: Any) -> str:
    text = name if isinstance(name, str) else repr(name)
    return text if len(text) <= 60 else f"{text[:58]} …"


# ----------------------------------------------------------------------------- read_safetensors


class FileOfTensors(bytes):
    """The bytes of a file, as a message shows them."""

    def __repr__(self) -> str:
        return f"<a file of {len(self)} bytes>"


def read_from_disk(read: Callable) -> Callable:
    """A trial: the bytes are written to a file, and that is read.

    What Python says of a wrong header is far from what is wrong with it.
    """

    def answer(path):
        if says_todo(read):
            return TODO
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder) / "model.safetensors"
            file.write_bytes(path)
            try:
                return read(file)
            except (UnicodeDecodeError, json.JSONDecodeError, MemoryError, OverflowError) as error:
                raise ValueError(_NO_HEADER).with_traceback(error.__traceback__) from None

    return answer


_NO_HEADER = ("that isn't the header: the first eight bytes, the smallest one first (\"little\"), "
              "say how long it is, and it follows right behind them")


def _listed_backward(content: bytes) -> FileOfTensors:
    """The same file, but its header lists the tensors in reverse order."""
    start = 8 + int.from_bytes(content[:8], "little")
    header = json.dumps(dict(reversed(json.loads(content[8:start]).items()))).encode()
    return FileOfTensors(len(header).to_bytes(8, "little") + header + content[start:])


def _files(generator: Generator):
    """With and without remarks in the header, which lists the tensors in any order; matrices,
    vectors, single numbers; several types."""
    x = normal(generator, 3, 4)
    yield (FileOfTensors(save({"x": x}, {"format": "pt"})),)
    yield (FileOfTensors(save({"b": normal(generator, 5), "a": normal(generator, 2, 3, 4)})),)
    yield (_listed_backward(save({"a": normal(generator, 3), "b": normal(generator, 4, 2)})),)
    yield (FileOfTensors(save({
        "half": normal(generator, 6, 2).half(), "mask": torch.ones(3, 3).tril().bool(),
        "one": torch.tensor(-1e4), "wte.weight": normal(generator, 7, 5)}, {"format": "pt"})),)


def _read_wrongly(name: str, got: Tensor, wanted: Tensor, _all: Mapping) -> str | None:
    if _same(got.flatten().sort().values, wanted.flatten().sort().values):
        return ("The right numbers, but at other places: they lie row by row, as view takes them, "
                "so leave out the transpose.")
    return ("These are other bytes of the file: the header's places count from where the header "
            "ends, so byte 0 of the numbers is byte 8 plus the header's length.")


_HEADER = '        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))\n'
_SEEK = "file.seek(start + first)"
_VIEW = 'numbers.view(about["shape"])'

READ_SAFETENSORS = Exercise(
    "08.read_safetensors",
    goal="Read the tensors of a file, by the header that says where each of them lies.",
    returns=NamedTensors("tensors", _read_wrongly),
    cases=_files,
    use=read_from_disk,
    blanks=[
        (_HEADER, "        header = TODO\n"),
        (f'            first, end = about["data_offsets"]\n            {_SEEK}\n'
         "            content = bytearray(file.read(end - first))\n"
         '            numbers = torch.frombuffer(content, dtype=types[about["dtype"]])\n'
         f"            tensors[name] = {_VIEW}\n", "            TODO\n"),
    ],
    edits=[
        (f"            {_SEEK}\n", "",
         "Without seek you read on where the last read ended, but the header may list the tensors "
         "in any order."),
        (_VIEW, 'numbers.view(*about["shape"])',
         "A single number has the shape [], an empty list: hand the list itself to view, without "
         "the star."),
        ('dtype=types[about["dtype"]]', "dtype=torch.float32",
         "You take every number for a float32: the header has the type of each tensor."),
    ],
    hints=(
        "The first eight bytes are a whole number, the length of the header. file.read(8) gives "
        "them and moves on, so that the next file.read begins where they end. For a tensor, "
        "file.seek goes to a place of the file, counted in bytes from its beginning.",
        """
        1. read 8 bytes; int.from_bytes(..., "little") makes a number of them
        2. read so many bytes more: they are JSON, and json.loads makes a dictionary of them
        3. for each tensor, data_offsets has its first byte and the one after its last
        4. go to start + first, and read end - first bytes
        5. torch.frombuffer makes numbers of them, in the type the header names; view the shape
        """,
        """
        header = json.loads(file.read(int.from_bytes(file.read(8), "little")))
        ...                                       # given
        for name, about in header.items():
            first, end = about["data_offsets"]
            file.seek(...)                        # counted from the file's beginning
            content = bytearray(file.read(end - first))
            numbers = torch.frombuffer(content, dtype=types[about["dtype"]])
            tensors[name] = numbers.view(about["shape"])
        """,
    ),
)

# ------------------------------------------------------------------------------------- map_name


class NameAnswer(TextAnswer):
    """A name in parts, with dots between them."""

    def trace(self, trials: Sequence[Trial]) -> str | None:
        """Which parts are wrong, and whether it's all of a kind."""
        wrong = {}
        for trial in trials:
            ours, got, wanted = (text.split(".") for text in (
                trial.arguments["name"], trial.answer, trial.expected))
            if len(got) != len(wanted):
                return (f"What you make of {trial.arguments['name']} should have as many parts as "
                        f"it, {len(wanted)}, and has {len(got)}: each part is replaced by one, or "
                        "stays, and a dot stands between them.")
            wrong |= {own: (one, other) for own, one, other in zip(ours, got, wanted, strict=True)
                      if one != other}
        (own, (got, wanted)), *more = wrong.items()
        found = "stays as it is" if got == own else f"becomes {got or 'nothing'}"
        others = f"; wrong, too: {', '.join(name for name, _ in more)}" if more else ""
        return f"The part {own} {found}, but must become {wanted}{others}."


def _names(_generator: Generator):
    """Every name of a model of two blocks, and blocks of two digits."""
    with torch.device("meta"):
        names = list(gpt.GPTModel(small_config(9, 6, 4, 1, 2)).state_dict())
    yield from ((name,) for name in names)
    yield ("blocks.10.attention.key.bias",)
    yield ("blocks.47.feed_forward_norm.shift",)


_RETURN = '".".join(theirs.get(part, part) for part in name.split("."))'
_LOOP = ("    for ours, other in theirs.items():\n        name = name.replace(ours, other)\n"
         "    return name\n")

MAP_NAME = Exercise(
    "08.map_name",
    goal="Say what GPT-2's file calls a parameter of ours.",
    returns=NameAnswer("name"),
    cases=_names,
    edits=[
        (f"    return {_RETURN}\n", _LOOP,
         "A replace meets its word inside of longer ones, too, attention in attention_norm, and "
         "in what an earlier replace has put there: take the name apart at its dots, and look up "
         "each part as a whole."),
        ("theirs.get(part, part)", "theirs[part]",
         "The number of a block is in no list: theirs.get(part, part) leaves a part as it is."),
    ],
    hints=(
        "Take a name apart at its dots: blocks, 0, attention, query, bias. Each part has a "
        "counterpart of its own in the file, whatever stands around it. Only the number and the "
        "words weight and bias stay.",
        """
        1. a dictionary: each of our parts, and what it is called there
        2. query, key and value all become c_attn; output and contract both become c_proj
        3. name.split(".") gives the parts
        4. each part is looked up; one that isn't in the dictionary stays
        5. ".".join(...) puts them together again
        """,
        """
        theirs = {
            "token_embedding": "wte", "position_embedding": "wpe", "blocks": "h",
            "attention_norm": "ln_1", "attention": "attn", "query": "c_attn", "key": "c_attn",
            "value": "c_attn", "output": "c_proj", "feed_forward_norm": "ln_2",
            "feed_forward": "mlp", "expand": "c_fc", "contract": "c_proj",
            "final_norm": "ln_f", "output_head": "lm_head", "scale": "weight", "shift": "bias",
        }
        return ".".join(... for part in name.split("."))      # what stays is in no dictionary
        """,
    ),
)

# ------------------------------------------------------------------------------------ load_gpt2


def loaded(load_gpt2: Callable) -> Callable:
    """A trial: the weights that the model has afterward; where it is returned, it may be another.

    What torch says of weights that do not fit comes in several lines, of which the second tells.
    """

    def answer(model, tensors):
        if says_todo(load_gpt2):
            return TODO
        try:
            result = load_gpt2(model, tensors)
        except RuntimeError as error:
            if "loading state_dict" in str(error):
                error.args = (str(error).split("\n\t", 2)[1].strip(),)
            raise
        model = result if isinstance(result, torch.nn.Module) else model
        return {name: x.detach().clone() for name, x in model.state_dict().items()}

    return answer


class Tensors(dict):
    """Tensors by name, as a message shows them."""

    def __repr__(self) -> str:
        return f"<{len(self)} tensors>"


def _model_and_tensors(config: dict, prefix: str = "", masks: bool = False) -> tuple:
    """An untrained model, and the weights of another one in GPT-2's layout."""
    stored = gpt2_tensors(filled(gpt.GPTModel(config)))
    tensors = Tensors((prefix * (name != "lm_head.weight") + name, tensor)
                      for name, tensor in stored.items())
    if masks:
        N = config["context_length"]
        for layer in range(config["n_layers"]):
            tensors[f"{prefix}h.{layer}.attn.bias"] = torch.ones(1, 1, N, N).tril()
            tensors[f"{prefix}h.{layer}.attn.masked_bias"] = torch.tensor(-1e4)
    torch.manual_seed(9)
    return gpt.GPTModel(config).eval(), tensors


SQUARE = small_config(13, 7, 6, 3, 2, tie_weights=True)


def _to_load(_generator: Generator):
    """A tied model, one with a head of its own, one as OpenAI has it, with masks and no prefix."""
    yield _model_and_tensors(SQUARE, "transformer.")
    yield _model_and_tensors(small_config(9, 5, 4, 1, 3), "transformer.")
    yield _model_and_tensors(small_config(11, 6, 8, 2, 1, tie_weights=True), masks=True)
    model, tensors = _model_and_tensors(small_config(10, 8, 4, 2, 2, tie_weights=True), masks=True)
    yield gpt.GPTModel({**model.config, "tie_weights": False}).eval(), tensors


def _loaded_wrongly(name: str, got: Tensor, wanted: Tensor, expected: Mapping) -> str | None:
    """Whether a weight is turned, or has what belongs to another."""
    if got.dim() == 2 and _same(got, wanted.T):
        if ".c_" not in gpt.map_name(name):
            return (f"{name} is turned, though it is stored as ours is: only the layers that are "
                    "called c_ something are transposed.")
        return (f"{name} is turned: every layer that is called c_ something is stored as (in, "
                "out), also where it is square and the shape tells nothing.")
    for other, tensor in expected.items():
        if other != name and _same(got, tensor):
            return (f"{name} has the numbers that belong to {other}: c_attn holds first the "
                    "query's, then the key's, then the value's.")
    return (f"The numbers in {name} lie elsewhere in GPT-2's tensor, or nothing was loaded into "
            "it: transpose first, then cut c_attn along its first axis.")


def _is_strict(load_gpt2: Callable) -> str | None:
    """A tensor that is missing, left over or of another shape is refused."""
    def refuses(change: Callable[[dict], Any]) -> bool:
        model, tensors = _model_and_tensors(SQUARE)
        change(tensors)
        return isinstance(attempt(load_gpt2, (model, tensors)), Raised)

    if not refuses(lambda all_: all_.pop("h.1.mlp.c_fc.bias")):
        return ("all numbers are right, but where h.1.mlp.c_fc.bias is missing in the file, it "
                "goes on in silence, with a random one: raise an error, as load_state_dict does "
                "unless it is told strict=False.")
    if not refuses(lambda all_: all_.update({"h.2.ln_1.bias": torch.zeros(6)})):
        return ("all numbers are right, but a file with another block, h.2, is taken for one of "
                "two: raise a ValueError where tensors are left over.")
    if not refuses(lambda all_: all_.update({"wpe.weight": all_["wpe.weight"][:1]})):
        return ("all numbers are right, but a position table with one row is taken for a whole "
                "one: copy_ spreads it over all rows, and load_state_dict would not.")
    return None


_COMMENT = "# stored (in, out), in nn.Linear (out, in)"
_TURN = (f'        if ".c_" in map_name(name):{_COMMENT:>65}\n'
         "            tensor = tensor.t()\n")
_CUT = "tensor = tensor.chunk(3)[number]"
_CUTS = ('        for number, part in enumerate(("query", "key", "value")):\n'
         '            if f".{part}." in name:                       # a third of c_attn\n'
         f"                {_CUT}\n")
_NOT_ASKED_FOR = "given.keys() - map(map_name, weights)"

LOAD_GPT2 = Exercise(
    "08.load_gpt2",
    goal="Fill a model with the weights of a file in GPT-2's layout: all of them, and no others.",
    returns=NamedTensors("weights", _loaded_wrongly),
    cases=_to_load,
    use=loaded,
    changes_inputs=True,
    blanks=[
        (_TURN + _CUTS, "        tensor = TODO\n"),
        (_NOT_ASKED_FOR, "TODO"),
    ],
    edits=[
        (_TURN, "",
         "Nothing is transposed: layers that are called c_ something are stored as (in, out), and "
         "nn.Linear has (out, in)."),
    ],
    hints=(
        "For one parameter of ours, ask three things about its tensor in the file. Does it belong "
        "to a layer called c_ something? Then it lies there turned. Does it belong to query, key "
        "or value? Then only a third is yours. And at the end: which tensors of the file has "
        "nobody asked for?",
        """
        for each name:
        1. its tensor, under the name that map_name gives
        2. if that name has ".c_" in it: tensor.t(), which leaves a vector as it is
        3. for query, key and value: tensor.chunk(3) cuts along the first axis; take the first,
           second or third
        then: names in given which are no map_name of ours; if there are any, a ValueError
        """,
        """
        for name in model.state_dict():
            tensor = given[map_name(name)]
            if ".c_" in map_name(name):
                tensor = tensor.t()
            for number, part in enumerate(("query", "key", "value")):
                if f".{part}." in name:
                    tensor = ...                              # its third
            weights[name] = tensor
        left_over = given.keys() - map(map_name, weights)
        if left_over:
            raise ValueError(f"The model has no place for {sorted(left_over)}.")
        """,
    ),
    properties=[Property("nothing missing, nothing left over", _is_strict, of_class=True)],
)

TWO_FILES = LOAD_GPT2.with_bug(
    "08.two_files",
    definition="their_load_gpt2",
    goal=("Find the bug: GPT-2's own file is loaded as it should be, and from the storyteller's "
          "comes a model that is worse than a guess."),
    bug=('given.setdefault("lm_head.weight", given["wte.weight"])                  # the head',
         'given = {**given, "lm_head.weight": given["wte.weight"]}                 # the head',
         "The bug is still in there: which tensor does the storyteller's file have that GPT-2's "
         "hasn't, and does the model get it?"),
    hints=(
        "Which tensor is in one of the two files and not in the other? Follow it through the "
        "loader, line by line.",
        """
        1. the storyteller's file has a lm_head.weight, and GPT-2's has none
        2. in {**given, name: tensor}, what stands last wins
        3. so the token embedding is put in place of the file's own head
        4. it belongs there only where the file has none
        """,
        """
        given.setdefault(..., given["wte.weight"])            # only where there is none
        """,
    ),
)

EXERCISES = (READ_SAFETENSORS, MAP_NAME, LOAD_GPT2, TWO_FILES)
