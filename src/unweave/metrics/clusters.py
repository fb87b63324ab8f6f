"""How well the classes of a discrete code agree with labels."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.optimize import linear_sum_assignment


def match(codes: ArrayLike, labels: ArrayLike) -> dict[int, int]:
    """The one-to-one assignment of code classes to labels that agrees on the most items (Kuhn, 1955).

    Codes and labels are (n,) class numbers; with more classes than labels, the surplus classes are left out.

    >>> match([2, 2, 0, 0, 0], [5, 5, 7, 7, 5])
    {0: 7, 2: 5}
    """
    table, rows, columns = _contingency(codes, labels)
    return {int(rows[i]): int(columns[j]) for i, j in zip(*linear_sum_assignment(-table), strict=True)}


def clustering_accuracy(codes: ArrayLike, labels: ArrayLike) -> float:
    """Hungarian accuracy: the share of items whose code's matched label is theirs; from about 1/K up to 1.

    >>> clustering_accuracy([2, 2, 0, 0, 0], [5, 5, 7, 7, 5])
    0.8
    """
    table, _, _ = _contingency(codes, labels)
    return float(table[linear_sum_assignment(-table)].sum() / table.sum())


def _contingency(codes: ArrayLike, labels: ArrayLike) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    codes, labels = np.asarray(codes), np.asarray(labels)
    if codes.ndim != 1 or codes.shape != labels.shape or not len(codes):
        raise ValueError(f"expected class numbers, one an item, got codes {codes.shape} and labels {labels.shape}")
    rows, i = np.unique(codes, return_inverse=True)
    columns, j = np.unique(labels, return_inverse=True)
    table = np.bincount(i * len(columns) + j, minlength=len(rows) * len(columns)).reshape(len(rows), len(columns))
    return table, rows, columns
