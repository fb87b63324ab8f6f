"""What a study measured: its runs with their scores by stable names, and the same as a table, as
Markdown, as CSV.
"""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..runs import measures
from ..runs.files import read_json, replacing
from ..runs.measures import Measure
from ..runs.scores import Scores
from ..runs.scores import read as read_scores
from . import grid, work
from .grid import Job
from .statistics import Estimate, estimate, paired

KINDS = (
    measures.test,
    measures.metrics,
    measures.error,
    measures.accuracy,
    measures.exact,
    measures.active_units,
    measures.findings,
)
"""The kinds of measures that a study collects, in the order of its columns."""


@dataclass(frozen=True)
class Run:
    """A run of a study: its settings, how far it is, and, of a finished one, what scores.json and
    config.json say.
    """

    job: Job
    state: work.State
    values: Mapping[str, float]
    config: Mapping[str, Any]
    scores: Scores


@dataclass(frozen=True)
class Results:
    """A study's runs and measures. `failed` holds, of each failed run, its exit status, attempts
    and last words.
    """

    folder: Path
    study: Mapping[str, Any]
    runs: tuple[Run, ...]
    measures: tuple[Measure, ...]
    failed: tuple[tuple[Job, Mapping[str, Any]], ...]

    @property
    def methods(self) -> list[str]:
        return list(dict.fromkeys(run.job.method for run in self.runs))

    @property
    def baseline(self) -> str:
        return str(self.study.get("baseline") or self.methods[0])

    @property
    def seeds(self) -> list[int]:
        return list(dict.fromkeys(run.job.seed for run in self.runs))

    @property
    def headline(self) -> list[Measure]:
        """In the order of `HEADLINE`."""
        first = (measure for measure in self.measures if measure.headline)
        return sorted(first, key=lambda measure: measure.place)

    def of(self, method: str) -> list[Run]:
        """A method's finished runs."""
        return [run for run in self.runs if run.job.method == method and run.state == "finished"]

    def values(self, key: str) -> dict[str, dict[int, float]]:
        """A score by method and seed, of the finished runs that have it."""
        return {
            method: {run.job.seed: run.values[key] for run in self.of(method) if key in run.values}
            for method in self.methods
        }

    def estimates(self, key: str) -> dict[str, Estimate]:
        return {method: estimate(list(held.values())) for method, held in self.values(key).items()}

    def order(self, measure: Measure) -> list[str]:
        """Methods that have the score, from the best mean to the worst."""
        means = {
            method: e.mean
            for method, e in self.estimates(measure.key).items()
            if e.mean is not None
        }
        return sorted(means, key=lambda method: -(measure.better or 1) * means[method])

    def winner(self, measure: Measure) -> str | None:
        """The method of the best mean, where its paired interval against the runner-up excludes
        0.
        """
        if not measure.better or len(order := self.order(measure)) < 2:
            return None
        values = self.values(measure.key)
        return order[0] if paired(values[order[0]], values[order[1]]).excludes(0.0) else None

    def varied(self) -> list[str]:
        """The flags in which methods differ."""
        flags = [
            {k: v for k, v in run.job.flags.items() if k not in ("seed", "data_dir")}
            for run in self.runs
        ]
        names = dict.fromkeys(name for held in flags for name in held)
        return [name for name in names if len({json.dumps(held.get(name)) for held in flags}) > 1]


def collect(out: str | Path) -> Results:
    """Everything that a study's folder holds so far.

    Raises:
        FileNotFoundError: If it is no study's folder.
        ValueError: If a file in it is damaged.
    """
    folder = Path(out)
    said, jobs = read_json(folder / "study.json"), work.jobs_of(folder)
    runs, found = [], dict[str, Measure]()
    for job in jobs:
        state, here = work.state(job, folder), folder / job.key
        config = read_json(here / "config.json") if (here / "config.json").exists() else {}
        scores = read_scores(here) if state == "finished" else Scores()
        held = _measured(config, scores) if state == "finished" else []
        runs.append(
            Run(job, state, {measure.key: value for measure, value in held}, config, scores)
        )
        found |= {measure.key: measure for measure, _ in held if measure.key not in found}
    return Results(
        folder, said, tuple(runs), tuple(found.values()), tuple(work.failures(jobs, folder))
    )


def _measured(config: Mapping[str, Any], scores: Scores) -> list[tuple[Measure, float]]:
    """Return every measure of a run whose value is a finite number."""
    found: list[tuple[Measure, float]] = []
    for kind in (*(kind(scores) for kind in KINDS), measures.seconds(config)):
        for measure, mean in kind:
            if math.isfinite(mean.value):
                found.append((measure, float(mean.value)))
    return found


# -- numbers in columns ----------------------------------------------------------------------------


