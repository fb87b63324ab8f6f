"""Faces as intrinsic images: identity sets reflectance, lighting shading, x is their product."""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.distributions import Normal
from torch.nn import functional as F

from ..arguments import Size, Whole
from ..nets import mlp, scale
from ..trace.trace import Trace
from .model import Model, family
from .views import Views

DARK = 0.02
"""Brightness below which logarithms flatten: five grey levels of 255."""


class _Kinds(nn.Module):
    """The Normals of a code, one for each class: means apart, scales in common.

    Means are kept in tenths: they have further to go than weights, and Adam's steps are of one
    length for all.
    """

    def __init__(self, classes: int, size: int) -> None:
        super().__init__()
        self.tenths = nn.Parameter(0.01 * torch.randn(classes, size))
        self.log_scale = nn.Parameter(torch.zeros(size))

    @property
    def means(self) -> Tensor:
        """The classes' means, (classes, size)."""
        return 10 * self.tenths

    def forward(self, one_hot: Tensor) -> Normal:
        return Normal(one_hot @ self.means, scale(self.log_scale), validate_args=False)

    def log_weights(self, code: Tensor) -> Tensor:
        """Return log p(class|code) (n, classes) of codes (n, size), up to a constant.

        Classes are equally frequent.
        """
        apart = code.unsqueeze(-2) - self.means  # (n, classes, size)
        squares = (apart / scale(self.log_scale)) ** 2
        return -squares.sum(-1) / 2


