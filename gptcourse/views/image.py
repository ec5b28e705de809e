"""A picture from the kernel that changes without a flicker and has words in its place.

The `Image` of ipywidgets takes the old picture away before the new one is decoded, so that some
frames have none, and it has no alternative text.
"""

from __future__ import annotations

import anywidget
import traitlets

from gptcourse.figures import Picture
from gptcourse.views.files import read, style


class KernelImage(anywidget.AnyWidget):
    """Shows one `Picture` after the other."""

    _esm = read("image.js")
    _css = style()

    value = traitlets.Bytes().tag(sync=True)         # a PNG, or nothing yet
    alt = traitlets.Unicode().tag(sync=True)
    width = traitlets.Int(0).tag(sync=True)          # in CSS pixels

    def show(self, picture: Picture) -> None:
        """Put another picture, which is a PNG, in the place of this one."""
        with self.hold_sync():                       # words and picture in one message
            self.width, self.alt, self.value = picture.width, picture.alt, picture.data
