"""Linear layers of tensors that stand side by side, multiplied before they are repeated."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from torch.overrides import TorchFunctionMode


class apart(TorchFunctionMode):
    """A context in which a linear layer of joined tensors multiplies each of them by itself.

    For all pairs of items n and rows i, a layer after `torch.cat`, or `nets.cat`, is

    .. math:: W [h_n, y_i] + b = W_h h_n + W_y y_i + b

    so that no product is made once for each pair, and the tensors that were joined are never
    repeated in memory. Sums come in another order: values differ by float rounding.

    >>> h, y = torch.rand(50, 3), torch.rand(40, 1, 2)
    >>> layer = torch.nn.Linear(5, 4)
    >>> joined = torch.cat([h.expand(40, -1, -1), y.expand(-1, 50, -1)], -1)
    >>> with apart():
    ...     found = layer(torch.cat([h.expand(40, -1, -1), y.expand(-1, 50, -1)], -1))
    >>> torch.allclose(found, layer(joined), atol=1e-6)
    True
    """

    def __torch_function__(
        self,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        if func is torch.cat and not kwargs and len(args) == 2:
            tensors, dim = args
            if dim in (-1, tensors[0].ndim - 1) and _some_repeat(tensors):
                return _joined(tensors)
        return func(*args, **(kwargs or {}))


class _Joined(Tensor):
    """Tensors side by side along the last dimension, joined in memory only when that is asked."""

    parts: Sequence[Tensor]

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        with torch._C.DisableTorchFunctionSubclass():
            if func.__name__ == "__get__":  # a shape, a type: the same of the stand-in
                return func(*args, **kwargs)
            if func is functional.linear and not kwargs:
                return _linear(*args)
            args, kwargs = torch.utils._pytree.tree_map_only(cls, _in_memory, (args, kwargs))
            return func(*args, **kwargs)


def _some_repeat(tensors: Sequence[Tensor]) -> bool:
    """Return true if plain tensors are joined, some of which repeat the same memory."""
    are_plain = all(type(t) is Tensor for t in tensors)
    return are_plain and any(_repeats(t) for t in tensors)


def _repeats(t: Tensor) -> list[int]:
    """Return the dimensions along which all entries are the same memory."""
    sizes = zip(t.shape[:-1], t.stride(), strict=False)
    return [dim for dim, (size, stride) in enumerate(sizes) if size > 1 and stride == 0]


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    first, *_ = tensors
    width = sum(t.shape[-1] for t in tensors)
    shape = (*first.shape[:-1], width)
    stand_in = first.new_empty(()).expand(shape)  # it has a shape, and no memory
    joined = stand_in.as_subclass(_Joined)
    joined.parts = tensors
    return joined


def _in_memory(joined: _Joined) -> Tensor:
    return torch.cat(list(joined.parts), -1)


def _linear(x: Tensor, weight: Tensor, bias: Tensor | None = None) -> Tensor:
    """Return W x + b as a sum over the parts of x, each of them multiplied without its repeats."""
    if not isinstance(x, _Joined):
        return functional.linear(x, weight, bias)
    widths = [part.shape[-1] for part in x.parts]
    columns = weight.split(widths, -1)
    total: Tensor | None = bias
    for part, some in zip(x.parts, columns, strict=True):
        for dim in _repeats(part):
            part = part.narrow(dim, 0, 1)
        product = functional.linear(part, some)
        total = product if total is None else total + product
    assert total is not None
    return total.expand(*x.shape[:-1], -1)
