"""Trees of latent groups, and the chain of partitions that a tree gives.

A tree is a nested tuple whose leaves name sites, or slices of sites: `("y", "z")`, `("z[:5]",
"z[5:]")`, `((("kind", "size"), "pose"), "style")`. Level 0 of its chain is one block with every
latent unit, each further level splits blocks into their children, and the last level has one block
per unit:

    >>> chain(("y", ("z[:2]", "z[2:]")), {"y": (), "z": (3,)})[2]
    [(('y', (0,)),), (('z', (0, 1)),), (('z', (2,)),)]
    >>> [len(level) for level in chain(("y", ("z[:2]", "z[2:]")), {"y": (), "z": (3,)})]
    [1, 2, 3, 4]

`leaves` has blocks, and the notation of leaves.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterable, Mapping, Sequence

from .leaves import Block, Part, Shape, block, name

Tree = str | Sequence["Tree"]

DEEPEST = 64
"""Levels of a tree at most."""


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
