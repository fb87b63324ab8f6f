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
    """A distribution as a function of other sites: `of(*values of the sites given, *inputs)`.

    Attributes:
        of: The function.
        given: The names of the sites whose values it takes.
        inputs: Its other arguments, `(*samples, batch, …)` each.
    """

    of: Callable[..., Distribution]
    given: tuple[str, ...]
    inputs: tuple[Tensor, ...]


@dataclass(frozen=True)
class Node:
    """A named random variable: its value, where that came from, and its log-density.

    Attributes:
        value: `(*classes, *samples, batch, *units, *event)`.
        role: How the site came by its value.
        dist: The site's distribution; its batch shape broadcasts with the value's entries,
            `(*classes, *samples, batch, *units)`, from the right.
        observed: Which entries of `(*samples, batch, *units)` were given rather than drawn: True,
            False, or a boolean tensor (labels may be missing item by item).
        score: A log-factor in a distribution's place.
        axes: The trace's class dimensions, this site's own included, and its items; None if the
            trace had no class dimensions when the site entered.
        label: The classes that were given at an enumerated site, one-hot.
        exists: Which entries exist: True, or a boolean tensor. The others are marked observed, and
            their log-densities mean nothing.
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
        for name in _FIELDS:
            if name in parts:
                continue
            part = getattr(self, name)
            if isinstance(part, Tensor):
                parts[name] = change(part, 0)
            elif isinstance(part, Distribution):
                lacks = lacking(part, self.value)
                parts[name] = changed(part, change, lacks)
            elif isinstance(part, Law):
                inputs = [change(t, 0) for t in part.inputs]
                parts[name] = replace(part, inputs=tuple(inputs))
        return replace(self, **parts)

    def tensors(self) -> list[Tensor]:
        """Return the tensors of a site, but for those inside its distribution."""
        held = [getattr(self, name) for name in _FIELDS]
        if self.law is not None:
            held += self.law.inputs
        return [part for part in held if isinstance(part, Tensor)]

    def along(self, dim: int, change: Callable[[Tensor, int], Tensor]) -> Node:
        """Return the site with a change made to each tensor that runs along a leading dimension.

        Args:
            dim: A dimension of the value: of a class, a sample or the items.
            change: Called with a tensor and with its own number of that dimension. A tensor that is
                the same along it (its size is one, or it lacks the dimension) stays as it is.
        """
        size = self.value.shape[dim]

        def change_along(t: Tensor, lacks: int) -> Tensor:
            own = dim - lacks
            varies = 0 <= own < t.ndim and t.shape[own] == size
            return change(t, own) if varies else t

        return self.changed(change_along)

    @cached_property
    def log_prob(self) -> Tensor:
        """The log-density in nats, `(*samples, batch, *units)`; of a score, per item or finer.

        It is computed when first asked for. A label of a Concrete site is scored by its
        probability.

        Raises:
            ValueError: If the site has neither a distribution nor a score.
        """
        if self.score is not None:
            return self.score
        dist, value = self.dist, self.value
        if dist is None:
            raise ValueError(
                f"a site that is {self.role} without a distribution has no log-density"
            )
        if isinstance(dist, Concrete) and self.observed is not False:
            mass = dist.log_mass(value)
            if self.observed is True:
                return mass
            observed = torch.as_tensor(self.observed)
            density = dist.log_prob(value)
            return torch.where(observed, mass, density)
        log_prob: Tensor = dist.log_prob(value)
        return log_prob

    def log_weight(self, depth: int, *, given: bool = True) -> Tensor:
        """Return log q(y|x) of an enumerated site's classes, `(*classes, *samples, batch)`.

        The classes of y are in y's own dimension.

        Args:
            depth: How many class dimensions the (aligned) trace has.
            given: If labels count: then the weight is 0 at a label and −∞ at other classes.
        """
        assert self.dist is not None
        assert self.axes is not None
        own = depth - len(self.axes.sizes)
        rank = depth + len(self.axes.lead) + 1
        logits: Tensor = self.dist.logits  # type: ignore[attr-defined]
        logits = pad(logits, rank - logits.ndim)  # (*classes, *samples, batch, classes of y)
        log_w = logits.transpose(own, -1).squeeze(-1)  # (*classes, *samples, batch)
        if self.label is None or not given:
            return log_w
        log_label = self.label.log()
        log_label = log_label.transpose(own, -1).squeeze(-1)
        observed = torch.as_tensor(self.observed)
        return torch.where(observed, log_label, log_w)


_FIELDS = tuple([field.name for field in fields(Node)])
"""The names of a site's fields, in their order."""
