"""Data as plain arrays: items x, and the class of each of their factors of variation."""

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt

__all__ = ["Data", "digits", "directory", "fashion_mnist", "fetch", "mnist", "set_directory"]


@dataclass(frozen=True, eq=False, repr=False)
class Data:
    """Items with their factors, all in memory: index the arrays to make batches.

    Args:
        x: (n, *shape) float32 in [0, 1].
        factors: (n, f) int64, the class index of each factor; -1 where it is missing.
        names: The factors' names, such as ``("digit",)``; none (f = 0) for data without labels.
        sizes: The number of values of each factor, such as ``(10,)``.
        values: What each value is called, one tuple per factor.
        name: What the data are called, in tables and errors.

    Raises:
        ValueError: If the arrays and the words disagree, or x has NaN or leaves [0, 1].

    >>> x = np.array([[0.0, 0.5], [1.0, 0.5], [0.2, 0.1]], dtype=np.float32)
    >>> factors = np.array([[0], [1], [-1]])
    >>> data = Data(x, factors, ("side",), (2,), (("left", "right"),), "sides")
    >>> data
    Data(sides: 3 items of shape (2,); factors: side (2))
    >>> data.subset([2, 0]).factors.tolist()
    [[-1], [0]]
    """

    x: npt.NDArray[np.float32]
    factors: npt.NDArray[np.int64]
    names: tuple[str, ...]
    sizes: tuple[int, ...]
    values: tuple[tuple[str, ...], ...]
    name: str

    def __post_init__(self) -> None:
        self._check_arrays()
        self._check_words()
        self._check_x()
        self._check_factors()

    def __len__(self) -> int:
        return len(self.x)

    def __repr__(self) -> str:
        factors = ", ".join(f"{name} ({size})" for name, size in zip(self.names, self.sizes, strict=True))
        return f"Data({self.name}: {len(self)} items of shape {self.x.shape[1:]}; factors: {factors or 'none'})"

    def subset(self, indices: npt.ArrayLike) -> "Data":
        """The items at `indices`, in that order, or those where a boolean mask is true."""
        chosen = np.atleast_1d(np.asarray(indices))
        if chosen.size == 0 or (chosen.dtype == bool and not chosen.any()):
            raise ValueError(f"{self.name}: the subset has no items; expected at least one of the {len(self)}")
        return replace(self, x=self.x[chosen], factors=self.factors[chosen])

    def split(self, n_held_out: int, seed: int = 0) -> tuple["Data", "Data"]:
        """(rest, held out): `n_held_out` items at random and the others, both in their present order.

        The same seed gives the same split, whatever the version of NumPy.

        >>> rest, held_out = digits().split(437)
        >>> len(rest), len(held_out)
        (1000, 437)
        """
        if not 0 < n_held_out < len(self):
            raise ValueError(
                f"{self.name}: {n_held_out} items to hold out of {len(self)}; expected 1 to {len(self) - 1}"
            )
        held_out = np.zeros(len(self), dtype=bool)
        held_out[random_keys(len(self), seed).argsort(kind="stable")[:n_held_out]] = True
        return self.subset(~held_out), self.subset(held_out)

    def _check_arrays(self) -> None:
        arrays: tuple[tuple[str, object, str], ...] = (
            ("x", self.x, "float32"),
            ("factors", self.factors, "int64"),
        )
        for label, array, dtype in arrays:
            if not isinstance(array, np.ndarray) or array.dtype != dtype:
                given = array.dtype if isinstance(array, np.ndarray) else type(array).__name__
                raise ValueError(
                    f"{self.name}: {label} is {given}; expected a NumPy array of {dtype}: "
                    f"np.asarray({label}, dtype=np.{dtype})"
                )
        if self.x.ndim < 2 or self.x.size == 0:
            raise ValueError(f"{self.name}: x has shape {self.x.shape}; expected (n, *shape), none of them 0")
        if self.factors.shape != (expected := (len(self.x), len(self.names))):
            raise ValueError(
                f"{self.name}: factors has shape {self.factors.shape}; expected {expected}, "
                f"a row for each item of x and a column for each of the names {self.names}"
            )

    def _check_words(self) -> None:
        if len(set(self.names)) != len(self.names):
            raise ValueError(f"{self.name}: names are {self.names}; expected a different one for each factor")
        counts = tuple(map(len, self.values))
        if counts != tuple(self.sizes) or len(counts) != len(self.names):
            raise ValueError(
                f"{self.name}: sizes are {self.sizes} and the factors {self.names} have {counts} values; "
                "expected one size and one tuple of values per factor, the size being the number of values"
            )

    def _check_x(self) -> None:
        low, high = self.x.min(), self.x.max()  # a NaN anywhere makes both NaN
        if np.isnan(low):
            raise ValueError(
                f"{self.name}: x has NaN in {_items(np.isnan(self.x))}; expected numbers in [0, 1]: "
                "mend these items or leave them out"
            )
        if low < 0 or high > 1:
            raise ValueError(
                f"{self.name}: x goes from {low:g} to {high:g}, with {_items((self.x < 0) | (self.x > 1))} "
                "outside; expected numbers in [0, 1]: divide 8-bit pixels by 255"
            )

    def _check_factors(self) -> None:
        for name, size, column in zip(self.names, self.sizes, self.factors.T, strict=True):
            if (wrong := (column < -1) | (column >= size)).any():
                raise ValueError(
                    f"{self.name}: factor {name!r} has {column[wrong][0]} in {_items(wrong)}; "
                    f"expected 0 to {size - 1}, or -1 for missing"
                )


def random_keys(n: int, seed: int) -> npt.NDArray[np.uint64]:
    """n random sort keys: a bit generator's raw stream, which NumPy keeps the same in all versions."""
    return np.asarray(np.random.PCG64(seed).random_raw(n), dtype=np.uint64)


def _items(wrong: npt.NDArray[np.bool_]) -> str:
    """Names the rows with anything wrong: "items 3, 7 (2 of 10)"."""
    indices = np.flatnonzero(wrong.reshape(len(wrong), -1).any(axis=1))
    first = ", ".join(map(str, indices[:5])) + ", ..." * (len(indices) > 5)
    return f"items {first} ({len(indices)} of {len(wrong)})"


# The sources build on Data, so they come after it.
from unweave.data.digits import digits  # noqa: E402
from unweave.data.files import directory, fetch, set_directory  # noqa: E402
from unweave.data.idx import fashion_mnist, mnist  # noqa: E402
