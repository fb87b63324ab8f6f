"""The lock of a run: one process works on a folder at a time.

The system frees the lock when the process ends, however it ends.
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from .files import read_json, write_json
from .kinds import LOCK, OWNER, holds_something, is_run


@contextmanager
def held(folder: Path) -> Iterator[None]:
    """Hold a run's folder while the context lasts; a folder of others is not touched.

    Raises:
        BlockingIOError: If another process holds it; the message names the process.
    """
    if holds_something(folder) and not is_run(folder):
        yield
        return
    folder.mkdir(parents=True, exist_ok=True)
    try:
        with FileLock(folder / LOCK, timeout=0):
            now = datetime.now(UTC).isoformat(timespec="seconds")
            owner = {"process": os.getpid(), "machine": platform.node(), "since": now}
            write_json(folder / OWNER, owner)
            try:
                yield
            finally:
                (folder / OWNER).unlink(missing_ok=True)
    except Timeout:
        raise BlockingIOError(
            f"{folder} is being worked on by {_owner(folder)}: wait for it, stop it, or choose "
            "another --out"
        ) from None


def _owner(folder: Path) -> str:
    """Name the process that holds a folder, as well as it is known."""
    with suppress(OSError, ValueError, KeyError, TypeError):
        owner = read_json(folder / OWNER)
        return f"process {owner['process']} of {owner['machine']}, since {owner['since']}"
    return "another process"
