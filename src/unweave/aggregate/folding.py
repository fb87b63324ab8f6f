"""Sums over classes by the fused estimator: classes join the items, or are taken one by one."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from ..trace.axes import pad
from ..trace.leaves import Block
from ..trace.node import Node
from ..trace.trace import Trace
from .layout import bare_dist
from .pairs import log_mixture_fused
from .question import Coefficient, LogWeights, first_with_dist, sites_of


def with_samples(posterior: Trace, q: Trace) -> Trace:
    """Return enumerated posteriors with the sample dimensions that only the rows have, of size one.

    Dimensions that a tensor lacks are in front, but samples stand behind the classes. Both traces
    are `aligned`.
    """
    depth = len(posterior.classes())
    if not depth:
        return posterior
    name = first_with_dist(posterior)
    count = q[name].value.ndim - posterior[name].value.ndim
    if count <= 0:
        return posterior
    ones = (1,) * count

    def insert(t: Tensor, lacks: int) -> Tensor:
        """(*classes, batch, …) -> (*classes, *ones, batch, …)"""
        own = depth - lacks  # the class dimensions that it has
        if own <= 0:
            return t
        classes, rest = t.shape[:own], t.shape[own:]
        return t.reshape(*classes, *ones, *rest)

    nodes = {}
    for name, node in posterior.items():
        axes = node.axes
        if axes is not None:
            lead = (*ones, *axes.lead)
            axes = replace(axes, lead=lead)
        nodes[name] = node.changed(insert, axes=axes)
    return Trace.of(nodes, posterior)


# -- classes join the items ------------------------------------------------------------------------


@dataclass(frozen=True)
class _Fold:
    """Class dimensions that join the items, class by class."""

    dims: list[int]
    batch_dim: int

    @property
    def between(self) -> list[int]:
        """The places of the classes when they stand right in front of the items."""
        return list(range(self.items, self.batch_dim))

    @property
    def items(self) -> int:
        """The dimension of the (class, item) pairs."""
        return self.batch_dim - len(self.dims)

    def fold(self, t: Tensor, sizes: Sequence[int], lacks: int = 0) -> Tensor:
        """(*classes, *samples, batch, …) -> (*other classes, *samples, classes x batch, …)"""
        t = pad(t, lacks)
        shape = list(t.shape)
        for d, size in zip(self.dims, sizes, strict=True):
            shape[d] = size
        moved = t.expand(shape).movedim(self.dims, self.between)
        return moved.flatten(self.items, self.batch_dim)

    def unfold(self, t: Tensor, sizes: Sequence[int]) -> Tensor:
        """(*other classes, *samples, classes x batch) -> (*classes, *samples, batch)"""
        apart = torch.unflatten(t, -1, (*sizes, -1))
        return apart.movedim(self.between, self.dims)


def sum_folded(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    summed: Sequence[str],
    log_w: LogWeights,
    batch_dim: int,
    ahead: Sequence[Coefficient] | None,
    first: int,
) -> list[Tensor]:
    """Ask the fused estimator about (class, item) pairs: summed classes join the items."""
    names = sites_of(blocks)
    classes = posterior.classes()
    fold = _Fold([classes[site] for site in summed], batch_dim)
    mine, theirs = list[int](), list[int]()  # how many classes rows and components have
    for site, d in zip(summed, fold.dims, strict=True):
        of_rows = [q[name].value.shape[d] for name in names]
        mine.append(max(of_rows))
        theirs.append(posterior[site].value.shape[d])

    rows, components = {}, {}
    for name in names:
        rows[name] = _fold_row(fold, q[name], mine)
        components[name] = _fold_component(fold, posterior[name], theirs)
    log_v = torch.zeros(())
    for site in summed:
        weight = posterior[site].log_weight(len(classes))
        log_v = log_v + weight
    lacks = batch_dim + 1 - log_v.ndim
    log_v = fold.fold(log_v, theirs, lacks)
    if ahead is not None:
        ahead = [fold.fold(c, mine) if isinstance(c, Tensor) else c for c in ahead]
    log_q = log_mixture_fused(
        Trace.of(rows),
        Trace.of(components),
        blocks,
        log_w,
        fold.items,
        ahead=ahead,
        first=first,
        classes=(math.prod(mine), math.prod(theirs)),
        log_v=log_v,
    )
    return [fold.unfold(t, mine) for t in log_q]


def _fold_row(fold: _Fold, node: Node, sizes: Sequence[int]) -> Node:
    """Return a site of the rows whose classes have joined the items."""
    value = fold.fold(node.value, sizes)
    observed = False if node.role == "enumerated" else node.observed
    if isinstance(observed, Tensor):
        observed = fold.fold(observed, sizes)
    return Node(value, "sampled", node.dist, observed)


def _fold_component(fold: _Fold, node: Node, sizes: Sequence[int]) -> Node:
    """Return a site of the components whose classes have joined the items."""
    bare = Node(node.value, "sampled", bare_dist(node))
    return bare.changed(lambda t, lacks: fold.fold(t, sizes, lacks))


# -- classes one by one ----------------------------------------------------------------------------


def sum_class_by_class(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    sites: Sequence[str],
    log_w: float,
    batch_dim: int,
) -> list[Tensor]:
    """Return Σ_j w q(y_i|x_j) q(rest_i|x_j, y_i) for drawn classes y_i.

    The rows of the same classes meet the components at those classes.
    """
    enumerated = posterior.classes()
    dims = [enumerated[site] for site in sites]
    value = q[sites[0]].value
    rest = [_without(block, sites) for block in blocks]
    wanted = [block for block in rest if block]
    names = sites_of(wanted)
    own = []
    for site in sites:
        numbers = q[site].value.argmax(-1)
        own.append(numbers.flatten())
    classes_of_rows = torch.stack(own, -1)  # (rows, sites)
    n_rows = len(classes_of_rows)
    log_q = [value.new_zeros(n_rows) for _ in blocks]
    for classes in classes_of_rows.unique(dim=0):
        at = dict(zip(dims, classes.tolist(), strict=True))
        is_here = (classes_of_rows == classes).all(1)
        rows = is_here.nonzero().squeeze(1)
        mine = q.take(rows, batch_dim=batch_dim)
        nodes = {name: _at_classes(posterior[name], at) for name in names}
        components = Trace.of(nodes)
        log_v = torch.zeros(())
        for site in sites:
            weight = posterior[site].log_weight(len(enumerated), given=False)
            log_v = log_v + _narrow(weight, at)
        of_components = log_v.logsumexp(-1).squeeze()
        classes_alone = of_components + log_w
        found: dict[Block, Tensor] = {(): classes_alone}
        if wanted:
            weights = (log_w,) * 3
            sums = log_mixture_fused(mine, components, wanted, weights, batch_dim, log_v=log_v)
            found.update(zip(wanted, sums, strict=True))
        for total, block in zip(log_q, rest, strict=True):
            total[rows] = found[block].flatten()
    shape = value.shape[: batch_dim + 1]
    return [total.reshape(shape) for total in log_q]


def _without(block: Block, sites: Sequence[str]) -> Block:
    """Return the parts of a block that are of other sites."""
    return tuple([part for part in block if part[0] not in sites])


def _at_classes(node: Node, at: Mapping[int, int]) -> Node:
    """Return a site at one class of each of some class dimensions."""
    bare = Node(node.value, "sampled", bare_dist(node))
    return bare.changed(lambda t, lacks: _narrow(t, at, lacks))


def _narrow(t: Tensor, at: Mapping[int, int], lacks: int = 0) -> Tensor:
    """Return a tensor at one class of each of some class dimensions that it has."""
    for dim, k in at.items():
        own = dim - lacks
        if own >= 0 and t.shape[own] > 1:
            t = t.narrow(own, k, 1)
    return t
