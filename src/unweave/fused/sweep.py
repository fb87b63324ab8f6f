"""log q(z_block) of every block in one sweep over pairs, with its gradient made on the way.

.. math:: \\log q_b(z_i) = \\log \\sum_j
          \\exp\\Big( w_{ij} + \\sum_{d \\in b} \\log q_d(z_{id} | x_j) \\Big)

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

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

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
    r"""Compute the primitive: log q, and with coefficients the gradient of Σ coef · log q.

    .. math:: \log q_{ib} = \log \sum_j \exp\Big( base_{b,ij}
                            + \sum_{d \in b} \log N(z_{id}; mean_{jd}, std_{jd}) \Big)

    The direct form (z − mean)/std keeps float32 accurate where the quadratic expansion is not.

    >>> z, base = torch.zeros(1, 1), torch.zeros(1, 2)
    >>> value_and_grad(z, torch.zeros(2, 1), torch.ones(2, 1), [base], [(0, (0,)), (0, ())])[0]
    tensor([[-0.2258,  0.6931]])

    Args:
        z: Rows (R, D).
        mean: Means of the components (C, D).
        std: Their standard deviations (C, D).
        bases: Matrices (R, C).
        blocks: For each block the number of its base, and its units.
        coef: Coefficients (R, blocks).
        keep: Where rows are latent, boolean (R, D); None for everywhere.
        body: The back end, the fastest if None.

    Returns:
        (log q,) or (log q, dz, dmean, dstd, [dbase]), log q being (R, blocks), in nats.
    """
    plain = []
    for number, units in blocks:
        plain.append((number, tuple(units)))
    _, n_units = z.shape
    adding = plan(tuple(plain), n_units)
    make = body or backend(z)
    made = make(mean, std, adding)
    wanted = [coef is not None] * len(bases)
    by_block = None if coef is None else coef.T
    log_q, dz, found = made(z, keep, bases, by_block, wanted)
    if coef is None or dz is None:
        return (log_q.T,)
    dmean, dstd = made.finish()
    dbases = []
    for base, gradient in zip(bases, found, strict=True):
        if gradient is None:
            gradient = torch.zeros_like(base)
        dbases.append(gradient)
    return log_q.T, dz, dmean, dstd, dbases


def backend(like: Tensor) -> type[Body]:
    """Return the fastest back end for tensors like this one."""
    if like.device.type == "cpu" and native.library():
        return native.Native
    if like.device.type == "cuda":
        from . import triton_body  # Triton takes long to import

        if triton_body.usable():
            return triton_body.Triton
    return Pure


_Two = tuple[Tensor | None, Tensor | None]


class PairChunk(Protocol):
    """log-densities of a chunk of rows, which hands gradients on to tensors of its pair."""

    density: Tensor  # (rows, components)
    is_learned: bool  # whether some tensor needs a gradient

    def pull(self, inward: Tensor) -> None:
        """Add the gradients of the tensors, given that in the densities."""


_Chunk = Callable[[int, slice, Any, _Two], PairChunk]


class Pair(NamedTuple):
    """log-densities (rows, components) of a variable that is no Normal unit.

    `chunk(set, rows, tensors, sinks)` makes those of a slice of the set's rows, from the tensors
    `rows` (P, R, …) and `components` (P, C, …), where there are such. Sinks are of the same shapes:
    gradients are added there, where they are needed.
    """

    chunk: _Chunk
    rows: Tensor | None = None
    components: Tensor | None = None


@dataclass(frozen=True, eq=False)
class Mixture:
    r"""P sets of R rows and C components: their blocks, and the weights between them.

    .. math:: \log w_{ij} = own, next, other
              \text{ if j's item is i's, the one after it (modulo } items), any other

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
        """Return the log-weights (rows, components)."""
        own, following, other = self.log_w
        item = self.rows_item[rows, None]
        if own == following == other:
            one = like.new_full((1, 1), other)
            return one.expand(len(item), components)
        log_w = like.new_full((len(item), components), other)
        if following != other:
            after = (item + 1) % self.items
            self._fill(log_w, after, following)
        return self._fill(log_w, item, own)

    def _fill(self, log_w: Tensor, item: Tensor, weight: float) -> Tensor:
        """Set the weight of the components that are a row's `item` (rows, 1)."""
        if self.comps_item is None:
            return log_w.scatter_(1, item, weight)
        return log_w.masked_fill_(self.comps_item == item, weight)


