"""The settings of a run, as its config.json keeps them."""

from __future__ import annotations

import json
import os
import platform
import secrets
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..fused import native
from ..models import Model
from ..objective.objective import Objective
from ..ranks import world
from ..runs.command import HOW
from . import content
from .recipe import Recipe

FIXED = (
    "recipe",
    "flags",
    "data",
    "model",
    "groups",
    "objective",
    "estimator",
    "seed",
    "batch",
    "lr",
)
"""Settings that must not change between a run and its resumption; it may be given more epochs."""

STEPS = ("optimizer", "clip", "schedule", "warmup")
"""Settings that must not change either, and which earlier versions did not have."""


def describe(recipe: Recipe, model: Model, device: torch.device) -> dict[str, Any]:
    """Return the settings of a run as JSON: enough to build it again from the command line."""
    objective, when = recipe.objective, ""
    if not isinstance(objective, Objective):
        objective, when = recipe.objective_at(0), " (at the first step)"
    settings = {
        "unweave": __version__,
        "id": secrets.token_hex(8),
        "recipe": recipe.name,
        "flags": dict(recipe.flags),
        "model": model.config,
        "parameters": sum(w.numel() for w in model.parameters()),
        "groups": recipe.groups,
        "objective": f"{objective}{when}",
        "circled": _circled(objective),
        "estimator": recipe.estimator,
        "backend": native.status(),
        "data": content.described(recipe),
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "lr": recipe.lr if isinstance(recipe.lr, float) else str(recipe.lr),
        "samples": recipe.samples,
        "versions": _versions(),
        "threads": torch.get_num_threads(),
        "machine": f"{os.cpu_count()} x {_processor()}, {torch.get_num_threads()} threads",
        "cwd": str(Path.cwd()),
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
        "device": str(device),
        "ranks": world()[1],
        **{name: getattr(recipe, name) for name in HOW},
    }
    plain: dict[str, Any] = json.loads(json.dumps(settings))
    return plain


def check_unchanged(config: Mapping[str, Any], settings: Mapping[str, Any], folder: Path) -> None:
    """Refuse to go on with a run by other settings than it began with.

    Args:
        config: The run's settings as it began.
        settings: Those that it would go on with.
        folder: The run's folder.

    Raises:
        ValueError: If one of `FIXED` differs.
    """
    before = {**HOW, **config}
    for key in (*FIXED, *STEPS):
        if key == "data":
            content.check(config, settings[key], folder)
        elif _but_epochs(before.get(key)) != _but_epochs(settings[key]):
            raise ValueError(
                f"{folder} was trained with {key} = {before.get(key)!r}, not {settings[key]!r}: "
                f"resume it as it was, or train into another folder, --from {folder}"
            )


def _but_epochs(value: Any) -> Any:
    """Return flags without the number of epochs, and other settings as they are."""
    if not isinstance(value, Mapping):
        return value
    return {name: held for name, held in value.items() if name != "epochs"}


def differences(config: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """Say in what the machine and the libraries differ from those that a run began with.

    Training goes on from the same weights; but its sums may be rounded otherwise, so its bits may
    differ from those of a run that was never stopped.

    Args:
        config: The run's settings as it began.
        settings: Those that it goes on with.
    """
    keys = ("unweave", "backend", "device", "machine")
    before = {key: config.get(key) for key in keys} | config.get("versions", {})
    now = {key: settings[key] for key in keys} | settings["versions"]
    found = []
    for key, value in now.items():
        if before.get(key) not in (None, value):
            found += [f"{key} was {before[key]}, is {value}"]
    if found:
        found += ["from here on bits may differ from those of a run without the stop"]
    return found


def _circled(objective: Objective) -> str:
    """Return the objective in circled terms; empty if it has none."""
    try:
        return objective.circled()
    except ValueError:
        return ""


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("torch", "numpy", "scikit-learn")}
    return {"python": platform.python_version(), **libraries}


def _processor() -> str:
    """Return the processor's name."""
    cpuinfo = Path("/proc/cpuinfo")
    try:
        lines = cpuinfo.read_text().splitlines()
    except OSError:
        lines = []
    for line in lines:
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
