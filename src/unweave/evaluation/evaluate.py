"""Evaluation: a trained model and its data become scores and arrays in the run folder.

scores.json holds numbers (nats per item, with standard errors), evaluation.npz arrays; a report
reads both. Information terms use q(z) summed over the whole training part, averaged over as many of
its items as `points` says, or else the recipe.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import Data
from ..models.model import Model, seeded
from ..runs.arrays import write as write_arrays
from ..runs.files import read_lines
from ..runs.findings import packed
from ..runs.scores import FILE as SCORES
from ..runs.scores import write as write_scores
from ..trace.trace import Trace
from ..training.items import Items
from ..training.recipe import Recipe, check
from . import codes, factors, pictures, terms
from .encoded import beside, encoded, kept, place, posterior
from .parts import SHARES, Parts
from .remarks import remarks
from .sums import Sums


@dataclass(frozen=True)
class Size:
    """The amount of data that an evaluation looks at."""

    points: int
    """The items that exact terms are averaged over."""
    pairs: int = terms.PAIRS
    """The most pairs of a row and an item where sites depend on one another."""
    measured: int = 10_000
    """The most test items that metrics see."""
    shown: int = 1000
    """The most test items whose codes are shown in the plane."""

    @staticmethod
    def of(recipe: Recipe, points: int | None, *, quick: bool) -> Size:
        """Return the size that a recipe and a person's wishes give."""
        if quick:
            return Size(points or min(recipe.points, 200), terms.PAIRS // 10, 2000, 300)
        return Size(points or recipe.points)


def evaluate(
    recipe: Recipe,
    model: Model,
    folder: str | Path,
    *,
    points: int | None = None,
    quick: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Score `model` on the recipe's data and write scores.json and evaluation.npz.

    Args:
        recipe: The plan by which the model was trained.
        model: The trained model; what torch computes is computed where the model is.
        folder: The run folder.
        points: The items that exact terms are averaged over, by default the recipe's.
        quick: If true, average over 200 items, and look at fewer elsewhere: larger errors, sooner.
        quiet: If true, show no progress in a terminal.

    Returns:
        The scores. A part that fails, or that the model has no place for, is left out and named
        under "skipped". Sentences that change how the numbers are read are under "remarks".

    An evaluation that is stopped, as by Ctrl-C, leaves what it had measured, or the scores of an
    earlier one.
    """
    check(recipe)
    folder = Path(folder)
    is_first = not (folder / SCORES).is_file()
    model = model.eval()
    scores: dict[str, Any] = {}
    arrays: dict[str, Any] = {}
    train = recipe.parts()[0]
    test = recipe.test or train
    size = Size.of(recipe, points, quick=quick)
    parts = Parts(_expected(recipe, train, test), quiet=quiet)
    try:
        with parts:
            with torch.no_grad(), seeded(recipe.seed), beside(model):
                drawn = _measure(recipe, model, train, test, size, scores, parts)
                with parts("remarks"):
                    scores |= _remarks(recipe, train, scores, folder)
                if is_first:  # pictures may end the process, by the memory that they take
                    _write(folder, scores, {}, parts.skipped)
                with parts("pictures"):
                    _draw(model, drawn, train, test, size, arrays, parts)
            if recipe.findings is not None:
                with parts("the recipe's own findings"):
                    scores["findings"], shown = _findings(recipe, model)
                    arrays |= shown
    except BaseException as stop:  # Ctrl-C too
        parts.skipped["everything after it"] = str(stop) or type(stop).__name__
        if is_first:
            _write(folder, scores, arrays, parts.skipped)
            text = f"note: what was measured is kept; `unweave report {folder}` shows it"
            print(text, file=sys.stderr, flush=True)
        raise
    _write(folder, scores, arrays, parts.skipped)
    return scores


def _expected(recipe: Recipe, train: Data, test: Data) -> set[str]:
    """Return the parts that an evaluation of a recipe has."""
    lacking = set()
    if not train.names:
        lacking.add("information about factors")
    if not test.names:
        lacking |= {"codes of test items", "metrics of codes against factors"}
    if recipe.findings is None:
        lacking.add("the recipe's own findings")
    return SHARES.keys() - lacking


def _write(
    folder: Path, scores: dict[str, Any], arrays: Mapping[str, Any], skipped: dict[str, str]
) -> None:
    """Write everything that there is so far."""
    if skipped:
        scores["skipped"] = skipped
    write_scores(folder, scores)
    on_cpu = {name: t.cpu() if isinstance(t, Tensor) else t for name, t in arrays.items()}
    write_arrays(folder, on_cpu)


def _measure(
    recipe: Recipe,
    model: Model,
    train: Data,
    test: Data,
    size: Size,
    scores: dict[str, Any],
    parts: Parts,
) -> Trace:
    """Add to the scores all that is measured; return draws of the training part's codes."""
    items = Items("training", train, recipe, place(model))
    parts.show("codes of all items")
    q = encoded(model, items.x)
    some = _sample(len(train), size.points)
    sums = Sums(q, q.take(some).draw())
    with parts("scores of test items"):
        scores["test"] = codes.bound(model, test, recipe)
    if _has_latents(q):
        scores |= {"batch": recipe.batch, "log_n": math.log(len(train))}
        with parts("information and the terms of the bound"):
            scores |= _terms(recipe, model, items, sums, some, size.pairs)
        if train.names:
            with parts("information about factors"):
                scores |= _about_factors(model, sums, some, train, test, size.points)
    drawn = q
    with parts("discrete sites"):
        drawn = q.draw()
        scores |= codes.discreteness(drawn)
    if test.names:
        scores |= {"factor": test.names[0], "classes": list(test.values[0])}
        with parts("codes of test items"):
            seen = posterior(model, test)
            with parts("agreement with labels"):
                scores |= codes.agreement(seen, test, recipe.labels)
            with parts("metrics of codes against factors"):
                scores["metrics"] = codes.metrics(seen, test, size.measured)
    return drawn


def _remarks(
    recipe: Recipe, train: Data, scores: Mapping[str, Any], folder: Path
) -> dict[str, list[str]]:
    """Return what changes how the scores are read, nothing if nothing does."""
    history = read_lines(folder / "metrics.jsonl")
    found = remarks(recipe, train, scores, history)
    return {"remarks": found} if found else {}


def _findings(recipe: Recipe, model: Model) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Return the recipe's own findings, and their arrays; they are computed on the CPU."""
    if recipe.findings is None:
        return [], {}
    device = place(model)
    with torch.no_grad(), seeded(recipe.seed), torch.device("cpu"):
        found = packed(recipe.findings(model.cpu(), recipe))
    model.to(device)
    return found


def _sample(n: int, points: int) -> Tensor:
    """Draw the numbers of as many of n items, in order."""
    drawn = torch.randperm(n)[:points]
    return drawn.sort().values


def _has_latents(q: Trace) -> bool:
    """Whether any site is drawn."""
    return any(node.dist is not None for node in q.values())


def _terms(
    recipe: Recipe, model: Model, items: Items, sums: Sums, some: Tensor, pairs: int
) -> dict[str, Any]:
    """Return the exact terms with the training's estimates beside them, and bounds they break."""
    scores = terms.information(model, items.x, sums, some, recipe.groups, pairs=pairs)
    table = scores["terms"]
    batches = terms.some_batches(recipe, items)
    column, factorises = terms.minibatch_column(recipe, model, items, batches)
    for name, estimate in column.items():
        table[name] |= estimate
    breaches = terms.breached(table, recipe, factorises, len(batches))
    return scores | {"breaches": breaches, "prior_factorises": factorises}


def _about_factors(
    model: Model, sums: Sums, some: Tensor, train: Data, test: Data, points: int
) -> dict[str, Any]:
    """Return the information about factors: the training part's, or else the test data's.

    Labels may be held back from training; the test data then have more of theirs.
    """
    if (train.factors >= 0).mean() >= (test.factors >= 0).mean():
        return factors.class_information(sums, some, train)
    few = _sample(len(test), points)
    q = encoded(model, kept(model, test))
    return factors.class_information(Sums(q, q.take(few).draw()), few, test)


def _draw(
    model: Model,
    q: Trace,
    train: Data,
    test: Data,
    size: Size,
    arrays: dict[str, Any],
    parts: Parts,
) -> None:
    """Add to the arrays those of the pictures."""
    x, labels = pictures.shown_items(test)
    arrays |= {"x": x, "labels": labels} | pictures.columns(train)
    with parts("reconstructions"):
        arrays["reconstruction"] = pictures.reconstructions(model, x)
    with parts("what latent units do"):
        arrays |= pictures.traversals(model, q, x[: pictures.starts(x)])
    if _has_latents(q):
        with parts("samples of the prior"):
            arrays["prior_samples"] = pictures.samples_of_prior(model, q, x.shape[1:])
    with parts("the codes of the data"):
        arrays |= pictures.embedding(model, test, size.shown)
    arrays |= pictures.modelled(arrays, train)
