"""The page of a run, one HTML file: what was learned, in pictures, and numbers with their errors.

It is made from a run's folder (config.json, metrics.jsonl, scores.json, evaluation.npz, names.json)
and nothing else; it leaves out what the run does not have.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeAlias

from ..metrics.table import rows
from ..runs import arrays as run_arrays
from ..runs import config as run_config
from ..runs import names as run_names
from ..runs import scores as run_scores
from ..runs import seal
from ..runs.arrays import Arrays
from ..runs.command import command
from ..runs.files import read_lines, replacing
from ..runs.findings import Finding, unpacked
from ..runs.measures import IDLE
from ..runs.scores import Scores
from . import columns, diagrams, exhibits, terms, units
from .card import write_card
from .page import Chart, charts, duration, integer, rendered

Json: TypeAlias = Mapping[str, Any]


def write(folder: str | Path) -> Path:
    """Write a run folder's `report.html`, whose path it returns, and its model card.

    A reader sees the old report or the new one, never half of one.

    Raises:
        FileNotFoundError: If the folder is not a finished run, with the command that makes what is
            missing.
        ValueError: If a file is damaged, or not as the evaluation left it.
    """
    folder = Path(folder)
    for name, maker in (
        ("config.json", f"unweave train RECIPE --out {folder}"),
        (run_scores.FILE, f"unweave evaluate {folder}"),
        (run_arrays.FILE, f"unweave evaluate {folder}"),
    ):
        if not (folder / name).is_file():
            raise FileNotFoundError(f"{folder / name} does not exist: `{maker}` makes it")
    seal.check(folder)
    config = run_config.read(folder)
    history = read_lines(folder / "metrics.jsonl")
    scores = run_scores.read(folder)
    page = render(config, history, scores, run_arrays.read(folder), run_names.read(folder))
    with replacing(folder / "report.html") as draft:
        draft.write_text(page, encoding="utf-8")
    write_card(folder, config, scores)
    return folder / "report.html"


def summary(folder: str | Path) -> list[str]:
    """Return the numbers that a run's page shows first, a line each."""
    folder = Path(folder)
    scores = run_scores.read(folder)
    found = exhibits.tiles(_findings(scores, run_arrays.read(folder)))
    tiles = [*found, *terms.tiles(run_config.read(folder), scores)]
    lines = []
    for tile in tiles:
        error = f" ± {tile['error']}" if tile["error"] else ""
        value = tile["value"] + error
        lines.append(f"{tile['name']:<26}{value:<16}{tile['note']}".rstrip())
    return lines


def render(
    config: Json,
    history: Sequence[Json],
    scores: Scores,
    arrays: Arrays,
    names: Mapping[str, run_names.Named] = MappingProxyType({}),
) -> str:
    """Return the page as a string, from the contents of the files.

    A part that cannot be drawn is named under what is left out.
    """
    failed: dict[str, str] = {}

    def made(part: str, make: Callable[..., Any], *given: Any) -> Any:
        """Return a part of the page, nothing if it fails: the rest does without it."""
        try:
            return make(*given)
        except Exception as error:
            failed[part] = str(error) or type(error).__name__
            return ()

    findings = made("findings", _findings, scores, arrays)
    pictures = made("pictures", units.drawable, arrays) or Arrays()
    with charts() as chart:
        content = {
            "about": _about(config),
            "tiles": [
                *made("findings", exhibits.tiles, findings),
                *made("tiles", terms.tiles, config, scores),
            ],
            "findings": made("findings", exhibits.exhibits, findings, chart),
            "reconstructions": made("reconstructions", units.reconstructions, pictures),
            "units": made("what latent units do", units.cards, scores, pictures),
            "moved": made("units and columns", _moved, scores, pictures, chart),
            "quantiles": _percent(pictures),
            "prior": made("samples of the prior", units.prior, pictures),
            "information": made("information in units", diagrams.information, scores, chart),
            "labels": made("information about labels", diagrams.labels, scores, chart),
            "factors": made("information about factors", diagrams.factors, scores, chart),
            "metrics": made("metrics", _metrics, scores),
            "notes": made("metrics", _notes, scores),
            "terms": made("the bound", terms.terms, config, scores),
            "embedding": made("codes in the plane", diagrams.embedding, scores, arrays, chart),
            "curves": made("curves", diagrams.curves, history, chart),
            "ink": made("pictures", exhibits.is_ink, pictures.x),
        }
    return rendered(
        "pages/run.html.j2",
        config=config,
        scores=scores,
        seed=_seed(config),
        scored=terms.scored(config),
        command=command(config),
        names=names,
        idle=IDLE,
        skipped=scores.skipped | failed,
        **content,
    )


def _findings(scores: Scores, arrays: Arrays) -> list[Finding]:
    return unpacked(scores.findings or (), run_arrays.flat(arrays))


def _moved(scores: Scores, arrays: Arrays, chart: Chart) -> dict[str, Any] | None:
    """Return the chart of what units move, idle ones left out; None unless items are vectors."""
    held = [unit for unit, _ in units.ordered(scores) if not units.is_idle(unit, scores)]
    return columns.overview(arrays, held, chart)


def _percent(arrays: Arrays) -> list[str]:
    quantiles = arrays.traversal_quantiles
    if quantiles is None:
        return []
    return [f"{100 * quantile:g}%" for quantile in quantiles]


def _about(config: Json) -> list[tuple[str, str]]:
    """Return the definition table of a run: what was trained, on what, with what."""
    names = ("recipe", "data", "model", "groups", "objective", "estimator")
    told = {name: config.get(name) for name in names}
    if "parameters" in config:
        told["parameters"] = integer(config["parameters"])
    told["flags"] = config.get("flags")
    told["seed"] = _seed(config)
    started = str(config.get("started") or "")
    told["started"] = started.replace("T", " ")[:16]
    if config.get("seconds") is not None:
        told["training time"] = duration(config["seconds"])
    told["machine"] = config.get("machine")
    versions = config.get("versions", {})
    told["versions"] = {"unweave": config.get("unweave", "?"), **versions}
    return [(name, _line(value)) for name, value in told.items() if value or value == 0]


def _line(value: Any) -> str:
    """Return a setting as a line of text."""
    if isinstance(value, Mapping):
        held = {key: entry for key, entry in value.items() if entry is not None}
        return ", ".join(f"{key} {_line(entry)}" for key, entry in held.items())
    if isinstance(value, list | tuple):
        listed = ", ".join(map(_line, value))
        return f"({listed})"
    return f"{value:g}" if isinstance(value, float) else str(value)


def _seed(config: Json) -> Any:
    flags = config.get("flags", {})
    return config.get("seed", flags.get("seed"))


def _metrics(scores: Scores) -> list[dict[str, Any]]:
    """Return the rows of the metrics that have a value, or a part that has one."""
    held = []
    for metric in scores.metrics.values():
        has_parts = any(isinstance(part, float) for part in metric.parts.values())
        if metric.value is not None or has_parts:
            held.append(metric)
    return rows(map(run_scores.plain, held))


def _notes(scores: Scores) -> list[str]:
    """Return what metrics note, each note once, and why some have no value."""
    metrics_of: dict[str, list[str]] = {}
    for metric in scores.metrics.values():
        left_out = " is left out" if metric.value is None else ""
        name = metric.name.replace("_", " ")
        for note in metric.notes:
            metrics_of.setdefault(note, []).append(name + left_out)
    return [f"{', '.join(names)}: {note}" for note, names in metrics_of.items()]
