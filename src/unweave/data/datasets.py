"""Data sets such as torch's, pairs of arrays, and sequences, read into arrays."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray


def is_dataset(source: object) -> bool:
    """Return whether a source gives items by number or in turn and is no array, list or mapping."""
    known = isinstance(source, Mapping | Sequence) or hasattr(source, "__array__")
    in_turn = hasattr(source, "__iter__") and hasattr(source, "__len__")
    return (hasattr(source, "__getitem__") or in_turn) and not known


def is_pair(source: object) -> TypeGuard[tuple[Any, ...]]:
    """Return whether a source is a tuple of arrays of as many items: x, and labels."""
    if not isinstance(source, tuple) or len(source) < 2:
        return False
    shapes = [getattr(part, "shape", ()) for part in source]
    return len({shape[:1] for shape in shapes}) == 1 and shapes[0] != ()


def sequences(source: object) -> NDArray[np.float32] | None:
    """Return sequences of different lengths as one array, NaN behind the ends of shorter ones.

    Args:
        source: Anything; a list of arrays (steps, …) that differ in their steps is read.

    Returns:
        The array (n, most steps, …), None of anything else.

    >>> sequences([np.zeros((2, 1)), np.ones((3, 1))])[0].ravel().tolist()
    [0.0, 0.0, nan]
    """
    if not isinstance(source, list) or not source:
        return None
    if not all(hasattr(one, "shape") for one in source):
        return None
    parts = [array_of(one) for one in source]
    kinds = {part.shape[1:] for part in parts}
    lengths = {len(part) for part in parts if part.ndim}
    is_plain = all(part.dtype.kind in "biuf" for part in parts)
    if len(kinds) > 1 or len(lengths) < 2 or not is_plain:
        return None
    joined = np.full((len(parts), max(lengths), *kinds.pop()), np.nan, np.float32)
    for row, part in zip(joined, parts, strict=True):
        row[: len(part)] = part
    return joined


def arrays(dataset: Any) -> tuple[dict[str, NDArray[Any]], list[str] | None]:
    """Read all items of a data set, each once and in order.

    Args:
        dataset: The data set. Its items are x, tuples of x and labels, or mappings.

    Returns:
        The arrays, and the names of those that are labels; None if the items do not say. Those of
        tuples are "x", "label", "label 2", ….

    Raises:
        ValueError: If the data set has no length or gives batches, or its items are not all of one
            form.

    >>> class Squares:
    ...     def __len__(self):
    ...         return 3
    ...     def __getitem__(self, k):
    ...         return np.full(2, k), k * k  # for any k: iteration would never end
    >>> found, labels = arrays(Squares())
    >>> found["x"].tolist(), found["label"].tolist(), labels
    ([[0, 0], [1, 1], [2, 2]], [0, 1, 4], ['label'])
    """
    kind = type(dataset).__name__
    parts: dict[str, list[NDArray[Any]]] = {}
    labels = None
    if not hasattr(dataset, "__len__"):
        raise ValueError(
            f"a {kind} has no length; expected a data set whose items 0 to len(data) - 1 can be "
            "read: give arrays, or define __len__"
        )
    if hasattr(dataset, "batch_sampler"):
        raise ValueError(f"a {kind} gives batches; expected items one by one: give its .dataset")
    in_turn = hasattr(dataset, "__iter__")  # by number, iteration may never end
    items = iter(dataset) if in_turn else (dataset[k] for k in range(len(dataset)))
    for item in items:
        if isinstance(item, tuple):
            item = dict(zip(_names(len(item)), item, strict=True))
            labels = list(item)[1:]
        elif not isinstance(item, Mapping):
            item = {"x": item}
        for name, value in item.items():
            parts.setdefault(str(name), []).append(array_of(value))
    return {name: _stacked(values, name, len(dataset), kind) for name, values in parts.items()}, (
        labels
    )


def array_of(values: Any) -> NDArray[Any]:
    """Return an array of an array or of a tensor, wherever it is and whatever its precision."""
    if hasattr(values, "detach") and hasattr(values, "dtype"):
        values = values.detach().cpu()
        if str(values.dtype) == "torch.bfloat16":
            values = values.float()  # NumPy has no bfloat16
    return np.asanyarray(values)


def _names(count: int) -> list[str]:
    further = [f"label {k}" for k in range(2, count)]
    return ["x", "label", *further][:count]


def _stacked(values: list[NDArray[Any]], name: str, n: int, kind: str) -> NDArray[Any]:
    shapes = sorted({value.shape for value in values})
    if len(values) != n or len(shapes) > 1:
        listed = ", ".join(map(str, shapes[:5]))
        raise ValueError(
            f"{name!r} of a {kind} is there in {len(values):,} of {n:,} items, with the shapes "
            f"{listed}; expected it in each, of one shape: bring the items to one form"
        )
    return np.stack(values)
