"""Folders of images of any formats and sizes, read as one array with labels.

Labels come from subfolders and from a table beside the images.
"""

from __future__ import annotations

import hashlib
import math
import mimetypes
import os
import warnings
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unweave.data import names
from unweave.data.identifiers import without_identifiers
from unweave.data.labels import Say
from unweave.data.prepared import converted, prepared
from unweave.data.store import LARGE, Rows, parts_of, taken
from unweave.data.tables import Columns, columns

PHOTOGRAPHS = (
    "AVIF", "BMP", "GIF", "JPEG", "JPEG2000", "MPO", "PNG", "PPM", "TIFF", "WEBP",
)  # fmt: skip
"""Pillow's names of the formats that are read: those of cameras, scanners and the web.

Its others are documents and drawings. Some start programs (Ghostscript, for .eps and .ps), and few
people look for faults in the readers of the rest.
"""

SIDE = 64
"""Pixels a side if the caller gives no size and most images have as many."""

WORKERS = min(8, os.cpu_count() or 1)
"""Threads that decode images; pillow decodes without Python's lock."""

PART = 512
"""Images that are decoded between two writes."""


def images(
    folder: Path, size: int | tuple[int, int] | None, colour: bool | None, say: Say
) -> tuple[NDArray[np.uint8] | Rows, list[str]]:
    """Read the images of a folder in the order of their names.

    Args:
        folder: The folder; its subfolders are read too.
        size: Pixels a side, or (height, width); None for a size that suits most images.
        colour: True for colour, False for grey, None for colour if any image has colours.
        say: A function that is told each decision.

    Returns:
        The images (n, h, w) or, in colour, (n, h, w, 3), and their files' paths in the folder.
        Images that take more than 64 MiB are mapped from a file (`prepared`).

    Raises:
        ValueError: If no file is an image that pillow reads.
    """
    files, others = _files(folder)
    looks: dict[str, _Look] = {}
    broken: dict[str, Exception] = {}
    for file in files:
        try:
            looks[file] = _look(folder / file)
        except Exception as error:  # of any kind: each of pillow's formats has its own
            broken[file] = error
    height, width = _chosen(size, [look.size for look in looks.values()])
    bits = _bits(max((look.brightest for look in looks.values()), default=0))
    x = _pixels(folder, list(looks), (height, width), bits, broken)
    read = {file: look for file, look in looks.items() if file not in broken}
    if not read:
        raise ValueError(
            f"{folder}: none of {len(files):,} image files can be read ({_listed(broken)}): save "
            "them again"
        )
    say(_summary([look.size for look in read.values()], len(files), height, width))
    if broken:
        say(f"{len(broken):,} unreadable files left out: {_listed(broken)}")
    if others:
        say(f"{len(others):,} files of kinds that are no photographs left out: {_first(others)}")
    _say_what_is_lost(read, bits, say)
    if colour is None:
        colour = any(_is_coloured(part) for part in parts_of(x))
        say("in colour: red, green and blue" if colour else "no image has colours: grey")
    if not colour:
        x = converted(x, "grey", _grey)
    is_read = np.array([file in read for file in looks])
    return (x if is_read.all() else taken(x, is_read)), list(read)


def _pixels(
    folder: Path,
    files: Sequence[str],
    size: tuple[int, int],
    bits: int,
    broken: dict[str, Exception],
) -> NDArray[np.uint8]:
    """Read images (n, h, w, 3); those that cannot be read are black, and are noted in `broken`.

    Many images are read once, into a prepared array, from which they are mapped.
    """
    shape = (len(files), *size, 3)
    if math.prod(shape) <= LARGE:
        x = np.empty(shape, dtype=np.uint8)
        start = 0
        for part in _decoded(folder, files, size, bits, broken):
            x[start : start + len(part)] = part
            start += len(part)
        return x
    which = f"{_state(folder, files)} {bits}"
    is_new = False

    def parts() -> Iterator[NDArray[np.uint8]]:
        nonlocal is_new
        is_new = True
        return _decoded(folder, files, size, bits, broken)

    x = prepared(folder, f"pixels {which}", shape, parts)

    def readable() -> Iterator[NDArray[np.uint8]]:
        if not is_new:  # the pixels were prepared, but not this
            for _ in _decoded(folder, files, size, bits, broken):
                pass
        yield np.array([[file not in broken] for file in files], dtype=np.uint8)

    for (is_fine,), file in zip(
        prepared(folder, f"readable {which}", (len(files), 1), readable), files, strict=True
    ):
        if not is_fine:
            broken.setdefault(file, ValueError("it could not be read as the folder was prepared"))
    return x


