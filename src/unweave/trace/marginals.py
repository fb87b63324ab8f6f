"""Latent units of a distribution, and the log-density of any subset of them.

A unit is what a distribution keeps together: one scalar of a factorised distribution, one
coordinate of a multivariate normal (whose marginals are those of its covariance, not factors of the
joint), a whole Concrete, categorical or Dirichlet variable.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import TypeGuard

import torch
from torch import Tensor
from torch.distributions import (
    Distribution,
    Independent,
    LowRankMultivariateNormal,
    MixtureSameFamily,
    MultivariateNormal,
    Normal,
)

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


def unwrap(dist: Distribution) -> Distribution:
    """Return the distribution inside `Independent`, whose entries are units of their own."""
    while isinstance(dist, Independent):
        dist = dist.base_dist
    return dist


def is_factorised(dist: Distribution) -> bool:
    """True if the joint log-density is the sum of the units' own, for every subset of units."""
    return not _has_vector_marginals(unwrap(dist))


def unit_shape(dist: Distribution, value: Tensor, lead: int) -> tuple[int, ...]:
    """Return the shape of a site's units, which follow the `lead` sample and batch dimensions.

    The coordinates of a multivariate normal, or of a mixture of vectors, are units; the event of
    any other distribution is one unit.
    """
    dist = unwrap(dist)
    event = 0 if _has_vector_marginals(dist) else len(dist.event_shape)
    ends = value.ndim - event
    return tuple(value.shape[lead:ends])


def log_marginals(
    dist: Distribution,
    value: Tensor,
    lead: int,
    subsets: Sequence[Sequence[int]],
    keep: Tensor | None = None,
    units: tuple[int, ...] | None = None,
) -> list[Tensor]:
    """Return the log-density, in nats, of the marginal on each subset of units.

    Args:
        dist: A distribution that broadcasts against the value.
        value: `(*leading, *units, *event)`.
        lead: How many dimensions are leading: samples and the batch.
        subsets: Numbers of units.
        keep: Which entries count, over the leading dimensions and, if units differ, over units; the
            others contribute 0. None for all.
        units: The shape in which subsets count units, where it is not that of `dist` (a mixture or
            a flow as the prior of a Normal): only the whole of such a site has a density.

    Returns:
        For each subset a tensor of the leading dimensions' shape.

    Raises:
        ValueError: If a density is asked of part of what the distribution keeps together.
    """
    dist = unwrap(dist)
    own = unit_shape(dist, value, lead)
    are_other = units is not None and units != own
    if keep is not None and math.prod(keep.shape[lead:]) == 1:
        keep = keep.reshape(keep.shape[:lead])  # of whole items
    if are_other or keep is not None:
        sizes = [len(subset) for subset in subsets]
        is_torn = are_other and min(sizes, default=0) < math.prod(units or ())
        is_kept_in_part = keep is not None and keep.ndim > lead
        if is_torn or (is_kept_in_part and (are_other or not is_factorised(dist))):
            raise ValueError(
                f"a {type(dist).__name__} keeps its site's units together: it has no density of "
                "some of them item by item, so slices, terms of single units, and units observed "
                "one by one need another distribution"
            )
    if are_other:
        whole = range(math.prod(own))
        return log_marginals(dist, value, lead, [whole] * len(subsets), keep)
    if keep is not None:  # (*leading, *units)
        missing = lead + len(own) - keep.ndim
        keep = keep.reshape(*keep.shape, *[1] * missing)
    if _is_multivariate_normal(dist):
        return [_normal_marginal(dist, value, lead, subset, keep) for subset in subsets]
    if _is_mixture(dist):
        return [_mixture_marginal(dist, value, lead, subset, keep) for subset in subsets]
    if not own and keep is None and all(map(len, subsets)):  # the one unit is the whole
        return [dist.log_prob(value)] * len(subsets)
    each = _log_prob_units_first(dist, value, lead, own)  # (units, *leading)
    if keep is not None:
        is_kept = _units_first(keep, lead, own)
        each = torch.where(is_kept, each, 0.0)
    return [_sum(each, subset) for subset in subsets]


