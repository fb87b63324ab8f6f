"""The report of `digits`: its classes as digits, and units of style by the feature they move."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np

import unweave as uw
from unweave.runs.findings import Array, Finding, Number, Picture, Table
from unweave.runs.measures import IDLE

if TYPE_CHECKING:
    from unweave.data import Data
    from unweave.models import Model
    from unweave.trace.trace import Trace
    from unweave.training.recipe import Recipe

QUANTILES = (0.02, 0.25, 0.5, 0.75, 0.98)
"""Quantiles of a unit's means over the training digits, at which the unit is drawn."""

DRAWN = (0, 2, 7)
"""Digits that each unit is drawn on."""

EXAMPLES = 2
"""Test digits of each kind in the picture of classes."""

CLEAR = 0.5
"""Standard deviations by which a unit moves the feature that names it, or more."""


def findings(model: Model, recipe: Recipe) -> Sequence[Finding]:
    """Return how classes agree with digits, the classes, and the units of style by name."""
    assert recipe.test is not None
    train, held_out = recipe.parts()
    test = recipe.test
    q = model.posterior(train.floats())
    classes, digit = _classes(model.posterior(test.floats())), test.factors[:, 0]
    matched = uw.metrics.match(classes, digit)
    class_of = {d: y for y, d in sorted(matched.items(), key=lambda pair: pair[1])}
    information = _information(q)
    effects = _effects(model, q, train)
    shown = [int(unit) for unit in np.argsort(-information) if information[unit] > IDLE]
    names = _names(effects, shown)
    parts = [(_classes(q), train), (classes, test)]
    if held_out is not None:
        parts.append((_classes(model.posterior(held_out.floats())), held_out))
    found: list[Finding] = [
        Number("NMI of y", uw.metrics.nmi(classes, digit), unit="0 to 1", better=1),
        _of_all(parts),
        Number("Style units in use", len(shown), unit=f"of {len(information)}"),
        _digits(model, q, test, class_of),
    ]
    if shown:
        found.append(_styles(model, q, class_of, shown, names))
        found.append(_moves(effects, information, shown, names))
    return found


def _classes(q: Trace) -> Array:
    """Return the items' most probable classes, (n,)."""
    classes: Array = q["y"].dist.mean.argmax(-1).numpy()  # type: ignore[union-attr]
    return classes


def _of_all(parts: Sequence[tuple[Array, Data]]) -> Number:
    """Return the accuracy on training and test items at once, the protocol of papers on clusters.

    Args:
        parts: Classes of items, and their data.
    """
    classes = np.concatenate([found for found, _ in parts])
    labels = np.concatenate([data.factors[:, 0] for _, data in parts])
    accuracy = uw.metrics.clustering_accuracy(classes, labels)
    unit = f"training and test data, {len(labels):,} items"
    return Number("Accuracy of y, all", accuracy, unit=unit, better=1)


def _information(q: Trace) -> Array:
    """Return the nats that each unit of style tells about its item, (units,)."""
    z = q["z"].dist
    assert z is not None
    found = uw.metrics.posterior_information(z.mean.numpy(), z.stddev.numpy())
    information: Array = found.parts["per_code"]
    return information


# -- what a unit of style moves --------------------------------------------------------------------


def _features(images: Array) -> dict[str, Array]:
    """Measure images (n, h, w) by their ink and its moments, (n,) each, in pixels."""
    ink = images.sum((1, 2))
    mass = images / ink[:, None, None].clip(1e-6)  # (n, h, w)
    across, down = mass.sum(1), mass.sum(2)  # (n, w) and (n, h)
    columns, rows = np.arange(images.shape[2]), np.arange(images.shape[1])
    x, y = across @ columns, down @ rows  # (n,)
    height = down @ rows**2 - y**2
    width = across @ columns**2 - x**2
    both = np.einsum("nij,i,j->n", mass, rows, columns) - x * y
    return {
        "weight": ink,
        "slant": -both / height.clip(1e-6),
        "width": np.sqrt(width.clip(0)),
        "height": np.sqrt(height.clip(0)),
        "sideways": x,
        "upwards": -y,
    }


def _effects(model: Model, q: Trace, train: Data) -> dict[str, Array]:
    """Return how far each unit moves each feature of what is drawn, (units,).

    It is the difference between the unit's first and last quantile with the others at 0, mean over
    the classes, in standard deviations of the feature among training digits of a class.
    """
    classes = _classes(q)
    ends = _quantiles(q)[[0, -1]]  # (2, units)
    of_class = [_drawn(model, y, ends) for y in np.unique(classes)]
    drawn = np.stack(of_class)  # (classes, 2, units, h, w)
    features = _features(drawn.reshape(-1, *drawn.shape[-2:]))
    real = _features(train.floats())
    effects = {}
    for name, values in features.items():
        moved = np.diff(values.reshape(drawn.shape[:3]), axis=1)[:, 0]  # (classes, units)
        spread = [real[name][classes == y].var() for y in np.unique(classes)]
        effects[name] = moved.mean(0) / np.sqrt(np.mean(spread))
    return effects


