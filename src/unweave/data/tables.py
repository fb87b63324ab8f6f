"""Tables as columns: from files, data frames and arrays to ordered, named NumPy arrays."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unweave.data import delimited, hdf5, npz
from unweave.data.identifiers import counts_rows
from unweave.data.labels import Say
from unweave.data.prepared import prepared
from unweave.data.store import LARGE, parts_of

Column: TypeAlias = NDArray[Any]
Columns: TypeAlias = dict[str, Column]
Names: TypeAlias = Sequence[str]

MOST = 100_000
"""Columns of a table at most: an array of more is no table, but items."""


class MissingColumn(KeyError):
    """The error of a name that no column has."""


def columns(source: object, *, drop: Names = (), say: Say = print) -> Columns:
    """Read a table's columns, each n items long, by name and in order.

    Columns keep the table's names. The columns of an array are called "0", "1", …; those of an
    array `a` of shape (n, k) in a mapping or .npz "a.0", "a.1", …, and plainly "a" where k is 1. A
    structured array has its fields' names.

    Numbers become int64 or float64, truths bool, and everything that is written in letters, dates
    too, text. Missing entries (an empty field or NA in a CSV, null in Arrow, None in Python) become
    NaN among numbers and truths, which are float64 then, and None among text, whose array then has
    the dtype object. An index that pandas added is left out. `delimited.read` says which forms of
    text it reads.

    Args:
        source: A file that ends in .npy, .npz, .csv, .tsv or .parquet; a data frame of pandas,
            polars or Arrow (anything with `__arrow_c_stream__`); a mapping from names to arrays; or
            an array (n,) or (n, k).
        drop: Names of columns, or of arrays in an .npz or mapping, that are left out unread.
        say: A function that is told what was converted or left out.

    Returns:
        The columns by name.

    Raises:
        ValueError: If the ending is unknown, columns have different lengths or the same name, rows
            of a CSV have different lengths, there is no row or no column, or values are neither
            numbers, truths nor text.
        KeyError: If `drop` names a column that is not there.
        FileNotFoundError: If there is no such file.

    >>> columns(np.array([[1.5, 2.0], [0.5, 1.0]]))
    {'0': array([1.5, 0.5]), '1': array([2., 1.])}
    >>> columns({"shape": ["heart", None], "scale": [1, 2]})
    {'shape': array(['heart', None], dtype=object), 'scale': array([1, 2])}
    """
    if isinstance(source, str | Path):
        return _file(Path(source), drop, say)
    if isinstance(source, Mapping):
        return _named(without(source, drop), "the mapping")
    if hasattr(source, "__arrow_c_stream__"):
        return _frame(source, drop)
    return without(_array(np.asanyarray(source), "the array"), drop)


def without(named: Mapping[str, Any], drop: Names) -> dict[str, Any]:
    """Leave out what `drop` names.

    Raises:
        KeyError: If it names what is not there.
    """
    for name in drop:
        if name not in named:
            raise MissingColumn(
                f"no column {name!r} to drop; there are {', '.join(map(str, named))}"
            )
    return {name: values for name, values in named.items() if name not in drop}


def arrays(path: Path, drop: Names = (), say: Say = print) -> Columns:
    """Read the arrays of an .npz or .h5 by name, or that of an .npy as ``{"": array}``.

    Pickle is never used; arrays of an .npz that only pickle reads are left out, unless there are no
    others. Arrays that take more than `store.LARGE` bytes stay in a file.

    Args:
        path: The file.
        drop: Names of arrays of an .npz or .h5 that are left out unread.
        say: A function that is told what is left out.

    Raises:
        KeyError: If `drop` names an array that is not there.
        FileNotFoundError: If there is no such file.
        ValueError: If NumPy cannot read it without pickle.
    """
    if not path.exists():
        raise FileNotFoundError(f"{path}: no such file")
    if path.suffix.lower() in (".h5", ".hdf5"):
        return hdf5.arrays(path, drop, say)
    try:
        npz.check_sizes(path)
        is_large = path.stat().st_size > LARGE
        # an .npz is never mapped
        found = np.load(path, mmap_mode="r" if is_large else None, allow_pickle=False)
        if isinstance(found, np.ndarray):
            return {"": np.asarray(found)}
        with found:
            return _members(found, drop, path, say)
    except MissingColumn:
        raise
    except Exception as error:  # of any kind: zip, its compressions and headers have their own
        if "allow_pickle" in str(error) and "Object arrays" in str(error):
            raise ValueError(
                f"{path}: an array has the dtype object, which only pickle reads, and pickle runs "
                "code; expected numbers or text: save array.astype(float) or array.astype(str)"
            ) from None
        raise ValueError(
            f"{path}: no {path.suffix} file that NumPy reads ({error or type(error).__name__}): "
            "save it again"
        ) from None


def _members(archive: Any, drop: Names, path: Path, say: Say) -> Columns:
    found: Columns = {}
    refused: list[str] = []
    shapes = npz.shapes(path)
    for name in without(dict.fromkeys(archive.files), drop):
        shape, dtype = shapes[name]
        try:
            if math.prod(shape) * dtype.itemsize > LARGE and not dtype.hasobject:
                rows = partial(npz.rows, path, name)
                found[name] = prepared(path, f"array {name}", shape, rows, dtype)
            else:
                found[name] = archive[name]
        except ValueError as error:
            if "Object arrays" not in str(error):
                raise
            refused.append(name)
            reason = error
    if refused and not found:
        raise reason
    if refused:
        listed = ", ".join(refused)
        say(f"{path.name}: left out, as only pickle reads it, and that runs code: {listed}")
    return found


def _file(path: Path, drop: Names, say: Say) -> Columns:
    ending = path.suffix.lower()
    if ending not in READERS:
        raise ValueError(
            f"{path}: unknown ending {ending!r}; expected {', '.join(READERS)}: convert it to one "
            "of these"
        )
    if not path.is_file():
        raise FileNotFoundError(f"{path}: no such file")
    if not path.stat().st_size:
        raise ValueError(f"{path}: the file is empty; expected a table: write it again")
    return READERS[ending](path, drop, say)


def _npy(path: Path, drop: Names, say: Say) -> Columns:
    return without(_array(arrays(path)[""], str(path)), drop)


def _several(path: Path, drop: Names, say: Say) -> Columns:
    return _named(arrays(path, drop, say), str(path))


def _csv(path: Path, drop: Names, say: Say) -> Columns:
    table = delimited.read(path, say)
    for k, name in reversed(list(enumerate(table.column_names))):
        column = table.column(k)
        is_empty = column.null_count == len(column)
        if name == "" and (is_empty or counts_rows(column.to_numpy())):
            why = "is empty" if is_empty else "counts the rows"
            say(f"{path.name}: column {k + 1} has no name, {why} and is left out")
            table = table.remove_column(k)
    return _from_arrow(table, str(path), drop)


def _parquet(path: Path, drop: Names, say: Say) -> Columns:
    from pyarrow import parquet

    file = _whole(path, lambda: parquet.ParquetFile(path))
    names = file.schema_arrow.names
    if 8 * file.metadata.num_rows * len(names) <= LARGE or len(set(names)) < len(names):
        return _from_arrow(_whole(path, file.read), str(path), drop)
    without(dict.fromkeys(names), drop)  # all of `drop` is there
    found: Columns = {}
    for name in names:
        if name not in drop:  # one column is in memory at a time
            table = _whole(path, partial(file.read, [name]))
            for column, values in _from_arrow(table, str(path), ()).items():
                found[column] = _in_a_file(path, column, values)
    return _checked(found, str(path))


def _whole(path: Path, read: Callable[[], Any]) -> Any:
    """Return what is read of a Parquet file.

    Raises:
        ValueError: If the file is damaged, or none.
    """
    from pyarrow import ArrowException

    try:
        return read()
    except (ArrowException, OSError, ValueError) as error:
        raise ValueError(f"{path}: no Parquet file ({error}): save it again") from None


def _in_a_file(path: Path, name: str, column: Column) -> Column:
    """Return a column of numbers mapped from a prepared file, one of text as it is."""
    if column.dtype.kind not in "bif":
        return column
    rows = partial(parts_of, column)
    return prepared(path, f"column {name}", column.shape, rows, column.dtype)


READERS: dict[str, Callable[[Path, Names, Say], Columns]] = {
    ".npy": _npy,
    ".npz": _several,
    ".h5": _several,
    ".hdf5": _several,
    ".csv": _csv,
    ".tsv": _csv,
    ".parquet": _parquet,
}


def _frame(source: Any, drop: Names) -> Columns:
    import pyarrow

    if hasattr(source, "to_frame"):
        raise ValueError(
            f"a {type(source).__name__} is one column; expected a table: give .to_frame()"
        )
    try:
        return _from_arrow(pyarrow.table(source), "the data frame", drop)
    except (
        pyarrow.ArrowInvalid,
        pyarrow.ArrowTypeError,
        pyarrow.ArrowNotImplementedError,
    ) as error:
        raise ValueError(
            f"the data frame: {error}; expected columns that each hold numbers, truths or text"
        ) from None


def _from_arrow(table: Any, where: str, drop: Names) -> Columns:
    without(dict.fromkeys(table.column_names), drop)  # all of `drop` is there
    index = "__index_level_"  # of pandas
    columns = enumerate(table.column_names)
    kept = {k: name for k, name in columns if not name.startswith(index) and name not in drop}
    _check_names(list(kept.values()), where)
    found = {name: _arrow_column(table.column(k), name, where) for k, name in kept.items()}
    return _checked(found, where)


def _arrow_column(column: Any, name: str, where: str) -> Column:
    import pyarrow
    from pyarrow import types

    if types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    kind, missing = column.type, column.null_count > 0
    if types.is_boolean(kind):
        found = column.cast(pyarrow.int8()).cast(pyarrow.float64()) if missing else column
    elif types.is_integer(kind):
        found = column.cast(pyarrow.float64(), safe=False) if missing else column
        if types.is_uint64(kind):
            return _plain(found.to_numpy(), name, where)
    elif types.is_floating(kind) or types.is_decimal(kind) or types.is_null(kind):
        found = column.cast(pyarrow.float64())
    elif (
        types.is_string(kind)
        or types.is_large_string(kind)
        or types.is_string_view(kind)
        or types.is_temporal(kind)
    ):
        texts = column.cast(pyarrow.string()).to_pylist()
        return np.array(texts, dtype=object if missing else str)
    elif types.is_binary(kind) or types.is_large_binary(kind):
        raise ValueError(f"{where}: column {name!r} is no text in UTF-8: save it as UTF-8")
    else:
        raise ValueError(
            f"{where}: column {name!r} holds {kind}; expected numbers, truths or text: leave it "
            "out, or give each of its entries a column"
        )
    return _plain(found.to_numpy(), name, where)


def _named(source: Mapping[Any, Any], where: str) -> Columns:
    found: list[tuple[str, Column]] = []
    for name, values in source.items():
        array = np.asanyarray(values)
        if array.ndim == 1 and array.dtype.names is None:
            found.append((str(name), _plain(array, str(name), where)))
            continue
        within = _array(array, f"{where}, array {str(name)!r}")
        for k, column in within.items():
            found.append((f"{name}.{k}" if len(within) > 1 else str(name), column))
    _check_names([name for name, _ in found], where)
    return _checked(dict(found), where)


def _array(array: NDArray[Any], where: str) -> Columns:
    if array.dtype.names is not None and array.ndim == 1:
        fields = {name: _plain(array[name], name, where) for name in array.dtype.names}
        return _checked(fields, where)
    if array.ndim not in (1, 2):
        raise ValueError(
            f"{where} has shape {array.shape}; expected (n,) or (n, k), a row for each item: "
            "array.reshape(len(array), -1) makes rows"
        )
    table = array[:, None] if array.ndim == 1 else array
    if table.shape[1] > MOST:
        raise ValueError(f"{where} has {table.shape[1]:,} columns; expected at most {MOST:,}")
    found = {str(k): _plain(column, str(k), where) for k, column in enumerate(table.T)}
    return _checked(found, where)


def _plain(column: NDArray[Any], name: str, where: str) -> Column:
    """Convert a column to int64, float64, bool or text; dtype object is read entry by entry."""
    if column.ndim != 1:
        raise ValueError(
            f"{where}: column {name!r} has shape {column.shape[1:]} in each row; expected one value"
        )
    if isinstance(column, np.ma.MaskedArray):
        column = np.array(column.tolist(), dtype=object) if column.mask.any() else column.data
    kind = column.dtype.kind
    if kind in "OT":
        return _objects(column, name, where)
    if kind == "u" and len(column) and column.max() > np.iinfo(np.int64).max:
        raise ValueError(
            f"{where}: column {name!r} goes to {column.max()}, beyond int64: give it as text or "
            "float"
        )
    if kind in "bifuUM":
        types: dict[str, type] = {"b": bool, "f": np.float64, "U": str, "M": str}
        return np.ascontiguousarray(column, dtype=types.get(kind, np.int64))
    raise ValueError(
        f"{where}: column {name!r} has the dtype {column.dtype}; expected numbers, truths or text: "
        "convert it"
    )


def _objects(column: NDArray[Any], name: str, where: str) -> Column:
    import pyarrow

    try:
        found = pyarrow.array(column.tolist(), from_pandas=True)
    except (pyarrow.ArrowInvalid, pyarrow.ArrowTypeError, OverflowError):
        kinds = sorted({type(value).__name__ for value in column.tolist() if value is not None})
        raise ValueError(
            f"{where}: column {name!r} has the dtype object and holds {', '.join(kinds)}; expected "
            "all numbers or all text, None where missing: array.astype(float) or array.astype(str)"
        ) from None
    return _arrow_column(pyarrow.chunked_array([found]), name, where)


def _check_names(names: list[str], where: str) -> None:
    if "" in names:
        raise ValueError(
            f"{where}: column {names.index('') + 1} has no name: name it; if pandas wrote its "
            "index there, save with index=False"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(
            f"{where}: several columns are called {', '.join(twice)}; expected each name once: "
            "rename them"
        )


def _checked(found: Columns, where: str) -> Columns:
    lengths = {name: len(column) for name, column in found.items()}
    if not any(lengths.values()):
        raise ValueError(
            f"{where}: {'no rows' if found else 'no columns'}; expected a table with at least one "
            "value"
        )
    if len(set(lengths.values())) > 1:
        listed = ", ".join(f"{name!r} {length:,}" for name, length in lengths.items())
        raise ValueError(
            f"{where}: columns have different numbers of rows ({listed}); expected the same in all"
        )
    return found
