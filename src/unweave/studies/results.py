"""The measurements of a study: its runs with their scores by stable names, as tables and files."""

from __future__ import annotations

import csv
import io
import json
import math
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ..runs import config as run_config
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
    """A run of a study: its settings, its state, and the contents of its config and scores."""

    job: Job
    state: work.State
    values: Mapping[str, float]
    config: Mapping[str, Any]
    scores: Scores


@dataclass(frozen=True)
class Results:
    """The runs and measures of a study.

    `failed` holds the failed runs, each with its exit status, its attempts and its last words.
    """

    folder: Path
    study: Mapping[str, Any]
    runs: tuple[Run, ...]
    measures: tuple[Measure, ...]
    failed: tuple[tuple[Job, Mapping[str, Any]], ...]

    @property
    def methods(self) -> list[str]:
        """The names of the methods."""
        return list(dict.fromkeys(run.job.method for run in self.runs))

    @property
    def baseline(self) -> str:
        """The method that others are compared with."""
        return str(self.study.get("baseline") or self.methods[0])

    @property
    def seeds(self) -> list[int]:
        """The seeds of the runs."""
        return list(dict.fromkeys(run.job.seed for run in self.runs))

    @property
    def headline(self) -> list[Measure]:
        """The measures that come first, in the order of `HEADLINE`."""
        first = (measure for measure in self.measures if measure.headline)
        return sorted(first, key=lambda measure: measure.place)

    def of(self, method: str) -> list[Run]:
        """Return a method's finished runs."""
        return [run for run in self.runs if run.job.method == method and run.state == "finished"]

    def values(self, key: str) -> dict[str, dict[int, float]]:
        """Return a score by method and seed, of the finished runs that have it."""
        found: dict[str, dict[int, float]] = {method: {} for method in self.methods}
        for run in self.runs:
            if run.state == "finished" and key in run.values:
                found[run.job.method][run.job.seed] = run.values[key]
        return found

    def estimates(self, key: str) -> dict[str, Estimate]:
        """Return the mean of a score over seeds, with its interval, by method."""
        return {method: estimate(list(held.values())) for method, held in self.values(key).items()}

    def order(self, measure: Measure) -> list[str]:
        """Return the methods that have the score, from the best mean to the worst."""
        estimates = self.estimates(measure.key)
        means = {method: e.mean for method, e in estimates.items() if e.mean is not None}
        sign = -(measure.better or 1)
        return sorted(means, key=lambda method: sign * means[method])

    def winner(self, measure: Measure) -> str | None:
        """Return the method that is surely the best, None if none is.

        It has the best mean, and its paired interval against the runner-up excludes 0.
        """
        order = self.order(measure)
        if not measure.better or len(order) < 2:
            return None
        best, second = order[:2]
        values = self.values(measure.key)
        return best if paired(values[best], values[second]).excludes(0.0) else None

    @cached_property
    def varied(self) -> list[str]:
        """The flags in which methods differ."""
        names = dict.fromkeys(name for run in self.runs for name in run.job.flags)
        varied = []
        for name in names:
            values = {json.dumps(run.job.flags.get(name)) for run in self.runs}
            if len(values) > 1 and name not in ("seed", "data_dir"):
                varied.append(name)
        return varied


