"""Findings of a recipe's own, for a report: numbers, tables, pictures, films, charts and words.

A recipe's `findings` is a function (model, recipe) -> findings. Evaluation runs it and writes them
into the run folder (`packed`); the report reads them (`unpacked`) and draws them. None of this
knows torch.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Number:
    """A number that a reader wants first, with its unit and, where it has one, its standard error.

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
    """A table of words and numbers under their heads, such as ours beside published ones."""

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
    """A grid of images, (rows, columns, h, w) or (rows, columns, h, w, 3), in [0, 1].

    NaN leaves a gap.
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
    """A picture that moves: images (time, rows, columns, h, w) in [0, 1], `rate` a second."""

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
    """Panels of points (n, 2) side by side, coloured by class numbers (n,), −1 for no class."""

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
    """Curves over the same numbers `x`, (points,), with gaps where a value is NaN."""

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


@dataclass(frozen=True)
class Words:
    """Lines of words sized by their weights, such as topics, each with what is known about it.

    Weights are from 0 to 1, a list for each line.
    """

    title: str
    names: Sequence[str]
    words: Sequence[Sequence[str]]
    weights: Sequence[Sequence[float]]
    about: Sequence[str] = ()
    note: str = ""

    def __post_init__(self) -> None:
        for words, weights in zip(self.words, self.weights, strict=True):
            if len(words) != len(weights):
                raise ValueError(
                    f"{self.title!r}: {len(words)} words, {words[0]!r} first, and {len(weights)} "
                    "weights; expected a weight for each word"
                )


Finding = Number | Table | Picture | Film | Scatter | Lines | Words

KINDS: dict[str, type[Finding]] = {
    kind.__name__: kind for kind in (Number, Table, Picture, Film, Scatter, Lines, Words)
}


def packed(findings: Sequence[Finding]) -> tuple[list[dict[str, Any]], dict[str, Array]]:
    """Return findings as JSON, in which an array is {"array": key}, and the arrays by their keys.

    NaN and infinite numbers are None; images are kept as half floats, eleven bits a colour.

    >>> described, arrays = packed([Lines("Loss", np.arange(3.0), {"ours": np.zeros(3)})])
    >>> described[0]["kind"], described[0]["curves"]
    ('Lines', {'ours': {'array': 'findings/0/curves/ours'}})
    >>> list(arrays)
    ['findings/0/x', 'findings/0/curves/ours']
    >>> unpacked(described, arrays)[0].title
    'Loss'
    """
    arrays: dict[str, Array] = {}
    described = []
    for i, finding in enumerate(findings):
        about: dict[str, Any] = {"kind": type(finding).__name__}
        for part in fields(finding):
            held = getattr(finding, part.name)
            about[part.name] = _plain(held, f"findings/{i}/{part.name}", arrays)
        described.append(about)
    return described, arrays


def _plain(value: Any, key: str, arrays: dict[str, Array]) -> Any:
    """Return a value as JSON and move its arrays into `arrays`, by keys that begin with `key`."""
    if isinstance(value, Mapping):
        return {str(name): _plain(part, f"{key}/{name}", arrays) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(part, f"{key}/{i}", arrays) for i, part in enumerate(value)]
    if value is None or isinstance(value, str | int):
        return value
    array = np.asarray(value)
    if array.ndim == 0:
        number = array.item()
        is_absent = isinstance(number, float) and not math.isfinite(number)
        return None if is_absent else number
    if key.endswith("/images") and array.dtype.kind == "f":
        array = array.astype(np.float16)
    arrays[key] = array
    return {"array": key}


def unpacked(described: Sequence[Mapping[str, Any]], arrays: Mapping[str, Array]) -> list[Finding]:
    """Return the findings that `packed` described; one whose arrays are gone is left out."""
    found = []
    for about in described:
        try:
            parts = {key: _whole(value, arrays) for key, value in about.items() if key != "kind"}
        except KeyError:
            continue
        if about["kind"] == "Number" and parts["value"] is None:
            parts["value"] = math.nan
        found.append(KINDS[about["kind"]](**parts))
    return found


def _whole(value: Any, arrays: Mapping[str, Array]) -> Any:
    """Return a value with its arrays in their places.

    Raises:
        KeyError: If an array is gone.
    """
    if isinstance(value, Mapping):
        if value.keys() == {"array"} and isinstance(value["array"], str):
            return arrays[value["array"]]
        return {name: _whole(part, arrays) for name, part in value.items()}
    return [_whole(part, arrays) for part in value] if isinstance(value, list) else value


def _check_images(finding: Picture | Film, lead: str) -> None:
    """Refuse images that cannot be drawn where they are made, and name the shape expected."""
    shape, first = np.shape(finding.images), lead.count(",") + 1
    is_grey = len(shape) == first + 2
    is_coloured = len(shape) == first + 3 and shape[-1] == 3
    if not (is_grey or is_coloured):
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
