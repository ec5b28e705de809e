"""Answers to the exercise of chapter 0, as learners write them."""

import math

import numpy as np
from collecting import right, wrong_edits


@right("surprise")
def turned_around(chance):
    return math.log(1 / chance)


@right("surprise")
def with_a_base(chance):
    return -1 * math.log(chance, math.e)


@right("surprise")
def of_numpy(chance):
    return -np.log(chance)


wrong_edits(
    "surprise",
    ("-math.log(chance)", "math.log(chance) * chance", "but should be"),
    ("-math.log(chance)", "1 / chance", "but should be"),
    ("    return -math.log(chance)", "    print(-math.log(chance))", "return"),
)
