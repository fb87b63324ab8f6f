"""Shapes that broadcast with one another, remembered: a training asks for few of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

import torch


def broadcast(*shapes: Sequence[int]) -> torch.Size:
    """Return the shape that some shapes broadcast to.

    Raises:
        RuntimeError: The sizes of some dimension differ, and none is one.

    >>> broadcast((3, 1), (4,))
    torch.Size([3, 4])
    """
    return _broadcast(*map(tuple, shapes))


@lru_cache(1024)
def _broadcast(*shapes: tuple[int, ...]) -> torch.Size:
    full: torch.Size = torch.broadcast_shapes(*shapes)
    return full
