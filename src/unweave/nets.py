"""Network parts; nothing here is probabilistic."""

from __future__ import annotations

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


def scale(raw: Tensor, bound: float = 7.0) -> Tensor:
    """exp(raw), bent so that it stays within exp(±bound): a standard deviation from a network's output.

    Unbounded log-scales are the usual cause of NaN in variational autoencoders; near 0 this is exp to third order.
    """
    return (bound * torch.tanh(raw / bound)).exp()


def cat(tensors: Sequence[Tensor], dim: int = -1) -> Tensor:
    """torch.cat of tensors whose other dimensions broadcast: (N, 400) and (M, 1, 10) give (M, N, 410).

    >>> cat([torch.zeros(5, 3), torch.zeros(2, 1, 4)]).shape
    torch.Size([2, 5, 7])
    """
    lead = torch.broadcast_shapes(*(t.movedim(dim, -1).shape[:-1] for t in tensors))
    return torch.cat([t.movedim(dim, -1).expand(*lead, -1) for t in tensors], -1).movedim(-1, dim)
