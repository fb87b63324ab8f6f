"""Grids: data in which every combination of the factors' values occurs once, in order."""

import math

import numpy as np
import numpy.typing as npt


def classes(sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """Return the factors of each item, (∏ sizes, factors), the last factor changing fastest.

    >>> classes((2, 3)).tolist()
    [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    """
    items = np.arange(math.prod(sizes))
    columns = np.unravel_index(items, sizes)
    return np.stack(columns, axis=1).astype(np.int64)


def words(*columns: object) -> tuple[tuple[str, ...], ...]:
    """Put the values of each factor into words; a count stands for the numbers from 0.

    Numbers are written to 4 digits.

    >>> words(3, ("square", "heart"), np.linspace(0, 1, 3))
    (('0', '1', '2'), ('square', 'heart'), ('0', '0.5', '1'))
    """
    return tuple(_words(column) for column in columns)


def _words(column: object) -> tuple[str, ...]:
    if isinstance(column, int):
        return tuple(map(str, range(column)))
    values = np.asarray(column).tolist()
    return tuple(value if isinstance(value, str) else f"{value:.4g}" for value in values)


def whole(name: str, split: str) -> None:
    """Refuse any split but "all": a grid has none that is published.

    Raises:
        ValueError: If the split has another name.
    """
    if split != "all":
        raise ValueError(
            f"{name} has no split {split!r}: it is one set without published parts; expected "
            "'all', whose method split(n) holds items out"
        )
