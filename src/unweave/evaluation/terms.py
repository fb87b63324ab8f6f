"""The terms of the bound: exact ones, and the training's estimates beside them.

q(z) is the sum over the whole training part, averaged over some of its items.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ..aggregate import exact
from ..models.model import Model, unit_names
from ..objective.atoms import Atom
from ..objective.bounds import breaches
from ..objective.densities import Densities
from ..objective.objective import Objective
from ..trace.groups import Block, Tree
from ..trace.marginals import log_marginals
from ..trace.trace import Trace
from ..training.items import Items, Kept, epoch_order
from ..training.recipe import PRIOR_DRAWS, Recipe, decomposition
from .encoded import chunks, evenly
from .gains import gains

MANY = 100
"""Units of a code; where there are more, sites stand as wholes."""

BATCHES = 100
"""The most batches of an epoch that the training's estimates are taken over."""


def with_error(values: Tensor) -> list[float]:
    """Return the mean of the values and its standard error."""
    n = max(len(values), 1)
    error = values.std() / math.sqrt(n)
    return [float(values.mean()), float(error)]


# -- exact terms -----------------------------------------------------------------------------------


def information(
    model: Model, x: Tensor | Kept, q: Trace, some: Tensor, groups: Tree | None
) -> dict[str, Any]:
    """Return the exact decomposition, and the information in each unit.

    Classes of enumerated sites are drawn for the rows.

    Args:
        model: The model.
        x: The items of the training part.
        q: The encoder's trace of all of them.
        some: The numbers of the items that terms are averaged over, the rows.
        groups: The tree of groups.
    """
    own = q.take(some)
    rows = own.draw()
    p = model.decoder(x[some], rows)
    prior = partial(model.decoder, None, rows.free(PRIOR_DRAWS))
    d = Densities(rows, p, groups=groups, aggregate=exact(q), kl="sampled", prior=prior)
    gaps = {} if q.classes() else dependence(model, x, rows, d)
    terms = {name: _exact(d, term, gaps) for name, term in decomposition(d).items()}
    site_of = _units(rows)
    carried = gains(model, x[some], own, d, site_of)
    return {
        "terms": terms,
        "exact_n": len(x),
        "exact_points": len(some),
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


def _exact(d: Densities, term: Objective, gaps: Mapping[int, Tensor]) -> dict[str, float]:
    """Return a term and its standard error, with what dependent sites add at each level."""
    value, error = with_error(d.score(term))
    for level, gap in gaps.items():
        coefficient = term.coefficients.get(Atom("q", level))
        weight = coefficient if isinstance(coefficient, float) else 0.0
        shift, spread = with_error(gap)
        value += weight * shift
        error = math.hypot(error, weight * spread)
    return {"exact": value, "se": error}


def dependence(
    model: Model, x: Tensor | Kept, rows: Trace, d: Densities, pairs: int = 4 * 10**6
) -> dict[int, Tensor]:
    """Return how far blocks of sites that depend on one another are from independence, by level.

    An aggregate holds y_n where a program draws z ~ q(z|x_n, y_n). For a block of several sites the
    exact sum,

    .. math:: q(y_i, z_i) = \\frac{1}{N} \\sum_n q(y_i|x_n) q(z_i|x_n, y_i),

    runs the encoder on every item with the site fixed at y_i: for as many rows i as keep N·i below
    `pairs`.

    Args:
        model: The model.
        x: The items that q(z) sums over.
        rows: The draws at which q(z) is asked.
        d: The atoms of the rows.
        pairs: The most runs of the encoder, counted in items.

    Returns:
        By level, log q of its blocks less what the aggregate gives, of some rows.
    """
    able = _given(model)
    some = evenly(_length(rows), max(2, pairs // len(x)))
    few = rows.take(some)
    gaps = {}
    for level, blocks in enumerate(d.levels):
        joined = [part for part in blocks if len(part) > 1]
        dependent = [part for part in joined if not able.isdisjoint(_sites(part))]
        if not dependent:
            continue
        held = d.aggregate(few, dependent, 0) if d.aggregate else []
        gap = torch.zeros(())
        for part, log_q in zip(dependent, held, strict=True):
            gap = gap + (joint(model, x, few, part) - log_q)
        gaps[level] = gap
    return gaps


def joint(model: Model, x: Tensor | Kept, rows: Trace, part: Block) -> Tensor:
    """Return log q(block_i), (rows,), by running the encoder on all items with row i's values."""
    able = _given(model)
    sites = _sites(part)
    log_q = []
    for i in range(_length(rows)):
        densities = []
        for some in chunks(x):
            row = {site: _repeated(rows[site].value[i], len(some)) for site in sites}
            fixed = {site: value for site, value in row.items() if site in able}
            q = model.encoder(some, **fixed)
            densities.append(_log_q(q, row, part))
        of_items = torch.cat(densities)  # (items,)
        log_q.append(of_items.logsumexp(0) - math.log(len(x)))
    return torch.stack(log_q)


def _log_q(q: Trace, row: Mapping[str, Tensor], part: Block) -> Tensor:
    """Return the log-density of a block's values under each item's posterior, (items,)."""
    total = torch.zeros(())
    for site, units in part:
        dist = q[site].dist
        if dist is not None:
            (log_density,) = log_marginals(dist, row[site], 1, [units])
            total = total + log_density
    return total


def _repeated(value: Tensor, n: int) -> Tensor:
    """Return one row's value for n items, (n, *units)."""
    return value.expand(n, *value.shape)


def _given(model: Model) -> set[str]:
    """Return the names of the encoder's arguments, among them the sites that can be fixed."""
    program = inspect.signature(model.encoder.forward)
    return set(program.parameters)


def _sites(part: Block) -> list[str]:
    return [site for site, _ in part]


def _length(rows: Trace) -> int:
    first = next(iter(rows.values()))
    return len(first.value)


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
