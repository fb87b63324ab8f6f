"""Blocks of latents that atoms name: the partitions of a group tree, and what is restricted to it.

All are functions of the tree and of the shapes of sites alone, and remembered: in a training step
whose groups and shapes are those of the step before, nothing is resolved again.

    >>> groups = grouping(("y", "z"), {"y": (), "z": (2,)})
    >>> blocks(groups, 1)
    ((('y', (0,)),), (('z', (0, 1)),))
    >>> blocks(groups, -1, ("z",))
    ((('z', (0,)),), (('z', (1,)),))
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import lru_cache
from typing import NamedTuple

from ..trace.groups import Tree, chain, intersect, union
from ..trace.leaves import Block, block
from .atoms import Atom

REMEMBERED = 1024
"""The number of answers of each function that are kept."""

Level = tuple[Block, ...]
"""One partition of the latent units."""


class Groups(NamedTuple):
    """A group tree and the shape of each site's units, hashable."""

    tree: Tree
    shapes: tuple[tuple[str, tuple[int, ...]], ...]


def grouping(tree: Tree | None, shapes: Mapping[str, tuple[int, ...]]) -> Groups:
    """Return the groups of sites of these shapes, by default one group a site."""
    if tree is None:
        tree = tuple(shapes)
    try:
        hash(tree)
    except TypeError:
        tree = _as_tuples(tree)
    return Groups(tree, tuple(shapes.items()))


@lru_cache(REMEMBERED)
def levels(groups: Groups) -> tuple[Level, ...]:
    """Return the chain of partitions, coarse to fine; none if there is no site."""
    if not groups.shapes:
        return ()
    return tuple(map(tuple, chain(groups.tree, dict(groups.shapes))))


@lru_cache(REMEMBERED)
def blocks(groups: Groups, level: int, of: tuple[str, ...] = ()) -> Level:
    """Return the blocks of a level, or their parts in the latents `of`."""
    partition = levels(groups)[level] if groups.shapes else ()
    if not of:
        return partition
    named = within(groups, of)
    parts = (intersect(each, named) for each in partition)
    return tuple(part for part in parts if part)


@lru_cache(REMEMBERED)
def within(groups: Groups, of: tuple[str, ...] = ()) -> Block:
    """Return one block with all units of the latents `of`, by default of all sites."""
    if of:
        shapes = dict(groups.shapes)
        return union(block(leaf, shapes) for leaf in of)
    return union(blocks(groups, 0))


@lru_cache(REMEMBERED)
def from_coarsest(atom: Atom, depth: int) -> Atom:
    """Return the atom with its level counted from the coarsest of `depth` levels.

    Raises:
        ValueError: There is no such level.
    """
    if atom.kind not in ("q", "p"):
        return atom
    if not -depth <= atom.level < depth:
        raise ValueError(
            f"{atom}: the tree of groups has levels 0 to {depth - 1}, level {atom.level} was "
            "asked for"
        )
    return atom._replace(level=atom.level % depth)


def _as_tuples(tree: Tree) -> Tree:
    return tree if isinstance(tree, str) else tuple(map(_as_tuples, tree))
