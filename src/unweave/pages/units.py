"""Items and units of a run: reconstructions, prior samples, and a card a unit."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import numpy as np

from .. import plots
from ..runs.arrays import Arrays
from ..runs.findings import Array
from ..runs.measures import IDLE
from ..runs.scores import Scores
from . import columns
from .page import accented, png

SMALLEST = 24
"""Pixels of an item's picture; smaller ones are enlarged, so that gaps between them are thin."""


LARGE = 48
"""Pixels a side from which images in colour have details that a small picture hides."""

MOST = 8
"""Values of a unit beside one another, where images are large."""


def ordered(scores: Scores) -> list[tuple[str, str]]:
    """Return (unit, group), groups in their order, the most informative unit of each first."""
    groups = scores.unit_group or scores.units
    places = {group: place for place, group in enumerate(dict.fromkeys(groups))}

    def place(unit_and_group: tuple[str, str]) -> tuple[int, float]:
        unit, group = unit_and_group
        held = scores.information.get(unit)
        return places[group], -held.value if held else 0.0

    return sorted(zip(scores.units, groups, strict=True), key=place)


# -- items -----------------------------------------------------------------------------------------


def drawable(arrays: Arrays) -> Arrays:
    """Return the arrays with every image a picture of 24 pixels or more.

    Small images are enlarged, and of large ones in colour each second value of a unit is left out,
    so that details can be seen. Vectors stay as they are, see `columns`. Items that are neither
    image nor vector show nothing and are left out.
    """
    arrays = _thinned(arrays)
    shape = None if arrays.x is None else arrays.x.shape[1:]
    traversal: dict[str, Array] = {}
    for unit, strips in arrays.traversal.items():
        drawn = _drawn(strips, 2, shape)
        if drawn is not None:
            traversal[unit] = drawn
    return replace(
        arrays,
        x=_drawn(arrays.x, 1, shape),
        reconstruction=_drawn(arrays.reconstruction, 1, shape),
        prior_samples=_drawn(arrays.prior_samples, 1, shape),
        traversal=traversal,
    )


def _thinned(arrays: Arrays) -> Arrays:
    """Return the arrays with each second quantile of traversals of large images in colour."""
    quantiles = arrays.traversal_quantiles
    if quantiles is None or len(quantiles) <= MOST:
        return arrays
    strips, at = dict(arrays.traversal), dict(arrays.traversal_at)
    are_thinned = False
    for unit, images in arrays.traversal.items():
        is_large = images.ndim == 5 and images.shape[-1] == 3 and min(images.shape[2:4]) >= LARGE
        if is_large and images.shape[1] == len(quantiles):
            strips[unit], are_thinned = images[:, ::2], True
            at[unit] = at[unit][::2] if unit in at else np.zeros(0)
    if not are_thinned:
        return arrays
    return replace(arrays, traversal=strips, traversal_at=at, traversal_quantiles=quantiles[::2])


def _drawn(items: Array | None, lead: int, shape: tuple[int, ...] | None) -> Array | None:
    """Return items as pictures, None if they show nothing or are not of the data's shape."""
    if items is None:
        return None
    own = items.shape[lead:]
    is_another = shape is not None and own != shape
    if is_another or not _shows(own):
        return None
    if len(own) == 1:
        return items
    images = plots.pixels(items)
    shorter = min(images.shape[-3:-1])
    times = math.ceil(SMALLEST / shorter)
    return images.repeat(times, -3).repeat(times, -2)


def _shows(shape: tuple[int, ...]) -> bool:
    """Return true for the shapes of images and vectors, which can be shown."""
    match shape:
        case (_,):
            return True
        case (_, width):
            return width > 3
        case (_, _, colors):
            return colors in (1, 3)
    return False


def reconstructions(arrays: Arrays) -> dict[str, Any] | None:
    """Return items above their reconstructions as one picture; of a table, column by column."""
    if arrays.x is None or arrays.reconstruction is None:
        return None
    if arrays.x.ndim == 2:
        return columns.reconstructions(arrays)
    x = arrays.x[:32]
    reconstruction = arrays.reconstruction[:32]
    return png(plots.reconstructions(x, reconstruction, columns=_even(x)))


def prior(arrays: Arrays) -> dict[str, Any] | None:
    """Return samples from the prior as one picture; of a table, column by column."""
    if arrays.prior_samples is None:
        return None
    if arrays.prior_samples.ndim == 2:
        return columns.prior(arrays)
    samples = arrays.prior_samples[:64]
    return png(plots.image_grid(samples, _even(samples)))


def _even(images: Array, most: int = 16) -> int:
    """Return the number of columns that fills the last row as well as the others."""
    rows = math.ceil(len(images) / most)
    return math.ceil(len(images) / rows)


# -- units -----------------------------------------------------------------------------------------


def cards(scores: Scores, arrays: Arrays) -> list[dict[str, Any]]:
    """Return a card for each traversed unit."""
    order = ordered(scores)
    known = dict(order)
    for unit in arrays.traversal:
        if unit not in known:
            group, _, _ = unit.partition("[")
            order.append((unit, group))
    colors = plots.group_colors([group for _, group in order])
    most = 10 * IDLE  # at least: if all units are idle their bars are short, not noise blown up
    for mean in scores.information.values():
        most = max(most, mean.value)
    longest = 1
    for strips in arrays.traversal.values():
        longest = max(longest, strips.shape[1])
    table = columns.of(arrays)
    tallest = columns.tallest(arrays, table) if table else 1.0
    shown = [(unit, group) for unit, group in order if unit in arrays.traversal]
    drawn = []
    for k, (unit, group) in enumerate(shown):
        if table:
            moved = columns.card(arrays.traversal[unit], table, tallest)
        else:
            moved = _strips(unit, scores, arrays, longest)
        drawn.append(
            {
                "name": unit,
                "key": f"unit-{k}",
                "color": accented(colors[group]),
                **_told(unit, scores, most),
                **moved,
            }
        )
    return drawn


def is_idle(unit: str, scores: Scores) -> bool:
    """Return true if a unit is known to carry next to no information."""
    held = scores.information.get(unit)
    return held is not None and held.value < IDLE


def _told(unit: str, scores: Scores, most: float) -> dict[str, Any]:
    """Return the information in a unit, with a bar that is full for the most informative one."""
    held = scores.information.get(unit)
    bar = None
    if held is not None:
        percent = 100 * max(held.value, 0) / most
        bar = f"{percent:.1f}%"
    return {"value": held, "bar": bar, "idle": is_idle(unit, scores)}


def _strips(unit: str, scores: Scores, arrays: Arrays, longest: int) -> dict[str, Any]:
    """Return a unit's traversal as a picture, with the values that head its columns."""
    strips = arrays.traversal[unit]
    if is_idle(unit, scores):
        strips = strips[:1]  # a row shows that an idle unit does nothing as well as six do
    at = arrays.traversal_at.get(unit, np.zeros(0))
    is_discrete = bool(np.issubdtype(at.dtype, np.integer))
    share = strips.shape[1] / longest
    return {
        "discrete": is_discrete,
        "at": [str(value) if is_discrete else _head(value) for value in at],
        "image": png(plots.traversal(strips)),
        "rows": len(strips),
        "narrow": f"{100 * share:.0f}%" if share < 0.5 else None,
    }


def _head(value: float) -> str:
    rounded = round(value, 1) + 0.0  # + 0.0: no −0
    return f"{rounded:.1f}".replace("-", "−")
