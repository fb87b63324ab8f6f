"""Pictures of learned representations: plain functions of numpy arrays, for a report or a notebook.

Pictures of items are `uint8` arrays that `show` draws; charts are matplotlib Axes. Both leave the
global state of pyplot alone and take their ink from `matplotlib.rcParams`, so a style or a dark
background applies.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from matplotlib import colormaps, patheffects, rcParams
from matplotlib.axes import Axes
from matplotlib.colors import LinearSegmentedColormap, to_hex, to_rgba
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator
from numpy.typing import ArrayLike, NDArray

Array: TypeAlias = NDArray[Any]

# Okabe & Ito: told apart under every common colour blindness, mid-tones first (they hold on white
# and on black).
GROUP_COLORS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#8c8c8c")
# Petroff (2021), accessible colour sequences: the longest one in use, ten colours.
CLASS_COLORS = (
    "#3f90da", "#ffa90e", "#bd1f01", "#94a4a2", "#832db6", "#a96b59", "#e76300", "#b9ac70", "#717581", "#57b8bd",
)  # fmt: skip

# Methods of a study: a colour and a marker each, so that neither has to be told apart alone.
METHOD_COLORS = (*GROUP_COLORS[:5], "#8a63d2", "#8c8c8c", "#a3623a", "#a8a81f", "#2fb5a8")
# By marker, what its area is drawn by, so that all look alike in size.
METHOD_MARKERS = {
    "o": 1.0, "s": 0.9, "^": 1.25, "D": 0.75, "v": 1.25, "P": 1.3, "X": 1.3, "p": 1.25, "<": 1.25, ">": 1.25, "h": 1.2,
    "d": 1.2,
}  # fmt: skip

_SHADE = LinearSegmentedColormap.from_list(
    "", [to_rgba(GROUP_COLORS[0], 0.04), to_rgba(GROUP_COLORS[0], 0.75)]
)


def _axes(ax: Axes | None, width: float, height: float) -> Axes:
    return Figure(figsize=(width, height), layout="constrained").add_subplot() if ax is None else ax


def group_colors(groups: Sequence[str]) -> dict[str, str]:
    """A colour for each group, in order of appearance.

    >>> group_colors(["y", "z", "z"])
    {'y': '#0072b2', 'z': '#d55e00'}
    """
    return {g: GROUP_COLORS[i % len(GROUP_COLORS)] for i, g in enumerate(dict.fromkeys(groups))}


def method_looks(methods: Sequence[str]) -> dict[str, tuple[str, str]]:
    """A colour and a marker for each method, in order of appearance; sixty before a pair comes
    again.

    >>> method_looks(["VAE", "β-VAE", "VAE"])
    {'VAE': ('#0072b2', 'o'), 'β-VAE': ('#d55e00', 's')}
    """
    markers = list(METHOD_MARKERS)
    return {
        m: (METHOD_COLORS[i % len(METHOD_COLORS)], markers[i % len(markers)])
        for i, m in enumerate(dict.fromkeys(methods))
    }


def pixels(images: ArrayLike) -> NDArray[np.uint8]:
    """Images `(*, h, w)`, `(*, h, w, 1)` or `(*, h, w, 3)`, floats in [0, 1] or bytes -> bytes `(*,
    h, w, 1 or 3)`.

    >>> pixels([[[0.0, 0.5], [1.0, 2.0]]])[..., 0].tolist()
    [[[0, 128], [255, 255]]]
    """
    x = np.asarray(images)
    x = x if x.ndim > 2 and x.shape[-1] in (1, 3) else x[..., None]
    if x.dtype == np.uint8:
        return x
    return np.round(255 * np.clip(np.nan_to_num(x.astype(np.float64)), 0, 1)).astype(np.uint8)


def profiles(vectors: ArrayLike, low: float, high: float, height: int = 24) -> NDArray[np.uint8]:
    """Vectors `(*, d)` as pictures `(*, height, w)` of d bars that rise (or hang) from zero, so
    that they can be shown wherever images are. `low` and `high` are the values at the lower and
    upper edge.

    >>> profiles([[1.0, 2.0]], 0, 2, height=2)[0].tolist()
    [[0, 255], [255, 255]]
    """
    x = np.asarray(vectors, dtype=np.float64)
    x = np.repeat(x, -(-height // x.shape[-1]), axis=-1)[..., None, :]  # few bars are drawn wide
    step = (high - low) / height or 1.0
    level = (high - step * (np.arange(height) + 0.5))[
        :, None
    ]  # (height, 1): the middle of each line of pixels
    filled = ((level > 0) & (level < x)) | ((level < 0) & (level > x))
    return np.where(filled, 255, 0).astype(np.uint8)


def image_grid(images: ArrayLike, columns: int, gap: int = 1) -> NDArray[np.uint8]:
    """One picture, RGBA `(rows * (h + gap) - gap, columns * (w + gap) - gap, 4)`, of m images `(m,
    h, w[, 3])` in rows of `columns`. Gaps are a faint grey that suits a light and a dark page; NaN
    and places after the last image are transparent.

    >>> image_grid(np.zeros((5, 28, 28)), columns=3).shape
    (57, 86, 4)
    """
    x = pixels(images)
    if x.ndim != 4:
        raise ValueError(f"images of shape {np.shape(images)}: expected (m, h, w) or (m, h, w, 3)")
    m, h, w, _ = x.shape
    rows = -(-m // columns)
    held = ~np.isnan(np.asarray(images)).reshape(m, h, w, -1).any(-1)
    grid = np.zeros((rows * columns, h + gap, w + gap, 4), dtype=np.uint8)
    grid[np.flatnonzero(held.any((1, 2)))] = (128, 128, 128, 55)
    grid[:m, :h, :w, :3] = x
    grid[:m, :h, :w, 3] = np.where(held, 255, 0)
    grid = grid.reshape(rows, columns, h + gap, w + gap, 4).swapaxes(1, 2)
    return grid.reshape(rows * (h + gap), columns * (w + gap), 4)[
        : rows * (h + gap) - gap, : columns * (w + gap) - gap
    ]


def reconstructions(
    x: ArrayLike, reconstruction: ArrayLike, columns: int = 16, gap: int = 1
) -> NDArray[np.uint8]:
    """Items `(m, h, w[, 3])` above their reconstructions, pair of rows after pair of rows, as one
    RGBA picture. A wider gap parts the pairs.

    >>> reconstructions(np.zeros((4, 8, 8)), np.ones((4, 8, 8)), columns=2).shape
    (39, 17, 4)
    """
    above, below = pixels(x), pixels(reconstruction)
    if above.shape != below.shape:
        raise ValueError(
            f"x has shape {np.shape(x)}, its reconstruction {np.shape(reconstruction)}: expected "
            "the same"
        )
    parts: list[Array] = []
    for i in range(0, len(above), columns):
        pair = [image_grid(rows[i : i + columns], columns, gap) for rows in (above, below)]
        space = np.zeros((gap, *pair[0].shape[1:]), dtype=np.uint8)
        parts += [pair[0], space, pair[1], np.repeat(space, 5, axis=0)]
    return np.concatenate(parts[:-1])


def traversal(strips: ArrayLike, gap: int = 1) -> NDArray[np.uint8]:
    """What one latent unit does: images `(rows, columns, h, w[, 3])`, a row per starting item and a
    column per value of the unit, all else held, as one RGBA picture.

    >>> traversal(np.zeros((5, 11, 28, 28))).shape
    (144, 318, 4)
    """
    x = pixels(strips)
    if x.ndim != 5:
        raise ValueError(
            f"a traversal of shape {np.shape(strips)}: expected (rows, columns, h, w) or (..., 3)"
        )
    return image_grid(x.reshape(-1, *x.shape[2:]), x.shape[1], gap)


def show(picture: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draws a picture made by `image_grid`, `reconstructions` or `traversal` without frame or
    ticks.
    """
    image = np.asarray(picture)
    ax = _axes(ax, 8, 8 * image.shape[0] / image.shape[1])
    ax.imshow(image, interpolation="nearest")
    ax.set_axis_off()
    return ax


