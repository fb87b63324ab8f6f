"""The settings of a run by their types: config.json is checked here whenever it is read.

Whoever reads it gets the plain dict. Settings of other versions, and those that nobody reads by
type, are left as they are.
"""

from __future__ import annotations

from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import msgspec

from .files import read_json

FILE = "config.json"

Count = Annotated[int, msgspec.Meta(ge=0)]


class DataSettings(msgspec.Struct):
    """The data that a run was trained on."""

    name: str = ""
    n: Count = 0
    held_out: Count = 0
    test: Count = 0
    shape: tuple[Count, ...] = ()
    content: dict[str, str] = {}


class Settings(msgspec.Struct):
    """The settings that some part of the package reads, all of which may be missing."""

    unweave: str = ""
    recipe: str = ""
    flags: dict[str, Any] = {}
    model: dict[str, Any] | None = None
    inputs: dict[str, Any] | None = None
    parameters: Count = 0
    objective: str = ""
    circled: str = ""
    estimator: str = ""
    data: DataSettings = msgspec.field(default_factory=DataSettings)
    seed: int | None = None
    epochs: Count = 0
    batch: Count = 0
    versions: dict[str, str] = {}
    threads: Annotated[int, msgspec.Meta(ge=1, le=1024)] = 1
    machine: str = ""
    cwd: str = "."
    started: datetime | None = None
    device: str = ""
    gather: bool = True
    sha256: dict[str, str] = {}
    seconds: Annotated[float, msgspec.Meta(ge=0, le=1e12)] | None = None


def read(folder: str | Path) -> dict[str, Any]:
    """Return the settings of a run's folder.

    Raises:
        FileNotFoundError: If the folder has none.
        ValueError: If the file is damaged.
    """
    path = Path(folder) / FILE
    return checked(read_json(path), path)


def checked(content: Any, path: Path) -> dict[str, Any]:
    """Return the content of a config.json as it is, if each setting is of its type.

    Raises:
        ValueError: If one is not, with its place in the file, or if they are nested too deeply.
    """
    if _is_deep(content):
        raise ValueError(f"{path} is damaged (nested too deeply): restore it, or train again")
    try:
        msgspec.convert(content, Settings)
    except msgspec.ValidationError as error:
        raise ValueError(
            f"{path} is damaged ({error}): restore it, or train the run again"
        ) from None
    settings: dict[str, Any] = content
    return settings


def _is_deep(content: Any, most: int = 50) -> bool:
    """Return true if lists and mappings stand in one another more than so many times."""
    level = [content]
    for _ in range(most):
        inside: list[Any] = []
        for value in level:
            if isinstance(value, dict):
                inside += value.values()
            elif isinstance(value, list):
                inside += value
        level = inside
    return bool(level)
