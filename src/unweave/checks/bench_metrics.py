"""Metrics beside the same work done as disentanglement_lib does it, interleaved in one process, as
ratios.

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
from rich.console import Console
from rich.table import Table
from sklearn.ensemble import GradientBoostingClassifier
from sklearn.metrics import mutual_info_score
from sklearn.svm import LinearSVC

from ..metrics import dci, irs, mig, modularity, sap
from ..metrics.probes import held_out

Floats = NDArray[np.float64]
Classes = NDArray[np.int64]
GOAL = 10.0
"""How many times faster than the reference each metric is meant to be."""

TREES, TIMED_TREES = 100, 2
"""Boosting is timed with few trees and scaled to the hundred of scikit-learn's default: its cost is
one per tree.
"""


@dataclass(frozen=True)
class Match:
    """A metric, the same by the reference, and how far apart their values may be: None if they are
    defined apart.
    """

    name: str
    ours: Callable[[], float]
    theirs: Callable[[], float]
    within: float | None
    scale: float = 1.0


def metrics(quick: bool = False) -> dict[str, float]:
    """Prints how many times faster each metric is than the reference; returns the medians.

    The codes are 10,000 × 10 (`quick`: 2,000 × 6), half of them factors with noise; the factors
    have dSprites' 3, 6, 40, 32 and 32 values.

    Raises:
        ValueError: If a value that is defined alike differs.
    """
    z, v = arrays(2000, 6) if quick else arrays(10_000, 10)
    console = Console()
    console.print(
        f"metrics of {z.shape[0]} × {z.shape[1]} codes, factors of "
        f"{', '.join(str(c.max() + 1) for c in v.T)} values\nnumpy {np.__version__}, scikit-learn "
        f"{sklearn.__version__}, {os.cpu_count()} cores, one thread",
        highlight=False,
    )
    table = Table(
        "metric",
        "unweave ms",
        "as disentanglement_lib ms",
        "times faster",
        "goal",
        "values",
        box=None,
    )
    ratios = {}
    for match in matches(z, v):
        difference = abs(match.ours() - match.theirs())
        if match.within is not None and not difference <= match.within:
            raise ValueError(
                f"{match.name} differs from the reference by {difference:.2g}, above "
                f"{match.within:.0e}"
            )
        ours, theirs = interleaved(match.ours, match.theirs, 3 if quick else 5)
        theirs = [t * match.scale for t in theirs]
        ratios[match.name] = statistics.median(b / a for a, b in zip(ours, theirs, strict=True))
        said = (
            f"equal to {difference:.0e}"
            if match.within is not None
            else f"apart by {difference:.3f}"
        )
        said = "not compared" if match.scale > 1 else said
        verdict = "pass" if ratios[match.name] >= GOAL else "fail"
        table.add_row(
            match.name,
            f"{1e3 * statistics.median(ours):.1f}",
            f"{1e3 * statistics.median(theirs):.0f}",
            f"{ratios[match.name]:.1f}",
            verdict,
            said,
        )
    console.print(table)
    console.print(
        f"CPU time, medians of interleaved repetitions; the goal is {GOAL:.0f} times; load "
        f"{os.getloadavg()[0]:.2f}",
        highlight=False,
    )
    return ratios


def arrays(n: int, n_codes: int, seed: int = 0) -> tuple[Floats, Classes]:
    """Codes of which the first five are factors with noise, and factors like those of dSprites."""
    rng = np.random.default_rng(seed)
    v = np.stack([rng.integers(0, values, n) for values in (3, 6, 40, 32, 32)], 1)
    z = rng.normal(size=(n, n_codes))
    z[:, :5] += v / v.std(0) * (3, 2, 1.5, 1, 0.5)
    return z, v


def matches(z: Floats, v: Classes) -> list[Match]:
    """The comparisons; boosting on 2,000 items and the two factors of fewest values, as it takes
    minutes otherwise.
    """
    small, few, hidden = z[:2000], v[:2000, :2], held_out(len(z), 1 / 3, 0)
    return [
        Match("MIG", lambda: mig(z, v).value, lambda: loop_mig(z, v), 1e-10),
        Match("modularity", lambda: modularity(z, v).value, lambda: loop_modularity(z, v), 1e-10),
        Match("SAP", lambda: sap(z, v).value, lambda: loop_sap(z, v, hidden), None),
        Match("IRS", lambda: irs(z, v).value, lambda: loop_irs(z, v), 1e-10),
        Match(
            f"DCI by LightGBM, 2,000 items, 2 factors; theirs of {TREES} trees, scaled from "
            f"{TIMED_TREES}",
            lambda: dci(small, few, estimator="lightgbm").value,
            lambda: loop_boosting(small, few, TIMED_TREES),
            None,
            TREES / TIMED_TREES,
        ),
    ]


def interleaved(
    ours: Callable[[], Any], theirs: Callable[[], Any], repeats: int
) -> tuple[list[float], list[float]]:
    """CPU seconds of each call; ours, which is short, the mean of five in a row."""
    times: tuple[list[float], list[float]] = ([], [])
    for _ in range(repeats):
        for place, (work, often) in enumerate(((ours, 5), (theirs, 1))):
            before = time.process_time()
            for _ in range(often):
                work()
            times[place].append((time.process_time() - before) / often)
    return times


def loop_information(z: Floats, v: Classes) -> Floats:
    """(codes, factors), by a call for each pair on codes cut by `np.histogram`'s edges."""
    mutual = np.zeros((z.shape[1], v.shape[1]))
    for j, code in enumerate(z.T):
        cut = np.digitize(code, np.histogram(code, 20)[1][:-1])
        for k, factor in enumerate(v.T):
            mutual[j, k] = mutual_info_score(factor, cut)
    return mutual


