"""All metrics that need only arrays, by name, computed one after the other."""

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
    """A metric of codes alone, as one that is given factors too."""

    @wraps(metric)
    def heedless(codes: ArrayLike, factors: ArrayLike, **settings: Any) -> Score:
        return metric(codes, **settings)

    return heedless


@wraps(dci)
def quick_dci(
    codes: ArrayLike, factors: ArrayLike, *, estimator: str = "lightgbm", **settings: Any
) -> Score:
    return dci(
        codes, factors, estimator=estimator, **settings
    )  # scikit-learn's boosting takes minutes


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
"""In the order of `scores`: what is asked of codes for factors, then of codes alone."""

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
"""Those that fit models or draw votes, too long to do a hundred times over for an interval."""


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
    """The scores of codes (n, codes) against factors (n, factors), see `paired`, in the order asked
    for.

    Args:
        codes: (n, codes). factors: (n, factors). which: Names in `METRICS`; all if None. level: Of
        intervals by `bootstrap`; None for none. Metrics in `SLOW` have none, and their notes say
        so. resamples: Of `bootstrap`. seed: Of what metrics and intervals draw. settings: Keyword
        arguments such as `bins` or `convention`, given to those of the metrics that take them.

    Returns:
        A score a metric. One that cannot be computed on these arrays is NaN under its name in
        `METRICS`, with the reason in `notes`.

    Raises:
        ValueError: As `paired`.
        KeyError: For names that are not in `METRICS`, with those that are.
        TypeError: For settings that no metric takes.

    >>> v = np.array([[0, 0], [0, 1], [1, 0], [1, 1]] * 5)
    >>> [print(score) for score in scores(v, v, which=["mig", "modularity"])]
    MIG 1.000, convention disentanglement_lib, 20 bins
    modularity 1.000, convention disentanglement_lib, 20 bins
    [None, None]
    """
    asked = list(METRICS if which is None else which)
    if unknown := [name for name in asked if name not in METRICS]:
        raise KeyError(
            f"no metric is called {', '.join(map(repr, unknown))}; there are: {', '.join(METRICS)}"
        )
    taken = {name: _settings(metric) for name, metric in METRICS.items()}
    if surplus := set(settings) - {key for keys in taken.values() for key in keys}:
        raise TypeError(f"no metric takes {', '.join(sorted(surplus))}")
    paired(codes, factors)
    z, v = np.asarray(codes), np.asarray(factors)
    given = {"seed": seed} | settings
    return [
        _score(
            name,
            z,
            v,
            level,
            resamples,
            seed,
            {key: given[key] for key in given if key in taken[name]},
        )
        for name in asked
    ]


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
            return _noted(
                metric(codes, factors),
                f"no interval: {name} takes too long for {resamples} resamples",
            )
        return bootstrap(metric, codes, factors, level=level, resamples=resamples, seed=seed)
    except ValueError as error:
        return Score(name, np.nan, "none", (-np.inf, np.inf), notes=(str(error),))


def question(name: str) -> str:
    """What a metric asks of codes, in a line: the first of its docstring.

    >>> question("mig")
    'Mutual information gap: is each factor in one code, and in no second one?'
    """
    return (METRICS[name].__doc__ or "").strip().partition("\n")[0]


def _settings(metric: Metric) -> list[str]:
    return [
        p.name for p in inspect.signature(metric).parameters.values() if p.kind == p.KEYWORD_ONLY
    ]


def _noted(score: Score, note: str) -> Score:
    return replace(score, notes=(*score.notes, note))
