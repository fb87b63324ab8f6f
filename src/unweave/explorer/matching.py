"""Units of two runs that say the same of the same items."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.stats import rankdata

from ..metrics.information import entropy
from .session import Session

Array = NDArray[Any]


def described(session: Session, other: Session | None = None) -> dict[str, Any]:
    """Return what a page begins with: a run, and the run beside it with its matched units."""
    found = session.described()
    if other is not None:
        found["other"] = other.described()
        found["matched"] = matched(session, other)
    return found


def matched(session: Session, other: Session) -> list[dict[str, Any]]:
    """Match the units of two runs over the same items, one to one.

    Units of numbers are matched by the size of the correlation ρ of their ranks, classes by their
    information I(y; y') / max(H(y), H(y')); the sum over all matches is the largest there is. The
    classes of two matched units are matched by the items that they share.

    Returns:
        For each match the columns "unit" and "other", and "alike": ρ in [-1, 1], or the share of
        information in [0, 1]. Classes have "classes": the other unit's class of each class.

    Raises:
        ValueError: If the runs have not as many items.
    """
    if len(session.codes) != len(other.codes):
        raise ValueError(
            f"runs of {len(session.codes)} and {len(other.codes)} items: expected the same items"
        )
    found: list[dict[str, Any]] = []
    numbers, others = _columns(session, False), _columns(other, False)
    if numbers and others:
        alike = rank_correlations(session.codes[:, numbers], other.codes[:, others])
        rows, columns = linear_sum_assignment(-np.abs(alike))
        for i, j in zip(rows, columns, strict=True):
            found.append({"unit": numbers[i], "other": others[j], "alike": float(alike[i, j])})
    classes, others = _columns(session, True), _columns(other, True)
    tables = [[_shared(session.codes[:, i], other.codes[:, j]) for j in others] for i in classes]
    if classes and others:
        shares = np.array([[_share(table) for table in row] for row in tables])
        rows, columns = linear_sum_assignment(-shares)
        for i, j in zip(rows, columns, strict=True):
            match = {"unit": classes[i], "other": others[j], "alike": float(shares[i, j])}
            found.append(match | {"classes": _classes(tables[i][j])})
    return found


def rank_correlations(a: Array, b: Array) -> Array:
    """Return Spearman's ρ of the columns of `a` (n, i) with those of `b` (n, j), (i, j)."""
    ranked = [rankdata(codes, axis=0) for codes in (a, b)]
    centred = [ranks - ranks.mean(0) for ranks in ranked]
    scaled = [ranks / (np.linalg.norm(ranks, axis=0) + 1e-30) for ranks in centred]
    correlations: Array = scaled[0].T @ scaled[1]
    return correlations


def _columns(session: Session, of_classes: bool) -> list[int]:
    sites = [site for site in session.sites if bool(site.classes) == of_classes]
    return [column for site in sites for column in session.columns[site.name]]


def _shared(a: Array, b: Array) -> Array:
    """Return the number of items in each class of `a` and of `b`, (classes, other classes)."""
    of_a, of_b = a.astype(int), b.astype(int)
    table = np.zeros((of_a.max() + 1, of_b.max() + 1), dtype=np.int64)
    np.add.at(table, (of_a, of_b), 1)
    return table


def _share(table: Array) -> float:
    """Return I(y; y') / max(H(y), H(y')), 0 where both have one class."""
    own, its, both = entropy(table.sum(1)), entropy(table.sum(0)), entropy(table.ravel())
    most = max(float(own), float(its))
    return (float(own) + float(its) - float(both)) / most if most > 0 else 0.0


def _classes(table: Array) -> list[int]:
    """Return the other unit's class of each class: one to one, then the commonest."""
    found = table.argmax(1)
    rows, columns = linear_sum_assignment(-table)
    found[rows] = columns
    classes: list[int] = found.tolist()
    return classes
