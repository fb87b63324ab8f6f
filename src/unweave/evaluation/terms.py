"""The terms of the bound: exact ones, and the training's estimates beside them.

q(z) is the sum over the whole training part, averaged over some of its items.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..models.model import Model, unit_names
from ..objective.atoms import Atom
from ..objective.bounds import breaches
from ..objective.densities import Densities
from ..objective.objective import Objective
from ..trace.groups import Tree
from ..trace.leaves import Block, block
from ..trace.trace import Trace
from ..training.items import Items, Kept, epoch_order
from ..training.recipe import PRIOR_DRAWS, Recipe, decomposition
from .gains import gains
from .joint import VALUES, arguments, joint
from .sums import Sums

MANY = 100
"""Units of a code; where there are more, sites stand as wholes."""

WANTED = 0.01
"""The standard error, in nats, of sums at each row's y: at less, more rows are of no use."""

PAIRS = 4 * 10**6
"""The most pairs of a row and an item in these sums."""

BATCHES = 100
"""The most batches of an epoch that the training's estimates are taken over."""


def with_error(values: Tensor) -> list[float]:
    """Return the mean of the values and its standard error."""
    n = max(len(values), 1)
    error = values.std() / math.sqrt(n)
    return [float(values.mean()), float(error)]


# -- exact terms -----------------------------------------------------------------------------------


def information(
    model: Model,
    x: Tensor | Kept,
    sums: Sums,
    some: Tensor,
    groups: Tree | None,
    *,
    pairs: int = PAIRS,
) -> dict[str, Any]:
    """Return the exact decomposition, and the information in each unit.

    Args:
        model: The model.
        x: The items of the training part.
        sums: Sums over all of them, at the rows that terms are averaged over.
        some: The rows' numbers.
        groups: The tree of groups.
        pairs: The most pairs of a row and an item where sites depend on one another.
    """
    q, rows = sums.posterior, sums.rows
    own = q.take(some)
    p = model.decoder(x[some], rows)
    prior = partial(model.decoder, None, rows.free(PRIOR_DRAWS))
    d = Densities(rows, p, groups=groups, aggregate=sums, kl="sampled", prior=prior)
    site_of = _units(rows)
    units = [block(unit, d.shapes) for unit in site_of]
    sums(rows, [*itertools.chain(*d.levels), *units])  # all that follows, in one pass
    # enumerated classes are summed over, whatever depends on them
    gaps = Gaps(some[:0], {}) if q.classes() else dependence(model, x, rows, d, pairs=pairs)
    terms = {name: _exact(d, term, gaps) for name, term in decomposition(d).items()}
    carried = gains(model, x[some], own, d, site_of)
    return {
        "terms": terms,
        "exact_n": len(x),
        "exact_points": len(some),
        **({"joint_rows": len(gaps.rows), "joint_se": gaps.error()} if gaps.levels else {}),
        "units": list(site_of),
        "unit_group": list(site_of.values()),
        "I(x;z)": {unit: with_error(values) for unit, values in carried.items()},
    }


def _units(rows: Trace) -> dict[str, str]:
    """Return the names of the units, each with its site; of the sites if there are many units."""
    site_of = {}
    for site, node in rows.items():
        for unit in unit_names(site, node):
            site_of[unit] = site
    return site_of if len(site_of) <= MANY else {site: site for site in rows}


@dataclass(frozen=True)
class Gaps:
    """The distance of blocks of dependent sites from independence, at some rows."""

    rows: Tensor
    """The numbers of the rows, in no order."""
    levels: dict[int, Tensor]
    """By level, log q of its blocks less what the aggregate gives, (rows,) each."""

    def error(self) -> float:
        """Return the largest standard error of a level's mean, 0 if no level has a gap."""
        errors = [with_error(gap)[1] for gap in self.levels.values()]
        return max(errors, default=0.0)


def _exact(d: Densities, term: Objective, gaps: Gaps) -> dict[str, float]:
    r"""Return a term and its standard error, with what dependent sites add at each level.

    The mean of a over N rows and that of b over n of them, drawn at random, have the variance

    .. math:: Var(a) / N + Var(b) / n + 2 Cov(a, b) / N
    """
    values = d.score(term)  # (points,)
    added = torch.zeros(len(gaps.rows))
    for level, gap in gaps.levels.items():
        coefficient = term.coefficients.get(Atom("q", level))
        weight = coefficient if isinstance(coefficient, float) else 0.0
        added = added + weight * gap
    if not added.any():
        value, error = with_error(values)
        return {"exact": value, "se": error}
    together = torch.stack([values[gaps.rows], added.to(values.dtype)])
    covariance = together.cov()[0, 1]
    of_mean = values.var() / len(values) + added.var() / len(added)
    variance = of_mean + 2 * covariance / len(values)
    return {
        "exact": float(values.mean() + added.mean()),
        "se": float(variance.clamp_min(0).sqrt()),
    }


