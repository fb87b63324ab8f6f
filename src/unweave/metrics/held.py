"""Groups of items that agree in a factor, out of a labelled set or a generator."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.random import Generator
from numpy.typing import ArrayLike, NDArray

from .score import Pairs, checked

Floats: TypeAlias = NDArray[np.float64]
Numbers: TypeAlias = NDArray[np.int64]

Encode: TypeAlias = Callable[[NDArray[Any]], ArrayLike]
"""A function from factors (n, factors) to codes (n, codes) of items that have them."""

DrawFactors: TypeAlias = Callable[[Generator, int], NDArray[Any]]
"""A function from `(rng, n)` to independent factors (n, factors)."""

NUMBERS = 2**19
"""The number of codes that are held at a time: 4 MiB, near the processor."""


@dataclass(frozen=True)
class Source:
    """A set or generator of items that groups with a common factor are drawn from."""

    draw: Callable[[Generator, Numbers, int], Floats]
    """`draw(rng, factors, size)` returns codes (groups, size, codes); the items of group g agree in
    `factors[g]`."""
    held: Numbers
    """The factors that can be held."""
    factors: int
    """The number of factors in all."""
    codes: Floats
    """The codes of items drawn freely, (n, codes)."""
    notes: tuple[str, ...] = ()

    def groups(self, rng: Generator, factors: Numbers, size: int) -> Iterator[Floats]:
        """Yield the groups for `factors`, some at a time."""
        step = max(1, NUMBERS // (size * self.codes.shape[1]))
        for start in range(0, len(factors), step):
            yield self.draw(rng, factors[start : start + step], size)


def from_items(pairs: Pairs) -> Source:
    """Make a source of a labelled set; a value that one item has cannot be held."""
    members = {}
    held = []
    for k in np.flatnonzero(pairs.varied).tolist():
        members[k] = _members(pairs.factors[:, k])
        if len(members[k][0]):
            held.append(k)
    if not held:
        raise ValueError(
            "no value of a factor occurs twice: no two items agree in one; expected more items a "
            "value"
        )

    def draw(rng: Generator, factors: Numbers, size: int) -> Floats:
        chosen = np.empty((len(factors), size), dtype=np.int64)
        for k in held:
            here = np.flatnonzero(factors == k)
            items, first, count = members[k]
            place = rng.integers(len(items), size=(len(here), 1))  # (groups, 1)
            u = rng.random((len(here), size - 1))
            others = first[place] + (u * (count[place] - 1)).astype(np.int64)
            others += others >= place  # any item of the class but that one
            chosen[here] = items[np.hstack([place, others])]
        return pairs.codes[chosen]

    lone = []
    for k, (items, _, _) in members.items():
        count = int((pairs.factors[:, k] >= 0).sum()) - len(items)
        if count:
            lone.append(f"factor {k}: {count}")
    said = (f"values of one item are never held ({'; '.join(lone)})",) if lone else ()
    return Source(
        draw,
        held=np.array(held),
        factors=len(pairs.varied),
        codes=pairs.codes,
        notes=(*pairs.notes, *said),
    )


def _members(classes: Numbers) -> tuple[Numbers, Numbers, Numbers]:
    """Sort the items that share their class by it; tell each place its class's begin and size."""
    counts = np.bincount(classes[classes >= 0])
    several = counts[classes] > 1
    shared = np.flatnonzero((classes >= 0) & several)
    counts = counts[counts > 1]
    begins = np.cumsum(counts) - counts
    order = np.argsort(classes[shared], kind="stable")
    return shared[order], np.repeat(begins, counts), np.repeat(counts, counts)


def from_generator(encode: Encode, draw_factors: DrawFactors, rng: Generator, items: int) -> Source:
    """Make a source of new items."""

    def codes_of(factors: NDArray[Any]) -> Floats:
        codes = checked(encode(factors))
        if len(codes) != len(factors):
            raise ValueError(
                f"encode made {len(codes)} codes of {len(factors)} factors: expected a row for each"
            )
        return codes

    def draw(rng: Generator, factors: Numbers, size: int) -> Floats:
        n = len(factors)
        v = np.asarray(draw_factors(rng, n * size)).reshape(n, size, -1)
        groups = np.arange(n)
        v[groups, :, factors] = v[groups, 0, factors][:, None]  # held at the first item's value
        items = v.reshape(-1, v.shape[-1])  # (groups · size, factors)
        return codes_of(items).reshape(n, size, -1)

    sample = np.asarray(draw_factors(rng, items))
    if sample.ndim != 2 or len(sample) != items:
        raise ValueError(
            f"draw_factors made an array of {sample.shape} for n = {items}: expected (n, factors)"
        )
    factors = sample.shape[1]
    return Source(draw, held=np.arange(factors), factors=factors, codes=codes_of(sample))
