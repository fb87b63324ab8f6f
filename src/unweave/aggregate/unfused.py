"""The sums over pairs that are not fused: any distributions, by broadcasting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..trace.leaves import Block, Part
from ..trace.marginals import log_marginals
from ..trace.node import Node
from ..trace.trace import Trace
from .question import sites_of

_ZERO = torch.zeros(())


def log_mixture_unfused(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    summed: Sequence[str],
    log_w: Tensor | None,
    batch_dim: int,
    budget: int,
) -> list[Tensor]:
    """Return log Σ_j w_ij q(block_i | x_j) with classes summed over, for any distributions.

    Items, and the rows' classes of the sites `summed`, are moved to the front, and components stand
    where they stood: (items, *classes, *samples, components, *units). So any distribution
    broadcasts without being rebuilt. Rows are taken a few at a time.

    Args:
        q: The rows.
        posterior: The components.
        blocks: Blocks that sum over the same classes.
        summed: The enumerated sites whose classes they sum over.
        log_w: log-weights (rows, components) or (1, components); None for log q(block_i | x_i),
            whose items stay in their dimension.
        batch_dim: The dimension of the items in both traces.
        budget: How many numbers are held at a time.
    """
    classes = posterior.classes()
    dims = [classes[site] for site in summed]
    over = [1 + d for d in dims]  # what is summed over, once rows are in front
    front_dims = list(dims)
    if log_w is not None:
        over.append(-1)
        front_dims.append(batch_dim)

    names = sites_of(blocks)
    held = [q[name].value for name in names]
    masks = [_latent(q[name], batch_dim) for name in names]
    held += [mask for mask in masks if mask is not None]
    front = _Front.of(held, front_dims)
    items = front.without(dims)
    sites = {}
    for name in names:
        if name in summed:
            sites[name] = _drawn_classes(q[name], classes[name], items)
        else:
            sites[name] = _site(q[name], posterior[name], front, batch_dim)
    class_terms = [_class_terms(posterior, summed, block) for block in blocks]
    counts = [site.n_rows for site in sites.values()]
    if log_w is not None:
        log_w = _weights_of_rows(log_w, front.sizes, batch_dim)
        counts.append(len(log_w))
    n_rows = max(counts)
    numbers = _numbers_a_row(sites, class_terms[0], log_w, len(blocks))
    step = max(1, budget // max(numbers, 1))

    parts = []
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        base = _ZERO if log_w is None else _some_rows(log_w, rows)
        densities = _densities(sites, blocks, rows, lead=batch_dim + 2)
        part = []
        for block, terms in zip(blocks, class_terms, strict=True):
            summands = [densities[key] for key in block]
            summands += terms
            total = sum(summands, base)  # (rows, *classes, *samples, components)
            part.append(_log_sum_exp(total, over, rows.stop - start))
        parts.append(part)
    if len(parts) == 1:
        (whole,) = parts
    else:
        whole = [torch.cat(chunks) for chunks in zip(*parts, strict=True)]
    return [front.back(log_q) for log_q in whole]


def _log_sum_exp(total: Tensor, over: list[int], n_rows: int) -> Tensor:
    """Return the log-sum-exp over some dimensions, if any, for each of the rows."""
    log_q = total.logsumexp(over) if over else total
    _, *leading = log_q.shape
    return log_q.expand(n_rows, *leading)


def _class_terms(posterior: Trace, summed: Sequence[str], block: Block) -> list[Tensor]:
    """Return log q(class|x_j) of the sites that are summed over, each in its class's dimension."""
    depth = len(posterior.classes())
    held = sites_of([block])
    terms = []
    for site in summed:
        node = posterior[site]
        terms.append(node.log_weight(depth, given=site not in held))
    return terms


@dataclass(frozen=True)
class _Front:
    """The dimensions of rows that are moved to the front and flattened, and their sizes."""

    dims: list[int]
    sizes: list[int]

    @staticmethod
    def of(values: Sequence[Tensor], dims: list[int]) -> _Front:
        sizes = [_largest(values, d) for d in dims]
        return _Front(dims, sizes)

    def without(self, dims: Sequence[int]) -> _Front:
        size_of = dict(zip(self.dims, self.sizes, strict=True))
        kept = [d for d in self.dims if d not in dims]
        sizes = [size_of[d] for d in kept]
        return _Front(kept, sizes)

    def move(self, t: Tensor) -> Tensor:
        """Return (rows, *leading with ones, *units) of (*leading, *units).

        It has one row if all would be the same memory.
        """
        count = len(self.dims)
        if not count:
            return t.unsqueeze(0)
        in_front = list(range(count))
        t = t.movedim(self.dims, in_front)
        differ = [d for d in in_front if not _is_repeated(t, d)]
        if differ:
            rest = t.shape[count:]
            t = t.expand(*self.sizes, *rest)
        else:
            first = (slice(0, 1),) * count
            t = t[first]
        t = t.flatten(0, count - 1)  # (rows, *other leading, *units)
        for d in sorted(self.dims):
            t = t.unsqueeze(1 + d)
        return t

    def back(self, log_q: Tensor) -> Tensor:
        """Return (*leading) of (rows, *leading without the dimensions moved)."""
        if not self.dims:
            return log_q.squeeze(0)
        n_rows = math.prod(self.sizes)
        _, *leading = log_q.shape
        t = log_q.expand(n_rows, *leading)
        t = torch.unflatten(t, 0, self.sizes)
        in_front = list(range(len(self.dims)))
        return t.movedim(in_front, self.dims)


