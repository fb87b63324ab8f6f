"""Dimensions that run over the classes of enumerated sites, and tensors that know of them.

Each enumerated site puts a dimension in front of those before it: `(*classes, *samples, batch, …)`.
A program sees only the class dimensions that a tensor depends on; a trace keeps all that it had
when the site entered, of size one where the site does not depend on the class.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.overrides import get_default_nowrap_functions

JOINING = (torch.cat, torch.concat, torch.concatenate, torch.stack)


@dataclass(frozen=True)
class Axes:
    """The class dimensions of a trace, `sizes`, and its items, `lead` = `(*samples, batch)`."""

    sizes: tuple[int, ...]
    lead: tuple[int, ...]

    def count(self, shape: Sequence[int], classes: int, what: str) -> int:
        """Return how many class dimensions a program's tensor has.

        A computation may lose or sum over class dimensions; then the shape says how many are left.

        Args:
            shape: The tensor's shape.
            classes: How many class dimensions the tensor knows of.
            what: The tensor's name in an error.

        Raises:
            ValueError: If the shape is no `(*classes, *samples, batch, …)`.
        """
        if self._fits(shape, classes):
            return classes
        numbers = range(len(self.sizes) + 1)
        possible = [number for number in numbers if self._fits(shape, number)]
        if len(possible) == 1:
            return possible[0]
        raise ValueError(
            f"{what} has shape {tuple(shape)}: expected (*classes, *samples, batch, …) with "
            f"classes {self.sizes} (as many of the last as it depends on) and items {self.lead}; "
            "count dimensions from the end, and let unweave.nets.cat join tensors that differ in "
            "them"
        )

    def full(self, t: Tensor, what: str) -> Tensor:
        """Return a program's tensor with all class dimensions, `(*classes, *samples, batch, …)`."""
        own = self.count(t.shape, classes_of(t), what)
        missing = len(self.sizes) - own
        return pad(plain(t), missing)

    def _fits(self, shape: Sequence[int], classes: int) -> bool:
        """True if a shape is `(*classes, *samples, batch, …)` with so many class dimensions."""
        unused = len(self.sizes) - classes
        if unused < 0:
            return False
        end = classes + len(self.lead)
        if tuple(shape[classes:end]) != self.lead:
            return False
        for size, full in zip(shape, self.sizes[unused:], strict=False):
            if size not in (1, full):
                return False
        return True


class Enumerated(Tensor):
    """A tensor whose first dimensions run over the classes of enumerated sites.

    Everything computed from it knows that too. So a trace learns how many class dimensions a
    parameter has; shapes alone cannot say that where there are as many items as classes.
    `torch.cat` and `torch.stack` join it with tensors that lack its class dimensions.

    Attributes:
        classes: How many of the first dimensions run over classes.
        axes: All class dimensions of the trace that the tensor comes from, and its items.

    >>> import torch, unweave as uw
    >>> q = uw.Trace()
    >>> y = q.categorical(torch.zeros(3, 3), name="y")
    >>> h = torch.cat([torch.zeros(3, 5), y], -1)
    >>> h.shape, h.classes
    (torch.Size([3, 3, 8]), 1)
    """

    classes: int
    axes: Axes

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        source = _deepest((*args, *kwargs.values()))
        with torch._C.DisableTorchFunctionSubclass():
            if func in JOINING:
                return _tell(_join(func, *args, **kwargs), source)
            result = func(*args, **kwargs)
            if func in get_default_nowrap_functions():  # a tensor that was made before, as `_base`
                return result
            return _tell(result, source)

    def __copy__(self) -> Tensor:
        return told(plain(self), self.classes, self.axes)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        copied = copy.deepcopy(plain(self), memo)
        return told(copied, self.classes, self.axes)

    def __reduce_ex__(self, protocol: Any) -> Any:
        bare = plain(self)  # files hold tensors that torch reads without this package
        return bare.__reduce_ex__(protocol)


def told(t: Tensor, classes: int, axes: Axes | None) -> Tensor:
    """Return the tensor as one whose first `classes` dimensions run over classes."""
    if not classes or axes is None:
        return t
    marked = t.as_subclass(Enumerated)
    marked.classes = classes
    marked.axes = axes
    return marked


def classes_of(t: Tensor) -> int:
    """Return how many class dimensions a tensor knows of."""
    return t.classes if isinstance(t, Enumerated) else 0


def plain(t: Tensor) -> Tensor:
    """Return the tensor without its knowledge of classes."""
    return t.as_subclass(Tensor) if isinstance(t, Enumerated) else t


def pad(t: Tensor, missing: int) -> Tensor:
    """Return the tensor with so many dimensions of size one in front; below zero, with fewer."""
    if not missing:
        return t
    if missing < 0:
        return t.reshape(t.shape[-missing:])
    ones = [1] * missing
    return t.reshape(*ones, *t.shape)


def shown(t: Tensor, classes: int, axes: Axes | None) -> Tensor:
    """Return a trace's tensor as programs see it: with the class dimensions it depends on."""
    if not classes:
        return t
    unused = leading_ones(t.shape, classes)
    own = pad(plain(t), -unused)
    return told(own, classes - unused, axes)


def leading_ones(shape: Sequence[int], most: int) -> int:
    """Return how many of the first dimensions, `most` of them at most, have size one."""
    ones = 0
    while ones < most and shape[ones] == 1:
        ones += 1
    return ones


def _deepest(values: Iterable[Any]) -> Enumerated | None:
    """Return the tensor with the most class dimensions, if any argument has some."""
    deepest: Enumerated | None = None
    for value in values:
        found = value
        if isinstance(value, (list, tuple)):
            found = _deepest(value)
        if isinstance(found, Enumerated) and (deepest is None or found.classes > deepest.classes):
            deepest = found
    return deepest


def _tell(result: Any, source: Enumerated | None) -> Any:
    """Return a function's result, each tensor of which knows the classes of the source."""
    if source is None or isinstance(result, Enumerated):
        return result
    if isinstance(result, Tensor):
        return told(result, source.classes, source.axes)
    if isinstance(result, (list, tuple)) and not isinstance(result, torch.Size):
        parts = [_tell(part, source) for part in result]
        return type(result)(parts)
    return result


def _join(
    func: Callable[..., Tensor], tensors: Sequence[Tensor], dim: int = 0, **more: Any
) -> Tensor:
    """Join tensors, some of which lack class dimensions, along a dimension counted from the end."""
    dim = more.pop("axis", dim)
    ndims = [t.ndim for t in tensors]
    least = min(ndims)
    if dim >= 0 and least < max(ndims):
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        raise ValueError(
            f"{func.__name__}(…, dim={dim}) of tensors with the classes of an enumerated site in "
            f"front, whose shapes are {shapes}: count dimensions from the end, "
            f"dim={dim - least} for what is dim={dim} without classes"
        )
    if func is torch.stack and dim < 0:
        tensors = torch.broadcast_tensors(*tensors)
    elif dim < 0:
        tensors = _broadcast_but(dim, tensors)
    return func(tensors, dim, **more)


def _broadcast_but(dim: int, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of the same shape but for one dimension."""
    moved = [t.movedim(dim, -1) for t in tensors]
    lead = torch.broadcast_shapes(*(t.shape[:-1] for t in moved))
    return [t.expand(*lead, -1).movedim(-1, dim) for t in moved]
