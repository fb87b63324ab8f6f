"""Items as people have them, brought to the tensor that a model was trained on, or refused."""

from __future__ import annotations

import math
import warnings
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Inputs:
    """The items that a model was trained on, as its config.json keeps them.

    Attributes:
        shape: The shape of an item; None where it is not known.
        kept: The form that the data had: "floats", "bytes" (pixels that stand for value / 255) or
            "bits"; None where it is not known.
        low: The smallest number, or that of each column.
        high: The largest number, or that of each column.
        missing: Whether NaN stands for numbers that are missing.
        prepared: How the data were prepared: a folder's size and colour, or a table's columns.
            `data.read(source, like=prepared)` prepares others alike.

    >>> seen = Inputs((2,), "floats", [1.0, 150.0], [9.0, 200.0], False, {"columns": ["a", "b"]})
    >>> seen.tensor({"b": [180, 170], "a": [2, 3]}, torch.zeros(())).tolist()
    [[2.0, 180.0], [3.0, 170.0]]
    """

    shape: tuple[int, ...] | None = None
    kept: Literal["floats", "bytes", "bits"] | None = None
    low: float | Sequence[float] = -math.inf
    high: float | Sequence[float] = math.inf
    missing: bool = True
    prepared: Mapping[str, Any] = field(default_factory=dict)

    @property
    def columns(self) -> Sequence[str]:
        """The names of a table's columns; none where there are no names."""
        names: Sequence[str] = self.prepared.get("columns", ())
        return names

    @property
    def is_unit(self) -> bool:
        """True if all numbers lay in [0, 1]."""
        return bool(np.min(self.low) >= 0 and np.max(self.high) <= 1)

    def tensor(self, x: Any, like: Tensor, *, sequences: bool = False) -> Tensor:
        """Return items as the networks take them.

        Columns with names are put in the order of training. Whole numbers are pixels that stand for
        value / 255 where the model was trained on such, and bytes also where it was trained on
        numbers in [0, 1], or on data that it does not know.

        Args:
            x: The items (n, *shape): an array, tensor, list, data frame or mapping of columns.
            like: A weight, whose precision and device the items get.
            sequences: Whether items may be longer or shorter than those of training.

        Raises:
            ValueError: If there are no items, columns are missing, the shape differs, or numbers
                are missing or from another range than those of training.
        """
        given = numbers(x, self.columns, self.prepared)
        self._check_shape(tuple(given.shape), sequences)
        if not given.numel():
            raise ValueError(f"x has shape {tuple(given.shape)}, no items: expected one or more")
        if self._are_pixels(given):
            if bool((given == 1).any()) and not bool((given > 1).any()):
                raise ValueError(
                    "x holds whole numbers, zeros and ones alone; the model takes whole numbers "
                    "for pixels of 0 to 255: give x * 255, or x.astype(float) if 1 is 1"
                )
            items = given.to(like) / 255
        else:
            items = given.to(like)
        self._check_finite(items)
        self._check_range(items)
        return items

    def _are_pixels(self, given: Tensor) -> bool:
        """Return true if items are whole numbers that stand for value / 255."""
        if given.is_floating_point() or given.dtype == torch.bool:
            return False
        if self.kept == "bytes":
            return True
        if given.dtype != torch.uint8:
            return False
        if self.kept == "bits":
            return bool((given > 1).any())
        return self.kept is None or self.is_unit

    def _check_shape(self, given: tuple[int, ...], sequences: bool) -> None:
        shape = self.shape
        if shape is None or given[1:] == shape:
            return
        if sequences and len(given) == len(shape) + 1 and given[2:] == shape[1:]:
            return
        expected = ", ".join(map(str, ("n", *shape)))
        if given == shape:
            fix = "this is one item, x[None] is a batch of it"
        elif len(shape) == 3 and given[1:] == (shape[2], *shape[:2]):
            fix = "channels come last, np.moveaxis(x, 1, -1) puts them there"
        elif math.prod(given[1:]) == math.prod(shape):
            fix = f"x.reshape(-1, {', '.join(map(str, shape))}), if the numbers have this order"
        elif self.columns:
            fix = f"the columns are {_few(self.columns)}"
        elif "size" in self.prepared:
            fix = "uw.data.read(folder, like=model.inputs.prepared) brings images to this size"
        else:
            fix = "bring the items to the size of those that it was trained on"
        raise ValueError(f"x has shape {given}, but the model takes ({expected}): {fix}")

    def _check_finite(self, items: Tensor) -> None:
        wrong = items.isinf() if self.missing else ~items.isfinite()
        if wrong.any():
            rows = wrong.flatten(1).any(1)
            first = int(rows.nonzero()[0])
            raise ValueError(
                f"x has NaN or infinite numbers in {int(rows.sum()):,} of {len(items):,} items, "
                f"the first {first}; the model was trained without: leave these out, or mend them"
            )

    def _check_range(self, items: Tensor) -> None:
        """Refuse pixels of another scale than in training; only warn of tables' far outliers."""
        low, high = (torch.as_tensor(bound).to(items) for bound in (self.low, self.high))
        is_image = self.shape is not None and len(self.shape) > 1
        if self.is_unit:
            low, high = torch.zeros_like(low), torch.ones_like(high)
        margin = torch.full_like(low, 1e-6) if is_image and self.is_unit else high - low
        beyond = (items < low - margin) | (items > high + margin)
        if not beyond.any():
            return
        text = self._range(items, low, high, beyond)
        if is_image or self.is_unit:
            raise ValueError(text)
        warnings.warn(text, stacklevel=4)

    def _range(self, items: Tensor, low: Tensor, high: Tensor, beyond: Tensor) -> str:
        """Say how numbers differ from those of training."""
        name = "x"
        if low.ndim:
            column = int(beyond.any(0).nonzero()[0])
            name = f"column {self.columns[column]!r}"
            items, low, high = items[:, column], low[column], high[column]
        held = items[~items.isnan()]
        least, most = float(held.min()), float(held.max())
        fix = "bring them to the scale of those that it was trained on"
        if self.is_unit and least >= 0 and 1 < most <= 255:
            fix = "divide pixels of 0 to 255 by 255"
        return (
            f"{name} goes from {least:g} to {most:g}, but the model was trained on numbers from "
            f"{float(low):g} to {float(high):g}: {fix}"
        )


