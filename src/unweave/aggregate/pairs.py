"""From traces to the fused estimator: Normal units become columns, all others matrices of pairs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import lru_cache, partial
from typing import Any, NamedTuple

import torch
from torch import Tensor

from ..fused.plan import Body, Units
from ..fused.relaxed import HOTTEST, RelaxedChunk
from ..fused.sweep import Differentiated, Mixture, Pair, mixture
from ..trace.concrete import Concrete
from ..trace.leaves import Block
from ..trace.marginals import log_marginals
from ..trace.trace import Trace
from .layout import Layout, Site, addresses, bare_dist, kind_of, layout
from .question import Coefficient, LogWeights, sites_of


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

    Normal, Concrete and categorical sites are taken a few rows at a time. The matrix (batch,
    components) of another distribution is held if gradients reach it.

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
    sites = _find_sites(q, posterior, blocks)
    kinds = tuple([(site.name, site.kind) for site in sites])
    found = addresses(tuple(blocks), kinds)
    lay = layout(sites, batch_dim)
    normals = list[_Normals]()
    pairs = list[Pair]()
    row_bytes = 0
    for site in sites:
        each = found.units[site.name]
        if site.kind == "normal":
            normals.append(_normal_units(lay, site, each))
        elif site.kind == "classes":
            pairs += _class_units(lay, site, each)
        else:
            subsets = found.subsets[site.name]
            pairs += _other_units(lay, site, subsets)
            row_bytes += _bytes_of_a_row(lay, site)
    joined = _join(lay, normals, like=sites[0].rows.value)
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
    weights, coefficients = None, None
    if log_v is not None:
        weights = lay.components(log_v, ())  # (P, C)
    if ahead is not None:
        coefficients = _coefficients(lay, ahead, joined.z)  # (blocks, P, R)
    # (blocks, P, R)
    log_q = mixture(m, joined.z, joined.mean, joined.std, pairs, weights, coefficients)
    return log_q.view(len(blocks), *lay.samples, lay.n_rows)


def _find_sites(q: Trace, posterior: Trace, blocks: Sequence[Block]) -> list[Site]:
    """Return the sites that blocks name, with their rows and components."""
    sites = []
    for name in sites_of(blocks):
        component = posterior[name]
        dist = bare_dist(component)
        kind = kind_of(dist)
        sites.append(Site(name, q[name], component, dist, kind))
    return sites


def _items(
    lay: Layout, classes: tuple[int, int], first: int, z: Tensor
) -> tuple[Tensor, Tensor | None]:
    """Return the item of each row (R,) and component (C,), None if components are items."""
    of_rows, of_comps = classes
    n_items = lay.n_rows // of_rows
    n_rows = z.shape[1]
    rows_item = _numbers(first, n_items, n_rows // n_items, z.device)
    if of_comps == 1:
        return rows_item, None
    return rows_item, _numbers(0, lay.n_comps // of_comps, of_comps, z.device)


@lru_cache(maxsize=8)
def _numbers(first: int, count: int, times: int, device: torch.device) -> Tensor:
    """Return `count` numbers from `first` on, several times; a training asks for few of them."""
    return torch.arange(first, first + count, device=device).repeat(times)


def _coefficients(lay: Layout, ahead: Sequence[Coefficient], like: Tensor) -> Tensor:
    """Return the coefficients (blocks, P, R)."""
    tensors = [a for a in ahead if isinstance(a, Tensor)]
    if not tensors:
        sets, n_rows, _ = like.shape
        numbers = like.new_tensor(ahead)[:, None, None]  # (blocks, 1, 1)
        return numbers.expand(-1, sets, n_rows)
    full: dict[int, Tensor] = {}  # many blocks have one coefficient
    for a in ahead:
        if id(a) not in full:
            t = torch.as_tensor(a, dtype=like.dtype, device=like.device)
            t = t.detach()
            full[id(a)] = lay.rows(t, ())
    return torch.stack([full[id(a)] for a in ahead])


# -- Normal units ----------------------------------------------------------------------------------


class _Normals(NamedTuple):
    """Units side by side, and where they are latent."""

    z: Tensor  # (P, R, D)
    mean: Tensor  # (P, C, D)
    std: Tensor  # (P, C, D)
    keep: Tensor | None  # (P, R, D), or None for everywhere


def _normal_units(lay: Layout, site: Site, each: list[int]) -> _Normals:
    """Return the units of a Normal site that blocks name."""
    node = site.rows
    dist: Any = site.dist
    units = tuple(node.value.shape[lay.lead :])
    count = math.prod(units)
    z = lay.rows(node.value, units)
    z = z.to(lay.dtype)
    keep = lay.latent(node, units)
    if keep is not None:
        z = torch.where(keep, z, 0.0)  # an observed value may be anything

    def columns(t: Tensor) -> Tensor:
        """(P, R or C, *units) -> (P, R or C, D), the columns that blocks name."""
        if len(units) != 1:
            sets, n, *_ = t.shape
            t = t.reshape(sets, n, count)
        if len(each) == count:
            return t
        return t[..., each]

    loc = lay.components(dist.loc, units)
    scale = lay.components(dist.scale, units)
    kept = None if keep is None else columns(keep)
    return _Normals(columns(z), columns(loc), columns(scale), kept)


def _join(lay: Layout, normals: list[_Normals], like: Tensor) -> _Normals:
    """Put the units of several sites side by side."""
    if len(normals) == 1:
        return normals[0]
    if not normals:
        of_rows = (lay.sets, lay.rows_of_a_set, 0)
        of_comps = (lay.sets, lay.n_comps, 0)
        rows = like.new_empty(of_rows, dtype=lay.dtype)
        components = like.new_empty(of_comps, dtype=lay.dtype)
        return _Normals(rows, components, components, None)
    values, means, stds, keeps = zip(*normals, strict=True)
    z = torch.cat(values, -1)
    mean = torch.cat(means, -1)
    std = torch.cat(stds, -1)
    masked = [keep for keep in keeps if keep is not None]
    if not masked:
        return _Normals(z, mean, std, None)
    full = []
    for value, keep in zip(values, keeps, strict=True):
        full.append(_everywhere(value) if keep is None else keep)
    return _Normals(z, mean, std, torch.cat(full, -1))


def _everywhere(t: Tensor) -> Tensor:
    """Return True for each entry of a tensor."""
    return torch.ones_like(t, dtype=torch.bool)


# -- class variables -------------------------------------------------------------------------------


def _class_units(lay: Layout, site: Site, each: list[int]) -> list[Pair]:
    """Return one pair a unit: a matrix product, or a look-up, a chunk."""
    node = site.rows
    dist: Any = site.dist
    tail = tuple(node.value.shape[lay.lead :])
    *shape, classes = tail
    units = math.prod(shape)
    flat = (lay.sets, -1, units, classes)
    values = lay.rows(node.value, tail)
    values = values.to(lay.dtype).reshape(flat)  # (P, R, D, classes)
    logits = lay.components(dist.logits, tail)
    logits = logits.reshape(flat)  # (P, C, D, classes)
    latent = lay.latent(node, tuple(shape))
    if latent is not None:
        latent = latent.reshape(lay.sets, -1, units)  # (P, R, D)
    temperature = float(dist.temperature) if isinstance(dist, Concrete) else None
    pairs = []
    for unit in each:
        keep = None if latent is None else latent[..., unit]
        value = values[..., unit, :]  # (P, R, classes)
        logit = logits[..., unit, :]  # (P, C, classes)
        if temperature is None:
            index = value.argmax(-1)  # (P, R)
            fn = partial(_one_hot, index, keep)
            pairs.append(_differentiated(fn, None, logit))
        elif temperature <= HOTTEST:
            chunk = partial(RelaxedChunk, temperature, keep)
            pairs.append(Pair(chunk, value, logit))
        else:
            fn = partial(_concrete, temperature, keep)
            pairs.append(_differentiated(fn, value, logit))
    return pairs


def _differentiated(
    fn: Callable[..., Tensor], rows: Tensor | None = None, components: Tensor | None = None
) -> Pair:
    """Return a pair whose densities are differentiated by autograd."""
    chunk = partial(Differentiated, fn)
    return Pair(chunk, rows, components)


def _concrete(
    temperature: float, keep: Tensor | None, p: int, rows: slice, y: Tensor, logits: Tensor
) -> Tensor:
    dist = Concrete(logits, temperature)  # (C, classes)
    log_prob = dist.log_prob(y[:, None])  # (rows, C)
    return _kept(log_prob, keep, p, rows)


def _one_hot(
    index: Tensor, keep: Tensor | None, p: int, rows: slice, _: None, logits: Tensor
) -> Tensor:
    of_rows = index[p, rows]
    log_prob = logits.T.index_select(0, of_rows)  # (rows, C)
    return _kept(log_prob, keep, p, rows)


def _kept(pair: Tensor, keep: Tensor | None, p: int, rows: slice) -> Tensor:
    if keep is None:
        return pair
    some = keep[p, rows, None]  # (rows, 1)
    return torch.where(some, pair, 0.0)


# -- all other sites -------------------------------------------------------------------------------


def _bytes_of_a_row(lay: Layout, site: Site) -> int:
    """Return what the densities of one more row take, in bytes."""
    units = site.rows.value.shape[lay.lead :]
    numbers = lay.sets * lay.n_comps * math.prod(units)
    return numbers * lay.dtype.itemsize


def _other_units(lay: Layout, site: Site, subsets: list[Units]) -> list[Pair]:
    """Return one pair a subset of the units, by broadcasting.

    Rows (R, *samples, 1, *units) meet components (*samples, C, *units). Where gradients reach the
    densities, they are made at once, for autograd to remember; else chunk by chunk.
    """
    node = site.rows
    samples = lay.samples_of_sets

    def items_first(t: Tensor) -> Tensor:
        """(P, R, …) -> (R, *samples, 1, …)"""
        _, n_rows, *tail = t.shape
        t = t.movedim(0, 1)
        return t.reshape(n_rows, *samples, 1, *tail)

    units = tuple(node.value.shape[lay.lead :])
    rows = lay.rows(node.value, units)
    values = items_first(rows)
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
        for t in log_marginals(site.dist, some, lay.lead + 1, subsets, kept):
            t = t.expand(-1, *samples, lay.n_comps)
            t = t.reshape(len(some), lay.sets, lay.n_comps)
            t = t.movedim(1, 0)  # (P, rows, C)
            made.append(t.to(lay.dtype))
        return made

    learned = [t for t in densities(0, 1) if t.requires_grad]
    if learned:
        return [_differentiated(_given, t) for t in densities(0, None)]
    pairs = []
    for k in range(len(subsets)):
        fn = partial(_made, densities, k)
        pairs.append(_differentiated(fn))
    return pairs


def _given(p: int, rows: slice, densities: Tensor, _: None) -> Tensor:
    return densities


def _made(
    densities: Callable[[int, int], list[Tensor]], k: int, p: int, rows: slice, *_: None
) -> Tensor:
    of_subsets = densities(rows.start, rows.stop)
    return of_subsets[k][p]
