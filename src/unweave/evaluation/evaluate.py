"""Evaluation: a trained model and its data become scores and arrays in the run folder.

scores.json holds numbers (nats per item, with standard errors), evaluation.npz arrays; a report
reads both. Information terms use q(z) summed over the whole training part, averaged over as many of
its items as `points` says, or else the recipe. evaluation.json says what these depend on, so an
evaluation that was stopped, or of which a part failed, does what is missing.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .. import __version__
from ..data import Data
from ..models.model import Model, seeded
from ..runs import arrays as run_arrays
from ..runs import scores as run_scores
from ..runs import seal
from ..runs.files import read_json, read_lines
from ..runs.findings import packed
from ..terminal import say
from ..trace.trace import Trace
from ..training import content
from ..training.items import Items
from ..training.recipe import Recipe, check
from . import codes, factors, pictures, terms
from .encoded import beside, encoded, kept, place, posterior
from .parts import SHARES, Found, Parts
from .remarks import remarks
from .sums import Sums

FINDINGS = "the recipe's own findings"


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
    again: bool = False,
    quiet: bool = False,
) -> dict[str, Any]:
    """Score `model` on the recipe's data and write scores.json and evaluation.npz.

    Parts that the folder has already are kept if the weights, the data, the settings and the
    version of this package are those that they were measured with, but for findings of a recipe
    that is not of this package. The others draw numbers of their own, so in an evaluation that is
    done in two steps estimates differ within their errors from those of one.

    Args:
        recipe: The plan by which the model was trained.
        model: The trained model; what torch computes is computed where the model is.
        folder: The run folder.
        points: The items that exact terms are averaged over, by default the recipe's.
        quick: If true, average over 200 items, and look at fewer elsewhere: larger errors, sooner.
        again: If true, measure everything, whatever the folder has.
        quiet: If true, show no progress in a terminal.

    Returns:
        The scores. A part that fails, or that the model has no place for, is left out and named
        under "skipped". Sentences that change how the numbers are read are under "remarks".

    An evaluation that is stopped, as by Ctrl-C, leaves what it had measured, or the scores of an
    earlier one.
    """
    check(recipe)
    folder = Path(folder)
    is_first = not (folder / run_scores.FILE).is_file()
    model = model.eval()
    train = recipe.parts()[0]
    test = recipe.test or train
    size = Size.of(recipe, points, quick=quick)
    depends_on = _depends_on(recipe, model, size)
    earlier = {} if again else _earlier(folder, depends_on)
    if earlier and seal.is_whole(folder):
        if not quiet:
            text = "note: nothing is missing: weights, data and settings are as they were"
            say(text, to_stderr=True)
        whole: dict[str, Any] = read_json(folder / run_scores.FILE)
        return whole
    if not _is_of_package(recipe.findings):
        earlier.pop(FINDINGS, None)
    parts = Parts(_expected(recipe, train, test) - earlier.keys(), earlier, quiet=quiet)
    try:
        with parts:
            with torch.no_grad(), seeded(recipe.seed), beside(model):
                drawn = _measure(recipe, model, train, test, size, parts)
                with parts("remarks"):
                    parts.scores |= _remarks(recipe, train, parts.scores, folder)
                if is_first:  # pictures may end the process, by the memory that they take
                    _write(folder, parts, depends_on, [seal.UNFINISHED])
                with parts("pictures"):
                    _draw(model, drawn, train, test, size, parts)
            if recipe.findings is not None:
                parts.add(FINDINGS, lambda: _findings(recipe, model))
    except BaseException as stop:  # Ctrl-C too
        parts.skipped[seal.UNFINISHED] = str(stop) or type(stop).__name__
        if is_first or earlier:
            _write(folder, parts, depends_on, [seal.UNFINISHED])
            say(
                f"note: what was measured is kept; `unweave report {folder}` shows it, and "
                f"`unweave evaluate {folder}` does the rest",
                to_stderr=True,
            )
        raise
    _write(folder, parts, depends_on, parts.failed)
    return parts.scores


# -- what an earlier evaluation has ----------------------------------------------------------------


def _depends_on(recipe: Recipe, model: Model, size: Size) -> dict[str, Any]:
    """Return everything that decides the scores of a run, as JSON has it."""
    settings = {
        "groups": recipe.groups,
        "labels": dict(recipe.labels),
        "objective": str(recipe.objective_at(recipe.epochs * recipe.per_epoch)),
        "estimator": recipe.estimator,
        "batch": recipe.batch,
        "samples": recipe.samples,
        "seed": recipe.seed,
        **asdict(size),
    }
    found = {
        "unweave": __version__,
        "weights": _digest(model),
        "data": content.described(recipe),
        "settings": settings,
    }
    plain: dict[str, Any] = json.loads(json.dumps(found))
    return plain


def _digest(model: Model) -> str:
    """Return the sha256 of a model's weights."""
    found = sha256()
    for name, tensor in model.state_dict().items():
        held = tensor.detach().cpu().contiguous()
        found.update(f"{name} {held.dtype} {tuple(held.shape)}".encode())
        found.update(held.flatten().view(torch.uint8).numpy().data)
    return found.hexdigest()


