"""Running code that somebody is still learning to write, without harm to anything around it.

Whatever it does, the notebook goes on as before: it may raise, never end, print, change the
random state or torch's defaults.
"""

from __future__ import annotations

import contextlib
import ctypes
import inspect
import io
import os
import random
import signal
import sysconfig
import threading
import time
import traceback
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import wraps
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

TIME_LIMIT = 5.0       # seconds of work for all trial calls of one check together
_PATIENCE = 6          # times as long by the clock, where others keep the machine busy
_AGAIN = 0.2           # seconds until a function that swallows the alarm gets the next one


class Ending(BaseException):
    """What ends a judgement. No Exception, so that nobody's `except Exception` keeps it."""


class OutOfTime(Ending):
    """The time is up."""


class NoAnswer(Exception):
    """The learner's function raised, when the judge asked it for more."""


class Unreadable(Exception):
    """What the function returned is a tensor that cannot be compared; the text says why."""


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
def switched_back() -> Iterator[None]:
    """Whatever the block switches in torch, afterward it is as it was. Inside there is no autocast.
    """
    dtype, device = torch.get_default_dtype(), torch.get_default_device()
    grad, deterministic = torch.is_grad_enabled(), torch.are_deterministic_algorithms_enabled()
    only_warned = torch.is_deterministic_algorithms_warn_only_enabled()
    try:
        with torch.autocast("cpu", enabled=False):
            yield
    finally:
        torch.set_default_dtype(dtype)
        torch.set_grad_enabled(grad)
        torch.use_deterministic_algorithms(deterministic, warn_only=only_warned)
        if torch.get_default_device() != device:
            torch.set_default_device(None if device.type == "cpu" else device)


@contextmanager
def undisturbed() -> Iterator[None]:
    """Within the block anything may be printed, seeded or set; afterward all is as before.

    Inside, whatever holds outside, tensors are made on the CPU, as float32 and without autocast, by
    the usual algorithms, and gradients are recorded.
    """
    cuda = torch.cuda.is_available() and torch.cuda.is_initialized()
    devices = range(torch.cuda.device_count()) if cuda else []
    python, numpy = random.getstate(), np.random.get_state()
    environment = dict(os.environ)
    # A device that was chosen is looked up in every call of torch, which takes a quarter longer.
    elsewhere = torch.get_default_device().type != "cpu"
    on_cpu = torch.device("cpu") if elsewhere else contextlib.nullcontext()
    try:
        with (
            switched_back(), torch.random.fork_rng(devices), on_cpu,
            torch.inference_mode(False), torch.enable_grad(),
            torch.autograd.set_detect_anomaly(False), np.errstate(all="ignore"),
            warnings.catch_warnings(),
            contextlib.redirect_stdout(_Nowhere()), contextlib.redirect_stderr(_Nowhere()),
        ):
            warnings.simplefilter("ignore")
            torch.set_default_dtype(torch.float32)
            torch.use_deterministic_algorithms(False)
            yield
    finally:
        random.setstate(python)
        np.random.set_state(numpy)
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

    They are seconds of work, so that a busy machine makes no answer wrong; what waits or sleeps
    gets a few times as many by the clock. The main thread gets a signal where the system has them;
    any other thread, and Windows, an exception from a second thread. Neither can interrupt a single
    long operation inside torch, nor a loop around a bare `except:`, which swallows it each time.
    """
    main = threading.current_thread() is threading.main_thread()
    with (_by_signal if main and hasattr(signal, "setitimer") else _by_thread)(seconds):
        yield


def _end_of(seconds: float, work: Callable[[], float]) -> Callable[[], bool]:
    """Asks whether the time is up, by what `work` counts or, after some patience, by the clock."""
    worked, began = work(), time.monotonic()
    return lambda: (work() - worked >= seconds
                    or time.monotonic() - began >= _PATIENCE * seconds)


def _clock_of_this_thread() -> Callable[[], float]:
    """Seconds of work of the thread that calls this, to be read in any thread; where the system
    does not tell them, the clock's."""
    if not hasattr(time, "pthread_getcpuclockid"):
        return time.monotonic
    clock = time.pthread_getcpuclockid(threading.get_ident())
    return lambda: time.clock_gettime(clock)


@contextmanager
def _by_signal(seconds: float) -> Iterator[None]:
    running, ends = True, _end_of(seconds, time.thread_time)

    def ring(_number, _frame):
        if running and ends():
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
    finished, thrown, lock = threading.Event(), threading.Event(), threading.Lock()
    learner = ctypes.c_ulong(threading.get_ident())
    throw = ctypes.pythonapi.PyThreadState_SetAsyncExc

    ends = _end_of(seconds, _clock_of_this_thread())

    def watch():
        wait = seconds
        while not finished.wait(wait):
            with lock:
                if not finished.is_set() and ends():
                    throw(learner, ctypes.py_object(OutOfTime))
                    thrown.set()
            wait = _AGAIN

    threading.Thread(target=watch, daemon=True).start()
    try:
        yield
    finally:
        with lock:
            finished.set()
            if thrown.is_set():
                throw(learner, None)  # it may not have arrived yet


def attempt(function: Callable, arguments: tuple) -> Any:
    """What the function returns, or Raised. Only an Ending goes through."""
    try:
        return function(*arguments)
    except Ending:
        raise
    except BaseException as error:
        return Raised(_place(error), error)


def asked(question: Callable, *arguments, otherwise: Any = None) -> Any:
    """What the judge's own question comes to; `otherwise` where it raises.

    An answer may be any object, so code of the learner's may raise in the middle of a question.
    Whatever else raises is a fault of the judge, which stops no notebook; in the tests, where
    GPTLIB_FAULTS=raise, it is not hidden.
    """
    result = attempt(question, arguments)
    if not isinstance(result, Raised):
        return result
    theirs = result.where or isinstance(result.error, NoAnswer)
    if not theirs and os.environ.get("GPTLIB_FAULTS") == "raise":
        raise result.error
    return otherwise


def alone(definition: Callable) -> Callable:
    """The function, or class, but what it switches in torch holds for nobody else, and a tensor
    that cannot be read is Unreadable."""
    if isinstance(definition, type):
        methods = {name: alone(part) for name, part in vars(definition).items()
                   if inspect.isfunction(part)}
        return type(definition.__name__, (definition,), methods)

    @wraps(definition)
    def call(*arguments, **named):
        with switched_back():
            result = definition(*arguments, **named)
        for part in result if isinstance(result, (tuple, list)) else [result]:
            if isinstance(part, Tensor):
                _check_readable(part)
        return result

    return call


_READABLE = (
    torch.bool, torch.uint8, torch.int8, torch.int16, torch.int32, torch.int64, torch.float16,
    torch.bfloat16, torch.float32, torch.float64, torch.complex64, torch.complex128,
)


def _check_readable(x: Tensor) -> None:
    if x.device.type != "cpu":
        raise Unreadable(f"the device of what you return is {x.device}, but the inputs are on cpu: "
                         "make new tensors with device=x.device.")
    if x.is_nested or x.layout != torch.strided:
        raise Unreadable("what you return is sparse or nested: .to_dense() makes a plain tensor of "
                         "a sparse one, and torch.stack one of several.")
    if x.dtype not in _READABLE:
        raise Unreadable(f"the dtype of what you return is {x.dtype}, with which hardly anything "
                         "can be computed: stay with the dtype of the inputs.")


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
