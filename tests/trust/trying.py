"""Many inputs for one target, always the same ones, and what was lost of them."""

from __future__ import annotations

from answers import lost
from hypothesis import HealthCheck, Phase, given, settings
from targets import TARGETS, Target


def try_inputs(target: Target, inputs: int) -> tuple[int, dict[str, str]]:
    """How many inputs were tried, and for each way to fail the shortest input that found it."""
    tried, found = 0, {}

    @settings(max_examples=inputs, derandomize=True, database=None, deadline=None,
              phases=[Phase.generate], suppress_health_check=list(HealthCheck))
    @given(target.inputs)
    def one(content):
        nonlocal tried
        tried += 1
        fault = lost(lambda: target.use(content))
        if fault:
            shown = _shown(content)
            found[fault] = min(shown, found.get(fault, shown), key=len)

    one()
    return tried, found


def share_of(target: Target, inputs: int) -> int:
    """How many of so many inputs in all belong to this target."""
    return -(-inputs * target.share // sum(target.share for target in TARGETS))


def _shown(content) -> str:
    try:
        return repr(content)[:600]
    except ValueError:               # a number too long to be written
        return f"<{type(content).__name__}>"
