"""Medoids: the items that stand best for all others."""

from __future__ import annotations

import torch
from torch import Tensor


def medoids(costs: Tensor, k: int) -> list[int]:
    r"""Choose k candidates of low total cost, :math:`\sum_n \min_{i \in chosen} c_{in}`.

    Candidates are added one by one, each the best next to those there are, then exchanged one for
    another as long as that lowers the total (Kaufman and Rousseeuw, "Finding Groups in Data",
    1990).

    Args:
        costs: c, the cost of item n under candidate i, (candidates, items).
        k: Number of candidates to choose.

    Returns:
        Their numbers.

    >>> places = torch.tensor([0.0, 1.0, 2.0, 10.0, 11.0, 12.0])
    >>> sorted(medoids((places[:, None] - places).abs(), 2))
    [1, 4]
    """
    chosen: list[int] = []
    for _ in range(k):
        best, _ = _beside(costs, chosen)
        chosen.append(best)
    lasting = 0
    while lasting < k:  # until k exchanges in turn change nothing
        first, *others = chosen
        best, total = _beside(costs, others)
        is_better = total < _total(costs, chosen)
        chosen = [*others, best if is_better else first]
        lasting = 0 if is_better else lasting + 1
    return chosen


def _beside(costs: Tensor, others: list[int]) -> tuple[int, Tensor]:
    """Return the best candidate next to others, and the total cost with it."""
    least = costs
    if others:
        least = torch.minimum(costs, costs[others].amin(0))
    totals = least.sum(1)  # (candidates,)
    best = int(totals.argmin())
    return best, _total(costs, [*others, best])


def _total(costs: Tensor, chosen: list[int]) -> Tensor:
    return costs[chosen].amin(0).sum()
