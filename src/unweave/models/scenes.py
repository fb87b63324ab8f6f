"""Scenes of objects: how many there are, and of each where it is, which it is and how it looks."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from ..nets import cat, mlp, scale
from ..trace.trace import Trace
from .model import Model, family

TEMPERATURE = 0.66
"""Of the Concrete digits."""

FAINT = 1e-3
"""The ink where nothing was drawn: a pixel there is white with probability 0.001."""


def lens(where: Tensor, side: int, shape: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Rows (…, side, h) and columns (…, side, w) of a window about `where` (…, 2), its centre's row
    and column.

    The scene's edges are at ±1. `rows @ scene @ columns.mT` reads the window, with zeros beyond the
    scene, and `rows.mT @ window @ columns` draws it: the spatial transformer of Jaderberg et al.
    (2015) whose transformation is a shift, and its adjoint, as bilinear weights are products of
    max(0, 1 − distance) down and across.

    >>> rows, columns = lens(torch.zeros(5, 2), 4, (6, 8))
    >>> (rows @ torch.ones(6, 8) @ columns.mT).shape, (rows.mT @ torch.ones(5, 4, 4) @ columns).shape
    (torch.Size([5, 4, 4]), torch.Size([5, 6, 8]))
    """
    within = torch.arange(side, device=where.device) - (side - 1) / 2
    weights = []
    for at, length in zip(where.unbind(-1), shape, strict=True):
        pixel = ((at + 1) * length - 1).unsqueeze(-1) / 2 + within  # (…, side)
        distance = (
            pixel.unsqueeze(-1) - torch.arange(length, device=where.device)
        ).abs()  # (…, side, length)
        weights.append((1 - distance).clamp_min(0))
    return weights[0], weights[1]


class _Reader(nn.Module):
    """q(digit, style|window)."""

    def __init__(self, side: int, hidden: Sequence[int], classes: int, normals: int) -> None:
        super().__init__()
        self.h = nn.Sequential(mlp([side * side, *hidden]), nn.ReLU())
        self.digit, self.style = (
            nn.Linear(hidden[-1], classes),
            nn.Linear(hidden[-1] + classes, 2 * normals),
        )

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
        mean, log_scale = self.style(cat([h, digit])).chunk(2, -1)
        q.normal(mean, scale(log_scale), name=f"style{k}", where=where)


class _Writer(nn.Module):
    """p(digit) p(style), and the window's ink, ≥ 0."""

    evenly: Tensor

    def __init__(self, side: int, hidden: Sequence[int], classes: int, normals: int) -> None:
        super().__init__()
        self.ink = nn.Sequential(
            mlp([classes + normals, *reversed(hidden), side * side]), nn.Softplus()
        )
        nn.init.constant_(self.ink[0][-1].bias, -2.0)  # type: ignore[index]  # little ink, as in most pixels
        self.side = side
        self.register_buffer("evenly", torch.zeros(classes), persistent=False)

    def forward(self, p: Trace, q: Trace, k: str = "") -> Tensor:
        digit = p.concrete(self.evenly, TEMPERATURE, value=q[f"digit{k}"], name=f"digit{k}")
        style = p.normal(0.0, 1.0, value=q[f"style{k}"], name=f"style{k}")
        ink: Tensor = self.ink(cat([digit, style])).unflatten(-1, (self.side, self.side))
        return ink


