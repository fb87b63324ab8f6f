"""Evaluation: a trained model and its data become scores and arrays in the run folder.

scores.json holds numbers (nats per item, with standard errors), evaluation.npz arrays; a report
reads both. Information terms use q(z) summed over the whole training part, averaged over as many of
its items as `points` says, or else the recipe.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..data import Data
from ..models.model import Model, seeded
from ..runs.arrays import write as write_arrays
from ..runs.findings import packed
from ..runs.scores import write as write_scores
from ..trace.trace import Trace
from ..training.items import Items, Kept
from ..training.recipe import Recipe, check
from . import codes, factors, pictures, terms
from .encoded import encoded, posterior

Skipped = dict[str, str]
"""The parts of an evaluation that were left out, and why."""


def evaluate(
    recipe: Recipe, model: Model, folder: str | Path, *, points: int | None = None
) -> dict[str, Any]:
    """Score `model` on the recipe's data and write scores.json and evaluation.npz.

    Args:
        recipe: The plan by which the model was trained.
        model: The trained model.
        folder: The run folder.
        points: The items that exact terms are averaged over, by default the recipe's.

    Returns:
        The scores. A part that the model has no place for is left out, and named under "skipped".
    """
    check(recipe)
    folder = Path(folder)
    model = model.cpu().eval()
    points = points or recipe.points
    train = recipe.parts()[0]
    test = recipe.test or train
    items = Items("training", train, recipe)
    scores: dict[str, Any] = {}
    skipped: Skipped = {}
    with torch.no_grad(), seeded(recipe.seed):
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
        drawn = q.draw()
        with _unless("discrete sites", skipped):
            scores |= codes.discreteness(drawn)
        if test.names:
            scores |= {"factor": test.names[0], "classes": list(test.values[0])}
            seen = posterior(model, test)
            with _unless("agreement with labels", skipped):
                scores |= codes.agreement(seen, test, recipe.labels)
            with _unless("metrics of codes against factors", skipped):
                scores["metrics"] = codes.metrics(seen, test)
        arrays = _pictures(model, drawn, test, skipped)
    if recipe.findings is not None:
        with torch.no_grad(), seeded(recipe.seed):
            scores["findings"], shown = packed(recipe.findings(model, recipe))
        arrays |= shown
    if skipped:
        scores["skipped"] = skipped
    write_scores(folder, scores)
    write_arrays(folder, arrays)
    return scores


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
    column, factorises = terms.minibatch_column(recipe, model, items)
    for name, estimate in column.items():
        table[name] |= estimate
    breaches = terms.breached(table, recipe, factorises)
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
    q = encoded(model, Kept(test.x))
    return factors.class_information(q, few, test)


def _pictures(model: Model, q: Trace, test: Data, skipped: Skipped) -> dict[str, Any]:
    """Return the arrays of the pictures."""
    x, labels = pictures.shown_items(test)
    arrays: dict[str, Any] = {"x": x, "labels": labels}
    with _unless("reconstructions", skipped):
        arrays["reconstruction"] = pictures.reconstructions(model, x)
    with _unless("what latent units do", skipped):
        arrays |= pictures.traversals(model, q, x[:5])
    if _has_latents(q):
        with _unless("samples of the prior", skipped):
            arrays["prior_samples"] = pictures.samples_of_prior(model, q, x.shape[1:])
    with _unless("the codes of the data", skipped):
        arrays |= pictures.embedding(model, test)
    return arrays


@contextmanager
def _unless(part: str, skipped: Skipped) -> Iterator[None]:
    """Leave out a part of the evaluation that fails, as some models have no place for it.

    The reason is noted and printed.
    """
    try:
        yield
    except Exception as error:
        skipped[part] = str(error) or type(error).__name__
        print(f"note: {part}: left out, {skipped[part]}", file=sys.stderr, flush=True)