def dependence(
    model: Model,
    x: Tensor | Kept,
    rows: Trace,
    d: Densities,
    *,
    wanted: float = WANTED,
    pairs: int = PAIRS,
) -> Gaps:
    """Return how far blocks of sites that depend on one another are from independence, by level.

    Rows are taken in an order drawn at random, `VALUES` at a time, until the standard error of each
    level's mean is at most `wanted`, or rows times items are `pairs`. A sample's mean and spread
    are correlated by its skewness alone. So where the spread decides when to stop, the mean is
    biased by about skewness · wanted / √rows, less than the standard error.

    Args:
        model: The model.
        x: The items that q(z) sums over.
        rows: The draws at which q(z) is asked.
        d: The atoms of the rows.
        wanted: The standard error at which more rows are of no use, in nats.
        pairs: The most pairs of a row and an item.
    """
    able = arguments(model)
    parts = {}
    for level, blocks in enumerate(d.levels):
        joined = [part for part in blocks if len(part) > 1]
        dependent = [part for part in joined if not able.isdisjoint(_sites(part))]
        if dependent:
            parts[level] = dependent
    first = next(iter(rows.values())).value
    n = len(first)
    order = torch.randperm(n, generator=torch.Generator().manual_seed(0), device="cpu")
    order = order.to(first.device)
    most = min(n, max(2, pairs // len(x)))
    gaps = Gaps(order[:0], {})
    while parts and len(gaps.rows) < most and not (len(gaps.rows) and gaps.error() <= wanted):
        some = order[len(gaps.rows) : min(len(gaps.rows) + VALUES, most)]
        few = rows.take(some)
        levels = {}
        for level, dependent in parts.items():
            gap = _gap(model, x, few, d, dependent)
            before = gaps.levels.get(level, gap[:0])
            levels[level] = torch.cat([before, gap])
        gaps = Gaps(torch.cat([gaps.rows, some]), levels)
    return gaps


def _gap(
    model: Model, x: Tensor | Kept, rows: Trace, d: Densities, parts: Sequence[Block]
) -> Tensor:
    """Return log q of blocks less what the aggregate gives of them, (rows,)."""
    held = d.aggregate(rows, parts, 0) if d.aggregate else []
    gap = torch.zeros(())
    for part, log_q in zip(parts, held, strict=True):
        gap = gap + (joint(model, x, rows, part) - log_q)
    return gap


def _sites(part: Block) -> list[str]:
    return [site for site, _ in part]


# -- the training's estimates ----------------------------------------------------------------------


def some_batches(recipe: Recipe, items: Items) -> Tensor:
    """Return the batches that the training's estimates are taken over, (batches, batch)."""
    return epoch_order(recipe, items, 0)[:BATCHES]


def minibatch_column(
    recipe: Recipe, model: Model, items: Items, batches: Tensor
) -> tuple[dict[str, dict[str, float]], bool]:
    """Return the terms as the training's estimator gives them, and whether the prior factorises.

    The column holds the mean and the spread of each term over the batches, (batches, batch) numbers
    of items of the training part.
    """
    seen: dict[str, list[float]] = {}
    for numbers in batches:
        x, labels = items.batch(numbers)
        q, p = model(x, **labels)
        d = recipe.densities(model, q, p)
        for name, term in decomposition(d).items():
            value = float(d.score(term).mean())
            seen.setdefault(name, []).append(value)
    column = {}
    for name, values in seen.items():
        mean, sd = np.mean(values), np.std(values)
        column[name] = {"minibatch": float(mean), "minibatch_sd": float(sd)}
    return column, d.factorises


def breached(
    terms: Mapping[str, Mapping[str, float]],
    recipe: Recipe,
    factorises: bool,
    batches: int,
) -> list[str]:
    """Return the bounds that exact terms and the training's estimates break, with the remedy.

    Args:
        terms: The terms as both columns have them.
        recipe: The plan by which the model was trained.
        factorises: Whether the prior does.
        batches: The number of batches that the training's estimates are means over.
    """
    exactly, training = {}, {}
    for name, term in terms.items():
        error = _error_of_mean(term["minibatch_sd"], batches)
        exactly[name] = (term["exact"], term["se"])
        training[name] = (term["minibatch"], error)
    n = recipe.n
    by = f"the exact sum over {n:,} items"
    of_exact = breaches(exactly, n, by, factorises=factorises)
    of_training = breaches(training, n, recipe.estimator, factorises=factorises)
    remedied = [f"{text}; take more points" for text in of_exact]
    remedied += [f"{text}, read the exact value instead" for text in of_training]
    return remedied


def _error_of_mean(sd: float, n: int) -> float:
    """Return the standard error of a mean of n numbers, infinite for one, which shows no spread.

    `sd` is the root of their mean square around the mean, hence n − 1.
    """
    return sd / math.sqrt(n - 1) if n > 1 else math.inf