class _Encoder(nn.Module):
    """The program q(identity|x) q(lighting|view of x) q(r|x) q(s|x).

    q(identity|x) is p(identity|r) at the mean of q(r|x).
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int,
        people: _Kinds,
        mirror: Sequence[int],
        surface: int,
        shading: int,
    ) -> None:
        super().__init__()
        pixels = math.prod(shape)
        self.view = Views(rotation=0.0, shear=0.0, zoom=0.05, shift=2.0, width=0.0, dim=0.0)
        self.people = people
        self.lighting = _Lighting(shape, mirror)
        self.r = nn.Linear(pixels, 2 * surface)
        self.s = mlp([pixels, hidden, 2 * shading])

    def forward(
        self, x: Tensor, identity: Tensor | None = None, lighting: Tensor | None = None
    ) -> Trace:
        q = Trace()
        r_mean, r_log_scale = self.r(contrast(x).flatten(1)).chunk(2, -1)
        s_mean, s_log_scale = self.s(log(x).flatten(1)).chunk(2, -1)
        q.categorical(self.people.log_weights(r_mean), value=identity, name="identity")
        seen = self.view(x, still=not self.training)
        q.categorical(self.lighting(seen), value=lighting, name="lighting")
        q.normal(r_mean, scale(r_log_scale), name="r")
        q.normal(s_mean, scale(s_log_scale), name="s")
        return q


class _Decoder(nn.Module):
    """The program p(identity) p(lighting) p(r|identity) p(s|lighting) p(x|r, s).

    x is reflectance times shading, and noise. The noise has a floor and a part in proportion to
    brightness.
    """

    def __init__(
        self,
        shape: Sequence[int],
        hidden: int,
        people: _Kinds,
        lights: _Kinds,
        surface: int,
        shading: int,
    ) -> None:
        super().__init__()
        self.shape, self.people, self.lights = tuple(shape), people, lights
        self.coarse = [side // 2 for side in shape]
        self.reflectance = mlp([surface, hidden, math.prod(shape)])
        self.shading = mlp([shading + surface, hidden, math.prod(self.coarse)])
        self.x_log_scale = nn.Parameter(torch.tensor([-2.0, -4.0]))

    def images(self, r: Tensor, s: Tensor) -> tuple[Tensor, Tensor]:
        """Return reflectance in (0, 1) and smooth, positive shading: (n, height, width) each."""
        reflectance = self.reflectance(r).sigmoid().unflatten(-1, self.shape)
        coarse = F.softplus(self.shading(torch.cat([s, r], -1)))  # (n, pixels)
        coarse = coarse.unflatten(-1, self.coarse).unsqueeze(1)  # (n, 1, height / 2, width / 2)
        shading = F.interpolate(coarse, self.shape, mode="bilinear")
        return reflectance, shading.squeeze(1)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        evenly = torch.zeros_like(self.people.means[:, 0])
        p.categorical(evenly, value=q["identity"], name="identity")
        evenly = torch.zeros_like(self.lights.means[:, 0])
        p.categorical(evenly, value=q["lighting"], name="lighting")
        r = p.conditional(self.people, "identity", value=q["r"], name="r")
        s = p.conditional(self.lights, "lighting", value=q["s"], name="s")
        reflectance, shading = self.images(r, s)
        product = reflectance * shading
        share, floor = scale(self.x_log_scale)
        p.normal(product, floor + share * product.detach(), value=x, name="x")
        return p


class _Lighting(nn.Module):
    """Log-weights of the lights, (n, lights), from the image and from its mirror image.

    The mirror image is lit by the mirrored lights. Evaluation takes the mean of the two; training
    reads one of them, at random.
    """

    mirror: Tensor

    def __init__(
        self, shape: Sequence[int], mirror: Sequence[int], widths: Sequence[int] = (24, 48, 64, 96)
    ) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for inputs, outputs in zip((2, *widths), widths, strict=False):
            layers += [
                nn.Conv2d(inputs, outputs, 3, stride=2, padding=1),
                nn.BatchNorm2d(outputs),
                nn.ReLU(),
            ]
        sides = [math.ceil(side / 2 ** len(widths)) for side in shape]
        flat = widths[-1] * math.prod(sides)
        self.read = nn.Sequential(
            *layers,
            nn.Flatten(),
            nn.Dropout(0.3),
            nn.Linear(flat, 256),
            nn.BatchNorm1d(256),
            nn.ReLU(),
            nn.Linear(256, len(mirror)),
        )
        self.register_buffer("mirror", torch.tensor(mirror), persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        seen = torch.stack([x, log(x)], 1)  # (n, 2, height, width)
        flipped = seen.flip(-1)
        if not self.training:
            both: Tensor = self.read(seen) + self.read(flipped)[:, self.mirror]
            return both / 2
        turned = torch.rand(len(x), 1, device=x.device) < 0.5  # (n, 1)
        read = self.read(torch.where(turned[..., None, None], flipped, seen))  # (n, lights)
        return torch.where(turned, read[:, self.mirror], read)


def log(x: Tensor) -> Tensor:
    """Return log-brightness, which flattens in the dark."""
    return (x + DARK).log()


def contrast(x: Tensor, side: int = 9) -> Tensor:
    """Return log-brightness against its surroundings, in units of their spread.

    It does not change with light that changes slowly over the image. Surroundings are squares of
    `side` pixels, averaged twice.
    """

    def around(t: Tensor) -> Tensor:
        for window in 2 * [(side, 1), (1, side)]:
            padding = window[0] // 2, window[1] // 2
            t = F.avg_pool2d(t, window, 1, padding, count_include_pad=False)
        return t

    brightness = log(x)
    detail = brightness - around(brightness)
    spread = around(detail**2).sqrt()
    return detail / (spread + 0.05)


@family
def faces(
    shape: Sequence[Size],
    mirror: Sequence[Whole],
    people: Size = 38,
    hidden: Size = 256,
    surface: Size = 32,
    shading: Size = 16,
) -> Model:
    """Intrinsic images of faces: identity i sets a code r of the surface, lighting l a code s.

    .. math:: p(x, r, s, i, l) = p(i) p(l) p(r|i) p(s|l) N(x; R(r) S(s, r), σ_0 + σ_1 R S)

    R is an image of reflectance, in (0, 1), and S one of shading, at half the resolution and hence
    smooth, in which the surface has a part, as shading depends on shape. i and l are uniform and
    enumerated, p(r|i) and p(s|l) Normals with a mean for each class. The encoder reads r off x with
    the slow changes of brightness taken out, and s off log x; it infers i from r's mean by Bayes'
    rule, and l by a convolutional network that sees a randomly shifted view and its mirror image,
    which is lit from the other side.

    Args:
        shape: Height and width of the images, 16 pixels or more.
        mirror: For each light the number of the one that is its mirror image.
        people: Number of identities.
        hidden: Units of the hidden layers.
        surface, shading: Units of r and of s.

    Groups: (("identity", "r"), ("lighting", "s")). Source: the graph of Siddharth et al., "Learning
    Disentangled Representations with Semi-Supervised Deep Generative Models" (2017), after Jampani
    et al. (2015).
    """
    kinds = _Kinds(people, surface), _Kinds(len(mirror), shading)
    return Model(
        _Encoder(shape, hidden, kinds[0], mirror, surface, shading),
        _Decoder(shape, hidden, *kinds, surface, shading),
    )