def loop_mig(z: Floats, v: Classes) -> float:
    ordered = np.sort(loop_information(z, v), 0)
    entropies = [mutual_info_score(factor, factor) for factor in v.T]
    return float(np.mean((ordered[-1] - ordered[-2]) / entropies))


def loop_modularity(z: Floats, v: Classes) -> float:
    squares = loop_information(z, v) ** 2
    most = squares.max(1)
    return float(np.mean(1 - (squares.sum(1) - most) / (most * (v.shape[1] - 1))))


def loop_sap(z: Floats, v: Classes, hidden: NDArray[np.bool_]) -> float:
    """A classifier for each pair; it stops at liblinear's tolerance, so that a few items may fall
    on the other side.
    """
    accuracy = np.zeros((z.shape[1], v.shape[1]))
    for j in range(z.shape[1]):
        for k in range(v.shape[1]):
            model = LinearSVC(C=0.01, class_weight="balanced").fit(
                z[~hidden, j : j + 1], v[~hidden, k]
            )
            accuracy[j, k] = np.mean(model.predict(z[hidden, j : j + 1]) == v[hidden, k])
    ordered = np.sort(accuracy, 0)
    return float(np.mean(ordered[-1] - ordered[-2]))


def loop_irs(z: Floats, v: Classes) -> float:
    """With factors cut into 20 cells, as the library's settings have it."""
    deviations, widest = np.zeros((z.shape[1], v.shape[1])), np.abs(z - z.mean(0)).max(0)
    for k, factor in enumerate(v.T):
        cut = np.digitize(factor, np.histogram(factor, 20)[1][:-1])
        for value in np.unique(cut):
            here = z[cut == value]
            deviations[:, k] += np.quantile(np.abs(here - here.mean(0)), 0.99, axis=0)
        deviations[:, k] /= len(np.unique(cut))
    return float(np.average((1 - deviations / widest[:, None]).max(1), weights=widest))


def loop_boosting(z: Floats, v: Classes, trees: int) -> float:
    """DCI's disentanglement by scikit-learn's boosting, a model for each factor on two thirds of
    the items.
    """
    fit = len(z) * 2 // 3
    importance = np.stack(
        [
            GradientBoostingClassifier(n_estimators=trees)
            .fit(z[:fit], k[:fit])
            .feature_importances_
            for k in v.T
        ],
        1,
    )
    rows = (importance + 1e-11) / (importance + 1e-11).sum(1, keepdims=True)
    each = 1 + (rows * np.log(rows)).sum(1) / np.log(v.shape[1])
    return float((each * importance.sum(1)).sum() / importance.sum())
