"""Git on Windows gives text files other line ends, unless it is told not to: then a file that ships
would not have its digest any more."""

import shutil
import subprocess

from course import ROOT

from gptlib.storyteller import ASSETS


def git(folder, *arguments):
    as_on_windows = ("-c", "core.autocrlf=true")
    subprocess.run(["git", *as_on_windows, *arguments], cwd=folder, check=True, capture_output=True)


def test_the_shipped_files_come_out_of_git_as_they_went_in(tmp_path):
    shutil.copy(ROOT / ".gitattributes", tmp_path)
    whole = {path.name: path.read_bytes() for path in ASSETS.iterdir() if path.is_file()}
    for name, content in whole.items():
        (tmp_path / name).write_bytes(content)
    git(tmp_path, "init")
    git(tmp_path, "add", ".")
    for name in whole:
        (tmp_path / name).unlink()
    git(tmp_path, "checkout", "--", ".")
    assert {name: (tmp_path / name).read_bytes() for name in whole} == whole
