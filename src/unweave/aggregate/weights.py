"""Weights of a batch's posteriors, by which a minibatch stands for a data set of N items."""

from __future__ import annotations

from collections.abc import Callable

Weights = Callable[[int, int], tuple[float, float, float]]
"""(B, N) -> weights of an item's own posterior, of the next item's, and of every other item's in
the batch.
"""


def balanced(batch: int, n: int) -> tuple[float, float, float]:
    """Weigh the own posterior 1/N, each other (N−1)/(N(B−1)).

    Unbiased for q(z), exact at B = N (Esmaeili et al., 2019).
    """
    other = (n - 1) / (n * (batch - 1)) if batch > 1 else 0.0
    return 1 / n, other, other


def stratified(batch: int, n: int) -> tuple[float, float, float]:
    """Weigh the own posterior 1/N, one other (N−M)/(NM), the rest 1/M, with M = B−1.

    Unbiased for q(z). Source: minibatch stratified sampling of Chen et al., "Isolating Sources of
    Disentanglement" (2018), appendix C.2, with 1/N on the diagonal as in the paper. Public
    implementations put it in column 0.
    """
    m = batch - 1
    if m == 0:
        return 1 / n, 0.0, 0.0
    return 1 / n, (n - m) / (n * m), 1 / m


def weighted(batch: int, n: int) -> tuple[float, float, float]:
    """Weigh all posteriors 1/(NB): minibatch weighted sampling of Chen et al. (2018).

    Biased: it estimates q(z)/N or so, and shifts a total correlation over D units by about
    (D−1)·log N nats. The gradient is of use, the value is not.
    """
    each = 1 / (n * batch)
    return each, each, each
