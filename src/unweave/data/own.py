"""A reader of one's own data: folders of images, arrays, tables and data frames as `Data`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unweave.data import annotated, datasets, folder, matrix
from unweave.data.data import Data
from unweave.data.identifiers import without_identifiers
from unweave.data.labels import Say, classes
from unweave.data.matrix import Missing, check_names, few
from unweave.data.prepared import converted
from unweave.data.single import single
from unweave.data.sparse import Sparse
from unweave.data.store import Bits, Store, extremes
from unweave.data.tables import Columns, arrays, columns, without


def read(
    source: object,
    *,
    labels: object = None,
    size: int | tuple[int, int] | None = None,
    colour: bool | None = None,
    missing: Missing = "refuse",
    categories: str | Sequence[str] = (),
    given: str | Sequence[str] = (),
    drop: str | Sequence[str] = (),
    like: Mapping[str, Any] | None = None,
    name: str | None = None,
    say: Say = print,
) -> Data:
    """Read one's own data, and say a sentence on each decision.

    The source decides what x is, and what `labels` are:

    - A folder: x is its images, those in subfolders too. `labels` is a table with a column of
      files' names (a path, beside the images or not; a frame; a mapping). The names of subfolders
      are a factor by themselves.
    - An array (n, h, w), (n, h, w, c) or (n, k), or an .npy: x is its items. `labels` is a table or
      array with a row for each.
    - An .npz, an .h5 or a mapping of arrays: x is the array of two dimensions or more. `labels`
      names the arrays that are labels; if not given, those of one dimension are.
    - A .csv, .tsv or .parquet, a data frame, a mapping or .npz of columns: x is the columns of
      numbers. `labels` names the columns that are labels.
    - An AnnData, or an .h5ad: x is the layer "counts", or else X, sparse if it is; `labels` and
      `given` name columns of obs. A sparse matrix of SciPy: x is its rows.
    - A data set with a length, such as torch's, by number or in turn: x is what its items hold
      first, and what follows are labels; items that are mappings are read as a mapping of arrays.
    - A tuple (x, y, …) of arrays of as many items: x and its labels.
    - A list of sequences (steps, …) of different lengths: x is (n, most steps, …), with NaN behind
      the ends of shorter ones.

    Arrays of files that take more than 64 MiB stay on the disk, and are read as they are used:
    those of an .npy, and of an .h5 that neither compresses nor divides them, where they are, others
    and the images of a folder from a copy that is made once (see `prepared.cache`).

    Images of a folder become uint8 pixels of one size. Arrays of bytes stay so. Truths and bytes of
    0 and 1 become `Bits`, whole numbers from 0 to 255 bytes, others float32 as they are; up to four
    channels that come first are moved last. Columns of a table that are constant, or name its rows
    (`identifiers.names_rows`), are left out. `labels.classes` turns labels into classes.

    Args:
        source: A folder, file, array, mapping or data frame, as above.
        labels: A table or names, as above; any label may be missing in part.
        size: Pixels a side, or (height, width), of a folder's images; 64 if not given, or fewer if
            most are smaller. Images are resized until they cover it, and their centre is cut out.
            Transparent pixels become white.
        colour: True to read a folder's images in colour, False in grey; if not given, in colour if
            any has colours.
        missing: "refuse" to refuse missing numbers in a table's x, "keep" to keep them as NaN, for
            models that leave them out (`models.table`), or "mean" to put the column's mean there.
        categories: Names of a table's columns whose numbers are classes. Each class of these, and
            of text, becomes a column of zeros and ones.
        given: Names of columns that stand last in x for a model to be given, such as a batch. Text
            becomes classes.
        drop: Names of columns, or of arrays in an .npz or mapping, to leave out.
        like: `Data.prepared` of data that were read before, or a model's `inputs.prepared`: size,
            colour and columns are the same.
        name: The data's name; the file's or folder's name if not given.
        say: A function that is told each decision: `print`, or for instance a list's `append`.

    Returns:
        The data.

    Raises:
        ValueError: If nothing can be read, columns of x hold text of many values, are missing in
            part or are more than float32 can hold, or labels do not fit.
        KeyError: If `labels` or `drop` names a column or array that is not there.
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
    drop = [drop] if isinstance(drop, str) else drop
    before = like or {}
    if path is not None and path.is_dir():
        if drop:
            raise ValueError(f"drop is for tables; expected none for the folder {path}")
        size, colour = before.get("size", size), before.get("colour", colour)
        pixels, files = folder.images(path, size, colour, say)
        prepared = {"size": list(pixels.shape[1:3]), "colour": pixels.ndim == 4}
        within = folder.subfolders(files)
        found = folder.beside(path, labels, files, say) if labels is not None else {}
        return _data(pixels, within | found, called, say, prepared)
    if size is not None or colour is not None:
        raise ValueError(
            "size and colour are for folders of images; expected neither here: resize the arrays "
            "before"
        )
    given = [given] if isinstance(given, str) else given
    if annotated.is_annotated(source):
        x, own, how = annotated.read(source, _names(labels) or (), given, drop, before, say)
        return _data(x, own, called, say, how)
    if annotated.is_sparse(source):
        rows = Sparse.of(source)
        return _data(rows, _rows(labels, len(rows), say), called, say)
    if datasets.is_pair(source):
        labels = _beside(source[1:]) if labels is None else labels
        source = source[0]
    padded = datasets.sequences(source)
    if padded is not None:
        say(f"sequences of up to {padded.shape[1]:,} steps; NaN stands for steps behind an end")
        how = {"sequences": True, "missing": True}
        return _data(padded, _rows(labels, len(padded), say), called, say, how)
    if datasets.is_dataset(source):
        source, further = datasets.arrays(source)
        labels = further if labels is None else labels
    parts = _parts(source, path, drop, say)
    if isinstance(parts, np.ndarray):
        return _data(_items(parts, say), _rows(labels, len(parts), say), called, say)
    if any(array.ndim > 1 for array in parts.values()):
        x, own = _separated(parts, _names(labels), say)
        return _data(_items(x, say), own, called, say)
    table = columns(parts)
    chosen = _names(labels) or ()
    check_names(chosen, table)
    own = {column: table[column] for column in chosen}
    categories = [categories] if isinstance(categories, str) else categories
    if "columns" in before:
        x, kept = matrix.same(table, before), before
    else:
        x, kept = matrix.of(table, chosen, given, categories, missing, say)
    return _data(x, own, called, say, kept)


