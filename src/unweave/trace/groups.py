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
from collections.abc import Iterable, Mapping, Sequence

Tree = str | Sequence["Tree"]
Part = tuple[str, tuple[int, ...]]
Block = tuple[Part, ...]
Shape = tuple[int, ...]


def chain(tree: Tree, shapes: Mapping[str, Shape]) -> list[list[Block]]:
    """Return the chain of partitions of a tree, coarse to fine.

    Args:
        tree: A site's name, a slice of a site, or a tuple of trees.
        shapes: The shape of each latent site's units.

    Returns:
        The blocks of each level; the last level has one block per unit.

    Raises:
        KeyError: For a leaf whose site is not latent.
        ValueError: If a unit is in two leaves or in none.
    """
    levels = [_blocks(nodes, shapes) for nodes in _descend(tree)]
    units = []
    for leaf in levels[-1]:
        units += _single_units(leaf)
    doubled = sorted({name(unit, shapes) for unit in units if units.count(unit) > 1})
    if doubled:
        raise ValueError(
            f"groups {tree!r} hold {', '.join(doubled)} more than once: each unit has one group"
        )
    missing = [name(unit, shapes) for unit in every(shapes) if unit not in units]
    if missing:
        raise ValueError(
            f"groups {tree!r} leave out {', '.join(missing)}: every latent unit needs a group"
        )
    return [*levels, units]


def every(shapes: Mapping[str, Shape]) -> list[Block]:
    """Return a block of one unit for each latent unit."""
    whole = tuple((site, tuple(range(math.prod(shape)))) for site, shape in shapes.items())
    return _single_units(whole)


def block(leaf: str, shapes: Mapping[str, Shape]) -> Block:
    """Return the block that a leaf such as "z", "z[:5]", "z[3]" or "z[:, 0]" names.

    Raises:
        KeyError: If the site is not latent.
        ValueError: If the slice is none, is out of range or picks no unit.
    """
    match = re.fullmatch(r"\s*([^\[\]]+?)\s*(?:\[([^\[\]]+)\])?\s*", leaf)
    site = match.group(1) if match else leaf
    if not match or site not in shapes:
        raise KeyError(
            f"groups name {leaf!r}, but the latent sites are: "
            f"{', '.join(map(repr, shapes)) or 'none'}"
        )
    shape = shapes[site]
    sizes = shape or (1,)  # a site of one unit is a row of one
    indices = (match[2] or ":").split(",")
    if match[2] and len(indices) > len(sizes):
        raise ValueError(
            f"{leaf!r} has {len(indices)} indices, but site {site!r} has units of shape {shape}"
        )
    picks = [_index(leaf, text, size) for text, size in zip(indices, sizes, strict=False)]
    picks += [range(size) for size in sizes[len(picks) :]]
    numbers = []
    for place in itertools.product(*picks):
        number = 0
        for position, size in zip(place, sizes, strict=True):
            number = number * size + position
        numbers.append(number)
    return ((site, tuple(sorted(numbers))),)


def intersect(left: Block, right: Block) -> Block:
    """Return the units of `left` that are also in `right`, an empty tuple if there are none."""
    kept, parts = dict(right), []
    for site, units in left:
        also = kept.get(site, ())
        shared = tuple(unit for unit in units if unit in also)
        if shared:
            parts.append((site, shared))
    return tuple(parts)


def union(blocks: Iterable[Block]) -> Block:
    """Return one block with the units of all of them."""
    return _merge(itertools.chain.from_iterable(blocks))


def name(part: Block, shapes: Mapping[str, Shape]) -> str:
    """Return a block as people write it: `y`, `z[3]`, `y, z[0 1 2]`."""
    words = []
    for site, units in part:
        is_whole = len(units) == math.prod(shapes[site])
        words.append(site if is_whole else f"{site}[{' '.join(map(str, units))}]")
    return ", ".join(words)


def _single_units(whole: Block) -> list[Block]:
    """Return a block of one unit for each unit of a block."""
    single: list[Block] = []
    for site, units in whole:
        single += [((site, (unit,)),) for unit in units]
    return single


def _blocks(nodes: Sequence[Tree], shapes: Mapping[str, Shape]) -> list[Block]:
    """Return a block for each subtree of a level."""
    return [_merge(_leaves(node, shapes)) for node in nodes]


def _descend(tree: Tree) -> list[list[Tree]]:
    """Return subtrees level by level; a leaf stays until the deepest leaf is reached."""
    levels: list[list[Tree]] = [[tree]]
    while any(not isinstance(node, str) for node in levels[-1]):
        below: list[Tree] = []
        for node in levels[-1]:
            below += [node] if isinstance(node, str) else node
        levels.append(below)
    return levels if len(levels) > 1 else [*levels, *levels]


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
        merged[site] = tuple(sorted((*merged.get(site, ()), *units)))
    return tuple(merged.items())


def _index(leaf: str, text: str, size: int) -> Sequence[int]:
    """Return the positions that an index or a slice picks out of a dimension."""
    numbers = [part.strip() for part in text.split(":")]
    are_numbers = all(re.fullmatch(r"(-?\d+)?", part) for part in numbers)
    if len(numbers) > 3 or not are_numbers or not text.strip():
        raise ValueError(
            f"{leaf!r} is no slice: write a site, an index or a slice, such as 'z', 'z[3]' or "
            "'z[:5]'"
        )
    if len(numbers) == 1:
        if not -size <= int(numbers[0]) < size:
            raise ValueError(
                f"{leaf!r} is out of range: that dimension has {size} units, 0 to {size - 1}"
            )
        return [range(size)[int(numbers[0])]]
    limits = [int(part) if part else None for part in numbers]
    picked = range(size)[slice(*limits)]
    if not picked:
        raise ValueError(f"{leaf!r} picks no unit: that dimension has {size} units")
    return picked
