"""dSprites: white shapes on black, every combination of five factors once."""

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from unweave.data import grid, npz
from unweave.data.data import Data
from unweave.data.files import placed
from unweave.data.prepared import Pixels, prepared
from unweave.data.store import Bits

NAMES = ("shape", "scale", "orientation", "posX", "posY")
SIZES = (3, 6, 40, 32, 32)
VALUES = grid.words(
    ("square", "ellipse", "heart"),
    np.linspace(0.5, 1, 6),
    np.linspace(0, 2 * np.pi, 40),
    np.linspace(0, 1, 32),
    np.linspace(0, 1, 32),
)
ITEM = (64, 64)
PAGE = "https://github.com/google-deepmind/dsprites-dataset"
FILES = {
    "published": ("dsprites", "dsprites_ndarray_co1sh3sc6or40x32y32_64x64.npz"),
    "rerendered": ("re-rendered dSprites", "dsprites_rerendered_sh3sc6or40x32y32_64x64.npz"),
}


def dsprites(
    split: str = "all", root: str | Path | None = None, *, source: str = "published"
) -> Data:
    """Load dSprites: 737,280 images, 64x64 of 0 and 1, of shapes by scale, orientation, position.

    L. Matthey, I. Higgins, D. Hassabis and A. Lerchner, "dSprites: Disentanglement testing Sprites
    dataset" (2017), https://github.com/google-deepmind/dsprites-dataset. Licence: Apache 2.0.

    The factor "color" has one value and is left out, as in disentanglement_lib. Orientations 0 and
    39 are 0 and 2π: the same image. Squares look the same every quarter turn and ellipses every
    half, so no code tells all 40 apart.

    The images are packed eight pixels to a byte, once, into the cache (`prepared.cache`, 377 MB
    there), and mapped from it afterwards. Measured with the re-rendered file on one core of a
    2-core AMD EPYC (the command is in docs/data.md): 4.6 to 6.3 s and at most 150 MiB of memory the
    first time, 0.1 to 0.2 s and 91 MiB from then on.

    No sha256 of the published archive is known to us: its arrays and their shapes are checked, and
    that all pixels are 0 or 1. Its pickled `metadata` is never read.

    Args:
        split: ``"all"``: there are no published parts.
        root: The data directory, if not the usual one (see `directory`). The file lies in its
            folder ``dsprites``.
        source: ``"published"``, or ``"rerendered"``: a grid drawn anew in the same order, which
            agrees with the published images but for a pixel or two in some. Its data are called
            "re-rendered dSprites", and results on it are to be called so.

    Returns:
        x as `Bits` of shape (737280, 64, 64); factors "shape", "scale", "orientation", "posX",
        "posY", the last changing fastest.

    Raises:
        ValueError: If the split or source has another name, or the file other arrays.
        FileNotFoundError: If the file is not there; the error says where to get it and where to put
            it.

    >>> dsprites().sizes  # doctest: +SKIP
    (3, 6, 40, 32, 32)
    """
    grid.whole("dsprites", split)
    if source not in FILES:
        raise ValueError(f"dsprites has no source {source!r}; expected 'published' or 'rerendered'")
    name, file = FILES[source]
    path = _file(file, root)
    factors = grid.classes(SIZES)
    n = len(factors)
    npz.check(path, imgs=(n, *ITEM), latents_classes=(n, 6), latents_values=(n, 6))

    def parts() -> Iterator[Pixels]:
        # the first column is the colour's
        if not np.array_equal(npz.read(path, "latents_classes")[:, 1:], factors):
            raise ValueError(
                f"{path}: latents_classes are not the grid {SIZES} in order: get the published "
                "file again"
            )
        for images in npz.rows(path, "imgs"):
            yield np.asarray(Bits.pack(images).packed)

    packed = prepared(path, "bits", (n, math.prod(ITEM) // 8), parts)
    return Data(Bits(packed, ITEM), factors, NAMES, SIZES, VALUES, name)


def _file(file: str, root: str | Path | None) -> Path:
    try:
        return placed("dsprites", file, root, page=PAGE)
    except FileNotFoundError as error:
        if file != FILES["published"][1]:
            raise
        raise FileNotFoundError(
            f"{error}\nWhere {FILES['rerendered'][1]} lies there instead, "
            "dsprites(source='rerendered') reads it: results are then on re-rendered dSprites."
        ) from None