def _sum(each: Tensor, subset: Sequence[int]) -> Tensor:
    """Return the sum over a subset, (units, *leading) -> (*leading)."""
    if len(subset) == 1:
        only = subset[0]
        return each[only]
    if len(subset) < each.shape[0]:
        each = each[list(subset)]
    return each.sum(0)


def _log_prob_units_first(
    dist: Distribution, value: Tensor, lead: int, units: tuple[int, ...]
) -> Tensor:
    """Return log-densities (units, *leading): sums over items then run along contiguous memory."""
    if type(dist) is Normal:
        loc = _units_first(dist.loc, lead, units)
        scale = _units_first(dist.scale, lead, units)
        values = _units_first(value, lead, units)
        t = (values - loc) / scale
        constant = -scale.log() - _HALF_LOG_2PI
        return torch.addcmul(constant, t, t, value=-0.5)
    each = dist.log_prob(value)  # (*leading, *units)
    return _units_first(each, lead, units)


def _units_first(t: Tensor, lead: int, units: tuple[int, ...]) -> Tensor:
    """Return (units, *leading) of a tensor that lacks some dimensions; these have size one."""
    missing = lead + len(units) - t.ndim
    ones = [1] * missing
    t = t.reshape(*ones, *t.shape)
    leading = t.shape[:lead]
    full = t.expand(*leading, *units)
    flat = full.reshape(*leading, math.prod(units))
    return flat.movedim(-1, 0)


def _has_vector_marginals(dist: Distribution) -> bool:
    """Return true if coordinates of the event are units, whose joint is no product of their own."""
    if isinstance(dist, MixtureSameFamily):
        return _is_mixture(dist)
    return isinstance(dist, (MultivariateNormal, LowRankMultivariateNormal))


def _is_multivariate_normal(
    dist: Distribution,
) -> TypeGuard[MultivariateNormal | LowRankMultivariateNormal]:
    """Return true if the event is a vector with a covariance."""
    return isinstance(dist, (MultivariateNormal, LowRankMultivariateNormal))


def _is_mixture(dist: Distribution) -> TypeGuard[MixtureSameFamily]:
    """True if components are vectors: Independent or multivariate normals, which have marginals."""
    return isinstance(dist, MixtureSameFamily) and len(dist.event_shape) == 1


def _mixture_marginal(
    dist: MixtureSameFamily, value: Tensor, lead: int, subset: Sequence[int], keep: Tensor | None
) -> Tensor:
    """Return log Σ_k π_k p_k(z_subset); components stand after the leading dimensions."""
    parts: Distribution = dist.component_distribution
    logits: Tensor = dist.mixture_distribution.logits
    log_w = logits.log_softmax(-1)
    values = value.unsqueeze(-2)  # (*leading, 1, units)
    some = None if keep is None else keep.unsqueeze(lead)
    (log_p,) = log_marginals(parts, values, lead + 1, [subset], some)  # (*leading, components)
    joint = log_p + log_w
    return joint.logsumexp(-1)


def _normal_marginal(
    dist: MultivariateNormal | LowRankMultivariateNormal,
    value: Tensor,
    lead: int,
    subset: Sequence[int],
    keep: Tensor | None,
) -> Tensor:
    """Return the log-density of some coordinates, by their part of the covariance."""
    (size,) = dist.event_shape
    shape = tuple(value.shape[lead:])
    if len(shape) != 1:
        raise ValueError(
            f"a multivariate normal with units of shape {shape}: expected one row of {size} "
            "coordinates an item; give each row a site of its own"
        )
    if len(subset) < size:
        index = torch.as_tensor(list(subset), device=value.device)
        loc = dist.loc[..., index]
        rows = index[:, None]
        covariance = dist.covariance_matrix[..., rows, index]
        dist = MultivariateNormal(loc, covariance, validate_args=False)
        value = value[..., index]
    density: Tensor = dist.log_prob(value)
    if keep is None:
        return density
    is_kept = keep[..., 0]
    return torch.where(is_kept, density, 0.0)
