"""The classes that a block sums over, and those that its rows hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import Normal, OneHotCategorical

from ..trace.concrete import Concrete
from ..trace.leaves import Block
from ..trace.marginals import unwrap
from ..trace.node import Node
from ..trace.parameters import lacking
from ..trace.shapes import broadcast
from ..trace.trace import Trace
from .question import Coefficient, sites_of

Case = tuple[Tensor, Block]
"""Items (a boolean tensor), and what is left of a block for them."""

_EVERYWHERE = torch.ones((), dtype=torch.bool)


def classes_summed(q: Trace, posterior: Trace, block: Block, batch_dim: int) -> tuple[str, ...]:
    """Return the enumerated sites whose classes a block's density sums over.

    They are those that the block depends on, be it through others, and whose classes its rows do
    not hold.

    Args:
        q: The rows.
        posterior: The components.
        block: Latent units.
        batch_dim: The dimension of the items in both.
    """
    enumerated = posterior.classes()
    if not enumerated:
        return ()
    site_of = {dim: site for site, dim in enumerated.items()}
    waiting = sites_of([block])
    held = set[str]()
    summed = set[str]()
    for site in waiting:
        if q[site].role == "enumerated":
            held.add(site)
        elif site in enumerated:
            summed.add(site)
    while waiting:
        site = waiting.pop()
        for dim in _dims_it_depends_on(posterior[site], batch_dim):
            parent = site_of.get(dim)
            if parent is not None and parent not in held | summed:
                summed.add(parent)
                waiting.append(parent)
    return tuple([site for site in enumerated if site in summed])


def _dims_it_depends_on(node: Node, batch_dim: int) -> list[int]:
    """Return the leading dimensions in which a site's parameters differ."""
    assert node.dist is not None
    dist = unwrap(node.dist)
    missing = lacking(dist, node.value)
    dims = []
    for d, size in enumerate(dist.batch_shape, missing):
        if size > 1 and d < batch_dim:
            dims.append(d)
    return dims


def cases_of(q: Trace, posterior: Trace, block: Block) -> list[Case]:
    """Return the block, and what is left of it for items whose labels are known.

    The last case that an item is in counts.
    """
    cases: list[Case] = [(_EVERYWHERE, block)]
    for site, _ in block:
        node = q[site]
        observed = node.observed
        roles = (node.role, posterior[site].role)
        if "enumerated" in roles and isinstance(observed, Tensor):
            for seen, left in list(cases):
                both = seen & observed
                others = tuple([part for part in left if part[0] != site])
                cases.append((both, others))
    return cases


def choose_case(cases: Sequence[Case], log_q: Mapping[Block, Tensor]) -> Tensor:
    """Return log q of each item's case."""
    (_, block), *others = cases
    chosen = log_q[block]
    for observed, left in others:
        chosen = torch.where(observed, log_q[left], chosen)
    return chosen


def classes_held(q: Trace, block: Block) -> tuple[int, ...]:
    """Return the sizes of the enumerated dimensions, one where a block's values do not differ."""
    depth = len(q.classes())
    shapes = []
    for site, _ in block:
        value = q[site].value
        shapes.append(value.shape[:depth])
    return tuple(broadcast(*shapes))


def sum_over_classes(coefficient: Coefficient, held: tuple[int, ...]) -> Coefficient:
    """Sum a coefficient over the classes that its block does not tell apart."""
    alike = [d for d, size in enumerate(held) if size == 1]
    if isinstance(coefficient, Tensor) and alike:
        return coefficient.sum(alike, keepdim=True)
    return coefficient


def holds_drawn_classes(
    q: Trace, posterior: Trace, block: Block, summed: Sequence[str], batch_dim: int
) -> bool:
    """True if rows without samples hold drawn classes of all sites that would be summed over."""
    has_samples = batch_dim > len(posterior.classes())
    if has_samples or q.classes() or not summed:
        return False
    held = sites_of([block])
    return set(summed).issubset(held)


def is_foldable(q: Trace, posterior: Trace, blocks: Sequence[Block], summed: Sequence[str]) -> bool:
    """Return true if the classes that blocks sum over can join the items.

    They can if rows hold classes as components do, or none at all, and all parameters are of a kind
    to be folded.
    """
    foldable = (Normal, Concrete, OneHotCategorical)
    sites = sites_of(blocks)
    for site in sites:
        dist = posterior[site].dist
        if dist is not None and not isinstance(unwrap(dist), foldable):
            return False
    depth = len(q.classes())
    if depth:
        return depth == len(posterior.classes())
    return set(summed).isdisjoint(sites)
