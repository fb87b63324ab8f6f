"""The fused estimator's body for GPUs in Triton: all that a tile of pairs needs is in registers.

Four kernels in turn, each output written by one program, so that the same numbers give the same
bits: `_values` makes the log-sum-exp of every block and row, `_weights` the weights of the blocks
of several units; of these `_rows` makes the gradients of rows and `_components` those of
components, one unit a program, where blocks of one unit cost no memory. `_bases` adds those of the
bases where they are wanted. Densities are made anew wherever they are needed.

Triton is no dependency: this module is imported when tensors on a GPU first arrive. Whatever fails,
the tensor code of `pure.py` is used and `status` says why; the environment variable
UNWEAVE_TRITON=0 asks for that.
"""

# mypy: allow-untyped-defs, allow-incomplete-defs

from __future__ import annotations

import importlib
import os
from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NamedTuple, TypeAlias

import torch
from torch import Tensor

from .plan import HALF_LOG_2PI, Plan

_ROWS = {"R": 16, "C": 64}
"""Rows and components of a tile, where a program sums over components."""
_COMPONENTS = {"R": 32, "C": 32}
"""Rows and components where it sums over rows: narrow, as few components are many programs."""

triton: Any = None
tl: Any = None
_missing = ""
try:
    triton, tl = importlib.import_module("triton"), importlib.import_module("triton.language")
except Exception as error:  # installed for another machine, it fails in many ways
    triton, _missing = None, f"triton cannot be imported: {error}"
if TYPE_CHECKING:
    constexpr: TypeAlias = Any
else:
    constexpr = getattr(tl, "constexpr", None)


def status() -> str:
    """Say what runs on a GPU, and why if it is not Triton: such as "pure (UNWEAVE_TRITON=0)"."""
    why = _unusable(os.environ.get("UNWEAVE_TRITON", ""))
    return f"pure ({why})" if why else f"triton ({triton.__version__})"


def usable() -> bool:
    """Return true if a kernel ran here; tried once."""
    return not _unusable(os.environ.get("UNWEAVE_TRITON", ""))


@lru_cache
def _unusable(wanted: str) -> str:
    """Return why there are no kernels, or nothing."""
    if wanted == "0":
        return "UNWEAVE_TRITON=0"
    if triton is None:
        return _missing
    if not torch.cuda.is_available():
        return "no GPU was found"
    try:
        out = torch.zeros(1, device="cuda")
        _one[(1,)](out, enable_fp_fusion=False)
        return "" if out.item() == 1 else "a kernel gave a wrong number"
    except Exception as error:  # no compiler, an old driver, an old GPU, another vendor's
        return f"a kernel failed: {error}"


# -- the kernels -----------------------------------------------------------------------------------
# i are the rows of a tile, j its components. Arrays are (units, rows) or (units, components) and
# the like, the last index contiguous. Lists of numbers lie end to end: those of k are
# list[start[k]] to list[start[k + 1] - 1].


def _jit(fn: Any) -> Any:
    return fn if triton is None else triton.jit(fn)


@_jit
def _one(out):
    tl.store(out, 1.0)


@_jit
def _unit(z, keep, params, d, i, j, rows, comps, units, KEEP: constexpr):
    """Return t = (z - mean) / std, 1 / std, the log-densities, and where the unit is latent."""
    latent = i < rows
    if KEEP:
        latent = tl.load(keep + d * rows + i, mask=latent, other=0) != 0
    value = tl.load(z + d * rows + i, mask=latent, other=0.0)
    param = params + d * comps + j
    mean = tl.load(param, mask=j < comps, other=0.0)
    precision = tl.load(param + units * comps, mask=j < comps, other=0.0)
    constant = tl.load(param + 2 * units * comps, mask=j < comps, other=0.0)
    t = (value[:, None] - mean[None, :]) * precision[None, :]
    # one instruction, in every kernel: where densities are huge, other roundings would be other
    # weights
    density = tl.fma(-0.5 * t, t, tl.zeros_like(t) + constant[None, :])
    if KEEP:
        density = tl.where(latent[:, None], density, 0.0)
    return t, precision, density, latent


@_jit
def _add_base(density, bases, base, i, j, rows, comps, to_base, to_row, to_comp):
    at = bases + base * to_base + i[:, None] * to_row + j[None, :] * to_comp
    return density + tl.load(
        at, mask=(i < rows)[:, None] & (j < comps)[None, :], other=float("-inf")
    )


