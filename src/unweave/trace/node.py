"""One site of a trace, and a change made to all of its tensors."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from functools import cached_property
from typing import Any, Literal

import torch
from torch import Tensor
from torch.distributions import Distribution

from .axes import Axes, pad
from .concrete import Concrete
from .parameters import Change, changed, lacking

Role = Literal["sampled", "enumerated", "observed", "reused", "scored", "free"]


@dataclass(frozen=True)
class Law:
    """A distribution as a function: `of(*values of the sites given, *inputs)`.

    Each of the inputs is `(*samples, batch, …)`.
    """

    of: Callable[..., Distribution]
    given: tuple[str, ...]
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Node:
    """One site: its value, the value's origin, and its log-density, computed when first asked for.

    Attributes:
        value: `(*classes, *samples, batch, *units, *event)`.
        role: How the site came by its value.
        dist: The site's distribution; its batch shape broadcasts with the value from the right.
        observed: Which entries of `(*samples, batch, *units)` were given rather than drawn: True,
            False, or a boolean tensor (labels may be missing item by item).
        score: A log-factor in a distribution's place.
        axes: The trace's class dimensions, this site's own included, and its items; None if it had
            none when the site entered.
        label: At an enumerated site, the classes that were given, one-hot.
        exists: Which entries there are at all: True, or a boolean tensor. Those that are not are
            marked observed, and their log-densities mean nothing.
        law: The distribution as a function of other sites (`Trace.conditional`).
        classes: How many class dimensions the value and the masks have in front.
    """

    value: Tensor
    role: Role
    dist: Distribution | None = None
    observed: Tensor | bool = False
    score: Tensor | None = None
    axes: Axes | None = None
    label: Tensor | None = None
    exists: Tensor | bool = True
    law: Law | None = None
    classes: int = 0

    def changed(self, change: Change, **parts: Any) -> Node:
        """Return the site with a change made to each of its tensors.

        Args:
            change: Called with every tensor, those of the distribution and of the law included, and
                with the number of the value's leading dimensions that the tensor lacks.
            parts: Fields that are replaced instead.
        """
        for each in fields(self):
            part = getattr(self, each.name)
            if each.name in parts or part is None:
                continue
            if isinstance(part, Tensor):
                parts[each.name] = change(part, 0)
            elif isinstance(part, Distribution):
                parts[each.name] = changed(part, change, lacking(part, self.value))
            elif isinstance(part, Law):
                inputs = tuple(change(t, 0) for t in part.inputs)
                parts[each.name] = replace(part, inputs=inputs)
        return replace(self, **parts)

    def along(self, dim: int, change: Callable[[Tensor, int], Tensor]) -> Node:
        """Return the site with a change made to each tensor that runs along a leading dimension.

        Args:
            dim: A dimension of the value: of a class, a sample or the items.
            change: Called with a tensor and with its own number of that dimension. A tensor that is
                the same along it (its size is one, or it lacks the dimension) stays as it is.
        """
        size = self.value.shape[dim]

        def at(t: Tensor, lacks: int) -> Tensor:
            own = dim - lacks
            return change(t, own) if 0 <= own < t.ndim and t.shape[own] == size else t

        return self.changed(at)

    @cached_property
    def log_prob(self) -> Tensor:
        """The log-density in nats, `(*samples, batch, *units)`; of a score, per item or finer.

        A label of a Concrete site is scored by its probability.
        """
        if self.score is not None:
            return self.score
        if self.dist is None:
            raise ValueError(
                f"a site that is {self.role} without a distribution has no log-density"
            )
        if isinstance(self.dist, Concrete) and self.observed is not False:
            mass = self.dist.log_mass(self.value)
            if self.observed is True:
                return mass
            return torch.where(torch.as_tensor(self.observed), mass, self.dist.log_prob(self.value))
        log_prob: Tensor = self.dist.log_prob(self.value)
        return log_prob

    def log_weight(self, depth: int, *, given: bool = True) -> Tensor:
        """Return log q(y|x) of an enumerated site's classes, in their own dimension.

        Args:
            depth: How many class dimensions the (aligned) trace has.
            given: If labels count: then the weight is 0 at a label and −∞ at other classes.
        """
        assert self.dist is not None
        assert self.axes is not None
        own = depth - len(self.axes.sizes)
        logits: Tensor = self.dist.logits  # type: ignore[attr-defined]
        missing = depth + len(self.axes.lead) + 1 - logits.ndim
        log_w = pad(logits, missing).transpose(own, -1).squeeze(-1)  # (*classes, *samples, batch)
        if self.label is None or not given:
            return log_w
        label = self.label.log().transpose(own, -1).squeeze(-1)
        return torch.where(torch.as_tensor(self.observed), label, log_w)
