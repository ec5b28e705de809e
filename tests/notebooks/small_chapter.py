"""A small chapter that keeps every rule, for tests that break one."""

from course import write
from execution import WIDGET_VIEW, normalized
from nbformat.v4 import (
    new_code_cell,
    new_markdown_cell,
    new_notebook,
    new_output,
)

PICTURE = "iVBORw0KGgo="
ALT = {"image/png": {"alt": "A line that rises from left to right."}}


def code(source, *outputs, count=None, tags=(), **metadata):
    if tags:
        metadata["tags"] = list(tags)
    return new_code_cell(
        source, outputs=list(outputs), execution_count=count, metadata=metadata
    )


def text(cell):
    return new_markdown_cell(cell)


def shown(count=None, metadata=None, **data):
    """An output; `image_png=...` stands for the MIME type image/png."""
    data = {key.replace("__", "+").replace("_", "/", 1): value for key, value in data.items()}
    kind = "display_data" if count is None else "execute_result"
    extra = {} if count is None else {"execution_count": count}
    return new_output(kind, data=data, metadata=metadata or {}, **extra)


def printed(line, name="stdout"):
    return new_output("stream", name=name, text=line)


def good_chapter():
    """The chapter as `execute` would leave it."""
    return normalized(new_notebook(cells=[
        text("# Sums\n\n*20 minutes.*\n\n"
             "Two make a third; see [the end](#The-end) and [here](02_sums.ipynb)."),
        code("print(1 + 1)", printed("2\n"), count=1),
        code("def add(a, b):\n    return a + b", count=2),
        text("## By hand\n\nNow it is your turn, with $x[i](y) = z$."),
        code("def twice(x):\n    return TODO", count=3, tags=["exercise"], id="02.twice"),
        *(code(f"add({n}, {n})", shown(n, text_plain=f"{2 * n}"), count=n) for n in range(4, 10)),
        code(
            "draw()",
            shown(10, ALT, text_plain="<Figure size 640x480 with 1 Axes>", image_png=PICTURE),
            count=10,
        ),
        code(
            "slider()",
            new_output("execute_result", execution_count=11, data={
                "text/plain": "Slider at 3", WIDGET_VIEW: {"model_id": "0123"},
            }),
            count=11,
        ),
        text("## The end\n\nThat was [all](https://example.org)."),
    ]))


def save(notebook, folder, name="02_sums.ipynb"):
    path = folder / name
    write(notebook, path)
    return path
