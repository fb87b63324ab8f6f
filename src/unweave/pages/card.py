"""The model card of a run: what the model is, how it was trained, what was measured."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..runs.command import command
from ..runs.files import replacing


def write_card(folder: Path, config: Mapping[str, Any], scores: Mapping[str, Any]) -> Path:
    """README.md of a run: what the model is, how it was trained, what was measured and how."""
    data, test = config["data"], scores.get("test", {})
    made_by = f"`{command(config)}`" if config["flags"] else "a recipe of its author's own"
    lines = [
        f"# {config['recipe']}: a model trained by unweave {config['unweave']}",
        "",
        f"Objective (nats, maximised): {config['circled'] or config['objective']}, that is "
        f"`{config['objective']}`.",
        f"Data: {data['name']}, {data['n']:,} items to train on, {data['held_out']:,} held out, "
        f"{data.get('test', 0):,} to test.",
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
            f"| {name} on test items | {value:.2f} ± {error:.2f} | mean and standard error over "
            "the test items |"
        )
    for name, term in scores.get("terms", {}).items():
        lines.append(
            f"| {name} | {term['exact']:.2f} ± {term['se']:.2f} | exact q(z) of "
            f"{scores['exact_n']:,} items, averaged over {scores['exact_points']:,} of them; the "
            f"minibatch value is {term['minibatch']:.2f} |"
        )
    for site, (value, error) in scores.get("error", {}).items():
        lines.append(
            f"| error of {site} | {value:.4f} ± {error:.4f} (a share) | items whose most probable "
            "class is not their label, test items |"
        )
    for site, value in scores.get("accuracy", {}).items():
        lines.append(
            f"| accuracy of {site} | {value:.3f} (a share) | classes matched to labels one to one, "
            "test items |"
        )
    lines += [
        "",
        "Limits: scores are of this run's seed alone. Traversals, curves and information per "
        "unit: `report.html`.",
        "",
    ]
    with replacing(folder / "README.md") as draft:
        draft.write_text("\n".join(lines), encoding="utf-8")
    return folder / "README.md"
