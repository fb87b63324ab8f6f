"""The question that estimators ask: which rows, under which components, with which weights."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from ..trace.leaves import Block
from ..trace.marginals import unit_shape
from ..trace.trace import Trace

LogWeights = tuple[float, float, float]
"""log-weights, in nats, of an item's own component, of the next one, and of any other."""

Coefficient = float | Tensor
"""A number, or a tensor (*classes, *samples, batch)."""

BUDGET = 2**24
"""The most numbers that a sum that is not fused holds at a time."""


@dataclass(frozen=True, eq=False)
class Question:
    """log Σ_j w_ij q(block_i | x_j) for items i of `rows` and components j of `components`.

    Items are components `first`, `first` + 1, and so on; they stand in dimension `batch_dim` of the
    rows' values. Components may lack the rows' sample dimensions. `ahead` are the coefficients of
    the sum that will be differentiated, one a block, if they are known.
    """

    rows: Trace
    components: Trace
    blocks: Sequence[Block]
    log_w: LogWeights
    batch_dim: int
    budget: int = BUDGET
    first: int = 0
    ahead: Sequence[Coefficient] | None = None

    @property
    def n_components(self) -> int:
        """The number of components."""
        return count_components(self.rows, self.components, self.batch_dim)

    def missing(self, site: str) -> int:
        """Return how many of the rows' leading dimensions a component's value lacks."""
        return self.rows[site].value.ndim - self.components[site].value.ndim

    def units(self, site: str) -> tuple[int, ...]:
        """Return the shape of a component's units."""
        node = self.components[site]
        assert node.dist is not None
        return unit_shape(node.dist, node.value, self.batch_dim + 1 - self.missing(site))

    def log_weights(self) -> Tensor:
        """Return the log-weights (rows, components), or (1, components) if all rows have the same.

        >>> q = Trace()
        >>> z = q.normal(torch.zeros(3), 1.0, name="z")
        >>> Question(q, q, [], (0.0, 1.0, 2.0), 0).log_weights()
        tensor([[0., 1., 2.],
                [2., 0., 1.],
                [1., 2., 0.]])
        """
        own, following, other = self.log_w
        n = self.n_components
        like = _some_value(self.rows)
        if own == following == other:
            return like.new_full((1, n), other)
        n_rows = like.shape[self.batch_dim]
        row = torch.arange(n_rows, device=like.device)
        item = self.first + row
        after = (item + 1) % n
        matrix = like.new_full((n_rows, n), other)
        matrix[row, after] = following
        matrix[row, item] = own
        return matrix


def sites_of(blocks: Iterable[Block]) -> list[str]:
    """Return the sites that blocks name, in the order in which they are first named."""
    names: dict[str, None] = {}
    for block in blocks:
        for site, _ in block:
            names[site] = None
    return list(names)


def count_rows(q: Trace, batch_dim: int) -> int:
    """Return how many items a trace has in dimension `batch_dim`."""
    return _some_value(q).shape[batch_dim]


def count_components(rows: Trace, components: Trace, batch_dim: int) -> int:
    """Return how many items `components` has; it may lack the sample dimensions of `rows`."""
    name = first_with_dist(components)
    value = components[name].value
    missing = rows[name].value.ndim - value.ndim
    return value.shape[batch_dim - missing]


def first_with_dist(q: Trace) -> str:
    """Return the first site that has a distribution."""
    return next(name for name, node in q.items() if node.dist is not None)


def _some_value(q: Trace) -> Tensor:
    return q[first_with_dist(q)].value
