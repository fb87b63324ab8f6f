"""The posteriors of all ranks' items, gathered with gradients."""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..ranks import everyone, talking, world
from ..trace.trace import Trace


def gathered(q: Trace, batch_dim: int) -> Trace:
    """Return the sites of all ranks' items, (*classes, *samples, ranks · batch, *units).

    Rank 0's items come first. Gradients of the distributions' parameters go back to the rank that
    encoded them, summed over all; values carry none. Sites without a distribution are left out.

    Args:
        q: A trace that is `aligned`; every rank gives as many items.
        batch_dim: The dimension of the items.

    Raises:
        ValueError: At every rank, if the ranks' traces differ in form.
    """
    q = _without_gradients_of_values(q)
    dim = batch_dim - len(q.classes())
    found: dict[tuple[int, int], Tensor] = {}

    def find(t: Tensor, at: int) -> Tensor:
        return found.setdefault((id(t), at), t)

    q.along(dim, find)
    # those that carry gradients come first
    order = sorted(found, key=lambda key: not found[key].requires_grad)
    rows = []  # (batch, …) each
    learned = 0
    for key in order:
        _, at = key
        row = found[key].movedim(at, 0)
        rows.append(row)
        if row.requires_grad:
            learned += row[0].numel()
    _check_form(q, rows, learned)
    exchanged = _exchange(rows, learned)
    parts = dict(zip(order, exchanged, strict=True))

    def replace_by_all(t: Tensor, at: int) -> Tensor:
        part = parts[id(t), at]
        return part.movedim(0, at)

    return q.along(dim, replace_by_all)


def _without_gradients_of_values(q: Trace) -> Trace:
    """Return the sites with a distribution; gradients reach their parameters alone."""
    nodes = {}
    for name, node in q.items():
        if node.dist is not None:
            value = node.value.detach()
            nodes[name] = replace(node, value=value, score=None)
    return Trace.of(nodes, q)


def _exchange(rows: Sequence[Tensor], learned: int) -> list[Tensor]:
    """Return the tensors (ranks · batch, …) of this rank's (batch, …), by one message.

    Gradients of the first `learned` columns go back.
    """
    flat = [t.reshape(len(t), -1) for t in rows]
    dtype = next(t.dtype for t in flat if t.is_floating_point())
    for t in flat:
        dtype = torch.promote_types(dtype, t.dtype)
    alike = [t.to(dtype) for t in flat]
    message = torch.cat(alike, 1)  # (batch, columns)
    whole: Tensor = _Gather.apply(message, learned)  # (ranks · batch, columns)
    widths = [t.shape[1] for t in flat]
    columns = whole.split(widths, 1)
    parts = []
    for column, t in zip(columns, rows, strict=True):
        _, *rest = t.shape
        part = column.reshape(-1, *rest)
        parts.append(part.to(t.dtype))
    return parts


class _Gather(torch.autograd.Function):
    """The map from each rank's (batch, columns) to (ranks · batch, columns).

    Gradients of the first `learned` columns go back.
    """

    @staticmethod
    def forward(ctx: Any, own: Tensor, learned: int) -> Tensor:
        rank, ranks = world()
        ctx.shape, ctx.learned, ctx.rank = own.shape, learned, rank
        batch, columns = own.shape
        whole = own.new_empty(ranks * batch, columns)
        by_rank = list(whole.split(batch))
        with talking():
            dist.all_gather(by_rank, own)
        return whole

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        total = grad[:, : ctx.learned].contiguous()
        with talking():
            dist.all_reduce(total)
        batch, _ = ctx.shape
        own = grad.new_zeros(ctx.shape)
        by_rank = total.unflatten(0, (-1, batch))  # (ranks, batch, learned)
        own[:, : ctx.learned] = by_rank[ctx.rank]
        return own, None


def _check_form(q: Trace, rows: Sequence[Tensor], learned: int) -> None:
    """Raise a ValueError at every rank if the ranks' traces differ in form.

    Ranks whose messages differ in size would wait for one another forever.
    """
    sites = {}
    for name, node in q.items():
        if node.dist is not None:
            shape = tuple(node.value.shape)
            sites[name] = (node.role, shape)
    shapes = [(tuple(t.shape), t.dtype) for t in rows]
    form = repr((sites, learned, shapes))
    number = zlib.crc32(form.encode())
    same = torch.tensor([number, -number])
    with talking():
        dist.all_reduce(same, dist.ReduceOp.MAX)
    if same.tolist() != [number, -number]:
        forms = []
        for rank, its in enumerate(everyone(sites)):
            said = []
            for name, (role, shape) in its.items():
                said.append(f"{name} {role} {shape}")
            listed = ", ".join(said)
            forms.append(f"rank {rank}: {listed}")
        raise ValueError(
            "the ranks' posteriors differ in form, so they cannot be gathered "
            f"({'; '.join(forms)}): give each rank as many items and the same sites (a categorical "
            "site is enumerated only where labels are missing: let each rank have some, or none), "
            "or keep the estimator local, minibatch(n, gather=False)"
        )
