"""The base of the views that live in the browser.

The kernel sends a view's numbers once, as one block of bytes. From then on the page draws, and
answers the pointer and the keys, also while the kernel is busy. Only the settings travel: the
kernel follows them, so that a view's `shown` and its still picture say what is on screen.
"""

from __future__ import annotations

import json
from collections.abc import Mapping

import anywidget
import numpy as np
import traitlets

from gptcourse.figures import DRAWING, Picture, showable
from gptcourse.views.base import BaseView, answer_while_a_cell_runs
from gptcourse.views.session import Session
from gptcourse.views.twin import twin

MOST_BYTES = 1_000_000               # of data in one view


class BrowserView(BaseView, anywidget.AnyWidget):
    """An ES module that draws what `send_data` sent, and settings that both sides can change.

    A subclass names its files with `browser_files`, defines its settings as traits tagged
    `sync=True`, `update`, which ends in `show`, and `still`. Its constructor ends in `follow`.
    """

    data = traitlets.Bytes().tag(sync=True)          # what `pack` made
    notice = traitlets.Unicode().tag(sync=True)      # a sentence above the view, or nothing
    error = traitlets.Unicode().tag(sync=True)       # what went wrong, or nothing

    def __init__(self, session: Session | None = None, **settings):
        """Settings that `session` has too are shared with all its views; those that are not
        given, or None, are taken from it."""
        self.session = Session() if session is None else session
        self._still: Picture | None = None
        super().__init__(**{name: value for name, value in settings.items() if value is not None})
        answer_while_a_cell_runs(self)
        self._on_page = self
        self.on_msg(lambda _, content, __: self.hear(content))
        for name, value in settings.items():
            if value is not None and self.session.has_trait(name):
                self.session.set_trait(name, value)
        self.session.join(self)

    def follow_to(self, model) -> None:
        """Go on with another model, where the view shows one."""
        if model is None or not hasattr(self, "model"):
            return
        with DRAWING:
            with self.errors_shown():
                self.model = twin(model)
            if self.last_error is None:
                self.refresh()

    def still(self) -> Picture:
        """A picture of what is shown, for pages where no widget can be."""
        raise NotImplementedError

    def send_data(self, arrays: Mapping[str, np.ndarray], **words) -> None:
        """Give the page numbers by name, and whatever words belong to them."""
        self.data = pack(arrays, **words)

    def show(self, summary: str, **shown) -> None:
        """Say in one sentence what is on screen; `shown` says what numbers it carries."""
        self.shown = {"summary": showable(summary), **shown}
        self._still = None

    def follow(self, *settings: str) -> None:
        """Update now, and again whenever one of these traits changes."""
        self.follow_places({name: (self, name) for name in settings})

    def warn(self, message: str) -> None:
        self.error = message

    @property
    def picture(self) -> Picture | None:
        """The still picture, drawn when somebody asks for it."""
        if self._still is None and self.shown:
            drawn = self.still()
            self._still = Picture(drawn.data, self.shown["summary"], drawn.width)
        return self._still


def pack(arrays: Mapping[str, np.ndarray], **words) -> bytes:
    """Arrays and words as one block of bytes, which `unpack` in `common.js` reads.

    First the length of the header (4 bytes, little end first), then the header as JSON: the words
    by their names, and under "arrays" the type, shape and place of each array; then the arrays.
    Raises a ValueError beyond a megabyte, and for words that JSON has no sign for.
    """
    described, blocks, offset = {}, [], 0
    for name, array in arrays.items():
        array = np.ascontiguousarray(array)
        described[name] = {"type": array.dtype.name, "shape": array.shape, "offset": offset}
        blocks.append(array.astype(array.dtype.newbyteorder("<")).tobytes())
        offset += array.nbytes
    header = json.dumps({**words, "arrays": described}, allow_nan=False).encode()
    packed = b"".join([len(header).to_bytes(4, "little"), header, *blocks])
    if len(packed) > MOST_BYTES:
        raise ValueError(
            f"This view would carry {len(packed):,} bytes, but at most {MOST_BYTES:,} are sent to "
            "a page: choose a shorter text, or a smaller model."
        )
    return packed
