"""log p(x), estimated by importance sampling over several samples an item."""

from __future__ import annotations

import math

import torch
from torch import Tensor

from .pair import Pair


def log_evidence(pair: Pair, log_joint: Tensor, log_posterior: Tensor) -> Tensor:
    """Return log 1/S Σ_s p(x, z_s)/q(z_s|x), classes by their weights, at every sample.

    Classes that q gives no weight are left out, as q never draws them.

    Args:
        pair: The traces.
        log_joint: log p(x, z_s), (*classes, *samples, batch).
        log_posterior: log q(z_s|x) of the same shape.

    Raises:
        ValueError: If the traces have no samples.
    """
    if pair.batch_dim == pair.depth:
        raise ValueError(
            "log p(x) is estimated from several samples an item, in dimensions before the "
            "batch: this trace has none; expand x to (samples, batch, …) and say batch_dim=1"
        )
    log_w = log_joint - log_posterior + pair.log_class
    log_w = torch.where(pair.log_class > -math.inf, log_w, -math.inf)
    samples = log_w.shape[pair.depth : pair.batch_dim]
    total = log_w.logsumexp(tuple(range(pair.batch_dim)), keepdim=True)
    mean = total - math.log(math.prod(samples))  # (1, …, 1, batch)
    return mean.expand(*mean.shape[: pair.depth], *samples, -1)
