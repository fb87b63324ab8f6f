"""MPI3D: a robot's arm with an object, every combination of seven factors once."""

import math
from pathlib import Path

from unweave.data import grid, npz
from unweave.data.data import Data
from unweave.data.files import placed
from unweave.data.prepared import prepared

NAMES = (
    "object_color",
    "object_shape",
    "object_size",
    "camera_height",
    "background_color",
    "horizontal_axis",
    "vertical_axis",
)
SIZES = (6, 6, 2, 3, 3, 40, 40)
WORDS = (
    ("white", "green", "red", "blue", "brown", "olive"),
    ("cone", "cube", "cylinder", "hexagonal", "pyramid", "sphere"),
    ("small", "large"),
    ("top", "center", "bottom"),
    ("purple", "sea green", "salmon"),
)
ITEM = (64, 64, 3)
VARIANTS = ("toy", "realistic", "real")
FOLDER = "https://storage.googleapis.com/disentanglement_dataset/Final_Dataset/"


def mpi3d(split: str = "all", root: str | Path | None = None, *, variant: str = "toy") -> Data:
    """Load MPI3D: 1,036,800 colour images of 64x64 pixels of a robot's arm, by seven factors.

    M. W. Gondal et al., "On the Transfer of Inductive Bias from Simulation to the Real World: a New
    Disentanglement Dataset", NeurIPS 2019; https://github.com/rr-learning/disentanglement_dataset.
    Licence: CC BY 4.0.

    The images are unpacked once, some at a time, into the cache (`prepared.cache`): computed,
    1036800·64·64·3 bytes = 12.7 GB there. They are mapped from it afterwards, so they take no more
    memory than the system has to spare. No sha256 of the files is known to us: the array's shape is
    checked. That check refuses an older release without the held-out values (460,800 images, sizes
    4, 4, 2, 3, 3, 40, 40).

    Args:
        split: ``"all"``: there are no published parts.
        root: The data directory, if not the usual one (see `directory`). The file mpi3d_toy.npz,
            mpi3d_realistic.npz or mpi3d_real.npz lies in its folder ``mpi3d``.
        variant: ``"toy"`` and ``"realistic"`` are drawn, ``"real"`` is photographed.

    Returns:
        x uint8 of shape (1036800, 64, 64, 3), channels last; factors "object_color",
        "object_shape", "object_size", "camera_height", "background_color", "horizontal_axis",
        "vertical_axis", the last changing fastest.

    Raises:
        ValueError: If the split or variant has another name, or the file other arrays.
        FileNotFoundError: If the file is not there; the error says where to get it and where to put
            it.

    >>> mpi3d(variant="real").sizes  # doctest: +SKIP
    (6, 6, 2, 3, 3, 40, 40)
    """
    grid.whole("mpi3d", split)
    if variant not in VARIANTS:
        raise ValueError(f"mpi3d has no variant {variant!r}; expected 'toy', 'realistic' or 'real'")
    file = f"mpi3d_{variant}.npz"
    path = placed("mpi3d", file, root, page=FOLDER + file)
    shape = (math.prod(SIZES), *ITEM)
    npz.check(path, images=shape)

    words = [named[:size] for named, size in zip(WORDS, SIZES, strict=False)]
    values = (*words, *grid.words(*SIZES[len(WORDS) :]))
    x = prepared(path, "pixels", shape, lambda: npz.rows(path, "images"))
    return Data(x, grid.classes(SIZES), NAMES, SIZES, values, f"mpi3d_{variant}")
