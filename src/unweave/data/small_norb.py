"""Small NORB: photographs of toys of five kinds, and a reader of their binary matrices."""

import gzip
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data import grid
from unweave.data.data import Data
from unweave.data.files import fetch
from unweave.data.prepared import Pixels, prepared

NAMES = ("category", "instance", "elevation", "azimuth", "lighting")
SIZES = (5, 10, 9, 18, 6)
VALUES = grid.words(
    ("animal", "human", "airplane", "truck", "car"), 10, range(30, 71, 5), range(0, 360, 20), 6
)
SIDE = 64
# The first word of a file, little-endian, tells the type of its numbers.
DTYPES = {
    0x1E3D4C51: "<f4",
    0x1E3D4C53: "<f8",
    0x1E3D4C54: "<i4",
    0x1E3D4C55: "u1",
    0x1E3D4C56: "<i2",
}
MIRRORS = ("https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/",)
# Names; checksum and size as in tensorflow_datasets' url_checksums/smallnorb.txt.
PARTS = {
    "train": {
        "smallnorb-5x46789x9x18x6x2x96x96-training-dat.mat.gz": (
            "5ffd6272a07d32695ee1082a26a41a93a37aab8c28da047f8c34ed348d214873",
            131_896_188,
        ),
        "smallnorb-5x46789x9x18x6x2x96x96-training-cat.mat.gz": (
            "2784e542c1922060691090952b6cd6278879a216c90f81476f0f00256d42cdaa",
            348,
        ),
        "smallnorb-5x46789x9x18x6x2x96x96-training-info.mat.gz": (
            "de7eb932ebe7a4ee16217fead60660d0eb3d23632c2f4d1c51f88c501c17bf32",
            71_052,
        ),
    },
    "test": {
        "smallnorb-5x01235x9x18x6x2x96x96-testing-dat.mat.gz": (
            "cf7104eed3e51174d2f65b66d1e5878b9da233b886f161b0d88f4510ba2c7474",
            130_799_817,
        ),
        "smallnorb-5x01235x9x18x6x2x96x96-testing-cat.mat.gz": (
            "ecaf6d5bb8c3bc5eab9cf0258f6d2198dd474e016e374836fc097f2e5ff509ff",
            347,
        ),
        "smallnorb-5x01235x9x18x6x2x96x96-testing-info.mat.gz": (
            "16adf314226327ee006d1a44db8cfef52773c06c829951d5653a9f6f310248a2",
            10_428,
        ),
    },
}


def small_norb(split: str = "all", root: str | Path | None = None) -> Data:
    """Load Small NORB: 48,600 grey photographs of 50 toys by elevation, azimuth and lighting.

    Y. LeCun, F. J. Huang and L. Bottou, "Learning Methods for Generic Object Recognition with
    Invariance to Pose and Lighting", CVPR 2004; https://cs.nyu.edu/~ylclab/data/norb-v1.0-small/.
    For research purposes.

    There are two cameras; the pictures are those of the first. PIL's Lanczos filter makes 64x64 of
    96x96 pixels, as in disentanglement_lib. In that library "instance" is not a factor; here it is
    a column like the others. The toys of the two parts differ: instances 4, 6, 7, 8, 9 to train,
    the others to test.

    The array is made once, with a part in memory (computed, 24300·2·96·96 bytes = 448 MB). The
    result is mapped from the cache (`prepared.cache`), 24300·64·64 bytes = 100 MB a part; for
    ``"all"``, both are in memory.

    Args:
        split: ``"train"``, ``"test"`` (24,300 each), or ``"all"``, train first.
        root: The data directory, if not the usual one (see `directory`). The files lie in its
            folder ``small_norb``; missing ones are downloaded, 263 MB in all.

    Returns:
        x uint8 of shape (24300 or 48600, 64, 64); factors "category", "instance", "elevation" and
        "azimuth" (degrees), "lighting".

    Raises:
        ValueError: If the split has another name, or a file is not the published one.
        FileNotFoundError: If a file is not there and can't be downloaded; the error says where to
            put it.

    >>> small_norb("train").sizes  # doctest: +SKIP
    (5, 10, 9, 18, 6)
    """
    if split not in (*PARTS, "all"):
        raise ValueError(f"small_norb has no split {split!r}; expected 'train', 'test' or 'all'")
    parts = []
    for name, files in PARTS.items():
        if split in (name, "all"):
            paths = []
            for file, (sha256, size) in files.items():
                paths.append(fetch("small_norb", file, sha256, MIRRORS, root, size=size))
            parts.append(paths)
    pictures, columns = zip(*(read_part(*paths) for paths in parts), strict=True)
    x = np.concatenate(pictures) if len(pictures) > 1 else pictures[0]  # one part stays mapped
    return Data(x, np.concatenate(columns), NAMES, SIZES, VALUES, "small_norb")


def read_part(dat: Path, cat: Path, info: Path) -> tuple[Pixels, npt.NDArray[np.int64]]:
    """Read a part's pictures (n, 64, 64) and factors (n, 5) from its three files.

    Args:
        dat: The file of images.
        cat: The file of categories.
        info: The file of the other factors.

    Returns:
        Pictures and factors.

    Raises:
        ValueError: If a file is damaged, or they disagree.
    """
    categories = read(cat).astype(np.int64)
    others = read(info).astype(np.int64)
    if others.shape != (len(categories), 4):
        raise ValueError(
            f"{info} has shape {others.shape}; expected ({len(categories)}, 4), as {cat} has rows"
        )
    factors = np.column_stack([categories, others])
    factors[:, 3] //= 2  # azimuths are numbered 0, 2, …, 34

    def parts() -> Iterator[Pixels]:
        from PIL import Image

        pairs = read(dat)  # (n, cameras, 96, 96)
        if pairs.ndim != 4 or len(pairs) != len(factors):
            raise ValueError(f"{dat} has shape {pairs.shape}; expected ({len(factors)}, 2, 96, 96)")
        for picture in pairs[:, 0]:
            small = Image.fromarray(picture).resize((SIDE, SIDE), Image.Resampling.LANCZOS)
            yield np.asarray(small)[None]

    return prepared(dat, "pixels", (len(factors), SIDE, SIDE), parts), factors


def read(path: Path) -> npt.NDArray[Any]:
    """Read the array in a NORB binary matrix, plain or gzipped.

    The format is: a word for the type of number, the rank, the sizes (three at least, the rest
    unused) and the numbers, all little-endian.

    Raises:
        ValueError: If the file is not in this format, or truncated.
    """
    content = path.read_bytes()
    if content[:2] == b"\x1f\x8b":
        content = gzip.decompress(content)
    magic, rank = np.frombuffer(content, "<u4", 2).tolist() if len(content) >= 8 else (0, 0)
    start = 8 + 4 * max(3, rank)
    if magic not in DTYPES or len(content) < start:
        raise ValueError(
            f"{path} is not a NORB matrix: it starts with {content[:4].hex(' ') or 'nothing'}"
        )
    shape = tuple(np.frombuffer(content, "<i4", rank, 8).tolist())
    dtype = np.dtype(DTYPES[magic])
    expected = start + math.prod(shape) * dtype.itemsize
    if len(content) != expected:
        raise ValueError(
            f"{path} has {len(content):,} bytes; expected {expected:,} for shape {shape}: get it "
            "again"
        )
    return np.frombuffer(content, dtype, offset=start).reshape(shape)
