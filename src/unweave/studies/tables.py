"""The tables of a study's page: its methods, their scores, the stability of their order."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..pages.page import duration, integer
from ..runs.measures import Measure
from . import statistics as seeds
from .results import Results, digits, text
from .statistics import Estimate


def states(results: Results) -> dict[str, int]:
    """Return how many runs are in each state."""
    found = [run.state for run in results.runs]
    return {state: found.count(state) for state in dict.fromkeys(found)}


def method(results: Results, name: str) -> dict[str, Any]:
    """Return the row of a method in the table of what is compared."""
    runs = [run for run in results.runs if run.job.method == name]
    config = next((run.config for run in runs if run.config), {})
    times = [run.values["seconds"] for run in runs if "seconds" in run.values]
    return {
        "name": name,
        "circled": config.get("circled"),
        "formula": config.get("objective"),
        "flags": [(flag, runs[0].job.flags.get(flag)) for flag in results.varied],
        "parameters": config.get("parameters"),
        "runs": runs,
        "seconds": seeds.estimate(times).mean,
    }


# -- what all runs have in common ------------------------------------------------------------------


def about(results: Results) -> list[tuple[str, str]]:
    """Return the rows about all runs: what they share, and the time that they took."""
    configs = [run.config for run in results.runs if run.config]
    config = configs[0] if configs else {}
    machines = dict.fromkeys(str(config.get("machine", "")) for config in configs)
    versions = {"unweave": config.get("unweave", "?"), **config.get("versions", {})}
    recipe = results.runs[0].job.recipe
    rows = {
        "recipe": recipe,
        "data": _data(config.get("data", {})),
        "settings of all": _settings(results),
        "seeds": ", ".join(map(str, results.seeds)),
        "baseline": results.baseline,
        "training time": _hours(results),
        "machine": "; ".join(machines),
        "versions": ", ".join(f"{library} {version}" for library, version in versions.items()),
        "tables": "study.csv has a row a run; study_scores.csv explains its columns",
    }
    return [(name, value) for name, value in rows.items() if value]


def _data(data: dict[str, Any]) -> str:
    if "name" not in data:
        return ""
    train = f"{integer(data['n'])} items to train on"
    return f"{data['name']}: {train}, {integer(data.get('test', 0))} to test"


def _settings(results: Results) -> str:
    """Return the flags that all runs share, as a list in words."""
    apart = (*results.varied, "seed", "data_dir")
    words = []
    for name, value in results.runs[0].job.flags.items():
        if value is not None and name not in apart:
            words.append(f"{name} {value:g}" if isinstance(value, float) else f"{name} {value}")
    return ", ".join(words)


def _hours(results: Results) -> str:
    held = [run.values["seconds"] for run in results.runs if "seconds" in run.values]
    if not held:
        return ""
    low = duration(min(held))
    high = duration(max(held))
    return f"{duration(sum(held))} for {len(held)} runs, {low} to {high} each"


# -- scores ----------------------------------------------------------------------------------------


def scores(results: Results, measures: Sequence[Measure]) -> dict[str, list[dict[str, Any]]]:
    """Return a row of cells for each method, a cell a measure."""
    rows: dict[str, list[dict[str, Any]]] = {method: [] for method in results.methods}
    for measure in measures:
        for method, cell in _column(results, measure).items():
            rows[method].append(cell)
    return rows


def _column(results: Results, measure: Measure) -> dict[str, dict[str, Any]]:
    estimates = results.estimates(measure.key)
    winner = results.winner(measure)
    decimals = digits(list(estimates.values()))
    column = {}
    for method, e in estimates.items():
        column[method] = _cell(e, decimals, len(results.of(method)), method == winner)
    return column


def _cell(e: Estimate, decimals: int, runs: int, bold: bool) -> dict[str, Any]:
    """Return a mean, its half width, and the number of runs where some lack the score."""
    mean, _, half = text(e, decimals).partition(" ± ")
    return {"mean": mean, "half": half, "n": e.n if 0 < e.n < runs else None, "bold": bold}


# -- ranks -----------------------------------------------------------------------------------------


def ranks(results: Results, measures: Sequence[Measure]) -> dict[str, Any] | None:
    """Return mean ranks with their spread, how often methods come first, and how seeds agree."""
    shown: list[Measure] = []
    rows: dict[str, list[Any]] = {method: [] for method in results.methods}
    feet: list[dict[str, Any]] = []
    for measure in measures:
        found = _rank_column(results, measure)
        if found:
            cells, foot = found
            shown.append(measure)
            feet.append(foot)
            for method, row in rows.items():
                row.append(cells.get(method))
    return {"measures": shown, "rows": rows, "feet": feet} if shown else None


def _rank_column(
    results: Results, measure: Measure
) -> tuple[dict[str, Any], dict[str, Any]] | None:
    """Return a cell a method, and the foot of the column; None without an order."""
    methods, common, table = seeds.complete(results.values(measure.key))
    if len(methods) < 2 or not common:
        return None
    higher = measure.better > 0
    ranked = seeds.ranks(table, higher)  # (seeds, methods)
    first = seeds.firsts(table, higher)  # (methods,)
    cells = {}
    for method, places, share in zip(methods, ranked.T, first, strict=True):
        cells[method] = {
            "mean": f"{places.mean():.1f}",
            "low": f"{places.min():g}",
            "high": f"{places.max():g}",
            "first": f"{100 * share:.0f} %",
        }
    w = _two_decimals(seeds.concordance(ranked))
    rho = _two_decimals(seeds.agreement(ranked))
    return cells, {"n": len(common), "w": w, "rho": rho}


def _two_decimals(value: float | None) -> str | None:
    return None if value is None else f"{value:.2f}".replace("-", "−")
