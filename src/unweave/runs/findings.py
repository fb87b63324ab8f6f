"""What a recipe shows of its own model: numbers, tables, pictures, films, scatters and curves, for
a run's report.

A recipe's `findings` is a function (model, recipe) -> findings; evaluation runs it and writes what
it returns into the run folder (`packed`), the report reads it (`unpacked`) and draws it. None of
them knows torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Number:
    """A number that a reader wants first, with its standard error where it has one; `unit` says
    what it is in.

    `better` is 1 if more is better, −1 if less is, 0 if neither: a study of such runs compares them
    by it.
    """

    title: str
    value: float
    error: float | None = None
    unit: str = ""
    better: Literal[-1, 0, 1] = 0


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers under their heads, ours beside published ones."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    note: str = ""

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(
                    f"{self.title!r}: a row of {len(row)} cells, {list(row)!r}, under "
                    f"{len(self.columns)} heads"
                )


@dataclass(frozen=True)
class Picture:
    """Images in rows and columns, (rows, columns, h, w) or (rows, columns, h, w, 3), in [0, 1]; NaN
    leaves a gap.
    """

    title: str
    images: Array
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    note: str = ""

    def __post_init__(self) -> None:
        _check_images(self, lead="rows, columns")


@dataclass(frozen=True)
class Film:
    """A `Picture` that moves: images (time, rows, columns, h, w) in [0, 1], so many a second."""

    title: str
    images: Array
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    note: str = ""
    rate: float = 10.0

    def __post_init__(self) -> None:
        _check_images(self, lead="time, rows, columns")


@dataclass(frozen=True)
class Scatter:
    """Points (n, 2) side by side, a panel each, coloured by class numbers (n,), −1 where there is
    none.
    """

    title: str
    panels: Mapping[str, Array]
    labels: Array
    classes: Sequence[str] = ()
    note: str = ""

    def __post_init__(self) -> None:
        for name, points in self.panels.items():
            if np.shape(points) != (len(self.labels), 2):
                raise ValueError(
                    f"{self.title!r}: the points of {name!r} have shape {np.shape(points)}, "
                    f"expected ({len(self.labels)}, 2), a point for each label"
                )


@dataclass(frozen=True)
class Lines:
    """Curves over the same numbers `x`, (points,); gaps where a value is NaN."""

    title: str
    x: Array
    curves: Mapping[str, Array] = field(default_factory=dict)
    xlabel: str = ""
    ylabel: str = ""
    note: str = ""

    def __post_init__(self) -> None:
        for name, values in self.curves.items():
            if np.shape(values) != np.shape(self.x) or np.ndim(self.x) != 1:
                raise ValueError(
                    f"{self.title!r}: the curve {name!r} has shape {np.shape(values)} over x of "
                    f"{np.shape(self.x)}: expected a number for each of x"
                )


Finding = Number | Table | Picture | Film | Scatter | Lines

KINDS: dict[str, type[Finding]] = {
    kind.__name__: kind for kind in (Number, Table, Picture, Film, Scatter, Lines)
}


def packed(findings: Sequence[Finding]) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """Findings as JSON, in which an array is {"array": key}, and the arrays by their keys.

    NaN and infinite numbers are None; images are kept as half floats, eleven bits a colour.

    >>> described, arrays = packed([Lines("Loss", np.arange(3.0), {"ours": np.zeros(3)})])
    >>> described[0]["kind"], described[0]["curves"], list(arrays)
    ('Lines', {'ours': {'array': 'findings/0/curves/ours'}}, ['findings/0/x', 'findings/0/curves/ours'])
    >>> unpacked(described, arrays)[0].title
    'Loss'
    """
    arrays: dict[str, Array] = {}

    def plain(value: Any, key: str) -> Any:
        if isinstance(value, Mapping):
            return {str(name): plain(part, f"{key}/{name}") for name, part in value.items()}
        if isinstance(value, list | tuple):
            return [plain(part, f"{key}/{i}") for i, part in enumerate(value)]
        if value is None or isinstance(value, str | int):
            return value
        array = np.asarray(value)
        if array.ndim == 0:
            number = array.item()
            return None if isinstance(number, float) and not math.isfinite(number) else number
        arrays[key] = (
            array.astype(np.float16)
            if key.endswith("/images") and array.dtype.kind == "f"
            else array
        )
        return {"array": key}

    described = [
        {"kind": type(finding).__name__}
        | {
            part.name: plain(getattr(finding, part.name), f"findings/{i}/{part.name}")
            for part in fields(finding)
        }
        for i, finding in enumerate(findings)
    ]
    return described, arrays


def unpacked(described: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array]) -> list[Finding]:
    """What `packed` was given, from what it returned; a finding whose arrays are gone is left
    out.
    """

    def whole(value: Any) -> Any:
        if isinstance(value, Mapping):
            is_array = value.keys() == {"array"} and isinstance(value["array"], str)
            return (
                arrays[value["array"]]
                if is_array
                else {name: whole(part) for name, part in value.items()}
            )
        return [whole(part) for part in value] if isinstance(value, list) else value

    found = []
    for about in described:
        try:
            parts = {name: whole(value) for name, value in about.items() if name != "kind"}
        except KeyError:
            continue
        if about["kind"] == "Number" and parts["value"] is None:
            parts["value"] = math.nan
        found.append(KINDS[about["kind"]](**parts))
    return found


def _check_images(finding: Picture | Film, lead: str) -> None:
    """Refuses what cannot be drawn where it is made, with what was expected."""
    shape, first = np.shape(finding.images), lead.count(",") + 1
    fits = len(shape) == first + 2 or (len(shape) == first + 3 and shape[-1] == 3)
    if not fits:
        raise ValueError(
            f"{finding.title!r}: images of shape {shape}, expected ({lead}, h, w), or ({lead}, h, "
            "w, 3) for colours"
        )
    for what, names, size in (
        ("rows", finding.rows, shape[first - 2]),
        ("columns", finding.columns, shape[first - 1]),
    ):
        if len(names) not in (0, size):
            raise ValueError(
                f"{finding.title!r}: {len(names)} names for {size} {what} of images: expected one "
                "each"
            )
