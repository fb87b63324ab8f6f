"""Estimators of log q(z_block), where q(z) = 1/N Σ_n q(z|x_n) is the aggregate posterior of a data set.

An aggregate is a function of a trace and of blocks of latent units. Sites of one item are taken as independent
given the parameters that its trace recorded: where a program draws z from q(z|x, y), the posterior of item n is
q(y|x_n) q(z|x_n, y_n) with the y_n that was drawn.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from .groups import Block
from .marginals import log_marginals, unit_shape
from .trace import Node, Trace

Aggregate = Callable[[Trace, Sequence[Block], int], "list[Tensor]"]
"""(q, blocks, batch_dim) -> log q(block) for each block, shapes (*samples, batch), in nats."""

Weights = Callable[[int, int], tuple[float, float, float]]
"""(B, N) -> weights of an item's own posterior, of the next item's, and of every other item's in the batch."""


def balanced(batch: int, n: int) -> tuple[float, float, float]:
    """Own posterior 1/N, each other (N−1)/(N(B−1)): unbiased for q(z), exact at B = N (Esmaeili et al., 2019)."""
    other = (n - 1) / (n * (batch - 1)) if batch > 1 else 0.0
    return 1 / n, other, other


def stratified(batch: int, n: int) -> tuple[float, float, float]:
    """Own posterior 1/N, one other (N−M)/(NM), the rest 1/M, with M = B−1: unbiased for q(z).

    Source: minibatch stratified sampling of Chen et al., "Isolating Sources of Disentanglement" (2018), appendix
    C.2, with 1/N on the diagonal as in the paper. Public implementations put it in column 0.
    """
    m = batch - 1
    return (1 / n, (n - m) / (n * m), 1 / m) if m else (1 / n, 0.0, 0.0)


def weighted(batch: int, n: int) -> tuple[float, float, float]:
    """All 1/(NB): minibatch weighted sampling of Chen et al. (2018).

    Biased: it estimates q(z)/N or so, and shifts a total correlation over D units by up to (D−1)·log N nats. The
    gradient is of use, the value is not.
    """
    return (1 / (n * batch),) * 3


@dataclass(frozen=True)
class minibatch:
    """log q(z_block) from the batch at hand, a sample without replacement from a data set of `n` items.

    .. math:: \\hat q(z_i) = \\sum_j w_{ij} q(z_i | x_j)

    Unbiased for q(z) with `balanced` (default) and `stratified` weights; its logarithm is biased (for N ≫ B,
    information is overestimated and total correlations are underestimated): train with it, report `exact` values.

    Errors: ValueError if the batch has one item, or more than `n`.
    """

    n: int
    weights: Weights = balanced

    def __call__(self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0) -> list[Tensor]:
        value = next(node.value for node in q.values() if node.dist is not None)
        batch = value.shape[batch_dim]
        if batch > self.n or (batch == 1 < self.n):
            raise ValueError(
                f"minibatch(n={self.n}) got a batch of {batch}: expected 2 to {self.n} items, drawn without "
                "replacement from the data set of n items; set n to its size and drop a last batch of one"
            )
        own, following, other = (math.log(w) if w > 0 else -math.inf for w in self.weights(batch, self.n))
        log_w = torch.full((batch, batch), other, dtype=value.dtype, device=value.device)
        if following != other:
            step = torch.arange(batch, device=value.device)
            log_w[step, (step + 1) % batch] = following
        log_w.fill_diagonal_(own)
        return _log_mixture(q, q, blocks, log_w, batch_dim)

    def __repr__(self) -> str:
        return f"minibatch(n={self.n}, weights={self.weights.__name__})"


@dataclass(frozen=True)
class exact:
    """log q(z_block) by the full sum over a data set, whose posteriors `posterior` holds (a trace of N items).

    .. math:: q(z_i) = \\frac{1}{N} \\sum_{n=1}^N q(z_i | x_n)

    The batch that is scored may be the data set itself or any part of it. `rows` items are taken at a time, as
    many as fit `budget` numbers in memory.
    """

    posterior: Trace
    budget: int = 2**24

    def __call__(self, q: Trace, blocks: Sequence[Block], batch_dim: int = 0) -> list[Tensor]:
        name, value = next((name, node.value) for name, node in self.posterior.items() if node.dist is not None)
        n = value.shape[batch_dim - (q[name].value.ndim - value.ndim)]  # the posterior may have no sample dimensions
        log_w = torch.full((1, n), -math.log(n), dtype=value.dtype, device=value.device)
        return _log_mixture(q, self.posterior, blocks, log_w, batch_dim, self.budget)

    def __repr__(self) -> str:
        return "exact"


def _log_mixture(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    log_w: Tensor,
    batch_dim: int,
    budget: int | None = None,
) -> list[Tensor]:
    """log Σ_j w_ij q(block_i | x_j) for items i of `q` and components j of `posterior`.

    Items are moved to the front and components stand where items stood, (items, *samples, components, *units), so
    that any distribution broadcasts without being rebuilt.
    """
    names = {site for block in blocks for site, _ in block}
    sites = {name: (_rows(q[name], batch_dim), _keep(q[name], batch_dim), posterior[name]) for name in names}
    items = max(value.shape[0] for value, _, _ in sites.values())
    chunk = items
    if budget is not None:
        entries = sum(math.prod(unit_shape(p.dist, v, batch_dim + 2)) for v, _, p in sites.values() if p.dist)
        samples = max(math.prod(value.shape[1 : batch_dim + 1]) for value, _, _ in sites.values())
        chunk = max(1, budget // (log_w.shape[-1] * samples * entries))
    log_w = log_w.reshape(log_w.shape[0], *[1] * batch_dim, log_w.shape[1])
    parts = []
    for start in range(0, items, chunk):
        part = slice(start, start + chunk)
        rows = {name: (_part(v, part), k if k is None else _part(k, part), p) for name, (v, k, p) in sites.items()}
        parts.append(_log_mixture_rows(rows, blocks, _part(log_w, part), batch_dim + 2))
    whole = parts[0] if len(parts) == 1 else [torch.cat(chunks) for chunks in zip(*parts, strict=True)]
    return [log_q.movedim(0, batch_dim) for log_q in whole]


def _log_mixture_rows(
    sites: dict[str, tuple[Tensor, Tensor | None, Node]], blocks: Sequence[Block], log_w: Tensor, lead: int
) -> list[Tensor]:
    wanted: dict[str, dict[tuple[int, ...], None]] = {name: {} for name in sites}
    for block in blocks:
        for name, units in block:
            wanted[name][units] = None
    pair = {}
    for name, (value, keep, node) in sites.items():
        assert node.dist is not None
        log_q = log_marginals(node.dist, value, lead, list(wanted[name]), keep)
        pair.update({(name, units): density for units, density in zip(wanted[name], log_q, strict=True)})
    return [torch.logsumexp(sum((pair[part] for part in block), log_w), -1) for block in blocks]


def _rows(node: Node, batch_dim: int) -> Tensor:
    return node.value.movedim(batch_dim, 0).unsqueeze(batch_dim + 1)


def _keep(node: Node, batch_dim: int) -> Tensor | None:
    """Where a site is latent, aligned with `_rows`: observed entries are given, hence no part of q(z)."""
    if node.observed is False:
        return None
    latent = ~torch.as_tensor(node.observed, device=node.value.device)
    latent = latent.expand(node.value.shape[: batch_dim + 1]) if latent.ndim == 0 else latent
    return latent.movedim(batch_dim, 0).unsqueeze(batch_dim + 1)


def _part(t: Tensor, part: slice) -> Tensor:
    return t if t.shape[0] == 1 else t[part]
