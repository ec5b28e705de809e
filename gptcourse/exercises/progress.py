"""What has been solved so far, kept beside the notebooks across restarts of the kernel.

Every try leaves an empty file in a folder of its own, whose name says all: `02.causal_mask.3.right`
is the third try at that exercise. Nothing is ever read in order to be written again, so several
notebooks at once lose nothing, and no file can be damaged. Where none can be made, the progress
lives as long as the kernel.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from itertools import count
from pathlib import Path

FOLDER = ".progress"
STATUSES = ("right", "wrong", "raised")
PATIENCE = 5.0                                     # seconds that a lock counts

_unsaved: list[tuple[str, str]] = []               # exercise and status


def record(exercise: str, status: str) -> None:
    """Remember a check. What was solved once stays solved; a blank changes nothing."""
    if status not in STATUSES or load().get(exercise, {}).get("solved"):
        return
    _unsaved.append((exercise, status))
    try:
        Path(FOLDER).mkdir(exist_ok=True)
        while _unsaved:
            _keep(*_unsaved[0])
            del _unsaved[0]
    except OSError:
        return                                     # `remarks` says so


def _keep(exercise: str, status: str) -> None:
    """Make the file of this try, of which nobody else has the number."""
    for number in count(load().get(exercise, {"tries": 0})["tries"] + 1):
        try:
            Path(FOLDER, f"{exercise}.{number}.{status}").touch(exist_ok=False)
            return
        except FileExistsError:
            continue


def load() -> dict[str, dict]:
    """{"03.causal_mask": {"solved": True, "tries": 3}, ...}"""
    entries = {}
    for exercise, status in [*_kept(), *_unsaved]:
        entry = entries.setdefault(exercise, {"solved": False, "tries": 0})
        entry["tries"] += 1
        entry["solved"] |= status == "right"
    return entries


def remarks() -> list[str]:
    """What a learner should know about the folder, in sentences."""
    return ["This folder cannot be written to, so progress lasts as long as the kernel."
            ] if _unsaved else []


def _kept() -> list[tuple[str, str]]:
    """Exercise and status of each try in the folder, whatever else lies there."""
    try:
        names = [path.name.rsplit(".", 2) for path in Path(FOLDER).iterdir()]
    except OSError:
        return []
    return [(name[0], name[2]) for name in names if len(name) == 3 and name[2] in STATUSES]


# ------------------------------------------------------------------------- what the file was given


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Within the block, no other notebook changes the learner's file.

    What a killed one left locked opens after some seconds. Raises an OSError where no lock can be
    made.
    """
    Path(FOLDER).mkdir(exist_ok=True)
    lock, seen, since = Path(FOLDER, "lock"), None, 0.0
    while True:
        try:
            lock.touch(exist_ok=False)
            break
        except FileExistsError:
            with suppress(FileNotFoundError):
                if (made := lock.stat().st_mtime_ns) != seen:
                    seen, since = made, time.monotonic()   # the clocks of two machines may differ
                elif time.monotonic() - since > PATIENCE:
                    lock.unlink()
            time.sleep(0.02)
    try:
        yield
    finally:
        lock.unlink(missing_ok=True)


def note_kept(name: str, digest: str) -> None:
    """Remember that a check, and nobody by hand, put this source into the file."""
    Path(FOLDER, f"{name}.{digest}.kept").touch()


def was_kept(name: str, digest: str) -> bool:
    return Path(FOLDER, f"{name}.{digest}.kept").exists()
