"""The columns of a table side by side: numbers, classes as zeros and ones, dates as days."""

from __future__ import annotations

import hashlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Literal, TypeAlias

import numpy as np
from numpy.typing import NDArray

from unweave.data.identifiers import without_identifiers
from unweave.data.labels import FEW, Say
from unweave.data.prepared import file_of, prepared
from unweave.data.single import single
from unweave.data.store import AT_ONCE, extremes
from unweave.data.tables import Column, Columns

Missing: TypeAlias = Literal["refuse", "mean", "keep"]
"""The fate of missing numbers: an error, the mean of their column, or NaN."""

DATE = re.compile(r"\d{4}-\d\d-\d\d([T ]\d\d:\d\d(:\d\d(\.\d*)?)?)?")
"""A date, or a time without a zone."""

DAY_0 = np.datetime64("2000-01-01")
"""The day from which dates are counted."""

Numbers: TypeAlias = NDArray[np.float64]


def of(
    table: Columns,
    labels: Sequence[str],
    given: Sequence[str],
    categories: Sequence[str],
    missing: Missing,
    say: Say,
) -> tuple[NDArray[np.float32], dict[str, Any]]:
    """Stack the columns that are no labels, and say each decision.

    Args:
        table: The columns.
        labels: Names of columns that are left out as labels, unless they are given, too.
        given: Names of columns that stand last.
        categories: Names of columns whose numbers are classes; those of text always are.
        missing: What becomes of missing numbers.
        say: A function that is told each decision.

    Returns:
        x (n, columns), and how it was prepared: its columns' names, the values of classes, the
        names of dates and given columns, and whether numbers are missing.

    Raises:
        ValueError: If columns hold other text, numbers are missing and refused, or none is left.
        KeyError: If a name is no column's.
    """
    if missing not in ("refuse", "mean", "keep"):
        raise ValueError(f"missing is {missing!r}; expected 'refuse', 'mean' or 'keep'")
    check_names([*given, *categories], table)
    others = {name: table[name] for name in table if name not in labels and name not in given}
    named = {name: table[name] for name in categories if name in others}
    own = {name: others[name] for name in others if name not in named}
    kept = without_identifiers(own, say)
    rest = {name: column for name, column in others.items() if name in kept or name in named}
    rest |= {name: table[name] for name in given}
    how = described(rest, given, say, categories)
    constant = [name for name in rest if _is_constant(rest[name], how["categories"].get(name))]
    rest = {name: column for name, column in rest.items() if name not in constant}
    if not any(name not in given for name in rest):
        n = len(next(iter(table.values())))
        raise ValueError(
            f"no column is left for x of {', '.join(table)}: expected numbers that vary from row "
            f"to row (rows: {n:,}) beside the labels"
        )
    numbers = expanded(rest, how)
    gaps = _gaps(rest)
    if gaps and missing == "refuse":
        raise ValueError(
            f"numbers are missing in {few(gaps)} of {len(next(iter(rest.values()))):,} rows: fill "
            "them, leave these rows or columns out (drop=[…], `--drop NAMES`), keep them as they "
            "are (missing='keep', `--missing keep`), or put the column's mean there "
            "(missing='mean', `--missing mean`)"
        )
    _say_columns(rest, given, how, constant, say)
    if gaps:
        told = "their column's mean" if missing == "mean" else "kept, and left out of likelihoods"
        say(f"missing numbers are {told}: {few(gaps)}")
    fill = [_mean(column) if missing == "mean" else math.nan for column in numbers.values()]
    x = single(_stacked(numbers, fill), list(numbers), gaps=missing == "keep")
    found = {"columns": list(numbers)} | {name: part for name, part in how.items() if part}
    return x, found | ({"missing": True} if gaps and missing == "keep" else {})


