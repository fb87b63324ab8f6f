"""The kind of a folder: a run, a study or a score card; each command writes into its own alone."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from .files import read_json

Kind = Literal["run", "study", "score card"]

LOCK = ".lock"
"""The file in a run's folder that the process which works on it holds."""

OWNER = ".lock.json"
"""The file that names this process."""


def kind_of(folder: str | Path) -> Kind | None:
    """Return the kind of a folder by its files, None if it is none of ours or empty."""
    folder = Path(folder)
    if (folder / "study.json").is_file():
        return "study"
    if is_run(folder):
        return "run"
    has_scores = (folder / "score.html").is_file() or (folder / "scores.json").is_file()
    return "score card" if has_scores else None


def is_run(folder: Path) -> bool:
    """Return true if training wrote the folder, in whatever version."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and {"format", "unweave", "recipe"} <= config.keys()


def holds_something(folder: Path) -> bool:
    """Return true if there is more than drafts and a lock, which killed processes leave."""
    if not folder.is_dir():
        return folder.exists()
    return any(not is_left_over(path) for path in folder.iterdir())


def is_left_over(path: Path) -> bool:
    """Return true if a file is a lock, or a draft that `files.replacing` makes."""
    is_draft = path.name.startswith(".") and path.name.endswith(".part")
    return is_draft or path.name in (LOCK, OWNER)


def claim(folder: str | Path, kind: Kind) -> None:
    """Refuse a folder that holds something else than a command writes.

    Raises:
        FileExistsError: If the folder holds something of another kind.
    """
    folder = Path(folder)
    held = kind_of(folder)
    if held == kind or not holds_something(folder):
        return
    what = f"a {held}" if held else "files that are no unweave " + kind
    raise FileExistsError(f"{folder} holds {what}, which is left alone: choose another --out")
