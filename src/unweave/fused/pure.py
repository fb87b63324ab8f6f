"""The primitive in tensor operations: the back end that runs everywhere."""

from __future__ import annotations

import math
import threading
from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor

from .plan import BUDGET, HALF_LOG_2PI, Plan, consecutive


class Pure:
    """The primitive in tensor operations: units first, so that every reduction runs along
    contiguous memory.
    """

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None:
        self.plan, self.large = plan, dict[Any, Tensor]()
        self.mean, std = mean.T[:, None].contiguous(), std.T[:, None].contiguous()  # (D, 1, C)
        self.precision, self.constant = 1 / std, -std.log() - HALF_LOG_2PI
        self.slots = torch.tensor(self.plan.slots, dtype=torch.long, device=mean.device)
        self.place = self.slots.argsort()
        self.row_bytes = mean.element_size() * mean.shape[0] * max(len(plan.slots), mean.shape[1])
        self.reach = (
            80.0 if mean.dtype == torch.float32 else 600.0
        )  # nats below a row's largest that are as good as 0
        self.linear, self.square = (
            torch.zeros_like(self.mean[:, 0]) for _ in range(2)
        )  # Σ_i K t, Σ_i K (t² − 1)

    def __call__(
        self,
        z: Tensor,
        keep: Tensor | None,
        bases: list[Tensor],
        coef: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        plan, n, d, shape = (
            self.plan,
            len(self.plan.slots),
            z.shape[1],
            (z.shape[0], self.mean.shape[-1]),
        )
        t, each = self._buffer("t", d, *shape), self._buffer("each", d, *shape)
        scratch = self._buffer("g", max(n, d), *shape)
        g = scratch[:n]
        hidden = None if keep is None else ~keep.T[..., None]  # (D, r, 1)
        torch.sub(z.T[..., None], self.mean, out=t).mul_(self.precision)
        torch.addcmul(self.constant, t, t, value=-0.5, out=each)
        if hidden is not None:
            each.masked_fill_(hidden, 0.0)
        for slot, parts, runs in plan.sums:
            _add_up([each[run] for run in runs] + [g[run] for run in consecutive(parts)], g[slot])
        for slot, _, _ in plan.sums:
            g[slot] += bases[plan.base[slot]]
        for units, own, _ in plan.segments:
            for slots in own:
                torch.add(each[units], bases[plan.base[slots.start]], out=g[slots])
        top = g.amax(-1, keepdim=True)
        torch.maximum(g, top - self.reach, out=g)  # denormals would be slow
        torch.softmax(
            g, -1, out=g
        )  # unlike exp and logsumexp it has no slow path where results underflow
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
        """Memory for the next chunk, and if it is small for the next call: fresh pages cost more
        than sums.
        """
        size, key = math.prod(shape), (name, self.mean.dtype, self.mean.device)
        small = size * self.mean.element_size() <= 2 * BUDGET["cpu"]
        kept: dict[Any, Tensor] = _memory.__dict__ if small else self.large
        if key not in kept or kept[key].numel() < size:
            kept[key] = self.mean.new_empty(size)
        return kept[key][:size].view(shape)


_memory = threading.local()


def forget() -> None:
    """Gives back the memory, some 8 MB, that this thread keeps for the next call."""
    _memory.__dict__.clear()


def _add_up(terms: list[Tensor], out: Tensor) -> None:
    """out = Σ terms (n, r, C), each of them summed in itself first: in float32 that is more exact
    than one by one.
    """
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
