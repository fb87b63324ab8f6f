"""The charts of a study's page, as SVG with a text for those who do not see them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle
from numpy.typing import NDArray

from .. import plots
from ..pages.page import ACCENT, Chart, axes
from ..runs.measures import Measure
from ..runs.scores import FactorInformation, Scores
from . import statistics as seeds
from .results import Results, digits, text
from .statistics import Estimate

Looks: TypeAlias = Mapping[str, tuple[str, str]]
Panel: TypeAlias = dict[str, Any]
Floats: TypeAlias = NDArray[np.float64]


def mark(look: tuple[str, str]) -> Markup:
    """Return a method's marker as charts draw it."""
    color, marker = look
    # half the side of a box, in which markers look alike in size
    half = 0.62 / plots.METHOD_MARKERS[marker] ** 0.5
    side = 2 * half
    box = f"{-half:.3f} {-half:.3f} {side:.3f} {side:.3f}"
    fill = color.replace(plots.GROUP_COLORS[0], ACCENT)
    shape = '<svg class="mark" viewBox="{}" aria-hidden="true"><path d="{}" style="fill:{}"/></svg>'
    return Markup(shape).format(box, _outline(marker), fill)


def _outline(marker: str) -> str:
    """Return a marker's outline as the steps of an SVG path."""
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform())
    steps = ""
    for polygon in path.to_polygons(closed_only=True):
        points = [f"{x:.3f},{-y:.3f}" for x, y in np.asarray(polygon)]
        steps += "M" + "L".join(points) + "Z"
    return steps


def _panel(results: Results, rows: int) -> Axes:
    """Return axes whose size and frame are the same in all panels, so that panels align.

    The left edge leaves room for the methods' names.
    """
    width = 460
    height = 40 + 27 * rows
    longest = max(map(len, results.methods))
    left = min(0.45, (14 + 6.7 * longest) / width)
    bottom = 30 / height
    figure = Figure(figsize=(width / 72, height / 72))
    return figure.add_axes((left, bottom, 0.97 - left, 1 - 34 / height))


def _means(estimates: Mapping[str, Estimate]) -> str:
    """Return the means of methods in words."""
    decimals = digits(list(estimates.values()))
    told = {method: text(e, decimals) for method, e in estimates.items() if e.n}
    return ", ".join(f"{method} {mean}" for method, mean in told.items())


# -- every seed ------------------------------------------------------------------------------------


def dots(results: Results, measure: Measure, looks: Looks, chart: Chart) -> Panel:
    """Draw a score of each seed, by method, with the means and their intervals."""
    estimates = results.estimates(measure.key)
    shown = _by_method(results.values(measure.key))
    intervals = {method: estimates[method].interval for method in shown}
    reference = estimates[results.baseline].mean
    ax = _panel(results, len(shown))
    plots.seed_dots(shown, intervals, looks, reference, ax=ax)
    svg = chart(ax, f"{measure.name} of each seed, by method; means: {_means(estimates)}")
    return {"measure": measure, "svg": svg}


def differences(
    results: Results, measures: Sequence[Measure], looks: Looks, chart: Chart
) -> list[Panel] | None:
    """Draw the differences of methods from the baseline within seeds, a panel a score."""
    panels = [_difference(results, measure, looks, chart) for measure in measures]
    return [panel for panel in panels if panel] or None


def _difference(results: Results, measure: Measure, looks: Looks, chart: Chart) -> Panel | None:
    values = results.values(measure.key)
    base = values.pop(results.baseline)
    apart = {method: seeds.differences(held, base) for method, held in values.items()}
    shown = _by_method(apart)
    if not shown:
        return None
    estimates = {method: seeds.estimate(held) for method, held in shown.items()}
    intervals = {method: e.interval for method, e in estimates.items()}
    ax = _panel(results, len(shown))
    plots.seed_dots(shown, intervals, looks, 0.0, ax=ax)
    label = f"{measure.name}, difference from {results.baseline} within seeds: {_means(estimates)}"
    return {"measure": measure, "svg": chart(ax, label), "sure": _sure(measure, estimates)}


def _by_method(values: Mapping[str, Mapping[int, float]]) -> dict[str, list[float]]:
    """Return the values of the methods that have any, without their seeds."""
    return {method: list(held.values()) for method, held in values.items() if held}


def _sure(measure: Measure, estimates: Mapping[str, Estimate]) -> dict[str, list[str]]:
    """Return the methods whose paired interval excludes 0, by the side on which it lies."""
    sign = measure.better or 1
    up: list[str] = []
    down: list[str] = []
    for method, e in estimates.items():
        if e.mean is not None and e.excludes(0.0):
            side = up if sign * e.mean > 0 else down
            side.append(method)
    words = ("better", "worse") if measure.better else ("higher", "lower")
    return dict(zip(words, (up, down), strict=True))


