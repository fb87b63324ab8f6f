"""Objectives in the circled terms of Esmaeili et al. (2019).

    ① log p(x|z)/p(x)      ② −I_q(x;z)      ③ −KL(q(x) ‖ p(x))      ④ −KL(q(z) ‖ p(z))

With a tree of groups, ④ falls into Ⓐ, the correlation between the top groups, and Ⓑ, what is below;
with single units too, Ⓑ falls into ⓘ, the correlation within groups, and ⓘⓘ, the KL of each unit.
A star marks units that stand where groups would.

The levels that a deeper tree adds are written as the terms tc[l] and kl[l] of `literature`:

    >>> import unweave as uw
    >>> print((uw.recon - uw.mi - 6 * uw.tc[0] - 3 * uw.tc[1] - uw.kl[2]).circled())
    ① + ② + ③ - 6·tc[0] - 3·tc[1] - kl[2]
"""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from .atoms import Atom, Coefficient
from .printing import is_zero, names_of, printed, printed_sum

RECON = Atom("recon")
EVIDENCE = Atom("evidence")
POSTERIOR = Atom("posterior")
PRIOR = Atom("p")
PRIOR_OF_GROUPS = Atom("p", 1)
PRIOR_OF_UNITS = Atom("p", -1)

NAMED_LEVELS = (0, 1, -1)
"""All latents, the top groups and the single units: the levels that circled terms speak of."""

CIRCLES = "①②③④ⒶⒷⓘ"

Named = list[tuple[Coefficient, str]]


def circled(form: Mapping[Any, Coefficient]) -> str:
    """Return a linear form in circled terms, with other terms behind them.

    Raises:
        ValueError: It is no sum of those terms.
    """
    if not _is_balanced(form):
        raise ValueError(f"{printed(form)} is no sum of the terms ① to ④, Ⓐ, Ⓑ, ⓘ and ⓘⓘ")
    others = {term: c for term, c in form.items() if not _is_circled(term)}
    named = _first_three(form)
    named += _divergences(form)
    named += _anchors(others)
    for term, name in names_of(others).items():
        c = others[term]
        named.append((c, name))
    terms = []
    for c, name in named:
        first = name[0]
        dot = "" if first in CIRCLES else "·"
        terms.append((c, name, dot))
    return printed_sum(terms)


def _is_circled(term: Any) -> bool:
    """True if a term is an atom of the circled terms: one of all latents, recon or evidence."""
    return isinstance(term, Atom) and term.kind != "label" and not term.of


def _has_level(term: Any) -> bool:
    """Return true if a term is q[l] or p[l] of all latents."""
    return _is_circled(term) and term.kind in ("q", "p")


def _levels(form: Mapping[Any, Coefficient]) -> list[int]:
    """Return the levels of q and p in a form, from coarse to fine."""
    levels = set()
    for term, c in form.items():
        if _has_level(term) and not is_zero(c):
            levels.add(term.level)
    return sorted(levels, key=_from_coarsest)


def _from_coarsest(level: int) -> tuple[bool, int]:
    """Return the place of a level: those below zero are the finest."""
    is_fine = level < 0
    return is_fine, level


def _is_balanced(form: Mapping[Any, Coefficient]) -> bool:
    """Return true if q[l] comes with −p[l] at each level, apart from the information −②."""
    gaps: dict[int, Coefficient] = {0: form.get(POSTERIOR, 0)}
    for term, c in form.items():
        if _has_level(term):
            gap = gaps.get(term.level, 0)
            gaps[term.level] = gap + c
    return all(is_zero(gap, 1e-9) for gap in gaps.values())


def _first_three(form: Mapping[Any, Coefficient]) -> Named:
    one = form.get(RECON, 0)
    two = -form.get(POSTERIOR, 0)
    three = one + form.get(EVIDENCE, 0)
    return [(one, "①"), (two, "②"), (three, "③")]


def _divergences(form: Mapping[Any, Coefficient]) -> Named:
    """Write p's coefficients as those of ④ or of its parts, in as few terms as it takes."""
    levels = _levels(form)
    if any(level not in NAMED_LEVELS for level in levels):
        return _by_levels(form, levels)
    across = form.get(PRIOR, 0)
    within = across + form.get(PRIOR_OF_GROUPS, 0)
    units = within + form.get(PRIOR_OF_UNITS, 0)
    if across == within == units:
        return [(across, "④")]
    if within == units:
        return [(across, "Ⓐ"), (units, "Ⓑ")]
    if across == within and 1 not in levels:
        return [(across, "Ⓐ*"), (units, "Ⓑ*")]
    return [(across, "Ⓐ"), (within, "ⓘ"), (units, "ⓘⓘ")]


def _by_levels(form: Mapping[Any, Coefficient], levels: list[int]) -> Named:
    """Write Σ c_l kl[l] as correlations between the levels that are named, and the last level."""
    named: Named = []
    total: Coefficient = 0
    names = [_between(level, below) for level, below in pairwise(levels)]
    finest = levels[-1]
    names.append(f"kl[{finest}]")
    for level, name in zip(levels, names, strict=True):
        log_p = Atom("p", level)
        c = form.get(log_p, 0)
        total = total - c
        named.append((total, name))
    return named


def _between(level: int, below: int) -> str:
    """Return the correlations between two partitions as `literature.tc` is asked for them."""
    first = level if level >= 0 else level + 1
    stop = below if below >= 0 else below + 1
    if below == level + 1:
        return f"tc[{first}]"
    if below == -1:
        return f"tc[{first}:]"
    return f"tc[{first}:{stop}]"


def _anchors(others: dict[Any, Coefficient]) -> Named:
    """Take informations in some latents, posterior − q[0] of them, out of `others`."""
    found: dict[str, Coefficient] = {}
    posteriors = [term for term in others if isinstance(term, Atom) and term.kind == "posterior"]
    for term in posteriors:
        aggregate = Atom("q", 0, term.of)
        c = others.get(aggregate)
        if c == -others[term]:
            latents = ",".join(term.of)
            found[latents] = c
            del others[term]
            del others[aggregate]
    named: Named = []
    for latents, c in found.items():
        name = "②ᵃ" if len(found) == 1 else f"②ᵃ({latents})"
        named.append((c, name))
    return named
