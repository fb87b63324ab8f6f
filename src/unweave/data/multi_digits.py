"""Scenes of a few handwritten digits, composed on demand: their count is the scene's factor."""

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
    """Scenes with their digits and places; entries beyond a scene's count are −1."""

    x: npt.NDArray[np.uint8]
    """Pixels that stand for value/255, (n, size, size)."""
    count: npt.NDArray[np.int64]
    """The number of digits, (n,)."""
    digit: npt.NDArray[np.int64]
    """The digits, (n, most)."""
    corner: npt.NDArray[np.int64]
    """The row and column of their boxes' first pixels, (n, most, 2)."""


def multi_digits(
    split: str = "train",
    n: int = 20_000,
    *,
    size: int = 50,
    most: int = 3,
    seed: int = 0,
    root: str | Path | None = None,
) -> Data:
    """Compose n scenes of 0 to `most` MNIST digits on black, as many scenes of each count.

    Scenes are no file but a function of the seed (see `compose`), and take about a second to make.
    Training scenes hold digits of MNIST's training set, test scenes of its test set.

    Args:
        split: "train" or "test".
        n: Number of scenes.
        size: Pixels a side.
        most: Largest number of digits.
        seed: Seed of the scenes.
        root: The data directory, as for `mnist`.

    Returns:
        x uint8 of shape (n, size, size); one factor, "count".

    Raises:
        ValueError: If `mnist` or `compose` refuses the arguments.
        FileNotFoundError: If MNIST's files are not there and can't be downloaded.
        OSError: If they are to be downloaded and the directory can't be written.

    >>> multi_digits("test", 1000)  # doctest: +SKIP
    Data(multi-digits: 1000 items of shape (50, 50); factors: count (4))
    """
    scenes = compose(mnist(split, root), n, size=size, most=most, seed=seed)
    words = tuple(map(str, range(most + 1)))
    return Data(
        scenes.x,
        factors=scenes.count[:, None],
        names=("count",),
        sizes=(most + 1,),
        values=(words,),
        name="multi-digits",
    )


def compose(digits: Data, n: int, *, size: int = 50, most: int = 3, seed: int = 0) -> Scenes:
    """Compose scenes of (size, size) pixels with digits in boxes of 20 pixels that do not overlap.

    Scene i has i mod (most + 1) digits, drawn from `digits` with replacement. Each keeps its pixels
    and lies in the middle of its box. Boxes are uniform over all places where none overlaps
    another: places are drawn until none does. The same seed gives the same scenes, whatever the
    version of NumPy.

    Args:
        digits: Images of digits; their first factor is the digit.
        n: Number of scenes.
        size: Pixels a side.
        most: Largest number of digits.
        seed: Seed of the scenes.

    Returns:
        The scenes, with their digits and places.

    Raises:
        ValueError: If so many boxes have no room.
    """
    places = (size // BOX) ** 2
    if places < most or n < 1:
        raise ValueError(
            f"{n} scenes of {size} pixels a side with up to {most} digits: expected one scene or "
            f"more, and room for boxes of {BOX} pixels on a grid, which have {places} places"
        )
    bits = np.random.PCG64(seed)

    def below(k: int, *shape: int) -> npt.NDArray[np.int64]:
        raw = bits.random_raw(int(np.prod(shape)))
        return (raw % k).astype(np.int64).reshape(shape)

    count = np.arange(n) % (most + 1)
    exists = np.arange(most) < count[:, None]  # (n, most)
    corner = np.empty((n, most, 2), np.int64)
    crowded = np.arange(n)
    while len(crowded):
        corner[crowded] = below(size - BOX + 1, len(crowded), most, 2)
        crowded = crowded[_overlap(corner[crowded], exists[crowded])]
    chosen = below(len(digits), n, most)
    scene, slot = np.nonzero(exists)  # (digits,) each
    boxes = _boxed(digits, chosen[scene, slot])  # (digits, BOX, BOX)
    rows = corner[scene, slot, 0, None] + np.arange(BOX)
    columns = corner[scene, slot, 1, None] + np.arange(BOX)
    x = np.zeros((n, size, size), np.uint8)
    x[scene[:, None, None], rows[:, :, None], columns[:, None, :]] = boxes
    digit = np.where(exists, digits.factors[chosen, 0], -1)
    return Scenes(x, count, digit, np.where(exists[..., None], corner, -1))


def windows(digits: Data, side: int = 24, shift: int = 4, *, seed: int = 0) -> Data:
    """Cut a window of `side` pixels about each digit, up to `shift` pixels off its box's middle.

    >>> windows(mnist("test")).shape  # doctest: +SKIP
    (24, 24)
    """
    n = len(digits)
    margin = (side - BOX) // 2
    edge = max(0, shift - margin)  # a window may cut off as much
    moved = random_keys(2 * n, seed) % (2 * shift + 1)
    at = margin + edge - shift + moved.astype(np.int64)
    rows, columns = at.reshape(2, n, 1) + np.arange(BOX)
    item = np.arange(n)
    wide = side + 2 * edge
    x = np.zeros((n, wide, wide), np.uint8)
    x[item[:, None, None], rows[:, :, None], columns[:, None, :]] = _boxed(digits, item)
    window = slice(edge, edge + side)
    return replace(digits, x=x[:, window, window].copy())


def _overlap(corner: npt.NDArray[np.int64], exists: npt.NDArray[np.bool_]) -> npt.NDArray[np.bool_]:
    """Find the scenes where any two boxes overlap, as a mask (n,)."""
    apart = np.abs(corner[:, :, None] - corner[:, None])  # (n, most, most, 2)
    near = np.all(apart < BOX, axis=-1)
    both = exists[:, :, None] & exists[:, None]
    others = ~np.eye(corner.shape[1], dtype=bool)
    found: npt.NDArray[np.bool_] = (near & both & others).any((1, 2))
    return found


def _boxed(digits: Data, chosen: npt.NDArray[np.int64]) -> npt.NDArray[np.uint8]:
    """Put some digits each into the middle of a box, (k, BOX, BOX)."""
    pixels = (digits.floats(chosen) * 255).round().astype(np.uint8)
    for axis in (1, 2):
        ink: npt.NDArray[np.bool_] = np.any(pixels, axis=3 - axis)  # (k, side)
        first = ink.argmax(1)
        last = ink.shape[1] - 1 - ink[:, ::-1].argmax(1)
        start = (first + last + 1 - BOX) // 2
        at = start[:, None] + np.arange(BOX)  # (k, BOX)
        inside = (at >= 0) & (at < ink.shape[1])
        at = at.clip(0, ink.shape[1] - 1)
        boxed = np.take_along_axis(pixels, np.expand_dims(at, 3 - axis), axis)
        pixels = boxed * np.expand_dims(inside, 3 - axis)
    return pixels
