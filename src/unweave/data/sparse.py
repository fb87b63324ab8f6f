"""Rows that are mostly zeros, such as counts of words or of genes: only their other numbers lie."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Array = npt.NDArray[Any]

AT_ONCE = 2**22
"""Numbers other than zero that are gone through at once."""


@dataclass(frozen=True, eq=False, repr=False)
class Sparse:
    """Items as compressed sparse rows (CSR), read as dense float32; parts of them share the arrays.

    Row i holds values[starts[i]:starts[i + 1]] in the columns of the same places, and zeros
    elsewhere. The arrays may be mapped from files. A million documents of 100 different words take
    800 MB, where dense rows of 5,000 words would take 20 GB.

    Args:
        values: (k,) float32, the numbers that are not zero, row after row.
        columns: (k,) int32, the column of each; a row names no column twice (`Sparse.of` adds such
            numbers up).
        starts: (rows + 1,) int64, the place where each row begins, and the end.
        width: The number of columns.
        numbers: (n,) int64, the rows that are the items, in their order; all if not given.

    Raises:
        ValueError: If the arrays are of other types, or do not fit one another.

    >>> rows = Sparse.of(np.array([[0, 2, 0], [0, 0, 0], [1, 0, 3]]))
    >>> rows.shape, len(rows.values), rows[[2, 0]].tolist()
    ((3, 3), 3, [[1.0, 0.0, 3.0], [0.0, 2.0, 0.0]])
    """

    values: npt.NDArray[np.float32]
    columns: npt.NDArray[np.int32]
    starts: npt.NDArray[np.int64]
    width: int
    numbers: npt.NDArray[np.int64] | None = None

    def __post_init__(self) -> None:
        types = {"values": np.float32, "columns": np.int32, "starts": np.int64}
        for name, dtype in types.items():
            array = getattr(self, name)
            if array.ndim != 1 or array.dtype != dtype:
                raise ValueError(
                    f"{name} is {array.dtype} of shape {array.shape}; expected one dimension of "
                    f"{np.dtype(dtype)}: Sparse.of(matrix) converts matrices"
                )
        if len(self.starts) < 1 or len(self.values) != len(self.columns):
            raise ValueError(
                f"there are {len(self.values)} values, {len(self.columns)} columns and "
                f"{len(self.starts)} starts; expected a column for each value, and a start more "
                "than rows"
            )
        if self.starts[0] != 0 or self.starts[-1] != len(self.values):
            raise ValueError(
                f"starts go from {self.starts[0]} to {self.starts[-1]}; expected from 0 to the "
                f"number of values, {len(self.values)}"
            )
        if self.numbers is None:  # parts of it need no second look
            self._check_places()

    @staticmethod
    def of(matrix: Any) -> Sparse:
        """Convert a matrix: any of SciPy's sparse ones, or a dense array (n, width).

        Raises:
            ValueError: If it has not two dimensions, or is damaged.
            TypeError: If it holds no numbers.
        """
        from scipy import sparse

        if len(matrix.shape) != 2:
            raise ValueError(f"the matrix has shape {matrix.shape}; expected (n, width)")
        if matrix.dtype.kind not in "biuf":
            raise TypeError(f"the matrix holds {matrix.dtype}; expected real numbers")
        check_places(matrix)
        rows = sparse.csr_array(matrix)
        if not rows.has_canonical_format:
            rows = rows.copy()  # it may share the given matrix's arrays
            rows.sum_duplicates()
        return Sparse(
            rows.data.astype(np.float32, copy=False),
            rows.indices.astype(np.int32, copy=False),
            rows.indptr.astype(np.int64, copy=False),
            int(rows.shape[1]),
        )

    def csr(self) -> Any:
        """Return the items as a `scipy.sparse.csr_array` (n, width), which holds them alone."""
        from scipy import sparse

        row, place = self.places(self._rows(slice(None)))
        chosen = (self.values[place], (row, self.columns[place]))
        return sparse.coo_array(chosen, shape=self.shape).tocsr()

    @property
    def shape(self) -> tuple[int, int]:
        rows = len(self.starts) - 1 if self.numbers is None else len(self.numbers)
        return rows, self.width

    @property
    def ndim(self) -> int:
        return 2

    @property
    def size(self) -> int:
        return math.prod(self.shape)

    @property
    def nbytes(self) -> int:
        """Bytes of the arrays, which other parts may share."""
        return self.values.nbytes + self.columns.nbytes + self.starts.nbytes

    @property
    def dtype(self) -> np.dtype[np.float32]:
        """The type that items are read as, float32."""
        return np.dtype(np.float32)

    def __len__(self) -> int:
        return self.shape[0]

    def __getitem__(self, index: Any) -> npt.NDArray[np.float32]:
        """Read items as dense float32, by number, slice, mask or array of numbers."""
        if isinstance(index, tuple):
            raise TypeError(
                f"Sparse is indexed by items alone, not by {index}: take items first, then index "
                "the floats"
            )
        rows = self._rows(index)
        row, place = self.places(rows.reshape(-1))
        dense = np.zeros((rows.size, self.width), np.float32)
        dense[row, self.columns[place]] = self.values[place]
        return dense.reshape(*rows.shape, self.width)

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> Array:
        return self[:].astype(dtype or np.float32, copy=False)

    def take(self, index: Any) -> Sparse:
        """Take some of the items, which share the arrays."""
        return Sparse(self.values, self.columns, self.starts, self.width, self._rows(index))

    def places(self, rows: npt.NDArray[np.int64]) -> tuple[Array, Array]:
        """Return where the values of some rows lie: each one's row among them, and its place."""
        first = self.starts[rows]
        lengths = self.starts[rows + 1] - first  # (rows,)
        row = np.repeat(np.arange(len(rows)), lengths)  # (values of these rows,)
        before = np.cumsum(lengths) - lengths
        place = np.arange(len(row)) + np.repeat(first - before, lengths)
        return row, place

    def extremes(self, axis: int | None = None) -> tuple[Any, Any]:
        """Return the smallest and the largest number, or those of each column (axis 0)."""
        low, high = np.full(self.width, np.inf), np.full(self.width, -np.inf)
        held = np.zeros(self.width, np.int64)
        for _, columns, values in self.parts():
            np.fmin.at(low, columns, values)
            np.fmax.at(high, columns, values)
            held += np.bincount(columns, minlength=self.width)
        has_zero = held < len(self)
        low = np.where(has_zero, np.fmin(low, 0), low).astype(np.float32)
        high = np.where(has_zero, np.fmax(high, 0), high).astype(np.float32)
        return (low, high) if axis == 0 else (low.min(), high.max())

    def parts(self) -> Iterator[tuple[Array, Array, npt.NDArray[np.float32]]]:
        """Yield the numbers other than zero, some items at a time: items, columns, values."""
        rows = self._rows(slice(None))
        mean = max(1.0, len(self.values) / max(1, len(self.starts) - 1))
        at_once = max(1, int(AT_ONCE / mean))
        for start in range(0, len(rows), at_once):
            row, place = self.places(rows[start : start + at_once])
            yield row + start, self.columns[place], self.values[place]

    def _rows(self, index: Any) -> npt.NDArray[np.int64]:
        """Return the numbers of the rows that are some of the items."""
        numbers = self.numbers
        if numbers is None:
            numbers = np.arange(len(self.starts) - 1)
        return np.asarray(numbers[index])

    def _check_places(self) -> None:
        if np.any(np.diff(self.starts) < 0):
            raise ValueError("starts fall; expected numbers that rise from row to row")
        if len(self.columns) == 0:
            return
        least, most = self.columns.min(), self.columns.max()
        if least < 0 or most >= self.width:
            raise ValueError(
                f"columns go from {least} to {most}; expected 0 to {self.width - 1}, as the width "
                f"is {self.width}"
            )


def check_places(matrix: Any) -> None:
    """Refuse a sparse matrix of SciPy whose numbers have places outside it: it reads any memory.

    Raises:
        ValueError: If it has such numbers.
    """
    from scipy import sparse

    if not sparse.issparse(matrix) or matrix.format not in ("csr", "csc"):
        return
    try:
        matrix.check_format(full_check=True)
    except ValueError as error:
        raise ValueError(
            f"the sparse matrix {matrix.shape} is damaged ({error}): make it or save it again"
        ) from None
