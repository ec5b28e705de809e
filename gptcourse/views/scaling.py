"""Choose a budget, and see the model that stored runs recommend for it."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import traitlets

from gptcourse import figures
from gptcourse.views.browser import BrowserView
from gptcourse.views.files import browser_files
from gptcourse.views.scaling_numbers import checked, interpolated, plan
from gptcourse.views.scaling_still import draw_plan
from gptcourse.views.scaling_words import said_law, sentence

AXES = COMPUTE, TOKENS = ("compute", "tokens")


class ScalingExplorer(BrowserView):
    """Which model should a budget train, and on how many tokens?

    A law is fitted to stored runs: how far the loss of a model of N parameters stays above the
    floor after D tokens. Among all sizes that a budget can train, each on as many tokens as it can
    then pay, the law finds one the best. How well the runs know that is told by fitting the law
    again and again to others drawn from them: a range holds nine of ten of these refits.

    From Python, the settings are `budget`, the FLOPs of the whole training, and `against`, what the
    runs are drawn against: "compute" or "tokens".
    """

    _esm, _css = browser_files("scaling")

    budget = traitlets.Float(0.0).tag(sync=True)
    against = traitlets.Enum(AXES, COMPUTE).tag(sync=True)

    def __init__(self, runs: Sequence, budget: float | None = None,
                 flops_per_second: float | None = None):
        """`runs` have `parameters`, `tokens`, `flops` and `loss_above_floor` each, in nats per
        token. Without a budget, it is about the largest run's. With a machine's speed, the view
        says how long a budget takes there.
        """
        self._rows, self._speed = list(runs), flops_per_second
        self._plan: dict | None = None
        super().__init__(budget=budget)
        self.follow("budget", "against")

    compute = staticmethod(plan)

    def update(self) -> None:
        plan = self._plan = self._plan or self._planned()
        low, high = plan["budgets"][[0, -1]]
        if not low <= self.budget <= high:
            raise ValueError(f"budget is {figures.number(self.budget)} FLOPs, but the runs tell of "
                             f"{figures.number(low)} to {figures.number(high)}: choose one of "
                             "these.")
        found = {name: interpolated(plan["budgets"], plan[name], self.budget)
                 for name in ("best", "loss", "tokens", "valley")}
        self.show(sentence(plan, found, self.budget, self._speed), budget=self.budget,
                  against=self.against, **found)

    def still(self) -> figures.Picture:
        return draw_plan(self._plan, self.shown)

    def _planned(self) -> dict:
        """What the law says of every budget, computed once and sent to the page."""
        if self._speed is not None and not 0 < self._speed < math.inf:
            raise ValueError(f"flops_per_second is {self._speed}, but a machine does a number "
                             "above 0: leave it out where it is not known.")
        runs = checked(self._rows)
        plan = {**self.compute(runs), "runs": np.stack(runs)}                       # (4, R)
        self.send_data(
            {name: array for name, array in plan.items() if isinstance(array, np.ndarray)},
            speed=self._speed, law=said_law(plan))
        if not self.budget:
            distance = np.abs(np.log(plan["budgets"] / runs.flops.max()))
            self.budget = float(plan["budgets"][distance.argmin()])
        return plan
