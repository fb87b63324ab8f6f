"""Linear forms as people write them: `log p(x|z) - 4·log q(z|x) + 4·log p(z)`."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from .atoms import KINDS, Atom, Coefficient
from .schedule import Ramp


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
    """Return true if a coefficient is zero at every step, but for rounding."""
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
