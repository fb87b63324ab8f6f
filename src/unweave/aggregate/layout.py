"""The columns and matrices in which the fused estimator finds blocks, rows and components."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property, lru_cache
from typing import NamedTuple

import torch
from torch import Tensor
from torch.distributions import Distribution, Normal, OneHotCategorical

from ..fused.plan import Blocks, Units
from ..trace.concrete import Concrete
from ..trace.leaves import Block
from ..trace.marginals import unwrap
from ..trace.node import Node
from ..trace.shapes import broadcast

Kinds = tuple[tuple[str, str], ...]
"""Sites, each with its kind."""


def bare_dist(node: Node) -> Distribution:
    """Return a site's distribution, without `Independent` around it."""
    if node.dist is None:
        raise ValueError(
            f"a site that is {node.role} without a distribution has no aggregate posterior"
        )
    return unwrap(node.dist)


def kind_of(dist: Distribution) -> str:
    """Return "normal" for columns, "classes" for one pair a unit, "other" for one pair a subset."""
    if type(dist) is Normal:
        return "normal"
    if isinstance(dist, OneHotCategorical):
        return "classes"
    if isinstance(dist, Concrete) and not isinstance(dist.temperature, Tensor):
        return "classes"
    return "other"


class Site(NamedTuple):
    """A site's rows and components, and the kind of place that its units have."""

    name: str
    rows: Node
    components: Node
    dist: Distribution  # of the components, without `Independent` around it
    kind: str


# -- where blocks find their units -----------------------------------------------------------------


class Addresses(NamedTuple):
    """The places of blocks' units among the columns of Normal units and the pairs."""

    units: dict[str, list[int]]  # of each site, the units that blocks name
    subsets: dict[str, list[Units]]  # of each site, the subsets of units that blocks name
    blocks: Blocks  # of each block its base, and its columns
    bases: tuple[tuple[int, ...], ...]  # of each base, the pairs that are added up in it


class _Places(NamedTuple):
    """The numbers of columns and of pairs."""

    columns: dict[tuple[str, int], int]  # of each Normal unit its column
    pairs: dict[tuple[str, Units], int]  # of each class variable, or subset of others, its pair


@lru_cache(maxsize=256)
def addresses(blocks: tuple[Block, ...], kinds: Kinds) -> Addresses:
    """Number the units: each Normal unit is a column, each class variable a pair.

    Each subset that a block names of another site's units is a pair.
    """
    subsets: dict[str, list[Units]] = {site: [] for site, _ in kinds}
    for block in blocks:
        for site, units in block:
            if units not in subsets[site]:
                subsets[site].append(units)
    named: dict[str, list[int]] = {}
    for site, some in subsets.items():
        every = set[int]().union(*some)
        named[site] = sorted(every)

    places = _number(kinds, named, subsets)
    bases: dict[tuple[int, ...], int] = {}
    translated = []
    for block in blocks:
        added, own = _translate(block, places)
        base = bases.setdefault(added, len(bases))
        translated.append((base, own))
    return Addresses(named, subsets, tuple(translated), tuple(bases))


def _number(kinds: Kinds, named: dict[str, list[int]], subsets: dict[str, list[Units]]) -> _Places:
    """Give each Normal unit a column, and each class variable or subset of others a pair."""
    places = _Places({}, {})
    columns, pairs = places
    for site, kind in kinds:
        if kind == "normal":
            for unit in named[site]:
                columns[site, unit] = len(columns)
        elif kind == "classes":
            for unit in named[site]:
                pairs[site, (unit,)] = len(pairs)
        else:
            for units in subsets[site]:
                pairs[site, units] = len(pairs)
    return places


def _translate(block: Block, places: _Places) -> tuple[tuple[int, ...], tuple[int, ...]]:
    """Return the pairs of a block, and its columns."""
    pairs = set[int]()
    columns = list[int]()
    for site, units in block:
        if (site, units) in places.pairs:
            pair = places.pairs[site, units]
            pairs.add(pair)
            continue
        for unit in units:
            if (site, unit) in places.columns:
                column = places.columns[site, unit]
                columns.append(column)
            else:
                pair = places.pairs[site, (unit,)]
                pairs.add(pair)
    return tuple(sorted(pairs)), tuple(columns)


