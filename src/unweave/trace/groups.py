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


def chain(tree: Tree, shapes: Mapping[str, tuple[int, ...]]) -> list[list[Block]]:
    """The chain of partitions of `tree`, coarse to fine; `shapes` maps each latent site to its
    units' shape.

    Errors: KeyError for a leaf whose site is not latent; ValueError if a unit is in two leaves or
    in none.
    """
    levels = [[_merge(_leaves(node, shapes)) for node in nodes] for nodes in _descend(tree)]
    units: list[Block] = [
        ((site, (unit,)),) for leaf in levels[-1] for site, part in leaf for unit in part
    ]
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


def every(shapes: Mapping[str, tuple[int, ...]]) -> list[Block]:
    """Single-unit blocks for every latent unit."""
    return [
        ((site, (unit,)),) for site, shape in shapes.items() for unit in range(math.prod(shape))
    ]


def block(leaf: str, shapes: Mapping[str, tuple[int, ...]]) -> Block:
    """The block that a leaf such as "z", "z[:5]", "z[3]" or "z[:, 0]" names."""
    match = re.fullmatch(r"\s*([^\[\]]+?)\s*(?:\[([^\[\]]+)\])?\s*", leaf)
    site = match.group(1) if match else leaf
    if not match or site not in shapes:
        raise KeyError(
            f"groups name {leaf!r}, but the latent sites are: "
            f"{', '.join(map(repr, shapes)) or 'none'}"
        )
    shape = shapes[site]
    picks = [
        _index(leaf, text, size)
        for text, size in zip((match[2] or ":").split(","), shape or (1,), strict=False)
    ]
    if match[2] and match[2].count(",") >= max(len(shape), 1):
        raise ValueError(
            f"{leaf!r} has {match[2].count(',') + 1} indices, but site {site!r} has units of shape "
            f"{shape}"
        )
    picks += [range(size) for size in shape[len(picks) :]]
    strides = [math.prod(shape[axis + 1 :]) for axis in range(max(len(shape), 1))]
    numbers = (
        sum(i * s for i, s in zip(place, strides, strict=True))
        for place in itertools.product(*picks)
    )
    return ((site, tuple(sorted(numbers))),)


def intersect(left: Block, right: Block) -> Block:
    """The units of `left` that are also in `right` (an empty tuple when there are none)."""
    keep = dict(right)
    parts = ((site, tuple(u for u in units if u in keep.get(site, ()))) for site, units in left)
    return tuple((site, units) for site, units in parts if units)


def union(blocks: Iterable[Block]) -> Block:
    """One block with the units of all of them."""
    return _merge(part for block in blocks for part in block)


def name(part: Block, shapes: Mapping[str, tuple[int, ...]]) -> str:
    """How people write a block: `y`, `z[3]`, `y, z[0 1 2]`."""
    whole = (len(units) == math.prod(shapes[site]) for site, units in part)
    return ", ".join(
        site if all_of else f"{site}[{' '.join(map(str, units))}]"
        for (site, units), all_of in zip(part, whole, strict=True)
    )


def _descend(tree: Tree) -> list[list[Tree]]:
    """Subtrees level by level; a leaf stays until the deepest leaf is reached."""
    levels: list[list[Tree]] = [[tree]]
    while any(not isinstance(node, str) for node in levels[-1]):
        levels.append(
            [child for node in levels[-1] for child in ([node] if isinstance(node, str) else node)]
        )
    return levels if len(levels) > 1 else [*levels, *levels]


def _leaves(tree: Tree, shapes: Mapping[str, tuple[int, ...]]) -> list[tuple[str, tuple[int, ...]]]:
    if isinstance(tree, str):
        return list(block(tree, shapes))
    if not tree:
        raise ValueError(
            "a group is empty: a group is a site's name, a slice of a site, or a tuple of groups"
        )
    return [leaf for child in tree for leaf in _leaves(child, shapes)]


def _merge(parts: Iterable[tuple[str, tuple[int, ...]]]) -> Block:
    merged: dict[str, tuple[int, ...]] = {}
    for site, units in parts:
        merged[site] = tuple(sorted((*merged.get(site, ()), *units)))
    return tuple(merged.items())


def _index(leaf: str, text: str, size: int) -> Sequence[int]:
    numbers = [part.strip() for part in text.split(":")]
    if (
        len(numbers) > 3
        or any(not re.fullmatch(r"(-?\d+)?", part) for part in numbers)
        or not text.strip()
    ):
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
    picked = range(size)[slice(*(int(part) if part else None for part in numbers))]
    if not picked:
        raise ValueError(f"{leaf!r} picks no unit: that dimension has {size} units")
    return picked
