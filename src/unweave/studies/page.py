"""One self-contained page a study: methods side by side over seeds, what is sure of their order,
and what is not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from markupsafe import Markup
from matplotlib.figure import Figure
from matplotlib.markers import MarkerStyle

from .. import plots
from ..pages import units
from ..pages.exhibits import is_ink
from ..pages.page import ACCENT, Chart, axes, charts, duration, integer, rendered
from ..runs import arrays as run_arrays
from ..runs.files import replacing
from ..runs.measures import Measure
from ..runs.scores import FactorInformation, Scores
from . import statistics as seeds
from .results import (
    Results,
    Run,
    collect,
    command,
    digits,
    markdown,
    summary,
    text,
    write_csv,
)
from .statistics import Estimate

__all__ = ["collect", "markdown", "render", "summary", "write"]

Looks: TypeAlias = Mapping[str, tuple[str, str]]


def write(out: str | Path) -> Path:
    """Writes study.html, study.csv and study_scores.csv into a study's folder; the path of the
    page.

    Whatever has finished is in them, and how much that is; so it may be written while a study runs.

    Raises:
        FileNotFoundError: If it is no study's folder.
        ValueError: If a file in it is damaged.
    """
    results = collect(out)
    write_csv(results)
    with replacing(results.folder / "study.html") as draft:
        draft.write_text(render(results), encoding="utf-8")
    return results.folder / "study.html"


def render(results: Results) -> str:
    """The page as a string."""
    looks = plots.method_looks(results.methods)
    headline = [m for m in results.headline if any(results.values(m.key).values())]
    best = next(
        (m for m in headline if m.key == "mig"), next((m for m in headline if m.better), None)
    )
    with charts() as chart:
        return rendered(
            "studies/study.html.j2",
            results=results,
            states=_states(results),
            marks={method: _mark(look) for method, look in looks.items()},
            methods=[_method(results, method) for method in results.methods],
            headline=headline,
            table=_table(results, headline),
            details=[m for m in results.measures if m not in headline],
            detailed=_table(results, [m for m in results.measures if m not in headline]),
            dots=[_dots(results, measure, looks, chart) for measure in headline],
            differences=_differences(results, headline, looks, chart),
            ranks=_ranks(results, [m for m in headline if m.better]),
            places=_places(results, best, looks, chart),
            tradeoffs=_tradeoffs(results, headline, looks, chart),
            factors=_factors(results, chart),
            best=best,
            traversed=_traversed(results, best),
            about=_about(results),
            command=command(results),
            floor=2.0 ** (1 - len(results.seeds)),
        )


def _states(results: Results) -> dict[str, int]:
    """How many runs are in each state."""
    states = [run.state for run in results.runs]
    return {state: states.count(state) for state in dict.fromkeys(states)}


def _mark(look: tuple[str, str]) -> Markup:
    """A method's marker as charts draw it."""
    color, marker = look
    style = MarkerStyle(marker)
    path = style.get_path().transformed(style.get_transform())
    outlines = [np.asarray(points) for points in path.to_polygons(closed_only=True)]
    size = (
        0.62 / plots.METHOD_MARKERS[marker] ** 0.5
    )  # half the side of a box, in which markers look alike in size
    steps = "".join(
        "M" + "L".join(f"{x:.3f},{-y:.3f}" for x, y in points) + "Z" for points in outlines
    )
    box = f"{-size:.3f} {-size:.3f} {2 * size:.3f} {2 * size:.3f}"
    fill = color.replace(plots.GROUP_COLORS[0], ACCENT)
    shape = '<svg class="mark" viewBox="{}" aria-hidden="true"><path d="{}" style="fill:{}"/></svg>'
    return Markup(shape).format(box, steps, fill)


# -- what was compared -----------------------------------------------------------------------------


def _method(results: Results, method: str) -> dict[str, Any]:
    runs = [run for run in results.runs if run.job.method == method]
    config = next((run.config for run in runs if run.config), {})
    return {
        "name": method,
        "circled": config.get("circled"),
        "formula": config.get("objective"),
        "flags": [(name, runs[0].job.flags.get(name)) for name in results.varied()],
        "parameters": config.get("parameters"),
        "runs": runs,
        "seconds": seeds.estimate(
            [run.values["seconds"] for run in runs if "seconds" in run.values]
        ).mean,
    }


