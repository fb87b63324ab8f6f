"""A run that replaces another: it is built aside, and takes the place once it has a checkpoint.

Until then the old run is whole. The exchange can be done again from any point at which it was
killed: a mark in the folder aside says that it has begun.
"""

from __future__ import annotations

import shutil
from contextlib import suppress
from pathlib import Path

from ..runs.files import read_json, write_json
from ..runs.lock import held

FILES = (
    "config.json",
    "model.safetensors",
    "metrics.jsonl",
    "metrics.csv",
    "scores.json",
    "evaluation.npz",
    "evaluation.json",
    "README.md",
    "report.html",
    "names.json",
    "export/encoder.onnx",
    "export/decoder.onnx",
    "export/encoder.pt2",
    "export/decoder.pt2",
)
"""A run's files: beside its checkpoints, all that a new run replaces."""

MARK = "exchange.json"
"""The list of new files, which says that they are to take their places."""


def aside(folder: Path) -> Path:
    """Return the folder in which a run is built that replaces the one in `folder`."""
    return folder.with_name(f".{folder.name}.new")


def begin(folder: Path) -> Path:
    """Return an empty folder aside; what an earlier attempt left there is removed."""
    draft = aside(folder)
    if draft.exists():
        shutil.rmtree(draft)
    draft.mkdir(parents=True)
    return draft


def exchange(folder: Path) -> None:
    """Put the run aside into the folder; files of other names stay.

    Raises:
        OSError: If an old checkpoint cannot be removed, or a new file not be moved.
    """
    draft = aside(folder)
    new = [path.relative_to(draft).as_posix() for path in draft.rglob("*") if path.is_file()]
    write_json(draft / MARK, new)
    finish(folder)


def recover(folder: Path) -> None:
    """Complete an exchange that was killed, unless another process is at it."""
    if (aside(folder) / MARK).exists():
        with suppress(BlockingIOError), held(folder):
            finish(folder)


def finish(folder: Path) -> None:
    """Complete an exchange that has begun; without one, nothing happens."""
    draft = aside(folder)
    if not (draft / MARK).exists():
        return
    new = read_json(draft / MARK)
    checkpoints = folder / "checkpoints"  # it may be a link to another disk
    checkpoints.mkdir(parents=True, exist_ok=True)
    old = [f"checkpoints/{path.name}" for path in checkpoints.iterdir()]
    for name in {*FILES, *old}.difference(new):
        (folder / name).unlink(missing_ok=True)
    for name in new:
        if (draft / name).exists():
            shutil.move(draft / name, folder / name)
    shutil.rmtree(draft)
