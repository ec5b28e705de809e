"""What has been solved so far, kept in the current folder across restarts of the kernel.

The file is a convenience: a damaged one is set aside, and where none can be written, the progress
lives as long as the kernel.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

from gptlib.files import replacing

FILE = ".progress.json"
DAMAGED = ".progress.damaged.json"
FORMAT = "gptlib progress, version 1"

_unsaved: dict[str, dict] = {}
_remarks: set[str] = set()


def record(exercise: str, status: str) -> None:
    """Remember a check. What was solved once stays solved; a blank changes nothing."""
    if status == "todo":
        return
    entries = load()
    entry = entries.get(exercise, {"solved": False, "tries": 0})
    if entry["solved"]:
        return
    entries[exercise] = {"solved": status == "right", "tries": entry["tries"] + 1}
    _save(entries)


def load() -> dict[str, dict]:
    """{"03.causal_mask": {"solved": True, "tries": 3}, ...}"""
    return {**_read(), **_unsaved}


@contextmanager
def locked():
    yield


def kept_before(name: str) -> set[str]:
    return _kept.get(name, set())


def note_kept(name: str, digest: str) -> None:
    _kept.setdefault(name, set()).add(digest)


_kept: dict[str, set[str]] = {}


def remarks() -> list[str]:
    """What a learner should know about the file, in sentences."""
    return sorted(_remarks)


def _read() -> dict[str, dict]:
    path = Path(FILE)
    try:
        text = path.read_bytes()
    except OSError:
        return {}
    try:
        saved = json.loads(text)
        if saved["format"] != FORMAT or not all(map(_well_formed, saved["exercises"].values())):
            raise ValueError("another format")
        return dict(saved["exercises"])
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError):
        _set_aside(path)
        return {}


def _well_formed(entry: object) -> bool:
    return (
        isinstance(entry, dict)
        and isinstance(entry.get("solved"), bool)
        and type(entry.get("tries")) is int
    )


def _set_aside(path: Path) -> None:
    try:
        path.replace(DAMAGED)
    except OSError:
        return
    _remarks.add(f"The former progress file was damaged; it is now {DAMAGED}.")


def _save(entries: dict[str, dict]) -> None:
    try:
        with replacing(FILE) as temporary:
            text = json.dumps({"format": FORMAT, "exercises": entries}, indent=1, sort_keys=True)
            temporary.write_text(text + "\n", encoding="utf-8")
        _unsaved.clear()
    except OSError:
        _unsaved.update(entries)
        _remarks.add("This folder cannot be written to, so progress lasts as long as the kernel.")
