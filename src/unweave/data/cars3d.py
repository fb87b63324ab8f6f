"""Cars3D: renderings of 183 cars, from 24 directions at four heights."""

import math
import re
import tarfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data import grid
from unweave.data.data import Data
from unweave.data.files import placed
from unweave.data.prepared import Pixels, prepared

NAMES = ("elevation", "azimuth", "object")
SIZES = (4, 24, 183)
SIDE = 64
MESH = re.compile(r"(^|/)cars/car_\w+\.mat$")
PAGE = "http://www.scottreed.info/files/nips2015-analogy-data.tar.gz"


def cars3d(split: str = "all", root: str | Path | None = None) -> Data:
    """Load Cars3D: 17,568 colour images, 64x64, of 183 cars from 24 azimuths at 4 elevations.

    S. Reed, Y. Zhang, Y. Zhang and H. Lee, "Deep Visual Analogy-Making", NeurIPS 2015; the car
    models are those of S. Fidler, S. Dickinson and R. Urtasun, "3D Object Detection and Viewpoint
    Estimation with a Deformable 3D Cuboid Model", NeurIPS 2012. Licence: none stated by the
    publishers.

    PIL's Lanczos filter halves the pictures of 128x128 pixels, as in disentanglement_lib. That
    library numbers the objects as the file system lists their files, which differs by machine; here
    they are numbered in the order of the files' names.

    The array is made once, in memory and then in the cache (`prepared.cache`), computed,
    17568·64·64·3 bytes = 216 MB, and mapped from there afterwards. No sha256 of the archive is
    known to us: the number of cars and their arrays' shapes are checked.

    Args:
        split: ``"all"``: there are no published parts.
        root: The data directory, if not the usual one (see `directory`). The archive
            nips2015-analogy-data.tar.gz lies in its folder ``cars3d``, packed.

    Returns:
        x uint8 of shape (17568, 64, 64, 3), channels last; factors "elevation", "azimuth",
        "object", the last changing fastest.

    Raises:
        ValueError: If the split has another name, or the archive holds other files.
        FileNotFoundError: If the archive is not there; the error says where to get it and where to
            put it.

    >>> cars3d().sizes  # doctest: +SKIP
    (4, 24, 183)
    """
    grid.whole("cars3d", split)
    path = placed("cars3d", "nips2015-analogy-data.tar.gz", root, page=PAGE)

    def parts() -> Iterator[Pixels]:
        elevations, azimuths, _ = SIZES
        expected = (2 * SIDE, 2 * SIDE, 3, azimuths, elevations)
        cars = np.empty((*SIZES, SIDE, SIDE, 3), dtype=np.uint8)
        for number, name, mesh in _meshes(path):
            if mesh.shape != expected:
                raise ValueError(
                    f"{path}: im of {name} has shape {mesh.shape}; expected {expected}: get it "
                    "again"
                )
            cars[:, :, number] = _halved(mesh)
        yield cars.reshape(-1, SIDE, SIDE, 3)

    x = prepared(path, "pixels", (math.prod(SIZES), SIDE, SIDE, 3), parts)
    return Data(x, grid.classes(SIZES), NAMES, SIZES, grid.words(*SIZES), "cars3d")


def _meshes(path: Path) -> Iterator[tuple[int, str, npt.NDArray[Any]]]:
    """Yield each car's number in the order of the files' names, its name, and its array `im`."""
    from scipy.io import loadmat

    with tarfile.open(path) as archive:
        names = sorted(name for name in archive.getnames() if MESH.search(name))
    if len(names) != SIZES[2]:
        raise ValueError(
            f"{path} holds {len(names)} files cars/car_*.mat; expected {SIZES[2]}: get it again"
        )
    with tarfile.open(path) as archive:
        for member in archive:  # in the archive's order: gzip knows no other
            file = archive.extractfile(member) if member.name in names else None
            if file:
                mat = loadmat(BytesIO(file.read()), variable_names=["im"])
                yield names.index(member.name), member.name, mat["im"]


def _halved(mesh: npt.NDArray[Any]) -> Pixels:
    """Halve a car's pictures: (128, 128, 3, azimuths, elevations) to (elevations, …, 64, 64, 3)."""
    from PIL import Image

    # (elevations, azimuths, 128, 128, 3)
    pictures = np.ascontiguousarray(mesh.transpose(4, 3, 0, 1, 2))
    small = np.empty((*pictures.shape[:2], SIDE, SIDE, 3), dtype=np.uint8)
    for at in np.ndindex(*pictures.shape[:2]):
        picture = Image.fromarray(pictures[at])
        small[at] = np.asarray(picture.resize((SIDE, SIDE), Image.Resampling.LANCZOS))
    return small
