"""Schedules: coefficients that change while training, piecewise linear in the step.

They add and scale like numbers:

    >>> warm_up = ramp(0, 4, last=1000)
    >>> warm_up(0), warm_up(250), warm_up(5000)
    (0.0, 1.0, 4.0)
    >>> print(1 - warm_up / 2)
    (1 to -1 over steps 0 to 1,000)

An objective takes them wherever it takes a number: `beta_vae(ramp(0, 4, last=10_000))`;
`objective.at(step)` has numbers again.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable
from dataclasses import dataclass
from functools import wraps
from itertools import pairwise
from typing import ParamSpec, TypeVar

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Ramp:
    """A piecewise linear function of the step through (step, value) knots, constant outside them.

    Raises:
        ValueError: There is no knot, steps do not increase, or a number is not finite.
    """

    knots: tuple[tuple[int, float], ...]

    def __post_init__(self) -> None:
        steps = [step for step, _ in self.knots]
        is_increasing = all(a < b for a, b in pairwise(steps))
        are_finite = all(math.isfinite(step) and math.isfinite(value) for step, value in self.knots)
        if not steps or not is_increasing or not are_finite:
            raise ValueError(
                f"knots {self.knots} of a schedule: expected one or more (step, value), steps "
                "increasing, all of them finite numbers"
            )

    def __call__(self, step: int) -> float:
        first, start = self.knots[0]
        if step < first:
            return float(start)
        for last, end in self.knots[1:]:
            if step < last:
                share = (step - first) / (last - first)
                return float(start + share * (end - start))
            first, start = last, end
        return float(start)

    def __add__(self, other: float | Ramp) -> Ramp:
        if isinstance(other, (int, float)):
            return self._changed(lambda value: value + other)
        if not isinstance(other, Ramp):
            return NotImplemented
        steps = {step for step, _ in self.knots + other.knots}
        knots = [(step, self(step) + other(step)) for step in sorted(steps)]
        return Ramp(tuple(knots))

    __radd__ = __add__

    def __mul__(self, factor: float | Ramp) -> Ramp:
        if isinstance(factor, Ramp):
            raise TypeError(
                f"{self} times {factor} is not piecewise linear: a schedule is scaled by numbers"
            )
        if not isinstance(factor, (int, float)):
            return NotImplemented
        return self._changed(lambda value: value * factor + 0.0)  # + 0.0: no negative zeros

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Ramp:
        return self * reciprocal(divisor)

    def __neg__(self) -> Ramp:
        return self * -1.0

    def __sub__(self, other: float | Ramp) -> Ramp:
        return self + -other

    def __rsub__(self, other: float) -> Ramp:
        return -self + other

    def _changed(self, change: Callable[[float], float]) -> Ramp:
        knots = [(step, change(value)) for step, value in self.knots]
        return Ramp(tuple(knots))

    def __str__(self) -> str:
        if len(self.knots) == 1:
            _, value = self.knots[0]
            return f"({value:g})"
        parts = []
        for (first, start), (last, end) in pairwise(self.knots):
            values = f"{start:g} to {end:g}"
            parts.append(f"{values} over steps {first:,} to {last:,}")
        return f"({', '.join(parts)})"


def ramp(start: float, end: float, first: int = 0, last: int = 1000) -> Ramp:
    """Return `start` until step `first`, then linearly to `end`, which `last` reaches.

    Raises:
        ValueError: `last` is not above `first`.
    """
    return Ramp(((first, start), (last, end)))


def reciprocal(divisor: float) -> float:
    """Return one over the divisor of a schedule or of an objective.

    Raises:
        ValueError: It is 0.
    """
    if divisor == 0:
        raise ValueError("division by zero: expected a divisor other than 0")
    return 1 / divisor


def least(coefficient: float | Ramp) -> float:
    """Return the least value of a number or a schedule.

    >>> least(ramp(4, 1))
    1
    """
    if isinstance(coefficient, Ramp):
        return min(value for _, value in coefficient.knots)
    return coefficient


def not_negative(
    *names: str,
) -> Callable[[Callable[Arguments, Result]], Callable[Arguments, Result]]:
    """Return a decorator that refuses negative values of some coefficients of a function.

    A negative one would reward the quantity that the function penalises.
    """

    def decorated(function: Callable[Arguments, Result]) -> Callable[Arguments, Result]:
        signature = inspect.signature(function)

        @wraps(function)
        def checked(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
            try:
                arguments = signature.bind(*args, **kwargs).arguments
            except TypeError:  # the call says which argument is missing or too many
                return function(*args, **kwargs)
            for name in names:
                value = arguments.get(name, 0)
                if not least(value) >= 0:
                    raise ValueError(
                        f"{name} of {function.__name__} is {value}; expected 0 or more, as it "
                        "weighs a penalty: to reward the term, add it by itself"
                    )
            return function(*args, **kwargs)

        return checked

    return decorated
