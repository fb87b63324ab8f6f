"""log q(z_block) of every block in one sweep over pairs, a few rows at a time, with its gradient
made on the way.

.. math:: \\log q_b(z_i) = \\log \\sum_j \\exp\\Big( w_{ij} + \\sum_{d \\in b} \\log q_d(z_{id} | x_j) \\Big)

Naively this holds about eight tensors of batch × batch × units. Here a chunk of rows meets all
components, small enough to stay in cache. Where it is known *ahead* which linear combination of the
outputs will be differentiated, as an objective knows, values and gradients take one exponential an
entry; otherwise the backward goes over the chunks once more. Normal units, nearly all of the work,
are one primitive, `value_and_grad`, with several back ends; other sites enter it as matrices (rows,
components) of log-densities, made and differentiated chunk by chunk.

Sources: the fusion of value and gradient follows Hsu et al., "Liger Kernel" (2024), and the use of
chunks Rabe and Staats, "Self-attention does not need O(n²) memory" (2021).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import native
from .plan import BUDGET, Blocks, Body, plan
from .pure import Pure


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
    r"""The primitive: log q (R, blocks), and with coefficients (R, blocks) the gradient of Σ coef ·
    log q.

    .. math:: \log q_{ib} = \log \sum_j \exp\Big( base_{b,ij} + \sum_{d \in b} \log N(z_{id}; mean_{jd}, std_{jd}) \Big)

    for rows z (R, D), components mean and std (C, D) and bases (R, C); a block is (number of its
    base, its units). Returns (log q,) or (log q, dz, dmean, dstd, [dbase]), in nats. The direct
    form (z − mean)/std keeps float32 accurate where the quadratic expansion is not.

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


_Fn = Callable[[int, slice, Any, Any], Tensor]


class Pair(NamedTuple):
    """Log-densities (rows, components) of what is no Normal unit.

    `fn(set, rows, row values, component values)` is given a slice of the set's rows, and the parts
    of `rows` (P, R, …) and `components` (P, C, …) that belong there: gradients reach those two
    tensors, where there are such.
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
    """log q (blocks, P, R) of rows z (P, R, D) under components mean and std (P, C, D), weighted
    also by log_v (P, C).

    `ahead` (blocks, P, R) are the coefficients, up to a common factor, of the sum that will be
    differentiated.
    """
    fns = [pair.fn for pair in pairs]
    tensors = [z, mean, std, log_v, *(t for pair in pairs for t in (pair.rows, pair.components))]
    if torch.is_grad_enabled() and any(t is not None and t.requires_grad for t in tensors):
        out: Tensor = _Fused.apply(m, fns, ahead, *tensors)
        return out
    return _sweep(m, fns, tensors, None, [False] * len(tensors))[0]


class _Fused(torch.autograd.Function):
    @staticmethod
    def forward(
        ctx: Any, m: Mixture, fns: Sequence[_Fn], ahead: Tensor | None, *tensors: Tensor | None
    ) -> Tensor:
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
            _, gradient = _sweep(
                ctx.mixture, ctx.fns, ctx.saved_tensors, coef, ctx.needs_input_grad[3:]
            )
        return None, None, None, *gradient


def _common_factor(coef: Tensor, ahead: Tensor) -> Tensor | None:
    """The number by which `coef` is a multiple of `ahead`, to rounding; None if it is none."""
    pivot = ahead.abs().argmax()
    largest = coef.take(pivot)
    factor = largest / ahead.take(pivot)
    gap = torch.addcmul(coef, factor, ahead, value=-1).abs_().amax()
    return factor if bool(gap <= 16 * torch.finfo(coef.dtype).eps * largest.abs()) else None


def _sweep(
    m: Mixture,
    fns: Sequence[_Fn],
    tensors: Sequence[Tensor | None],
    coef: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """log q (blocks, P, R), and with coefficients of that shape the gradients of Σ coef · log q in
    `tensors`.
    """
    z, mean, std, log_v, *inputs = tensors
    assert z is not None
    assert mean is not None
    assert std is not None
    (sets, n_rows, units), n_comps = z.shape, mean.shape[1]
    adding, body = plan(m.blocks, units), m.body or backend(z)
    bodies = [body(mean[p], std[p], adding) for p in range(sets)]
    log_q, dz = z.new_empty(len(m.blocks), sets, n_rows), torch.empty_like(z)
    moved = [
        t is not None and need and coef is not None
        for t, need in zip(tensors[3:], needs[3:], strict=True)
    ]
    dlog_v, *sinks = (
        torch.zeros_like(t) if t is not None and s else None
        for t, s in zip(tensors[3:], moved, strict=True)
    )
    wanted = [
        dlog_v is not None or any(s is not None for k in used for s in sinks[2 * k : 2 * k + 2])
        for used in m.bases
    ]
    row_bytes = max(bodies[0].row_bytes, z.element_size() * n_comps * len(m.bases), m.row_bytes)
    step = max(1, BUDGET.get(z.device.type, BUDGET["cpu"]) // max(row_bytes, 1))
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        log_w = m.log_weights(rows, n_comps, z)
        for p in range(sets):
            pairs = [
                _PairChunk(fn, p, rows, inputs[2 * k : 2 * k + 2], sinks[2 * k : 2 * k + 2])
                for k, fn in enumerate(fns)
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
                pair.pull(
                    [
                        d
                        for d, used in zip(dbases, m.bases, strict=True)
                        if d is not None and k in used
                    ]
                )
    if coef is None:
        return log_q, [None] * len(tensors)
    ends = [body.finish() for body in bodies]
    dmean, dstd = (
        torch.stack(parts) if sets > 1 else parts[0][None] for parts in zip(*ends, strict=True)
    )
    return log_q, [dz, dmean, dstd, dlog_v, *sinks]


class _PairChunk:
    """A chunk's small graph: a pair's densities (rows, C), whose gradient `pull` adds to that of
    its tensors.
    """

    def __init__(
        self, fn: _Fn, p: int, rows: slice, tensors: list[Tensor | None], sinks: list[Tensor | None]
    ) -> None:
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
