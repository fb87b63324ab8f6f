"""Scenes of a few handwritten digits, composed as they are asked for: how many there are is the
scene's factor.
"""

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from unweave.data.data import Data, random_keys
from unweave.data.idx import mnist

BOX = 20
"""The side of a digit's box: MNIST's digits were scaled to fit it."""


@dataclass(frozen=True)
class Scenes:
    """Scenes with all that is known of them; entries beyond a scene's count are −1."""

    x: npt.NDArray[np.uint8]
    """(n, size, size), pixels that stand for value/255."""
    count: npt.NDArray[np.int64]
    """(n,) how many digits there are."""
    digit: npt.NDArray[np.int64]
    """(n, most) which."""
    corner: npt.NDArray[np.int64]
    """(n, most, 2) the row and column of their boxes' first pixels."""


def multi_digits(
    split: str = "train",
    n: int = 20_000,
    *,
    size: int = 50,
    most: int = 3,
    seed: int = 0,
    root: str | Path | None = None,
) -> Data:
    """n scenes of 0 to `most` MNIST digits on black, as many scenes of each count; one factor,
    "count".

    See `compose`: scenes are no file but a function of the seed, and take about a second to make.
    Training scenes hold digits of MNIST's training set, test scenes of its test set. Errors: as of
    `mnist` and `compose`.

    >>> multi_digits("test", 1000)  # doctest: +SKIP
    Data(multi-digits: 1000 items of shape (50, 50); factors: count (4))
    """
    scenes = compose(mnist(split, root), n, size=size, most=most, seed=seed)
    words = tuple(map(str, range(most + 1)))
    return Data(scenes.x, scenes.count[:, None], ("count",), (most + 1,), (words,), "multi-digits")


def compose(digits: Data, n: int, *, size: int = 50, most: int = 3, seed: int = 0) -> Scenes:
    """Scenes of (size, size) pixels with digits in boxes of 20 pixels that do not overlap.

    Scene i has i mod (most + 1) of them, drawn from `digits` with replacement, each at the pixels
    that it has there and in the middle of its box. Boxes are uniform over all places where none
    overlaps another: places are drawn until none does. The same seed gives the same scenes,
    whatever the version of NumPy.

    Errors: ValueError if so many boxes have no room.
    """
    if (size // BOX) ** 2 < most or n < 1:
        raise ValueError(
            f"{n} scenes of {size} pixels a side with up to {most} digits: expected one scene or "
            f"more, and room for boxes of {BOX} pixels on a grid, which have {(size // BOX) ** 2} "
            "places"
        )
    bits = np.random.PCG64(seed)

    def below(k: int, *shape: int) -> npt.NDArray[np.int64]:
        return (bits.random_raw(int(np.prod(shape))) % k).astype(np.int64).reshape(shape)

    count = np.arange(n) % (most + 1)
    exists = np.arange(most) < count[:, None]  # (n, most)
    corner, crowded = np.empty((n, most, 2), np.int64), np.arange(n)
    while len(crowded):
        corner[crowded] = below(size - BOX + 1, len(crowded), most, 2)
        crowded = crowded[_overlap(corner[crowded], exists[crowded])]
    chosen = below(len(digits), n, most)
    scene, slot = np.nonzero(exists)
    boxes = _boxed(digits, chosen[scene, slot])
    rows, columns = (corner[scene, slot, axis, None] + np.arange(BOX) for axis in (0, 1))
    x = np.zeros((n, size, size), np.uint8)
    x[scene[:, None, None], rows[:, :, None], columns[:, None, :]] = boxes
    digit = np.where(exists, digits.factors[chosen, 0], -1)
    return Scenes(x, count, digit, np.where(exists[..., None], corner, -1))


def windows(digits: Data, side: int = 24, shift: int = 4, *, seed: int = 0) -> Data:
    """Windows of `side` pixels about one digit each, off its box's middle by up to `shift` pixels;
    item by item.

    >>> windows(mnist("test")).shape  # doctest: +SKIP
    (24, 24)
    """
    n, edge = len(digits), max(0, shift - (side - BOX) // 2)  # what a window may cut off
    first = (side - BOX) // 2 + edge - shift
    at = first + (random_keys(2 * n, seed) % (2 * shift + 1)).astype(np.int64)
    rows, columns = at.reshape(2, n, 1) + np.arange(BOX)
    x = np.zeros((n, side + 2 * edge, side + 2 * edge), np.uint8)
    x[np.arange(n)[:, None, None], rows[:, :, None], columns[:, None, :]] = _boxed(
        digits, np.arange(n)
    )
    return replace(digits, x=x[:, edge : edge + side, edge : edge + side].copy())


def _overlap(corner: npt.NDArray[np.int64], exists: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Whether any two boxes of a scene overlap, (n,)."""
    near = np.all(np.abs(corner[:, :, None] - corner[:, None]) < BOX, axis=-1)  # (n, most, most)
    both = exists[:, :, None] & exists[:, None] & ~np.eye(corner.shape[1], dtype=bool)
    found: npt.NDArray[np.bool_] = (near & both).any((1, 2))
    return found


def _boxed(digits: Data, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Some digits, each in the middle of a box, (k, BOX, BOX)."""
    pixels = (digits.floats(chosen) * 255).round().astype(np.uint8)
    for axis in (1, 2):
        ink: npt.NDArray[np.bool_] = np.any(pixels, axis=3 - axis)  # (k, side)
        first, last = ink.argmax(1), ink.shape[1] - 1 - ink[:, ::-1].argmax(1)
        start = (first + last + 1 - BOX) // 2
        at = start[:, None] + np.arange(BOX)
        inside = (at >= 0) & (at < ink.shape[1])
        at, inside = (np.expand_dims(t, 3 - axis) for t in (at.clip(0, ink.shape[1] - 1), inside))
        pixels = np.take_along_axis(pixels, at, axis) * inside
    return pixels
