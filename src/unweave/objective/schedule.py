"""Coefficients that change while training: piecewise linear functions of the step, which add and
scale like numbers.

    >>> warm_up = ramp(0, 4, last=1000)
    >>> warm_up(0), warm_up(250), warm_up(5000)
    (0.0, 1.0, 4.0)
    >>> print(1 - warm_up / 2)
    (1 to -1 over steps 0 to 1,000)

An objective takes them wherever it takes a number: `beta_vae(ramp(0, 4, last=10_000))`;
`objective.at(step)` has numbers again.
"""

from __future__ import annotations

from bisect import bisect
from dataclasses import dataclass
from itertools import pairwise


@dataclass(frozen=True)
class Ramp:
    """A piecewise linear function of the step through (step, value) knots, constant before and
    after them.
    """

    knots: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        if not self.knots or any(a >= b for (a, _), (b, _) in pairwise(self.knots)):
            raise ValueError(
                f"knots {self.knots} of a schedule: expected one or more (step, value), steps "
                "increasing"
            )

    def __call__(self, step: int) -> float:
        steps, values = zip(*self.knots, strict=True)
        i = bisect(steps, step)
        if i in (0, len(steps)):
            return float(values[i and -1])
        share = (step - steps[i - 1]) / (steps[i] - steps[i - 1])
        return float(values[i - 1] + share * (values[i] - values[i - 1]))

    def __add__(self, other: float | Ramp) -> Ramp:
        if not isinstance(other, (int, float, Ramp)):
            return NotImplemented
        if not isinstance(other, Ramp):
            return Ramp(tuple((step, value + other) for step, value in self.knots))
        steps = sorted({step for step, _ in (*self.knots, *other.knots)})
        return Ramp(tuple((step, self(step) + other(step)) for step in steps))

    __radd__ = __add__

    def __mul__(self, factor: float | Ramp) -> Ramp:
        if isinstance(factor, Ramp):
            raise TypeError(
                f"{self} times {factor} is not piecewise linear: a schedule is scaled by numbers"
            )
        if not isinstance(factor, (int, float)):
            return NotImplemented
        return Ramp(
            tuple((step, value * factor + 0.0) for step, value in self.knots)
        )  # + 0.0: no negative zeros

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Ramp:
        return self * (1 / divisor)

    def __neg__(self) -> Ramp:
        return self * -1.0

    def __sub__(self, other: float | Ramp) -> Ramp:
        return self + -other

    def __rsub__(self, other: float) -> Ramp:
        return -self + other

    def __str__(self) -> str:
        parts = (
            f"{a:g} to {b:g} over steps {s:,} to {t:,}" for (s, a), (t, b) in pairwise(self.knots)
        )
        return f"({', '.join(parts) or f'{self.knots[0][1]:g}'})"


def ramp(start: float, end: float, first: int = 0, last: int = 1000) -> Ramp:
    """`start` until step `first`, then linearly to `end`, which `last` reaches. Errors: ValueError
    if last ≤ first.
    """
    return Ramp(((first, start), (last, end)))
