"""Measures of how well the classes of a discrete code agree with labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment
from sklearn.metrics import adjusted_rand_score, normalized_mutual_info_score


def match(codes: ArrayLike, labels: ArrayLike) -> dict[int, int]:
    """Match code classes one to one with labels so that they agree on the most items.

    Codes and labels are (n,) class numbers. Where there are more classes than labels, the surplus
    classes are left out.

    Source: Kuhn, "The Hungarian method for the assignment problem" (1955).

    >>> match([2, 2, 0, 0, 0], [5, 5, 7, 7, 5])
    {0: 7, 2: 5}
    """
    table, rows, columns = _contingency(codes, labels)
    assigned = zip(*linear_sum_assignment(-table), strict=True)
    return {int(rows[i]): int(columns[j]) for i, j in assigned}


def clustering_accuracy(codes: ArrayLike, labels: ArrayLike) -> float:
    """Compute the share of items whose label is the one that `match` gives to their code.

    This is the Hungarian accuracy, from about 1/K for K classes up to 1.

    >>> clustering_accuracy([2, 2, 0, 0, 0], [5, 5, 7, 7, 5])
    0.8
    """
    table, _, _ = _contingency(codes, labels)
    assigned = linear_sum_assignment(-table)
    return float(table[assigned].sum() / table.sum())


def nmi(codes: ArrayLike, labels: ArrayLike) -> float:
    """Compute the normalised mutual information 2 I(c; l) / (H(c) + H(l)), from 0 to 1.

    Renaming the classes does not change it. Chance raises it above 0, the more so the more classes
    there are for the items; chance does not raise `ari`. If codes and labels have one class each,
    it is 1. The convention is scikit-learn's default; other libraries divide by the larger entropy
    or by the entropies' geometric mean.

    >>> round(nmi([2, 2, 0, 0], [5, 5, 7, 7]), 12), round(nmi([0, 1, 0, 1], [5, 5, 7, 7]), 12)
    (1.0, 0.0)
    """
    _contingency(codes, labels)
    return float(normalized_mutual_info_score(np.asarray(labels), np.asarray(codes)))


def purity(codes: ArrayLike, labels: ArrayLike) -> float:
    """Compute the share of items whose label is the most frequent one of their class.

    More classes raise it, up to 1 for a class an item.

    >>> purity([2, 2, 0, 0, 0], [5, 5, 7, 7, 5])
    0.8
    """
    table, _, _ = _contingency(codes, labels)
    return float(table.max(1).sum() / table.sum())


def ari(codes: ArrayLike, labels: ArrayLike) -> float:
    r"""Compute the adjusted Rand index: the agreement on which pairs of items belong together.

    It is at most 1, and 0 by chance in the mean:

    .. math:: \frac{r - \mathrm{E}\,r}{\max r - \mathrm{E}\,r}

    where r counts the pairs that are together in both, and E r is its mean over random pairings
    with the same class sizes.

    Source: Hubert and Arabie, "Comparing partitions" (1985).

    >>> ari([2, 2, 0, 0], [5, 5, 7, 7]), ari([0, 1, 0, 1], [5, 5, 7, 7])
    (1.0, -0.5)
    """
    _contingency(codes, labels)
    return float(adjusted_rand_score(np.asarray(labels), np.asarray(codes)))


def _contingency(
    codes: ArrayLike, labels: ArrayLike
) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    codes = np.asarray(codes)
    labels = np.asarray(labels)
    if codes.ndim != 1 or codes.shape != labels.shape or not len(codes):
        raise ValueError(
            f"expected class numbers, one an item, got codes {codes.shape} and labels "
            f"{labels.shape}"
        )
    rows, i = np.unique(codes, return_inverse=True)
    columns, j = np.unique(labels, return_inverse=True)
    height, width = len(rows), len(columns)
    counts = np.bincount(i * width + j, minlength=height * width)
    return counts.reshape(height, width), rows, columns
