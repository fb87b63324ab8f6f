"""3D Shapes: coloured solids in a room, every combination of six factors once."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data import grid
from unweave.data.data import Data
from unweave.data.files import fetch
from unweave.data.prepared import Pixels, prepared

NAMES = ("floor_hue", "wall_hue", "object_hue", "scale", "shape", "orientation")
SIZES = (10, 10, 10, 8, 4, 15)
ITEM = (64, 64, 3)
# Checksum and size as in tensorflow_datasets' url_checksums/shapes3d.txt.
SHA256 = "0a0f6ed98baff276a50f3a081a7434d788da63cb135a98189b2a5b5769be1785"
BYTES = 267_573_662


def shapes3d(split: str = "all", root: str | Path | None = None) -> Data:
    """Load 3D Shapes: 480,000 colour images of 64x64 pixels, a solid in a room, by six factors.

    C. Burgess and H. Kim, "3D Shapes Dataset" (2018), https://github.com/google-deepmind/3d-shapes;
    first used in H. Kim and A. Mnih, "Disentangling by Factorising", ICML 2018. Licence: Apache
    2.0.

    The images are unpacked once, some at a time, into the cache (`prepared.cache`): computed,
    480000·64·64·3 bytes = 5.9 GB there. They are mapped from it afterwards, so they take no more
    memory than the system has to spare.

    Args:
        split: ``"all"``: there are no published parts.
        root: The data directory, if not the usual one (see `directory`). The file 3dshapes.h5 may
            lie in its folder ``shapes3d`` or ``3dshapes``; a missing one is downloaded, 268 MB.

    Returns:
        x uint8 of shape (480000, 64, 64, 3), channels last; factors "floor_hue", "wall_hue",
        "object_hue", "scale", "shape", "orientation", the last changing fastest; their values are
        the published labels.

    Raises:
        ValueError: If the split has another name, or the file is not the published one.
        FileNotFoundError: If the file is not there and can't be downloaded; the error says where to
            put it.

    >>> shapes3d().sizes  # doctest: +SKIP
    (10, 10, 10, 8, 4, 15)
    """
    grid.whole("shapes3d", split)
    mirrors = ["https://storage.googleapis.com/3d-shapes/"]
    path = fetch("shapes3d", "3dshapes.h5", SHA256, mirrors, root, size=BYTES, also=("3dshapes",))
    return read(path)


def read(path: Path) -> Data:
    """Read 3D Shapes from its HDF5 file, of any grid that it holds."""
    import h5py

    with h5py.File(path) as file:
        given = {name: array.shape for name, array in file.items()}
        n = given.get("labels", (0,))[0]
        if given.get("images") != (n, *ITEM) or given["labels"] != (n, len(NAMES)):
            raise ValueError(
                f"{path} holds {given}; expected images (n, 64, 64, 3) and labels (n, 6): get it "
                "again"
            )
        labels: npt.NDArray[Any] = file["labels"][:]
    levels = [np.unique(column) for column in labels.T]
    columns = [np.searchsorted(at, column) for at, column in zip(levels, labels.T, strict=True)]
    factors = np.stack(columns, axis=1)
    sizes = tuple(map(len, levels))

    def parts() -> Iterator[Pixels]:
        with h5py.File(path) as file:
            for start in range(0, n, 4096):
                yield file["images"][start : start + 4096]

    x = prepared(path, "pixels", (n, *ITEM), parts)
    return Data(x, factors.astype(np.int64), NAMES, sizes, grid.words(*levels), "shapes3d")
