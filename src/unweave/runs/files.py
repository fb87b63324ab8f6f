"""Files that are whole or absent: written beside their place, flushed to disk, then moved there."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any


@contextmanager
def replacing(path: str | Path) -> Iterator[Path]:
    """Yield a temporary path that becomes `path`, atomically, if no error is raised meanwhile."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        yield draft
        with open(draft, "r+b") as file:  # Windows flushes only what may be written
            os.fsync(file.fileno())
        os.replace(draft, path)
    except OSError as error:
        raise OSError(
            error.errno,
            f"could not write {path}: {error.strerror or error}; what was there is untouched",
        ) from error
    finally:
        draft.unlink(missing_ok=True)


def append(path: str | Path, text: str) -> None:
    """Append text to a file and flush it to disk, so that a crash can cut off its end alone."""
    try:
        with open(path, "a", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise OSError(error.errno, f"could not write {path}: {error.strerror}") from error


def sweep(folder: str | Path) -> None:
    """Remove drafts that a killed process left."""
    for draft in Path(folder).rglob(".*.part"):
        draft.unlink(missing_ok=True)


def write_json(path: str | Path, content: Any) -> None:
    """Write content as a JSON file."""
    text = json.dumps(content, indent=2, ensure_ascii=False) + "\n"
    with replacing(path) as draft:
        draft.write_text(text, encoding="utf-8")


def read_json(path: str | Path) -> Any:
    """Return the content of a JSON file of a run.

    Raises:
        FileNotFoundError: If it is missing.
        ValueError: If it is damaged.
    """
    path = Path(path)
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise FileNotFoundError(
            f"{path} is missing: {path.parent} is no unweave run, or its run did not finish"
        ) from None
    except (ValueError, RecursionError) as error:
        raise ValueError(
            f"{path} is damaged, no JSON ({error}): restore it, or train the run again"
        ) from None


def read_lines(path: str | Path) -> list[dict[str, Any]]:
    """Return the objects of a file of JSON lines, none if there is no file.

    A line that a crash cut off is left out.
    """
    path = Path(path)
    if not path.exists():
        return []
    lines = []
    for line in path.read_text(encoding="utf-8", errors="replace").splitlines():
        with suppress(ValueError, RecursionError):
            content = json.loads(line)
            if isinstance(content, dict):
                lines.append(content)
    return lines
