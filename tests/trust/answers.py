"""What counts as an answer: a result, or an error that a sentence of this package explains.

Everything else is lost: an error from within, one whose message does not say what to do, a call
that does not end, one that takes all the memory.
"""

from __future__ import annotations

import ast
import signal
import traceback
import warnings
from collections.abc import Callable
from contextlib import contextmanager
from functools import cache
from pathlib import Path

from course import ROOT

from gptlib.training import TrainingDiverged

PACKAGES = (ROOT / "gptlib", ROOT / "gptcourse")
KINDS = (ValueError, TypeError, OSError, ImportError, TrainingDiverged)
FROM_WITHIN = (UnicodeError,)    # a ValueError by descent only
MOST_SECONDS = 5                 # of the processor's time: a busy machine changes nothing
MOST_BYTES = 2**30
LONGEST_MESSAGE = 1500           # characters; whoever passes a whole book does not get it back


class Hangs(BaseException):
    """The call takes too long; no `except Exception` on its way holds this up."""


def lost(call: Callable[[], object], seconds: float = MOST_SECONDS) -> str | None:
    """Where and how `call` fails to answer, in a line, or None where it answers."""
    try:
        with _limits(seconds), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            call()
    except Exception as error:
        return _fault(error)
    except Hangs as error:
        return f"no answer within {seconds} s: {_place(error)}"
    return None


def _fault(error: Exception) -> str | None:
    """What keeps an error from being an answer, or None."""
    message = str(error)
    told = f"{type(error).__name__} at {_place(error)}: {message[:200]}"
    if not isinstance(error, KINDS) or isinstance(error, FROM_WITHIN):
        return told
    if not _was_raised_by_the_library(error):
        return f"not raised by gptlib: {told}"
    if not is_sentence(message):
        return f"no sentence that helps: {told}"
    if len(message) > LONGEST_MESSAGE:
        return f"a message of {len(message)} characters: {told}"
    return None


def is_sentence(message: str) -> bool:
    """Six words or more, what is wrong, and after a colon or a semicolon what to do about it."""
    first, _, rest = message.replace(";", ":").partition(":")
    return len(message.split()) >= 6 and bool(first.strip() and rest.strip())


def _was_raised_by_the_library(error: Exception) -> bool:
    """Whether the innermost line is one of ours, and a statement that raises."""
    frame = traceback.extract_tb(error.__traceback__)[-1]
    return _is_ours(frame) and frame.lineno in _raising_lines(frame.filename)


@cache
def _raising_lines(path: str) -> frozenset[int]:
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    return frozenset(
        line for node in ast.walk(tree) if isinstance(node, ast.Raise)
        for line in range(node.lineno, node.end_lineno + 1)
    )


def _place(error: BaseException) -> str:
    """The innermost line of ours."""
    frames = traceback.extract_tb(error.__traceback__)
    frame = ([frame for frame in frames if _is_ours(frame)] or frames)[-1]
    return f"{Path(frame.filename).name}:{frame.lineno} ({frame.name})"


def _is_ours(frame: traceback.FrameSummary) -> bool:
    return any(package in Path(frame.filename).parents for package in PACKAGES)


@contextmanager
def _limits(seconds: float):
    """No more time and memory than an answer may take, where the system can limit them."""
    try:
        import resource
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except (ImportError, OSError):   # Windows has no such limits, macOS no such file
        yield
        return

    def stop(_signal, _frame):
        raise Hangs

    former = resource.getrlimit(resource.RLIMIT_AS)
    handler = signal.signal(signal.SIGPROF, stop)
    resource.setrlimit(
        resource.RLIMIT_AS, (pages * resource.getpagesize() + MOST_BYTES, former[1])
    )
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)
        resource.setrlimit(resource.RLIMIT_AS, former)
        signal.signal(signal.SIGPROF, handler)
