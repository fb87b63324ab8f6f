"""Stores of items: floats, bytes, bits or sparse rows; `floats` reads all as float32.

Bytes stand for [0, 1]. Arrays may be mapped from files. Then parts of them are `Rows`, which read
nothing until asked.
"""

from __future__ import annotations

import math
import mmap
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt

from unweave.data.sparse import Sparse


@dataclass(frozen=True, eq=False, repr=False)
class Bits:
    """Items whose numbers are 0 or 1, eight to a byte.

    They take an eighth of the memory of bytes, a 32nd of that of floats.

    Args:
        packed: (n, ⌈size/8⌉) uint8, the items' numbers in order, the first in the highest bit
            (`np.packbits`).
        item: The shape of an item.

    Raises:
        ValueError: If the number of bytes does not fit the items' shape.

    >>> bits = Bits.pack(np.array([[[0, 1], [1, 1]], [[0, 0], [0, 1]]]))
    >>> bits.shape, bits.nbytes, bits[1].tolist()
    ((2, 2, 2), 2, [[0.0, 0.0], [0.0, 1.0]])
    """

    packed: npt.NDArray[np.uint8] | Rows
    item: tuple[int, ...]

    def __post_init__(self) -> None:
        width = math.ceil(math.prod(self.item) / 8)
        packed = self.packed
        if packed.dtype != np.uint8 or packed.ndim != 2 or packed.shape[1] != width:
            raise ValueError(
                f"packed is {packed.dtype} of shape {packed.shape}; expected uint8 of "
                f"shape (n, {width}) for items of shape {self.item}: Bits.pack(x) packs an "
                "array of zeros and ones"
            )

    @staticmethod
    def pack(x: npt.ArrayLike) -> Bits:
        """Pack an array (n, *shape) of zeros and ones.

        Raises:
            ValueError: If it holds another number.
        """
        x = np.asarray(x)
        if x.dtype != bool:
            wrong = x[(x != 0) & (x != 1)]
            if wrong.size:
                raise ValueError(
                    f"x holds {wrong[0]}; expected zeros and ones alone: threshold it, as in "
                    "x > 0.5, or keep it as float32, or as uint8 where it stands for value/255"
                )
        ones = x.reshape(len(x), -1) != 0
        return Bits(np.packbits(ones, axis=1), x.shape[1:])

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.packed), *self.item)

    @property
    def ndim(self) -> int:
        return len(self.shape)

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.packed.nbytes

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The type that items are read as, float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: Any) -> npt.NDArray[np.float32]:
        """Read items as float32, by number, slice, mask or array of numbers."""
        if isinstance(index, tuple):
            raise TypeError(
                f"Bits are indexed by items alone, not by {index}: take items first, then index "
                "the floats"
            )
        chosen = self.packed[index]
        bits = np.unpackbits(chosen, axis=-1, count=math.prod(self.item))
        return bits.astype(np.float32).reshape(*chosen.shape[:-1], *self.item)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or np.float32, copy=False)

    def take(self, index: Any) -> Bits:
        """Take some of the items, still packed."""
        return Bits(taken(self.packed, index), self.item)


@dataclass(frozen=True, eq=False, repr=False)
class Rows:
    """Some rows of an array that is mapped from a file, by their numbers; it stays in the file.

    Args:
        whole: The mapped array (n, *shape).
        numbers: The numbers of the rows, (k,) int64.

    >>> rows = Rows(np.array([[1.0], [2.0], [3.0]]), np.array([2, 0]))
    >>> rows.shape, rows[1:].tolist()
    ((2, 1), [[1.0]])
    """

    whole: npt.NDArray[Any]
    numbers: npt.NDArray[np.int64]

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self.numbers), *self.whole.shape[1:])

    @property
    def ndim(self) -> int:
        return self.whole.ndim

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        return self.size * self.whole.itemsize

    @property
    def dtype(self) -> np.dtype[Any]:
        return self.whole.dtype

    def __len__(self) -> int:
        return len(self.numbers)

    def __getitem__(self, index: Any) -> npt.NDArray[Any]:
        """Read rows into memory, by number, slice, mask or array of numbers."""
        if isinstance(index, tuple):
            raise TypeError(
                f"Rows are indexed by items alone, not by {index}: take items first, then index "
                "the array"
            )
        return np.asarray(self.whole[self.numbers[index]])

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> npt.NDArray[Any]:
        return self[:].astype(dtype or self.dtype, copy=False)

    def take(self, index: Any) -> Rows:
        """Take some of the rows, still in their file."""
        return Rows(self.whole, self.numbers[index])