def digits(estimates: Sequence[Estimate]) -> int:
    """Decimals that suit a column: two of its typical half width within what suits its size, which
    decides where nothing has a half width.

    >>> wide, narrow = Estimate(-97.1, 2.0, 2.5, 5), Estimate(0.5, 0.1, 0.023, 5)
    >>> digits([narrow]), digits([wide]), digits([Estimate(0.5, None, None, 1)])
    (3, 1, 3)
    >>> digits([Estimate(0.0163, 0.0005, 0.0006, 5)])  # a rate of errors
    4
    """
    size = max((abs(e.mean) for e in estimates if e.mean is not None), default=0.0)
    least, most = (
        (2, 4) if size < 0.1 else (2, 3) if size < 10 else (1, 2) if size < 1000 else (0, 0)
    )
    halves = sorted(e.half for e in estimates if e.half)
    wanted = (
        1 - math.floor(math.log10(halves[len(halves) // 2])) if halves else 3 if size < 10 else 1
    )
    return min(max(least, wanted), most)


def text(e: Estimate, decimals: int) -> str:
    """A mean ± its half width, the mean alone without one, or a dash.

    >>> text(Estimate(-0.5, 0.1, 0.02, 5), 3), text(Estimate(0.5, None, None, 1), 2)
    ('−0.500 ± 0.020', '0.50')
    """
    if e.mean is None:
        return "–"
    half = "" if e.half is None else f" ± {e.half:.{decimals}f}"
    return f"{round(e.mean, decimals) + 0.0:.{decimals}f}{half}".replace("-", "−")


def summary(out: str | Path) -> tuple[list[str], list[tuple[str, ...]]]:
    """Heads and rows of a table for the terminal: a row a method, its finished runs, and means ±
    half widths of 95 % intervals over seeds of the headline scores.
    """
    return _summary(collect(out))


def _summary(results: Results) -> tuple[list[str], list[tuple[str, ...]]]:
    heads = ["method", "runs", *(f"{m.name} {m.arrow}".strip() for m in results.headline)]
    columns = [_column(results, measure) for measure in results.headline]
    total = {
        method: sum(run.job.method == method for run in results.runs) for method in results.methods
    }
    rows = [
        (
            method,
            f"{len(results.of(method))}/{total[method]}",
            *(column[method] for column in columns),
        )
        for method in results.methods
    ]
    return heads, rows


def _column(results: Results, measure: Measure) -> dict[str, str]:
    estimates = results.estimates(measure.key)
    decimals = digits(list(estimates.values()))
    return {method: text(e, decimals) for method, e in estimates.items()}


def markdown(out: str | Path) -> str:
    """The same as a Markdown table, the best in bold where its paired interval against the
    runner-up excludes 0.
    """
    results = collect(out)
    bold = {(results.winner(measure), i + 2) for i, measure in enumerate(results.headline)}
    heads, rows = _summary(results)
    lines = [_line(heads), _line(["---", *("--:" for _ in heads[1:])])]
    lines += [
        _line([f"**{cell}**" if (row[0], i) in bold else cell for i, cell in enumerate(row)])
        for row in rows
    ]
    return "\n".join([*lines, "", caption(results), ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def caption(results: Results) -> str:
    """What a reader of the table needs to know of it, the command included."""
    made = f" Made by `{line}`." if (line := command(results)) else ""
    return (
        f"Means over {len(results.seeds)} seed{'s' * (len(results.seeds) > 1)} ± half the width of "
        "the 95 % interval (Student's t); bold where the best is ahead of the runner-up by a "
        f"paired interval that excludes 0, one comparison at a time.{made}"
    )


def command(results: Results) -> str:
    """The command that repeats a study: by its name if the package has it as it was run, else from
    its study.json.
    """
    name = str(results.study["name"])
    words = ["unweave", "study", name]
    if name not in grid.names() or {job.key for job in grid.read(name).jobs()} != {
        run.job.key for run in results.runs
    }:
        words = ["unweave", "study", f"{results.folder.name}/study.json"]
    return shlex.join(words)


# -- files -----------------------------------------------------------------------------------------


def write_csv(results: Results) -> tuple[Path, Path]:
    """study.csv, a row a run; and study_scores.csv, a row a score: what its column is, and how it
    was computed.
    """
    varied, keys = results.varied(), [measure.key for measure in results.measures]
    runs: list[Sequence[Any]] = [["method", "seed", "key", "state", *varied, *keys]]
    for run in results.runs:
        flags = [run.job.flags.get(name) for name in varied]
        values = [run.values.get(key, "") for key in keys]
        runs.append([run.job.method, run.job.seed, run.job.key, run.state, *flags, *values])
    scores: list[Sequence[Any]] = [["score", "name", "convention", "lowest", "highest", "better"]]
    for m in results.measures:
        ends = ("" if end is None else end for end in m.range)
        scores.append(
            [m.key, m.name, m.convention, *ends, {1: "more", -1: "less", 0: "neither"}[m.better]]
        )
    return _write(results.folder / "study.csv", runs), _write(
        results.folder / "study_scores.csv", scores
    )


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    with replacing(path) as draft:
        draft.write_text(buffer.getvalue(), encoding="utf-8")
    return path
