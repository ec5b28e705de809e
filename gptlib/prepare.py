"""Texts of any size to a token file, in the memory that a few megabytes of text take.

    python -m gptlib.prepare stories/ more.txt --out stories.bin
    python -m gptlib.train stories.bin

All processors take part. Stopped halfway, the same command goes on where it stopped.
"""

from __future__ import annotations

import argparse
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path
from typing import BinaryIO, NamedTuple

import numpy as np
import regex

from gptlib.checks import as_path, listed, shown, whole
from gptlib.files import decoded
from gptlib.token_files import TokenFacts, load_tokenizer, tokenizer_beside
from gptlib.tokenizer import END_OF_TEXT

PIECE = 2**21  # bytes of text that are encoded at a time, in about 40 times as much memory

# Here a text can be cut without changing its tokens: no word that `pre_split` finds reaches from
# something visible into the white space after it, and what becomes of that depends on its end only.
END_OF_WORD = regex.compile(r"\S(?=\s)")
INSIDE_A_CHARACTER = bytes(range(0x80, 0xC0))  # of UTF-8: all bytes of a character but its first


class Piece(NamedTuple):
    """Part of a text file: from the first place to cut at `start` or after, to the one at `end`."""

    path: Path
    start: int  # bytes
    end: int


def text_files(texts: Iterable[str | os.PathLike]) -> list[Path]:
    """The files that are named, and of a folder all whose names end in .txt, sorted.

    Raises a FileNotFoundError where there is no such file or nothing in the folder.
    """
    found = []
    for text in listed("texts", texts, "write [path] for a single one."):
        path = as_path(text)
        files = sorted(path.rglob("*.txt")) if path.is_dir() else [path]
        if not files or not files[0].is_file():
            what = "has no file whose name ends in .txt" if path.is_dir() else "does not exist"
            raise FileNotFoundError(
                f"{shown(str(path), 300)} {what}: name a text file, or a folder of them."
            )
        found += files
    return found


def pieces_of(files: Iterable[Path]) -> list[Piece]:
    """All files in pieces; a file that is empty has none."""
    return [
        Piece(path, start, min(start + PIECE, size))
        for path in files for size in [path.stat().st_size] for start in range(0, size, PIECE)
    ]


def read(piece: Piece) -> str:
    """The text of a piece. Raises a ValueError for what is not UTF-8."""
    with piece.path.open("rb") as file:
        start, end = (_cut(file, place) for place in (piece.start, piece.end))
        file.seek(start)
        return decoded(file.read(end - start), piece.path, start)


def _cut(file: BinaryIO, place: int) -> int:
    """The first place at `place` or after where a word ends, or the end of the file."""
    if place == 0:
        return 0
    length = 2**12
    while True:
        file.seek(place)
        block = file.read(length)
        inside = len(block) - len(block.lstrip(INSIDE_A_CHARACTER))
        text = block[inside:].decode("utf-8", errors="ignore")
        end = END_OF_WORD.search(text)
        if end:
            return place + inside + len(text[: end.end()].encode())
        if len(block) < length:
            return place + len(block)
        length *= 4


def encode(piece: Piece, tokenizer: str, dtype: str) -> np.ndarray:
    """The ids of a piece; with the last piece of a file comes the end-of-text token."""
    chosen = load_tokenizer(tokenizer)
    special = [END_OF_TEXT] if END_OF_TEXT in chosen.special_tokens else []
    ids = chosen.encode(read(piece), allowed_special=special)
    if special and piece.end == piece.path.stat().st_size and ids[-1:] != [chosen.end_token]:
        ids.append(chosen.end_token)
    return np.array(ids, dtype)


