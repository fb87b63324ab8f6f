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
from .score import Score, bootstrap, paired
from .separation import sap
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
    paired(codes, factors)
    z, v = np.asarray(codes), np.asarray(factors)
    given = {"seed": seed} | settings
    found = []
    for name in asked:
        own = {key: value for key, value in given.items() if key in taken[name]}
        found.append(_score(name, z, v, level, resamples, seed, own))
    return found


def _score(
    name: str,
    codes: NDArray[Any],
    factors: NDArray[Any],
    level: float | None,
    resamples: int,
    seed: int,
    settings: Mapping[str, Any],
) -> Score:
    metric = partial(METRICS[name], **settings)
    try:
        if level is None:
            return metric(codes, factors)
        if name in SLOW:
            score = metric(codes, factors)
            note = f"no interval: {name} takes too long for {resamples} resamples"
            return replace(score, notes=(*score.notes, note))
        return bootstrap(metric, codes, factors, level=level, resamples=resamples, seed=seed)
    except ValueError as error:
        return Score(name, np.nan, "none", (-np.inf, np.inf), notes=(str(error),))


def question(name: str) -> str:
    """Return the question that a metric asks of codes: the first line of its docstring.

    >>> question("mig")
    'Mutual information gap: is each factor in one code, and in no second one?'
    """
    return (METRICS[name].__doc__ or "").strip().partition("\n")[0]


def _settings(metric: Metric) -> list[str]:
    parameters = inspect.signature(metric).parameters.values()
    return [p.name for p in parameters if p.kind == p.KEYWORD_ONLY]
