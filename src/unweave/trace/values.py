"""Values that are drawn, given or missing, and entries that do not exist."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import torch
from torch import Tensor
from torch.distributions import Distribution, OneHotCategorical
from torch.nn.functional import one_hot

from .axes import Axes
from .concrete import Concrete
from .node import Node


def draw(dist: Distribution) -> Tensor:
    """Draw from a distribution, with a gradient where there is one."""
    drawn: Tensor = dist.rsample() if dist.has_rsample else dist.sample()
    return drawn


def all_known(present: Tensor) -> bool:
    """Whether no label is missing, if that is known without a wait for a device or other ranks."""
    group = torch.distributed
    has_ranks = group.is_available() and group.is_initialized()
    if has_ranks or present.device.type != "cpu":
        return False
    return bool(present.all())


def like(number: float | Tensor, *others: float | Tensor | Node | None) -> Tensor:
    """Return a number as a tensor, at the precision and device of the first tensor among others."""
    if isinstance(number, Tensor):
        return number
    for other in others:
        t = other.value if isinstance(other, Node) else other
        if isinstance(t, Tensor):
            dtype = t.dtype if t.is_floating_point() else torch.get_default_dtype()
            return torch.tensor(number, dtype=dtype, device=t.device)
    return torch.tensor(number, dtype=torch.get_default_dtype())


def check_shape(name: str, dist: Distribution, value: Tensor, classes: int = 0) -> None:
    """Refuse a value whose shape is not the distribution's; one value may serve all classes.

    Raises:
        ValueError: If the event's shape differs, or the batch shape has more than the value has.
    """
    ends = value.ndim - len(dist.event_shape)
    entries = value.shape[: max(ends, 0)]
    fits = ends >= 0 and value.shape[ends:] == dist.event_shape
    if fits and entries == dist.batch_shape:
        return
    try:
        full = torch.broadcast_shapes(dist.batch_shape, entries)
    except RuntimeError:
        fits, full = False, value.shape
    if not fits or full[classes:] != entries[classes:]:
        wanted = (*dist.batch_shape, *dist.event_shape)
        raise ValueError(
            f"site {name!r}: the value has shape {tuple(value.shape)}, but its "
            f"{type(dist).__name__} describes values of shape {wanted} (leading dimensions may be "
            "added): give one value per entry"
        )


def give(
    name: str,
    dist: Distribution,
    value: Tensor,
    observed: Tensor | None,
    axes: Axes | None = None,
) -> tuple[Tensor, Tensor | bool]:
    """Return a given value, and which of its entries were given; the others are drawn.

    Raises:
        ValueError: If a class number is too large, or a shape does not fit.
    """
    if axes is not None:
        value = axes.full(value, f"the value of site {name!r}")
    present = None
    if isinstance(dist, (Concrete, OneHotCategorical)) and not value.is_floating_point():
        present = value >= 0
        value = _one_hot(name, value, dist)
    check_shape(name, dist, value, len(axes.sizes) if axes else 0)
    event = len(dist.event_shape)
    entries = value.shape[: value.ndim - event]
    if observed is not None:
        mask = _mask(name, "observed=", "the value's entries", observed, entries, axes)
        present = mask if present is None else present & mask
    if present is None:
        return value, True
    present = present.expand(entries)
    full = torch.broadcast_shapes(entries, dist.batch_shape)
    drawn = draw(dist.expand(full))
    is_given = present.unsqueeze(-1) if event else present
    return torch.where(is_given, value, drawn), present


def _one_hot(name: str, numbers: Tensor, dist: Concrete | OneHotCategorical) -> Tensor:
    """Return class numbers as one-hot values; a class that is missing is the first."""
    classes = dist.event_shape[-1]
    on_cpu = numbers.device.type == "cpu"  # elsewhere a look would wait for the device
    largest = int(numbers.max()) if on_cpu and numbers.numel() else 0
    if largest >= classes:
        raise ValueError(
            f"site {name!r}: class number {largest} given, expected 0 to {classes - 1}, or below "
            "zero where the class is missing"
        )
    known = numbers.long().clamp_min(0)
    logits: Tensor = dist.logits
    return one_hot(known, classes).to(logits.dtype)


def in_part(name: str, node: Node, where: Tensor, axes: Axes | None) -> Node:
    """Return the node whose entries exist in part; the others hold a draw."""
    assert node.dist is not None
    event = len(node.dist.event_shape)
    entries = node.value.shape[: node.value.ndim - event]
    exists = existing(name, where, entries, axes)
    value = node.value
    if node.role == "observed":
        full = torch.broadcast_shapes(node.dist.batch_shape, entries)
        drawn = draw(node.dist.expand(full))
        there = exists.reshape(*exists.shape, *[1] * event)
        value = torch.where(there, value, drawn)
    observed = node.observed is True or node.observed | ~exists
    return replace(node, value=value, observed=observed, exists=exists)


def existing(name: str, where: Tensor, entries: Sequence[int], axes: Axes | None) -> Tensor:
    """Return which entries exist, with sizes of one for the units that are not told apart."""
    return _mask(name, "where=", "the site's entries", where, entries, axes)


def _mask(
    name: str, flag: str, of: str, mask: Tensor, entries: Sequence[int], axes: Axes | None
) -> Tensor:
    """Return a mask as booleans with as many dimensions as there are of entries."""
    classes = 0
    if axes is not None:
        classes = len(axes.sizes)
        mask = axes.full(mask, f"{flag} of site {name!r}")
    own, full = tuple(mask.shape[classes:]), tuple(entries[classes:])
    if own != full[: len(own)]:
        raise ValueError(
            f"site {name!r}: {flag} has shape {tuple(mask.shape)}, but {of} have shape "
            f"{tuple(entries)}: give one boolean an entry, or one for each of the first dimensions"
        )
    return mask.bool().reshape(*mask.shape, *[1] * (len(full) - len(own)))
