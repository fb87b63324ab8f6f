"""Information in codes: bars for units, heat maps of codes against classes and factors."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib import rcParams
from matplotlib.axes import Axes
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike

from .axes import Floats, cell_text, floats, frameless, own, rows_of_names, shade
from .colors import GROUP_COLORS, group_colors


def information_bars(
    names: Sequence[str],
    values: ArrayLike,
    errors: ArrayLike | None = None,
    groups: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw I(x; z_d) in nats: a bar a unit from the top down, with the value at its end.

    Args:
        names: Names of the units, in the order of their bars.
        values: `(units,)`.
        errors: `(units,)`, standard errors.
        groups: The group of each unit, which gives its colour.
        ax: The axes to draw on.
    """
    value = floats(values)
    error = np.zeros_like(value) if errors is None else floats(errors)
    kinds = groups if groups is not None else ["z"] * len(names)
    ax = own(ax, 6, 0.5 + 0.28 * len(names))
    ink = rcParams["text.color"]
    # units of one group stand together, a half line of space before the next group
    at = np.arange(len(names)) + 0.5 * np.cumsum(_changes(kinds))
    colors = group_colors(kinds)
    ax.barh(at, value, height=0.62, color=[colors[kind] for kind in kinds], alpha=0.85)
    ax.errorbar(value, at, xerr=error, fmt="none", ecolor=ink, elinewidth=1, capsize=2)
    ends = value + error
    room = 0.012 * float(np.max(ends, initial=1e-9))
    for y, v, end in zip(at, value, ends, strict=True):
        ax.text(max(end, 0) + room, y, _two_decimals(v), va="center", size="small", color=ink)
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    low = min(0.0, float(value.min(initial=0.0)))
    ax.set_xlim(low, 1.1 * max(float(np.max(ends, initial=0.0)), 1e-3))
    ax.xaxis.set_major_locator(MaxNLocator(5))
    rows_of_names(ax)
    return ax


def _changes(kinds: Sequence[object]) -> list[bool]:
    """Return, for each place, whether another kind begins there."""
    return [i > 0 and kinds[i] != kinds[i - 1] for i in range(len(kinds))]


def _two_decimals(value: float) -> str:
    return f"{round(value, 2) + 0.0:.2f}"  # no minus before a zero


# -- heat maps -------------------------------------------------------------------------------------


