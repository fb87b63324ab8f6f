"""Other views of a trace: some of its items, one class an item, all class dimensions everywhere."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import OneHotCategorical

from .axes import Axes, leading_ones, pad, plain, told
from .node import Node


def align(nodes: dict[str, Node], depth: int) -> dict[str, Node]:
    """Return sites whose tensors all have `depth` class dimensions in front."""
    return {name: at_depth(node, depth) for name, node in nodes.items()}


def at_depth(node: Node, depth: int, axes: Axes | None = None) -> Node:
    """Return a site with `depth` class dimensions in front: those added, or cut, have size one.

    Args:
        node: A site whose tensors have `node.classes` of them.
        depth: How many they get.
        axes: The class dimensions of a trace, of which its tensors then know.
    """
    missing = depth - node.classes

    def resize(t: Tensor, lacks: int) -> Tensor:
        return told(pad(plain(t), missing), depth, axes)

    return node.changed(resize, dist=node.dist, axes=axes or node.axes, classes=depth)


def trim(node: Node, axes: Axes) -> Node:
    """Return a site with all class dimensions without the first of them that it does not need."""
    depth = len(axes.sizes)
    unused = [leading_ones(t.shape, depth) for t in node.tensors()]
    whole = replace(node, classes=depth)
    return at_depth(whole, depth - min(unused), axes)


def along(
    nodes: dict[str, Node], dim: int, depth: int, change: Callable[[Tensor, int], Tensor]
) -> dict[str, Node]:
    """Return aligned sites with a change made along a sample dimension or the items.

    Args:
        nodes: Sites with `depth` class dimensions.
        dim: The dimension of their values.
        depth: How many class dimensions they have.
        change: See `Node.along`.
    """
    changed = {}
    for name, node in nodes.items():
        other = node.along(dim, change)
        if other.axes is not None:
            ends = depth + len(other.axes.lead)
            lead = other.value.shape[depth:ends]
            axes = Axes(other.axes.sizes, tuple(lead))
            other = replace(other, axes=axes)
        changed[name] = other
    return changed


def pick(nodes: dict[str, Node], axes: Axes, depth: int | None) -> dict[str, Node]:
    """Return sites with one class an item, drawn in turn; a labelled item has its label.

    Args:
        nodes: Sites in their order.
        axes: The class dimensions and items of their trace.
        depth: How many class dimensions every site has; None where each has its own number.
    """
    positions = [torch.arange(size) for size in axes.lead]
    items = torch.meshgrid(*positions, indexing="ij")  # the number of each item, (*lead) each
    picks: list[Tensor] = []  # the class of each item, (*lead) each, that of the last site first
    drawn = {}
    for name, node in nodes.items():
        classes = node.classes if depth is None else depth
        one = _at_picks(node, classes, picks, items)
        if node.role == "enumerated":
            one = _drawn_class(one)
            picks.insert(0, one.value.argmax(-1))
        drawn[name] = one
    return drawn


def _at_picks(node: Node, classes: int, picks: Sequence[Tensor], items: Sequence[Tensor]) -> Node:
    """Return a site without class dimensions, at the class that was picked for each item."""

    def at(t: Tensor, lacks: int) -> Tensor:
        return _at(plain(t), classes - lacks, picks, items)

    return node.changed(at, axes=None, classes=0)


def _at(t: Tensor, classes: int, picks: Sequence[Tensor], items: Sequence[Tensor]) -> Tensor:
    """Return a tensor at the class of each item, (*classes, *lead, …) -> (*lead, …)."""
    if classes < 0:  # the same for all items
        return t
    if leading_ones(t.shape, classes) == classes:
        return t.reshape(t.shape[classes:])
    first = torch.zeros_like(items[0])
    undrawn = max(classes - len(picks), 0)  # sites that are still to be drawn have size one
    unheld = max(len(picks) - classes, 0)  # later sites, on which the tensor does not depend
    places = [first] * undrawn
    places += picks[unheld:]
    places += items
    index = []
    for place, size in zip(places, t.shape, strict=False):
        known = place if size > 1 else first
        index.append(known.to(t.device))
    return t[tuple(index)]


def _drawn_class(node: Node) -> Node:
    """Return an enumerated site, at the classes picked before, with one class an item."""
    assert isinstance(node.dist, OneHotCategorical)
    value: Tensor = node.dist.sample()
    if node.label is not None:
        observed = torch.as_tensor(node.observed)
        is_given = observed.unsqueeze(-1)
        value = torch.where(is_given, node.label, value)
    return replace(node, value=value, role="sampled", label=None)