def epochs(history: Sequence[Mapping[str, Any]]) -> NDArray[np.float64]:
    """Where each line of a history stands on the axis of epochs: steps spread evenly over the
    epochs seen.

    >>> epochs([{"step": 5, "epoch": 0}, {"step": 10, "epoch": 0}, {"step": 20, "epoch": 1}]).tolist()
    [0.5, 1.0, 2.0]
    """
    step = np.array(
        [line.get("step", line.get("epoch", i)) for i, line in enumerate(history)], dtype=np.float64
    )
    seen = len({line["epoch"] for line in history if "epoch" in line}) or 1
    return np.asarray(step * (seen / max(step.max(initial=0.0), 1.0)))


def curves(history: Sequence[Mapping[str, Any]], term: str, ax: Axes | None = None) -> Axes:
    """One term over training: a thin line for the training batches, a strong one for held-out data.

    The frame fits what follows the first tenth of training, so that the fall at the start does not
    flatten the rest.
    """
    ax = _axes(ax, 4, 2.2)
    at, splits = epochs(history), [line.get("split", "train") for line in history]
    value = np.array(
        [np.nan if line.get(term) is None else line[term] for line in history], dtype=np.float64
    )
    held = np.isfinite(value)
    for split, color, width, alpha in (
        ("train", rcParams["text.color"], 0.8, 0.5),
        ("valid", GROUP_COLORS[0], 1.6, 1),
    ):
        here = held & np.array([s == split for s in splits], dtype=bool)
        few = (
            here.sum() <= 2
        )  # two lines or fewer are points: a line between them would look like many
        ax.plot(
            at[here],
            value[here],
            color=color,
            lw=width,
            alpha=alpha,
            label=split,
            marker="o" if few else "",
            ms=3,
        )
    settled = value[held & (at >= at.max(initial=0.0) / 10)]
    if settled.size:
        low, high = float(settled.min()), float(settled.max())
        margin = 0.06 * (high - low) or 0.05 * max(abs(low), 1e-3)
        ax.set_ylim(low - margin, high + margin)
    ax.set_xlim(0, 1.03 * max(float(at.max(initial=0.0)), 1e-9))  # room for the last number
    ax.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    ax.yaxis.set_major_locator(MaxNLocator(4))
    _quiet(ax)
    return ax


