"""Error on held-out digits, pass by pass: the talk's programs, before and after neighbours help.

    python scripts/talk.py --picture talk.png

Two programs are trained with 100 labels, on all but 5,000 of MNIST's training digits: by the
printed objective; by the same with labels that neighbours pass on; and, from where that ends, with
100 labels again, as printed and with classes that are rewarded for being balanced and confident.
Rows of the table are errors in per cent after each pass, on the 5,000 digits.
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure

import unweave as uw
from unweave.plots import axes, colors
from unweave.recipes.semi_supervised import OBJECTIVES, error_of, semi_supervised
from unweave.training.recipe import Recipe
from unweave.training.trainer import Trainer

PROGRAMS: Mapping[str, dict[str, Any]] = {
    "q(y|x) q(z|x, y), Concrete y": {"method": "yz", "discrete": "concrete"},
    "M1+M2, y summed out": {"method": "m1m2"},
}
PASSES = {"q(y|x) q(z|x, y), Concrete y": 8, "M1+M2, y summed out": 4}
FURTHER = 3
"""Passes from where those with labels that neighbours passed on end."""

PUBLISHED = {"q(y|x) q(z|x, y), Concrete y": 9.71, "M1+M2, y summed out": 3.33}
BALANCED = " + 11*mi.of('y') - 49*kl[0].of('y')"

AS_PRINTED = "100 labels, as printed"
PASSED_ON = "labels that neighbours passed on"
THEN_PRINTED = "then 100 labels, as printed"
THEN_BALANCED = "then 100 labels, classes balanced and confident"


def main() -> None:
    """Train all, print the errors and draw them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--picture", type=Path)
    options = parser.parse_args()
    torch.set_num_threads(1)
    curves = {}
    for program in PROGRAMS:
        curves[program] = trainings(program, options.seed)
    if options.picture:
        draw(curves, options.picture)


def trainings(program: str, seed: int) -> dict[str, list[float]]:
    """Return the errors of a program after each pass of each training."""
    flags, passes = PROGRAMS[program], PASSES[program]
    made = partial(semi_supervised, validate=True, seed=seed, **flags)
    found: dict[str, list[float]] = {}

    def follow(name: str, recipe: Recipe, into: Path | None = None) -> None:
        found[name] = errors_by_pass(recipe, into)
        errors = ", ".join(f"{error:.1f}" for error in found[name])
        print(f"{program}: {name}: {errors}", flush=True)

    follow(AS_PRINTED, made(epochs=passes))
    with tempfile.TemporaryDirectory() as folder:
        follow(PASSED_ON, made(epochs=passes, neighbours=True), Path(folder) / "model")
        on = partial(replace, from_run=str(Path(folder) / "model"))
        follow(THEN_PRINTED, on(made(epochs=FURTHER)))
        balanced = OBJECTIVES[flags["method"]] + BALANCED
        follow(THEN_BALANCED, on(made(epochs=FURTHER, objective=balanced)))
    return found


def errors_by_pass(recipe: Recipe, into: Path | None = None) -> list[float]:
    """Train in silence, and return the error of y in per cent after each pass, of the test items.

    The model is saved into a folder, if one is given.
    """
    assert recipe.test is not None
    trainer = Trainer(recipe, "cpu")
    errors = []
    while not trainer.done:
        trainer.run_epoch(lambda: False, lambda _: None)
        list(trainer.close_epoch())
        errors.append(error_of(trainer.model.eval(), recipe.test))
        trainer.model.train()
    if into is not None:
        uw.save(trainer.model, into)
    return errors


# -- the picture -----------------------------------------------------------------------------------


def draw(curves: Mapping[str, Mapping[str, Sequence[float]]], path: Path) -> None:
    """Draw a panel a program."""
    figure = Figure(figsize=(10, 3.8), layout="constrained")
    panels = figure.subplots(1, len(curves), sharey=True)
    for ax, (program, errors) in zip(panels, curves.items(), strict=True):
        panel(ax, program, errors)
    panels[0].set_ylabel("error on 5,000 held-out digits, %")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, frameon=False, fontsize=9)
    figure.savefig(path, dpi=110)


def panel(ax: Axes, program: str, errors: Mapping[str, Sequence[float]]) -> None:
    """Draw a program's errors against passes; what goes on from another curve begins at its end."""
    axes.quiet(ax)
    ax.set_title(program, loc="left", fontsize=10)
    passed_on = errors[PASSED_ON]
    styles = {AS_PRINTED: "-", PASSED_ON: "-", THEN_PRINTED: "--", THEN_BALANCED: "--"}
    for color, (name, style) in zip(colors.GROUP_COLORS[1:], styles.items(), strict=False):
        before = [] if style == "-" else [passed_on[-1]]
        first = len(passed_on) if before else 1
        shown = [*before, *errors[name]]
        ax.plot(
            range(first, first + len(shown)), shown, style, marker="o", ms=3.5, c=color, label=name
        )
    ax.axhline(PUBLISHED[program], lw=0.8, ls=":", c="grey")
    ax.annotate(
        f"published {PUBLISHED[program]}",
        (1, PUBLISHED[program]),
        xycoords=("axes fraction", "data"),
        ha="right",
        va="bottom",
        fontsize=8,
        color="grey",
    )
    ax.set(xlabel="passes", ylim=(0, None))


if __name__ == "__main__":
    main()
