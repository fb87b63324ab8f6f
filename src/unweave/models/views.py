"""A class that different views of an image agree on: clustering by a structured variational
autoencoder.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..nets import mlp, scale
from ..trace.trace import Trace
from .families import Decoder
from .model import Model, family


@dataclass(frozen=True)
class Views:
    """Random views of images (batch, height, width): the changes that leave what an image shows as
    it is.

    Rotation up to `rotation` degrees, shear and log-scales up to `shear` and `zoom`, shifts up to
    `shift` pixels, strokes thinner or bolder by up to `width` of a pixel on either side, brightness
    down by up to `dim`. With `window` the view is a square of so many pixels about the centre of
    the image's mass, its sides in proportion to the root of the mass: where a bright thing is, and
    how large, is then no part of what is seen. `still` views are not random.
    """

    rotation: float = 20.0
    shear: float = 0.2
    zoom: float = 0.15
    shift: float = 2.0
    width: float = 1.0
    dim: float = 0.4
    window: int = 0

    def side(self, shape: Sequence[int]) -> tuple[int, int]:
        """Height and width of the views of images of this shape."""
        return (self.window, self.window) if self.window else (shape[0], shape[1])

    def __call__(self, x: Tensor, *, still: bool = False) -> Tensor:
        def uniform(most: float) -> Tensor:
            return (
                x.new_zeros(len(x))
                if still
                else (2 * torch.rand(len(x), device=x.device) - 1) * most
            )

        if still and not self.window:
            return x
        height, width = self.side(x.shape[1:])
        angle, shear = uniform(math.radians(self.rotation)), uniform(self.shear)
        zoom_x, zoom_y = uniform(self.zoom).exp(), uniform(self.zoom).exp()
        cos, sin = angle.cos(), angle.sin()
        across = torch.stack(
            [cos * zoom_x, (shear - sin) * zoom_x, uniform(2 * self.shift / width)], -1
        )
        down = torch.stack([sin * zoom_y, cos * zoom_y, uniform(2 * self.shift / height)], -1)
        affine = torch.stack([across, down], -2)
        if self.window:
            centre, half = _mass(x)
            affine = affine * half.reshape(-1, 1, 1)
            affine[:, :, 2] += centre
        grid = F.affine_grid(affine, [len(x), 1, height, width], align_corners=False)
        seen = F.grid_sample(x.unsqueeze(1), grid, align_corners=False)
        if self.width and not still:
            bolder = F.max_pool2d(seen, 3, 1, 1)
            thinner = 0.3 * seen - 0.7 * F.max_pool2d(-seen, 3, 1, 1)
            stroke = uniform(self.width).reshape(-1, 1, 1, 1)
            seen = (
                seen
                + stroke.clamp_min(0) * (bolder - seen)
                + (-stroke).clamp_min(0) * (thinner - seen)
            )
        if self.dim and not still:
            seen = seen * (1 - self.dim * torch.rand(len(x), 1, 1, 1, device=x.device))
        return seen.squeeze(1)


def _mass(x: Tensor, roomy: float = 2.2) -> tuple[Tensor, Tensor]:
    """The centre of images' mass, (n, 2) across and down in −1 to 1, and half the side of a window
    about it, (n,).

    For a filled square of side s pixels the window's side is `roomy` · s.
    """
    height, width = x.shape[-2:]
    mass = x.sum((-2, -1)).clamp_min(1e-6)
    across, down = (torch.arange(n, device=x.device).mul(2).add(1 - n) / n for n in (width, height))
    centre = (
        torch.stack([(x.sum(-2) * across).sum(-1), (x.sum(-1) * down).sum(-1)], -1) / mass[:, None]
    )
    return centre, roomy * (mass / (height * width)).sqrt()


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

    def __init__(
        self, shape: Sequence[int], hidden: Sequence[int], classes: int, normals: int, views: Views
    ) -> None:
        super().__init__()
        self.view, self.y = views, _classifier(views.side(shape), classes)
        self.z = mlp([math.prod(shape), *hidden, 2 * normals])

    def forward(self, x: Tensor, y: Tensor | None = None) -> Trace:
        q = Trace()
        y = q.categorical(self.y(self.view(x, still=not self.training)), value=y, name="y")
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
    """A class y of grey images and Normals z of their style; q(y|x) looks at a random view of x,
    q(z|x) at x itself.

    While training the encoder scores y in a second view, Σ_k q(k|view of x) log q(k|another view of
    x), as the site "view", which the term `label` counts. y is enumerated. `views` overrides the
    fields of `Views`. A small convolutional network with batch norm reads y. Groups: ("y", "z").

    Source of the invariance: Hu et al., "Learning Discrete Representations via Information
    Maximizing Self-Augmented Training" (2017); Ji et al., "Invariant Information Clustering"
    (2019).
    """
    seen = Views(**{**asdict(Views()), **(views or {})})
    return Model(
        _Encoder(shape, hidden, classes, normals, seen),
        Decoder(shape, hidden, classes, normals, None),
    )
