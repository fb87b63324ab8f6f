"""The information that a code has about the factors of the data, I(v; z), exactly."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from ..aggregate import exact
from ..data import Data
from ..models.model import unit_names
from ..trace.leaves import Block, block
from ..trace.marginals import unit_shape
from ..trace.trace import Trace
from .sums import Sums
from .terms import MANY


def class_information(sums: Sums, some: Tensor, data: Data) -> dict[str, Any]:
    """Return the information about each factor v of the data, and about the first class by class:

    .. math:: I(v; z_b) = E[\\log q(z_b|v) - \\log q(z_b)]

    q(z|v) averages q(z|x_n) over the items of class v; the row of class v is KL(q(z_b|v) ‖ q(z_b)).
    Items whose factor is missing are left out of its part.

    Args:
        sums: Sums over all items, at the rows that the information is averaged over.
        some: The rows' numbers.
        data: The items' factors.
    """
    q, rows = sums.posterior, sums.rows
    columns = _columns(rows)
    names = [name for name, _ in columns]
    blocks = _blocks(rows, names)
    factors = torch.as_tensor(data.factors)  # (items, factors)
    whole = None  # the same for all factors, unless some are missing
    if (factors >= 0).all():
        whole = torch.stack(sums(rows, blocks))  # (blocks, rows)
    found: dict[str, Any] = {}
    about: dict[str, Any] = {"names": names, "factors": [], "total": [], "entropy": []}
    for name, size, labels in zip(data.names, data.sizes, factors.T, strict=True):
        at = _numbers(labels[some] >= 0)  # the rows that are labelled
        if not len(at):
            continue
        its = rows.take(at)
        own = labels[some[at]]
        known = _numbers(labels >= 0)
        log_q = whole[:, at] if whole is not None else _log_q(q, known, its, blocks)
        gain = _gain(q, labels, its, own, log_q, blocks)  # (rows, blocks)
        total = gain.mean(0).tolist()
        entropy = _entropy(labels, size)
        about["factors"].append(name)
        about["total"].append(total)
        about["entropy"].append(entropy)
        if name == data.names[0]:
            found["I(y;z)"] = {
                "names": names,
                "kinds": [kind for _, kind in columns],
                "total": total,
                "per_class": _per_class(gain, own, size),
            }
            found["entropy_y"] = entropy
    if len(data.names) > 1 and about["factors"]:
        found["I(v;z)"] = about
    return found


def _columns(rows: Trace) -> list[tuple[str, str]]:
    """Return the names that have a column, sites and then their units, each with its kind."""
    groups = [(site, "group") for site in rows]
    units = []
    for site, node in rows.items():
        names = unit_names(site, node)
        units += [(name, "unit") for name in names if name != site]
    return groups + units if len(units) <= MANY else groups


def _blocks(rows: Trace, names: list[str]) -> list[Block]:
    shapes = {}
    for site, node in rows.items():
        if node.dist is not None:
            shapes[site] = unit_shape(node.dist, node.value, 1)
    return [block(name, shapes) for name in names]


def _log_q(q: Trace, items: Tensor, rows: Trace, blocks: list[Block]) -> Tensor:
    """Return log q(z_block) of the rows over some items alone, (blocks, rows)."""
    aggregate = exact(q.take(items))
    return torch.stack(aggregate(rows, blocks, 0))


def _gain(
    q: Trace, labels: Tensor, rows: Trace, own: Tensor, log_q: Tensor, blocks: list[Block]
) -> Tensor:
    """Return log q(z_block|v) − log q(z_block) of rows whose classes are `own`, (rows, blocks)."""
    gain = log_q.new_empty(len(own), len(blocks))
    for c in own.unique():
        here = _numbers(own == c)
        members = _numbers(labels == c)
        log_q_c = _log_q(q, members, rows.take(here), blocks)  # (blocks, here)
        gain[here] = (log_q_c - log_q[:, here]).T
    return gain


def _per_class(gain: Tensor, own: Tensor, size: int) -> list[list[float] | None]:
    """Return the mean gain of each class' rows; None of a class without any."""
    means: list[list[float] | None] = []
    for c in range(size):
        its = gain[own == c]
        means.append(its.mean(0).tolist() if len(its) else None)
    return means


def _entropy(labels: Tensor, size: int) -> float:
    """Return the entropy of a factor over the items where it is known."""
    known = labels >= 0
    share = torch.bincount(labels[known], minlength=size) / known.sum()
    log_share = share.clamp_min(1e-12).log()
    return -float((share * log_share).sum())


def _numbers(which: Tensor) -> Tensor:
    return which.nonzero().squeeze(1)
