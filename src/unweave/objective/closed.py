"""KL(q(z|x) ‖ p(z)) per item, analytic site by site where there is a closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import kl_divergence

from ..trace.groups import Part
from ..trace.marginals import is_factorised, unwrap
from .pair import Pair, units_of
from .prior import Prior


def kl_of(pair: Pair, prior: Prior, part: Part) -> Tensor:
    """Return the KL divergence of some units of a site per item, sampled where none is known."""
    name, units = part
    each = None
    if _has_units(pair, part) and prior.is_held(name):
        each = _kl_of_units(pair, name)
    if each is None:
        log_q = pair.log_density(pair.q_nodes, (part,))
        return log_q - pair.log_density(pair.p_nodes, (part,))
    is_whole = len(units) == math.prod(pair.shapes[name])
    return (each if is_whole else each[..., list(units)]).sum(-1)


def _has_units(pair: Pair, part: Part) -> bool:
    """Whether the divergence of the whole site is the sum of its units', or all are asked for."""
    name, units = part
    q, p = pair.q_nodes[name].dist, pair.p_nodes[name].dist
    assert q is not None
    assert p is not None
    is_whole = len(units) == math.prod(pair.shapes[name])
    return is_whole or (is_factorised(q) and is_factorised(p))


def _kl_of_units(pair: Pair, name: str) -> Tensor | None:
    """Return a site's divergence, (*classes, *samples, batch, units), None where none is known."""
    q, p = pair.q_nodes[name], pair.p_nodes[name]
    assert q.dist is not None
    assert p.dist is not None
    dist = unwrap(q.dist)
    try:
        kl = kl_divergence(dist, unwrap(p.dist))
    except NotImplementedError:
        return None
    entries = q.value.shape[: q.value.ndim - len(dist.event_shape)]
    kl = kl.expand(torch.broadcast_shapes(kl.shape, entries))  # (*classes, *samples, batch, *units)
    if isinstance(q.observed, Tensor):
        kl = torch.where(units_of(name, q.observed, kl), 0.0, kl)
    return kl.flatten(pair.lead) if kl.ndim > pair.lead else kl.unsqueeze(-1)
