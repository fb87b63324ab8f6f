"""Columns that name or count the rows of a table instead of describing them."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

ENOUGH = 20
"""Rows from which on values that all differ are names: fewer may differ by chance."""

IDENTIFIER = re.compile(r"(?:^|[\W_])(?i:id|index|uuid|guid)$|(?<=[a-z])(?:Id|ID)$")
"""Names such as id, patient_id, PatientID and Index."""


def without_identifiers(
    table: dict[str, NDArray[Any]], say: Callable[[str], object]
) -> dict[str, NDArray[Any]]:
    """Leave out the columns that name rows, and say which."""
    found = [name for name, column in table.items() if names_rows(name, column)]
    if found:
        listed = ", ".join(found)
        say(f"left out, as it only names or counts rows: {listed}")
    return {name: column for name, column in table.items() if name not in found}


def names_rows(name: str, column: NDArray[Any]) -> bool:
    """Return whether the values are all different and nothing but names of the rows.

    Text is, and whole numbers that count the rows or are called an identifier are.

    >>> names_rows("patient_id", np.arange(100, 130)), names_rows("age", np.arange(100, 130))
    (True, False)
    """
    if len(column) < ENOUGH:
        return False
    if column.dtype.kind in "UO":
        return all_differ(column)
    if column.dtype.kind != "i" or len(np.unique(column)) < len(column):
        return False
    return counts_rows(column) or IDENTIFIER.search(name) is not None


def all_differ(column: NDArray[Any]) -> bool:
    """Return whether the texts that are not missing, enough of them, are all different."""
    held = [text for text in column if text is not None and text != ""]
    return len(set(held)) == len(held) >= ENOUGH


def counts_rows(column: NDArray[Any]) -> bool:
    """Return whether the numbers are 0, 1, 2, … or 1, 2, 3, …, as of an index saved along.

    >>> counts_rows(np.array([1, 2, 3])), counts_rows(np.array([1, 3, 2]))
    (True, False)
    """
    if column.dtype.kind not in "if" or len(column) <= 2 or column[0] not in (0, 1):
        return False
    return bool(np.all(column - np.arange(len(column)) == column[0]))
