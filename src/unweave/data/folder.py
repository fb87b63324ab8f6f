"""Folders of images of any formats and sizes, read as one array with labels.

Labels come from subfolders and from a table beside the images.
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unweave.data.labels import Say
from unweave.data.tables import Columns, columns

SIDE = 64
"""Pixels a side if the caller gives no size and most images have as many."""


def images(
    folder: Path, size: int | tuple[int, int] | None, colour: bool | None, say: Say
) -> tuple[NDArray[np.uint8], list[str]]:
    """Read the images of a folder in the order of their names.

    Args:
        folder: The folder; its subfolders are read too.
        size: Pixels a side, or (height, width); None for a size that suits most images.
        colour: True for colour, False for grey, None for colour if any image has colours.
        say: A function that is told each decision.

    Returns:
        The images (n, h, w) or, in colour, (n, h, w, 3), and their files' paths in the folder.

    Raises:
        ValueError: If no file is an image that pillow reads.
    """
    files = _files(folder)
    sizes: dict[str, tuple[int, int]] = {}
    broken: dict[str, Exception] = {}
    for file in files:
        try:
            sizes[file] = _size(folder / file)
        except (OSError, ValueError, SyntaxError) as error:
            broken[file] = error
    height, width = _chosen(size, list(sizes.values()))
    x = np.empty((len(sizes), height, width, 3), dtype=np.uint8)
    read: list[str] = []
    for file in sizes:
        try:
            x[len(read)] = _read(folder / file, height, width)
        except (OSError, ValueError, SyntaxError) as error:
            broken[file] = error
        else:
            read.append(file)
    if not read:
        raise ValueError(
            f"{folder}: none of {len(files):,} image files can be read ({_listed(broken)}): save "
            "them again"
        )
    x = x[: len(read)]
    say(_summary([sizes[file] for file in read], len(files), height, width))
    if broken:
        say(f"{len(broken):,} unreadable files left out: {_listed(broken)}")
    if colour is None:
        colour = any(_is_coloured(image) for image in x)
        say("in colour: red, green and blue" if colour else "no image has colours: grey")
    return (x if colour else _grey(x)), read


def subfolders(files: Sequence[str]) -> Columns:
    """Make a column of each level of subfolders that differ: "folder", "folder 2", ….

    An entry is None where a file is not so deep.

    >>> subfolders(["cat/1.png", "dog/2.png", "3.png"])
    {'folder': array(['cat', 'dog', None], dtype=object)}
    """
    parts = [file.split("/")[:-1] for file in files]
    found = {}
    for level in range(max(map(len, parts))):
        names = [part[level] if len(part) > level else None for part in parts]
        if len(set(names)) > 1:
            column = "folder" if level == 0 else f"folder {level + 1}"
            found[column] = np.array(names, dtype=object)
    return found


def beside(folder: Path, labels: object, files: Sequence[str], say: Say) -> Columns:
    """Read the columns of a table with a row for each of the files; others are missing.

    The column that names the files is the one with most of their paths in the folder, names, or
    names without ending.

    Args:
        folder: The images' folder.
        labels: The table, or the path of its file; the path may start in the folder.
        files: The images' paths in the folder.
        say: A function that is told each decision.

    Returns:
        The other columns, in the order of the files.

    Raises:
        ValueError: If no column names files, or a file is named twice.
    """
    if isinstance(labels, str | Path) and not Path(labels).exists() and (folder / labels).exists():
        labels = folder / labels
    table = columns(labels)
    texts = {name: column for name, column in table.items() if column.dtype.kind in "UO"}
    name, key = "", ""
    found: dict[str, int] = {}
    for column_name, column in texts.items():
        for kind in KEYS:
            rows = _rows(column, files, kind)
            if len(rows) > len(found):
                name, key, found = column_name, kind, rows
    if not any(found):
        raise ValueError(
            f"no column of the labels ({', '.join(table)}) names files of {folder}, such as "
            f"{files[0]!r}: expected a column of text with the files' names"
        )
    named = [value for value in texts[name].tolist() if value is not None]
    most_named, times = Counter(named).most_common(1)[0]
    if times > 1:
        raise ValueError(
            f"the labels name {most_named!r} {times} times in {name!r}; expected one row for each "
            "file"
        )
    row = np.array([found.get(KEYS[key](file), -1) for file in files])
    others = {other: column for other, column in table.items() if other != name}
    unused = len(named) - len(found)
    say(
        f"labels {', '.join(others)}: {(row >= 0).sum():,} of "
        f"{len(files):,} images are named in {name!r}"
        + (f"; {unused:,} rows have no image" if unused else "")
    )
    return {other: _rearranged(column, row) for other, column in others.items()}


KEYS = {
    "path": lambda file: file,
    "name": lambda file: file.rsplit("/", 1)[-1],
    "stem": lambda file: file.rsplit("/", 1)[-1].rsplit(".", 1)[0],
}
"""The names that a table may give to a file."""


def _rows(column: NDArray[Any], files: Sequence[str], key: str) -> dict[str, int]:
    """Find the row of each word in the column that names a single file."""
    counts = Counter(map(KEYS[key], files))
    found = {}
    for row, value in enumerate(column):
        word = "" if value is None else str(value).replace("\\", "/").removeprefix("./")
        if counts[word] == 1:
            found[word] = row
    return found


def _rearranged(column: NDArray[Any], row: NDArray[np.int64]) -> NDArray[Any]:
    """Return column[row], missing where row is −1."""
    if (row >= 0).all():
        return column[row]
    is_text = column.dtype.kind in "UO"
    found = column.astype(object if is_text else np.float64)[row]
    found[row < 0] = None if is_text else np.nan
    return found


def _files(folder: Path) -> list[str]:
    from PIL import Image

    endings = Image.registered_extensions()
    found = []
    for path in folder.rglob("*"):
        within = path.relative_to(folder)
        is_hidden = any(part.startswith(".") for part in within.parts)
        if path.suffix.lower() in endings and not is_hidden:
            found.append(within.as_posix())
    if not found:
        raise ValueError(
            f"{folder}: no image in it; expected files that pillow reads, such as .png, .jpg or "
            ".tif"
        )
    return sorted(found)


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        orientation = image.getexif().get(0x0112, 1)
        is_turned = orientation >= 5  # by a quarter
        return (width, height) if is_turned else (height, width)


def _read(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """Read an image as RGB (height, width, 3).

    It is turned as the camera says and resized until it covers the frame; its centre is cut out.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings(), Image.open(path) as opened:
        warnings.simplefilter("ignore")  # damaged metadata
        image = ImageOps.exif_transpose(opened)
        if image.mode == "F":
            raise ValueError("pixels are floats: their range is not known")
        if image.mode.startswith("I"):  # 16 bits
            grey = np.rint(np.asarray(image) / 257).clip(0, 255)
            image = Image.fromarray(grey.astype(np.uint8))
        if image.has_transparency_data:
            white = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(white, image.convert("RGBA"))
        rgb = image.convert("RGB")
        return np.asarray(ImageOps.fit(rgb, (width, height), Image.Resampling.LANCZOS))


