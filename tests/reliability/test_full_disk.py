"""A disk that is full while a file is written: the former file survives, the error says so."""

import subprocess
import sys
from pathlib import Path

import pytest

resource = pytest.importorskip("resource", reason="limits on a file's size are a POSIX feature")

# A limit on the size of files refuses the write half-way, as a full disk does.
PROGRAM = """
import resource, signal, sys
sys.path.insert(0, sys.argv[1])
from helpers import lively_model
from gptlib import save_model
from gptlib.tokenizer import BPETokenizer

signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (2000, 2000))
try:
    if sys.argv[2] == "model":
        save_model(lively_model(seed=5), sys.argv[3])
    else:
        BPETokenizer.train("she sells sea shells " * 20 + "by the sea shore", 270).save(sys.argv[3])
except OSError as error:
    print(error)
"""


@pytest.mark.parametrize("kind", ["model", "tokenizer"])
def test_the_former_file_survives_a_full_disk(tmp_path, kind):
    path = tmp_path / "former"
    path.write_bytes(b"the former file")
    tests = Path(__file__).parent.parent
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tests, kind, path], capture_output=True, text=True
    )
    assert "what was there before is unchanged: free some space" in done.stdout, done.stderr
    assert path.read_bytes() == b"the former file"
    assert list(tmp_path.iterdir()) == [path]
