"""The classes that a block sums over, and those that its rows hold."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor
from torch.distributions import Normal, OneHotCategorical

from ..trace.concrete import Concrete
from ..trace.groups import Block
from ..trace.marginals import unwrap
from ..trace.node import Node
from ..trace.parameters import lacking
from ..trace.trace import Trace
from .question import Coefficient

Case = tuple[Tensor, Block]
"""Items (a boolean tensor), and what is left of a block for them."""


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
    held = {site for site, _ in block if q[site].role == "enumerated"}
    summed = {site for site, _ in block if site in enumerated} - held
    waiting = [site for site, _ in block]
    while waiting:
        dims = _dims_it_depends_on(posterior[waiting.pop()], batch_dim)
        parents = {site_of[dim] for dim in dims if dim in site_of}
        new = parents - held - summed
        summed |= new
        waiting += new
    return tuple(site for site in enumerated if site in summed)


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

    Of the cases that an item is in, the last one counts.
    """
    everywhere = torch.ones((), dtype=torch.bool)
    cases: list[Case] = [(everywhere, block)]
    for site, _ in block:
        observed = q[site].observed
        roles = (q[site].role, posterior[site].role)
        if "enumerated" in roles and isinstance(observed, Tensor):
            for seen, left in list(cases):
                others = tuple(part for part in left if part[0] != site)
                cases.append((seen & observed, others))
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
    shapes = [q[site].value.shape[:depth] for site, _ in block]
    return tuple(torch.broadcast_shapes(*shapes))


def sum_over_classes(coefficient: Coefficient, held: tuple[int, ...]) -> Coefficient:
    """Sum a coefficient over the classes that its block does not tell apart."""
    alike = [d for d, size in enumerate(held) if size == 1]
    if isinstance(coefficient, Tensor) and alike:
        return coefficient.sum(alike, keepdim=True)
    return coefficient


def holds_drawn_classes(
    q: Trace, posterior: Trace, block: Block, summed: Sequence[str], batch_dim: int
) -> bool:
    """Whether rows without samples hold drawn classes of all sites that would be summed over."""
    has_samples = batch_dim > len(posterior.classes())
    if has_samples or q.classes() or not summed:
        return False
    held = {site for site, _ in block}
    return held.issuperset(summed)


def is_foldable(q: Trace, posterior: Trace, block: Block, summed: Sequence[str]) -> bool:
    """Whether the classes that a block sums over can join the items.

    They can if rows hold classes as components do, or none at all, and all parameters are of a kind
    to be folded.
    """
    foldable = (Normal, Concrete, OneHotCategorical)
    for site, _ in block:
        dist = posterior[site].dist
        if dist is not None and not isinstance(unwrap(dist), foldable):
            return False
    if q.classes():
        return len(q.classes()) == len(posterior.classes())
    return not any(site in summed for site, _ in block)
