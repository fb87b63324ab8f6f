"""From traces to the fused estimator: sites become columns of Normal units, and matrices of pairs
for all others.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, OneHotCategorical

from ..fused.plan import Blocks, Body, Units
from ..fused.sweep import Mixture, Pair, mixture
from ..trace.concrete import Concrete
from ..trace.groups import Block
from ..trace.marginals import log_marginals, unwrap
from ..trace.node import Node
from ..trace.trace import Trace


def log_mixture(
    q: Trace,
    posterior: Trace,
    blocks: Sequence[Block],
    log_w: tuple[float, float, float],
    batch_dim: int,
    *,
    ahead: Sequence[float | Tensor] | None = None,
    first: int = 0,
    classes: tuple[int, int] = (1, 1),
    log_v: Tensor | None = None,
    body: type[Body] | None = None,
) -> Tensor:
    r"""log Σ_j w_ij q(block_i | x_j) for items i of `q` and components j of `posterior`: (blocks,
    *samples, batch).

    `log_w` are the log-weights (own, next, other), in nats, of component j = i, of j = i + 1 and of
    any other; the items of `q` are components `first`, `first` + 1 and so on. Rows and components
    may stand for (class, item) pairs, class by class: `classes` says how many of each, and `log_v`
    (*some leading, components) weighs the components further, as log q(class|x_j) does. `ahead`, a
    number or a tensor (*samples, batch) for each block, says up to a common factor which sum Σ
    ahead · log q will be differentiated: its gradient is then made with the values. If another
    gradient is asked for after all, it is made then.

    Normal, Concrete and categorical sites are taken a few rows at a time. Of other distributions
    the matrix (batch, components) is held if gradients reach it.

    >>> q = Trace()
    >>> z = q.normal(torch.zeros(4, 2), torch.ones(4, 2), name="z")
    >>> log_q = log_mixture(q, q, [(("z", (0, 1)),), (("z", (0,)),)], (math.log(1 / 4),) * 3, 0)
    >>> torch.allclose(log_q[0], q["z"].log_prob.sum(-1))
    True
    """
    names = dict.fromkeys(site for block in blocks for site, _ in block)
    kinds = {site: _kind(_dist(posterior[site])) for site in names}
    found = _addresses(tuple(blocks), tuple(kinds.items()))
    lay = _layout([(q[site], posterior[site]) for site in kinds], batch_dim)
    normals, pairs, row_bytes = list[_Normals](), list[Pair](), 0
    for site, kind in kinds.items():
        node, dist = q[site], _dist(posterior[site])
        if kind == "normal":
            normals.append(_normal_units(lay, node, dist, found.units[site]))
        elif kind == "classes":
            pairs += _class_units(lay, node, dist, found.units[site])
        else:
            pairs += _other_units(lay, node, dist, found.subsets[site])
            row_bytes += (
                lay.sets
                * lay.n_comps
                * math.prod(node.value.shape[batch_dim + 1 :])
                * lay.dtype.itemsize
            )
    z, mean, std, keep = _joined(lay, normals, q[next(iter(kinds))].value)
    own, others = lay.n_rows // classes[0], lay.n_comps // classes[1]
    items = torch.arange(first, first + own, device=z.device).repeat(z.shape[1] // own)
    comps = None if classes[1] == 1 else torch.arange(others, device=z.device).repeat(classes[1])
    m = Mixture(log_w, items, others, found.blocks, found.bases, comps, keep, row_bytes, body)
    v = None if log_v is None else lay.components(log_v, ())
    log_q = mixture(
        m, z, mean, std, pairs, v, None if ahead is None else _coefficients(lay, ahead, z)
    )
    return log_q.view(len(blocks), *lay.samples, lay.n_rows)


def _kind(dist: Distribution) -> str:
    if type(dist) is Normal:
        return "normal"
    fixed = isinstance(dist, OneHotCategorical) or (
        isinstance(dist, Concrete) and not isinstance(dist.temperature, Tensor)
    )
    return "classes" if fixed else "other"


class _Addresses(NamedTuple):
    """Where blocks find their units."""

    units: dict[str, list[int]]  # of each site, the units that blocks name
    subsets: dict[str, list[Units]]
    blocks: Blocks
    bases: tuple[tuple[int, ...], ...]


@lru_cache(maxsize=256)
def _addresses(blocks: tuple[Block, ...], kinds: tuple[tuple[str, str], ...]) -> _Addresses:
    """Normal units are columns; of classes each unit is a pair, of other sites each subset that a
    block names.
    """
    named = {
        site: [units for block in blocks for s, units in block if s == site] for site, _ in kinds
    }
    subsets = {site: list(dict.fromkeys(some)) for site, some in named.items()}
    each = {
        site: sorted({unit for units in some for unit in units}) for site, some in subsets.items()
    }
    columns: dict[tuple[str, int], int] = {}
    places: dict[tuple[str, Units], int] = {}
    for site, kind in kinds:
        if kind == "normal":
            columns |= {(site, unit): len(columns) + k for k, unit in enumerate(each[site])}
        else:
            keys = [(unit,) for unit in each[site]] if kind == "classes" else subsets[site]
            places |= {(site, key): len(places) + k for k, key in enumerate(keys)}
    bases: dict[tuple[int, ...], int] = {}
    translated = []
    for block in blocks:
        added = set[int]()
        for site, units in block:
            keys = [units] if (site, units) in places else [(unit,) for unit in units]
            added |= {places[site, key] for key in keys if (site, key) in places}
        of = tuple(
            columns[site, unit]
            for site, units in block
            for unit in units
            if (site, unit) in columns
        )
        translated.append((bases.setdefault(tuple(sorted(added)), len(bases)), of))
    return _Addresses(each, subsets, tuple(translated), tuple(bases))


class _Layout(NamedTuple):
    """How (*samples, batch, …) becomes P sets of rows and components, (P, R, …) and (P, C, …).

    P = 1, with the samples among the rows, where no parameters have samples of their own; else the
    number of samples.
    """

    samples: tuple[int, ...]
    n_rows: int
    n_comps: int
    sets: int
    dtype: torch.dtype

    @property
    def lead(self) -> int:
        return len(self.samples) + 1

    def rows(self, t: Tensor, tail: tuple[int, ...]) -> Tensor:
        """(*samples, batch, *tail), or what broadcasts to it -> (P, R, *tail)"""
        t = _expanded(t, (*self.samples, self.n_rows, *tail))
        return t.reshape(self.sets, self.n_rows * math.prod(self.samples) // self.sets, *tail)

    def components(self, t: Tensor, tail: tuple[int, ...]) -> Tensor:
        """(*some leading, *some tail) -> (P, C, *tail)"""
        if t.ndim < self.lead + len(tail):
            t = t.reshape(*[1] * (self.lead + len(tail) - t.ndim), *t.shape)
        samples = self.samples if self.sets > 1 else (1,) * len(self.samples)
        t = _expanded(t, (*samples, self.n_comps, *tail))
        return t.reshape(self.sets, self.n_comps, *tail).to(self.dtype)

    def latent(self, node: Node, tail: tuple[int, ...]) -> Tensor | None:
        """(P, R, *tail): observed entries are given, hence no part of q(z)."""
        if node.observed is False:
            return None
        latent = ~torch.as_tensor(node.observed, device=node.value.device)
        shape = latent.shape if latent.ndim else (1,) * self.lead
        return self.rows(latent.reshape(*shape, *[1] * (self.lead + len(tail) - len(shape))), tail)


def _expanded(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    return (
        t if t.shape == shape else t.expand(shape)
    )  # autograd would remember even what changes nothing


def _layout(sites: Sequence[tuple[Node, Node]], batch_dim: int) -> _Layout:
    lead = batch_dim + 1
    shapes = {node.value.shape[:lead] for node, _ in sites}
    *samples, n_rows = shapes.pop() if len(shapes) == 1 else torch.broadcast_shapes(*shapes)
    n_comps, varies, dtype = 0, False, torch.float32
    for node, component in sites:
        dist, value, other = _dist(component), node.value, component.value
        n_comps = max(
            n_comps, other.shape[batch_dim - (value.ndim - other.ndim)]
        )  # components may have no samples
        units = value.ndim - len(dist.event_shape) - lead
        varies |= math.prod(dist.batch_shape[: max(len(dist.batch_shape) - units - 1, 0)]) > 1
        dtype = torch.promote_types(dtype, torch.promote_types(value.dtype, other.dtype))
    return _Layout(tuple(samples), n_rows, n_comps, math.prod(samples) if varies else 1, dtype)


class _Normals(NamedTuple):
    """Units side by side: values (P, R, D), means and standard deviations (P, C, D), and where they
    are latent.
    """

    z: Tensor
    mean: Tensor
    std: Tensor
    keep: Tensor | None  # (P, R, D), or None for everywhere


def _normal_units(lay: _Layout, node: Node, dist: Any, each: list[int]) -> _Normals:
    units = tuple(node.value.shape[lay.lead :])
    z, keep = lay.rows(node.value, units).to(lay.dtype), lay.latent(node, units)
    if keep is not None:
        z = torch.where(keep, z, 0.0)  # what was given may be anything
    count = math.prod(units)

    def columns(t: Tensor) -> Tensor:
        t = t if len(units) == 1 else t.reshape(*t.shape[:2], count)
        return t if len(each) == count else t[..., each]

    mean, std = (columns(lay.components(t, units)) for t in (dist.loc, dist.scale))
    return _Normals(columns(z), mean, std, None if keep is None else columns(keep))


def _joined(lay: _Layout, normals: list[_Normals], like: Tensor) -> _Normals:
    if len(normals) == 1:
        return normals[0]
    if not normals:
        rows = like.new_empty(
            (lay.sets, lay.n_rows * math.prod(lay.samples) // lay.sets, 0), dtype=lay.dtype
        )
        components = like.new_empty((lay.sets, lay.n_comps, 0), dtype=lay.dtype)
        return _Normals(rows, components, components, None)
    masked = any(site.keep is not None for site in normals)
    keeps = [torch.ones_like(n.z, dtype=torch.bool) if n.keep is None else n.keep for n in normals]
    z, mean, std = (torch.cat(parts, -1) for parts in list(zip(*normals, strict=True))[:3])
    return _Normals(z, mean, std, torch.cat(keeps, -1) if masked else None)


def _class_units(lay: _Layout, node: Node, dist: Any, each: list[int]) -> list[Pair]:
    """One pair a unit: a matrix product, or a look-up, a chunk."""
    tail = tuple(node.value.shape[lay.lead :])
    units, classes = math.prod(tail[:-1]), tail[-1]
    values = lay.rows(node.value, tail).to(lay.dtype).reshape(lay.sets, -1, units, classes)
    logits = lay.components(dist.logits, tail).reshape(lay.sets, -1, units, classes)
    latent = lay.latent(node, tail[:-1])
    pairs = []
    for unit in each:
        keep = None if latent is None else latent.reshape(lay.sets, -1, units)[..., unit]
        if isinstance(dist, Concrete):
            pairs.append(
                Pair(
                    partial(_concrete, float(dist.temperature), keep),
                    values[..., unit, :],
                    logits[..., unit, :],
                )
            )
        else:
            pairs.append(
                Pair(
                    partial(_one_hot, values[..., unit, :].argmax(-1), keep),
                    None,
                    logits[..., unit, :],
                )
            )
    return pairs


def _concrete(
    temperature: float, keep: Tensor | None, p: int, rows: slice, y: Tensor, logits: Tensor
) -> Tensor:
    return _kept(Concrete(logits, temperature).log_prob(y[:, None]), keep, p, rows)


def _one_hot(
    index: Tensor, keep: Tensor | None, p: int, rows: slice, _: None, logits: Tensor
) -> Tensor:
    return _kept(logits.T[index[p, rows]], keep, p, rows)


def _kept(pair: Tensor, keep: Tensor | None, p: int, rows: slice) -> Tensor:
    return pair if keep is None else torch.where(keep[p, rows, None], pair, 0.0)


def _other_units(lay: _Layout, node: Node, dist: Distribution, subsets: list[Units]) -> list[Pair]:
    """One pair a subset of the units, by broadcasting: rows (R, *samples, 1, *units) meet
    (*samples, C, *units).

    Where gradients reach the densities, they are made at once, for autograd to remember; else chunk
    by chunk.
    """
    samples = lay.samples if lay.sets > 1 else (1,) * len(lay.samples)

    def items_first(t: Tensor) -> Tensor:
        return t.movedim(0, 1).reshape(t.shape[1], *samples, 1, *t.shape[2:])

    values = items_first(lay.rows(node.value, tuple(node.value.shape[lay.lead :])))
    latent = lay.latent(
        node, tuple(node.observed.shape[lay.lead :]) if isinstance(node.observed, Tensor) else ()
    )
    keep = None if latent is None else items_first(latent)

    @lru_cache(maxsize=1)
    def densities(start: int, stop: int | None) -> list[Tensor]:
        """(P, rows, C) for each subset"""
        some = None if keep is None else keep[start:stop]
        each = log_marginals(dist, values[start:stop], lay.lead + 1, subsets, some)
        shape = (len(values[start:stop]), lay.sets, lay.n_comps)
        return [
            t.expand(-1, *samples, lay.n_comps).reshape(shape).movedim(1, 0).to(lay.dtype)
            for t in each
        ]

    if any(t.requires_grad for t in densities(0, 1)):
        return [Pair(_given, t) for t in densities(0, None)]
    return [Pair(partial(_made, densities, k)) for k in range(len(subsets))]


def _given(p: int, rows: slice, densities: Tensor, _: None) -> Tensor:
    return densities


def _made(
    densities: Callable[[int, int], list[Tensor]], k: int, p: int, rows: slice, *_: None
) -> Tensor:
    return densities(rows.start, rows.stop)[k][p]


def _coefficients(lay: _Layout, ahead: Sequence[float | Tensor], like: Tensor) -> Tensor:
    """(blocks, P, R)"""
    if any(isinstance(a, Tensor) for a in ahead):
        full = [torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in ahead]
        return torch.stack([lay.rows(a.detach(), ()) for a in full])
    return like.new_tensor(ahead)[:, None, None].expand(-1, *like.shape[:2])


def _dist(node: Node) -> Distribution:
    if node.dist is None:
        raise ValueError(
            f"a site that is {node.role} without a distribution has no aggregate posterior"
        )
    return unwrap(node.dist)
