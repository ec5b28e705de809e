"""Choose a budget, and see the model that stored runs recommend for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import traitlets

from gptcourse import figures
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.scaling_numbers import checked, plan
from gptcourse.views.scaling_still import draw_plan
from gptcourse.views.scaling_words import words_of

AXES = COMPUTE, TOKENS = ("compute", "tokens")


class ScalingExplorer(BrowserView):
    """Which model should a budget train, and on how many tokens?

    Of each stored budget, models of several sizes were trained: a valley, with the best size at its
    lowest point. Two power laws go through these points, one for the best size and one for its
    loss above the floor, and on to budgets that nobody has tried. How sure that is, a range says:
    nine of ten further valleys lie in it, if they scatter about the laws as the stored ones do.

    From Python, the settings are `budget`, the FLOPs of the whole training, and `against`, what the
    runs are drawn against: "compute" or "tokens".
    """

    _esm, _css = browser_files("scaling")

    budget = traitlets.Float(0.0).tag(sync=True)
    against = traitlets.Enum(AXES, COMPUTE).tag(sync=True)

    def __init__(self, runs: Sequence, budget: float | None = None,
                 flops_per_second: float | None = None):
        """`runs` have `budget`, `parameters`, `tokens`, `flops` and `loss_above_floor` each, as
        those of `gptcourse.experiments.scaling_runs()`. Without a budget, it is the next round one
        after the largest of theirs. With a machine's speed, the view says how long it takes there.
        """
        self._rows, self._speed = list(runs), flops_per_second
        self._plan: dict | None = None
        self._said: list[str] = []
        super().__init__(budget=budget)
        self.follow("budget", "against")

    compute = staticmethod(plan)

    def update(self) -> None:
        plan = self._plan = self._plan or self._planned()
        if not self.budget:
            self.budget = float(plan["budgets"][plan["budgets"] > plan["tried"][-1]][0])
        low, high = plan["budgets"][[0, -1]]
        if not low <= self.budget <= high:
            raise ValueError(f"budget is {self.budget:.3g} FLOPs, but this view goes from "
                             f"{low:.3g} to {high:.3g}: choose one of these.")
        if self.budget not in plan["budgets"]:
            plan = self._plan = self._planned(self.budget)
        n = int(np.searchsorted(plan["budgets"], self.budget))
        self.show(self._said[n], budget=self.budget, against=self.against,
                  **{name: plan[name][n] for name in ("best", "loss", "tokens")})

    def still(self) -> figures.Picture:
        return draw_plan(self._plan, self.shown)

    def _planned(self, *also: float) -> dict[str, np.ndarray]:
        """What the laws say of every budget, and of these; computed once and sent to the page."""
        if self._speed is not None and not 0 < self._speed < math.inf:
            raise ValueError(f"flops_per_second is {self._speed}, but a machine does a number "
                             "above 0: leave it out where it is not known.")
        plan = self.compute(checked(self._rows), self._speed, also)
        words = words_of(plan, self._speed)
        self.send_data(plan, **words)
        self._said = words["said"]
        return plan
