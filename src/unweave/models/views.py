"""Clustering by a structured VAE: a class that different views of an image agree on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from ..arguments import Size
from ..nets import mlp, scale
from ..trace.trace import Trace
from .families import Decoder
from .model import Model, family


@dataclass(frozen=True)
class Views:
    """Random views of images (batch, height, width) or (…, channels), which show the same thing.

    `still` views are not random.

    >>> Views.named("flip, shift=3")
    Views(rotation=0, shear=0, zoom=0, shift=3.0, width=0, dim=0, bend=0, window=0, flip=0.5, \
edges='reflection')

    Args:
        rotation: Rotation up to so many degrees.
        shear: Shear up to so much.
        zoom: Log-scales across and down up to so much.
        shift: Shifts up to so many pixels.
        width: Strokes thinner or bolder by up to so much of a pixel on either side.
        dim: Brightness down by up to this share.
        bend: Places moved by up to so many pixels, smoothly: strokes bend.
        window: If not 0, the view is a square of so many pixels about the centre of the image's
            mass, its sides in proportion to the root of the mass: the place and the size of a
            bright thing are then not seen.
        flip: Mirrored, left to right, with this probability.
        edges: The pixels beyond an image's edges, as `grid_sample` has them.
    """

    rotation: float = 20.0
    shear: float = 0.2
    zoom: float = 0.15
    shift: float = 2.0
    width: float = 1.0
    dim: float = 0.4
    bend: float = 0.0
    window: int = 0
    flip: float = 0.0
    edges: Literal["zeros", "border", "reflection"] = "zeros"

    @classmethod
    def named(cls, text: str) -> Views:
        """Return the views that a text names, such as "flip, shift=3, rotation=10", and no others.

        A name without a number has the usual strength. Pixels beyond edges are reflected, as suits
        photographs.

        Raises:
            ValueError: If a name is unknown, or a strength is no number of 0 or more.
        """
        strengths: dict[str, float] = dict.fromkeys(USUAL, 0)
        for part in text.split(","):
            name, _, number = (piece.strip() for piece in part.partition("="))
            try:
                strength = float(number) if number else USUAL[name]
            except (ValueError, KeyError):
                strength = math.nan
            if name not in USUAL or not 0 <= strength < math.inf:
                raise ValueError(
                    f"views {text!r}: {part.strip()!r} is no view; expected some of "
                    f"{', '.join(USUAL)}, each alone or with a strength, as in flip,shift=3"
                )
            strengths[name] = strength
        return cls(**strengths, edges="reflection")  # type: ignore[arg-type]

    def side(self, shape: Sequence[int]) -> tuple[int, int]:
        """Return height and width of the views of images of this shape."""
        return (self.window, self.window) if self.window else (shape[0], shape[1])

    def __call__(self, x: Tensor, *, still: bool = False) -> Tensor:
        if still and not self.window:
            return x
        affine = self._affine(x, still)
        height, width = self.side(x.shape[1:])
        grid = F.affine_grid(affine, [len(x), 1, height, width], align_corners=False)
        if self.bend and not still:
            grid = grid + _bends(x, height, width, self.bend)
        planes = x.unsqueeze(1) if x.ndim == 3 else x.movedim(-1, 1)  # (batch, channels, h, w)
        seen = F.grid_sample(planes, grid, padding_mode=self.edges, align_corners=False)
        if self.width and not still:
            seen = _stroked(seen, _uniform(x, self.width))
        if self.dim and not still:
            darker = self.dim * torch.rand(len(x), 1, 1, 1, device=x.device)
            seen = seen * (1 - darker)
        if self.flip and not still:
            is_flipped = torch.rand(len(x), 1, 1, 1, device=x.device) < self.flip
            seen = torch.where(is_flipped, seen.flip(-1), seen)
        return seen.squeeze(1) if x.ndim == 3 else seen.movedim(1, -1)

    def _affine(self, x: Tensor, still: bool) -> Tensor:
        """Draw maps (batch, 2, 3) from places in views to places in images, both in −1 to 1."""

        def uniform(most: float) -> Tensor:
            return x.new_zeros(len(x)) if still else _uniform(x, most)

        height, width = self.side(x.shape[1:])
        angle = uniform(math.radians(self.rotation))
        shear = uniform(self.shear)
        zoom_x = uniform(self.zoom).exp()
        zoom_y = uniform(self.zoom).exp()
        shift_x = uniform(2 * self.shift / width)
        shift_y = uniform(2 * self.shift / height)
        cos, sin = angle.cos(), angle.sin()
        across = torch.stack([cos * zoom_x, (shear - sin) * zoom_x, shift_x], -1)  # (batch, 3)
        down = torch.stack([sin * zoom_y, cos * zoom_y, shift_y], -1)  # (batch, 3)
        affine = torch.stack([across, down], -2)  # (batch, 2, 3)
        if self.window:
            centre, half = _mass(x)
            affine = affine * half.reshape(-1, 1, 1)
            affine[:, :, 2] += centre
        return affine


USUAL = {
    "rotation": 10.0,
    "shear": 0.1,
    "zoom": 0.1,
    "shift": 2.0,
    "width": 0.5,
    "dim": 0.2,
    "bend": 1.0,
    "flip": 0.5,
}
"""Strengths of views that are named without one."""


def _uniform(x: Tensor, most: float) -> Tensor:
    """Draw a number in −most to most for each image, (batch,)."""
    draw = torch.rand(len(x), device=x.device)
    return (2 * draw - 1) * most


def _bends(x: Tensor, height: int, width: int, most: float, knots: int = 3) -> Tensor:
    """Draw smooth moves of a view's places (batch, height, width, 2), in −1 to 1 of the image.

    Moves across and down are uniform up to `most` pixels at `knots` x `knots` places of the view,
    and cubic in between.
    """
    knot = 2 * torch.rand(len(x), 2, knots, knots, device=x.device) - 1
    size = (height, width)
    smooth = F.interpolate(knot, size=size, mode="bicubic", align_corners=True)  # (batch, 2, h, w)
    pixel = torch.tensor([2 / x.shape[2], 2 / x.shape[1]], device=x.device)
    moves: Tensor = most * pixel * smooth.movedim(1, -1)  # (batch, h, w, 2)
    return moves


def _stroked(seen: Tensor, stroke: Tensor) -> Tensor:
    """Make strokes of images (batch, channels, h, w) bolder, or thinner where it is negative."""
    bolder = _largest(seen)
    thinner = 0.3 * seen - 0.7 * _largest(-seen)
    stroke = stroke.reshape(-1, 1, 1, 1)
    outwards = stroke.clamp_min(0) * (bolder - seen)
    inwards = (-stroke).clamp_min(0) * (thinner - seen)
    return seen + outwards + inwards


def _largest(seen: Tensor) -> Tensor:
    """Return the largest of each pixel and its neighbours, down and then across.

    `max_pool2d` says the same, and is many times slower on images of one channel.
    """
    wide = F.pad(seen, (1, 1, 1, 1), value=-math.inf)  # (batch, channels, h + 2, w + 2)
    down = torch.maximum(torch.maximum(wide[..., :-2, :], wide[..., 2:, :]), wide[..., 1:-1, :])
    return torch.maximum(torch.maximum(down[..., :-2], down[..., 2:]), down[..., 1:-1])


def _mass(x: Tensor, roomy: float = 2.2) -> tuple[Tensor, Tensor]:
    """Return the centre of images' mass, and half the side of a window about it.

    For a filled square of side s pixels the window's side is `roomy` · s.

    Returns:
        Centres across and down in −1 to 1, (batch, 2), and half sides (batch,).
    """
    height, width = x.shape[-2:]
    mass = x.sum((-2, -1)).clamp_min(1e-6)  # (batch,)
    columns, rows = x.sum(-2), x.sum(-1)  # (batch, width) and (batch, height)
    across = (columns * _middles(width, x)).sum(-1)
    down = (rows * _middles(height, x)).sum(-1)
    centre = torch.stack([across, down], -1) / mass[:, None]
    share = mass / (height * width)
    return centre, roomy * share.sqrt()


def _middles(n: int, x: Tensor) -> Tensor:
    """Return the middles of n pixels along a side from −1 to 1, (n,), where x is."""
    return torch.arange(n, device=x.device).mul(2).add(1 - n) / n


def _classifier(shape: Sequence[int], classes: int) -> nn.Sequential:
    """Return convolutions of images (batch, h, w) to logits (batch, classes)."""

    def block(inputs: int, outputs: int, kernel: int) -> list[nn.Module]:
        conv = nn.Conv2d(inputs, outputs, kernel, stride=2, padding=kernel // 2)
        return [conv, nn.BatchNorm2d(outputs), nn.ReLU()]

    height, width = (math.ceil(side / 8) for side in shape)
    layers = nn.Sequential(
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
    # This order of numbers in memory is the faster one on CPUs.
    layers.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    return layers


class _Encoder(nn.Module):
    """The program q(y|view of x) q(z|x) and, while training, log q(y|another view of x)."""

    def __init__(
        self, shape: Sequence[int], hidden: Sequence[int], classes: int, normals: int, views: Views
    ) -> None:
        super().__init__()
        self.view, self.y = views, _classifier(views.side(shape), classes)
        self.z = mlp([math.prod(shape), *hidden, 2 * normals])

    def forward(self, x: Tensor, y: Tensor | None = None) -> Trace:
        q = Trace()
        seen = self.view(x, still=not self.training)
        y = q.categorical(self.y(seen), value=y, name="y")  # (classes, batch, classes)
        if self.training:
            log_probs = self.y(self.view(x)).log_softmax(-1)  # (batch, classes)
            q.factor((y * log_probs).sum(-1), name="view")
        mean, log_scale = self.z(x.flatten(1)).chunk(2, -1)
        q.normal(mean, scale(log_scale), name="z")
        return q


@family
def invariant(
    shape: Sequence[Size],
    hidden: Sequence[Size] = (400,),
    classes: Size = 10,
    normals: Size = 10,
    views: dict[str, float] | None = None,
) -> Model:
    """A class y of grey images, read off a random view, and Normals z of their style.

    While training the encoder scores y in a second view, Σ_k q(k|view of x) log q(k|another view of
    x), as the site "view", which the term `label` counts. y is enumerated; q(z|x) reads x itself. A
    small convolutional network with batch norm reads y. Groups: ("y", "z").

    Args:
        shape: Height and width of the images.
        hidden: Units of the hidden layers between x and z.
        classes: Classes of y.
        normals: Units of z.
        views: Values of fields of `Views` that are not to be the default.

    Source of the invariance: Hu et al., "Learning Discrete Representations via Information
    Maximizing Self-Augmented Training" (2017); Ji et al., "Invariant Information Clustering"
    (2019).
    """
    seen = Views(**{**asdict(Views()), **(views or {})})
    return Model(
        _Encoder(shape, hidden, classes, normals, seen),
        Decoder(shape, hidden, classes, normals, None),
    )
