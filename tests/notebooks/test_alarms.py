"""The alarms of `make test` ring: each of them is set off here once."""

import os
import subprocess
import sys

import notebooks
import pytest
from course import ENVIRONMENT, ROOT, chapters, read, write
from execution import execute
from nbformat.v4 import new_notebook
from run_tests import ONLY_NBVAL, Part, counts, parts, run, summarize
from small_chapter import code, good_chapter, save, text

NBVAL = [
    sys.executable, "-m", "pytest", *ONLY_NBVAL, "-q", "-p", "no:cacheprovider",
    "--nbval-current-env",
]


@pytest.fixture(scope="module")
def executed(tmp_path_factory):
    cells = [code("x = 41 + 1\nx"), code("print('ready')"), code("print('gone')"), code("y = 1")]
    path = save(new_notebook(cells=[text("# A"), *cells]), tmp_path_factory.mktemp("alarms"))
    execute(path)
    return path


def nbval(*paths, how="--nbval"):
    return subprocess.run(
        [*NBVAL, how, *map(str, paths)], cwd=ROOT, capture_output=True, text=True, check=False,
    )


def changed(executed, tmp_path, change):
    notebook = read(executed)
    change(notebook.cells)
    path = tmp_path / executed.name
    write(notebook, path)
    return path


def alter_outputs(cells):
    cells[1].outputs[0].data["text/plain"] = "43"    # a value
    cells[2].outputs[0].text = "Ready\n"             # a line
    cells[4].outputs = cells[3].outputs              # something where nothing is shown
    cells[3].outputs = []                            # nothing where something is


def test_an_untouched_chapter_passes_nbval(executed):
    finished = nbval(executed)
    assert finished.returncode == 0, finished.stdout
    assert "4 passed" in finished.stdout


def test_every_altered_output_fails_nbval(executed, tmp_path):
    finished = nbval(changed(executed, tmp_path, alter_outputs))
    assert finished.returncode == 1
    assert "4 failed" in finished.stdout


def test_whatever_a_part_prints_can_be_shown():
    program = (
        "import sys, run_tests; sys.argv = ['run_tests.py']; "
        "part = run_tests.Part('a part', [sys.executable, '-c', r'print(\"\\u2705\")']); "
        "run_tests.parts = lambda lax: [part]; sys.exit(run_tests.main())"
    )
    finished = subprocess.run(
        [sys.executable, "-c", program], cwd=ROOT / "tools", capture_output=True, check=False,
        env={**os.environ, "PYTHONIOENCODING": "ascii"},
    )
    assert finished.returncode == 0, finished.stderr
    assert "\u2705" in finished.stdout.decode()


def test_where_outputs_may_differ_only_an_error_fails_nbval(executed, tmp_path):
    def alter_and_break(cells):
        alter_outputs(cells)
        cells[1].source = "1 / 0"

    finished = nbval(changed(executed, tmp_path, alter_and_break), how="--nbval-lax")
    assert finished.returncode == 1
    assert "1 failed, 3 passed" in finished.stdout


@pytest.fixture
def check(tmp_path, monkeypatch):
    """`tools/notebooks.py check` on the chapters in `tmp_path`."""
    monkeypatch.setattr(notebooks, "chapters", lambda names: chapters(folder=tmp_path))
    monkeypatch.setattr(sys, "argv", ["notebooks.py", "check"])
    return notebooks.main


def test_check_fails_for_a_chapter_with_a_problem_and_names_it(tmp_path, check, capsys):
    save(good_chapter(), tmp_path)
    assert check() == 0
    wrong = good_chapter()
    wrong.cells[1].execution_count = None
    save(wrong, tmp_path, "03_wrong.ipynb")
    assert check() == 1
    told = capsys.readouterr()
    assert "03_wrong.ipynb: 1 of 11 code cells have not been run" in told.err
    assert "2 chapters" in told.out


def test_check_fails_where_there_is_no_chapter(check, capsys):
    assert check() == 1
    assert "There is no chapter" in capsys.readouterr().err


# The runner of `make test` itself.

def pytest_part(folder, source):
    (folder / "test_sample.py").write_text(source)
    command = [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(folder)]
    return Part("sample", command, is_pytest=True)


@pytest.mark.parametrize(("source", "expected"), [
    ("def test_a(): pass\ndef test_b(): pass", (2, 0, 0)),
    ("def test_a(): pass\ndef test_b(): assert 0", (1, 1, 0)),
    ("import pytest\ndef test_a(): pass\ndef test_b(): pytest.skip('no')", (1, 0, 1)),
    ("import pytest\n@pytest.fixture\ndef f(): 1 / 0\ndef test_a(f): pass", (0, 1, 0)),
    ("this is no Python", (0, 1, 0)),
    ("", (0, 1, 0)),                                                   # no test is no proof
    ("import os\ndef test_a(): os._exit(9)", (0, 1, 0)),               # a crash leaves no report
])
def test_the_runner_counts_what_passed_failed_and_was_skipped(
    tmp_path, monkeypatch, source, expected
):
    monkeypatch.setenv("PYTEST_DISABLE_PLUGIN_AUTOLOAD", "1")          # they take three seconds
    folder = tmp_path / "tests"
    folder.mkdir()
    outcome = run(pytest_part(folder, source), tmp_path)
    assert (outcome.passed, outcome.failed, outcome.skipped) == expected, outcome.output


def test_the_runner_fails_if_any_part_failed(tmp_path, capsys):
    good = run(Part("good", [sys.executable, "-c", ""]), tmp_path)
    bad = run(Part("bad", [sys.executable, "-c", "print('why'); raise SystemExit(3)"]), tmp_path)
    assert (good.passed, good.failed) == (1, 0)
    assert (bad.passed, bad.failed, bad.output) == (0, 1, "why\n")
    assert summarize([good]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 0 failed"
    assert summarize([good, bad]) == 1
    assert capsys.readouterr().out.splitlines()[-1] == "1 passed, 1 failed"


def test_the_runner_gives_its_parts_the_environment_of_the_course(tmp_path):
    program = "import os; print(*(os.environ[name] for name in ('PYTHONPATH', 'OMP_WAIT_POLICY')))"
    outcome = run(Part("environment", [sys.executable, "-c", program]), tmp_path)
    assert outcome.output.split() == [
        str(ROOT / "tests" / "no_network"), ENVIRONMENT["OMP_WAIT_POLICY"],
    ]


def test_what_one_part_leaves_out_is_another_part():
    commands = [part.command for part in parts(lax=False)]
    left_out = [word.removeprefix("--ignore=") for command in commands for word in command
                if word.startswith("--ignore=")]
    assert left_out
    for path in left_out:
        assert (ROOT / path).exists() and [path in command for command in commands].count(True) == 1


def test_counts_come_from_the_report(tmp_path):
    report = tmp_path / "report.xml"
    report.write_text(
        '<testsuites><testsuite tests="9" failures="2" errors="1" skipped="3"/></testsuites>'
    )
    assert counts(report) == (3, 3, 3)
