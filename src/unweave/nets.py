"""Network parts; nothing here is probabilistic."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor, nn


def mlp(sizes: Sequence[int], activation: Callable[[], nn.Module] = nn.ReLU) -> nn.Sequential:
    """Return linear layers of the given sizes with `activation` between them, none after the last.

    >>> [tuple(part.weight.shape) for part in mlp([784, 400, 10]) if hasattr(part, "weight")]
    [(400, 784), (10, 400)]
    """
    layers: list[nn.Module] = []
    for inputs, outputs in pairwise(sizes):
        layers += [nn.Linear(inputs, outputs), activation()]
    return nn.Sequential(*layers[:-1])


def batch_apply(layer: Callable[[Tensor], Tensor], x: Tensor, *, dims: int = 3) -> Tensor:
    """Apply a layer that knows one batch dimension to a tensor with any number of them.

    Convolutions and some other layers of torch take (batch, channels, height, width) alone. Draws
    and enumerated classes stand before the batch, as in (classes, *samples, batch, …): these
    dimensions are folded into one for the layer, and unfolded after it. (The name is Haiku's.)

    >>> layer = nn.Conv2d(3, 8, 5)
    >>> batch_apply(layer, torch.zeros(10, 2, 64, 3, 28, 28)).shape
    torch.Size([10, 2, 64, 8, 24, 24])

    Args:
        layer: Maps (n, *item) to (n, *other), each of the n by itself.
        x: (*lead, *item), with any number of leading dimensions.
        dims: Dimensions of an item: 3 for images with channels, 1 for vectors.

    Returns:
        (*lead, *other).
    """
    leading = x.ndim - dims
    lead, item = x.shape[:leading], x.shape[leading:]
    folded = x.reshape(-1, *item)  # (n, *item)
    y = layer(folded)  # (n, *other)
    return y.reshape(*lead, *y.shape[1:])


def conv(shape: Sequence[int], outputs: int, channels: int = 32) -> nn.Module:
    """Return 4x4 convolutions of images, each of which halves the sides, down to 4 to 7 pixels.

    They map images (…, h, w[, c]), flattened to (…, h·w·c), to (…, outputs). Two layers have
    `channels`, the following twice as many, as in Burgess et al. (2018) at 64x64; any size and any
    number of channels will do.

    >>> conv((64, 64), 256)(torch.zeros(5, 4096)).shape
    torch.Size([5, 256])
    >>> conv((48, 37, 3), 10)(torch.zeros(2, 5, 48 * 37 * 3)).shape
    torch.Size([2, 5, 10])
    """
    sides, widths = _pyramid(shape, channels)
    layers: list[nn.Module] = [_ToImages(shape)]
    for inner, outer in pairwise(widths):
        layers += [nn.Conv2d(inner, outer, 4, stride=2, padding=1), nn.ReLU()]
    smallest = widths[-1] * math.prod(sides[-1])
    layers += [nn.Flatten(), nn.Linear(smallest, outputs)]
    return _OfVectors(*layers)


def deconv(inputs: int, shape: Sequence[int], channels: int = 32) -> nn.Module:
    """Return `conv` the other way round: (…, inputs) to images (…, h·w·c), flattened.

    >>> deconv(10, (48, 37, 3))(torch.zeros(2, 5, 10)).shape
    torch.Size([2, 5, 5328])
    """
    sides, widths = _pyramid(shape, channels)
    smallest = (widths[-1], *sides[-1])
    layers = [nn.Linear(inputs, math.prod(smallest)), nn.ReLU(), nn.Unflatten(1, smallest)]
    for level in range(len(sides) - 1, 0, -1):
        (height, width), (half_height, half_width) = sides[level - 1], sides[level]
        odd = (height - 2 * half_height, width - 2 * half_width)
        doubled = nn.ConvTranspose2d(
            widths[level], widths[level - 1], 4, stride=2, padding=1, output_padding=odd
        )
        layers += [doubled, nn.ReLU()]
    return _OfVectors(*layers[:-1], _FromImages())


def _pyramid(shape: Sequence[int], channels: int) -> tuple[list[tuple[int, int]], list[int]]:
    """Return an image's sides, halved down to 4 to 7 pixels, and the channels at each size."""
    if len(shape) not in (2, 3) or min(shape[:2]) < 8:
        raise ValueError(
            f"items of shape {tuple(shape)}: expected images (h, w) or (h, w, c) of 8 pixels or "
            "more a side"
        )
    height, width = shape[:2]
    colours = shape[2] if len(shape) == 3 else 1
    depth = int(math.log2(min(height, width) / 4))
    sides, widths = [(height, width)], [colours]
    for level in range(1, depth + 1):
        sides.append((height >> level, width >> level))
        widths.append(channels if level <= 2 else 2 * channels)
    return sides, widths


class _OfVectors(nn.Sequential):
    """Layers of vectors (n, units), for vectors with any number of leading dimensions."""

    def forward(self, x: Tensor) -> Tensor:
        return batch_apply(super().forward, x, dims=1)


class _ToImages(nn.Module):
    """Images (n, c, h, w) of flattened ones (n, h·w·c)."""

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.shape = (*shape, 1) if len(shape) == 2 else tuple(shape)

    def forward(self, x: Tensor) -> Tensor:
        images: Tensor = x.unflatten(-1, self.shape)  # (n, h, w, c)
        return images.movedim(-1, 1)


class _FromImages(nn.Module):
    """Flattened images (n, h·w·c) of images (n, c, h, w)."""

    def forward(self, x: Tensor) -> Tensor:
        return x.movedim(1, -1).flatten(1)


class Standard(nn.Module):
    """Items brought to mean 0 and standard deviation 1, number by number: (x − mean) / sd.

    Means and standard deviations are no parameters, and are saved with the model. Before `measure`
    they are 0 and 1.

    >>> seen = Standard((2,)).measure(torch.tensor([[0.0, 1000.0], [2.0, 3000.0]]))
    >>> seen(torch.tensor([[0.0, 3000.0]])).tolist(), seen.back(torch.zeros(2)).tolist()
    ([[-1.0, 1.0]], [1.0, 2000.0])

    Args:
        shape: Shape of an item.
    """

    mean: Tensor
    sd: Tensor

    def __init__(self, shape: Sequence[int]) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(tuple(shape)))
        self.register_buffer("sd", torch.ones(tuple(shape)))

    def measure(self, x: Any) -> Standard:
        """Take mean and standard deviation from items (n, *shape), and return self.

        A number that is the same in all items keeps standard deviation 1.
        """
        sd, mean = torch.std_mean(torch.as_tensor(x).double(), 0, correction=0)
        self.mean.copy_(mean)
        self.sd.copy_(torch.where(sd > 0, sd, 1.0))
        return self

    def forward(self, x: Tensor) -> Tensor:
        return (x - self.mean) / self.sd

    def back(self, x: Tensor) -> Tensor:
        """Return items in their own units: mean + sd · x."""
        return self.mean + self.sd * x


