"""From traces to the fused estimator: Normal units become columns, all others matrices of pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution

from ..fused.plan import Body, Units
from ..fused.sweep import Mixture, Pair, mixture
from ..trace.concrete import Concrete
from ..trace.groups import Block
from ..trace.marginals import log_marginals
from ..trace.node import Node
from ..trace.trace import Trace
from .layout import Layout, addresses, bare_dist, kind_of, layout
from .question import Coefficient, LogWeights


def log_mixture_fused(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    log_w: LogWeights,
    batch_dim: int,
    *,
    ahead: Sequence[Coefficient] | None = None,
    first: int = 0,
    classes: tuple[int, int] = (1, 1),
    log_v: Tensor | None = None,
    body: type[Body] | None = None,
) -> Tensor:
    r"""Return log Σ_j w_ij q(block_i | x_j) for items i of `q` and components j of `posterior`.

    Normal, Concrete and categorical sites are taken a few rows at a time. Of other distributions
    the matrix (batch, components) is held if gradients reach it.

    >>> q = Trace()
    >>> z = q.normal(torch.zeros(4, 2), torch.ones(4, 2), name="z")
    >>> blocks = [(("z", (0, 1)),), (("z", (0,)),)]
    >>> log_q = log_mixture_fused(q, q, blocks, (math.log(1 / 4),) * 3, 0)
    >>> torch.allclose(log_q[0], q["z"].log_prob.sum(-1))
    True

    Args:
        q: The rows.
        posterior: The components.
        blocks: Blocks of latent units.
        log_w: log-weights (own, next, other), in nats, of component j = i, of j = i + 1 and of any
            other.
        batch_dim: The dimension of the items in the values of `q`.
        ahead: A number or a tensor (*samples, batch) for each block: up to a common factor, the
            coefficients of the sum Σ ahead · log q that will be differentiated. Its gradient is
            then made with the values. If another gradient is asked for after all, it is made then.
        first: The items of `q` are components `first`, `first` + 1 and so on.
        classes: How many classes rows and components stand for, if they are (class, item) pairs,
            class by class.
        log_v: Further log-weights (*some leading, components) of components, as log q(class|x_j).
        body: The back end, the fastest if None.

    Returns:
        log q (blocks, *samples, batch), in nats.
    """
    names = dict.fromkeys(site for block in blocks for site, _ in block)
    kinds = {site: kind_of(bare_dist(posterior[site])) for site in names}
    found = addresses(tuple(blocks), tuple(kinds.items()))
    nodes = [(q[site], posterior[site]) for site in kinds]
    lay = layout(nodes, batch_dim)
    normals = list[_Normals]()
    pairs = list[Pair]()
    row_bytes = 0
    for site, kind in kinds.items():
        node, dist = q[site], bare_dist(posterior[site])
        if kind == "normal":
            normals.append(_normal_units(lay, node, dist, found.units[site]))
        elif kind == "classes":
            pairs += _class_units(lay, node, dist, found.units[site])
        else:
            pairs += _other_units(lay, node, dist, found.subsets[site])
            n_units = math.prod(node.value.shape[lay.lead :])
            row_bytes += lay.sets * lay.n_comps * n_units * lay.dtype.itemsize
    joined = _join(lay, normals, like=q[next(iter(kinds))].value)
    rows_item, comps_item = _items(lay, classes, first, joined.z)
    m = Mixture(
        log_w=log_w,
        rows_item=rows_item,
        items=lay.n_comps // classes[1],
        blocks=found.blocks,
        bases=found.bases,
        comps_item=comps_item,
        keep=joined.keep,
        row_bytes=row_bytes,
        body=body,
    )
    weights = None if log_v is None else lay.components(log_v, ())
    coefficients = None if ahead is None else _coefficients(lay, ahead, joined.z)
    log_q = mixture(m, joined.z, joined.mean, joined.std, pairs, weights, coefficients)
    return log_q.view(len(blocks), *lay.samples, lay.n_rows)


def _items(
    lay: Layout, classes: tuple[int, int], first: int, z: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return the item of each row (R,) and component (C,), None if components are items."""
    of_rows, of_comps = classes
    n_items = lay.n_rows // of_rows
    n_rows = z.shape[1]
    rows = torch.arange(first, first + n_items, device=z.device)
    rows = rows.repeat(n_rows // n_items)
    if of_comps == 1:
        return rows, None
    comps = torch.arange(lay.n_comps // of_comps, device=z.device)
    return rows, comps.repeat(of_comps)


def _coefficients(lay: Layout, ahead: Sequence[Coefficient], like: Tensor) -> Tensor:
    """Return the coefficients (blocks, P, R)."""
    if not any(isinstance(a, Tensor) for a in ahead):
        numbers = like.new_tensor(ahead)[:, None, None]
        return numbers.expand(-1, *like.shape[:2])
    full = []
    for a in ahead:
        t = torch.as_tensor(a, dtype=like.dtype, device=like.device)
        full.append(lay.rows(t.detach(), ()))
    return torch.stack(full)


# -- Normal units ----------------------------------------------------------------------------------


class _Normals(NamedTuple):
    """Units side by side, and where they are latent."""

    z: Tensor  # (P, R, D)
    mean: Tensor  # (P, C, D)
    std: Tensor  # (P, C, D)
    keep: Tensor | None  # (P, R, D), or None for everywhere


def _normal_units(lay: Layout, node: Node, dist: Any, each: list[int]) -> _Normals:
    units = tuple(node.value.shape[lay.lead :])
    count = math.prod(units)
    z = lay.rows(node.value, units).to(lay.dtype)
    keep = lay.latent(node, units)
    if keep is not None:
        z = torch.where(keep, z, 0.0)  # an observed value may be anything

    def columns(t: Tensor) -> Tensor:
        """Return the columns (P, R or C, D) that blocks name."""
        if len(units) != 1:
            t = t.reshape(*t.shape[:2], count)
        return t if len(each) == count else t[..., each]

    mean = columns(lay.components(dist.loc, units))
    std = columns(lay.components(dist.scale, units))
    kept = None if keep is None else columns(keep)
    return _Normals(columns(z), mean, std, kept)


def _join(lay: Layout, normals: list[_Normals], like: Tensor) -> _Normals:
    """Put the units of several sites side by side."""
    if len(normals) == 1:
        return normals[0]
    if not normals:
        rows = like.new_empty((lay.sets, lay.rows_of_a_set, 0), dtype=lay.dtype)
        components = like.new_empty((lay.sets, lay.n_comps, 0), dtype=lay.dtype)
        return _Normals(rows, components, components, None)
    z = torch.cat([n.z for n in normals], -1)
    mean = torch.cat([n.mean for n in normals], -1)
    std = torch.cat([n.std for n in normals], -1)
    if all(n.keep is None for n in normals):
        return _Normals(z, mean, std, None)
    keeps = [_everywhere(n.z) if n.keep is None else n.keep for n in normals]
    return _Normals(z, mean, std, torch.cat(keeps, -1))


def _everywhere(t: Tensor) -> Tensor:
    return torch.ones_like(t, dtype=torch.bool)


# -- class variables -------------------------------------------------------------------------------


def _class_units(lay: Layout, node: Node, dist: Any, each: list[int]) -> list[Pair]:
    """Return one pair a unit: a matrix product, or a look-up, a chunk."""
    tail = tuple(node.value.shape[lay.lead :])
    *shape, classes = tail
    units = math.prod(shape)
    flat = (lay.sets, -1, units, classes)
    values = lay.rows(node.value, tail).to(lay.dtype).reshape(flat)
    logits = lay.components(dist.logits, tail).reshape(flat)
    latent = lay.latent(node, tuple(shape))
    if latent is not None:
        latent = latent.reshape(lay.sets, -1, units)
    pairs = []
    for unit in each:
        keep = None if latent is None else latent[..., unit]
        value = values[..., unit, :]  # (P, R, classes)
        logit = logits[..., unit, :]  # (P, C, classes)
        if isinstance(dist, Concrete):
            fn = partial(_concrete, float(dist.temperature), keep)
            pairs.append(Pair(fn, value, logit))
        else:
            fn = partial(_one_hot, value.argmax(-1), keep)
            pairs.append(Pair(fn, None, logit))
    return pairs


def _concrete(
    temperature: float, keep: Tensor | None, p: int, rows: slice, y: Tensor, logits: Tensor
) -> Tensor:
    log_prob = Concrete(logits, temperature).log_prob(y[:, None])  # (rows, C)
    return _kept(log_prob, keep, p, rows)


def _one_hot(
    index: Tensor, keep: Tensor | None, p: int, rows: slice, _: None, logits: Tensor
) -> Tensor:
    log_prob = logits.T[index[p, rows]]  # (rows, C)
    return _kept(log_prob, keep, p, rows)


def _kept(pair: Tensor, keep: Tensor | None, p: int, rows: slice) -> Tensor:
    return pair if keep is None else torch.where(keep[p, rows, None], pair, 0.0)


# -- all other sites -------------------------------------------------------------------------------


def _other_units(lay: Layout, node: Node, dist: Distribution, subsets: list[Units]) -> list[Pair]:
    """Return one pair a subset of the units, by broadcasting.

    Rows (R, *samples, 1, *units) meet components (*samples, C, *units). Where gradients reach the
    densities, they are made at once, for autograd to remember; else chunk by chunk.
    """
    samples = lay.samples_of_sets

    def items_first(t: Tensor) -> Tensor:
        """(P, R, …) -> (R, *samples, 1, …)"""
        n_rows, *tail = t.shape[1:]
        return t.movedim(0, 1).reshape(n_rows, *samples, 1, *tail)

    units = tuple(node.value.shape[lay.lead :])
    values = items_first(lay.rows(node.value, units))
    told_apart: tuple[int, ...] = ()  # the units that are observed one by one
    if isinstance(node.observed, Tensor):
        told_apart = tuple(node.observed.shape[lay.lead :])
    latent = lay.latent(node, told_apart)
    keep = None if latent is None else items_first(latent)

    @lru_cache(maxsize=1)
    def densities(start: int, stop: int | None) -> list[Tensor]:
        """Return the densities (P, rows, C) of each subset."""
        some = values[start:stop]
        kept = None if keep is None else keep[start:stop]
        made = []
        for t in log_marginals(dist, some, lay.lead + 1, subsets, kept):
            t = t.expand(-1, *samples, lay.n_comps)
            t = t.reshape(len(some), lay.sets, lay.n_comps)
            made.append(t.movedim(1, 0).to(lay.dtype))
        return made

    if any(t.requires_grad for t in densities(0, 1)):
        return [Pair(_given, t) for t in densities(0, None)]
    return [Pair(partial(_made, densities, k)) for k in range(len(subsets))]


def _given(p: int, rows: slice, densities: Tensor, _: None) -> Tensor:
    return densities


def _made(
    densities: Callable[[int, int], list[Tensor]], k: int, p: int, rows: slice, *_: None
) -> Tensor:
    return densities(rows.start, rows.stop)[k][p]
