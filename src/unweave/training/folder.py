"""A run's folder: opened before training, its log kept in step with the checkpoint, completed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..models import Model
from ..runs import artifact
from ..runs.files import read_lines, replacing, sweep
from ..runs.kinds import claim, holds_something
from .overwrite import begin, finish
from .settings import check_unchanged, differences


def create(folder: Path, settings: dict[str, Any], overwrite: bool) -> Path:
    """Begin a new run with its config.json.

    Returns:
        The folder to train in: one aside where the run replaces another (see `overwrite`).

    Raises:
        FileExistsError: If the folder holds something, unless that is a run and `overwrite` is set.
    """
    finish(folder)
    place = folder
    if holds_something(folder):
        claim(folder, "run")
        if not overwrite:
            raise FileExistsError(
                f"{folder} already exists and is not empty: go on with `unweave resume`, replace "
                "it with --overwrite, or choose another --out"
            )
        place = begin(folder)
    place.mkdir(parents=True, exist_ok=True)
    sweep(place)
    artifact.write_config(place, settings)
    return place


def reopen(folder: Path, settings: dict[str, Any]) -> list[str]:
    """Open the folder of a run that goes on.

    Returns:
        What differs from the machine and the settings that it began with, in sentences.

    Raises:
        FileNotFoundError: If it is no run.
        ValueError: If the run is of another version, has other settings, or has trained for more
            epochs.
    """
    finish(folder)
    config = artifact.read_config(folder)
    check_unchanged(config, settings, folder)
    lines = read_lines(folder / "metrics.jsonl")
    done = lines[-1]["epoch"] if lines else 0
    if done > settings["epochs"]:
        raise ValueError(
            f"{folder} has trained for {done} epochs: expected more, not {settings['epochs']}"
        )
    sweep(folder)
    if config["flags"] != settings["flags"]:  # they may differ in the number of epochs
        longer = {name: settings[name] for name in ("flags", "epochs")}
        artifact.write_config(folder, config | longer)
    return differences(config, settings)


def keep_history(folder: Path, step: int) -> None:
    """Drop the log's lines that were written after the checkpoint of this step."""
    log = folder / "metrics.jsonl"
    lines = [line for line in read_lines(log) if _is_until(line, step)]
    with replacing(log) as draft:
        draft.write_text(as_lines(lines))


def _is_until(line: dict[str, Any], step: int) -> bool:
    """Return true if a line of the log was written by a step; a damaged one was written by none."""
    at = line.get("step")
    return isinstance(at, int) and at <= step


def as_lines(lines: list[dict[str, Any]]) -> str:
    """Return lines of the log as text."""
    return "".join(json.dumps(line) + "\n" for line in lines)


def complete(folder: Path, model: Model, seconds: float, epochs: int) -> None:
    """Write the trained model, and how long its training took."""
    config = artifact.read_config(folder)
    config |= {"seconds": round(seconds, 1), "epochs": epochs}
    artifact.save(model.eval(), folder, config)
