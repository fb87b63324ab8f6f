"""A person's own data in one line: folders of images, arrays, tables and data frames, read as
`Data`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from unweave.data import folder
from unweave.data.data import Data
from unweave.data.labels import Say, classes
from unweave.data.store import Bits, Store
from unweave.data.tables import Columns, arrays, columns


def read(
    source: object,
    *,
    labels: object = None,
    size: int | tuple[int, int] | None = None,
    colour: bool | None = None,
    missing: Literal["refuse", "mean"] = "refuse",
    name: str | None = None,
    say: Say = print,
) -> Data:
    """Data of one's own: x from whatever holds it, factors from its labels, and a sentence on each
    decision.

    ==========================================  ==================================================================
    source                                      x, and what `labels` are
    ==========================================  ==================================================================
    a folder                                    its images, those in subfolders too; a table with a column of files'
                                                names (a path, beside the images or not; a frame; a mapping). What
                                                subfolders are called is a factor by itself.
    an array (n, h, w), (n, h, w, c), (n, k),   its items; a table or array with a row for each
    an .npy
    an .npz, a mapping of arrays                the array of two dimensions or more; names of the arrays that are
                                                labels: if not said, those of one dimension
    .csv, .tsv, .parquet, a data frame, a       the columns of numbers; names of the columns that are labels
    mapping or .npz of columns
    ==========================================  ==================================================================

    Images of a folder become uint8 pixels of one size. Arrays of bytes stay so, truths and bytes of
    0 and 1 become `Bits`, whole numbers from 0 to 255 bytes, others float32 as they are; channels
    that come first are moved last. Of a table's numbers, constant columns are left out. How labels
    become classes: `labels.classes`.

    Args:
        source: See the table. labels: See the table; any may be missing in part. size: Pixels a
        side, or (height, width), of a folder's images; 64 if not said, or fewer if most are
        smaller.
            They are resized until they cover it, and their centre is cut out. Transparent pixels
            become white.
        colour: Whether a folder's images are read in colour; if not said, whether any has colours.
        missing: What happens to a table's missing numbers in x: "refuse", or "mean", the column's
        mean. name: What the data are called; the file's or folder's name if not said. say: What is
        told each decision: `print`, or for instance a list's `append`.

    Raises:
        ValueError: If nothing can be read, columns of x hold text or are missing in part, or labels
        do not fit. KeyError: If `labels` names a column or array that is not there.
        FileNotFoundError: If there is no such file or folder.

    >>> table = {"height": [1.5, 2.0, 1.0], "weight": [3, 1, 2], "kind": ["a", "b", None]}
    >>> data = read(table, labels="kind", name="cats")
    x: 2 columns of numbers, height, weight
    kind is missing in 1 of 3 items
    >>> data
    Data(cats: 3 items of shape (2,); factors: kind (2))
    >>> data.factors.ravel().tolist()
    [0, 1, -1]
    """
    path = Path(source) if isinstance(source, str | Path) else None
    if path is not None and not path.exists():
        raise FileNotFoundError(f"{path}: no such file or folder")
    called = name or (path.resolve().stem if path else "data")
    if path is not None and path.is_dir():
        pixels, files = folder.images(path, size, colour, say)
        within = folder.subfolders(files)
        found = folder.beside(path, labels, files, say) if labels is not None else {}
        return _data(pixels, within | found, called, say)
    if size is not None or colour is not None:
        raise ValueError(
            "size and colour are for folders of images; expected neither here: resize the arrays "
            "before"
        )
    parts = _parts(source, path)
    if isinstance(parts, np.ndarray):
        return _data(_items(parts, say), _rows(labels, len(parts)), called, say)
    if any(array.ndim > 1 for array in parts.values()):
        x, own = _separated(parts, _names(labels))
        return _data(_items(x, say), own, called, say)
    table = columns(parts if path is None or path.suffix.lower() == ".npz" else path)
    chosen = _names(labels) or ()
    _check_names(chosen, table)
    own = {column: table[column] for column in chosen}
    return _data(_numbers(table, chosen, missing, say), own, called, say)


def _parts(source: object, path: Path | None) -> NDArray[Any] | Columns:
    """One array, or several by name: of .csv and its kin, frames and structured arrays the
    columns.
    """
    if path is not None:
        if path.suffix.lower() not in (".npy", ".npz"):
            return columns(path)
        found = arrays(path)
        return found[""] if path.suffix.lower() == ".npy" else found
    if isinstance(source, Mapping):
        return {str(name): np.asanyarray(array) for name, array in source.items()}
    if hasattr(source, "__arrow_c_stream__"):
        return columns(source)
    array = np.asanyarray(source)
    return columns(array) if array.dtype.names else array


def _data(x: Store, found: Columns, name: str, say: Say) -> Data:
    factors, names, sizes, values = classes(found, len(x), say)
    for column, one in zip(names, factors.T, strict=True):
        if (one < 0).any():
            say(f"{column} is missing in {(one < 0).sum():,} of {len(x):,} items")
    return Data(x, factors, names, sizes, values, name)


def _items(array: NDArray[Any], say: Say) -> Store:
    """Images or vectors as `Data` keeps them."""
    if array.ndim < 2 or not array.size:
        raise ValueError(
            f"x has shape {array.shape}; expected (n, k) or (n, h, w) or (n, h, w, c), none of "
            "them 0"
        )
    if array.dtype.kind not in "biuf":
        raise ValueError(
            f"x is {array.dtype}; expected numbers: leave out columns of text, or name them in "
            "labels"
        )
    if array.ndim == 4 and array.shape[1] in (1, 3) and array.shape[3] not in (1, 3):
        say(f"channels are moved last: {array.shape[1:]} to {(*array.shape[2:], array.shape[1])}")
        array = np.moveaxis(array, 1, 3)
    if array.dtype.kind == "f":
        return _floats(array)
    low, high = array.min(), array.max()
    if low >= 0 and high <= 1:
        say("x holds zeros and ones, kept as bits")
        return Bits.pack(array)
    if array.dtype != np.uint8 and not (low >= 0 and high <= 255 and array.ndim > 2):
        say(f"x holds whole numbers from {low} to {high}, kept as floats as they are")
        return np.ascontiguousarray(array, dtype=np.float32)
    say("x holds bytes, which stand for 0 to 255 out of 255")
    return np.ascontiguousarray(array, dtype=np.uint8)


def _floats(array: NDArray[Any]) -> NDArray[np.float32]:
    if (broken := ~np.isfinite(array).reshape(len(array), -1).all(1)).any():
        raise ValueError(
            f"x has NaN or infinite numbers in {broken.sum():,} of {len(array):,} items, the first "
            f"{broken.argmax()}: leave these out, or mend them"
        )
    return np.ascontiguousarray(array, dtype=np.float32)


def _rows(labels: object, n: int) -> Columns:
    """A table or array of labels that lies beside x, row by row; an array's single column is called
    "label".
    """
    if labels is None:
        return {}
    found = columns(labels)
    if len(length := next(iter(found.values()))) != n:
        raise ValueError(
            f"x has {n:,} items and the labels {len(length):,} rows; expected a row for each item"
        )
    return {"label": found["0"]} if list(found) == ["0"] else found


def _separated(parts: Columns, chosen: Sequence[str] | None) -> tuple[NDArray[Any], Columns]:
    """x, and the columns of the arrays that are labels."""
    _check_names(chosen or (), parts)
    labels = [
        key
        for key, array in parts.items()
        if (key in chosen if chosen is not None else array.ndim == 1)
    ]
    rest = [key for key, array in parts.items() if key not in labels and array.ndim > 1]
    if len(rest) != 1:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in parts.items())
        raise ValueError(
            f"the arrays {shapes} leave {' and '.join(rest) or 'none'} for x; expected one of two "
            "dimensions or more: name those that are labels, labels=[…], and leave out what is "
            "neither"
        )
    x = parts[rest[0]]
    own = columns({key: parts[key] for key in labels}) if labels else {}
    for key, column in own.items():
        if len(column) != len(x):
            raise ValueError(
                f"{rest[0]} has {len(x):,} items and {key} {len(column):,}; expected as many: mend "
                f"{key}"
            )
    return x, own


def _numbers(
    table: Columns, chosen: Sequence[str], missing: Literal["refuse", "mean"], say: Say
) -> NDArray[np.float32]:
    """The columns that are no labels, (n, columns)."""
    if missing not in ("refuse", "mean"):
        raise ValueError(f"missing is {missing!r}; expected 'refuse' or 'mean'")
    rest = {name: column for name, column in table.items() if name not in chosen}
    if text := [name for name, column in rest.items() if column.dtype.kind in "UO"]:
        raise ValueError(
            f"{_few(text)} hold text; expected numbers in x: name them as labels, "
            f"labels={text[:3]}, or leave them out"
        )
    gaps = {
        name: int(np.isnan(column).sum()) for name, column in rest.items() if np.isnan(column).any()
    }
    if gaps and missing == "refuse":
        listed = _few([f"{name} ({count:,})" for name, count in gaps.items()])
        raise ValueError(
            f"numbers are missing in {listed} of {len(next(iter(rest.values()))):,} rows: fill "
            "them, leave these rows or columns out, or read with missing='mean'"
        )
    values = {name: _filled(column.astype(np.float64)) for name, column in rest.items()}
    constant = [name for name, column in values.items() if np.ptp(column) == 0]
    kept = [name for name in values if name not in constant]
    if not kept:
        raise ValueError(
            f"no column is left for x of {', '.join(table)}: expected numbers that vary beside the "
            "labels"
        )
    say(f"x: {len(kept):,} columns of numbers, {_few(kept)}")
    if constant:
        say(f"left out of x, as they are constant: {_few(constant)}")
    if gaps:
        say(
            "missing numbers are their column's mean: "
            f"{_few([f'{name} ({count:,})' for name, count in gaps.items()])}"
        )
    return _floats(np.stack([values[name] for name in kept], axis=1))


def _filled(column: NDArray[np.float64]) -> NDArray[np.float64]:
    held = ~np.isnan(column)
    return np.where(held, column, column[held].mean() if held.any() else 0)


def _names(labels: object) -> Sequence[str] | None:
    if labels is None:
        return None
    found = [labels] if isinstance(labels, str) else labels
    if not isinstance(found, Sequence) or not all(isinstance(name, str) for name in found):
        raise ValueError(
            f"labels are a {type(labels).__name__}; expected names of columns, such as "
            "labels=['shape']"
        )
    return found


def _check_names(chosen: Sequence[str], given: Mapping[str, object]) -> None:
    for name in chosen:
        if name not in given:
            raise KeyError(f"no column {name!r}; there are {_few(list(given))}")


def _few(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f", … ({len(names):,} in all)" if len(names) > 5 else "")
