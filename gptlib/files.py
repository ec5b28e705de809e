"""Text out of a file, and a file that is either the new one, whole, or still the old one."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gptlib.checks import as_path, shown


@contextmanager
def replacing(path: str | os.PathLike) -> Iterator[Path]:
    """Yield a temporary path to write to; when the block ends well, it becomes `path`.

    Raises an OSError in words where there is no such folder, where it cannot be written to or where
    the disk is full, a TypeError for what is no path. Whatever goes wrong, the former file stays as
    it was, and nothing temporary is left behind.
    """
    path = as_path(path)
    if not os.path.isdir(path.parent):
        raise FileNotFoundError(
            f"{path} could not be written, because there is no folder {path.parent}: make it "
            "first, or choose another one."
        )
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        try:
            yield temporary
            with temporary.open("rb+") as file:
                os.fsync(file.fileno())  # on the disk before the name changes
            os.replace(temporary, path)
        finally:
            temporary.unlink(missing_ok=True)
    except OSError as error:
        raise OSError(
            f"{path} could not be written ({error.strerror or error}); what was there before is "
            "unchanged: free some space or choose another folder."
        ) from error


def decoded(content: bytes, path: Path, start: int = 0) -> str:
    """The text of what stands in a file from byte `start` on: its byte-order mark is dropped, and
    "\\r\\n" becomes "\\n". Raises a ValueError for what is not UTF-8."""
    try:
        text = content.decode("utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is not UTF-8, as byte {start + error.start:,} "
            f"(0x{content[error.start]:02x}) shows: open it in an editor and save it with the "
            "encoding UTF-8."
        ) from None
    text = text if start else text.removeprefix("\ufeff")
    return text.replace("\r\n", "\n")


def existing(path: str | os.PathLike, otherwise: str) -> Path:
    """`path`, where a file is. Raises a FileNotFoundError, and a TypeError for what is no path."""
    path = as_path(path)
    if not os.path.isfile(path):  # unlike Path.is_file, it takes a name of any length
        raise FileNotFoundError(
            f"There is no file {shown(str(path), 300)}: check the path, or {otherwise}"
        )
    return path
