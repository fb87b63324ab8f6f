"""The columns of a table on a run's page: what moves them, and how reconstructions keep them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from markupsafe import Markup

from .. import plots
from ..runs.arrays import Arrays
from ..runs.findings import Array
from .page import Chart, axes, number

MOST = 8
"""Columns that the card of a unit names."""

ROWS = 30
"""Columns that a table or a heat map of a page shows."""

LEAST = 0.1
"""Standard deviations by which a column moves at least, for a card to name it."""

ITEMS = 3
"""Items whose numbers a table shows."""

SPARK = (120, 28)
"""The width and the height of a column's curve."""


@dataclass(frozen=True)
class Columns:
    """The columns of a table over the training part: names, means, standard deviations, (k,)."""

    names: Sequence[str]
    mean: Array
    sd: Array


def of(arrays: Arrays) -> Columns | None:
    """Return the columns of a run, None if its items are no vectors."""
    vectors = _vectors(arrays)
    if vectors is None:
        return None
    width = vectors.shape[-1]
    names = [f"x[{k}]" for k in range(width)]
    if arrays.columns is not None and len(arrays.columns) == width:
        names = list(map(str, arrays.columns))
    mean, sd = arrays.column_mean, arrays.column_sd
    if mean is None or sd is None:
        rows = vectors.reshape(-1, width)
        mean, sd = np.nanmean(rows, 0), np.nanstd(rows, 0)
    return Columns(names, mean, sd)


def _vectors(arrays: Arrays) -> Array | None:
    if arrays.x is not None:
        return arrays.x if arrays.x.ndim == 2 else None
    for strips in arrays.traversal.values():
        return strips if strips.ndim == 3 else None
    return None


# -- what a unit moves -----------------------------------------------------------------------------


def profile(strips: Array, columns: Columns) -> Array:
    """Return the mean of each column over the starting items, less its mean over the data.

    Args:
        strips: Items as a unit runs through its values, (items, values, columns).
        columns: The columns.

    Returns:
        In standard deviations, (values, columns); 0 for a column that does not vary.
    """
    mean = strips.mean(0, dtype=np.float64)  # (values, columns)
    away = mean - columns.mean
    varies = columns.sd > 0
    return np.asarray(np.divide(away, columns.sd, out=np.zeros_like(away), where=varies))


def moves(course: Array) -> Array:
    """Return how far each column moves, (columns,): its largest less its smallest value.

    The sign is − where the smallest comes after the largest.

    >>> moves(np.array([[0.0, 3.0], [0.5, 2.0], [2.0, 0.0]])).tolist()
    [2.0, -3.0]
    """
    rises = course.argmax(0) >= course.argmin(0)
    size: Array = np.ptp(course, axis=0)
    return np.where(rises, size, -size)


def card(strips: Array, columns: Columns, tallest: float) -> dict[str, Any]:
    """Return the columns that a unit moves most, largest first, and what the others do, in words.

    Args:
        strips: Items as the unit runs through its values, (items, values, columns).
        columns: The columns.
        tallest: Standard deviations that the height of a curve stands for.
    """
    course = profile(strips, columns)
    moved = moves(course)
    order = np.argsort(-abs(moved), kind="stable")
    named = [int(k) for k in order[:MOST] if abs(moved[k]) >= LEAST]
    rows = [_row(course[:, k], moved[k], k, columns, tallest) for k in named]
    return {"moves": rows, "others": _others(moved, order[len(named) :])}


def _others(moved: Array, left: Array) -> str:
    """Say how many columns a card leaves out, and how far they move at most."""
    if not len(left):
        return ""
    most = float(abs(moved[left]).max())
    far = f"{most:.2f} sd at most"
    if len(left) == len(moved):
        return f"All columns move by {far}" if most >= 0.005 else "No column moves"
    if len(left) == 1:
        return f"1 other column moves by {far}" if most >= 0.005 else "1 other column stays"
    others = f"{len(left):,} other columns"
    return f"{others} move by {far}" if most >= 0.005 else f"{others} stay"


