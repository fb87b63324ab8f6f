"""How items are kept: floats, bytes that stand for [0, 1], or bits; all are read as float32 by
`floats`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
import numpy.typing as npt


@dataclass(frozen=True, eq=False, repr=False)
class Bits:
    """Items whose numbers are 0 or 1, eight to a byte: an eighth of the memory of bytes, a 32nd of
    floats.

    Args:
        packed: (n, ⌈size/8⌉) uint8, the items' numbers in order, the first in the highest bit
        (`np.packbits`). item: The shape of an item.

    Raises:
        ValueError: If the bytes are not as many as the items' numbers ask.

    >>> bits = Bits.pack(np.array([[[0, 1], [1, 1]], [[0, 0], [0, 1]]]))
    >>> bits.shape, bits.nbytes, bits[1].tolist()
    ((2, 2, 2), 2, [[0.0, 0.0], [0.0, 1.0]])
    """

    packed: npt.NDArray[np.uint8]
    item: tuple[int, ...]

    def __post_init__(self) -> None:
        size = math.prod(self.item)
        if (
            self.packed.dtype != np.uint8
            or self.packed.ndim != 2
            or self.packed.shape[1] != -(-size // 8)
        ):
            raise ValueError(
                f"packed is {self.packed.dtype} of shape {self.packed.shape}; expected uint8 of "
                f"shape (n, {-(-size // 8)}) for items of shape {self.item}: Bits.pack(x) packs an "
                "array of zeros and ones"
            )

    @staticmethod
    def pack(x: npt.ArrayLike) -> Bits:
        """Packs an array (n, *shape) of zeros and ones.

        Raises:
            ValueError: If it holds another number.
        """
        x = np.asarray(x)
        if x.dtype != bool and (wrong := x[(x != 0) & (x != 1)]).size:
            raise ValueError(
                f"x holds {wrong[0]}; expected zeros and ones alone: threshold it, as in x > 0.5, "
                "or keep it as float32, or as uint8 where it stands for value/255"
            )
        return Bits(np.packbits(x.reshape(len(x), -1) != 0, axis=1), x.shape[1:])

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
        """What is read: floats."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return len(self.packed)

    def __getitem__(self, index: Any) -> npt.NDArray[np.float32]:
        """Items as float32, by number, slice, mask or array of numbers."""
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
        """Some of the items, still packed."""
        return Bits(self.packed[index], self.item)


Store: TypeAlias = npt.NDArray[np.float32] | npt.NDArray[np.uint8] | Bits


def floats(x: Store, index: Any = slice(None)) -> npt.NDArray[np.float32]:
    """Some items as float32; bytes are divided by 255.

    >>> floats(np.array([[0, 255]], dtype=np.uint8)).tolist()
    [[0.0, 1.0]]
    """
    chosen = x[index]
    return (
        np.divide(chosen, 255, dtype=np.float32)
        if chosen.dtype == np.uint8
        else np.asarray(chosen, np.float32)
    )
