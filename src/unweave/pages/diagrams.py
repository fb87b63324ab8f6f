"""The charts of a run's page: information in units and about labels, codes in the plane, curves."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure

from .. import plots
from ..runs.arrays import Arrays
from ..runs.findings import Array
from ..runs.measures import IDLE
from ..runs.scores import ClassInformation, FactorInformation, Scores
from .page import Chart, axes, number
from .terms import SYMBOLS
from .units import ordered

NO_TERMS = {"split", "step", "epoch", "seconds", "items_per_second"}
"""Keys of a line of metrics.jsonl that are no terms."""

CURVE = (300 / 72, 170 / 72)
"""Inches of a term's chart, 300 by 170 CSS pixels."""


def information(scores: Scores, chart: Chart) -> Markup | None:
    """Draw the information in each unit as bars."""
    units, groups, values, errors = [], [], [], []
    for unit, group in ordered(scores):
        if unit in scores.information:
            value, error = scores.information[unit]
            units.append(unit)
            groups.append(group)
            values.append(value)
            errors.append(error or 0.0)
    if not units:
        return None
    height = 50 + 23 * len(units)
    ax = axes(620, height)
    plots.information_bars(units, values, errors, groups, ax=ax)
    left, right = ax.get_xlim()
    ax.set(xlabel="nats", xlim=(left, max(right, 10 * IDLE)))
    listed = _listed(units, values)
    return chart(ax, f"Bars of the information in each unit, in nats: {listed}")


def _listed(names: Sequence[str], values: Iterable[float]) -> str:
    named = zip(names, values, strict=True)
    return ", ".join(f"{name} {value:.2f}" for name, value in named)


def labels(scores: Scores, chart: Chart) -> Markup | None:
    """Draw the information of sites and units about each class of the first factor."""
    about = scores.class_information
    if about is None or not about.names:
        return None
    order = _class_order(about, scores)
    names = [about.names[i] for i in order]
    kinds = [_kind(about, i) for i in order]
    total = np.asarray(about.total)[order]  # (names,)
    nothing = (np.nan,) * len(about.total)  # of a class without items among those scored
    rows = [row or nothing for row in about.per_class]
    per_class = np.array(rows, dtype=np.float64)[:, order]  # (classes, names)
    classes = scores.class_names or list(map(str, range(len(rows))))
    wanted = 130 + 34 * len(classes)
    width = max(620, min(940, wanted))
    height = 40 + 24 * len(names)
    ax = axes(width, height)
    plots.class_information(per_class, total, names, classes, kinds, ax=ax)
    listed = _listed(names, total)
    return chart(
        ax, f"Heat map of the information about each class; over all classes, in nats: {listed}"
    )


def _kind(about: ClassInformation, i: int) -> str:
    return about.kinds[i] if about.kinds else "unit"


def _class_order(about: ClassInformation, scores: Scores) -> list[int]:
    """Return columns: groups and the whole as they came, then units as the other charts have them.

    A group of one unit has its column already.
    """
    groups, units = [], []
    for i in range(len(about.names)):
        if _kind(about, i) == "unit":
            units.append(i)
        else:
            groups.append(i)
    shown = {about.names[i] for i in groups}
    units = [i for i in units if about.names[i] not in shown]
    rank = _ranks(scores)
    units.sort(key=lambda i: rank.get(about.names[i], i))
    return groups + units


def _ranks(scores: Scores) -> dict[str, int]:
    """Return the place of each unit in the other charts."""
    units = [unit for unit, _ in ordered(scores)]
    return {unit: place for place, unit in enumerate(units)}


def factors(scores: Scores, chart: Chart, most: int = 40) -> Markup | None:
    """Draw the information of groups and units about each factor; of very many, the most telling.

    Groups and units tell most whose share of a factor's entropy is largest.
    """
    about = scores.factor_information
    if about is None:
        return None
    value = np.array(about.total).T  # (names, factors)
    entropy = np.array(about.entropy)  # (factors,)
    order = _factor_order(about, scores, most)
    names = [about.names[i] for i in order]
    longest = max(map(len, about.factors))
    tilted = 5 * longest if longest > 12 else 0
    width = min(620, 120 + 90 * len(about.factors))
    height = 70 + tilted + 24 * len(names)
    ax = axes(width, height)
    plots.code_factor_information(value[order], names, about.factors, entropy, ax=ax)
    best = []
    for factor, i in zip(about.factors, value.argmax(0), strict=True):
        best.append(f"{factor}: {about.names[i]}")
    told = _listed(best, value.max(0))
    return chart(
        ax, f"Heat map of the information in each unit about each factor; the most of each: {told}"
    )