def _beside(further: Sequence[Any]) -> dict[str, Any]:
    """Return arrays of labels by name."""
    names = ["label", *(f"label {k}" for k in range(2, len(further) + 1))]
    return {name: datasets.array_of(part) for name, part in zip(names, further, strict=True)}


def _parts(
    source: object, path: Path | None, drop: Sequence[str], say: Say
) -> NDArray[Any] | Columns:
    """Read one array, or several by name; tables and structured arrays give their columns."""
    if path is not None and path.suffix.lower() in (".npz", ".h5", ".hdf5"):
        return arrays(path, drop, say)
    if path is not None and path.suffix.lower() == ".npy":
        array = arrays(path)[""]
    elif path is not None or hasattr(source, "__arrow_c_stream__"):
        return columns(path or source, drop=drop, say=say)
    elif isinstance(source, Mapping):
        named = {str(name): datasets.array_of(array) for name, array in source.items()}
        return without(named, drop)
    else:
        array = datasets.array_of(source)
    if array.ndim == 0 and array.dtype == object:
        raise ValueError(
            f"a {type(source).__name__} is no array; expected arrays, a table, a file, a folder, "
            "or a data set whose items have numbers"
        )
    if array.dtype.names or drop:
        return columns(array, drop=drop)
    return _without_mask(array)


def _without_mask(array: NDArray[Any]) -> NDArray[Any]:
    """Write NaN where an array is masked."""
    if not np.ma.is_masked(array):
        return np.asarray(array)
    return np.where(np.ma.getmaskarray(array), np.nan, np.ma.getdata(array))


