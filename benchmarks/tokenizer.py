"""Seconds and memory to train a tokenizer and to encode, where words end and where they do not.

    python benchmarks/tokenizer.py [--characters 1000000] [--vocabulary 1000]

English repeats its words, and each is learned from once; a million Chinese characters or bases of
DNA without a space are one single word. So the time is given for each byte of the different words,
too. It is processor time, so that other programs count little; memory is measured in a second turn.
"""

from __future__ import annotations

import argparse
import random
import time
import tracemalloc
from collections.abc import Callable

from gptlib.corpus import load_text
from gptlib.tokenizer import BPETokenizer, gpt2_tokenizer, pre_split


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--characters", type=int, default=1_000_000)
    parser.add_argument("--vocabulary", type=int, default=1000)
    arguments = parser.parse_args()
    ours, theirs = BPETokenizer.from_gpt2(), gpt2_tokenizer()
    print(f"{arguments.characters:,} characters, a vocabulary of {arguments.vocabulary:,}\n\n"
          f"{'':8}  training            encoding            with GPT-2's merges")
    for name, text in texts(arguments.characters).items():
        n_bytes = sum(len(word.encode()) for word in set(pre_split(text)))
        merges = BPETokenizer.train(text, arguments.vocabulary).merges
        training = measured(BPETokenizer.train, n_bytes, text, arguments.vocabulary)
        encoding = measured(BPETokenizer(merges).encode, n_bytes, text)
        print(f"{name:8}{training}{encoding}{seconds(ours.encode, text):8.2f} s, "
              f"tiktoken {seconds(theirs.encode, text):.2f} s")


def texts(n: int) -> dict[str, str]:
    """English, and texts of one word: letters drawn by chance, as often as in a natural text."""
    english, draw = load_text("pydoc"), random.Random(0)
    alphabets = {"Chinese": (0x4E00, 3000), "Thai": (0x0E01, 46), "letters": (ord("a"), 26)}
    drawn = {
        name: "".join(draw.choices([chr(first + k) for k in range(size)],
                                   [1 / (k + 1) for k in range(size)], k=n))
        for name, (first, size) in alphabets.items()
    }
    return {"English": (english * (n // len(english) + 1))[:n], **drawn,
            "DNA": "".join(draw.choices("ACGT", k=n))}


def measured(work: Callable, n_bytes: int, *arguments) -> str:
    """Seconds, microseconds for each byte, and the most memory that Python's objects took up."""
    taken = seconds(work, *arguments)
    tracemalloc.start()
    work(*arguments)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return f"{taken:7.2f} s {taken / n_bytes * 1e6:5.2f} µs {most / 1e6:4.0f} MB"


def seconds(work: Callable, *arguments) -> float:
    started = time.process_time()
    work(*arguments)
    return time.process_time() - started


if __name__ == "__main__":
    main()