def mixture(
    m: Mixture,
    z: Tensor,
    mean: Tensor,
    std: Tensor,
    pairs: Sequence[Pair] = (),
    log_v: Tensor | None = None,
    ahead: Tensor | None = None,
) -> Tensor:
    """Return log q (blocks, P, R) of rows under components.

    Args:
        m: The blocks and the weights.
        z: Rows (P, R, D).
        mean: Means of the components (P, C, D).
        std: Their standard deviations (P, C, D).
        pairs: The variables that are no Normal units.
        log_v: Further log-weights of the components (P, C).
        ahead: The coefficients (blocks, P, R), up to a common factor, of the sum that will be
            differentiated.
    """
    chunks = []
    tensors = [z, mean, std, log_v]
    for chunk, rows, components in pairs:
        chunks.append(chunk)
        tensors += [rows, components]
    learned = [t for t in tensors if t is not None and t.requires_grad]
    if learned and torch.is_grad_enabled():
        out: Tensor = _Fused.apply(m, chunks, ahead, *tensors)
        return out
    no_gradient = [False] * len(tensors)
    log_q, _ = _sweep(m, chunks, tensors, None, no_gradient)
    return log_q


_promised: ContextVar[bool] = ContextVar("promised", default=False)


@contextmanager
def promised(is_sure: bool = True) -> Iterator[None]:
    """Promise that sums made here are differentiated by their coefficients `ahead`, up to a factor.

    Then no number is looked at in the backward pass, which would wait for a device.
    """
    before = _promised.set(is_sure)
    try:
        yield
    finally:
        _promised.reset(before)


class _Fused(torch.autograd.Function):
    """The sweep as a function of z, mean, std, log_v, and two tensors for each pair."""

    @staticmethod
    def forward(
        ctx: Any,
        m: Mixture,
        chunks: Sequence[_Chunk],
        ahead: Tensor | None,
        *tensors: Tensor | None,
    ) -> Tensor:
        ctx.save_for_backward(*tensors)
        ctx.mixture, ctx.chunks, ctx.ahead = m, chunks, ahead
        ctx.is_sure = _promised.get()  # the backward pass may run in another thread
        _, _, _, *needs = ctx.needs_input_grad
        log_q, ctx.gradient = _sweep(m, chunks, tensors, ahead, needs)
        return log_q

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, coef: Tensor) -> Any:
        factor = None
        if ctx.ahead is not None:
            factor = _common_factor(coef, ctx.ahead, ctx.is_sure)
        if factor is not None:
            gradient = [None if g is None else g * factor for g in ctx.gradient]
        else:
            _, _, _, *needs = ctx.needs_input_grad
            _, gradient = _sweep(ctx.mixture, ctx.chunks, ctx.saved_tensors, coef, needs)
        return None, None, None, *gradient


def _common_factor(coef: Tensor, ahead: Tensor, is_sure: bool) -> Tensor | None:
    """Return the number by which `coef` is a multiple of `ahead`, to rounding, or None.

    If it is sure to be one, no number is looked at.
    """
    pivot = ahead.abs().argmax()
    largest = coef.take(pivot)
    factor = largest / ahead.take(pivot)
    if is_sure:
        return factor
    difference = torch.addcmul(coef, factor, ahead, value=-1)
    gap = difference.abs_().amax()
    eps = torch.finfo(coef.dtype).eps
    rounding = 16 * eps * largest.abs()
    return factor if bool(gap <= rounding) else None


def _sweep(
    m: Mixture,
    chunks: Sequence[_Chunk],
    tensors: Sequence[Tensor | None],
    coef: Tensor | None,
    needs: Sequence[bool],
) -> tuple[Tensor, list[Tensor | None]]:
    """Return log q (blocks, P, R), and with coefficients the gradients of Σ coef · log q.

    `tensors` are z, mean, std, log_v, and two for each pair; `needs` says which of them need a
    gradient. `coef` is (blocks, P, R).
    """
    z, mean, std, log_v, *others = tensors
    assert z is not None
    assert mean is not None
    assert std is not None
    sets, n_rows, n_units = z.shape
    n_comps = mean.shape[1]
    adding = plan(m.blocks, n_units)
    make = m.body or backend(z)
    bodies = [make(mean[p], std[p], adding) for p in range(sets)]
    log_q = z.new_empty(len(m.blocks), sets, n_rows)
    dz = torch.empty_like(z)
    sinks: list[Tensor | None] = [None] * len(tensors)
    if coef is not None:
        sinks = _sinks(tensors, needs)
    _, _, _, dlog_v, *dothers = sinks
    inputs, outputs = _in_twos(others), _in_twos(dothers)
    wanted = _wanted(m, dlog_v, outputs)

    step = _rows_at_a_time(m, bodies[0], z, n_comps)
    for start in range(0, n_rows, step):
        rows = slice(start, min(start + step, n_rows))
        log_w = m.log_weights(rows, n_comps, z)  # (r, C)
        for p, body in enumerate(bodies):
            pairs = []
            for chunk, its, gradients in zip(chunks, inputs, outputs, strict=True):
                pairs.append(chunk(p, rows, its, gradients))
            weights, keep, part = log_w, None, None
            if log_v is not None:
                weights = log_w + log_v[p]
            if m.keep is not None:
                keep = m.keep[p, rows]
            if coef is not None:
                part = coef[:, p, rows]
            bases = [_add_pairs(weights, pairs, used) for used in m.bases]
            log_q_part, dz_part, dbases = body(z[p, rows], keep, bases, part, wanted)
            log_q[:, p, rows] = log_q_part
            if dz_part is None:
                continue
            dz[p, rows] = dz_part
            if dlog_v is not None:
                of_comps = [dbase.sum(0) for dbase in dbases if dbase is not None]
                dlog_v[p] += sum(of_comps)
            _pull_pairs(pairs, m.bases, dbases)

    if coef is None:
        return log_q, sinks
    dmean, dstd = [], []
    for body in bodies:
        of_mean, of_std = body.finish()
        dmean.append(of_mean)
        dstd.append(of_std)
    return log_q, [dz, _stack(dmean), _stack(dstd), dlog_v, *dothers]


