"""The plan by which blocks of units are added up, and the interface that every back end offers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import NamedTuple, Protocol

from torch import Tensor

Units = tuple[int, ...]
"""Numbers of units."""

Blocks = tuple[tuple[int, Units], ...]
"""For each block the number of its base, and the Normal units that are added to it."""

HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)

BUDGET = {"cpu": 5 * 2**19, "cuda": 2**28}
"""Bytes of one tensor of a chunk: as many as stay in a core's cache, or as fill a GPU."""


class Body(Protocol):
    """A back end: it takes in components once, then rows chunk by chunk.

    `row_bytes` is what one more row of a chunk takes in its largest tensor.
    """

    row_bytes: int

    def __init__(self, mean: Tensor, std: Tensor, plan: Plan) -> None: ...

    def __call__(
        self,
        z: Tensor,
        keep: Tensor | None,
        bases: list[Tensor],
        coef: Tensor | None,
        wanted: Sequence[bool],
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]:
        """Return log q of a chunk of rows, and the gradients of Σ coef · log q.

        Args:
            z: Rows (r, D).
            keep: Where they are latent, boolean (r, D), or None for everywhere.
            bases: Matrices (r, C) that are added to the units' log-densities.
            coef: Coefficients (blocks, r), or None for values only.
            wanted: The bases whose gradient is wanted.

        Returns:
            log q (blocks, r), the gradient in z (r, D), and those in the bases (r, C) that are
            wanted.
        """
        ...

    def finish(self) -> tuple[Tensor, Tensor]:
        """Return the gradients in mean and std (C, D), summed over the chunks so far."""
        ...


class Sum(NamedTuple):
    """A block of several units."""

    slot: int
    parts: list[int]  # the slots of smaller sums in it
    runs: list[slice]  # the units that are in none of them


class Segment(NamedTuple):
    """A run of units that go to the same places."""

    units: slice
    own: list[slice]  # the slots that hold one of them alone, unit by unit
    above: list[int]  # the slots of the sums that they are added to


@dataclass(frozen=True, eq=False)
class Plan:
    """The order in which units and blocks are added up.

    Each block has a slot; slots are sorted so that alike ones are slices.
    """

    slots: list[int]  # the block in each slot: first those of one unit
    base: list[int]  # of each slot
    sums: list[Sum]  # small ones first
    parents: dict[int, list[int]]  # sum -> the larger sums that it is added to
    own: list[list[int]]  # unit -> the slots that hold it alone
    above: list[list[int]]  # unit -> the sums that it is added to
    segments: list[Segment]


@lru_cache(maxsize=256)
def plan(blocks: Blocks, units: int) -> Plan:
    """Return the plan in which a sum takes in smaller sums where it can, largest first.

    On a tree each unit is then added once a level at most.
    """

    def order(b: int) -> tuple[bool, int, Units]:
        base, members = blocks[b]
        return len(members) != 1, base, members

    numbers = range(len(blocks))
    slots = sorted(numbers, key=order)
    base = [blocks[b][0] for b in slots]
    members = [frozenset(blocks[b][1]) for b in slots]
    own: list[list[int]] = [[] for _ in range(units)]
    several = []
    for slot, of in enumerate(members):
        if len(of) == 1:
            (unit,) = of
            own[unit].append(slot)
        else:
            several.append(slot)
    several.sort(key=lambda slot: len(members[slot]))

    above: list[list[int]] = [[] for _ in range(units)]
    parents: dict[int, list[int]] = {}
    sums: list[Sum] = []
    for slot in several:
        rest = members[slot]
        parts = list[int]()
        for smaller in reversed(sums):
            of = members[smaller.slot]
            if of and of <= rest:
                rest -= of
                parts.append(smaller.slot)
                parents[smaller.slot].append(slot)
        for unit in rest:
            above[unit].append(slot)
        parents[slot] = []
        sums.append(Sum(slot, parts, consecutive(rest)))

    def follows(u: int, v: int) -> bool:
        """Return true if unit v goes where u goes, one slot further where it stands alone."""
        if above[u] != above[v]:
            return False
        after_u = [(slot + 1, base[slot]) for slot in own[u]]
        at_v = [(slot, base[slot]) for slot in own[v]]
        return after_u == at_v

    segments = []
    for run in runs(range(units), follows):
        first = run.start
        length = run.stop - first
        alone = [slice(slot, slot + length) for slot in own[first]]
        segments.append(Segment(run, alone, above[first]))
    return Plan(slots, base, sums, parents, own, above, segments)


def consecutive(numbers: Iterable[int]) -> list[slice]:
    """Return the runs of consecutive numbers."""
    found = runs(sorted(numbers), lambda u, v: v == u + 1)
    return list(found)


def runs(numbers: Sequence[int], together: Callable[[int, int], bool]) -> Iterator[slice]:
    """Cut increasing numbers where neighbours do not belong together."""
    start = 0
    for end in range(1, len(numbers) + 1):
        last = numbers[end - 1]
        if end == len(numbers) or not together(last, numbers[end]):
            yield slice(numbers[start], last + 1)
            start = end
