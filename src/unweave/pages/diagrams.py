"""The charts of a run's page: information in units and about labels, codes in the plane, curves."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from .. import plots
from ..runs.arrays import Array, Arrays
from ..runs.measures import IDLE
from ..runs.scores import ClassInformation, Scores
from .page import Chart, axes, number
from .terms import SYMBOLS
from .units import ordered

NO_TERMS = {"split", "step", "epoch", "seconds", "items_per_second"}
"""Keys of a line of metrics.jsonl that are no terms."""


def information(scores: Scores, chart: Chart) -> Markup | None:
    """Draw the information in each unit as bars."""
    held = [(unit, group) for unit, group in ordered(scores) if unit in scores.information]
    if not held:
        return None
    units = [unit for unit, _ in held]
    groups = [group for _, group in held]
    values = [scores.information[unit].value for unit in units]
    errors = [scores.information[unit].error or 0.0 for unit in units]
    ax = axes(620, 50 + 23 * len(held))
    plots.information_bars(units, values, errors, groups, ax=ax)
    left, right = ax.get_xlim()
    ax.set(xlabel="nats", xlim=(left, max(right, 10 * IDLE)))
    listed = ", ".join(f"{unit} {value:.2f}" for unit, value in zip(units, values, strict=True))
    return chart(ax, f"Bars of the information in each unit, in nats: {listed}")


def labels(scores: Scores, chart: Chart) -> Markup | None:
    """Draw the information of sites and units about each class of the first factor."""
    about = scores.class_information
    if about is None or not about.names:
        return None
    order = _class_order(about, scores)
    names = [about.names[i] for i in order]
    kinds = [_kind(about, i) for i in order]
    total = np.asarray(about.total)[order]  # (names,)
    nothing = [np.nan] * len(about.total)  # of a class without items among those scored
    per_class = np.array([row or nothing for row in about.per_class], dtype=np.float64)
    per_class = per_class[:, order]  # (classes, names)
    classes = [str(c) for c in scores.classes or range(len(per_class))]
    width = max(620, min(940, 130 + 34 * len(classes)))
    ax = axes(width, 40 + 24 * len(names))
    plots.class_information(per_class, total, names, classes, kinds, ax=ax)
    listed = ", ".join(f"{name} {value:.2f}" for name, value in zip(names, total, strict=True))
    return chart(
        ax, f"Heat map of the information about each class; over all classes, in nats: {listed}"
    )


def _kind(about: ClassInformation, i: int) -> str:
    return about.kinds[i] if about.kinds else "unit"


def _class_order(about: ClassInformation, scores: Scores) -> list[int]:
    """Return columns: groups and the whole as they came, then units as the other charts have them.

    A group of one unit has its column already.
    """
    rank = {unit: place for place, (unit, _) in enumerate(ordered(scores))}
    columns = range(len(about.names))
    groups = [i for i in columns if _kind(about, i) != "unit"]
    units = [i for i in columns if _kind(about, i) == "unit"]
    names = {about.names[i] for i in groups}
    alone = [i for i in units if about.names[i] not in names]
    return groups + sorted(alone, key=lambda i: rank.get(about.names[i], i))


def factors(scores: Scores, chart: Chart, most: int = 40) -> Markup | None:
    """Draw the information of groups and units about each factor; of very many, the most telling.

    Groups and units tell most whose share of a factor's entropy is largest.
    """
    about = scores.factor_information
    if about is None:
        return None
    value = np.array(about.total).T  # (names, factors)
    entropy = np.array(about.entropy)  # (factors,)
    share = (value / np.maximum(entropy, 1e-9)).max(1)  # (names,)
    telling = np.argsort(-share, kind="stable")[:most].tolist()
    units = [unit for unit, _ in ordered(scores)]
    rank = {unit: place for place, unit in enumerate(units) if "[" in unit}
    # sites as they came, then units
    order = sorted(range(len(value)), key=lambda i: rank.get(about.names[i], -1))
    order = [i for i in order if i in set(telling)]
    names = [about.names[i] for i in order]
    longest = max(map(len, about.factors))
    tilted = 5 * longest if longest > 12 else 0
    ax = axes(min(620, 120 + 90 * len(about.factors)), 70 + tilted + 24 * len(names))
    plots.code_factor_information(value[order], names, about.factors, entropy, ax=ax)
    best = []
    for factor, i, nats in zip(about.factors, value.argmax(0), value.max(0), strict=True):
        best.append(f"{factor}: {about.names[i]} {nats:.2f}")
    return chart(
        ax,
        "Heat map of the information in each unit about each factor; the most of each: "
        + ", ".join(best),
    )


def embedding(scores: Scores, arrays: Arrays, chart: Chart) -> dict[str, Any] | None:
    """Draw codes as points in the plane, coloured by label if there are two labels or more."""
    points = arrays.embedding
    if points is None:
        return None
    kind = "codes" if arrays.embedding_kind is None else str(arrays.embedding_kind)
    classes = [str(c) for c in scores.classes]
    names = arrays.embedding_names
    axis_names = None if names is None else [str(name) for name in names]
    labels, held = _labels_held(arrays.embedding_labels)
    ax = axes(620, 560)
    plots.scatter(points, labels, classes, axis_names, ax=ax)
    said = f"Scatter of {len(points)} items, {kind}" + (", coloured by label" if held else "")
    legend = []
    for c in held:
        name = classes[c] if c < len(classes) else str(c)
        legend.append((name, plots.CLASS_COLORS[c % len(plots.CLASS_COLORS)]))
    return {
        "svg": chart(ax, said),
        "kind": kind,
        "n": len(points),
        "legend": legend,
        "axes": axis_names,
    }


def _labels_held(labels: Array | None) -> tuple[Array | None, list[int]]:
    """Return labels and the classes among them, nothing if there are fewer than two classes."""
    if labels is None:
        return None, []
    held = [int(c) for c in np.unique(labels) if c >= 0]
    return (labels, held) if len(held) > 1 else (None, [])


def curves(history: Sequence[Mapping[str, Any]], chart: Chart) -> list[dict[str, Any]]:
    """Draw a small chart for each term that was logged."""
    terms: dict[str, None] = {}
    for line in history:
        terms |= {key: None for key, value in line.items() if key not in NO_TERMS and _real(value)}
    drawn = []
    for term in terms:
        figure = Figure(figsize=(300 / 72, 170 / 72))
        ax = figure.add_axes((0.17, 0.13, 0.825, 0.84))  # all alike, so that axes align
        plots.curves(history, term, ax=ax)
        last = {line.get("split", "train"): line[term] for line in history if _real(line.get(term))}
        ends = ", ".join(f"{split} {number(value)}" for split, value in last.items())
        svg = chart(ax, f"{term} over the epochs, at the end {ends}")
        drawn.append({"term": term, "symbol": SYMBOLS.get(term, ""), "last": last, "svg": svg})
    return drawn


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
