"""Objectives in the circled terms of Esmaeili et al. (2019).

    ① log p(x|z)/p(x)      ② −I_q(x;z)      ③ −KL(q(x) ‖ p(x))      ④ −KL(q(z) ‖ p(z))

With a tree of groups, ④ falls into Ⓐ, the correlation between the top groups, and Ⓑ, what is below;
with single units too, Ⓑ falls into ⓘ, the correlation within groups, and ⓘⓘ, the KL of each unit.
A star marks units that stand where groups would.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .atoms import Atom, Coefficient, is_zero, printed, printed_sum

RECON = Atom("recon")
EVIDENCE = Atom("evidence")
POSTERIOR = Atom("posterior")
P = Atom("p")
P_GROUPS = Atom("p", 1)
P_UNITS = Atom("p", -1)
Q = Atom("q")
Q_GROUPS = Atom("q", 1)
Q_UNITS = Atom("q", -1)
ATOMS = (RECON, EVIDENCE, POSTERIOR, P, P_GROUPS, P_UNITS, Q, Q_GROUPS, Q_UNITS)
"""The atoms of which circled terms are made."""

CIRCLES = "①②③④ⒶⒷⓘ"

Named = list[tuple[Coefficient, str]]


def circled(form: Mapping[Any, Coefficient]) -> str:
    """Return a linear form in circled terms, with other terms behind them.

    Raises:
        ValueError: It is no sum of those terms.
    """
    table: dict[Atom, Coefficient] = dict.fromkeys(ATOMS, 0)
    others: dict[Any, Coefficient] = {}
    for term, c in form.items():
        if term in table:
            table[term] = c
        else:
            others[term] = c
    are_apart = all(_is_apart(term, c) for term, c in others.items())
    if not are_apart or not _is_balanced(table):
        raise ValueError(f"{printed(form)} is no sum of the terms ① to ④, Ⓐ, Ⓑ, ⓘ and ⓘⓘ")
    named = _first_three(table) + _divergences(table, P_GROUPS in form) + _anchors(others)
    named += [(c, str(term)) for term, c in others.items()]
    terms = []
    for c, name in named:
        is_circled = name[0] in CIRCLES
        dot = "" if is_circled else "·"
        terms.append((c, name, dot))
    return printed_sum(terms)


def _is_balanced(table: Mapping[Atom, Coefficient]) -> bool:
    """Whether q[l] comes with −p[l] at each level, apart from the information −②."""
    top = table[Q] + table[P] + table[POSTERIOR]
    groups = table[Q_GROUPS] + table[P_GROUPS]
    units = table[Q_UNITS] + table[P_UNITS]
    return all(is_zero(gap, 1e-9) for gap in (top, groups, units))


def _is_apart(term: Any, c: Coefficient) -> bool:
    """Whether a term may stand behind the circled ones, as atoms of all latents may not."""
    if isinstance(term, Atom) and term.kind != "label" and not term.of:
        return is_zero(c, 1e-9)
    return True


def _first_three(table: Mapping[Atom, Coefficient]) -> Named:
    one = table[RECON]
    two = -table[POSTERIOR]
    three = one + table[EVIDENCE]
    return [(one, "①"), (two, "②"), (three, "③")]


def _divergences(table: Mapping[Atom, Coefficient], has_groups: bool) -> Named:
    """Write p's coefficients as those of ④ or of its parts, in as few terms as it takes."""
    across = table[P]
    within = across + table[P_GROUPS]
    units = within + table[P_UNITS]
    if across == within == units:
        return [(across, "④")]
    if within == units:
        return [(across, "Ⓐ"), (units, "Ⓑ")]
    if across == within and not has_groups:
        return [(across, "Ⓐ*"), (units, "Ⓑ*")]
    return [(across, "Ⓐ"), (within, "ⓘ"), (units, "ⓘⓘ")]


def _anchors(others: dict[Any, Coefficient]) -> Named:
    """Take informations in some latents, posterior − q[0] of them, out of `others`."""
    named: Named = []
    for term, c in list(others.items()):
        if isinstance(term, Atom) and term.kind == "posterior":
            aggregate = Atom("q", 0, term.of)
            if others.get(aggregate) == -c:
                del others[term], others[aggregate]
                named.append((-c, "②ᵃ"))
    return named
