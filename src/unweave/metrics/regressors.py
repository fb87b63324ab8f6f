r"""Scores of how predictors of the factors use the codes: DCI and explicitness.

DCI fits one predictor a factor and reads off R_jk ≥ 0, how important code j is to the prediction of
factor k. The values depend on the predictor: scores of two predictors must not be compared.
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
from .score import Pairs, Score, of_some, paired

Floats: TypeAlias = NDArray[np.float64]
Classes: TypeAlias = NDArray[np.int64]


@of_some
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
    r"""DCI: does each code predict one factor, is each factor predicted from one code, how well?

    .. math:: D = \sum_j \frac{\sum_k R_{jk}}{\sum_{jk} R_{jk}}
        \left( 1 - H_{|K|}(R_{j \cdot}) \right), \qquad
        C = \sum_k \frac{\sum_j R_{jk}}{\sum_{jk} R_{jk}} \left( 1 - H_{|J|}(R_{\cdot k}) \right)

    where H_b is the entropy to base b of the distribution in proportion to its argument.
    Informativeness I is the mean over factors of the accuracy on held-out items. Continuous factors
    are cut into cells for the classifiers.

    "gradient boosting" is scikit-learn's classifier, as disentanglement_lib has it. "lightgbm"
    boosts as many trees of the same depth in a small part of the time, with other importances (R is
    the trees' gain): of codes that are copies of one another it uses the first, and C does not
    tell. "lasso" and "random forest" are Eastwood and Williams' own regressors on standardised
    codes and factors (classes are taken as numbers). For the lasso, R is the size of coefficients
    at a penalty of 0.02. For the forest, R is the reduction of variance in 50 trees, of depth 4, 8
    or 16, whichever errs least out of bag. For both, C is the mean over factors, and I is the root
    mean squared error over the factor's standard deviation; less is better.

    Args:
        codes: (n, codes); of more than 100,000 items (`MOST`) as many are drawn.
        factors: (n, factors), see `paired`.
        part: The part that is the score's value: "disentanglement", "completeness" or
            "informativeness"; `parts` has all three.
        estimator: "gradient boosting", "lightgbm", "lasso" or "random forest".
        test: Share of items that I is measured on; disentanglement_lib draws 10,000 items to fit
            and 5,000 to measure.
        seed: Seed of the split and the predictors.
        jobs: Number of factors that are fitted at a time, one thread each; −1 for all cores.

    Returns:
        A score within [0, 1] (I of regressors: within [0, ∞)), NaN for the disentanglement of one
        factor, which would be 1 for any codes; of the convention
        "disentanglement_lib, gradient boosting", "lightgbm, 100 trees of depth 3", "eastwood,
        lasso" or "eastwood, random forest"; `parts` are "disentanglement", "completeness",
        "informativeness", "informativeness_train", "per_code" and "per_factor" (the terms 1 − H),
        "predictability" (factors,) and "importance" (codes, factors).

    Raises:
        ValueError: If `paired` refuses the arrays, the part or estimator is unknown, or the `test`
            share leaves no items of a factor.

    Source: Eastwood and Williams, "A framework for the quantitative evaluation of disentangled
    representations" (2018).

    >>> v = np.random.default_rng(0).integers(0, 3, (90, 2))
    >>> found = dci(v[:, ::-1], v)
    >>> print(found)
    DCI disentanglement 1.000, convention disentanglement_lib, gradient boosting
    >>> found.parts["importance"].round(1).tolist()
    [[0.0, 1.0], [1.0, 0.0]]
    """
    if estimator not in ESTIMATORS:
        raise ValueError(f"estimator {estimator!r}: expected one of {', '.join(ESTIMATORS)}")
    method = ESTIMATORS[estimator]
    pairs = paired(codes, factors)
    importance, train, new = _fit_all(method, pairs, test, seed, jobs)
    used = importance[:, np.flatnonzero(pairs.varied)]  # (codes, varied factors)
    per_factor = np.full(len(pairs.varied), np.nan)
    per_factor[pairs.varied] = concentration(used.T)
    complete = float(np.nanmean(per_factor)) if method.regression else completeness(used)
    notes = pairs.notes
    per_code = concentration(used)
    disentangled = disentanglement(used)
    if pairs.varied.sum() < 2:
        per_code, disentangled = np.full(len(used), np.nan), np.nan
        notes += (
            "one factor that varies: disentanglement compares a code's factors; expected two or "
            "more",
        )
    values = {
        "disentanglement": disentangled,
        "completeness": complete,
        "informativeness": float(np.nanmean(new)),
    }
    if part not in values:
        raise ValueError(f"part {part!r}: expected one of {', '.join(values)}")
    parts: dict[str, Any] = {
        **values,
        "informativeness_train": float(np.nanmean(train)),
        "per_code": per_code,
        "per_factor": per_factor,
        "predictability": new,
        "importance": importance,
    }
    within = (0, np.inf) if method.regression and part == "informativeness" else (0, 1)
    return Score(
        f"DCI {part}",
        values[part],
        method.convention,
        range=within,
        parts=parts,
        notes=notes,
    )


@of_some
def explicitness(
    codes: ArrayLike, factors: ArrayLike, *, test: float = 1 / 3, seed: int = 0
) -> Score:
    r"""Explicitness: does a linear function of the codes rank the items with a value above others?

    .. math:: \frac{1}{|K|} \sum_k \frac{1}{|v_k|} \sum_v \mathrm{AUC}_{kv}

    AUC_kv is the probability that a held-out item with v_k = v gets a higher probability of v than
    one without, ties counting half, from a multinomial logistic regression on standardised codes.
    It is ½ if codes know nothing, and is not rescaled; Ridgeway and Mozer themselves map [½, 1]
    onto [0, 1].

    Args:
        codes: (n, codes); of more than 100,000 items (`MOST`) as many are drawn.
        factors: (n, factors), see `paired`; continuous ones are cut into cells.
        test: Share of items to measure on; disentanglement_lib draws 10,000 items to fit and 5,000
            to measure.
        seed: Seed of the split.

    Returns:
        A score within [0, 1] of the convention "disentanglement_lib", whose solver stops after 100
        steps; `parts` are "per_factor" on held-out items and "train" on fitted items, (factors,).
        Classes that do not occur among both are left out, as is a factor with no class left.

    Raises:
        ValueError: If `paired` refuses the arrays, no factor is left, or the `test` share leaves no
            items of a factor.

    Source: Ridgeway and Mozer, "Learning deep disentangled embeddings with the F-statistic loss"
    (2018).

    >>> v = np.random.default_rng(0).integers(0, 3, (90, 2))
    >>> print(explicitness(v, v))
    explicitness 1.000, convention disentanglement_lib
    """
    pairs = paired(codes, factors)
    hidden = held_out(len(pairs.codes), test, seed)
    notes = list(pairs.notes)
    train, new = np.full((2, len(pairs.varied)), np.nan)
    for k in np.flatnonzero(pairs.varied):
        fitted, measured = split(pairs, int(k), hidden)
        v = pairs.factors[fitted, k]
        new_v = pairs.factors[measured, k]
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
        train[k] = _mean_area(model, z, v, both)
        new[k] = _mean_area(model, new_z, new_v, both)
    if np.isnan(new).all():
        raise ValueError(
            "no factor has two classes both among the items to fit and to measure: expected more "
            "items"
        )
    value = float(np.nanmean(new))
    return Score(
        "explicitness",
        value,
        "disentanglement_lib",
        range=(0, 1),
        parts={"per_factor": new, "train": train},
        notes=tuple(notes),
    )


def _mean_area(model: Any, codes: Floats, truth: Classes, classes: Classes) -> float:
    """Average the areas of some of a model's classes."""
    chosen = np.searchsorted(model.classes_, classes)
    probabilities = np.asarray(model.predict_proba(codes), dtype=np.float64)
    return float(areas(probabilities[:, chosen], truth[:, None] == classes).mean())


def areas(scores: Floats, truths: NDArray[np.bool_]) -> Floats:
    """Compute the areas under the curves of rates, (columns,), by ranks (Mann and Whitney's U).

    Scores and truths are (n, columns).

    >>> scores = np.array([[0.1], [0.4], [0.35], [0.8]])
    >>> areas(scores, np.array([[False], [False], [True], [True]])).tolist()
    [0.75]
    """
    of_truths = (rankdata(scores, axis=0) * truths).sum(0)
    positive = truths.sum(0)
    above = of_truths - positive * (positive + 1) / 2
    comparisons = positive * (len(truths) - positive)
    return np.asarray(above / comparisons, dtype=np.float64)


def disentanglement(importance: Floats) -> float:
    """Compute D of an importance matrix (codes, factors).

    >>> round(disentanglement(np.eye(3)), 6), round(disentanglement(np.ones((3, 3))), 6)
    (1.0, 0.0)
    """
    total = importance.sum()
    even = np.full(len(importance), 1 / len(importance))
    weights = importance.sum(1) / total if total else even
    return max(0.0, float(weights @ concentration(importance)))


def completeness(importance: Floats) -> float:
    """Compute C of an importance matrix (codes, factors).

    >>> round(completeness(np.vstack([np.eye(4), np.eye(4)])), 6)  # 1 − log 2 / log 8
    0.666667
    """
    return disentanglement(importance.T)


def concentration(importance: Floats) -> Floats:
    """Subtract from 1 the entropy of each row to the base of its length.

    A row of zeros has 0, a row of one entry 1.
    """
    width = importance.shape[1]
    if width == 1:
        return np.ones(len(importance))
    # as in disentanglement_lib: this is nothing beside importances, and makes a row of zeros even
    rows = importance + 1e-11
    return np.asarray(1 - entropy(rows, base=width, axis=1), dtype=np.float64)


# Predictors.


@dataclass(frozen=True)
class Estimator:
    """A kind of predictor: how to fit one, and how to read a fitted one's importances."""

    convention: str
    fit: Callable[[Floats, NDArray[Any], int], Any]
    """A function of codes, targets and a seed that returns a fitted predictor."""
    importance: Callable[[Any], Floats]
    regression: bool = False
    guesses: Callable[[Any, Floats], NDArray[Any]] = lambda model, codes: model.predict(codes)
    """A function of a predictor and the codes that it was fitted to that returns its guesses."""


def _fit_all(
    method: Estimator, pairs: Pairs, test: float, seed: int, jobs: int
) -> tuple[Floats, Floats, Floats]:
    """Fit a predictor of each factor that varies; NaN stands for the others.

    Returns:
        Importances (codes, factors), and how well items are predicted that were fitted and that
        were not, (factors,).
    """
    hidden = held_out(len(pairs.codes), test, seed)
    targets = pairs.targets if method.regression else pairs.factors
    codes = _of_one_size(pairs.codes)
    tasks = []
    for k in np.flatnonzero(pairs.varied):
        fitted, measured = split(pairs, int(k), hidden)
        old = codes[fitted], targets[fitted, k]
        new = codes[measured], targets[measured, k]
        tasks.append(delayed(_fit)(method, *old, *new, seed))
    results = Parallel(n_jobs=jobs)(tasks)
    importance = np.full(pairs.shape, np.nan)
    of_old, of_new = np.full((2, len(pairs.varied)), np.nan)
    for k, result in zip(np.flatnonzero(pairs.varied), results, strict=True):
        importance[:, k], of_old[k], of_new[k] = result
    return importance, of_old, of_new


def _of_one_size(codes: Floats) -> Floats:
    """Divide each code by a power of two, so that its largest entry is between ½ and 1.

    That keeps all digits. scikit-learn's trees take entries within 1e-7 of each other for equal.
    """
    _, exponents = np.frexp(np.abs(codes).max(0))
    scaled: Floats = np.ldexp(codes, -exponents)
    return scaled


def _fit(
    method: Estimator, z: Floats, v: NDArray[Any], new_z: Floats, new_v: NDArray[Any], seed: int
) -> tuple[Floats, float, float]:
    """Return importances, and how well items are predicted that were fitted and that were not."""
    if not np.ptp(v):
        guess = np.full(len(v), v[0])
        new_guess = np.full(len(new_v), v[0])
        importance = np.zeros(z.shape[1])
    else:
        if method.regression:
            z, new_z = standardised(z, new_z)
            mean, scale = v.mean(), v.std()
            v = (v - mean) / scale
            new_v = (new_v - mean) / scale
        model = method.fit(z, v, seed)
        guess, new_guess = method.guesses(model, z), model.predict(new_z)
        importance = np.abs(method.importance(model))
    measure = _error if method.regression else _accuracy
    return importance, measure(guess, v), measure(new_guess, new_v)


def _accuracy(guess: NDArray[Any], truth: NDArray[Any]) -> float:
    return float(np.mean(guess == truth))


def _error(guess: Floats, truth: Floats) -> float:
    """Divide the root mean squared error by the standard deviation: guessing the mean has 1."""
    error = np.sqrt(np.mean((guess - truth) ** 2))
    return float(error / (np.std(truth) or 1))


def _boosted(z: Floats, v: NDArray[Any], seed: int) -> Any:
    return GradientBoostingClassifier(random_state=seed).fit(z, v)


def _fast_boosted(z: Floats, v: NDArray[Any], seed: int) -> Any:
    from lightgbm import LGBMClassifier  # takes a second to import

    kept: list[Floats] = []

    def keep(probabilities: Floats, data: Any) -> tuple[str, float, bool]:
        kept.append(probabilities)
        return "kept", 0.0, True

    def look(env: Any) -> None:
        if env.iteration == env.end_iteration - 1:
            env.model.eval_train(keep)

    model = LGBMClassifier(
        n_estimators=100,
        max_depth=3,
        num_leaves=8,
        min_child_samples=1,  # like scikit-learn's trees
        importance_type="gain",
        random_state=seed,
        deterministic=True,
        n_jobs=1,
        verbose=-1,
    )
    model.fit(z, v, callbacks=[look])
    (model.fitted_probabilities_,) = (
        kept  # to predict them anew takes as long as a third of the fit
    )
    return model


def _boosted_guesses(model: Any, codes: Floats) -> NDArray[Any]:
    """Return the guesses that boosting itself made of the items that it was fitted to."""
    probabilities = model.fitted_probabilities_
    if probabilities.ndim == 1:  # of the second class of two
        probabilities = np.stack([1 - probabilities, probabilities], 1)
    return np.asarray(model.classes_[probabilities.argmax(1)])


def _shares(model: Any) -> Floats:
    gains = np.asarray(model.feature_importances_, dtype=np.float64)
    return gains / (gains.sum() or 1)


def _lasso(z: Floats, v: NDArray[Any], seed: int) -> Any:
    return Lasso(alpha=0.02, max_iter=10_000).fit(z, v)


def _forest(z: Floats, v: NDArray[Any], seed: int) -> Any:
    forests = []
    for depth in (4, 8, 16):
        forest = RandomForestRegressor(50, max_depth=depth, oob_score=True, random_state=seed)
        forests.append(forest.fit(z, v))
    return max(forests, key=lambda forest: forest.oob_score_)


def _sizes(model: Any) -> Floats:
    return np.asarray(model.coef_)


ESTIMATORS = {
    "gradient boosting": Estimator("disentanglement_lib, gradient boosting", _boosted, _shares),
    "lightgbm": Estimator(
        "lightgbm, 100 trees of depth 3", _fast_boosted, _shares, guesses=_boosted_guesses
    ),
    "lasso": Estimator("eastwood, lasso", _lasso, _sizes, regression=True),
    "random forest": Estimator("eastwood, random forest", _forest, _shares, regression=True),
}
