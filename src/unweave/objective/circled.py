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

RECON, EVIDENCE, POSTERIOR = Atom("recon"), Atom("evidence"), Atom("posterior")
P, P_GROUPS, P_UNITS = Atom("p"), Atom("p", 1), Atom("p", -1)
Q, Q_GROUPS, Q_UNITS = Atom("q"), Atom("q", 1), Atom("q", -1)
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
    if not _is_balanced(table) or not all(map(_may_follow, others.items())):
        raise ValueError(f"{printed(form)} is no sum of the terms ① to ④, Ⓐ, Ⓑ, ⓘ and ⓘⓘ")
    named = _first_three(table) + _divergences(table, P_GROUPS in form) + _anchors(others)
    named += [(c, str(term)) for term, c in others.items()]
    terms = []
    for c, name in named:
        dot = "" if name[0] in CIRCLES else "·"
        terms.append((c, name, dot))
    return printed_sum(terms)


def _is_balanced(table: Mapping[Atom, Coefficient]) -> bool:
    """Whether q[l] comes with −p[l] at each level, apart from the information −②."""
    top = table[Q] + table[P] + table[POSTERIOR]
    groups = table[Q_GROUPS] + table[P_GROUPS]
    units = table[Q_UNITS] + table[P_UNITS]
    return all(is_zero(gap, 1e-9) for gap in (top, groups, units))


def _may_follow(item: tuple[Any, Coefficient]) -> bool:
    """Whether a term may stand behind the circled ones: atoms of all latents are among them."""
    term, c = item
    is_plain = isinstance(term, Atom) and not term.of and term.kind != "label"
    return not is_plain or is_zero(c, 1e-9)


def _first_three(table: Mapping[Atom, Coefficient]) -> Named:
    one, two = table[RECON], -table[POSTERIOR]
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