def _is_coloured(image: NDArray[np.uint8]) -> bool:
    red, others = image[..., :1], image[..., 1:]
    return bool((red != others).any())


def _grey(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Compute the luma of ITU-R 601, as pillow does; it keeps equal channels."""
    weights = np.array([0.299, 0.587, 0.114])
    return np.stack([np.rint(image @ weights).astype(np.uint8) for image in x])


def _chosen(size: int | tuple[int, int] | None, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    if size is None and sizes:
        usual = int(np.median([min(pair) for pair in sizes]))
        size = min(SIDE, usual)
    height, width = (size, size) if isinstance(size, int) else size or (1, 1)
    if height < 1 or width < 1:
        raise ValueError(f"size is {size}; expected pixels a side, or (height, width), at least 1")
    return height, width


def _summary(sizes: list[tuple[int, int]], files: int, height: int, width: int) -> str:
    least = min(sizes, key=lambda s: s[0] * s[1])
    most = max(sizes, key=lambda s: s[0] * s[1])
    start = f"{len(sizes):,} images from {files:,} files"
    if least == most == (height, width):
        return f"{start}, of {width}x{height} pixels"
    given = f"{least[1]}x{least[0]}"
    if len(set(sizes)) > 1:
        given += f" … {most[1]}x{most[0]}"
    return f"{start}, resized and centre-cropped to {width}x{height} pixels from {given}"


def _listed(broken: dict[str, Exception]) -> str:
    first = [f"{file} ({_reason(error)})" for file, error in list(broken.items())[:5]]
    return ", ".join(first) + ", …" * (len(broken) > 5)


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    return "not an image" if kind == "UnidentifiedImageError" else str(error) or kind
