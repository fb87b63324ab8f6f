"""The study `generalisation` in one process: training and findings alone, without runs and pages.

    python scripts/generalisation.py --out runs/generalisation --picture generalisation.png

A run that was measured is not measured again. Tables have means over seeds with half the width of
Student's 95 % interval; the last column is the difference of a method's ratio from the program's on
the same seeds. The picture has left-out images above what the first seed's models draw of them.
"""

from __future__ import annotations

import argparse
import json
import math
import time
from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from matplotlib.figure import Figure

from unweave import plots, recipes
from unweave.models.model import seeded
from unweave.runs.files import replacing
from unweave.runs.findings import Finding, Number, Picture, packed, unpacked
from unweave.studies.grid import Job, read
from unweave.studies.results import text
from unweave.studies.statistics import Estimate, estimate, paired
from unweave.training.trainer import trained

RATIO = 2
"""The place of the ratio of errors among the numbers of a run."""

HEADS = ("error, seen", "left out", "ratio", "read, seen", "left out", "drawn, seen", "left out")


def main() -> None:
    """Measure what is not yet measured, seed by seed, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seeds", type=int, help="seeds 0, 1, … instead of the study's")
    parser.add_argument("--out", type=Path, default=Path("runs/generalisation"))
    parser.add_argument("--source", default="procedural", help="procedural or rerendered sprites")
    parser.add_argument("--only", help="one method of the study, such as program")
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    study = read("generalisation", seeds=options.seeds, flags={"source": options.source})
    torch.set_num_threads(1)
    by_split: dict[str, list[Job]] = defaultdict(list)
    for job in study.jobs():
        if options.only not in (None, job.method.partition(",")[0]):
            continue
        if not (options.out / f"{job.key}.json").is_file():
            measure(job, options.out)
        by_split[job.flags["split"]].append(job)
    for split, jobs in by_split.items():
        print(table(split, jobs, options.out))
    if options.picture:
        draw(by_split, options)


def measure(job: Job, out: Path) -> None:
    """Train a run and write its findings."""
    start = time.process_time()
    recipe = getattr(recipes, job.recipe)(**job.flags)
    model = trained(recipe)
    with torch.no_grad(), seeded(recipe.seed):
        described, arrays = packed(recipe.findings(model, recipe))
    with replacing(out / f"{job.key}.npz") as draft, open(draft, "wb") as file:
        np.savez_compressed(file, **arrays)
    with replacing(out / f"{job.key}.json") as draft:
        draft.write_text(json.dumps(described))
    seconds = time.process_time() - start
    print(f"{job.method}, seed {job.seed}: {seconds:.0f} s", flush=True)


def found(job: Job, out: Path) -> Sequence[Finding]:
    """Read the findings of a run."""
    described = json.loads((out / f"{job.key}.json").read_text())
    with np.load(out / f"{job.key}.npz") as arrays:
        return unpacked(described, dict(arrays))


# -- tables ----------------------------------------------------------------------------------------


def table(split: str, jobs: Sequence[Job], out: Path) -> str:
    """Return a split's numbers, a row a method."""
    values: dict[str, list[dict[int, float]]] = {}
    for job in jobs:
        numbers = [f.value for f in found(job, out) if isinstance(f, Number)]
        name = job.method.partition(",")[0]
        columns = values.setdefault(name, [{} for _ in numbers])
        for column, number in zip(columns, numbers, strict=True):
            column[job.seed] = number
    program = values.get("program")
    heads = ["", *HEADS, *(["ratio − program's"] if program else [])]
    lines = [f"{split}, seeds {', '.join(map(str, columns[0]))}", "", row(heads)]
    lines.append(row(["---"] * len(heads)))
    for method, columns in values.items():
        cells = [method, *(shown(estimate(list(column.values()))) for column in columns)]
        if program:
            cells.append(
                "–" if columns is program else shown(paired(columns[RATIO], program[RATIO]))
            )
        lines.append(row(cells))
    return "\n".join([*lines, ""])


def row(cells: Sequence[str]) -> str:
    """Return a row of a table in Markdown."""
    return f"| {' | '.join(cells)} |"


def shown(found: Estimate) -> str:
    """Return a mean with half of its interval."""
    return text(found, 1 if (found.mean or 0) > 3 else 2)


# -- the picture -----------------------------------------------------------------------------------


def draw(by_split: Mapping[str, Sequence[Job]], options: argparse.Namespace) -> None:
    """Draw a panel a split: left-out images, and each method's reconstructions."""
    figure = Figure(figsize=(11, 5.6), layout="constrained")
    panels = figure.subplots(2, math.ceil(len(by_split) / 2), squeeze=False).ravel()
    for ax, jobs in zip(panels, by_split.values(), strict=False):
        pictures = [picture(job, options.out) for job in jobs if job.seed == jobs[0].seed]
        first = pictures[0]
        images = np.stack([first.images[0], *(p.images[1] for p in pictures)])
        names = [first.rows[0], *(p.rows[1] for p in pictures)]
        rows, columns, height, width = images.shape
        grid = plots.image_grid(1 - images.reshape(-1, height, width), columns)
        ax.imshow(grid, interpolation="nearest", extent=(0, columns, rows, 0))
        ax.set_yticks(np.arange(rows) + 0.5, names, fontsize=9)
        ax.set_xticks([])
        ax.tick_params(length=0)
        ax.spines[:].set_visible(False)
        ax.set_title(first.title, fontsize=10, loc="left", weight="bold")
    figure.savefig(options.picture, dpi=110)


def picture(job: Job, out: Path) -> Picture:
    """Return the picture of a run."""
    return next(f for f in found(job, out) if isinstance(f, Picture))


if __name__ == "__main__":
    main()
