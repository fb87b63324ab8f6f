"""The seal of an evaluation: the parts that it has, what they depend on, checksums of the files.

evaluation.json is written last, so a run that fits its seal is whole.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Any

import msgspec

from .files import read_json, write_json

FILE = "evaluation.json"

FILES = ("config.json", "metrics.jsonl", "scores.json", "evaluation.npz")
"""The files that have checksums: a page is made from them, and from names that people give."""

UNFINISHED = "everything after it"
"""The part that is missing of an evaluation that was stopped."""


class Part(msgspec.Struct, frozen=True):
    """A part of an evaluation, by the names of what it gave."""

    scores: tuple[str, ...] = ()
    arrays: tuple[str, ...] = ()


class Seal(msgspec.Struct, frozen=True):
    """The content of evaluation.json."""

    depends_on: dict[str, Any]  # digests and settings: with others, all is measured anew
    parts: dict[str, Part]  # those that were measured
    missing: tuple[str, ...] = msgspec.field(name="failed")  # those, or what was not come to
    sha256: dict[str, str]  # of `FILES`
    digest: str  # of all this


def read(folder: str | Path) -> Seal | None:
    """Return the seal of a run, None if there is none: earlier versions wrote none, or others.

    Raises:
        ValueError: If the seal is damaged.
    """
    path = Path(folder) / FILE
    if not path.is_file():
        return None
    try:
        content = read_json(path)
        if isinstance(content, dict) and "missing" in content:  # as earlier versions named it
            return None
        seal = msgspec.convert(content, Seal)
        if seal.digest != _digest_of(seal):
            raise ValueError("it is not as it was written")
    except ValueError as error:  # of JSON and of its types, too
        raise ValueError(
            f"{path} is damaged ({error}): `unweave evaluate {folder}` makes it anew"
        ) from None
    return seal


def write(
    folder: str | Path,
    depends_on: Mapping[str, Any],
    parts: Mapping[str, Part],
    missing: Sequence[str],
) -> None:
    """Seal the files of a run as they are now."""
    held = [Path(folder) / name for name in FILES]
    digests = {path.name: _digest(path) for path in held if path.is_file()}
    seal = Seal(dict(depends_on), dict(parts), tuple(missing), digests, digest="")
    whole = msgspec.structs.replace(seal, digest=_digest_of(seal))
    write_json(Path(folder) / FILE, msgspec.to_builtins(whole))


def check(folder: str | Path, *names: str) -> None:
    """Refuse files, by default all of `FILES`, that are not as the seal says.

    Raises:
        ValueError: If one differs, or the seal is damaged.
    """
    folder = Path(folder)
    seal = read(folder)
    if seal is None:
        return
    changed = [name for name in names or FILES if _differs(folder / name, seal)]
    if changed:
        raise ValueError(
            f"{', '.join(changed)} in {folder}: damaged, or changed since the run was evaluated; "
            f"`unweave evaluate {folder}` measures it again"
        )


def is_whole(folder: str | Path) -> bool:
    """Return true if all parts were measured, and the files are as they were written."""
    held = [Path(folder) / name for name in (FILE, *FILES)]
    stats = [path.stat() for path in held if path.is_file()]
    return _is_whole(Path(folder), tuple((at.st_mtime_ns, at.st_size, at.st_ino) for at in stats))


@lru_cache(4096)  # a study asks for the state of each run again and again
def _is_whole(folder: Path, stamps: tuple[tuple[int, ...], ...]) -> bool:
    try:
        seal = read(folder)
        check(folder)
        if seal is not None:
            return not seal.missing
        scores = read_json(folder / "scores.json")  # of an earlier version
    except (OSError, ValueError):
        return False
    return isinstance(scores, dict) and UNFINISHED not in scores.get("skipped", {})


def _differs(path: Path, seal: Seal) -> bool:
    """Return true if a file that is there is not as it was sealed."""
    return path.is_file() and seal.sha256.get(path.name) != _digest(path)


def _digest_of(seal: Seal) -> str:
    """Return the sha256 of a seal, but for its own digest."""
    content = msgspec.to_builtins(msgspec.structs.replace(seal, digest=""))
    return sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _digest(path: Path) -> str:
    return sha256(path.read_bytes()).hexdigest()
