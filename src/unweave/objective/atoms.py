"""Atoms, the log-densities on which objectives are linear forms, and how such a form is printed.

At (x, z) ~ q(x) q(z|x), in nats per item:

    recon      log p(x|z), and every other density of p that q did not sample (observed labels'
               log p(y), factors)
    label      log q(y|x) at observed sites of q
    evidence   log p(x), estimated by importance sampling over the sample dimensions
    posterior  log q(z|x)
    q[l]       Σ_blocks log q(z_block) over the blocks of level l of the group tree, under the
               aggregate posterior
    p[l]       Σ_blocks log p(z_block) likewise, under the prior

    >>> print(Atom("q", -1), "and", Atom("posterior", of=("y",)))
    log Πq(z_d,e) and log q(y|x)
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any, Literal, NamedTuple, get_args

from .schedule import Ramp

Kind = Literal["recon", "label", "evidence", "posterior", "q", "p"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""All kinds, in the order in which they are printed."""

Coefficient = float | Ramp
"""A number, or a schedule of numbers."""

WITHOUT_LATENTS = {"recon": "log p(x|z)", "label": "log q(y|x)", "evidence": "log p(x)"}
LEVELS = {0: "", 1: "_d", -1: "_d,e"}


class Atom(NamedTuple):
    """A log-density; `level` counts partitions of the group tree, `of` restricts it to latents."""

    kind: Kind
    level: int = 0
    of: tuple[str, ...] = ()

    def on(self, *latents: str) -> Atom:
        """Return the density of some of the latents; those without latents stay as they are."""
        return self if self.kind in WITHOUT_LATENTS else self._replace(of=latents)

    def __str__(self) -> str:
        if self.kind in WITHOUT_LATENTS:
            return WITHOUT_LATENTS[self.kind]
        z = ",".join(self.of) or "z"
        if self.kind == "posterior":
            return f"log q({z}|x)"
        index = LEVELS.get(self.level, f"_level {self.level}")
        product = "Π" if self.level else ""
        return f"log {product}{self.kind}({z}{index})"


def printed(form: Mapping[Any, Coefficient]) -> str:
    """Return a linear form as people write it: atoms by kind and level, then other terms."""
    table = dict(sorted(form.items(), key=_place))
    names = names_of(table)
    return printed_sum((c, names[term], "·") for term, c in table.items())


def names_of(terms: Iterable[Any]) -> dict[Any, str]:
    """Return the terms' names, with other words where one letter would stand for two things.

    All latents are called "all" beside terms of a site that is called "z", and labels are called
    "labels" beside log q(y|x) of a latent y.

    >>> names_of([Atom("label"), Atom("posterior", of=("y",))])[Atom("label")]
    'log q(labels|x)'
    """
    names = {term: str(term) for term in terms}
    latents = {term: getattr(term, "of", None) for term in names}
    if ("z",) in latents.values():
        for term, of in latents.items():
            if of == ():
                whole = term.on("all")
                names[term] = str(whole)
    of_y = Atom("posterior", of=("y",))
    label = Atom("label")
    if label in names and of_y in names:
        names[label] = "log q(labels|x)"
    return names


def printed_sum(terms: Iterable[tuple[Coefficient, str, str]]) -> str:
    """Return a sum as people write it, of terms (coefficient, name, sign between the two)."""
    text = ""
    for given, name, dot in terms:
        if is_zero(given):
            continue
        c = _number(given)
        is_minus = _is_negative(c)
        size = -c if is_minus else c
        if isinstance(size, Ramp):
            factor = f"{size}·"
        elif math.isclose(size, 1):
            factor = ""
        else:
            factor = f"{size:g}{dot}"
        sign = "-" if is_minus else "+"
        text += f" {sign} {factor}{name}"
    if text.startswith(" - "):
        return "-" + text.removeprefix(" - ")
    return text.removeprefix(" + ") or "0"


def is_zero(c: Coefficient, tolerance: float = 1e-12) -> bool:
    """Whether a coefficient is zero at every step, but for rounding."""
    if isinstance(c, Ramp):
        return all(abs(value) < tolerance for _, value in c.knots)
    return abs(c) < tolerance


def _is_negative(c: Coefficient) -> bool:
    if isinstance(c, Ramp):
        return all(value <= 0 for _, value in c.knots)
    return c < 0


def _number(c: Coefficient) -> Coefficient:
    """Return a schedule that never changes as the number that it is."""
    if not isinstance(c, Ramp):
        return c
    _, first = c.knots[0]
    is_constant = is_zero(c - first)
    return first if is_constant else c


def _place(item: tuple[Any, Coefficient]) -> tuple[int, int, tuple[str, ...]]:
    """Sort atoms by kind, then by level, -1 last; other terms stay as they are, behind them."""
    atom = item[0]
    if not isinstance(atom, Atom):
        return len(KINDS), 0, ()
    return KINDS.index(atom.kind), atom.level % 1000, atom.of
