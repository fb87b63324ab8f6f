"""Extended Yale B: faces of 38 people under 64 lights."""

import re
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data import grid, npz
from unweave.data.data import Data
from unweave.data.files import directory, placed
from unweave.data.prepared import Pixels

PAGE = "http://vision.ucsd.edu/extyaleb/CroppedYaleBZip/CroppedYale.zip"
SMALL = "yaleb_cropped_96x84.npz"
KEYS = ("subject", "azimuth", "elevation")
NAME = re.compile(r"yaleB(?P<subject>\d\d)_P00A(?P<azimuth>[+-]\d{3})E(?P<elevation>[+-]\d\d)\.pgm")


def yaleb(split: str = "all", root: str | Path | None = None, height: int = 96) -> Data:
    """Load Extended Yale B, cropped: 2,414 grey faces, 96x84 or fewer, of 38 people in 64 lights.

    A. Georghiades, P. Belhumeur and D. Kriegman, "From Few to Many: Illumination Cone Models for
    Face Recognition under Variable Lighting and Pose", PAMI 23 (2001); cropped by K.-C. Lee, J. Ho
    and D. Kriegman, "Acquiring Linear Subspaces for Face Recognition under Variable Lighting", PAMI
    27 (2005). Licence: free for research that acknowledges "the Extended Yale Face Database B" and
    the papers.

    The files' names tell azimuth and elevation of the light, in degrees from the camera's axis. A
    class of "lighting" is a pair of them that occurs, in the order of azimuth and then elevation.
    "azimuth" and "elevation" are functions of it: use it or them, for they are not independent.
    Shots in ambient light and those that the authors marked .bad are left out, so 7 people have
    fewer than 64. Each 2x2 block of pixels is averaged.

    Computed, 2414·96·84 bytes = 19 MB in memory. The number of pictures is not checked against the
    published one.

    Args:
        split: ``"all"``: there are no published parts.
        root: The data directory, if not the usual one (see `directory`). Its folder ``yaleb`` holds
            the published folder CroppedYale (yaleB01/*.pgm and so on), or yaleb_cropped_96x84.npz
            with the same pictures and keys images, subject, azimuth, elevation. If both are there,
            the .npz is read.
        height: 96, 48 or 24 pixels: the sides are halved until they are so small.

    Returns:
        x uint8 of shape (2414, 96, 84), or halved; factors "identity" (38), "lighting" (64),
        "azimuth" (29) and "elevation" (12).

    Raises:
        ValueError: If the split has another name, the height is no such number, or the files are
            not as published.
        FileNotFoundError: If neither is there; the error says where to get them and where to put
            them.

    >>> yaleb().sizes  # doctest: +SKIP
    (38, 64, 29, 12)
    """
    grid.whole("yaleb", split)
    if height not in (96, 48, 24):
        raise ValueError(f"yaleb: height={height}; expected 96, 48 or 24 pixels")
    small = directory(root) / "yaleb" / SMALL
    if small.is_file():
        x, *numbers = (npz.read(small, key) for key in ("images", *KEYS))
    else:
        x, *numbers = read(placed("yaleb", "CroppedYale", root, page=PAGE))
    while x.shape[1] > height:
        x = _halved(x)
    return _data(x, *numbers)


def directions(data: Data) -> npt.NDArray[np.float64]:
    """Return unit vectors (64, 3) towards the lights: right, up, to the camera.

    The lights are the classes of "lighting". Azimuth α is about the vertical axis and elevation ε
    above the horizontal plane: (sin α cos ε, sin ε, cos α cos ε).
    """
    azimuth, elevation = np.radians(_angles(data)).T
    right = np.sin(azimuth) * np.cos(elevation)
    up = np.sin(elevation)
    forward = np.cos(azimuth) * np.cos(elevation)
    return np.stack([right, up, forward], 1)


def mirrored(data: Data) -> list[int]:
    """Return each light's mirror image, whose azimuth has the other sign, as "lighting" classes."""
    angles = _angles(data).tolist()
    return [angles.index([-azimuth, elevation]) for azimuth, elevation in angles]


def _angles(data: Data) -> npt.NDArray[np.int64]:
    """Read azimuth and elevation of the classes of "lighting", in degrees, off their words."""
    words = data.values[data.names.index("lighting")]
    return np.array([[int(word[1:5]), int(word[6:])] for word in words])


def read(folder: Path) -> tuple[Pixels, *tuple[npt.NDArray[np.int64], ...]]:
    """Read the pictures of a folder in the order of their names.

    Returns:
        Pictures (n, 96, 84), and the number of the person, azimuth and elevation of each, (n,).

    Raises:
        ValueError: If there are none.
    """
    from PIL import Image

    pictures = []
    numbers = []
    for path in sorted(folder.rglob("*.pgm")):
        match = NAME.fullmatch(path.name)
        if match:
            pictures.append(np.asarray(Image.open(path)))
            numbers.append([int(number) for number in match.group(*KEYS)])
    if not pictures:
        raise ValueError(
            f"{folder} holds no pictures such as yaleB01/yaleB01_P00A+000E+00.pgm: unpack the "
            "archive there"
        )
    return _halved(np.stack(pictures)), *np.array(numbers).T


def _halved(pictures: npt.NDArray[Any]) -> Pixels:
    """Average each 2x2 block, and round halves to even."""
    n, height, width = pictures.shape
    blocks = pictures.reshape(n, height // 2, 2, width // 2, 2)
    means = blocks.mean(axis=(2, 4))  # (n, height / 2, width / 2)
    return np.asarray(means.round(), dtype=np.uint8)


def _data(x: Pixels, *numbers: npt.NDArray[Any]) -> Data:
    subject, azimuth, elevation = (np.asarray(column, dtype=np.int64) for column in numbers)
    people, identity = np.unique(subject, return_inverse=True)
    angles = np.stack([azimuth, elevation], axis=1)  # (n, 2)
    lights, lighting = np.unique(angles, axis=0, return_inverse=True)
    azimuths, azimuth_class = np.unique(azimuth, return_inverse=True)
    elevations, elevation_class = np.unique(elevation, return_inverse=True)
    factors = np.stack([identity, lighting.reshape(-1), azimuth_class, elevation_class], axis=1)
    values = grid.words(
        [f"yaleB{k:02d}" for k in people],
        [f"A{a:+04d}E{e:+03d}" for a, e in lights],
        azimuths,
        elevations,
    )
    return Data(
        x,
        factors=factors.astype(np.int64),
        names=("identity", "lighting", "azimuth", "elevation"),
        sizes=tuple(map(len, values)),
        values=values,
        name="yaleb",
    )
