"""Arrays of .npz and .npy files, read without unpickling: whole, or some rows at a time.

What a header says is compared with the bytes that are there before any memory is taken.
"""

import math
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np
import numpy.typing as npt

DEFLATED = 1040
"""Bytes that a byte of a compressed file can stand for, at most."""


def check_sizes(path: Path) -> None:
    """Refuse an .npz or .npy whose headers say more than its bytes can hold, or that is damaged.

    Raises:
        Exception: Of any kind, as the format is one of several.
    """
    if not zipfile.is_zipfile(path):
        with open(path, "rb") as file:
            _check_size(file, path.stat().st_size)
        return
    with zipfile.ZipFile(path) as archive:
        held = path.stat().st_size
        for member in archive.infolist():
            if member.compress_size > held or member.file_size > DEFLATED * (held + 1):
                raise ValueError(f"{member.filename} says that it is larger than the file")
            if member.filename.endswith(".npy"):
                with archive.open(member) as file:
                    _check_size(file, member.file_size)


def _check_size(file: IO[bytes], size: int) -> None:
    """Compare the size that an array's header gives with the bytes that are there."""
    shape, _, dtype = _read_header(file)
    given = math.prod(shape) * dtype.itemsize
    if not dtype.hasobject and given > size:
        raise ValueError(f"its header says {given:,} bytes of data, and there are {size:,} in all")


def shapes(path: Path) -> dict[str, tuple[tuple[int, ...], np.dtype[Any]]]:
    """Read the shape and type of each array from the headers alone.

    Raises:
        ValueError: If the file is no .npz file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            names = [name for name in archive.namelist() if name.endswith(".npy")]
            return {name.removesuffix(".npy"): _header(archive, name) for name in names}
    except zipfile.BadZipFile as error:
        raise ValueError(
            f"{path} is not an .npz file, or is truncated ({error}): get it again"
        ) from error


def check(path: Path, **expected: tuple[int, ...]) -> None:
    """Check that the file has these arrays in these shapes.

    Raises:
        ValueError: If it has not; the error says which arrays it has.
    """
    given = {name: shape for name, (shape, _) in shapes(path).items()}
    wrong = {name: shape for name, shape in expected.items() if given.get(name) != shape}
    if wrong:
        raise ValueError(
            f"{path} has the arrays {given}; expected {wrong}: get the published file again"
        )


def read(path: Path, name: str) -> npt.NDArray[Any]:
    """Read one array whole."""
    with np.load(path, allow_pickle=False) as arrays:
        found: npt.NDArray[Any] = arrays[name]
    return found


def rows(path: Path, name: str, at_once: int = 4096) -> Iterator[npt.NDArray[Any]]:
    """Yield an array in parts of so many rows; only one part is in memory.

    Raises:
        ValueError: If the array ends early, or is in Fortran's order.
    """
    with zipfile.ZipFile(path) as archive, archive.open(f"{name}.npy") as member:
        shape, fortran, dtype = _read_header(member)
        if fortran or dtype.hasobject:
            raise ValueError(
                f"{path}: {name} is {dtype} in {'Fortran' if fortran else 'C'} order; expected "
                "plain rows"
            )
        for start in range(0, shape[0], at_once):
            part = (min(at_once, shape[0] - start), *shape[1:])
            size = math.prod(part) * dtype.itemsize
            content = member.read(size)
            if len(content) < size:
                raise ValueError(
                    f"{path}: {name} ends within row {start}..{start + part[0]}: get the file again"
                )
            yield np.frombuffer(content, dtype).reshape(part)


def _header(archive: zipfile.ZipFile, name: str) -> tuple[tuple[int, ...], np.dtype[Any]]:
    with archive.open(name) as member:
        shape, _, dtype = _read_header(member)
    return shape, dtype


def _read_header(member: IO[bytes]) -> tuple[tuple[int, ...], bool, np.dtype[Any]]:
    version = np.lib.format.read_magic(member)
    read = (
        np.lib.format.read_array_header_1_0
        if version == (1, 0)
        else np.lib.format.read_array_header_2_0
    )
    shape, fortran, dtype = read(member)
    return shape, fortran, dtype
