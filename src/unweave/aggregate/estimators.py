"""Estimators of log q(z_block), with q(z) = 1/N Σ_n q(z|x_n) the aggregate posterior of a data set.

An estimator is a function of a trace and of blocks of latent units. It takes the sites of one item
as independent given the parameters that the item's trace recorded: where a program draws z from
q(z|x, y), the posterior of item n is q(y|x_n) q(z|x_n, y_n) with the y_n that was drawn. It is
q(y|x_n) q(z|x_n, y) for every y if y is enumerated, and for the y of the row if z is a conditional
site (`Trace.conditional`).

    >>> import torch, unweave as uw
    >>> q = uw.Trace()
    >>> z = q.normal(torch.zeros(4, 2), torch.ones(4, 2), name="z")
    >>> blocks = [(("z", (0, 1)),), (("z", (0,)),)]
    >>> joint, first = uw.minibatch(100)(q, blocks)
    >>> torch.allclose(joint, q["z"].log_prob.sum(-1))  # all items are alike
    True
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from torch import Tensor

from ..ranks import world
from ..trace.leaves import Block
from ..trace.trace import Trace
from .ahead import Ahead
from .folding import with_samples
from .gather import gathered
from .mixture import log_mixture
from .question import BUDGET, count_components, count_rows
from .weights import Weights, balanced


class Aggregate(Protocol):
    """An estimator of log q(z_block): any function of this form will do."""

    def __call__(
        self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0, *, ahead: Ahead | None = None
    ) -> list[Tensor]:
        """Return log q(block) for each block, (*classes, *samples, batch), in nats.

        Args:
            q: The items that are scored. Where it enumerates classes it is `aligned`.
            blocks: Blocks of latent units.
            batch_dim: The dimension of the items in the values of `q`.
            ahead: A hint, which may be ignored (see `ahead.Ahead`).
        """
        ...


@dataclass(frozen=True)
class minibatch:
    """log q(z_block) from the batch at hand, a sample of a data set of `n` items.

    .. math:: \\hat q(z_i) = \\sum_j w_{ij} q(z_i | x_j)

    The batch is drawn without replacement. Unbiased for q(z) with `balanced` (default) and
    `stratified` weights; its logarithm is biased (for N ≫ B, information is overestimated, total
    correlations mostly underestimated): train with it, report `exact` values.

    Where several processes train together, the batch is that of all of them: rank r scores its B/P
    rows against the posteriors of all B items, in columns r·B/P on its own (see `gather.gathered`).
    With `gather=False` each rank keeps to its part.

    Args:
        n: Size of the data set.
        weights: Weights of the batch's posteriors.
        gather: Whether the batches of ranks that train together count as one.

    Raises:
        ValueError: If the batch has one item, or more than `n`.
    """

    n: int
    weights: Weights = balanced
    gather: bool = True

    def __call__(
        self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0, *, ahead: Ahead | None = None
    ) -> list[Tensor]:
        rank, ranks = world() if self.gather else (0, 1)
        rows = count_rows(q, batch_dim)
        batch = rows * ranks
        if not min(2, self.n) <= batch <= self.n:
            raise ValueError(
                f"minibatch(n={self.n}) got a batch of {batch}: expected 2 to {self.n} items, "
                "drawn without replacement from the data set of n items; set n to its size and "
                "drop a last batch of one"
            )
        own, following, other = self.weights(batch, self.n)
        log_w = (_log(own), _log(following), _log(other))
        posterior = gathered(q, batch_dim) if ranks > 1 else q
        return log_mixture(q, posterior, blocks, log_w, batch_dim, first=rank * rows, ahead=ahead)

    def __repr__(self) -> str:
        local = "" if self.gather else ", gather=False"
        return f"minibatch(n={self.n}, weights={self.weights.__name__}{local})"


def _log(weight: float) -> float:
    return math.log(weight) if weight > 0 else -math.inf


@dataclass(frozen=True)
class exact:
    """log q(z_block) by the full sum over a data set, whose posteriors a trace of N items holds.

    .. math:: q(z_i) = \\frac{1}{N} \\sum_{n=1}^N q(z_i | x_n)

    The batch that is scored may be the data set itself or any part of it. Items are taken a few at
    a time; where a sum over classes keeps the estimator from being fused, as many as fit `budget`
    numbers in memory.

    Args:
        posterior: A trace of all N items; it may have no samples where the rows have some.
        budget: How many numbers an unfused sum may hold at a time.
    """

    posterior: Trace
    budget: int = BUDGET

    def __call__(
        self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0, *, ahead: Ahead | None = None
    ) -> list[Tensor]:
        posterior = self.posterior.aligned()
        # Rows with drawn classes meet enumerated ones: they get those dimensions, of size one.
        depth = 0 if q.classes() else len(posterior.classes())
        q = q.aligned(depth)
        batch_dim += depth
        posterior = with_samples(posterior, q)
        n = count_components(q, posterior, batch_dim)
        log_1_n = -math.log(n)
        log_w = (log_1_n, log_1_n, log_1_n)
        log_q = log_mixture(q, posterior, blocks, log_w, batch_dim, self.budget, ahead=ahead)
        return [t.reshape(t.shape[depth:]) for t in log_q]

    def __repr__(self) -> str:
        return "exact"
