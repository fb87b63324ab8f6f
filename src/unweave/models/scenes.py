"""Scenes of objects: their number, and the place, class and style of each."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from ..arguments import Size
from ..nets import batch_apply, cat, mlp, scale
from ..trace.trace import Trace
from .model import Model, family

TEMPERATURE = 0.66
"""The temperature of the Concrete digits."""

FAINT = 1e-3
"""The ink where nothing was drawn: a pixel there is white with probability 0.001."""


def lens(where: Tensor, side: int, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Return the weights by which a window's pixels are read off a scene, and drawn into it.

    `rows @ scene @ columns.mT` reads the window, with zeros beyond the scene, and `rows.mT @ window
    @ columns` draws it: the spatial transformer of Jaderberg et al. (2015) whose transformation is
    a shift, and its adjoint, as bilinear weights are products of max(0, 1 − distance) down and
    across.

    >>> rows, columns = lens(torch.zeros(5, 2), 4, (6, 8))
    >>> (rows @ torch.ones(6, 8) @ columns.mT).shape
    torch.Size([5, 4, 4])
    >>> (rows.mT @ torch.ones(5, 4, 4) @ columns).shape
    torch.Size([5, 6, 8])

    Args:
        where: Row and column of the window's centre, (…, 2); the scene's edges are at ±1.
        side: Pixels of the window's side.
        shape: Height h and width w of the scene.

    Returns:
        Rows (…, side, h) and columns (…, side, w).
    """
    row, column = where.unbind(-1)
    height, width = shape
    return _overlap(row, side, height), _overlap(column, side, width)


def _overlap(at: Tensor, side: int, length: int) -> Tensor:
    """Return bilinear weights of a window's pixels on a scene's side, (…, side, length)."""
    within = torch.arange(side, device=at.device) - (side - 1) / 2  # (side,)
    centre = ((at + 1) * length - 1) / 2  # in pixels
    pixel = centre.unsqueeze(-1) + within  # (…, side)
    distance = pixel.unsqueeze(-1) - torch.arange(length, device=at.device)  # (…, side, length)
    return (1 - distance.abs()).clamp_min(0)


class _Reader(nn.Module):
    """The program q(digit, style|window)."""

    def __init__(self, side: int, hidden: Sequence[int], classes: int, normals: int) -> None:
        super().__init__()
        last = hidden[-1]
        self.h = nn.Sequential(mlp([side * side, *hidden]), nn.ReLU())
        self.digit = nn.Linear(last, classes)
        self.style = nn.Linear(last + classes, 2 * normals)

    def forward(
        self,
        q: Trace,
        window: Tensor,
        k: str = "",
        digit: Tensor | None = None,
        where: Tensor | None = None,
    ) -> None:
        h = self.h(window.flatten(-2))
        digit = q.concrete(self.digit(h), TEMPERATURE, value=digit, name=f"digit{k}", where=where)
        read = self.style(cat([h, digit]))  # (…, 2 · normals)
        mean, log_scale = read.chunk(2, -1)
        q.normal(mean, scale(log_scale), name=f"style{k}", where=where)


class _Writer(nn.Module):
    """The program p(digit) p(style), which returns the window's ink, ≥ 0."""

    evenly: Tensor

    def __init__(self, side: int, hidden: Sequence[int], classes: int, normals: int) -> None:
        super().__init__()
        sizes = [classes + normals, *reversed(hidden), side * side]
        net = mlp(sizes)
        # little ink at first, as in most pixels
        nn.init.constant_(net[-1].bias, -2.0)  # type: ignore[arg-type]
        self.ink = nn.Sequential(net, nn.Softplus())
        self.side = side
        self.register_buffer("evenly", torch.zeros(classes), persistent=False)

    def forward(self, p: Trace, q: Trace, k: str = "") -> Tensor:
        site = f"digit{k}"
        digit = p.concrete(self.evenly, TEMPERATURE, value=q[site], name=site)
        site = f"style{k}"
        style = p.normal(0.0, 1.0, value=q[site], name=site)
        ink: Tensor = self.ink(cat([digit, style]))  # (…, side · side)
        window: Tensor = ink.unflatten(-1, (self.side, self.side))
        return window