def _state(folder: Path, files: Sequence[str]) -> str:
    """Return a digest of the files' names, sizes and times."""
    found = hashlib.sha256()
    for file in files:
        state = (folder / file).stat()
        found.update(f"{file} {state.st_size} {state.st_mtime_ns}\n".encode())
    return found.hexdigest()[:16]


def _decoded(
    folder: Path,
    files: Sequence[str],
    size: tuple[int, int],
    bits: int,
    broken: dict[str, Exception],
) -> Iterator[NDArray[np.uint8]]:
    """Yield images in parts (k, h, w, 3); threads decode those that follow."""

    def decode(file: str) -> NDArray[np.uint8] | Exception:
        try:
            return _read(folder / file, *size, bits)
        except Exception as error:
            return error

    # `_opened` puts filters of warnings back, which are the whole process': all threads find the
    # same ones.
    with warnings.catch_warnings(), ThreadPoolExecutor(WORKERS) as workers:
        warnings.simplefilter("ignore")
        for start in range(0, len(files), PART):
            some = files[start : start + PART]
            part = np.zeros((len(some), *size, 3), dtype=np.uint8)
            for image, file, found in zip(part, some, workers.map(decode, some), strict=True):
                if isinstance(found, Exception):
                    broken[file] = found
                else:
                    image[:] = found
            yield part


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

    The column that names the files is the one that names most of them; `names.match` says how. It
    may hold numbers, if they all differ.

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
    table = columns(labels, say=say)
    name, found = "", names.Matches(np.full(len(files), -1))
    for other in sorted(table, key=lambda column: not _is_text(table[column])):
        matches = names.match(table[other], files) if _may_name(table[other]) else found
        if matches.count > found.count:
            name, found = other, matches
    if not found.count:
        raise ValueError(
            f"no column of the labels ({', '.join(table)}) names files of {folder}, such as "
            f"{files[0]!r}: expected a column with the files' names"
        )
    if found.twice:
        first = found.twice[0]
        raise ValueError(
            f"the labels name {first!r} {found.twice.count(first) + 1} times in {name!r}; expected "
            "one row for each file"
        )
    others = {other: column for other, column in table.items() if other != name}
    say(f"labels {', '.join(others)}: {_matched(name, found, files)}")
    others = without_identifiers(others, say)
    return {other: _rearranged(column, found.row) for other, column in others.items()}


def _is_text(column: NDArray[Any]) -> bool:
    return column.dtype.kind in "UO"


def _may_name(column: NDArray[Any]) -> bool:
    """Return whether a column is text, or numbers that all differ."""
    if _is_text(column):
        return True
    held = column[~np.isnan(column)]
    return column.dtype != bool and len(np.unique(held)) == len(held)


def _matched(name: str, found: names.Matches, files: Sequence[str]) -> str:
    """Say which images a column names, and how."""
    parts = [f"{found.count:,} of {len(files):,} images are named in {name!r}"]
    for how, count in found.readings.items():
        if how != "as written":
            parts[0] += f", {count:,} {how}"
    if found.unknown:
        parts.append(f"{len(found.unknown):,} rows have no image ({_first(found.unknown)})")
    if found.several:
        parts.append(f"{len(found.several):,} rows name several ({_first(found.several)})")
    without = [file for file, row in zip(files, found.row, strict=True) if row < 0]
    if without:
        parts.append(f"without labels: {_first(without)}")
    return "; ".join(parts)


def _rearranged(column: NDArray[Any], row: NDArray[np.int64]) -> NDArray[Any]:
    """Return column[row], missing where row is −1."""
    if (row >= 0).all():
        return column[row]
    is_text = column.dtype.kind in "UO"
    found = column.astype(object if is_text else np.float64)[row]
    found[row < 0] = None if is_text else np.nan
    return found


def _files(folder: Path) -> tuple[list[str], list[str]]:
    """List the files that may be photographs, and other images and films."""
    from PIL import Image

    formats = Image.registered_extensions()
    files, others = [], []
    for path in _walk(folder):
        kind = mimetypes.guess_type(path.name)[0] or ""
        ending = path.suffix.lower()
        if formats.get(ending) in PHOTOGRAPHS:
            files.append(path.relative_to(folder).as_posix())
        elif ending in formats or kind.startswith(("image/", "video/")):
            others.append(path.relative_to(folder).as_posix())
    if not files:
        found = f" but {_first(sorted(others))}" if others else ""
        raise ValueError(
            f"{folder}: no image in it{found}; expected photographs, such as .png, .jpg or .tif"
        )
    return sorted(files), sorted(others)


