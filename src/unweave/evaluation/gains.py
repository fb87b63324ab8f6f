"""The information that each unit carries about the data, I(x; unit)."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

import torch
from torch import Tensor

from ..aggregate import log_own
from ..models.model import Model, seeded
from ..objective.densities import Densities
from ..trace.leaves import Block, block
from ..trace.trace import Trace
from .encoded import evenly
from .joint import PAIRS, VALUES, Values, arguments, broadcasts, log_densities

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
    integrated = _log_q_by_draws(model, few, rows, dependent, drawn)
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
    model: Model, x: Tensor, rows: Trace, parts: Sequence[Block], drawn: set[str]
) -> dict[Block, Tensor]:
    """Return log q(block|x) of each block, (rows,), the mean over draws of all that it is given.

    The draws are given to the encoder many at a time where that is the same (`broadcasts`); else it
    runs once a draw.
    """
    if not parts:
        return {}
    at, keep = {}, {}
    for ((site, _),) in parts:
        node = rows[site]
        at[site] = node.value.unsqueeze(0)  # (1, rows, *units)
        if isinstance(node.observed, Tensor):  # those given or absent are no part of q(z)
            keep[site] = ~node.observed.unsqueeze(0)
    with seeded(0):
        given = _draws(model, x, rows, drawn)
        if given and broadcasts(model, x, given, at, parts, keep):
            log_q = _log_sums(model, x, given, at, parts, keep)
        else:
            log_q = _log_sums_one_by_one(model, x, at, parts, keep)
    return dict(zip(parts, log_q - math.log(DRAWS), strict=True))


def _draws(model: Model, x: Tensor, rows: Trace, drawn: set[str]) -> dict[str, Tensor]:
    """Return draws of the sites that the encoder takes, (draws, rows, *units), none if not alone.

    Sites in `drawn` are given other sites: draws of each by itself would be none of their joint.
    """
    able = arguments(model).intersection(rows)
    if able & drawn:
        return {}
    q = model.encoder(x)
    given = {}
    for site in rows:
        dist = q[site].dist
        if site in able and dist is not None:
            given[site] = dist.sample((DRAWS,))
    return given


def _log_sums(
    model: Model, x: Tensor, given: Values, at: Values, parts: Sequence[Block], keep: Values
) -> Tensor:
    """Return log Σ_m q(block|x, y_m) over draws that the encoder takes together, (blocks, rows)."""
    found = []
    step = PAIRS // VALUES
    for start in range(0, len(x), step):
        here = slice(start, start + step)
        its = {site: t[:, here] for site, t in at.items()}
        held = {site: t[:, here] for site, t in keep.items()}
        sums = []
        for first in range(0, DRAWS, VALUES):
            some = {site: t[first : first + VALUES, here] for site, t in given.items()}
            log_q = log_densities(model, x[here], some, its, parts, keep=held)
            sums.append(log_q.logsumexp(1))  # (blocks, rows)
        found.append(torch.stack(sums).logsumexp(0))
    return torch.cat(found, 1)


def _log_sums_one_by_one(
    model: Model, x: Tensor, at: Values, parts: Sequence[Block], keep: Values
) -> Tensor:
    """Return log Σ_m q(block|x, y_m), (blocks, rows), with a run of the encoder for each draw."""
    total = torch.full((len(parts), len(x)), -math.inf)
    for _ in range(DRAWS):
        log_q = log_densities(model, x, {}, at, parts, keep=keep)  # (blocks, 1, rows)
        total = torch.logaddexp(total, log_q.squeeze(1))
    return total
