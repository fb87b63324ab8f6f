"""Delimited text as Arrow tables, in the encodings and with the marks that files have."""

from __future__ import annotations

import codecs
import csv
import io
import itertools
from pathlib import Path
from typing import Any

from unweave.data.labels import Say

DELIMITERS = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}

MISSING = ("?", "-", "--", "–", "—", ".", "..", "None", "none")
"""Words for a missing number, beside those that Arrow knows; among text they are text."""

HEAD = 2**16
"""Letters at a file's start that its delimiter is found in."""


def read(path: Path, say: Say) -> Any:
    """Read a file of delimited text as an Arrow table.

    Args:
        path: The file. It is UTF-8, UTF-16 with its mark at the start, or else cp1252. Its fields
            lie between commas, semicolons, tabs or bars. Blanks beside these do not count.
        say: A function that is told what is unusual about the file.

    Returns:
        The table. A column of numbers may have decimal commas, unless commas delimit the fields,
        and may hold words of `MISSING`.

    Raises:
        ValueError: If rows have different lengths, the first line holds no names, or the text has
            another encoding.
    """
    text = _decoded(path, say)
    if "\0" in text:
        raise ValueError(f"{path}: no text, as it has zero bytes: save the table as UTF-8")
    usual = "\t" if path.suffix.lower() == ".tsv" else ","
    if text.startswith("sep="):  # a line of Excel's that names the delimiter
        text = text.partition("\n")[2]
    try:
        delimiter = _delimiter(text, usual)
        tidy = _without_blanks(text, delimiter)
    except csv.Error as error:
        raise ValueError(f"{path}: {error}: is a quotation mark left open?") from None
    if delimiter != usual:
        say(f"{path.name} is delimited by {DELIMITERS[delimiter]}")
    table = _typed(tidy, delimiter, path, say)
    table = table.rename_columns([name.strip() for name in table.column_names])
    _check_first_line(table.column_names, path)
    return table


def _decoded(path: Path, say: Say) -> str:
    content = path.read_bytes()
    if content.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        encoding = "utf-16"
    else:
        try:
            return content.decode("utf-8-sig")
        except UnicodeDecodeError:
            encoding = "cp1252"
    try:
        text = content.decode(encoding)
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path}: text is neither UTF-8 nor {encoding} ({error.reason} at byte {error.start:,})"
            ": save it as UTF-8"
        ) from None
    say(f"{path.name} is no UTF-8 and is read as {encoding}")
    return text


def _delimiter(text: str, usual: str) -> str:
    """Return the mark that cuts the first rows into the most fields, as many in each.

    Where none does, it is the usual one, or one that is in the first line.
    """
    head = text[:HEAD] if len(text) <= HEAD else text[:HEAD].rpartition("\n")[0]
    found, most = "", 1
    for mark in (usual, *DELIMITERS):
        lines = io.StringIO(head, newline=None)
        rows = itertools.islice(csv.reader(lines, delimiter=mark), 20)
        widths = {len(row) for row in rows if row}
        if len(widths) == 1 and max(widths) > most:
            found, most = mark, max(widths)
    first = head.partition("\n")[0]
    return found or next((mark for mark in (usual, *DELIMITERS) if mark in first), usual)


def _without_blanks(text: str, delimiter: str) -> str:
    """Drop blanks around fields, which hide quotes and make classes of their own."""
    beside = (f"{delimiter} ", f" {delimiter}", "\n ", " \n", " \r")
    if not text.startswith(" ") and not any(blank in text for blank in beside):
        return text
    written = io.StringIO()
    rows = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter, skipinitialspace=True)
    writer = csv.writer(written, delimiter=delimiter)
    for row in rows:
        writer.writerow([field.strip() for field in row])
    return written.getvalue()


def _typed(text: str, delimiter: str, path: Path, say: Say) -> Any:
    """Read numbers where a column has them alone, or beside words of `MISSING`."""
    content = text.encode()
    numbers, decimal = _parsed(content, delimiter, ".", MISSING, path), "."
    if delimiter != ",":
        commas = _parsed(content, delimiter, ",", MISSING, path)
        changed = sorted(_texts(numbers) - _texts(commas))
        if changed and len(_texts(commas)) <= len(_texts(numbers)):
            listed = ", ".join(commas.column_names[k] for k in changed)
            say(f"{path.name} has decimal commas, which are read as points: {listed}")
            numbers, decimal = commas, ","
    table = _parsed(content, delimiter, decimal, (), path)
    for k in sorted(_texts(table) - _texts(numbers)):
        name, words = table.column_names[k], table.column(k)
        column = numbers.column(k)
        used = [repr(word) for word in MISSING if word in words.unique().to_pylist()]
        count = column.null_count - words.null_count
        if count < len(table):  # a column of such words alone stays text
            say(
                f"{name}: {' and '.join(used)} {'are' if len(used) > 1 else 'is'} read as missing, "
                f"in {count:,} of {len(table):,} rows"
            )
            table = table.set_column(k, name, column)
    return table


def _parsed(
    content: bytes, delimiter: str, decimal: str, missing: tuple[str, ...], path: Path
) -> Any:
    import pyarrow
    from pyarrow import csv as arrow_csv

    # one block, so that a column's type depends on all of its rows
    whole = min(len(content) + 1, 2**31 - 1)
    known = arrow_csv.ConvertOptions().null_values
    try:
        return arrow_csv.read_csv(
            pyarrow.BufferReader(content),
            arrow_csv.ReadOptions(block_size=whole),
            arrow_csv.ParseOptions(delimiter=delimiter),
            arrow_csv.ConvertOptions(
                strings_can_be_null=True, decimal_point=decimal, null_values=[*known, *missing]
            ),
        )
    except pyarrow.ArrowInvalid as error:
        raise ValueError(
            f"{path}: {error}; expected a line of column names, and lines with as many fields: "
            "mend that line, or quote text that holds a delimiter"
        ) from None


def _texts(table: Any) -> set[int]:
    """Return the numbers of the columns of text."""
    from pyarrow import types

    return {k for k, kind in enumerate(table.schema.types) if types.is_string(kind)}


def _check_first_line(names: list[str], path: Path) -> None:
    from_0 = [str(k) for k in range(len(names))]
    from_1 = [str(k + 1) for k in range(len(names))]
    if all(map(_is_number, names)) and names not in (from_0, from_1):
        raise ValueError(
            f"{path}: the first line has numbers, {', '.join(names[:3])}, …; expected the columns' "
            f"names: put a line of names before it, such as {','.join(from_0[:3])},…"
        )


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
