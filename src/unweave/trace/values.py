"""Values that are drawn, given or missing, and entries that do not exist.

Entries that do not exist hold a draw, at enumerated sites the first class. A decoder that reuses
the value needs a mask only for what else it makes of the draw. A mask that differs between the
classes of an enumerated site, a count, has that site's dimension in front. A block of q(z) is given
that its entries exist: row i meets S_i, the items that have all that it has,

    log Σ_S w_ij q(block_i|x_j) − log Σ_S w_ij
"""

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
from .shapes import broadcast


def draw(dist: Distribution) -> Tensor:
    """Draw from a distribution, with a gradient where there is one."""
    drawn: Tensor = dist.rsample() if dist.has_rsample else dist.sample()
    return drawn


def all_known(present: Tensor) -> bool:
    """True if no label is missing, if that is known without a wait for a device or other ranks."""
    group = torch.distributed
    has_ranks = group.is_available() and group.is_initialized()
    is_on_cpu = present.device.type == "cpu"
    if has_ranks or not is_on_cpu:
        return False
    return bool(present.all())


def like(number: float | Tensor, *others: float | Tensor | Node | None) -> Tensor:
    """Return a number as a tensor, at the precision and device of the first tensor among others."""
    if isinstance(number, Tensor):
        return number
    default = torch.get_default_dtype()
    for other in others:
        t = other.value if isinstance(other, Node) else other
        if isinstance(t, Tensor):
            dtype = t.dtype if t.is_floating_point() else default
            return torch.tensor(number, dtype=dtype, device=t.device)
    return torch.tensor(number, dtype=default)


def check_shape(name: str, dist: Distribution, value: Tensor, classes: int = 0) -> None:
    """Refuse a value whose shape is not the distribution's; one value may serve all classes.

    Args:
        name: The site's name.
        dist: The site's distribution.
        value: `(*classes, *samples, batch, *units, *event)`.
        classes: How many class dimensions the value has in front.

    Raises:
        ValueError: If the event's shape differs, or the batch shape has more than the value has.
    """
    batch, event = dist.batch_shape, dist.event_shape
    ends = max(value.ndim - len(event), 0)
    entries = value.shape[:ends]
    fits = value.shape[ends:] == event
    if fits and batch in (entries, ()):
        return
    try:
        full = broadcast(batch, entries)
    except RuntimeError:  # the sizes of some dimension differ
        fits = False
    if not fits or full[classes:] != entries[classes:]:
        wanted = (*batch, *event)
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

    Args:
        name: The site's name.
        dist: The site's distribution.
        value: One-hot values or class numbers at a categorical or Concrete site.
        observed: Which entries are given; None for all.
        axes: The class dimensions of the trace.

    Raises:
        ValueError: If a class number is too large, or a shape does not fit.
    """
    if axes is not None:
        value = axes.full(value, f"the value of site {name!r}")
    present: Tensor | None = None
    if isinstance(dist, (Concrete, OneHotCategorical)) and not value.is_floating_point():
        present = value >= 0
        value = _one_hot(name, value, dist)
    classes = len(axes.sizes) if axes else 0
    check_shape(name, dist, value, classes)
    entries = _entries(value, dist)
    if observed is not None:
        mask = _mask(name, "observed=", "the value's entries", observed, entries, axes)
        present = mask if present is None else present & mask
    if present is None:
        return value, True
    present = present.expand(entries)
    return _drawn_where(~present, value, dist), present


def _entries(value: Tensor, dist: Distribution) -> torch.Size:
    """Return the shape `(*classes, *samples, batch, *units)` of a value."""
    ends = value.ndim - len(dist.event_shape)
    return value.shape[:ends]


def _drawn_where(is_drawn: Tensor, value: Tensor, dist: Distribution) -> Tensor:
    """Return the value with a draw of the distribution at some of its entries."""
    entries = _entries(value, dist)
    full = broadcast(entries, dist.batch_shape)
    drawn = draw(dist.expand(full))
    ones = [1] * len(dist.event_shape)
    is_drawn = is_drawn.reshape(*is_drawn.shape, *ones)  # (*entries, *event)
    return torch.where(is_drawn, drawn, value)


def _one_hot(name: str, numbers: Tensor, dist: Concrete | OneHotCategorical) -> Tensor:
    """Return class numbers as one-hot values; a class that is missing is the first."""
    classes = dist.event_shape[-1]
    is_on_cpu = numbers.device.type == "cpu"  # elsewhere a look would wait for the device
    largest = 0
    if is_on_cpu and numbers.numel():
        largest = int(numbers.max())
    if largest >= classes:
        raise ValueError(
            f"site {name!r}: class number {largest} given, expected 0 to {classes - 1}, or below "
            "zero where the class is missing"
        )
    known = numbers.long().clamp_min(0)
    hot = one_hot(known, classes)
    logits: Tensor = dist.logits
    return hot.to(logits.dtype)


def in_part(name: str, node: Node, where: Tensor, axes: Axes | None) -> Node:
    """Return the node whose entries exist in part; the others hold a draw."""
    assert node.dist is not None
    value = node.value
    entries = _entries(value, node.dist)
    exists = existing(name, where, entries, axes)
    if node.role == "observed":
        value = _drawn_where(~exists, value, node.dist)
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
    own = tuple(mask.shape[classes:])
    full = tuple(entries[classes:])
    if own != full[: len(own)]:
        raise ValueError(
            f"site {name!r}: {flag} has shape {tuple(mask.shape)}, but {of} have shape "
            f"{tuple(entries)}: give one boolean an entry, or one for each of the first dimensions"
        )
    missing = len(full) - len(own)
    ones = [1] * missing
    return mask.bool().reshape(*mask.shape, *ones)
