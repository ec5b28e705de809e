"""Run a chapter from top to bottom and store what it shows, the same bytes every time."""

from __future__ import annotations

import copy
import hashlib
import os
import tempfile
from pathlib import Path

from course import (
    CELL_TIMEOUT,
    CourseError,
    code_cells,
    read,
    transport_encryption,
    without_models,
    write,
)
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError, DeadKernelError
from nbformat import NotebookNode, from_dict

WIDGET_VIEW = "application/vnd.jupyter.widget-view+json"

NOTEBOOK_METADATA = {
    "kernelspec": {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"},
    "language_info": {
        "codemirror_mode": {"name": "ipython", "version": 3},
        "file_extension": ".py",
        "mimetype": "text/x-python",
        "name": "python",
        "pygments_lexer": "ipython3",
    },
}
# What editors and converters leave in a cell's metadata.
EDITORS_METADATA = {
    "ExecuteTime", "autoscroll", "collapsed", "editable", "execution", "lines_to_next_cell",
    "pycharm", "scrolled", "slideshow", "trusted", "vscode",
}


def execute(path: Path) -> None:
    """Run the chapter at `path` in its own folder and store its outputs in it.

    Raises a CourseError that names chapter, cell and error, and leaves the file as it was.
    """
    write(normalized(executed(path)), path)


def executed(path: Path, with_widgets: bool = False) -> NotebookNode:
    """The chapter at `path` with the outputs of a fresh run, `with_widgets` also with their state.

    The file stays as it is. Raises a CourseError that names chapter, cell and error.
    """
    notebook = read(path)
    clear_outputs(notebook)
    running: dict[str, NotebookNode] = {}
    client = _client_for(
        notebook, path, store_widget_state=with_widgets,
        on_cell_execute=lambda cell, cell_index: running.update(cell=cell),
    )
    try:
        with tempfile.TemporaryDirectory() as folder:  # where nobody has IPython settings
            models = without_models(Path(folder))
            client.execute(env={**os.environ, **models, "IPYTHONDIR": folder})
    except (CellExecutionError, CellTimeoutError, DeadKernelError) as error:
        place = _place(running["cell"], notebook) if running else "before the first cell"
        raise CourseError(f"{path.name}, {place}: {_what(error)}") from error
    return notebook


def _client_for(notebook: NotebookNode, path: Path, **options) -> NotebookClient:
    """What runs `notebook` in the folder of its file, in a fresh kernel."""
    client = NotebookClient(
        notebook,
        timeout=CELL_TIMEOUT,
        kernel_name="python3",
        resources={"metadata": {"path": str(path.parent)}},
        record_timing=False,
        coalesce_streams=True,
        **options,
    )
    client.create_kernel_manager().transport_encryption = transport_encryption()
    return client


def clear_outputs(notebook: NotebookNode) -> None:
    for cell in code_cells(notebook):
        cell.outputs, cell.execution_count = [], None


def normalized(notebook: NotebookNode) -> NotebookNode:
    """A copy of `notebook` that holds only what a reader needs and what is always the same."""
    notebook = copy.deepcopy(notebook)
    notebook.nbformat, notebook.nbformat_minor = 4, 5
    notebook.metadata = from_dict(NOTEBOOK_METADATA)
    seen: dict[str, int] = {}
    for cell in notebook.cells:
        _normalize_cell(cell, seen)
    return notebook


def _normalize_cell(cell: NotebookNode, seen: dict[str, int]) -> None:
    # An id that follows from the text stays the same however the file was made.
    digest = hashlib.sha256(f"{cell.cell_type}\n{cell.source}".encode()).hexdigest()[:8]
    seen[digest] = seen.get(digest, 0) + 1
    cell.id = digest if seen[digest] == 1 else f"{digest}-{seen[digest]}"
    for key in EDITORS_METADATA & set(cell.metadata):
        del cell.metadata[key]
    if cell.cell_type == "code":
        for output in cell.outputs:
            _drop_live_widget(output)


def _drop_live_widget(output: NotebookNode) -> None:
    """Drop the reference to a widget of a kernel that is gone.

    The picture and the text beside it stay and are what a reader sees without a kernel. The
    reference is a random number; its place is marked, so that `check` can count the views.
    """
    if output.get("data", {}).pop(WIDGET_VIEW, None) is not None:
        output.metadata[WIDGET_VIEW] = NotebookNode(live_only=True)


def _place(cell: NotebookNode, notebook: NotebookNode) -> str:
    number = next(n for n, other in enumerate(code_cells(notebook), 1) if other is cell)
    return f"code cell [{number}] ({cell.source.splitlines()[0]!r})"


def _what(error: Exception) -> str:
    if isinstance(error, CellExecutionError):
        return f"{error.ename}: {error.evalue}"
    if isinstance(error, CellTimeoutError):
        return f"still running after {CELL_TIMEOUT} seconds"
    return "the kernel died"