def _sinks(tensors: Sequence[Tensor | None], needs: Sequence[bool]) -> list[Tensor | None]:
    """Return the zeros to which tensors' gradients are added, None where none is needed."""
    sinks: list[Tensor | None] = [None] * 3  # those of z, mean and std are made elsewhere
    for t, need in zip(tensors[3:], needs[3:], strict=True):
        sinks.append(torch.zeros_like(t) if need and t is not None else None)
    return sinks


def _wanted(m: Mixture, dlog_v: Tensor | None, sinks: Sequence[_Two]) -> list[bool]:
    """Return whether the gradient of each base is wanted: for log_v, or for a pair in it."""
    if dlog_v is not None:
        return [True] * len(m.bases)
    learned = set[int]()
    for k, (of_rows, of_comps) in enumerate(sinks):
        if of_rows is not None or of_comps is not None:
            learned.add(k)
    return [not learned.isdisjoint(used) for used in m.bases]


def _in_twos(tensors: list[Tensor | None]) -> list[_Two]:
    """Return the tensors pair by pair: of its rows, and of its components."""
    of_rows, of_comps = tensors[::2], tensors[1::2]
    return list(zip(of_rows, of_comps, strict=True))


def _add_pairs(weights: Tensor, pairs: list[PairChunk], used: Sequence[int]) -> Tensor:
    """Return a base (rows, components): the weights and the pairs that are used in it."""
    base = weights
    for k in used:
        base = base + pairs[k].density
    return base


def _rows_at_a_time(m: Mixture, body: Body, z: Tensor, n_comps: int) -> int:
    """Return how many rows a chunk has, for its largest tensor to fit the budget."""
    matrix_bytes = z.element_size() * n_comps
    base_bytes = matrix_bytes * len(m.bases)
    row_bytes = max(body.row_bytes, base_bytes, m.row_bytes, 1)
    budget = BUDGET.get(z.device.type, BUDGET["cpu"])
    return max(1, budget // row_bytes)


def _pull_pairs(
    pairs: Sequence[PairChunk],
    bases: Sequence[Sequence[int]],
    dbases: Sequence[Tensor | None],
) -> None:
    """Hand the gradients of the bases on to the pairs that are added up in them."""
    for k, pair in enumerate(pairs):
        if not pair.is_learned:
            continue
        inward: Tensor | None = None
        for used, dbase in zip(bases, dbases, strict=True):
            if dbase is not None and k in used:
                inward = dbase if inward is None else inward + dbase
        if inward is not None:
            pair.pull(inward)


def _stack(parts: list[Tensor]) -> Tensor:
    """Stack the sets' tensors; one alone is not copied."""
    if len(parts) > 1:
        return torch.stack(parts)
    (alone,) = parts
    return alone[None]


class Differentiated:
    """A chunk's small graph, which autograd differentiates: see `PairChunk`.

    Args:
        fn: A function (set, rows, row values, component values) -> densities (rows, C); it is given
            the parts of the tensors that belong there.
        p: The number of the set.
        rows: The chunk's rows.
        tensors: The pair's tensors.
        sinks: The tensors to which their gradients are added.
    """

    def __init__(
        self,
        fn: Callable[[int, slice, Any, Any], Tensor],
        p: int,
        rows: slice,
        tensors: _Two,
        sinks: _Two,
    ) -> None:
        places: tuple[Any, Any] = ((p, rows), p)  # of the pair's rows, and of its components
        leaves: list[Tensor | None] = []
        self.ends: list[tuple[Tensor, Tensor]] = []
        for t, sink, at in zip(tensors, sinks, places, strict=True):
            if t is None:
                leaves.append(None)
                continue
            leaf = t[at].detach()
            leaves.append(leaf)
            if sink is not None:
                leaf.requires_grad_()
                self.ends.append((leaf, sink[at]))
        self.is_learned = bool(self.ends)
        with torch.set_grad_enabled(self.is_learned):
            self.graph = fn(p, rows, *leaves)
        self.density = self.graph.detach()

    def pull(self, inward: Tensor) -> None:
        """Add the gradients of the tensors, given that in the densities."""
        leaves = [leaf for leaf, _ in self.ends]
        found = torch.autograd.grad(self.graph, leaves, inward)
        for (_, sink), gradient in zip(self.ends, found, strict=True):
            sink += gradient
