"""KL(q(z|x) ‖ p(z)) per item, analytic site by site where there is a closed form."""

from __future__ import annotations

import math

import torch
from torch import Tensor
from torch.distributions import Distribution, OneHotCategorical, kl_divergence

from ..trace.leaves import Part
from ..trace.marginals import is_factorised, unwrap
from ..trace.node import Node
from ..trace.parameters import changed
from ..trace.shapes import broadcast
from .pair import Pair, units_of
from .prior import Prior


def kl_of(pair: Pair, prior: Prior, part: Part) -> Tensor:
    """Return the KL divergence of some units of a site per item, sampled where none is known."""
    name, units = part
    q = pair.q_nodes[name]
    p = pair.p_nodes[name]
    assert q.dist is not None
    assert p.dist is not None
    is_whole = len(units) == math.prod(pair.shapes[name])
    is_sum_of_units = is_whole or (is_factorised(q.dist) and is_factorised(p.dist))
    each = None
    if is_sum_of_units and prior.dependence.is_held(name):
        each = _kl_of_units(name, q, unwrap(q.dist), unwrap(p.dist), pair.lead)
    if each is None:
        log_q = pair.log_density(pair.q_nodes, (part,))
        return log_q - pair.log_density(pair.p_nodes, (part,))
    if not is_whole:
        each = each[..., list(units)]
    return each.sum(-1)


def _kl_of_units(
    name: str, node: Node, q: Distribution, p: Distribution, lead: int
) -> Tensor | None:
    """Return a site's divergence, (*classes, *samples, batch, units), None where none is known."""
    if isinstance(q, OneHotCategorical) and _may_lack_classes(q.logits):
        q, p = changed(q, _finite), changed(p, _finite)
    try:
        kl = kl_divergence(q, p)
    except NotImplementedError:
        return None
    entries = node.value.shape[: node.value.ndim - len(q.event_shape)]
    if kl.shape != entries:
        kl = kl.expand(broadcast(kl.shape, entries))
    # (*classes, *samples, batch, *units)
    if isinstance(node.observed, Tensor):
        kl = torch.where(units_of(name, node.observed, kl), 0.0, kl)
    if kl.ndim <= lead:
        return kl.unsqueeze(-1)
    return kl.flatten(lead)


def _may_lack_classes(logits: Tensor) -> bool:
    """Return true if a class may have no weight; elsewhere than on the CPU a look would wait."""
    on_cpu = logits.device.type == "cpu"
    return not on_cpu or bool((logits == -math.inf).any())


def _finite(t: Tensor, _: int) -> Tensor:
    """Return finite logits: 0 · −∞, of a class without weight, would be a gradient of NaN."""
    lowest = torch.finfo(t.dtype).min
    return t.clamp_min(lowest)