def _walk(folder: Path, above: tuple[Path, ...] = ()) -> Iterator[Path]:
    """Yield the files that are not hidden, through symbolic links, but not round in a circle."""
    place = folder.resolve()
    if place in above:
        return
    for path in folder.iterdir():
        if path.name.startswith("."):
            continue
        if path.is_dir():
            yield from _walk(path, (*above, place))
        else:
            yield path


@dataclass(frozen=True)
class _Look:
    """An image file as it says it is.

    Attributes:
        size: Height and width, upright.
        frames: How many images the file holds.
        brightest: The largest number of a grey image of more than 8 bits, else 0.
        is_deep: Whether the image has colours of 16 bits each.
    """

    size: tuple[int, int]
    frames: int
    brightest: int
    is_deep: bool


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    """Open an image, without warnings of damaged metadata or of its size."""
    from PIL import Image

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        Image.init()
        readers = [name for name in PHOTOGRAPHS if name in Image.OPEN]
        with Image.open(path, formats=readers) as image:
            yield image


def _look(path: Path) -> _Look:
    with _opened(path) as image:
        is_grey = image.mode.startswith("I")
        is_deep = not is_grey and any(";16" in str(tile) for tile in image.tile)
        width, height = image.size
        orientation = image.getexif().get(0x0112, 1)
        is_turned = orientation >= 5  # by a quarter
        size = (width, height) if is_turned else (height, width)
        frames = getattr(image, "n_frames", 1)
        brightest = 0
        if is_grey:
            pixels = np.asarray(image)
            brightest = int(pixels.max())
            if pixels.min() < 0:
                raise ValueError("pixels are negative: their range is not known")
        return _Look(size, frames, brightest, is_deep)


def _bits(brightest: int) -> int:
    """Return the bits of the cameras that take no brighter pixels."""
    return next(bits for bits in (8, 10, 12, 14, 16, 32) if brightest < 2**bits)


def _read(path: Path, height: int, width: int, bits: int) -> NDArray[np.uint8]:
    """Read an image as RGB (height, width, 3).

    It is turned as the camera says and resized until it covers the frame; its centre is cut out.
    Grey images of more than 8 bits have as many as `bits`.
    """
    from PIL import Image, ImageOps

    with _opened(path) as opened:
        image = ImageOps.exif_transpose(opened)
        if image.mode == "F":
            raise ValueError("pixels are floats: their range is not known")
        if image.mode.startswith("I"):
            white = 2**bits - 1
            grey = np.rint(np.asarray(image) / (white / 255))
            image = Image.fromarray(grey.astype(np.uint8))
        if image.has_transparency_data:
            paper = Image.new("RGBA", image.size, "white")
            image = Image.alpha_composite(paper, image.convert("RGBA"))
        rgb = image.convert("RGB")
        return np.asarray(ImageOps.fit(rgb, (width, height), Image.Resampling.LANCZOS))


def _is_coloured(images: NDArray[np.uint8]) -> bool:
    red, others = images[..., :1], images[..., 1:]
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


def _say_what_is_lost(read: dict[str, _Look], bits: int, say: Say) -> None:
    brightest = max(look.brightest for look in read.values())
    if brightest:
        count = sum(look.brightest > 0 for look in read.values())
        say(
            f"{count:,} images of 16 bits go to {brightest:,}: 0 to {2**bits - 1:,} become 0 to 255"
        )
    deep = [file for file, look in read.items() if look.is_deep]
    if deep:
        say(
            f"{len(deep):,} images have 16 bits a colour, of which pillow reads the upper 8, so "
            f"that dark ones stay dark: {_first(deep)}"
        )
    films = [f"{file} ({look.frames:,})" for file, look in read.items() if look.frames > 1]
    if films:
        say(
            f"{len(films):,} files hold several frames, of which the first is read: "
            f"{_first(films)}; save the others as files of their own to read them"
        )


def _first(words: Sequence[str]) -> str:
    return ", ".join(words[:5]) + ", …" * (len(words) > 5)


def _listed(broken: dict[str, Exception]) -> str:
    return _first([f"{file} ({_reason(error)})" for file, error in broken.items()])


def _reason(error: Exception) -> str:
    kind = type(error).__name__
    return "not an image" if kind == "UnidentifiedImageError" else str(error) or kind