# -- the order of methods --------------------------------------------------------------------------


def places(results: Results, measure: Measure | None, looks: Looks, chart: Chart) -> Markup | None:
    """Draw the order of methods at each seed, by one score."""
    if measure is None:
        return None
    methods, common, table = seeds.complete(results.values(measure.key))
    if len(common) < 2 or len(methods) < 2:
        return None
    ranked = seeds.ranks(table, measure.better >= 0)  # (seeds, methods)
    ax = axes(620, 46 + 26 * len(methods))
    plots.rank_lines(ranked, methods, common, looks, ax=ax)
    means = zip(methods, ranked.mean(0), strict=True)
    said = ", ".join(f"{method} {rank:.1f}" for method, rank in means)
    return chart(ax, f"Places of methods by {measure.name} at each seed; mean ranks: {said}")


# -- one score against another ---------------------------------------------------------------------


def tradeoffs(
    results: Results, measures: Sequence[Measure], looks: Looks, chart: Chart
) -> dict[str, Any] | None:
    """Draw reconstruction, or the ELBO without it, against every other headline score."""
    by_key = {measure.key: measure for measure in measures}
    across = by_key.get("recon") or by_key.get("elbo")
    others = [measure for measure in measures if measure.key not in ("recon", "elbo")]
    if across is None or not others:
        return None
    panels = [_tradeoff(results, across, measure, looks, chart) for measure in others]
    return {"across": across, "panels": panels}


def _tradeoff(
    results: Results, across: Measure, measure: Measure, looks: Looks, chart: Chart
) -> Panel:
    x = results.values(across.key)
    y = results.values(measure.key)
    points, means = {}, []
    for method in results.methods:
        common = [seed for seed in y[method] if seed in x[method]]
        points[method] = [(x[method][seed], y[method][seed]) for seed in common]
        if common:
            right, up = np.mean(points[method], axis=0)
            means.append(f"{method} {right:.1f} and {up:.2f}")
    ax = Figure(figsize=(300 / 72, 230 / 72)).add_axes((0.16, 0.115, 0.82, 0.86))
    plots.tradeoff(points, looks, ax=ax)
    label = f"{measure.name} against {across.name}; means: {', '.join(means)}"
    return {"measure": measure, "svg": chart(ax, label)}


# -- factors ---------------------------------------------------------------------------------------


def factors(results: Results, chart: Chart) -> Markup | None:
    """Draw how much the best unit tells of each factor, the mean over a method's seeds.

    Methods may have data of their own, with other factors: what a method lacks is a gap.
    """
    entropies: dict[str, float] = {}
    rows: dict[str, dict[str, list[float]]] = {}
    for method in results.methods:
        for run in results.of(method):
            about = _information(run.scores)
            if about is None:
                continue
            best = _best_units(about, run.scores.units)
            for name, entropy, value in zip(about.factors, about.entropy, best, strict=True):
                entropies.setdefault(name, entropy)
                rows.setdefault(method, {}).setdefault(name, []).append(float(value))
    if not rows:
        return None
    names = list(entropies)
    matrix = np.full((len(rows), len(names)), np.nan)  # (methods, factors)
    for i, row in enumerate(rows.values()):
        for name, values in row.items():
            matrix[i, names.index(name)] = np.mean(values)
    ax = axes(min(940, 160 + 90 * len(names)), 70 + 25 * len(rows))
    plots.code_factor_information(
        matrix, list(rows), names, np.array(list(entropies.values())), ax=ax
    )
    said = "; ".join(
        f"{method}: {_listed(names, row)}" for method, row in zip(rows, matrix, strict=True)
    )
    label = f"Heat map of the information of the best unit about each factor, in nats. {said}"
    return chart(ax, label)


def _listed(names: Sequence[str], values: Floats) -> str:
    pairs = zip(names, values, strict=True)
    return ", ".join(f"{name} {value:.2f}" for name, value in pairs if np.isfinite(value))


def _information(scores: Scores) -> FactorInformation | None:
    """Return the information of units about factors; a run with labels alone has one factor."""
    about = scores.class_information
    if scores.factor_information is not None or about is None or not scores.entropy_y:
        return scores.factor_information
    return FactorInformation(about.names, (scores.label,), (about.total,), (scores.entropy_y,))


def _best_units(about: FactorInformation, units: Sequence[str]) -> Floats:
    """Return the largest information that one unit has, (factors,).

    It is never below 0, which an estimate may be.
    """
    columns = [i for i, name in enumerate(about.names) if name in units]
    total = np.array(about.total, dtype=np.float64)  # (factors, names)
    return np.asarray(total[:, columns].max(1).clip(min=0))
