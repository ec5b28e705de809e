"""Inputs of all kinds: any Python object, valid ones that were damaged, and the small model, texts
and files that are damaged here."""

from __future__ import annotations

import tempfile
from decimal import Decimal
from fractions import Fraction
from functools import cache
from pathlib import Path

import numpy as np
import torch
from helpers import lively_model
from hypothesis import strategies as st

from gptlib.config import GPTConfig
from gptlib.corpus.storybook import stories
from gptlib.tokenizer import BPETokenizer

TEXT = "The cat sat on the mat. The dog sat on the cat. A hat for the cat, a mat for the dog. " * 4
CONFIG = GPTConfig(vocab_size=270, context_length=12, emb_dim=8, n_heads=2, n_layers=1,
                   drop_rate=0.0, qkv_bias=False)
FOLDER = Path(tempfile.mkdtemp(prefix="trust-"))


@cache
def tokenizer() -> BPETokenizer:
    return BPETokenizer.train(TEXT, CONFIG.vocab_size)


@cache
def model():
    return lively_model(config=CONFIG)


@cache
def known_ids() -> list[int]:
    return tokenizer().encode(TEXT)


@cache
def known_stories() -> list[str]:
    return [story.text for story in stories(30, seed=1)]


def file(content: bytes, name: str = "file") -> Path:
    path = FOLDER / name
    path.write_bytes(content)
    return path


# ---------------------------------------------------------------------------------- any object

characters = st.characters(exclude_categories=())          # lone surrogates, too
texts = st.text(characters, max_size=30)
LARGE = (2**31, 2**63 - 1, 2**63, -(2**63) - 1, 10**30, 10**5000, -(10**5000))
huge = st.integers(0, len(LARGE) - 1).map(LARGE.__getitem__)   # the longest have no repr
small = st.integers(-3, 40)
fractions = st.one_of(st.floats(), st.floats(0, 1), st.sampled_from([0.0, 1.0, 1e-300, 1e300]))
DTYPES = (torch.int64, torch.int32, torch.int8, torch.uint8, torch.float32, torch.float64,
          torch.bfloat16, torch.bool, torch.complex64)
shapes = st.lists(st.integers(0, 4), max_size=4)


@st.composite
def tensors(draw, shape=shapes, dtypes=DTYPES):
    numbers = np.random.default_rng(draw(st.integers(0, 9))).normal(size=draw(shape)) * 9
    tensor = torch.tensor(numbers).to(draw(st.sampled_from(dtypes)))
    if tensor.is_floating_point() and tensor.numel() and draw(st.booleans()):
        tensor.view(-1)[0] = draw(st.sampled_from([torch.nan, torch.inf, -torch.inf]))
    return tensor


arrays = tensors(dtypes=[t for t in DTYPES if t != torch.bfloat16]).map(lambda x: x.numpy())
oddities = st.sampled_from([
    None, ..., int, len, object(), range(3), range(0), Path("."), Decimal("1.5"),
    Decimal("NaN"), Fraction(1, 3), 1j, np.int64(3), np.float32(0.5), np.bool_(True), np.str_("a"),
    torch.float32, slice(3), memoryview(b"abc"), bytearray(b"abc"),
]) | st.builds(lambda: iter([1, 2])) | st.builds(lambda: (n for n in "ab"))
little = st.one_of(small, fractions, st.booleans(), texts, oddities, st.binary(max_size=9),
                   tensors(), arrays)


def nested(leaves):
    return st.recursive(leaves, lambda inner: st.one_of(
        st.lists(inner, max_size=4), st.lists(inner, max_size=3).map(tuple),
        st.dictionaries(texts | small, inner, max_size=3),
        st.sets(small | texts, max_size=3), st.frozensets(small, max_size=3),
    ), max_leaves=6)


nothing_large = nested(little)                             # where a large number asks for much work
anything = nested(little | huge)


def mostly(valid, other=anything):
    """Mostly what works, so that the other arguments are looked at, too."""
    return st.integers(0, 3).flatmap(lambda n: valid if n else other)


def arguments(**valid):
    """Keyword arguments, each of them mostly valid."""
    return st.fixed_dictionaries({name: mostly(values) for name, values in valid.items()})


rows = st.lists(st.integers(0, CONFIG.vocab_size - 1), min_size=1, max_size=12)
near_rows = st.lists(mostly(st.integers(0, CONFIG.vocab_size - 1), anything), max_size=15)
some_ids = rows | near_rows | rows.map(torch.tensor) | rows.map(np.array)


# ------------------------------------------------------------------------------------ damage

@st.composite
def damaged(draw, content: bytes) -> bytes:
    """Bytes of which some were changed, added or taken away, or that end too early."""
    content = bytearray(content)
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(content))) if draw(st.booleans()) else draw(
            st.integers(0, min(400, len(content))))
        kind = draw(st.sampled_from(["change", "insert", "delete", "cut"]))
        new = draw(st.binary(min_size=1, max_size=8))
        if kind == "change":
            content[at : at + len(new)] = new
        elif kind == "insert":
            content[at:at] = new
        elif kind == "delete":
            del content[at : at + draw(st.integers(1, 200))]
        else:
            del content[at:]
    return bytes(content)


json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), small, st.floats(), texts, st.sampled_from(
        [2**31, 2**63, -1, 10**12, 10**30])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=5,
)


@st.composite
def altered(draw, value, most: int = 3):
    """A JSON value of which some parts, anywhere inside, are others, are missing or stand twice."""
    for _ in range(draw(st.integers(1, most))):
        value = _altered_once(draw, value)
    return value


def _altered_once(draw, value):
    if not isinstance(value, (dict, list)) or not value or not draw(st.integers(0, 5)):
        return draw(json_values)
    whole = value.copy()
    place = draw(st.sampled_from(sorted(value))) if isinstance(value, dict) else draw(
        st.integers(0, len(value) - 1))
    kind = draw(st.sampled_from(["inside", "inside", "inside", "delete", "again"]))
    if kind == "inside":
        whole[place] = _altered_once(draw, value[place])
    elif kind == "delete":
        del whole[place]
    elif isinstance(value, dict):
        whole[draw(texts)] = value[place]
    else:
        whole.insert(draw(st.integers(0, len(value))), value[place])
    return whole
