"""A change made to every tensor inside a distribution.

A parameter has the distribution's batch dimensions, or the last of them, in front of dimensions of
its own. How many are its own is known of each parameter (`arg_constraints`), never guessed from
sizes: a `scale_tril` (D, D) that N = D items share has no batch dimension.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution
from torch.distributions.transforms import Transform, _InverseTransform

from .shapes import broadcast

Change = Callable[[Tensor, int], Tensor]
"""(a tensor, how many of a site's leading dimensions it lacks) -> the changed tensor."""


def lacking(dist: Distribution, value: Tensor) -> int:
    """Return how many of a value's leading dimensions the distribution's parameters lack."""
    own = len(dist.batch_shape) + len(dist.event_shape)
    return value.ndim - own


def changed(dist: Distribution, change: Change, lacks: int = 0) -> Distribution:
    """Return the distribution with a change made to each of its parameters with batch dimensions.

    The parameters of nested distributions and of transforms are changed too, and the batch shape
    becomes that of the changed parameters.

    Args:
        dist: Any distribution; one of the user's own names its parameters in `arg_constraints`.
        change: See `Change`. It is to treat all parameters alike, so that they still broadcast.
        lacks: How many of the site's leading dimensions the batch shape lacks.

    >>> import torch
    >>> from torch.distributions import Weibull
    >>> shared = Weibull(torch.tensor([1.0, 2.0, 3.0]), torch.ones(()))
    >>> changed(shared, lambda t, lacks: t[:2]).batch_shape
    torch.Size([2])
    """
    rank = len(dist.batch_shape)
    batch_shapes: list[torch.Size] = []
    parts: dict[str, Any] = {}
    for name, part in vars(dist).items():
        if isinstance(part, Distribution):
            further = len(part.batch_shape) - rank  # dimensions of our event, or of its own
            inner = changed(part, change, lacks + max(0, -further))
            ends = len(inner.batch_shape) - further
            batch_shapes.append(inner.batch_shape[:ends])
            parts[name] = inner
        elif isinstance(part, Tensor):
            own = _own_dims(dist, name, part)
            batch = part.ndim - own
            if batch > 0:
                moved = change(part, lacks + rank - batch)
                ends = moved.ndim - own
                batch_shapes.append(moved.shape[:ends])
                parts[name] = moved
        elif isinstance(part, list) and any(isinstance(t, Transform) for t in part):
            parts[name] = _changed_transforms(part, change, lacks, dist)
    other = copy.copy(dist)
    vars(other).update(parts)
    if batch_shapes:
        other._batch_shape = broadcast(*batch_shapes)
    return other


def holds(holder: Distribution | Transform, kind: type[Tensor]) -> bool:
    """Return true if any tensor inside a distribution or a transform is of this kind."""
    for name, part in vars(holder).items():
        if isinstance(part, kind):
            return True
        if isinstance(part, (Distribution, Transform)):
            leads_back = name == "_inv" and not isinstance(holder, _InverseTransform)
            if not leads_back and holds(part, kind):
                return True
        elif isinstance(part, list):
            for inner in part:
                if isinstance(inner, Transform) and holds(inner, kind):
                    return True
    return False


def stays(dist: Distribution, value: Tensor, dims: Sequence[int]) -> bool:
    """Return true if every parameter is the same along these leading dimensions of a value."""
    are_alike = list[bool]()

    def look(t: Tensor, lacks: int) -> Tensor:
        own = [d - lacks for d in dims if d >= lacks]
        if all(are_alike):
            are_alike.append(torch.equal(t, _first(t, own).expand_as(t)))
        return t

    changed(dist, look, lacking(dist, value))
    return all(are_alike)


def varies(t: Tensor, dims: Sequence[int]) -> bool:
    """Return true if every entry of a tensor differs somewhere along these dimensions."""
    differs = t != _first(t, dims)
    return bool(differs.any(tuple(dims)).all())


def _first(t: Tensor, dims: Sequence[int]) -> Tensor:
    """Return the first along some dimensions, which keep the size of one."""
    for d in dims:
        t = t.narrow(d, 0, 1)
    return t


def _own_dims(dist: Distribution, name: str, t: Tensor) -> int:
    """Return how many of a tensor's dimensions are no batch dimensions."""
    if name == "_param":  # torch's name for whichever of the two was given
        name = "logits"
    elif name == "_capacitance_tril":
        name = "cov_factor"
    name = name.lstrip("_").removeprefix("unbroadcasted_")
    try:
        constraint = dist.arg_constraints[name]
        return int(constraint.event_dim)
    except (KeyError, NotImplementedError):  # unknown: a whole batch shape, then its own
        own = t.ndim - len(dist.batch_shape)
        return max(0, own)


def _changed_transforms(
    transforms: list[Transform], change: Change, lacks: int, dist: Distribution
) -> list[Transform]:
    """Return transforms with the parameters changed that broadcast with `(*batch, *event)`."""
    return [_changed_transform(each, change, lacks, dist) for each in transforms]


def _changed_transform(
    transform: Transform, change: Change, lacks: int, dist: Distribution
) -> Transform:
    """Return a transform with its parameters changed."""
    if isinstance(transform, _InverseTransform):
        forward = _changed_transform(transform.inv, change, lacks, dist)
        return forward.inv
    event = len(dist.event_shape)
    rank = len(dist.batch_shape) + event
    parts: dict[str, Any] = {}
    for name, part in vars(transform).items():
        if isinstance(part, Tensor) and part.ndim > event:
            parts[name] = change(part, lacks + rank - part.ndim)
        elif isinstance(part, Transform) and name != "_inv":
            parts[name] = _changed_transform(part, change, lacks, dist)
        elif isinstance(part, list) and any(isinstance(t, Transform) for t in part):
            parts[name] = _changed_transforms(part, change, lacks, dist)
    other = copy.copy(transform)
    vars(other).update(parts)
    other._cached_x_y = None, None
    return other
