"""Methods of a study compared: their scores by seed, their trade-offs, their order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TypeAlias

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .axes import floats, own, quiet, rows_of_names
from .colors import METHOD_MARKERS

Interval: TypeAlias = tuple[float, float]
Look: TypeAlias = tuple[str, str]


def seed_dots(
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, Interval | None],
    looks: Mapping[str, Look],
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a row a method: its mean with its interval, and below every seed as a faint point.

    A frame that an interval of two seeds would blow up fits the points instead, and the line runs
    out of it.

    Args:
        values: By method, its score at each seed.
        intervals: By method, the interval of the mean, None without one.
        looks: By method, its colour and marker.
        reference: A value to compare with, a dashed line.
        ax: The axes to draw on.
    """
    ax = own(ax, 6, 0.5 + 0.3 * len(values))
    for row, (method, held) in enumerate(values.items()):
        if len(held):
            _runs(ax, held, [row + 0.27] * len(held), looks[method], 20)
            interval = intervals.get(method)
            if interval:
                color, _ = looks[method]
                ax.plot(interval, [row, row], color=color, lw=1.8, solid_capstyle="butt")
            _mean(ax, float(np.mean(held)), row, looks[method])
    points = [value for held in values.values() for value in held]
    if reference is not None:
        points.append(reference)
        ink = rcParams["text.color"]
        ax.axvline(reference, color=ink, lw=0.8, ls=(0, (4, 3)), alpha=0.6, zorder=1)
    if points:
        ax.set_xlim(*_frame(points, [pair for pair in intervals.values() if pair]))
    names = [name if len(name) <= 28 else f"{name[:27]}…" for name in values]
    ax.set_yticks(range(len(values)), names)
    ax.set_ylim(len(values) - 0.3, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    rows_of_names(ax)
    return ax


def _frame(points: Sequence[float], intervals: Sequence[Interval]) -> Interval:
    """Return the ends of a frame that fits points, and intervals unless they are far wider."""
    low, high = min(points), max(points)
    room = 0.6 * ((high - low) or abs(high) or 1.0)
    lowest = min([low, *(pair[0] for pair in intervals)])
    highest = max([high, *(pair[1] for pair in intervals)])
    low, high = max(lowest, low - room), min(highest, high + room)
    margin = 0.05 * ((high - low) or abs(high) or 1.0)
    return low - margin, high + margin


def _runs(ax: Axes, x: ArrayLike, y: ArrayLike, look: Look, size: float) -> None:
    """Draw runs of a method as faint points."""
    color, marker = look
    area = size * METHOD_MARKERS[marker]
    ax.scatter(x, y, c=color, marker=marker, s=area, lw=0, alpha=0.5)


def _mean(ax: Axes, x: float, y: float, look: Look) -> None:
    """Draw the mean of a method as a strong point."""
    color, marker = look
    area = 64 * METHOD_MARKERS[marker]
    edge = rcParams["axes.facecolor"]
    ax.scatter([x], [y], c=color, marker=marker, s=area, ec=edge, lw=0.8, zorder=4)


def tradeoff(
    points: Mapping[str, Sequence[tuple[float, float]]],
    looks: Mapping[str, Look],
    ax: Axes | None = None,
) -> Axes:
    """Draw two scores against each other: runs `(x, y)` as faint points, means as strong ones."""
    ax = own(ax, 4, 3)
    for method, held in points.items():
        at = floats(held).reshape(-1, 2)
        x, y = at.T
        _runs(ax, x, y, looks[method], 22)
        if len(at):
            _mean(ax, float(x.mean()), float(y.mean()), looks[method])
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    quiet(ax)
    return ax


def rank_lines(
    ranks: ArrayLike,
    methods: Sequence[str],
    seeds: Sequence[int],
    looks: Mapping[str, Look],
    ax: Axes | None = None,
) -> Axes:
    """Draw the places of methods, 1 on top: a line a method from seed to seed.

    Lines that do not cross are an order that all seeds agree on.

    Args:
        ranks: `(seeds, methods)`.
        methods: Names of the methods.
        seeds: The seeds.
        looks: By method, its colour and marker.
        ax: The axes to draw on.

    Raises:
        ValueError: For ranks of another shape.
    """
    place = floats(ranks)
    if place.shape != (len(seeds), len(methods)):
        raise ValueError(
            f"ranks of shape {place.shape}: expected ({len(seeds)} seeds, {len(methods)} methods)"
        )
    ax = own(ax, 6, 0.5 + 0.3 * len(methods))
    edge = rcParams["axes.facecolor"]
    for column, method in enumerate(methods):
        color, marker = looks[method]
        size = 8 * METHOD_MARKERS[marker] ** 0.5
        ax.plot(place[:, column], color=color, marker=marker, ms=size, lw=1.4, mec=edge)
    order = np.argsort(place[-1], kind="stable") if len(seeds) else np.arange(0)
    for at, column in enumerate(order, 1):  # methods that tie are named one under the other
        ax.text(len(seeds) - 0.8, at, methods[column], va="center", size="small")
    ax.set_xticks(range(len(seeds)), [f"seed {seed}" for seed in seeds])
    ax.set_yticks(range(1, len(methods) + 1))
    ax.set(xlim=(-0.3, len(seeds) - 0.7), ylim=(len(methods) + 0.5, 0.5))
    quiet(ax)
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax
