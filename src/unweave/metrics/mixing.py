"""Mixing of classes, such as batches, among the neighbours of codes."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from sklearn.neighbors import NearestNeighbors

from .score import Score

NEIGHBOURS = 30
"""Neighbours of an item that are looked at."""


def mixing(codes: ArrayLike, classes: ArrayLike, neighbours: int = NEIGHBOURS) -> Score:
    r"""Return how well classes mix among the nearest neighbours of codes.

    .. math:: \frac{k}{k - 1} \frac{1}{N} \sum_n \frac{1 - \sum_c p_{nc}^2}{1 - \sum_c p_c^2}

    with p_nc the share of class c among the k neighbours of item n, itself left out, and p_c its
    share among all. Its mean is 1 where neighbours are drawn regardless of class, and it is 0 where
    they are all of one. Simpson's index in the numerator is that
    of LISI (Korsunsky et al., "Fast, sensitive and accurate integration of single-cell data with
    Harmony", 2019), here relative to that of all items, so that rare classes count as rare.

    Args:
        codes: (n, units).
        classes: Class numbers (n,), such as batches.
        neighbours: The neighbours of an item, by Euclid's distance.

    Raises:
        ValueError: If there is one class alone, or no more items than neighbours.

    >>> codes = np.random.default_rng(0).normal(size=(300, 2))
    >>> apart = np.arange(300) % 2
    >>> round(mixing(codes + 100 * apart[:, None], apart).value, 2)
    0.0
    """
    z = np.asarray(codes, dtype=np.float64)
    _, number = np.unique(np.asarray(classes), return_inverse=True)
    if number.max() == 0:
        raise ValueError("one class alone: expected two or more to mix")
    if len(z) <= neighbours:
        raise ValueError(f"{len(z)} items: expected more than the {neighbours} neighbours of each")
    near = NearestNeighbors(n_neighbors=neighbours).fit(z).kneighbors(return_distance=False)
    one_hot = np.eye(number.max() + 1)[number]  # (n, classes)
    share = one_hot[near].mean(1)  # (n, classes)
    of_all = one_hot.mean(0)
    differs = 1 - np.square(share).sum(1)
    expected = 1 - np.square(of_all).sum()
    unbiased = neighbours / (neighbours - 1)
    value = float(unbiased * differs.mean() / expected)
    most = float(unbiased * (1 - 1 / len(of_all)) / expected)
    return Score("mixing", value, f"Simpson's index, {neighbours} neighbours", (0.0, most))
