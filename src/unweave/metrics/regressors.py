r"""How predictors of the factors use the codes: DCI and explicitness.

DCI fits one predictor a factor and reads off R_jk ≥ 0, how important code j is to the prediction of
factor k. Which predictor it is decides the values: scores of two predictors must not be compared.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.stats import entropy, rankdata
from sklearn.ensemble import GradientBoostingClassifier, RandomForestRegressor
from sklearn.linear_model import Lasso
from sklearn.utils.parallel import Parallel, delayed

from .probes import STEPS, held_out, logistic, split, standardised
from .score import Score, paired

Floats: TypeAlias = NDArray[np.float64]


def dci(
    codes: ArrayLike,
    factors: ArrayLike,
    *,
    part: str = "disentanglement",
    estimator: str = "gradient boosting",
    test: float = 1 / 3,
    seed: int = 0,
    jobs: int = 1,
) -> Score:
    r"""DCI: is each code used to predict one factor, is each factor predicted from one code, and
    how well?

    .. math:: D = \sum_j \frac{\sum_k R_{jk}}{\sum_{jk} R_{jk}} \left( 1 - H_{|K|}(R_{j \cdot}) \right), \qquad
        C = \sum_k \frac{\sum_j R_{jk}}{\sum_{jk} R_{jk}} \left( 1 - H_{|J|}(R_{\cdot k}) \right)

    with H_b the entropy to base b of what is proportional to its argument. Informativeness I is the
    mean over factors of the accuracy on held-out items.

    Args:
        codes: (n, codes). factors: (n, factors), see `paired`. part: Which of "disentanglement",
        "completeness", "informativeness" is the score's value; `parts` has all. estimator:
        "gradient boosting" is scikit-learn's classifier, as disentanglement_lib has it. "lightgbm"
        boosts as
            many trees of the same depth in a small part of the time, with other importances (R is
            the trees' gain): of codes that are copies of one another it uses the first, and C does
            not tell. "lasso" and "random forest" are Eastwood and Williams' own regressors on
            standardised codes and factors (of classes, on their numbers): R is the size of
            coefficients, penalty 0.02, or the reduction of variance in 50 trees of the depth of 4,
            8, 16 that errs least out of bag; C is the mean over factors, and I the root mean
            squared error over the factor's standard deviation, less being better.
        test: Share of items that I is measured on; disentanglement_lib draws 10,000 items to fit
        and 5,000. seed: Of the split and the predictors. jobs: Factors that are fitted at a time,
        one thread each; −1 for all cores.

    Continuous factors are cut into cells for the classifiers.

    Returns:
        A score within [0, 1] (I of regressors: within [0, ∞)) of the convention
        "disentanglement_lib, gradient boosting", "lightgbm, 100 trees of depth 3", "eastwood,
        lasso" or "eastwood, random forest"; `parts` are "disentanglement", "completeness",
        "informativeness", "informativeness_train", "per_code" and "per_factor" (the terms 1 − H),
        "predictability" (factors,) and "importance" (codes, factors).

    Raises:
        ValueError: As `paired`, for an unknown part or estimator, and a `test` share that leaves no
        items of a factor.

    Source: Eastwood and Williams, "A framework for the quantitative evaluation of disentangled
    representations" (2018).

    >>> v = np.random.default_rng(0).integers(0, 3, (90, 2))
    >>> found = dci(v[:, ::-1], v)
    >>> print(found, found.parts["importance"].round(1).tolist())
    DCI disentanglement 1.000, convention disentanglement_lib, gradient boosting [[0.0, 1.0], [1.0, 0.0]]
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator {estimator!r}: expected one of {', '.join(ESTIMATORS)}")
    pairs, method = paired(codes, factors), ESTIMATORS[estimator]
    hidden, varied = held_out(len(pairs.codes), test, seed), np.flatnonzero(pairs.varied)
    targets = pairs.targets if method.regression else pairs.factors
    tasks = []
    for k in varied:
        fitted, measured = split(pairs, int(k), hidden)
        tasks.append(
            (pairs.codes[fitted], targets[fitted, k], pairs.codes[measured], targets[measured, k])
        )
    results = Parallel(n_jobs=jobs)(delayed(_fitted)(method, *task, seed) for task in tasks)

    importance = np.full((pairs.codes.shape[1], len(pairs.varied)), np.nan)
    train, new = np.full((2, len(pairs.varied)), np.nan)
    for k, (importance_k, train_k, new_k) in zip(varied, results, strict=True):
        importance[:, k], train[k], new[k] = importance_k, train_k, new_k
    used = importance[:, varied]
    per_factor = np.full(len(pairs.varied), np.nan)
    per_factor[varied] = concentration(used.T)
    values = {
        "disentanglement": disentanglement(used),
        "completeness": float(np.nanmean(per_factor)) if method.regression else completeness(used),
        "informativeness": float(np.nanmean(new)),
    }
    if part not in values:
        raise ValueError(f"part {part!r}: expected one of {', '.join(values)}")
    parts: dict[str, Any] = {
        **values,
        "informativeness_train": float(np.nanmean(train)),
        "per_code": concentration(used),
        "per_factor": per_factor,
        "predictability": new,
        "importance": importance,
    }
    within = (0, np.inf) if method.regression and part == "informativeness" else (0, 1)
    return Score(f"DCI {part}", values[part], method.convention, within, parts, pairs.notes)


def explicitness(
    codes: ArrayLike, factors: ArrayLike, *, test: float = 1 / 3, seed: int = 0
) -> Score:
    r"""Explicitness: does a linear function of the codes order items by whether a factor has a
    value?

    .. math:: \frac{1}{|K|} \sum_k \frac{1}{|v_k|} \sum_v \mathrm{AUC}_{kv}

    AUC_kv is the probability that a held-out item with v_k = v gets a higher probability of v than
    one without, ties counting half, from a multinomial logistic regression on standardised codes.
    It is ½ if codes know nothing, and not rescaled; Ridgeway and Mozer themselves map [½, 1] onto
    [0, 1].

    Args:
        codes: (n, codes).
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        test: Share of items to measure on; disentanglement_lib draws 10,000 items to fit and 5,000.
        seed: Of the split.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", whose solver stops after 100
        steps; `parts` are "per_factor", of held-out items, and "train", of the items fitted,
        (factors,). Classes that do not occur among both are left out, as is a factor with no class
        left.

    Raises:
        ValueError: As `paired`, if no factor is left, and for a `test` share that leaves no items
        of a factor.

    Source: Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss"
    (2018).

    >>> v = np.random.default_rng(0).integers(0, 3, (90, 2))
    >>> print(explicitness(v, v))
    explicitness 1.000, convention disentanglement_lib
    """
    pairs = paired(codes, factors)
    hidden, notes = held_out(len(pairs.codes), test, seed), list(pairs.notes)
    train, new = np.full((2, len(pairs.varied)), np.nan)
    for k in np.flatnonzero(pairs.varied):
        fitted, measured = split(pairs, int(k), hidden)
        v, new_v = pairs.factors[fitted, k], pairs.factors[measured, k]
        both = np.intersect1d(v, new_v)
        if len(both) < len(np.unique(pairs.factors[pairs.factors[:, k] >= 0, k])):
            notes.append(
                f"factor {k} has classes among the items to fit or to measure only: they are left "
                "out"
            )
        if len(np.unique(v)) < 2 or len(np.unique(new_v)) < 2 or not len(both):
            continue
        z, new_z = standardised(pairs.codes[fitted], pairs.codes[measured])
        model, finished = logistic(z, v)
        if not finished:
            notes.append(f"the regression of factor {k} had not converged after {STEPS} steps")
        chosen = np.searchsorted(model.classes_, both)
        train[k], new[k] = (
            areas(_probabilities(model, seen)[:, chosen], truth[:, None] == both).mean()
            for seen, truth in ((z, v), (new_z, new_v))
        )
    if np.isnan(new).all():
        raise ValueError(
            "no factor has two classes both among the items to fit and to measure: expected more "
            "items"
        )
    parts = {"per_factor": new, "train": train}
    return Score(
        "explicitness", float(np.nanmean(new)), "disentanglement_lib", (0, 1), parts, tuple(notes)
    )


def _probabilities(model: Any, codes: Floats) -> Floats:
    return np.asarray(model.predict_proba(codes), dtype=np.float64)


def areas(scores: Floats, truths: NDArray[np.bool_]) -> Floats:
    """Areas under the curves of rates, (columns,), of scores and truths (n, columns): Mann and
    Whitney's U by ranks.

    >>> areas(np.array([[0.1], [0.4], [0.35], [0.8]]), np.array([[False], [False], [True], [True]])).tolist()
    [0.75]
    """
    of_truths, positive = (rankdata(scores, axis=0) * truths).sum(0), truths.sum(0)
    above = of_truths - positive * (positive + 1) / 2
    return np.asarray(above / (positive * (len(truths) - positive)), dtype=np.float64)


def disentanglement(importance: Floats) -> float:
    """D of an importance matrix (codes, factors) that is known otherwise.

    >>> round(disentanglement(np.eye(3)), 6), round(disentanglement(np.ones((3, 3))), 6)
    (1.0, 0.0)
    """
    total = importance.sum()
    weights = importance.sum(1) / total if total else np.full(len(importance), 1 / len(importance))
    return max(0.0, float(weights @ concentration(importance)))


def completeness(importance: Floats) -> float:
    """C of an importance matrix (codes, factors) that is known otherwise.

    >>> round(completeness(np.vstack([np.eye(4), np.eye(4)])), 6)  # 1 − log 2 / log 8
    0.666667
    """
    return disentanglement(importance.T)


def concentration(importance: Floats) -> Floats:
    """One minus the entropy of each row to the base of its length, 0 for a row of zeros, 1 for a
    row of one entry.
    """
    if importance.shape[1] == 1:
        return np.ones(len(importance))
    rows = (
        importance + 1e-11
    )  # as in disentanglement_lib; nothing beside importances, and an even row of zeros
    return np.asarray(1 - entropy(rows, base=importance.shape[1], axis=1), dtype=np.float64)


# predictors


@dataclass(frozen=True)
class Estimator:
    """How a predictor is made from a seed, and how a fitted one says its importances."""

    convention: str
    fit: Callable[[Floats, NDArray[Any], int], Any]
    importance: Callable[[Any], Floats]
    regression: bool = False


def _fitted(
    method: Estimator, z: Floats, v: NDArray[Any], new_z: Floats, new_v: NDArray[Any], seed: int
) -> tuple[Floats, float, float]:
    """Importances, and how well items are predicted that were fitted and that were not."""
    if not np.ptp(v):
        guesses, importance = (
            [np.full(len(v), v[0]), np.full(len(new_v), v[0])],
            np.zeros(z.shape[1]),
        )
    else:
        if method.regression:
            (z, new_z), (mean, scale) = standardised(z, new_z), (v.mean(), v.std())
            v, new_v = (v - mean) / scale, (new_v - mean) / scale
        model = method.fit(z, v, seed)
        guesses, importance = (
            [model.predict(z), model.predict(new_z)],
            np.abs(method.importance(model)),
        )
    measure = _error if method.regression else _accuracy
    train, new = (measure(guess, truth) for guess, truth in zip(guesses, (v, new_v), strict=True))
    return importance, train, new


def _accuracy(guess: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(np.mean(guess == truth))


def _error(guess: Floats, truth: Floats) -> float:
    """Root mean squared error over the standard deviation: 1 for who guesses the mean."""
    return float(np.sqrt(np.mean((guess - truth) ** 2)) / (np.std(truth) or 1))


def _boosted(z: Floats, v: NDArray[Any], seed: int) -> Any:
    return GradientBoostingClassifier(random_state=seed).fit(z, v)


def _fast_boosted(z: Floats, v: NDArray[Any], seed: int) -> Any:
    from lightgbm import LGBMClassifier  # a second to import

    return LGBMClassifier(
        n_estimators=100,
        max_depth=3,
        num_leaves=8,
        min_child_samples=1,  # as scikit-learn's trees
        importance_type="gain",
        random_state=seed,
        deterministic=True,
        n_jobs=1,
        verbose=-1,
    ).fit(z, v)


def _shares(model: Any) -> Floats:
    gains = np.asarray(model.feature_importances_, dtype=np.float64)
    return gains / (gains.sum() or 1)


def _lasso(z: Floats, v: NDArray[Any], seed: int) -> Any:
    return Lasso(alpha=0.02, max_iter=10_000).fit(z, v)


def _forest(z: Floats, v: NDArray[Any], seed: int) -> Any:
    forests = [
        RandomForestRegressor(50, max_depth=d, oob_score=True, random_state=seed).fit(z, v)
        for d in (4, 8, 16)
    ]
    return max(forests, key=lambda forest: forest.oob_score_)


ESTIMATORS = {
    "gradient boosting": Estimator("disentanglement_lib, gradient boosting", _boosted, _shares),
    "lightgbm": Estimator("lightgbm, 100 trees of depth 3", _fast_boosted, _shares),
    "lasso": Estimator(
        "eastwood, lasso", _lasso, lambda model: np.asarray(model.coef_), regression=True
    ),
    "random forest": Estimator("eastwood, random forest", _forest, _shares, regression=True),
}
