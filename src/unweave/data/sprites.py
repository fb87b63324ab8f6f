"""Sprites: one shape on black, drawn in the proportions of dSprites from factors that are known."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache, cached_property
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

from unweave.data import grid
from unweave.data.data import Data
from unweave.data.sampling import Sampler, draw, independent
from unweave.data.store import Bits

Grid: TypeAlias = int | Sequence[float]
"""How many values, or which."""

Plane: TypeAlias = NDArray[np.float32]

FRAME = 64
"""The outlines' unit is a pixel of dSprites, whose images have 64 by 64."""

REACH = 13.6
"""No outline reaches farther than this from its centre."""

CHUNK = 128
"""Images drawn at a time."""

WHITE = np.array(255, dtype=np.uint8)


def sprites(
    n: int = 10_000, scene: Scene | None = None, *, sampling: Sampler = independent, seed: int = 0
) -> Data:
    """n images of one shape each, whose factors are known: shape, scale, orientation, position,
    perhaps colour.

    Args:
        n: How many images. scene: What they can look like; `Scene` has the grids of dSprites.
        sampling: The factors' joint distribution: `independent`, `correlated`, `hierarchical`, or a
        part of `held_out`. seed: The same gives the same factors, whatever the version of NumPy.

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
    r"""What sprites can look like: a grid of values for each factor. A count gives the values that
    dSprites spreads.

    A pixel at p shows the shape where :math:`R_θ (p - c) / s` lies in its outline, with centre c =
    16 + 32 (x, y) in an image of 64 pixels a side (other sizes in proportion), and p the pixel's
    centre. The outlines are fitted to 358 images of dSprites: 343 are drawn again exactly, and 15
    but for one pixel or two (`tests/data/test_sprites.py`).

    Args:
        size: Pixels a side. shapes: Names in `SHAPES`. scales: Values s > 0, or how many, evenly
        from 0.5 to 1 (a single one is 1). orientations: Angles θ in radians, anticlockwise, or how
        many, evenly from 0 to 2π. As in dSprites the first
            and the last are then the same image. A single one is 0.
        x: From the left, 0 to 1, or how many, evenly (a single one is 0.5). y: From the top,
        likewise. colours: Any that pillow names, such as "red", "#ff8800", "hsl(120, 100%, 50%)";
        without them images are grey. samples: Points a side of each pixel at which the shape is
        asked for: 1 gives pixels of 0 or 1, as dSprites has
            them; m gives smooth edges of m² + 1 levels.

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
        if unknown := [shape for shape in self.shapes if shape not in SHAPES]:
            raise ValueError(f"no shape {unknown[0]!r}; expected {', '.join(SHAPES)}")
        if empty := [name for name, count in self.counts.items() if count < 1]:
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
        return tuple(self.counts)

    @property
    def sizes(self) -> tuple[int, ...]:
        return tuple(self.counts.values())

    @cached_property
    def counts(self) -> Mapping[str, int]:
        """The number of values of each factor."""
        columns = dict(
            zip(("scale", "orientation", "posX", "posY"), map(len, self._grids), strict=True)
        )
        return {
            "shape": len(self.shapes),
            **columns,
            **({"colour": len(self.colours)} if self.colours else {}),
        }

    @property
    def values(self) -> tuple[tuple[str, ...], ...]:
        """What each value of each factor is called."""
        colours = (tuple(self.colours),) if self.colours else ()
        return grid.words(tuple(self.shapes), *self._grids, *colours)

    @property
    def is_binary(self) -> bool:
        """Whether pixels are 0 or 1."""
        return self.samples == 1 and not self.colours

    def render(self, factors: ArrayLike) -> NDArray[np.uint8]:
        """The images of given classes (n, factors): (n, size, size) or, with colours, (n, size,
        size, 3), 0 to 255.

        Whatever intervenes on factors needs no more: set a column to one class, and render.

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
        """The images of given classes, eight pixels to a byte, where `is_binary`."""
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
            raise ValueError(
                f"factors are {classes.dtype} of shape {classes.shape}; expected whole numbers (n, "
                f"{len(self.names)}), the classes of "
                f"{', '.join(f'{name} (0 to {size - 1})' for name, size in self.counts.items())}"
            )
        return classes.astype(np.int64)

    def _coverage(self, classes: NDArray[np.int64]) -> Iterator[NDArray[Any]]:
        """How many of each pixel's points lie in the shape, (CHUNK, size, size) after another: they
        fit the cache.
        """
        for start in range(0, len(classes), CHUNK):
            yield self._drawn(classes[start : start + CHUNK])

    def _drawn(self, classes: NDArray[np.int64]) -> NDArray[Any]:
        s, angle, *centre = (
            values[column] for values, column in zip(self._grids, classes[:, 1:5].T, strict=True)
        )
        pixel, m = FRAME / self.size, self.samples
        width = min(
            self.size, int(np.ceil(2 * REACH * s.max() / pixel)) + 2
        )  # a window that holds any shape
        starts, offsets = [], []
        for along in centre:
            middle = 16 + 32 * along
            start = np.floor(middle / pixel - width / 2).clip(0, self.size - width).astype(np.int64)
            points = (start[:, None] + (np.arange(width * m) + 0.5) / m) * pixel
            starts.append(start)
            offsets.append((points - middle[:, None]) / s[:, None])  # (images, points a side)
        (left, top), (dx, dy) = starts, offsets
        cos, sin = np.cos(angle)[:, None], np.sin(angle)[:, None]
        # R (p − c) / s over the window, as sums of a row and a column
        u = _sum(-sin * dy, cos * dx)
        w = _sum(cos * dy, sin * dx)
        inside = np.empty(u.shape, dtype=bool)
        for k, shape in enumerate(self.shapes):
            if (here := np.flatnonzero(classes[:, 0] == k)).size:
                inside[here] = SHAPES[shape](u[here], w[here])
        points_in = (
            inside.reshape(len(s), width, m, width, m).sum((2, 4), dtype=np.uint16)
            if m > 1
            else inside
        )
        images = np.zeros((len(s), self.size, self.size), dtype=points_in.dtype)
        rows, cols = (start[:, None] + np.arange(width) for start in (top, left))
        images[np.arange(len(s))[:, None, None], rows[:, :, None], cols[:, None, :]] = points_in
        return images


def _spread(values: Grid, low: float, high: float, *, alone: float) -> NDArray[np.float64]:
    if isinstance(values, int | np.integer):
        return (
            np.array([float(alone)]) if values == 1 else np.linspace(low, high, max(int(values), 0))
        )
    return np.asarray(values, dtype=np.float64).reshape(-1)


def _sum(of_row: NDArray[np.float64], of_column: NDArray[np.float64]) -> Plane:
    """(images, rows, columns) float32"""
    return of_row.astype(np.float32)[:, :, None] + of_column.astype(np.float32)[:, None, :]


def _painted(part: NDArray[Any], colour: NDArray[np.uint8], samples: int) -> NDArray[np.uint8]:
    """A colour where points of a pixel lie in the shape, as bright as they are many."""
    if samples == 1:
        return np.asarray(part.view(np.uint8) * colour)
    return np.rint(part * (colour / np.float32(samples**2))).astype(np.uint8)


# Outlines at scale 1 and orientation 0, u to the right and w downwards, in pixels of dSprites.
# Square, ellipse and heart are fitted to published images of dSprites.


def _square(u: Plane, w: Plane) -> NDArray[np.bool_]:
    return np.maximum(np.abs(u), np.abs(w)) < 9.5967


def _ellipse(u: Plane, w: Plane) -> NDArray[np.bool_]:
    return (u / np.float32(12.766)) ** 2 + (w / np.float32(7.214)) ** 2 < 1


def _heart(u: Plane, w: Plane) -> NDArray[np.bool_]:
    """Between an upper and a lower edge over |u|."""
    upper, lower = _heart_edges()
    at = np.minimum(
        np.abs(u) * np.float32(HEART_CELLS) + np.float32(0.5), np.float32(len(upper) - 1)
    ).astype(np.int32)
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
"""Which points (u, w) lie in each shape."""

HEART = (
    ((0, -4.988), (0.493, -7.492), (2.516, -9.305), (4.47, -9.315)),  # notch to top
    ((4.47, -9.315), (7.029, -9.493), (9.593, -7.153), (9.593, -4.097)),  # to the right
    ((9.593, -4.097), (9.593, 1.647), (1.049, 5.091), (0, 9.758)),  # to the tip
)
"""The right half of the heart: cubic Bézier curves, each by its four points."""

HEART_CELLS = 1024
"""At how many |u| a pixel the heart's edges are kept."""


@cache
def _heart_edges() -> tuple[Plane, Plane]:
    """w of the heart's upper and lower edge at |u| = k / `HEART_CELLS`; the last is beyond it: none
    lies between.
    """
    t = np.linspace(0, 1, 5001)[:, None]
    weights = np.hstack(
        [(1 - t) ** 3, 3 * t * (1 - t) ** 2, 3 * t**2 * (1 - t), t**3]
    )  # Bernstein polynomials
    notch, top, tip = (weights @ np.array(points, dtype=np.float64) for points in HEART)
    over, under = np.vstack([notch, top]), tip[::-1]
    u = np.arange(int(over[-1, 0] * HEART_CELLS) + 2) / HEART_CELLS
    upper = np.interp(u, over[:, 0], over[:, 1], right=np.inf)
    lower = np.interp(u, under[:, 0], under[:, 1], right=-np.inf)
    return upper.astype(np.float32), lower.astype(np.float32)
