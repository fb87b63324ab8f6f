"""Evaluation: a trained model and its data become scores and arrays in the run folder.

scores.json holds numbers (nats per item, with standard errors), evaluation.npz arrays; a report
reads both. Information terms use q(z) summed over the whole training part, averaged over as many of
its items as `points` says, or else the recipe.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
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
from .remarks import remarks

Skipped = dict[str, str]
"""The parts of an evaluation that were left out, and why."""


def evaluate(
    recipe: Recipe, model: Model, folder: str | Path, *, points: int | None = None
) -> dict[str, Any]:
    """Score `model` on the recipe's data and write scores.json and evaluation.npz.

    Args:
        recipe: The plan by which the model was trained.
        model: The trained model; what torch computes is computed where the model is.
        folder: The run folder.
        points: The items that exact terms are averaged over, by default the recipe's.

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
    skipped: Skipped = {}
    train = recipe.parts()[0]
    test = recipe.test or train
    try:
        with torch.no_grad(), seeded(recipe.seed), beside(model):
            drawn = _measure(recipe, model, train, test, points or recipe.points, scores, skipped)
            with _unless("remarks", skipped):
                scores |= _remarks(recipe, train, scores, folder)
            if is_first:  # pictures may end the process, by the memory that they take
                _write(folder, scores, {}, skipped)
            with _unless("pictures", skipped):
                _draw(model, drawn, test, arrays, skipped)
        if recipe.findings is not None:
            with _unless("the recipe's own findings", skipped):
                scores["findings"], shown = _findings(recipe, model)
                arrays |= shown
    except BaseException as stop:  # Ctrl-C too
        skipped["everything after it"] = str(stop) or type(stop).__name__
        if is_first:
            _write(folder, scores, arrays, skipped)
            _note(f"what was measured is kept; `unweave report {folder}` shows it")
        raise
    _write(folder, scores, arrays, skipped)
    return scores


def _write(
    folder: Path, scores: dict[str, Any], arrays: Mapping[str, Any], skipped: Skipped
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
    points: int,
    scores: dict[str, Any],
    skipped: Skipped,
) -> Trace:
    """Add to the scores all that is measured; return draws of the training part's codes."""
    items = Items("training", train, recipe, place(model))
    q = encoded(model, items.x)
    some = _sample(len(train), points)
    with _unless("scores of test items", skipped):
        scores["test"] = codes.bound(model, test, recipe)
    if _has_latents(q):
        scores |= {"batch": recipe.batch, "log_n": math.log(len(train))}
        with _unless("information and the terms of the bound", skipped):
            scores |= _terms(recipe, model, items, q, some)
        if train.names:
            with _unless("information about factors", skipped):
                scores |= _about_factors(model, q, some, train, test, points)
    drawn = q
    with _unless("discrete sites", skipped):
        drawn = q.draw()
        scores |= codes.discreteness(drawn)
    if test.names:
        scores |= {"factor": test.names[0], "classes": list(test.values[0])}
        with _unless("codes of test items", skipped):
            seen = posterior(model, test)
            with _unless("agreement with labels", skipped):
                scores |= codes.agreement(seen, test, recipe.labels)
            with _unless("metrics of codes against factors", skipped):
                scores["metrics"] = codes.metrics(seen, test)
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
    with torch.no_grad(), seeded(recipe.seed):
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


def _terms(recipe: Recipe, model: Model, items: Items, q: Trace, some: Tensor) -> dict[str, Any]:
    """Return the exact terms with the training's estimates beside them, and bounds they break."""
    scores = terms.information(model, items.x, q, some, recipe.groups)
    table = scores["terms"]
    batches = terms.some_batches(recipe, items)
    column, factorises = terms.minibatch_column(recipe, model, items, batches)
    for name, estimate in column.items():
        table[name] |= estimate
    breaches = terms.breached(table, recipe, factorises, len(batches))
    return scores | {"breaches": breaches, "prior_factorises": factorises}


def _about_factors(
    model: Model, q: Trace, some: Tensor, train: Data, test: Data, points: int
) -> dict[str, Any]:
    """Return the information about factors: the training part's, or else the test data's.

    Labels may be held back from training; the test data then have more of theirs.
    """
    if (train.factors >= 0).mean() >= (test.factors >= 0).mean():
        return factors.class_information(q, some, train)
    few = _sample(len(test), points)
    q = encoded(model, kept(model, test))
    return factors.class_information(q, few, test)


def _draw(model: Model, q: Trace, test: Data, arrays: dict[str, Any], skipped: Skipped) -> None:
    """Add to the arrays those of the pictures."""
    x, labels = pictures.shown_items(test)
    arrays |= {"x": x, "labels": labels}
    with _unless("reconstructions", skipped):
        arrays["reconstruction"] = pictures.reconstructions(model, x)
    with _unless("what latent units do", skipped):
        arrays |= pictures.traversals(model, q, x[:5])
    if _has_latents(q):
        with _unless("samples of the prior", skipped):
            arrays["prior_samples"] = pictures.samples_of_prior(model, q, x.shape[1:])
    with _unless("the codes of the data", skipped):
        arrays |= pictures.embedding(model, test)


@contextmanager
def _unless(part: str, skipped: Skipped) -> Iterator[None]:
    """Leave out a part of the evaluation that fails, as some models have no place for it.

    The reason is noted and printed.
    """
    try:
        yield
    except Exception as error:
        skipped[part] = str(error) or type(error).__name__
        _note(f"{part}: left out, {skipped[part]}")


def _note(text: str) -> None:
    print(f"note: {text}", file=sys.stderr, flush=True)