class Running(nn.Module):
    r"""Running means of numbers, class by class: a law that is fitted in closed form.

    .. math:: m_k = \frac{\sum_t γ^{T-t} \sum_n w_{tkn} v_{tkn}}{\sum_t γ^{T-t} \sum_n w_{tkn}}

    They are no parameters: no gradient moves them, and they are saved with the model.

    Args:
        start: The means before anything is added, (classes, numbers); they weigh as one item.
        decay: γ, by which older batches weigh less: the last 1 / (1 − γ) of them count.

    >>> running = Running(torch.zeros(1, 1), decay=1.0)
    >>> running.add(torch.tensor([[[3.0], [6.0]]]), torch.ones(1, 2)).mean
    tensor([[3.]])
    """

    total: Tensor
    weight: Tensor

    def __init__(self, start: Tensor, decay: float = 0.999) -> None:
        super().__init__()
        self.decay = decay
        self.register_buffer("total", start.clone())
        self.register_buffer("weight", torch.ones(len(start), 1))

    @torch.no_grad()
    def add(self, values: Tensor, weights: Tensor) -> Running:
        """Add a batch of values (classes, items, numbers) by weights (classes, items)."""
        weighted = weights.unsqueeze(-1) * values
        self.total.mul_(self.decay).add_(weighted.sum(1))
        self.weight.mul_(self.decay).add_(weights.sum(1, keepdim=True))
        return self

    @property
    def mean(self) -> Tensor:
        """The means, (classes, numbers)."""
        return self.total / self.weight


def scale(raw: Tensor, bound: float = 7.0) -> Tensor:
    """Turn a network's output into a standard deviation: exp(raw), bent to stay in exp(±bound).

    Unbounded log-scales are the usual cause of NaN in variational autoencoders; near 0 this is exp
    to third order.
    """
    return (bound * torch.tanh(raw / bound)).exp()


def cat(tensors: Sequence[Tensor], dim: int = -1) -> Tensor:
    """Join tensors whose other dimensions broadcast: (N, 400) and (M, 1, 10) give (M, N, 410).

    >>> cat([torch.zeros(5, 3), torch.zeros(2, 1, 4)]).shape
    torch.Size([2, 5, 7])
    """
    last = [t.movedim(dim, -1) for t in tensors]  # the dimension that is joined stands last
    leads = [t.shape[:-1] for t in last]
    if leads.count(leads[0]) == len(leads):
        return torch.cat(list(tensors), dim)
    lead = torch.broadcast_shapes(*leads)
    joined = torch.cat([t.expand(*lead, -1) for t in last], -1)
    return joined if dim == -1 else joined.movedim(-1, dim)