def _factor_order(about: FactorInformation, scores: Scores, most: int) -> list[int]:
    """Return the rows that tell most: sites as they came, then units as the other charts do."""
    value = np.array(about.total).T  # (names, factors)
    entropy = np.maximum(about.entropy, 1e-9)  # (factors,)
    share = (value / entropy).max(1)  # (names,)
    telling = np.argsort(-share, kind="stable")[:most]
    rank = _ranks(scores)

    def place(i: int) -> int:
        name = about.names[i]
        is_unit = "[" in name and name in rank
        return rank[name] if is_unit else -1

    return sorted(sorted(telling.tolist()), key=place)


def embedding(scores: Scores, arrays: Arrays, chart: Chart) -> dict[str, Any] | None:
    """Draw codes as points in the plane, coloured by label if there are two labels or more."""
    points = arrays.embedding
    if points is None:
        return None
    kind = arrays.embedding_kind
    kind_name = "codes" if kind is None else str(kind)
    classes, axis_names = scores.class_names, arrays.axis_names
    labels, held = _labels_held(arrays.embedding_labels)
    ax = axes(620, 560)
    plots.scatter(points, labels, classes, axis_names, ax=ax)
    colored = ", coloured by label" if held else ""
    said = f"Scatter of {len(points)} items, {kind_name}{colored}"
    legend = []
    for c in held:
        name = classes[c] if c < len(classes) else str(c)
        color = plots.CLASS_COLORS[c % len(plots.CLASS_COLORS)]
        legend.append((name, color))
    return {
        "svg": chart(ax, said),
        "kind": kind_name,
        "n": len(points),
        "legend": legend,
        "axes": axis_names,
    }


def _labels_held(labels: Array | None) -> tuple[Array | None, list[int]]:
    """Return labels and the classes among them, nothing if there are fewer than two classes."""
    if labels is None:
        return None, []
    held = [int(c) for c in np.unique(labels) if c >= 0]
    if len(held) < 2:
        return None, []
    return labels, held


def curves(history: Sequence[Mapping[str, Any]], chart: Chart) -> list[dict[str, Any]]:
    """Draw a small chart for each term that was logged."""
    drawn = []
    for term, last in _last_of(history).items():
        symbol = SYMBOLS.get(term, "")
        svg = _curve(history, term, last, chart)
        drawn.append({"term": term, "symbol": symbol, "last": last, "svg": svg})
    return drawn


def figures(history: Sequence[Mapping[str, Any]]) -> dict[str, Figure]:
    """Draw a figure of its own for each term that was logged, by the terms' names."""
    drawn = {}
    for term in _last_of(history):
        figure = Figure(figsize=(5, 3), layout="constrained")
        ax = figure.add_subplot()
        plots.curves(history, term, ax=ax)
        ax.set(xlabel="epoch", ylabel=f"{term} (nats)")
        ax.legend(frameon=False)
        drawn[term] = figure
    return drawn


def _last_of(history: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, Any]]:
    """Return the last value of each term that was logged, by term and split."""
    last_of: dict[str, dict[str, Any]] = {}
    for line in history:
        split = line.get("split", "train")
        for key, value in line.items():
            if key not in NO_TERMS and _real(value):
                last_of.setdefault(key, {})[split] = value
    return last_of


def _curve(
    history: Sequence[Mapping[str, Any]], term: str, last: Mapping[str, Any], chart: Chart
) -> Markup:
    figure = Figure(figsize=CURVE)
    ax = figure.add_axes((0.17, 0.13, 0.825, 0.84))  # all alike, so that axes align
    plots.curves(history, term, ax=ax)
    ends = ", ".join(f"{split} {number(value)}" for split, value in last.items())
    return chart(ax, f"{term} over the epochs, at the end {ends}")


def _real(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
