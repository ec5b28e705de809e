"""Right, wrong, not done, raised: a shape and a color each, which need no font of emoji."""

from __future__ import annotations

from gptcourse.figures.style import PALETTE

STATUS_COLORS = {
    "todo": f"var(--gpt-quiet, {PALETTE['muted']})", "right": "var(--jp-success-color1, #2e7d32)",
    "wrong": "var(--jp-error-color1, #c62828)", "raised": "var(--jp-warn-color1, #c25700)",
}
_SHAPES = {                                            # in a square of 16
    "todo": '<rect x="2.5" y="2.5" width="11" height="11" rx="2"/>',
    "right": '<path d="M2.5 8.5 6.5 12.5 13.5 4"/>',
    "wrong": '<path d="M3.5 3.5 12.5 12.5M12.5 3.5 3.5 12.5"/>',
    "raised": '<path d="M8 2 14.5 13.5H1.5ZM8 6.5V9.5M8 11.5V11.6"/>',
}


def sign(status: str) -> str:
    """The sign of a status in HTML. What it means stands beside it in words."""
    return (f'<svg aria-hidden="true" width="14" height="14" viewBox="0 0 16 16" fill="none" '
            f'stroke="currentColor" stroke-width="2.2" stroke-linecap="round" '
            f'style="color: {STATUS_COLORS[status]}; vertical-align: -2px">{_SHAPES[status]}</svg>')
