"""What ScalingExplorer says: as the functions of the same names in scaling.js."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal


def sentence(plan: dict, found: dict, budget: float, speed: float | None) -> str:
    """What a budget is best used for."""
    low, size, high = found["best"]
    least, loss, most = map(nats, found["loss"])
    time = f" ({duration(budget / speed)} at {work(speed)}/s)" if speed else ""
    times = budget / plan["tried"][-1]
    beyond = f" That is {rounded(times)} times the largest budget tried." if times > 1.05 else ""
    return (f"With {work(budget)}{time}, the laws recommend {counted(size)} parameters "
            f"({ranged(low, high)}) and {counted(found['tokens'])} tokens: {loss} nats per token "
            f"above the floor ({least} to {most}).{beyond}")


def said_laws(plan: dict) -> str:
    """How both laws go with the budget, and what the ranges mean."""
    growth, fall = (math.log(rows[-1, 1] / rows[0, 1])
                    / math.log(plan["budgets"][-1] / plan["budgets"][0])
                    for rows in (plan["best"], plan["loss"]))
    growth, fall = (f"{rounded(2**x)} times {what} (exponent {x:.2f})".replace("-", "−")
                    for x, what in ((growth, "the best size"), (fall, "its loss above the floor")))
    return (f"Twice the budget: {growth}, {fall}. In parentheses, and gray: nine of ten further "
            "valleys, if the lines go on straight and valleys scatter as the "
            f"{len(plan['tried'])} tried do.")


# ------------------------------------------------------------------------------ numbers in words


def rounded(x: float, digits: int = 2) -> str:
    """With two digits that count: 0.025, 1.3, 480, 13,000."""
    text = f"{_with_digits(x, digits):,f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def nats(x: float) -> str:
    """Nats per token, with three digits, the last of which may be 0: 0.0270."""
    number = _with_digits(x, 3)
    return f"{number.quantize(Decimal(1).scaleb(number.adjusted() - 2)):,f}"


def _with_digits(x: float, digits: int) -> Decimal:
    return Context(prec=digits, rounding=ROUND_HALF_UP).create_decimal_from_float(float(x))


def counted(x: float) -> str:
    """A large number: 830, 13 thousand, 1.3 million."""
    return _with_unit(x, ("", " thousand", " million", " billion", " trillion"))


def ranged(low: float, high: float) -> str:
    """620 to 850 thousand."""
    first, last = counted(low).split(), counted(high).split()
    return f"{' '.join(first[:1] if first[1:] == last[1:] else first)} to {' '.join(last)}"


def work(x: float) -> str:
    """Floating-point operations, with three digits: 4 TFLOP, 384 GFLOP."""
    return _with_unit(x, [f" {prefix}FLOP" for prefix in ("", *"kMGTPE")], 3)


def _with_unit(x: float, units: Sequence[str], digits: int = 2) -> str:
    """In the largest unit, of thousands, of which there is one or more."""
    power = min(max(0, math.floor(math.log10(_with_digits(x, digits)) / 3 + 1e-9)), len(units) - 1)
    return f"{rounded(x / 1000**power, digits)}{units[power]}"


def duration(seconds: float) -> str:
    """4.2 seconds, 2.5 minutes, 1.4 hours, 3.2 days."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 1.5 * length:
            return f"{rounded(seconds / length)} {unit}"
    return f"{rounded(seconds)} second{'' if rounded(seconds) == '1' else 's'}"
