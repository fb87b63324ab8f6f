"""log q(z_block) of every block in one sweep over pairs, a few rows at a time, with its gradient made on the way.

.. math:: \\log q_b(z_i) = \\log \\sum_j \\exp\\Big( w_{ij} + \\sum_{d \\in b} \\log q_d(z_{id} | x_j) \\Big)

Naively this holds about eight tensors of batch × batch × units. Here a chunk of rows meets all components, small
enough to stay in cache. Where it is known *ahead* which linear combination of the outputs will be differentiated, as
an objective knows, values and gradients take one exponential an entry; otherwise the backward goes over the chunks
once more. Normal units, nearly all of the work, are one primitive, `value_and_grad`, with several back ends; other
sites enter it as matrices (rows, components) of log-densities, made and differentiated chunk by chunk.

Sources: the fusion of value and gradient follows Hsu et al., "Liger Kernel" (2024), and the use of chunks Rabe and
Staats, "Self-attention does not need O(n²) memory" (2021).
"""

from __future__ import annotations

import math
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache, partial, reduce
from typing import Any, NamedTuple, Protocol

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.distributions import Distribution, Normal, OneHotCategorical

from . import native
from .groups import Block
from .marginals import log_marginals, unwrap
from .trace import Concrete, Node, Trace

Units = tuple[int, ...]
Blocks = tuple[tuple[int, Units], ...]
"""For each block the number of its base, and the Normal units that are added to it."""

_HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)
_BUDGET = {"cpu": 5 * 2**19, "cuda": 2**28}
"""Bytes of one tensor of a chunk: what stays in a core's cache, or what fills a GPU."""


class Body(Protocol):
    """What a back end offers: components are taken in once, then rows come chunk by chunk.

    Called with rows z (r, D), where they are latent (`keep`, boolean (r, D), or None for everywhere), bases (r, C)
    and coefficients (blocks, r) or None for values only, it returns log q (blocks, r), the gradient of
    Σ coef · log q in z (r, D), and in those bases that `wanted` marks. `finish` gives the gradients in mean and std
    (C, D), summed over the chunks so far. `row_bytes` is what one more row of a chunk takes in its largest tensor.
    """

    row_bytes: int

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None: ...

    def __call__(
        self, z: Tensor, keep: Tensor | None, bases: list[Tensor], coef: Tensor | None, wanted: Sequence[bool]
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]: ...

    def finish(self) -> tuple[Tensor, Tensor]: ...


def value_and_grad(
    z: Tensor,
    mean: Tensor,
    std: Tensor,
    bases: list[Tensor],
    blocks: Sequence[tuple[int, Sequence[int]]],
    coef: Tensor | None = None,
    *,
    keep: Tensor | None = None,
    body: type[Body] | None = None,
) -> tuple[Tensor, ...] | tuple[Tensor, Tensor, Tensor, Tensor, list[Tensor]]:
    r"""The primitive: log q (R, blocks), and with coefficients (R, blocks) the gradient of Σ coef · log q.

    .. math:: \log q_{ib} = \log \sum_j \exp\Big( base_{b,ij} + \sum_{d \in b} \log N(z_{id}; mean_{jd}, std_{jd}) \Big)

    for rows z (R, D), components mean and std (C, D) and bases (R, C); a block is (number of its base, its units).
    Returns (log q,) or (log q, dz, dmean, dstd, [dbase]), in nats. The direct form (z − mean)/std keeps float32
    accurate where the quadratic expansion is not.

    >>> z, base = torch.zeros(1, 1), torch.zeros(1, 2)
    >>> value_and_grad(z, torch.zeros(2, 1), torch.ones(2, 1), [base], [(0, (0,)), (0, ())])[0]
    tensor([[-0.2258,  0.6931]])
    """
    plain = tuple((base, tuple(units)) for base, units in blocks)
    made = (body or backend(z))(mean, std, plan(plain, z.shape[1]))
    wanted = [coef is not None] * len(bases)
    log_q, dz, dbases = made(z, keep, bases, None if coef is None else coef.T, wanted)
    if coef is None or dz is None:
        return (log_q.T,)
    return (
        log_q.T,
        dz,
        *made.finish(),
        [torch.zeros_like(b) if g is None else g for b, g in zip(bases, dbases, strict=True)],
    )


