"""The names that people give to a run's units: names.json in its folder."""

from __future__ import annotations

from pathlib import Path

import msgspec

from .files import read_json, write_json

FILE = "names.json"

LOCK = ".names.lock"
"""The file that a process holds while it changes the names."""

LONGEST_NAME = 80
"""Letters of a unit's name."""

LONGEST_NOTE = 2000
"""Letters of the note beside a unit."""


class Named(msgspec.Struct, frozen=True):
    """A unit's name, such as "slant", and a note."""

    name: str
    note: str = ""


def read(folder: str | Path) -> dict[str, Named]:
    """Return the names and notes by unit, none if none is kept.

    Raises:
        ValueError: If the file is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    try:
        return msgspec.convert(read_json(path), dict[str, Named])
    except msgspec.ValidationError as error:
        raise ValueError(f"{path} is damaged ({error}): restore it, or remove it") from None


def keep(folder: str | Path, unit: str, name: str, note: str = "") -> dict[str, Named]:
    """Keep a unit's name and note, and return all; an empty name and note forget them.

    One process at a time changes the file, so that two explorers of a run lose no name.

    Raises:
        ValueError: If a text is too long.
        TimeoutError: If another process has held the file's lock for 10 seconds.
    """
    if len(name) > LONGEST_NAME or len(note) > LONGEST_NOTE:
        raise ValueError(
            f"a name of {len(name)} and a note of {len(note)} letters: expected at most "
            f"{LONGEST_NAME} and {LONGEST_NOTE}"
        )
    from filelock import FileLock  # of an extra, which those who only read do without

    path = Path(folder) / FILE
    with FileLock(path.with_name(LOCK), timeout=10):
        known = read(folder)
        known.pop(unit, None)
        if name or note:
            known[unit] = Named(name, note)
        write_json(path, msgspec.to_builtins(known))
    return known
