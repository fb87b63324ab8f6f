"""A posterior of all items, which are encoded some at a time."""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..data import Data
from ..models.model import Model, seeded
from ..trace.node import Law, Node
from ..trace.trace import Trace
from ..training.items import Kept


def chunks(x: Tensor | Kept, rows: int = 4096) -> Iterator[Tensor]:
    """Yield the items in turn, in equal parts of at most so many, as floats."""
    parts = math.ceil(len(x) / rows)
    ends = [len(x) * i // parts for i in range(parts + 1)]
    for start, end in itertools.pairwise(ends):
        yield x[start:end]


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
            _fill(whole[name], node, start)
        start += len(part)
    return whole


def posterior(model: Model, data: Data) -> Trace:
    """Return `model.posterior` of all items, which are encoded some at a time."""
    with seeded(0):
        return encoded(model, Kept(data.x)).draw()


def _fill(whole: Node | Distribution, part: Node | Distribution, start: int) -> None:
    """Write the part's tensors into the whole's, from item `start` on.

    They differ in length along the items.
    """
    for key, t in vars(part).items():
        room = vars(whole)[key]
        if isinstance(t, Distribution):
            _fill(room, t, start)
        elif isinstance(t, Law):
            for own, some in zip(room.inputs, t.inputs, strict=True):
                _place(own, some, start)
        elif isinstance(t, Tensor):
            _place(room, t, start)


def _place(room: Tensor, t: Tensor, start: int) -> None:
    if t.shape != room.shape:
        (dim,) = (
            d
            for d, (size, all_) in enumerate(zip(t.shape, room.shape, strict=True))
            if size != all_
        )
        room.narrow(dim, start, t.shape[dim]).copy_(t)
