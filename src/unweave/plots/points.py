"""Codes as points in the plane, coloured by their class."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib import patheffects, rcParams
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from numpy.typing import ArrayLike

from .axes import floats, own, quiet
from .colors import CLASS_COLORS, GROUP_COLORS, class_colors

# points are one bitmap: thousands of vector circles would make a page of megabytes
_LOOK: dict[str, Any] = {"lw": 0, "alpha": 0.7, "rasterized": True}


def scatter(
    points: ArrayLike,
    labels: ArrayLike | None = None,
    classes: Sequence[str] | None = None,
    axis_names: Sequence[str] | None = None,
    ax: Axes | None = None,
) -> Axes:
    """Draw codes as points coloured by their label.

    Args:
        points: `(n, 2)`.
        labels: `(n,)`; a point whose label is negative, and so unknown, is grey.
        classes: Names of the labels, which stand at the medians of their points.
        axis_names: Names of the two axes; without them the axes have no meaning of their own and
            are not drawn.
        ax: The axes to draw on.

    Raises:
        ValueError: For points of another shape.
    """
    at = floats(points)
    if at.ndim != 2 or at.shape[1] != 2:
        raise ValueError(f"points of shape {at.shape}: expected (n, 2)")
    ax = own(ax, 6, 6)
    kind = np.zeros(len(at), dtype=int) if labels is None else np.asarray(labels).astype(int)
    known = np.array(CLASS_COLORS)[kind % len(CLASS_COLORS)]
    color = np.where(kind < 0, GROUP_COLORS[-1], known)
    size = float(np.clip(25000 / max(len(at), 1), 3, 25))
    ax.scatter(at[:, 0], at[:, 1], c=list(color), s=size, **_LOOK)
    if labels is not None:
        halo = [patheffects.withStroke(linewidth=3.5, foreground=rcParams["axes.facecolor"])]
        for c in np.unique(kind[kind >= 0]):
            x, y = np.median(at[kind == c], axis=0)
            name = classes[c] if classes is not None and c < len(classes) else str(c)
            ax.text(x, y, name, weight="bold", ha="center", va="center", path_effects=halo)
    if axis_names is not None and len(axis_names) == 2:
        ax.set_xlabel(axis_names[0])
        ax.set_ylabel(axis_names[1])
        quiet(ax)
    else:
        ax.set_axis_off()
        ax.set_aspect("equal", adjustable="datalim")
    return ax


def scatters(
    panels: Mapping[str, ArrayLike], labels: ArrayLike, axs: Sequence[Axes] | None = None
) -> Axes:
    """Draw the points of several panels, one beside the other under their names.

    Axes have no meaning of their own and are not drawn.

    Args:
        panels: By name, `(n, 2)`.
        labels: `(n,)`, the classes; a point whose class is negative is grey.
        axs: The axes to draw on, one a panel or more.

    Returns:
        The first panel's axes.
    """
    kind = np.asarray(labels).astype(int)
    if axs is None:
        figure = Figure(figsize=(3.2 * len(panels), 3.5), layout="constrained")
        axs = list(figure.subplots(1, len(panels), squeeze=False)[0])
    colors = class_colors(max(kind.max(initial=0) + 1, 1))
    palette = np.array([*colors, GROUP_COLORS[-1]])  # the last is that of −1
    size = float(np.clip(12000 / max(len(kind), 1), 2, 22))
    for ax, (name, points) in zip(axs, panels.items(), strict=False):
        at = floats(points)
        color = palette[np.maximum(kind, -1)]
        ax.scatter(at[:, 0], at[:, 1], c=list(color), s=size, **_LOOK)
        ax.set_title(name, fontsize="medium")
        ax.set_aspect("equal", adjustable="datalim")
        ax.set_axis_off()
    for ax in axs[len(panels) :]:
        ax.set_axis_off()
    return axs[0]
