"""Trees of latent groups, and the chain of partitions that a tree gives.

A tree is a nested tuple whose leaves name sites, or slices of sites: `("y", "z")`, `("z[:5]",
"z[5:]")`, `((("kind", "size"), "pose"), "style")`. Level 0 of its chain is one block with every
latent unit, each further level splits blocks into their children, and the last level has one block
per unit:

    >>> chain(("y", ("z[:2]", "z[2:]")), {"y": (), "z": (3,)})[2]
    [(('y', (0,)),), (('z', (0, 1)),), (('z', (2,)),)]
    >>> [len(level) for level in chain(("y", ("z[:2]", "z[2:]")), {"y": (), "z": (3,)})]
    [1, 2, 3, 4]

A block is a tuple of (site, unit numbers) pairs; a unit is what a site's distribution keeps
together: one scalar of a Normal, one coordinate of a multivariate normal, a whole categorical or
Concrete variable.
"""

from __future__ import annotations

import itertools
import math
import re
import reprlib
from collections.abc import Iterable, Mapping, Sequence

Tree = str | Sequence["Tree"]
Part = tuple[str, tuple[int, ...]]
Block = tuple[Part, ...]
Shape = tuple[int, ...]

DEEPEST = 64
"""Levels of a tree at most."""

LONGEST = 1000
"""Characters of a leaf at most."""

LEAF = re.compile(r"\s*([^\[\]]+?)\s*(?:\[([^\[\]]+)\])?\s*")
"""A site's name, and perhaps indices in brackets."""


def chain(tree: Tree, shapes: Mapping[str, Shape]) -> list[list[Block]]:
    """Return the chain of partitions of a tree, coarse to fine.

    Args:
        tree: A site's name, a slice of a site, or a tuple of trees.
        shapes: The shape of each latent site's units.

    Returns:
        The blocks of each level; the last level has one block per unit.

    Raises:
        KeyError: For a leaf whose site is not latent.
        ValueError: If a unit is in two leaves or in none, the tree has leaves that are no text, or
            it has more levels than `DEEPEST`.
    """
    levels = []
    for subtrees in _descend(tree):
        level = [_merge(_leaves(subtree, shapes)) for subtree in subtrees]
        levels.append(level)
    units = []
    for leaf in levels[-1]:
        units += _single_units(leaf)
    _check_units(tree, units, shapes)
    return [*levels, units]


def _check_units(tree: Tree, units: Sequence[Block], shapes: Mapping[str, Shape]) -> None:
    """Refuse a tree unless each latent unit is in one leaf."""
    doubled = {name(unit, shapes) for unit in units if units.count(unit) > 1}
    if doubled:
        names = ", ".join(sorted(doubled))
        raise ValueError(f"groups {tree!r} hold {names} more than once: each unit has one group")
    missing = [name(unit, shapes) for unit in every(shapes) if unit not in units]
    if missing:
        names = ", ".join(missing)
        raise ValueError(f"groups {tree!r} leave out {names}: every latent unit needs a group")


def every(shapes: Mapping[str, Shape]) -> list[Block]:
    """Return a block of one unit for each latent unit."""
    whole = []
    for site, shape in shapes.items():
        units = range(math.prod(shape))
        whole.append((site, tuple(units)))
    return _single_units(whole)


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


def intersect(left: Block, right: Block) -> Block:
    """Return the units of `left` that are also in `right`, an empty tuple if there are none."""
    others = dict(right)
    parts = []
    for site, units in left:
        also = others.get(site, ())
        shared = tuple(unit for unit in units if unit in also)
        if shared:
            parts.append((site, shared))
    return tuple(parts)


def union(blocks: Iterable[Block]) -> Block:
    """Return one block with the units of all of them."""
    parts = itertools.chain.from_iterable(blocks)
    return _merge(parts)


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


def _single_units(whole: Iterable[Part]) -> list[Block]:
    """Return a block of one unit for each unit of a block."""
    single: list[Block] = []
    for site, units in whole:
        for unit in units:
            part = (site, (unit,))
            single.append((part,))
    return single


def _descend(tree: Tree) -> list[list[Tree]]:
    """Return subtrees level by level; a leaf stays until the deepest leaf is reached."""
    level: list[Tree] = [tree]
    levels = [level]
    while not all(isinstance(subtree, str) for subtree in level):
        below: list[Tree] = []
        for subtree in level:
            if not isinstance(subtree, Sequence):
                raise ValueError(
                    f"groups have the leaf {subtree!r}, {type(subtree).__name__}: a group is a "
                    "site's name, a slice of a site, or a tuple of groups"
                )
            below += [subtree] if isinstance(subtree, str) else subtree
        level = below
        levels.append(level)
        if len(levels) > DEEPEST:
            raise ValueError(f"groups have more than {DEEPEST} levels: expected fewer")
    if len(levels) == 1:  # a tree that is one leaf is its own group
        levels.append(level)
    return levels


def _leaves(tree: Tree, shapes: Mapping[str, Shape]) -> list[Part]:
    """Return the parts of sites that a tree's leaves name."""
    if isinstance(tree, str):
        return list(block(tree, shapes))
    if not tree:
        raise ValueError(
            "a group is empty: a group is a site's name, a slice of a site, or a tuple of groups"
        )
    parts = []
    for child in tree:
        parts += _leaves(child, shapes)
    return parts


def _merge(parts: Iterable[Part]) -> Block:
    """Return one block, with one part a site."""
    merged: dict[str, tuple[int, ...]] = {}
    for site, units in parts:
        together = (*merged.get(site, ()), *units)
        merged[site] = tuple(sorted(together))
    return tuple(merged.items())


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
