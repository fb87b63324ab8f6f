"""A posterior of all items, which are encoded some at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor

from ..data import Data
from ..models.model import Model, seeded
from ..trace.node import Node
from ..trace.trace import Trace
from ..training.items import Kept


def chunks(x: Tensor | Kept, rows: int = 4096) -> Iterator[Tensor]:
    """Yield the items in turn, in equal parts of at most so many, as floats."""
    parts = math.ceil(len(x) / rows)
    ends = [len(x) * i // parts for i in range(parts + 1)]
    for start, end in itertools.pairwise(ends):
        yield x[start:end]


def evenly(n: int, most: int) -> Tensor:
    """Return the numbers of at most so many of `n` items, spaced evenly from first to last."""
    return torch.linspace(0, n - 1, min(n, most)).round().long()


@torch.no_grad()
def encoded(model: Model, x: Tensor | Kept, rows: int = 4096) -> Trace:
    """Return the encoder's trace of all items, which are encoded some at a time."""
    parts = chunks(x, rows)
    first = next(parts)
    trace: Trace = model.encoder(first)
    if len(first) == len(x):
        return trace
    # The first items are in their places; the others' places are filled below.
    whole = trace.take(torch.arange(len(x)) % len(first))
    start = len(first)
    for part in parts:
        for name, node in model.encoder(part).aligned().items():
            _fill(whole[name], node, len(whole.classes()), start)
        start += len(part)
    return whole


def posterior(model: Model, data: Data) -> Trace:
    """Return `model.posterior` of all items, which are encoded some at a time."""
    with seeded(0):
        return encoded(model, kept(model, data)).draw()


def place(model: Model) -> torch.device:
    """Return the device of a model's weights."""
    return next(model.parameters()).device


def beside(model: Model) -> AbstractContextManager[Any]:
    """Return a context in which new tensors are made on a model's device."""
    device = place(model)
    return nullcontext() if device.type == "cpu" else device


def kept(model: Model, data: Data) -> Kept:
    """Return the items, which come to the model's device as they are indexed."""
    return Kept(data.x, place(model))


def _fill(whole: Node, part: Node, dim: int, start: int) -> None:
    """Write a part's tensors into the whole's, from item `start` on; `dim` is that of the items."""
    tensors: list[Tensor] = []

    def collect(t: Tensor, _: int) -> Tensor:
        tensors.append(t)
        return t

    def write(room: Tensor, own: int) -> Tensor:
        t = tensors.pop(0)
        room.narrow(own, start, t.shape[own]).copy_(t)
        return room

    part.along(dim, collect)
    whole.along(dim, write)  # the same tensors in the same order
