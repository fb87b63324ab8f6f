"""The data of a run by their content: what they were, and what has changed since."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np

from ..data import Data
from ..data.store import Bits, parts_of, taken
from .recipe import Recipe

WHOLE = 2**26
"""Bytes of items that are read in full; of more, `SAMPLE` items stand for all."""

SAMPLE = 1024


def described(recipe: Recipe) -> dict[str, Any]:
    """Return what config.json keeps of a recipe's data."""
    data, test = recipe.data, recipe.test
    content = {f"training {part}": digest for part, digest in fingerprint(data).items()}
    if test:
        content |= {f"test {part}": digest for part, digest in fingerprint(test).items()}
    return {
        "name": data.name,
        "n": recipe.n,
        "held_out": recipe.held_out,
        "test": len(test) if test else 0,
        "shape": list(data.shape),
        "content": content,
    }


def fingerprint(data: Data) -> dict[str, str]:
    """Return digests of the items and of the factors; equal data have equal ones.

    All factors are read. Items that take more than `WHOLE` bytes are sampled, `SAMPLE` evenly
    spaced ones with the first and the last among them, so that data mapped from a file stay
    there.

    >>> from unweave.data import digits
    >>> fingerprint(digits())["items"] == fingerprint(digits().subset(range(1436)))["items"]
    False
    """
    x = data.x.packed if isinstance(data.x, Bits) else data.x
    if x.nbytes > WHOLE:
        numbers = np.linspace(0, len(x) - 1, SAMPLE).astype(int)
        x = taken(x, np.unique(numbers))
    words = json.dumps([data.names, data.values])
    return {
        "items": _digest(f"{x.dtype} {data.x.shape}", parts_of(x)),
        "factors": _digest(words, [data.factors]),
    }


def _digest(words: str, parts: Iterable[np.ndarray[Any, Any]]) -> str:
    found = hashlib.sha256(words.encode())
    for part in parts:
        found.update(np.ascontiguousarray(part).data)
    return found.hexdigest()[:16]


def check(config: Mapping[str, Any], data: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run, or to score it, on other data than it was trained on.

    Args:
        config: The run's settings as it began; runs of earlier versions have no digests.
        data: The data as they are now, `described`.
        folder: The run's folder.

    Raises:
        ValueError: If they differ; the message says in what, and which files are newer than the
            run.
    """
    differences = list(_differences(config.get("data", {}), data))
    if not differences:
        return
    text = f"{folder} was trained on other data than there are now: {'; '.join(differences)}"
    newer = _newer_files(config)
    if newer:
        text += f" (changed since it began: {', '.join(newer[:5])}{', …' * (len(newer) > 5)})"
    raise ValueError(f"{text}: bring the data back as they were, or train into another folder")


def _differences(before: Mapping[str, Any], now: Mapping[str, Any]) -> Iterator[str]:
    """Say how data differ; a division into training and held-out items is no difference."""
    for key in ("name", "shape", "test"):
        if before.get(key, now[key]) != now[key]:
            yield f"{key} was {before[key]!r}, is {now[key]!r}"
    items = [
        data.get("n", now["n"]) + data.get("held_out", now["held_out"]) for data in (before, now)
    ]
    if items[0] != items[1]:
        yield f"there were {items[0]:,} items, now {items[1]:,}"
        return
    content = before.get("content", {})
    changed = [part for part, digest in content.items() if now["content"].get(part) != digest]
    if changed:
        yield f"the content of the {' and the '.join(changed)} differs"


def _newer_files(config: Mapping[str, Any]) -> list[str]:
    """List the files of the flags' paths that were written since the run began."""
    began = datetime.fromisoformat(config["started"]).timestamp() + 1  # it is in whole seconds
    found = []
    for name in ("data", "labels", "data_dir"):
        given = config["flags"].get(name)
        path = Path(given) if isinstance(given, str) else Path()
        if path == Path() or not path.exists():
            continue
        files = [path] if path.is_file() else sorted(path.rglob("*"))
        found += [str(file) for file in files if file.is_file() and file.stat().st_mtime > began]
    return found