def _row(
    course: Array, moved: float, column: int, columns: Columns, tallest: float
) -> dict[str, Any]:
    first, last = sorted((int(course.argmin()), int(course.argmax())))
    mean, sd = columns.mean[column], columns.sd[column]
    return {
        "name": columns.names[column],
        "ends": f"{number(mean + sd * course[first])} → {number(mean + sd * course[last])}",
        "moved": signed(moved * sd),
        "sds": signed(moved, 2),
        "curve": curve(course, tallest),
    }


def signed(value: float, digits: int | None = None) -> str:
    """Return a number with its sign, as changes are read.

    >>> signed(0.5), signed(-1.234, 1)
    ('+0.500', '−1.2')
    """
    text = number(value) if digits is None else f"{value:.{digits}f}".replace("-", "−")
    return text if text.startswith("−") else f"+{text}"


def curve(course: Array, tallest: float) -> Markup:
    """Draw a column's course as a small curve about its mean, as high as `tallest` sds each way."""
    width, height = SPARK
    middle = height / 2
    x = np.linspace(3, width - 3, len(course))
    y = middle - (middle - 3) * np.clip(course / tallest, -1, 1)
    points = " ".join(f"{a:.1f},{b:.1f}" for a, b in zip(x, y, strict=True))
    return Markup(
        '<svg class="curve" viewBox="0 0 {} {}" width="{}" aria-hidden="true">'
        '<line x1="0" x2="{}" y1="{}" y2="{}"/><polyline points="{}"/></svg>'
    ).format(width, height, width, width, middle, middle, points)


def tallest(arrays: Arrays, columns: Columns) -> float:
    """Return the standard deviations by which any column goes away from its mean, 1 at least."""
    most = 1.0
    for strips in arrays.traversal.values():
        most = max(most, float(abs(profile(strips, columns)).max()))
    return most


def overview(arrays: Arrays, units: Sequence[str], chart: Chart) -> dict[str, Any] | None:
    """Draw how far each unit moves the columns that move most, as a heat map.

    Args:
        arrays: The arrays of the run.
        units: The units, in the order in which they are shown.
        chart: Turns Axes into SVG.

    Returns:
        The chart, and how many columns it shows of all; None without a table or units.
    """
    columns = of(arrays)
    shown = [unit for unit in units if unit in arrays.traversal]
    if columns is None or not shown:
        return None
    each = [moves(profile(arrays.traversal[unit], columns)) for unit in shown]
    moved = np.stack(each, axis=1)  # (columns, units)
    farthest = abs(moved).max(1)
    chosen = np.sort(np.argsort(-farthest, kind="stable")[:ROWS])
    leader = abs(moved[chosen]).argmax(1)
    chosen = chosen[np.lexsort((-farthest[chosen], leader))]  # columns of a unit stand together
    names = [_short(columns.names[k]) for k in chosen]
    ax = axes(min(940, 190 + 52 * len(shown)), 60 + 21 * len(chosen))
    plots.column_moves(moved[chosen], names, shown, ax=ax)
    farthest_of_all = f"{names[0]} by {moved[chosen[0], leader.min()]:.1f}"
    label = f"Heat map of how far units move columns, in standard deviations: {farthest_of_all}"
    return {"svg": chart(ax, label), "n": len(chosen), "of": len(columns.names)}


def _short(name: str, most: int = 28) -> str:
    return name if len(name) <= most else f"{name[: most - 1]}…"


# -- items -----------------------------------------------------------------------------------------