def backend(like: Tensor) -> type[Body]:
    """The fastest back end for tensors like this one."""
    if like.device.type == "cpu" and (found := native.Native if native.library() else None):
        return found
    if like.device.type == "cuda":
        from . import triton_body  # Triton takes long to import

        if triton_body.usable():
            return triton_body.Triton
    return Pure


# -- the pure body -------------------------------------------------------------------------------------------


@dataclass(frozen=True, eq=False)
class Plan:
    """How blocks are added up, from units and from one another, in slots sorted so that alike ones are slices."""

    slots: list[int]  # the block in each slot: first those of one unit
    base: list[int]  # of each slot
    sums: list[tuple[int, list[int], list[slice]]]  # slot, smaller sums in it, runs of units: small sums first
    parents: dict[int, list[int]]  # sum -> the larger sums that it is added to
    own: list[list[int]]  # unit -> the slots that hold it alone
    above: list[list[int]]  # unit -> the sums that it is added to
    segments: list[tuple[slice, list[slice], list[int]]]  # runs of units, their own slots, the sums they are added to


@lru_cache(maxsize=256)
def plan(blocks: Blocks, units: int) -> Plan:
    """A sum takes in smaller sums where it can, largest first: on a tree each unit is added once a level at most."""
    slots = sorted(range(len(blocks)), key=lambda b: (len(blocks[b][1]) != 1, blocks[b][0], blocks[b][1]))
    base = [blocks[b][0] for b in slots]
    sets = [frozenset(blocks[b][1]) for b in slots]
    own: list[list[int]] = [[s for s, of in enumerate(sets) if of == {unit}] for unit in range(units)]
    above: list[list[int]] = [[] for _ in range(units)]
    parents: dict[int, list[int]] = {}
    sums: list[tuple[int, list[int], list[slice]]] = []
    for s in sorted((s for s, of in enumerate(sets) if len(of) != 1), key=lambda s: len(sets[s])):
        rest, parts, parents[s] = sets[s], [], []
        for t in (t for t, _, _ in reversed(sums) if sets[t]):
            if sets[t] <= rest:
                rest -= sets[t]
                parts.append(t)
                parents[t].append(s)
        for unit in rest:
            above[unit].append(s)
        sums.append((s, parts, _consecutive(rest)))

    def alike(u: int, v: int) -> bool:
        return above[u] == above[v] and [(s + 1, base[s]) for s in own[u]] == [(s, base[s]) for s in own[v]]

    segments = [
        (run, [slice(s, s + run.stop - run.start) for s in own[run.start]], above[run.start])
        for run in _runs(range(units), alike)
    ]
    return Plan(slots, base, sums, parents, own, above, segments)


def _consecutive(numbers: Iterable[int]) -> list[slice]:
    return list(_runs(sorted(numbers), lambda u, v: v == u + 1))


def _runs(numbers: Sequence[int], together: Callable[[int, int], bool]) -> Iterator[slice]:
    """Increasing numbers, cut where neighbours do not belong together."""
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or not together(numbers[i - 1], numbers[i]):
            yield slice(numbers[start], numbers[i - 1] + 1)
            start = i


