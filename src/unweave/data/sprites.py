"""Sprites: one shape on black, drawn in the proportions of dSprites from factors that are known."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unweave.data import grid
from unweave.data.data import Data
from unweave.data.outlines import REACH, SHAPES, Plane
from unweave.data.sampling import Sampler, draw, independent
from unweave.data.store import Bits

Grid: TypeAlias = int | Sequence[float]
"""A number of values, or the values."""

FRAME = 64
"""The outlines' unit is a pixel of dSprites, whose images have 64 by 64."""

NUMERIC = ("scale", "orientation", "posX", "posY")
"""The factors whose values are numbers."""

CHUNK = 128
"""Images drawn at a time."""

WHITE = np.array(255, dtype=np.uint8)


def sprites(
    n: int = 10_000, scene: Scene | None = None, *, sampling: Sampler = independent, seed: int = 0
) -> Data:
    """Draw n images of one shape each by shape, scale, orientation, position and perhaps colour.

    Args:
        n: Number of images.
        scene: The grids of the factors and the images' size; by default those of dSprites.
        sampling: The factors' joint distribution: `independent`, `correlated`, `hierarchical`, or a
            part of `held_out`.
        seed: Seed of the factors; the same gives the same, whatever the version of NumPy.

    Returns:
        x as `Bits` where pixels are 0 or 1 (one colour, one sample a pixel), else uint8; factors
        "shape", "scale", "orientation", "posX", "posY", and "colour" if there are colours.

    Raises:
        ValueError: If n is not positive, or the sampler's settings do not fit the scene's grids.
        KeyError: If the sampler names a factor that the scene lacks.

    >>> from unweave.data import correlated
    >>> scene = Scene(size=32, orientations=1, x=1, y=1, colours=("red", "gold"))
    >>> data = sprites(500, scene, sampling=correlated("shape", "colour", 0.9))
    >>> data.shape, data.names
    ((32, 32, 3), ('shape', 'scale', 'orientation', 'posX', 'posY', 'colour'))
    """
    scene = scene or Scene()
    factors = draw(sampling, n, scene.counts, seed)
    x = scene.pack(factors) if scene.is_binary else scene.render(factors)
    return Data(x, factors, scene.names, scene.sizes, scene.values, "sprites")


