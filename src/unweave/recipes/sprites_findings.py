"""The report of `sprites`: images drawn again, and place, size and turn as they are read off."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from unweave.data.data import some
from unweave.runs.findings import Array, Finding, Number, Picture, Table

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model
    from unweave.training.recipe import Recipe

READ = 2000
"""Test images that are read: half of them set the origins of sizes and turns, half are compared."""

SHOWN = 12
"""Images beside what the program draws of them."""

ALIKE = {"square": 4, "ellipse": 2, "heart": 1}
"""Number of times that each shape looks the same in a whole turn."""

PIXELS = 32.0
"""Pixels from the first place to the last, of 64 a side."""

POSE = ("shape", "scale", "orientation", "posX", "posY")
"""The factors that poses are made from."""


def findings(model: Model, recipe: Recipe) -> Sequence[Finding]:
    """Return how images are drawn again and, where poses are known, how far readings are off."""
    assert recipe.test is not None
    few = recipe.test.subset(some(len(recipe.test), READ))
    drawn = _drawn(model, few)
    if "posX" not in few.names:
        return [drawn]
    errors = reading_errors(model, few)
    medians = [
        Number(f"{what}, median error", float(np.median(off)), unit=unit, better=-1)
        for (what, unit), off in errors.items()
    ]
    return [*medians, drawn, _table(errors)]


def _drawn(model: Model, few: Data) -> Picture:
    """Set images above what the program draws of them."""
    x = few.floats(slice(SHOWN))
    again = model.reconstruct(x).numpy()
    return Picture("Drawn again", np.stack([x, again]), rows=("image", "drawn"))


def reading_errors(model: Model, data: Data) -> Mapping[tuple[str, str], Array]:
    r"""Compare poses that are read off images with those that the images were made from.

    A class has a zero of its own for turns and a unit of its own for sizes, which no image tells.
    The median of :math:`\log \hat s - \log s` and the mean direction of :math:`\hat θ - θ` over
    half of the class's images set them; the other half is compared. Turns are compared modulo the
    symmetry of the true shape, 2π / m.

    Args:
        model: A model of rigid shapes.
        data: Sprites with factors shape, scale, orientation, posX and posY.

    Returns:
        Errors of the images that are compared: of the place, in pixels; of the size, in per cent;
        of the turn, in degrees.
    """
    found = _poses(model, data)
    shape, scale, turn, across, down = (_stated(data, name) for name in POSE)
    side = data.shape[0] / 64
    true_place = side * PIXELS * (np.stack([across, down], -1) - 0.5)  # (n, 2)
    off_place = np.linalg.norm(found["place"] - true_place, axis=-1)
    off_size = np.log(found["size"]) - np.log(scale)
    order = np.array([ALIKE[name] for name in data.values[data.names.index("shape")]])
    m = order[shape.astype(int)]
    off_turn = np.exp(1j * m * (found["turn"] - turn))  # a whole circle for each shape
    origins = np.arange(len(data)) % 2 == 0
    for y in np.unique(found["y"]):
        here = found["y"] == y
        if (here & origins).any():
            off_size[here] -= np.median(off_size[here & origins])
            zero = off_turn[here & origins].sum()
            off_turn[here] *= zero.conj() / abs(zero)
    compared = ~origins
    return {
        ("Place", "pixels"): off_place[compared],
        ("Size", "%"): 100 * abs(np.expm1(off_size[compared])),
        ("Turn", "degrees"): abs(np.degrees(np.angle(off_turn) / m))[compared],
    }


def _stated(data: Data, name: str) -> Array:
    """Return a factor's value for each item, (n,); of shapes, their numbers."""
    factor = data.names.index(name)
    classes: Array = data.factors[:, factor]
    if name == "shape":
        return classes
    values: Array = np.array([float(word) for word in data.values[factor]])
    return values[classes]


def _poses(model: Model, data: Data) -> dict[str, Array]:
    """Read off each image's class (n,), place (n, 2), size (n,) and turn (n,)."""
    from unweave.models.model import hard

    q = model.posterior(data.floats())
    y = hard(q["y"])  # (n, classes)
    decoder: Any = model.decoder
    turn, size, place = (hard(q[site]) for site in ("turn", "size", "place"))
    pose = decoder.pose(y, turn, size, place)
    return {
        "y": y.argmax(-1).numpy(),
        "place": pose.place.numpy(),
        "size": pose.size.numpy(),
        "turn": pose.turn.numpy(),
    }


def _table(errors: Mapping[tuple[str, str], Array]) -> Table:
    """Give the median and the 95 % quantile of each error."""
    rows = []
    for (what, unit), off in errors.items():
        median, most = np.quantile(off, [0.5, 0.95])
        rows.append((f"{what}, {unit}", float(median), float(most)))
    note = (
        "Errors on test images. Half of those that were read set each class's zero of turns and "
        "unit of sizes, which no image tells; the other half is compared. Turns are compared "
        "modulo the symmetry of the shape."
    )
    return Table("Read off without labels", ("", "median", "95 % below"), rows, note)
