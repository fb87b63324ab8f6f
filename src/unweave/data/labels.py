"""Labels as classes: columns of text or numbers, partly missing, to the factors of `Data`."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unweave.data.identifiers import all_differ

Say: TypeAlias = Callable[[str], object]
"""A function that is told each decision, a sentence at a time: `print`, or a list's `append`."""

Labels: TypeAlias = tuple[
    NDArray[np.int64], tuple[str, ...], tuple[int, ...], tuple[tuple[str, ...], ...]
]
"""The factors, names, sizes and values of `Data`."""

FEW = 50
"""Numbers with no more different values than this are classes."""

CELLS = 20
"""The number of cells that numbers with more values are cut into."""


def classes(columns: Mapping[str, NDArray[Any]], n: int, say: Say) -> Labels:
    """Turn each column into a factor.

    Text, and numbers of up to `FEW` values, have a class for each value; other numbers are cut into
    `CELLS` cells, which hold equally many items, but for ties. None and NaN are missing. So is −1
    among whole numbers that are otherwise 0 or more (and not all ±1). Columns without a value, and
    text that differs in every item, are left out.

    Args:
        columns: Columns of n entries by name.
        n: Number of items.
        say: A function that is told each decision.

    Returns:
        The factors (n, f), and their names, sizes and values.

    >>> columns = {"shape": np.array(["b", "a", None], object), "age": np.array([1, 2, -1])}
    >>> factors, *words = classes(columns, 3, print)
    age: −1 is read as missing, in 1 of 3 items
    >>> factors.tolist(), words
    ([[1, 0], [0, 1], [-1, -1]], [('shape', 'age'), (2, 2), (('a', 'b'), ('1', '2'))])
    """
    factors: list[NDArray[np.int64]] = []
    names: list[str] = []
    words: list[tuple[str, ...]] = []
    for name, column in columns.items():
        is_text = column.dtype.kind in "UO"
        found, values = _text(column) if is_text else _numbers(name, column, say)
        if not values:
            say(f"{name} is left out: it has no value")
        elif is_text and all_differ(column):
            say(
                f"{name} is left out: it is different in every item, so it names items and is no "
                "factor"
            )
        else:
            if is_text:
                _say_alike(name, values, say)
            factors.append(found)
            names.append(name)
            words.append(values)
    if not factors:
        return np.empty((n, 0), dtype=np.int64), (), (), ()
    sizes = tuple(map(len, words))
    return np.stack(factors, axis=1), tuple(names), sizes, tuple(words)


def _text(column: NDArray[Any]) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    held = np.array([value is not None and value != "" for value in column], dtype=bool)
    return _by_value(column[held].astype(str), held)


def _say_alike(name: str, values: tuple[str, ...], say: Say) -> None:
    """Name values that a person may have meant as one class."""
    alike: dict[str, list[str]] = {}
    for value in values:
        alike.setdefault(" ".join(value.casefold().split()), []).append(value)
    for forms in alike.values():
        if len(forms) > 1:
            listed = ", ".join(map(repr, forms))
            say(f"{name}: {listed} differ in capitals or blanks, and stay {len(forms)} classes")


def _numbers(
    name: str, column: NDArray[Any], say: Say
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    held = ~np.isnan(column) if column.dtype.kind == "f" else np.ones(len(column), dtype=bool)
    if _marks_missing(column[held]):
        say(f"{name}: −1 is read as missing, in {(column == -1).sum():,} of {len(column):,} items")
        held &= column != -1
    value = column[held]
    different = len(np.unique(value))
    if different <= FEW:
        return _by_value(value, held)
    edges = np.unique(np.quantile(value, np.arange(1, CELLS) / CELLS))
    cells = np.searchsorted(edges, value, side="right")  # the cell of x is [edge, next edge)
    found, values = _by_value(cells, held)
    bounds = [f"{edge:.4g}" for edge in (value.min(), *edges, value.max())]
    say(
        f"{name} has {different:,} values, cut into {len(values)} cells of about as many items each"
    )
    used = [int(k) for k in values]
    return found, tuple(f"{bounds[k]} to {bounds[k + 1]}" for k in used)


def _marks_missing(value: NDArray[Any]) -> bool:
    if value.dtype == bool or not (value == -1).any():
        return False
    if value.min() < -1 or np.isin(value, (-1, 1)).all():
        return False
    return bool(np.all(value % 1 == 0))


def _by_value(
    value: NDArray[Any], held: NDArray[np.bool_]
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    different, of_items = np.unique(value, return_inverse=True)
    found = np.full(len(held), -1, dtype=np.int64)
    found[held] = of_items
    return found, tuple(_word(one) for one in different.tolist())


def _word(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)
