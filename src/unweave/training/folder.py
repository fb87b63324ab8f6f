"""A run's folder: opened before training, its log kept in step with the checkpoint, completed."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

from ..models import Model
from ..runs import artifact
from ..runs.files import read_json, read_lines, replacing, sweep
from .settings import check_unchanged

FILES = (
    "model.safetensors",
    "metrics.jsonl",
    "scores.json",
    "evaluation.npz",
    "README.md",
    "report.html",
)
"""A run's files: beside its checkpoints, all that --overwrite removes."""


def create(folder: Path, settings: dict[str, Any], overwrite: bool) -> None:
    """Make the folder of a new run and write its config.json.

    Raises:
        FileExistsError: If the folder holds something, unless that is a run and `overwrite` is set.
    """
    if folder.exists() and (folder.is_file() or any(folder.iterdir())):
        is_run = _is_run(folder)
        if not is_run:
            fix = "it is no unweave run, so it is left alone: choose another --out"
        else:
            fix = (
                "go on with `unweave resume`, replace it with --overwrite, or choose another --out"
            )
        if not (overwrite and is_run):
            raise FileExistsError(f"{folder} already exists and is not empty: {fix}")
        shutil.rmtree(folder / "checkpoints", ignore_errors=True)
        for name in FILES:
            (folder / name).unlink(missing_ok=True)
    folder.mkdir(parents=True, exist_ok=True)
    artifact.write_config(folder, settings)


def reopen(folder: Path, settings: dict[str, Any]) -> None:
    """Open the folder of a run that goes on.

    Raises:
        FileNotFoundError: If it is no run.
        ValueError: If the run is of another version, or has other settings.
    """
    sweep(folder)
    check_unchanged(artifact.read_config(folder), settings, folder)


def keep_history(folder: Path, step: int) -> None:
    """Drop the log's lines that were written after the checkpoint of this step."""
    log = folder / "metrics.jsonl"
    lines = [line for line in read_lines(log) if line["step"] <= step]
    with replacing(log) as draft:
        draft.write_text(as_lines(lines))


def as_lines(lines: list[dict[str, Any]]) -> str:
    """Return lines of the log as text."""
    return "".join(json.dumps(line) + "\n" for line in lines)


def complete(folder: Path, model: Model, seconds: float, epochs: int) -> None:
    """Write the trained model, and how long its training took."""
    config = artifact.read_config(folder)
    config |= {"seconds": round(seconds, 1), "epochs": epochs}
    artifact.save(model.eval(), folder, config)


def _is_run(folder: Path) -> bool:
    """Whether training wrote the folder, in whatever version."""
    try:
        config = read_json(folder / "config.json")
    except (OSError, ValueError):
        return False
    return isinstance(config, dict) and {"format", "unweave", "recipe"} <= config.keys()
