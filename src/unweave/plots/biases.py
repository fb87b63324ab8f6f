"""Estimates against exact values: how far each estimator is off, with its interval."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import FixedLocator, StrMethodFormatter

from .axes import own, rows_of_names
from .colors import METHOD_MARKERS, method_looks

Bias: TypeAlias = tuple[float, float]
"""An estimate less the exact value, and its standard error, in nats."""

TICKS = (-100, -10, -1, -0.1, 0, 0.1, 1, 10, 100)


def biases(rows: Mapping[str, Mapping[str, Bias]], ax: Axes | None = None) -> Axes:
    """Draw biases about 0, the exact value, each with two standard errors to either side.

    The scale is linear up to 0.1 nats and logarithmic beyond, as estimators differ a hundredfold.

    Args:
        rows: By row, such as "mi, B = 64", the bias of each estimator.
        ax: The axes to draw on.
    """
    ax = own(ax, 6.5, 0.9 + 0.4 * len(rows))
    ax.set_xscale("symlog", linthresh=0.1)
    ax.margins(x=0.08)
    looks = method_looks([name for row in rows.values() for name in row])
    for at, row in enumerate(rows.values()):
        for place, (name, (bias, error)) in enumerate(row.items()):
            color, marker = looks[name]
            size = 6 * METHOD_MARKERS[marker] ** 0.5
            y = at + 0.22 * (place - (len(row) - 1) / 2)
            ax.errorbar(bias, y, xerr=2 * error, fmt=marker, color=color, ms=size, lw=1.5)
    for name, (color, marker) in looks.items():
        ax.plot([], [], marker, color=color, label=name)
    ax.axvline(0, color=rcParams["text.color"], lw=0.8, ls=(0, (4, 3)), alpha=0.6, zorder=1)
    ax.xaxis.set_major_locator(FixedLocator(TICKS))
    ax.xaxis.set_minor_locator(FixedLocator([]))
    ax.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    ax.set_yticks(range(len(rows)), list(rows))
    ax.set_ylim(len(rows) - 0.4, -0.6)
    ax.set_xlabel("estimate less exact value, nats (linear up to 0.1)")
    ax.legend(loc="lower center", bbox_to_anchor=(0.5, 1), frameon=False, ncols=len(looks))
    rows_of_names(ax)
    return ax
