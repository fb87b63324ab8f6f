"""How well the classes of a discrete code agree with labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


def match(codes: ArrayLike, labels: ArrayLike) -> dict[int, int]:
    """The one-to-one assignment of code classes to labels that agrees on the most items (Kuhn,
    1955).

    Codes and labels are (n,) class numbers; with more classes than labels, the surplus classes are
    left out.

    >>> match([2, 2, 0, 0, 0], [5, 5, 7, 7, 5])
    {0: 7, 2: 5}
    """
    table, rows, columns = _contingency(codes, labels)
    return {
        int(rows[i]): int(columns[j]) for i, j in zip(*linear_sum_assignment(-table), strict=True)
    }


def clustering_accuracy(codes: ArrayLike, labels: ArrayLike) -> float:
    """Hungarian accuracy: the share of items whose code's matched label is theirs; from about 1/K
    up to 1.

    >>> clustering_accuracy([2, 2, 0, 0, 0], [5, 5, 7, 7, 5])
    0.8
    """
    table, _, _ = _contingency(codes, labels)
    return float(table[linear_sum_assignment(-table)].sum() / table.sum())


def nmi(codes: ArrayLike, labels: ArrayLike) -> float:
    """Normalised mutual information, 2 I(c; l) / (H(c) + H(l)): from 0 up to 1, which no names of
    classes change.

    It is above 0 by chance, the more so the more classes there are for the items: `ari` is not. Of
    one class each it is 1. The convention is scikit-learn's default; others divide by the larger or
    the geometric mean of the entropies.

    >>> round(nmi([2, 2, 0, 0], [5, 5, 7, 7]), 12), round(nmi([0, 1, 0, 1], [5, 5, 7, 7]), 12)
    (1.0, 0.0)
    """
    _contingency(codes, labels)
    return float(normalized_mutual_info_score(np.asarray(labels), np.asarray(codes)))


def ari(codes: ArrayLike, labels: ArrayLike) -> float:
    r"""Adjusted Rand index: agreement on which pairs of items belong together; 0 in the mean by
    chance, at most 1.

    .. math:: \frac{r - \mathrm{E}\,r}{\max r - \mathrm{E}\,r}

    with r the pairs that are together in both, and its mean over random pairings with the same
    class sizes.

    Source: Hubert and Arabie, "Comparing partitions" (1985).

    >>> ari([2, 2, 0, 0], [5, 5, 7, 7]), ari([0, 1, 0, 1], [5, 5, 7, 7])
    (1.0, -0.5)
    """
    _contingency(codes, labels)
    return float(adjusted_rand_score(np.asarray(labels), np.asarray(codes)))


def _contingency(
    codes: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    codes, labels = np.asarray(codes), np.asarray(labels)
    if codes.ndim != 1 or codes.shape != labels.shape or not len(codes):
        raise ValueError(
            f"expected class numbers, one an item, got codes {codes.shape} and labels "
            f"{labels.shape}"
        )
    rows, i = np.unique(codes, return_inverse=True)
    columns, j = np.unique(labels, return_inverse=True)
    table = np.bincount(i * len(columns) + j, minlength=len(rows) * len(columns)).reshape(
        len(rows), len(columns)
    )
    return table, rows, columns
