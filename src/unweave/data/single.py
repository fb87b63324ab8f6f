"""Numbers as float32, unless it would lose them: the numbers at fault are named."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unweave.data.prepared import converted
from unweave.data.store import extremes, parts_of

LARGEST = 1e15
"""The largest number, and one over the smallest range, whose squares training can take."""

EPS = float(np.finfo(np.float32).eps) / 2
"""The largest rounding error of a number, as a share of it."""

ROUNDING = 0.01
"""The largest rounding error, as a share of the range."""


def single(
    array: NDArray[Any], names: Sequence[str] = (), *, gaps: bool = False
) -> NDArray[np.float32]:
    """Convert items (n, *shape) of finite numbers to float32.

    Args:
        array: The items. Vectors (n, k) are checked column by column, others as a whole.
        names: The columns' names, for errors.
        gaps: Whether NaN may stand for numbers that are missing.

    Raises:
        ValueError: If numbers are NaN or infinite, or so large or with so small a range, that
            float32 loses them or their squares.

    >>> single(np.array([[1.5, 3], [2.5, 4]])).tolist()
    [[1.5, 3.0], [2.5, 4.0]]
    """
    if array.dtype.kind == "f":
        _check_finite(array, gaps)
    axis = 0 if array.ndim == 2 else None
    lows, highs = extremes(array, axis)
    low = np.atleast_1d(lows).astype(np.float64)  # (columns,)
    high = np.atleast_1d(highs).astype(np.float64)
    span = high - low
    largest = np.maximum(abs(low), abs(high))
    rounding = 0 if array.dtype in (np.float16, np.float32) else EPS * largest
    is_narrow = (span > 0) & ((span < 1 / LARGEST) | (rounding > ROUNDING * span))
    faults = []
    for k in np.flatnonzero((largest > LARGEST) | is_narrow).tolist():
        name = names[k] if len(names) else f"column {k}" if axis == 0 else "x"
        narrow = f" and varies by {span[k]:.3g} alone" if is_narrow[k] else ""
        faults.append(f"{name} goes to {largest[k]:.3g}{narrow}")
    if faults:
        more = f", … ({len(faults):,} in all)" if len(faults) > 5 else ""
        raise ValueError(
            f"{', '.join(faults[:5])}{more}: training takes squares in float32; expected numbers "
            f"up to {LARGEST:g} whose range is {1 / LARGEST:g} or more, and {1 / ROUNDING:g} times "
            "its rounding: give these in other units, subtract their mean, or leave them out "
            "(drop=…, `--drop NAMES`)"
        )
    if array.dtype == np.float32 and array.flags.c_contiguous:
        return array
    return converted(array, "float32", lambda rows: np.ascontiguousarray(rows, dtype=np.float32))


def _check_finite(array: NDArray[Any], gaps: bool) -> None:
    faults = []
    for part in parts_of(array):
        fine = ~np.isinf(part) if gaps else np.isfinite(part)
        finite = fine.reshape(len(part), -1)  # (items, numbers of an item)
        faults.append(~finite.all(1))
    broken = np.concatenate(faults)  # (n,)
    if broken.any():
        raise ValueError(
            f"x has NaN or infinite numbers in {broken.sum():,} of {len(array):,} items, the first "
            f"{broken.argmax()}: leave these out, or mend them"
        )