class _Look(nn.Sequential):
    """Convolutions of scenes (…, h, w) to maps (…, channels, cells down, cells across).

    A cell is 4 pixels wide and sees 26. Batch norm is for scenes that are of one kind, as whole
    ones are, and as scenes with digits taken out are not.
    """

    def __init__(self, channels: int, norm: bool) -> None:
        layers: list[nn.Module] = [nn.AvgPool2d(2)]
        for inputs, kernel, stride in ((1, 5, 2), (channels, 3, 1), (channels, 3, 1)):
            layers.append(nn.Conv2d(inputs, channels, kernel, stride, kernel // 2))
            if norm:
                layers.append(nn.BatchNorm2d(channels))
            layers.append(nn.ReLU())
        super().__init__(*layers)

    def forward(self, scene: Tensor) -> Tensor:
        images = scene.unsqueeze(-3)  # (…, 1, h, w)
        return batch_apply(super().forward, images)


class _Counter(nn.Module):
    """Logits of q(count|x) from the sum of the maps over the cells."""

    def __init__(self, channels: int, most: int) -> None:
        super().__init__()
        self.look = _Look(channels, norm=True)
        self.logits = mlp([channels, 64, most + 1])

    def forward(self, scene: Tensor) -> Tensor:
        seen = self.look(scene).sum((-2, -1))  # (…, channels)
        logits: Tensor = self.logits(seen / 10)  # (…, counts)
        return logits


class _Finder(nn.Module):
    """The parameters of q(where|scene): the mean place of the cells that attention falls on.

    A mean of two digits' places is at neither, so attention is sharp from the start and prefers
    cells on the left.
    """

    cells: Tensor

    def __init__(self, shape: Sequence[int], channels: int) -> None:
        super().__init__()
        self.look = _Look(channels, norm=False)
        self.read = nn.Conv2d(channels, 5, 1)
        height, width = shape
        grid = torch.meshgrid(_cells(height), _cells(width), indexing="ij")
        self.register_buffer("cells", torch.stack(grid), persistent=False)  # (2, down, across)
        down, across = self.cells
        self.prefer = nn.Parameter(-2.0 * down - 5.0 * across)

    def forward(self, left: Tensor) -> tuple[Tensor, Tensor]:
        maps = batch_apply(self.read, self.look(left))  # (…, 5, down, across)
        seen, shift, log_scale = maps.split([1, 2, 2], -3)
        logits = 3 * seen + self.prefer  # (…, 1, down, across)
        attention = logits.flatten(-2).softmax(-1)  # (…, 1, cells)
        place = (self.cells + 0.1 * shift).flatten(-2)  # (…, 2, cells)
        mean = (attention * place).sum(-1)  # (…, 2)
        log_scale = (attention * log_scale.flatten(-2)).sum(-1)  # (…, 2)
        return mean, scale(log_scale - 3)  # at first about a pixel


def _cells(side: int) -> Tensor:
    """Return the middles of the cells along a side that is pooled once and strided once."""
    cells = math.ceil(side // 2 / 2)
    return (2 * torch.arange(cells) + 1) / cells - 1


class _Encoder(nn.Module):
    """The program q(count|x) Π_k q(where_k|left_k) q(digit_k, style_k|window_k).

    left_k is x without the windows before.
    """

    def __init__(
        self,
        shape: Sequence[int],
        most: int,
        side: int,
        hidden: Sequence[int],
        classes: int,
        normals: int,
    ) -> None:
        super().__init__()
        self.shape, self.most, self.side = tuple(shape), most, side
        self.count, self.find = _Counter(16, most), _Finder(shape, 16)
        self.reader = _Reader(side, hidden, classes, normals)

    def forward(self, x: Tensor, count: Tensor | None = None) -> Trace:
        q = Trace()
        count = q.categorical(self.count(x), value=count, name="count")
        number = _number(count)
        left = x
        for k in range(self.most):
            there = k < number
            mean, sd = self.find(left)
            where = q.normal(mean, sd, name=f"where_{k}", where=there)
            rows, columns = lens(where, self.side, self.shape)
            window = rows @ left @ columns.mT  # (…, side, side)
            self.reader(q, window, f"_{k}", where=there)
            left = left * (1 - _within(rows, columns))
        return q


class _Decoder(nn.Module):
    """The program p(count) Π_k p(where_k) p(digit_k) p(style_k) p(x|ink).

    A pixel of x is white with probability 1 − exp(−its ink).
    """

    evenly: Tensor

    def __init__(
        self,
        shape: Sequence[int],
        most: int,
        side: int,
        hidden: Sequence[int],
        classes: int,
        normals: int,
    ) -> None:
        super().__init__()
        self.shape, self.most, self.side = tuple(shape), most, side
        self.where_mean = nn.Parameter(torch.full((most, 2), 0.0))
        self.where_log_scale = nn.Parameter(torch.full((most, 2), -1.0))
        self.writer = _Writer(side, hidden, classes, normals)
        self.register_buffer("evenly", torch.zeros(most + 1), persistent=False)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        number = _number(p.categorical(self.evenly, value=q["count"], name="count"))
        drawn = []  # the ink of every step, (…, h, w)
        for k in range(self.most):
            mean, sd = self.where_mean[k], scale(self.where_log_scale[k])
            site = f"where_{k}"
            where = p.normal(mean, sd, value=q[site], name=site)
            rows, columns = lens(where, self.side, self.shape)
            window = self.writer(p, q, f"_{k}")  # (…, side, side)
            drawn.append(rows.mT @ window @ columns)
        steps = torch.arange(self.most, device=number.device)
        exists = (steps < number.unsqueeze(-1)).to(number.dtype)  # (…, most)
        ink = torch.einsum("...k,...khw->...hw", exists, torch.stack(drawn, -3))
        _observe(p, ink, x)
        return p


def _observe(p: Trace, ink: Tensor, x: Tensor | None) -> None:
    """Add the site x: a pixel is white with probability 1 − exp(−ink), and rarely without ink."""
    p.bernoulli((FAINT + ink).expm1().log(), value=x, name="x")


def _number(count: Tensor) -> Tensor:
    """Return the number (…) that a count says, written one-hot in (…, most + 1)."""
    numbers = torch.arange(count.shape[-1], device=count.device)
    return (count * numbers).sum(-1)


def _within(rows: Tensor, columns: Tensor) -> Tensor:
    """Return how far each pixel is inside the window, in [0, 1], (…, h, w)."""
    down, across = rows.sum(-2), columns.sum(-2)  # (…, h) and (…, w)
    return down.unsqueeze(-1) * across.unsqueeze(-2)


class _WindowEncoder(nn.Module):
    """The program q(digit, style|window) by itself."""

    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x: Tensor, digit: Tensor | None = None) -> Trace:
        q = Trace()
        self.reader(q, x, digit=digit)
        return q


class _WindowDecoder(nn.Module):
    """The program p(window, digit, style) by itself."""

    def __init__(self, writer: nn.Module) -> None:
        super().__init__()
        self.writer = writer

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        ink = self.writer(p, q)  # (…, side, side)
        _observe(p, ink, x)
        return p


def of_windows(model: Model) -> Model:
    """Return the digit sub-model of `counting` by itself, weights shared.

    It is q(digit, style|window) and p(window, digit, style). Trained on single digits (items (side,
    side); `digit` may be given) it trains that part of the whole.
    """
    encoder: Any = model.encoder
    decoder: Any = model.decoder
    return Model(_WindowEncoder(encoder.reader), _WindowDecoder(decoder.writer))


@family
def counting(
    shape: Sequence[Size] = (50, 50),
    most: Size = 3,
    side: Size = 24,
    hidden: Sequence[Size] = (200,),
    classes: Size = 10,
    normals: Size = 10,
) -> Model:
    r"""A program whose number of steps is latent: 0 to `most` digits, one a step, each in a window.

    .. math:: p(x|z) = \prod_i \mathrm{Bernoulli}\Big(x_i \,\Big|\,
        1 - \exp\Big(-\sum_{k<count} ink_{ki}\Big)\Big)

    Digits overlay as causes of which any suffices (a noisy or). Each step's `where` is Normal, its
    `digit` Concrete on `classes`, its `style` `normals` Normals; steps from the count on do not
    exist and count in no term. The count is enumerated: the bound sums over it exactly. The encoder
    finds a digit in what is left of the scene, reads its window, takes it out, and goes on;
    `p(where_k)` is Normal with learned means and scales.

    Source: Siddharth et al., "Learning Disentangled Representations with Semi-Supervised Deep
    Generative Models" (2017); the recurrence after Eslami et al., "Attend, Infer, Repeat" (2016).
    Groups: one a site.

    Args:
        shape: Height and width of a scene.
        most: Digits of a scene at most.
        side: Pixels of a window's side.
        hidden: Units of the hidden layers that read and draw windows.
        classes: Classes of a digit.
        normals: Units of a style.

    >>> q, p = counting((50, 50))(torch.rand(5, 50, 50))
    >>> q["count"].value.shape, q["where_2"].exists.shape, p["x"].log_prob.shape
    (torch.Size([4, 5, 4]), torch.Size([4, 5, 1]), torch.Size([4, 5, 50, 50]))
    """
    return Model(
        _Encoder(shape, most, side, hidden, classes, normals),
        _Decoder(shape, most, side, hidden, classes, normals),
    )