def information_bars(
    names: Sequence[str],
    values: ArrayLike,
    errors: ArrayLike | None = None,
    groups: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """I(x; z_d) in nats of each latent unit `(units,)`: one bar a unit from the top down in the
    order given, coloured by its group, with standard errors and the value written at its end.
    """
    value = np.asarray(values, dtype=np.float64)
    ax = _axes(ax, 6, 0.5 + 0.28 * len(names))
    kinds = groups if groups is not None else ["z"] * len(names)
    colors = group_colors(kinds)
    error = np.zeros_like(value) if errors is None else np.asarray(errors, dtype=np.float64)
    # units of one group stand together, a half line of space before the next group
    at = np.arange(len(names)) + 0.5 * np.cumsum(
        [i > 0 and kinds[i] != kinds[i - 1] for i in range(len(kinds))]
    )
    ink = rcParams["text.color"]
    ax.barh(at, value, height=0.62, color=[colors[g] for g in kinds], alpha=0.85)
    ax.errorbar(value, at, xerr=error, fmt="none", ecolor=ink, elinewidth=1, capsize=2)
    room = 0.012 * float(np.max(value + error, initial=1e-9))
    for y, v, e in zip(at, value, error, strict=True):
        ax.text(
            max(v + e, 0) + room,
            y,
            f"{round(v, 2) + 0.0:.2f}",
            va="center",
            size="small",
            color=ink,
        )
    ax.set_yticks(at, names)
    ax.invert_yaxis()
    ax.set_xlim(
        min(0.0, float(value.min(initial=0.0))),
        1.1 * max(float(np.max(value + error, initial=0.0)), 1e-3),
    )
    ax.xaxis.set_major_locator(MaxNLocator(5))
    _quiet(ax)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax


def class_information(
    per_class: ArrayLike,
    total: ArrayLike,
    names: Sequence[str],
    classes: Sequence[str],
    kinds: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Heat map of what the code tells about a class, in nats: a row for each of `names` (groups,
    all of the code, single units), a column for each class from `per_class` `(classes, names)` and
    a last, bold one for `total` `(names,)`. A line parts rows of units from rows of groups.
    """
    value = np.asarray(per_class, dtype=np.float64).T  # (names, classes)
    whole = np.asarray(total, dtype=np.float64)
    if value.shape != (len(names), len(classes)) or whole.shape != (len(names),):
        expected = f"({len(classes)} classes, {len(names)} names) and ({len(names)},)"
        raise ValueError(
            f"per_class {np.shape(per_class)} and total {whole.shape}: expected {expected}"
        )
    ax = _axes(ax, 1.5 + 0.5 * len(classes), 0.6 + 0.3 * len(names))
    high = max(float(np.nanmax(value, initial=0.0)), 0.1)  # less than that is noise, and pale
    unit = [k == "unit" for k in kinds] if kinds is not None else [False] * len(names)
    gap = 0.35 * np.cumsum([i > 0 and unit[i] != unit[i - 1] for i in range(len(unit))])
    size = "small" if len(classes) <= 12 else "x-small"
    edges = np.arange(len(classes) + 1) - 0.5
    look: dict[str, Any] = {
        "cmap": _SHADE,
        "vmin": 0,
        "vmax": high,
        "ec": rcParams["axes.facecolor"],
        "lw": 1,
    }
    for row, y in enumerate(np.arange(len(names)) + gap):
        cells = np.ma.masked_invalid(value[row : row + 1])
        ax.pcolormesh(edges, [y - 0.5, y + 0.5], cells, **look)
        if len(classes) <= 20:
            for column, v in enumerate(value[row]):
                ax.text(
                    column,
                    y,
                    "" if np.isnan(v) else f"{v:.1f}" if v >= 0.05 else "·",
                    ha="center",
                    va="center",
                    size=size,
                )
        ax.text(
            len(classes) - 0.1,
            y,
            f"{round(whole[row], 2) + 0.0:.2f}",
            va="center",
            weight="bold",
            size="small",
        )
    ax.set_yticks(np.arange(len(names)) + gap, names)
    ax.set_xticks([*range(len(classes)), len(classes) + 0.2], [*classes, "all"])
    if max(map(len, classes), default=0) > 4:
        ax.tick_params(axis="x", rotation=40)
    ax.set(
        xlim=(-0.5, len(classes) + 0.8),
        ylim=(len(names) - 0.5 + (gap[-1] if len(gap) else 0), -0.5),
    )
    return _frameless(ax)


def code_factor_information(
    information: ArrayLike,
    codes: Sequence[str],
    factors: Sequence[str],
    ceilings: ArrayLike,
    ax: Axes | None = None,
) -> Axes:
    """Heat map of I(z_j; v_k) in nats `(codes, factors)`: a row for each code, a column for each
    factor, and above them, bold, the factor's entropy `(factors,)`, which no code can exceed.
    Shades are shares of that entropy, so that a factor of two values shows as well as one of
    forty.
    """
    value, ceiling = (
        np.asarray(information, dtype=np.float64),
        np.asarray(ceilings, dtype=np.float64),
    )
    if ceiling.shape != (len(factors),):
        raise ValueError(
            f"ceilings of shape {ceiling.shape}: expected an entropy for each of {len(factors)} "
            "factors"
        )
    share = (
        np.divide(value, ceiling, out=np.zeros_like(value), where=ceiling > 0)
        if value.ndim == 2
        else value
    )
    ax = _heat(value, share, codes, factors, ax)
    for column, entropy in enumerate(ceiling):
        ax.text(
            column, -0.8, f"{entropy:.2f}", ha="center", va="center", weight="bold", size="small"
        )
    ax.text(-0.6, -0.8, "entropy", ha="right", va="center", size="small")
    ax.set_ylim(ax.get_ylim()[0], -1.2)
    return ax


def code_factor_importance(
    importance: ArrayLike, codes: Sequence[str], factors: Sequence[str], ax: Axes | None = None
) -> Axes:
    """Heat map of how much of each factor's prediction rests on each code, shares in [0, 1]
    `(codes, factors)`.
    """
    value = np.asarray(importance, dtype=np.float64)
    return _heat(value, value, codes, factors, ax)


def _heat(
    value: Array,
    share: Array,
    rows: Sequence[str],
    columns: Sequence[str],
    ax: Axes | None,
    most: int = 40,
) -> Axes:
    """Cells shaded by their share in [0, 1], their value written in them where there is room."""
    if value.shape != (len(rows), len(columns)):
        raise ValueError(
            f"a matrix of shape {value.shape}: expected ({len(rows)} codes, {len(columns)} factors)"
        )
    ax = _axes(ax, 1.5 + 0.7 * len(columns), 0.8 + 0.28 * len(rows))
    edges = np.arange(len(columns) + 1) - 0.5, np.arange(len(rows) + 1) - 0.5
    look: dict[str, Any] = {
        "cmap": _SHADE,
        "vmin": 0,
        "vmax": 1,
        "ec": rcParams["axes.facecolor"],
        "lw": 1,
    }
    ax.pcolormesh(*edges, np.ma.masked_invalid(share), **look)
    if len(rows) <= most and len(columns) <= 20:
        for (row, column), v in np.ndenumerate(value):
            text = "" if np.isnan(v) else f"{v:.2f}" if v >= 0.005 else "·"
            ax.text(column, row, text, ha="center", va="center", size="small")
    ax.set_yticks(range(len(rows)), rows)
    ax.set_xticks(range(len(columns)), columns)
    if max(map(len, columns), default=0) > 12:
        ax.set_xticks(range(len(columns)), columns, rotation=35, ha="left")
    ax.set(xlim=(-0.5, len(columns) - 0.5), ylim=(len(rows) - 0.5, -0.5))
    return _frameless(ax)


def factor_gaps(
    information: ArrayLike,
    codes: Sequence[str],
    factors: Sequence[str],
    ceilings: ArrayLike,
    ax: Axes | None = None,
) -> Axes:
    """For each factor, as shares of its entropy: a thin bar up to what the second best code tells
    of it, a thick one from there to the best, the gap. Its length is the factor's part of the
    mutual information gap.
    """
    value, ceiling = (
        np.asarray(information, dtype=np.float64),
        np.asarray(ceilings, dtype=np.float64),
    )
    if value.shape != (len(codes), len(factors)) or ceiling.shape != (len(factors),):
        expected = f"({len(codes)} codes, {len(factors)} factors) and ({len(factors)},)"
        raise ValueError(
            f"information {value.shape} and ceilings {ceiling.shape}: expected {expected}"
        )
    share = np.divide(value, ceiling, out=np.zeros_like(value), where=ceiling > 0)
    ax = _axes(ax, 6, 0.6 + 0.3 * len(factors))
    ink = rcParams["text.color"]
    for row, column in enumerate(share.T):
        best, second = [*np.argsort(-column, kind="stable"), None][:2]
        top, below = column[best], 0.0 if second is None else column[second]
        ax.barh(row, below, height=0.12, color=ink, alpha=0.45)
        ax.barh(row, top - below, left=below, height=0.5, color=GROUP_COLORS[0], alpha=0.85)
        told = (
            codes[best] + ("" if second is None else f", then {codes[second]}")
            if top > 0
            else "no code"
        )
        ax.text(top + 0.015, row, told, va="center", size="small", color=ink)
    ax.set_yticks(range(len(factors)), factors)
    ax.set(xlim=(0, 1.3), ylim=(len(factors) - 0.5, -0.5), xlabel="share of the factor's entropy")
    ax.set_xticks([0, 0.25, 0.5, 0.75, 1], ["0", "0.25", "0.5", "0.75", "1"])
    _quiet(ax)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax


def scatter(
    points: ArrayLike,
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    axis_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Codes `(n, 2)` as points coloured by their label `(n,)`, grey where it is negative (unknown);
    the name of a class stands at the median of its points. Without `axis_names` the axes have no
    meaning of their own and are not drawn.
    """
    at = np.asarray(points, dtype=np.float64)
    if at.ndim != 2 or at.shape[1] != 2:
        raise ValueError(f"points of shape {at.shape}: expected (n, 2)")
    ax = _axes(ax, 6, 6)
    kind = np.zeros(len(at), dtype=int) if labels is None else np.asarray(labels).astype(int)
    color = np.where(kind < 0, GROUP_COLORS[-1], np.array(CLASS_COLORS)[kind % len(CLASS_COLORS)])
    # points are one bitmap: thousands of vector circles would make a page of megabytes
    size = float(np.clip(25000 / max(len(at), 1), 3, 25))
    ax.scatter(at[:, 0], at[:, 1], c=list(color), s=size, lw=0, alpha=0.7, rasterized=True)
    halo = [patheffects.withStroke(linewidth=3.5, foreground=rcParams["axes.facecolor"])]
    for c in np.unique(kind[kind >= 0]) if labels is not None else []:
        x, y = np.median(at[kind == c], axis=0)
        name = classes[c] if classes is not None and c < len(classes) else str(c)
        ax.text(x, y, name, weight="bold", ha="center", va="center", path_effects=halo)
    if axis_names is not None and len(axis_names) == 2:
        ax.set_xlabel(axis_names[0])
        ax.set_ylabel(axis_names[1])
        _quiet(ax)
    else:
        ax.set_axis_off()
        ax.set_aspect("equal", adjustable="datalim")
    return ax


def class_colors(classes: int) -> list[str]:
    """A colour for each class: of a set made to be told apart, or, where it does not suffice, along
    the rainbow.

    >>> class_colors(2), len(set(class_colors(38)))
    (['#3f90da', '#ffa90e'], 38)
    """
    if classes <= len(CLASS_COLORS):
        return list(CLASS_COLORS[:classes])
    return [to_hex(colormaps["turbo"](0.05 + 0.9 * c / (classes - 1))) for c in range(classes)]


def scatters(
    panels: Mapping[str, ArrayLike], labels: ArrayLike, axs: Sequence[Axes] | None = None
) -> Axes:
    """Points `(n, 2)` of several panels, one beside the other under their names, coloured by their
    class `(n,)`, grey where that is negative. Axes have no meaning of their own and are not drawn.
    Returns the first panel's Axes.
    """
    kind = np.asarray(labels).astype(int)
    if axs is None:
        figure = Figure(figsize=(3.2 * len(panels), 3.5), layout="constrained")
        axs = list(figure.subplots(1, len(panels), squeeze=False)[0])
    colors = np.array(
        [*class_colors(max(kind.max(initial=0) + 1, 1)), GROUP_COLORS[-1]]
    )  # the last is that of −1
    size = float(np.clip(12000 / max(len(kind), 1), 2, 22))
    for ax, (name, points) in zip(axs, panels.items(), strict=False):
        at = np.asarray(points, dtype=np.float64)
        ax.scatter(
            at[:, 0],
            at[:, 1],
            c=list(colors[np.maximum(kind, -1)]),
            s=size,
            lw=0,
            alpha=0.7,
            rasterized=True,
        )
        ax.set_title(name, fontsize="medium")
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_axis_off()
    for ax in axs[len(panels) :]:
        ax.set_axis_off()
    return axs[0]


def lines(x: ArrayLike, named: Mapping[str, ArrayLike], ax: Axes | None = None) -> Axes:
    """Curves `(points,)` over `x`, a colour each (`METHOD_COLORS`, in order); NaN are gaps. Few
    points are marked.
    """
    at = np.asarray(x, dtype=np.float64)
    ax = _axes(ax, 6, 3.2)
    for i, values in enumerate(named.values()):
        value = np.asarray(values, dtype=np.float64)
        edges = np.isfinite(np.r_[np.nan, value, np.nan])
        lone = (edges[1:-1] & ~edges[:-2] & ~edges[2:]).any()  # a point between gaps is no line
        look: dict[str, Any] = {"marker": "o" if len(at) <= 30 or lone else "", "ms": 3.5}
        ax.plot(at, value, color=METHOD_COLORS[i % len(METHOD_COLORS)], lw=1.6, **look)
    ax.xaxis.set_major_locator(MaxNLocator(6, integer=bool(np.all(at % 1 == 0))))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    _quiet(ax)
    return ax


def seed_dots(
    values: Mapping[str, Sequence[float]],
    intervals: Mapping[str, tuple[float, float] | None],
    looks: Mapping[str, tuple[str, str]],
    reference: float | None = None,
    ax: Axes | None = None,
) -> Axes:
    """A row a method from the top down: its mean and the interval of that, where it has one, and
    just below every seed as a faint point. `reference` is a value to compare with, a dashed line.

    A frame that an interval of two seeds would blow up fits the points instead, and the line runs
    out of it.
    """
    ax = _axes(ax, 6, 0.5 + 0.3 * len(values))
    for row, (method, held) in enumerate(values.items()):
        if not len(held):
            continue
        color, marker = looks[method]
        ax.scatter(
            held,
            [row + 0.27] * len(held),
            c=color,
            marker=marker,
            s=20 * METHOD_MARKERS[marker],
            lw=0,
            alpha=0.5,
        )
        if pair := intervals.get(method):
            ax.plot(pair, [row, row], color=color, lw=1.8, solid_capstyle="butt")
        _mean(ax, float(np.mean(held)), row, looks[method])
    points = [
        *(v for held in values.values() for v in held),
        *([] if reference is None else [reference]),
    ]
    ends = [end for pair in intervals.values() if pair for end in pair]
    if points:
        low, high = min(points), max(points)
        room = 0.6 * ((high - low) or abs(high) or 1.0)  # as far as intervals may widen the frame
        low, high = max(min([low, *ends]), low - room), min(max([high, *ends]), high + room)
        margin = 0.05 * ((high - low) or abs(high) or 1.0)
        ax.set_xlim(low - margin, high + margin)
    if reference is not None:
        ax.axvline(
            reference, color=rcParams["text.color"], lw=0.8, ls=(0, (4, 3)), alpha=0.6, zorder=1
        )
    ax.set_yticks(
        range(len(values)), [name if len(name) <= 28 else f"{name[:27]}…" for name in values]
    )
    ax.set_ylim(len(values) - 0.3, -0.6)
    ax.xaxis.set_major_locator(MaxNLocator(5))
    _quiet(ax)
    ax.tick_params(axis="y", length=0)
    ax.spines["left"].set_visible(False)
    return ax


def _mean(ax: Axes, x: float, y: float, look: tuple[str, str]) -> None:
    """A method's own, strong point."""
    color, marker = look
    size = 64 * METHOD_MARKERS[marker]
    ax.scatter(
        [x], [y], c=color, marker=marker, s=size, ec=rcParams["axes.facecolor"], lw=0.8, zorder=4
    )


def tradeoff(
    points: Mapping[str, Sequence[tuple[float, float]]],
    looks: Mapping[str, tuple[str, str]],
    ax: Axes | None = None,
) -> Axes:
    """Two scores against each other: every run `(x, y)` as a faint point of its method, the mean of
    its runs strong.
    """
    ax = _axes(ax, 4, 3)
    for method, held in points.items():
        at = np.array(held, dtype=np.float64).reshape(-1, 2)
        color, marker = looks[method]
        ax.scatter(
            at[:, 0],
            at[:, 1],
            c=color,
            marker=marker,
            s=22 * METHOD_MARKERS[marker],
            lw=0,
            alpha=0.5,
        )
        if len(at):
            _mean(ax, float(at[:, 0].mean()), float(at[:, 1].mean()), looks[method])
    ax.xaxis.set_major_locator(MaxNLocator(4))
    ax.yaxis.set_major_locator(MaxNLocator(5))
    _quiet(ax)
    return ax


def rank_lines(
    ranks: ArrayLike,
    methods: Sequence[str],
    seeds: Sequence[int],
    looks: Mapping[str, tuple[str, str]],
    ax: Axes | None = None,
) -> Axes:
    """Places of methods `(seeds, methods)`, 1 on top: a line a method from seed to seed. Lines that
    do not cross are an order that all seeds agree on.
    """
    place = np.asarray(ranks, dtype=np.float64)
    if place.shape != (len(seeds), len(methods)):
        raise ValueError(
            f"ranks of shape {place.shape}: expected ({len(seeds)} seeds, {len(methods)} methods)"
        )
    ax = _axes(ax, 6, 0.5 + 0.3 * len(methods))
    for column, method in enumerate(methods):
        color, marker = looks[method]
        ax.plot(
            place[:, column],
            color=color,
            marker=marker,
            ms=8 * METHOD_MARKERS[marker] ** 0.5,
            lw=1.4,
            mec=rcParams["axes.facecolor"],
        )
    order = np.argsort(place[-1], kind="stable") if len(seeds) else np.arange(0)
    for at, column in enumerate(order, 1):  # methods that tie are named one under the other
        ax.text(len(seeds) - 0.8, at, methods[column], va="center", size="small")
    ax.set_xticks(range(len(seeds)), [f"seed {seed}" for seed in seeds])
    ax.set_yticks(range(1, len(methods) + 1))
    ax.set(xlim=(-0.3, len(seeds) - 0.7), ylim=(len(methods) + 0.5, 0.5))
    _quiet(ax)
    ax.tick_params(length=0)
    ax.spines[["left", "bottom"]].set_visible(False)
    return ax


def _quiet(ax: Axes) -> None:
    """Two thin spines, short ticks, no frame."""
    ax.spines[["top", "right"]].set_visible(False)
    ax.spines[["left", "bottom"]].set(linewidth=0.6, alpha=0.5)
    ax.tick_params(length=2.5, width=0.6)


def _frameless(ax: Axes) -> Axes:
    """A table of cells: names of columns above, no ticks, no frame."""
    ax.xaxis.tick_top()
    ax.tick_params(length=0)
    for spine in ax.spines.values():
        spine.set_visible(False)
    return ax
