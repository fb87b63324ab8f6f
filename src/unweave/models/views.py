"""A class that different views of an image agree on: clustering by a structured variational autoencoder."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nets import mlp, scale
from ..trace import Trace
from .families import Decoder
from .model import Model, family


@dataclass(frozen=True)
class Views:
    """Random views of images (batch, height, width): the changes that leave what an image shows as it is.

    Rotation up to `rotation` degrees, shear and log-scales up to `shear` and `zoom`, shifts up to `shift` pixels,
    strokes thinner or bolder by up to `width` of a pixel on either side, brightness down by up to `dim`.
    """

    rotation: float = 20.0
    shear: float = 0.2
    zoom: float = 0.15
    shift: float = 2.0
    width: float = 1.0
    dim: float = 0.4

    def __call__(self, x: Tensor) -> Tensor:
        def uniform(most: float) -> Tensor:
            return (2 * torch.rand(len(x), device=x.device) - 1) * most

        angle, shear = uniform(math.radians(self.rotation)), uniform(self.shear)
        zoom_x, zoom_y = uniform(self.zoom).exp(), uniform(self.zoom).exp()
        cos, sin, height, width = angle.cos(), angle.sin(), x.shape[-2], x.shape[-1]
        across = torch.stack([cos * zoom_x, (shear - sin) * zoom_x, uniform(2 * self.shift / width)], -1)
        down = torch.stack([sin * zoom_y, cos * zoom_y, uniform(2 * self.shift / height)], -1)
        grid = F.affine_grid(torch.stack([across, down], -2), [len(x), 1, height, width], align_corners=False)
        seen = F.grid_sample(x.unsqueeze(1), grid, align_corners=False)
        bolder = F.max_pool2d(seen, 3, 1, 1)
        thinner = 0.3 * seen - 0.7 * F.max_pool2d(-seen, 3, 1, 1)
        stroke = uniform(self.width).reshape(-1, 1, 1, 1)
        seen = seen + stroke.clamp_min(0) * (bolder - seen) + (-stroke).clamp_min(0) * (thinner - seen)
        return (seen * (1 - self.dim * torch.rand(len(x), 1, 1, 1, device=x.device))).squeeze(1)


def _classifier(shape: Sequence[int], classes: int) -> nn.Sequential:
    def block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    height, width = (math.ceil(side / 8) for side in shape)
    return nn.Sequential(
        nn.Unflatten(1, (1, shape[0])),
        *block(1, 16, 5),
        *block(16, 32, 3),
        *block(32, 64, 3),
        nn.Flatten(),
        nn.Linear(64 * height * width, 128),
        nn.BatchNorm1d(128),
        nn.ReLU(),
        nn.Linear(128, classes),
    )


class _Encoder(nn.Module):
    """q(y|view of x) q(z|x), and, while training, the log-probability of y in a second view."""

    def __init__(self, shape: Sequence[int], hidden: Sequence[int], classes: int, normals: int, views: Views) -> None:
        super().__init__()
        self.view, self.y = views, _classifier(shape, classes)
        self.z = mlp([math.prod(shape), *hidden, 2 * normals])

    def forward(self, x: Tensor, y: Tensor | None = None) -> Trace:
        q = Trace()
        y = q.categorical(self.y(self.view(x) if self.training else x), value=y, name="y")
        if self.training:
            q.factor((y * self.y(self.view(x)).log_softmax(-1)).sum(-1), name="view")
        mean, log_scale = self.z(x.flatten(1)).chunk(2, -1)
        q.normal(mean, scale(log_scale), name="z")
        return q


@family
def invariant(
    shape: Sequence[int],
    hidden: Sequence[int] = (400,),
    classes: int = 10,
    normals: int = 10,
    views: dict[str, float] | None = None,
) -> Model:
    """A class y of grey images and Normals z of their style; q(y|x) looks at a random view of x, q(z|x) at x itself.

    While training the encoder scores y in a second view, Σ_k q(k|view of x) log q(k|another view of x), as the site
    "view", which the term `label` counts. y is enumerated. `views` overrides the fields of `Views`. A small
    convolutional network with batch norm reads y. Groups: ("y", "z").

    Source of the invariance: Hu et al., "Learning Discrete Representations via Information Maximizing Self-Augmented
    Training" (2017); Ji et al., "Invariant Information Clustering" (2019).
    """
    seen = Views(**{**asdict(Views()), **(views or {})})
    return Model(_Encoder(shape, hidden, classes, normals, seen), Decoder(shape, hidden, classes, normals, None))
