"""Curves over training, and over anything else."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .axes import Floats, floats, own, quiet
from .colors import GROUP_COLORS, METHOD_COLORS


def epochs(history: Sequence[Mapping[str, Any]]) -> Floats:
    """Return the place of each line of a history on the axis of epochs.

    Steps are spread evenly over the epochs seen.

    >>> lines = [{"step": 5, "epoch": 0}, {"step": 10, "epoch": 0}, {"step": 20, "epoch": 1}]
    >>> epochs(lines).tolist()
    [0.5, 1.0, 2.0]
    """
    step = floats([line.get("step", line.get("epoch", i)) for i, line in enumerate(history)])
    seen = len({line["epoch"] for line in history if "epoch" in line}) or 1
    last = max(step.max(initial=0.0), 1.0)
    return np.asarray(step * (seen / last))


def curves(history: Sequence[Mapping[str, Any]], term: str, ax: Axes | None = None) -> Axes:
    """Draw one term over training.

    A thin line is of the training batches, a strong one of held-out data. The frame fits the values
    after the first tenth of training, so that the fall at the start does not flatten the rest.
    """
    ax = own(ax, 4, 2.2)
    at = epochs(history)
    last = float(at.max(initial=0.0))
    value = floats([np.nan if line.get(term) is None else line[term] for line in history])
    split = np.array([line.get("split", "train") for line in history], dtype=str)
    known = np.isfinite(value)
    ink = rcParams["text.color"]
    for name, color, width, alpha in (
        ("train", ink, 0.8, 0.5),
        ("valid", GROUP_COLORS[0], 1.6, 1),
    ):
        here = known & (split == name)
        # two lines or fewer are points: a line between them would look like many
        marker = "o" if here.sum() <= 2 else ""
        look: dict[str, Any] = {"lw": width, "alpha": alpha, "marker": marker, "ms": 3}
        ax.plot(at[here], value[here], color=color, label=name, **look)
    settled = value[known & (at >= last / 10)]
    if settled.size:
        low, high = float(settled.min()), float(settled.max())
        margin = 0.06 * (high - low) or 0.05 * max(abs(low), 1e-3)
        ax.set_ylim(low - margin, high + margin)
    ax.set_xlim(0, 1.03 * max(last, 1e-9))  # room for the last number
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    quiet(ax)
    return ax


def lines(x: ArrayLike, named: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Draw curves `(points,)` over `x`, a colour each (`METHOD_COLORS`, in order).

    NaN are gaps; few points are marked, and points between gaps.
    """
    at = floats(x)
    ax = own(ax, 6, 3.2)
    for i, values in enumerate(named.values()):
        value = floats(values)
        known = np.isfinite(np.r_[np.nan, value, np.nan])
        before, here, after = known[:-2], known[1:-1], known[2:]
        alone = bool((here & ~before & ~after).any())  # a point between gaps is no line
        color = METHOD_COLORS[i % len(METHOD_COLORS)]
        marker = "o" if len(at) <= 30 or alone else ""
        ax.plot(at, value, color=color, lw=1.6, marker=marker, ms=3.5)
    are_whole = bool(np.all(at % 1 == 0))
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=are_whole))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    quiet(ax)
    return ax
