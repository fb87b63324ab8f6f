r"""Attributes, such as a smile or glasses: is each told by one code, and by no second one?

A code alone tells an attribute as far as it orders items: by its area under the curve of rates
(AUROC), the probability that an item with the attribute has more of the code than one without,
ties counted half. It is folded, max(a, 1 − a), for a code may point either way.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .information import gap, information
from .regressors import areas
from .score import Pairs, Score, paired

Floats = NDArray[np.float64]
Mask = NDArray[np.bool_]

CAPTURED = 0.75
"""The folded area from which on an attribute counts as captured by a code."""

TOLD = 0.2
"""The share of an attribute's entropy that another one may tell at most, or it is left out."""


def tad(codes: ArrayLike, factors: ArrayLike, *, convention: str = "yeats") -> Score:
    r"""Total AUROC difference: by how much do codes tell attributes better than the second best?

    .. math:: \sum_{k \in C} A_{(1) k} - A_{(2) k}

    where A_jk is the folded area under the curve of code j alone for attribute k, and C are
    attributes that are captured: A_(1)k is .75 or more. The number of attributes in C belongs to
    the score. It grows with the number of attributes, and a code that tells nothing costs nothing.

    Args:
        codes: (n, codes): means, and for a class its probability.
        factors: (n, attributes), see `paired`. Those without exactly two values are left out.
        convention: "yeats" leaves out attributes of which another one tells more than a fifth of
            the entropy, I(v_k; v_l) / H(v_k) > 0.2, as the authors do: sex, beards and make-up tell
            one another. (Their areas are sums over 100 thresholds, and those of codes within a
            range of 0.2 are 0.5; here areas are exact.) "once" leaves out none, and counts each
            code once, for the attribute that it tells best.

    Returns:
        A score from 0 to half of the number of attributes. `parts` are "auroc" (codes, attributes),
        "best" (the code of each attribute), "gap" (the differences), "counted" (a mask of C), and
        "attributes" (how many those are).

    Raises:
        ValueError: If `paired` refuses the arrays, the convention is unknown, or no factor has two
            values.

    Source: Yeats et al., "NashAE: disentangling representations through adversarial covariance
    minimization" (2022).

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 3)
    >>> score = tad(v, v)
    >>> float(score), score.parts["attributes"]
    (1.0, 2)
    >>> float(tad(np.hstack([v, v]), v))
    0.0
    """
    if convention not in ("yeats", "once"):
        raise ValueError(f"convention {convention!r}: expected 'yeats' or 'once'")
    pairs = paired(codes, factors)
    binary = pairs.factors.max(0) == 1
    if not binary.any():
        raise ValueError("no factor has two values: expected attributes, present or absent")
    found = _areas(pairs, binary)
    best = found.argmax(0)
    apart = gap(np.vstack([found, np.full(len(binary), 0.5)]))  # a code that tells nothing
    captured = binary & (found.max(0) >= CAPTURED)
    counted = _apart(pairs, captured) if convention == "yeats" else _once(found, captured)
    notes = pairs.notes
    if not binary.all():
        left = int((~binary).sum())
        notes = (*notes, f"factors without exactly two values, left out: {left} of {len(binary)}")
    return Score(
        "TAD",
        float(apart[counted].sum()),
        convention,
        range=(0, len(binary) / 2),
        parts={
            "auroc": found,
            "best": best,
            "gap": np.where(binary, apart, np.nan),
            "counted": counted,
            "attributes": int(counted.sum()),
        },
        notes=notes,
    )


def _areas(pairs: Pairs, binary: Mask) -> Floats:
    """Return folded areas of codes for attributes, (codes, factors), 0.5 for other factors."""
    found = np.full(pairs.shape, 0.5)
    for k in np.flatnonzero(binary):
        codes, classes = pairs.known(int(k))
        found[:, k] = areas(codes, (classes == 1)[:, None])
    return np.asarray(np.maximum(found, 1 - found), dtype=np.float64)


def _apart(pairs: Pairs, captured: Mask) -> Mask:
    """Return the attributes that no other one tells much of."""
    if len(captured) == 1:
        return captured
    attributes = pairs.factors.astype(np.float64)
    known = information(paired(attributes, pairs.factors), bins=2)
    share = known.mutual / known.factors  # (other attributes, attributes)
    np.fill_diagonal(share, 0)
    return np.asarray(captured & (share.max(0) <= TOLD), dtype=bool)


def _once(found: Floats, captured: Mask) -> Mask:
    """Return for each code the attribute that it tells best of those that it is the best code of.

    The first counts of attributes that a code tells equally well.
    """
    counted = np.zeros(len(captured), dtype=bool)
    for code in range(len(found)):
        its = captured & (found.argmax(0) == code)
        if its.any():
            counted[np.where(its, found[code], 0).argmax()] = True
    return counted