def collect(out: str | Path) -> Results:
    """Return everything that a study's folder holds so far.

    Raises:
        FileNotFoundError: If it is no study's folder.
        ValueError: If a file in it is damaged.
    """
    folder = Path(out)
    jobs = work.jobs_of(folder)
    runs: list[Run] = []
    found: dict[str, Measure] = {}
    for job in jobs:
        state, here = work.state(job, folder), folder / job.key
        config = run_config.read(here) if (here / run_config.FILE).exists() else {}
        scores = read_scores(here) if state == "finished" else Scores()
        held = _measured(config, scores) if state == "finished" else []
        values = {measure.key: value for measure, value in held}
        runs.append(Run(job, state, values, config, scores))
        for measure, _ in held:
            found.setdefault(measure.key, measure)
    study = read_json(folder / "study.json")
    failed = tuple(work.failures(jobs, folder))
    return Results(folder, study, tuple(runs), tuple(found.values()), failed)


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
    """Return the decimals that suit a column of means.

    They show two digits of a typical half width, within what suits the size of the means. Where
    nothing has a half width, the size decides.

    >>> wide, narrow = Estimate(-97.1, 2.0, 2.5, 5), Estimate(0.5, 0.1, 0.023, 5)
    >>> digits([narrow]), digits([wide]), digits([Estimate(0.5, None, None, 1)])
    (3, 1, 3)
    >>> digits([Estimate(0.0163, 0.0005, 0.0006, 5)])  # a rate of errors
    4
    """
    size = max((abs(e.mean) for e in estimates if e.mean is not None), default=0.0)
    if size < 0.1:
        least, most = 2, 4
    elif size < 10:
        least, most = 2, 3
    elif size < 1000:
        least, most = 1, 2
    else:
        least, most = 0, 0
    halves = sorted(e.half for e in estimates if e.half)
    if halves:
        typical = halves[len(halves) // 2]
        wanted = 1 - math.floor(math.log10(typical))
    else:
        wanted = 3 if size < 10 else 1
    return min(max(least, wanted), most)


def text(e: Estimate, decimals: int) -> str:
    """Return a mean ± its half width, the mean alone without one, or a dash.

    >>> text(Estimate(-0.5, 0.1, 0.02, 5), 3), text(Estimate(0.5, None, None, 1), 2)
    ('−0.500 ± 0.020', '0.50')
    """
    if e.mean is None:
        return "–"
    rounded = round(e.mean, decimals) + 0.0  # no minus before a zero
    mean = f"{rounded:.{decimals}f}".replace("-", "−")
    return mean if e.half is None else f"{mean} ± {e.half:.{decimals}f}"


def summary(out: str | Path) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return the heads and rows of a table for the terminal.

    A row has a method, its finished runs, and the means of the headline scores ± half widths of
    their 95 % intervals over seeds.
    """
    return _summary(collect(out))


def _summary(results: Results) -> tuple[list[str], list[tuple[str, ...]]]:
    names = [f"{measure.name} {measure.arrow}".strip() for measure in results.headline]
    columns = [_column(results, measure) for measure in results.headline]
    all_runs = [run.job.method for run in results.runs]
    rows = []
    for method in results.methods:
        runs = f"{len(results.of(method))}/{all_runs.count(method)}"
        rows.append((method, runs, *(column[method] for column in columns)))
    return ["method", "runs", *names], rows


def _column(results: Results, measure: Measure) -> dict[str, str]:
    estimates = results.estimates(measure.key)
    decimals = digits(list(estimates.values()))
    return {method: text(e, decimals) for method, e in estimates.items()}


def markdown(out: str | Path) -> str:
    """Return the same as a Markdown table, with winners in bold (see `Results.winner`)."""
    results = collect(out)
    winners = [None, None, *(results.winner(measure) for measure in results.headline)]
    heads, rows = _summary(results)
    lines = [_line(heads), _line(["---", *["--:"] * (len(heads) - 1)])]
    for row in rows:
        cells = list(row)
        for place, winner in enumerate(winners):
            if winner == row[0]:
                cells[place] = f"**{row[place]}**"
        lines.append(_line(cells))
    return "\n".join([*lines, "", caption(results), ""])


def _line(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"


def caption(results: Results) -> str:
    """Return what a reader of the table needs to know, the command included."""
    count = len(results.seeds)
    seeds = "1 seed" if count == 1 else f"{count} seeds"
    return (
        f"Means over {seeds} ± half the width of the 95 % interval (Student's t); bold where the "
        "best is ahead of the runner-up by a paired interval that excludes 0, one comparison at a "
        f"time. Made by `{command(results)}`."
    )


def command(results: Results) -> str:
    """Return the command that repeats a study.

    It names the study if the package has it as it was run, else its study.json.
    """
    source = f"{results.folder.name}/study.json"
    name = str(results.study["name"])
    if name in grid.names():
        shipped = {job.key for job in grid.read(name).jobs()}
        if shipped == {run.job.key for run in results.runs}:
            source = name
    return shlex.join(["unweave", "study", source])


# -- files -----------------------------------------------------------------------------------------


def write_csv(results: Results) -> tuple[Path, Path]:
    """Write study.csv, a row a run, and study_scores.csv, which explains its columns of scores."""
    varied = results.varied
    keys = [measure.key for measure in results.measures]
    runs: list[Sequence[Any]] = [["method", "seed", "key", "state", *varied, *keys]]
    for run in results.runs:
        flags = [run.job.flags.get(name) for name in varied]
        values = [run.values.get(key, "") for key in keys]
        runs.append([run.job.method, run.job.seed, run.job.key, run.state, *flags, *values])
    scores: list[Sequence[Any]] = [["score", "name", "convention", "lowest", "highest", "better"]]
    words = {1: "more", -1: "less", 0: "neither"}
    for m in results.measures:
        ends = ["" if end is None else end for end in m.range]
        scores.append([m.key, m.name, m.convention, *ends, words[m.better]])
    folder = results.folder
    return _write(folder / "study.csv", runs), _write(folder / "study_scores.csv", scores)


def _write(path: Path, rows: Sequence[Sequence[Any]]) -> Path:
    buffer = io.StringIO()
    csv.writer(buffer, lineterminator="\n").writerows(rows)
    with replacing(path) as draft:
        draft.write_text(buffer.getvalue(), encoding="utf-8")
    return path
