"""Blocks of latent units as people write them: `z`, `z[:5]`, `z[3]`, `z[:, 0]`.

    >>> block("z[1:]", {"y": (), "z": (3,)})
    (('z', (1, 2)),)
    >>> name((("y", (0,)), ("z", (1, 2))), {"y": (), "z": (3,)})
    'y, z[1 2]'

A block is a tuple of (site, unit numbers) pairs; a unit is what a site's distribution keeps
together: one scalar of a Normal, one coordinate of a multivariate normal, a whole categorical or
Concrete variable.
"""

from __future__ import annotations

import itertools
import math
import re
import reprlib
from collections.abc import Mapping, Sequence

Part = tuple[str, tuple[int, ...]]
Block = tuple[Part, ...]
Shape = tuple[int, ...]

LONGEST = 1000
"""Characters of a leaf at most."""

LEAF = re.compile(r"\s*([^\[\]]+?)\s*(?:\[([^\[\]]+)\])?\s*")
"""A site's name, and perhaps indices in brackets."""


def block(leaf: str, shapes: Mapping[str, Shape]) -> Block:
    """Return the block that a leaf such as "z", "z[:5]", "z[3]" or "z[:, 0]" names.

    Raises:
        KeyError: If the site is not latent.
        ValueError: If the slice is none, is out of range or picks no unit.
    """
    match = LEAF.fullmatch(leaf) if len(leaf) <= LONGEST else None
    site, inside = match.groups() if match else (leaf, None)
    if not match or site not in shapes:
        sites = ", ".join(map(repr, shapes)) or "none"
        raise KeyError(f"groups name {reprlib.repr(leaf)}, but the latent sites are: {sites}")
    shape = shapes[site]
    sizes = shape or (1,)  # a site of one unit is a row of one
    indices = inside.split(",") if inside else []
    if len(indices) > len(sizes):
        raise ValueError(
            f"{leaf!r} has {len(indices)} indices, but site {site!r} has units of shape {shape}"
        )
    picks: list[Sequence[int]] = [range(size) for size in sizes]
    for dim, index in enumerate(indices):
        picks[dim] = _picked(leaf, index, sizes[dim])
    numbers = []
    for place in itertools.product(*picks):
        number = 0
        for position, size in zip(place, sizes, strict=True):
            number = number * size + position
        numbers.append(number)
    units = tuple(sorted(numbers))
    return ((site, units),)


def name(part: Block, shapes: Mapping[str, Shape]) -> str:
    """Return a block as people write it: `y`, `z[3]`, `y, z[0 1 2]`."""
    words = []
    for site, units in part:
        word = site
        if len(units) < math.prod(shapes[site]):
            numbers = " ".join(map(str, units))
            word = f"{site}[{numbers}]"
        words.append(word)
    return ", ".join(words)


def _picked(leaf: str, index: str, size: int) -> Sequence[int]:
    """Return the positions that an index or a slice picks out of a dimension."""
    positions = range(size)
    limits = [limit.strip() for limit in index.split(":")]
    are_numbers = all(re.fullmatch(r"(-?\d{1,9})?", limit) for limit in limits)
    is_still = len(limits) == 3 and re.fullmatch("-?0+", limits[2])  # a step of 0
    if len(limits) > 3 or not are_numbers or not index.strip() or is_still:
        raise ValueError(
            f"{leaf!r} is no slice: write a site, an index or a slice, such as 'z', 'z[3]' or "
            "'z[:5]'"
        )
    numbers = [int(limit) if limit else None for limit in limits]
    first = numbers[0]
    if len(numbers) == 1 and first is not None:
        if not -size <= first < size:
            raise ValueError(
                f"{leaf!r} is out of range: that dimension has {size} units, 0 to {size - 1}"
            )
        return [positions[first]]
    picked = positions[slice(*numbers)]
    if not picked:
        raise ValueError(f"{leaf!r} picks no unit: that dimension has {size} units")
    return picked