def prepare(
    texts: Iterable[str | os.PathLike], path: str | os.PathLike, tokenizer: str = "gpt2",
    workers: int = 1,
) -> Iterator[TokenFacts]:
    """Encode text files into the token file `path`, and say at first and after each piece how far
    it is.

    `<|endoftext|>` in a text is that token, and each file is closed with one. `tokenizer` is "gpt2"
    or the path of one that was saved. The result does not depend on `workers`, nor on how often it
    was interrupted. Raises a ValueError where `path` holds the tokens of something else, where a
    text is not UTF-8 or there is none, and an OSError where a file cannot be read or written.
    """
    workers = whole("workers", workers, "one for each processor is usual.", least=1)
    path, files, chosen = _token_path(path), text_files(texts), load_tokenizer(tokenizer)
    pieces = pieces_of(files)
    facts = _begun(path, TokenFacts(
        chosen.digest, chosen.vocab_size,
        [[str(file), file.stat().st_size, file.stat().st_mtime_ns] for file in files], len(pieces),
    ))
    if not pieces:
        raise ValueError(f"{files[0]} is empty, but must hold some text: choose another file.")
    facts.save(path)
    chosen.save(tokenizer_beside(path))
    yield facts
    size = facts.dtype.itemsize
    with path.open("r+b" if path.exists() else "wb") as out:
        if out.seek(0, os.SEEK_END) < facts.tokens * size:
            facts = replace(facts, pieces_done=0, tokens=0)  # its end was lost, so begin again
        out.truncate(facts.tokens * size)  # what was written after the last word on it goes
        out.seek(facts.tokens * size)
        work = partial(encode, tokenizer=tokenizer, dtype=facts.dtype.str)
        for ids in _in_turn(work, pieces[facts.pieces_done :], workers):
            out.write(ids)
            out.flush()
            facts = replace(
                facts, pieces_done=facts.pieces_done + 1, tokens=facts.tokens + len(ids)
            )
            facts.save(path)
            yield facts


def _token_path(path: str | os.PathLike) -> Path:
    path = as_path(path)
    if path.suffix != ".bin":
        raise ValueError(
            f"The token file is called {shown(path.name)}, but its name must end in .bin: call it "
            f"{path.with_suffix('.bin').name!r}."
        )
    return path


def _begun(path: Path, facts: TokenFacts) -> TokenFacts:
    """The facts of what is there already, where it is the beginning of the same, or `facts`."""
    if not path.exists() and not path.with_suffix(".json").exists():
        return facts
    there = TokenFacts.load(path)
    if replace(there, pieces_done=0, tokens=0) != facts:
        same = there.tokenizer == facts.tokenizer
        raise ValueError(
            f"{path} holds the tokens of {'other texts' if same else 'another tokenizer'}: choose "
            "another name, or delete it first."
        )
    return there


def _in_turn(work, pieces: Sequence[Piece], workers: int) -> Iterator[np.ndarray]:
    """The results in order, from so many processes. At most two pieces for each are on the way, so
    that the memory they take does not grow with the text."""
    if workers == 1 or len(pieces) < 2:
        yield from map(work, pieces)
        return
    with ProcessPoolExecutor(workers, get_context("spawn")) as pool:
        waiting = deque(pool.submit(work, piece) for piece in pieces[: 2 * workers])
        try:
            for piece in pieces[2 * workers :]:
                yield waiting.popleft().result()
                waiting.append(pool.submit(work, piece))
            while waiting:
                yield waiting.popleft().result()
        except BrokenProcessPool:
            raise RuntimeError(
                "One of the processes was ended from outside, perhaps for want of memory: run the "
                "same again, with fewer workers if need be; it goes on where it stopped."
            ) from None
        finally:
            pool.shutdown(cancel_futures=True)


def main(arguments: Sequence[str] | None = None) -> int:
    """Prepare as the options say. Returns 1 after a sentence for what could not be."""
    parser = argparse.ArgumentParser(
        prog="python -m gptlib.prepare", description="Turn text files of any size into a token "
        "file, from which python -m gptlib.train learns. Stopped halfway, the same command goes on."
    )
    parser.add_argument("texts", nargs="+", metavar="TEXT", help="a text file in UTF-8, or a "
                        "folder, of which all files ending in .txt are taken")
    parser.add_argument("--out", required=True, metavar="NAME.bin", help="the token file to write")
    parser.add_argument("--tokenizer", default="gpt2", metavar="FILE", help="one that "
                        "BPETokenizer.save wrote; GPT-2's, if left out")
    parser.add_argument("--workers", type=int, default=os.cpu_count(), metavar="N",
                        help="processes that encode side by side (%(default)s here)")
    chosen = parser.parse_args(arguments)
    try:
        for facts in prepare(chosen.texts, chosen.out, chosen.tokenizer, chosen.workers):
            if sys.stderr.isatty():
                done = facts.pieces_done / facts.pieces
                print(f"{done:.0%}, {facts.tokens:,} tokens ", end="\r", file=sys.stderr)
        print(f"{chosen.out} holds {facts.tokens:,} tokens.")
    except (ValueError, TypeError, OSError, RuntimeError) as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("Stopped: the same command goes on from here.", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
