"""What a run says of itself: its settings for config.json, and the model card people read."""

from __future__ import annotations

import os
import platform
import shlex
from collections.abc import Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from . import __version__
from .disk import replacing

if TYPE_CHECKING:
    from .models import Model
    from .train import Recipe


def describe(recipe: Recipe, model: Model) -> dict[str, Any]:
    """The settings of a run as JSON: enough to build it again from the command line."""
    import torch

    from . import native
    from .aggregate import minibatch
    from .objective import Objective

    objective = recipe.objective if isinstance(recipe.objective, Objective) else recipe.objective_at(0)
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
        "objective": str(objective) + ("" if recipe.objective is objective else " (at the first step)"),
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
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()


def command(config: Mapping[str, Any]) -> str | None:
    """The command line that trains the run again; None for a recipe of its author's own."""
    if not config.get("flags"):
        return None
    return shlex.join(["unweave", "train", str(config["recipe"]), *arguments(config["flags"])])


def arguments(flags: Mapping[str, Any]) -> list[str]:
    """A recipe's flags as words of the command line; those that are None are left out.

    >>> arguments({"data_dir": None, "batch_size": 3, "lr": 2.0, "quick": False})
    ['--batch-size', '3', '--lr', '2', '--no-quick']
    """
    words = []
    for name, value in flags.items():
        flag = name.replace("_", "-")
        if isinstance(value, bool):
            words.append(f"--{flag}" if value else f"--no-{flag}")
        elif value is not None:
            words += [f"--{flag}", str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)]
    return words


def write_card(folder: Path, config: Mapping[str, Any], scores: Mapping[str, Any]) -> Path:
    """README.md of a run: what the model is, how it was trained, what was measured and how."""
    data, test = config["data"], scores.get("test", {})
    made_by = f"`{command(config)}`" if config["flags"] else "a recipe of its author's own"
    lines = [
        f"# {config['recipe']}: a model trained by unweave {config['unweave']}",
        "",
        f"Objective (nats, maximised): {config['circled'] or config['objective']}, that is `{config['objective']}`.",
        f"Data: {data['name']}, {data['n']:,} items to train on, {data['held_out']:,} held out, {data['test']:,} to "
        "test.",
        f"Made by {made_by} in {config.get('seconds', 0):.0f} s on {config['machine']}.",
        "",
        "```python",
        "import unweave as uw",
        f'model = uw.load("{folder.name}")  # reads tensors and JSON, runs nothing from the folder',
        "codes = model.encode(x)  # (n, units)",
        "```",
        "",
        "| measured | nats per item | how |",
        "|---|---|---|",
    ]
    for name, (value, error) in test.items():
        lines.append(
            f"| {name} on test items | {value:.2f} ± {error:.2f} | mean and standard error over the test items |"
        )
    for name, term in scores.get("terms", {}).items():
        lines.append(
            f"| {name} | {term['exact']:.2f} ± {term['se']:.2f} | exact q(z) of {scores['exact_n']:,} items, averaged "
            f"over {scores['exact_points']:,} of them; the minibatch value is {term['minibatch']:.2f} |"
        )
    for site, (value, error) in scores.get("error", {}).items():
        lines.append(
            f"| error of {site} | {value:.4f} ± {error:.4f} (a share) | items whose most probable class is not their "
            "label, test items |"
        )
    for site, value in scores.get("accuracy", {}).items():
        lines.append(
            f"| accuracy of {site} | {value:.3f} (a share) | classes matched to labels one to one, test items |"
        )
    lines += [
        "",
        "Limits: scores are of this run's seed alone. Traversals, curves and information per unit: `report.html`.",
        "",
    ]
    with replacing(folder / "README.md") as draft:
        draft.write_text("\n".join(lines), encoding="utf-8")
    return folder / "README.md"