@dataclass(frozen=True)
class Scene:
    r"""A grid of values for each factor of sprites; a count stands for dSprites' values.

    A pixel with centre p shows the shape if :math:`R_θ (p - c) / s` lies in its outline. The
    shape's centre is c = 16 + 32 (x, y) in an image of 64 pixels a side (other sizes in
    proportion). The outlines are fitted to 358 images of dSprites: 343 are drawn again exactly, and
    15 but for one pixel or two (`tests/data/test_sprites.py`).

    Args:
        size: Pixels a side.
        shapes: Names in `outlines.SHAPES`.
        scales: Values s > 0, or their number, evenly from 0.5 to 1 (a single one is 1).
        orientations: Angles θ in radians, anticlockwise, or their number, evenly from 0 to 2π. As
            in dSprites, the first and the last are then the same image. A single one is 0.
        x: Places from the left, 0 to 1, or their number, evenly (a single one is 0.5).
        y: Places from the top, likewise.
        colours: Colours that pillow names, such as "red", "#ff8800", "hsl(120, 100%, 50%)"; without
            them images are grey.
        samples: Points a side of each pixel at which the shape is asked for. 1 gives pixels of 0 or
            1, as dSprites has them; m gives smooth edges of m² + 1 levels.

    Raises:
        ValueError: If a shape or colour is unknown, a grid is empty, or size, samples or a scale is
            not positive.

    >>> scene = Scene(size=8, shapes=("square",), scales=1, orientations=1, x=2, y=1)
    >>> scene.counts
    {'shape': 1, 'scale': 1, 'orientation': 1, 'posX': 2, 'posY': 1}
    >>> scene.render([[0, 0, 0, 1, 0]])[0, 4] // 255
    array([0, 0, 0, 0, 0, 1, 1, 0], dtype=uint8)
    """

    size: int = 64
    shapes: Sequence[str] = ("square", "ellipse", "heart")
    scales: Grid = 6
    orientations: Grid = 40
    x: Grid = 32
    y: Grid = 32
    colours: Sequence[str] = ()
    samples: int = 1

    def __post_init__(self) -> None:
        if self.size < 1 or self.samples < 1:
            raise ValueError(
                f"size is {self.size} and samples {self.samples}; expected both to be at least 1"
            )
        unknown = [shape for shape in self.shapes if shape not in SHAPES]
        if unknown:
            raise ValueError(f"no shape {unknown[0]!r}; expected {', '.join(SHAPES)}")
        empty = [name for name, count in self.counts.items() if count < 1]
        if empty:
            raise ValueError(
                f"{', '.join(empty)} has no value; expected a count of at least 1, or the values"
            )
        if (self._grids[0] <= 0).any():
            raise ValueError(
                f"scales are {self.scales}; expected positive numbers: 1 is the size in dSprites"
            )
        if len(self._palette) != len(self.colours):
            raise ValueError(f"colours are {self.colours}; expected different ones")

    @property
    def names(self) -> tuple[str, ...]:
        """The factors' names."""
        return tuple(self.counts)

    @property
    def sizes(self) -> tuple[int, ...]:
        """The number of values of each factor."""
        return tuple(self.counts.values())

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """The number of values of each factor, by name."""
        counts = {"shape": len(self.shapes)}
        for name, values in zip(NUMERIC, self._grids, strict=True):
            counts[name] = len(values)
        if self.colours:
            counts["colour"] = len(self.colours)
        return counts

    @property
    def values(self) -> tuple[tuple[str, ...], ...]:
        """The names of each factor's values."""
        colours = (tuple(self.colours),) if self.colours else ()
        return grid.words(tuple(self.shapes), *self._grids, *colours)

    @property
    def is_binary(self) -> bool:
        """True if pixels are 0 or 1."""
        return self.samples == 1 and not self.colours

    def render(self, factors: ArrayLike) -> NDArray[np.uint8]:
        """Draw the images of given classes.

        To intervene on a factor, set its column to one class, and render.

        Args:
            factors: Classes (n, factors).

        Returns:
            Pixels from 0 to 255, (n, size, size) or, with colours, (n, size, size, 3).

        Raises:
            ValueError: If a row is no row of classes of the scene's factors.
        """
        classes = self._checked(factors)
        parts = self._coverage(classes)
        if not self.colours:
            return np.concatenate([_painted(part, WHITE, self.samples) for part in parts])
        colours = self._palette[classes[:, -1]][:, None, None]  # (n, 1, 1, 3)
        images = np.empty((len(classes), self.size, self.size, 3), dtype=np.uint8)
        for k, part in enumerate(parts):
            here = slice(k * CHUNK, k * CHUNK + len(part))
            images[here] = _painted(part[..., None], colours[here], self.samples)
        return images

    def pack(self, factors: ArrayLike) -> Bits:
        """Draw the images of given classes, eight pixels to a byte, where `is_binary`.

        Raises:
            ValueError: If pixels are not binary, or a row is no row of classes.
        """
        if not self.is_binary:
            raise ValueError(
                "pixels of smooth or coloured sprites are no bits; expected samples=1 and no "
                "colours: render()"
            )
        parts = self._coverage(self._checked(factors))
        packed = [np.packbits(part.reshape(len(part), -1), axis=1) for part in parts]
        return Bits(np.concatenate(packed), (self.size, self.size))

    @cached_property
    def _grids(self) -> tuple[NDArray[np.float64], ...]:
        return (
            _spread(self.scales, 0.5, 1, alone=1),
            _spread(self.orientations, 0, 2 * np.pi, alone=0),
            _spread(self.x, 0, 1, alone=0.5),
            _spread(self.y, 0, 1, alone=0.5),
        )

    @cached_property
    def _palette(self) -> NDArray[np.uint8]:
        from PIL import ImageColor

        try:
            found = {colour: ImageColor.getrgb(colour)[:3] for colour in self.colours}
        except ValueError as error:
            raise ValueError(
                f"{error}; expected a colour that pillow names, such as 'red' or '#ff8800'"
            ) from None
        return np.array(list(found.values()), dtype=np.uint8)

    def _checked(self, factors: ArrayLike) -> NDArray[np.int64]:
        classes = np.asarray(factors)
        fits = (
            classes.ndim == 2
            and classes.shape[1] == len(self.names)
            and classes.dtype.kind in "iu"
            and len(classes)
        )
        if not fits or (classes < 0).any() or (classes >= self.sizes).any():
            listed = ", ".join(f"{name} (0 to {size - 1})" for name, size in self.counts.items())
            raise ValueError(
                f"factors are {classes.dtype} of shape {classes.shape}; expected whole numbers (n, "
                f"{len(self.names)}), the classes of {listed}"
            )
        return classes.astype(np.int64)

    def _coverage(self, classes: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """Count each pixel's points in the shape, for CHUNK images at a time to fit the cache."""
        for start in range(0, len(classes), CHUNK):
            yield self._drawn(classes[start : start + CHUNK])

    def _drawn(self, classes: NDArray[np.int64]) -> NDArray[Any]:
        numeric = zip(self._grids, classes[:, 1:5].T, strict=True)
        s, angle, x, y = (values[column] for values, column in numeric)  # (images,) each
        pixel = FRAME / self.size
        widest = int(np.ceil(2 * REACH * s.max() / pixel)) + 2
        width = min(self.size, widest)  # a window of this width holds any shape
        left, dx = self._window(x, s, width)
        top, dy = self._window(y, s, width)
        cos = np.cos(angle)[:, None]
        sin = np.sin(angle)[:, None]
        # R (p − c) / s over the window, as sums of a row and a column
        u = _sum(-sin * dy, cos * dx)
        w = _sum(cos * dy, sin * dx)
        inside = np.empty(u.shape, dtype=bool)
        for k, shape in enumerate(self.shapes):
            here = np.flatnonzero(classes[:, 0] == k)
            if here.size:
                inside[here] = SHAPES[shape](u[here], w[here])
        n, m = len(s), self.samples
        count: NDArray[Any] = inside  # (n, width, width) once counted
        if m > 1:
            by_pixel = inside.reshape(n, width, m, width, m)
            count = by_pixel.sum((2, 4), dtype=np.uint16)
        images = np.zeros((n, self.size, self.size), dtype=count.dtype)
        item = np.arange(n)
        rows = top[:, None] + np.arange(width)
        columns = left[:, None] + np.arange(width)
        images[item[:, None, None], rows[:, :, None], columns[:, None, :]] = count
        return images

    def _window(
        self, along: NDArray[np.float64], scale: NDArray[np.float64], width: int
    ) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Place a window about each centre along one side of the images.

        Returns:
            The windows' first pixels, (images,), and their points' distances from the centre over
            the scale, (images, points a side).
        """
        pixel, m = FRAME / self.size, self.samples
        middle = 16 + 32 * along
        first = np.floor(middle / pixel - width / 2)
        start = first.clip(0, self.size - width).astype(np.int64)
        within = (np.arange(width * m) + 0.5) / m
        points = (start[:, None] + within) * pixel
        return start, (points - middle[:, None]) / scale[:, None]


def _spread(values: Grid, low: float, high: float, *, alone: float) -> NDArray[np.float64]:
    if not isinstance(values, int | np.integer):
        return np.asarray(values, dtype=np.float64).reshape(-1)
    if values == 1:
        return np.array([float(alone)])
    return np.linspace(low, high, max(int(values), 0))


def _sum(of_row: NDArray[np.float64], of_column: NDArray[np.float64]) -> Plane:
    """Add rows (images, rows) and columns (images, columns) to float32 planes."""
    rows = of_row.astype(np.float32)[:, :, None]
    columns = of_column.astype(np.float32)[:, None, :]
    return rows + columns  # (images, rows, columns)


def _painted(part: NDArray[Any], colour: NDArray[np.uint8], samples: int) -> NDArray[np.uint8]:
    """Paint pixels in a colour whose brightness is the share of their points in the shape."""
    if samples == 1:
        return np.asarray(part.view(np.uint8) * colour)
    each = colour / np.float32(samples**2)
    return np.rint(part * each).astype(np.uint8)
