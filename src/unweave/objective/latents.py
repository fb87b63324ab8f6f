"""Latents as numbers: the blocks that every item drew, and their units side by side."""

from __future__ import annotations

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from ..trace.leaves import Block
from .blocks import blocks, within
from .densities import Densities


def latent_blocks(d: Densities, of: tuple[str, ...] = (), level: int = 0) -> tuple[Block, ...]:
    """Return the blocks of a level of the group tree, or their parts in `of`, that all items drew.

    Raises:
        ValueError: There is no such level, no latent site, or one is observed for some items or
            enumerated.
    """
    depth = len(d.levels)
    if not -depth <= level < depth:
        raise ValueError(
            f"the tree of groups has levels 0 to {depth - 1}, level {level} was asked for"
        )
    named = of or tuple(d.latents)
    sites = [site for site, _ in within(d.groups, named)]
    if any(node.role == "enumerated" for node in d.q.values()):
        raise ValueError(
            "a categorical site of q is enumerated, and this term compares draws, one an item: "
            "relax the site, q.concrete(logits, temperature, …)"
        )
    for site in sites:
        if d.q[site].observed is not False:
            raise ValueError(
                f"site {site!r} is observed, for some items at least, and this term compares draws "
                f"of all items: name the latents that are to count, out of: {listed(d)}"
            )
    return blocks(d.groups, level, named)


def numbers(d: Densities, values: Mapping[str, Tensor], part: Block) -> Tensor:
    """Return a block's units side by side: one number a scalar, K a variable on K classes.

    Args:
        d: The densities whose latents they are.
        values: The sites' values, (*samples, batch, *units, *event).
        part: The block.

    Returns:
        A tensor (*samples, batch, numbers).
    """
    columns = []
    for site, units in part:
        value = values[site]
        count = math.prod(d.shapes[site])
        each = value.reshape(*value.shape[: d.lead], count, -1)  # (*samples, batch, units, event)
        columns.append(each[..., list(units), :].flatten(-2))
    return torch.cat(columns, -1)


def drawn_numbers(d: Densities, part: Block) -> Tensor:
    """Return the draws of a block's units, (*samples, batch, numbers)."""
    return numbers(d, {site: d.latents[site].value for site, _ in part}, part)


def listed(d: Densities) -> str:
    """Return the names of the latents, for a message."""
    return ", ".join(map(repr, d.latents)) or "none"
