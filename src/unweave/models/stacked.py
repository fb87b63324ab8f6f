"""M1+M2: a class and a style of the code that a VAE has for an item."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn
from torch.distributions import Normal

from ..nets import batch_apply, cat, mlp, scale
from ..trace.trace import Trace
from .families import vae
from .model import Model, family


def _classifier(sizes: Sequence[int], classes: int) -> nn.Sequential:
    """Return layers of codes (batch, code) to logits (batch, classes), with batch norm."""
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), nn.BatchNorm1d(outputs), nn.ReLU()]
    return nn.Sequential(*layers, nn.Linear(sizes[-1], classes))


class _Encoder(nn.Module):
    """The program q(code|x) q(y|x) q(z|code, y); y reads the mean of the code."""

    def __init__(
        self, below: nn.Module, code: int, hidden: Sequence[int], classes: int, normals: int
    ) -> None:
        super().__init__()
        self.below = below.requires_grad_(False)
        self.y = _classifier([code, *hidden], classes)
        self.z = mlp([code + classes, *hidden, 2 * normals])

    def forward(self, x: Tensor, y: Tensor | None = None) -> Trace:
        q = Trace()
        below = self.below(x)["z"].dist
        code = q.sample(below, name="code")
        y = q.categorical(batch_apply(self.y, below.mean, dims=1), value=y, name="y")
        h = self.z(cat([code, y]))  # (*classes, *samples, batch, 2 normals)
        mean, log_scale = h.chunk(2, -1)
        q.normal(mean, scale(log_scale), name="z")
        return q


class _Decoder(nn.Module):
    """The program p(y) p(z) p(code|y, z) p(x|code), with uniform y."""

    y_log_weights: Tensor

    def __init__(
        self, below: nn.Module, code: int, hidden: Sequence[int], classes: int, normals: int
    ) -> None:
        super().__init__()
        self.below = below.requires_grad_(False)
        self.code = mlp([classes + normals, *reversed(hidden), 2 * code])
        self.register_buffer("y_log_weights", torch.zeros(classes), persistent=False)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        p.categorical(self.y_log_weights, value=q["y"], name="y")
        p.normal(0.0, 1.0, value=q["z"], name="z")
        p.conditional(self._code, ("y", "z"), value=q.get("code"), name="code")
        seen = self.below(x, Trace.given(z=p["code"].value))["x"]
        p.sample(seen.dist, value=x, name="x")
        return p

    def _code(self, y: Tensor, z: Tensor) -> Normal:
        """Return p(code|y, z)."""
        mean, log_scale = self.code(cat([y, z])).chunk(2, -1)  # (…, code) each
        return Normal(mean, scale(log_scale))


@family
def stacked(
    shape: Sequence[int],
    hidden: Sequence[int] = (400, 200),
    classes: int = 10,
    normals: int = 50,
    code: int = 50,
    below: Sequence[int] = (500,),
) -> Model:
    r"""A class y and a style z of the code that a VAE has for an item: M1+M2.

    .. math:: q(c|x) \, q(y|x) \, q(z|c, y), \quad p(y) \, p(z) \, p(c|y, z) \, p(x|c)

    q(c|x) and p(x|c) are those of a `vae` that was trained before (M1), see `on`; training leaves
    them as they are. q(y|x) reads the mean of the code c, and y is enumerated. Groups: ("y", "z",
    "code").

    Args:
        shape: Shape of an item, of numbers in [0, 1].
        hidden: Units of the hidden layers between the code and y, and between the code and z.
        classes: Classes of y.
        normals: Units of z.
        code: Units of the code.
        below: Units of the hidden layers of the VAE, those next to x first.

    Source: Kingma et al., "Semi-Supervised Learning with Deep Generative Models" (2014).
    """
    m1 = vae(shape, below, code)
    return Model(
        _Encoder(m1.encoder, code, hidden, classes, normals),
        _Decoder(m1.decoder, code, hidden, classes, normals),
    )


def on(model: Model, coder: Model) -> Model:
    """Give a `stacked` model the weights of the VAE whose code it is about, and return it."""
    for part, below in ((model.encoder, coder.encoder), (model.decoder, coder.decoder)):
        stacked_on: nn.Module = part.below  # type: ignore[assignment]
        stacked_on.load_state_dict(below.state_dict())
    return model
