"""Names that people give to files, matched with the files' paths."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


def _without_ending(path: str) -> str:
    from PIL import Image

    start, dot, ending = path.rpartition(".")
    return start if dot and f".{ending.lower()}" in Image.registered_extensions() else path


def _loosely(path: str) -> str:
    """Drop blanks around parts and zeros before numbers, and tell no capitals apart."""
    parts = [part.strip() for part in unicodedata.normalize("NFC", path).casefold().split("/")]
    return re.sub(r"(?<!\d)0+(?=\d)", "", "/".join(parts))


READINGS: dict[str, Callable[[str], str]] = {
    "as written": lambda path: path,
    "without ending": _without_ending,
    "but for capitals, blanks and zeros": _loosely,
    "without ending, but for capitals, blanks and zeros": lambda path: _loosely(
        _without_ending(path.strip())
    ),
}
"""The ways to read a name, the closest first."""


@dataclass
class Matches:
    """The rows of a column that name files.

    Attributes:
        row: (files,) the row that names each file, −1 where none does.
        readings: How many names were read in each of the ways.
        unknown: The names that name no file.
        several: The names that name several files.
        twice: The names of files that another row had named before.
    """

    row: NDArray[np.int64]
    readings: Counter[str] = field(default_factory=Counter)
    unknown: list[str] = field(default_factory=list)
    several: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of files that are named."""
        return int((self.row >= 0).sum())


def match(column: NDArray[Any], files: Sequence[str]) -> Matches:
    """Find the file that each row names.

    A name and a file's path fit if one is the end of the other, folder by folder. They are compared
    as written first, then without ending, then but for capitals, blanks and zeros before numbers.

    Args:
        column: Names as text, or as whole numbers; None and NaN are none.
        files: Paths, with "/" between folders.

    >>> match(np.array([7, 12]), ["old/012.png", "old/007.png"]).row.tolist()
    [1, 0]
    """
    indices = {how: _Index([read(file) for file in files]) for how, read in READINGS.items()}
    found = Matches(np.full(len(files), -1))
    for row, name in enumerate(_words(column)):
        if not name:
            continue
        are_several = False
        for how, read in READINGS.items():
            fitting = indices[how].fitting(read(name))
            are_several |= len(fitting) > 1
            if len(fitting) != 1:
                continue
            (file,) = fitting
            found.readings[how] += 1
            if found.row[file] >= 0:
                found.twice.append(name)
            found.row[file] = row
            break
        else:
            (found.several if are_several else found.unknown).append(name)
    return found


class _Index:
    """Files by their paths, and by all ends of their paths."""

    def __init__(self, paths: Sequence[str]) -> None:
        self.whole: dict[str, set[int]] = defaultdict(set)
        self.ends: dict[str, set[int]] = defaultdict(set)
        for k, path in enumerate(paths):
            self.whole[path].add(k)
            for end in _ends(path):
                self.ends[end].add(k)

    def fitting(self, name: str) -> set[int]:
        """Return the files whose paths end with the name, or are the longest end of it."""
        if name in self.ends:
            return self.ends[name]
        for end in _ends(name):
            if end in self.whole:
                return self.whole[end]
        return set()


def _ends(path: str) -> Iterator[str]:
    """Yield a path, then the path without its first folder, and so on.

    >>> list(_ends("old/cats/1.png"))
    ['old/cats/1.png', 'cats/1.png', '1.png']
    """
    while path:
        yield path
        path = path.partition("/")[2]


def _words(column: NDArray[Any]) -> Iterator[str]:
    for value in column.tolist():
        if value is None or value != value:  # NaN differs from itself
            yield ""
        elif isinstance(value, float) and value.is_integer():
            yield str(int(value))
        else:
            yield str(value).replace("\\", "/").removeprefix("./")
