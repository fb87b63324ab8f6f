"""A folder of images, of any formats and sizes, as one array; its subfolders and a table beside it
as labels.
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
"""Pixels a side if no size is asked for, and most images have as many."""


def images(
    folder: Path, size: int | tuple[int, int] | None, colour: bool | None, say: Say
) -> tuple[NDArray[np.uint8], list[str]]:
    """The images (n, h, w) or, in colour, (n, h, w, 3), and their files' paths in the folder, in
    the order of names.

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
    is_grey = all((part[..., 0] == part[..., k]).all() for part in x for k in (1, 2))
    if colour is None:
        say("no image has colours: grey" if is_grey else "in colour: red, green and blue")
    return (x if (not is_grey if colour is None else colour) else _grey(x)), read


def subfolders(files: Sequence[str]) -> Columns:
    """A column for each level of subfolders that differ: "folder", "folder 2", …; None where a file
    is not so deep.

    >>> subfolders(["cat/1.png", "dog/2.png", "3.png"])
    {'folder': array(['cat', 'dog', None], dtype=object)}
    """
    parts = [file.split("/")[:-1] for file in files]
    found = {}
    for level in range(max(map(len, parts))):
        column = np.array([p[level] if len(p) > level else None for p in parts], dtype=object)
        if len(set(column.tolist())) > 1:
            found["folder" if level == 0 else f"folder {level + 1}"] = column
    return found


def beside(folder: Path, labels: object, files: Sequence[str], say: Say) -> Columns:
    """The columns of a table, a row for each of the files; missing where it has none.

    The column that names the files is the one with most of their paths in the folder, names, or
    names without ending.

    Raises:
        ValueError: If no column names files, or one is named twice.
    """
    if isinstance(labels, str | Path) and not Path(labels).exists() and (folder / labels).exists():
        labels = folder / labels
    table = columns(labels)
    texts = {name: column for name, column in table.items() if column.dtype.kind in "UO"}
    rows = {
        (name, key): _rows(column, files, key) for name, column in texts.items() for key in KEYS
    }
    if not rows or not any(rows[best := max(rows, key=lambda at: len(rows[at]))]):
        raise ValueError(
            f"no column of the labels ({', '.join(table)}) names files of {folder}, such as "
            f"{files[0]!r}: expected a column of text with the files' names"
        )
    name, key = best
    named = [value for value in texts[name].tolist() if value is not None]
    if (twice := Counter(named).most_common(1)[0])[1] > 1:
        raise ValueError(
            f"the labels name {twice[0]!r} {twice[1]} times in {name!r}; expected one row for each "
            "file"
        )
    found = rows[best]
    row = np.array([found.get(KEYS[key](file), -1) for file in files])
    say(
        f"labels {', '.join(other for other in table if other != name)}: {(row >= 0).sum():,} of "
        f"{len(files):,} images are named in {name!r}"
        + (f"; {unused:,} rows have no image" if (unused := len(named) - len(found)) else "")
    )
    return {other: _rearranged(column, row) for other, column in table.items() if other != name}


KEYS = {
    "path": lambda file: file,
    "name": lambda file: file.rsplit("/", 1)[-1],
    "stem": lambda file: file.rsplit("/", 1)[-1].rsplit(".", 1)[0],
}
"""What a table may call a file."""


def _rows(column: NDArray[Any], files: Sequence[str], key: str) -> dict[str, int]:
    """The row of each key that names a single file."""
    single = {word for word, count in Counter(map(KEYS[key], files)).items() if count == 1}
    words = (
        "" if value is None else str(value).replace("\\", "/").removeprefix("./")
        for value in column
    )
    return {word: row for row, word in enumerate(words) if word in single}


def _rearranged(column: NDArray[Any], row: NDArray[np.int64]) -> NDArray[Any]:
    """column[row], missing where row is −1."""
    if (row >= 0).all():
        return column[row]
    found = column.astype(object if column.dtype.kind in "UO" else np.float64)[row]
    found[row < 0] = None if found.dtype == object else np.nan
    return found


def _files(folder: Path) -> list[str]:
    from PIL import Image

    endings = Image.registered_extensions()
    paths = (
        path.relative_to(folder) for path in folder.rglob("*") if path.suffix.lower() in endings
    )
    found = sorted(
        path.as_posix() for path in paths if not any(part.startswith(".") for part in path.parts)
    )
    if not found:
        raise ValueError(
            f"{folder}: no image in it; expected files that pillow reads, such as .png, .jpg or "
            ".tif"
        )
    return found


def _size(path: Path) -> tuple[int, int]:
    from PIL import Image

    with Image.open(path) as image:
        width, height = image.size
        return (
            (width, height) if image.getexif().get(0x0112, 1) >= 5 else (height, width)
        )  # turned by a quarter


def _read(path: Path, height: int, width: int) -> NDArray[np.uint8]:
    """RGB (height, width, 3): turned as the camera says, resized until it covers the frame, its
    centre cut out.
    """
    from PIL import Image, ImageOps

    with warnings.catch_warnings(), Image.open(path) as opened:
        warnings.simplefilter("ignore")  # damaged metadata
        image = ImageOps.exif_transpose(opened)
        if image.mode == "F":
            raise ValueError("pixels are floats: their range is not known")
        if image.mode.startswith("I"):  # 16 bits
            image = Image.fromarray(np.rint(np.asarray(image) / 257).clip(0, 255).astype(np.uint8))
        if image.has_transparency_data:
            image = Image.alpha_composite(
                Image.new("RGBA", image.size, "white"), image.convert("RGBA")
            )
        return np.asarray(
            ImageOps.fit(image.convert("RGB"), (width, height), Image.Resampling.LANCZOS)
        )


def _grey(x: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """Luma of ITU-R 601, as pillow computes it; equal channels are kept."""
    return np.stack(
        [np.rint(part @ np.array([0.299, 0.587, 0.114])).astype(np.uint8) for part in x]
    )


def _chosen(size: int | tuple[int, int] | None, sizes: list[tuple[int, int]]) -> tuple[int, int]:
    if size is None and sizes:
        size = min(SIDE, int(np.median([min(pair) for pair in sizes])))
    height, width = (size, size) if isinstance(size, int) else size or (1, 1)
    if height < 1 or width < 1:
        raise ValueError(f"size is {size}; expected pixels a side, or (height, width), at least 1")
    return height, width


def _summary(sizes: list[tuple[int, int]], files: int, height: int, width: int) -> str:
    least, most = min(sizes, key=lambda s: s[0] * s[1]), max(sizes, key=lambda s: s[0] * s[1])
    start = f"{len(sizes):,} images from {files:,} files"
    if least == most == (height, width):
        return f"{start}, of {width}x{height} pixels"
    given = f"{least[1]}x{least[0]}" + (f" … {most[1]}x{most[0]}" if len(set(sizes)) > 1 else "")
    return f"{start}, resized and centre-cropped to {width}x{height} pixels from {given}"


def _listed(broken: dict[str, Exception]) -> str:
    first = [f"{file} ({_reason(error)})" for file, error in list(broken.items())[:5]]
    return ", ".join(first) + ", …" * (len(broken) > 5)


def _reason(error: Exception) -> str:
    return (
        "not an image"
        if type(error).__name__ == "UnidentifiedImageError"
        else str(error) or type(error).__name__
    )