Store: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8] | Bits | Rows | Sparse
"""Items in memory or in a file: `Rows` hold floats or bytes."""

LARGE = 2**26
"""Bytes of an array from which on it stays in its file."""

AT_ONCE = 2**24
"""Bytes that are read at once where all items are gone through."""


def taken(x: Any, index: Any) -> Any:
    """Take some items of a store; those of a mapped array stay in their file."""
    if isinstance(x, Bits | Rows | Sparse):
        return x.take(index)
    if mapping_of(x) is None:
        return x[index]
    return Rows(np.asarray(x), np.arange(len(x))[index])


def mapping_of(x: Any) -> mmap.mmap | None:
    """Return the mapped file that holds an array, None if the array lies in memory."""
    while x is not None and not isinstance(x, mmap.mmap):
        x = getattr(x, "base", None)
    return x


def parts_of(x: npt.NDArray[Any] | Rows | Sparse) -> Iterator[npt.NDArray[Any]]:
    """Yield an array's rows in turn, some at a time.

    >>> [part.shape for part in parts_of(np.zeros((3, 2**22)))]
    [(1, 4194304), (1, 4194304), (1, 4194304)]
    """
    rows = max(1, AT_ONCE * len(x) // max(x.size * x.dtype.itemsize, 1))
    for start in range(0, len(x), rows):
        yield np.asarray(x[start : start + rows])


def extremes(x: npt.NDArray[Any] | Rows | Sparse, axis: int | None = None) -> tuple[Any, Any]:
    """Return the smallest and the largest number, or those along an axis; NaN are left out."""
    if isinstance(x, Sparse):
        return x.extremes(axis)
    lows, highs = [], []
    for part in parts_of(x):
        lows.append(np.fmin.reduce(part, axis=axis))
        highs.append(np.fmax.reduce(part, axis=axis))
    return np.fmin.reduce(lows, axis=0), np.fmax.reduce(highs, axis=0)


def floats(x: Store, index: Any = slice(None)) -> npt.NDArray[np.float32]:
    """Read some items as float32; bytes are divided by 255.

    >>> floats(np.array([[0, 255]], dtype=np.uint8)).tolist()
    [[0.0, 1.0]]
    """
    chosen = x[index]
    if chosen.dtype == np.uint8:
        return np.divide(chosen, 255, dtype=np.float32)
    return np.asarray(chosen, np.float32)


def moments(x: Store, rows: int = 4096) -> tuple[npt.NDArray[np.float64], npt.NDArray[np.float64]]:
    """Return the mean and the standard deviation of each number of an item, (*shape).

    Items are read some at a time, twice. NaN are left out; a number that is always NaN has mean 0.

    >>> mean, sd = moments(np.array([[0.0, 1.0], [2.0, 1.0]], dtype=np.float32))
    >>> mean.tolist(), sd.tolist()
    ([1.0, 1.0], [1.0, 0.0])
    """
    starts = range(0, len(x), rows)
    count, total = np.zeros(x.shape[1:]), np.zeros(x.shape[1:])
    for start in starts:
        part = floats(x, slice(start, start + rows))
        count += (~np.isnan(part)).sum(0)
        total += np.nansum(part, 0, dtype=np.float64)
    count = np.maximum(count, 1)
    mean = total / count
    variance = np.zeros(x.shape[1:])
    for start in starts:
        away = floats(x, slice(start, start + rows)) - mean
        variance += np.nansum(np.square(away), 0) / count
    return mean, np.sqrt(variance)
