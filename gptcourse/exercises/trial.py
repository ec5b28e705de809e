"""Running code that somebody is still learning to write, without harm to anything around it.

Whatever it does, the notebook goes on as before: it may raise, never end, print, change the
random state or torch's defaults.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import os
import random
import signal
import sysconfig
import threading
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

TIME_LIMIT = 5.0       # seconds for all trial calls of one check together
_AGAIN = 0.2           # seconds until a function that swallows the alarm gets the next one


class OutOfTime(BaseException):
    """The time is up. No Exception, so that the learner's `except Exception` lets it through."""


@dataclass(frozen=True)
class Raised:
    """An exception of the learner's function, in words."""

    where: str         # "in line 3, `scores = q @ k`", or "" where no line is theirs
    error: BaseException

    @property
    def what(self) -> str:
        if isinstance(self.error, RecursionError):
            return "RecursionError: it calls itself without end"
        if isinstance(self.error, SystemExit):
            return "SystemExit: a function ends with `return`, not with exit()"
        if isinstance(self.error, KeyboardInterrupt):
            return "KeyboardInterrupt: it was stopped before it returned anything"
        lines = _message(self.error).split("\n")
        first = " ".join(lines[0].split())
        short = first if len(first) <= 200 else f"{first[:198]} …"
        return f"{type(self.error).__name__}: {short}" if short else type(self.error).__name__


def _message(error: BaseException) -> str:
    try:
        return str(error).strip()
    except Exception:
        return ""


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within the block anything may be printed, seeded or set; afterward all is as before.

    Inside, tensors are made on the CPU and gradients are recorded, whatever holds outside.
    """
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if cuda else []
    python, numpy = random.getstate(), np.random.get_state()
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    grad = torch.is_grad_enabled()
    environment = dict(os.environ)
    try:
        with (
            torch.random.fork_rng(devices), torch.device("cpu"),
            torch.inference_mode(False), torch.enable_grad(), warnings.catch_warnings(),
            contextlib.redirect_stdout(_Nowhere()), contextlib.redirect_stderr(_Nowhere()),
        ):
            warnings.simplefilter("ignore")
            torch.set_default_dtype(torch.float32)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        if torch.get_default_device() != device:
            torch.set_default_device(device)
        if os.environ != environment:
            os.environ.clear()
            os.environ.update(environment)


class _Nowhere(io.TextIOBase):
    """Swallows what is printed, however much it is."""

    def writable(self) -> bool:
        return True

    def write(self, text: str) -> int:
        return len(text)


@contextmanager
def time_limit(seconds: float) -> Iterator[None]:
    """Raise OutOfTime in the block after so many seconds, again and again until it ends.

    The main thread gets a signal where the system has them; any other thread, and Windows, an
    exception from a second thread. Neither can interrupt a single long operation inside torch,
    nor a loop around a bare `except:`, which swallows it each time.
    """
    main = threading.current_thread() is threading.main_thread()
    with (_by_signal if main and hasattr(signal, "setitimer") else _by_thread)(seconds):
        yield


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    running = True

    def ring(_number, _frame):
        if running:
            raise OutOfTime

    former = signal.signal(signal.SIGALRM, ring)
    remaining, interval = signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        try:
            yield
        finally:
            running = False
    finally:
        signal.setitimer(signal.ITIMER_REAL, remaining, interval)
        signal.signal(signal.SIGALRM, former or signal.SIG_DFL)


@contextmanager
def _by_thread(seconds: float) -> Iterator[None]:
    finished, lock = threading.Event(), threading.Lock()
    learner = ctypes.c_ulong(threading.get_ident())
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc

    def watch():
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if not finished.is_set():
                    throw(learner, ctypes.py_object(OutOfTime))
            wait = _AGAIN

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            finished.set()
            throw(learner, None)  # one that was thrown but has not arrived yet


def attempt(function: Callable, arguments: tuple) -> Any:
    """What the function returns, or Raised. Only OutOfTime goes through."""
    try:
        return function(*arguments)
    except OutOfTime:
        raise
    except BaseException as error:
        return Raised(_place(error), error)


_NOT_THEIRS = tuple(
    str(Path(path).resolve())
    for path in (*map(sysconfig.get_path, ("stdlib", "purelib", "platlib")),
                 Path(__file__).parent.parent, Path(torch.__file__).parent)
)


def _place(error: BaseException) -> str:
    """The last line that is neither in torch, nor in Python itself, nor in this library."""
    frames = [frame for frame in traceback.extract_tb(error.__traceback__, limit=-300)
              if not frame.filename.startswith(_NOT_THEIRS)]
    if isinstance(error, RecursionError):
        frames = frames[-1:]
    if not frames:
        return ""
    line = " ".join((frames[-1].line or "").split())
    return f"in line {frames[-1].lineno}" + (f", `{line}`" if line else "")