class Pure:
    """The primitive in tensor operations: units first, so that every reduction runs along contiguous memory."""

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None:
        self.plan, self.large = plan, dict[Any, Tensor]()
        self.mean, std = mean.T[:, None].contiguous(), std.T[:, None].contiguous()  # (D, 1, C)
        self.precision, self.constant = 1 / std, -std.log() - _HALF_LOG_2PI
        self.slots = torch.tensor(self.plan.slots, dtype=torch.long, device=mean.device)
        self.place = self.slots.argsort()
        self.row_bytes = mean.element_size() * mean.shape[0] * max(len(plan.slots), mean.shape[1])
        self.reach = 80.0 if mean.dtype == torch.float32 else 600.0  # nats below a row's largest that are as good as 0
        self.linear, self.square = (torch.zeros_like(self.mean[:, 0]) for _ in range(2))  # Σ_i K t, Σ_i K (t² − 1)

    def __call__(
        self, z: Tensor, keep: Tensor | None, bases: list[Tensor], coef: Tensor | None, wanted: Sequence[bool]
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        plan, n, d, shape = self.plan, len(self.plan.slots), z.shape[1], (z.shape[0], self.mean.shape[-1])
        t, each = self._buffer("t", d, *shape), self._buffer("each", d, *shape)
        scratch = self._buffer("g", max(n, d), *shape)
        g = scratch[:n]
        hidden = None if keep is None else ~keep.T[..., None]  # (D, r, 1)
        torch.sub(z.T[..., None], self.mean, out=t).mul_(self.precision)
        torch.addcmul(self.constant, t, t, value=-0.5, out=each)
        if hidden is not None:
            each.masked_fill_(hidden, 0.0)
        for slot, parts, runs in plan.sums:
            _add_up([each[run] for run in runs] + [g[run] for run in _consecutive(parts)], g[slot])
        for slot, _, _ in plan.sums:
            g[slot] += bases[plan.base[slot]]
        for units, own, _ in plan.segments:
            for slots in own:
                torch.add(each[units], bases[plan.base[slots.start]], out=g[slots])
        top = g.amax(-1, keepdim=True)
        torch.maximum(g, top - self.reach, out=g)  # denormals would be slow
        torch.softmax(g, -1, out=g)  # unlike exp and logsumexp it has no slow path where results underflow
        log_q = (top - g.amax(-1, keepdim=True).log()).squeeze(-1)
        empty = top == -math.inf
        if bool(empty.any()):  # no component has any weight
            log_q.masked_fill_(empty.squeeze(-1), -math.inf)
            g.masked_fill_(empty, 0.0)
        log_q = log_q[self.place]
        if coef is None:
            return log_q, None, [None] * len(bases)

        c = coef[self.slots][..., None]
        dbases = [self._of_base(base, g, c) if want else None for base, want in enumerate(wanted)]
        for slot, _, _ in reversed(plan.sums):
            _pull(g, c, [slice(slot, slot + 1)], plan.parents[slot], g[slot : slot + 1])
        k = each  # the gradient in each unit's log-density of each pair
        for units, own, above in plan.segments:
            _pull(g, c, own, above, k[units])
        if hidden is not None:
            k.masked_fill_(hidden, 0.0)
        k_rows, spare = k.sum(1), scratch[:d]
        k.mul_(t)
        self.linear += k.sum(1)
        dz = torch.mul(k, self.precision, out=spare).sum(-1).neg_()
        self.square += torch.mul(k, t, out=spare).sum(1).sub_(k_rows)
        return log_q, dz.T, dbases

    def finish(self) -> tuple[Tensor, Tensor]:
        precision = self.precision[:, 0]
        return (self.linear * precision).T, (self.square * precision).T

    def _of_base(self, base: int, g: Tensor, c: Tensor) -> Tensor:
        slots = [slot for slot, its in enumerate(self.plan.base) if its == base]
        return torch.einsum("brc,br->rc", g[slots], c[slots, :, 0])

    def _buffer(self, name: str, *shape: int) -> Tensor:
        """Memory for the next chunk, and if it is small for the next call: fresh pages cost more than sums."""
        size, key = math.prod(shape), (name, self.mean.dtype, self.mean.device)
        small = size * self.mean.element_size() <= 2 * _BUDGET["cpu"]
        kept: dict[Any, Tensor] = _memory.__dict__ if small else self.large
        if key not in kept or kept[key].numel() < size:
            kept[key] = self.mean.new_empty(size)
        return kept[key][:size].view(shape)


_memory = threading.local()


def forget() -> None:
    """Gives back the memory, some 8 MB, that this thread keeps for the next call."""
    _memory.__dict__.clear()


def _add_up(terms: list[Tensor], out: Tensor) -> None:
    """out = Σ terms (n, r, C), each of them summed in itself first: in float32 that is more exact than one by one."""
    if terms:
        torch.sum(terms[0], 0, out=out)
    else:
        out.zero_()
    for term in terms[1:]:
        out += term.sum(0) if len(term) > 1 else term[0]


def _pull(g: Tensor, c: Tensor, own: list[slice], above: list[int], out: Tensor) -> None:
    """out = Σ_own c·g + Σ_above g."""
    start = g[above[0]] if above else None
    first = own[0] if own else None
    if first is not None and start is not None:
        torch.addcmul(start, g[first], c[first], out=out)
    elif first is not None:
        torch.mul(g[first], c[first], out=out)
    elif start is not None:
        out.copy_(start)
    else:
        out.zero_()
    for slots in own[1:]:
        out.addcmul_(g[slots], c[slots])
    for slot in above[1:]:
        out += g[slot]


# -- the driver ----------------------------------------------------------------------------------------------


_Fn = Callable[[int, slice, Any, Any], Tensor]


class Pair(NamedTuple):
    """Log-densities (rows, components) of what is no Normal unit.

    `fn(set, rows, row values, component values)` is given a slice of the set's rows, and the parts of `rows`
    (P, R, …) and `components` (P, C, …) that belong there: gradients reach those two tensors, where there are such.
    """

    fn: _Fn
    rows: Tensor | None = None
    components: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Mixture:
    r"""P sets of R rows and C components: their blocks, and the weights between them.

    .. math:: \log w_{ij} = own, next, other \text{ if j's item is i's, the one after it (modulo } items), any other

    `bases` says for each base which pairs are added to the weights.
    """

    log_w: tuple[float, float, float]
    rows_item: Tensor  # (R,)
    items: int
    blocks: Blocks
    bases: tuple[tuple[int, ...], ...]
    comps_item: Tensor | None = None  # (C,), or None: component j is item j
    keep: Tensor | None = None  # (P, R, D): where Normal units are latent
    row_bytes: int = 0  # what a row takes while its pairs are made
    body: type[Body] | None = None

    def log_weights(self, rows: slice, components: int, like: Tensor) -> Tensor:
        """(rows, components)"""
        own, following, other = self.log_w
        item = self.rows_item[rows, None]
        if own == following == other:
            return like.new_full((1, 1), other).expand(len(item), components)
        log_w = like.new_full((len(item), components), other)
        if self.comps_item is None:
            if following != other:
                log_w.scatter_(1, (item + 1) % self.items, following)
            return log_w.scatter_(1, item, own)
        log_w.masked_fill_(self.comps_item == (item + 1) % self.items, following)
        return log_w.masked_fill_(self.comps_item == item, own)


def mixture(
    m: Mixture,
    z: Tensor,
    mean: Tensor,
    std: Tensor,
    pairs: Sequence[Pair] = (),
    log_v: Tensor | None = None,
    ahead: Tensor | None = None,
) -> Tensor:
    """log q (blocks, P, R) of rows z (P, R, D) under components mean and std (P, C, D), weighted also by log_v (P, C).

    `ahead` (blocks, P, R) are the coefficients, up to a common factor, of the sum that will be differentiated.
    """
    fns = [pair.fn for pair in pairs]
    tensors = [z, mean, std, log_v, *(t for pair in pairs for t in (pair.rows, pair.components))]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        out: Tensor = _Fused.apply(m, fns, ahead, *tensors)
        return out
    return _sweep(m, fns, tensors, None, [False] * len(tensors))[0]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, m: Mixture, fns: Sequence[_Fn], ahead: Tensor | None, *tensors: Tensor | None) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.mixture, ctx.fns, ctx.ahead = m, fns, ahead
        log_q, ctx.gradient = _sweep(m, fns, tensors, ahead, ctx.needs_input_grad[3:])
        return log_q

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, coef: Tensor) -> Any:
        factor = None if ctx.ahead is None else _common_factor(coef, ctx.ahead)
        if factor is not None:
            gradient = [None if g is None else g * factor for g in ctx.gradient]
        else:
            _, gradient = _sweep(ctx.mixture, ctx.fns, ctx.saved_tensors, coef, ctx.needs_input_grad[3:])
        return None, None, None, *gradient