class _Look(nn.Sequential):
    """Maps (…, channels, cells down, cells across) of scenes (…, h, w): a cell is 4 pixels, of
    which it sees 26.

    Batch norm is for scenes that are of one kind, as wholes are and what is left of them is not.
    """

    def __init__(self, channels: int, norm: bool) -> None:
        layers: list[nn.Module] = [nn.AvgPool2d(2)]
        for inputs, kernel, stride in ((1, 5, 2), (channels, 3, 1), (channels, 3, 1)):
            layers.append(nn.Conv2d(inputs, channels, kernel, stride, kernel // 2))
            layers += [nn.BatchNorm2d(channels), nn.ReLU()] if norm else [nn.ReLU()]
        super().__init__(*layers)

    def forward(self, scene: Tensor) -> Tensor:
        maps: Tensor = (
            super().forward(scene.reshape(-1, 1, *scene.shape[-2:])).unflatten(0, scene.shape[:-2])
        )
        return maps


class _Counter(nn.Module):
    """Logits of q(count|x) from what is seen in the cells, added up."""

    def __init__(self, channels: int, most: int) -> None:
        super().__init__()
        self.look, self.logits = _Look(channels, norm=True), mlp([channels, 64, most + 1])

    def forward(self, scene: Tensor) -> Tensor:
        logits: Tensor = self.logits(self.look(scene).sum((-2, -1)) / 10)
        return logits


class _Finder(nn.Module):
    """q(where|what is left of the scene): the mean place of the cells that attention falls on.

    A mean of two digits' places is at neither, so attention is sharp from the start and prefers
    what is on the left.
    """

    cells: Tensor

    def __init__(self, shape: Sequence[int], channels: int) -> None:
        super().__init__()
        self.look, self.read = _Look(channels, norm=False), nn.Conv2d(channels, 5, 1)
        down, across = (
            (2 * torch.arange(n) + 1) / n - 1 for n in (-(-(side // 2) // 2) for side in shape)
        )
        self.register_buffer(
            "cells", torch.stack(torch.meshgrid(down, across, indexing="ij")), persistent=False
        )
        self.prefer = nn.Parameter(-2.0 * self.cells[0] - 5.0 * self.cells[1])

    def forward(self, left: Tensor) -> tuple[Tensor, Tensor]:
        maps = self.read(self.look(left).flatten(0, -4)).unflatten(
            0, left.shape[:-2]
        )  # (…, 5, down, across)
        seen, shift, log_scale = maps.split([1, 2, 2], -3)
        attention = (3 * seen + self.prefer).flatten(-2).softmax(-1)
        mean, log_scale = (
            (attention * each.flatten(-2)).sum(-1) for each in (self.cells + 0.1 * shift, log_scale)
        )
        return mean, scale(log_scale - 3)  # at first about a pixel


class _Encoder(nn.Module):
    """q(count|x) Π_k q(where_k|left_k) q(digit_k, style_k|window_k); left_k is x without the
    windows before.
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
        number = _number(q.categorical(self.count(x), value=count, name="count"))
        left = x
        for k in range(self.most):
            there = k < number
            where = q.normal(*self.find(left), name=f"where_{k}", where=there)
            rows, columns = lens(where, self.side, self.shape)
            self.reader(q, rows @ left @ columns.mT, f"_{k}", where=there)
            left = left * (1 - _within(rows, columns))
        return q


class _Decoder(nn.Module):
    """p(count) Π_k p(where_k) p(digit_k) p(style_k); a pixel of x is white with probability 1 −
    exp(−its ink).
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
        self.where_mean, self.where_log_scale = (
            nn.Parameter(torch.full((most, 2), at)) for at in (0.0, -1.0)
        )
        self.writer = _Writer(side, hidden, classes, normals)
        self.register_buffer("evenly", torch.zeros(most + 1), persistent=False)

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        p = Trace()
        number = _number(p.categorical(self.evenly, value=q["count"], name="count"))
        drawn = []
        for k in range(self.most):
            mean, deviation = self.where_mean[k], scale(self.where_log_scale[k])
            where = p.normal(mean, deviation, value=q[f"where_{k}"], name=f"where_{k}")
            rows, columns = lens(where, self.side, self.shape)
            drawn.append(rows.mT @ self.writer(p, q, f"_{k}") @ columns)
        exists = torch.arange(self.most, device=number.device) < number.unsqueeze(-1)  # (…, most)
        ink = FAINT + torch.einsum(
            "...k,...khw->...hw", exists.to(number.dtype), torch.stack(drawn, -3)
        )
        p.bernoulli(ink.expm1().log(), value=x, name="x")
        return p


def _number(count: Tensor) -> Tensor:
    """The number that a count is, written one-hot in (…, most + 1)."""
    return (count * torch.arange(count.shape[-1], device=count.device)).sum(-1)


def _within(rows: Tensor, columns: Tensor) -> Tensor:
    """How far a pixel is inside the window, in [0, 1], (…, h, w)."""
    return rows.sum(-2).unsqueeze(-1) * columns.sum(-2).unsqueeze(-2)


class _WindowEncoder(nn.Module):
    def __init__(self, reader: nn.Module) -> None:
        super().__init__()
        self.reader = reader

    def forward(self, x: Tensor, digit: Tensor | None = None) -> Trace:
        self.reader(q := Trace(), x, digit=digit)
        return q


class _WindowDecoder(nn.Module):
    def __init__(self, writer: nn.Module) -> None:
        super().__init__()
        self.writer = writer

    def forward(self, x: Tensor | None, q: Trace) -> Trace:
        ink = self.writer(p := Trace(), q)
        p.bernoulli((FAINT + ink).expm1().log(), value=x, name="x")
        return p


def of_windows(model: Model) -> Model:
    """The digit sub-model of `counting` by itself, q(digit, style|window) and p(window, digit,
    style), weights shared.

    Trained on single digits (items (side, side); `digit` may be given) it trains that part of the
    whole.
    """
    return Model(_WindowEncoder(model.encoder.reader), _WindowDecoder(model.decoder.writer))  # type: ignore[arg-type]


@family
def counting(
    shape: Sequence[int] = (50, 50),
    most: int = 3,
    side: int = 24,
    hidden: Sequence[int] = (200,),
    classes: int = 10,
    normals: int = 10,
) -> Model:
    r"""A program whose number of steps is latent: 0 to `most` digits, one a step, each in a window
    of `side` pixels.

    .. math:: p(x|z) = \prod_i \mathrm{Bernoulli}\Big(x_i \,\Big|\, 1 - \exp\Big(-\sum_{k<count} ink_{ki}\Big)\Big)

    Digits overlay as causes of which any suffices (a noisy or). Each step's `where` is Normal, its
    `digit` Concrete on `classes`, its `style` `normals` Normals; steps from the count on do not
    exist and count in no term. The count is enumerated: the bound sums over it exactly. The encoder
    finds a digit in what is left of the scene, reads its window, takes it out, and goes on;
    `p(where_k)` is Normal with learned means and scales.

    Source: Siddharth et al., "Learning Disentangled Representations with Semi-Supervised Deep
    Generative Models" (2017); the recurrence after Eslami et al., "Attend, Infer, Repeat" (2016).
    Groups: one a site.

    >>> q, p = counting((50, 50))(torch.rand(5, 50, 50))
    >>> q["count"].value.shape, q["where_2"].exists.shape, p["x"].log_prob.shape
    (torch.Size([4, 5, 4]), torch.Size([4, 5, 1]), torch.Size([4, 5, 50, 50]))
    """
    return Model(
        _Encoder(shape, most, side, hidden, classes, normals),
        _Decoder(shape, most, side, hidden, classes, normals),
    )
