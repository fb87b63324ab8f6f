"""Dimensions that run over the classes of enumerated sites, and tensors that know of them.

Each enumerated site puts a dimension in front of those before it: `(*classes, *samples, batch, …)`.
A program sees only the class dimensions that a tensor depends on; a trace keeps all that it had
when the site entered, of size one where the site does not depend on the class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

JOINING = (torch.cat, torch.concat, torch.concatenate, torch.stack)


class Enumerated(Tensor):
    """A tensor whose first `classes` dimensions run over the classes of enumerated sites.

    Everything computed from it knows that too, so a trace is told how many class dimensions a
    parameter has; shapes alone cannot say that where there are as many items as classes.
    `torch.cat` and `torch.stack` join it with tensors that lack its class dimensions.

    >>> import torch, unweave as uw
    >>> q = uw.Trace()
    >>> y = q.categorical(torch.zeros(3, 3), name="y")
    >>> h = torch.cat([torch.zeros(3, 5), y], -1)
    >>> h.shape, h.classes
    (torch.Size([3, 3, 8]), 1)
    """

    classes: int

    @classmethod
    def __torch_function__(
        cls,
        func: Callable[..., Any],
        types: Any,
        args: Sequence[Any] = (),
        kwargs: dict[str, Any] | None = None,
    ) -> Any:
        kwargs = kwargs or {}
        classes = max(_most_classes(args), _most_classes(kwargs.values()))
        with torch._C.DisableTorchFunctionSubclass():
            if func in JOINING:
                return _join(func, classes, *args, **kwargs)
            return _tell(func(*args, **kwargs), classes)


def told(t: Tensor, classes: int) -> Tensor:
    """Return the tensor as one whose first `classes` dimensions run over classes."""
    if not classes:
        return t
    marked = t.as_subclass(Enumerated)
    marked.classes = classes
    return marked


def classes_of(t: Tensor) -> int:
    """Return how many class dimensions a tensor has been told that it has."""
    return t.classes if isinstance(t, Enumerated) else 0


def plain(t: Tensor) -> Tensor:
    """Return the tensor without what it was told."""
    return t.as_subclass(Tensor) if isinstance(t, Enumerated) else t


def _most_classes(values: Any) -> int:
    most = 0
    for value in values:
        if isinstance(value, Enumerated):
            most = max(most, value.classes)
        elif isinstance(value, (list, tuple)):
            most = max(most, _most_classes(value))
    return most


def _tell(result: Any, classes: int) -> Any:
    if isinstance(result, Tensor):
        return result if isinstance(result, Enumerated) else told(result, classes)
    if isinstance(result, (list, tuple)) and not isinstance(result, torch.Size):
        parts = [_tell(part, classes) for part in result]
        return type(result)(parts)
    return result


def _join(
    func: Callable[..., Tensor], classes: int, tensors: Sequence[Tensor], dim: int = 0, **more: Any
) -> Tensor:
    """Join tensors, some of which lack class dimensions, along a dimension counted from the end."""
    dim = more.pop("axis", dim)
    ndims = [t.ndim for t in tensors]
    if dim >= 0 and min(ndims) < max(ndims):
        shapes = ", ".join(str(tuple(t.shape)) for t in tensors)
        raise ValueError(
            f"{func.__name__}(…, dim={dim}) of tensors with the classes of an enumerated site in "
            f"front, whose shapes are {shapes}: count dimensions from the end, "
            f"dim={dim - min(ndims)} for what is dim={dim} without classes"
        )
    if func is torch.stack and dim < 0:
        tensors = torch.broadcast_tensors(*tensors)
    elif dim < 0:
        tensors = _broadcast_but(dim, tensors)
    return told(func(tensors, dim, **more), classes)


def _broadcast_but(dim: int, tensors: Sequence[Tensor]) -> list[Tensor]:
    """Return tensors of the same shape but for one dimension."""
    moved = [t.movedim(dim, -1) for t in tensors]
    lead = torch.broadcast_shapes(*(t.shape[:-1] for t in moved))
    return [t.expand(*lead, -1).movedim(-1, dim) for t in moved]


@dataclass(frozen=True)
class Axes:
    """The class dimensions of a trace, `sizes`, and its items, `lead` = `(*samples, batch)`."""

    sizes: tuple[int, ...]
    lead: tuple[int, ...]

    def count(self, shape: Sequence[int], classes: int, what: str) -> int:
        """Return how many class dimensions a program's tensor has that was told of `classes`.

        A computation may lose or sum over class dimensions; then the shape says how many there are.

        Raises:
            ValueError: If the shape is no `(*classes, *samples, batch, …)`.
        """
        if self._fits(shape, classes):
            return classes
        others = [c for c in range(len(self.sizes) + 1) if self._fits(shape, c)]
        if len(others) == 1:
            return others[0]
        raise ValueError(
            f"{what} has shape {tuple(shape)}: expected (*classes, *samples, batch, …) with "
            f"classes {self.sizes} (as many of the last as it depends on) and items {self.lead}; "
            "count dimensions from the end, and let unweave.nets.cat join tensors that differ in "
            "them"
        )

    def full(self, t: Tensor, what: str) -> Tensor:
        """Return a program's tensor with all class dimensions, `(*classes, *samples, batch, …)`."""
        missing = len(self.sizes) - self.count(t.shape, classes_of(t), what)
        return pad(plain(t), missing)

    def _fits(self, shape: Sequence[int], classes: int) -> bool:
        if classes > len(self.sizes):
            return False
        lead = tuple(shape[classes : classes + len(self.lead)])
        if lead != self.lead:
            return False
        sizes = self.sizes[len(self.sizes) - classes :]
        return all(size in (1, full) for size, full in zip(shape, sizes, strict=False))


def pad(t: Tensor, missing: int) -> Tensor:
    """Return the tensor with so many dimensions of size one in front."""
    return t.reshape(*[1] * missing, *t.shape) if missing else t


def shown(t: Tensor, classes: int) -> Tensor:
    """Return a trace's tensor as programs see it: with the class dimensions it depends on."""
    if not classes:
        return t
    t, unused = plain(t), 0
    while unused < classes and t.shape[unused] == 1:
        unused += 1
    return told(t.reshape(t.shape[unused:]), classes - unused)