def numbers(
    x: Any, columns: Sequence[str] = (), prepared: Mapping[str, Any] = MappingProxyType({})
) -> Tensor:
    """Return an array, tensor, list, data frame or mapping of columns as a tensor of plain numbers.

    Args:
        x: The numbers; a masked one becomes NaN.
        columns: Names that the columns of a frame are put in the order of. A frame whose columns
            are called 0, 1, … has no names, and keeps its order.
        prepared: Columns of classes with their values, and of dates (`data.matrix`).

    Raises:
        ValueError: If columns are missing, or there is something that is no number.
    """
    if isinstance(x, Tensor):
        return x.detach()
    names = _names(x)
    array = np.ma.asanyarray(x) if names is None else _table(x, names, columns, prepared)
    if array.dtype.kind not in "biuf":
        raise ValueError(f"x is {array.dtype}; expected numbers: convert them, x.astype(float)")
    if isinstance(array, np.ma.MaskedArray):
        array = np.ma.filled(array.astype(float), np.nan) if array.mask.any() else array.data
    # the machine's byte order, of the types that torch has
    plain: dict[str, Any] = {"b": bool, "i": np.int64, "u": np.int64, "f": np.float64}
    is_small = array.dtype.itemsize == 1 if array.dtype.kind == "u" else array.dtype.itemsize <= 4
    if array.dtype.kind in "uf" and is_small:
        plain |= {"u": np.uint8, "f": np.float32}
    return torch.tensor(np.ascontiguousarray(array, dtype=plain[array.dtype.kind]))


def _names(x: Any) -> list[Any] | None:
    """Return the names of columns; None if they have none."""
    if isinstance(x, Mapping):
        return list(x)
    if isinstance(x, np.ndarray):
        return list(x.dtype.names) if x.dtype.names else None
    # Arrow's tables call them column_names; frames of pandas and polars, columns
    names = getattr(x, "column_names", getattr(x, "columns", None))
    return None if names is None else list(names)


def _table(x: Any, names: list[Any], columns: Sequence[str], prepared: Mapping[str, Any]) -> Array:
    """Return columns side by side, (n, columns), in the order of `columns` if there are any."""
    classes: dict[str, tuple[str, str]] = {}
    for name, values in prepared.get("categories", {}).items():
        classes |= {f"{name}={value}": (name, value) for value in values}
    by_text = {str(name): name for name in names}
    from_0 = [str(k) for k in range(len(names))]
    wanted = list(by_text) if not columns or list(by_text) == from_0 else columns
    sources = {name: name if name in by_text else classes.get(name, (name,))[0] for name in wanted}
    lacking = list(dict.fromkeys(name for name in sources.values() if name not in by_text))
    if lacking:
        raise ValueError(
            f"x has no column {_few(lacking)}; it has {_few(list(by_text))}, and the model was "
            f"trained on {_few(columns)}: add or rename them, or give an array if the columns are "
            "the same in this order"
        )
    found = []
    for name in wanted:
        try:
            if name in by_text:
                is_date = name in prepared.get("dates", ())
                found.append(_days(x[by_text[name]]) if is_date else _floats(x[by_text[name]]))
            else:
                column, value = classes[name]
                found.append(_indicator(x[by_text[column]], value))
        except (TypeError, ValueError) as error:
            raise ValueError(f"column {name!r} of x holds no numbers ({error})") from None
    return np.stack(found, axis=1)


def _floats(column: Any) -> Array:
    return np.asarray(column, dtype=np.float64)


def _days(column: Any) -> Array:
    """Return dates as days since 2000-01-01; numbers are such days already."""
    array = np.asarray(column)
    if array.dtype.kind in "iuf":
        return _floats(array)
    dates = array.astype("datetime64[us]")
    return (dates - np.datetime64("2000-01-01")) / np.timedelta64(1, "D")


def _indicator(column: Any, value: str) -> Array:
    """Return ones where a column has a value, NaN where it has none."""
    array = np.asarray(column, dtype=object)
    is_missing = np.array([one is None or one != one or one == "" for one in array])
    words = [f"{one:.12g}" if isinstance(one, float) else str(one) for one in array]
    return np.where(is_missing, np.nan, np.array(words) == value)


def _few(names: Sequence[str]) -> str:
    first = ", ".join(names[:5])
    return f"{first}, … ({len(names):,} in all)" if len(names) > 5 else first