def _largest(values: Sequence[Tensor], dim: int) -> int:
    """Return the largest size of a dimension."""
    sizes = [value.shape[dim] for value in values]
    return max(sizes)


def _is_repeated(t: Tensor, dim: int) -> bool:
    """Return true if all of a dimension is the same memory."""
    return t.shape[dim] == 1 or t.stride(dim) == 0


class _Site(NamedTuple):
    """A site's rows with what they are compared with; `dist` is None if they are log-densities."""

    rows: Tensor  # (rows or 1, *leading with ones, *units)
    keep: Tensor | None = None  # where they are latent, None for everywhere
    dist: Distribution | None = None

    @property
    def n_rows(self) -> int:
        """The number of rows that differ, in their values or in what they hold."""
        return max(len(self.rows), 1 if self.keep is None else len(self.keep))


def _site(node: Node, component: Node, front: _Front, batch_dim: int) -> _Site:
    assert component.dist is not None
    keep = _latent(node, batch_dim)
    kept = None if keep is None else front.move(keep)
    rows = front.move(node.value)
    return _Site(rows, kept, component.dist)


def _drawn_classes(node: Node, dim: int, items: _Front) -> _Site:
    """Return 0 at each row's class and −∞ at the others, in the class's dimension."""
    at_class = node.value.transpose(dim, -1)
    at_class = at_class.squeeze(-1)  # (*classes, *samples, batch)
    rows = items.move(at_class.log())
    return _Site(rows)


def _latent(node: Node, batch_dim: int) -> Tensor | None:
    """Return where a site is latent: observed entries are given, hence no part of q(z)."""
    if node.observed is False or node.role == "enumerated":
        return None
    latent = ~torch.as_tensor(node.observed, device=node.value.device)
    if latent.ndim == 0:
        leading = node.value.shape[: batch_dim + 1]
        latent = latent.expand(leading)
    return latent


def _weights_of_rows(log_w: Tensor, sizes: Sequence[int], batch_dim: int) -> Tensor:
    """Return log-weights (rows or 1, *ones, components) for the rows that were moved to front."""
    if len(log_w) > 1:
        *classes, _ = sizes
        log_w = log_w.expand(*classes, *log_w.shape)  # (*classes, items, components)
        log_w = log_w.flatten(0, -2)
    ones = (1,) * batch_dim
    return log_w.reshape(len(log_w), *ones, -1)


def _numbers_a_row(
    sites: Mapping[str, _Site], terms: Sequence[Tensor], log_w: Tensor | None, n_blocks: int
) -> int:
    """Return how many numbers one row's sums hold, about."""
    numbers = 0
    for site in sites.values():
        if site.dist is not None:
            end = site.rows.ndim - len(site.dist.event_shape)
            entries = site.rows.shape[1:end]
            pairs = torch.broadcast_shapes(site.dist.batch_shape, entries)
            numbers += math.prod(pairs)
    weights = [t.shape for t in terms]
    if log_w is not None:
        weights.append(log_w.shape[1:])
    of_a_block: int = math.prod(torch.broadcast_shapes(*weights))
    return numbers + n_blocks * of_a_block


def _densities(
    sites: Mapping[str, _Site], blocks: Iterable[Block], rows: slice, lead: int
) -> dict[Part, Tensor]:
    """Return the log-densities (rows, *leading, components) of each part of a block."""
    subsets_of: dict[str, list[tuple[int, ...]]] = {name: [] for name in sites}
    for block in blocks:
        for name, units in block:
            if units not in subsets_of[name]:
                subsets_of[name].append(units)
    densities: dict[Part, Tensor] = {}
    for name, site in sites.items():
        value = _some_rows(site.rows, rows)
        keep = None if site.keep is None else _some_rows(site.keep, rows)
        subsets = subsets_of[name]
        if site.dist is None:
            found = [value]
        else:
            found = log_marginals(site.dist, value, lead, subsets, keep)
        for units, density in zip(subsets, found, strict=True):
            densities[name, units] = density
    return densities


def _some_rows(t: Tensor, rows: slice) -> Tensor:
    """Return some rows of a tensor, or the one that stands for all."""
    return t if t.shape[0] == 1 else t[rows]
