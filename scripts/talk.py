"""The talk's two-step programs with few labels: a study's errors, and curves against passes.

    python scripts/talk.py table --only m1m2 --out runs/talk-errors
    python scripts/talk.py curves --picture talk.png

`table` trains the runs of `unweave study talk` without their reports, a line a run, and prints
means ± standard deviations over seeds. A run that was measured is not measured again. `curves` has
the error on 5,000 held-out training digits after each pass, with 100 labels that are drawn by a
seed of which the study has no run.
"""

from __future__ import annotations

import argparse
import json
import time
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import unweave as uw
from unweave import plots
from unweave.models import Model
from unweave.recipes.semi_supervised import error_of, semi_supervised
from unweave.runs.files import replacing
from unweave.studies.grid import Job, read
from unweave.training.recipe import Recipe
from unweave.training.trainer import Trainer, trained

BALANCED = "elbo + 50*label + 11*mi.of('y') - 49*kl[0].of('y')"
"""The printed objective with a reward for classes that are sure and equally frequent."""


def main() -> None:
    """Measure what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=("table", "curves"))
    parser.add_argument("--seeds", type=int, help="seeds 0, 1, … instead of the study's")
    parser.add_argument("--only", help="one program: m1m2, yz or zy")
    parser.add_argument("--out", type=Path, default=Path("runs/talk-errors"))
    parser.add_argument("--seed", type=int, default=5, help="the seed of the curves")
    parser.add_argument("--picture", type=Path, default=Path("talk.png"))
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.what == "curves":
        draw(curves(options.seed), options.picture)
        return
    jobs = [
        job
        for job in read("talk", seeds=options.seeds).jobs()
        if options.only in (None, job.flags["method"])
    ]
    for job in jobs:
        if not (options.out / f"{job.key}.json").is_file():
            measure(job, options.out)
    print(table(jobs, options.out))


# -- the study's errors ----------------------------------------------------------------------------


def measure(job: Job, out: Path) -> None:
    """Train a run and write its numbers."""
    start = time.process_time()
    recipe = semi_supervised(**job.flags)
    assert recipe.test is not None
    model = trained(recipe)
    truth = uw.data.mnist("train", root=job.flags["data_dir"]).factors
    found = {
        "error": error_of(model, recipe.test),
        "wrong labels": 100 * float(np.mean(recipe.data.factors != truth)),
        "elbo": float(model.elbo(recipe.test.floats()).mean()),
    }
    with replacing(out / f"{job.key}.json") as draft:
        draft.write_text(json.dumps(found))
    seconds = time.process_time() - start
    print(f"{job.method}, seed {job.seed}: {found}, {seconds:.0f} s", flush=True)


def table(jobs: Sequence[Job], out: Path) -> str:
    """Return means ± standard deviations over seeds, a row a method."""
    by_method: dict[str, list[dict[str, float]]] = defaultdict(list)
    for job in jobs:
        by_method[job.method].append(json.loads((out / f"{job.key}.json").read_text()))
    lines = [
        "| | error, % | wrong labels passed on, % | ELBO of test digits |",
        "|---|---|---|---|",
    ]
    for method, runs in by_method.items():
        columns = np.array([list(run.values()) for run in runs]).T  # (numbers, seeds)
        cells = [f"{values.mean():.2f} ± {values.std(ddof=1):.2f}" for values in columns]
        lines.append(f"| {method}, {len(runs)} seeds | {' | '.join(cells)} |")
    return "\n".join(lines)


# -- error against passes --------------------------------------------------------------------------


def curves(seed: int) -> dict[str, list[float]]:
    """Return errors in per cent after each pass, by what is trained on what."""

    def plan(method: str, epochs: int, **changes: bool | str) -> Recipe:
        given: dict[str, object] = {"seed": seed, "validate": True, "batch": 200}
        given |= {"epochs": epochs, **changes}
        if method == "yz":
            given["discrete"] = "concrete"
        return semi_supervised(method=method, **given)  # type: ignore[arg-type]

    found: dict[str, list[float]] = {}
    for method in ("yz", "m1m2"):
        found[f"{method}, as printed"], _ = by_pass(plan(method, 6))
        passed, model = by_pass(plan(method, 10, neighbours=True))
        found[f"{method}, passed on"] = passed
        found[f"{method}, then as printed"], _ = by_pass(plan(method, 4), model)
        found[f"{method}, then balanced"], _ = by_pass(plan(method, 4, objective=BALANCED), model)
    for name, errors in found.items():
        print(f"{name}: {', '.join(f'{error:.1f}' for error in errors)}", flush=True)
    return found


def by_pass(recipe: Recipe, start: Model | None = None) -> tuple[list[float], Model]:
    """Train, and return the error after each pass, and the model; `start` has the first weights."""
    assert recipe.test is not None
    trainer = Trainer(replace(recipe, logged=0), "cpu")
    if start is not None:
        trainer.model.load_state_dict(start.state_dict())
    errors = []
    while not trainer.done:
        trainer.run_epoch(lambda: False, lambda _: None)
        list(trainer.close_epoch())
        errors.append(error_of(trainer.model.eval(), recipe.test))
        trainer.model.train()
    return errors, trainer.model


def draw(found: dict[str, list[float]], path: Path) -> None:
    """Draw a panel a program."""
    figure = Figure(figsize=(10.6, 3.7), layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    titles = {"yz": "q(y|x) q(z|x, y), Concrete y", "m1m2": "M1+M2, y summed out"}
    for ax, (method, title) in zip(panels, titles.items(), strict=True):
        panel(
            ax, {name.partition(", ")[2]: e for name, e in found.items() if name.startswith(method)}
        )
        ax.set_title(title, fontsize=10, loc="left")
        ax.set_xlabel("passes")
    panels[0].set_ylabel("error on 5,000 held-out digits, %")
    panels[0].set_ylim(0, None)
    figure.savefig(path, dpi=110)


def panel(ax: Axes, curves: dict[str, list[float]]) -> None:
    """Draw a program's errors: two from scratch, and two that go on with 100 labels."""
    blue, orange, green, *_ = plots.GROUP_COLORS
    passed = curves["passed on"]
    for name, text, color in (
        ("as printed", "100 labels, as printed", orange),
        ("then as printed", "then 100 labels, as printed", orange),
        ("then balanced", "then 100 labels, classes\nbalanced and sure", green),
        ("passed on", "labels that neighbours passed on", blue),
    ):
        goes_on = name.startswith("then")
        errors = [passed[-1], *curves[name]] if goes_on else curves[name]
        x = np.arange(len(errors)) + (len(passed) if goes_on else 1)
        dashes = "--" if goes_on else "-"
        ax.plot(x, errors, marker="o", color=color, markersize=4, linestyle=dashes)
        end = (1.0, 1.2) if name == "passed on" else (x[-1] + 0.4, errors[-1])
        ax.annotate(text, end, color=color, fontsize=8, verticalalignment="center")
    ax.grid(axis="y", alpha=0.3)
    ax.spines[["top", "right"]].set_visible(False)
    ax.set_xlim(0, 21)
    ax.set_xticks(range(0, 15, 2))


if __name__ == "__main__":
    main()
