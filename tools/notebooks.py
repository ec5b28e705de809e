"""The chapters of the course: run them, check them, hand them out, open them.

    python tools/notebooks.py lab                 your own copies, opened in JupyterLab
    python tools/notebooks.py workbook            your own copies only
    python tools/notebooks.py fresh 02            a fresh copy, beside yours
    python tools/notebooks.py execute [02 ...]    run chapters, store what they show
    python tools/notebooks.py check [02 ...]      the rules that every chapter keeps; with
                                                  --seconds also how long each one runs
    python tools/notebooks.py site [02 ...]       pages that need neither kernel nor network
"""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path

from course import SITE, WORKBOOK, CourseError, chapters, papers, prepare_environment


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__.splitlines()[0],
        usage="notebooks.py {lab,workbook,fresh,execute,check,site} ...",
    )
    commands = parser.add_subparsers(dest="command", required=True)
    for name in ("execute", "check", "site"):
        commands.add_parser(name).add_argument("chapters", nargs="*", help="such as 02; else all")
    commands.choices["check"].add_argument(
        "--seconds", action="store_true", help="run the chapters, too, and take the time"
    )
    commands.choices["site"].add_argument("--into", type=Path, default=SITE, help="the folder")
    commands.add_parser("fresh").add_argument("chapters", nargs="*", help="such as 02")
    for name in ("workbook", "lab", "fresh"):
        command = commands.choices.get(name) or commands.add_parser(name)
        command.add_argument(
            "--into", type=Path, default=WORKBOOK, help="the folder for your copies"
        )
    arguments, others = parser.parse_known_args()
    if others and arguments.command != "lab":
        parser.error(f"unknown: {' '.join(others)}")

    prepare_environment()
    try:
        if arguments.command == "execute":
            return run_execute(arguments.chapters)
        if arguments.command == "check":
            return run_check(arguments.chapters, arguments.seconds)
        if arguments.command == "site":
            return run_site(arguments.chapters, arguments.into)
        if arguments.command == "fresh":
            return run_fresh(arguments.chapters, arguments.into)
        return run_workbook(arguments.into, open_lab=arguments.command == "lab", lab_args=others)
    except (CourseError, OSError) as error:
        print(error, file=sys.stderr)
        return 1


def run_execute(names: list[str]) -> int:
    from execution import execute

    failed = 0
    for path in chapters(names):
        started = time.monotonic()
        try:
            execute(path)
            print(f"{path.name}: done in {time.monotonic() - started:.0f} s", flush=True)
        except CourseError as error:
            failed += 1
            print(error, file=sys.stderr, flush=True)
    return 1 if failed else 0


def run_check(names: list[str], with_seconds: bool) -> int:
    from execution import executed
    from gate import problems, report

    paths = chapters(names)
    seconds = {}
    for path in paths if with_seconds else []:
        started = time.monotonic()
        executed(path)
        seconds[path] = time.monotonic() - started
    print(report(paths, seconds))
    found = [f"{path.name}: {problem}" for path in [*paths, *papers()]
             for problem in problems(path)]
    for line in found:
        print(line, file=sys.stderr)
    print(f"\n{len(paths)} chapters, {len(found)} problems")
    return 1 if found else 0


def run_site(names: list[str], folder: Path) -> int:
    from pages import write_pages

    for path in write_pages([*chapters(names), *papers()], folder):
        print(path)
    return 0


def run_fresh(names: list[str], folder: Path) -> int:
    from copies import fresh

    if not names:
        raise CourseError("No chapter is named: make fresh CHAPTER=03 gives a fresh copy of 03.")
    for path in chapters(names):
        for line in fresh(path, folder):
            print(line)
    return 0


def run_workbook(folder: Path, open_lab: bool, lab_args: list[str]) -> int:
    from copies import hand_out
    from learner import progress

    for line in hand_out([*chapters(), *papers()], folder):
        print(line)
    line, current = progress(chapters(), folder)
    print(line)
    if open_lab:
        from lab import open_jupyterlab

        open_jupyterlab(folder, first=current.name, others=lab_args)
    return 0


if __name__ == "__main__":
    sys.exit(main())
