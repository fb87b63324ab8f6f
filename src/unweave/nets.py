"""Network parts; nothing here is probabilistic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Linear layers of the given sizes with `activation` between them, none after the last.

    >>> [tuple(part.weight.shape) for part in mlp([784, 400, 10]) if hasattr(part, "weight")]
    [(400, 784), (10, 400)]
    """
    layers = [layer for size in pairwise(sizes) for layer in (nn.Linear(*size), activation())]
    return nn.Sequential(*layers[:-1])


def conv(shape: Sequence[int], outputs: int, channels: int = 32) -> nn.Module:
    """Images (…, h, w[, c]), flattened, to (…, outputs): 4x4 convolutions that halve the sides down
    to 4 to 7 pixels.

    Two layers of `channels`, then of twice as many, as in Burgess et al. (2018) at 64x64; any size
    and any number of channels will do.

    >>> conv((64, 64), 256)(torch.zeros(5, 4096)).shape, conv((48, 37, 3), 10)(torch.zeros(2, 5, 48 * 37 * 3)).shape
    (torch.Size([5, 256]), torch.Size([2, 5, 10]))
    """
    sides, widths = _pyramid(shape, channels)
    steps = [
        l
        for pair in pairwise(widths)
        for l in (nn.Conv2d(*pair, 4, stride=2, padding=1), nn.ReLU())
    ]
    return _Lead(
        _ToImages(shape),
        *steps,
        nn.Flatten(),
        nn.Linear(widths[-1] * math.prod(sides[-1]), outputs),
    )


def deconv(inputs: int, shape: Sequence[int], channels: int = 32) -> nn.Module:
    """`conv` the other way round: (…, inputs) to images (…, h·w·c), flattened.

    >>> deconv(10, (48, 37, 3))(torch.zeros(2, 5, 10)).shape
    torch.Size([2, 5, 5328])
    """
    sides, widths = _pyramid(shape, channels)
    layers: list[nn.Module] = [nn.Linear(inputs, widths[-1] * math.prod(sides[-1])), nn.ReLU()]
    layers.append(nn.Unflatten(1, (widths[-1], *sides[-1])))
    for (outer, inner), pair in zip(
        reversed(list(pairwise(sides))), pairwise(reversed(widths)), strict=True
    ):
        odd = (outer[0] - 2 * inner[0], outer[1] - 2 * inner[1])
        layers += [nn.ConvTranspose2d(*pair, 4, stride=2, padding=1, output_padding=odd), nn.ReLU()]
    return _Lead(*layers[:-1], _FromImages())


def _pyramid(shape: Sequence[int], channels: int) -> tuple[list[tuple[int, int]], list[int]]:
    """The sides of an image halved until they are 4 to 7 pixels, and as many widths, the image's
    own first.
    """
    if len(shape) not in (2, 3) or min(shape[:2]) < 8:
        raise ValueError(
            f"items of shape {tuple(shape)}: expected images (h, w) or (h, w, c) of 8 pixels or "
            "more a side"
        )
    height, width = shape[:2]
    depth = int(math.log2(min(height, width) / 4))
    sides = [(height >> level, width >> level) for level in range(depth + 1)]
    return sides, [shape[2] if len(shape) == 3 else 1] + [
        channels * (1 if level < 2 else 2) for level in range(depth)
    ]


class _Lead(nn.Sequential):
    """Layers that know one batch dimension, for tensors with any number of them."""

    def forward(self, x: Tensor) -> Tensor:
        y: Tensor = super().forward(x.reshape(-1, x.shape[-1]))
        return y.reshape(*x.shape[:-1], *y.shape[1:])


class _ToImages(nn.Module):
    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = (*shape, 1) if len(shape) == 2 else tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        images: Tensor = x.unflatten(-1, self.shape)
        return images.movedim(-1, 1)


class _FromImages(nn.Module):
    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1).flatten(1)


class Standard(nn.Module):
    """Items whose numbers have mean 0 and standard deviation 1, each by fixed numbers of its own:
    (x − mean) / sd.

    They are no parameters, and are saved with the model. Before `measure` they are 0 and 1.

    >>> seen = Standard((2,)).measure(torch.tensor([[0.0, 1000.0], [2.0, 3000.0]]))
    >>> seen(torch.tensor([[0.0, 3000.0]])).tolist(), seen.back(torch.zeros(2)).tolist()
    ([[-1.0, 1.0]], [1.0, 2000.0])
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(tuple(shape)))
        self.register_buffer("sd", torch.ones(tuple(shape)))

    def measure(self, x: Tensor) -> Standard:
        """Takes mean and standard deviation from items (n, *shape); a number that is the same in
        all keeps sd 1.
        """
        sd, mean = torch.std_mean(x.double(), 0, correction=0)
        self.mean.copy_(mean)
        self.sd.copy_(torch.where(sd > 0, sd, 1.0))
        return self

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.sd

    def back(self, x: Tensor) -> Tensor:
        return self.mean + self.sd * x


def scale(raw: Tensor, bound: float = 7.0) -> Tensor:
    """exp(raw), bent so that it stays within exp(±bound): a standard deviation from a network's
    output.

    Unbounded log-scales are the usual cause of NaN in variational autoencoders; near 0 this is exp
    to third order.
    """
    return (bound * torch.tanh(raw / bound)).exp()


def cat(tensors: Sequence[Tensor], dim: int = -1) -> Tensor:
    """torch.cat of tensors whose other dimensions broadcast: (N, 400) and (M, 1, 10) give (M, N,
    410).

    >>> cat([torch.zeros(5, 3), torch.zeros(2, 1, 4)]).shape
    torch.Size([2, 5, 7])
    """
    lead = torch.broadcast_shapes(*(t.movedim(dim, -1).shape[:-1] for t in tensors))
    return torch.cat([t.movedim(dim, -1).expand(*lead, -1) for t in tensors], -1).movedim(-1, dim)