def reconstructions(arrays: Arrays) -> dict[str, Any] | None:
    r"""Return how reconstructions keep each column, the best kept first, None without a table.

    The share of column k's variance that reconstructions explain is
    1 − Σ (x_k − x̂_k)² / Σ (x_k − x̄_k)² over the items that there are.
    """
    columns, share = of(arrays), _kept(arrays)
    if columns is None or share is None or arrays.x is None or arrays.reconstruction is None:
        return None
    rows = []
    for k in _best_first(share)[:ROWS]:
        at_most = float(np.nan_to_num(share[k]).clip(0, 1))
        pairs = zip(arrays.x[:ITEMS, k], arrays.reconstruction[:ITEMS, k], strict=True)
        rows.append(
            {
                "name": columns.names[k],
                "scale": f"{number(columns.mean[k])} ± {number(columns.sd[k])}",
                "share": _percent(share[k]),
                "bar": f"{100 * at_most:.1f}%",
                "items": [(number(one), number(other)) for one, other in pairs],
            }
        )
    known = share[~np.isnan(share)]
    middle = _percent(np.median(known)) if len(known) else "–"
    return {"rows": rows, "of": len(share), "items": len(arrays.x), "middle": middle}


def _percent(share: float) -> str:
    return "–" if np.isnan(share) else f"{100 * share:.0f}%".replace("-", "−")


def _kept(arrays: Arrays) -> Array | None:
    """Return the share of each column's variance that reconstructions explain, if there are any."""
    x, again = arrays.x, arrays.reconstruction
    if x is None or again is None or again.shape != x.shape:
        return None
    return explained(x.astype(np.float64), again.astype(np.float64))


def _best_first(share: Array) -> Array:
    """Return the numbers of columns, the best kept first and those that do not vary last."""
    known = np.nan_to_num(share, nan=-np.inf)
    return np.argsort(-known, kind="stable")


def explained(x: Array, again: Array) -> Array:
    """Return the share of each column's variance that reconstructions explain, (columns,).

    It is NaN for a column that does not vary; numbers that are missing are left out.

    >>> explained(np.array([[0.0, 1.0], [2.0, 1.0]]), np.array([[0.5, 1.0], [1.5, 1.0]])).tolist()
    [0.75, nan]
    """
    is_known = ~np.isnan(x)
    n = is_known.sum(0)
    mean = np.divide(np.nansum(x, 0), n, out=np.zeros(len(n)), where=n > 0)
    error = np.nansum(np.square(x - again), 0)
    spread = np.nansum(np.square(x - mean), 0)
    left = np.divide(error, spread, out=np.full(len(n), np.nan), where=spread > 0)
    return np.asarray(1 - left)


def prior(arrays: Arrays) -> dict[str, Any] | None:
    """Return the range of each column in the data and in samples of the prior, as strips.

    Columns stand as in `reconstructions`.
    """
    columns, samples = of(arrays), arrays.prior_samples
    if columns is None or arrays.x is None or samples is None:
        return None
    if samples.shape[1:] != arrays.x.shape[1:]:
        return None
    share = _kept(arrays)
    order = np.arange(samples.shape[1]) if share is None else _best_first(share)
    rows = [_ranges(arrays.x[:, k], samples[:, k], columns.names[k]) for k in order[:ROWS]]
    return {"rows": rows, "of": len(columns.names)}


def _ranges(x: Array, samples: Array, name: str) -> dict[str, Any]:
    held = x[~np.isnan(x)]
    if not len(held):
        held = np.zeros(1)
    data, drawn = (np.quantile(part, (0.05, 0.5, 0.95)) for part in (held, samples))
    low, high = min(data[0], drawn[0]), max(data[2], drawn[2])
    return {
        "name": name,
        "data": " · ".join(map(number, data)),
        "samples": " · ".join(map(number, drawn)),
        "strips": [_strip(data, low, high), _strip(drawn, low, high)],
    }


def _strip(quantiles: Array, low: float, high: float) -> Mapping[str, str]:
    """Return the place of a strip between its outer quantiles, and of the median, in per cent."""
    span = high - low
    left, middle, right = 100 * (quantiles - low) / span if span > 0 else np.array([0.0, 50, 100])
    return {
        "left": f"{left:.1f}%",
        "width": f"{right - left:.1f}%",
        "middle": f"{middle:.1f}%",
    }
