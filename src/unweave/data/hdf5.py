"""Arrays of HDF5 files: small ones in memory, large ones mapped from the file or from a copy."""

from __future__ import annotations

import mmap
import struct
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unweave.data.labels import Say
from unweave.data.npz import DEFLATED
from unweave.data.prepared import prepared
from unweave.data.store import AT_ONCE, LARGE

Array = NDArray[Any]

HEAP = b"GCOL\x01\0\0\0"
"""The first bytes of a heap of text."""


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
    found: dict[str, Array] = {}
    refused = []
    with opened(path) as sets:
        for name in drop:
            if name not in sets:
                raise KeyError(f"no array {name!r} to drop; there are {', '.join(sets)}")
            del sets[name]
        for name, its in sets.items():
            with whole(path):
                kind = _kind(its)
            if kind == "other":
                refused.append(name)
            else:
                found[name] = _array(path, name, its, kind)
    if not found:
        raise ValueError(f"{path}: no array of numbers or text in it; expected one: save it again")
    if refused:
        say(f"{path.name}: left out, as neither numbers nor text of its own: {', '.join(refused)}")
    return found


@contextmanager
def whole(path: Path) -> Iterator[None]:
    """Refuse a file that its library fails to read, whatever its error is.

    Raises:
        ValueError: If it fails.
    """
    try:
        yield
    except MemoryError:
        raise
    except Exception as error:
        is_annotated = path.suffix.lower() == ".h5ad"
        kind = "AnnData that anndata reads" if is_annotated else "HDF5 file that h5py reads"
        reason = (str(error).splitlines() or [type(error).__name__])[0]
        raise ValueError(f"{path}: no {kind} ({reason}): save it again") from None


@contextmanager
def opened(path: Path) -> Iterator[dict[str, Any]]:
    """Open a file, and yield all of its data sets that have rows, by name.

    Raises:
        ValueError: If it is damaged, or its headers say more than its bytes can hold.
    """
    import h5py

    found: dict[str, Any] = {}

    def note(name: str, its: Any) -> None:
        if isinstance(its, h5py.Dataset) and its.ndim:
            found[name] = its

    with whole(path):
        file = h5py.File(path)
    with file:
        with whole(path):
            file.visititems(note)
            sizes = {name: its.nbytes for name, its in found.items()}
            has_heaps = any(its.dtype.hasobject for its in found.values())
            if has_heaps and file.id.get_create_plist().get_sizes() == (8, 8):
                _check_heaps(path)
        held = path.stat().st_size
        for name, size in sizes.items():
            if size > max(LARGE, DEFLATED * held):
                raise ValueError(
                    f"{path}: its header says that {name} takes {size:,} bytes, which its "
                    f"{held:,} cannot hold: save it again"
                )
        yield found


def _check_heaps(path: Path) -> None:
    """Refuse a file whose heaps of text are damaged: HDF5 would look for their end for ever.

    A heap (GCOL) is a head of 16 bytes with its size, and objects: a head of 16 bytes with a number
    and a size, and bytes in eights. The object 0 is the space that is left.

    Raises:
        ValueError: If an object ends beyond its heap.
    """
    with open(path, "rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content:
        start = content.find(HEAP)
        while start >= 0:
            (size,) = struct.unpack_from("<Q", content[start + 8 : start + 16].ljust(8, b"\0"))
            end, place = min(start + size, len(content)), start + 16
            while place + 16 <= end:
                number, _, length = struct.unpack_from("<HHxxxxQ", content, place)
                taken = length if number == 0 else 16 + -(-length // 8) * 8
                if taken == 0 or place + taken > end:
                    raise ValueError("a heap of text has an object that ends beyond it")
                place += taken
            start = content.find(HEAP, start + 1)


def _kind(its: Any) -> Literal["text", "numbers", "other"]:
    """Return the kind of a data set; one whose values lie in other files is of another kind."""
    import h5py

    if its.is_virtual or its.external:
        return "other"
    if h5py.check_string_dtype(its.dtype):
        return "text"
    return "numbers" if its.dtype.kind in "biuf" else "other"


def _array(path: Path, name: str, its: Any, kind: Literal["text", "numbers"]) -> Array:
    """Return a data set as an array."""
    with whole(path):
        if kind == "text":
            return np.array(its.asstr()[()], dtype=object)
        if its.nbytes <= LARGE:
            return np.asarray(its[()])
        offset = its.id.get_offset()  # None where it is chunked
        if offset is not None:
            return np.asarray(np.memmap(path, its.dtype, "r", offset, its.shape))
        at_once = _rows_at_once(its)

    def rows() -> Iterator[Array]:
        for start in range(0, len(its), at_once):
            with whole(path):
                part = its[start : start + at_once]
            yield part

    return prepared(path, f"array {name}", its.shape, rows, its.dtype)


def _rows_at_once(its: Any) -> int:
    """Return a number of rows that are whole chunks, of which each is then decoded once."""
    size = its.nbytes // len(its)
    chunk = int(its.chunks[0])
    chunks: int = max(1, AT_ONCE // (chunk * size))
    return chunk * chunks
