"""Runs that are killed; `python tests/reliability/kills.py --kills 50` does it more often."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.skipif(os.name == "nt", reason="Windows can neither fork nor SIGKILL")


def test_a_run_that_is_killed_three_times_loses_nothing():
    """In a process of its own, since this one may have threads that a fork would lack."""
    program = Path(__file__).parent / "kills.py"
    done = subprocess.run(
        [sys.executable, program, "--kills", "3"], capture_output=True, text=True
    )
    assert done.returncode == 0 and done.stdout.startswith("3 kills in "), done
    assert done.stdout.endswith(": nothing lost\n")
