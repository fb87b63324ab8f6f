"""Grids: data in which every combination of the factors' values occurs once, in order."""

import math

import numpy as np
import numpy.typing as npt


def classes(sizes: tuple[int, ...]) -> npt.NDArray[np.int64]:
    """The factors of each item, (∏ sizes, factors), the last factor changing fastest.

    >>> classes((2, 3)).tolist()
    [[0, 0], [0, 1], [0, 2], [1, 0], [1, 1], [1, 2]]
    """
    return np.stack(np.unravel_index(np.arange(math.prod(sizes)), sizes), axis=1).astype(np.int64)


def words(*columns: object) -> tuple[tuple[str, ...], ...]:
    """The values of each factor in words: numbers from 0 for a count, as they are (to 4 digits)
    otherwise.

    >>> words(3, ("square", "heart"), np.linspace(0, 1, 3))
    (('0', '1', '2'), ('square', 'heart'), ('0', '0.5', '1'))
    """
    return tuple(_words(column) for column in columns)


def _words(column: object) -> tuple[str, ...]:
    if isinstance(column, int):
        return tuple(map(str, range(column)))
    return tuple(
        value if isinstance(value, str) else f"{value:.4g}" for value in np.asarray(column).tolist()
    )


def whole(name: str, split: str) -> None:
    """Refuses any split but "all": a grid has none that is published.

    Raises:
        ValueError: If the split has another name.
    """
    if split != "all":
        raise ValueError(
            f"{name} has no split {split!r}: it is one set without published parts; expected "
            "'all', whose method split(n) holds items out"
        )
