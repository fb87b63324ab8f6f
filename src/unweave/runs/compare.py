"""Runs side by side: their scores in one table, and means over seeds."""

from __future__ import annotations

import math
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from . import config, measures
from .scores import Scores
from .scores import read as read_scores

KINDS = (
    measures.test,
    measures.exact,
    measures.minibatch,
    measures.information,
    measures.class_information,
    measures.conditional_entropy,
    measures.discrete_information,
    measures.error,
    measures.accuracy,
)
"""The kinds of measures that a table has, in its order."""


def table(runs: Sequence[str | Path]) -> tuple[list[str], list[tuple[str, ...]]]:
    """Return column heads, and a row a score: its value in each run, then mean and spread.

    Scores are nats per item (accuracies and errors are shares); a run's own standard error stands
    in its report.
    """
    scores = [_values(config.read(run), read_scores(run)) for run in runs]
    names: dict[str, None] = {}
    for held in scores:
        names |= dict.fromkeys(held)
    rows: list[tuple[str, ...]] = []
    for name in names:
        values = [held.get(name, math.nan) for held in scores]
        cells = [f"{value:.3f}" for value in values]
        rows.append((name, *cells, _spread(values)))
    return ["score", *(Path(run).name for run in runs), "mean ± sd"], rows


def _values(settings: Mapping[str, Any], scores: Scores) -> dict[str, float]:
    """Return every score of a run by a name that means the same in another."""
    values = {"seconds": math.nan}
    for kind in (measures.seconds(settings), *(kind(scores) for kind in KINDS)):
        for measure, mean in kind:
            values[measure.row] = float(mean.value)
    return values


def _spread(values: Sequence[float]) -> str:
    """Return mean ± standard deviation, nothing for one run or if one lacks the score."""
    if len(values) == 1 or not all(map(math.isfinite, values)):
        return ""
    return f"{statistics.mean(values):.3f} ± {statistics.stdev(values):.3f}"
