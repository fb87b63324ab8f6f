"""Sites by the origin of their values: a draw, a choice, or another trace."""

from __future__ import annotations

from torch import Tensor
from torch.distributions import Distribution

from . import views
from .axes import Axes, pad
from .node import Node
from .values import check_shape, draw


def drawn(name: str, dist: Distribution, classes: int, axes: Axes | None) -> Node:
    """Return a site with a draw of its own, with all class dimensions of the trace.

    Args:
        name: The site's name.
        dist: The site's distribution.
        classes: How many class dimensions its parameters know of.
        axes: The class dimensions of the trace.
    """
    value = draw(dist)
    if axes is not None:
        own = axes.count(dist.batch_shape, classes, f"site {name!r}")
        value = pad(value, len(axes.sizes) - own)
    return Node(value, "sampled", dist)


def afresh(dist: Distribution, free: Node) -> Node:
    """Return a site drawn at the shape of a free one."""
    ends = free.value.ndim - len(dist.event_shape)
    entries = free.value.shape[:ends]
    value = draw(dist.expand(entries))
    return Node(value, "sampled", dist)


def reused(name: str, dist: Distribution, node: Node, axes: Axes | None) -> Node:
    """Return a site that reuses another trace's value, with all class dimensions."""
    depth = 0
    if axes is not None:
        depth = len(axes.sizes)
        node = views.at_depth(node, depth)
    check_shape(name, dist, node.value, depth)
    label, exists = node.label, node.exists
    return Node(node.value, "reused", dist, node.observed, label=label, exists=exists)


def chosen(value: Tensor) -> Node:
    """Return a site whose value was chosen."""
    return Node(value, "observed", observed=True)


def unbound(node: Node, n: int, batch_dim: int) -> Node:
    """Return a free site for `n` new items, of the same units as a site with one class an item."""
    shape = node.value.shape[batch_dim + 1 :]  # (*units, *event)
    number = node.value.new_empty(())
    return Node(number.expand(n, *shape), "free")
