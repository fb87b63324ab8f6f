"""Runs side by side: the picture of their codes, and their scores in one table."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from . import plots
from .disk import read_json, replacing


def picture(runs: Sequence[str | Path], out: str | Path) -> Path:
    """Draws the codes of each run in one row, each panel on its own scale, into the picture `out` (png, svg, pdf)."""
    figure = Figure(figsize=(4.2 * len(runs), 4.4), layout="constrained")
    panels = figure.subplots(1, len(runs), squeeze=False)[0]
    for ax, run in zip(panels, map(Path, runs), strict=True):
        config, scores = read_json(run / "config.json"), read_json(run / "scores.json")
        with np.load(run / "evaluation.npz", allow_pickle=False) as arrays:
            kind = str(arrays["embedding_kind"])
            plots.scatter(arrays["embedding"], arrays["embedding_labels"], scores.get("classes"), ax=ax)
            ax.set_title(f"{title(config)}\n{kind}, {len(arrays['embedding']):,} test items")
            if kind == "codes":
                ax.tick_params(left=True, bottom=True, labelleft=True, labelbottom=True)
    with replacing(out) as draft:
        figure.savefig(draft, format=Path(out).suffix.lstrip(".") or "png", dpi=150)
    return Path(out)


def title(config: dict[str, Any]) -> str:
    """What a panel shows: the recipe, its latents, its data."""
    latents = (config.get("model") or {}).get("normals")
    return f"{config['recipe']}, {latents} latents, {config['data']['name']}, seed {config['seed']}"


def table(runs: Sequence[str | Path]) -> list[tuple[str, ...]]:
    """A row a run under a heading row: test scores and exact terms, nats per item, with standard errors."""
    rows = []
    for run in map(Path, runs):
        config, scores = read_json(run / "config.json"), read_json(run / "scores.json")
        cells = {f"test {name}": _pm(*value) for name, value in scores.get("test", {}).items()}
        cells |= {name: _pm(term["exact"], term["se"]) for name, term in scores.get("terms", {}).items()}
        for site, share in scores.get("accuracy", {}).items():
            cells[f"accuracy {site}"] = f"{share:.3f}"
            cells[f"I(x;{site}) discrete"] = f"{scores['discrete_information'][site]:.3f}"
        for unit, total in zip(*_information(scores), strict=True):
            cells[f"I({scores['factor']};{unit})"] = f"{total:.2f}"
        rows.append({"run": run.name, "seconds": f"{config.get('seconds', 0):.0f}", **cells})
    columns = list(dict.fromkeys(name for row in rows for name in row))
    return [tuple(columns), *(tuple(row.get(name, "") for name in columns) for row in rows)]


def _information(scores: dict[str, Any]) -> tuple[list[str], list[float]]:
    found = scores.get("I(y;z)", {"names": [], "total": []})
    return found["names"], found["total"]


def _pm(value: float, error: float) -> str:
    return f"{value:.2f} ± {error:.2f}"