def _earlier(folder: Path, depends_on: Mapping[str, Any]) -> dict[str, Found]:
    """Return what the parts gave that the folder has, if they depend on the same."""
    try:
        held = seal.read(folder)
        if held is None or held.depends_on != depends_on:
            return {}
        seal.check(folder, run_scores.FILE, run_arrays.FILE)
        arrays = run_arrays.flat(run_arrays.read(folder))
        found = Found(read_json(folder / run_scores.FILE), arrays)
        return {name: found.of(part) for name, part in held.parts.items()}
    except (OSError, ValueError, KeyError):  # damaged, so all is measured
        return {}


def _is_of_package(function: Any) -> bool:
    """Return true if a function changes with the version of this package alone."""
    return str(getattr(function, "__module__", "")).startswith("unweave.")


# -- measuring -------------------------------------------------------------------------------------


def _expected(recipe: Recipe, train: Data, test: Data) -> set[str]:
    """Return the parts that an evaluation of a recipe has."""
    lacking = set()
    if not train.names:
        lacking.add("information about factors")
    if not test.names:
        lacking |= {"codes of test items", "metrics of codes against factors"}
    if recipe.findings is None:
        lacking.add(FINDINGS)
    return SHARES.keys() - lacking


def _write(folder: Path, parts: Parts, depends_on: dict[str, Any], missing: list[str]) -> None:
    """Write everything that there is so far."""
    if parts.skipped:
        parts.scores["skipped"] = parts.skipped
    run_scores.write(folder, parts.scores)
    on_cpu = {name: t.cpu() if isinstance(t, Tensor) else t for name, t in parts.arrays.items()}
    run_arrays.write(folder, on_cpu)
    seal.write(folder, depends_on, parts.measured, missing)


def _measure(
    recipe: Recipe,
    model: Model,
    train: Data,
    test: Data,
    size: Size,
    parts: Parts,
) -> Trace:
    """Measure everything; return draws of the training part's codes."""
    scores = parts.scores
    items = Items("training", train, recipe, place(model))
    parts.show("codes of all items")
    q = encoded(model, items.x)
    some = _sample(len(train), size.points)
    sums = Sums(q, q.take(some).draw())
    parts.measure("scores of test items", lambda: {"test": codes.bound(model, test, recipe)})
    if _has_latents(q):
        scores |= {"batch": recipe.batch, "log_n": math.log(len(train))}
        parts.measure(
            "information and the terms of the bound",
            lambda: _terms(recipe, model, items, sums, some, size.pairs),
        )
        if train.names:
            parts.measure(
                "information about factors",
                lambda: _about_factors(model, sums, some, train, test, size.points),
            )
    drawn = q
    with parts("discrete sites"):
        drawn = q.draw()
        scores |= codes.discreteness(drawn)
    if test.names:
        scores |= {"factor": test.names[0], "classes": list(test.values[0])}
        with parts("codes of test items"):
            seen = posterior(model, test)
            parts.measure(
                "agreement with labels", lambda: codes.agreement(seen, test, recipe.labels)
            )
            parts.measure(
                "metrics of codes against factors",
                lambda: {"metrics": codes.metrics(seen, test, size.measured)},
            )
    return drawn


def _remarks(
    recipe: Recipe, train: Data, scores: Mapping[str, Any], folder: Path
) -> dict[str, list[str]]:
    """Return what changes how the scores are read, nothing if nothing does."""
    history = read_lines(folder / "metrics.jsonl")
    found = remarks(recipe, train, scores, history)
    return {"remarks": found} if found else {}


def _findings(recipe: Recipe, model: Model) -> Found:
    """Return the recipe's own findings, and their arrays; they are computed on the CPU."""
    assert recipe.findings is not None
    device = place(model)
    with torch.no_grad(), seeded(recipe.seed), torch.device("cpu"):
        described, arrays = packed(recipe.findings(model.cpu(), recipe))
    model.to(device)
    return Found({"findings": described}, arrays)


def _sample(n: int, points: int) -> Tensor:
    """Draw the numbers of as many of n items, in order."""
    drawn = torch.randperm(n)[:points]
    return drawn.sort().values


def _has_latents(q: Trace) -> bool:
    """Return true if any site is drawn."""
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


def _draw(model: Model, q: Trace, train: Data, test: Data, size: Size, parts: Parts) -> None:
    """Make the arrays of the pictures."""
    x, labels = pictures.shown_items(test)
    parts.arrays |= {"x": x, "labels": labels} | pictures.columns(train)
    parts.draw("reconstructions", lambda: {"reconstruction": pictures.reconstructions(model, x)})
    parts.draw(
        "what latent units do", lambda: pictures.traversals(model, q, x[: pictures.starts(x)])
    )
    if _has_latents(q):
        parts.draw(
            "samples of the prior",
            lambda: {"prior_samples": pictures.samples_of_prior(model, q, x.shape[1:])},
        )
    parts.draw("the codes of the data", lambda: pictures.embedding(model, test, size.shown))
    parts.arrays |= pictures.modelled(parts.arrays, train)
