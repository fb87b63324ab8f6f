"""Pictures of items: images, reconstructions and traversals as arrays of bytes."""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from matplotlib.axes import Axes
from numpy.typing import ArrayLike, NDArray

from .axes import own

Array: TypeAlias = NDArray[Any]


def pixels(images: ArrayLike) -> NDArray[np.uint8]:
    """Return images as bytes `(*, h, w, 1 or 3)`.

    Args:
        images: `(*, h, w)`, `(*, h, w, 1)` or `(*, h, w, 3)`, floats in [0, 1] or bytes.

    >>> pixels([[[0.0, 0.5], [1.0, 2.0]]])[..., 0].tolist()
    [[[0, 128], [255, 255]]]
    """
    x = np.asarray(images)
    has_colors = x.ndim > 2 and x.shape[-1] in (1, 3)
    if not has_colors:
        x = x[..., None]  # (*, h, w, 1)
    if x.dtype == np.uint8:
        return x
    known = np.nan_to_num(x.astype(np.float64))
    return np.round(255 * np.clip(known, 0, 1)).astype(np.uint8)


def image_grid(images: ArrayLike, columns: int, gap: int = 1) -> NDArray[np.uint8]:
    """Return one picture of many images, in rows.

    Gaps are a faint grey that suits a light and a dark page; NaN and places after the last image
    are transparent.

    Args:
        images: `(m, h, w[, 3])`.
        columns: Images a row.
        gap: Pixels between images.

    Returns:
        RGBA, `(rows * (h + gap) - gap, columns * (w + gap) - gap, 4)`.

    Raises:
        ValueError: For images of another shape.

    >>> image_grid(np.zeros((5, 28, 28)), columns=3).shape
    (57, 86, 4)
    """
    x = pixels(images)
    if x.ndim != 4:
        raise ValueError(f"images of shape {np.shape(images)}: expected (m, h, w) or (m, h, w, 3)")
    m, h, w, _ = x.shape
    rows = -(-m // columns)
    known = ~np.isnan(np.asarray(images)).reshape(m, h, w, -1).any(-1)  # (m, h, w)
    grid = np.zeros((rows * columns, h + gap, w + gap, 4), dtype=np.uint8)
    grid[np.flatnonzero(known.any((1, 2)))] = (128, 128, 128, 55)
    grid[:m, :h, :w, :3] = x
    grid[:m, :h, :w, 3] = np.where(known, 255, 0)
    height, width = rows * (h + gap), columns * (w + gap)
    grid = grid.reshape(rows, columns, h + gap, w + gap, 4)
    grid = grid.swapaxes(1, 2)  # (rows, h + gap, columns, w + gap, 4)
    return grid.reshape(height, width, 4)[: height - gap, : width - gap]


def reconstructions(
    x: ArrayLike, reconstruction: ArrayLike, columns: int = 16, gap: int = 1
) -> NDArray[np.uint8]:
    """Return items above their reconstructions, pair of rows after pair of rows, as one picture.

    A wider gap parts the pairs.

    Args:
        x: `(m, h, w[, 3])`.
        reconstruction: The same shape.
        columns: Items a row.
        gap: Pixels between items.

    Raises:
        ValueError: For shapes that differ.

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
    for start in range(0, len(above), columns):
        row = image_grid(above[start : start + columns], columns, gap)
        again = image_grid(below[start : start + columns], columns, gap)
        space = np.zeros((gap, *row.shape[1:]), dtype=np.uint8)
        parts += [row, space, again, np.repeat(space, 5, axis=0)]
    return np.concatenate(parts[:-1])


def traversal(strips: ArrayLike, gap: int = 1) -> NDArray[np.uint8]:
    """Return as one picture what a latent unit does.

    Args:
        strips: Images `(rows, columns, h, w[, 3])`: a row for each item to start from, a column
            for each value of the unit, all else held.
        gap: Pixels between images.

    Raises:
        ValueError: For images of another shape.

    >>> traversal(np.zeros((5, 11, 28, 28))).shape
    (144, 318, 4)
    """
    x = pixels(strips)
    if x.ndim != 5:
        raise ValueError(
            f"a traversal of shape {np.shape(strips)}: expected (rows, columns, h, w) or (..., 3)"
        )
    columns = x.shape[1]
    return image_grid(x.reshape(-1, *x.shape[2:]), columns, gap)


def show(picture: ArrayLike, ax: Axes | None = None) -> Axes:
    """Draw a picture made by `image_grid`, `reconstructions` or `traversal`, without a frame."""
    image = np.asarray(picture)
    height, width = image.shape[:2]
    ax = own(ax, 8, 8 * height / width)
    ax.imshow(image, interpolation="nearest")
    ax.set_axis_off()
    return ax
