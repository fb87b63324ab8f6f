"""Other views of a trace: some of its items, one class an item, all class dimensions everywhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import OneHotCategorical

from .axes import Axes, pad, plain, told
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


def trim(node: Node, depth: int) -> Node:
    """Return a site of `depth` class dimensions without the first that it does not need."""
    unused = [depth]

    def count(t: Tensor, _: int) -> Tensor:
        sizes = [*t.shape[:depth], 0]
        unused.append(next(d for d, size in enumerate(sizes) if size != 1))
        return t

    node.changed(count, dist=node.dist)
    first = min(unused)
    own = depth - first

    def cut(t: Tensor, _: int) -> Tensor:
        return told(plain(t).reshape(t.shape[first:]), own)

    return node.changed(cut, dist=node.dist, classes=own)


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
    grid = torch.meshgrid(*(torch.arange(size) for size in axes.lead), indexing="ij")
    picks: list[Tensor] = []  # the class of each item, that of the last site first
    drawn = {}
    for name, node in nodes.items():
        classes = node.classes if depth is None else depth

        def at_picks(t: Tensor, lacks: int, classes: int = classes) -> Tensor:
            """(*classes, *lead, …) -> (*lead, …)"""
            t = plain(t)
            own = classes - lacks
            if own < 0:  # the same for all items
                return t
            if all(size == 1 for size in t.shape[:own]):
                return t.reshape(t.shape[own:])
            unknown = [torch.zeros_like(grid[0])] * (own - len(picks))
            known = [*unknown, *picks[max(len(picks) - own, 0) :]]
            places = [k if size > 1 else k * 0 for k, size in zip(known, t.shape, strict=False)]
            items = [g if size > 1 else g * 0 for g, size in zip(grid, t.shape[own:], strict=False)]
            return t[tuple(place.to(t.device) for place in (*places, *items))]

        if node.role != "enumerated":
            drawn[name] = node.changed(at_picks, axes=None, classes=0)
            continue
        one = node.changed(at_picks, axes=None, classes=0, value=node.value, label=None)
        assert isinstance(one.dist, OneHotCategorical)
        value = one.dist.sample()
        if node.label is not None:
            label = at_picks(node.label, 0)
            value = torch.where(torch.as_tensor(one.observed)[..., None], label, value)
        picks.insert(0, value.argmax(-1))
        drawn[name] = replace(one, value=value, role="sampled")
    return drawn
