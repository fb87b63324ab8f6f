"""Hypotheses that are tried: a posterior that sums over them, and how likelihoods weigh them."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.distributions import Categorical, Distribution, MixtureSameFamily

RULED_OUT = -1e4
"""The log weight, in nats, of what is no hypothesis; −∞ times 0 would be NaN."""


class Hypotheses(MixtureSameFamily):
    r"""A mixture over hypotheses that are tried, each with a distribution of its own.

    .. math:: \log q(z) = \log \sum_r w_r \, q_r(z)

    It is exact, whatever the overlap. A draw picks a hypothesis and draws from it, with gradients
    to the parameters of that hypothesis, and none to the weights: they are to come from a
    likelihood, such as the decoder's own, and not from a network. The `mean` is that of the most
    probable hypothesis, as the mean over several may be like none of them.

    Args:
        log_weights: log w up to a constant, (*batch, hypotheses).
        each: The distributions of numbers, (*batch, hypotheses).

    >>> from torch.distributions import Normal
    >>> log_weights = torch.tensor([0.7, 0.3]).log()
    >>> Hypotheses(log_weights, Normal(torch.tensor([-1.0, 1.0]), 0.1)).mean
    tensor(-1.)
    """

    has_rsample = True

    def __init__(self, log_weights: Tensor, each: Distribution) -> None:
        weights = Categorical(logits=log_weights, validate_args=False)
        super().__init__(weights, each, validate_args=False)

    @property
    def mean(self) -> Tensor:
        best = self.mixture_distribution.logits.argmax(-1, keepdim=True)
        means: Tensor = self.component_distribution.mean
        return means.gather(-1, best).squeeze(-1)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        sample_shape = torch.Size(sample_shape)
        chosen = self.mixture_distribution.sample(sample_shape).unsqueeze(-1)
        draws: Tensor = self.component_distribution.rsample(sample_shape)
        return draws.gather(-1, chosen).squeeze(-1)


class Peaks(NamedTuple):
    """Hypotheses about an angle, each (…, hypotheses): log weights in nats, places and widths."""

    log_weights: Tensor
    loc: Tensor
    scale: Tensor


def peaks(scores: Tensor, hypotheses: int) -> Peaks:
    r"""Turn log-likelihoods on a grid of angles into hypotheses, one for each part of the circle.

    The best angle of a part, if it is a local maximum, becomes a hypothesis by Laplace's
    approximation: a parabola through it and its two neighbours has its top at the place μ, with the
    value l and the curvature −1/σ², and

    .. math:: \int e^{l(θ)} dθ \approx e^{l} σ \sqrt{2π}

    is the hypothesis's weight. Scales lie between a fifth of a step of the grid and two steps.

    Args:
        scores: (…, angles), at angles −π + k · 2π / angles.
        hypotheses: Number of parts, which divides that of angles.

    >>> angles = torch.arange(24) * (2 * math.pi / 24) - math.pi
    >>> found = peaks(50 * torch.cos(angles - 0.3), 8)
    >>> best = found.log_weights.argmax()
    >>> round(float(found.loc[best]), 2), round(float(found.scale[best]), 2)
    (0.3, 0.14)
    """
    angles = scores.shape[-1]
    step = 2 * math.pi / angles
    before, after = scores.roll(1, -1), scores.roll(-1, -1)
    is_peak = (scores >= before) & (scores >= after)
    bend = (2 * scores - before - after).clamp_min(1e-6)
    slope = (after - before) / 2
    shift = (slope / bend).clamp(-0.5, 0.5)  # in steps
    grid = torch.arange(angles, dtype=scores.dtype, device=scores.device)
    loc = (grid + shift) * step - math.pi
    scale = (step / bend.sqrt()).clamp(step / 5, 2 * step)
    mass = scores + slope * shift / 2 + scale.log() + 0.5 * math.log(2 * math.pi)
    log_weights = torch.where(is_peak, mass, mass + RULED_OUT)
    best, at = log_weights.unflatten(-1, (hypotheses, -1)).max(-1, keepdim=True)

    def chosen(t: Tensor) -> Tensor:
        kept: Tensor = t.unflatten(-1, (hypotheses, -1)).gather(-1, at).squeeze(-1)
        return kept

    return Peaks(best.squeeze(-1), chosen(loc), chosen(scale))


class Cooling(nn.Module):
    r"""A temperature that divides log-likelihoods, and falls to 1 as training goes on.

    .. math:: q(r|x) \propto p(x|r)^{1/T}, \quad T = T_0^{1 - t / \text{steps}}

    Warm hypotheses share an item, and templates that differ little do not yet take sides
    (deterministic annealing: Rose, 1998). At T = 1 the weights are the posterior's. A call in
    training is a step; the number of steps is saved with the model.

    Args:
        first: T₀ ≥ 1, the temperature of the first step.
        steps: Number of steps after which T is 1.

    Raises:
        ValueError: If the first temperature is below 1 or there is no step.

    >>> cooling = Cooling(100.0, 2)
    >>> [float(cooling(torch.tensor(6.0))) for _ in range(3)]
    [0.05999999865889549, 0.6000000238418579, 6.0]
    """

    step: Tensor

    def __init__(self, first: float, steps: int) -> None:
        super().__init__()
        if first < 1 or steps < 1:
            raise ValueError(
                f"cooling from temperature {first} over {steps} steps: expected a temperature of 1 "
                "or more and one step or more; 1 is no cooling"
            )
        self.first, self.steps = first, steps
        self.register_buffer("step", torch.zeros((), dtype=torch.long))

    @property
    def temperature(self) -> float:
        """The temperature of the next step."""
        left = max(0.0, 1 - int(self.step) / self.steps)
        return float(self.first**left)

    def forward(self, log_likelihoods: Tensor) -> Tensor:
        cooled = log_likelihoods / self.temperature
        if self.training:
            self.step += 1
        return cooled
