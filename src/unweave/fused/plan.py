"""The plan by which blocks of units are added up, and the interface that every back end offers."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

from torch import Tensor

Units = tuple[int, ...]


Blocks = tuple[tuple[int, Units], ...]
"""For each block the number of its base, and the Normal units that are added to it."""


HALF_LOG_2PI = 0.5 * math.log(2 * math.pi)


BUDGET = {"cpu": 5 * 2**19, "cuda": 2**28}
"""Bytes of one tensor of a chunk: what stays in a core's cache, or what fills a GPU."""


class Body(Protocol):
    """What a back end offers: components are taken in once, then rows come chunk by chunk.

    Called with rows z (r, D), where they are latent (`keep`, boolean (r, D), or None for
    everywhere), bases (r, C) and coefficients (blocks, r) or None for values only, it returns log q
    (blocks, r), the gradient of Σ coef · log q in z (r, D), and in those bases that `wanted` marks.
    `finish` gives the gradients in mean and std (C, D), summed over the chunks so far. `row_bytes`
    is what one more row of a chunk takes in its largest tensor.
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
    ) -> tuple[Tensor, Tensor | None, list[Tensor | None]]: ...

    def finish(self) -> tuple[Tensor, Tensor]: ...


@dataclass(frozen=True, eq=False)
class Plan:
    """How blocks are added up, from units and from one another, in slots sorted so that alike ones
    are slices.
    """

    slots: list[int]  # the block in each slot: first those of one unit
    base: list[int]  # of each slot
    sums: list[
        tuple[int, list[int], list[slice]]
    ]  # slot, smaller sums in it, runs of units: small sums first
    parents: dict[int, list[int]]  # sum -> the larger sums that it is added to
    own: list[list[int]]  # unit -> the slots that hold it alone
    above: list[list[int]]  # unit -> the sums that it is added to
    segments: list[
        tuple[slice, list[slice], list[int]]
    ]  # runs of units, their own slots, the sums they are added to


@lru_cache(maxsize=256)
def plan(blocks: Blocks, units: int) -> Plan:
    """A sum takes in smaller sums where it can, largest first: on a tree each unit is added once a
    level at most.
    """
    slots = sorted(
        range(len(blocks)), key=lambda b: (len(blocks[b][1]) != 1, blocks[b][0], blocks[b][1])
    )
    base = [blocks[b][0] for b in slots]
    sets = [frozenset(blocks[b][1]) for b in slots]
    own: list[list[int]] = [
        [s for s, of in enumerate(sets) if of == {unit}] for unit in range(units)
    ]
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
        sums.append((s, parts, consecutive(rest)))

    def alike(u: int, v: int) -> bool:
        return above[u] == above[v] and [(s + 1, base[s]) for s in own[u]] == [
            (s, base[s]) for s in own[v]
        ]

    segments = [
        (run, [slice(s, s + run.stop - run.start) for s in own[run.start]], above[run.start])
        for run in runs(range(units), alike)
    ]
    return Plan(slots, base, sums, parents, own, above, segments)


def consecutive(numbers: Iterable[int]) -> list[slice]:
    return list(runs(sorted(numbers), lambda u, v: v == u + 1))


def runs(numbers: Sequence[int], together: Callable[[int, int], bool]) -> Iterator[slice]:
    """Increasing numbers, cut where neighbours do not belong together."""
    start = 0
    for i in range(1, len(numbers) + 1):
        if i == len(numbers) or not together(numbers[i - 1], numbers[i]):
            yield slice(numbers[start], numbers[i - 1] + 1)
            start = i
