"""The estimator of log q(z) as a problem to be timed, and the ways to solve it.

Each way takes values and posteriors, and returns log q of the joint, of groups of 2, 3 and 5 units,
and of single units.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from itertools import cycle

import torch
from torch import Tensor
from torch.distributions import Normal

from ..aggregate import balanced, pairs, unfused
from ..fused import native, pure
from ..fused import plan as plans
from ..trace.leaves import Block
from ..trace.node import Node
from ..trace.trace import Trace
from .bench_step import log_weights

N = 50_000
"""Items of the data set that the weights are for."""


@dataclass
class Problem:
    """Values and posteriors of B items with D units, whose marginals a loss needs.

    The loss takes the joint, groups of 2, 3 and 5 units, and single units.
    """

    z: Tensor  # (*samples, B, D)
    mean: Tensor  # (B, D)
    std: Tensor  # (B, D)

    @staticmethod
    def random(
        batch: int,
        units: int,
        samples: int = 0,
        scale: float = 0.5,
        dtype: torch.dtype | None = None,
    ) -> Problem:
        """Return a problem with posteriors of about this scale, and draws from them."""
        draw = torch.Generator().manual_seed(0)
        mean = torch.randn(batch, units, generator=draw, dtype=dtype)
        std = scale * (0.8 + 0.4 * torch.rand(batch, units, generator=draw, dtype=dtype))
        lead = (samples, batch) if samples else (batch,)
        z = mean + std * torch.randn(*lead, units, generator=draw, dtype=dtype)
        return Problem(z.requires_grad_(), mean.requires_grad_(), std.requires_grad_())

    @property
    def leaves(self) -> tuple[Tensor, Tensor, Tensor]:
        """The tensors that gradients are taken of."""
        return self.z, self.mean, self.std

    @cached_property
    def subsets(self) -> list[tuple[int, ...]]:
        """The units of the joint, then of each group, then each unit."""
        units = range(self.z.shape[-1])
        groups = []
        start = 0
        sizes = cycle((2, 3, 5))
        while start < len(units):
            group = tuple(units[start : start + next(sizes)])
            groups.append(group)
            start += len(group)
        return [tuple(units), *groups, *((unit,) for unit in units)]

    @cached_property
    def blocks(self) -> list[Block]:
        """The subsets as blocks of the site z."""
        return [(("z", of),) for of in self.subsets]

    @cached_property
    def coefficients(self) -> list[float]:
        """The coefficients of HFVAE's loss: the joint once, groups minus thrice, units twice."""
        return [1.0] + [2.0 if len(of) == 1 else -3.0 for of in self.subsets[1:]]

    def log_weights(self) -> tuple[float, float, float]:
        """Return the balanced estimator's log-weights: own, the next item's, any other's."""
        own, following, other = map(math.log, balanced(len(self.mean), N))
        return own, following, other


Estimator = Callable[[Problem], Tensor]
"""A function that returns log q of every subset, (subsets, *samples, B)."""


def naive(x: Problem) -> Tensor:
    """Do as one would with torch.distributions: all pairs at once."""
    posteriors = Normal(x.mean, x.std, validate_args=False)
    pair = posteriors.log_prob(x.z.unsqueeze(-2))  # (*samples, B, B, D)
    log_w = log_weights(len(x.mean), N, pair.dtype)
    groups = [of for of in x.subsets[1:] if len(of) > 1]
    singles = [of[0] for of in x.subsets if len(of) == 1]
    joint = (pair.sum(-1) + log_w).logsumexp(-1)
    parts = [(pair[..., list(of)].sum(-1) + log_w).logsumexp(-1) for of in groups]
    units = (pair + log_w[..., None]).logsumexp(-2).movedim(-1, 0)  # (D, *samples, B)
    return torch.cat([torch.stack([joint, *parts]), units[singles]])


def plain(x: Problem) -> Tensor:
    """Do as `unfused.log_mixture_unfused` for any distribution: all pairs at once, units first."""
    q, _, blocks = _traces(x)
    log_w = log_weights(len(x.mean), N, x.z.dtype)
    log_q = unfused.log_mixture_unfused(q, q, blocks, (), log_w, x.z.ndim - 2, sys.maxsize)
    return torch.stack(log_q)


def of_body(body: type[plans.Body]) -> Estimator:
    """Return `pairs.log_mixture_fused` with one back end, told ahead what is differentiated."""

    def estimate(x: Problem) -> Tensor:
        return pairs.log_mixture_fused(
            *_traces(x), x.log_weights(), x.z.ndim - 2, ahead=x.coefficients, body=body
        )

    return estimate


def _traces(x: Problem) -> tuple[Trace, Trace, list[Block]]:
    q = Trace()
    q._add("z", Node(x.z, "sampled", Normal(x.mean, x.std, validate_args=False)))
    return q, q, x.blocks


def estimators() -> dict[str, Estimator]:
    """Return what can be timed here, the slowest first."""
    found = {"naive": naive, "plain": plain, "pure": of_body(pure.Pure)}
    if native.library():
        found["native"] = of_body(native.Native)
    return found


def loss(x: Problem, estimate: Estimator) -> Tensor:
    """Return a sum of all log marginals, the mean over items, its gradients in the leaves."""
    for leaf in x.leaves:
        leaf.grad = None
    coefficients = torch.tensor(x.coefficients, dtype=x.z.dtype)
    total: Tensor = torch.tensordot(coefficients, estimate(x), 1).mean()
    total.backward()
    return total


def errors(scale: float, batch: int = 256, units: int = 50) -> dict[str, dict[str, float]]:
    """Return the errors of float32 against float64, by estimator.

    They are the largest in any log marginal, and in gradients as a share of their length.
    """
    found: dict[str, dict[str, float]] = {}
    single = Problem.random(batch, units, scale=scale)
    z, mean, std = (leaf.detach().double().requires_grad_() for leaf in single.leaves)
    double = Problem(z, mean, std)
    truth = of_body(pure.Pure)(double).detach()
    loss(double, of_body(pure.Pure))
    for name, estimate in estimators().items():
        values = estimate(single).detach()
        loss(single, estimate)
        gaps = []
        for leaf, exact in zip(single.leaves, double.leaves, strict=True):
            assert leaf.grad is not None
            assert exact.grad is not None
            gaps.append(float((leaf.grad - exact.grad).norm() / exact.grad.norm()))
        found[name] = {"value": float((values - truth).abs().max()), "gradient": max(gaps)}
    return found
