"""Enumerated sites: a categorical site that holds all of its classes, one-hot, at once.

Its value has a new dimension in front, `(classes, *samples, batch, classes)`, and objectives sum
over it with weights q(y|x), exactly. The value and all that a program computes from it know their
class dimensions (`Enumerated`), so any number of items goes with any number of classes; the sites
after it carry that dimension where they depend on it.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Categorical, Distribution, OneHotCategorical

from .axes import Axes, pad
from .node import Node
from .values import existing

MOST_CLASSES = 4096
"""The largest number of combinations of classes to sum over."""


def one_hot(logits: Tensor) -> OneHotCategorical:
    """Return a categorical of log weights that were checked before; its values are one-hot.

    torch's own checks them whatever `validate_args` says, and fails where there are no items.
    """
    plain = Categorical(logits=logits, validate_args=False)
    dist = OneHotCategorical.__new__(OneHotCategorical)
    dist._categorical = plain
    classes = plain.param_shape[-1:]
    Distribution.__init__(dist, plain.batch_shape, classes, validate_args=False)
    return dist


def extended(axes: Axes | None, name: str, dist: OneHotCategorical, known: int) -> Axes:
    """Return the class dimensions of a trace with those of one more site in front.

    Args:
        axes: The class dimensions that there are.
        name: The site's name.
        dist: The site's distribution.
        known: How many class dimensions its logits know of.

    Raises:
        ValueError: If there would be more than `MOST_CLASSES` combinations of classes.
    """
    axes = axes or Axes((), tuple(dist.batch_shape))
    axes.count(dist.batch_shape, known, f"the logits of site {name!r}")
    sizes = (dist.event_shape[-1], *axes.sizes)
    if math.prod(sizes) > MOST_CLASSES:
        numbers = " x ".join(map(str, reversed(sizes)))
        raise ValueError(
            f"site {name!r} makes {numbers} combinations of classes to sum over, expected at "
            f"most {MOST_CLASSES}: relax it with q.concrete(logits, temperature, …), give its "
            "value, or draw it, without a gradient, by "
            "q.sample(OneHotCategorical(logits=…), …)"
        )
    return Axes(sizes, axes.lead)


def enumerated(
    axes: Axes,
    name: str,
    dist: OneHotCategorical,
    label: Tensor | None,
    observed: Tensor | bool,
    where: Tensor | None,
) -> Node:
    """Return a site that holds every class, in the first class dimension.

    Args:
        axes: The class dimensions of the trace, the site's own included.
        name: The site's name.
        dist: The site's distribution.
        label: The classes that were given, one-hot.
        observed: Which of them were given.
        where: Which entries exist; the others are given the first class.
    """
    logits: Tensor = dist.logits
    classes = axes.sizes[0]
    earlier = [1] * (len(axes.sizes) - 1)
    items = [1] * len(axes.lead)
    eye = torch.eye(classes, dtype=logits.dtype, device=logits.device)
    value = eye.reshape(classes, *earlier, *items, classes)
    value = value.expand(classes, *earlier, *axes.lead, classes)
    if label is not None:
        label = pad(label, 1)
    if isinstance(observed, Tensor):
        observed = pad(observed, 1)
    if where is None:
        return Node(value, "enumerated", dist, observed, label=label)
    exists = existing(name, where, value.shape[:-1], axes)
    is_there = exists.unsqueeze(-1)
    first = eye[0]
    label = torch.where(is_there, first if label is None else label, first)
    given = observed | ~exists
    return Node(value, "enumerated", dist, given, label=label, exists=exists)
