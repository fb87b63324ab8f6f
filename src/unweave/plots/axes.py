"""Axes in the style of all charts: thin spines or none, short ticks, cells of a heat map."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike, NDArray

from .colors import SHADES, SIGNED

Floats: TypeAlias = NDArray[np.float64]


def floats(values: ArrayLike) -> Floats:
    """Return an array in double precision."""
    return np.asarray(values, dtype=np.float64)


def own(ax: Axes | None, width: float, height: float) -> Axes:
    """Return the axes that were given, or axes in a figure of their own, in inches."""
    if ax is not None:
        return ax
    return Figure(figsize=(width, height), layout="constrained").add_subplot()


def quiet(ax: Axes) -> None:
    """Leave two thin spines and short ticks, and no frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(linewidth=0.6, alpha=0.5)
    ax.tick_params(length=2.5, width=0.6)


def rows_of_names(ax: Axes) -> None:
    """Leave names on the left, without ticks or a spine, and be quiet."""
    quiet(ax)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)


def frameless(ax: Axes) -> None:
    """Make a table of cells: names of columns above, no ticks, no frame."""
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)


def shade(
    ax: Axes, x: ArrayLike, y: ArrayLike, values: Floats, high: float, low: float = 0
) -> None:
    """Shade cells between edges `x` and `y` by their values, `low` to `high`; NaN stays empty."""
    shades = SIGNED if low < 0 else SHADES
    look: dict[str, Any] = {"ec": rcParams["axes.facecolor"], "lw": 1, "cmap": shades}
    ax.pcolormesh(x, y, np.ma.masked_invalid(values), vmin=low, vmax=high, **look)


def cell_text(value: float, decimals: int) -> str:
    """Return the text of a cell: nothing for NaN, a dot for next to nothing.

    >>> cell_text(0.26, 1), cell_text(0.04, 1), cell_text(float("nan"), 1)
    ('0.3', '·', '')
    """
    if np.isnan(value):
        return ""
    return f"{value:.{decimals}f}" if value >= 0.5 * 10**-decimals else "·"