def _about(results: Results) -> list[tuple[str, str]]:
    """What all runs have in common, and what they took."""
    jobs, held = [run.job for run in results.runs], [run for run in results.runs if run.config]
    config = held[0].config if held else {}
    data, varied = config.get("data", {}), results.varied()
    common = {
        k: v
        for k, v in jobs[0].flags.items()
        if k not in (*varied, "seed", "data_dir") and v is not None
    }
    rows = {
        "recipe": jobs[0].recipe,
        "data": f"{data['name']}: {integer(data['n'])} items to train on, {integer(data.get('test', 0))} to test"
        if "name" in data
        else "",
        "settings of all": ", ".join(
            f"{k} {v:g}" if isinstance(v, float) else f"{k} {v}" for k, v in common.items()
        ),
        "seeds": ", ".join(map(str, results.seeds)),
        "baseline": results.baseline,
        "training time": _hours(results),
        "machine": "; ".join(dict.fromkeys(str(run.config.get("machine", "")) for run in held)),
        "versions": ", ".join(
            f"{k} {v}"
            for k, v in {
                "unweave": config.get("unweave", "?"),
                **config.get("versions", {}),
            }.items()
        ),
        "tables": "study.csv, a row a run; study_scores.csv, what its columns are",
    }
    return [(name, value) for name, value in rows.items() if value]


def _hours(results: Results) -> str:
    held = [run.values["seconds"] for run in results.runs if "seconds" in run.values]
    if not held:
        return ""
    low, high = (duration(end) for end in (min(held), max(held)))
    return f"{duration(sum(held))} for {len(held)} runs, {low} to {high} each"


# -- numbers ---------------------------------------------------------------------------------------


def _table(results: Results, measures: Sequence[Measure]) -> dict[str, list[dict[str, Any]]]:
    """By method, a cell a measure: mean, half width, of how many runs where some lack it, bold or
    not.
    """
    columns = [_column(results, measure) for measure in measures]
    return {method: [column[method] for column in columns] for method in results.methods}


def _column(results: Results, measure: Measure) -> dict[str, dict[str, Any]]:
    estimates, winner = results.estimates(measure.key), results.winner(measure)
    decimals = digits(list(estimates.values()))
    return {
        method: _cell(e, decimals, len(results.of(method)), method == winner)
        for method, e in estimates.items()
    }


def _cell(e: Estimate, decimals: int, of: int, bold: bool) -> dict[str, Any]:
    mean, _, half = text(e, decimals).partition(" ± ")
    return {"mean": mean, "half": half, "n": e.n if 0 < e.n < of else None, "bold": bold}


def _ranks(results: Results, measures: Sequence[Measure]) -> dict[str, Any] | None:
    """Mean ranks with their spread, how often a method would be first, and how far seeds agree."""
    columns = [_rank_column(results, measure) for measure in measures]
    held = [(m, column) for m, column in zip(measures, columns, strict=True) if column]
    if not held:
        return None
    rows = {
        method: [column["cells"].get(method) for _, column in held] for method in results.methods
    }
    feet = [{key: column[key] for key in ("n", "w", "rho")} for _, column in held]
    return {"measures": [m for m, _ in held], "rows": rows, "feet": feet}


def _rank_column(results: Results, measure: Measure) -> dict[str, Any] | None:
    methods, common, table = seeds.complete(results.values(measure.key))
    if len(methods) < 2 or not common:
        return None
    ranked, first = seeds.ranks(table, measure.better > 0), seeds.firsts(table, measure.better > 0)
    cells = {
        method: {
            "mean": f"{r.mean():.1f}",
            "low": f"{r.min():g}",
            "high": f"{r.max():g}",
            "first": f"{100 * p:.0f} %",
        }
        for method, r, p in zip(methods, ranked.T, first, strict=True)
    }
    w, rho = (
        None if v is None else f"{v:.2f}"
        for v in (seeds.concordance(ranked), seeds.agreement(ranked))
    )
    return {"cells": cells, "n": len(common), "w": w, "rho": rho and rho.replace("-", "−")}


