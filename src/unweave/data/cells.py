"""Cells of factors: items left out by a predicate on their factors, and items that match them."""

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data.data import Data


def leave_out(data: Data, where: Callable[..., npt.ArrayLike]) -> tuple[Data, Data]:
    """Split off the items at whose factors a predicate is true.

    The rest then lacks combinations, or whole values, of the factors that the other part has: a
    model that is trained on the rest has never seen them.

    Args:
        data: Items with factors.
        where: A function whose arguments have the names of factors. It is given their class
            numbers, (n,) each, −1 where missing, and returns truths (n,).

    Returns:
        The rest, and the items that are left out, both in their order.

    Raises:
        KeyError: If an argument names no factor.
        ValueError: If the predicate returns anything but n truths, or is true of no or all items.

    >>> import unweave as uw
    >>> data = uw.data.sprites(1000)
    >>> rest, squares_on_the_right = leave_out(data, lambda shape, posX: (shape == 0) & (posX > 15))
    >>> len(rest) + len(squares_on_the_right)
    1000
    >>> int(squares_on_the_right.factors[:, 3].min())
    16
    """
    named = inspect.signature(where).parameters
    classes = {name: data.factors[:, data.column(name)] for name in named}
    out: npt.NDArray[Any] = np.asarray(where(**classes))
    if out.dtype != bool or out.shape != (len(data),):
        raise ValueError(
            f"{data.name}: the predicate returned {out.dtype} of shape {out.shape}; expected "
            f"{len(data)} truths, as (shape == 0) & (posX > 15) gives them"
        )
    if out.all() or not out.any():
        raise ValueError(
            f"{data.name}: the predicate is true of {out.sum()} of {len(data)} items; expected "
            "some to be left out and some to stay"
        )
    return data.subset(~out), data.subset(out)


def matching(data: Data, other: Data, names: Sequence[str]) -> Data:
    """Take the items whose combination of some factors occurs in other data of the same factors.

    So items of cells that were seen can be compared with items that were left out: those that
    differ from them in the other factors alone.

    Args:
        data: Items to choose from.
        other: Items that have the combinations.
        names: Names of the factors that are combined.

    Returns:
        The chosen items, in their order.

    Raises:
        KeyError: If a name is no factor.
        ValueError: If no item matches.

    >>> import unweave as uw
    >>> data = uw.data.sprites(1000)
    >>> rest, out = leave_out(data, lambda shape, posX: (shape == 0) & (posX > 15))
    >>> squares_on_the_left = matching(rest, out, ["shape"])
    >>> np.unique(squares_on_the_left.factors[:, 0]).tolist()
    [0]
    """
    columns = [data.column(name) for name in names]
    rows = data.factors[:, columns]  # (n, names)
    wanted = other.factors[:, columns]  # (m, names)
    sizes = [data.sizes[column] + 1 for column in columns]  # missing classes are −1
    cell = np.ravel_multi_index(tuple((rows + 1).T), sizes)  # (n,)
    wanted_cell = np.ravel_multi_index(tuple((wanted + 1).T), sizes)  # (m,)
    return data.subset(np.isin(cell, wanted_cell))
