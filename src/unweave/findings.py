"""What a recipe shows of its own model: numbers, tables, pictures, films and scatters, for the report of a run.

A recipe's `findings` is a function (model, recipe) -> findings; evaluation runs it and writes what it returns into the
run folder, the report draws it. None of them knows torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]


@dataclass(frozen=True)
class Number:
    """A number that a reader wants first, with its standard error where it has one; `unit` says what it is in."""

    title: str
    value: float
    error: float | None = None
    unit: str = ""


@dataclass(frozen=True)
class Table:
    """Rows of words and numbers under their heads, ours beside published ones."""

    title: str
    columns: Sequence[str]
    rows: Sequence[Sequence[str | float | None]]
    note: str = ""


@dataclass(frozen=True)
class Picture:
    """Images in rows and columns, (rows, columns, h, w) or (rows, columns, h, w, 3), in [0, 1]; NaN leaves a gap."""

    title: str
    images: Array
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Film:
    """A `Picture` that moves: images (time, rows, columns, h, w) in [0, 1], so many a second."""

    title: str
    images: Array
    rows: Sequence[str] = ()
    columns: Sequence[str] = ()
    note: str = ""
    rate: float = 10.0


@dataclass(frozen=True)
class Scatter:
    """Points (n, 2) side by side, a panel each, coloured by class numbers (n,), −1 where there is none."""

    title: str
    panels: Mapping[str, Array]
    labels: Array
    classes: Sequence[str] = ()
    note: str = ""


@dataclass(frozen=True)
class Lines:
    """Curves over the same numbers `x`, (points,); gaps where a value is NaN."""

    title: str
    x: Array
    curves: Mapping[str, Array] = field(default_factory=dict)
    xlabel: str = ""
    ylabel: str = ""
    note: str = ""


Finding = Number | Table | Picture | Film | Scatter | Lines
