"""The Concrete distribution, a relaxation of a categorical variable."""

from __future__ import annotations

import math
from typing import Any

import torch
from torch import Tensor
from torch.distributions import Distribution, constraints


class Concrete(Distribution):
    r"""The Concrete relaxation of a categorical variable on K classes.

    .. math:: \log p(y) = \log (K-1)! + (K-1) \log τ + \sum_k (a_k - (τ+1) \log y_k)
                          - K \log \sum_k \exp(a_k - τ \log y_k)

    with logits `a` (*batch, K), unnormalised, and temperature τ > 0, a number, (*batch) or
    (*batch, 1); values lie on the simplex. A
    *label* is a draw of the discrete variable that is being relaxed, so labels are scored by
    `log_mass`, its log-probability: the density is infinite at the simplex' corners. Entries that
    float arithmetic rounds to zero are read as the smallest normal number.

    Source: Maddison, Mnih and Teh, "The Concrete Distribution" (2017); Jang, Gu and Poole (2017).
    """

    arg_constraints: dict[str, Any] = {  # noqa: RUF012
        "logits": constraints.real_vector,
        "temperature": constraints.positive,
    }
    support = constraints.simplex
    has_rsample = True

    def __init__(self, logits: Tensor, temperature: float | Tensor) -> None:
        self.logits = logits
        batch, event = logits.shape[:-1], logits.shape[-1:]
        if isinstance(temperature, Tensor):
            if temperature.ndim >= logits.ndim and temperature.shape[-1] == 1:
                temperature = temperature.squeeze(-1)
            batch = self._joint(batch, temperature.shape)
        self.temperature = temperature
        super().__init__(batch, event, validate_args=False)

    @staticmethod
    def _joint(batch: torch.Size, of_temperature: torch.Size) -> torch.Size:
        """Return the batch shape of logits and temperatures."""
        try:
            joint: torch.Size = torch.broadcast_shapes(batch, of_temperature)
        except RuntimeError:
            raise ValueError(
                f"a Concrete variable has logits of shape {(*batch, 'classes')} and temperatures "
                f"of shape {tuple(of_temperature)}: give one number, or one for each of "
                f"{tuple(batch)}"
            ) from None
        return joint

    @property
    def mean(self) -> Tensor:
        """Class probabilities of the relaxed variable (the mean of its argmax, written one-hot)."""
        return self.logits.softmax(-1)

    def expand(self, batch_shape: Any, _instance: Any = None) -> Concrete:
        logits = self.logits.expand(*batch_shape, -1)
        temperature = self.temperature
        if isinstance(temperature, Tensor):
            temperature = temperature.expand(batch_shape)
        return Concrete(logits, temperature)

    def rsample(self, sample_shape: Any = ()) -> Tensor:
        shape = self._extended_shape(sample_shape)
        noise = self.logits.new_empty(shape)
        noise.exponential_()
        least = torch.finfo(noise.dtype).tiny
        gumbel = -noise.clamp_min(least).log()
        t = self.temperature
        if isinstance(t, Tensor):
            t = t.unsqueeze(-1)  # (*batch, 1)
        scaled = (self.logits + gumbel) / t
        return scaled.softmax(-1)

    def log_prob(self, value: Tensor) -> Tensor:
        classes = self.logits.shape[-1]
        t = self.temperature
        log_t = t.log() if isinstance(t, Tensor) else math.log(t)
        least = torch.finfo(value.dtype).tiny
        log_y = value.clamp_min(least).log()
        sum_log_y = log_y.sum(-1)
        linear = self.logits.sum(-1) - (t + 1) * sum_log_y
        log_factorial = math.lgamma(classes)  # log (K-1)!
        constant = log_factorial + (classes - 1) * log_t
        terms = self.logits - (t.unsqueeze(-1) if isinstance(t, Tensor) else t) * log_y
        normaliser = classes * terms.logsumexp(-1)
        return linear - normaliser + constant

    def log_mass(self, label: Tensor) -> Tensor:
        """Return the log-probability of one-hot (or soft) labels under the relaxed categorical."""
        log_p = self.logits.log_softmax(-1)
        weighted = label * log_p
        return weighted.sum(-1)