def _common_factor(coef: Tensor, ahead: Tensor) -> Tensor | None:
    """The number by which `coef` is a multiple of `ahead`, to rounding; None if it is none."""
    pivot = ahead.abs().argmax()
    largest = coef.take(pivot)
    factor = largest / ahead.take(pivot)
    gap = torch.addcmul(coef, factor, ahead, value=-1).abs_().amax()
    return factor if bool(gap <= 16 * torch.finfo(coef.dtype).eps * largest.abs()) else None


def _sweep(
    m: Mixture, fns: Sequence[_Fn], tensors: Sequence[Tensor | None], coef: Tensor | None, needs: Sequence[bool]
) -> tuple[Tensor, list[Tensor | None]]:
    """log q (blocks, P, R), and with coefficients of that shape the gradients of Σ coef · log q in `tensors`."""
    z, mean, std, log_v, *inputs = tensors
    assert z is not None
    assert mean is not None
    assert std is not None
    (sets, n_rows, units), n_comps = z.shape, mean.shape[1]
    adding, body = plan(m.blocks, units), m.body or backend(z)
    bodies = [body(mean[p], std[p], adding) for p in range(sets)]
    log_q, dz = z.new_empty(len(m.blocks), sets, n_rows), torch.empty_like(z)
    moved = [t is not None and need and coef is not None for t, need in zip(tensors[3:], needs[3:], strict=True)]
    dlog_v, *sinks = (
        torch.zeros_like(t) if t is not None and s else None for t, s in zip(tensors[3:], moved, strict=True)
    )
    wanted = [
        dlog_v is not None or any(s is not None for k in used for s in sinks[2 * k : 2 * k + 2]) for used in m.bases
    ]
    row_bytes = max(bodies[0].row_bytes, z.element_size() * n_comps * len(m.bases), m.row_bytes)
    step = max(1, _BUDGET.get(z.device.type, _BUDGET["cpu"]) // max(row_bytes, 1))
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        log_w = m.log_weights(rows, n_comps, z)
        for p in range(sets):
            pairs = [
                _PairChunk(fn, p, rows, inputs[2 * k : 2 * k + 2], sinks[2 * k : 2 * k + 2]) for k, fn in enumerate(fns)
            ]
            own = log_w if log_v is None else log_w + log_v[p]
            bases = [sum((pairs[k].density.detach() for k in used), own) for used in m.bases]
            keep = None if m.keep is None else m.keep[p, rows]
            part = None if coef is None else coef[:, p, rows]
            log_q[:, p, rows], dz_part, dbases = bodies[p](z[p, rows], keep, bases, part, wanted)
            if dz_part is not None:
                dz[p, rows] = dz_part
            if dlog_v is not None:
                dlog_v[p] += sum(d.sum(0) for d in dbases if d is not None)
            for k, pair in enumerate(pairs):
                pair.pull([d for d, used in zip(dbases, m.bases, strict=True) if d is not None and k in used])
    if coef is None:
        return log_q, [None] * len(tensors)
    ends = [body.finish() for body in bodies]
    dmean, dstd = (torch.stack(parts) if sets > 1 else parts[0][None] for parts in zip(*ends, strict=True))
    return log_q, [dz, dmean, dstd, dlog_v, *sinks]


class _PairChunk:
    """A chunk's small graph: a pair's densities (rows, C), whose gradient `pull` adds to that of its tensors."""

    def __init__(self, fn: _Fn, p: int, rows: slice, tensors: list[Tensor | None], sinks: list[Tensor | None]) -> None:
        at: tuple[Any, Any] = ((p, rows), p)
        leaves = [None if t is None else t[i].detach() for t, i in zip(tensors, at, strict=True)]
        self.ends = [
            (leaf.requires_grad_(), sink[i])
            for leaf, sink, i in zip(leaves, sinks, at, strict=True)
            if leaf is not None and sink is not None
        ]
        with torch.set_grad_enabled(bool(self.ends)):
            self.density = fn(p, rows, *leaves)

    def pull(self, gradients: list[Tensor]) -> None:
        if self.ends and gradients:
            inward = reduce(torch.add, gradients)
            found = torch.autograd.grad(self.density, [leaf for leaf, _ in self.ends], inward)
            for (_, sink), gradient in zip(self.ends, found, strict=True):
                sink += gradient


# -- from traces ---------------------------------------------------------------------------------------------


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
    r"""log Σ_j w_ij q(block_i | x_j) for items i of `q` and components j of `posterior`: (blocks, *samples, batch).

    `log_w` are the log-weights (own, next, other), in nats, of component j = i, of j = i + 1 and of any other; the
    items of `q` are components `first`, `first` + 1 and so on. Rows and components may stand for (class, item) pairs,
    class by class: `classes` says how many of each, and `log_v` (*some leading, components) weighs the components
    further, as log q(class|x_j) does. `ahead`, a number or a tensor (*samples, batch) for
    each block, says up to a common factor which sum Σ ahead · log q will be differentiated: its gradient is then made
    with the values. If another gradient is asked for after all, it is made then.

    Normal, Concrete and categorical sites are taken a few rows at a time. Of other distributions the matrix (batch,
    components) is held if gradients reach it.

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
            row_bytes += lay.sets * lay.n_comps * math.prod(node.value.shape[batch_dim + 1 :]) * lay.dtype.itemsize
    z, mean, std, keep = _joined(lay, normals, q[next(iter(kinds))].value)
    own, others = lay.n_rows // classes[0], lay.n_comps // classes[1]
    items = torch.arange(first, first + own, device=z.device).repeat(z.shape[1] // own)
    comps = None if classes[1] == 1 else torch.arange(others, device=z.device).repeat(classes[1])
    m = Mixture(log_w, items, others, found.blocks, found.bases, comps, keep, row_bytes, body)
    v = None if log_v is None else lay.components(log_v, ())
    log_q = mixture(m, z, mean, std, pairs, v, None if ahead is None else _coefficients(lay, ahead, z))
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
    """Normal units are columns; of classes each unit is a pair, of other sites each subset that a block names."""
    named = {site: [units for block in blocks for s, units in block if s == site] for site, _ in kinds}
    subsets = {site: list(dict.fromkeys(some)) for site, some in named.items()}
    each = {site: sorted({unit for units in some for unit in units}) for site, some in subsets.items()}
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
        of = tuple(columns[site, unit] for site, units in block for unit in units if (site, unit) in columns)
        translated.append((bases.setdefault(tuple(sorted(added)), len(bases)), of))
    return _Addresses(each, subsets, tuple(translated), tuple(bases))


class _Layout(NamedTuple):
    """How (*samples, batch, …) becomes P sets of rows and components, (P, R, …) and (P, C, …).

    P = 1, with the samples among the rows, where no parameters have samples of their own; else the number of samples.
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
    return t if t.shape == shape else t.expand(shape)  # autograd would remember even what changes nothing


def _layout(sites: Sequence[tuple[Node, Node]], batch_dim: int) -> _Layout:
    lead = batch_dim + 1
    shapes = {node.value.shape[:lead] for node, _ in sites}
    *samples, n_rows = shapes.pop() if len(shapes) == 1 else torch.broadcast_shapes(*shapes)
    n_comps, varies, dtype = 0, False, torch.float32
    for node, component in sites:
        dist, value, other = _dist(component), node.value, component.value
        n_comps = max(n_comps, other.shape[batch_dim - (value.ndim - other.ndim)])  # components may have no samples
        units = value.ndim - len(dist.event_shape) - lead
        varies |= math.prod(dist.batch_shape[: max(len(dist.batch_shape) - units - 1, 0)]) > 1
        dtype = torch.promote_types(dtype, torch.promote_types(value.dtype, other.dtype))
    return _Layout(tuple(samples), n_rows, n_comps, math.prod(samples) if varies else 1, dtype)


class _Normals(NamedTuple):
    """Units side by side: values (P, R, D), means and standard deviations (P, C, D), and where they are latent."""

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
        rows = like.new_empty((lay.sets, lay.n_rows * math.prod(lay.samples) // lay.sets, 0), dtype=lay.dtype)
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
                Pair(partial(_concrete, float(dist.temperature), keep), values[..., unit, :], logits[..., unit, :])
            )
        else:
            pairs.append(Pair(partial(_one_hot, values[..., unit, :].argmax(-1), keep), None, logits[..., unit, :]))
    return pairs


def _concrete(temperature: float, keep: Tensor | None, p: int, rows: slice, y: Tensor, logits: Tensor) -> Tensor:
    return _kept(Concrete(logits, temperature).log_prob(y[:, None]), keep, p, rows)


def _one_hot(index: Tensor, keep: Tensor | None, p: int, rows: slice, _: None, logits: Tensor) -> Tensor:
    return _kept(logits.T[index[p, rows]], keep, p, rows)


def _kept(pair: Tensor, keep: Tensor | None, p: int, rows: slice) -> Tensor:
    return pair if keep is None else torch.where(keep[p, rows, None], pair, 0.0)


def _other_units(lay: _Layout, node: Node, dist: Distribution, subsets: list[Units]) -> list[Pair]:
    """One pair a subset of the units, by broadcasting: rows (R, *samples, 1, *units) meet (*samples, C, *units).

    Where gradients reach the densities, they are made at once, for autograd to remember; else chunk by chunk.
    """
    samples = lay.samples if lay.sets > 1 else (1,) * len(lay.samples)

    def items_first(t: Tensor) -> Tensor:
        return t.movedim(0, 1).reshape(t.shape[1], *samples, 1, *t.shape[2:])

    values = items_first(lay.rows(node.value, tuple(node.value.shape[lay.lead :])))
    latent = lay.latent(node, tuple(node.observed.shape[lay.lead :]) if isinstance(node.observed, Tensor) else ())
    keep = None if latent is None else items_first(latent)

    @lru_cache(maxsize=1)
    def densities(start: int, stop: int | None) -> list[Tensor]:
        """(P, rows, C) for each subset"""
        some = None if keep is None else keep[start:stop]
        each = log_marginals(dist, values[start:stop], lay.lead + 1, subsets, some)
        shape = (len(values[start:stop]), lay.sets, lay.n_comps)
        return [t.expand(-1, *samples, lay.n_comps).reshape(shape).movedim(1, 0).to(lay.dtype) for t in each]

    if any(t.requires_grad for t in densities(0, 1)):
        return [Pair(_given, t) for t in densities(0, None)]
    return [Pair(partial(_made, densities, k)) for k in range(len(subsets))]


def _given(p: int, rows: slice, densities: Tensor, _: None) -> Tensor:
    return densities


def _made(densities: Callable[[int, int], list[Tensor]], k: int, p: int, rows: slice, *_: None) -> Tensor:
    return densities(rows.start, rows.stop)[k][p]


def _coefficients(lay: _Layout, ahead: Sequence[float | Tensor], like: Tensor) -> Tensor:
    """(blocks, P, R)"""
    if any(isinstance(a, Tensor) for a in ahead):
        full = [torch.as_tensor(a, dtype=like.dtype, device=like.device) for a in ahead]
        return torch.stack([lay.rows(a.detach(), ()) for a in full])
    return like.new_tensor(ahead)[:, None, None].expand(-1, *like.shape[:2])


def _dist(node: Node) -> Distribution:
    if node.dist is None:
        raise ValueError(f"a site that is {node.role} without a distribution has no aggregate posterior")
    return unwrap(node.dist)