def same(table: Columns, before: Mapping[str, Any]) -> NDArray[np.float32]:
    """Stack the columns of other data as they were stacked before.

    Args:
        table: The columns.
        before: How the other data were prepared.

    Raises:
        ValueError: If a column holds text, or numbers are missing that were not before.
        KeyError: If a column is not there.
    """
    classes = before.get("categories", {})
    single_names = [name for name in before["columns"] if name in table]
    names = list(dict.fromkeys([*single_names, *classes]))
    of_classes = [f"{name}={value}" for name, values in classes.items() for value in values]
    check_names([name for name in before["columns"] if name not in of_classes], table)
    check_names(list(classes), table)
    numbers = expanded({name: table[name] for name in names}, before)
    numbers = {name: numbers[name] for name in before["columns"]}
    fill = [math.nan] * len(numbers)  # they stay, and may be refused
    return single(_stacked(numbers, fill), list(numbers), gaps=bool(before.get("missing")))


def blocks(prepared: Mapping[str, Any]) -> list[tuple[str, int]]:
    """Return the columns that a table had, each with how many columns of x it became.

    >>> blocks({"columns": ["age", "sex=f", "sex=m"], "categories": {"sex": ["f", "m"]}})
    [('age', 1), ('sex', 2)]
    """
    of_class: dict[str, tuple[str, int]] = {}
    for name, values in prepared.get("categories", {}).items():
        for value in values:
            of_class[f"{name}={value}"] = (name, len(values))
    found = dict.fromkeys(of_class.get(name, (name, 1)) for name in prepared["columns"])
    return list(found)


def described(
    rest: Columns, given: Sequence[str], say: Say, categories: Sequence[str] = ()
) -> dict[str, Any]:
    """Return the values of columns of classes, and the names of dates and given columns.

    Raises:
        ValueError: If columns hold text of many values.
    """
    classes: dict[str, list[str]] = {}
    dates, many = [], []
    for name, column in rest.items():
        is_text = column.dtype.kind in "UO"
        if is_text and _are_dates(column):
            dates.append(name)
        elif is_text or name in categories:
            classes[name] = _values(column)
            if len(classes[name]) > FEW:
                many.append(f"{name} ({len(classes[name]):,})")
    if many:
        first = [name.partition(" (")[0] for name in many[:3]]
        listed = ",".join(first)
        raise ValueError(
            f"{few(many)} hold text of more than {FEW} values; expected numbers in x, or classes: "
            f"name them as labels, labels={first} (`--labels {listed}`), or leave them out, "
            f"drop={first} (`--drop {listed}`)"
        )
    if dates:
        say(f"dates are days since {DAY_0}: {few(dates)}")
    return {"categories": classes, "dates": dates, "given": list(given)}


def _say_columns(
    rest: Columns, given: Sequence[str], how: Mapping[str, Any], constant: list[str], say: Say
) -> None:
    classes = how["categories"]
    modelled = [name for name in rest if name not in given and name not in classes]
    say(f"x: {len(modelled):,} columns of numbers, {few(modelled)}")
    kinds = [f"{name} ({len(classes[name])})" for name in rest if name in classes]
    if kinds:
        say(f"columns of classes, each of which is a column of zeros and ones: {few(kinds)}")
    if constant:
        say(f"left out of x, as they are constant: {few(constant)}")
    shown = [name for name in given if name in rest]
    if shown:
        say(f"given to the model, which does not model them: {few(shown)}")