# -- charts ----------------------------------------------------------------------------------------


def _panel(results: Results, rows: int) -> Any:
    """Axes of one size and one frame, so that panels align; its left edge leaves room for the
    methods' names.
    """
    height = 40 + 27 * rows
    left = min(0.45, (14 + 6.7 * max(map(len, results.methods))) / 460)
    return Figure(figsize=(460 / 72, height / 72)).add_axes(
        (left, 30 / height, 0.97 - left, 1 - 34 / height)
    )


def _said(estimates: Mapping[str, Estimate]) -> str:
    decimals = digits(list(estimates.values()))
    return ", ".join(f"{method} {text(e, decimals)}" for method, e in estimates.items() if e.n)


def _dots(results: Results, measure: Measure, looks: Looks, chart: Chart) -> dict[str, Any]:
    values, estimates = results.values(measure.key), results.estimates(measure.key)
    shown = {method: list(held.values()) for method, held in values.items() if held}
    ax = _panel(results, len(shown))
    reference = estimates[results.baseline].mean
    plots.seed_dots(shown, {m: estimates[m].interval for m in shown}, looks, reference, ax=ax)
    svg = chart(ax, f"{measure.name} of each seed, by method; means: {_said(estimates)}")
    return {"measure": measure, "svg": svg}


def _differences(
    results: Results, measures: Sequence[Measure], looks: Looks, chart: Chart
) -> list[dict[str, Any]] | None:
    drawn = []
    for measure in measures:
        values = results.values(measure.key)
        base = values[results.baseline]
        by_seed = {
            m: seeds.differences(held, base) for m, held in values.items() if m != results.baseline
        }
        shown = {method: list(held.values()) for method, held in by_seed.items() if held}
        if not shown:
            continue
        estimates = {method: seeds.estimate(held) for method, held in shown.items()}
        ax = _panel(results, len(shown))
        plots.seed_dots(shown, {m: e.interval for m, e in estimates.items()}, looks, 0.0, ax=ax)
        label = (
            f"{measure.name}, difference from {results.baseline} within seeds: {_said(estimates)}"
        )
        drawn.append(
            {"measure": measure, "svg": chart(ax, label), "sure": _sure(measure, estimates)}
        )
    return drawn or None


def _sure(measure: Measure, estimates: Mapping[str, Estimate]) -> dict[str, list[str]]:
    """Methods whose paired interval excludes 0, by the side on which it lies."""
    apart = {
        method: e.mean for method, e in estimates.items() if e.excludes(0.0) and e.mean is not None
    }
    words = ("higher", "lower") if not measure.better else ("better", "worse")
    up = [method for method, mean in apart.items() if mean * (measure.better or 1) > 0]
    return {words[0]: up, words[1]: [method for method in apart if method not in up]}


def _places(results: Results, measure: Measure | None, looks: Looks, chart: Chart) -> Markup | None:
    """The order of methods at each seed, by one score."""
    if measure is None:
        return None
    methods, common, table = seeds.complete(results.values(measure.key))
    if len(common) < 2 or len(methods) < 2:
        return None
    ranked = seeds.ranks(table, measure.better >= 0)
    ax = axes(620, 46 + 26 * len(methods))
    plots.rank_lines(ranked, methods, common, looks, ax=ax)
    said = ", ".join(f"{m} {r:.1f}" for m, r in zip(methods, ranked.mean(0), strict=True))
    return chart(ax, f"Places of methods by {measure.name} at each seed; mean ranks: {said}")


