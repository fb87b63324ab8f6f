"""Objectives: linear forms on atoms and other terms, to be added, scaled, printed and called.

>>> import unweave as uw
>>> uw.hfvae(alpha=1, beta=1, gamma=1) == uw.elbo
True
>>> print(uw.beta_vae(4))
log p(x|z) - 4·log q(z|x) + 4·log p(z)
>>> print(uw.hfvae(alpha=1, beta=12, gamma=4).circled())
① + ② + ③ + 12Ⓐ + 4ⓘ + ⓘⓘ
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

from torch import Tensor

from ..aggregate import Aggregate
from ..trace.groups import Tree
from ..trace.trace import Trace
from .atoms import Atom, Coefficient
from .circled import circled
from .densities import Densities, Term
from .printing import printed
from .schedule import Ramp, reciprocal


@dataclass(frozen=True, eq=True)
class Objective:
    """A linear form on atoms, and on other terms: add, subtract and scale it, print it, call it.

    Coefficients are numbers, or schedules (`Ramp`): `at(step)` then gives the objective of that
    step. They are finite: a ValueError names one that is not.

    Called on traces, it returns its value per item, `(*samples, batch)` in nats, to be maximised:
    the caller takes `-objective(q, p, …).mean()` as the loss. See `Densities` for the arguments.
    """

    coefficients: Mapping[Atom | Term, Coefficient]

    def __post_init__(self) -> None:
        for term, c in self.coefficients.items():
            if not isinstance(c, Ramp) and not math.isfinite(c):
                raise ValueError(f"the coefficient of {term} is {c}; expected a finite number")

    def __add__(self, other: Objective) -> Objective:
        if not isinstance(other, Objective):
            return NotImplemented
        total = summed([*self.coefficients.items(), *other.coefficients.items()])
        return _without_zeros(total.coefficients)

    def __mul__(self, factor: Coefficient) -> Objective:
        if not isinstance(factor, (int, float, Ramp)):
            return NotImplemented
        return _without_zeros({term: factor * c for term, c in self.coefficients.items()})

    __rmul__ = __mul__

    def __truediv__(self, divisor: float) -> Objective:
        return self * reciprocal(divisor)

    def __neg__(self) -> Objective:
        return -1.0 * self

    def __sub__(self, other: Objective) -> Objective:
        return self + -other

    def at(self, step: int) -> Objective:
        """Return the objective of one step, with numbers for schedules.

        Schedules are in coefficients, and in terms that have a method `at` of their own.
        """
        if not self._changes:
            return self
        now: list[tuple[Atom | Term, Coefficient]] = []
        for term, c in self.coefficients.items():
            term_at: Callable[[int], Any] | None = getattr(term, "at", None)
            term_now = term_at(step) if term_at else term
            c_now = c(step) if isinstance(c, Ramp) else c
            now.append((term_now, c_now))
        return summed(now)

    @cached_property
    def _changes(self) -> bool:
        return any(
            isinstance(c, Ramp) or hasattr(term, "at") for term, c in self.coefficients.items()
        )

    def of(self, *latents: str) -> Objective:
        """Return the same form on some of the latents.

        `mi.of("y")` is I(x;y), `tc[-1].of("z")` the correlation within z, `mmd().of("z")` the
        distance of q(z) and p(z). Latents are written as in groups ("z", "z[:5]", "z[3]"); level l
        of the tree keeps its blocks' parts. They replace those of an earlier `of`. `recon`, `label`
        and `evidence` stay as they are; other terms have a method `on(*latents)` of their own.

        Raises:
            TypeError: A term has none.
        """
        restricted: list[tuple[Atom | Term, Coefficient]] = []
        for term, c in self.coefficients.items():
            on: Callable[..., Any] | None = getattr(term, "on", None)
            if on is None:
                named = ", ".join(map(repr, latents))
                raise TypeError(
                    f"{term} cannot be restricted to {named}: restrict the other terms before it "
                    "is added, or give it a method on(*latents)"
                )
            restricted.append((on(*latents), c))
        total = summed(restricted)
        return _without_zeros(total.coefficients)

    def __call__(
        self,
        q: Trace,
        p: Trace,
        *,
        groups: Tree | None = None,
        aggregate: Aggregate | None = None,
        batch_dim: int = 0,
        kl: Literal["closed", "sampled"] = "closed",
        prior: Trace | Callable[[], Trace] | None = None,
    ) -> Tensor:
        densities = Densities(
            q, p, groups=groups, aggregate=aggregate, batch_dim=batch_dim, kl=kl, prior=prior
        )
        return densities.score(self)

    def __str__(self) -> str:
        """The integrand."""
        return printed(self.coefficients)

    def __repr__(self) -> str:
        return f"Objective({self})"

    def circled(self) -> str:
        """Return the objective in the circled terms of the paper, for a tree of groups and units.

        Terms of a deeper tree follow ① to ③ by their levels, `tc[1]` and `kl[-1]`.

        Raises:
            ValueError: It is no sum of those terms.
        """
        return circled(self.coefficients)


def summed(terms: Iterable[tuple[Atom | Term, Coefficient]]) -> Objective:
    """Return the sum of terms with coefficients; those of equal terms are added."""
    total: dict[Atom | Term, Coefficient] = {}
    for term, c in terms:
        total[term] = total[term] + c if term in total else c
    return Objective(total)


def _without_zeros(table: Mapping[Atom | Term, Coefficient]) -> Objective:
    return Objective({term: c for term, c in table.items() if c != 0})
