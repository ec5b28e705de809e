"""What every test runs under: no network, one thread, the tools at hand, no hidden faults."""

import gc
import importlib.util
import os
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
NO_NETWORK = ROOT / "tests" / "no_network"

# Before torch is imported. A test is too small to gain from threads, and other tests run beside.
os.environ["OMP_NUM_THREADS"] = "1"
# Faults of the judge, which a notebook passes over, fail a test, in kernels, too.
os.environ["GPTLIB_FAULTS"] = "raise"
sys.path[:0] = [str(ROOT / "tools"), str(ROOT / "tests")]

from course import prepare_environment  # noqa: E402

prepare_environment()


def guard_against_the_network():
    """The guard of `tests/no_network`, here and in all processes that a test starts."""
    paths = os.environ.get("PYTHONPATH", "").split(os.pathsep)
    if str(NO_NETWORK) not in paths:
        os.environ["PYTHONPATH"] = os.pathsep.join([str(NO_NETWORK), *filter(None, paths)])
    active = sys.modules.get("sitecustomize")
    if active is None or Path(active.__file__).parent != NO_NETWORK:
        spec = importlib.util.spec_from_file_location("no_network", NO_NETWORK / "sitecustomize.py")
        spec.loader.exec_module(importlib.util.module_from_spec(spec))


guard_against_the_network()


def pytest_collection_finish():
    """What the tests have imported stays: to look for garbage in it took a tenth of their time."""
    gc.collect()
    gc.freeze()
