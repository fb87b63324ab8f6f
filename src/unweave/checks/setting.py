"""A model and data whose exact values are known: a linear encoder of items with known features.

A class y and Normals z depend on one another through what they share of x, and a linear decoder
makes real-valued data.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.distributions import OneHotCategorical

from ..nets import cat
from ..trace.concrete import Concrete
from ..trace.trace import Trace

N, FEATURES, CLASSES, NORMALS = 1000, 8, 5, 6


@dataclass(frozen=True)
class Setting:
    """Features of items, and the weights that map them to a posterior and to data."""

    x: Tensor  # (N, features)
    theta: Tensor  # (features + 1, classes + 2 * normals), the last row is the intercept
    decode: Tensor  # (classes + normals, data)

    @staticmethod
    def random(seed: int = 0, n: int = N) -> Setting:
        """Return a setting whose latents share features, so that none of the terms vanishes.

        I(x;z) is about half of log N nats.
        """
        g = torch.Generator().manual_seed(seed)
        x = torch.randn(n, FEATURES, generator=g, dtype=torch.double)
        outputs = CLASSES + 2 * NORMALS
        theta = 0.45 * torch.randn(FEATURES + 1, outputs, generator=g, dtype=torch.double)
        theta[:, CLASSES + NORMALS :] *= 0.3
        theta[-1, CLASSES + NORMALS :] -= 0.7  # posteriors of a scale of about 0.5
        decode = torch.randn(CLASSES + NORMALS, 12, generator=g, dtype=x.dtype)
        return Setting(x, theta.requires_grad_(), decode)

    def parameters(self, items: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Return logits of y, and z's mean and scale, of some items."""
        raw = self.x[items] @ self.theta[:-1] + self.theta[-1]
        logits, mean, log_scale = raw.split((CLASSES, NORMALS, NORMALS), -1)
        return logits, mean, log_scale.exp()

    def traces(
        self, items: Tensor, y: str = "categorical", temperature: float = 0.66
    ) -> tuple[Trace, Trace]:
        """Return the traces of encoder and decoder on some items.

        `y` is categorical, concrete, or straight-through.
        """
        logits, mean, scale = self.parameters(items)
        q, p = Trace(), Trace()
        prior = torch.zeros(CLASSES, dtype=logits.dtype)
        if y == "categorical":
            value = q.categorical(logits, name="y")
            p.categorical(prior, value=q["y"], name="y")
        elif y == "concrete":
            value = q.concrete(logits, temperature, name="y")
            p.concrete(prior, temperature, value=q["y"], name="y")
        else:  # a hard draw in the forward, the relaxed one's gradient in the backward
            soft = Concrete(logits, temperature).rsample()
            hard = torch.nn.functional.one_hot(soft.argmax(-1), CLASSES).to(soft.dtype)
            value = hard + soft - soft.detach()
            log_q = (value * logits.log_softmax(-1)).sum(-1)
            p.factor(-math.log(CLASSES) - log_q, name="y")
        z = q.normal(mean, scale, name="z")
        p.normal(0.0, 1.0, value=q["z"], name="z")
        p.normal(cat([value, z]) @ self.decode, 1.0, value=self.data(items), name="x")
        return q, p

    def data(self, items: Tensor) -> Tensor:
        """Return data that the latents' means explain, as the decoder would make them."""
        with torch.no_grad():
            logits, mean, _ = self.parameters(items)
            sharp = OneHotCategorical(logits=3 * logits).mean
            return torch.cat([sharp, mean], -1) @ self.decode