# -- the shape of rows and components --------------------------------------------------------------


@dataclass(frozen=True)
class Layout:
    """The shapes by which (*samples, batch, …) becomes P sets of rows and components.

    Rows are (P, R, …) and components (P, C, …). P = 1, with the samples among the rows, where no
    parameters have samples of their own; else P is the number of samples.
    """

    samples: tuple[int, ...]
    n_rows: int
    n_comps: int
    sets: int
    dtype: torch.dtype

    @cached_property
    def lead(self) -> int:
        """The number of leading dimensions, (*samples, batch)."""
        return len(self.samples) + 1

    @cached_property
    def samples_of_sets(self) -> tuple[int, ...]:
        """The samples, or ones if they are among the rows."""
        if self.sets > 1:
            return self.samples
        return (1,) * len(self.samples)

    @cached_property
    def rows_of_a_set(self) -> int:
        """R, the rows of one set."""
        n_samples = math.prod(self.samples)
        return self.n_rows * n_samples // self.sets

    def rows(self, t: Tensor, tail: tuple[int, ...]) -> Tensor:
        """Return (P, R, *tail) of (*samples, batch, *tail), or of what broadcasts to it."""
        full = (*self.samples, self.n_rows, *tail)
        return _expand(t, full).reshape(self.sets, self.rows_of_a_set, *tail)

    def components(self, t: Tensor, tail: tuple[int, ...]) -> Tensor:
        """Return (P, C, *tail) of (*some leading, *some tail)."""
        missing = self.lead + len(tail) - t.ndim
        if missing > 0:
            ones = (1,) * missing
            t = t.reshape(*ones, *t.shape)
        full = (*self.samples_of_sets, self.n_comps, *tail)
        t = _expand(t, full).reshape(self.sets, self.n_comps, *tail)
        return t.to(self.dtype)

    def latent(self, node: Node, tail: tuple[int, ...]) -> Tensor | None:
        """Return where a site is latent (P, R, *tail), None for everywhere.

        Observed entries are given, hence no part of q(z).
        """
        if node.observed is False:
            return None
        latent = ~torch.as_tensor(node.observed, device=node.value.device)
        shape = latent.shape if latent.ndim else (1,) * self.lead
        missing = self.lead + len(tail) - len(shape)
        ones = (1,) * missing
        latent = latent.reshape(*shape, *ones)
        return self.rows(latent, tail)


def _expand(t: Tensor, shape: tuple[int, ...]) -> Tensor:
    # autograd would remember even an expansion that changes nothing
    return t if t.shape == shape else t.expand(shape)


def layout(sites: Sequence[Site], batch_dim: int) -> Layout:
    """Return the layout of some sites, whose items stand in dimension `batch_dim` of the rows."""
    lead = batch_dim + 1
    shapes = set[torch.Size]()
    n_comps = 0
    varies = False  # whether parameters differ between samples
    dtype = torch.float32
    for _, node, component, dist, _ in sites:
        value, other = node.value, component.value
        shapes.add(value.shape[:lead])
        if isinstance(node.observed, Tensor):  # a class may say what exists of the same value
            shapes.add(node.observed.shape[:lead])
        missing = value.ndim - other.ndim  # components may have no samples
        n_comps = max(n_comps, other.shape[batch_dim - missing])
        n_unit_dims = value.ndim - len(dist.event_shape) - lead
        before_items = max(len(dist.batch_shape) - n_unit_dims - 1, 0)
        repeats = dist.batch_shape[:before_items]
        varies |= math.prod(repeats) > 1
        dtype = torch.promote_types(dtype, value.dtype)
        dtype = torch.promote_types(dtype, other.dtype)
    if len(shapes) == 1:
        (shape,) = shapes
    else:
        shape = broadcast(*shapes)
    *samples, n_rows = shape
    sets = math.prod(samples) if varies else 1
    return Layout(tuple(samples), n_rows, n_comps, sets, dtype)