def _data(
    x: Store, found: Columns, name: str, say: Say, prepared: Mapping[str, Any] | None = None
) -> Data:
    factors, names, sizes, values = classes(found, len(x), say)
    for column, one in zip(names, factors.T, strict=True):
        if (one < 0).any():
            say(f"{column} is missing in {(one < 0).sum():,} of {len(x):,} items")
    how = prepared or {}
    is_gappy = bool(how.get("missing"))
    return Data(x, factors, names, sizes, values, name, missing=is_gappy, prepared=how)


CHANNELS = (1, 2, 3, 4)
"""Numbers of channels: grey, two of any kind, colours, colours and transparency."""


def _items(array: NDArray[Any], say: Say) -> Store:
    """Convert images or vectors to a form that `Data` keeps."""
    array = _without_mask(array)
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
    if array.ndim == 4 and array.shape[1] in CHANNELS and array.shape[3] not in CHANNELS:
        say(f"channels are moved last: {array.shape[1:]} to {(*array.shape[2:], array.shape[1])}")
        array = converted(array, "channels last", lambda rows: np.moveaxis(rows, 1, 3))
    if array.dtype.kind == "f":
        x = single(array)
        low, high = extremes(x)
        if x.ndim > 2 and (low < 0 or high > 1):
            say(f"x holds numbers from {low:g} to {high:g}, kept as they are")
        return x
    low, high = extremes(array)
    if low >= 0 and high <= 1:
        say("x holds zeros and ones, kept as bits")
        packed = converted(array, "bits", lambda rows: np.asarray(Bits.pack(rows).packed))
        return Bits(packed, array.shape[1:])
    if array.dtype != np.uint8 and not (low >= 0 and high <= 255 and array.ndim > 2):
        say(f"x holds whole numbers from {low} to {high}, kept as floats as they are")
        return single(array)
    say("x holds bytes, which stand for 0 to 255 out of 255")
    if array.dtype == np.uint8 and array.flags.c_contiguous:
        return array
    return converted(array, "bytes", lambda rows: np.ascontiguousarray(rows, dtype=np.uint8))


def _rows(labels: object, n: int, say: Say) -> Columns:
    """Read labels that lie beside x row by row; an array's single column is called "label"."""
    if labels is None:
        return {}
    found = columns(labels, say=say)
    length = len(next(iter(found.values())))
    if length != n:
        raise ValueError(
            f"x has {n:,} items and the labels {length:,} rows; expected a row for each item"
        )
    if len(found) > 1:
        return without_identifiers(found, say)
    return {"label": found["0"]} if list(found) == ["0"] else found


def _separated(
    parts: Columns, chosen: Sequence[str] | None, say: Say
) -> tuple[NDArray[Any], Columns]:
    """Separate x from the columns of the arrays that are labels."""
    check_names(chosen or (), parts)
    rest = [key for key, array in parts.items() if array.ndim > 1 and key not in (chosen or ())]
    if len(rest) != 1:
        shapes = ", ".join(f"{key} {array.shape}" for key, array in parts.items())
        raise ValueError(
            f"the arrays {shapes} leave {' and '.join(rest) or 'none'} for x; expected one of two "
            "dimensions or more: name those that are labels, labels=[…] (`--labels NAMES`), and "
            "leave out what is neither, drop=[…] (`--drop NAMES`)"
        )
    x = parts[rest[0]]
    if chosen is None:
        chosen = [key for key, array in parts.items() if array.shape == x.shape[:1]]
    others = [key for key in parts if key not in (*chosen, rest[0])]
    if others:
        say(f"left out, as no labels of {rest[0]}'s {len(x):,} items: {few(others)}")
    labels = {key: array for key, array in parts.items() if key in chosen}
    own = columns(labels) if labels else {}
    for key, column in own.items():
        if len(column) != len(x):
            raise ValueError(
                f"{rest[0]} has {len(x):,} items and {key} {len(column):,}; expected as many: mend "
                f"{key}"
            )
    return x, own


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
