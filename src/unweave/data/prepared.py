"""Arrays that are made of a published file once, and mapped into memory from then on."""

import hashlib
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data.files import beside

Pixels = npt.NDArray[np.uint8]


def cache() -> Path:
    """Return the folder of prepared arrays: the environment's UNWEAVE_CACHE, else the user's cache.

    The arrays in it may be removed.
    """
    import pooch

    usual = Path(pooch.os_cache("unweave"), "prepared")
    chosen = Path(os.environ.get("UNWEAVE_CACHE") or usual)
    return chosen.expanduser().absolute()


def prepared(
    source: Path, what: str, shape: tuple[int, ...], parts: Callable[[], Iterable[Pixels]]
) -> Pixels:
    """Map an array that is made of a published file, and make it first if need be.

    It is kept as .npy in `cache`. It is mapped, read only: items are read from the disk as they are
    used, and the system can reclaim the memory that they take. The copy appears only when it is
    whole. Another `source` (by name, size or time), `what` or shape makes another array.

    Args:
        source: The published file.
        what: A word for the kind of array.
        shape: The array's shape.
        parts: A function that reads the file and returns the array's rows, some at a time.

    Returns:
        The uint8 array of this shape.

    Raises:
        ValueError: If the parts are no such array.
        OSError: If the cache can't be written.
    """
    state = source.stat()
    key = f"{source.name} {what} {shape} {state.st_size} {state.st_mtime_ns}"
    short = hashlib.sha256(key.encode()).hexdigest()[:12]
    place = cache() / f"{source.name.split('.')[0]}-{what}-{short}.npy"
    if not place.is_file():

        def refused(why: str | None) -> str:
            start = f"{place.name} is to be kept in {place.parent}, which can't be written ({why})"
            return f"{start}: name another directory, UNWEAVE_CACHE=DIR in the environment"

        with beside(place, ".preparing-", refused) as scratch:
            _write(scratch / place.name, shape, parts())
            os.replace(scratch / place.name, place)
    array: npt.NDArray[Any] = np.load(place, mmap_mode="r", allow_pickle=False)
    return np.asarray(array)


def _write(draft: Path, shape: tuple[int, ...], parts: Iterable[Pixels]) -> None:
    written = 0
    with open(draft, "wb") as file:
        header = {"descr": "|u1", "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            if part.dtype != np.uint8 or part.shape[1:] != shape[1:]:
                raise ValueError(
                    f"rows {written}.. are {part.dtype} of shape {part.shape[1:]}; expected "
                    f"{shape[1:]}"
                )
            file.write(np.ascontiguousarray(part).data)
            written += len(part)
    if written != shape[0]:
        raise ValueError(f"{written} rows were found, expected {shape[0]}")
