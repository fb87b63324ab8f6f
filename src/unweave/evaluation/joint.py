r"""Densities under an encoder that is given some of its sites.

An aggregate holds y_n where a program draws z ~ q(z|x_n, y_n). For a block of several sites the
exact sum is

.. math:: q(y_i, z_i) = \frac{1}{N} \sum_n q(y_i|x_n) q(z_i|x_n, y_i)

with the encoder of every item n at the value y_i of every row i. Values stand in a dimension before
the items, so that layers which y does not reach run once an item. That is tried on a few pairs: a
program for which it is an error, or another density, runs once for each value.
"""

from __future__ import annotations

import inspect
import math
from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from ..models.model import Model, seeded
from ..trace.leaves import Block
from ..trace.marginals import log_marginals
from ..trace.trace import Trace
from ..training.items import Kept
from .apart import apart
from .encoded import chunks

PAIRS = 2**13
"""Pairs of values and items at a time: what networks hold of them stays near the processor."""

VALUES = 128
"""Values that are given to an item at a time."""

Values = Mapping[str, Tensor]
"""Values of sites, (values, items or 1, *units) each."""


def arguments(model: Model) -> set[str]:
    """Return the names of the encoder's arguments, among them the sites that can be given."""
    program = inspect.signature(model.encoder.forward)
    return set(program.parameters)


def joint(model: Model, x: Tensor | Kept, rows: Trace, part: Block) -> Tensor:
    """Return log q(block_i), (rows,), with all items' encoders at row i's values.

    The encoder's own draws are of no use here, and leave the random state as it was.

    Args:
        model: The model.
        x: The items that q(z) sums over.
        rows: The draws at which q(z) is asked.
        part: A block of latent units.
    """
    at = {site: rows[site].value.unsqueeze(1) for site, _ in part}  # (rows, 1, *units)
    n_rows = len(next(iter(at.values())))
    found = []
    with seeded(0):
        together = broadcasts(model, x[:5], at, at, [part])
        for start in range(0, n_rows, VALUES):
            its = {site: value[start : start + VALUES] for site, value in at.items()}
            items = PAIRS // min(VALUES, n_rows - start) if together else PAIRS
            sums = []
            for some in chunks(x, items):
                (log_q,) = log_densities(model, some, its, its, [part], together=together)
                sums.append(log_q.logsumexp(1))
            found.append(torch.stack(sums).logsumexp(0))
    return torch.cat(found) - math.log(len(x))


def broadcasts(
    model: Model,
    x: Tensor,
    given: Values,
    at: Values,
    parts: Sequence[Block],
    keep: Values | None = None,
) -> bool:
    """True if values that stand before the items give the densities that each gives by itself.

    It is asked of three values and five items.
    """
    few, asked, kept = _few(given), _few(at), _few(keep or {})
    alone = log_densities(model, x[:5], few, asked, parts, keep=kept, together=False)
    try:
        together = log_densities(model, x[:5], few, asked, parts, keep=kept)
    except (RuntimeError, ValueError, TypeError, IndexError):  # the program knows no such shapes
        return False
    return torch.allclose(together, alone, rtol=1e-4, atol=1e-4)


def _few(values: Values) -> dict[str, Tensor]:
    """Return three values of sites at five items."""
    return {site: t[:3, :5] for site, t in values.items()}


def log_densities(
    model: Model,
    x: Tensor,
    given: Values,
    at: Values,
    parts: Sequence[Block],
    *,
    keep: Values | None = None,
    together: bool = True,
) -> Tensor:
    """Return log-densities under items' posteriors given some sites, (blocks, values, items).

    Args:
        model: The model.
        x: The items.
        given: Values of sites; the encoder gets those that it takes.
        at: The place at which densities are asked, of every site in the blocks.
        parts: Blocks of latent units.
        keep: The entries of sites that count, if not all do.
        together: Whether the encoder takes all values at once, see `broadcasts`.
    """
    able = arguments(model)
    n = max([len(value) for value in given.values()], default=1)
    full = {}
    for site, value in given.items():
        if site in able:
            units = value.shape[2:]
            full[site] = value.expand(n, len(x), *units)
    if together and full:
        with apart():
            q = model.encoder(x, **full)
        found = [_log_density(q, at, part, keep or {}, 2) for part in parts]
        return torch.stack([log_q.expand(n, len(x)) for log_q in found])
    of_values = []
    for i in range(n):
        q = model.encoder(x, **{site: value[i] for site, value in full.items()})
        here = {site: value[min(i, len(value) - 1)] for site, value in at.items()}
        kept = {site: mask[0] for site, mask in (keep or {}).items()}
        found = [_log_density(q, here, part, kept, 1) for part in parts]
        of_values.append(torch.stack([log_q.expand(len(x)) for log_q in found]))
    return torch.stack(of_values, 1)


def _log_density(q: Trace, at: Values, part: Block, keep: Values, lead: int) -> Tensor:
    """Return the log-density of a block's values, with `lead` dimensions."""
    total = torch.zeros(())
    for site, units in part:
        dist = q[site].dist
        if dist is not None:
            (log_q,) = log_marginals(dist, at[site], lead, [units], keep.get(site))
            total = total + log_q
    return total
