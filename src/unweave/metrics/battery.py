"""The metrics that need only arrays, by name, and their scores one after the other."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from functools import partial, wraps
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from .infomec import info_compactness, info_explicitness, info_modularity
from .information import dcimig, jemmig, mig, mig_sup, modularity
from .interventions import beta_vae_score, factor_vae_score, irs
from .probes import linear_probe, neighbour_probe
from .regressors import dci, explicitness
from .score import Score, halves, paired, within
from .separation import sap
from .sharing import sharing
from .unsupervised import (
    gaussian_total_correlation,
    gaussian_wasserstein_correlation,
    pairwise_information,
)

Metric = Callable[..., Score]


def of_codes(metric: Metric) -> Metric:
    """Make a metric of codes alone take factors too, which it ignores."""

    @wraps(metric)
    def heedless(codes: ArrayLike, factors: ArrayLike, **settings: Any) -> Score:
        return metric(codes, **settings)

    return heedless


@wraps(dci)
def quick_dci(
    codes: ArrayLike, factors: ArrayLike, *, estimator: str = "lightgbm", **settings: Any
) -> Score:
    # scikit-learn's boosting takes minutes
    return dci(codes, factors, estimator=estimator, **settings)


METRICS: dict[str, Metric] = {
    "mig": mig,
    "mig_sup": mig_sup,
    "dcimig": dcimig,
    "jemmig": jemmig,
    "dci": quick_dci,
    "sap": sap,
    "modularity": modularity,
    "explicitness": explicitness,
    "irs": irs,
    "factor_vae_score": factor_vae_score,
    "beta_vae_score": beta_vae_score,
    "info_modularity": info_modularity,
    "info_compactness": info_compactness,
    "info_explicitness": info_explicitness,
    "linear_probe": linear_probe,
    "neighbour_probe": neighbour_probe,
    "gaussian_total_correlation": of_codes(gaussian_total_correlation),
    "gaussian_wasserstein_correlation": of_codes(gaussian_wasserstein_correlation),
    "pairwise_information": of_codes(pairwise_information),
}
"""The metrics in the order of `scores`: those of codes for factors, then those of codes alone."""

SLOW = frozenset(
    {
        "dci",
        "explicitness",
        "factor_vae_score",
        "beta_vae_score",
        "info_explicitness",
        "linear_probe",
        "neighbour_probe",
    }
)
"""Metrics that fit models or draw votes: an interval, a hundred of them, would take too long."""


def scores(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    which: Sequence[str] | None = None,
    level: float | None = None,
    resamples: int = 100,
    seed: int = 0,
    **settings: Any,
) -> list[Score]:
    """Compute the scores of codes against factors, in the order that `which` asks for.

    Args:
        codes: (n, codes), see `paired`.
        factors: (n, factors), see `paired`.
        which: Names in `METRICS`; all if None.
        level: Level of the intervals by `bootstrap`; None for no intervals. Metrics in `SLOW` get
            no interval, and their notes say so.
        resamples: Number of resamples that `bootstrap` draws.
        seed: Seed of the draws that metrics and intervals make.
        settings: Keyword arguments such as `bins` or `convention`. Each goes to the metrics that
            take it.

    Returns:
        A score for each metric. A metric that cannot be computed on these arrays scores NaN under
        its name in `METRICS`, with the reason in `notes`.

    Raises:
        ValueError: If `paired` refuses the arrays.
        KeyError: If a name is not in `METRICS`; the error lists the names that are.
        TypeError: If no metric takes a setting.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    >>> [print(score) for score in scores(v, v, which=["mig", "modularity"])]
    MIG 1.000, convention disentanglement_lib, 20 bins
    modularity 1.000, convention disentanglement_lib, 20 bins
    [None, None]
    """
    asked = list(METRICS if which is None else which)
    unknown = [name for name in asked if name not in METRICS]
    if unknown:
        raise KeyError(
            f"no metric is called {', '.join(map(repr, unknown))}; there are: {', '.join(METRICS)}"
        )
    taken = {name: _settings(metric) for name, metric in METRICS.items()}
    surplus = set(settings).difference(*taken.values())
    if surplus:
        raise TypeError(f"no metric takes {', '.join(sorted(surplus))}")
    z, v = np.asarray(codes), np.asarray(factors)
    paired(z, v)
    given = {"seed": seed} | settings
    metrics = {}
    for name in asked:
        own = {key: value for key, value in given.items() if key in taken[name]}
        metrics[name] = partial(METRICS[name], **own)
    found = _values(metrics, z, v)
    if level is not None:
        found = _with_intervals(metrics, found, z, v, level, resamples, seed)
    return [found[name] for name in asked]


def _values(
    metrics: Mapping[str, Metric], codes: NDArray[Any], factors: NDArray[Any]
) -> dict[str, Score]:
    """Compute metrics that share their work; one that is refused is NaN, with the reason."""
    found = {}
    with sharing():
        for name, metric in metrics.items():
            try:
                found[name] = metric(codes, factors)
            except ValueError as error:
                found[name] = _refused(name, error)
    return found


def _refused(name: str, error: ValueError) -> Score:
    return Score(name, np.nan, "none", (-np.inf, np.inf), notes=(str(error),))


def _with_intervals(
    metrics: Mapping[str, Metric],
    whole: Mapping[str, Score],
    codes: NDArray[Any],
    factors: NDArray[Any],
    level: float,
    resamples: int,
    seed: int,
) -> dict[str, Score]:
    """Return scores with intervals by `bootstrap`, from halves that all metrics share."""
    found = dict(whole)
    values: dict[str, list[float]] = {}
    for name, score in whole.items():
        if score.convention == "none":
            continue
        if name in SLOW:
            note = f"no interval: {name} takes too long for {resamples} resamples"
            found[name] = replace(score, notes=(*score.notes, note))
        else:
            values[name] = []
    for half in halves(len(codes), resamples, seed) if values else ():
        of_half = _values({name: metrics[name] for name in values}, codes[half], factors[half])
        for name, score in of_half.items():
            if score.convention == "none":  # half of the items are too few
                found[name] = score
                del values[name]
            else:
                values[name].append(score.value)
    for name, of_halves in values.items():
        found[name] = within(whole[name], of_halves, level)
    return found


def question(name: str) -> str:
    """Return the question that a metric asks of codes: the first line of its docstring.

    >>> question("mig")
    'Mutual information gap: is each factor in one code, and in no second one?'
    """
    return (METRICS[name].__doc__ or "").strip().partition("\n")[0]


def _settings(metric: Metric) -> list[str]:
    parameters = inspect.signature(metric).parameters.values()
    return [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