def class_information(
    per_class: ArrayLike,
    total: ArrayLike,
    names: Sequence[str],
    classes: Sequence[str],
    kinds: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw a heat map of what the code tells about each class, in nats.

    Args:
        per_class: `(classes, names)`, a column of the map for each class.
        total: `(names,)`, the first, bold column.
        names: Names of the rows: groups, all of the code, single units.
        classes: Names of the classes.
        kinds: "unit" for rows of units, which a gap parts from rows of groups.
        ax: The axes to draw on.

    Raises:
        ValueError: For arrays whose shapes do not match the names.
    """
    value = floats(per_class).T  # (names, classes)
    whole = floats(total)
    if value.shape != (len(names), len(classes)) or whole.shape != (len(names),):
        expected = f"({len(classes)} classes, {len(names)} names) and ({len(names)},)"
        raise ValueError(
            f"per_class {np.shape(per_class)} and total {whole.shape}: expected {expected}"
        )
    ax = own(ax, 1.5 + 0.5 * len(classes), 0.6 + 0.3 * len(names))
    high = max(float(np.nanmax(value, initial=0.0)), 0.1)  # less than that is noise, and pale
    are_units = [kind == "unit" for kind in kinds or [""] * len(names)]
    at = np.arange(len(names)) + 0.35 * np.cumsum(_changes(are_units))
    size = "small" if len(classes) <= 12 else "x-small"
    edges = np.arange(len(classes) + 1) - 0.5
    for row, y in enumerate(at):
        shade(ax, edges, [y - 0.5, y + 0.5], value[row : row + 1], high)
        if len(classes) <= 20:
            for column, v in enumerate(value[row]):
                ax.text(column, y, cell_text(v, 1), ha="center", va="center", size=size)
        text = _two_decimals(whole[row])
        ax.text(-0.8, y, text, ha="right", va="center", weight="bold", size="small")
    ax.set_yticks(at, names)
    ax.set_xticks([-1.1, *range(len(classes))], ["all", *classes])
    if max(map(len, classes), default=0) > 4:
        ax.tick_params(axis="x", rotation=40)
    bottom = at[-1] + 0.5 if len(at) else -0.5
    ax.set(xlim=(-1.8, len(classes) - 0.5), ylim=(bottom, -0.5))
    frameless(ax)
    return ax


def code_factor_information(
    information: ArrayLike,
    codes: Sequence[str],
    factors: Sequence[str],
    ceilings: ArrayLike,
    ax: Axes | None = None,
) -> Axes:
    """Draw a heat map of I(z_j; v_k) in nats, below the factors' entropies.

    Shades are shares of the entropy, so that a factor of two values shows as well as one of forty.

    Args:
        information: `(codes, factors)`.
        codes: Names of the rows.
        factors: Names of the columns.
        ceilings: `(factors,)`, the entropies, which no code can exceed; they stand above in bold.
        ax: The axes to draw on.

    Raises:
        ValueError: For arrays whose shapes do not match the names.
    """
    value, ceiling = floats(information), floats(ceilings)
    if ceiling.shape != (len(factors),):
        raise ValueError(
            f"ceilings of shape {ceiling.shape}: expected an entropy for each of {len(factors)} "
            "factors"
        )
    share = _shares(value, ceiling) if value.ndim == 2 else value
    ax = _heat(value, share, codes, factors, ax)
    bold: dict[str, Any] = {"ha": "center", "weight": "bold", "size": "small"}
    for column, entropy in enumerate(ceiling):
        ax.text(column, -0.8, f"{entropy:.2f}", va="center", **bold)
    ax.text(-0.6, -0.8, "entropy", ha="right", va="center", size="small")
    ax.set_ylim(ax.get_ylim()[0], -1.2)
    return ax


def code_factor_importance(
    importance: ArrayLike, codes: Sequence[str], factors: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draw a heat map of how much of each factor's prediction rests on each code.

    Args:
        importance: `(codes, factors)`, shares in [0, 1].
        codes: Names of the rows.
        factors: Names of the columns.
        ax: The axes to draw on.

    Raises:
        ValueError: For a matrix whose shape does not match the names.
    """
    value = floats(importance)
    return _heat(value, value, codes, factors, ax)


def column_moves(
    moves: ArrayLike, columns: Sequence[str], units: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Draw a heat map of how far units move the columns of a table, in standard deviations.

    Args:
        moves: `(columns, units)`, negative where a column falls as the unit rises.
        columns: Names of the rows.
        units: Names of the columns.
        ax: The axes to draw on.

    Raises:
        ValueError: For a matrix whose shape does not match the names.
    """
    value = floats(moves)
    if value.shape != (len(columns), len(units)):
        raise ValueError(
            f"moves of shape {value.shape}: expected ({len(columns)} columns, {len(units)} units)"
        )
    ax = own(ax, 2 + 0.55 * len(units), 0.6 + 0.26 * len(columns))
    most = max(float(np.max(abs(value), initial=0.0)), 0.1)  # less than that is noise, and pale
    across, down = np.arange(len(units) + 1) - 0.5, np.arange(len(columns) + 1) - 0.5
    shade(ax, across, down, value, most, low=-most)
    for row, column in np.ndindex(*value.shape):
        moved = float(value[row, column])
        text = cell_text(abs(moved), 1)
        sign = "−" if moved < 0 and text != "·" else ""
        ax.text(column, row, sign + text, ha="center", va="center", size="small")
    ax.set_yticks(range(len(columns)), columns)
    ax.set_xticks(range(len(units)), units)
    ax.set(ylim=(len(columns) - 0.5, -0.5))
    frameless(ax)
    return ax


def _shares(value: Floats, ceiling: Floats) -> Floats:
    """Return information as shares of the factors' entropies, 0 where there is none."""
    return np.divide(value, ceiling, out=np.zeros_like(value), where=ceiling > 0)


def _heat(
    value: Floats,
    share: Floats,
    rows: Sequence[str],
    columns: Sequence[str],
    ax: Axes | None,
    most: int = 40,
) -> Axes:
    """Draw cells shaded by their share in [0, 1], their value in them where there is room."""
    if value.shape != (len(rows), len(columns)):
        raise ValueError(
            f"a matrix of shape {value.shape}: expected ({len(rows)} codes, {len(columns)} factors)"
        )
    ax = own(ax, 1.5 + 0.7 * len(columns), 0.8 + 0.28 * len(rows))
    shade(ax, np.arange(len(columns) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5, share, 1)
    if len(rows) <= most and len(columns) <= 20:
        for (row, column), v in np.ndenumerate(value):
            ax.text(column, row, cell_text(v, 2), ha="center", va="center", size="small")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    if max(map(len, columns), default=0) > 12:
        ax.set_xticks(range(len(columns)), columns, rotation=35, ha="left")
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    frameless(ax)
    return ax


# -- gaps ------------------------------------------------------------------------------------------


def factor_gaps(
    information: ArrayLike,
    codes: Sequence[str],
    factors: Sequence[str],
    ceilings: ArrayLike,
    ax: Axes | None = None,
) -> Axes:
    """Draw how much more the best code tells of each factor than the second best.

    A thin bar goes up to the second best code, a thick one from there to the best, as shares of
    the factor's entropy. The length of the thick one, the gap, is the factor's part of the mutual
    information gap.

    Args:
        information: `(codes, factors)`, in nats.
        codes: Names of the codes.
        factors: Names of the factors.
        ceilings: `(factors,)`, their entropies.
        ax: The axes to draw on.

    Raises:
        ValueError: For arrays whose shapes do not match the names.
    """
    value, ceiling = floats(information), floats(ceilings)
    if value.shape != (len(codes), len(factors)) or ceiling.shape != (len(factors),):
        expected = f"({len(codes)} codes, {len(factors)} factors) and ({len(factors)},)"
        raise ValueError(
            f"information {value.shape} and ceilings {ceiling.shape}: expected {expected}"
        )
    ax = own(ax, 6, 0.6 + 0.3 * len(factors))
    ink = rcParams["text.color"]
    for row, column in enumerate(_shares(value, ceiling).T):
        order = np.argsort(-column, kind="stable")
        shares = column[order]
        names = [codes[code] for code in order[:2]]
        below = shares[1] if len(shares) > 1 else 0.0
        ax.barh(row, below, height=0.12, color=ink, alpha=0.45)
        ax.barh(row, shares[0] - below, left=below, height=0.5, color=GROUP_COLORS[0], alpha=0.85)
        told = ", then ".join(names) if shares[0] > 0 else "no code"
        ax.text(shares[0] + 0.015, row, told, va="center", size="small", color=ink)
    ax.set_yticks(range(len(factors)), factors)
    ax.set(xlim=(0, 1.3), ylim=(len(factors) - 0.5, -0.5), xlabel="share of the factor's entropy")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    rows_of_names(ax)
    return ax
