"""The settings of a run, as its config.json keeps them."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from .. import __version__
from ..aggregate.mixture import minibatch
from ..fused import native
from ..models import Model
from ..objective.objective import Objective
from .trainer import Recipe


def describe(recipe: Recipe, model: Model) -> dict[str, Any]:
    """The settings of a run as JSON: enough to build it again from the command line."""
    objective = (
        recipe.objective if isinstance(recipe.objective, Objective) else recipe.objective_at(0)
    )
    n = len(recipe.data) - recipe.held_out
    try:
        circled = objective.circled()
    except ValueError:
        circled = ""
    return {
        "unweave": __version__,
        "recipe": recipe.name,
        "flags": dict(recipe.flags),
        "model": model.config,
        "parameters": sum(w.numel() for w in model.parameters()),
        "groups": recipe.groups,
        "objective": str(objective)
        + ("" if recipe.objective is objective else " (at the first step)"),
        "circled": circled,
        "estimator": f"{minibatch(n, recipe.weights)!r}, B={recipe.batch}",
        "backend": native.status(),
        "data": {
            "name": recipe.data.name,
            "n": n,
            "held_out": recipe.held_out,
            "test": len(recipe.test) if recipe.test else 0,
            "shape": list(recipe.data.x.shape[1:]),
        },
        "seed": recipe.seed,
        "epochs": recipe.epochs,
        "batch": recipe.batch,
        "lr": recipe.lr if isinstance(recipe.lr, float) else str(recipe.lr),
        "samples": recipe.samples,
        "versions": {
            "python": platform.python_version(),
            **{name: version(name) for name in ("torch", "numpy", "scikit-learn")},
        },
        "threads": torch.get_num_threads(),
        "machine": f"{os.cpu_count()} x {_processor()}, {torch.get_num_threads()} threads",
        "started": datetime.now(UTC).isoformat(timespec="seconds"),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(
            line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")
        )
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
