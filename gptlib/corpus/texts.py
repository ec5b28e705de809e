"""Real texts to learn from: one that comes with Python, two to download, any file of your own."""

from __future__ import annotations

import os
from pathlib import Path

from gptlib.checks import as_path, nearest, shown
from gptlib.files import decoded

# Where each text is published, and the SHA-256 of the file as it was when the course was written.
DOWNLOADS = {
    "shakespeare": (
        "https://raw.githubusercontent.com/karpathy/char-rnn/master/data/tinyshakespeare/input.txt",
        "86c4e6aa9db7c042ec79f339dcb96d42b0075e16b8fc2e86bf0ca57e2dc565ed",
    ),
    "the-verdict": (
        "https://raw.githubusercontent.com/rasbt/LLMs-from-scratch/main/ch02/"
        "01_main-chapter-code/the-verdict.txt",
        "b41e41a68f0398a3154ae69e2e4c0e2694e17fe0d66730536837f1b01935b31f",
    ),
}
TEXTS = ("pydoc", *DOWNLOADS)


def load_text(name_or_path: str | os.PathLike) -> str:
    """A text by its name, or the text of a file.

    "pydoc"         what Python's help() knows of the language: English prose, no network needed
    "shakespeare"   Tiny Shakespeare, 1.1 million characters, downloaded once
    "the-verdict"   a short story by Edith Wharton, 20,479 characters, downloaded once
    a path          any file in UTF-8; a byte-order mark is dropped, and "\\r\\n" becomes "\\n"

    Raises a FileNotFoundError for what is neither name nor file, an IsADirectoryError for a folder,
    a ValueError for a file that is empty or not UTF-8, a ConnectionError where a download is not
    possible, a RuntimeError where it brings another text than it should, and a TypeError for what
    is no path.
    """
    name = name_or_path if isinstance(name_or_path, str) else None
    if name == "pydoc":
        return _python_documentation()
    return read_text(_download(name) if name in DOWNLOADS else name_or_path)


def read_text(path: str | os.PathLike) -> str:
    """The text of a file in UTF-8. Raises as `load_text` does."""
    path = Path(os.path.expanduser(as_path(path, f"name a file, or one of {', '.join(TEXTS)}.")))
    if os.path.isdir(path):
        raise IsADirectoryError(f"{path} is a folder, but must be a text file: name a file in it.")
    if not os.path.isfile(path):
        raise FileNotFoundError(
            f"{shown(str(path))} is neither a file nor one of the texts {', '.join(TEXTS)}: "
            f"{nearest(str(path), TEXTS, 'check the spelling.')}"
        )
    text = decoded(path.read_bytes(), path)
    if not text:
        raise ValueError(f"{path} is empty, but must hold some text: choose another file.")
    return text


def _python_documentation() -> str:
    """The topics that help() explains, sorted by name; the text grows from Python to Python."""
    from pydoc_data.topics import topics

    return "\n\n".join(topics[name].strip() for name in sorted(topics)) + "\n"


def _download(name: str) -> str:
    """The path of a downloaded text; from the second time on, no network is needed."""
    import pooch
    from requests import RequestException

    pooch.get_logger().setLevel("WARNING")  # a notebook shows the same with and without download
    url, digest = DOWNLOADS[name]
    otherwise = f"save {url} yourself and pass its path, or use 'pydoc', which needs no network."
    try:
        return pooch.retrieve(
            url, known_hash=f"sha256:{digest}", fname=f"{name}.txt", path=pooch.os_cache("gptlib")
        )
    except RequestException as error:
        raise ConnectionError(
            f"The text {name!r} could not be downloaded ({type(error).__name__}): {otherwise}"
        ) from None
    except ValueError:
        raise RuntimeError(
            f"What was downloaded is not the text {name!r} that this course was written with (its "
            f"SHA-256 differs), and was thrown away: {otherwise}"
        ) from None
    except OSError as error:
        raise OSError(
            f"The text {name!r} could not be kept in {pooch.os_cache('gptlib')} "
            f"({error.strerror or error}): {otherwise}"
        ) from None
