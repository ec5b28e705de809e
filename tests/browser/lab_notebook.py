"""A notebook of a test's own in the folder that JupyterLab shows."""

import nbformat
from nbformat.v4 import new_code_cell, new_notebook


def write_notebook(lab, name: str, cells: list[str]) -> None:
    notebook = new_notebook(cells=[new_code_cell(cell) for cell in cells])
    notebook.metadata.kernelspec = {"name": "python3", "display_name": "Python 3 (ipykernel)"}
    nbformat.write(notebook, lab.folder / name)