def _names(effects: dict[str, Array], units: Sequence[int]) -> list[str]:
    """Return the feature that names each unit, "shape" for one that moves no free one clearly.

    The largest effect names its unit, then the largest of the units and features that are left.
    """
    sizes = np.abs(np.stack(list(effects.values()))[:, units])  # (features, units)
    names = ["shape"] * len(units)
    while sizes.size and sizes.max() > CLEAR:
        feature, unit = np.unravel_index(sizes.argmax(), sizes.shape)
        names[unit] = list(effects)[feature]
        sizes[feature], sizes[:, unit] = 0, 0
    return names


def _quantiles(q: Trace) -> Array:
    """Return the quantiles of the units' means, (quantiles, units)."""
    means = q["z"].dist.mean.numpy()  # type: ignore[union-attr]
    quantiles: Array = np.quantile(means, QUANTILES, axis=0)
    return quantiles


def _drawn(model: Model, y: int, values: Array) -> Array:
    """Draw a class as each unit alone takes values (values, units): (values, units, h, w)."""
    count, units = values.shape
    alone = np.eye(units)[None] * values[:, :, None]  # (values, units, units)
    z = alone.reshape(-1, units).astype(np.float32)
    images = model.decode(y=np.full(len(z), y), z=z).numpy()  # (values * units, h, w)
    return images.reshape(count, units, *images.shape[1:])


# -- pictures --------------------------------------------------------------------------------------


def _digits(model: Model, q: Trace, test: Data, class_of: dict[int, int]) -> Picture:
    """Draw each class at the mean style, above test images and the same drawn again."""
    mean_style = np.zeros((1, _quantiles(q).shape[1]))
    alone = [_drawn(model, y, mean_style)[0, 0] for y in class_of.values()]
    rows, names = [np.stack(alone)], ["class alone"]
    for example in range(EXAMPLES):
        chosen = [np.flatnonzero(test.factors[:, 0] == d)[example] for d in class_of]
        x = test.floats(chosen)  # (classes, h, w)
        rows += [x, model.reconstruct(x).numpy()]
        names += ["test image", "drawn again"]
    return Picture(
        "Ten classes, found without labels",
        np.stack(rows),
        names,
        [test.values[0][d] for d in class_of],
        "First row: each class at the mean style. Below: the first test images of each kind, and "
        "each drawn again from its own class and style. Labels only put the columns in order.",
    )


def _styles(
    model: Model, q: Trace, class_of: dict[int, int], shown: Sequence[int], names: Sequence[str]
) -> Picture:
    """Draw rows: some classes, each as one unit of style runs from low to high."""
    values = _quantiles(q)  # (quantiles, units)
    columns: list[Array] = []
    for d in DRAWN:
        strip = _drawn(model, class_of.get(d, d), values)[:, shown]  # (quantiles, shown, h, w)
        columns += [*strip, np.full_like(strip[0], np.nan)]
    percent = ", ".join(f"{100 * quantile:g}" for quantile in QUANTILES)
    return Picture(
        "Style, unit by unit",
        np.stack(columns[:-1], 1),  # (shown, columns, h, w)
        names,
        note=f"Each row varies one unit alone over its quantiles {percent} %, on {len(DRAWN)} "
        "classes. Rows have the names of what the units move, by the table below.",
    )


def _moves(
    effects: dict[str, Array], information: Array, shown: Sequence[int], names: Sequence[str]
) -> Table:
    """Tabulate how far each unit in use moves each feature of what is drawn."""
    rows: list[Sequence[str | float | None]] = []
    for unit, name in zip(shown, names, strict=True):
        moved = [f"{effects[feature][unit]:+.1f}".replace("-", "−") for feature in effects]
        rows.append((f"z[{unit}]", name, float(information[unit]), *moved))
    return Table(
        "What each unit of style moves",
        ("unit", "name", "I(x;unit), nats", *effects),
        rows,
        "Change of a feature as the unit goes from its 2 % to its 98 % quantile, mean over the "
        "classes, in standard deviations of the feature among training images of one class. The "
        "largest change names its unit, then the largest of the units and features that are left; "
        f"below {CLEAR:g} a unit is named shape.",
    )
