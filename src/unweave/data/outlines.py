"""Outlines of the shapes of sprites, in pixels of dSprites.

They are at scale 1 and orientation 0, u to the right and w downwards. Square, ellipse and heart are
fitted to published images of dSprites.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import cache
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

Plane: TypeAlias = NDArray[np.float32]

REACH = 13.6
"""No outline reaches farther than this from its centre."""


def _square(u: Plane, w: Plane) -> NDArray[np.bool_]:
    return np.maximum(np.abs(u), np.abs(w)) < 9.5967


def _ellipse(u: Plane, w: Plane) -> NDArray[np.bool_]:
    return (u / np.float32(12.766)) ** 2 + (w / np.float32(7.214)) ** 2 < 1


def _heart(u: Plane, w: Plane) -> NDArray[np.bool_]:
    """Return true between an upper and a lower edge over |u|."""
    upper, lower = _heart_edges()
    place = np.abs(u) * np.float32(HEART_CELLS) + np.float32(0.5)
    at = np.minimum(place, np.float32(len(upper) - 1)).astype(np.int32)
    return np.asarray((upper[at] < w) & (w < lower[at]))


def _triangle(u: Plane, w: Plane) -> NDArray[np.bool_]:
    return (w < 6) & (np.abs(u) * np.float32(3**0.5) < w + 12)


def _cross(u: Plane, w: Plane) -> NDArray[np.bool_]:
    u, w = np.abs(u), np.abs(w)
    return (np.minimum(u, w) < 3.5) & (np.maximum(u, w) < 11)


SHAPES: dict[str, Callable[[Plane, Plane], NDArray[np.bool_]]] = {
    "square": _square,
    "ellipse": _ellipse,
    "heart": _heart,
    "triangle": _triangle,
    "cross": _cross,
}
"""The shapes by name: functions that tell which points (u, w) lie inside."""

HEART = (
    ((0, -4.988), (0.493, -7.492), (2.516, -9.305), (4.47, -9.315)),  # notch to top
    ((4.47, -9.315), (7.029, -9.493), (9.593, -7.153), (9.593, -4.097)),  # to the right
    ((9.593, -4.097), (9.593, 1.647), (1.049, 5.091), (0, 9.758)),  # to the tip
)
"""The right half of the heart: cubic Bézier curves, each by its four points."""

HEART_CELLS = 1024
"""The number of |u| a pixel at which the heart's edges are kept."""


@cache
def _heart_edges() -> tuple[Plane, Plane]:
    """Return w of the heart's upper and lower edge at |u| = k / `HEART_CELLS`.

    The last |u| lies beyond the heart: no w lies between the edges there.
    """
    t = np.linspace(0, 1, 5001)[:, None]
    bernstein = [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    weights = np.hstack(bernstein)  # (5001, 4)
    notch, top, tip = (weights @ np.array(points, dtype=np.float64) for points in HEART)
    over = np.vstack([notch, top])
    under = tip[::-1]
    cells = int(over[-1, 0] * HEART_CELLS) + 2
    u = np.arange(cells) / HEART_CELLS
    upper = np.interp(u, over[:, 0], over[:, 1], right=np.inf)
    lower = np.interp(u, under[:, 0], under[:, 1], right=-np.inf)
    return upper.astype(np.float32), lower.astype(np.float32)
