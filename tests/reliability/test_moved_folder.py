"""`make lab` after the folder was moved: what is installed points to the old place, and is made
again."""

import os
import shutil
import subprocess
import sys

import pytest
from course import ROOT

pytestmark = pytest.mark.skipif(os.name == "nt", reason="on Windows, make is not used")


@pytest.fixture
def installed(tmp_path):
    """A folder in which `make lab` has installed everything, as far as make can see."""
    folder = tmp_path / "the course"
    (folder / ".venv" / "bin").mkdir(parents=True)
    for name in ("Makefile", "requirements.txt", "pyproject.toml"):
        shutil.copy(ROOT / name, folder)
    (folder / ".venv" / "bin" / "python").symlink_to(sys.executable)
    (folder / ".venv" / "installed").write_text(f"{folder.resolve()}\n")
    return folder


def is_up_to_date(folder) -> bool:
    asked = subprocess.run(["make", "-q", ".venv/installed"], cwd=folder, stderr=subprocess.PIPE)
    assert asked.returncode in (0, 1), asked.stderr
    return asked.returncode == 0


def test_where_nothing_was_moved_nothing_is_installed_again(installed):
    assert is_up_to_date(installed)
    (installed / "requirements.txt").touch()
    assert not is_up_to_date(installed)


def test_a_folder_that_was_moved_or_copied_is_installed_again(installed, tmp_path):
    copied = shutil.copytree(installed, tmp_path / "copy", symlinks=True)
    assert not is_up_to_date(copied)
    assert is_up_to_date(installed)
    assert not is_up_to_date(installed.rename(tmp_path / "moved"))


def test_an_environment_whose_python_is_gone_is_made_again(installed):
    (installed / ".venv" / "bin" / "python").unlink()
    assert not is_up_to_date(installed)
