"""One self-contained page a study: methods side by side over seeds, and how sure their order is."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from .. import plots
from ..pages import columns, units
from ..pages.exhibits import is_ink
from ..pages.page import charts, rendered
from ..runs import arrays as run_arrays
from ..runs.files import replacing
from ..runs.measures import Measure
from . import charts as drawn
from . import tables
from .results import Results, collect, command, markdown, summary, text, write_csv
from .statistics import Estimate

__all__ = ["collect", "markdown", "render", "summary", "write"]


def write(out: str | Path) -> Path:
    """Write study.html, study.csv and study_scores.csv into a study's folder.

    The page holds whatever has finished, and says how much that is; so it may be written while a
    study runs.

    Returns:
        The path of the page.

    Raises:
        FileNotFoundError: If it is no study's folder.
        ValueError: If a file in it is damaged.
    """
    results = collect(out)
    write_csv(results)
    page = results.folder / "study.html"
    with replacing(page) as draft:
        draft.write_text(render(results), encoding="utf-8")
    return page


def render(results: Results) -> str:
    """Return the page as a string."""
    looks = plots.method_looks(results.methods)
    headline = [m for m in results.headline if any(results.values(m.key).values())]
    details = [m for m in results.measures if m not in headline]
    judged = [m for m in headline if m.better]
    best = _best(headline)
    with charts() as chart:
        return rendered(
            "studies/study.html.j2",
            results=results,
            states=tables.states(results),
            marks={method: drawn.mark(look) for method, look in looks.items()},
            methods=[tables.method(results, method) for method in results.methods],
            headline=headline,
            table=tables.scores(results, headline),
            details=details,
            detailed=tables.scores(results, details),
            dots=[drawn.dots(results, measure, looks, chart) for measure in headline],
            differences=drawn.differences(results, headline, looks, chart),
            ranks=tables.ranks(results, judged),
            places=drawn.places(results, best, looks, chart),
            tradeoffs=drawn.tradeoffs(results, headline, looks, chart),
            factors=drawn.factors(results, chart),
            best=best,
            traversed=_traversed(results, best),
            about=tables.about(results),
            command=command(results),
            floor=2.0 ** (1 - len(results.seeds)),
        )


def _best(headline: Sequence[Measure]) -> Measure | None:
    """Return the score by which the best run is chosen: MIG, or else the first that has a side."""
    judged = [measure for measure in headline if measure.better]
    by_key = {measure.key: measure for measure in headline}
    return by_key.get("mig") or next(iter(judged), None)


# -- pictures --------------------------------------------------------------------------------------


def _traversed(results: Results, measure: Measure | None) -> list[dict[str, Any]]:
    """Return the traversals of the best method's best run by `measure`, and of the baseline's."""
    if measure is None:
        return []
    order = results.order(measure)
    wanted = order[:1]
    if results.baseline in order[1:]:
        wanted.append(results.baseline)
    found = [_traversals(results, method, measure) for method in wanted]
    return [traversals for traversals in found if traversals]


def _traversals(results: Results, method: str, measure: Measure) -> dict[str, Any] | None:
    sign = measure.better or 1
    runs = [run for run in results.of(method) if measure.key in run.values]
    run = max(runs, key=lambda run: sign * run.values[measure.key])
    folder = results.folder / run.job.key
    if not (folder / run_arrays.FILE).is_file():
        return None
    arrays = run_arrays.read(folder)
    few = {unit: strips[:2] for unit, strips in arrays.traversal.items()}
    drawable = units.drawable(replace(arrays, traversal=few))
    cards = [card for card in units.cards(run.scores, drawable) if not card["idle"]]
    return {
        "method": method,
        "run": run,
        "value": text(Estimate(run.values[measure.key], None, None, 1), 3),
        "units": cards,
        "columns": max((len(card["at"]) for card in cards), default=1),
        "ink": is_ink(drawable.x),
        "tabular": columns.of(arrays) is not None,
        "report": (folder / "report.html").is_file(),
    }
