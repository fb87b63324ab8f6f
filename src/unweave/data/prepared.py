"""Arrays that are made of a file once, and mapped into memory from then on."""

import hashlib
import os
import re
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from unweave.data.files import beside
from unweave.data.store import mapping_of, parts_of

Pixels = npt.NDArray[np.uint8]


def cache() -> Path:
    """Return the folder of prepared arrays: the environment's UNWEAVE_CACHE, else the user's cache.

    All that is in it may be removed, and is made again.
    """
    import pooch

    usual = Path(pooch.os_cache("unweave"), "prepared")
    chosen = Path(os.environ.get("UNWEAVE_CACHE") or usual)
    return chosen.expanduser().absolute()


def prepared(
    source: Path,
    what: str,
    shape: tuple[int, ...],
    parts: Callable[[], Iterable[npt.NDArray[Any]]],
    dtype: npt.DTypeLike = np.uint8,
) -> npt.NDArray[Any]:
    """Map an array that is made of a file, and make it first if need be.

    It is kept as .npy in `cache`. It is mapped, read only: items are read from the disk as they are
    used, and the system can reclaim the memory that they take. The copy appears only when it is
    whole. Another `source` (by name, size or time), `what` or shape makes another array.

    Args:
        source: The file.
        what: Words for the kind of array.
        shape: The array's shape.
        parts: A function that reads the file and returns the array's rows, some at a time.
        dtype: The array's type.

    Returns:
        The array of this type and shape.

    Raises:
        ValueError: If the parts are no such array.
        OSError: If the cache can't be written.
    """
    state = source.stat()
    key = f"{source.name} {what} {shape} {state.st_size} {state.st_mtime_ns}"
    short = hashlib.sha256(key.encode()).hexdigest()[:12]
    word = re.sub(r"\W+", "-", what)[-40:]
    place = cache() / f"{source.name.split('.')[0]}-{word}-{short}.npy"
    if not place.is_file():

        def refused(why: str | None) -> str:
            start = f"{place.name} is to be kept in {place.parent}, which can't be written ({why})"
            return f"{start}: name another directory, UNWEAVE_CACHE=DIR in the environment"

        with beside(place, ".preparing-", refused) as scratch:
            _write(scratch / place.name, shape, parts(), np.dtype(dtype))
            os.replace(scratch / place.name, place)
    array: npt.NDArray[Any] = np.load(place, mmap_mode="r", allow_pickle=False)
    return np.asarray(array)


def converted(
    array: npt.NDArray[Any], what: str, change: Callable[[npt.NDArray[Any]], npt.NDArray[Any]]
) -> npt.NDArray[Any]:
    """Return an array whose rows are changed; those of a mapped file go into a prepared one.

    Args:
        array: The array (n, *shape).
        what: Words for the change.
        change: A function of some rows, each changed by itself.
    """
    file = file_of(array)
    if file is None:
        return change(array)
    few = change(array[:1])
    shape = (len(array), *few.shape[1:])
    begin = array.ctypes.data - np.frombuffer(mapping_of(array) or b"", np.uint8).ctypes.data
    which = f"{what} of {array.shape} {array.strides} {array.dtype} from {begin}"
    return prepared(file, which, shape, lambda: map(change, parts_of(array)), few.dtype)


def file_of(array: Any) -> Path | None:
    """Return the path of the file that an array is mapped from, if it is."""
    while array is not None:
        if isinstance(array, np.memmap) and array.filename is not None:
            return Path(array.filename)
        array = getattr(array, "base", None)
    return None


def _write(
    draft: Path,
    shape: tuple[int, ...],
    parts: Iterable[npt.NDArray[Any]],
    dtype: np.dtype[Any],
) -> None:
    written = 0
    with open(draft, "wb") as file:
        descr = np.lib.format.dtype_to_descr(dtype)
        header = {"descr": descr, "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(file, header)
        for part in parts:
            if part.dtype != dtype or part.shape[1:] != shape[1:]:
                raise ValueError(
                    f"rows {written}.. are {part.dtype} of shape {part.shape[1:]}; expected "
                    f"{shape[1:]}"
                )
            file.write(np.ascontiguousarray(part).data)
            written += len(part)
    if written != shape[0]:
        raise ValueError(f"{written} rows were found, expected {shape[0]}")
