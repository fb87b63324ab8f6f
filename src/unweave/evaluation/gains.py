"""The information that each unit carries about the data, I(x; unit)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..aggregate import log_own
from ..models.model import Model, seeded
from ..objective.densities import Densities
from ..trace.groups import Block, block
from ..trace.marginals import log_marginals
from ..trace.node import Node
from ..trace.trace import Trace
from .encoded import evenly

ROWS = 500
"""Rows at which other latents are integrated by draws."""

DRAWS = 500
"""Draws of the other latents for each of these rows."""


def gains(
    model: Model, x: Tensor, own: Trace, d: Densities, units: Iterable[str]
) -> dict[str, Tensor]:
    """Return log q(unit|x) − log q(unit) of some rows, by unit; its mean is I(x; unit).

    Where a program draws z from q(z|x, y), log q(z|x) is no density that the trace holds.
    Enumerated classes y are summed over, and other latents are integrated by draws,

    .. math:: q(z_i|x_i) ≈ \\frac{1}{M} \\sum_m q(z_i | x_i, y_m), \\quad y_m \\sim q(y|x_i)

    with `DRAWS` draws at `ROWS` of the rows. Its logarithm is too low by about Var/(2M) of the
    relative densities: by 0.01 nats where z shows which of ten equally likely classes was drawn.

    Args:
        model: The model.
        x: The items of the rows.
        own: The encoder's trace of the rows, with classes enumerated where they are.
        d: The atoms of the rows, drawn from that trace.
        units: Names of the units.
    """
    parts = {unit: block(unit, d.shapes) for unit in units}
    some = evenly(len(x), ROWS)
    few, rows = x[some], d.q.take(some)
    drawn = set() if own.classes() else _given_others(model, few, rows)
    dependent = [part for part in parts.values() if part[0][0] in drawn]
    integrated = _log_q_by_draws(model, few, rows, dependent)
    assert d.aggregate is not None
    depth = len(own.classes())
    found = {}
    of_all = d.aggregate(d.q, list(parts.values()), 0)
    for (unit, part), log_q in zip(parts.items(), of_all, strict=True):
        if part in integrated:
            found[unit] = integrated[part] - log_q[some]
            continue
        log_q_x = log_own(d.q.aligned(depth), own, part, depth)
        found[unit] = log_q_x.reshape(log_q_x.shape[depth:]) - log_q
    return found


def _given_others(model: Model, x: Tensor, rows: Trace) -> set[str]:
    """Return the sites whose density changes as the program draws other sites again."""
    runs = []
    for seed in range(2):
        with seeded(seed):
            runs.append(model.encoder(x))
    found = set()
    for site, node in rows.items():
        if node.dist is None:
            continue
        one, other = (q[site].dist.log_prob(node.value) for q in runs)
        if not torch.equal(one, other):
            found.add(site)
    return found


def _log_q_by_draws(
    model: Model, x: Tensor, rows: Trace, parts: Sequence[Block]
) -> dict[Block, Tensor]:
    """Return log q(block|x) of each block, (rows,), the mean over draws of all that it is given."""
    if not parts:
        return {}
    total = {part: torch.full((len(x),), -math.inf) for part in parts}
    latent = {site: _latent(rows[site]) for ((site, _),) in parts}
    with seeded(0):
        for _ in range(DRAWS):
            q = model.encoder(x)
            for part in parts:
                ((site, units),) = part
                dist = q[site].dist
                assert dist is not None
                (log_q,) = log_marginals(dist, rows[site].value, 1, [units], latent[site])
                total[part] = torch.logaddexp(total[part], log_q)
    return {part: log_q - math.log(DRAWS) for part, log_q in total.items()}


def _latent(node: Node) -> Tensor | None:
    """Return which entries of a site were drawn; those given or absent are no part of q(z)."""
    return ~node.observed if isinstance(node.observed, Tensor) else None
