"""Distributions of angles: a Normal that is wrapped around the circle, and the uniform one."""

from __future__ import annotations

import math
from typing import Any, ClassVar

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints

WRAPS = 2
"""Turns either way at which the wrapped Normal's sum ends: enough for scales up to π."""


def wrapped(angle: Tensor) -> Tensor:
    """Return the same angle in [−π, π), in radians.

    >>> wrapped(torch.tensor([0.5, 4.0]))
    tensor([ 0.5000, -2.2832])
    """
    return torch.remainder(angle + math.pi, 2 * math.pi) - math.pi


class WrappedNormal(Distribution):
    r"""A Normal wrapped around the circle (Mardia and Jupp, "Directional Statistics", 2000).

    .. math:: \log p(θ) = \log \sum_k N(θ + 2πk; μ, σ^2)

    in nats a radian; θ and θ + 2π are the same angle. Draws lie in [−π, π) and carry gradients to μ
    and σ. The sum ends at |k| = 2 about the nearest turn: for σ up to π the density is then right
    to 1e-5.

    Args:
        loc: The mean direction μ in radians, any real number.
        scale: The standard deviation σ of the Normal before it is wrapped.

    >>> turn = WrappedNormal(torch.tensor(3.0), torch.tensor(0.5))
    >>> bool(torch.isclose(turn.log_prob(torch.tensor(3.2)),
    ...                    turn.log_prob(torch.tensor(3.2 - 2 * math.pi))))
    True
    """

    arg_constraints: ClassVar = {"loc": constraints.real, "scale": constraints.positive}
    support = constraints.real
    has_rsample = True

    def __init__(self, loc: Tensor, scale: Tensor) -> None:
        self.loc, self.scale = torch.broadcast_tensors(loc, scale)
        super().__init__(self.loc.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> WrappedNormal:
        return WrappedNormal(self.loc.expand(batch_shape), self.scale.expand(batch_shape))

    @property
    def mean(self) -> Tensor:
        """The mean direction, in [−π, π)."""
        return wrapped(self.loc)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        loc = self.loc.expand(self._extended_shape(torch.Size(sample_shape)))
        return wrapped(loc + self.scale * torch.randn_like(loc))

    def log_prob(self, value: Tensor) -> Tensor:
        nearest = wrapped(value - self.loc)
        total = self._log_normal(nearest)
        for k in range(1, WRAPS + 1):
            for turns in (-k, k):
                total = torch.logaddexp(total, self._log_normal(nearest + 2 * math.pi * turns))
        return total

    def _log_normal(self, distance: Tensor) -> Tensor:
        t = distance / self.scale
        density: Tensor = -0.5 * t * t - self.scale.log() - 0.5 * math.log(2 * math.pi)
        return density


class UniformCircle(Distribution):
    """The uniform distribution of an angle, of density 1 / 2π a radian wherever it is asked.

    Args:
        like: A tensor whose shape, dtype and device the angles have.
    """

    arg_constraints: ClassVar = {"like": constraints.real}
    support = constraints.real

    def __init__(self, like: Tensor) -> None:
        self.like = like
        super().__init__(like.shape, validate_args=False)

    def expand(self, batch_shape: Any, _instance: Any = None) -> UniformCircle:
        return UniformCircle(self.like.expand(batch_shape))

    @property
    def mean(self) -> Tensor:
        """Zeros: no direction is the mean."""
        return torch.zeros_like(self.like)

    def sample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(torch.Size(sample_shape))
        draw = torch.rand(shape, dtype=self.like.dtype, device=self.like.device)
        return (2 * draw - 1) * math.pi

    def log_prob(self, value: Tensor) -> Tensor:
        shape = torch.broadcast_shapes(value.shape, self.like.shape)
        return value.new_full(shape, -math.log(2 * math.pi))
