"""The model card of a run: what the model is, how it was trained, what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runs import measures
from ..runs.command import command
from ..runs.files import replacing
from ..runs.scores import Scores


def write_card(folder: Path, config: Mapping[str, Any], scores: Scores) -> Path:
    """Write README.md of a run and return its path."""
    lines = [*_about(folder, config), *_remarks(scores), *_measured(scores)]
    lines += [
        "",
        "Limits: scores are of this run's seed alone. Traversals, curves and information per "
        "unit: `report.html`.",
        "",
    ]
    with replacing(folder / "README.md") as draft:
        draft.write_text("\n".join(lines), encoding="utf-8")
    return folder / "README.md"


def _about(folder: Path, config: Mapping[str, Any]) -> list[str]:
    """Return the lines that tell what the model is and how it was trained."""
    config = dict.fromkeys(("recipe", "unweave", "objective", "machine"), "unknown") | dict(config)
    data = {"name": "unknown", "n": 0, "held_out": 0} | config.get("data", {})
    objective = config["objective"]
    circled = config.get("circled") or objective
    made_by = f"`{command(config)}`" if config.get("flags") else "a recipe of its author's own"
    own = config.get("model", {}) is None
    loaded = f'"{folder.name}", model=model' if own else f'"{folder.name}"'
    built = ["model = ...  # the model of its author's own, built as for training"] if own else []
    return [
        f"# {config['recipe']}: a model trained by unweave {config['unweave']}",
        "",
        f"Objective (nats, maximised): {circled}, that is `{objective}`.",
        f"Data: {data['name']}, {data['n']:,} items to train on, {data['held_out']:,} held out, "
        f"{data.get('test', 0):,} to test.",
        f"Made by {made_by} in {config.get('seconds') or 0:.0f} s on {config['machine']}.",
        "",
        "```python",
        "import unweave as uw",
        *built,
        f"model = uw.load({loaded})  # reads tensors and JSON, runs nothing from the folder",
        "codes = model.encode(x)  # (n, units)",
        "```",
    ]


def _remarks(scores: Scores) -> list[str]:
    """Return what changes how the numbers are read, a paragraph each."""
    lines = []
    for remark in scores.remarks:
        lines += ["", f"**Note.** {remark}"]
    return lines


def _measured(scores: Scores) -> list[str]:
    """Return the table of what was measured."""
    lines = ["", "| measured | nats per item | how |", "|---|---|---|"]

    def add(name: str, value: str, how: str) -> None:
        lines.append(f"| {name} | {value} | {how} |")

    for measure, (value, error) in measures.test(scores):
        add(
            f"{measure.key} on test items",
            f"{value:.2f} ± {error:.2f}",
            "mean and standard error over the test items",
        )
    for measure, (value, error) in measures.exact(scores):
        add(
            measure.row,
            f"{value:.2f} ± {error:.2f}",
            f"exact q(z) of {scores.exact_n:,} items, averaged over {scores.exact_points:,} of "
            f"them; the minibatch value is {scores.terms[measure.row].minibatch:.2f}",
        )
    for measure, (value, error) in measures.error(scores):
        add(
            measure.name,
            f"{value:.4f} ± {error:.4f} (a share)",
            "items whose most probable class is not their label, test items",
        )
    for measure, (value, _) in measures.accuracy(scores):
        add(
            measure.name,
            f"{value:.3f} (a share)",
            "classes matched to labels one to one, test items",
        )
    return lines
