"""The kinds of a table's columns, found in its numbers: counts, truths, classes, measurements."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from unweave.data.data import Data, some
from unweave.data.labels import Say
from unweave.data.matrix import blocks, check_names, few
from unweave.data.store import floats

COUNTS = (
    "poisson",
    "negative_binomial",
    "zero_inflated_poisson",
    "zero_inflated_negative_binomial",
)
"""Likelihoods of whole numbers from 0 on."""

NUMBERS = ("normal", "log_normal", "bernoulli", *COUNTS)
"""Likelihoods that a person may choose for columns of numbers, by the names of `models.table`."""

SEEN = 10_000
"""Rows from which the skewness of a column is taken."""


@dataclass(frozen=True)
class Facts:
    """Properties of columns (columns,), over the numbers that are not missing."""

    low: NDArray[np.float64]
    high: NDArray[np.float64]
    is_whole: NDArray[np.bool_]
    mean: NDArray[np.float64]
    variance: NDArray[np.float64]


def kinds_of(data: Data, likelihood: str, say: Say) -> list[tuple[str, int]]:
    """Return the kind of each column, or of columns in a row, with how many they are.

    Whole numbers from 0 or 1 on are counts: Poisson if their variance is at most 1.5 times their
    mean, negative binomial above; below half of it they are no counts but Normal. Zeros and ones
    are Bernoulli. Positive numbers are log-normal if they are skewed by more than 1 and their
    logarithms by less than half of that. Others are Normal.

    Args:
        data: Vectors.
        likelihood: "auto"; or a likelihood for all columns of numbers; or, with commas, NAME=KIND
            for some columns, and at most one KIND for the others.
        say: A function that is told the kinds.

    Raises:
        ValueError: If a likelihood is unknown, or a column has numbers that it gives no density.
        KeyError: If a name is no column's.

    >>> x = np.array([[0, 1.5], [3, 2.5], [1, 2.2]], dtype=np.float32)
    >>> from unweave.data import read
    >>> table = read({"visits": x[:, 0], "height": x[:, 1]}, say=lambda text: None)
    >>> kinds_of(table, "auto", print)
    likelihood: poisson for visits; normal for height (--likelihood)
    [('poisson', 1), ('normal', 1)]
    """
    names = data.prepared.get("columns") or [f"column {k}" for k in range(data.shape[0])]
    classes = data.prepared.get("categories", {})
    given = data.prepared.get("given", ())
    own, others = _asked(likelihood)
    parts = blocks({**data.prepared, "columns": names})
    check_names(list(own), dict(parts))
    facts = _facts(data)
    skewed = _are_log_normal(data, facts)
    kinds: list[tuple[str, int]] = []
    told: dict[str, list[str]] = {}
    first = 0
    for name, width in parts:
        kind = own.get(name, others)
        if name in given:
            kind = "given"
        elif name in classes:
            kind = "categorical"
        elif kind == "auto":
            kind = _kind(facts, skewed, first)
        if kind in NUMBERS:
            _check_numbers(name, kind, facts, first)
        told.setdefault(kind, []).append(name)
        is_same = kinds and kinds[-1][0] == kind != "categorical"
        if is_same:
            kinds[-1] = (kind, kinds[-1][1] + width)
        else:
            kinds.append((kind, width))
        first += width
    said = [f"{kind} for {few(columns)}" for kind, columns in told.items() if kind != "given"]
    say(f"likelihood: {'; '.join(said)} (--likelihood)")
    return kinds


def _asked(likelihood: str) -> tuple[dict[str, str], str]:
    """Return the kinds of columns that a person names, and that of the others."""
    own: dict[str, str] = {}
    others = []
    for part in likelihood.split(","):
        name, equals, kind = part.strip().rpartition("=")
        if kind not in ("auto", *NUMBERS):
            raise ValueError(
                f"likelihood {kind!r}: expected auto, {', '.join(NUMBERS)}, or NAME=KIND with "
                "commas, such as visits=poisson,normal"
            )
        if equals:
            own[name] = kind
        else:
            others.append(kind)
    if len(others) > 1:
        raise ValueError(
            f"likelihoods {', '.join(others)} for all columns; expected one: name the columns of "
            "the others, NAME=KIND"
        )
    return own, others[0] if others else "auto"


def _facts(data: Data, rows: int = 4096) -> Facts:
    """Look through all rows, some at a time."""
    width = data.shape[0]
    low, high = np.full(width, np.inf), np.full(width, -np.inf)
    is_whole = np.ones(width, dtype=bool)
    n, total, squares = np.zeros(width), np.zeros(width), np.zeros(width)
    for start in range(0, len(data), rows):
        part = floats(data.x, slice(start, start + rows)).astype(np.float64)
        low, high = np.fmin(low, np.fmin.reduce(part)), np.fmax(high, np.fmax.reduce(part))
        is_known = ~np.isnan(part)
        is_whole &= ((part == np.rint(part)) | ~is_known).all(0)
        n += is_known.sum(0)
        total += np.nansum(part, 0)
        squares += np.nansum(np.square(part), 0)
    mean = total / np.maximum(n, 1)
    return Facts(low, high, is_whole, mean, squares / np.maximum(n, 1) - np.square(mean))


def _are_log_normal(data: Data, facts: Facts) -> NDArray[np.bool_]:
    """Return which columns are positive and skewed, and their logarithms less than half as much."""
    x = floats(data.x, some(len(data), SEEN)).astype(np.float64)
    found = np.zeros(x.shape[1], dtype=bool)
    for k in np.flatnonzero((facts.low > 0) & ~facts.is_whole):
        held = x[~np.isnan(x[:, k]), k]
        skew, of_logs = _skewness(held), _skewness(np.log(held))
        found[k] = skew > 1 and abs(of_logs) < skew / 2
    return found


def _skewness(x: NDArray[Any]) -> float:
    away = x - x.mean()
    sd = away.std()
    return float((away**3).mean() / sd**3) if sd > 0 else 0.0


def _kind(facts: Facts, skewed: Sequence[bool] | NDArray[np.bool_], k: int) -> str:
    if facts.is_whole[k] and facts.low[k] >= 0:
        if facts.high[k] <= 1:
            return "bernoulli"
        ratio = facts.variance[k] / facts.mean[k]
        if facts.low[k] <= 1 and ratio >= 0.5:
            return "poisson" if ratio <= 1.5 else "negative_binomial"
    return "log_normal" if skewed[k] else "normal"


def _check_numbers(name: str, kind: str, facts: Facts, k: int) -> None:
    """Refuse numbers to which a likelihood gives no density."""
    low, high, is_whole = facts.low[k], facts.high[k], facts.is_whole[k]
    wanted = ""
    if kind in COUNTS and not (is_whole and low >= 0):
        wanted = "whole numbers from 0 on"
    elif kind == "bernoulli" and not (low >= 0 and high <= 1):
        wanted = "numbers in [0, 1]"
    elif kind == "log_normal" and low <= 0:
        wanted = "numbers above 0"
    if wanted:
        parts = "" if is_whole else ", not all of them whole"
        raise ValueError(
            f"{name} goes from {low:g} to {high:g}{parts}, and {kind} is for {wanted}: take "
            f"another likelihood for it (`--likelihood {name}=normal`)"
        )