@_jit
def _block(
    z, keep, params, bases, members_start, members, base_of, s, i, j,
    rows, comps, units, to_base, to_row, to_comp,
    KEEP: constexpr, R: constexpr, C: constexpr,
):  # fmt: skip
    """Return the log-densities of a block, its base included."""
    total = tl.zeros((R, C), z.dtype.element_ty)
    for k in range(tl.load(members_start + s), tl.load(members_start + s + 1)):
        _, _, density, _ = _unit(
            z, keep, params, tl.load(members + k), i, j, rows, comps, units, KEEP
        )
        total += density
    return _add_base(
        total, bases, tl.load(base_of + s), i, j, rows, comps, to_base, to_row, to_comp
    )


@_jit
def _values(
    z, keep, params, bases, members_start, members, base_of, top_of, sum_of,
    rows, comps, units, slots, to_base, to_row, to_comp,
    KEEP: constexpr, R: constexpr, C: constexpr,
):  # fmt: skip
    """Write top and sum of log q = top + log(sum), for a slot and a tile of rows.

    They stay apart, as the rounding of log q would come back in exp.
    """
    s = tl.program_id(0) % slots
    i = (tl.program_id(0) // slots).to(tl.int64) * R + tl.arange(0, R)
    top = tl.full((R,), float("-inf"), z.dtype.element_ty)
    total = tl.zeros((R,), z.dtype.element_ty)
    for first in range(0, comps, C):
        j = first + tl.arange(0, C)
        l = _block(
            z, keep, params, bases, members_start, members, base_of, s, i, j,
            rows, comps, units, to_base, to_row, to_comp, KEEP, R, C,
        )  # fmt: skip
        larger = tl.maximum(top, tl.max(l, 1))
        finite = tl.where(larger == float("-inf"), 0.0, larger)  # where no component has any weight
        total = total * tl.exp(top - finite) + tl.sum(tl.exp(l - finite[:, None]), 1)
        top = larger
    tl.store(top_of + s * rows + i, tl.where(top == float("-inf"), 0.0, top), mask=i < rows)
    tl.store(sum_of + s * rows + i, total, mask=i < rows)


@_jit
def _share(l, top_of, factor_of, s, i, rows):
    """Return coef · exp(l) / Σ exp(l)."""
    top = tl.load(top_of + s * rows + i, mask=i < rows, other=0.0)
    factor = tl.load(factor_of + s * rows + i, mask=i < rows, other=0.0)
    return factor[:, None] * tl.exp(l - top[:, None])


@_jit
def _weights(
    z, keep, params, bases, members_start, members, base_of, top_of, factor_of, weights,
    rows, comps, units, slots, sums, to_base, to_row, to_comp,
    KEEP: constexpr, R: constexpr, C: constexpr,
):  # fmt: skip
    """Write the weights of a slot of several units, which are the last ones, and a tile of rows."""
    n = (tl.program_id(0) % sums).to(tl.int64)
    i = (tl.program_id(0) // sums).to(tl.int64) * R + tl.arange(0, R)
    s = slots - sums + n
    for first in range(0, comps, C):
        j = first + tl.arange(0, C)
        l = _block(
            z, keep, params, bases, members_start, members, base_of, s, i, j,
            rows, comps, units, to_base, to_row, to_comp, KEEP, R, C,
        )  # fmt: skip
        at = weights + (n * rows + i[:, None]) * comps + j[None, :]
        tl.store(
            at,
            _share(l, top_of, factor_of, s, i, rows),
            mask=(i < rows)[:, None] & (j < comps)[None, :],
        )


@_jit
def _pull(
    z, keep, params, bases, own_start, own, above_start, above, base_of, top_of, factor_of, weights,
    d, i, j,
    rows, comps, units, to_base, to_row, to_comp,
    KEEP: constexpr, R: constexpr, C: constexpr,
):  # fmt: skip
    """Return the gradient in a unit's log-densities, from the slots with it; t and 1 / std."""
    t, precision, density, latent = _unit(z, keep, params, d, i, j, rows, comps, units, KEEP)
    g = tl.zeros((R, C), z.dtype.element_ty)
    for k in range(tl.load(own_start + d), tl.load(own_start + d + 1)):
        s = tl.load(own + k)
        l = _add_base(
            density, bases, tl.load(base_of + s), i, j, rows, comps, to_base, to_row, to_comp
        )
        g += _share(l, top_of, factor_of, s, i, rows)
    for k in range(tl.load(above_start + d), tl.load(above_start + d + 1)):
        at = weights + (tl.load(above + k) * rows + i[:, None]) * comps + j[None, :]
        g += tl.load(at, mask=(i < rows)[:, None] & (j < comps)[None, :], other=0.0)
    return tl.where(latent[:, None], g, 0.0), t, precision


@_jit
def _rows(
    z, keep, params, bases, own_start, own, above_start, above, base_of, top_of, factor_of, weights,
    dz,
    rows, comps, units, to_base, to_row, to_comp,
    KEEP: constexpr, R: constexpr, C: constexpr,
):  # fmt: skip
    """Write dz, for a unit and a tile of rows."""
    d = (tl.program_id(0) % units).to(tl.int64)
    i = (tl.program_id(0) // units).to(tl.int64) * R + tl.arange(0, R)
    slope = tl.zeros((R,), z.dtype.element_ty)
    for first in range(0, comps, C):
        j = first + tl.arange(0, C)
        g, t, precision = _pull(
            z, keep, params, bases, own_start, own, above_start, above, base_of, top_of, factor_of,
            weights, d, i, j,
            rows, comps, units, to_base, to_row, to_comp, KEEP, R, C,
        )  # fmt: skip
        slope -= tl.sum(g * t * precision[None, :], 1)
    tl.store(dz + d * rows + i, slope, mask=i < rows)


@_jit
def _components(
    z, keep, params, bases, own_start, own, above_start, above, base_of, top_of, factor_of, weights,
    sums,
    rows, comps, units, to_base, to_row, to_comp,
    KEEP: constexpr, R: constexpr, C: constexpr,
):  # fmt: skip
    """Add Σ g t and Σ g (t² − 1) to those of earlier chunks: a unit and a tile of components."""
    d = (tl.program_id(0) % units).to(tl.int64)
    j = (tl.program_id(0) // units) * C + tl.arange(0, C)
    linear = tl.zeros((C,), z.dtype.element_ty)
    square = tl.zeros((C,), z.dtype.element_ty)
    for first in range(0, rows, R):
        i = (first + tl.arange(0, R)).to(tl.int64)
        g, t, _ = _pull(
            z, keep, params, bases, own_start, own, above_start, above, base_of, top_of, factor_of,
            weights, d, i, j,
            rows, comps, units, to_base, to_row, to_comp, KEEP, R, C,
        )  # fmt: skip
        linear += tl.sum(g * t, 0)
        square += tl.sum(g * t * t - g, 0)
    at = sums + d * comps + j
    tl.store(at, tl.load(at, mask=j < comps) + linear, mask=j < comps)
    at += units * comps
    tl.store(at, tl.load(at, mask=j < comps) + square, mask=j < comps)


@_jit
def _bases(
    z, keep, params, bases, members_start, members, base_of, holds_start, holds, top_of, factor_of,
    dbases,
    rows, comps, units, wanted, to_base, to_row, to_comp,
    KEEP: constexpr, R: constexpr, C: constexpr,
):  # fmt: skip
    """Write the gradient in a wanted base, from the slots with it, and a tile of rows."""
    b = (tl.program_id(0) % wanted).to(tl.int64)
    i = (tl.program_id(0) // wanted).to(tl.int64) * R + tl.arange(0, R)
    for first in range(0, comps, C):
        j = first + tl.arange(0, C)
        g = tl.zeros((R, C), z.dtype.element_ty)
        for k in range(tl.load(holds_start + b), tl.load(holds_start + b + 1)):
            s = tl.load(holds + k)
            l = _block(
                z, keep, params, bases, members_start, members, base_of, s, i, j,
                rows, comps, units, to_base, to_row, to_comp, KEEP, R, C,
            )  # fmt: skip
            g += _share(l, top_of, factor_of, s, i, rows)
        at = dbases + (b * rows + i[:, None]) * comps + j[None, :]
        tl.store(at, g, mask=(i < rows)[:, None] & (j < comps)[None, :])


# -- the body --------------------------------------------------------------------------------------


class _Lists(NamedTuple):
    """Lists of numbers that lie end to end, and where each starts."""

    start: Tensor
    numbers: Tensor


def _lists(rows: Sequence[Sequence[int]], device: torch.device) -> _Lists:
    start = [0]
    numbers = list[int]()
    for row in rows:
        numbers += row
        start.append(len(numbers))
    starts = _numbers(start, device)
    flat = _numbers(numbers or [0], device)
    return _Lists(starts, flat)


def _numbers(values: list[int], device: torch.device) -> Tensor:
    return torch.tensor(values, dtype=torch.int64, device=device)


class _Tables(NamedTuple):
    """The plan as the kernels read it."""

    slots: Tensor  # of each slot its block
    place: Tensor  # of each block its slot
    base: Tensor  # of each slot its base
    members: _Lists  # of each slot its units
    own: _Lists  # of each unit the slots that hold it alone
    above: _Lists  # of each unit the sums that it is in, counted from the first one


@lru_cache(maxsize=256)
def _tables(plan: Plan, device: torch.device) -> _Tables:
    members: list[list[int]] = [[] for _ in plan.slots]
    for unit, own in enumerate(plan.own):
        for slot in own:
            members[slot] = [unit]
    for slot, parts, runs in plan.sums:  # small ones first
        units = set[int]()
        for run in runs:
            in_run = range(run.start, run.stop)
            units.update(in_run)
        for part in parts:
            units.update(members[part])
        members[slot] = sorted(units)
    singles = len(plan.slots) - len(plan.sums)
    above: list[list[int]] = [[] for _ in plan.own]
    for number, sum_members in enumerate(members[singles:]):
        for unit in sum_members:
            above[unit].append(number)
    slots = _numbers(plan.slots, device)
    return _Tables(
        slots=slots,
        place=slots.argsort(),
        base=_numbers(plan.base, device),
        members=_lists(members, device),
        own=_lists(plan.own, device),
        above=_lists(above, device),
    )


@lru_cache(maxsize=256)
def _holds(plan: Plan, wanted: tuple[int, ...], device: torch.device) -> _Lists:
    """Return the slots of each wanted base."""
    rows: list[list[int]] = [[] for _ in wanted]
    for slot, base in enumerate(plan.base):
        if base in wanted:
            place = wanted.index(base)
            rows[place].append(slot)
    return _lists(rows, device)


class Triton:
    """The primitive in Triton: see `plan.Body`."""

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None:
        if triton is None:
            raise RuntimeError(f"the body in Triton was asked for, but {_missing}")
        self.plan = plan
        self.tables = _tables(plan, mean.device)
        precision = (1 / std).T
        constant = precision.log() - HALF_LOG_2PI
        self.params = torch.stack([mean.T, precision, constant])  # (3, D, C)
        self.sums = torch.zeros_like(self.params[:2])  # Σ_i g t and Σ_i g (t² − 1)
        n_comps, _ = mean.shape
        self.row_bytes = mean.element_size() * n_comps * len(plan.sums)

    def __call__(
        self,
        z: Tensor,
        keep: Tensor | None,
        bases: list[Tensor],
        coef: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        with torch.cuda.device_of(z):
            return self._chunk(z, keep, bases, coef, wanted)

    def _chunk(
        self,
        z: Tensor,
        keep: Tensor | None,
        bases: list[Tensor],
        coef: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        plan, tables = self.plan, self.tables
        _, units, comps = self.params.shape
        rows, slots, sums = len(z), len(plan.slots), len(plan.sums)
        base = bases[0][None] if len(bases) == 1 else torch.stack(bases)  # (bases, r, C)
        by_unit = z.T.contiguous()  # (D, r)
        hidden = z  # a pointer that no kernel reads
        if keep is not None:
            hidden = keep.T.contiguous().view(torch.uint8)  # (D, r)
        pairs = (by_unit, hidden, self.params, base)
        members = (*tables.members, tables.base)
        strides = base.stride()
        masked = keep is not None

        def launch(kernel: Any, count: int, tile: dict[str, int], *args: Any) -> None:
            """Run `count` programs for each tile of rows, or of components."""
            length, size = (rows, tile["R"]) if tile is _ROWS else (comps, tile["C"])
            tiles = -(-length // size)
            programs = count * tiles
            if programs:
                kernel[(programs,)](*args, *strides, KEEP=masked, enable_fp_fusion=False, **tile)

        top, total = z.new_empty(2, slots, rows)
        launch(_values, slots, _ROWS, *pairs, *members, top, total, rows, comps, units, slots)
        log_q = top + total.log()  # (slots, r)
        log_q = log_q[tables.place]  # (blocks, r)
        if coef is None:
            return log_q, None, [None] * len(bases)

        shares = coef[tables.slots] / total
        factor = torch.where(total == 0, 0.0, shares)
        weights = z.new_empty(sums, rows, comps)
        launch(
            _weights, sums, _ROWS, *pairs, *members, top, factor, weights,
            rows, comps, units, slots, sums,
        )  # fmt: skip
        dz = z.new_empty(units, rows)
        per_unit = (*pairs, *tables.own, *tables.above, tables.base, top, factor, weights)
        launch(_rows, units, _ROWS, *per_unit, dz, rows, comps, units)
        launch(_components, units, _COMPONENTS, *per_unit, self.sums, rows, comps, units)
        dbases: list[Tensor | None] = [None] * len(bases)
        asked = tuple(k for k, want in enumerate(wanted) if want)
        if asked:
            holds = _holds(plan, asked, z.device)
            found = z.new_empty(len(asked), rows, comps)
            launch(
                _bases, len(asked), _ROWS, *pairs, *members, *holds, top, factor, found,
                rows, comps, units, len(asked),
            )  # fmt: skip
            for k, grad in zip(asked, found, strict=True):
                dbases[k] = grad
        return log_q, dz.T, dbases

    def finish(self) -> tuple[Tensor, Tensor]:
        _, precision, _ = self.params
        dmean, dstd = self.sums * precision
        return dmean.T, dstd.T