def _tradeoffs(
    results: Results, measures: Sequence[Measure], looks: Looks, chart: Chart
) -> dict[str, Any] | None:
    """Reconstruction, or the ELBO without it, against every other headline score."""
    across = next((m for key in ("recon", "elbo") for m in measures if m.key == key), None)
    if across is None:
        return None
    x, drawn = results.values(across.key), []
    for measure in measures:
        if measure.key in ("recon", "elbo"):
            continue
        y = results.values(measure.key)
        points = {m: [(x[m][s], y[m][s]) for s in y[m] if s in x[m]] for m in results.methods}
        ax = Figure(figsize=(300 / 72, 230 / 72)).add_axes((0.16, 0.115, 0.82, 0.86))
        plots.tradeoff(points, looks, ax=ax)
        means = {m: np.mean(held, axis=0) for m, held in points.items() if held}
        said = ", ".join(f"{m} {a:.1f} and {b:.2f}" for m, (a, b) in means.items())
        drawn.append(
            {
                "measure": measure,
                "svg": chart(ax, f"{measure.name} against {across.name}; means: {said}"),
            }
        )
    return {"across": across, "panels": drawn} if drawn else None


def _factors(results: Results, chart: Chart) -> Markup | None:
    """What the best single unit tells of each factor, the mean over a method's seeds."""
    first: FactorInformation | None = None
    rows: dict[str, Any] = {}
    for method in results.methods:
        best = []
        for run in results.of(method):
            about = _told(run.scores)
            if about is not None:
                first = first or about
                best.append(_best_units(about, run.scores.units))
        if best:
            rows[method] = np.mean(best, 0)
    if first is None:
        return None
    ax = axes(min(940, 160 + 90 * len(first.factors)), 70 + 25 * len(rows))
    plots.code_factor_information(
        np.array(list(rows.values())), list(rows), first.factors, np.array(first.entropy), ax=ax
    )
    said = "; ".join(f"{m}: {_listed(first.factors, row)}" for m, row in rows.items())
    return chart(
        ax, f"Heat map of the information of the best unit about each factor, in nats. {said}"
    )


def _listed(names: Sequence[str], values: Sequence[float]) -> str:
    return ", ".join(f"{name} {value:.2f}" for name, value in zip(names, values, strict=True))


def _told(scores: Scores) -> FactorInformation | None:
    """Return the information of units about factors; a run with labels alone has one factor."""
    about = scores.class_information
    if scores.factor_information is not None or about is None or not scores.entropy_y:
        return scores.factor_information
    return FactorInformation(about.names, (scores.label,), (about.total,), (scores.entropy_y,))


def _best_units(about: FactorInformation, units: Sequence[str]) -> np.ndarray:
    """Return the largest information that one unit has, (factors,).

    It is never below 0, which an estimate may be.
    """
    columns = [i for i, name in enumerate(about.names) if name in units]
    total = np.array(about.total, dtype=np.float64)  # (factors, names)
    return np.asarray(total[:, columns].max(1).clip(min=0))


# -- pictures --------------------------------------------------------------------------------------


def _traversed(results: Results, measure: Measure | None) -> list[dict[str, Any]]:
    """The traversals of the best method's best run by `measure`, and of the baseline's."""
    if measure is None:
        return []
    order = results.order(measure)
    wanted = dict.fromkeys([*order[:1], *(m for m in order if m == results.baseline)])
    drawn = (_traversals(results, method, measure) for method in wanted)
    return [found for found in drawn if found]


def _traversals(results: Results, method: str, measure: Measure) -> dict[str, Any] | None:
    def score(run: Run) -> float:
        return (measure.better or 1) * run.values[measure.key]

    run = max((run for run in results.of(method) if measure.key in run.values), key=score)
    folder = results.folder / run.job.key
    if not (folder / run_arrays.FILE).is_file():
        return None
    arrays = run_arrays.read(folder)
    few = {unit: strips[:2] for unit, strips in arrays.traversal.items()}
    drawn = units.drawable(replace(arrays, traversal=few))
    cards = [card for card in units.cards(run.scores, drawn) if not card["idle"]]
    return {
        "method": method,
        "run": run,
        "value": text(Estimate(run.values[measure.key], None, None, 1), 3),
        "units": cards,
        "columns": max((len(card["at"]) for card in cards), default=1),
        "ink": is_ink(drawn.x),
        "report": (folder / "report.html").is_file(),
    }
