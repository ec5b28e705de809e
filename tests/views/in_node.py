"""What a view's ES module computes, asked of Node: the very text that a page gets."""

import base64
import json
import os
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

SCRIPTS = Path(__file__).parent / "node"


def in_node(script: str, module: str, folder: Path, **given):
    """What `node/<script>` answers to `given` with the ES module `module`; JSON both ways.

    Arrays become lists, bytes become base64. Without Node the test is left out, but never in CI.
    """
    node = shutil.which("node")
    if node is None:
        message = "Node is not installed; it runs the code that views have in the browser."
        pytest.fail(message) if os.environ.get("CI") else pytest.skip(message)
    path = folder / "view.mjs"
    path.write_text(module, encoding="utf-8")
    answer = subprocess.run(
        [node, SCRIPTS / script, path], input=json.dumps(given, default=_as_json), text=True,
        capture_output=True, encoding="utf-8",
    )
    assert answer.returncode == 0, answer.stderr
    return json.loads(answer.stdout)


def _as_json(x):
    if isinstance(x, bytes):
        return base64.b64encode(x).decode()
    return x.tolist() if isinstance(x, np.ndarray) else str(x)
