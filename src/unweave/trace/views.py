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
    aligned = {}
    for name, node in nodes.items():
        missing = depth - node.classes

        def fill(t: Tensor, _: int, missing: int = missing) -> Tensor:
            return pad(plain(t), missing)

        aligned[name] = node.changed(fill, dist=node.dist, classes=depth)
    return aligned


def trim(node: Node, axes: Axes) -> Node:
    """Return a site with all class dimensions without the first of them that it does not need."""
    depth = len(axes.sizes)
    unused = []

    def count(t: Tensor, _: int) -> Tensor:
        unused.append(leading_ones(t.shape, depth))
        return t

    node.changed(count, dist=node.dist)
    first = min(unused)
    own = depth - first

    def cut(t: Tensor, _: int) -> Tensor:
        bare = plain(t)
        return told(bare.reshape(bare.shape[first:]), own, axes)

    return node.changed(cut, dist=node.dist, axes=axes, classes=own)


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
            n = len(other.axes.lead)
            lead = tuple(other.value.shape[depth : depth + n])
            other = replace(other, axes=Axes(other.axes.sizes, lead))
        changed[name] = other
    return changed


def pick(nodes: dict[str, Node], axes: Axes, depth: int | None) -> dict[str, Node]:
    """Return sites with one class an item, drawn in turn; a labelled item has its label.

    Args:
        nodes: Sites in their order.
        axes: The class dimensions and items of their trace.
        depth: How many class dimensions every site has; None where each has its own number.
    """
    places = [torch.arange(size) for size in axes.lead]
    items = torch.meshgrid(*places, indexing="ij")
    picks: list[Tensor] = []  # the class of each item, that of the last site first
    drawn = {}
    for name, node in nodes.items():
        classes = node.classes if depth is None else depth

        def at_picks(t: Tensor, lacks: int, classes: int = classes) -> Tensor:
            return _at(plain(t), classes - lacks, picks, items)

        one = node.changed(at_picks, axes=None, classes=0)
        if node.role == "enumerated":
            one = _drawn_class(one)
            picks.insert(0, one.value.argmax(-1))
        drawn[name] = one
    return drawn


def _at(t: Tensor, classes: int, picks: Sequence[Tensor], items: Sequence[Tensor]) -> Tensor:
    """(*classes, *lead, …) -> (*lead, …), at the class that was picked for each item."""
    if classes < 0:  # the same for all items
        return t
    own, lead = t.shape[:classes], t.shape[classes:]
    if all(size == 1 for size in own):
        return t.reshape(lead)
    first = torch.zeros_like(items[0])
    missing = [first] * (
        classes - len(picks)
    )  # class dimensions of sites that are still to be drawn
    known = picks[max(len(picks) - classes, 0) :]
    index = []
    for place, size in zip([*missing, *known, *items], t.shape, strict=False):
        index.append((place if size > 1 else first).to(t.device))
    return t[tuple(index)]


def _drawn_class(node: Node) -> Node:
    """Return an enumerated site, at the classes picked before, with one class an item."""
    assert isinstance(node.dist, OneHotCategorical)
    value: Tensor = node.dist.sample()
    if node.label is not None:
        given = torch.as_tensor(node.observed).unsqueeze(-1)
        value = torch.where(given, node.label, value)
    return replace(node, value=value, role="sampled", label=None)
