"""What ScalingExplorer says of every budget and every run; the page has it ready."""

from __future__ import annotations

import math
from collections.abc import Sequence
from decimal import ROUND_HALF_UP, Context, Decimal

from gptcourse.views.scaling_numbers import ends, log_ticks


def words_of(plan: dict, speed: float | None) -> dict:
    """All that the page says, for each budget, run and size, and the ticks of its axes."""
    every = range(len(plan["budgets"]))
    return {
        "said": [sentence(plan, n, speed) for n in every],
        "facts": [facts(plan, n, speed) for n in every],
        "work": [work(budget) for budget in plan["budgets"]],
        "counted": [counted(size) for size in plan["sizes"]],
        "named": named(plan["runs"].T),
        "laws": said_laws(plan),
        "axes": axes(plan),
    }


def sentence(plan: dict, n: int, speed: float | None) -> str:
    """What budget `n` is best used for."""
    budget, (low, size, high) = plan["budgets"][n], plan["best"][n]
    least, loss, most = map(nats, plan["loss"][n])
    time = f" ({duration(budget / speed)} at {work(speed)}/s)" if speed else ""
    times = budget / plan["tried"][-1]
    beyond = f" That is {rounded(times)} times the largest budget tried." if times > 1.05 else ""
    return (f"With {work(budget)}{time}, the laws recommend {counted(size)} parameters "
            f"({ranged(low, high)}) and {counted(plan['tokens'][n])} tokens: {loss} nats per token "
            f"above the floor ({least} to {most}).{beyond}")


def facts(plan: dict, n: int, speed: float | None) -> list[tuple[str, str, str]]:
    """The same in a few numbers: a name, the number, and more about it."""
    (low, size, high), tokens = plan["best"][n], plan["tokens"][n]
    least, loss, most = map(nats, plan["loss"][n])
    time = [] if speed is None else [
        ("time", duration(plan["budgets"][n] / speed), f"at {work(speed)}/s")]
    return [("best size", counted(size), f"parameters; {ranged(low, high)}"),
            ("tokens to read", counted(tokens), f"{rounded(tokens / size)} for each parameter"),
            ("above the floor", loss, f"nats per token; {least} to {most}"), *time]


def named(runs: Sequence[Sequence[float]]) -> list[str]:
    """A sentence for each run, whose numbers come in the order of `Runs`."""
    return [f"Run {n} of {len(runs)}: {parameters:,.0f} parameters, {counted(tokens)} tokens, "
            f"budget {work(budget)}: {nats(loss)} nats per token above the floor."
            for n, (budget, parameters, tokens, _, loss) in enumerate(runs, 1)]


def axes(plan: dict) -> dict[str, dict]:
    """Of each axis its name, its ends, and its ticks with their words."""
    kinds = {"compute": ("FLOPs of the training", work), "tokens": ("tokens read", counted),
             "sizes": ("parameters", counted), "loss": ("", rounded)}
    return {kind: {"name": kinds[kind][0], "ends": [low, high],
                   "ticks": [[place, kinds[kind][1](place)] for place in log_ticks(low, high)]}
            for kind, (low, high) in ends(plan).items()}


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
