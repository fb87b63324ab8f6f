"""Arrays of HDF5 files: small ones in memory, large ones mapped from the file or from a copy."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unweave.data.labels import Say
from unweave.data.prepared import prepared
from unweave.data.store import AT_ONCE, LARGE

Array = NDArray[Any]


def arrays(path: Path, drop: Sequence[str], say: Say) -> dict[str, Array]:
    """Read the data sets of an HDF5 file by their names, "group/name" within groups.

    A large one is mapped where it lies if it is neither compressed nor divided into chunks, or else
    from a copy that is made once.

    Args:
        path: The file.
        drop: Names of data sets that are left out unread.
        say: A function that is told what is left out.

    Raises:
        ValueError: If it is no such file, or holds neither numbers nor text.
        KeyError: If `drop` names a data set that is not there.
    """
    import h5py

    found: dict[str, Array] = {}
    refused = []
    try:
        with h5py.File(path) as file:
            sets = _sets(file)
            for name in drop:
                if name not in sets:
                    raise KeyError(f"no array {name!r} to drop; there are {', '.join(sets)}")
                del sets[name]
            for name, its in sets.items():
                array = _array(path, name, its)
                if array is None:
                    refused.append(name)
                else:
                    found[name] = array
    except OSError as error:
        raise ValueError(f"{path}: no HDF5 file that h5py reads ({error}): save it again") from None
    if not found:
        raise ValueError(f"{path}: no array of numbers or text in it; expected one: save it again")
    if refused:
        say(f"{path.name}: left out, as neither numbers nor text: {', '.join(refused)}")
    return found


def _sets(file: Any) -> dict[str, Any]:
    """Return all data sets of a file that have rows, by name."""
    import h5py

    found = {}

    def note(name: str, its: Any) -> None:
        if isinstance(its, h5py.Dataset) and its.ndim:
            found[name] = its

    file.visititems(note)
    return found


def _array(path: Path, name: str, its: Any) -> Array | None:
    """Return a data set as an array, None if it holds neither numbers nor text."""
    import h5py

    if h5py.check_string_dtype(its.dtype):
        return np.array(its.asstr()[()], dtype=object)
    if its.dtype.kind not in "biuf":
        return None
    if its.nbytes <= LARGE:
        return np.asarray(its[()])
    offset = its.id.get_offset()  # None where it is chunked
    if offset is not None:
        return np.asarray(np.memmap(path, its.dtype, "r", offset, its.shape))

    at_once = _rows_at_once(its)

    def rows() -> Iterator[Array]:
        for start in range(0, len(its), at_once):
            yield its[start : start + at_once]

    return prepared(path, f"array {name}", its.shape, rows, its.dtype)


def _rows_at_once(its: Any) -> int:
    """Return a number of rows that are whole chunks, of which each is then decoded once."""
    size = its.nbytes // len(its)
    chunk = int(its.chunks[0])
    chunks: int = max(1, AT_ONCE // (chunk * size))
    return chunk * chunks
