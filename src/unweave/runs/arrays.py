"""The arrays of a run: evaluation.npz is read and written here alone.

The file's names are the fields' names; the entries of a field that is a mapping are named
FIELD/KEY, such as `traversal/z[0]`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any

import numpy as np

from ..data import npz
from . import seal
from .files import replacing
from .findings import Array

FILE = "evaluation.npz"


@dataclass(frozen=True)
class Arrays:
    """Everything that a run's pictures are drawn from; None or empty where there is nothing."""

    x: Array | None = None  # (items, *shape)
    labels: Array | None = None  # (items,), of x
    reconstruction: Array | None = None  # (items, *shape), of x
    prior_samples: Array | None = None  # (draws, *shape)
    traversal: Mapping[str, Array] = field(default_factory=dict)  # unit: (rows, values, *shape)
    traversal_at: Mapping[str, Array] = field(default_factory=dict)  # unit: (values,)
    traversal_quantiles: Array | None = None  # (values,), of continuous units
    columns: Array | None = None  # (columns,), names of a table's columns
    column_mean: Array | None = None  # (columns,), over the training part
    column_sd: Array | None = None  # (columns,)
    embedding: Array | None = None  # (items, 2)
    embedding_labels: Array | None = None  # (items,)
    embedding_kind: Array | None = None  # how codes became points, in words
    embedding_names: Array | None = None  # (2,), the units that are axes
    findings: Mapping[str, Array] = field(default_factory=dict)  # of a recipe's own findings

    @property
    def axis_names(self) -> list[str] | None:
        """The units that are axes of the embedding, None if its axes have no meaning."""
        names = self.embedding_names
        return None if names is None else list(map(str, names))


KNOWN = tuple(part.name for part in fields(Arrays))


def named(arrays: Mapping[str, Any]) -> Arrays:
    """Return arrays by the file's names as `Arrays`; names of other versions are left out.

    >>> named({"x": [0.0, 1.0], "traversal/z[0]": [[1.0]]}).traversal["z[0]"].shape
    (1, 1)
    """
    found: dict[str, Any] = {}
    for name, values in arrays.items():
        kind, slash, key = name.partition("/")
        if kind not in KNOWN:
            continue
        if slash:
            found.setdefault(kind, {})[key] = np.asarray(values)
        else:
            found[kind] = np.asarray(values)
    return Arrays(**found)


def flat(arrays: Arrays) -> dict[str, Array]:
    """Return the arrays by the file's names."""
    found: dict[str, Array] = {}
    for part in fields(Arrays):
        held = getattr(arrays, part.name)
        if isinstance(held, Mapping):
            found |= {f"{part.name}/{key}": values for key, values in held.items()}
        elif held is not None:
            found[part.name] = held
    return found


def read(folder: str | Path) -> Arrays:
    """Return the arrays of a run's folder.

    Raises:
        FileNotFoundError: If the folder has none.
        ValueError: If the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `unweave evaluate {folder}` makes it")
    seal.check(folder, FILE)
    try:
        npz.check_sizes(path)
        with np.load(path, allow_pickle=False) as file:
            return named(file)
    except Exception as error:  # of any kind: zip, its compressions and headers have their own
        raise ValueError(
            f"{path} is damaged ({error or type(error).__name__}): restore it, or make it anew "
            f"with `unweave evaluate {folder}`"
        ) from None


def write(folder: str | Path, arrays: Mapping[str, Any]) -> None:
    """Write the arrays of a run, by the file's names, into its folder.

    Raises:
        KeyError: If a name is none of a run's arrays.
    """
    unknown = [name for name in arrays if name.partition("/")[0] not in KNOWN]
    if unknown:
        raise KeyError(f"{', '.join(unknown)}: no arrays of a run; there are {', '.join(KNOWN)}")
    plain = flat(named(arrays))
    with replacing(Path(folder) / FILE) as draft, open(draft, "wb") as file:
        np.savez_compressed(file, **plain)  # type: ignore[arg-type]
