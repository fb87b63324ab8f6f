"""The model card of a run: what the model is, how it was trained, what was measured.

It begins with the data that a hub of models reads: with the weights as safetensors and config.json,
the folder is one that `hf upload NAME RUN` takes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runs import measures
from ..runs.command import command
from ..runs.files import replacing
from ..runs.scores import Mean, Real, Scores

FRONT = (
    "---",
    "library_name: unweave",
    "license: unknown  # name that of your model and data before you publish them",
    "tags:",
    "- unweave",
    "- representation-learning",
    "- disentanglement",
    "- variational-autoencoder",
    "---",
    "",
)
"""The data of a card as a hub of models reads them."""


def write_card(folder: Path, config: Mapping[str, Any], scores: Scores) -> Path:
    """Write README.md of a run and return its path."""
    lines = [*FRONT, *_about(folder, config), *_remarks(scores), *_measured(scores)]
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

    def add(name: str, mean: Mean, how: str, places: int = 2, share: str = "") -> None:
        error = "" if mean.error is None else f" ± {mean.error:.{places}f}"
        lines.append(f"| {name} | {mean.value:.{places}f}{error}{share} | {how} |")

    for measure, mean in measures.test(scores):
        add(f"{measure.key} on test items", mean, "mean and standard error over the test items")
    for measure, mean in measures.exact(scores):
        add(measure.row, mean, _exactly(scores, scores.terms[measure.row].minibatch))
    for measure, mean in measures.error(scores):
        how = "items whose most probable class is not their label, test items"
        add(measure.name, mean, how, 4, " (a share)")
    for measure, mean in measures.accuracy(scores):
        how = "classes matched to labels one to one, test items"
        add(measure.name, mean, how, 3, " (a share)")
    return lines


def _exactly(scores: Scores, minibatch: Real | None) -> str:
    """Tell how an exact term was measured, as far as its run says so."""
    how = "exact q(z)"
    if scores.exact_n is not None:
        how += f" of {scores.exact_n:,} items"
    if scores.exact_points is not None:
        of_them = "items" if scores.exact_n is None else "of them"
        how += f", averaged over {scores.exact_points:,} {of_them}"
    if minibatch is not None:
        how += f"; the minibatch value is {minibatch:.2f}"
    return how
