"""Scores of codes: of test items, against labels and factors, and of discrete sites."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor

from ..data import Data
from ..data.data import some
from ..metrics import battery, clustering_accuracy
from ..metrics.score import Score, described, named
from ..models.model import Model, code, is_discrete, unit_names
from ..objective.densities import Densities
from ..objective.literature import elbo, evidence, recon
from ..objective.objective import Objective
from ..trace.node import Node
from ..trace.trace import Trace
from ..training.recipe import Recipe
from .encoded import chunks, kept
from .terms import with_error


def bound(model: Model, test: Data, recipe: Recipe, rows: int = 1000) -> dict[str, list[float]]:
    """Return the bound of the test items and its parts, with standard errors (nats per item)."""
    parts: dict[str, list[Tensor]] = {}
    for x in chunks(kept(model, test), rows):
        if recipe.samples > 1:
            x = x.expand(recipe.samples, *x.shape)  # (samples, rows, *shape)
        q, p = model(x)
        batch_dim = x.ndim - test.x.ndim
        d = Densities(q, p, groups=recipe.groups, batch_dim=batch_dim)
        for name, term in _bound_terms(d, recipe.samples).items():
            value = d.score(term)
            if recipe.samples > 1:
                value = value.mean(0)  # (rows,)
            parts.setdefault(name, []).append(value)
    return {name: with_error(torch.cat(values)) for name, values in parts.items()}


def _bound_terms(d: Densities, samples: int) -> dict[str, Objective]:
    """Return the terms of test items that need no q(z)."""
    terms = {"recon": recon}
    if d.latents:
        terms = {"elbo": elbo, "recon": recon, "kl": recon - elbo}
    if samples > 1:
        terms["evidence"] = evidence
    return terms


def discreteness(q: Trace) -> dict[str, Any]:
    """Return the entropy left in each discrete site given x, and I(x; y), its entropy without it.

    They are sums over a site's units if it has several.
    """
    left: dict[str, float] = {}
    gained: dict[str, float] = {}
    for site, node in q.items():
        if not is_discrete(node) or node.dist is None:
            continue
        probs: Tensor = node.dist.mean  # (items, *units, classes)
        of_items = torch.special.xlogy(probs, probs).flatten(1).sum(1)  # (items,)
        shares = probs.mean(0)  # (*units, classes)
        of_shares = torch.special.xlogy(shares, shares).sum()
        left[site] = -float(of_items.mean())
        gained[site] = -float(of_shares) - left[site]
    if not left:
        return {}
    return {"conditional_entropy": left, "discrete_information": gained}


def agreement(seen: Trace, test: Data, labels: Mapping[str, str]) -> dict[str, Any]:
    """Return how a discrete site's most probable classes agree with labels.

    Items without the label are left out; so are sites of several units, and sites that some items
    do not have.

    Args:
        seen: The posterior of the test items.
        test: The test items.
        labels: The sites that labels trained, and their factors.

    Returns:
        "error" has, of each site in `labels`, the share of items whose class is not their label,
        and its standard error; "accuracy" has, of each other site, the share that agrees with the
        first factor once classes are matched to labels one to one.
    """
    errors: dict[str, list[float]] = {}
    accuracy: dict[str, float] = {}
    for site, node in seen.items():
        factor = labels.get(site, test.names[0])
        if factor not in test.names or not _is_one_class(site, node):
            continue
        column = test.names.index(factor)
        label = test.factors[:, column]
        known = label >= 0
        if not known.any():
            continue
        label = label[known]
        classes = code(node).long().flatten().cpu().numpy()[known]
        if site in labels:
            wrong = torch.as_tensor(classes != label)
            errors[site] = with_error(wrong.double())
        else:
            accuracy[site] = clustering_accuracy(classes, label)
    found: dict[str, Any] = {"error": errors, "accuracy": accuracy}
    return {name: of_sites for name, of_sites in found.items() if of_sites}


def _is_one_class(site: str, node: Node) -> bool:
    """Return true if each item has exactly one class at the site."""
    if not is_discrete(node) or isinstance(node.exists, Tensor):
        return False
    return len(unit_names(site, node)) == 1


def metrics(seen: Trace, test: Data, most: int = 10_000) -> dict[str, dict[str, Any]]:
    """Return metrics of the test items' codes against their factors, by their names in `METRICS`.

    Raises:
        ValueError: If no factor has two classes, or there are too few items.
    """
    columns = [code(node).flatten(1) for node in seen.values()]
    codes = torch.cat(columns, -1).cpu().numpy()  # (items, units)
    few = some(len(test), most)
    found = battery.scores(codes[few], test.factors[few])
    table = {}
    for key, score in zip(battery.METRICS, found, strict=True):
        plain = _plain(score, test.names)
        table[key] = described(plain) | {"asks": battery.question(key)}
    return table


def _plain(score: Score, names: tuple[str, ...]) -> Score:
    """Return a score with its numbers alone, its notes in the factors' names."""
    parts = score.parts.items()
    numbers = {name: part for name, part in parts if isinstance(part, float)}
    notes = tuple(named(note, names) for note in score.notes)
    return replace(score, parts=numbers, notes=notes)
