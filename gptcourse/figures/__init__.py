"""Still pictures: arrays in, a `Picture` out, which a notebook shows and a screen reader reads.

Charts are matplotlib figures, diagrams are SVG. Every picture is drawn for a light page, and turned
dark by a dark one (see style.py), and has an alternative text that is composed from its data.
"""

from gptcourse.figures.style import (
    CHIPS,
    GRID,
    INK,
    MUTED,
    PALETTE,
    SERIES,
    SIGNED,
    TEXT_SIZE,
    WIDTH,
)
from gptcourse.figures.words import cut, in_markup, showable, with_signs
from gptcourse.figures.numbers import number
from gptcourse.figures.picture import Picture
from gptcourse.figures.canvas import DRAWING, Stage, new_axes, new_figure, png, visible, width_of
from gptcourse.figures.cells import draw_cells, hatch, matrix
from gptcourse.figures.arcs import attention_arcs
from gptcourse.figures.attention import (
    attention_grid,
    attention_heatmap,
    attention_overview,
    draw_heatmap,
    is_causal,
)
from gptcourse.figures.charts import (
    bars,
    draw_bars,
    lines,
    rename_bars,
    set_log_y,
    token_bars,
    word_bars,
)
from gptcourse.figures.estimates import estimates
from gptcourse.figures.strips import Chip, chip_list, token_strip
from gptcourse.figures.tables import two_tables
from gptcourse.figures.head import one_head
from gptcourse.figures.valley import valley
from gptcourse.figures.diagram import (
    PARTS,
    block_diagram,
    check_parts,
    gpt_diagram,
    training_loop,
)
