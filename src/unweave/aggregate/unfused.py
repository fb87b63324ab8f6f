"""The sums over pairs that are not fused: any distributions, by broadcasting."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..trace.groups import Block, Part
from ..trace.marginals import log_marginals
from ..trace.node import Node
from ..trace.trace import Trace

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
    names = dict.fromkeys(site for block in blocks for site, _ in block)
    front = _Front.of([q[name].value for name in names], front_dims)
    items = front.without(dims)
    sites = {}
    for name in names:
        if name in summed:
            sites[name] = _drawn_classes(q[name], classes[name], items)
        else:
            sites[name] = _site(q[name], posterior[name], front, batch_dim)
    class_terms = [_class_terms(posterior, summed, block) for block in blocks]
    n_rows = max(len(site.rows) for site in sites.values())
    if log_w is not None:
        log_w = _weights_of_rows(log_w, front.sizes, batch_dim)
        n_rows = max(n_rows, len(log_w))
    numbers = _numbers_a_row(sites, class_terms[0], log_w, len(blocks))
    step = max(1, budget // max(numbers, 1))

    parts = []
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        n = rows.stop - rows.start
        base = _ZERO if log_w is None else _some_rows(log_w, rows)
        densities = _densities(sites, blocks, rows, lead=batch_dim + 2)
        part = []
        for block, terms in zip(blocks, class_terms, strict=True):
            total = base  # (rows, *classes, *samples, components)
            for of in block:
                total = total + densities[of]
            for term in terms:
                total = total + term
            log_q = total.logsumexp(over) if over else total
            part.append(log_q.expand(n, *log_q.shape[1:]))
        parts.append(part)
    whole = parts[0]
    if len(parts) > 1:
        whole = [torch.cat(chunks) for chunks in zip(*parts, strict=True)]
    return [front.back(log_q) for log_q in whole]


def _class_terms(posterior: Trace, summed: Sequence[str], block: Block) -> list[Tensor]:
    """Return log q(class|x_j) of the sites that are summed over, each in its class's dimension."""
    depth = len(posterior.classes())
    held = {site for site, _ in block}
    return [posterior[site].log_weight(depth, given=site not in held) for site in summed]


@dataclass(frozen=True)
class _Front:
    """The dimensions of rows that are moved to the front and flattened, and their sizes."""

    dims: list[int]
    sizes: list[int]

    @staticmethod
    def of(values: Sequence[Tensor], dims: list[int]) -> _Front:
        return _Front(dims, [_largest(values, d) for d in dims])

    def without(self, dims: Sequence[int]) -> _Front:
        size_of = dict(zip(self.dims, self.sizes, strict=True))
        kept = [d for d in self.dims if d not in dims]
        return _Front(kept, [size_of[d] for d in kept])

    def move(self, t: Tensor) -> Tensor:
        """Return (rows, *leading with ones, *units) of (*leading, *units).

        It has one row if all would be the same memory.
        """
        count = len(self.dims)
        if not count:
            return t.unsqueeze(0)
        t = t.movedim(self.dims, list(range(count)))
        if all(_is_repeated(t, d) for d in range(count)):
            t = t[(slice(0, 1),) * count]
        else:
            t = t.expand(*self.sizes, *t.shape[count:])
        t = t.flatten(0, count - 1)
        for d in sorted(self.dims):
            t = t.unsqueeze(1 + d)
        return t

    def back(self, log_q: Tensor) -> Tensor:
        """Return (*leading) of (rows, *leading without the dimensions moved)."""
        if not self.dims:
            return log_q.squeeze(0)
        t = log_q.expand(math.prod(self.sizes), *log_q.shape[1:])
        t = torch.unflatten(t, 0, self.sizes)
        return t.movedim(list(range(len(self.dims))), self.dims)


def _largest(values: Sequence[Tensor], dim: int) -> int:
    return max(value.shape[dim] for value in values)


def _is_repeated(t: Tensor, dim: int) -> bool:
    """Whether all of a dimension is the same memory."""
    return t.shape[dim] == 1 or t.stride(dim) == 0


class _Site(NamedTuple):
    """A site's rows with what they are compared with; `dist` is None if they are log-densities."""

    rows: Tensor  # (rows or 1, *leading with ones, *units)
    keep: Tensor | None = None  # where they are latent, None for everywhere
    dist: Distribution | None = None


def _site(node: Node, component: Node, front: _Front, batch_dim: int) -> _Site:
    assert component.dist is not None
    keep = _latent(node, batch_dim)
    kept = None if keep is None else front.move(keep)
    return _Site(front.move(node.value), kept, component.dist)


def _drawn_classes(node: Node, dim: int, items: _Front) -> _Site:
    """Return 0 at each row's class and −∞ at the others, in the class's dimension."""
    at_class = node.value.transpose(dim, -1).squeeze(-1)  # (*classes, *samples, batch)
    return _Site(items.move(at_class.log()))


def _latent(node: Node, batch_dim: int) -> Tensor | None:
    """Return where a site is latent: observed entries are given, hence no part of q(z)."""
    if node.observed is False or node.role == "enumerated":
        return None
    latent = ~torch.as_tensor(node.observed, device=node.value.device)
    if latent.ndim == 0:
        latent = latent.expand(node.value.shape[: batch_dim + 1])
    return latent


def _weights_of_rows(log_w: Tensor, sizes: Sequence[int], batch_dim: int) -> Tensor:
    """Return log-weights (rows or 1, *ones, components) for the rows that were moved to front."""
    if len(log_w) > 1:
        *classes, _ = sizes
        log_w = log_w.expand(*classes, *log_w.shape)  # (*classes, items, components)
        log_w = log_w.flatten(0, -2)
    return log_w.reshape(len(log_w), *[1] * batch_dim, -1)


def _numbers_a_row(
    sites: Mapping[str, _Site], terms: Sequence[Tensor], log_w: Tensor | None, n_blocks: int
) -> int:
    """Return how many numbers one row's sums hold, about."""
    numbers = 0
    for site in sites.values():
        if site.dist is not None:
            event = len(site.dist.event_shape)
            entries = site.rows.shape[1 : site.rows.ndim - event]
            numbers += math.prod(torch.broadcast_shapes(site.dist.batch_shape, entries))
    weights = [t.shape for t in terms]
    if log_w is not None:
        weights.append(log_w.shape[1:])
    terms_of_a_block: int = math.prod(torch.broadcast_shapes(*weights))
    return numbers + n_blocks * terms_of_a_block


def _densities(
    sites: Mapping[str, _Site], blocks: Iterable[Block], rows: slice, lead: int
) -> dict[Part, Tensor]:
    """Return the log-densities (rows, *leading, components) of each part of a block."""
    parts = list(dict.fromkeys(part for block in blocks for part in block))
    densities: dict[Part, Tensor] = {}
    for name, site in sites.items():
        value = _some_rows(site.rows, rows)
        keep = None if site.keep is None else _some_rows(site.keep, rows)
        subsets = [units for of, units in parts if of == name]
        if site.dist is None:
            found = [value]
        else:
            found = log_marginals(site.dist, value, lead, subsets, keep)
        for units, density in zip(subsets, found, strict=True):
            densities[name, units] = density
    return densities


def _some_rows(t: Tensor, rows: slice) -> Tensor:
    return t if t.shape[0] == 1 else t[rows]
