"""Data as arrays: items x, and the class of each of their factors of variation."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data.sparse import Sparse
from unweave.data.store import Bits, Rows, Store, extremes, floats, parts_of, taken

ENOUGH = 20
"""Items from which on bytes that are all 0 or 1 are taken for truths and not for dark pixels."""


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Items with their factors, in memory or mapped from a file: `floats` reads some of them.

    Args:
        x: (n, *shape), in one of four forms: float32, any finite numbers; uint8, pixels that stand
            for value/255; `Bits`, zeros and ones eight to a byte; or `Sparse` rows, such as counts.
            `floats` reads all alike. Where the array is mapped from a file, parts of the data are
            `Rows` of it.
        factors: (n, f) int64, the class index of each factor; -1 where it is missing.
        names: The factors' names, such as ``("digit",)``; none (f = 0) for data without labels.
        sizes: The number of values of each factor, such as ``(10,)``.
        values: The names of each factor's values, one tuple per factor.
        name: The data's name in tables and errors.
        missing: True if NaN in x stands for numbers that are missing, such as frames beyond a
            sequence's end.
        prepared: How `read` prepared the items, so that others can be read alike: a folder's
            size and colour, or the names of a table's columns.

    Raises:
        ValueError: If the arrays and the words disagree, or x has infinite numbers, NaN that is
            not `missing`, or zeros and ones as uint8, which would be read as 0 and 1/255.

    >>> x = np.array([[0.0, 0.5], [1.0, 0.5], [0.2, 0.1]], dtype=np.float32)
    >>> factors = np.array([[0], [1], [-1]])
    >>> data = Data(x, factors, ("side",), (2,), (("left", "right"),), "sides")
    >>> data
    Data(sides: 3 items of shape (2,); factors: side (2))
    >>> data.subset([2, 0]).factors.tolist()
    [[-1], [0]]
    >>> replace(data, x=np.array([[0, 51], [255, 0], [0, 0]], dtype=np.uint8)).floats([0]).tolist()
    [[0.0, 0.20000000298023224]]
    """

    x: Store
    factors: npt.NDArray[np.int64]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    values: tuple[tuple[str, ...], ...]
    name: str
    missing: bool = False
    prepared: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self._check_arrays()
        self._check_words()
        self._check_x()
        self._check_factors()

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: Any) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.int64]]:
        """Return x and the factors of some items, as torch's DataLoader asks for one.

        >>> import unweave as uw
        >>> x, factors = uw.data.digits()[3]
        >>> x.shape, factors.tolist()
        ((8, 8), [3])
        """
        return self.floats(index), self.factors[index]

    def __repr__(self) -> str:
        sized = zip(self.names, self.sizes, strict=True)
        factors = ", ".join(f"{name} ({size})" for name, size in sized) or "none"
        return f"Data({self.name}: {len(self)} items of shape {self.shape}; factors: {factors})"

    @property
    def shape(self) -> tuple[int, ...]:
        """The shape of an item."""
        return self.x.shape[1:]

    @cached_property
    def is_unit(self) -> bool:
        """True if all numbers lie in [0, 1], as a Bernoulli likelihood asks."""
        low, high = self.extremes
        return bool(low.min() >= 0 and high.max() <= 1)

    @cached_property
    def extremes(self) -> tuple[npt.NDArray[np.float32], npt.NDArray[np.float32]]:
        """The smallest and the largest number, (); of vectors, those of each column, (columns,).

        Bytes and bits are taken for all of [0, 1].
        """
        if isinstance(self.x, Bits) or self.x.dtype == np.uint8:
            return np.zeros((), np.float32), np.ones((), np.float32)
        low, high = extremes(self.x, axis=0 if self.x.ndim == 2 else None)
        return np.asarray(low), np.asarray(high)

    def floats(self, index: Any = slice(None)) -> npt.NDArray[np.float32]:
        """Read items as float32 (k, *shape), however they are kept.

        Args:
            index: A number, a slice, a mask or an array of numbers; all items if not given.
        """
        return floats(self.x, index)

    def subset(self, indices: npt.ArrayLike) -> Data:
        """Take the items at `indices`, in that order, or those where a boolean mask is true.

        Items that are mapped from a file stay there.
        """
        chosen = np.atleast_1d(np.asarray(indices))
        if chosen.size == 0 or (chosen.dtype == bool and not chosen.any()):
            raise ValueError(
                f"{self.name}: the subset has no items; expected at least one of the {len(self)}"
            )
        return replace(self, x=taken(self.x, chosen), factors=self.factors[chosen])

    def split(self, n_held_out: int, seed: int = 0) -> tuple[Data, Data]:
        """Split the items at random into the rest and `n_held_out` ones, both in their order.

        The same seed gives the same split, whatever the version of NumPy.

        Args:
            n_held_out: Number of items to hold out.
            seed: Seed of the choice.

        Returns:
            The rest, and the items that are held out.

        Raises:
            ValueError: If either would be empty.

        >>> import unweave as uw
        >>> rest, held_out = uw.data.digits().split(437)
        >>> len(rest), len(held_out)
        (1000, 437)
        """
        if not 0 < n_held_out < len(self):
            raise ValueError(
                f"{self.name}: {n_held_out} items to hold out of {len(self)}; expected 1 to "
                f"{len(self) - 1}"
            )
        held_out = np.zeros(len(self), dtype=bool)
        held_out[some(len(self), n_held_out, seed)] = True
        return self.subset(~held_out), self.subset(held_out)

    def column(self, factor: str) -> int:
        """Return the column of `factors` that has a factor.

        Raises:
            KeyError: If there is no such factor.
        """
        if factor not in self.names:
            names = ", ".join(map(repr, self.names)) or "none"
            raise KeyError(f"{self.name} has no factor {factor!r}; its factors are: {names}")
        return self.names.index(factor)

    def with_labels(self, factor: str, n: int, seed: int = 0) -> Data:
        """Keep `n` labels of a factor, as many of each class; the other labels become −1.

        The choice is a function of the seed alone.

        Args:
            factor: The factor's name.
            n: Number of labels to keep. If the classes do not divide it, the first ones keep one
                more.
            seed: Seed of the choice.

        Returns:
            The same items with fewer labels.

        Raises:
            KeyError: If there is no such factor.
            ValueError: If a class has too few items.

        >>> import unweave as uw
        >>> few = uw.data.digits().with_labels("digit", 100, seed=3)
        >>> np.bincount(few.factors[few.factors >= 0]).tolist()
        [10, 10, 10, 10, 10, 10, 10, 10, 10, 10]
        """
        column = self.column(factor)
        size = self.sizes[column]
        labels = self.factors[:, column]
        order = shuffled(len(self), seed)
        factors = self.factors.copy()
        factors[:, column] = -1
        for k in range(size):
            share = n // size + (k < n % size)
            its = order[labels[order] == k]
            if share > len(its):
                raise ValueError(
                    f"{self.name}: {share} labels of {factor} {self.values[column][k]!r} are asked "
                    f"for, of {len(its)} items; expected n={n} or fewer, such that no class of "
                    f"{size} has to give more than it has"
                )
            factors[its[:share], column] = k
        return replace(self, factors=factors)

    def _check_arrays(self) -> None:
        if not isinstance(self.x, Bits | Sparse) and _dtype(self.x) not in ("float32", "uint8"):
            raise ValueError(
                f"{self.name}: x is {_dtype(self.x)}; expected a NumPy array of float32, one of "
                "uint8 (pixels that stand for value/255), Bits, or Sparse: "
                "np.asarray(x, dtype=np.float32) keeps numbers, Bits.pack(x) zeros and ones, "
                "Sparse.of(x) what is mostly zeros; data.read chooses"
            )
        if _dtype(self.factors) != "int64":
            raise ValueError(
                f"{self.name}: factors is {_dtype(self.factors)}; expected a NumPy array of int64: "
                "np.asarray(factors, dtype=np.int64)"
            )
        if self.x.ndim < 2 or self.x.size == 0:
            raise ValueError(
                f"{self.name}: x has shape {self.x.shape}; expected (n, *shape), none of them 0"
            )
        expected = (len(self.x), len(self.names))
        if self.factors.shape != expected:
            raise ValueError(
                f"{self.name}: factors has shape {self.factors.shape}; expected {expected}, "
                f"a row for each item of x and a column for each of the names {self.names}"
            )

    def _check_words(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError(
                f"{self.name}: names are {self.names}; expected a different one for each factor"
            )
        counts = tuple(map(len, self.values))
        if counts != tuple(self.sizes) or len(counts) != len(self.names):
            raise ValueError(
                f"{self.name}: sizes are {self.sizes} and the factors {self.names} have {counts} "
                "values; expected one size and one tuple of values per factor, the size being the "
                "number of values"
            )

    def _check_x(self) -> None:
        if isinstance(self.x, Bits | Rows):  # rows were checked with the whole
            return
        if isinstance(self.x, Sparse) and self.x.numbers is not None:  # as were these
            return
        x = self.x.values if isinstance(self.x, Sparse) else self.x
        if x.dtype == np.uint8:
            self._check_bytes(x)
            return
        # a NaN anywhere makes both NaN
        if all(np.isfinite(part.min() + part.max()) for part in parts_of(x)):
            return
        wrong = np.isinf(x) if self.missing else ~np.isfinite(x)
        if isinstance(self.x, Sparse):
            wrong = np.diff(np.concatenate([[0], np.cumsum(wrong)])[self.x.starts]) > 0  # (n,)
        if wrong.any():
            raise ValueError(
                f"{self.name}: x has NaN or infinite numbers in {_items(wrong)}; expected finite "
                "numbers: mend these items or leave them out, or say missing=True where NaN "
                "stands for numbers that are missing"
            )

    def _check_bytes(self, x: npt.NDArray[Any]) -> None:
        """Refuse zeros and ones, which would be read as 0 and 1/255; a few items may be black."""
        few = x[some(len(x), ENOUGH)]
        if len(few) == ENOUGH and few.max() == 1 and x.max() == 1:
            raise ValueError(
                f"{self.name}: x is uint8 and holds zeros and ones alone, which would be read as 0 "
                "and 1/255, as bytes are pixels of 0 to 255; expected Bits: Bits.pack(x)"
            )

    def _check_factors(self) -> None:
        for name, size, column in zip(self.names, self.sizes, self.factors.T, strict=True):
            wrong = (column < -1) | (column >= size)
            if wrong.any():
                raise ValueError(
                    f"{self.name}: factor {name!r} has {column[wrong][0]} in {_items(wrong)}; "
                    f"expected 0 to {size - 1}, or -1 for missing"
                )


def random_keys(n: int, seed: int | tuple[int, ...]) -> npt.NDArray[np.uint64]:
    """Draw n sort keys: a bit generator's raw stream is the same in all versions of NumPy."""
    return np.asarray(np.random.PCG64(seed).random_raw(n), dtype=np.uint64)


def shuffled(n: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return the numbers of n items in a random order that depends on n and the seed alone."""
    return random_keys(n, seed).argsort(kind="stable")


def some(n: int, k: int, seed: int = 0) -> npt.NDArray[np.int64]:
    """Return the numbers of k of n items from all over, in their order; of all if k is n or more.

    Data often lie in the order of their factors: dSprites begins with thousands of squares, and
    every 32nd of its items has one position. So whatever takes some of the items takes the first k
    of `shuffled`.

    >>> some(1000, 5), some(3, 5)
    (array([ 11, 269, 850, 855, 921]), array([0, 1, 2]))
    """
    return np.sort(shuffled(n, seed)[:k])


def _dtype(array: object) -> str:
    return str(array.dtype) if isinstance(array, np.ndarray | Rows) else type(array).__name__


def _items(wrong: npt.NDArray[np.bool_]) -> str:
    """Name the rows with anything wrong: "items 3, 7 (2 of 10)"."""
    rows = wrong.reshape(len(wrong), -1)  # (n, numbers of an item)
    indices = np.flatnonzero(rows.any(axis=1))
    first = ", ".join(map(str, indices[:5])) + ", ..." * (len(indices) > 5)
    return f"items {first} ({len(indices)} of {len(wrong)})"
