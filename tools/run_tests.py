"""Prove that everything works: style, rules of the chapters, tests, and every chapter run again.

    python tools/run_tests.py           the outputs of the chapters must be the stored ones
    python tools/run_tests.py --lax     they must only run (for machines other than Linux on x86-64)

Nothing here may use the network. At the end there is one line per part and one for all of it.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from course import CELL_TIMEOUT, ENVIRONMENT, ROOT, CourseError, chapters, without_models

AT_A_TIME = 2  # parts that run side by side, on two cores; three are no faster
# They take minutes each, so each is a part of its own.
BROWSER, SOLVED, EXERCISES = "tests/browser", "tests/browser/test_solved.py", "tests/exercises"
# What else is installed for pytest takes a second to load, for each chapter.
ONLY_NBVAL = ["--disable-plugin-autoload", "-p", "nbval"]


@dataclass(frozen=True)
class Part:
    """One command to run. pytest commands count their tests, others count as one."""

    name: str
    command: list[str]
    is_pytest: bool = False


@dataclass(frozen=True)
class Outcome:
    part: Part
    passed: int
    failed: int
    skipped: int
    seconds: float
    output: str


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--lax", action="store_true", help="run the chapters, compare no outputs")
    lax = parser.parse_args().lax
    sys.stdout.reconfigure(encoding="utf-8")  # where it goes to a file, Windows knows no check mark

    with tempfile.TemporaryDirectory() as folder, ThreadPoolExecutor(AT_A_TIME) as pool:
        work = [pool.submit(run, part, Path(folder)) for part in parts(lax)]
        outcomes = []
        for future in work:
            outcomes.append(future.result())
            show(outcomes[-1])
    return summarize(outcomes)


def parts(lax: bool) -> list[Part]:
    """Everything there is to run, the longest first; of the chapters, that is the last ones."""
    python = sys.executable
    pytest = [python, "-m", "pytest", "--color=no"]
    compare = "--nbval-lax" if lax else "--nbval"
    nbval = [
        *pytest, *ONLY_NBVAL, compare, "--nbval-current-env",
        f"--nbval-cell-timeout={CELL_TIMEOUT}", "-q", "-p", "no:cacheprovider",
    ]
    try:
        paths = chapters()
    except CourseError:
        paths = []  # `check` fails for it, and says why
    return [
        Part("style", [python, "-m", "ruff", "check"]),
        Part("rules of the chapters", [python, "tools/notebooks.py", "check"]),
        Part("tests", [*pytest, "tests", f"--ignore={BROWSER}", f"--ignore={EXERCISES}"],
             is_pytest=True),
        Part("browser", [*pytest, BROWSER, f"--ignore={SOLVED}"], is_pytest=True),
        Part("solved", [*pytest, SOLVED], is_pytest=True),
        Part("exercises", [*pytest, EXERCISES], is_pytest=True),
        *(Part(path.stem, [*nbval, str(path.relative_to(ROOT))], is_pytest=True)
          for path in reversed(paths)),
    ]


def run(part: Part, folder: Path) -> Outcome:
    """Run `part` to its end, whatever happens; its counts come from the report that it writes."""
    report = folder / f"{part.name}.xml"
    command = [*part.command, f"--junit-xml={report}"] if part.is_pytest else part.command
    print(f"-- {part.name} ...", flush=True)
    started = time.monotonic()
    finished = subprocess.run(
        command, cwd=ROOT, env=environment(folder), stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8", errors="replace",
    )
    passed, failed, skipped = counts(report) if report.exists() else (0, 0, 0)
    if finished.returncode != 0:
        failed = max(failed, 1)
    elif not part.is_pytest:
        passed = 1
    seconds = time.monotonic() - started
    return Outcome(part, passed, failed, skipped, seconds, finished.stdout)


def environment(folder: Path) -> dict[str, str]:
    """No network, and nobody's own settings of Jupyter and IPython."""
    return {
        **os.environ,
        **ENVIRONMENT,
        "PYTHONPATH": str(ROOT / "tests" / "no_network"),
        "PYTHONIOENCODING": "utf-8",
        **without_models(folder),
        "IPYTHONDIR": str(folder / "ipython"),
        "JUPYTER_CONFIG_DIR": str(folder / "jupyter-config"),
        "JUPYTER_DATA_DIR": str(folder / "jupyter-data"),
    }


def counts(report: Path) -> tuple[int, int, int]:
    """How many tests passed, failed and were skipped, by pytest's own report."""
    passed = failed = skipped = 0
    for suite in ElementTree.parse(report).iter("testsuite"):
        bad = int(suite.get("failures")) + int(suite.get("errors"))
        left_out = int(suite.get("skipped"))
        failed, skipped = failed + bad, skipped + left_out
        passed += int(suite.get("tests")) - bad - left_out
    return passed, failed, skipped


def show(outcome: Outcome) -> None:
    """A title, then all that the part printed."""
    print(f"\n== {outcome.part.name} ({' '.join(outcome.part.command[1:])})", flush=True)
    print(outcome.output.rstrip(), flush=True)


def summarize(outcomes: list[Outcome]) -> int:
    print("\n== summary")
    for outcome in outcomes:
        verdict = "FAILED" if outcome.failed else "passed"
        print(
            f"{outcome.part.name:<24}{verdict:>8}{outcome.passed:>6} passed"
            f"{outcome.failed:>5} failed{outcome.skipped:>5} skipped{outcome.seconds:>8.0f} s"
        )
    passed, failed, skipped = (
        sum(getattr(outcome, name) for outcome in outcomes)
        for name in ("passed", "failed", "skipped")
    )
    print(f"{passed} passed, {failed} failed" + (f", {skipped} skipped" if skipped else ""))
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