def expanded(rest: Columns, how: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return columns of numbers: of classes one for each value, of dates their days.

    Raises:
        ValueError: If a column holds other text.
    """
    found: dict[str, NDArray[Any]] = {}
    for name, column in rest.items():
        if name in how.get("categories", {}):
            found |= indicators(name, column, how["categories"][name])
        elif name in how.get("dates", ()):
            found[name] = days(column)
        elif column.dtype.kind in "UO":
            raise ValueError(f"{name} hold text; expected numbers, as before: mend these columns")
        else:
            found[name] = column
    return found


def indicators(name: str, column: Column, values: Sequence[str]) -> dict[str, Numbers]:
    """Return a column of zeros and ones for each value, NaN where the class is missing or new.

    >>> indicators("sex", np.array(["m", "f", None], dtype=object), ["f", "m"])
    {'sex=f': array([ 0.,  1., nan]), 'sex=m': array([ 1.,  0., nan])}
    """
    words = _words(column)
    is_known = np.isin(words, list(values))
    return {f"{name}={one}": np.where(is_known, words == one, np.nan) for one in values}


def days(column: Column) -> Numbers:
    """Return dates as days since 2000-01-01, NaN where one is missing.

    >>> days(np.array(["2000-01-02", "2000-01-01 12:00:00"])).tolist()
    [1.0, 0.5]
    """
    dates = np.array(["NaT" if one in (None, "") else one for one in column], "datetime64[us]")
    found: Numbers = (dates - DAY_0) / np.timedelta64(1, "D")
    return found


def _are_dates(column: Column) -> bool:
    held = [one for one in column if one not in (None, "")]
    if not held or not all(DATE.fullmatch(str(one)) for one in held):
        return False
    try:
        days(column)
    except ValueError:  # such as the 30th of February
        return False
    return True


def _values(column: Column) -> list[str]:
    words = _words(column)
    return sorted({str(word) for word in words if word != ""})


def _words(column: Column) -> NDArray[np.str_]:
    """Return values as text, "" where one is missing; whole numbers without a point."""
    if column.dtype.kind in "UO":
        return np.array(["" if one is None else str(one) for one in column])
    numbers = column.astype(np.float64)
    return np.array(["" if np.isnan(one) else f"{one:.12g}" for one in numbers])


def _stacked(numbers: Mapping[str, NDArray[Any]], fill: Sequence[float]) -> Numbers:
    """Stack columns, (n, columns), with a number of each column where its numbers are missing.

    Columns that are mapped from files are stacked in a file.
    """
    columns = list(numbers.values())
    first = columns[0]
    shape = (len(first), len(columns))
    at_once = max(1, AT_ONCE // (8 * len(columns)))

    def rows() -> Iterator[Numbers]:
        for start in range(0, len(first), at_once):
            part = [column[start : start + at_once].astype(np.float64) for column in columns]
            yield np.stack(list(map(_filled, part, fill)), axis=1)

    source = file_of(first)
    if source is None:
        return np.concatenate(list(rows()))
    parts = [file_of(column) for column in columns]
    which = hashlib.sha256(repr((parts, list(numbers), fill)).encode())
    return prepared(source, f"rows {which.hexdigest()}", shape, rows, np.float64)


def _gaps(rest: Columns) -> list[str]:
    """List the columns where numbers or classes are missing, each with their count."""
    found = []
    for name, column in rest.items():
        if column.dtype.kind in "UO":
            count = sum(one in (None, "") for one in column)
        else:
            count = int(np.isnan(column).sum())
        if count:
            found.append(f"{name} ({count:,})")
    return found


def _mean(column: NDArray[Any]) -> float:
    """Return the mean of the numbers that are not missing, 0 if all are."""
    held = column[~np.isnan(column)]
    return float(held.mean(dtype=np.float64)) if len(held) else 0.0


def _filled(column: Numbers, fill: float) -> Numbers:
    return np.where(np.isnan(column), fill, column)


def _is_constant(column: Column, values: Sequence[str] | None) -> bool:
    """Return whether the entries that are not missing are all the same."""
    if values is not None:
        return len(values) < 2
    if column.dtype.kind in "UO":  # dates
        return len(set(column)) < 2
    low, high = extremes(column)
    return bool(low == high or np.isnan(low))


def check_names(chosen: Sequence[str], given: Mapping[str, object]) -> None:
    """Refuse names that no column has.

    Raises:
        KeyError: If there is one.
    """
    for name in chosen:
        if name not in given:
            raise KeyError(f"no column {name!r}; there are {few(list(given))}")


def few(names: Sequence[str]) -> str:
    """Return a few of many names, with how many there are in all."""
    first = ", ".join(names[:5])
    return f"{first}, … ({len(names):,} in all)" if len(names) > 5 else first
