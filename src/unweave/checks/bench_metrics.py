"""Metrics beside the same work done as disentanglement_lib does it, as ratios of times.

The references are written out here in that library's manner: a scikit-learn call for each code and
factor, a loop for each value of a factor. Values are compared before times are.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import sklearn
from numpy.typing import NDArray
from rich.table import Table
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from .. import terminal
from ..metrics import battery, dci, irs, mig, modularity, sap
from ..metrics.probes import held_out
from .timing import load, verdict

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]
GOAL = 10.0
"""The times by which each metric is meant to be faster than the reference."""

BATTERY_GOAL = 12.0
"""The seconds that all metrics are meant to take, with intervals where there are any."""

QUICK = [name for name in battery.METRICS if name not in battery.SLOW]
"""Metrics that get intervals."""

TREES, TIMED_TREES = 100, 2
"""Trees of scikit-learn's default, and those that are timed: each tree costs the same."""


@dataclass(frozen=True)
class Match:
    """A metric, and the same by the reference.

    Args:
        name: The metric's name.
        ours: Our computation.
        theirs: The reference's.
        within: How far apart their values may be; None if they are defined differently.
        scale: The factor by which the reference's time is multiplied.
    """

    name: str
    ours: Callable[[], float]
    theirs: Callable[[], float]
    within: float | None
    scale: float = 1.0

    def difference(self) -> float:
        """Return how far apart the values are.

        Raises:
            ValueError: If that is too far.
        """
        difference = abs(self.ours() - self.theirs())
        if self.within is not None and not difference <= self.within:
            raise ValueError(
                f"{self.name} differs from the reference by {difference:.2g}, above "
                f"{self.within:.0e}"
            )
        return difference

    def compared(self, difference: float) -> str:
        """Return what a difference says of the values."""
        if self.scale > 1:
            return "not compared"
        if self.within is None:
            return f"apart by {difference:.3f}"
        return f"equal to {difference:.0e}"


def metrics(quick: bool = False) -> dict[str, float]:
    """Print how many times faster each metric is than the reference; return the medians.

    The codes are 10,000 × 10 (`quick`: 2,000 × 6), half of them factors with noise; the factors
    have dSprites' 3, 6, 40, 32 and 32 values.

    Raises:
        ValueError: If a value that is defined alike differs.
    """
    z, v = arrays(2000, 6) if quick else arrays(10_000, 10)
    console = terminal.console()
    values = ", ".join(str(count) for count in v.max(0) + 1)
    console.print(
        f"metrics of {z.shape[0]} × {z.shape[1]} codes, factors of {values} values\n"
        f"numpy {np.__version__}, scikit-learn {sklearn.__version__}, {os.cpu_count()} cores, one "
        "thread",
        highlight=False,
    )
    heads = ("metric", "unweave ms", "as disentanglement_lib ms", "times faster", "goal", "values")
    table = Table(*heads, box=None)
    medians = {}
    for match in matches(z, v):
        difference = match.difference()
        ours, theirs = interleaved(match.ours, match.theirs, 3 if quick else 5)
        theirs = [seconds * match.scale for seconds in theirs]
        faster = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        medians[match.name] = faster
        table.add_row(
            match.name,
            f"{1e3 * statistics.median(ours):.1f}",
            f"{1e3 * statistics.median(theirs):.0f}",
            f"{faster:.1f}",
            verdict(faster >= GOAL),
            match.compared(difference),
        )
    console.print(table)
    console.print(
        f"CPU time, medians of interleaved repetitions; the goal is {GOAL:.0f} times; load "
        f"{load():.2f}",
        highlight=False,
    )
    return medians


def together(quick: bool = False) -> float:
    """Print the seconds that `battery.scores` takes for all metrics with intervals; return them.

    Codes and factors are those of `metrics`.
    """
    z, v = arrays(2000, 6) if quick else arrays(10_000, 10)
    console = terminal.console()
    all_of_them = _seconds(lambda: battery.scores(z, v, level=0.95), 1)
    said = "" if quick else f", goal {BATTERY_GOAL:g} s: {verdict(all_of_them <= BATTERY_GOAL)}"
    console.print(
        f"{len(battery.METRICS)} metrics of {z.shape[0]} × {z.shape[1]} codes, intervals by 100 "
        f"halves where there are any: {all_of_them:.1f} s of CPU{said}",
        highlight=False,
    )
    shared = _shared(z, v, 5 if quick else 20)
    console.print(
        f"those with intervals, by {5 if quick else 20} halves: one by one {shared:.1f} times as "
        f"long as together; load {load():.2f}",
        highlight=False,
    )
    return all_of_them


def _shared(z: Floats, v: Classes, resamples: int) -> float:
    """Return how many times as long metrics take one by one as they do together."""

    def together() -> None:
        battery.scores(z, v, which=QUICK, level=0.95, resamples=resamples)

    def one_by_one() -> None:
        for name in QUICK:
            battery.scores(z, v, which=[name], level=0.95, resamples=resamples)

    return _seconds(one_by_one, 1) / _seconds(together, 1)


