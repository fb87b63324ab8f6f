r"""log-densities of Concrete rows under Concrete components, pair by pair, with their gradient.

.. math:: \log p(y_i; a_j) = \sum_k (a_{jk} - (τ+1) \log y_{ik})
                             - K \log \sum_k \exp(a_{jk} - τ \log y_{ik}) + c

The sum over classes is one matrix product of exp(a) and exp(−τ log y), each scaled by its largest
class: all terms are positive, so nothing cancels. As y is at least the smallest normal number, no
sum is below its τ-th power: up to `HOTTEST` that leaves room for the reciprocals that the gradient
adds up over rows and components.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor

HOTTEST = 0.9
"""The largest temperature at which float32 has room for the gradient."""


class RelaxedChunk:
    """The pairs of a chunk of rows: see `sweep.PairChunk`.

    Tensors have classes in front, so that the products of matrices run along contiguous memory.

    Args:
        temperature: The temperature τ of all rows and components.
        keep: Where rows are latent, boolean (P, R); None for everywhere. Others have density 0.
        p: The number of the set.
        rows: The chunk's rows.
        tensors: The rows' values (P, R, classes) and the components' logits (P, C, classes).
        sinks: The tensors to which their gradients are added, None where none is needed.
    """

    def __init__(
        self,
        temperature: float,
        keep: Tensor | None,
        p: int,
        rows: slice,
        tensors: tuple[Tensor, Tensor],
        sinks: tuple[Tensor | None, Tensor | None],
    ) -> None:
        y, logits = tensors
        dy, dlogits = sinks
        self.temperature = temperature
        self.is_latent = None if keep is None else keep[p, rows, None]  # (rows, 1)
        self.y = y[p, rows]
        self.dy = None if dy is None else dy[p, rows]
        self.dlogits = None if dlogits is None else dlogits[p]
        self.is_learned = dy is not None or dlogits is not None
        self.least = torch.finfo(y.dtype).tiny
        self.density = self._density(logits[p])

    def _density(self, logits: Tensor) -> Tensor:
        """Return the log-densities (rows, C)."""
        t, classes = self.temperature, logits.shape[-1]
        constant = math.lgamma(classes) + (classes - 1) * math.log(t)
        a = logits.T  # (classes, C)
        log_y = self.y.T.clamp_min(self.least).log()  # (classes, rows)
        b = -t * log_y
        top_a, top_b = a.amax(0), b.amax(0)
        self.of_comps = (a - top_a).exp_()
        self.of_rows = (b - top_b).exp_()
        self.total = self.of_rows.T @ self.of_comps  # (rows, C)
        by_comp = a.sum(0) - classes * top_a + constant
        by_row = (t + 1) * log_y.sum(0) + classes * top_b
        density = self.total.log().mul_(-classes).add_(by_comp).sub_(by_row[:, None])
        if self.is_latent is not None:
            density.masked_fill_(~self.is_latent, 0.0)
        return density

    def pull(self, inward: Tensor) -> None:
        """Add the gradients of values and logits, given that in the densities (rows, C)."""
        t, classes = self.temperature, len(self.of_rows)
        if self.is_latent is not None:
            inward = inward.masked_fill(~self.is_latent, 0.0)
        share = inward / self.total
        if self.dlogits is not None:
            of_sums = self.of_comps * (self.of_rows @ share)  # (classes, C)
            self.dlogits += (inward.sum(0) - classes * of_sums).T
        if self.dy is not None:
            of_sums = self.of_rows * (self.of_comps @ share.T)  # (classes, rows)
            of_log_y = t * classes * of_sums - (t + 1) * inward.sum(1)
            bounded = self.y.clamp_min(self.least)
            self.dy += torch.where(self.y < self.least, 0.0, of_log_y.T / bounded)
