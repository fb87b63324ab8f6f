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
    """The primitive in tensor operations: see `plan.Body`.

    Units come first, so that every reduction runs along contiguous memory.
    """

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None:
        n_comps, n_units = mean.shape
        self.plan = plan
        self.large = dict[Any, Tensor]()
        self.mean = mean.T[:, None].contiguous()  # (D, 1, C)
        std = std.T[:, None].contiguous()  # (D, 1, C)
        self.precision = 1 / std
        self.constant = -std.log() - HALF_LOG_2PI
        self.slots = torch.tensor(plan.slots, dtype=torch.long, device=mean.device)
        self.place = self.slots.argsort()
        most = max(len(plan.slots), n_units)
        self.row_bytes = mean.element_size() * n_comps * most
        # nats below a row's largest that are as good as 0
        self.reach = 80.0 if mean.dtype == torch.float32 else 600.0
        like = self.mean[:, 0]  # (D, C)
        self.linear = torch.zeros_like(like)  # Σ_i K t
        self.square = torch.zeros_like(like)  # Σ_i K (t² − 1)

    def __call__(
        self,
        z: Tensor,
        keep: Tensor | None,
        bases: list[Tensor],
        coef: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        plan = self.plan
        n_rows, n_units = z.shape
        n_slots = len(plan.slots)
        n_comps = self.mean.shape[-1]
        t = self._buffer("t", n_units, n_rows, n_comps)
        each = self._buffer("each", n_units, n_rows, n_comps)
        scratch = self._buffer("g", max(n_slots, n_units), n_rows, n_comps)
        g = scratch[:n_slots]
        hidden = None
        if keep is not None:
            hidden = ~keep.T[..., None]  # (D, r, 1)
        value = z.T[..., None]  # (D, r, 1)
        torch.sub(value, self.mean, out=t)
        t.mul_(self.precision)  # (D, r, C)
        torch.addcmul(self.constant, t, t, value=-0.5, out=each)  # (D, r, C)
        if hidden is not None:
            each.masked_fill_(hidden, 0.0)
        self._add_blocks(each, bases, g)
        log_q = self._log_sum_exp(g)
        if coef is None:
            return log_q, None, [None] * len(bases)

        c = coef[self.slots][..., None]  # (slots, r, 1)
        dbases: list[Tensor | None] = []
        for base, want in enumerate(wanted):
            dbases.append(self._of_base(base, g, c) if want else None)
        k = each  # the gradient in each unit's log-density of each pair
        self._pull_units(g, c, k)
        if hidden is not None:
            k.masked_fill_(hidden, 0.0)
        dz = self._take_in(k, t, scratch[:n_units])
        return log_q, dz.T, dbases

    def finish(self) -> tuple[Tensor, Tensor]:
        precision = self.precision[:, 0]  # (D, C)
        dmean = self.linear * precision
        dstd = self.square * precision
        return dmean.T, dstd.T

    def _add_blocks(self, each: Tensor, bases: list[Tensor], g: Tensor) -> None:
        """Write the log-densities of all slots, with their bases, to `g` (slots, r, C)."""
        plan = self.plan
        for slot, parts, runs in plan.sums:
            terms = [each[run] for run in runs]
            terms += [g[run] for run in consecutive(parts)]
            _add_up(terms, g[slot])
        for slot, _, _ in plan.sums:
            base = plan.base[slot]
            g[slot] += bases[base]
        for units, own, _ in plan.segments:
            for slots in own:
                base = plan.base[slots.start]
                torch.add(each[units], bases[base], out=g[slots])

    def _log_sum_exp(self, g: Tensor) -> Tensor:
        """Return log Σ_j exp(g) (blocks, r), and leave the components' shares of it in `g`."""
        top = g.amax(-1, keepdim=True)
        torch.maximum(g, top - self.reach, out=g)  # denormals would be slow
        # unlike exp and logsumexp it has no slow path where results underflow
        torch.softmax(g, -1, out=g)
        largest_share = g.amax(-1, keepdim=True)
        log_q = (top - largest_share.log()).squeeze(-1)
        empty = top == -math.inf
        # no component has any weight; a look elsewhere than on the CPU would wait for the device
        if empty.device.type != "cpu" or bool(empty.any()):
            rows = empty.squeeze(-1)
            log_q.masked_fill_(rows, -math.inf)
            g.masked_fill_(empty, 0.0)
        return log_q[self.place]

    def _pull_units(self, g: Tensor, c: Tensor, k: Tensor) -> None:
        """Write the gradients in the units' log-densities to `k`, from the slots' shares `g`."""
        plan = self.plan
        for slot, _, _ in reversed(plan.sums):
            alone = slice(slot, slot + 1)
            parents = plan.parents[slot]
            _pull(g, c, [alone], parents, g[alone])
        for units, own, above in plan.segments:
            _pull(g, c, own, above, k[units])

    def _take_in(self, k: Tensor, t: Tensor, spare: Tensor) -> Tensor:
        """Return dz (D, r), and add to the components' gradients; `k` becomes k · t."""
        k_rows = k.sum(1)
        k.mul_(t)
        self.linear += k.sum(1)
        slope = torch.mul(k, self.precision, out=spare)
        dz = slope.sum(-1).neg_()
        kt2 = torch.mul(k, t, out=spare)
        self.square += kt2.sum(1).sub_(k_rows)
        return dz

    def _of_base(self, base: int, g: Tensor, c: Tensor) -> Tensor:
        """Return a base's gradient (r, C): the sum over the slots that it is added to."""
        slots = [slot for slot, its in enumerate(self.plan.base) if its == base]
        coef = c[slots, :, 0]
        return torch.einsum("brc,br->rc", g[slots], coef)

    def _buffer(self, name: str, *shape: int) -> Tensor:
        """Return memory for a chunk, kept for the next one, and if small for the next call.

        Fresh pages cost more than sums.
        """
        size = math.prod(shape)
        key = (name, self.mean.dtype, self.mean.device)
        n_bytes = size * self.mean.element_size()
        small = n_bytes <= 2 * BUDGET["cpu"]
        kept: dict[Any, Tensor] = _memory.__dict__ if small else self.large
        if key not in kept or kept[key].numel() < size:
            kept[key] = self.mean.new_empty(size)
        numbers = kept[key][:size]
        return numbers.view(shape)


_memory = threading.local()


def forget() -> None:
    """Give back the memory, some 8 MB, that this thread keeps for the next call."""
    _memory.__dict__.clear()


def _add_up(terms: list[Tensor], out: Tensor) -> None:
    """Write Σ terms (n, r, C) to `out`, each of them summed in itself first.

    In float32 that is more exact than one by one.
    """
    if terms:
        torch.sum(terms[0], 0, out=out)
    else:
        out.zero_()
    for term in terms[1:]:
        if len(term) > 1:
            out += term.sum(0)
        else:
            out += term[0]


def _pull(g: Tensor, c: Tensor, own: list[slice], above: list[int], out: Tensor) -> None:
    """Write Σ_own c·g + Σ_above g to `out`."""
    if own and above:
        first, slot = own[0], above[0]
        torch.addcmul(g[slot], g[first], c[first], out=out)
    elif own:
        first = own[0]
        torch.mul(g[first], c[first], out=out)
    elif above:
        slot = above[0]
        out.copy_(g[slot])
    else:
        out.zero_()
    for slots in own[1:]:
        out.addcmul_(g[slots], c[slots])
    for slot in above[1:]:
        out += g[slot]