def arrays(n: int, n_codes: int, seed: int = 0) -> tuple[Floats, Classes]:
    """Return codes and factors like those of dSprites; five codes are factors with noise."""
    rng = np.random.default_rng(seed)
    v = np.stack([rng.integers(0, values, n) for values in (3, 6, 40, 32, 32)], 1)
    z = rng.normal(size=(n, n_codes))
    z[:, :5] += v / v.std(0) * (3, 2, 1.5, 1, 0.5)
    return z, v


def matches(z: Floats, v: Classes) -> list[Match]:
    """Return the comparisons.

    Boosting takes minutes; it is compared on 2,000 items and the two factors of fewest values.
    """
    small, few = z[:2000], v[:2000, :2]
    hidden = held_out(len(z), 1 / 3, 0)
    boosting = (
        f"DCI by LightGBM, 2,000 items, 2 factors; theirs of {TREES} trees, scaled from "
        f"{TIMED_TREES}"
    )
    return [
        Match("MIG", lambda: mig(z, v).value, lambda: loop_mig(z, v), 1e-10),
        Match("modularity", lambda: modularity(z, v).value, lambda: loop_modularity(z, v), 1e-10),
        Match("SAP", lambda: sap(z, v).value, lambda: loop_sap(z, v, hidden), None),
        Match("IRS", lambda: irs(z, v).value, lambda: loop_irs(z, v), 1e-10),
        Match(
            boosting,
            lambda: dci(small, few, estimator="lightgbm").value,
            lambda: loop_boosting(small, few, TIMED_TREES),
            None,
            TREES / TIMED_TREES,
        ),
    ]


def interleaved(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int
) -> tuple[list[float], list[float]]:
    """Return CPU seconds of each call; ours, which is short, is the mean of five in a row."""
    seconds_of_ours, seconds_of_theirs = [], []
    for _ in range(repeats):
        seconds_of_ours.append(_seconds(ours, 5))
        seconds_of_theirs.append(_seconds(theirs, 1))
    return seconds_of_ours, seconds_of_theirs


def _seconds(work: Callable[[], Any], often: int) -> float:
    before = time.process_time()
    for _ in range(often):
        work()
    return (time.process_time() - before) / often


# -- the references --------------------------------------------------------------------------------


def loop_information(z: Floats, v: Classes) -> Floats:
    """Compute information (codes, factors), by a call for each pair on codes cut into cells."""
    mutual = np.zeros((z.shape[1], v.shape[1]))
    for j, code in enumerate(z.T):
        cut = np.digitize(code, np.histogram(code, 20)[1][:-1])
        for k, factor in enumerate(v.T):
            mutual[j, k] = mutual_info_score(factor, cut)
    return mutual


def loop_mig(z: Floats, v: Classes) -> float:
    """Compute the mutual information gap."""
    ordered = np.sort(loop_information(z, v), 0)
    entropies = [mutual_info_score(factor, factor) for factor in v.T]
    return float(np.mean((ordered[-1] - ordered[-2]) / entropies))


def loop_modularity(z: Floats, v: Classes) -> float:
    """Compute modularity."""
    squares = loop_information(z, v) ** 2
    most = squares.max(1)
    return float(np.mean(1 - (squares.sum(1) - most) / (most * (v.shape[1] - 1))))


def loop_sap(z: Floats, v: Classes, hidden: NDArray[np.bool_]) -> float:
    """Compute SAP by a classifier for each pair.

    It stops at liblinear's tolerance, so that a few items may fall on the other side.
    """
    accuracy = np.zeros((z.shape[1], v.shape[1]))
    for j in range(z.shape[1]):
        for k in range(v.shape[1]):
            code, factor = z[:, j : j + 1], v[:, k]
            model = LinearSVC(C=0.01, class_weight="balanced")
            model.fit(code[~hidden], factor[~hidden])
            accuracy[j, k] = np.mean(model.predict(code[hidden]) == factor[hidden])
    ordered = np.sort(accuracy, 0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def loop_irs(z: Floats, v: Classes) -> float:
    """Compute IRS with factors cut into 20 cells, as the library's settings have it."""
    deviations = np.zeros((z.shape[1], v.shape[1]))
    widest = np.abs(z - z.mean(0)).max(0)  # (codes,)
    for k, factor in enumerate(v.T):
        cut = np.digitize(factor, np.histogram(factor, 20)[1][:-1])
        for value in np.unique(cut):
            here = z[cut == value]
            deviations[:, k] += np.quantile(np.abs(here - here.mean(0)), 0.99, axis=0)
        deviations[:, k] /= len(np.unique(cut))
    return float(np.average((1 - deviations / widest[:, None]).max(1), weights=widest))


def loop_boosting(z: Floats, v: Classes, trees: int) -> float:
    """Compute DCI's disentanglement by a boosted model a factor, on two thirds of the items."""
    fit = len(z) * 2 // 3
    columns = []
    for factor in v.T:
        model = GradientBoostingClassifier(n_estimators=trees)
        model.fit(z[:fit], factor[:fit])
        columns.append(model.feature_importances_)
    importance = np.stack(columns, 1)  # (codes, factors)
    rows = (importance + 1e-11) / (importance + 1e-11).sum(1, keepdims=True)
    each = 1 + (rows * np.log(rows)).sum(1) / np.log(v.shape[1])
    return float((each * importance.sum(1)).sum() / importance.sum())
