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

Form = Mapping[Any, Coefficient]
Named = list[tuple[Coefficient, str]]

P, P_GROUPS, P_UNITS = (Atom("p", level) for level in (0, 1, -1))
Q, Q_GROUPS, Q_UNITS = (Atom("q", level) for level in (0, 1, -1))


def circled(form: Form) -> str:
    """Return a linear form in circled terms, and what is no such term behind them.

    Raises:
        ValueError: It is no sum of those terms.
    """
    plain: dict[Atom, Coefficient] = {}
    others: dict[Any, Coefficient] = {}
    for term, c in form.items():
        if isinstance(term, Atom) and not term.of and term.kind != "label":
            plain[term] = c
        else:
            others[term] = c
    if not _is_balanced(plain):
        raise ValueError(f"{printed(form)} is no sum of the terms ① to ④, Ⓐ, Ⓑ, ⓘ and ⓘⓘ")
    terms = [*_first_three(plain), *_divergences(plain), *_anchors(others)]
    terms += [(c, str(term)) for term, c in others.items()]
    return printed_sum((c, name, "" if name[0] in "①②③④ⒶⒷⓘ" else "·") for c, name in terms)


def _is_balanced(plain: Mapping[Atom, Coefficient]) -> bool:
    """Whether each q[l] has the coefficient of p[l] but for the sign, and what ② has of q[0]."""
    free = {Atom("recon"), Atom("evidence"), Atom("posterior"), P, P_GROUPS, P_UNITS}
    due: dict[Atom, Coefficient] = {
        Q: -plain.get(Atom("posterior"), 0) - plain.get(P, 0),
        Q_GROUPS: -plain.get(P_GROUPS, 0),
        Q_UNITS: -plain.get(P_UNITS, 0),
    }
    gaps = [plain.get(atom, 0) - due.get(atom, 0) for atom in {*plain, *due} - free]
    return all(is_zero(gap, 1e-9) for gap in gaps)


def _first_three(plain: Mapping[Atom, Coefficient]) -> Named:
    one = plain.get(Atom("recon"), 0)
    evidence = plain.get(Atom("evidence"), 0)
    return [(one, "①"), (-plain.get(Atom("posterior"), 0), "②"), (one + evidence, "③")]


def _divergences(plain: Mapping[Atom, Coefficient]) -> Named:
    """Write p's coefficients as those of ④ or of its parts, in as few terms as it takes."""
    across = plain.get(P, 0)
    within = across + plain.get(P_GROUPS, 0)
    units = within + plain.get(P_UNITS, 0)
    if across == within == units:
        return [(across, "④")]
    if within == units:
        return [(across, "Ⓐ"), (units, "Ⓑ")]
    if across == within and P_GROUPS not in plain:
        return [(across, "Ⓐ*"), (units, "Ⓑ*")]
    return [(across, "Ⓐ"), (within, "ⓘ"), (units, "ⓘⓘ")]


def _anchors(others: dict[Any, Coefficient]) -> Named:
    """Take informations in some latents, posterior − q[0] of them, out of `others`."""
    terms: Named = []
    for term, c in list(others.items()):
        if isinstance(term, Atom) and term.kind == "posterior":
            aggregate = Atom("q", 0, term.of)
            if others.get(aggregate) == -c:
                del others[term], others[aggregate]
                terms.append((-c, "②ᵃ"))
    return terms
