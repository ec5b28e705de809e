"""American spelling without mistakes: in the chapters, the packages and their papers."""

import subprocess
import sys

from course import NOTEBOOKS, ROOT, read

DICTIONARIES = "clear,rare,en-GB_to_en-US"
# Words that are meant: names of the library, sounds of the stories, tokens that are cut words.
MEANT = "judgement,nd,te,fo,ue"
PAPERS = [
    "README.md", "CONTRIBUTING.md", "Makefile", "gptlib", "gptcourse", "tools", "benchmarks",
]


def misspelled(*paths) -> list[str]:
    finished = subprocess.run(
        [sys.executable, "-m", "codespell_lib", "--builtin", DICTIONARIES,
         "--ignore-words-list", MEANT, "--skip", "*.json,*.safetensors,*.pyc,__pycache__",
         *map(str, paths)],
        capture_output=True, text=True, cwd=ROOT,
    )
    assert finished.stderr == ""
    return finished.stdout.splitlines()


def test_nothing_is_misspelled_in_the_packages_and_their_papers():
    assert misspelled(*PAPERS) == []


def test_nothing_is_misspelled_in_the_chapters(tmp_path):
    for path in NOTEBOOKS.glob("*.ipynb"):
        sources = (cell.source for cell in read(path).cells)
        (tmp_path / f"{path.stem}.txt").write_text("\n\n".join(sources), encoding="utf-8")
    assert misspelled(tmp_path) == []


def test_a_misspelled_word_is_found(tmp_path):
    (tmp_path / "page.txt").write_text("We recieve a colourful tensor.")  # codespell:ignore
    assert len(misspelled(tmp_path)) == 2
